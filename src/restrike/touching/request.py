"""What a caller asks for, as it was typed, and how it becomes a selection of this table."""

from __future__ import annotations

import contextlib
import sys
import zoneinfo
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal, TextIO

import msgspec

from restrike.aws.settings import AWS_FLAGS, AwsSettings
from restrike.errors import UsageError
from restrike.model import selection as model
from restrike.model.flags import flag_words
from restrike.model.selection import Filter, KeyList, KeyQuery, Scan, Selection
from restrike.model.table import AttributeValue, IndexInfo, Key, KeyAttribute, TableInfo, key_value
from restrike.runs.ledger import Ledger
from restrike.selecting.keyfile import read_keys, spool
from restrike.touching.writer import Api

MAX_SEGMENTS = 1_000_000  # the service's limit


class TouchRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that `restrike touch` takes, in the spelling of the command line; None where it was not given."""

    table: str
    key: str | None = None
    sort_key: str | None = None
    index: str | None = None
    date_from: str | None = None
    date_to: str | None = None
    date_format: str | None = None
    tz: str = "UTC"
    all: bool = False
    segments: int | None = None
    keys: str | None = None
    filter_expression: str | None = None
    expression_attribute_names: str | None = None
    expression_attribute_values: str | None = None
    limit: int | None = None
    run: str | None = None
    marker: str = "restrike"
    counter: str | None = None
    api: Api = "partiql"
    ordered: bool = False
    concurrency: int = 16
    rate: float | Literal["max"] | None = None
    max_wcu: float | None = None
    verify: bool | None = None
    verify_timeout_s: float = 60.0
    force: bool = False
    expect_account: str | None = None
    ledger: str | None = None
    aws: AwsSettings = AwsSettings()

    @property
    def attribute(self) -> str:
        return self.counter if self.counter is not None else self.marker

    @property
    def mode(self) -> str:
        return "counter" if self.counter is not None else "marker"


FLAGS = {
    "key": "--key",
    "sort_key": "--sort-key",
    "index": "--index",
    "date_from": "--from",
    "date_to": "--to",
    "date_format": "--date-format",
    "tz": "--tz",
    "all": "--all",
    "segments": "--segments",
    "keys": "--keys",
    "filter_expression": "--filter-expression",
    "expression_attribute_names": "--expression-attribute-names",
    "expression_attribute_values": "--expression-attribute-values",
    "limit": "--limit",
    "marker": "--marker",
    "counter": "--counter",
    "api": "--api",
    "ordered": "--ordered",
    "concurrency": "--concurrency",
    "rate": "--rate",
    "max_wcu": "--max-wcu",
    "verify": "--verify",
    "verify_timeout_s": "--verify-timeout",
    "force": "--force",
    "expect_account": "--expect-account",
    "ledger": "--ledger",
}
"""Field → flag, for all that a user can give beside the table, the run's name and where AWS is."""


def command(request: TouchRequest, run: str) -> str:
    """The command line that executes the request under that name; safe to run twice, since the name is in it."""
    import shlex

    words = ["restrike", "touch", request.table, *flag_words(request, TouchRequest(table=""), FLAGS)]
    words += flag_words(request.aws, AwsSettings(), AWS_FLAGS)
    return shlex.join([*words, "--run", run, "--execute"])


SampleValue = Callable[[str | None, KeyAttribute, AttributeValue | None], AttributeValue | None]
"""Reads one value of that key attribute: of the table or an index, of one partition key or of any."""


