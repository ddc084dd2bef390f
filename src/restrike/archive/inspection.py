"""Looking at an archive: what is in it (`ls`, `stat`), and whether it is what it says (`verify`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec

from restrike.archive.footer import Damaged, damaged
from restrike.archive.layout import HOUR_S, DataFile, StreamName, hour_of
from restrike.archive.opened import Opened
from restrike.archive.places import opened
from restrike.archive.reader import MAX_CHANGES, ArchiveReader
from restrike.archive.schema import key_hash
from restrike.archive.state import KnownGap, gaps, missing_ends
from restrike.model.times import iso
from restrike.model.window import Window
from restrike.stores.objects import Changed, Store

MAX_PROBLEMS = 1_000
FIRST_FILES = 4
"""Of an archive, that tell when it begins."""


def files(store: Store, names: list[StreamName], window: Window) -> Iterator[tuple[StreamName, DataFile]]:
    """The data files of those hours, in the order of their folders; what has no right name is left out."""
    for name in names:
        reader = ArchiveReader(store, name, skips_damaged=True)
        for hour in reader.hours(window):
            for file in sorted(reader.files_of_hour(hour), key=lambda each: (each.shard, each.first)):
                yield name, file


class HourStat(msgspec.Struct):
    """What an hour's folder holds. `hour` is in hours since 1970."""

    hour: int
    records: int = 0
    files: int = 0
    stored_bytes: int = 0


class Stat(msgspec.Struct):
    """What an archive holds, by hour. Times in epoch seconds; `damaged` says what could not be counted."""

    hours: list[HourStat]
    first_s: float | None
    last_s: float | None
    shards: int
    gaps: list[KnownGap]
    damaged: list[str]

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "records": sum(each.records for each in self.hours),
            "files": sum(each.files for each in self.hours),
            "bytes": sum(each.stored_bytes for each in self.hours),
            "shards": self.shards,
            "first": None if self.first_s is None else iso(self.first_s),
            "last": None if self.last_s is None else iso(self.last_s),
            "hours": [
                {
                    "hour": iso(each.hour * HOUR_S),
                    "records": each.records,
                    "files": each.files,
                    "bytes": each.stored_bytes,
                }
                for each in self.hours
            ],
            "gaps": [gap.as_json() for gap in self.gaps],
            "damaged": self.damaged,
        }


def stat(store: Store, names: list[StreamName], window: Window) -> Stat:
    """Counts by the files' footers. Memory holds a line for each hour and a name for each shard."""
    hours: dict[int, HourStat] = {}
    found = Stat([], None, None, 0, [gap for name in names for gap in gaps(store, name) if gap.touches(window)], [])
    shards: set[tuple[StreamName, str]] = set()
    for name in names:
        reader = ArchiveReader(store, name, skips_damaged=True)
        for hour in reader.hours(window):
            for file, content in _of_hour(store, reader, hour, found.damaged):
                shards.add((name, file.shard))
                at = hours.setdefault(hour, HourStat(hour))
                at.files += 1
                at.stored_bytes += file.size_bytes
                at.records += content.records
                for first_s, last_s in filter(None, map(content.created, range(content.groups))):
                    found.first_s = first_s if found.first_s is None else min(found.first_s, first_s)
                    found.last_s = last_s if found.last_s is None else max(found.last_s, last_s)
        found.damaged += [gap.why for gap in reader.gaps]
    found.hours = [hours[hour] for hour in sorted(hours)]
    found.shards = len(shards)
    return found


def _of_hour(store: Store, reader: ArchiveReader, hour: int, wrong: list[str]) -> list[tuple[DataFile, Opened]]:
    """The hour's files with their footers; again from the start where one was merged while we looked."""
    for _ in range(MAX_CHANGES):
        found: list[tuple[DataFile, Opened]] = []
        broken: list[str] = []
        try:
            for file in reader.files_of_hour(hour):
                try:
                    found.append((file, opened(store, file)[0]))
                except Damaged as error:
                    broken.append(error.message)
        except Changed:
            continue
        wrong += broken
        return found
    raise damaged(f"{store.uri}, hour {iso(hour * HOUR_S)}", "its files change all the time")


