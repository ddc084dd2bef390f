"""Where things are in an archive; names and nothing else.

    table=<name>/stream=<label>/date=YYYY-MM-DD/hour=HH/<shardId>.<first>.parquet   records
    table=<name>/stream=<label>/gaps/<from>-<to>.json                              what is known to be missing
    _capture/<name>.<label>.json                                                   how far whose capture is

A data file is one contiguous run of one shard in sequence order, named by its first sequence number, filled up with
zeros to 40 digits, in the folder of its first record's hour.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

HOUR_S = 3600
SEQUENCE_DIGITS = 40
SUFFIX = ".parquet"
GAPS = "gaps"
CAPTURES = "_capture"

_FILE = re.compile(r"date=(\d{4}-\d{2}-\d{2})/hour=(\d{2})/([^/]+)\.(\d{40})\.parquet")
_ARN = re.compile(r"arn:[\w-]+:dynamodb:([\w-]*):(\d*):table/([^/]+)/stream/(.+)")


class StreamName(msgspec.Struct, frozen=True, order=True):
    """A stream of an archive: the table's name, and the label that makes one stream of the table differ from another
    (the time at which it was switched on)."""

    table: str
    label: str

    @property
    def folder(self) -> str:
        return f"table={self.table}/stream={self.label}"

    @property
    def state_path(self) -> str:
        return f"{CAPTURES}/{self.table}.{self.label}.json"

    @property
    def lock_path(self) -> str:
        return f"{CAPTURES}/{self.table}.{self.label}.lock"

    def __str__(self) -> str:
        return f"{self.table} {self.label}"


class DataFile(msgspec.Struct, frozen=True, order=True):
    """A data file as its name tells it. `hour` is in hours since 1970."""

    first: int
    shard: str
    hour: int
    path: str
    size_bytes: int
    etag: str


def stream_name(arn: str) -> StreamName | None:
    """The stream of that ARN; None where it is no stream's."""
    found = _ARN.fullmatch(arn)
    return StreamName(found[3], found[4]) if found else None


def stream_of_folder(path: str) -> StreamName | None:
    """`…table=<name>/stream=<label>`; None where it is no such folder."""
    found = re.fullmatch(r"(?:.*/)?table=([^/]+)/stream=([^/]+)", path)
    return StreamName(found[1], found[2]) if found else None


def hour_of(created_s: float) -> int:
    """The hour that a creation time (epoch seconds) is in, in hours since 1970."""
    return int(created_s // HOUR_S)


def hour_folder(stream: StreamName, hour: int) -> str:
    moment = datetime.fromtimestamp(hour * HOUR_S, UTC)
    return f"{stream.folder}/date={moment:%Y-%m-%d}/hour={moment:%H}"


def hours_of_folders(folders: list[str]) -> list[int]:
    """The hours of `…/date=YYYY-MM-DD/hour=HH` folders, in order; what else is there is left out."""
    hours = []
    for folder in folders:
        found = re.search(r"date=(\d{4}-\d{2}-\d{2})/hour=(\d{2})$", folder)
        if found:
            hours.append(_hour(found[1], found[2]))
    return sorted(hours)


def day_of_folder(folder: str) -> int | None:
    """The first hour of a `…/date=YYYY-MM-DD` folder."""
    found = re.search(r"date=(\d{4}-\d{2}-\d{2})$", folder)
    return _hour(found[1], "00") if found else None


def _hour(date: str, hour: str) -> int:
    return hour_of(datetime.fromisoformat(f"{date}T{hour}:00:00+00:00").timestamp())


def file_path(stream: StreamName, hour: int, shard: str, first: int) -> str:
    return f"{hour_folder(stream, hour)}/{shard}.{first:0{SEQUENCE_DIGITS}d}{SUFFIX}"


def data_file(path: str, size_bytes: int, etag: str) -> DataFile | None:
    """The data file of that path; None where the name is not one's."""
    found = _FILE.search(path)
    if found is None or found.end() != len(path):
        return None
    try:
        hour = _hour(found[1], found[2])
    except ValueError:
        return None
    return DataFile(int(found[4]), found[3], hour, path, size_bytes, etag)


def gap_path(stream: StreamName, from_s: float, to_s: float) -> str:
    return f"{stream.folder}/{GAPS}/{_stamp(from_s)}-{_stamp(to_s)}.json"


def _stamp(moment_s: float) -> str:
    return f"{datetime.fromtimestamp(moment_s, UTC):%Y%m%dT%H%M%SZ}"
