"""A replay as a run of the ledger: how its counts are told, and the plan that goes on with one."""

from __future__ import annotations

import shlex
from typing import Any, TypeVar

import msgspec

from restrike.errors import UsageError
from restrike.replaying.counts import TOLD_REASONS, ReplayCounts
from restrike.replaying.resolved import Resolved
from restrike.running.life import Verb
from restrike.running.run import Run

T = TypeVar("T")
FAILED = "failed.jsonl"
"""What was given up, in the run's folder, where no other file is named."""


def planned_as(run: Run, kind: type[T]) -> T:
    """What was planned, as the verb keeps it."""
    try:
        return msgspec.json.decode(run.request, type=kind)
    except msgspec.MsgspecError:
        raise UsageError(
            f"run {run.name} was made by another version of restrike, and cannot go on",
            "Begin anew under another --run.",
        ) from None


def resolved_of(run: Run) -> Resolved:
    """What was planned."""
    return planned_as(run, Resolved)


def summary(run: Run) -> dict[str, Any]:
    """Its counts; where it delivers; and of what failed why, and where it stands."""
    counts = msgspec.json.decode(run.counts, type=ReplayCounts)
    told: dict[str, Any] = {
        name: getattr(counts, name)
        for name in ("selected", "filtered", "delivered", "skipped_superseded", "skipped_deleted", "failed", "batches",
                     "invocations")
    }  # fmt: skip
    planned = _planned(run)
    told["target"] = planned.target or None
    told["leftover"] = counts.failed
    if counts.failed:
        told["on_failure"] = planned.on_failure or None
        told["reasons"] = [f"{records:,} × {error}" for error, records in counts.most_frequent(TOLD_REASONS)]
    return told


class _Planned(msgspec.Struct):
    """Of a plan, where it delivers, and where what is given up goes."""

    target: str = ""
    on_failure: str = ""


def _planned(run: Run) -> _Planned:
    return _Planned() if run.plan is None else msgspec.json.decode(run.plan, type=_Planned)


def left(run: Run) -> list[dict[str, Any]]:
    """Where what the run gave up stands, and what delivers it once more; nothing where it gave up nothing."""
    counts, planned = msgspec.json.decode(run.counts, type=ReplayCounts), _planned(run)
    if not counts.failed:
        return []
    return [
        {
            "file": planned.on_failure,
            "records": counts.failed,
            "reasons": [{"error": error, "records": records} for error, records in counts.most_frequent(TOLD_REASONS)],
            "again": again(planned.on_failure, planned.target),
        }
    ]


def again(path: str, target: str) -> str:
    """The command that delivers once more what was given up into that file."""
    return shlex.join(["restrike", "replay", f"jsonl:{path}", "--to", target])


def line(run: Run) -> str:
    counts = msgspec.json.decode(run.counts, type=ReplayCounts)
    parts = [f"{counts.selected:,} selected", f"{counts.delivered:,} delivered"]
    skipped = counts.skipped_superseded + counts.skipped_deleted
    parts += [f"{number:,} {what}" for number, what in ((skipped, "skipped"), (counts.failed, "failed")) if number]
    return ", ".join(parts)


TAKES = frozenset({"limit", "rate", "parallel", "retries", "max_failures", "max_failures_in_a_row", "profile"})
VERB = Verb("replay", summary, line, TAKES, left=left)
