"""How things look: plans and reports as tables for people on stderr, data on stdout, progress while it runs."""

from __future__ import annotations

import json
import shlex
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from restrike.errors import RestrikeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from restrike.capturing.stream import CaptureTally
    from restrike.model.plan import CapturePlan, ReplayPlan, TouchPlan
    from restrike.model.report import CaptureReport, ReplayReport, TouchReport
    from restrike.model.window import Gap
    from restrike.replaying.engine import ReplayProgress
    from restrike.touching.engine import Progress

PLAIN_PROGRESS_EVERY_S = 5.0


def counted(number: int, noun: str) -> str:
    """`1 file`, `2,000 files`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False))


def stderr() -> Console:
    from rich.console import Console

    # Not a terminal: no wrapping, so that lines can be searched.
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 160)


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 90:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def money(usd: float) -> str:
    return "less than $0.01" if 0 < usd < 0.01 else f"${usd:,.2f}"


class Rows:
    """Lines of a name and a value on stderr; long values are folded under themselves on a terminal."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str]] = []

    def __call__(self, name: str, value: str) -> None:
        self._rows.append((name, value))

    def show(self) -> None:
        width = max(len(name) for name, _ in self._rows) + 1
        if not sys.stderr.isatty():
            for name, value in self._rows:
                click.echo(f"{name:{width}} {value}", err=True)
            return
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in self._rows:
            table.add_row(Text(name, style="yellow" if name == "warning" else "bold"), Text(value))
        stderr().print(table)