def resolve(
    request: TouchRequest, table: TableInfo, ledger: Ledger, spool_path: Path, sample: SampleValue
) -> Selection:
    """The selection that the request makes on this table; key files are spooled to `spool_path`.

    UsageError where it names no way, several, or one that the table does not have.
    """
    ways = [
        name
        for name, given in (
            ("--keys", request.keys is not None),
            ("--all", request.all),
            ("--key", request.key is not None),
            ("--from/--to", (request.date_from or request.date_to) is not None and request.key is None),
        )
        if given
    ]
    if len(ways) != 1:
        what = f"{' and '.join(ways)} are different selections" if ways else "nothing is selected"
        raise UsageError(what, ways_of(table))
    if request.segments is not None and not request.all:
        raise UsageError("--segments goes with --all")
    if request.date_format is not None and request.date_from is None:
        raise UsageError("--date-format goes with --from and --to")
    if (request.date_from is None) != (request.date_to is None):
        raise UsageError("--from and --to go together", "For one day give it twice.")
    if request.keys is not None:
        if request.index or request.filter_expression or request.sort_key:
            raise UsageError("--keys names items: it takes no --index, --sort-key or --filter-expression")
        return Selection(_key_list(request, table, ledger, spool_path))
    condition = _filter(request)
    index = table.index(request.index) if request.index else None
    if request.all:
        if request.sort_key:
            raise UsageError("--sort-key goes with --key")
        segments = request.segments if request.segments is not None else _default_segments(table)
        if not 1 <= segments <= MAX_SEGMENTS:
            raise UsageError(f"--segments {segments} is not between 1 and {MAX_SEGMENTS:,}")
        return Selection(Scan(request.index, segments), condition)
    if request.key is not None:
        return Selection(_key_query(request, table, index, sample), condition)
    return Selection(_date_query(request, table, index, sample), condition)


