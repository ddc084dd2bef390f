"""What redrives have delivered, and what they gave up: in the ledger, saved with the place that it holds up to.

What was delivered is remembered by consumer, stream, shard and sequence number over all runs of the ledger, also when
a run is deleted. So a message that stands twice, or that could not be deleted, is sent once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from restrike.model.record import Record
from restrike.replaying.book import LedgerBook
from restrike.replaying.delivery import GivenUp
from restrike.replaying.execute import Ways
from restrike.replaying.failures import Failures
from restrike.replaying.filters import RecordFilter
from restrike.replaying.opening import criteria_of
from restrike.replaying.resolved import Resolved
from restrike.replaying.superseded import JustBefore, Verdicts
from restrike.running.ledger import Ledger
from restrike.running.life import Life
from restrike.running.run import Run
from restrike.sources.failures.index import place_text

TABLES = """
CREATE TABLE IF NOT EXISTS redriven_ways (
  way INTEGER PRIMARY KEY, consumer TEXT NOT NULL, stream TEXT NOT NULL, shard TEXT NOT NULL,
  UNIQUE (consumer, stream, shard)
);
CREATE TABLE IF NOT EXISTS redriven (
  way INTEGER NOT NULL, place TEXT NOT NULL, PRIMARY KEY (way, place)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS redrive_failed (
  run TEXT NOT NULL, way INTEGER NOT NULL, place TEXT NOT NULL, error TEXT NOT NULL, PRIMARY KEY (run, way, place)
) WITHOUT ROWID
"""
FAILED_TABLE = "redrive_failed"

_Row = tuple[int, str]
"""A way and a place in it."""


class Memory:
    """Of one consumer in one run."""

    def __init__(self, ledger: Ledger, run: str, consumer: str) -> None:
        self._db = ledger.db
        self._run = run
        self._consumer = consumer
        self._ways: dict[tuple[str, str], int] = {}
        self._failing: dict[_Row, str] = {}
        self._delivered: list[_Row] = []
        self._failed: list[tuple[_Row, str]] = []

    def _way(self, stream: str, shard: str) -> int:
        key = (stream, shard)
        if key not in self._ways:
            query = "SELECT way FROM redriven_ways WHERE consumer = ? AND stream = ? AND shard = ?"
            row = self._db.row(query, (self._consumer, *key))
            if row is None:
                self._db.execute("INSERT INTO redriven_ways VALUES (NULL, ?, ?, ?)", (self._consumer, *key))
                row = self._db.row(query, (self._consumer, *key))
            self._ways[key] = row[0]
        return self._ways[key]

    def _row(self, record: Record) -> _Row:
        return self._way(record.stream_arn, record.shard), place_text(record.place)

    def has(self, record: Record) -> bool:
        """Whether the consumer got it, by whatever run."""
        return self._db.row("SELECT 1 FROM redriven WHERE way = ? AND place = ?", self._row(record)) is not None

    def failed(self, stream: str, shard: str, first: int, last: int) -> tuple[int, str]:
        """How many records of that stretch this run has given up, and the error of one of them."""
        query = "SELECT count(*), min(error) FROM redrive_failed WHERE run = ? AND way = ? AND place BETWEEN ? AND ?"
        bounds = (place_text(first), place_text(last))
        count, error = self._db.row(query, (self._run, self._way(stream, shard), *bounds))
        return int(count), error or ""

    # ── what is saved with the next places ───────────────────────────────────────────────────────────────

    def note_given_up(self, given_up: GivenUp) -> None:
        self._failing |= dict.fromkeys(map(self._row, given_up.records), given_up.error)

    def note(self, records: list[Record]) -> None:
        """Of a batch what is dealt with: delivered, but for what was given up."""
        for row in map(self._row, records):
            error = self._failing.pop(row, None)
            if error is None:
                self._delivered.append(row)
            else:
                self._failed.append((row, error))

    def save(self) -> None:
        """Inside a transaction. What is written again after one that failed is the same."""
        failed = [(self._run, way, place, why) for (way, place), why in self._failed]
        self._db.many("INSERT OR IGNORE INTO redriven VALUES (?, ?)", self._delivered)
        self._db.many("INSERT OR REPLACE INTO redrive_failed VALUES (?, ?, ?, ?)", failed)

    def saved(self) -> None:
        self._delivered.clear()
        self._failed.clear()


class RememberingBook(LedgerBook):
    """The book of a replay, with what was delivered beside its places."""

    def __init__(self, ledger: Ledger, run: Run, part: str, memory: Memory) -> None:
        super().__init__(ledger, run, part)
        self._memory = memory

    def _save_beside(self) -> None:
        self._memory.save()

    async def commit(self, **moved: Any) -> None:
        await super().commit(**moved)
        self._memory.saved()  # nothing was awaited since: so all that was noted was saved


class RememberingFailures(Failures):
    def __init__(self, path: Path, *, run: str, target: str, memory: Memory) -> None:
        super().__init__(path, run=run, target=target)
        self._memory = memory

    async def keep(self, given_up: GivenUp) -> None:
        await super().keep(given_up)
        self._memory.note_given_up(given_up)


class NotYetSent(RecordFilter):
    """What the mapping's filter lets through, and the consumer has not got before."""

    memory: Memory

    def passes(self, record: Record) -> bool:
        return super().passes(record) and not self.memory.has(record)


class Remembering(Ways):
    """One consumer's part of a redrive."""

    verdicts_kind: type[Verdicts] = JustBefore
    remembers = True

    def __init__(self, ledger: Ledger, run: str, part: int, consumer: str) -> None:
        self.memory = Memory(ledger, run, consumer)
        self.verdicts_file = f"verdicts-{part}.db"
        self._part = str(part)

    def run(self, life: Life) -> Run:
        return life.book.get(life.run.name)  # with the counts of the parts before

    def begun(self, life: Life) -> bool:
        return life.resumed or self._part != "0"  # parts may have one target

    def book(self, ledger: Ledger, run: Run) -> LedgerBook:
        return RememberingBook(ledger, run, self._part, self.memory)

    def filter(self, resolved: Resolved) -> RecordFilter:
        found = NotYetSent(resolved.filters, resolved.window, criteria_of(resolved))
        found.memory = self.memory
        return found

    def failures(self, path: Path, run: str, target: str) -> Failures:
        return RememberingFailures(path, run=run, target=target, memory=self.memory)

    def delivered(self, records: list[Record]) -> None:
        self.memory.note(records)