def show_columns(header: list[str], rows: list[list[str]], numbers: frozenset[str]) -> None:
    """A table on stdout, one row a line whatever the width: made to be read and to be cut."""
    widths = [max(len(line[at]) for line in [header, *rows]) for at in range(len(header))]
    for line in [header, *rows]:
        cells = [
            cell.rjust(width) if name in numbers else cell.ljust(width)
            for name, cell, width in zip(header, line, widths, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def show_plan(plan: TouchPlan) -> None:
    """The plan for people, on stderr; the command that executes it stands last."""
    row = Rows()
    row("table", f"{plan.table_arn}")
    row("account", f"{plan.account}, Region {plan.region}, endpoint {plan.endpoint}")
    row("selection", plan.selection)
    count = "unknown" if plan.items.count is None else f"{plan.items.count:,}"
    row("items", f"{count} ({plan.items.how})")
    for number, key in enumerate(plan.sample_keys):
        row("for example" if number == 0 else "", key)
    if plan.mode == "marker":
        row("already", f"{plan.sample_already} of {plan.sample_size} sampled items bear this run's name")
        row("writes", f"attribute {plan.attribute} = {plan.run!r}")
    else:
        row("writes", f"attribute {plan.attribute} + 1")
    estimate = plan.estimate
    if estimate.wru is not None:
        reads = f", {estimate.rru:g} read units" if estimate.rru is not None else ""
        row("capacity", f"{estimate.wru:,.0f} write units{reads}")
    if estimate.usd is not None:
        row("money", f"{money(estimate.usd)} (prices of us-east-1, {plan.prices_as_of})")
    if estimate.seconds is not None:
        row("duration", f"{duration(estimate.seconds)} at {plan.rate}")
    if plan.seconds_one_partition is not None:
        row("", f"not under {duration(plan.seconds_one_partition)}: one partition key takes 1,000 WCU/s")
    row("stream", f"{plan.view_type}; readers: {plan.readers}")
    row("proof", ("yes: " if plan.verify else "no: ") + plan.verify_why)
    signs = {True: "fires", False: "does not fire", None: "unknown"}
    for consumer in plan.consumers:
        row("consumer", f"{consumer.name}: {signs[consumer.fires]}; {consumer.why}")
    row("consumers", plan.consumers_note)
    for warning in plan.warnings:
        row("warning", warning.message)
    row.show()
    click.echo("Nothing was written. To do it:", err=True)
    click.echo(f"  {plan.command}", err=True)


def show_report(report: TouchReport) -> None:
    """The report for people, on stderr."""
    console = stderr()
    seen = "" if report.seen is None else f", {report.seen:,} seen on the stream"
    if report.seen_at_most is not None:
        seen = f", at most {report.seen_at_most:,} seen on the stream"
    console.print(
        f"[bold]{report.state.lower()}[/] {report.run}: {report.selected:,} selected, {report.fired:,} fired{seen}; "
        f"{report.already:,} already, {report.gone:,} gone, {report.changed:,} changed, {report.failed:,} failed; "
        f"{duration(report.elapsed_s)}, {report.items_per_s:,.0f} items/s",
        soft_wrap=True,
    )
    for note in report.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)
    if report.leftover:
        console.print(
            f"{report.leftover:,} left over: restrike runs show {report.run} --leftover", soft_wrap=True, markup=False
        )


class ProgressLine:
    """Progress on stderr: a live line on a terminal, else a plain line every five seconds."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._live = sys.stderr.isatty()
        self._next = time.monotonic() + PLAIN_PROGRESS_EVERY_S
        self._status: Any = None
        if self._live:
            self._status = stderr().status("starting")
            self._status.start()

    def __call__(self, progress: Progress | ReplayProgress) -> None:
        if not self._live and time.monotonic() < self._next:
            return
        from restrike.replaying.engine import ReplayProgress

        text = self._replayed(progress) if isinstance(progress, ReplayProgress) else self._touched(progress)
        if self._live:
            self._status.update(text)
        else:
            self._next = time.monotonic() + PLAIN_PROGRESS_EVERY_S
            click.echo(text, err=True)

    def close(self) -> None:
        if self._status is not None:
            self._status.stop()

    def _replayed(self, progress: ReplayProgress) -> str:
        counts = progress.counts
        parts = [f"replaying {counts.selected:,}" + (f" of {self._total:,}" if self._total else "")]
        parts += [f"{counts.delivered:,} delivered", f"{progress.records_per_s:,.0f} records/s"]
        if counts.failed:
            parts.append(f"{counts.failed:,} failed")
        if self._total and progress.records_per_s > 0:
            left = max(0, self._total - counts.delivered)
            parts.append(f"{duration(left / progress.records_per_s)} left")
        return ", ".join(parts)

    def _touched(self, progress: Progress) -> str:
        counts = progress.counts
        parts = [f"{progress.phase} {counts.selected:,}" + (f" of {self._total:,}" if self._total else "")]
        parts.append(f"{counts.fired:,} fired")
        if progress.seen is not None:
            parts.append(f"{progress.seen:,} seen")
        parts.append(f"{progress.items_per_s:,.0f} items/s")
        if self._total and progress.items_per_s > 0 and progress.phase == "touching":
            left = max(0, self._total - counts.selected)
            parts.append(f"{duration(left / progress.items_per_s)} left")
        if progress.throttles:
            parts.append(f"{progress.throttles:,} throttles")
        return ", ".join(parts)


def carry_out(
    plan: Any, show: Callable[[Any], None], headline: str, *, execute: bool, as_json: bool, total: int | None
) -> int:
    """Shows the plan or, with `execute`, does it under the eyes of the user; returns the exit code."""
    if not execute:
        plan.discard()
        if as_json:
            print_json(plan.as_json())
        else:
            show(plan.data)
        return 0
    for warning in plan.warnings:
        click.echo(f"warning: {warning.message}", err=True)
    click.echo(f"run {plan.data.run}: {headline}", err=True)
    return watched(plan.execute, as_json=as_json, total=total)


def watched(work: Callable[[ProgressLine], Any], *, as_json: bool, total: int | None = None) -> int:
    """Does the work with its progress shown, then its report, also where it failed; returns the exit code."""
    progress = ProgressLine(total)
    try:
        report = work(progress)
    except RestrikeError as error:
        progress.close()
        end(error.report, as_json)
        raise
    finally:
        progress.close()
    return end(report, as_json)


def show_replay_plan(plan: ReplayPlan) -> None:
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
    for warning in plan.warnings:
        row("warning", warning.message)
    row.show()
    click.echo("Nothing was delivered. To do it:", err=True)
    click.echo(f"  {plan.command}", err=True)


def show_replay_report(report: ReplayReport) -> None:
    """The report of a replay for people, on stderr."""
    skipped = report.skipped_superseded + report.skipped_deleted
    click.echo(
        f"{report.state.lower()} {report.run}: {report.selected:,} selected, {report.delivered:,} delivered in "
        f"{report.batches:,} batches and {report.invocations:,} invocations, {skipped:,} skipped, {report.failed:,} "
        f"failed, {report.filtered:,} filtered; {duration(report.elapsed_s)}, {report.records_per_s:,.0f} records/s",
        err=True,
    )
    if report.ended and report.state == "COMPLETED":
        click.echo(f"the source ended: {report.ended}", err=True)
    if report.readers:
        click.echo(f"it was {report.readers}", err=True)
    for gap in report.gaps:
        click.echo(f"lost: {lost(gap)}", err=True)
    if report.on_failure:
        click.echo(f"given up, and why: {report.on_failure}", err=True)
        again = shlex.join(["restrike", "replay", f"jsonl:{report.on_failure}", "--to", report.target])
        click.echo(f"  again: {again}", err=True)


def lost(gap: Gap) -> str:
    """The shard and, as far as they are known, the times of the records around the gap; and why."""
    from datetime import UTC, datetime

    def time_of(moment_s: float | None) -> str:
        return "an unknown time" if moment_s is None else f"{datetime.fromtimestamp(moment_s, UTC):%Y-%m-%dT%H:%M:%SZ}"

    times = "" if gap.from_s is None and gap.to_s is None else f" from {time_of(gap.from_s)} to {time_of(gap.to_s)}"
    return f"{gap.shard}{times}: {gap.why}" if gap.shard or times else gap.why


def show_capture_plan(plan: CapturePlan) -> None:
    """The plan of a capture for people, on stderr; the command that executes it stands last."""
    row = Rows()
    row("table", f"{plan.table} in {plan.region}")
    row("stream", plan.stream_arn)
    row("view type", plan.view_type)
    row("endpoint", plan.endpoint)
    row("archive", plan.archive)
    row("begins", plan.begins)
    row("ends", plan.ends)
    row("readers", plan.readers)
    if plan.usd_month_per_shard is not None:
        row("costs", f"at most {money(plan.usd_month_per_shard)} a month and idle shard for the reads")
    for warning in plan.warnings:
        row("warning", warning.message)
    row.show()
    click.echo("Nothing was written. To do it:", err=True)
    click.echo(f"  {plan.command}", err=True)


class CaptureStatus:
    """The line that a capture says each minute: on stderr, or as JSON on stdout."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def __call__(self, tally: CaptureTally) -> None:
        from datetime import UTC, datetime

        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        if self._as_json:
            print_json(
                {
                    "status": {
                        "at": now,
                        "records": tally.records,
                        "files": tally.files,
                        "bytes": tally.written_bytes,
                        "held_bytes": tally.held_bytes,
                        "gaps": tally.gaps,
                        "lag_s": None if tally.lag_s is None else round(tally.lag_s, 1),
                        "waiting_for": tally.waiting_for or None,
                    }
                }
            )
            return
        lag = "nothing read yet" if tally.lag_s is None else f"{duration(tally.lag_s)} behind now"
        waiting = f", waiting: {tally.waiting_for}" if tally.waiting_for else ""
        done = f"{counted(tally.records, 'record')} in {counted(tally.files, 'file')}"
        click.echo(f"{now}  {done}, {lag}{waiting}", err=True)


def show_capture_report(report: CaptureReport | object | None, as_json: bool) -> None:
    """What a capture did, for people on stderr, and with `as_json` on stdout."""
    from restrike.model.report import CaptureReport

    if not isinstance(report, CaptureReport) or (report.state == "FAILED" and not report.records and not as_json):
        return  # the error says it all
    written = f"{counted(report.records, 'record')} in {counted(report.files, 'file')}, {report.written_bytes:,} bytes"
    ended = f"; {report.ended}" if report.ended else ""
    click.echo(f"{report.state.lower()}: {written}; {duration(report.elapsed_s)}{ended}", err=True)
    if report.gaps:
        click.echo(f"{report.gaps} gaps: records that the stream had forgotten; see restrike archive stat", err=True)
    if as_json:
        print_json(report.as_json())


def end(report: Any, as_json: bool) -> int:
    """Shows the report of any run, if there is one, and how to go on; returns its exit code."""
    if report is None:
        return 1
    replayed = report.verb == "replay"
    if replayed:
        show_replay_report(report)
    else:
        show_report(report)
    # Where the records themselves go to stdout, the report is not mixed into them.
    if as_json and not (replayed and report.target == "-"):
        print_json(report.as_json())
    if report.state in ("INTERRUPTED", "CANCELLED", "LIMITED"):
        click.echo(f"go on with: restrike runs resume {report.run}", err=True)
    code: int = report.exit_code
    return code