def _default_segments(table: TableInfo) -> int:
    """One segment a gigabyte, at most 8: enough to read faster than one table can be written."""
    return max(1, min(8, table.size_bytes // 1_000_000_000))


def _schema(table: TableInfo, index: IndexInfo | None) -> Any:
    return index.key if index is not None else table.key


def _key_query(request: TouchRequest, table: TableInfo, index: IndexInfo | None, sample: SampleValue) -> KeyQuery:
    schema = _schema(table, index)
    assert request.key is not None
    value = key_value(schema.partition, request.key)
    sort: model.SortCondition | None = None
    if request.sort_key is not None or request.date_from is not None:
        where = f"index {index.name}" if index is not None else f"table {table.name}"
        if schema.sort is None:
            raise UsageError(f"{where} has no sort key", ways_of(table))
        if request.sort_key is not None and request.date_from is not None:
            raise UsageError("--sort-key and --from/--to are two conditions on the same sort key")
        if request.sort_key is not None:
            sort = model.parse_sort_condition(schema.sort, request.sort_key)
        else:
            first, last = _dates(request)
            found = sample(request.index, schema.sort, value)
            if found is None:
                # Nothing under that key: any condition selects nothing. Text tells no less than a number.
                found = {"S": first.isoformat()} if schema.sort.type == "S" else {"N": "0"}
            sort = model.date_range_condition(
                schema.sort, str(next(iter(found.values()))), first, last, _zone(request.tz)
            )
    return KeyQuery(value, request.index, sort)


def _dates(request: TouchRequest) -> tuple[date, date]:
    assert request.date_from is not None
    assert request.date_to is not None
    first, last = model.parse_date(request.date_from), model.parse_date(request.date_to, end=True)
    if last < first:
        raise UsageError(f"--to {request.date_to} is before --from {request.date_from}")
    return first, last


def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"--tz {name!r} is no time zone", "Use a name such as UTC or Europe/Berlin.") from None


def _date_query(
    request: TouchRequest, table: TableInfo, index: IndexInfo | None, sample: SampleValue
) -> model.DateQuery:
    if index is None:
        raise UsageError("--from/--to need the --index whose key is the date", ways_of(table))
    first, last = _dates(request)
    partition = index.key.partition
    form = request.date_format
    if form is None:
        found = sample(request.index, partition, None)
        text = str(next(iter(found.values()))) if found is not None else ""
        form = model.recognised_format(text) if found is not None else model.DATE_FORMATS[0]
        if form is None:
            raise UsageError(
                f"the partition key {partition.name!r} of index {index.name} is no date that is recognised",
                "Give its form: --date-format %d.%m.%Y; or, where the index's sort key is the date, --key as well.",
            )
    if first.strftime(form) == (first + timedelta(days=400)).strftime(form):
        raise UsageError(f"--date-format {form!r} holds no date", "For example %Y-%m-%d.")
    model.date_values(first, last, form)  # refuses what is too long
    return model.DateQuery(index.name, first, last, form)


def _filter(request: TouchRequest) -> Filter | None:
    names = _json_object(request.expression_attribute_names, "--expression-attribute-names", dict[str, str])
    values = _json_object(
        request.expression_attribute_values, "--expression-attribute-values", dict[str, dict[str, Any]]
    )
    if request.filter_expression is None:
        if names or values:
            raise UsageError("--expression-attribute-names and -values go with --filter-expression")
        return None
    return Filter(request.filter_expression, names, values)


def _json_object(text: str | None, flag: str, kind: Any) -> Any:
    if text is None:
        return {}
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        example = """'{":s": {"S": "open"}}'""" if "values" in flag else """'{"#s": "status"}'"""
        raise UsageError(f"{flag}: {error}", f"It is JSON as the AWS CLI takes it: {example}.") from None


# ── key files ────────────────────────────────────────────────────────────────────────────────────────────


def _key_list(request: TouchRequest, table: TableInfo, ledger: Ledger, spool_path: Path) -> KeyList:
    assert request.keys is not None
    origin = request.keys
    with contextlib.ExitStack() as stack:
        keys: Iterator[Key]
        if origin.startswith("run:"):
            name = origin.removeprefix("run:")
            other = ledger.get(name)
            if other.table_arn != table.arn:
                raise UsageError(f"run {name} was on table {other.table}, not on {table.name}")
            keys = (msgspec.json.decode(each.key) for each in ledger.leftovers(name))
        elif origin == "-":
            keys = read_keys(sys.stdin, table.key, "standard input")
        else:
            keys = read_keys(stack.enter_context(_open(origin)), table.key, origin)
        try:
            count, digest = spool(spool_path, table.key, keys, in_order=request.ordered)
        except UnicodeDecodeError as error:
            raise UsageError(f"{origin} is not UTF-8 text: {error.reason}", "Nothing was written.") from None
    return KeyList(digest, count, "standard input" if origin == "-" else origin)


def _open(path: str) -> TextIO:
    try:
        return Path(path).open(encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "Give a file of keys, or -.") from None


# ── what the table offers ────────────────────────────────────────────────────────────────────────────────


def ways_of(table: TableInfo) -> str:
    """The selections that this table offers, for whoever gave none."""
    lines = ["Select in one of these ways:"]
    partition = table.key.partition
    sort = f' [--sort-key "= VALUE"]  ({table.key.sort.name}: {table.key.sort.type})' if table.key.sort else ""
    lines.append(f"  --key VALUE{sort}  items of one {partition.name} ({partition.type})")
    for index in table.indexes:
        key = index.key.partition
        lines.append(f"  --index {index.name} --key VALUE  items of one {key.name} ({key.type})")
        if key.type in ("S", "N"):
            lines.append(f"  --index {index.name} --from DATE --to DATE  if {key.name} is a date")
        if index.key.sort is not None:
            lines.append(
                f"  --index {index.name} --key VALUE --from DATE --to DATE  if {index.key.sort.name} is a date or time"
            )
        lines.append(f"  --index {index.name} --all  every item of that index")
    lines.append("  --keys FILE  keys in JSON lines or CSV; - for standard input, run:NAME for what a run left over")
    lines.append(f"  --all  all of the table (about {table.item_count:,} items)")
    return "\n".join(lines)


def from_article(table: TableInfo, environment: Mapping[str, str]) -> dict[str, str]:
    """`HashKeyName` and `HashKeyValue` of the environment as a selection: of the table, or of the index so keyed."""
    name, value = environment.get("HashKeyName"), environment.get("HashKeyValue")
    if not name or not value:
        return {}
    if table.key.partition.name == name:
        return {"key": value}
    indexes = [index.name for index in table.indexes if index.key.partition.name == name]
    if len(indexes) == 1:
        return {"key": value, "index": indexes[0]}
    if indexes:
        raise UsageError(
            f"HashKeyName={name} is the partition key of several indexes: {', '.join(indexes)}",
            "Give --index and --key.",
        )
    raise UsageError(f"HashKeyName={name} is no partition key of table {table.name}", ways_of(table))
