"""`export:PATH` or `export:s3://bucket/prefix`: the net changes of windows, or the items of a full export."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from restrike.aws.session import Aws
from restrike.errors import SourceLacks, UsageError
from restrike.model.numbers import counted
from restrike.model.record import Fidelity, Record
from restrike.model.synthetic import Frame
from restrike.model.window import DRAINED, Gap, Window
from restrike.sources import SourceInfo
from restrike.sources.ahead import Ahead, gone
from restrike.sources.export.finding import checked, data_object, open_place
from restrike.sources.export.lines import DataLines
from restrike.sources.export.manifest import DataFile, Exported, read_export
from restrike.sources.export.records import Maker, NetMaker, Pages, WholeMaker
from restrike.sources.export.resolving import State
from restrike.sources.export.windows import holes, read_by, span

FILES_AT_ONCE = 4
READ_AHEAD = 2  # blocks of a file
THREAD = "restrike-export"
_STANDS = "export "


class ExportSource:
    """The records of a table's exports, window after window; of one window FILES_AT_ONCE files side by side.

    An item stands once in a window, so that its records come in order. A shard is a data file, named by its key; a
    place is a line's number in it, from 1. Memory holds a range, a block and a few pages of each file that is read,
    and the list of one window's files.

    A file is checked as it is read: where it is not what its manifest says, SourceLacks comes behind its last record.
    With `verify_first` (and `verifies`) all files are read twice, and checked before the first record.
    """

    def __init__(
        self,
        aws: Callable[[], Aws],
        where: str,
        state: State,
        *,
        named: str,
        verifies: bool = False,
        stood_on: Mapping[str, str] | None = None,
    ) -> None:
        self.uri = named
        self.fidelity: Fidelity = "synthetic" if state.is_full else "net"
        self.ended = ""
        self.gaps: list[Gap] = []
        self.drained: set[str] = set()
        self.started_s: float | None = None
        self.stands_on: Mapping[str, str] = {f"{_STANDS}{each.id}": each.digest for each in state.exports}
        self._aws = aws
        self._where = where
        self._state = state
        self._verify_first = state.verify_first and verifies
        self._stood_on = stood_on

    async def __aenter__(self) -> Self:
        self._store, _ = await asyncio.to_thread(open_place, self._where, self._aws)
        if self._stood_on is not None:
            await asyncio.to_thread(self._check_same, self._stood_on)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held between two readings."""

    def _check_same(self, stood_on: Mapping[str, str]) -> None:
        """UsageError where an export that an earlier part of the run stood on is gone or another."""
        stood = {name.removeprefix(_STANDS): told for name, told in stood_on.items() if name.startswith(_STANDS)}
        missing = sorted(set(stood) - {each.id for each in self._state.exports})
        if missing := missing or checked(self._store, self._state.exports, stood):
            raise UsageError(
                f"{self.uri} is not what this run has read: export {', '.join(missing[:5])} is gone, or has another "
                "manifest",
                "Put it back as it was, or begin anew under another --run.",
            )

    async def look(self, window: Window) -> SourceInfo:
        """Counts by the manifests."""
        state = self._state
        exports = read_by(state.exports, window)
        self.gaps = holes(state.exports, window)
        warnings = list(state.warnings)
        cut = [each for each in exports if window.since_s is not None and each.from_s < window.since_s]
        warnings += [
            (
                "since-inside-window",
                f"--since lies within the window of export {each.id} ({span(each)}): items that were last written "
                "before it are left out, and the others have their net change of all the window",
            )
            for each in cut
        ]
        return SourceInfo(
            count=sum(each.items for each in exports),
            at_most=bool(cut),
            how=f"by the manifests of {counted(len(exports), 'export')}",
            first_s=exports[0].from_s if exports else None,
            last_s=exports[-1].to_s if exports else None,
            table_name=state.table_arn.rpartition("/")[2],
            stream_arn=state.stream_arn,
            view_type=state.view_type,
            warnings=tuple(warnings),
        )

    async def read(self, after: Mapping[str, int], window: Window) -> AsyncGenerator[list[Record], None]:
        exports = read_by(self._state.exports, window)
        self.gaps = holes(self._state.exports, window)
        self.ended = "stopped before its end"
        if self._verify_first:
            await self._verify(exports, after)
        records = files = 0
        for export in exports:
            listed = await asyncio.to_thread(self._files, export)
            reading = self._side_by_side(export, listed, after)
            try:
                async for page in reading:
                    records += len(page)
                    yield page
            finally:
                await reading.aclose()
            files += len(listed)
        self.ended = (
            f"end of {counted(len(exports), 'export')}: {counted(records, 'record')} of {counted(files, 'file')}"
        )

    def _files(self, export: Exported) -> list[DataFile]:
        """As its manifest names them, which is still the one that was planned with."""
        found = read_export(self._store, export.folder)
        if found is None or found[0].digest != export.digest:
            raise SourceLacks(
                f"{self._store.uri}/{export.folder}: its manifest is gone, or another than when the run was planned",
                "Put it back as it was, or begin anew under another --run.",
            )
        return found[1]

    async def _side_by_side(
        self, export: Exported, files: list[DataFile], after: Mapping[str, int]
    ) -> AsyncGenerator[list[Record], None]:
        """Pages of a window's files. As long as one has pages ready it goes on: a batch holds records of one file."""
        waiting = (file for file in files if after.get(file.data_file_s3_key, 0) < DRAINED)
        maker = self._maker(export)
        arrived = asyncio.Event()
        reading: list[_Reading] = []
        try:
            while True:
                while len(reading) < FILES_AT_ONCE and (file := next(waiting, None)) is not None:
                    shard = file.data_file_s3_key
                    lines = DataLines(self._store, file, partial(data_object, self._store, export, file))
                    pages = Pages(lines, maker, shard, after.get(shard, 0))
                    reading.append(_Reading(shard, pages, Ahead(lines.blocks(), READ_AHEAD, arrived, THREAD)))
                if not reading:
                    return
                arrived.clear()
                ready = next((each for each in reading if each.ahead.ready), None)
                if ready is None:
                    await arrived.wait()
                    continue
                block = ready.ahead.take()
                reading.remove(ready)
                if block is None:
                    self.drained.add(ready.shard)
                    continue
                reading.insert(0, ready)
                for page in ready.pages.of(block):
                    yield page
        finally:
            await gone([each.ahead for each in reading])

    def _maker(self, export: Exported) -> Maker:
        state = self._state
        frame = Frame(state.region, state.stream_arn, state.view_type)
        if export.kind == "incremental":
            without_old = export.view == "NEW_IMAGE"
            return NetMaker(state.table_arn, frame, without_old=without_old, as_event=state.as_event)
        return WholeMaker(
            state.table_arn,
            frame,
            micros=round(export.from_s * 1_000_000),
            key_names=state.key_names,
            as_event=state.as_event,
            old_image=state.old_image,
        )

    async def _verify(self, exports: list[Exported], after: Mapping[str, int]) -> None:
        """Reads every file that is still to be read, and raises what is wrong with one."""
        left = threading.Event()

        def verify(export: Exported, file: DataFile) -> None:
            lines = DataLines(self._store, file, partial(data_object, self._store, export, file), sent=False)
            for _ in lines.blocks():
                if left.is_set():
                    return

        try:
            for export in exports:
                files = await asyncio.to_thread(self._files, export)
                files = [file for file in files if after.get(file.data_file_s3_key, 0) < DRAINED]
                for start in range(0, len(files), FILES_AT_ONCE):
                    some = files[start : start + FILES_AT_ONCE]
                    async with asyncio.TaskGroup() as group:
                        for file in some:
                            group.create_task(asyncio.to_thread(verify, export, file))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            left.set()


@dataclass(eq=False)
class _Reading:
    """A data file under way. Its blocks come from a thread, its records are made here: made there, each thread's heap
    would keep what the records leave behind."""

    shard: str
    pages: Pages
    ahead: Ahead[bytes]
