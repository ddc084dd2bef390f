"""The windows of a run as the ledger keeps them: durable before a call is made, and what became of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from restrike.aws.exports import Export
from restrike.exporting.cutting import Span
from restrike.exporting.request import digest_of
from restrike.running.ledger import Ledger

TABLES = """
CREATE TABLE IF NOT EXISTS export_windows (
  run TEXT NOT NULL, from_s INTEGER NOT NULL, to_s INTEGER NOT NULL, attempt INTEGER NOT NULL DEFAULT 1,
  arn TEXT, found INTEGER NOT NULL DEFAULT 0, status TEXT NOT NULL DEFAULT '', items INTEGER, billed_bytes INTEGER,
  failure TEXT NOT NULL DEFAULT '', PRIMARY KEY (run, from_s)
) WITHOUT ROWID
"""
OWN = ("export_windows",)


class ExportWindow(msgspec.Struct):
    """One window. `arn` is None until its export is known; `found`: somebody else's call made it, or an earlier one."""

    from_s: int
    to_s: int
    attempt: int = 1
    arn: str | None = None
    found: bool = False
    status: str = ""
    items: int | None = None
    billed_bytes: int | None = None
    failure: str = ""

    @property
    def is_under_way(self) -> bool:
        """Whether it was started and has not ended, whatever the service calls that."""
        return self.arn is not None and self.status not in ("COMPLETED", "FAILED")

    def take(self, export: Export) -> None:
        """It is that export, as it is now."""
        self.arn, self.status, self.failure = export.arn, export.status, export.failure
        self.items, self.billed_bytes = export.items, export.billed_bytes

    def try_again(self) -> None:
        """Its export has failed: with another token, since the same one would answer the failed one for 8 hours."""
        self.arn, self.status, self.failure, self.found = None, "", "", False
        self.attempt += 1

    def token(self, identity: str) -> str:
        """A ClientToken that is the same whoever asks for the same."""
        return f"restrike-{digest_of(identity, self.from_s, self.to_s, self.attempt)[:40]}"


def keep(ledger: Ledger, run: str, windows: Iterable[ExportWindow]) -> None:
    """Inside a transaction, or by itself."""
    ledger.db.many(
        "INSERT OR REPLACE INTO export_windows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                run,
                each.from_s,
                each.to_s,
                each.attempt,
                each.arn,
                int(each.found),
                each.status,
                each.items,
                each.billed_bytes,
                each.failure,
            )
            for each in windows
        ],
    )


def known(ledger: Ledger, run: str, spans: Iterable[Span]) -> list[ExportWindow]:
    """All windows of the run, in their order; those that the ledger does not have are as new."""
    rows = ledger.db.rows(
        "SELECT from_s, to_s, attempt, arn, found, status, items, billed_bytes, failure FROM export_windows "
        "WHERE run = ? ORDER BY from_s",
        (run,),
    )
    held = {row[0]: _window(row) for row in rows}
    return [held.get(from_s) or ExportWindow(from_s, to_s) for from_s, to_s in spans]


def _window(row: Sequence[Any]) -> ExportWindow:
    from_s, to_s, attempt, arn, found, status, items, billed_bytes, failure = row
    return ExportWindow(from_s, to_s, attempt, arn, bool(found), status, items, billed_bytes, failure)
