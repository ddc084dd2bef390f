"""Throw away what is older than somebody wants to keep; never the last 48 hours."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from restrike.archive.layout import HOUR_S, DataFile, StreamName
from restrike.archive.reader import ArchiveReader
from restrike.errors import UsageError
from restrike.stores.objects import Store

KEPT_S = 48 * 3600.0


class Pruned(msgspec.Struct):
    """What was thrown away, or would be. `to_s` (epoch seconds): the end of the last hour of it."""

    files: int = 0
    stored_bytes: int = 0
    to_s: float | None = None


def older_files(store: Store, stream: StreamName, *, before_s: float) -> Iterator[DataFile]:
    """The files of hours that ended before that time, the oldest first."""
    reader = ArchiveReader(store, stream, skips_damaged=True)
    for hour in reader.hours_ended_before(before_s):
        yield from sorted(reader.files_of_hour(hour))


def prune(store: Store, stream: StreamName, *, older_than_s: float, now_s: float, execute: bool) -> Pruned:
    """Counts the files of hours that ended so long ago, and with `execute` deletes them."""
    if older_than_s < KEPT_S:
        raise UsageError("the last 48 hours are never thrown away", "Give --older-than 48h or more.")
    done = Pruned()
    for file in older_files(store, stream, before_s=now_s - older_than_s):
        done.files += 1
        done.stored_bytes += file.size_bytes
        done.to_s = (file.hour + 1) * HOUR_S
        if execute:
            store.delete(file.path)
    return done
