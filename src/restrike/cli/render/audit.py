"""How an audit looks: its plan, its progress, its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restrike.cli.render import Look
from restrike.cli.render.progress import ProgressLine
from restrike.cli.render.rows import Rows
from restrike.cli.render.streams import say
from restrike.model.numbers import counted, duration, figure, money

if TYPE_CHECKING:
    from restrike.auditing.execute import AuditProgress
    from restrike.model.audit import AuditPlanData, AuditReport


def show_plan(plan: AuditPlanData) -> Rows:
    """The plan of an audit for people; the command that executes it stands last."""
    row = Rows()
    row("table", plan.table_arn)
    row("account", f"{plan.account}, Region {plan.region}, endpoint {plan.endpoint}")
    row("selection", plan.selection)
    row("against", plan.against)
    row("compared", ", ".join(plan.on) or "keys alone; attributes: --on")
    row("as of", plan.as_of or "when it is read")
    row("moved since", plan.since)
    if plan.nothing_new:
        row.to_do(
            f"It would not be compared again: {plan.nothing_new}.", f"restrike runs show {plan.run}", purpose="see"
        )
        return row
    count = "unknown" if plan.items.count is None else f"{plan.items.count:,}"
    row("items", f"{count} ({plan.items.how})")
    estimate = plan.estimate
    if estimate.rru is not None:
        row("capacity", f"about {figure(round(estimate.rru, 1))} read units, and some for each difference")
    if estimate.usd is not None:
        row("money", f"{money(estimate.usd)} ({plan.prices})")
    row("pace", plan.rate)
    if estimate.seconds is not None:
        row("duration", f"{duration(estimate.seconds)} at that")
    row.warnings(plan.warnings)
    row.to_do("Nothing was compared.", plan.command)
    return row


def progress_text(progress: AuditProgress) -> str:
    counts = progress.counts
    parts = [counts.phase, f"{counted(counts.theirs, 'row')} and {counted(counts.ours, 'item')} read"]
    if counts.equal:
        parts.append(f"{counts.equal:,} equal")
    wrong = counts.missing + counts.stale + counts.extra
    if wrong:
        parts.append(counted(wrong, "difference"))
    return ", ".join([*parts, f"for {duration(progress.elapsed_s)}"])


def show_report(report: AuditReport) -> None:
    """The report of an audit for people, on stderr."""
    found = f"{report.missing:,} missing, {report.stale:,} stale, {report.extra:,} extra"
    if report.state == "COMPLETED" and report.exit_code == 0:
        found = "equal"
    say(
        f"{report.state.lower()} {report.run}: {found}; {counted(report.ours, 'item')} and "
        f"{counted(report.theirs, 'row')}, {report.equal:,} the same; {figure(report.consumed_rru)} read units, "
        f"{duration(report.elapsed_s)}"
    )
    if report.may_have_moved and report.differences:
        say(f"they may have moved since {report.as_of}: {report.may_have_moved}")
    for number, text in (
        (report.moved, f"moved: written since {report.as_of}, and no difference yet"),
        (report.settled, "settled: the same when they were read once more"),
        (report.outside, "outside: in the table, and not selected"),
        (report.uncompared, "not compared: an attribute of theirs is no scalar"),
        (report.unreadable, f"of {report.against} cannot be read"),
        (report.duplicates, "more than once on the other side: the last one was compared"),
    ):
        if number:
            say(f"{number:,} {text}")
    for note in report.notes:
        say(f"note: {note}")
    for kind, path in report.files.items():
        say(f"{kind}: {path}")
    for command in report.repairs:
        say(f"repair: {command}")


def headline(plan: AuditPlanData) -> str:
    return f"run {plan.run}: {plan.selection} of {plan.table_arn} against {plan.against}"


LOOK = Look(show_plan, headline, lambda _: ProgressLine(progress_text), show_report)
