"""What a caller of touch asks for, as it was typed."""

from __future__ import annotations

import shlex
from typing import Literal

import msgspec

from restrike.aws import settings
from restrike.aws.settings import AwsSettings
from restrike.errors import UsageError
from restrike.model.flags import Flag, refuse_below, words
from restrike.model.prices import given_prices
from restrike.model.table import MARKER
from restrike.model.window import duration
from restrike.running.flags import (
    ACCEPT_REPLICATION_CONFLICTS,
    EXPECT_ACCOUNT,
    FORCE,
    LEDGER,
    PLAN_TIMEOUT,
    PRICE,
    run_flag,
)
from restrike.selecting import request as selecting
from restrike.selecting.request import SelectionRequest

Api = Literal["partiql", "update-item"]
MAX_OVER = 20
CONCURRENCY = 16
MAX_LAG = "5m"
MAX_LAG_WAIT = "1h"
OFF = "off"
LEAST_LAG_S = 60.0
VERIFY_TIMEOUT_S = 60.0


class TouchRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that `restrike touch` takes, in the spelling of the command line; None where it was not given.

    `remove` makes it an unmark: the run whose name is taken off.
    """

    table: str
    selection: SelectionRequest = SelectionRequest()
    limit: int | None = None
    marker: str | None = None
    over: str | None = None
    counter: str | None = None
    api: Api | None = None
    ordered: bool = False
    concurrency: int | None = None
    rate: float | Literal["max"] | None = None
    max_wcu: float | None = None
    max_lag: str | None = None
    max_lag_wait: str | None = None
    price: str | None = None
    verify: bool | None = None
    verify_timeout_s: float | None = None
    run: str | None = None
    again: bool = False
    plan_timeout_s: float | None = None
    expect_account: str | None = None
    force: bool = False
    accept_replication_conflicts: bool = False
    ledger: str | None = None
    remove: str | None = None
    aws: AwsSettings = AwsSettings()

    @property
    def attribute(self) -> str:
        """What is written."""
        return self.counter if self.counter is not None else MARKER if self.marker is None else self.marker

    @property
    def mode(self) -> Literal["marker", "counter", "unmark"]:
        if self.remove is not None:
            return "unmark"
        return "counter" if self.counter is not None else "marker"

    @property
    def names(self) -> tuple[str, ...]:
        """The runs of `--over`; of an unmark the one whose name goes."""
        if self.remove is not None:
            return (self.remove,)
        return () if self.over is None else tuple(dict.fromkeys(name.strip() for name in self.over.split(",")))


FLAGS = (
    Flag("--limit", "A canary: only the first N; the run goes on without it.", "choose", "integer", metavar="N"),
    Flag(
        "--marker",
        "Attribute that gets the run's name.",
        "write",
        metavar="NAME",
        default=MARKER,
        variable="RESTRIKE_MARKER",
    ),
    Flag("--over", "Runs whose names --marker may overwrite.", "write", metavar="RUN,RUN"),
    Flag("--counter", "Instead: a number that is raised by 1.", "write", metavar="NAME"),
    Flag(
        "--api",
        "The call that writes.",
        "write",
        "choice",
        choices=("partiql", "update-item"),
        default="partiql",
    ),
    Flag("--ordered", "Per partition key one item in flight, in sort-key order.", "write", "switch"),
    Flag(
        "--rate",
        "Items a second; max: as many as nothing is throttled.",
        "pace",
        "rate",
        metavar="N|max",
        variable="RESTRIKE_RATE",
    ),
    Flag(
        "--max-wcu",
        "Write units a second.",
        "pace",
        "number",
        metavar="N",
        default="25 % of capacity, 500 on demand",
        variable="RESTRIKE_MAX_WCU",
    ),
    Flag(
        "--max-lag",
        "How far Lambda consumers may be behind; else it waits.",
        "pace",
        metavar="DURATION|off",
        default=f"{MAX_LAG} from 10 minutes on",
        completes="lag",
    ),
    Flag("--max-lag-wait", "How long it waits for one.", "pace", metavar="DURATION", default=MAX_LAG_WAIT),
    Flag("--concurrency", "Requests under way at once.", "pace", "integer", metavar="N", default=str(CONCURRENCY)),
    PRICE,
    Flag("--verify", "Look for each record on the stream.", "prove", "toggle", default="where safe"),
    Flag(
        "--verify-timeout",
        "Seconds without a record to give up after.",
        "prove",
        "number",
        metavar="S",
        default=f"{VERIFY_TIMEOUT_S:g}",
        field="verify_timeout_s",
    ),
    run_flag("touch-TABLE-UTCTIME-xxxx"),
    Flag("--again", "Start over with a run that is complete.", "run", "switch"),
    PLAN_TIMEOUT,
    EXPECT_ACCOUNT,
    FORCE,
    ACCEPT_REPLICATION_CONFLICTS,
    LEDGER,
)
"""Touch's own, beside those that choose items and those of AWS."""

