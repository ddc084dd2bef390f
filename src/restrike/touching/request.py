"""What a caller of touch asks for, as it was typed."""

from __future__ import annotations

import math
import shlex
from typing import Literal

import msgspec

from restrike.aws import settings
from restrike.aws.settings import AwsSettings
from restrike.errors import UsageError
from restrike.model.flags import Flag, words
from restrike.running.flags import EXPECT_ACCOUNT, FORCE, LEDGER, run_flag
from restrike.selecting import request as selecting
from restrike.selecting.request import SelectionRequest

Api = Literal["partiql", "update-item"]
MARKER = "restrike"
CONCURRENCY = 16
VERIFY_TIMEOUT_S = 60.0


class TouchRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that `restrike touch` takes, in the spelling of the command line; None where it was not given."""

    table: str
    selection: SelectionRequest = SelectionRequest()
    limit: int | None = None
    marker: str | None = None
    counter: str | None = None
    api: Api | None = None
    ordered: bool = False
    concurrency: int | None = None
    rate: float | Literal["max"] | None = None
    max_wcu: float | None = None
    verify: bool | None = None
    verify_timeout_s: float | None = None
    run: str | None = None
    expect_account: str | None = None
    force: bool = False
    ledger: str | None = None
    aws: AwsSettings = AwsSettings()

    @property
    def attribute(self) -> str:
        """What is written."""
        return self.counter if self.counter is not None else MARKER if self.marker is None else self.marker

    @property
    def mode(self) -> Literal["marker", "counter"]:
        return "counter" if self.counter is not None else "marker"


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
        default="25 % of capacity, else 500",
        variable="RESTRIKE_MAX_WCU",
    ),
    Flag("--concurrency", "Requests under way at once.", "pace", "integer", metavar="N", default=str(CONCURRENCY)),
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
    EXPECT_ACCOUNT,
    FORCE,
    LEDGER,
)
"""Touch's own, beside those that choose items and those of AWS."""

_CHANGED_FREELY = ("run",)  # stands at the end of the command


def command_line(request: TouchRequest, run: str) -> str:
    """The command line that executes the request under that name; safe to run twice, since the name is in it."""
    own = [flag for flag in FLAGS if flag.to not in _CHANGED_FREELY]
    line = ["restrike", "touch", request.table, *words(selecting.FLAGS, request.selection), *words(own, request)]
    line += words(settings.FLAGS, request.aws)
    return shlex.join([*line, "--run", run, "--execute"])


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
    ):
        if value is not None and not (isinstance(value, int | float) and least <= value < math.inf):
            raise UsageError(f"{flag} {value} is no number from {least:g} on", f"Give {least:g} or more.")
    if request.concurrency is not None and request.concurrency > 1_000:
        raise UsageError("--concurrency is at most 1,000")
    for flag, text in (
        ("--run", request.run),
        ("--marker", request.marker),
        ("--counter", request.counter),
        ("--expect-account", request.expect_account),
    ):
        if text == "":
            raise UsageError(f"{flag} is empty", "Is the variable that it comes from set?")
    if request.verify is False and request.verify_timeout_s is not None:
        raise UsageError("--verify-timeout goes with the proof, and --no-verify is without it")
