"""What a replay counts, and how far it is."""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping

import msgspec

from restrike.model.record import Record
from restrike.model.report import ReplayReport, State
from restrike.model.text import printable
from restrike.model.window import Gap

MAX_REASONS = 100
TOLD_REASONS = 5
MAX_REASON_CHARS = 200
OTHER_REASONS = "other reasons"


class ReplayCounts(msgspec.Struct):
    """Records by what became of them. `selected` passed the filter; `filtered` did not.

    Both count what is done, not what is only read: what is read again when the run goes on is counted once.
    `reasons` are those for which records failed, as the consumer gave them, at most MAX_REASONS of them; what came
    beyond is counted under OTHER_REASONS.
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
    reasons: dict[str, int] = {}

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

    def count_reasons(self, reasons: Mapping[str, int]) -> None:
        """Why records failed, and how many for each reason. Into a new dictionary: a save may hold the old one."""
        counted = dict(self.reasons)
        for error, records in reasons.items():
            reason = printable(error, most=MAX_REASON_CHARS, keep="")
            if reason not in counted and len(counted) >= MAX_REASONS:
                reason = OTHER_REASONS
            counted[reason] = counted.get(reason, 0) + records
        self.reasons = counted

    def most_frequent(self, most: int) -> list[tuple[str, int]]:
        """The reasons for which most records failed, and how many."""
        return sorted(self.reasons.items(), key=lambda each: -each[1])[:most]

    def count_skipped(self, verdicts: list[str | None]) -> None:
        self.skipped_superseded += verdicts.count("superseded")
        self.skipped_deleted += verdicts.count("deleted")


def report_of(
    run: str,
    source: str,
    target: str,
    state: State,
    counts: ReplayCounts,
    *,
    elapsed_s: float,
    ended: str,
    gaps: list[Gap],
    on_failure: str,
) -> ReplayReport:
    """What the whole run did, all of its parts together."""
    return ReplayReport(
        run=run,
        source=source,
        target=target,
        state=state,
        selected=counts.selected,
        filtered=counts.filtered,
        delivered=counts.delivered,
        skipped_superseded=counts.skipped_superseded,
        skipped_deleted=counts.skipped_deleted,
        failed=counts.failed,
        batches=counts.batches,
        invocations=counts.invocations,
        fidelity={"exact": counts.exact, "net": counts.net, "synthetic": counts.synthetic},
        first_s=counts.first_s,
        last_s=counts.last_s,
        elapsed_s=round(elapsed_s, 3),
        records_per_s=round(counts.delivered / elapsed_s, 1) if elapsed_s else 0.0,
        ended=ended,
        gaps=gaps,
        on_failure=on_failure if counts.failed else None,
        reasons=tuple(counts.most_frequent(TOLD_REASONS)),
    )


class ReplayProgress(msgspec.Struct, frozen=True):
    """Where a replay is. `read_s` is the creation time of the newest record that was read. `records_per_s` is how many
    were dealt with a second, lately."""

    counts: ReplayCounts
    elapsed_s: float
    records_per_s: float
    lanes_busy: int
    read_s: float | None


OnReplayProgress = Callable[[ReplayProgress], None]
