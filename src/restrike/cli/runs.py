"""`restrike runs`: what the ledger knows, and going on or stopping."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from restrike.cli import candidates
from restrike.cli.flags import JSON
from restrike.cli.options import VerbGroup
from restrike.errors import UsageError
from restrike.model.flags import Flag, given
from restrike.running.flags import LEDGER, RESUME

if TYPE_CHECKING:
    from restrike.model.report import State
    from restrike.running.ledger import Ledger
    from restrike.running.run import Run

LEFTOVER = Flag("--leftover", "The items that failed or were not seen, as JSON lines.", "run", "switch")


@click.group(cls=VerbGroup)
def command() -> None:
    """List and show runs; pause, resume and cancel them."""


def _opened(path: str | None, *, read_only: bool) -> Ledger:
    from restrike.running.ledger import Ledger, ledger_path

    return Ledger(ledger_path(path), read_only=read_only)


def _summary(ledger: Ledger, run: Run) -> dict[str, Any]:
    """What every run has, and its counts as its verb tells them; of a verb that is not known as they stand there."""
    import msgspec

    from restrike.verbs import verb_of

    verb = verb_of(run.verb)
    counts = verb.summary(run) if verb is not None else msgspec.json.decode(run.counts)
    return {
        "run": run.name,
        "verb": run.verb,
        "state": ledger.state_now(run),
        "reason": run.reason,
        "on": run.subject.rpartition("/")[2] if run.subject.startswith("arn:") else run.subject,
        "did": verb.line(run) if verb is not None else "made by a restrike that knows this verb",
        **counts,
        "leftover": ledger.count_leftovers(run.name),
        "total": run.total,
        "elapsed_s": round(run.elapsed_s, 3),
        "created_at": _iso(run.created_at),
        "updated_at": _iso(run.updated_at),
    }


def _iso(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@command.verb("list", LEDGER, JSON)
def list_runs(ledger: str | None, as_json: bool) -> None:
    """All runs, the newest first."""
    from restrike.cli.render.runs import show_list
    from restrike.cli.render.streams import put_json

    with _opened(ledger, read_only=True) as book:
        summaries = [_summary(book, run) for run in book.runs()]
    if as_json:
        put_json({"runs": summaries})
    else:
        show_list(summaries)


@command.verb("show", LEFTOVER, LEDGER, JSON)
@click.argument("name", shell_complete=candidates.runs)
def show_run(name: str, leftover: bool, ledger: str | None, as_json: bool) -> None:
    """One run; with --leftover what it left over, in a form that --keys takes."""
    import msgspec

    from restrike.cli.render.runs import show_one
    from restrike.cli.render.streams import put, put_json

    with _opened(ledger, read_only=True) as book:
        run = book.get(name)
        if leftover:
            for each in book.leftovers(name):
                line = {"key": msgspec.Raw(each.key), "code": each.code, "message": each.message}
                put(msgspec.json.encode(line))
            return
        summary = _summary(book, run)
        samples = [{"at": each.at, "done": each.done, **each.told} for each in book.samples(name)]
    if not as_json:
        show_one(summary)
        return
    kept = {member: getattr(run, member) for member in ("request", "plan", "report")}
    told = {member: None if text is None else msgspec.json.decode(text) for member, text in kept.items()}
    put_json(summary | {"identity": run.identity, **told, "samples": samples})


@command.verb("resume", *RESUME, LEDGER, JSON)
@click.argument("name", shell_complete=candidates.runs)
def resume_run(name: str, ledger: str | None, as_json: bool, **values: Any) -> int:
    """Go on with a run that was paused, interrupted, killed, cancelled or limited, or has failed."""
    from restrike.cli.carrying import carry_out
    from restrike.cli.render import look_of
    from restrike.running.ledger import ledger_path
    from restrike.verbs import plan_to_resume

    with _opened(ledger, read_only=True) as book:
        run = book.get(name)
    plan = plan_to_resume(run, ledger_path(ledger), given(RESUME, values))
    return carry_out(plan, look_of(run.verb), execute=True, as_json=as_json)


@command.verb("pause", LEDGER)
@click.argument("name", shell_complete=candidates.runs)
def pause_run(name: str, ledger: str | None) -> None:
    """End a run after what is in flight, as Ctrl-C does; `runs resume` goes on with it."""
    _ask(name, ledger, "PAUSING", "PAUSED")


@command.verb("cancel", LEDGER)
@click.argument("name", shell_complete=candidates.runs)
def cancel_run(name: str, ledger: str | None) -> None:
    """Stop a run after what is in flight. What it fired stays fired."""
    _ask(name, ledger, "CANCELLING", "CANCELLED")


def _ask(name: str, ledger: str | None, state: State, ended: State) -> None:
    from restrike.cli.render.streams import say

    word = ended.lower()
    with _opened(ledger, read_only=False) as book:
        run = book.get(name)
        if book.is_active(name):
            if not book.ask(name, state, f"{word} by the user"):
                raise UsageError(
                    f"run {name} has just ended: {book.get(name).state.lower()}", f"See: restrike runs show {name}"
                )
            say(f"run {name} stops within seconds")
            return
        if run.state in ("COMPLETED", "CANCELLED") or run.state == ended:
            raise UsageError(
                f"run {name} is {run.state.lower()} already", f"See what it did: restrike runs show {name}"
            )
        book.end(name, ended, f"{word} by the user", None)
        say(f"run {name} is {word}")
