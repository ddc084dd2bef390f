"""How a replay looks: its plan, its progress, its report; and what a source has lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restrike.cli.render import Look
from restrike.cli.render.progress import ProgressLine
from restrike.cli.render.rows import Rows
from restrike.cli.render.streams import say
from restrike.model.numbers import counted, duration, money
from restrike.model.times import iso

if TYPE_CHECKING:
    from restrike.model.plan import ReplayPlanData
    from restrike.model.report import ReplayReport
    from restrike.model.window import Gap
    from restrike.replaying.counts import ReplayProgress


def show_plan(plan: ReplayPlanData) -> Rows:
    """The plan of a replay for people; the command that executes it stands last."""
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
    if plan.nothing_new:
        row("nothing new", plan.nothing_new)
    elif plan.invocations is not None:
        usd = f", {money(plan.usd)} for the requests ({plan.prices})" if plan.usd is not None else ""
        about = plan.counted if plan.counted in ("at most", "at least") else "about"
        row("invocations", f"{about} {plan.invocations:,}{usd}")
    if plan.longest_s is not None and not plan.nothing_new:
        row("takes at most", f"{duration(plan.longest_s)}, without retries")
    if plan.readers is not None:
        row("readers", plan.readers)
    row("given up", f"to {plan.on_failure}")
    for gap in plan.gaps:
        row("gap", gap)
    row.warnings(plan.warnings)
    if plan.nothing_new:
        row.to_do(
            "Nothing was delivered, and nothing would be: the run is complete.",
            f"{plan.command.removesuffix(f' --run {plan.run} --execute')} --run NAME",
            purpose="plan it anew",
        )
    else:
        row.to_do("Nothing was delivered.", plan.command)
    return row


def progress_text(progress: ReplayProgress, total: int | None) -> str:
    counts = progress.counts
    share = f" of {total:,} ({min(100, counts.selected * 100 // total)} %)" if total else ""
    parts = [f"replaying {counts.selected:,}{share}"]
    parts += [f"{counts.delivered:,} delivered", f"{progress.records_per_s:,.0f} records/s"]
    if counts.failed:
        parts.append(f"{counts.failed:,} failed")
    if total and total > counts.selected and progress.records_per_s > 0:
        parts.append(f"{duration((total - counts.selected) / progress.records_per_s)} left")
    return ", ".join(parts)


def show_report(report: ReplayReport) -> None:
    """The report of a replay for people, on stderr."""
    from restrike.replaying.run import again  # help needs none of it

    skipped = report.skipped_superseded + report.skipped_deleted
    say(
        f"{how_it_ended(report)}: {report.selected:,} selected, {report.delivered:,} delivered in "
        f"{counted(report.batches, 'batch')} and {counted(report.invocations, 'invocation')}, {skipped:,} skipped, "
        f"{report.failed:,} failed, {report.filtered:,} filtered; {duration(report.elapsed_s)}, "
        f"{report.records_per_s:,.0f} records/s"
    )
    if report.ended and report.state == "COMPLETED":
        say(f"the source ended: {report.ended}")
    if report.readers:
        say(f"it was {report.readers}")
    say_losses(report)
    if report.on_failure:
        say(f"given up, and why: {report.on_failure}")
        say(f"  again, to {report.target}: {again(report.on_failure, report.target)}")


def how_it_ended(report: ReplayReport) -> str:
    if report.done_at is not None:
        return f"nothing new: nothing was sent. {report.run} was completed at {iso(report.done_at)}"
    return f"{report.state.lower()} {report.run}"


def say_losses(report: ReplayReport) -> None:
    """What the source has lost, and why records failed."""
    for gap in report.gaps:
        say(f"lost: {lost(gap)}")
    for error, records in report.reasons:
        say(f"failed: {counted(records, 'record')}: {error}")


def lost(gap: Gap) -> str:
    """The shard and, as far as they are known, the times of the records around the gap; and why."""

    def time_of(moment_s: float | None) -> str:
        return "an unknown time" if moment_s is None else iso(moment_s)

    times = "" if gap.from_s is None and gap.to_s is None else f" from {time_of(gap.from_s)} to {time_of(gap.to_s)}"
    return f"{gap.shard}{times}: {gap.why}" if gap.shard or times else gap.why


def _stdout_is_free(report: ReplayReport) -> bool:
    """Where the records themselves go to stdout, the report is not mixed into them."""
    return report.target != "-"


def headline(plan: ReplayPlanData) -> str:
    return f"run {plan.run}: {plan.source} to {plan.target}"


def _progress(plan: ReplayPlanData) -> ProgressLine[ReplayProgress]:
    total = None if plan.counted == "at least" else plan.records.count
    return ProgressLine(lambda progress: progress_text(progress, total))


LOOK = Look(show_plan, headline, _progress, show_report, _stdout_is_free)
