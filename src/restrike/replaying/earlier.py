"""What an earlier part of a replay means for the plan of the next."""

from __future__ import annotations

import msgspec

from restrike.model.plan import ReplayPlanData
from restrike.model.report import ReplayReport
from restrike.model.times import iso_or_none
from restrike.model.window import Window
from restrike.replaying.counts import ReplayCounts, report_of
from restrike.replaying.resolved import Resolved, typed_window
from restrike.replaying.run import VERB, resolved_of
from restrike.running.ledger import Ledger
from restrike.running.run import Run


def report_again(run: Run, data: ReplayPlanData) -> ReplayReport:
    """What a run that is complete did, when it did it."""
    counts = msgspec.json.decode(run.counts, type=ReplayCounts)
    report = report_of(
        run.name,
        data.source,
        data.target,
        "COMPLETED",
        counts,
        elapsed_s=run.elapsed_s,
        ended="",
        gaps=counts.lost,
        on_failure=data.on_failure,
    )
    report.done_at = int(run.updated_at)
    return report


def stood_on(ledger: Ledger, known: Run | None, resolved: Resolved) -> dict[str, str] | None:
    """What the run stood on, to be compared with what is there. None where it is new; or where it has another source or
    target, and is refused as another run."""
    if known is None or known.verb != VERB.name:
        return None
    now = {"source": resolved.source.resolved, "target": resolved.target.resolved, **resolved.input.identity}
    same = all(known.identity.get(part) == told for part, told in now.items())
    return ledger.stands(known.name) if same else None


def dealt_with(known: Run | None) -> int:
    """How many records earlier parts of the run have dealt with."""
    if known is None or known.verb != VERB.name:
        return 0
    return msgspec.json.decode(known.counts, type=ReplayCounts).selected


def nothing_new(known: Run | None) -> str:
    if known is None or known.verb != VERB.name or known.state != "COMPLETED":
        return ""
    return f"completed at {iso_or_none(int(known.updated_at))}: {VERB.line(known)}"


def window_of_first(resolved: Resolved, known: Run | None) -> Window:
    """A rerun's window is that of the run's first part, although `--last 2h` means another by now."""
    if known is None or known.identity.get("window", "") != typed_window(resolved) or known.verb != VERB.name:
        return resolved.window
    return resolved_of(known).window
