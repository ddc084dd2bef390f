"""What `restrike audit` is asked, as it was typed."""

from __future__ import annotations

import shlex
from typing import Literal

import msgspec

from restrike.aws import settings
from restrike.aws.settings import AwsSettings
from restrike.errors import UsageError
from restrike.model.flags import Flag, refuse_below, words
from restrike.model.prices import given_prices
from restrike.model.table import TableInfo
from restrike.model.uri import STANDARD_INPUT
from restrike.running.flags import LEDGER, PLAN_TIMEOUT, PRICE, run_flag
from restrike.selecting import request as selecting
from restrike.selecting.request import SelectionRequest

OF_A_TABLE = "table:"
Kind = Literal["file", "input", "table"]


class AuditRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that `restrike audit` takes; None where it was not given. No selection is the whole table."""

    table: str
    against: str
    selection: SelectionRequest = SelectionRequest()
    on: str | None = None
    map: str | None = None
    as_of: str | None = None
    archive: str | None = None
    max_rru: float | None = None
    price: str | None = None
    run: str | None = None
    plan_timeout_s: float | None = None
    ledger: str | None = None
    aws: AwsSettings = AwsSettings()

    @property
    def kind(self) -> Kind:
        """What the other side is."""
        if self.against == STANDARD_INPUT:
            return "input"
        return "table" if self.against.startswith(OF_A_TABLE) else "file"


FLAGS = (
    Flag("--on", "Scalar attributes that are compared.", "compare", metavar="NAME,NAME", default="keys alone"),
    Flag("--map", "What the other side calls ours.", "compare", metavar="THEIRS=OURS,…"),
    Flag(
        "--as-of",
        "When the other side was read: 10m, or 2021-01-22T10:00:00Z.",
        "compare",
        metavar="TIME",
        default="of a table: when it is read",
    ),
    Flag("--archive", "Tells what has changed since, beside the stream.", "compare", metavar="PATH", completes="file"),
    Flag(
        "--max-rru", "Read units a second.", "pace", "number", metavar="N", default="25 % of capacity, 1,500 on demand"
    ),
    PRICE,
    run_flag("audit-TABLE-TIME"),
    PLAN_TIMEOUT,
    LEDGER,
)


def check(request: AuditRequest) -> None:
    """UsageError for what makes no sense whatever the table is."""
    if not request.against:
        raise UsageError("it is not said what the table is compared with", "Give --against FILE, table:NAME or -.")
    if request.against == OF_A_TABLE:
        raise UsageError(f"--against {OF_A_TABLE} names no table", f"Write --against {OF_A_TABLE}NAME.")
    if request.kind == "input" and request.selection.keys == STANDARD_INPUT:
        raise UsageError("--against - and --keys - are both standard input", "Give one of them as a file.")
    if request.as_of is None and request.kind != "table":
        raise UsageError(
            "it is not said when the other side was read",
            "Give --as-of: what was written to the table since is not to be taken for a difference.",
        )
    refuse_below("--max-rru", request.max_rru, 1)
    refuse_below("--plan-timeout", request.plan_timeout_s, 0.1)
    given_prices(request.price)
    for flag in FLAGS:
        if getattr(request, flag.to) == "":
            raise UsageError(f"{flag.name} is empty", "Is the variable that it comes from set?")


def compared(request: AuditRequest, table: TableInfo) -> tuple[str, ...]:
    """The attributes of `--on`."""
    names = tuple(name.strip() for name in request.on.split(",")) if request.on is not None else ()
    for name in names:
        if not name:
            raise UsageError(f"--on {request.on!r} has an empty name", "Write --on total,status.")
        if names.count(name) > 1:
            raise UsageError(f"--on names {name!r} twice")
        if name in table.key.names:
            raise UsageError(f"--on {name}: that is a key attribute of table {table.name}", "Keys are compared anyway.")
    return names


def renamed(request: AuditRequest, table: TableInfo, on: tuple[str, ...]) -> dict[str, str]:
    """Our name → what the other side calls it."""
    found: dict[str, str] = {}
    for part in request.map.split(",") if request.map is not None else ():
        theirs, equals, ours = (each.strip() for each in part.partition("="))
        if not (theirs and equals and ours):
            raise UsageError(f"--map {part.strip()!r} is no pair", "Write --map theirs=ours, for example id=order_id.")
        if ours not in (*table.key.names, *on):
            raise UsageError(
                f"--map {part.strip()}: {ours!r} is neither a key attribute of table {table.name} nor in --on",
                f"Its keys: {', '.join(table.key.names)}. It is --map theirs=ours.",
            )
        if ours in found:
            raise UsageError(f"--map names {ours!r} twice")
        found[ours] = theirs
    return found


def command_line(request: AuditRequest, as_of: str | None, run: str) -> str:
    """The command line that carries it out; its time as it was settled, so that it is the same tomorrow."""
    fixed = msgspec.structs.replace(request, as_of=as_of if request.as_of is not None else None)
    own = [flag for flag in FLAGS if flag.name != "--run"]
    line = ["restrike", "audit", request.table, *words(selecting.FLAGS, request.selection)]
    line += ["--against", request.against, *words(own, fixed), *words(settings.FLAGS, request.aws)]
    return shlex.join([*line, "--run", run, "--execute"])
