"""What an audit knows, in a file of the run's folder: how far each side is read, what differs, and what that is.

Each method is one transaction, and says the same when it is done again: so who is killed goes on from the last.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from restrike.auditing.comparing import Compared, Suspicion, Tally
from restrike.auditing.rows import FilePlace, Unreadable
from restrike.errors import SourceLacks
from restrike.running.spool import written
from restrike.selecting.read import Place

FILE = "audit.db"
DIFFERENCES = ("missing", "stale", "extra")
_KINDS = (*DIFFERENCES, "uncompared")
_AT_ONCE = 1_000

_TABLES = """
CREATE TABLE IF NOT EXISTS about (id TEXT);
CREATE TABLE IF NOT EXISTS sides (side TEXT PRIMARY KEY, state BLOB);
CREATE TABLE IF NOT EXISTS parts (part INTEGER PRIMARY KEY, tally BLOB);
CREATE TABLE IF NOT EXISTS differences (
  position INTEGER PRIMARY KEY, part INTEGER, key BLOB UNIQUE, theirs BLOB, selected INTEGER, kind TEXT,
  changed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS open ON differences (position) WHERE kind IS NULL;
CREATE TABLE IF NOT EXISTS unreadable (line INTEGER PRIMARY KEY, key BLOB, why TEXT);
CREATE TABLE IF NOT EXISTS duplicates (key BLOB PRIMARY KEY, part INTEGER) WITHOUT ROWID
"""


class SideState(msgspec.Struct):
    """How far a side is read: `batches` of it are on the disk, and hold all up to its places. `began_s`: when reading
    began, by the service's clock (epoch seconds)."""

    began_s: float = 0.0
    batches: int = 0
    rows: int = 0
    unreadable: int = 0
    done: bool = False
    places: dict[str, Place] = {}
    file: FilePlace | None = None


class Book:
    """The file. `stood_on` is the id of the one that an earlier part of the run wrote; SourceLacks where it is gone."""

    def __init__(self, folder: Path, stood_on: str | None) -> None:
        path = folder / FILE
        with written(path):
            # Keys and values of items are people's data: nobody else reads them.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_TABLES)
            self._db.execute(
                "INSERT INTO about SELECT ? WHERE NOT EXISTS (SELECT 1 FROM about)", (secrets.token_hex(8),)
            )
            self.id = str(self._db.execute("SELECT id FROM about").fetchone()[0])
        self._path = path
        if stood_on is not None and stood_on != self.id:
            self.close()
            raise lost(f"{path}, in which the run wrote down what it had read, is gone or another")

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with written(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────

    def side(self, name: str) -> SideState:
        row = self._db.execute("SELECT state FROM sides WHERE side = ?", (name,)).fetchone()
        return SideState() if row is None else msgspec.json.decode(row[0], type=SideState)

    def save_side(self, name: str, state: SideState, unreadable: Iterable[Unreadable] = ()) -> None:
        """With the rows that could not be read since the last save."""
        with self._transaction() as db:
            db.executemany(
                "INSERT OR REPLACE INTO unreadable VALUES (?, ?, ?)",
                ((each.line, each.key, each.why) for each in unreadable),
            )
            db.execute("INSERT OR REPLACE INTO sides VALUES (?, ?)", (name, msgspec.json.encode(state)))

    # ── comparing ────────────────────────────────────────────────────────────────────────────────────────

    def compared_parts(self) -> set[int]:
        return {part for (part,) in self._db.execute("SELECT part FROM parts")}

    def save_parts(self, compared: Mapping[int, Compared]) -> None:
        with self._transaction() as db:
            for part, found in compared.items():
                db.executemany(
                    "INSERT OR REPLACE INTO differences (part, key, theirs, selected) VALUES (?, ?, ?, ?)",
                    ((part, *each) for each in found.different),
                )
                db.executemany("INSERT OR REPLACE INTO duplicates VALUES (?, ?)", ((key, part) for key in found.twice))
                db.execute("INSERT OR REPLACE INTO parts VALUES (?, ?)", (part, msgspec.json.encode(found.tally)))

    def tally(self) -> Tally:
        total = Tally()
        for (tally,) in self._db.execute("SELECT tally FROM parts"):
            total.add(msgspec.json.decode(tally, type=Tally))
        return total

    # ── judging ──────────────────────────────────────────────────────────────────────────────────────────

    def suspicions(self, most: int) -> list[Suspicion]:
        """Differences that were not read once more."""
        rows = self._db.execute(
            "SELECT key, theirs, selected FROM differences WHERE kind IS NULL ORDER BY position LIMIT ?", (most,)
        )
        return [Suspicion(key, theirs, bool(selected)) for key, theirs, selected in rows]

    def judge(self, verdicts: Sequence[tuple[str, bytes]]) -> None:
        """(What it is, key) of differences that were."""
        with self._transaction() as db:
            db.executemany("UPDATE differences SET kind = ? WHERE key = ?", verdicts)

    def differences(self) -> int:
        """How many there are, whether or not they have moved."""
        return sum(self.count(kind) for kind in DIFFERENCES)

    def note_changed(self, keys: Iterable[bytes]) -> None:
        """Those were written since the other side was read."""
        with self._transaction() as db:
            db.executemany("UPDATE differences SET changed = 1 WHERE key = ?", ((key,) for key in keys))

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────

    def count(self, kind: str) -> int:
        """Of differences those that have moved count as `moved` and not by their kind."""
        query, parameters = _query(kind)
        return int(self._db.execute(f"SELECT count(*) FROM differences WHERE {query}", parameters).fetchone()[0])  # noqa: S608

    def keys(self, kind: str) -> Iterator[bytes]:
        query, parameters = _query(kind)
        position = -1
        while rows := self._db.execute(
            f"SELECT position, key FROM differences WHERE {query} AND position > ? ORDER BY position LIMIT {_AT_ONCE}",  # noqa: S608
            (*parameters, position),
        ).fetchall():
            for position, key in rows:  # noqa: B007 - the last one goes into the next read
                yield bytes(key)

    def unreadable(self) -> Iterator[Unreadable]:
        for line, key, why in self._db.execute("SELECT line, key, why FROM unreadable ORDER BY line"):
            yield Unreadable(line, why, key)

    def duplicates(self) -> Iterator[bytes]:
        for (key,) in self._db.execute("SELECT key FROM duplicates"):
            yield bytes(key)


def lost(message: str) -> SourceLacks:
    """An error for what a run cannot go on without."""
    error = SourceLacks(message, "Without that this run cannot go on: begin anew under another --run.")
    error.can_go_on = False
    return error


def _query(kind: str) -> tuple[str, tuple[str, ...]]:
    if kind == "moved":
        return f"changed AND kind IN ({', '.join('?' * len(_KINDS))})", _KINDS
    return "kind = ? AND NOT changed" if kind in _KINDS else "kind = ?", (kind,)
