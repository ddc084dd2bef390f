"""Throw away what is older than somebody wants to keep; never the last 48 hours."""

from __future__ import annotations

import msgspec

from restrike.archive.layout import HOUR_S, DataFile, StreamName, data_file, hour_folder
from restrike.archive.reader import ArchiveReader
from restrike.archive.state import KEPT_S
from restrike.errors import UsageError
from restrike.stores.objects import Store


class Pruned(msgspec.Struct):
    """What was thrown away, or would be. `to_s` (epoch seconds): the end of the last hour of it. `young_hours`: old by
    their records, and kept since a file of theirs was written within the last 48 hours."""

    files: int = 0
    stored_bytes: int = 0
    to_s: float | None = None
    young_hours: int = 0


def prune(
    store: Store, stream: StreamName, *, older_than_s: float, now_s: float, stamped_s: float, execute: bool
) -> Pruned:
    """Counts the files of hours that ended so long ago, the oldest first, and with `execute` deletes them.

    An hour of which a file was written within 48 hours, by the clock that stamps files, is left alone whatever its
    records say: a clock that is wrong must not throw away what has just come. The times are those of `clock`.
    """
    if older_than_s < KEPT_S:
        raise UsageError("the last 48 hours are never thrown away", "Give --older-than 48h or more.")
    done = Pruned()
    for hour in ArchiveReader(store, stream, skips_damaged=True).hours_ended_before(now_s - older_than_s):
        files, written_s = _hour(store, stream, hour)
        if written_s > stamped_s - KEPT_S:
            done.young_hours += 1
            continue
        for file in files:
            done.files += 1
            done.stored_bytes += file.size_bytes
            done.to_s = (file.hour + 1) * HOUR_S
            if execute:
                store.delete(file.path)
    return done


def _hour(store: Store, stream: StreamName, hour: int) -> tuple[list[DataFile], float]:
    """The hour's data files in order, and when the last of them was written (epoch seconds)."""
    listed = store.objects(hour_folder(stream, hour))
    found = [file for each in listed if (file := data_file(each.path, each.size_bytes, each.etag)) is not None]
    return sorted(found), max((each.modified_s for each in listed), default=0.0)