UNMARK_FLAGS = (
    *(flag for flag in FLAGS if flag.to not in ("over", "counter", "run")),
    Flag("--run", "The run whose name is taken off.", "run", metavar="NAME", completes="run", field="remove"),
)
"""Unmark's own."""


def command_line(request: TouchRequest, run: str) -> str:
    """The command line that executes the request under that name; safe to run twice, since the name is in it."""
    verb, flags, named = ("touch", FLAGS, ["--run", run]) if request.remove is None else ("unmark", UNMARK_FLAGS, [])
    own = [flag for flag in flags if flag.to != "run"]
    line = ["restrike", verb, request.table, *words(selecting.FLAGS, request.selection), *words(own, request)]
    line += words(settings.FLAGS, request.aws)
    return shlex.join([*line, *named, "--execute"])


def check(request: TouchRequest) -> None:
    """UsageError for what makes no sense on any table."""
    if request.counter is not None and request.marker is not None and request.marker != MARKER:
        raise UsageError("--marker and --counter are two ways to fire; give one")
    for flag, value, least in (
        ("--limit", request.limit, 1),
        ("--concurrency", request.concurrency, 1),
        ("--rate", request.rate if request.rate != "max" else None, 0.01),
        ("--max-wcu", request.max_wcu, 1),
        ("--verify-timeout", request.verify_timeout_s, 0),
        ("--plan-timeout", request.plan_timeout_s, 0.1),
    ):
        refuse_below(flag, value, least)
    given_prices(request.price)
    _check_lag(request)
    if request.concurrency is not None and request.concurrency > 1_000:
        raise UsageError("--concurrency is at most 1,000")
    for flag, text in (
        ("--run", request.run),
        ("--run", request.remove),
        ("--marker", request.marker),
        ("--counter", request.counter),
        ("--over", request.over),
        ("--expect-account", request.expect_account),
    ):
        if text == "":
            raise UsageError(f"{flag} is empty", "Is the variable that it comes from set?")
    if request.again and request.run is None and request.remove is None:
        raise UsageError("--again starts over with a run, and none is named", "Name it: --run NAME.")
    if request.over is not None and (request.mode == "counter" or request.attribute == MARKER):
        raise UsageError(
            "--over has no use here: it names the runs that another --marker may overwrite",
            f"Leave it out: {MARKER!r} is written over any run's name, and a counter over a number.",
        )
    from restrike.running.run import check_name  # not for help's sake

    for name in request.names:
        check_name(name)
    if len(request.names) > MAX_OVER:
        raise UsageError(f"--over names {len(request.names)} runs, and {MAX_OVER} at most go into a statement")
    if request.verify is False and request.verify_timeout_s is not None:
        raise UsageError("--verify-timeout goes with the proof, and --no-verify is without it")


def _check_lag(request: TouchRequest) -> None:
    for flag, text in (("--max-lag", request.max_lag), ("--max-lag-wait", request.max_lag_wait)):
        if text is None or (text == OFF and flag == "--max-lag"):
            continue
        if duration(flag, text) < LEAST_LAG_S:
            raise UsageError(f"{flag} {text} is less than a minute", "CloudWatch tells a lag by the minute, and later.")
    if request.max_lag == OFF and request.max_lag_wait is not None:
        raise UsageError("--max-lag-wait goes with a --max-lag, and off is without it")
