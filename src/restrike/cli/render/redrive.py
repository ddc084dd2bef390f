"""How a redrive and a rescue look: the plan message by message, its progress, its report."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from restrike.cli.render import Look
from restrike.cli.render.progress import ProgressLine
from restrike.cli.render.replay import how_it_ended, progress_text, say_losses
from restrike.cli.render.rows import Rows
from restrike.cli.render.streams import say
from restrike.model.numbers import counted, duration
from restrike.model.text import printable
from restrike.model.times import iso

if TYPE_CHECKING:
    from restrike.model.plan import MessagePlan, QueuePlanData, RedrivePlanData, RescuePlanData
    from restrike.model.report import RedriveReport, RescueReport, Staying
    from restrike.replaying.counts import ReplayProgress

SHOWN_MESSAGES = 20
SHOWN_NAME = 60


def show_plan(plan: RedrivePlanData) -> Rows:
    """The plan of a redrive for people; the command that executes it stands last."""
    row = Rows()
    row("failures", plan.failures)
    row("messages", f"{plan.message_count:,}, of which {plan.taken:,} would be redriven")
    for message in plan.messages[:SHOWN_MESSAGES]:
        row(_name(message.name), _message(message))
    if plan.message_count > SHOWN_MESSAGES:
        row("…", f"{plan.message_count - SHOWN_MESSAGES:,} more; --json names them")
    for why, messages in plan.stays:
        row("stays", f"{counted(messages, 'message')}: {printable(why, keep='')}")
    for part in plan.parts:
        count = "unknown" if part.records.count is None else f"at most {part.records.count:,}"
        delivered = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value, _ in part.settings)
        row("consumer", f"{part.target}: {count} records; filters: {part.filters}; {delivered}")
        if part.superseded is not None:
            row("superseded", ", ".join(f"{number:,} items {name}" for name, number in part.superseded.items()))
    row("if superseded", plan.if_superseded or "not said: --execute needs --if-superseded send or skip")
    row("deletes", "objects in S3 whose messages are done" if plan.deletes else "nothing")
    row("given up", f"to {plan.on_failure}")
    row.warnings(plan.warnings)
    if plan.nothing_new:
        row("nothing new", plan.nothing_new)
        row.to_do("Nothing was delivered, and nothing would be: the run is complete.", plan.command)
    else:
        row.to_do("Nothing was delivered.", plan.command)
    return row


def _name(name: str) -> str:
    """Objects of one shard differ at their ends."""
    return printable(name if len(name) <= SHOWN_NAME else f"…{name[1 - SHOWN_NAME :]}", keep="")


def _expires(when: str) -> str:
    return f"expired {when}" if when < iso(time.time()) else f"expires {when}"


def _message(message: MessagePlan) -> str:
    parts = [message.function.rpartition("function:")[2] if message.function else "", message.condition]
    if message.failed is not None:
        parts.append(f"failed {message.failed}")
    if message.expires is not None:
        parts.append(_expires(message.expires))
    if message.records:
        parts.append(counted(message.records, "record"))
    parts.append(f"from {message.served_by}" if message.served_by else "")
    parts.append(f"stays: {message.why}" if message.why else f"to {message.to}")
    return printable(", ".join(part for part in parts if part), keep="")


def show_report(report: RedriveReport) -> None:
    """The report of a redrive for people, on stderr."""
    skipped = report.skipped_superseded + report.skipped_deleted
    say(
        f"{how_it_ended(report)}: {report.done:,} of {counted(report.messages, 'message')} done, "
        f"{report.deleted:,} deleted; {report.delivered:,} records delivered in "
        f"{counted(report.invocations, 'invocation')}, {skipped:,} skipped, {report.failed:,} failed, "
        f"{report.filtered:,} filtered or sent before; {duration(report.elapsed_s)}"
    )
    for why, messages in report.stays:
        first = _first(each for each in report.staying if each.why == why)
        say(f"stays: {counted(messages, 'message')}: {printable(why, keep='')}{first}")
    say_losses(report)
    if report.on_failure:
        say(f"given up, and why: {report.on_failure}; their messages stay, and can be redriven under another --run")


def _first(staying: Iterable[Staying]) -> str:
    """Which of the messages is of no use soonest, and since when; nothing where none is told to be."""
    now = iso(time.time())
    for message in staying:
        if message.expires is not None and message.expires > now:
            does = "deletes" if message.expires_by == "the queue" else "forgets"
            return f"; the first, {_name(message.name)}, {message.expires_by} {does} at {message.expires}"
    return ""


def headline(plan: RedrivePlanData | QueuePlanData) -> str:
    return f"run {plan.run}: {plan.failures} to {plan.target}"


def _progress(plan: RedrivePlanData) -> ProgressLine[ReplayProgress]:
    return ProgressLine(lambda progress: progress_text(progress, plan.expected))


def show_queue_plan(plan: QueuePlanData) -> Rows:
    def told(number: int | None) -> str:
        return "unknown" if number is None else f"{number:,}"

    row = Rows()
    row("queue", plan.queue)
    row("messages", f"about {told(plan.messages)}, and {told(plan.in_flight)} more are held by somebody")
    row("a run takes", f"{plan.most:,} at most; what they tell of is known when they are taken in")
    oldest = "unknown" if plan.oldest_s is None else f"{duration(plan.oldest_s)} old, by its metric"
    row("oldest", oldest)
    if plan.expires_in_s is not None:
        row(
            "expires",
            f"the oldest, in {duration(plan.expires_in_s)} at most: a pointer is good for 24 h from the batch on",
        )
    if plan.retention_s is not None:
        row("kept for", duration(plan.retention_s))
    if plan.moves_to:
        row("moved", f"after {plan.moves_after} receives, to {plan.moves_to}")
    row("consumer", plan.target)
    if not plan.target.startswith("none"):
        row("if superseded", plan.if_superseded or "not said: --execute needs --if-superseded send or skip")
    row("deletes", "messages that are done" if plan.deletes else "nothing")
    row.warnings(plan.warnings)
    row.to_do("Nothing was received.", plan.command)
    return row


def show_rescue_plan(plan: RescuePlanData) -> Rows:
    row = Rows()
    row("failures", plan.failures)
    row("messages", f"{plan.message_count:,}, of which {plan.taken:,} are known")
    for why, messages in plan.stays:
        row("not known", f"{counted(messages, 'message')}: {printable(why, keep='')}")
    if plan.expires is not None:
        row("expires first", plan.expires)
    if plan.expired:
        row("expired", f"{counted(plan.expired, 'message')}: the stream has forgotten what they point at")
    row("rescued to", plan.to)
    row.warnings(plan.warnings)
    row.to_do("Nothing was written.", plan.command)
    return row


def show_rescue(report: RescueReport) -> None:
    say(
        f"rescued {counted(report.records, 'record')} of {counted(report.pointers, 'batch')} "
        f"({counted(report.messages, 'message')}, which stay{_first(report.staying)}) to {report.to}"
    )
    for why, messages in report.stays:
        say(f"not rescued: {counted(messages, 'message')}: {printable(why, keep='')}")
    if report.command:
        say(f"  deliver them: {report.command}")


def _rescue_progress(_: Any) -> ProgressLine[Any]:
    return ProgressLine(str)


def _stdout_is_free(report: RedriveReport | RescueReport) -> bool:
    """Where the records themselves go to stdout, the report is not mixed into them."""
    return getattr(report, "target", "") != "-"


def _show_either(report: RedriveReport | RescueReport) -> None:
    from restrike.model.report import RescueReport  # help needs none of it

    if isinstance(report, RescueReport):
        show_rescue(report)
    else:
        show_report(report)


LOOK = Look(show_plan, headline, _progress, show_report, _stdout_is_free)
QUEUE = Look(
    show_queue_plan,
    lambda plan: headline(plan) if plan.run else f"rescue of {plan.failures}",
    lambda _: ProgressLine(lambda progress: progress_text(progress, None)),
    _show_either,
    _stdout_is_free,
)
RESCUE = Look(show_rescue_plan, lambda plan: f"rescue of {plan.failures}", _rescue_progress, show_rescue)
LOOKS = {"RedrivePlanData": LOOK, "QueuePlanData": QUEUE, "RescuePlanData": RESCUE}
"""By what the plan's data is."""
