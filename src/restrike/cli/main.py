"""The `restrike` command: finds the verb's module, and turns errors into messages and exit codes."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from restrike.cli.environment import strangers
from restrike.cli.options import HELP_WIDTH, VerbGroup
from restrike.cli.render.streams import say
from restrike.errors import NO_MORE_FILES, NoMoreFiles, RestrikeError, UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

VERBS = {
    "doctor": "What went wrong, what can still be fired again, and how best.",
    "touch": "Rewrite one attribute of selected items, so that the table's stream fires again.",
    "unmark": "Take a run's name off the items again; their stream fires once more.",
    "replay": "Hand records to one consumer, the way Lambda would; the table is not written.",
    "redrive": "Hand what a mapping gave up to its consumer once more.",
    "records": "Look at the records of a source.",
    "capture": "Keep a stream beyond 24 hours, in files that anything can read.",
    "export": "Have DynamoDB export a span of time to S3, for a replay.",
    "audit": "Compare a table with what was made of it; say which items are wrong there.",
    "iam": "Print the least IAM policy that a verb needs.",
    "archive": "Look at what capture keeps, verify it, and look after it.",
    "runs": "List, show, resume and cancel runs.",
    "local": "Start and stop a DynamoDB Local on this machine.",
    "demo": "The whole story on this machine; no AWS account is touched.",
    "completion": "Teach your shell the verbs, the flags and the names.",
}
"""Verb -> one line of help. The module `restrike.cli.<verb>` holds its `command`, imported when it is used."""

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""What a full disk or a terminal that is gone answers. Files that are not stdout have errors of our own for it."""
TERMINATED = 143

EXIT_CODES = {
    "0": "done; nothing to do; a follower that was stopped; a reader (| head) that has enough",
    "1": "done, but items or records failed, or the output could not be written",
    "2": "the command cannot be carried out as it stands; nothing was done",
    "3": "AWS refused, or did not answer",
    "4": "the source lacks what was asked for",
    "5": "delivery failed",
    "6": "written, and not seen on the stream; an archive is not as it should be; an audit found differences",
    "130": "stopped by Ctrl-C or SIGTERM; what was done is saved (143: before anything was done)",
}
"""The whole table is in docs/exit-codes.md."""


class Verbs(VerbGroup):
    """A group whose commands are imported only when they are run: help and completion stay fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"restrike.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))
        with formatter.section("Exit codes"):
            formatter.write_dl(list(EXIT_CODES.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return [CompletionItem(name, help=text) for name, text in VERBS.items() if name.startswith(incomplete)]


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": HELP_WIDTH})
@click.version_option(package_name="restrike", prog_name="restrike")
@click.option("-v", "--verbose", is_flag=True, help="Tell each request, with its time, on stderr.")
@click.option("--log", metavar="FILE", help="Append times, requests, retries and results to FILE, as JSON lines.")
@click.option("--debug", is_flag=True, help="Show the Python traceback of an error.")
def cli(verbose: bool, log: str | None, debug: bool) -> None:  # noqa: ARG001 - for help; `main` takes them from the line
    """Fire a DynamoDB stream again.

    Without --execute a verb prints its plan and changes nothing.
    """
    unknown = strangers(os.environ)
    if unknown:
        say(f"warning: {', '.join(unknown)} in the environment: restrike has no such setting")


def say_error(error: RestrikeError) -> None:
    """The message on one line of stderr and the hint on the next."""
    say(f"restrike: {error.message}")
    if error.hint:
        say(f"  {error.hint}")


def main(argv: list[str] | None = None) -> None:
    """Runs the command line and exits with the code that `restrike.errors` gives."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # closed, or not a text stream of Python's own
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if argv is None and "_RESTRIKE_COMPLETE" in os.environ:
        from restrike.cli.completion import complete

        sys.exit(complete(cli, os.environ["_RESTRIKE_COMPLETE"]))
    if argv is None:
        signal.signal(signal.SIGTERM, _terminated)
    sys.exit(run(sys.argv[1:] if argv is None else argv))


