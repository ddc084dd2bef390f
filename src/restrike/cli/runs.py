"""`restrike runs`: what the ledger knows, and going on or stopping."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from restrike.cli.options import json_option, ledger_option, option
from restrike.errors import UsageError


@click.group()
def command() -> None:
    """List, show, resume and cancel runs."""


def _ledger(path: str | None) -> Any:
    from restrike.runs.ledger import Ledger

    return Ledger(Path(path) if path else None)


def _state(ledger: Any, run: Any) -> str:
    """The state that the ledger holds, or INTERRUPTED where its process is gone."""
    if run.state in ("STARTING", "RUNNING", "CANCELLING") and not ledger.is_active(run.name):
        return "INTERRUPTED"
    return str(run.state)


def _summary(ledger: Any, run: Any) -> dict[str, Any]:
    import msgspec

    return {
        "run": run.name,
        "verb": run.verb,
        "table": run.table,
        "state": _state(ledger, run),
        "reason": run.reason,
        **msgspec.to_builtins(run.counts),
        "seen": run.seen,
        "leftover": ledger.count_leftovers(run.name),
        "consumed_wcu": run.consumed_wcu,
        "elapsed_s": round(run.elapsed_s, 3),
        "created_at": datetime.fromtimestamp(run.created_at, UTC).isoformat(timespec="seconds"),
        "updated_at": datetime.fromtimestamp(run.updated_at, UTC).isoformat(timespec="seconds"),
    }


@command.command("list")
@ledger_option
@json_option
def list_runs(ledger: str | None, as_json: bool) -> None:
    """All runs, the newest first."""
    from restrike.cli import output

    with _ledger(ledger) as book:
        summaries = [_summary(book, run) for run in book.runs()]
    if as_json:
        output.print_json({"runs": summaries})
        return
    texts, numbers = ["run", "verb", "state", "table"], list(NUMBERS)
    rows = [
        [*(each[name] for name in texts), *(_number(each[name]) for name in numbers), each["updated_at"]]
        for each in summaries
    ]
    output.show_columns([*texts, *numbers, "updated"], rows, frozenset(numbers))


NUMBERS = ("selected", "fired", "already", "failed", "seen", "leftover")


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


@command.command("show")
@click.argument("name")
@option("--leftover", is_flag=True, help="The items that failed or were not seen, as JSON lines.")
@ledger_option
@json_option
def show_run(name: str, leftover: bool, ledger: str | None, as_json: bool) -> None:
    """One run; with --leftover what it left over, in a form that --keys takes."""
    import msgspec

    from restrike.cli import output

    with _ledger(ledger) as book:
        run = book.get(name)
        if leftover:
            for each in book.leftovers(name):
                line = {"key": msgspec.Raw(each.key), "code": each.code, "message": each.message}
                click.echo(msgspec.json.encode(line))
            return
        summary = _summary(book, run)
        request = msgspec.json.decode(run.request)
    if as_json:
        output.print_json(summary | {"request": request})
        return
    for member, value in summary.items():
        if value not in (None, ""):
            click.echo(f"{member:13} {value}")


@command.command("resume")
@click.argument("name")
@option("--force", is_flag=True, environment=False, help="Run beside another run on the table.")
@ledger_option
@json_option
def resume_run(name: str, force: bool, ledger: str | None, as_json: bool) -> int:
    """Go on with a run that was interrupted, killed, cancelled or limited, or has failed."""
    from restrike.cli import output

    with _ledger(ledger) as book:
        return output.watched(lambda progress: _resume(book, name, force, progress), as_json=as_json)


def _resume(book: Any, name: str, force: bool, progress: Any) -> Any:
    if book.get(name).verb == "replay":
        from restrike.replaying import plan as replaying

        return replaying.resume(book, name, on_progress=progress)
    from restrike.touching import plan as touching

    return touching.resume(book, name, force=force, on_progress=progress)


@command.command("cancel")
@click.argument("name")
@ledger_option
def cancel_run(name: str, ledger: str | None) -> None:
    """Stop a run after what is in flight. What it fired stays fired."""
    with _ledger(ledger) as book:
        run = book.get(name)
        if run.state in ("COMPLETED", "CANCELLED"):
            raise UsageError(
                f"run {name} is {run.state.lower()} already", f"See what it did: restrike runs show {name}"
            )
        if book.is_active(name):
            book.set_state(name, "CANCELLING", "cancelled by the user")
            click.echo(f"run {name} stops within seconds", err=True)
        else:
            book.set_state(name, "CANCELLED", "cancelled by the user")
            click.echo(f"run {name} is cancelled", err=True)
