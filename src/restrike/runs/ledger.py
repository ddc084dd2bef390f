"""The durable record of runs: what each is, how far it is, and what it left over. SQLite, in one file.

A run's progress is saved as one transaction that is consistent in itself: the places in the selection, the
counts up to those places, the places in the stream and the keys that are still awaited there. Whoever is
killed in between goes on from the last of these.

Whether a run is active is not a row but a lock on a file in the run's folder: the kernel takes it back from
a process that dies, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, cast

import msgspec
import platformdirs

from restrike.errors import RestrikeError, UsageError
from restrike.model.report import Counts, State

RUN_NAME = re.compile(r"[.A-Za-z0-9_-]{1,64}")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
  name TEXT PRIMARY KEY, verb TEXT NOT NULL, table_arn TEXT NOT NULL, identity TEXT NOT NULL,
  request BLOB NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', epoch INTEGER NOT NULL DEFAULT 1,
  counts BLOB NOT NULL, unit_counts BLOB NOT NULL, consumed_wcu REAL, seen INTEGER, elapsed_s REAL NOT NULL DEFAULT 0,
  stream_start_s REAL, created_at REAL NOT NULL, updated_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS places (
  run TEXT NOT NULL, strand TEXT NOT NULL, after BLOB, done INTEGER NOT NULL,
  PRIMARY KEY (run, strand)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stream_places (
  run TEXT NOT NULL, shard TEXT NOT NULL, sequence_number TEXT NOT NULL,
  PRIMARY KEY (run, shard)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (
  run TEXT NOT NULL, kind TEXT NOT NULL, key BLOB NOT NULL,
  PRIMARY KEY (run, kind, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (
  run TEXT NOT NULL, key BLOB NOT NULL, before TEXT, after TEXT NOT NULL, epoch INTEGER NOT NULL,
  outcome TEXT, seen INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (run, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS replays (
  run TEXT PRIMARY KEY, counts BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lane_places (
  run TEXT NOT NULL, lane INTEGER NOT NULL, shard TEXT NOT NULL, place TEXT NOT NULL,
  PRIMARY KEY (run, lane, shard)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leftovers (
  run TEXT NOT NULL, key BLOB NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL,
  PRIMARY KEY (run, key)
) WITHOUT ROWID;
"""


class Run(msgspec.Struct):
    """One row of the ledger. Times in epoch seconds; `request` is what the verb needs to go on, as JSON.

    `counts` is what is shown (of a replay: what was delivered as `fired`); `unit_counts` leaves out what a
    counter's own rows tell.
    """

    name: str
    verb: str
    table_arn: str
    identity: str
    request: bytes
    state: State
    reason: str
    epoch: int
    counts: Counts
    unit_counts: Counts
    consumed_wcu: float | None
    seen: int | None
    elapsed_s: float
    stream_start_s: float | None
    created_at: float
    updated_at: float

    @property
    def table(self) -> str:
        """The table's name; of a replay its source, as it was named."""
        return self.table_arn if self.verb == "replay" else self.table_arn.rpartition("/")[2]


class Leftover(msgspec.Struct, frozen=True):
    """An item that a run did not fire, or whose record was not seen: its canonical key and why."""

    key: bytes
    code: str
    message: str


class Place(msgspec.Struct, frozen=True):
    """How far a strand is: behind that key (raw JSON), or done."""

    after: bytes | None
    done: bool


def default_path() -> Path:
    """`ledger.db` in the user's state folder (XDG_STATE_HOME is heeded)."""
    return Path(platformdirs.user_state_dir("restrike")) / "ledger.db"


def check_run_name(name: str) -> None:
    # A run has a folder of its name: dots alone would name another.
    if not RUN_NAME.fullmatch(name) or not name.strip("."):
        raise UsageError(f"{name!r} is no name for a run", "Use 1 to 64 letters, digits, dots, dashes and underscores.")


