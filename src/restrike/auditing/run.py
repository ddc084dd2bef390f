"""An audit as a run of the ledger: how its counts are told."""

from __future__ import annotations

from typing import Literal

import msgspec

from restrike.model.numbers import counted
from restrike.running.life import Verb
from restrike.running.run import Run, counts_as

Phase = Literal["reading theirs", "reading ours", "comparing", "reading once more", "looking what has moved", "done"]


class Counts(msgspec.Struct):
    """How far it is; names as in AuditReport."""

    phase: Phase = "reading theirs"
    ours: int = 0
    theirs: int = 0
    equal: int = 0
    missing: int = 0
    stale: int = 0
    extra: int = 0
    moved: int = 0
    consumed_rru: float = 0.0


def counts_of(run: Run) -> Counts:
    return msgspec.json.decode(run.counts, type=Counts)


def line(run: Run) -> str:
    counts = counts_of(run)
    if counts.phase != "done":
        return f"{counts.phase}: {counted(counts.ours, 'item')}, {counted(counts.theirs, 'row')}"
    wrong = counts.missing + counts.stale + counts.extra
    if not wrong:
        return f"equal: {counted(counts.equal, 'item')}"
    return (
        f"{counts.missing:,} missing, {counts.stale:,} stale, {counts.extra:,} extra of {counted(counts.ours, 'item')}"
    )


VERB = Verb("audit", counts_as(Counts), line)
