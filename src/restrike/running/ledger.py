"""The ledger: the durable record of runs. What each is, how far it is, and what it left over.

What every verb has stands here: the row of a run, its places, its left-overs, samples of its progress. A verb that
keeps more has tables of its own, and hands them in as it opens the ledger. What is saved together is saved in one
`transaction`, so that whoever is killed in between goes on from the last.
"""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec

from restrike.errors import UsageError
from restrike.model.report import State
from restrike.running.database import Database
from restrike.running.locks import Locks
from restrike.running.run import ACTIVE, Entry, Leftover, Run, Sample

SAMPLES = 600
"""Of a run's progress; where there would be more, every other one goes."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
  name TEXT PRIMARY KEY, verb TEXT NOT NULL, subject TEXT NOT NULL, identity BLOB NOT NULL, request BLOB NOT NULL,
  state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', epoch INTEGER NOT NULL DEFAULT 1,
  counts BLOB NOT NULL DEFAULT '{}', total INTEGER, plan BLOB, report BLOB, elapsed_s REAL NOT NULL DEFAULT 0,
  started_s REAL, created_at REAL NOT NULL, began_at REAL NOT NULL, updated_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS places (
  run TEXT NOT NULL, kind TEXT NOT NULL, strand TEXT NOT NULL, place BLOB NOT NULL,
  PRIMARY KEY (run, kind, strand)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leftovers (
  run TEXT NOT NULL, key BLOB NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL,
  PRIMARY KEY (run, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS samples (
  run TEXT NOT NULL, at REAL NOT NULL, done INTEGER NOT NULL, told BLOB NOT NULL,
  PRIMARY KEY (run, at)
) WITHOUT ROWID
"""
STANDS = "stands"
"""The kind of places that says what a run stands on: a file and how much of it was read, say."""
_OF_ALL = ("leftovers", "samples")
_COLUMNS = Run.__struct_fields__


def default_path() -> Path:
    """`restrike/ledger.db` in the user's state folder (XDG_STATE_HOME is heeded)."""
    import platformdirs

    return Path(platformdirs.user_state_dir("restrike")) / "ledger.db"


def ledger_path(text: str | None) -> Path:
    """The ledger that was named, absolute, so that it is the same from every folder; else the user's own."""
    if text is None:
        return default_path()
    if not text:
        raise UsageError("--ledger is empty", "Name a file, or leave it out.")
    return Path(text).absolute()


def resume_command(name: str, ledger: str | Path, *words: str) -> str:
    """The command that plans to go on with a run of that ledger; with the word --execute, the one that does."""
    where = () if Path(ledger) == default_path() else ("--ledger", str(ledger))
    return shlex.join(["restrike", "runs", "resume", name, *where, *words])