class Ledger:
    """The ledger file. Use as a context manager."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode=WAL")
            # A commit survives a power cut: the counter's write-ahead and the places rely on it.
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise RestrikeError(
                f"cannot open the ledger {self.path}: {error}", "Give another file with --ledger."
            ) from None
        self._locks: dict[str, IO[str]] = {}

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for name in list(self._locks):
            self.release(name)
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is durable together, or not at all."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise RestrikeError(
                f"cannot write the ledger {self.path}: {error}",
                "Make room or give another file with --ledger; what is done so far is saved.",
            ) from None

    # ── runs ─────────────────────────────────────────────────────────────────────────────────────────────

    def folder(self, name: str) -> Path:
        """The run's folder: its lock, its keys, what it could not deliver."""
        return self.path.parent / f"{self.path.stem}-runs" / name

    def find(self, name: str) -> Run | None:
        rows = self._runs("WHERE name = ?", (name,))
        return rows[0] if rows else None

    def get(self, name: str) -> Run:
        run = self.find(name)
        if run is None:
            raise UsageError(f"no run {name!r} in {self.path}", "See `restrike runs list`.")
        return run

    def runs(self) -> list[Run]:
        """All runs, the newest first."""
        return self._runs("ORDER BY created_at DESC", ())

    def _runs(self, where: str, parameters: tuple[object, ...]) -> list[Run]:
        columns = Run.__struct_fields__
        cursor = self._db.execute(f"SELECT {', '.join(columns)} FROM runs {where}", parameters)  # noqa: S608 - our own
        found = []
        for row in cursor.fetchall():
            values = dict(zip(columns, row, strict=True))
            for member in ("counts", "unit_counts"):
                values[member] = msgspec.json.decode(values[member])
            found.append(msgspec.convert(values, Run))
        return found

    def enter(
        self,
        name: str,
        *,
        verb: str,
        table_arn: str,
        identity: str,
        request: bytes,
        stream_start_s: float | None = None,
    ) -> Run:
        """A new run, which has done nothing yet."""
        none, now = msgspec.json.encode(Counts()), time.time()
        self._db.execute(
            "INSERT INTO runs (name, verb, table_arn, identity, request, state, counts, unit_counts, stream_start_s, "
            "created_at, updated_at) VALUES (?, ?, ?, ?, ?, 'STARTING', ?, ?, ?, ?, ?)",
            (name, verb, table_arn, identity, request, none, none, stream_start_s, now, now),
        )
        return self.get(name)

    def set_state(self, name: str, state: State, reason: str = "") -> None:
        self._db.execute(
            "UPDATE runs SET state = ?, reason = ?, updated_at = ? WHERE name = ?", (state, reason, time.time(), name)
        )

    def finish(self, name: str, state: State, counts: Counts, unit_counts: Counts, seen: int | None) -> None:
        """Inside a transaction: the run's end, its last counts, and nothing more that is awaited."""
        self._db.execute(
            "UPDATE runs SET state = ?, reason = '', counts = ?, unit_counts = ?, seen = ?, updated_at = ? "
            "WHERE name = ?",
            (state, msgspec.json.encode(counts), msgspec.json.encode(unit_counts), seen, time.time(), name),
        )
        self._db.execute("DELETE FROM keys WHERE run = ?", (name,))

    def state(self, name: str) -> State | None:
        row = self._db.execute("SELECT state FROM runs WHERE name = ?", (name,)).fetchone()
        return cast(State, row[0]) if row else None

    def set_request(self, name: str, request: bytes) -> None:
        self._db.execute("UPDATE runs SET request = ? WHERE name = ?", (request, name))

    def set_stream_start(self, name: str, start_s: float | None) -> None:
        self._db.execute("UPDATE runs SET stream_start_s = ? WHERE name = ?", (start_s, name))

    def begin_again(self, name: str, stream_start_s: float | None) -> None:
        """A finished run starts over: counts, places and left-overs at zero.

        The numbers that a counter wrote stay known, and so do the places in the stream: what the run fired
        before them is not to be counted again."""
        self._db.execute(
            "UPDATE runs SET epoch = epoch + 1, counts = ?1, unit_counts = ?1, consumed_wcu = NULL, seen = NULL, "
            "elapsed_s = 0, stream_start_s = ?2 WHERE name = ?3",
            (msgspec.json.encode(Counts()), stream_start_s, name),
        )
        for table in ("places", "keys", "leftovers"):
            self._db.execute(f"DELETE FROM {table} WHERE run = ?", (name,))  # noqa: S608 - our own table names

    # ── who is running ───────────────────────────────────────────────────────────────────────────────────

    def acquire(self, name: str) -> None:
        """Takes the run for this process, until `release` or the process's end. UsageError where it is taken."""
        folder = self.folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
        for attempts_left in range(9, -1, -1):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if attempts_left:  # somebody may only be asking `is_active`
                    time.sleep(0.02)
                    continue
                lock.seek(0)
                owner = lock.read().strip() or "another process"
                lock.close()
                raise UsageError(
                    f"run {name} is being executed by {owner}", f"Wait for it, or stop it: restrike runs cancel {name}"
                ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(f"process {os.getpid()}\n")
        lock.flush()
        self._locks[name] = lock

    def release(self, name: str) -> None:
        lock = self._locks.pop(name, None)
        if lock is not None:
            lock.close()

    def is_active(self, name: str) -> bool:
        """Whether some process executes the run now."""
        if name in self._locks:
            return True
        try:
            with (self.folder(name) / "lock").open("a+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def active_on(self, table_arn: str, *, besides: str) -> list[str]:
        """The names of the other runs that are being executed on that table."""
        rows = self._db.execute(
            "SELECT name FROM runs WHERE table_arn = ? AND name <> ? "
            "AND state IN ('STARTING', 'RUNNING', 'CANCELLING')",
            (table_arn, besides),
        ).fetchall()
        return [name for (name,) in rows if self.is_active(name)]

    # ── progress ─────────────────────────────────────────────────────────────────────────────────────────

    def save_progress(
        self,
        name: str,
        *,
        counts: Counts,
        unit_counts: Counts,
        consumed_wcu: float | None,
        seen: int | None,
        elapsed_s: float,
        places: Mapping[str, Place],
        stream_places: Mapping[str, str],
    ) -> None:
        """Inside a transaction: how far the run is. Only the places that moved need to be given."""
        self._db.execute(
            "UPDATE runs SET counts = ?, unit_counts = ?, consumed_wcu = ?, seen = ?, elapsed_s = ?, updated_at = ? "
            "WHERE name = ?",
            (
                msgspec.json.encode(counts),
                msgspec.json.encode(unit_counts),
                consumed_wcu,
                seen,
                elapsed_s,
                time.time(),
                name,
            ),
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)",
            [(name, strand, place.after, place.done) for strand, place in places.items()],
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO stream_places VALUES (?, ?, ?)",
            [(name, shard, number) for shard, number in stream_places.items()],
        )

    def places(self, name: str) -> dict[str, Place]:
        rows = self._db.execute("SELECT strand, after, done FROM places WHERE run = ?", (name,))
        return {strand: Place(after, bool(done)) for strand, after, done in rows}

    def stream_places(self, name: str) -> dict[str, str]:
        rows = self._db.execute("SELECT shard, sequence_number FROM stream_places WHERE run = ?", (name,))
        return dict(rows.fetchall())

    # ── left-overs ───────────────────────────────────────────────────────────────────────────────────────

    def add_leftovers(self, name: str, leftovers: Iterable[Leftover]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO leftovers VALUES (?, ?, ?, ?)",
            ((name, each.key, each.code, each.message) for each in leftovers),
        )

    def leftovers(self, name: str) -> Iterator[Leftover]:
        """What the run left over, in the order of the keys; read in pieces, whatever their number."""
        after = b""
        while rows := self._db.execute(
            "SELECT key, code, message FROM leftovers WHERE run = ? AND key > ? ORDER BY key LIMIT 1000", (name, after)
        ).fetchall():
            yield from (Leftover(*row) for row in rows)
            after = rows[-1][0]

    def count_leftovers(self, name: str) -> int:
        return int(self._db.execute("SELECT count(*) FROM leftovers WHERE run = ?", (name,)).fetchone()[0])

    # ── sets of keys that do not fit into memory ─────────────────────────────────────────────────────────

    def has_key(self, name: str, kind: str, key: bytes) -> bool:
        row = self._db.execute("SELECT 1 FROM keys WHERE run = ? AND kind = ? AND key = ?", (name, kind, key))
        return row.fetchone() is not None

    def add_keys(self, name: str, kind: str, keys: Iterable[bytes]) -> None:
        self._db.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?, ?)", ((name, kind, key) for key in keys))

    def remove_keys(self, name: str, kind: str, keys: Iterable[bytes]) -> None:
        self._db.executemany(
            "DELETE FROM keys WHERE run = ? AND kind = ? AND key = ?", ((name, kind, key) for key in keys)
        )

    def count_keys(self, name: str, kind: str) -> int:
        row = self._db.execute("SELECT count(*) FROM keys WHERE run = ? AND kind = ?", (name, kind)).fetchone()
        return int(row[0])

    def move_keys_to_leftovers(self, name: str, kind: str, code: str, message: str) -> int:
        """Inside a transaction: every key of that kind becomes a left-over; returns how many."""
        cursor = self._db.execute(
            "INSERT OR REPLACE INTO leftovers SELECT run, key, ?, ? FROM keys WHERE run = ? AND kind = ?",
            (code, message, name, kind),
        )
        self._db.execute("DELETE FROM keys WHERE run = ? AND kind = ?", (name, kind))
        return cursor.rowcount

    # ── the counter's write-ahead ────────────────────────────────────────────────────────────────────────

    def intend(
        self,
        name: str,
        epoch: int,
        intents: Iterable[tuple[bytes, str | None, str]],
        *,
        instead_of: Iterable[bytes] = (),
    ) -> None:
        """Durably writes down (key, number before, number after) ahead of the write.

        A key that the run knows already keeps what it has, but for those of `instead_of`.
        """
        with self.transaction():
            self._db.executemany("DELETE FROM counters WHERE run = ? AND key = ?", ((name, key) for key in instead_of))
            self._db.executemany(
                "INSERT OR IGNORE INTO counters (run, key, before, after, epoch) VALUES (?, ?, ?, ?, ?)",
                ((name, key, before, after, epoch) for key, before, after in intents),
            )

    def intents(self, name: str, keys: Iterable[bytes]) -> dict[bytes, tuple[str | None, str, int, str | None]]:
        """What the run knows of those keys: (before, after, epoch, outcome)."""
        found: dict[bytes, tuple[str | None, str, int, str | None]] = {}
        for key in keys:
            row = self._db.execute(
                "SELECT before, after, epoch, outcome FROM counters WHERE run = ? AND key = ?", (name, key)
            ).fetchone()
            if row:
                found[key] = row
        return found

    def settle(self, name: str, outcomes: Iterable[tuple[bytes, str]]) -> None:
        """Inside a transaction: what became of intents."""
        self._db.executemany(
            "UPDATE counters SET outcome = ? WHERE run = ? AND key = ?",
            ((outcome, name, key) for key, outcome in outcomes),
        )

    def open_intents(self, name: str) -> list[tuple[bytes, str | None, str]]:
        """Intents without an outcome: what was under way when the run was killed. Bounded by what it had in flight."""
        rows = self._db.execute("SELECT key, before, after FROM counters WHERE run = ? AND outcome IS NULL", (name,))
        return rows.fetchall()

    def count_outcomes(self, name: str, epoch: int) -> dict[str, int]:
        """The writes of this epoch by outcome."""
        rows = self._db.execute(
            "SELECT outcome, count(*) FROM counters "
            "WHERE run = ? AND epoch = ? AND outcome IS NOT NULL GROUP BY outcome",
            (name, epoch),
        )
        return dict(rows.fetchall())

    def mark_seen(self, name: str, seen: Iterable[tuple[bytes, str]]) -> None:
        """Inside a transaction: the records of those (key, number after) stand on the stream."""
        self._db.executemany(
            "UPDATE counters SET seen = 1 WHERE run = ? AND key = ? AND after = ?",
            ((name, key, after) for key, after in seen),
        )

    def count_seen(self, name: str, epoch: int) -> tuple[int, int]:
        """Of the fired writes of this epoch: how many were seen on the stream, and how many were not."""
        row = self._db.execute(
            "SELECT coalesce(sum(seen), 0), coalesce(sum(1 - seen), 0) FROM counters "
            "WHERE run = ? AND epoch = ? AND outcome = 'fired'",
            (name, epoch),
        ).fetchone()
        return int(row[0]), int(row[1])

    def move_unseen_to_leftovers(self, name: str, epoch: int, code: str, message: str) -> int:
        """Inside a transaction: fired writes without a record become left-overs; returns how many."""
        cursor = self._db.execute(
            "INSERT OR REPLACE INTO leftovers SELECT run, key, ?, ? FROM counters "
            "WHERE run = ? AND epoch = ? AND outcome = 'fired' AND seen = 0",
            (code, message, name, epoch),
        )
        return cursor.rowcount

    def relax(self) -> None:
        """From now on a commit survives the process, but not a power cut: what it held is then delivered again.

        A replay commits after every batch; waiting for the disk each time would cost more than the batch.
        """
        self._db.execute("PRAGMA synchronous=NORMAL")

    # ── replays ──────────────────────────────────────────────────────────────────────────────────────────

    FLOOR = -1
    """The lane under which a shard's floor stands: all up to there is done, in every lane."""

    def save_replay(
        self,
        name: str,
        *,
        counts: Counts,
        replay_counts: bytes,
        lane_places: Mapping[tuple[int, str], int],
        elapsed_s: float,
    ) -> None:
        """One transaction: the counts, and the places that moved, by (lane, shard)."""
        with self.transaction():
            self._db.execute(
                "UPDATE runs SET counts = ?, elapsed_s = ?, updated_at = ? WHERE name = ?",
                (msgspec.json.encode(counts), elapsed_s, time.time(), name),
            )
            self._db.execute("INSERT OR REPLACE INTO replays VALUES (?, ?)", (name, replay_counts))
            # As text: a sequence number has more digits than SQLite's integers.
            self._db.executemany(
                "INSERT OR REPLACE INTO lane_places VALUES (?, ?, ?, ?)",
                [(name, lane, shard, str(place)) for (lane, shard), place in lane_places.items()],
            )

    def replay_counts(self, name: str) -> bytes | None:
        row = self._db.execute("SELECT counts FROM replays WHERE run = ?", (name,)).fetchone()
        return bytes(row[0]) if row else None

    def lane_places(self, name: str) -> dict[tuple[int, str], int]:
        """The places of each lane and, under FLOOR, of each shard."""
        rows = self._db.execute("SELECT lane, shard, place FROM lane_places WHERE run = ?", (name,))
        return {(lane, shard): int(place) for lane, shard, place in rows}
