"""Reading an archive: a window of it, in order, without the rest.

Files are read by their first sequence number, which rises from a parent to its children, so that every item's records
come in their order. Of a shard, what is not above the last number that was handed out is left out: a file that is
being merged with others is read once.
"""

from __future__ import annotations

import functools
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping

from restrike.archive.footer import Damaged, damaged
from restrike.archive.layout import (
    HOUR_S,
    DataFile,
    StreamName,
    data_file,
    day_of_folder,
    hour_folder,
    hour_of,
    hours_of_folders,
    stream_of_folder,
)
from restrike.archive.opened import Opened
from restrike.archive.places import files_of_hour, opened, split
from restrike.archive.state import CaptureState, load, missing_ends
from restrike.aws.session import Aws
from restrike.errors import SourceLacks, UsageError
from restrike.model.record import Record
from restrike.model.window import Gap, Window
from restrike.stores import open_store
from restrike.stores.objects import Changed, Store

MAX_CHANGES = 20
"""How often in a row a file may be gone or written over, until that is no compaction any more."""
DAY_HOURS = 24

WantsKey = Callable[[bytes], bool]


def streams_in(store: Store) -> list[StreamName]:
    """The streams of the archive, by table and age."""
    found = []
    for table in store.folders(""):
        if table.startswith("table="):
            found += [name for each in store.folders(table) if (name := stream_of_folder(each)) is not None]
    return sorted(found)


def open_archive(uri: str, aws: Callable[[], Aws]) -> tuple[Store, list[StreamName]]:
    """The archive of a folder or `s3://bucket/prefix`, and the streams of its table, the oldest first.

    `…/table=<name>` chooses one of several tables, `…/table=<name>/stream=<label>` one stream. SourceLacks where
    there is none, UsageError where it holds several tables and none is chosen.
    """
    found = re.fullmatch(r"(.*?)/*(?:table=([^/]+)(?:/stream=([^/]+))?)?/*", uri)
    assert found is not None
    root = found[1] or ("." if not uri.startswith("/") else "/")
    store = open_store(root, aws)
    names = [name for name in streams_in(store) if found[2] in (None, name.table) and found[3] in (None, name.label)]
    tables = sorted({name.table for name in names})
    if not tables:
        raise SourceLacks(f"{uri} holds no records of an archive", "Name the place that capture wrote to.")
    if len(tables) > 1:
        raise UsageError(
            f"{uri} holds records of {len(tables)} tables: {', '.join(tables)}",
            f"Name one of them: archive:{root}/table={tables[0]}",
        )
    return store, names


