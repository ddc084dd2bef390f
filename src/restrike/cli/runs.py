"""`restrike runs`: what the ledger knows, and going on or stopping."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, get_args

import click

from restrike.cli import candidates
from restrike.cli.flags import EXECUTE, JSON
from restrike.cli.options import VerbGroup
from restrike.errors import UsageError
from restrike.model.flags import Flag, given, words
from restrike.model.report import State
from restrike.model.times import iso
from restrike.running.flags import LEDGER, RESUME

if TYPE_CHECKING:
    from restrike.running.ledger import Ledger
    from restrike.running.run import Run

SHOWN = 30
POLL_S = 0.5
LIMIT = Flag("--limit", "So many, the newest; 0: all.", "run", "integer", metavar="N", default=f"{SHOWN}; all in JSON")
STATE = Flag("--state", "Only runs in that state.", "run", "choice", choices=get_args(State))
VERB = Flag("--verb", "Only runs of that verb.", "run", metavar="VERB")
LEFTOVER = Flag(
    "--leftover", "What failed or was not seen, or the file where it stands, as JSON lines.", "run", "switch"
)


@click.group(cls=VerbGroup)
def command() -> None:
    """List, show and watch runs; pause, resume, cancel and delete them."""


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
        "leftover": ledger.count_leftovers(run.name),
        **counts,
        "total": run.total,
        "elapsed_s": round(run.elapsed_s, 3),
        "created_at": iso(run.created_at),
        "updated_at": iso(run.updated_at),
    }


@command.verb("list", LIMIT, STATE, VERB, LEDGER, JSON, examples=("restrike runs list --state INTERRUPTED",))
def list_runs(limit: int | None, state: str | None, verb: str | None, ledger: str | None, as_json: bool) -> None:
    """The runs of the ledger, the newest first. Times are UTC."""
    from restrike.cli.render.runs import show_list
    from restrike.cli.render.streams import put_json, say

    if limit is not None and limit < 0:
        raise UsageError(f"--limit {limit} is below 0", "Give how many to show; 0 for all.")
    with _opened(ledger, read_only=True) as book:
        found = [
            run
            for run in book.runs()
            if (verb is None or run.verb == verb) and (state is None or book.state_now(run) == state)
        ]
        shown = found[: limit or None] if limit is not None or as_json else found[:SHOWN]
        summaries = [_summary(book, run) for run in shown]
    if as_json:
        put_json({"runs": summaries})
        return
    show_list(summaries, more=len(found) - len(shown))
    if not found:
        such = "" if state is None and verb is None else "such "
        say(f"no {such}runs in {book.path}{'' if book.path.exists() else ', which is not there'}")


@command.verb("show", LEFTOVER, LEDGER, JSON)
@click.argument("name", shell_complete=candidates.runs)
def show_run(name: str, leftover: bool, ledger: str | None, as_json: bool) -> None:
    """One run; with --leftover what it left over, in a form that --keys takes."""
    import msgspec

    from restrike.cli.render.runs import show_one
    from restrike.cli.render.streams import put, put_json
    from restrike.verbs import verb_of

    with _opened(ledger, read_only=True) as book:
        run = book.get(name)
        if leftover:
            for each in book.leftovers(name):
                line = {"key": msgspec.Raw(each.key), "code": each.code, "message": each.message}
                put(msgspec.json.encode(line))
            for told in verb.left(run) if (verb := verb_of(run.verb)) is not None else ():
                put(msgspec.json.encode(told))
            return
        summary = _summary(book, run)
        samples = [{"at": each.at, "done": each.done, **each.told} for each in book.samples(name)]
    if not as_json:
        show_one(summary)
        return
    kept = {member: getattr(run, member) for member in ("request", "plan", "report")}
    told = {member: None if text is None else msgspec.json.decode(text) for member, text in kept.items()}
    put_json(summary | {"identity": run.identity, **told, "samples": samples})


@command.verb("resume", *RESUME, LEDGER, EXECUTE, JSON)
@click.argument("name", shell_complete=candidates.runs)
def resume_run(name: str, ledger: str | None, execute: bool, as_json: bool, **values: Any) -> int:
    """Go on with a run that was paused, interrupted, killed, cancelled or limited, or has failed.

    Prints the plan and does nothing, unless --execute is given.
    """
    import msgspec

    from restrike.cli.carrying import carry_out
    from restrike.cli.render import look_of
    from restrike.cli.render.streams import say
    from restrike.running.ledger import ledger_path, resume_command
    from restrike.verbs import plan_to_resume

    with _opened(ledger, read_only=True) as book:
        run = book.get(name)
        told = _summary(book, run)
    plan = plan_to_resume(run, ledger_path(ledger), given(RESUME, values))
    say(f"run {name} is {told['state'].lower()}: {told['did']}")
    if not execute:
        own = words(RESUME, values)
        own += [word for word in plan.resume_words if word not in own]
        command = resume_command(name, plan.ledger, *own, "--execute")
        plan.data = msgspec.structs.replace(plan.data, command=command)
    return carry_out(plan, look_of(run.verb), execute=execute, as_json=as_json)


@command.verb("watch", LEDGER)
@click.argument("name", shell_complete=candidates.runs)
def watch_run(name: str, ledger: str | None) -> int:
    """Show how far a run is, until it ends; Ctrl-C ends the watching alone.

    The exit code is 0 where the run is complete, 1 where it ended otherwise.
    """
    from restrike.cli.render.progress import ProgressLine
    from restrike.cli.render.runs import show_one
    from restrike.cli.render.streams import say
    from restrike.running.run import ACTIVE

    def line(told: dict[str, Any]) -> str:
        of = f" of {told['total']:,}" if told["total"] else ""
        return f"{told['state'].lower()}{of}: {told['did']}"

    with _opened(ledger, read_only=True) as book:
        told = _summary(book, book.get(name))
        progress = ProgressLine(line)
        try:
            while told["state"] in ACTIVE:
                progress(told)
                time.sleep(POLL_S)
                told = _summary(book, book.get(name))
        except KeyboardInterrupt:
            progress.close()
            say(f"run {name} goes on; end it: restrike runs pause {name}")
            raise
        finally:
            progress.close()
        told = _summary(book, book.get(name))  # that it ended may be younger than the rest
    show_one(told)
    return 0 if told["state"] == "COMPLETED" else 1


@command.verb("delete", EXECUTE, LEDGER)
@click.argument("name", shell_complete=candidates.runs)
def delete_run(name: str, execute: bool, ledger: str | None) -> None:
    """Forget a run: its row, its left-overs, and its folder with what it could not deliver.

    What it fired or delivered stays so. Says what would go and deletes nothing, unless --execute is given.
    """
    from restrike.cli.render.streams import put, say
    from restrike.model.numbers import counted

    with _opened(ledger, read_only=not execute) as book:
        run = book.get(name)
        told = _summary(book, run)
        files = book.files(name)
        size_bytes = sum(file.stat().st_size for file in files)
        what = (
            f"run {name} ({run.verb} {told['on']}, {told['state']}: {told['did']}), "
            f"{counted(told['leftover'], 'left-over')}, {counted(len(files), 'file')} of {size_bytes:,} bytes "
            f"in {book.folder(name)}"
        )
        if book.is_active(name):
            raise UsageError(f"run {name} is being executed", f"End it first: restrike runs cancel {name}")
        if not execute:
            put(f"would delete {what}")
            if told["state"] not in ("COMPLETED", "CANCELLED"):
                put("It is not complete: it could not go on any more.")
            put("Nothing was deleted. To do it, add --execute.")
            return
        book.delete(name)
    say(f"deleted {what}")


@command.verb("pause", LEDGER)
@click.argument("name", shell_complete=candidates.runs)
def pause_run(name: str, ledger: str | None) -> None:
    """End a run that is at work after what is in flight, as Ctrl-C does; `runs resume` goes on with it."""
    _ask(name, ledger, "PAUSING", "PAUSED")


@command.verb("cancel", LEDGER)
@click.argument("name", shell_complete=candidates.runs)
def cancel_run(name: str, ledger: str | None) -> None:
    """Stop a run after what is in flight, or one that nobody goes on with. What it fired stays fired."""
    _ask(name, ledger, "CANCELLING", "CANCELLED")


def _ask(name: str, ledger: str | None, state: State, ended: State) -> None:
    """Asks the run's process to end it so. Of one that has ended so nothing is asked; of one that has ended otherwise
    it is refused, but that a run that is to go on may be cancelled."""
    from restrike.cli.render.streams import say
    from restrike.running.ledger import resume_command

    word = ended.lower()
    with _opened(ledger, read_only=False) as book:
        run = book.get(name)
        resume = f"Go on with it: {resume_command(name, book.path)}"
        if book.is_active(name):
            if run.state == "CANCELLING" != state:
                raise UsageError(
                    f"run {name} is being cancelled", f"When it has ended: {resume_command(name, book.path)}"
                )
            if not book.ask(name, state, f"{word} by the user"):
                raise UsageError(
                    f"run {name} has just ended: {book.get(name).state.lower()}", f"See: restrike runs show {name}"
                )
            say(f"run {name} stops within seconds")
            return
        now = book.state_now(run)
        if now == ended:
            say(f"run {name} is {word} already. {resume}")
            return
        if now == "COMPLETED":
            raise UsageError(f"run {name} is completed already", f"See what it did: restrike runs show {name}")
        if ended == "PAUSED" and now != "INTERRUPTED":
            raise UsageError(f"run {name} is not at work: it is {now.lower()}", resume)
        book.end(name, ended, f"{word} by the user", None)
        say(f"run {name} is {word}. {resume}")
