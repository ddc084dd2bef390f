"""How a replay looks: its plan, its progress, its report; and what a source has lost."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from restrike.cli.render import Look
from restrike.cli.render.progress import ProgressLine
from restrike.cli.render.rows import Rows
from restrike.cli.render.streams import say
from restrike.model.numbers import duration, money

if TYPE_CHECKING:
    from restrike.model.plan import ReplayPlanData
    from restrike.model.report import ReplayReport
    from restrike.model.window import Gap
    from restrike.replaying.counts import ReplayProgress


def show_plan(plan: ReplayPlanData) -> None:
    """The plan of a replay for people, on stderr; the command that executes it stands last."""
    row = Rows()
    row("source", plan.source)
    row("target", plan.target)
    count = "unknown" if plan.records.count is None else f"{plan.records.count:,}"
    row("records", f"{count} ({plan.records.how})" if plan.records.how else count)
    if plan.first is not None:
        row("created", f"{plan.first} to {plan.last}")
    row("fidelity", plan.fidelity)
    row("filters", plan.filters)
    for name, value, origin in plan.settings:
        row(name.replace("_", " "), f"{value} ({origin})")
    if plan.superseded is not None:
        row(
            "superseded",
            ", ".join(f"{number:,} items {name}" for name, number in plan.superseded.items()) or "no items",
        )
    if plan.invocations is not None:
        usd = f", {money(plan.usd)} for the requests ({plan.prices_as_of})" if plan.usd is not None else ""
        row("invocations", f"about {plan.invocations:,}{usd}")
    if plan.longest_s is not None:
        row("takes at most", f"{duration(plan.longest_s)}, without retries")
    if plan.readers is not None:
        row("readers", plan.readers)
    row("given up", f"to {plan.on_failure}")
    for gap in plan.gaps:
        row("gap", gap)
    row.warnings(plan.warnings)
    row.show()
    say("Nothing was delivered. To do it:")
    say(f"  {plan.command}")


def progress_text(progress: ReplayProgress, total: int | None) -> str:
    counts = progress.counts
    parts = [f"replaying {counts.selected:,}" + (f" of {total:,}" if total else "")]
    parts += [f"{counts.delivered:,} delivered", f"{progress.records_per_s:,.0f} records/s"]
    if counts.failed:
        parts.append(f"{counts.failed:,} failed")
    if total and progress.records_per_s > 0:
        parts.append(f"{duration(max(0, total - counts.delivered) / progress.records_per_s)} left")
    return ", ".join(parts)


def show_report(report: ReplayReport) -> None:
    """The report of a replay for people, on stderr."""
    skipped = report.skipped_superseded + report.skipped_deleted
    say(
        f"{report.state.lower()} {report.run}: {report.selected:,} selected, {report.delivered:,} delivered in "
        f"{report.batches:,} batches and {report.invocations:,} invocations, {skipped:,} skipped, {report.failed:,} "
        f"failed, {report.filtered:,} filtered; {duration(report.elapsed_s)}, {report.records_per_s:,.0f} records/s"
    )
    if report.ended and report.state == "COMPLETED":
        say(f"the source ended: {report.ended}")
    if report.readers:
        say(f"it was {report.readers}")
    for gap in report.gaps:
        say(f"lost: {lost(gap)}")
    if report.on_failure:
        say(f"given up, and why: {report.on_failure}")
        again = shlex.join(["restrike", "replay", f"jsonl:{report.on_failure}", "--to", report.target])
        say(f"  again: {again}")


def lost(gap: Gap) -> str:
    """The shard and, as far as they are known, the times of the records around the gap; and why."""

    def time_of(moment_s: float | None) -> str:
        return "an unknown time" if moment_s is None else f"{datetime.fromtimestamp(moment_s, UTC):%Y-%m-%dT%H:%M:%SZ}"

    times = "" if gap.from_s is None and gap.to_s is None else f" from {time_of(gap.from_s)} to {time_of(gap.to_s)}"
    return f"{gap.shard}{times}: {gap.why}" if gap.shard or times else gap.why


def _stdout_is_free(report: ReplayReport) -> bool:
    """Where the records themselves go to stdout, the report is not mixed into them."""
    return report.target != "-"


def headline(plan: ReplayPlanData) -> str:
    return f"run {plan.run}: {plan.source} to {plan.target}"


def _progress(plan: ReplayPlanData) -> ProgressLine[ReplayProgress]:
    return ProgressLine(lambda progress: progress_text(progress, plan.records.count))


LOOK = Look(show_plan, headline, _progress, show_report, _stdout_is_free)