class Verdict(msgspec.Struct):
    """What `verify` found. `covered` are files that a compaction has merged and was not given the time to delete:
    nothing is wrong with the archive. `unchecked` counts the files whose footer has no checksum: what is wrong there
    may not be found."""

    files: int = 0
    records: int = 0
    problems: list[str] = []
    covered: list[str] = []
    gaps: list[KnownGap] = []
    unchecked: int = 0

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "ok": not self.problems,
            "files": self.files,
            "records": self.records,
            "problems": self.problems,
            "covered": self.covered,
            "unchecked": self.unchecked,
            "gaps": [gap.as_json() for gap in self.gaps],
        }


def verify(store: Store, names: list[StreamName]) -> Verdict:
    """Reads everything: names against content, order and duplicates within and between files, keys and images as JSON.

    Memory holds a row group, and a few numbers for each shard.
    """
    verdict = Verdict()
    for name in names:
        verdict.gaps += gaps(store, name)
        _Verifying(store, name, verdict).run()
        if len(verdict.problems) >= MAX_PROBLEMS:
            break
    return verdict


class _Verifying:
    """One stream under verification."""

    def __init__(self, store: Store, name: StreamName, verdict: Verdict) -> None:
        self._store = store
        self._reader = ArchiveReader(store, name, skips_damaged=True)
        self._verdict = verdict
        self._last: dict[str, int] = {}
        self._damaged: set[str] = set()  # shards of which not all could be read
        self._before: dict[str, DataFile] = {}
        self._first: dict[str, int] = {}

    def run(self) -> None:
        known = self._reader.state
        for file in self._reader.files(Window()):
            try:
                self._as_it_is(file)
            except Damaged as error:
                self._damaged.add(file.shard)
                self._problem(error.message)
            if len(self._verdict.problems) >= MAX_PROBLEMS:
                self._problem("and more: this is where it was given up")
                return
        self._verdict.problems += [gap.why for gap in self._reader.gaps]
        if known is not None:
            ends = missing_ends(known, self._last, Window())
            self._verdict.problems += [f"{shard}: {why}" for shard, why in ends if shard not in self._damaged]

    def _problem(self, text: str) -> None:
        self._verdict.problems.append(text)

    def _as_it_is(self, file: DataFile) -> None:
        """The file or, where a compaction has merged it meanwhile, the one that holds it now."""
        verdict, now = self._verdict, file
        for _ in range(MAX_CHANGES):
            before = verdict.files, verdict.records, len(verdict.problems)
            unchecked = verdict.unchecked
            try:
                self._file(now, file)
            except Changed:
                verdict.files, verdict.records, verdict.unchecked = *before[:2], unchecked
                del verdict.problems[before[2] :]
                there = [each for each in self._reader.files_of_hour(file.hour) if each.shard == file.shard]
                heirs = [each for each in there if each.first <= file.first]
                if not heirs:
                    raise damaged(file.path, "it is gone") from None
                now = max(heirs)
            else:
                return
        raise damaged(file.path, "it changes all the time")

    def _file(self, file: DataFile, asked: DataFile) -> None:
        """A file; where it is not the one that was asked for, that one is a part of it by now."""
        found, _ = opened(self._store, file)
        last = self._last.get(file.shard, -1)
        if file.path != asked.path and found.last < asked.first:
            raise damaged(asked.path, "it is gone")
        if file.first <= last:
            if file.path == asked.path:
                self._overlap(file, found, last)
                return
            if found.last <= last:
                return
        else:
            self._verdict.files += 1
            self._verdict.unchecked += not found.checked
            follows = found.about.follows
            if last >= 0 and follows is not None and int(follows) > last:
                missing = f"records behind {last} up to {follows}"
                self._problem(f"{found.path}: a file before it is missing, with the {missing}")
            parent = found.about.parent_shard
            if parent is not None and self._last.get(parent, -1) >= file.first:
                self._problem(f"{found.path}: begins before its parent {parent} ends")
        self._last[file.shard] = self._rows(file, found, last)
        self._before[file.shard] = file

    def _overlap(self, file: DataFile, found: Opened, last: int) -> None:
        """A file that begins within the one before it: covered by it, or twice the same."""
        before = self._before[file.shard]
        holding = [each for each in self._reader.files_of_hour(file.hour) if each.path == before.path]
        if found.last <= last and holding and set(numbers(found)) <= set(numbers(opened(self._store, holding[0])[0])):
            self._verdict.covered.append(found.path)
        else:
            self._problem(f"{found.path}: holds again what {before.path} holds")

    def _rows(self, file: DataFile, found: Opened, counted: int) -> int:
        """Checks the records of a file, and counts those behind that number; returns the last sequence number."""
        number: int = -1
        for group in range(found.groups):
            batch = found.batch(group)
            for place, shard, created, keys, told, new, old in zip(
                (int(each) for each in batch.column("sequence_number").to_pylist()),
                batch.column("shard_id").to_pylist(),
                batch.column("created_at").cast("int64").to_pylist(),
                batch.column("keys").to_pylist(),
                batch.column("key_hash").to_pylist(),
                batch.column("new_image").to_pylist(),
                batch.column("old_image").to_pylist(),
                strict=True,
            ):
                where = f"{found.path}, record {place}"
                if number < 0 and hour_of(created / 1000) != file.hour:
                    self._problem(f"{where}: the first is of another hour than its folder")
                if hour_of(created / 1000) > file.hour:
                    self._problem(f"{where}: it is of a later hour than its folder")
                if place <= number:
                    self._problem(f"{where}: it is not behind the one before it")
                if shard != file.shard:
                    self._problem(f"{where}: it is of shard {shard}")
                if key_hash(keys.encode()) != told:
                    self._problem(f"{where}: its key and its key_hash differ")
                if any(image is not None and not _is_object(image) for image in (new, old)):
                    self._problem(f"{where}: an image is no JSON object")
                self._verdict.records += place > counted
                number = place
                if len(self._verdict.problems) >= MAX_PROBLEMS:
                    return number
        if number != found.last:
            self._problem(f"{found.path}: ends with {number}, and says {found.last}")
        return number


