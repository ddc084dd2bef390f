"""Which items: the ways of selecting, as data, and the requests that they become."""

from __future__ import annotations

import calendar
import hashlib
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from typing import Any, Literal

import msgspec

from restrike.errors import UsageError
from restrike.model.table import AttributeValue, KeyAttribute, KeySchema, TableInfo, key_value, sortable

SortOperator = Literal["=", "<", "<=", ">", ">=", "between", "begins_with"]
DATE_FORMATS = ("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%Y-%m", "%Y%m")
MAX_DATES = 20_000  # 54 years of days


class SortCondition(msgspec.Struct, frozen=True):
    """A condition on a sort key: the operator and its one or two typed values."""

    operator: SortOperator
    values: tuple[AttributeValue, ...]


class KeyQuery(msgspec.Struct, frozen=True, tag="key"):
    """The items of one partition key of the table or of an index."""

    value: AttributeValue
    index: str | None = None
    sort: SortCondition | None = None


class DateQuery(msgspec.Struct, frozen=True, tag="dates"):
    """The items of an index whose partition key is a date: one Query a day or month, both ends included."""

    index: str
    first: date
    last: date
    format: str


class Scan(msgspec.Struct, frozen=True, tag="all"):
    """Every item of the table, or of an index that holds only some."""

    index: str | None = None
    segments: int = 1


class KeyList(msgspec.Struct, frozen=True, tag="keys"):
    """The keys of a file, by the SHA-256 of their canonical forms; they stand in the run's folder. `in_order` is the
    same over the order in which they stand there, which is that of a run's places."""

    digest: str
    count: int
    origin: str
    in_order: str = ""


class FilterExpression(msgspec.Struct, frozen=True):
    """A filter expression with its names and values (DynamoDB JSON), as the AWS CLI takes them."""

    expression: str
    names: dict[str, str] = {}
    values: dict[str, AttributeValue] = {}


class Selection(msgspec.Struct, frozen=True):
    """What to touch. Limit and pace are no part of it."""

    what: KeyQuery | DateQuery | Scan | KeyList
    filter: FilterExpression | None = None

    @property
    def index(self) -> str | None:
        return None if isinstance(self.what, KeyList) else self.what.index

    def describe(self) -> str:
        """One line for people; key values are named, as they were typed by whoever reads it."""
        what = self.what
        where = f" of index {what.index}" if not isinstance(what, KeyList) and what.index else ""
        if isinstance(what, KeyQuery):
            text = f"partition key {_plain(what.value)}{where}"
            if what.sort:
                text += f", sort key {what.sort.operator} {' '.join(map(_plain, what.sort.values))}"
        elif isinstance(what, DateQuery):
            first, last = what.first.strftime(what.format), what.last.strftime(what.format)
            text = f"{first} to {last}{where}" if first != last else f"{first}{where}"
        elif isinstance(what, Scan):
            text = f"all items{where}" if what.index else "the whole table"
        else:
            text = f"{what.count:,} keys from {what.origin}"
        return text + (f" where {self.filter.expression}" if self.filter else "")


def _plain(value: AttributeValue) -> str:
    return str(next(iter(value.values())))


def identity_parts(selection: Selection) -> dict[str, str]:
    """What makes it this selection and no other, in named parts; how it is read is none of it. Values that a filter
    compares with are other people's data: they are there as a digest."""
    what = selection.what
    if isinstance(what, KeyList):
        return {"keys": f"{what.count:,} with the digest {what.digest[:16]}"}  # whatever file they stand in
    parts = {"selection": Selection(what).describe()}
    if selection.filter is not None:
        parts["filter"] = selection.filter.expression
        if selection.filter.names or selection.filter.values:
            told = msgspec.json.encode([selection.filter.names, selection.filter.values], order="deterministic")
            parts["names and values of the filter"] = f"digest {hashlib.sha256(told).hexdigest()[:16]}"
    return parts


# ── sort-key conditions ──────────────────────────────────────────────────────────────────────────────────


