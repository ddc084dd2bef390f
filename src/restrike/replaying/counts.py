"""What a replay counts, and how far it is."""

from __future__ import annotations

import collections
from collections.abc import Callable

import msgspec

from restrike.model.record import Record
from restrike.model.window import Gap


class ReplayCounts(msgspec.Struct):
    """Records by what became of them. `selected` passed the filter; `filtered` did not.

    Both count what is done, not what is only read: what is read again when the run goes on is counted once.
    """

    selected: int = 0
    filtered: int = 0
    delivered: int = 0
    skipped_superseded: int = 0
    skipped_deleted: int = 0
    failed: int = 0
    batches: int = 0
    invocations: int = 0
    exact: int = 0
    net: int = 0
    synthetic: int = 0
    first_s: float | None = None
    last_s: float | None = None
    target_bytes: int | None = None
    lost: list[Gap] = []

    def count_kinds(self, records: list[Record]) -> None:
        """Fidelities and times of records that are done."""
        if not records:
            return
        for fidelity, number in collections.Counter([record.fidelity for record in records]).items():
            setattr(self, fidelity, getattr(self, fidelity) + number)
        created = [record.created_s for record in records]
        first_s, last_s = min(created), max(created)
        self.first_s = first_s if self.first_s is None else min(self.first_s, first_s)
        self.last_s = last_s if self.last_s is None else max(self.last_s, last_s)

    def count_skipped(self, verdicts: list[str | None]) -> None:
        self.skipped_superseded += verdicts.count("superseded")
        self.skipped_deleted += verdicts.count("deleted")


class ReplayProgress(msgspec.Struct, frozen=True):
    """Where a replay is. `read_s` is the creation time of the newest record that was read."""

    counts: ReplayCounts
    elapsed_s: float
    records_per_s: float
    lanes_busy: int
    read_s: float | None


OnReplayProgress = Callable[[ReplayProgress], None]