def numbers(found: Opened) -> list[str]:
    """The sequence numbers of a file."""
    return [each for group in range(found.groups) for each in found.column(group, "sequence_number")]


def _is_object(text: str) -> bool:
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError:
        return False
    return True


class Extent(msgspec.Struct, frozen=True):
    """From when to when an archive holds a table's records, and what is known to be missing meanwhile. Times in epoch
    seconds, None where there is no record, or no capture wrote down how far it was; `saved_s` is when one was last at
    work, and `owner` who is, None after a clean end."""

    first_s: float | None
    until_s: float | None
    saved_s: float | None
    owner: str | None
    gaps: tuple[KnownGap, ...]


def extent(store: Store, names: list[StreamName]) -> Extent:
    """By a few listings and footers, and what captures wrote down: it costs the same however much there is. `names` are
    streams of one table, the oldest first."""
    first_s = next((moment for name in names if (moment := _first_s(store, name)) is not None), None)
    states = [state for name in names if (state := ArchiveReader(store, name).state) is not None]
    last = states[-1] if states else None
    return Extent(
        first_s=first_s,
        until_s=None if last is None else last.oldest_s,
        saved_s=None if last is None else last.saved_s,
        owner=None if last is None or last.owner is None else str(last.owner),
        gaps=tuple(gap for name in names for gap in gaps(store, name)),
    )


def _first_s(store: Store, name: StreamName) -> float | None:
    """When the first record of the stream that is kept was written, by the first files of its first hour."""
    reader = ArchiveReader(store, name, skips_damaged=True)
    for hour in reader.hours(Window()):
        moments = []
        for file in sorted(reader.files_of_hour(hour))[:FIRST_FILES]:
            with contextlib.suppress(Damaged, Changed):
                found = opened(store, file)[0].created(0)
                moments += [] if found is None else [found[0]]
        if moments:
            return min(moments)
    return None