class Terminated(KeyboardInterrupt):
    """SIGTERM, where no run is under way that would end in order."""


def _terminated(*_: object) -> NoReturn:
    raise Terminated


def everywhere(arguments: list[str]) -> tuple[list[str], bool, dict[str, Any]]:
    """The words without what is welcome anywhere on the line and not only before the verb: whether --debug is there,
    and what is to be told."""
    rest: list[str] = []
    debug = False
    wanted: dict[str, Any] = {}
    words = iter(arguments)
    for word in words:
        if word == "--":
            return [*rest, word, *words], debug, wanted
        if word == "--debug":
            debug = True
        elif word in ("-v", "--verbose"):
            wanted["verbose"] = True
        elif word == "--log":
            wanted["log"] = next(words, "")
        elif word.startswith("--log="):
            wanted["log"] = word.partition("=")[2]
        else:
            rest.append(word)
    return rest, debug, wanted


def run(arguments: list[str]) -> int:
    """Runs a command line; returns its exit code. Says every error; with --debug one that is ours or nobody's is
    raised."""
    arguments, debug, wanted = everywhere(arguments)
    try:
        with cli.make_context("restrike", arguments, obj=_wanted(wanted)) as ctx:
            status = cli.invoke(ctx)
    except click.exceptions.Exit as done:  # of --help and --version
        return done.exit_code
    except Terminated:
        say("restrike: terminated")
        return TERMINATED
    except (KeyboardInterrupt, EOFError, click.exceptions.Abort):
        say("restrike: interrupted")
        return 130
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        if isinstance(error, click.UsageError) and error.ctx is None:  # of click's parser, which does not know the verb
            say(f"  See: restrike {arguments[0]} --help")
        return 2
    except BrokenPipeError:
        # The reader of our stdout went away (`| head`): it has what it wanted.
        _give_up_stdout()
        return 0
    except RestrikeError as error:
        if debug:
            raise
        error.hint = error.hint or f"See: restrike {arguments[0]} --help"
        say_error(error)
        return error.exit_code
    except Exception as error:
        if debug:
            raise
        known = _of_the_machine(error)
        if known is not None:
            say_error(known)
            return known.exit_code
        say(f"restrike: unexpected {type(error).__name__}: {error}")
        say("  This is a bug. Run the command again with --debug and report the traceback.")
        return 1
    return status if isinstance(status, int) else 0


def _wanted(wanted: dict[str, Any]) -> Any:
    """What is to be told, where something is: help needs no logging."""
    if not wanted:
        return None
    from restrike.cli.telling import Wanted

    return Wanted(**wanted)


def _of_the_machine(error: Exception) -> RestrikeError | None:
    """What the machine or the input is to blame for, and not restrike; None where that is not known."""
    if isinstance(error, RecursionError):
        return UsageError("the input is nested too deeply", "DynamoDB takes 32 levels.")
    if isinstance(error, UnicodeError):
        return UsageError(f"the input is no UTF-8: {error}", "Convert it, or name another file.")
    if isinstance(error, MemoryError):
        return RestrikeError("there is not enough memory", "Look at `ulimit -v`, or use fewer --parallel.")
    if not isinstance(error, OSError):
        return None
    if error.errno in UNWRITABLE and error.filename is None:
        _give_up_stdout()
        return RestrikeError(f"cannot write the output: {error.strerror}", "Make room, or send it elsewhere.")
    if error.errno in NO_MORE_FILES:
        return NoMoreFiles()
    where = "" if error.filename is None else f"{error.filename}: "
    return RestrikeError(f"{where}{error.strerror or error}", "Mend that, and run the command again.")


def _give_up_stdout() -> None:
    """Lets what stdout holds go nowhere: the interpreter would complain of it at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
