"""`archive:PATH` or `archive:s3://bucket/prefix`: exact records, as far back as capture has kept them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from types import TracebackType
from typing import Self

from restrike.archive.footer import Damaged
from restrike.archive.layout import HOUR_S, StreamName, hour_of
from restrike.archive.places import opened
from restrike.archive.reader import ArchiveReader, holds, open_archive
from restrike.archive.state import gaps
from restrike.aws.session import Aws
from restrike.errors import UsageError
from restrike.model.record import Fidelity, Record
from restrike.model.times import iso
from restrike.model.window import Gap, Window
from restrike.sources import SourceInfo
from restrike.sources.ahead import ahead
from restrike.stores.objects import Changed

LOOK_FILES = 100
READ_AHEAD = 2  # row groups
_FIRST, _LAST = "first file", "last file"


class ArchiveSource:
    """The records of one table's archive, stream after stream.

    Only the hours of the window are listed and opened, of a file only the row groups that overlap it and, with
    `wants_key`, that hold such a key. Memory holds a few row groups of some 2 MB.

    A place is the sequence number. `gaps` names what the archive is known to lack within the window and, with
    `skips_damaged`, the files that could not be read; without it they raise SourceLacks.
    """

    fidelity: Fidelity = "exact"

    def __init__(
        self,
        aws: Callable[[], Aws],
        uri: str,
        *,
        wants_key: Callable[[bytes], bool] | None = None,
        skips_damaged: bool = False,
        named: str | None = None,
        stood_on: Mapping[str, str] | None = None,
    ) -> None:
        self.uri = named or f"archive:{uri}"
        self.ended = ""
        self.gaps: list[Gap] = []
        self.drained: set[str] = set()
        self.started_s: float | None = None
        self.stands_on: Mapping[str, str] = stood_on or {}
        self._aws = aws
        self._where = uri
        self._wants_key = wants_key
        self._skips_damaged = skips_damaged
        self._names: list[StreamName] = []

    async def __aenter__(self) -> Self:
        self._store, self._names = await asyncio.to_thread(open_archive, self._where, self._aws)
        await asyncio.to_thread(self._check_same)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held between two readings."""

    def _check_same(self) -> None:
        """UsageError where the archive has no more what an earlier part of the run read last of it: then it may lack
        what follows too, without a gap. What was read first may have been pruned, hour by hour."""
        for part in (_FIRST, _LAST):
            path, _, last = self.stands_on.get(part, "").partition(" ")
            if not path:
                continue
            name = next((each for each in self._names if path.startswith(f"{each.folder}/")), None)
            if part == _FIRST and name is not None and not self._store.objects(path.rpartition("/")[0]):
                continue
            try:
                if name is not None and holds(self._store, name, path, int(last) if last else None):
                    continue
            except Damaged:
                continue  # who reads it says so, or leaves it out
            raise UsageError(
                f"{self.uri} is not the archive that this run has read: it has no more {path}"
                + (f" with its records up to {last}" if last else ""),
                "Was it replaced by an older copy, or pruned? Put it back, or begin anew under another --run.",
            )

    def _stand(self, reader: ArchiveReader) -> None:
        if reader.first_file is None or reader.last_file is None:
            return
        path, number = reader.last_file
        last = f"{path} {number}"
        if self.stands_on.get(_LAST) != last:
            self.stands_on = {_FIRST: self.stands_on.get(_FIRST, reader.first_file), _LAST: last}

    async def look(self, window: Window) -> SourceInfo:
        """Counts by the footers of at most 100 files."""
        return await asyncio.to_thread(self._look, window)

    def _look(self, window: Window) -> SourceInfo:
        count = files = 0
        at_least = at_most = False
        first_s: float | None = None
        last_s: float | None = None
        view_type = arn = None
        self.gaps = self._known_gaps(window)
        for name in self._names:
            reader = ArchiveReader(self._store, name, skips_damaged=self._skips_damaged)
            for file in reader.files(window):
                if files == LOOK_FILES:
                    at_least = True
                    break
                try:
                    found, _ = opened(self._store, file)
                except Changed:
                    continue
                except Damaged as error:
                    if not self._skips_damaged:
                        raise
                    self.gaps.append(Gap(file.shard, None, None, error.message))
                    continue
                files += 1
                view_type, arn = found.about.view_type, found.about.stream_arn
                for group in range(found.groups):
                    created = found.created(group)
                    if created is None or not window.overlaps(*created):
                        continue
                    count += found.group_records(group)
                    at_most = at_most or not all(window.holds(created_s) for created_s in created)
                    first_s = created[0] if first_s is None else min(first_s, created[0])
                    last_s = created[1] if last_s is None else max(last_s, created[1])
            self.gaps += reader.gaps
        return SourceInfo(
            count=count,
            at_least=at_least,
            at_most=at_most,
            how=f"by the footers of {files} files" + (": there are more" if at_least else ""),
            first_s=first_s,
            last_s=last_s,
            table_name=self._names[0].table,
            stream_arn=arn,
            view_type=view_type,
            warnings=self._warnings(window),
        )

    def _warnings(self, window: Window) -> tuple[tuple[str, str], ...]:
        """Where the window begins before the archive does: nobody knows what was there."""
        begins = next((hour for name in self._names for hour in ArchiveReader(self._store, name).hours(Window())), None)
        if begins is None or window.since_s is None or hour_of(window.since_s) >= begins:
            return ()
        return (("window-before-archive", f"the archive begins at {iso(begins * HOUR_S)}: it has nothing older"),)

    def _known_gaps(self, window: Window) -> list[Gap]:
        return [gap.as_gap() for name in self._names for gap in gaps(self._store, name) if gap.touches(window)]

    async def read(self, after: Mapping[str, int], window: Window) -> AsyncGenerator[list[Record], None]:
        self.gaps = await asyncio.to_thread(self._known_gaps, window)
        self.ended = "stopped before its end"
        files = 0
        for name in self._names:
            reader = ArchiveReader(self._store, name, skips_damaged=self._skips_damaged)
            async for records in ahead(reader.read(window, after, self._wants_key), READ_AHEAD, "restrike-archive"):
                self._stand(reader)
                yield records
            self.gaps += reader.gaps
            files += reader.opened_files
        self.ended = f"end of the archive: {files:,} files were opened"