def parse_sort_condition(attribute: KeyAttribute, text: str) -> SortCondition:
    """`= v`, `< v`, `<= v`, `> v`, `>= v`, `between a b` or `begins_with p`, typed by the schema.

    The value is everything behind the operator. `between` takes two words, or two parts in double quotes,
    with an optional `and` between them.
    """
    text = text.strip()
    match = re.match(r"((?:<=|>=|=|<|>)(?![<>=])|between\b|begins_with\b)\s*(.*)$", text, re.DOTALL | re.IGNORECASE)
    if not match:
        raise UsageError(
            f"--sort-key {text!r} is no condition",
            'Write "= v", "< v", "<= v", "> v", ">= v", "between a b" or "begins_with p".',
        )
    operator, rest = match[1].lower(), match[2].strip()
    if operator == "between":
        low, high = _two_values(rest)
        values = (key_value(attribute, low), key_value(attribute, high))
        if sortable(attribute, values[0]) > sortable(attribute, values[1]):
            raise UsageError(f"--sort-key {text!r}: {high} is before {low}", "Write the lower one first.")
        return SortCondition("between", values)
    if operator == "begins_with" and attribute.type == "N":
        raise UsageError(f"begins_with does not work on {attribute.name!r}: it is a number")
    if not rest:
        raise UsageError(f"--sort-key {text!r} lacks its value")
    found: SortOperator = operator  # type: ignore[assignment]  # the pattern admits only these
    return SortCondition(found, (key_value(attribute, _unquoted(rest)),))


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 2 and text[0] == text[-1] == '"' else text


def _two_values(text: str) -> tuple[str, str]:
    words = re.findall(r'"[^"]*"|\S+', text)
    if len(words) == 3 and words[1].lower() == "and":
        del words[1]
    if len(words) != 2:
        raise UsageError(
            f"between takes two values, not {text!r}", 'Write "between a b"; quote values with spaces: "a b".'
        )
    return _unquoted(words[0]), _unquoted(words[1])


# ── dates ────────────────────────────────────────────────────────────────────────────────────────────────


def recognised_format(sample: str) -> str | None:
    """The date format that a key value is written in, out of DATE_FORMATS; None where it is no date."""
    for candidate in DATE_FORMATS:
        try:
            if datetime.strptime(sample, candidate).strftime(candidate) == sample:
                return candidate
        except ValueError:
            continue
    return None


def parse_date(text: str, *, end: bool = False) -> date:
    """`2021-01-22`, `20210122`, `2021/01/22`, or a month (`2021-01`, `202101`): its first, or with `end` last day."""
    form = recognised_format(text.strip())
    if form is None:
        raise UsageError(f"{text!r} is not a date", "Write it as 2021-01-22, or 2021-01 for a month.")
    day = datetime.strptime(text.strip(), form).date()
    if end and "%d" not in form:
        day = day.replace(day=calendar.monthrange(day.year, day.month)[1])
    return day


def date_values(first: date, last: date, form: str) -> list[str]:
    """Every value of the format from the first day to the last, both included, each once, in order."""
    if last < first:
        raise UsageError(f"--to {last} is before --from {first}")
    values: dict[str, None] = {}
    day = first
    while day <= last:
        values[day.strftime(form)] = None
        if len(values) > MAX_DATES:
            raise UsageError(f"more than {MAX_DATES:,} dates from {first} to {last}", "Choose a shorter range.")
        day += timedelta(days=1)
    return list(values)


def date_range_condition(attribute: KeyAttribute, sample: str, first: date, last: date, zone: tzinfo) -> SortCondition:
    """A range on a sort key that holds a date or time: text that starts with a date, or an epoch number.

    The sample tells the form: the text's date format, or seconds, milliseconds or microseconds by size.
    Epoch numbers are cut at midnight of `zone`; both days are included.
    """
    if attribute.type == "N":
        unit = _epoch_unit(Decimal(sample))
        start = _epoch(first, zone) * unit
        # Just below the next midnight, so that fractions of the last second are in.
        end = _epoch(last + timedelta(days=1), zone) * unit - Decimal("0.000001")
        return SortCondition("between", ({"N": format(start, "f")}, {"N": format(end, "f")}))
    if attribute.type == "B":
        raise UsageError(f"{attribute.name!r} is binary: it holds no dates")
    form = next(
        (form for length in (10, 8, 7, 6) if (form := recognised_format(sample[:length])) and len(sample) >= length),
        None,
    )
    if form is None:
        raise UsageError(
            f"the sort key {attribute.name!r} does not start with a date ({sample!r})",
            "Give the range as --sort-key instead.",
        )
    # Whatever stands behind the last day's date (a time, a suffix) sorts below the highest character.
    return SortCondition("between", ({"S": first.strftime(form)}, {"S": last.strftime(form) + "\U0010ffff"}))


