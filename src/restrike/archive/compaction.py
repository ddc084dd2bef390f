"""Merge the small files of a shard's hour, while captures write and others read.

The first of some files is written over with all of them, and only then the others are deleted, the oldest first.
Whoever reads goes shard by shard and leaves out what is not above the last number that it handed out, so that it sees
every record once, whichever of the files it finds; and the last name of a shard always says how far the archive is.

The command leaves alone what ended less than an hour ago. A capture that has put nothing for a quarter of that looks
again where the archive is, so that none relies on a name that is merged away.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec
import pyarrow as pa

from restrike.archive.footer import Damaged, damaged
from restrike.archive.inspection import numbers
from restrike.archive.layout import DataFile, StreamName
from restrike.archive.opened import Opened
from restrike.archive.places import files_of_hour, opened
from restrike.archive.reader import ArchiveReader
from restrike.archive.schema import ROW_GROUP_BYTES, ROW_GROUP_RECORDS
from restrike.archive.writing import Writer
from restrike.errors import UsageError
from restrike.stores.objects import Changed, Store

TARGET_BYTES = 128_000_000


class Merge(msgspec.Struct, frozen=True):
    """Files of one shard and hour, one after the other, that become one."""

    files: tuple[DataFile, ...]

    @property
    def size_bytes(self) -> int:
        return sum(each.size_bytes for each in self.files)


class Compacted(msgspec.Struct):
    """What a compaction did, or would do. Bytes are of the files; `left` counts merges that changed meanwhile;
    `damaged` names files that could not be read: what they were to be merged with stays as it is."""

    merges: int = 0
    files_before: int = 0
    files_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    left: int = 0
    damaged: list[str] = []


def merges(store: Store, stream: StreamName, *, before_s: float, target_bytes: int = TARGET_BYTES) -> Iterator[Merge]:
    """What to merge, of hours that ended before that time; each becomes at most about that large."""
    for hour in ArchiveReader(store, stream, skips_damaged=True).hours_ended_before(before_s):
        yield from _merges_of_hour(store, stream, hour, target_bytes)


def _merges_of_hour(store: Store, stream: StreamName, hour: int, target_bytes: int) -> Iterator[Merge]:
    shards: dict[str, list[DataFile]] = {}
    for file in sorted(files_of_hour(store, stream, hour)):
        shards.setdefault(file.shard, []).append(file)
    shards = {shard: files for shard, files in shards.items() if len(files) > 1}
    if not shards:
        return
    # A straggler's file may lie in the folder beside, between two of this one: what is merged ends there.
    beside = [file for each in (hour - 1, hour + 1) for file in files_of_hour(store, stream, each)]
    for shard, files in shards.items():
        breaks = sorted(file.first for file in beside if file.shard == shard)
        together: list[DataFile] = []
        size = 0
        for file in files:
            broken = bool(together) and any(together[-1].first < each < file.first for each in breaks)
            if broken or (size + file.size_bytes > target_bytes and not _covered(store, together, file)):
                if len(together) > 1:
                    yield Merge(tuple(together))
                together, size = [], 0
            together.append(file)
            size += file.size_bytes
        if len(together) > 1:
            yield Merge(tuple(together))


def _covered(store: Store, together: list[DataFile], file: DataFile) -> bool:
    """Whether a compaction that was killed has merged the file already: then it is deleted with them, not merged
    with those behind it."""
    for each in together:
        with contextlib.suppress(Changed, Damaged):
            if opened(store, each)[0].last >= file.first:
                return True
    return False


def compact(store: Store, stream: StreamName, *, before_s: float, target_bytes: int = TARGET_BYTES) -> Compacted:
    """Merges. Killed at any moment, it leaves an archive that reads the same, and goes on when it is run again."""
    done = Compacted()
    with store.lock(f"{stream.lock_path}.compact") as alone:
        if not alone:
            raise UsageError(f"another compaction of {stream} is running", "Wait for it.")
        for merge in merges(store, stream, before_s=before_s, target_bytes=target_bytes):
            try:
                size_bytes = _merge(store, merge)
            except Changed:
                size_bytes = None
            except Damaged as error:
                done.damaged.append(error.message)
                continue
            if size_bytes is None:
                done.left += 1
                continue
            done.merges += 1
            done.files_before += len(merge.files)
            done.files_after += 1
            done.bytes_before += merge.size_bytes
            done.bytes_after += size_bytes
    return done


def _merge(store: Store, merge: Merge) -> int | None:
    """The size of the merged file; None where its first file has been changed meanwhile."""
    found = [opened(store, file)[0] for file in merge.files]
    size_bytes = merge.files[0].size_bytes
    if any(each.last > found[0].last for each in found[1:]):
        data = _merged(found)
        size_bytes = len(data)
        if store.replace(merge.files[0].path, data, merge.files[0].etag) is None:
            return None
    else:
        held = set(numbers(found[0]))
        for each in found[1:]:
            if not set(numbers(each)) <= held:
                raise damaged(each.path, "it holds other records than the file before it, with numbers between its own")
    for file in merge.files[1:]:
        store.delete(file.path)
    return size_bytes


def _merged(files: list[Opened]) -> bytes:
    """One file of all of them; what a later one holds again is written once."""
    first = files[0]
    records = sum(each.records for each in files)
    held_bytes = sum(each.group_bytes(group) for each in files for group in range(each.groups))
    groups = max(held_bytes // ROW_GROUP_BYTES, records // ROW_GROUP_RECORDS) + 1
    writer = Writer(first.about, records // groups + 1)
    waiting: list[pa.RecordBatch] = []
    last = ""
    rows = size = 0
    for at, file in enumerate(files):
        if last and int(file.about.first) <= int(last):
            # A compaction was killed before it could delete what it had merged.
            held = {each for before in files[:at] for each in numbers(before)}
            if not set(numbers(file)) <= held:
                raise damaged(file.path, "it holds again a part of the file before it")
            continue
        for group in range(file.groups):
            batch = file.batch(group)
            waiting.append(batch)
            rows += batch.num_rows
            size += batch.nbytes
            if size >= ROW_GROUP_BYTES or rows >= ROW_GROUP_RECORDS:
                _write(writer, waiting)
                waiting, rows, size = [], 0, 0
        last = file.about.last
    if waiting:
        _write(writer, waiting)
    return writer.finish(first.about.first, last)


def _write(writer: Writer, waiting: list[pa.RecordBatch]) -> None:
    whole = pa.Table.from_batches([each for table in waiting for each in table.to_batches()]).combine_chunks()
    for batch in whole.to_batches():
        writer.add_batch(batch)
