"""The `restrike` command: finds the verb's module, and turns errors into messages and exit codes."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from restrike.cli.environment import strangers
from restrike.cli.options import HELP_WIDTH, VerbGroup
from restrike.cli.render.streams import say
from restrike.errors import RestrikeError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

VERBS = {
    "touch": "Rewrite one attribute of selected items, so that the table's stream fires again.",
    "replay": "Hand records to one consumer, the way Lambda would; the table is not written.",
    "records": "Look at the records of a source.",
    "capture": "Keep a stream beyond 24 hours, in files that anything can read.",
    "archive": "Look at what capture keeps, verify it, and look after it.",
    "runs": "List, show, resume and cancel runs.",
    "local": "Start and stop a DynamoDB Local on this machine.",
    "demo": "The whole story on this machine; no AWS account is touched.",
    "completion": "Teach your shell the verbs, the flags and the names.",
}
"""Verb -> one line of help. The module `restrike.cli.<verb>` holds its `command`, imported when it is used."""

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""What a full disk or a terminal that is gone answers. Files that are not stdout have errors of our own for it."""


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

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return click.Command.shell_complete(self, ctx, incomplete)
        return [CompletionItem(name, help=text) for name, text in VERBS.items() if name.startswith(incomplete)]


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": HELP_WIDTH})
@click.version_option(package_name="restrike", prog_name="restrike")
@click.option("--debug", is_flag=True, help="Show the Python traceback of an error.")
def cli(debug: bool) -> None:  # noqa: ARG001 - for help; `main` takes it from anywhere on the line
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
    arguments = sys.argv[1:] if argv is None else argv
    debug = "--debug" in arguments
    # --debug is welcome anywhere on the line, not only before the verb.
    sys.exit(run([word for word in arguments if word != "--debug"], debug=debug))


def run(arguments: list[str], *, debug: bool = False) -> int:
    """Runs a command line; returns its exit code. Says every error; with `debug` one that is ours or nobody's is
    raised."""
    try:
        with cli.make_context("restrike", arguments) as ctx:
            status = cli.invoke(ctx)
    except click.exceptions.Exit as done:  # of --help and --version
        return done.exit_code
    except (KeyboardInterrupt, EOFError, click.exceptions.Abort):
        say("restrike: interrupted")
        return 130
    except click.ClickException as error:
        with contextlib.suppress(OSError):
            error.show()
        return 2
    except BrokenPipeError:
        # The reader of our stdout went away (`| head`): it has what it wanted.
        _give_up_stdout()
        return 0
    except RestrikeError as error:
        if debug:
            raise
        say_error(error)
        return error.exit_code
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            _give_up_stdout()
            say_error(RestrikeError(f"cannot write the output: {error.strerror}", "Make room, or send it elsewhere."))
            return 1
        say(f"restrike: unexpected {type(error).__name__}: {error}")
        say("  This is a bug. Run the command again with --debug and report the traceback.")
        return 1
    return status if isinstance(status, int) else 0


def _give_up_stdout() -> None:
    """Lets what stdout holds go nowhere: the interpreter would complain of it at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
