"""The tables of the ledger that are touch's own: sets of keys, and a counter's write-ahead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from restrike.running.ledger import Ledger

TABLES = """
CREATE TABLE IF NOT EXISTS keys (
  run TEXT NOT NULL, kind TEXT NOT NULL, key BLOB NOT NULL,
  PRIMARY KEY (run, kind, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (
  run TEXT NOT NULL, key BLOB NOT NULL, before TEXT, after TEXT NOT NULL, epoch INTEGER NOT NULL,
  outcome TEXT, seen INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (run, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS unknown_counters ON counters (run, epoch) WHERE outcome IN ('unknown', 'unknown, gone');
"""
OWN_TABLES = ("keys",)
"""Emptied when a run begins again. The numbers that a counter wrote stay known: what the run fired before is not to be
counted again."""

Intent = tuple[str | None, str, int, str | None]
"""(Number before, number after, epoch, outcome)."""
UNKNOWN, UNKNOWN_GONE = "unknown", "unknown, gone"
"""Outcomes of writes without an answer, until the stream tells: the item is there, or is not."""
OURS, ANOTHERS, MAYBE_OURS, DECIDED = 1, 2, 3, 4
"""What `seen` says: that record is the write; the number was moved by somebody else; a record may be the write; the
record alone has decided that it is."""
UNKNOWN_CODE = "Unknown"
"""Of a left-over: nothing tells whether it was written, or why it was refused."""


class KeyTable:
    """One kind of keys of one run."""

    def __init__(self, ledger: Ledger, run: str, kind: str) -> None:
        self._db = ledger.db
        self._of = (run, kind)

    def __len__(self) -> int:
        return int(self._db.row("SELECT count(*) FROM keys WHERE run = ? AND kind = ?", self._of)[0])

    def all(self) -> list[bytes]:
        return [key for (key,) in self._db.rows("SELECT key FROM keys WHERE run = ? AND kind = ?", self._of)]

    def having(self, keys: Sequence[bytes]) -> set[bytes]:
        """Those of the keys, some hundreds at most, that are here."""
        marks = ", ".join("?" * len(keys))
        query = f"SELECT key FROM keys WHERE run = ? AND kind = ? AND key IN ({marks})"  # noqa: S608 - question marks
        return {key for (key,) in self._db.rows(query, (*self._of, *keys))}

    def add(self, keys: Iterable[bytes]) -> None:
        self._db.many("INSERT OR IGNORE INTO keys VALUES (?, ?, ?)", ((*self._of, key) for key in keys))

    def remove(self, keys: Iterable[bytes]) -> None:
        self._db.many("DELETE FROM keys WHERE run = ? AND kind = ? AND key = ?", ((*self._of, key) for key in keys))

    def move_to_leftovers(self, code: str, message: str) -> None:
        """Inside a transaction: every key becomes a left-over."""
        self._db.execute(
            "INSERT OR REPLACE INTO leftovers SELECT run, key, ?, ? FROM keys WHERE run = ? AND kind = ?",
            (code, message, *self._of),
        )
        self._db.execute("DELETE FROM keys WHERE run = ? AND kind = ?", self._of)


class IntentTable:
    """What one run's counter has written, or is about to write."""

    def __init__(self, ledger: Ledger, run: str) -> None:
        self._ledger = ledger
        self._db = ledger.db
        self._run = run

    def intend(
        self, epoch: int, intents: Iterable[tuple[bytes, str | None, str]], *, instead_of: Iterable[bytes]
    ) -> None:
        """Durable when it returns: (key, number before, number after), ahead of the write.

        A key that the run knows already keeps what it has, but for those of `instead_of`.
        """
        with self._ledger.transaction():
            self._db.many("DELETE FROM counters WHERE run = ? AND key = ?", ((self._run, key) for key in instead_of))
            self._db.many(
                "INSERT OR IGNORE INTO counters (run, key, before, after, epoch) VALUES (?, ?, ?, ?, ?)",
                ((self._run, key, before, after, epoch) for key, before, after in intents),
            )

    def known(self, keys: Iterable[bytes]) -> dict[bytes, Intent]:
        found: dict[bytes, Intent] = {}
        for key in keys:
            row = self._db.row(
                "SELECT before, after, epoch, outcome FROM counters WHERE run = ? AND key = ?", (self._run, key)
            )
            if row:
                found[key] = row
        return found

    def open(self, after: bytes, limit: int) -> list[tuple[bytes, str | None]]:
        """Intents of which nothing more is known, in the order of their keys: (key, number before)."""
        return self._db.rows(
            "SELECT key, before FROM counters WHERE run = ? AND key > ? AND outcome IS NULL ORDER BY key LIMIT ?",
            (self._run, after, limit),
        )

    def settle(self, outcomes: Iterable[tuple[bytes, str]]) -> None:
        """Inside a transaction: what became of intents."""
        self._db.many(
            "UPDATE counters SET outcome = ? WHERE run = ? AND key = ?",
            ((outcome, self._run, key) for key, outcome in outcomes),
        )

    def mark_ours(self, seen: Iterable[tuple[bytes, str | None, str]]) -> None:
        """Inside a transaction: records of those (key, number before, number after), with nothing else changed, stand
        on the stream."""
        self._db.many(
            "UPDATE counters SET seen = ?1 WHERE run = ?2 AND key = ?3 AND before IS ?4 AND after = ?5 AND seen <> ?6",
            ((OURS, self._run, *each, DECIDED) for each in seen),
        )

    def mark_anothers(self, seen: Iterable[tuple[bytes, str | None]]) -> None:
        """Inside a transaction: somebody else moved the number away from what it was before."""
        self._db.many(
            "UPDATE counters SET seen = ? WHERE run = ? AND key = ? AND before IS ? AND seen = 0 "
            "AND outcome IS NOT 'fired'",
            ((ANOTHERS, self._run, *each) for each in seen),
        )

    def mark_maybe(self, seen: Iterable[tuple[bytes, str]]) -> None:
        """Inside a transaction: records that may be the writes of those (key, number after)."""
        self._db.many(
            "UPDATE counters SET seen = ? WHERE run = ? AND key = ? AND after = ? AND seen = 0",
            ((MAYBE_OURS, self._run, *each) for each in seen),
        )

    def decide(self, epoch: int) -> bool:
        """Inside a transaction: what is unknown, and the stream tells, is unknown no more. Whether there was any."""
        decided = self._db.execute(
            "UPDATE counters SET outcome = CASE WHEN seen = ?1 THEN 'fired' WHEN outcome = 'unknown' THEN 'changed' "
            "ELSE 'gone' END, seen = CASE WHEN seen = ?1 THEN ?2 ELSE seen END "
            "WHERE run = ?3 AND epoch = ?4 AND outcome IN ('unknown', 'unknown, gone') AND seen IN (?1, ?5)",
            (OURS, DECIDED, self._run, epoch, ANOTHERS),
        )
        return decided > 0

    def leave_unknown(self, epoch: int, message: str) -> None:
        """Inside a transaction: the left-overs whose writes are unknown are those that are so now."""
        # One that failed bears the same code: it was refused, and could not be read.
        self._db.execute(
            "DELETE FROM leftovers WHERE run = ?1 AND code = ?2 AND NOT EXISTS "
            "(SELECT 1 FROM counters WHERE run = ?1 AND key = leftovers.key AND outcome = 'failed')",
            (self._run, UNKNOWN_CODE),
        )
        self._db.execute(
            "INSERT OR REPLACE INTO leftovers SELECT run, key, ?, ? FROM counters "
            "WHERE run = ? AND epoch = ? AND outcome IN ('unknown', 'unknown, gone')",
            (UNKNOWN_CODE, message, self._run, epoch),
        )

    def outcomes(self, epoch: int) -> dict[str, int]:
        """How many writes of this epoch came to what."""
        rows = self._db.rows(
            "SELECT outcome, count(*) FROM counters "
            "WHERE run = ? AND epoch = ? AND outcome IS NOT NULL GROUP BY outcome",
            (self._run, epoch),
        )
        return dict(rows)

    def decided(self, epoch: int) -> int:
        """How many writes of this epoch fired as their records alone tell."""
        row = self._db.row(
            "SELECT count(*) FROM counters WHERE run = ? AND epoch = ? AND seen = ?", (self._run, epoch, DECIDED)
        )
        return int(row[0])

    def seen(self, epoch: int) -> tuple[int, int]:
        """Of the fired writes of this epoch: how many were seen on the stream, and how many were not."""
        row = self._db.row(
            "SELECT coalesce(sum(seen IN (?1, ?2, ?3)), 0), coalesce(sum(seen NOT IN (?1, ?2, ?3)), 0) FROM counters "
            "WHERE run = ?4 AND epoch = ?5 AND outcome = 'fired'",
            (OURS, MAYBE_OURS, DECIDED, self._run, epoch),
        )
        return int(row[0]), int(row[1])

    def move_unseen_to_leftovers(self, epoch: int, code: str, message: str) -> None:
        """Inside a transaction: fired writes without a record become left-overs."""
        self._db.execute(
            "INSERT OR REPLACE INTO leftovers SELECT run, key, ?, ? FROM counters "
            "WHERE run = ? AND epoch = ? AND outcome = 'fired' AND seen NOT IN (?, ?, ?)",
            (code, message, self._run, epoch, OURS, MAYBE_OURS, DECIDED),
        )
