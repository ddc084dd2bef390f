"""A plan that is shown or, with --execute, carried out under the eyes of its user; the same for every verb's runs."""

from __future__ import annotations

from typing import Any

import msgspec

from restrike.cli.render import Look
from restrike.cli.render.streams import put_json, say
from restrike.cli.telling import log_report
from restrike.errors import RestrikeError
from restrike.running.ledger import resume_command

STOPPED = ("INTERRUPTED", "CANCELLED", "PAUSED")


def carry_out(plan: Any, look: Look, *, execute: bool, as_json: bool) -> int:
    """Shows the plan on stdout or, with `execute`, does it: plan and progress on stderr, then the report, also where it
    failed. With `as_json` stdout gets one object: the plan, or the report with its plan in it. Returns the exit code.
    """
    if not execute:
        plan.discard()
        if as_json:
            put_json(plan.as_json())
        else:
            look.plan(plan.data).ask()
        return 0
    look.plan(plan.data).tell()
    say(look.headline(plan.data))
    progress = look.progress(plan.data)

    def stopping() -> None:
        progress.close()  # from now on lines, which a second signal leaves whole
        say("stopping: what is in flight is finished and saved; once more, a second from now, ends it at once")

    try:
        report = plan.execute(progress, on_stop=stopping, on_warning=_warn)
    except RestrikeError as error:
        progress.close()
        if error.report is not None:
            _end(plan, error.report, look, as_json)
        raise
    finally:
        progress.close()
    return _end(plan, report, look, as_json)


def _told(plan: Any) -> dict[str, Any]:
    """The plan of what was done: without keys, and without the command that would do it, which may hold some."""
    (whole,) = plan.as_json().values()
    return {"plan": {name: value for name, value in whole.items() if name not in ("sample_keys", "command")}}


def _warn(text: str) -> None:
    say(f"warning: {text}")


def _end(plan: Any, report: Any, look: Look, as_json: bool) -> int:
    """Shows the report, and how to go on; returns its exit code."""
    log_report(report.as_json())
    look.report(report)
    if as_json and look.json_beside(report):
        put_json(report.as_json() | _told(plan))
    if report.state == "LIMITED":
        expected = plan.data.expected
        left = "" if expected is None else f"; about {max(0, expected - report.selected):,} remain"
        say(f"ended at its --limit{left}. What would be done next: {resume_command(report.run, plan.ledger)}")
    elif report.state in STOPPED:
        say(f"go on with: {resume_command(report.run, plan.ledger, *plan.resume_words, '--execute')}")
    if report.state == "INTERRUPTED" and plan.follows:
        # It has no end but being stopped: what else there is to say counts.
        report = msgspec.structs.replace(report, state="COMPLETED")
    code: int = report.exit_code
    return code
