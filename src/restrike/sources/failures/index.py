"""What is known of messages and of the records that they point at, on disk: memory does not grow with either.

Sequence numbers are longer than SQLite's integers. Filled up with zeros they are texts in the order of the numbers.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from restrike.model.failure import PLACE_DIGITS, Failure, Pointer
from restrike.model.record import Record, read_record
from restrike.running.spool import written

PAGE_RECORDS, PAGE_BYTES = 500, 4_000_000
WHOLE, PARTLY, UNREAD = "whole", "partly", "unread"
FROM_PAYLOAD = "its payload"

_MESSAGES = """
CREATE TABLE IF NOT EXISTS messages (
  number INTEGER PRIMARY KEY, path TEXT NOT NULL, etag TEXT NOT NULL, within TEXT NOT NULL, why TEXT NOT NULL,
  kind TEXT, function TEXT, condition TEXT,
  failed_s REAL, stream TEXT, shard TEXT, first TEXT, last TEXT, first_s REAL, last_s REAL, records INTEGER
);
CREATE TABLE IF NOT EXISTS records (
  stream TEXT NOT NULL, shard TEXT NOT NULL, place TEXT NOT NULL, raw BLOB NOT NULL,
  PRIMARY KEY (stream, shard, place)
);
CREATE TABLE IF NOT EXISTS brought (
  stream TEXT NOT NULL, shard TEXT NOT NULL, first TEXT NOT NULL, last TEXT NOT NULL, state TEXT NOT NULL,
  PRIMARY KEY (stream, shard, first, last)
) WITHOUT ROWID
"""
_POINTED_AT = """
CREATE TABLE IF NOT EXISTS records (
  stream TEXT NOT NULL, shard TEXT NOT NULL, place TEXT NOT NULL, raw BLOB NOT NULL,
  PRIMARY KEY (stream, shard, place)
);
CREATE TABLE IF NOT EXISTS pointers (
  stream TEXT NOT NULL, shard TEXT NOT NULL, first TEXT NOT NULL, last TEXT NOT NULL, state TEXT NOT NULL,
  source TEXT NOT NULL, PRIMARY KEY (stream, shard, first, last)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shards (
  stream TEXT NOT NULL, shard TEXT NOT NULL, turn INTEGER NOT NULL, PRIMARY KEY (stream, shard)
) WITHOUT ROWID
"""

_FOLLOWED = """
CREATE TEMP TABLE wanted (stream TEXT NOT NULL, function TEXT);
CREATE TEMP VIEW followed AS SELECT * FROM taken.messages m WHERE why = '' AND EXISTS (
  SELECT 1 FROM temp.wanted w WHERE w.stream = m.stream AND w.function IS m.function
);
CREATE TEMP VIEW pointing AS SELECT * FROM temp.followed f WHERE NOT EXISTS (
  SELECT 1 FROM taken.brought b
  WHERE b.stream = f.stream AND b.shard = f.shard AND b.first = f.first AND b.last = f.last
)
"""
_BY_NUMBER = (
    "SELECT number, path, etag, path || within, why, kind, function, coalesce(condition, ''), failed_s, "
    "stream, shard, first, last, first_s, last_s, records FROM taken.messages ORDER BY number"
)
_BY_ARRIVAL = _BY_NUMBER.replace("ORDER BY", "ORDER BY first_s IS NULL, first_s,")
_ORIGINS = "SELECT DISTINCT stream, function FROM taken.messages WHERE why = '' ORDER BY stream, function"


class Message(msgspec.Struct, frozen=True):
    """A message of the index. `why` is empty where it was taken. It lies in the file or object `path`, as that had the
    `etag`; `name` says where in it, too."""

    number: int
    path: str
    etag: str
    name: str
    why: str
    kind: str | None
    function: str | None
    condition: str
    failed_s: float | None
    pointer: Pointer | None


class Outcome(msgspec.Struct, frozen=True):
    """What became of a pointer. `state` is WHOLE, PARTLY (its beginning is lost), UNREAD (it may be there, and was
    not to be read) or empty (all of it is lost); `source` is where it was looked for last, or why it could not be."""

    pointer: Pointer
    state: str
    source: str

    @property
    def lost(self) -> str:
        """What of its batch is not to be had; empty where it is whole."""
        if self.state == WHOLE:
            return ""
        if self.state == UNREAD:
            return f"its batch cannot be read: {self.source}"
        what = "the beginning of its batch" if self.state == PARTLY else "its batch"
        return f"{what} is lost: {self.source}"


def place_text(number: int) -> str:
    return f"{number:0{PLACE_DIGITS}d}"


Origin = tuple[str, str | None]
"""Whence a message comes: the stream's ARN, and the function's, None for a pipe."""


class Index:
    """Both files. `pointed_at` may be a file of a plan's own. With `wanted` only messages of those origins are followed
    and read."""

    def __init__(self, messages: Path, pointed_at: Path, wanted: Iterable[Origin] = ()) -> None:
        self._path = pointed_at
        self.folder = pointed_at.parent
        with written(pointed_at):
            private(pointed_at)
            self._db = sqlite3.connect(pointed_at, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_POINTED_AT)
            self._db.execute("ATTACH ? AS taken", (str(messages),))
            self._db.executescript(_FOLLOWED)
            origins = list(wanted) or self._db.execute(_ORIGINS).fetchall()
            self._db.executemany("INSERT INTO temp.wanted VALUES (?, ?)", origins)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────

    def messages(self, *, by_arrival: bool = False) -> Iterator[Message]:
        """All of them, in the order in which they were listed, or by when what they point at arrived: the soonest to
        expire first."""
        for row in self._db.execute(_BY_ARRIVAL if by_arrival else _BY_NUMBER):
            number, path, etag, name, why, kind, function, condition, failed_s, *of_it = row
            pointer = None if of_it[0] is None else _pointer(of_it)
            yield Message(number, path, etag, name, why, kind, function, condition, failed_s, pointer)

    def untaken(self) -> list[tuple[str, int]]:
        """Why messages are left where they are, and how many; the most frequent first."""
        query = "SELECT why, count(*) FROM taken.messages WHERE why <> '' GROUP BY why ORDER BY 2 DESC"
        return list(self._db.execute(query))

    def origins(self) -> list[Origin]:
        """Whence the messages come that are followed."""
        query = "SELECT stream, function FROM temp.wanted ORDER BY stream, function"
        return list(self._db.execute(query))

    def streams(self) -> list[str]:
        """The streams that are pointed into, that of the oldest pointer first."""
        query = "SELECT stream FROM followed GROUP BY stream ORDER BY min(first_s), stream"
        return [stream for (stream,) in self._db.execute(query)]

    def shards(self, stream: str) -> list[tuple[str, int]]:
        """The stream's shards that are pointed into, and the first number in each: the oldest pointer first, which is
        the soonest to expire."""
        query = (
            "SELECT shard, min(first) FROM followed WHERE stream = ? GROUP BY shard ORDER BY min(first_s), min(first)"
        )
        return [(shard, int(first)) for shard, first in self._db.execute(query, (stream,))]

    def pointers(self, stream: str, shard: str) -> list[Pointer]:
        """The shard's pointers, each once, by their first number."""
        query = (
            "SELECT stream, shard, first, last, min(first_s), max(last_s), max(records) FROM followed "
            "WHERE stream = ? AND shard = ? GROUP BY first, last ORDER BY first, last"
        )
        return [_pointer(row) for row in self._db.execute(query, (stream, shard))]

    def brought(self, pointer: Pointer) -> str:
        """What a message has brought along of what it points at: WHOLE, PARTLY, or empty."""
        query = "SELECT state FROM taken.brought WHERE stream = ? AND shard = ? AND first = ? AND last = ?"
        row = self._db.execute(query, _key(pointer)).fetchone()
        return "" if row is None else str(row[0])

    def pointing(self) -> int:
        """How many messages bring no records along."""
        return int(self._db.execute("SELECT count(*) FROM temp.pointing").fetchone()[0])

    def expired(self, by_s: float) -> int:
        """How many of those point at what arrived before then."""
        return int(self._db.execute("SELECT count(*) FROM temp.pointing WHERE first_s < ?", (by_s,)).fetchone()[0])

    def oldest(self, since_s: float) -> float | None:
        """When the first record arrived that is pointed at and was not read yet; of what arrived since then."""
        query = (
            "SELECT min(first_s) FROM temp.pointing f WHERE first_s >= ? AND NOT EXISTS (SELECT 1 FROM pointers p "
            "WHERE p.stream = f.stream AND p.shard = f.shard AND p.first = f.first AND p.last = f.last "
            "AND p.state <> ?)"
        )
        (found,) = self._db.execute(query, (since_s, UNREAD)).fetchone()
        return None if found is None else float(found)

    def view_type(self) -> str | None:
        """The view type of a record that a message brought along, as it says itself."""
        row = self._db.execute("SELECT raw FROM taken.records LIMIT 1").fetchone()
        if row is None:
            return None
        change = msgspec.json.decode(row[0])["dynamodb"]
        found = change.get("StreamViewType")
        return found if isinstance(found, str) else None

    def count(self) -> tuple[int, float | None, float | None]:
        """About how many records are pointed at, and when the first and the last of them arrived."""
        query = (
            "SELECT coalesce(sum(records), 0), min(first_s), max(last_s) FROM (SELECT max(records) AS records, "
            "min(first_s) AS first_s, max(last_s) AS last_s FROM followed "
            "GROUP BY stream, shard, first, last)"
        )
        count, first_s, last_s = self._db.execute(query).fetchone()
        return int(count), first_s, last_s

    # ── what pointers led to ─────────────────────────────────────────────────────────────────────────────

    def put(self, records: Iterable[Record]) -> None:
        rows = [(each.stream_arn, each.shard, place_text(each.place), each.raw) for each in records]
        with written(self._path):
            self._db.execute("BEGIN")
            self._db.executemany("INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?)", rows)
            self._db.execute("COMMIT")

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """What became of pointers; one that is whole stays so."""
        rows = [(*_key(each.pointer), each.state, each.source) for each in outcomes]
        with written(self._path):
            self._db.execute("BEGIN")
            self._db.executemany("INSERT OR REPLACE INTO pointers VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._db.execute("COMMIT")

    def outcome(self, pointer: Pointer) -> Outcome | None:
        """None where it was not looked for yet."""
        brought = self.brought(pointer)
        if brought == WHOLE:
            return Outcome(pointer, WHOLE, FROM_PAYLOAD)
        query = "SELECT state, source FROM pointers WHERE stream = ? AND shard = ? AND first = ? AND last = ?"
        row = self._db.execute(query, _key(pointer)).fetchone()
        if row is None:
            return None
        state, source = row
        return Outcome(pointer, brought or state, source) if state in ("", UNREAD) else Outcome(pointer, state, source)

    def order(self, stream: str, shards: Iterable[str]) -> None:
        """In which turn the stream's shards are read: this is kept, since the stream forgets it."""
        known = dict(self._db.execute("SELECT shard, turn FROM shards WHERE stream = ?", (stream,)))
        rows = [(stream, shard, turn) for turn, shard in enumerate(shards, len(known)) if shard not in known]
        with written(self._path):
            self._db.executemany("INSERT INTO shards VALUES (?, ?, ?)", rows)

    def ordered(self, stream: str) -> list[str]:
        """Those that have no turn yet last: that of the oldest pointer first."""
        query = "SELECT shard FROM shards WHERE stream = ? ORDER BY turn"
        known = [shard for (shard,) in self._db.execute(query, (stream,))]
        return known + [shard for shard, _ in self.shards(stream) if shard not in known]

    def records(self, stream: str, shard: str, ranges: Iterable[tuple[int, int]], after: int) -> Iterator[list[Record]]:
        """Pages of the shard's records within those ranges, which rise and do not overlap, and behind a place."""
        page: list[Record] = []
        size_bytes = 0
        for first, last in ranges:
            if last <= after:
                continue
            for record in self._range(stream, shard, max(first, after + 1), last):
                page.append(record)
                size_bytes += len(record.raw)
                if len(page) >= PAGE_RECORDS or size_bytes >= PAGE_BYTES:
                    yield page
                    page, size_bytes = [], 0
        if page:
            yield page

    def _range(self, stream: str, shard: str, first: int, last: int) -> Iterator[Record]:
        """Those of the two files, each once."""
        bounds = (stream, shard, place_text(first), place_text(last))
        cursors = [
            self._db.execute(
                f"SELECT place, raw FROM {file}.records WHERE stream = ? AND shard = ? AND place BETWEEN ? AND ? "  # noqa: S608 - our own names
                "ORDER BY place",
                bounds,
            )
            for file in ("main", "taken")
        ]
        before = ""
        for place, raw in heapq.merge(*cursors, key=lambda row: row[0]):
            if place != before:
                before = place
                yield read_record(raw, shard=shard, place=int(place), stream_arn=stream, fidelity="exact")


def copy(there: Path, here: Path) -> None:
    """As it stands now; whoever writes it may go on."""
    with written(here):
        private(here)
        with contextlib.closing(sqlite3.connect(there)) as one, contextlib.closing(sqlite3.connect(here)) as other:
            one.backup(other)


def private(path: Path) -> None:
    """Makes the file for nobody else to read: whole images stand in it."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))


Lies = tuple[str, str, str]
"""Where a message lies: the path of the file or object, its ETag, and where in it."""


class Taking:
    """Writes the file of messages, from its beginning."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with written(path):
            path.unlink(missing_ok=True)
            private(path)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA synchronous=OFF")  # what is kept for the run is made durable as it is moved there
            self._db.execute("PRAGMA journal_mode=MEMORY")
            self._db.executescript(_MESSAGES)
            self._db.execute("BEGIN")
        self._number = 0

    def refuse(self, lies: Lies, why: str) -> None:
        """A message that is not taken."""
        self._number += 1
        with written(self._path):
            self._db.execute(
                "INSERT INTO messages (number, path, etag, within, why) VALUES (?, ?, ?, ?, ?)",
                (self._number, *lies, why),
            )

    def add(self, lies: Lies, found: Failure) -> None:
        self._number += 1
        pointer = found.pointer
        row = (self._number, *lies, "", found.kind, found.function, found.condition, found.failed_s)
        of_it = (*_key(pointer), pointer.first_s, pointer.last_s, len(found.payload or ()) or pointer.records)
        with written(self._path):
            self._db.execute(f"INSERT INTO messages VALUES ({', '.join('?' * 16)})", (*row, *of_it))  # noqa: S608 - marks
        self.bring(found)

    def bring(self, found: Failure) -> None:
        """What the message has with it, for whoever points there."""
        if found.payload is None:
            return
        pointer = found.pointer
        rows = [(pointer.stream_arn, pointer.shard, place_text(each.place), each.raw) for each in found.payload]
        with written(self._path):
            self._db.executemany("INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?)", rows)
            self._db.execute(
                "INSERT INTO brought VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET state = excluded.state WHERE excluded.state = 'whole'",
                (*_key(pointer), PARTLY if found.partly else WHOLE),
            )

    def close(self) -> int:
        """How many messages it holds."""
        with written(self._path):
            self._db.execute("COMMIT")
        self._db.close()
        return self._number


def _key(pointer: Pointer) -> tuple[str, str, str, str]:
    return (pointer.stream_arn, pointer.shard, place_text(pointer.first), place_text(pointer.last))


def _pointer(row: Sequence[Any]) -> Pointer:
    stream, shard, first, last, first_s, last_s, records = row
    return Pointer(stream, shard, int(first), int(last), first_s, last_s, records or 0)
