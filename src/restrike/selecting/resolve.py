"""From what was asked for to a selection of this very table: typed keys, recognised dates, spooled key files.

Done once, at planning. What comes out is all that the run needs: nothing is parsed or read again when it goes on.
"""

from __future__ import annotations

import contextlib
import sys
import zoneinfo
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TextIO

import msgspec

from restrike.aws.dynamodb import page_decoder
from restrike.aws.wire import Wire
from restrike.errors import UsageError
from restrike.model import selection as model
from restrike.model.selection import FilterExpression, KeyList, KeyQuery, Scan, Selection, projected, strands
from restrike.model.table import (
    TABLE_ID,
    AttributeValue,
    IndexInfo,
    Key,
    KeyAttribute,
    KeySchema,
    TableInfo,
    key_value,
)
from restrike.running.ledger import Ledger
from restrike.selecting.keyfile import read_keys, spool
from restrike.selecting.pages import pages
from restrike.selecting.request import DAYS, SelectionRequest, several, ways, ways_of

MAX_SEGMENTS = 1_000_000  # the service's limit
STANDARD_INPUT = "-"
OF_A_RUN = "run:"


async def resolve(
    request: SelectionRequest, table: TableInfo, wire: Wire, *, ledger: Path, keys: Path, ordered: bool = False
) -> Selection:
    """The selection that the request makes on this table. A key file is spooled to `keys`, in the table's order where
    that is asked for; what a run left over is looked up in `ledger`.

    UsageError where it names no way, several, or one that the table does not have.
    """
    _check_ways(request, table)
    if request.keys is not None:
        return Selection(_key_list(request.keys, table, ledger, keys, ordered=ordered))
    condition = _filter(request)
    index = table.index(request.index) if request.index else None
    if request.all:
        segments = request.segments if request.segments is not None else _default_segments(table)
        if not 1 <= segments <= MAX_SEGMENTS:
            raise UsageError(f"--segments {segments} is not between 1 and {MAX_SEGMENTS:,}")
        return Selection(Scan(request.index, segments), condition)
    if request.partition_key is not None:
        return Selection(await _key_query(request, table, index, wire), condition)
    return Selection(await _date_query(request, table, index, wire), condition)


def _check_ways(request: SelectionRequest, table: TableInfo) -> None:
    """UsageError for flags that choose nothing, or contradict one another."""
    for flag, text in (
        ("--partition-key", request.partition_key),
        ("--sort-key", request.sort_key),
        ("--index", request.index),
        ("--date", request.date),
        ("--keys", request.keys),
        ("--filter-expression", request.filter_expression),
    ):
        if text == "":
            raise UsageError(f"{flag} is empty", "Is the variable that it comes from set?")
    chosen = ways(request)
    if len(chosen) != 1:
        raise UsageError(several(chosen) if chosen else "nothing is selected", ways_of(table))
    if request.segments is not None and not request.all:
        raise UsageError("--segments goes with --all")
    if request.date is None and (request.date_format is not None or request.tz is not None):
        raise UsageError(f"{'--date-format' if request.date_format is not None else '--tz'} goes with --date")
    if request.keys is not None and (request.index or request.filter_expression or request.sort_key):
        raise UsageError("--keys names items: it takes no --index, --sort-key or --filter-expression")
    if request.sort_key is not None and request.partition_key is None:
        raise UsageError("--sort-key goes with --partition-key")


