"""How an export looks: its plan, its progress, its report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restrike.cli.render import Look
from restrike.cli.render.progress import ProgressLine
from restrike.cli.render.rows import Rows
from restrike.cli.render.streams import say
from restrike.model.numbers import counted, duration, money

if TYPE_CHECKING:
    from restrike.exporting.execute import ExportProgress
    from restrike.model.plan import ExportPlanData
    from restrike.model.report import ExportReport


def show_plan(plan: ExportPlanData) -> Rows:
    """The plan of an export for people; the command that executes it stands last."""
    row = Rows()
    row("table", f"{plan.table} in {plan.region}")
    row("endpoint", plan.endpoint)
    row("from", plan.since)
    row("until", plan.until)
    row("windows", f"{counted(plan.windows, 'window')} of {duration(plan.window_s)}")
    if plan.existing:
        row("there already", f"{counted(plan.existing, 'window')}, not exported again")
    if plan.key is not None:
        row.example("partition key", plan.key)
    row("to", plan.to)
    row("costs at least", f"{money(plan.usd_at_least)}: 10 MB for each window that is started")
    usd = "unknown" if plan.usd is None else money(plan.usd)
    about = f"about {usd}" if usd.startswith("$") else usd
    row("costs", f"{about}, {plan.usd_how} (prices of {plan.prices_as_of}, us-east-1)")
    row("capacity", "none of the table's is taken")
    row("afterwards", plan.replay)
    row.warnings(plan.warnings)
    if plan.nothing_new:
        row.to_do(f"Nothing was started, and nothing would be: {plan.nothing_new}.", plan.replay, purpose="replay it")
    else:
        row.to_do("Nothing was started.", plan.command)
    return row


def progress_text(progress: ExportProgress) -> str:
    counts = progress.counts
    parts = [f"exported {counts.completed:,} of {counted(counts.windows, 'window')}"]
    parts += [f"{counts.under_way:,} under way", f"for {duration(progress.elapsed_s)}"]
    if counts.failed:
        parts.append(f"{counts.failed:,} failed")
    if progress.waits_for:
        parts.append(f"waiting for {progress.waits_for}")
    return ", ".join(parts)


def show_report(report: ExportReport) -> None:
    """The report of an export for people, on stderr."""
    say(
        f"{report.state.lower()} {report.run}: {report.completed:,} of {counted(report.windows, 'window')} exported "
        f"({report.started:,} started, {report.found:,} there already), {counted(report.items, 'item')}, "
        f"{report.billed_bytes / 1e6:,.0f} MB billed; {duration(report.elapsed_s)}"
    )
    if report.under_way:
        say(f"{counted(report.under_way, 'window')} under way: they go on in the service")
    if report.state == "COMPLETED":
        say(f"replay it: {report.replay}")


def headline(plan: ExportPlanData) -> str:
    return f"run {plan.run}: {plan.table}, {counted(plan.windows, 'window')} to {plan.to}"


LOOK = Look(show_plan, headline, lambda _: ProgressLine(progress_text), show_report)