class Ledger:
    """The ledger file. Use as a context manager; `read_only` for whoever only looks.

    `tables`: the statements that make a verb's own tables, each with a column `run`.
    """

    def __init__(self, path: Path | None = None, *, read_only: bool = False, tables: str = "") -> None:
        self.path = path or default_path()
        self.db = Database(self.path, _SCHEMA, read_only=read_only)
        self._locks = Locks()
        if tables and not read_only:
            self.db.install(tables)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._locks.release_all()
        self.db.close()

    def transaction(self) -> AbstractContextManager[None]:
        return self.db.transaction()

    def folder(self, name: str) -> Path:
        """The run's folder: its lock, what it was given, what it could not deliver."""
        return self.path.parent / f"{self.path.stem}-runs" / name

    # ── runs ─────────────────────────────────────────────────────────────────────────────────────────────

    def find(self, name: str) -> Run | None:
        found = self._runs("WHERE name = ?", (name,))
        return found[0] if found else None

    def get(self, name: str) -> Run:
        run = self.find(name)
        if run is None:
            raise UsageError(f"no run {name!r} in {self.path}", "See `restrike runs list`.")
        return run

    def runs(self) -> list[Run]:
        """All runs, the newest first."""
        return self._runs("ORDER BY created_at DESC", ())

    def _runs(self, where: str, parameters: tuple[object, ...]) -> list[Run]:
        found = []
        for row in self.db.rows(f"SELECT {', '.join(_COLUMNS)} FROM runs {where}", parameters):  # noqa: S608 - our own
            values = dict(zip(_COLUMNS, row, strict=True))
            values["identity"] = msgspec.json.decode(values["identity"], type=dict[str, str])
            for name in ("request", "counts", "plan", "report"):
                if isinstance(values[name], str):
                    values[name] = values[name].encode()
            found.append(Run(**values))
        return found

    def enter(self, entry: Entry) -> Run:
        """A new run, which has done nothing yet."""
        now = time.time()
        self.db.execute(
            "INSERT INTO runs (name, verb, subject, identity, request, state, total, plan, started_s, created_at, "
            "began_at, updated_at) VALUES (?, ?, ?, ?, ?, 'STARTING', ?, ?, ?, ?, ?, ?)",
            (
                entry.name,
                entry.verb,
                entry.subject,
                msgspec.json.encode(entry.identity),
                entry.request,
                entry.total,
                _json(entry.plan),
                entry.started_s,
                now,
                now,
                now,
            ),
        )
        return self.get(entry.name)

    def take_up(self, entry: Entry) -> None:
        """The run goes on as it is asked for now: what may differ between two commands of one run."""
        self.db.execute(
            "UPDATE runs SET request = ?, plan = coalesce(?, plan), total = coalesce(?, total), updated_at = ? "
            "WHERE name = ?",
            (entry.request, _json(entry.plan), entry.total, time.time(), entry.name),
        )

    def begin_again(self, entry: Entry, own_tables: Iterable[str] = (), *, kept_places: Iterable[str] = ()) -> None:
        """A run starts over: counts, places and left-overs at zero, and what of a verb's own tables is named. Kept are
        places of the kinds that are named."""
        self.db.execute(
            "UPDATE runs SET epoch = epoch + 1, counts = '{}', report = NULL, elapsed_s = 0, started_s = ?, "
            "began_at = ? WHERE name = ?",
            (entry.started_s, time.time(), entry.name),
        )
        kinds = tuple(kept_places)
        marks = ", ".join("?" * len(kinds))
        self.db.execute(f"DELETE FROM places WHERE run = ? AND kind NOT IN ({marks})", (entry.name, *kinds))  # noqa: S608
        for table in (*_OF_ALL, *own_tables):
            self.db.execute(f"DELETE FROM {table} WHERE run = ?", (entry.name,))  # noqa: S608 - our own names

    def set_state(self, name: str, state: State, reason: str = "") -> None:
        self.db.execute(
            "UPDATE runs SET state = ?, reason = ?, updated_at = ? WHERE name = ?", (state, reason, time.time(), name)
        )

    def ask(self, name: str, state: State, reason: str) -> bool:
        """Asks whoever executes the run to end so; whether it was being executed. One that has just ended stays as
        it ended."""
        return bool(
            self.db.execute(
                "UPDATE runs SET state = ?, reason = ?, updated_at = ? WHERE name = ? AND state IN ('STARTING', "
                "'RUNNING', 'PAUSING', 'CANCELLING')",
                (state, reason, time.time(), name),
            )
        )

    def end(self, name: str, state: State, reason: str, report: dict[str, Any] | None) -> None:
        """How a run ended, whatever was asked of it meanwhile."""
        self.db.execute(
            "UPDATE runs SET state = ?, reason = ?, report = coalesce(?, report), updated_at = ? WHERE name = ?",
            (state, reason, _json(report), time.time(), name),
        )

    def state(self, name: str) -> State | None:
        row = self.db.row("SELECT state FROM runs WHERE name = ?", (name,))
        return row[0] if row else None

    def set_started(self, name: str, started_s: float) -> None:
        self.db.execute("UPDATE runs SET started_s = ? WHERE name = ?", (started_s, name))

    def set_counts(self, name: str, counts: bytes, elapsed_s: float) -> None:
        """Inside a transaction: what is done, with the places up to which it is."""
        self.db.execute(
            "UPDATE runs SET counts = ?, elapsed_s = ?, updated_at = ? WHERE name = ?",
            (counts, elapsed_s, time.time(), name),
        )

    def delete(self, name: str) -> None:
        """Forgets a run, all that is kept of it, and its folder. UsageError where a process executes it."""
        self.acquire(name)
        try:
            with self.transaction():
                for table in self._tables_of_runs():
                    self.db.execute(f'DELETE FROM "{table}" WHERE run = ?', (name,))  # noqa: S608 - names of the schema
                self.db.execute("DELETE FROM runs WHERE name = ?", (name,))
            shutil.rmtree(self.folder(name), ignore_errors=True)
        finally:
            self.release(name)

    def _tables_of_runs(self) -> list[str]:
        """Those with a column `run`: ours, and those of every verb that ever kept something here."""
        found = self.db.rows(
            "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' "
            "AND c.name = 'run'"
        )
        return [table for (table,) in found]

    def files(self, name: str) -> list[Path]:
        """What stands in the run's folder, but for its lock."""
        return [path for path in self.folder(name).rglob("*") if path.is_file() and path.name != "lock"]

    def active_on(self, verb: str, subject: str, *, besides: str) -> list[str]:
        """The names of the other runs of that verb that are being executed on that subject."""
        marks = ", ".join("?" for _ in ACTIVE)
        rows = self.db.rows(
            f"SELECT name FROM runs WHERE verb = ? AND subject = ? AND name <> ? AND state IN ({marks})",  # noqa: S608 - marks
            (verb, subject, besides, *ACTIVE),
        )
        return [name for (name,) in rows if self.is_active(name)]

    # ── who is running ───────────────────────────────────────────────────────────────────────────────────

    def acquire(self, name: str) -> None:
        """Takes the run for this process, until `release` or the process's end. UsageError where it is taken."""
        self._locks.acquire(name, self.folder(name))

    def hold(self, folder: Path, who: str) -> list[str]:
        """Takes what that folder stands for, whatever ledger others have, until this one is closed; who has it, where
        it is taken. Where the folder cannot be made, nobody is told."""
        try:
            owner = self._locks.take(str(folder), folder, who)
        except OSError:
            return []
        return [] if owner is None else [owner]

    def release(self, name: str) -> None:
        self._locks.release(name)

    def is_active(self, name: str) -> bool:
        """Whether some process executes the run now."""
        return self._locks.held(name, self.folder(name))

    def state_now(self, run: Run) -> State:
        """The state that the ledger holds, or INTERRUPTED where its process is gone."""
        if run.state not in ACTIVE or self.is_active(run.name):
            return run.state
        # How a run ended is written before its lock is given back: maybe since the row was read.
        state = self.state(run.name)
        return "INTERRUPTED" if state is None or state in ACTIVE else state

    # ── places ───────────────────────────────────────────────────────────────────────────────────────────

    def set_places(self, name: str, kind: str, places: Mapping[str, bytes]) -> None:
        """Inside a transaction: how far each strand is. Only those that moved need to be given."""
        self.db.many(
            "INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?)",
            [(name, kind, strand, place) for strand, place in places.items()],
        )

    def places(self, name: str, kind: str) -> dict[str, bytes]:
        rows = self.db.rows("SELECT strand, place FROM places WHERE run = ? AND kind = ?", (name, kind))
        return {strand: bytes(place) for strand, place in rows}

    def set_stands(self, name: str, stands: Mapping[str, str]) -> None:
        """What the run stands on, as it is now. Only what changed needs to be given."""
        self.set_places(name, STANDS, {what: told.encode() for what, told in stands.items()})

    def stands(self, name: str) -> dict[str, str]:
        """What the run stood on at its last save: who goes on refuses another."""
        return {what: told.decode() for what, told in self.places(name, STANDS).items()}

    # ── left-overs ───────────────────────────────────────────────────────────────────────────────────────

    def add_leftovers(self, name: str, leftovers: Iterable[Leftover]) -> None:
        self.db.many(
            "INSERT OR REPLACE INTO leftovers VALUES (?, ?, ?, ?)",
            ((name, each.key, each.code, each.message) for each in leftovers),
        )

    def leftovers(self, name: str) -> Iterator[Leftover]:
        """What the run left over, in the order of the keys; read in pieces, whatever their number."""
        after = b""
        while rows := self.db.rows(
            "SELECT key, code, message FROM leftovers WHERE run = ? AND key > ? ORDER BY key LIMIT 1000", (name, after)
        ):
            yield from (Leftover(*row) for row in rows)
            after = rows[-1][0]

    def count_leftovers(self, name: str, code: str | None = None) -> int:
        """All of them, or those with that code."""
        query = "SELECT count(*) FROM leftovers WHERE run = ?1 AND (?2 IS NULL OR code = ?2)"
        return int(self.db.row(query, (name, code))[0])

    # ── progress over time ───────────────────────────────────────────────────────────────────────────────

    def add_samples(self, name: str, samples: Iterable[Sample]) -> None:
        """Samples of the run's progress; kept are at most SAMPLES, spread over its whole life."""
        with self.transaction():
            self.db.many(
                "INSERT OR REPLACE INTO samples VALUES (?, ?, ?, ?)",
                [(name, each.at, each.done, msgspec.json.encode(each.told)) for each in samples],
            )
            held = [at for (at,) in self.db.rows("SELECT at FROM samples WHERE run = ? ORDER BY at", (name,))]
            if len(held) > SAMPLES:
                self.db.many("DELETE FROM samples WHERE run = ? AND at = ?", [(name, at) for at in held[1:-1:2]])

    def samples(self, name: str) -> list[Sample]:
        rows = self.db.rows("SELECT at, done, told FROM samples WHERE run = ? ORDER BY at", (name,))
        return [Sample(at, done, msgspec.json.decode(told)) for at, done, told in rows]


def _json(value: dict[str, Any] | None) -> bytes | None:
    return None if value is None else msgspec.json.encode(value)