def _default_segments(table: TableInfo) -> int:
    """One segment a gigabyte, at most 8: enough to read faster than one table can be written."""
    return max(1, min(8, table.size_bytes // 1_000_000_000))


def _schema(table: TableInfo, index: IndexInfo | None) -> KeySchema:
    return index.key if index is not None else table.key


async def _key_query(request: SelectionRequest, table: TableInfo, index: IndexInfo | None, wire: Wire) -> KeyQuery:
    schema = _schema(table, index)
    assert request.partition_key is not None
    value = key_value(schema.partition, request.partition_key)
    if request.sort_key is None and request.date is None:
        return KeyQuery(value, request.index, None)
    if schema.sort is None:
        where = f"index {index.name}" if index is not None else f"table {table.name}"
        raise UsageError(f"{where} has no sort key", ways_of(table))
    if request.sort_key is not None and request.date is not None:
        raise UsageError("--sort-key and --date are two conditions on the same sort key")
    if request.sort_key is not None:
        return KeyQuery(value, request.index, model.parse_sort_condition(schema.sort, request.sort_key))
    if request.date_format is not None:
        raise UsageError("--date-format is for a date that is the index's partition key", "Leave it out.")
    first, last = _days(request)
    within = next(strands(Selection(KeyQuery(value, request.index)), table))
    found = await _sample(wire, within.operation, within.request, schema.sort)
    if found is None:
        # Nothing under that key: any condition selects nothing. Text tells no less than a number.
        found = {"S": first.isoformat()} if schema.sort.type == "S" else {"N": "0"}
    text = str(next(iter(found.values())))
    if request.tz is not None and schema.sort.type != "N":
        raise UsageError(f"--tz goes with times that are epoch numbers, and {schema.sort.name!r} is text")
    sort = model.date_range_condition(schema.sort, text, first, last, _zone(request.tz or "UTC"))
    return KeyQuery(value, request.index, sort)


async def _date_query(
    request: SelectionRequest, table: TableInfo, index: IndexInfo | None, wire: Wire
) -> model.DateQuery:
    if index is None:
        raise UsageError("--date needs the --index whose key is the date", ways_of(table))
    if request.tz is not None:
        raise UsageError("--tz goes with times that are epoch numbers, and days of an index's partition key are text")
    first, last = _days(request)
    partition = index.key.partition
    form = request.date_format
    if form is None:
        found = await _sample(wire, "Scan", {"TableName": table.name, "IndexName": index.name}, partition)
        text = str(next(iter(found.values()))) if found is not None else ""
        form = model.recognised_format(text) if found is not None else model.DATE_FORMATS[0]
        if form is None:
            raise UsageError(
                f"the partition key {partition.name!r} of index {index.name} is no date that is recognised",
                "Give its form: --date-format %d.%m.%Y; or, where the index's sort key is the date, "
                "--partition-key as well.",
            )
    if first.strftime(form) == (first + timedelta(days=400)).strftime(form):
        raise UsageError(f"--date-format {form!r} holds no date", "For example %Y-%m-%d.")
    model.date_values(first, last, form)  # refuses what is too long
    return model.DateQuery(index.name, first, last, form)


def _days(request: SelectionRequest) -> tuple[date, date]:
    """The first and last day of `DAY` or `DAY..DAY`."""
    assert request.date is not None
    begin, dots, end = request.date.partition(DAYS)
    if dots and not (begin.strip() and end.strip()):
        raise UsageError(f"--date {request.date!r} has one end only", "Write both: 2021-01-22..2021-01-25.")
    first, last = model.parse_date(begin), model.parse_date(end if dots else begin, end=True)
    if last < first:
        raise UsageError(f"--date {request.date}: {end} is before {begin}")
    return first, last


def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"--tz {name!r} is no time zone", "Use a name such as UTC or Europe/Berlin.") from None


async def _sample(
    wire: Wire, operation: str, request: dict[str, Any], attribute: KeyAttribute
) -> AttributeValue | None:
    """One value of that key attribute, by which the form of its dates is recognised; None where nothing is there."""
    strand = model.Strand("sample", "Query" if operation == "Query" else "Scan", request | {"Limit": 1})
    fields = {"value": attribute.name}
    asking = projected(strand, fields)
    async for page in pages(wire, operation, asking, page_decoder(fields), most=1):
        for item in page.items:
            value: AttributeValue = msgspec.json.decode(item.value)
            return value
    return None


def _filter(request: SelectionRequest) -> FilterExpression | None:
    names = _json_object(request.expression_attribute_names, "--expression-attribute-names", dict[str, str])
    values = _json_object(
        request.expression_attribute_values, "--expression-attribute-values", dict[str, dict[str, Any]]
    )
    if request.filter_expression is None:
        if names or values:
            raise UsageError("--expression-attribute-names and -values go with --filter-expression")
        return None
    return FilterExpression(request.filter_expression, names, values)


def _json_object(text: str | None, flag: str, kind: Any) -> Any:
    if text is None:
        return {}
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        example = """'{":s": {"S": "open"}}'""" if "values" in flag else """'{"#s": "status"}'"""
        raise UsageError(f"{flag}: {error}", f"It is JSON as the AWS CLI takes it: {example}.") from None


# ── key files ────────────────────────────────────────────────────────────────────────────────────────────


def _key_list(origin: str, table: TableInfo, ledger: Path, target: Path, *, ordered: bool) -> KeyList:
    with contextlib.ExitStack() as stack:
        keys: Iterator[Key]
        if origin.startswith(OF_A_RUN):
            keys = _left_over(stack.enter_context(Ledger(ledger, read_only=True)), origin.removeprefix(OF_A_RUN), table)
        elif origin == STANDARD_INPUT:
            if sys.stdin is None:
                raise UsageError("standard input is closed", "Give the keys there, or name a file: --keys FILE.")
            keys = read_keys(sys.stdin, table.key, "standard input")
        else:
            keys = read_keys(stack.enter_context(_open(origin)), table.key, origin)
        try:
            name = "standard input" if origin == STANDARD_INPUT else origin
            return spool(target, table.key, keys, name, in_order=ordered)
        except UnicodeDecodeError as error:
            raise UsageError(f"{origin} is not UTF-8 text: {error.reason}", "Nothing was written.") from None


def _left_over(ledger: Ledger, name: str, table: TableInfo) -> Iterator[Key]:
    run = ledger.get(name)
    if run.subject != table.arn or run.identity.get(TABLE_ID, table.id) != table.id:
        other = f"{run.subject}, not on {table.arn}" if run.subject != table.arn else "another table of that name"
        raise UsageError(f"run {name} was on {other}", "Name a run of this table: restrike runs list")
    return (msgspec.json.decode(each.key) for each in ledger.leftovers(name))


def _open(path: str) -> TextIO:
    try:
        return Path(path).open(encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "Give a file of keys, or -.") from None