class ArchiveReader:
    """Reads one stream of an archive. Blocks: for a thread.

    `skips_damaged`: files that cannot be read are left out and are among `gaps`; else they are Damaged. `fetched_bytes`
    and `opened_files` count what was read. `first_file` and `last_file` are the paths of what was
    opened, the latter with its last number.
    """

    def __init__(self, store: Store, stream: StreamName, *, skips_damaged: bool = False) -> None:
        self.gaps: list[Gap] = []
        self.fetched_bytes = 0
        self.opened_files = 0
        self.first_file: str | None = None
        self.last_file: tuple[str, int] | None = None
        self._store = store
        self._stream = stream
        self._skips_damaged = skips_damaged
        self._strange: set[str] = set()
        self._ends: dict[str, int] = {}  # of the last file that was opened of each shard

    @functools.cached_property
    def state(self) -> CaptureState | None:
        """What the stream's capture had written down when it was first asked for here; None where nothing."""
        found = load(self._store, self._stream)
        return None if found is None else found[0]

    # ── which files ──────────────────────────────────────────────────────────────────────────────────────

    def hours(self, window: Window) -> Iterator[int]:
        """The hours that may hold records of the window and that have a folder, in order."""
        first, last = _bounds(window)
        # Without an end the folders say what there is, and no clock, which may be behind.
        for folder in (
            self._store.folders(self._stream.folder) if first is None or last is None else self._days(first, last)
        ):
            day = day_of_folder(folder)
            if day is None or (first is not None and day + DAY_HOURS <= first) or (last is not None and day > last):
                continue
            for hour in hours_of_folders(self._store.folders(folder)):
                if (first is None or hour >= first) and (last is None or hour <= last):
                    yield hour

    def hours_ended_before(self, moment_s: float) -> Iterator[int]:
        """The hours that have a folder and ended before that time, in order."""
        for hour in self.hours(Window()):
            if (hour + 1) * HOUR_S > moment_s:
                return
            yield hour

    def _days(self, first: int, last: int) -> Iterator[str]:
        """The folders of those days, whether they are there or not: what is older is not even listed."""
        for day in range(first // DAY_HOURS, last // DAY_HOURS + 1):
            yield hour_folder(self._stream, day * DAY_HOURS).rpartition("/")[0]

    def files_of_hour(self, hour: int) -> list[DataFile]:
        """The hour's data files. What has no name of one's is Damaged, or a gap."""
        files, strangers = split(self._store.objects(hour_folder(self._stream, hour)))
        for each in strangers:
            if each.path not in self._strange:
                self._strange.add(each.path)
                self._damage(damaged(f"{self._store.uri}/{each.path}", "its name is not that of a data file"), "")
        return files

    def files(self, window: Window) -> Iterator[DataFile]:
        """The files that may hold records of the window, by their first number, as they are now.

        A capture may be at work: then the hours that it writes are listed twice. The last file of a shard that the
        first look found sets the end, and all before it are there at the second.
        """
        live_from = self._live_from()
        ceilings: dict[str, int] | None = None
        waiting: list[DataFile] = []
        hours = self.hours(window)
        following = next(hours, None)
        while following is not None:
            hour = following
            if ceilings is None and hour + 1 >= live_from:
                rest = [hour, *hours]
                ceilings = self._ceilings(rest)
                hours = iter(rest[1:])
            following = next(hours, None)
            waiting += [
                file
                for file in self.files_of_hour(hour)
                if ceilings is None or file.first <= ceilings.get(file.shard, -1)
            ]
            if following is not None:
                yield from _until_hour(waiting, following - 3)  # the two hours behind are listed
        yield from _until_hour(waiting, math.inf)

    def _live_from(self) -> float:
        """The hour from which on a capture may be writing; infinite where none is known."""
        if self.state is None:
            return 0
        return math.inf if self.state.ended else min(hour_of(self.state.oldest_s), hour_of(time.time())) - 1

    def _ceilings(self, hours: list[int]) -> dict[str, int]:
        """The first number of each shard's last file in those hours."""
        found: dict[str, int] = {}
        for hour in reversed(hours):
            for file in self.files_of_hour(hour):
                found[file.shard] = max(found.get(file.shard, -1), file.first)
        return found

    # ── what is in them ──────────────────────────────────────────────────────────────────────────────────

    def read(
        self, window: Window, after: Mapping[str, int], wants_key: WantsKey | None = None
    ) -> Iterator[list[Record]]:
        """Records of the window, row group by row group, each shard's behind its place in `after`.

        Records outside the window may be among them; with `wants_key`, all have such a key.
        """
        places = dict(after)
        known = self.state  # as it was before the files are listed, which may be more by then
        listed = _Ahead(self.files(window))
        for file in listed:
            behind = listed.next_of(file)
            if behind is not None and behind.first <= places.get(file.shard, -1) + 1:
                continue  # all of it is before the place
            yield from self._of_file(file, window, places, wants_key, MAX_CHANGES)
        if known is not None:
            told = {gap.shard for gap in self.gaps}
            ends = {shard: max(self._ends.get(shard, -1), after.get(shard, -1)) for shard in known.shards}
            self.gaps += [
                Gap(shard, None, None, why) for shard, why in missing_ends(known, ends, window) if shard not in told
            ]

    def _of_file(
        self, file: DataFile, window: Window, places: dict[str, int], wants_key: WantsKey | None, changes_left: int
    ) -> Iterator[list[Record]]:
        try:
            yield from self._of_unchanged(file, window, places, wants_key)
        except Changed:
            if not changes_left:
                raise damaged(f"{self._store.uri}/{file.path}", "it changes all the time") from None
            # It was merged with others, into the file before it or into itself.
            now = [each for each in self.files_of_hour(file.hour) if each.shard == file.shard]
            heirs = [each for each in now if each.first <= file.first]
            if not heirs:
                self._damage(damaged(f"{self._store.uri}/{file.path}", "it is gone"), file.shard)
                return
            yield from self._of_file(max(heirs), window, places, wants_key, changes_left - 1)

    def _of_unchanged(
        self, file: DataFile, window: Window, places: dict[str, int], wants_key: WantsKey | None
    ) -> Iterator[list[Record]]:
        source = None
        try:
            found, source = opened(self._store, file)
            self.opened_files += 1
            self.first_file, self.last_file = self.first_file or file.path, (file.path, found.last)
            self._check_chain(file, found)
            if found.last <= places.get(file.shard, -1):
                return
            for group in range(found.groups):
                records = self._of_group(found, group, window, places.get(file.shard, -1), wants_key)
                if records:
                    places[file.shard] = records[-1].place
                    yield records
            places[file.shard] = max(places.get(file.shard, -1), found.last)
        except Damaged as error:
            self._damage(error, file.shard)
        finally:
            if source is not None:
                self.fetched_bytes += source.fetched_bytes

    def _check_chain(self, file: DataFile, found: Opened) -> None:
        """A file says behind which number it was put: so one that was taken away between two is missed."""
        end, follows = self._ends.get(file.shard), found.about.follows
        self._ends[file.shard] = max(found.last, end or -1)
        if end is not None and follows is not None and int(follows) > end:
            why = f"a file is missing before {found.path}: records behind {end} up to {follows}"
            self.gaps.append(Gap(file.shard, None, None, why))

    def _of_group(
        self, found: Opened, group: int, window: Window, place: int, wants_key: WantsKey | None
    ) -> list[Record]:
        created = found.created(group)
        if created is not None and not window.overlaps(*created):
            return []
        if wants_key is not None and not any(map(wants_key, found.keys(group))):
            return []
        records = found.group(group)
        if records[0].place <= place:
            records = [record for record in records if record.place > place]
        if wants_key is not None:
            records = [record for record in records if wants_key(record.keys)]
        return records

    def _damage(self, error: Damaged, shard: str) -> None:
        if not self._skips_damaged:
            raise error
        self.gaps.append(Gap(shard, None, None, error.message))


def holds(store: Store, stream: StreamName, path: str, last: int | None = None) -> bool:
    """Whether the archive has that file, by itself or merged into one before it, with its records up to `last`. Raises
    Damaged where the file that should have them cannot be read."""
    known = data_file(path, 0, "")
    if known is None:
        return False
    files = [each for each in files_of_hour(store, stream, known.hour) if each.shard == known.shard]
    heirs = [each for each in files if each.first <= known.first]
    return bool(heirs) and (last is None or opened(store, max(heirs))[0].last >= last)


class _Ahead:
    """Files one after the other, each knowing the next of its shard among the few that are listed already."""

    def __init__(self, files: Iterator[DataFile]) -> None:
        self._files = files
        self._listed: list[DataFile] = []

    def __iter__(self) -> Iterator[DataFile]:
        while self._listed or self._fill():
            yield self._listed.pop(0)

    def _fill(self) -> bool:
        following = next(self._files, None)
        if following is None:
            return False
        self._listed.append(following)
        return True

    def next_of(self, file: DataFile) -> DataFile | None:
        while len(self._listed) < LOOK_AHEAD and self._fill():
            pass
        return next((each for each in self._listed if each.shard == file.shard), None)


LOOK_AHEAD = 200


def _until_hour(waiting: list[DataFile], hour: float) -> list[DataFile]:
    """Takes out the files of that hour and of those before, and what is to be read before them, by their first number.

    A straggler's file is filed an hour early. What it follows lies in the hour behind: of the same shard, or of its
    parent, known by its number. Only the files of one lineage have numbers that tell something of each other, so
    that what is taken for the number alone may be a straggler's file again: what that follows is taken as well.
    """
    highest = max((each.first for each in waiting if each.hour <= hour), default=-1)
    ends: dict[str, int] = {}
    for each in waiting:
        if each.hour <= hour or (each.hour <= hour + 1 and each.first <= highest):
            ends[each.shard] = max(each.first, ends.get(each.shard, -1))
    taken = sorted(each for each in waiting if each.first <= ends.get(each.shard, -1))
    waiting[:] = [each for each in waiting if each.first > ends.get(each.shard, -1)]
    return taken


def _bounds(window: Window) -> tuple[int | None, int | None]:
    """The first and last hour of which files may hold records of the window: a record is filed under its hour, or as a
    straggler under the next."""
    first = None if window.since_s is None else hour_of(window.since_s)
    last = None if window.until_s is None else hour_of(math.nextafter(window.until_s, 0.0)) + 1
    return first, last
