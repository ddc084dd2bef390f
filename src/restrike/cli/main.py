"""The `restrike` command: finds the verb's module, and turns errors into messages and exit codes."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from restrike.errors import RestrikeError

VERBS = {
    "touch": "Rewrite one attribute of selected items, so that the table's stream fires again.",
    "replay": "Hand records to one consumer, the way Lambda would; the table is not written.",
    "records": "Look at the records of a source.",
    "capture": "Keep a stream beyond 24 hours, in files that anything can read.",
    "archive": "Look at what capture keeps, verify it, and look after it.",
    "runs": "List, show, resume and cancel runs.",
    "local": "Start and stop a DynamoDB Local on this machine.",
    "demo": "The whole story on this machine; no AWS account is touched.",
}
"""Verb -> one line of help. The module `restrike.cli.<verb>` holds its `command`, imported when it is used."""


class Verbs(click.Group):
    """A group whose commands are imported only when they are run: `--help` stays fast."""

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


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="restrike", prog_name="restrike")
@click.option("--debug", is_flag=True, help="Show the Python traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Fire a DynamoDB stream again.

    Without --execute a verb prints its plan and changes nothing.
    """
    ctx.obj = {"debug": debug}


def say_error(error: RestrikeError) -> None:
    """The message on one line of stderr and the hint on the next."""
    click.echo(f"restrike: {error.message}", err=True)
    if error.hint:
        click.echo(f"  {error.hint}", err=True)


def main(argv: list[str] | None = None) -> None:
    """Runs the command line and exits with the code that `restrike.errors` gives."""
    arguments = sys.argv[1:] if argv is None else argv
    debug = "--debug" in arguments
    # --debug is welcome anywhere on the line, not only before the verb.
    arguments = (["--debug"] if debug else []) + [word for word in arguments if word != "--debug"]
    try:
        status: Any = cli.main(args=arguments, prog_name="restrike", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except RestrikeError as error:
        if debug:
            raise
        say_error(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our stdout went away (`| head`): nothing is left to say to it.
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        click.echo(f"restrike: unexpected {type(error).__name__}: {error}", err=True)
        click.echo("  This is a bug. Run the command again with --debug and report the traceback.", err=True)
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)
