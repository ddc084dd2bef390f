"""How a capture looks: its plan, the line that it says each minute, its report."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from restrike.cli.render import Look
from restrike.cli.render.rows import Rows
from restrike.cli.render.streams import say
from restrike.model.numbers import counted, duration, money
from restrike.model.times import iso

if TYPE_CHECKING:
    from restrike.capturing.tally import CaptureTally
    from restrike.model.plan import CapturePlanData
    from restrike.model.report import CaptureReport


def show_plan(plan: CapturePlanData) -> Rows:
    """The plan of a capture for people; the command that executes it stands last."""
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
        row("costs", f"at most {money(plan.usd_month_per_shard)} a month and idle shard for the reads ({plan.prices})")
    row.warnings(plan.warnings)
    row.to_do("Nothing was written.", plan.command)
    return row


def say_status(tally: CaptureTally, *, as_json: bool) -> None:
    """How far a capture is: a line on stderr, as words or as JSON."""
    now = iso(time.time())
    if as_json:
        status: dict[str, Any] = {
            "at": now,
            "records": tally.records,
            "files": tally.files,
            "bytes": tally.written_bytes,
            "held_bytes": tally.held_bytes,
            "gaps": tally.gaps,
            "lag_s": None if tally.lag_s is None else round(tally.lag_s, 1),
            "waiting_for": tally.waiting_for or None,
        }
        say(json.dumps({"status": status}))
        return
    lag = "nothing read yet" if tally.lag_s is None else f"{duration(tally.lag_s)} behind now"
    waiting = f", waiting: {tally.waiting_for}" if tally.waiting_for else ""
    done = f"{counted(tally.records, 'record')} in {counted(tally.files, 'file')}"
    say(f"{now}  {done}, {lag}{waiting}")


def show_report(report: CaptureReport) -> None:
    """What a capture did, for people on stderr."""
    if report.state == "FAILED" and not report.records:
        return  # the error says it all
    written = f"{counted(report.records, 'record')} in {counted(report.files, 'file')}, {report.written_bytes:,} bytes"
    ended = f"; {report.ended}" if report.ended else ""
    say(f"{report.state.lower()}: {written}; {duration(report.elapsed_s)}{ended}")
    if report.gaps:
        say(f"{report.gaps} gaps: records that the stream had forgotten; see restrike archive stat")


def headline(plan: CapturePlanData) -> str:
    return f"run {plan.run}: capturing {plan.stream_arn} into {plan.archive}, {plan.begins}"


class _Status:
    """The line that a capture says each minute on stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def __call__(self, progress: CaptureTally) -> None:
        say_status(progress, as_json=self._as_json)

    def close(self) -> None:
        """Nothing is left on the screen."""


def look(*, as_json: bool) -> Look:
    return Look(show_plan, headline, lambda _: _Status(as_json=as_json), show_report)


LOOK = look(as_json=False)