def _epoch_unit(sample: Decimal) -> int:
    for unit, at_least in ((1_000_000, Decimal("1e14")), (1_000, Decimal("1e11"))):
        if abs(sample) >= at_least:
            return unit
    return 1


def _epoch(day: date, zone: tzinfo) -> Decimal:
    return Decimal(int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()))


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────


class Strand(msgspec.Struct, frozen=True):
    """One sequence of pages with a place of its own: a partition key, a day, a segment, or a key file.

    `request` is the Query or Scan without ExclusiveStartKey; empty for a key file.
    """

    id: str
    operation: Literal["Query", "Scan", "Keys"]
    request: dict[str, Any] = {}


def strands(selection: Selection, table: TableInfo, *, consistent: bool = False) -> Iterator[Strand]:
    """The requests of a selection, without a projection. `consistent` holds where the table itself is read."""
    what = selection.what
    if isinstance(what, KeyList):
        yield Strand("keys", "Keys")
        return
    request: dict[str, Any] = {"TableName": table.name}
    schema = table.key
    if what.index:
        request["IndexName"] = what.index
        schema = table.index(what.index).key
    elif consistent:
        request["ConsistentRead"] = True
    if selection.filter:
        request["FilterExpression"] = selection.filter.expression
        # The service takes none of them, but not an empty one.
        if selection.filter.names:
            request["ExpressionAttributeNames"] = dict(selection.filter.names)
        if selection.filter.values:
            request["ExpressionAttributeValues"] = dict(selection.filter.values)
    if isinstance(what, Scan):
        for segment in range(what.segments):
            parallel = {"Segment": segment, "TotalSegments": what.segments} if what.segments > 1 else {}
            yield Strand(f"segment-{segment}", "Scan", request | parallel)
    elif isinstance(what, KeyQuery):
        yield Strand("key", "Query", request | _key_condition(request, schema, what.value, what.sort))
    else:
        for value in date_values(what.first, what.last, what.format):
            typed = key_value(schema.partition, value)
            yield Strand(value, "Query", request | _key_condition(request, schema, typed, None))


def _key_condition(
    request: dict[str, Any], schema: KeySchema, value: AttributeValue, sort: SortCondition | None
) -> dict[str, Any]:
    names = dict(request.get("ExpressionAttributeNames", {}))
    values = dict(request.get("ExpressionAttributeValues", {}))
    names["#restrike_p"] = schema.partition.name
    values[":restrike_p"] = value
    condition = "#restrike_p = :restrike_p"
    if sort is not None:
        assert schema.sort is not None
        names["#restrike_s"] = schema.sort.name
        values[":restrike_a"] = sort.values[0]
        if sort.operator == "between":
            values[":restrike_b"] = sort.values[1]
            condition += " AND #restrike_s BETWEEN :restrike_a AND :restrike_b"
        elif sort.operator == "begins_with":
            condition += " AND begins_with(#restrike_s, :restrike_a)"
        else:
            condition += f" AND #restrike_s {sort.operator} :restrike_a"
    return {
        "KeyConditionExpression": condition,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }


def projected(strand: Strand, attributes: dict[str, str]) -> dict[str, Any]:
    """The strand's request with a projection of those attributes (field → attribute name)."""
    names = dict(strand.request.get("ExpressionAttributeNames", {}))
    distinct = dict.fromkeys(attributes.values())
    aliases = {f"#restrike_{number}": name for number, name in enumerate(distinct)}
    return strand.request | {
        "ExpressionAttributeNames": names | aliases,
        "ProjectionExpression": ", ".join(aliases),
        "ReturnConsumedCapacity": "TOTAL",
    }
