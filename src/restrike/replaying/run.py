"""A replay as a run of the ledger: how its counts are told, and the plan that goes on with one."""

from __future__ import annotations

from typing import Any

import msgspec

from restrike.errors import UsageError
from restrike.replaying.counts import ReplayCounts
from restrike.replaying.resolved import Resolved
from restrike.running.life import Verb
from restrike.running.run import Run

FAILED = "failed.jsonl"
"""What was given up, in the run's folder, where no other file is named."""


def resolved_of(run: Run) -> Resolved:
    """What was planned."""
    try:
        return msgspec.json.decode(run.request, type=Resolved)
    except msgspec.MsgspecError:
        raise UsageError(
            f"run {run.name} was made by another version of restrike, and cannot go on",
            "Begin anew under another --run.",
        ) from None


def summary(run: Run) -> dict[str, Any]:
    counts = msgspec.json.decode(run.counts, type=ReplayCounts)
    return {
        name: getattr(counts, name)
        for name in ("selected", "filtered", "delivered", "skipped_superseded", "skipped_deleted", "failed", "batches",
                     "invocations")
    }  # fmt: skip


def line(run: Run) -> str:
    counts = msgspec.json.decode(run.counts, type=ReplayCounts)
    parts = [f"{counts.selected:,} selected", f"{counts.delivered:,} delivered"]
    skipped = counts.skipped_superseded + counts.skipped_deleted
    parts += [f"{number:,} {what}" for number, what in ((skipped, "skipped"), (counts.failed, "failed")) if number]
    return ", ".join(parts)


TAKES = frozenset({"limit", "rate", "parallel", "retries", "max_failures", "profile"})
VERB = Verb("replay", summary, line, TAKES)
