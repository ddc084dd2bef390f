"""`python -m tests.aws`: shows what a probe would do and cost; with --execute does it, and leaves nothing behind.

1. Where AWS itself is asked, whose account it is comes first, so that the plan can say so.
2. The table is made, every claim is tried, and the table is deleted: also after an error, Ctrl-C or SIGTERM.
3. Where it could not be deleted the commands that do so are said.

Ends with 0 where all is as expected, 1 where something differs or could not be tried, 2 for a wrong command line, 3
where the service refused, 130 where it was stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import botocore.exceptions
from rich.console import Console

from restrike.aws.session import Aws, ask
from restrike.aws.settings import AwsSettings
from restrike.errors import RestrikeError, UsageError
from restrike.local.dynamodb_local import start_owned
from tests.aws import telling
from tests.aws.claim import Claim, Result, tried
from tests.aws.claims import OF_A_TABLE, OF_TWO_REGIONS
from tests.aws.leftovers import Leftover, leftovers
from tests.aws.table import PREFIX, TAG, Table, new_name

STOPPED = 130
REFUSED = 3
NARROWEST, WIDE = 80, 150
PAIRS = {"cn-": ("cn-north-1", "cn-northwest-1"), "us-gov-": ("us-gov-west-1", "us-gov-east-1")}
PAIR = ("us-east-1", "us-west-2")
"""A replica is made in the one, where the table is not there, else in the other; elsewhere others have to be named."""


SERVICE_ERRORS = (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError)


class Stopped(BaseException):
    """Ctrl-C or SIGTERM; no claim takes it for an error of its own."""


def main(
    words: Sequence[str],
    claims: Sequence[Claim] = OF_A_TABLE,
    regional: Sequence[Claim] = OF_TWO_REGIONS,
    table: type[Table] = Table,
) -> int:
    """The exit code. A test may bring other claims, and tables that see another service."""
    options = _options(words)
    width = shutil.get_terminal_size((WIDE, 0)).columns if sys.stdout.isatty() else WIDE
    console = Console(width=max(NARROWEST, width))
    try:
        with contextlib.ExitStack() as held:
            if options.local:
                options.endpoint_url = held.enter_context(start_owned()).endpoint_url
                options.region = options.region or "us-east-1"
                # Nobody's account, whatever is set here.
                os.environ |= dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "local")
            probe = Probe(options, console, claims, regional if options.two_regions else (), table)
            return probe.clean() if options.clean else probe.run()
    except (RestrikeError, *SERVICE_ERRORS) as error:
        _complain(error)
        if options.json:
            _print_json(_as_data(error))
        return error.exit_code if isinstance(error, RestrikeError) else REFUSED
    except (KeyboardInterrupt, Stopped):
        return STOPPED


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.aws", description="Asks AWS what only AWS can tell.")
    parser.add_argument("--execute", action="store_true", help="do it; without it what would be done is shown")
    parser.add_argument("--global", dest="two_regions", action="store_true", help="claims about a global table, too")
    parser.add_argument("--global-region", metavar="REGION", help="where its replica is made")
    parser.add_argument("--clean", action="store_true", help="what a killed probe left, instead")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--region", metavar="REGION")
    parser.add_argument("--profile", metavar="NAME")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--endpoint-url", metavar="URL", help="of a stand-in; no account is asked then")
    where.add_argument("--local", action="store_true", help="a DynamoDB Local that is started for it")
    options = parser.parse_args(words)
    if options.global_region and not options.two_regions:
        parser.error("--global-region goes with --global")
    if options.local and options.profile:
        parser.error("--local needs no --profile")
    if options.clean and options.two_regions:
        parser.error("--clean looks in one Region: give --region")
    return options


class Probe:
    """One run of the command."""

    def __init__(
        self,
        options: argparse.Namespace,
        console: Console,
        claims: Sequence[Claim],
        regional: Sequence[Claim],
        table: type[Table],
    ) -> None:
        self._options = options
        self._console = console
        self._claims = claims
        self._regional = regional
        self._table = table
        self._aws = self._in(options.region)
        self._facts = _where(self._aws)
        self._other: Aws | None = None
        if options.two_regions:
            self._other = self._in(options.global_region or _other_region(self._aws.region))
            if self._other.region == self._aws.region:
                raise UsageError("--global-region is the Region of the table", "Name another.")

    def _in(self, region: str | None) -> Aws:
        settings = AwsSettings(region=region, profile=self._options.profile, endpoint_url=self._options.endpoint_url)
        return Aws(settings)

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> int:
        name = new_name() if self._options.execute else f"{PREFIX}XXXXXXXX"
        what = f"on demand, with two indexes and a stream of both images, tagged {TAG}={name}"
        facts = self._facts | {"makes": f"table {name}, {what}; deletes it at the end"}
        if self._other is not None:
            facts["and"] = f"its replica in {self._other.region}, which takes some minutes, and as long to delete"
        if not self._options.execute:
            return self._show_plan(facts)
        for fact, value in facts.items():
            self._say(f"{fact:<8} {value}")
        table, results = self._table(self._aws, name), list[Result]()
        stopped, removed = False, False
        refused: Exception | None = None
        with _told_of_signals():
            try:
                table.make()
                self._try(table, results)
            except Stopped:
                stopped = True
            except (RestrikeError, *SERVICE_ERRORS) as error:
                refused = error
                _complain(error, f"Its answer was lost, it may be there: {self._own('--clean')}" if table.made else "")
            finally:
                removed = self._remove(table)
        about = {"table": name, "stopped": stopped, "deleted": removed and table.made}
        if results or refused is None or self._options.json:
            self._report(results, about | ({} if refused is None else _as_data(refused)))
        if stopped:
            return STOPPED
        if refused or not removed:
            return REFUSED
        return 0 if all(result.verdict == "as expected" for result in results) else 1

    def _show_plan(self, facts: dict[str, str]) -> int:
        if self._options.json:
            cost = telling.cost_of(self._claims, self._regional)
            claims = [{"claim": each.name, "says": each.says} for each in (*self._claims, *self._regional)]
            _print_json({"plan": facts | {"cost": str(cost)}, "usd": cost.usd, "claims": claims})
        else:
            telling.plan(self._console, facts, self._claims, self._regional)
        self._say("Nothing was made. --execute does it.")
        return 0

    def _try(self, table: Table, results: list[Result]) -> None:
        """Into `results`, one by one, so that they are there where it is stopped."""
        for claim in self._claims:
            self._tried(claim, (table,), results)
        if self._other is None:
            return
        there = self._table(self._other, table.name)
        try:
            table.replicate(there)
        except (RestrikeError, *SERVICE_ERRORS) as error:
            results += [Result(claim, "could not be tried", why=f"no replica: {error}") for claim in self._regional]
            return
        for claim in self._regional:
            self._tried(claim, (table, there), results)

    def _tried(self, claim: Claim, tables: Sequence[Table], results: list[Result]) -> None:
        result = tried(claim, tables)
        results.append(result)
        self._say(f"{result.verdict:<20} {claim.name}")

    def _remove(self, table: Table) -> bool:
        """Whether nothing is left. A second Ctrl-C ends the waiting."""
        if not table.made:
            return True
        try:
            table.remove()
        except (Stopped, RestrikeError, *SERVICE_ERRORS) as error:
            why = "stopped" if isinstance(error, Stopped) else str(error)
            by_hand = ["aws", "dynamodb", "delete-table", "--table-name", table.name, "--region", table.region]
            if self._options.endpoint_url:
                by_hand += ["--endpoint-url", self._options.endpoint_url]
            if self._options.profile:
                by_hand += ["--profile", self._options.profile]
            hint = f"Do it later: {self._own('--clean', '--execute')}\n  or: {shlex.join(by_hand)}"
            _complain(f"the table {table.name} may not be deleted: {why}", hint)
            return False
        return True

    def _report(self, results: Sequence[Result], facts: dict[str, Any]) -> None:
        if self._options.json:
            rows = [telling.as_data(result) for result in results]
            _print_json({"where": self._facts} | facts | {"claims": rows, "summary": telling.summary(results)})
            return
        telling.report(self._console, results)
        if facts["stopped"]:
            self._say("stopped before the end")
        if facts["deleted"]:
            self._say(f"{facts['table']} is deleted.")

    # ── what was left ────────────────────────────────────────────────────────────────────────────────────

    def clean(self) -> int:
        """Shows the tables of killed probes; with --execute deletes them. No other is touched."""
        for fact, value in self._facts.items():
            self._say(f"{fact:<8} {value}")
        found = leftovers(self._aws)
        deleted: list[str] = []
        for each in found:
            self._say(f"{each.table.name}  made {each.made_at:%Y-%m-%d %H:%M}  {_what_it_is(each)}")
        for each in found:
            if each.ours and self._options.execute:
                each.table.made = True
                if self._remove(each.table):
                    deleted.append(each.table.name)
                    self._say(f"{each.table.name} is deleted.")
        ours = [each.table.name for each in found if each.ours]
        if self._options.json:
            left = [each.table.name for each in found if each.table.name not in deleted]
            _print_json({"where": self._facts, "ours": ours, "deleted": deleted, "left": left})
        if not ours:
            self._say("Nothing to delete.")
        elif not self._options.execute:
            self._say(f"{len(ours)} to delete. A probe may be at work on one. --execute deletes them.")
        if not self._options.execute:
            return 0
        if len(deleted) < len(ours):
            return REFUSED
        return 1 if any(each.ours is None for each in found) else 0

    # ── saying ───────────────────────────────────────────────────────────────────────────────────────────

    def _own(self, *flags: str) -> str:
        """This command with those flags, at the same place."""
        words = ["python", "-m", "tests.aws", *flags, "--region", self._aws.region]
        if self._options.profile:
            words += ["--profile", self._options.profile]
        if self._options.endpoint_url:
            words += ["--endpoint-url", self._options.endpoint_url]
        return shlex.join(words)

    def _say(self, line: str) -> None:
        sys.stderr.write(line + "\n")


def _where(aws: Aws) -> dict[str, str]:
    """Whom it asks: an account of AWS, by name, or a stand-in, and then no account at all."""
    endpoint_url = aws.configured_endpoint("dynamodb")
    if endpoint_url is not None:
        return {"at": endpoint_url, "Region": aws.region}
    caller = ask(aws.client("sts"), "GetCallerIdentity")
    return {"account": f"{caller.get('Account')} ({caller.get('Arn')})", "Region": aws.region}


def _other_region(region: str) -> str:
    one, other = next((pair for prefix, pair in PAIRS.items() if region.startswith(prefix)), PAIR)
    return other if region == one else one


def _what_it_is(leftover: Leftover) -> str:
    if leftover.ours is None:
        return f"left alone: its tags cannot be read ({leftover.why})"
    return "a probe's" if leftover.ours else f"left alone: it has no tag {TAG} with its name"


@contextlib.contextmanager
def _told_of_signals() -> Iterator[None]:
    """SIGINT and SIGTERM raise Stopped, wherever the program is."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_json(data: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(data, ensure_ascii=False) + "\n")


def _as_data(error: Exception) -> dict[str, str]:
    """For --json, whose object is there whatever happens."""
    told = {"error": type(error).__name__, "message": _message(error)}
    return told | ({"hint": error.hint} if isinstance(error, RestrikeError) and error.hint else {})


def _message(error: Exception | str) -> str:
    return error.message if isinstance(error, RestrikeError) else str(error)


def _complain(error: Exception | str, hint: str = "") -> None:
    hint = hint or (error.hint if isinstance(error, RestrikeError) else "")
    sys.stderr.write(f"error: {_message(error)}\n" + (f"  {hint}\n" if hint else ""))
