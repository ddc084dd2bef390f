"""What was run, and going on with it: runs and resume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from restrike.api.arguments import given, text

if TYPE_CHECKING:
    from os import PathLike

    from restrike.auditing.plan import AuditPlan
    from restrike.capturing.plan import CapturePlan
    from restrike.exporting.plan import ExportPlan
    from restrike.replaying.plan import ReplayPlan
    from restrike.replaying.redriving.plan import RedrivePlan
    from restrike.running.run import Run
    from restrike.touching.plan import TouchPlan


def runs(*, ledger: str | PathLike[str] | None = None) -> list[Run]:
    """The runs that a ledger knows, the newest first; a ledger that is not there has none."""
    from restrike.running.ledger import Ledger, ledger_path

    with Ledger(ledger_path(text(ledger)), read_only=True) as book:
        return book.runs()


def resume(
    name: str,
    *,
    ledger: str | PathLike[str] | None = None,
    limit: int | None = None,
    rate: float | Literal["max"] | None = None,
    max_wcu: float | None = None,
    max_lag: str | None = None,
    max_lag_wait: str | None = None,
    verify: bool | None = None,
    concurrency: int | None = None,
    parallel: int | None = None,
    retries: int | None = None,
    max_failures: int | None = None,
    max_failures_in_a_row: int | None = None,
    profile: str | None = None,
    force: bool = False,
    accept_replication_conflicts: bool = False,
) -> TouchPlan | ReplayPlan | RedrivePlan | CapturePlan | ExportPlan | AuditPlan:
    """The plan that goes on with a run as it was planned, but for what is given here; `plan.execute()` carries it out.

    UsageError where the run is complete, where its verb has no such setting, or where this restrike does not know it.
    """
    values = locals()
    from restrike.running.flags import RESUME
    from restrike.running.ledger import Ledger, ledger_path
    from restrike.verbs import plan_to_resume

    path = ledger_path(text(ledger))
    with Ledger(path, read_only=True) as book:
        run = book.get(name)
    plan: TouchPlan | ReplayPlan | CapturePlan | ExportPlan | AuditPlan = plan_to_resume(
        run, path, given(RESUME, values)
    )
    return plan
