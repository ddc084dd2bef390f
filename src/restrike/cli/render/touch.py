"""How a touch looks: its plan, its progress, its report."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from restrike.cli.render import Look
from restrike.cli.render.progress import ProgressLine
from restrike.cli.render.rows import Rows, stderr
from restrike.cli.render.streams import say
from restrike.model.numbers import duration, money

if TYPE_CHECKING:
    from restrike.model.plan import TouchPlanData
    from restrike.model.report import TouchReport
    from restrike.touching.progress import TouchProgress


def show_plan(plan: TouchPlanData) -> Rows:
    """The plan for people; the command that executes it stands last."""
    row = Rows()
    row("table", f"{plan.table_arn}")
    row("account", f"{plan.account}, Region {plan.region}, endpoint {plan.endpoint}")
    row("selection", plan.selection)
    if plan.done is not None:
        row("writes", plan.done)
        row.to_do("Nothing was written.", plan.command, purpose="start over")
        return row
    count = "unknown" if plan.items.count is None else f"{plan.items.count:,}"
    row("items", f"{count} ({plan.items.how})")
    for number, key in enumerate(plan.sample_keys):
        row.example("for example" if number == 0 else "", key)
    if plan.mode == "marker":
        row("already", f"{plan.sample_already} of {plan.sample_size} sampled items bear this run's name")
        if plan.sample_others:
            row("", f"{sum(plan.sample_others.values())} bear another run's, and lose it")
        row("writes", f"attribute {plan.attribute} = {plan.run!r}")
    elif plan.mode == "unmark":
        row("marked", f"{plan.sample_already} of {plan.sample_size} sampled items bear the name")
        row("removes", f"attribute {plan.attribute}, where it is the name; run {plan.run}")
    else:
        row("writes", f"attribute {plan.attribute} + 1")
    estimate = plan.estimate
    if estimate.wru is not None:
        reads = f", {estimate.rru:g} read units" if estimate.rru is not None else ""
        row("capacity", f"{estimate.wru:,.0f} write units{reads}")
    if estimate.usd is not None:
        row("money", f"{money(estimate.usd)} ({plan.prices})")
    elif estimate.wru is not None:
        row("money", "not known: autoscaling may raise what is provisioned")
    if plan.change_data_units is not None and plan.change_data_usd is not None:
        units = f"{plan.change_data_units:,.0f} change data capture units"
        row("", f"with {units} for Kinesis: {money(plan.change_data_usd)}")
    if estimate.seconds is not None:
        row("duration", f"{duration(estimate.seconds)} at {plan.rate}")
    if plan.lag:
        row("lag", plan.lag)
    if plan.seconds_one_partition is not None:
        row("", f"one partition key takes as few as 1,000 WCU/s: {duration(plan.seconds_one_partition)} at that")
    row("stream", f"{plan.view_type}; readers: {plan.readers}" if plan.view_type else "none: Kinesis gets what changes")
    if plan.consistency is not None:
        strength = {"EVENTUAL": "eventual", "STRONG": "strong"}[plan.consistency]
        row("replicas", f"{', '.join(plan.replicas) or 'not told'}; {strength} consistency")
    row("proof", ("yes: " if plan.verify else "no: ") + plan.verify_why)
    signs = {True: "fires", False: "does not fire", None: "unknown"}
    for consumer in plan.consumers:
        row("consumer", f"{consumer.name}: {signs[consumer.fires]}; {consumer.why}")
    row("consumers", plan.consumers_note)
    row.warnings(plan.warnings)
    row.to_do("Nothing was written.", plan.command)
    return row


def progress_text(progress: TouchProgress, total: int | None) -> str:
    counts = progress.counts
    of_total = f" of {total:,} ({min(1.0, counts.selected / total):.0%})" if total else ""
    parts = [f"{progress.phase} {counts.selected:,}{of_total}"]
    parts.append(f"{counts.fired:,} fired")
    if progress.seen is not None:
        parts.append(f"{progress.seen:,} seen")
    parts.append(f"{progress.items_per_s:,.0f} items/s")
    if total and progress.items_per_s > 0 and progress.phase == "touching":
        parts.append(f"{duration(max(0, total - counts.selected) / progress.items_per_s)} left")
    if progress.throttles:
        parts.append(f"{progress.throttles:,} throttles")
    if progress.held:
        parts.append(progress.held)
    return ", ".join(parts)


def show_report(report: TouchReport) -> None:
    """The report for people, on stderr."""
    seen = "" if report.seen is None else f", {report.seen:,} seen on the stream"
    if report.seen_at_most is not None:
        seen = f", at most {report.seen_at_most:,} seen on the stream"
    with contextlib.suppress(OSError):
        stderr().print(
            f"[bold]{report.state.lower()}[/] {report.run}: {report.selected:,} selected, {report.fired:,} fired{seen};"
            f" {_told(report)}; {duration(report.elapsed_s)}, {report.items_per_s:,.0f} items/s",
            soft_wrap=True,
        )
    for note in report.notes:
        say(f"note: {note}")
    if report.leftover:
        say(f"{report.leftover:,} left over: restrike runs show {report.run} --leftover")


def _told(report: TouchReport) -> str:
    """What became of the items that did not fire, and whose name went where they did."""
    told = f"{report.already:,} already, {report.gone:,} gone, {report.changed:,} changed, {report.failed:,} failed"
    if report.refused:
        told += f", {report.refused:,} refused"
    if report.unknown:
        told += f", {report.unknown:,} unknown"
    return told + (f"; {report.overwrote:,} bore another run's name" if report.overwrote else "")


def headline(plan: TouchPlanData) -> str:
    return f"run {plan.run}: {plan.selection} of {plan.table_arn}"


def _progress(plan: TouchPlanData) -> ProgressLine[TouchProgress]:
    return ProgressLine(lambda progress: progress_text(progress, plan.total))


LOOK = Look(show_plan, headline, _progress, show_report)
