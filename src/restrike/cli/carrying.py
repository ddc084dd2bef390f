"""A plan that is shown or, with --execute, carried out under the eyes of its user; the same for every verb's runs."""

from __future__ import annotations

from typing import Any

from restrike.cli.render import Look
from restrike.cli.render.streams import put_json, say
from restrike.errors import RestrikeError

CAN_GO_ON = ("INTERRUPTED", "CANCELLED", "LIMITED", "PAUSED")


def carry_out(plan: Any, look: Look, *, execute: bool, as_json: bool) -> int:
    """Shows the plan or, with `execute`, does it: with its progress shown, then its report, also where it failed.
    Returns the exit code."""
    if not execute:
        plan.discard()
        if as_json:
            put_json(plan.as_json())
        else:
            look.plan(plan.data)
        return 0
    for warning in plan.warnings:
        say(f"warning: {warning.message}")
    say(look.headline(plan.data))
    progress = look.progress(plan.data)
    try:
        report = plan.execute(progress, on_stop=_stopping, on_warning=_warn)
    except RestrikeError as error:
        progress.close()
        if error.report is not None:
            _end(error.report, look, as_json)
        raise
    finally:
        progress.close()
    return _end(report, look, as_json)


def _stopping() -> None:
    say("stopping: what is in flight is finished and saved; once more ends it at once")


def _warn(text: str) -> None:
    say(f"warning: {text}")


def _end(report: Any, look: Look, as_json: bool) -> int:
    """Shows the report, and how to go on; returns its exit code."""
    look.report(report)
    if as_json and look.json_beside(report):
        put_json(report.as_json())
    if report.state in CAN_GO_ON:
        say(f"go on with: restrike runs resume {report.run}")
    code: int = report.exit_code
    return code
