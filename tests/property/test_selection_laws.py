"""Sort-key conditions, date ranges, and the requests that a selection becomes."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from restrike.model.selection import (
    DATE_FORMATS,
    DateQuery,
    FilterExpression,
    KeyQuery,
    Scan,
    Selection,
    SortCondition,
    date_range_condition,
    date_values,
    parse_date,
    parse_sort_condition,
    projected,
    recognised_format,
    strands,
)
from restrike.model.table import IndexInfo, KeyAttribute, KeySchema, TableInfo

TEXT, NUMBER = KeyAttribute("s", "S"), KeyAttribute("n", "N")

# ── sort-key conditions ──────────────────────────────────────────────────────────────────────────────────

printable = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=8)
quoted = st.text(st.characters(codec="utf-8", exclude_characters='"'), min_size=1, max_size=8)
spaces = st.text(" \t", max_size=2)
space = st.text(" \t", min_size=1, max_size=2)


@given(operator=st.sampled_from(["=", "<", "<=", ">", ">="]), value=quoted, before=spaces, between=spaces, after=spaces)
def test_a_comparison_in_quotes_keeps_its_value(
    operator: Any, value: str, before: str, between: str, after: str
) -> None:
    found = parse_sort_condition(TEXT, f'{before}{operator}{between}"{value}"{after}')
    assert found == SortCondition(operator, ({"S": value},))


@given(operator=st.sampled_from(["=", "<", "<=", ">", ">=", "begins_with"]), value=printable, between=space)
def test_a_comparison_without_quotes_keeps_its_value(operator: Any, value: str, between: str) -> None:
    found = parse_sort_condition(TEXT, f"{operator}{between}{value}")
    bare = value[1:-1] if len(value) > 2 and value[0] == value[-1] == '"' else value
    assert found == SortCondition(operator, ({"S": bare},))


@given(
    low=quoted,
    high=quoted,
    word=st.sampled_from(["between", "BETWEEN", "Between"]),
    link=st.sampled_from(["", "and ", "AND "]),
)
def test_between_keeps_both_values(low: str, high: str, word: str, link: str) -> None:
    low, high = sorted((low, high), key=str.encode)
    found = parse_sort_condition(TEXT, f'{word} "{low}" {link}"{high}"')
    assert found == SortCondition("between", ({"S": low}, {"S": high}))


@given(low=st.decimals(-(10**9), 10**9, places=3), high=st.decimals(-(10**9), 10**9, places=3))
def test_between_numbers(low: Decimal, high: Decimal) -> None:
    low, high = sorted((low, high))
    found = parse_sort_condition(NUMBER, f"between {low} {high}")
    assert [Decimal(value["N"]) for value in found.values] == [low, high]


# ── dates ────────────────────────────────────────────────────────────────────────────────────────────────

days = st.dates(date(1980, 1, 1), date(2100, 1, 1))
lengths = st.integers(0, 800)
forms = st.sampled_from(DATE_FORMATS)


@given(first=days, length=lengths, form=forms)
def test_every_date_of_a_range_once_and_both_ends(first: date, length: int, form: str) -> None:
    last = first + timedelta(days=length)
    values = date_values(first, last, form)
    assert values[0] == first.strftime(form)
    assert values[-1] == last.strftime(form)
    assert len(set(values)) == len(values)
    assert set(values) == {(first + timedelta(days=each)).strftime(form) for each in range(length + 1)}
    assert values == sorted(values)


@given(day=days, form=forms)
def test_what_was_written_is_recognised(day: date, form: str) -> None:
    text = day.strftime(form)
    assert recognised_format(text) == form
    assert parse_date(text).strftime(form) == parse_date(text, end=True).strftime(form) == text
    assert parse_date(text) <= day <= parse_date(text, end=True)


tails = st.sampled_from(["", "T00:00:00Z", "T23:59:59.999+01:00", " 12:00", "#order-1"]) | st.text(
    st.characters(codec="utf-8", max_codepoint=0xFFFF), max_size=4
).map("#".__add__)
day_forms = st.sampled_from([form for form in DATE_FORMATS if "%d" in form])


@given(first=days, length=st.integers(0, 60), day=days, near=st.integers(-70, 70), form=day_forms, tail=tails)
def test_a_range_of_text_holds_its_days_and_no_others(
    first: date, length: int, day: date, near: int, form: str, tail: str
) -> None:
    last = first + timedelta(days=length)
    condition = date_range_condition(TEXT, day.strftime(form), first, last, ZoneInfo("UTC"))
    low, high = (value["S"].encode() for value in condition.values)
    for each in (day, first + timedelta(days=near), first, last, last + timedelta(days=1)):
        inside = low <= (each.strftime(form) + tail).encode() <= high
        assert inside == (first <= each <= last)


zones = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/Sao_Paulo", "America/Havana", "Asia/Kolkata", "Atlantic/Azores", "Asia/Beirut"]
).map(ZoneInfo)


@given(
    first=days,
    length=st.integers(0, 400),
    zone=zones,
    unit=st.sampled_from([1, 1_000, 1_000_000]),
    at_s=st.integers(-100_000, 100_000),
    fraction=st.integers(0, 999_999),
)
def test_a_range_of_epoch_numbers_holds_the_instants_of_its_days(
    first: date, length: int, zone: ZoneInfo, unit: int, at_s: int, fraction: int
) -> None:
    """By the calendar of the zone, with days of 23 and 25 hours and midnights that do not exist or come twice."""
    last = first + timedelta(days=length)
    for edge in (first, last + timedelta(days=1)):
        around = int(datetime(edge.year, edge.month, edge.day, tzinfo=zone).timestamp())
        for second in (around - 1, around, around + at_s):
            number = second * unit + fraction * unit // 1_000_000
            condition = date_range_condition(NUMBER, str(number), first, last, zone)
            low, high = (Decimal(value["N"]) for value in condition.values)
            assert (low <= number <= high) == (first <= datetime.fromtimestamp(second, zone).date() <= last)


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)
placeholders = st.text("abcrestike_0123456789ps", min_size=1, max_size=10)
text_values = st.text(min_size=1, max_size=5).map(lambda text: {"S": text})
sort_conditions = st.one_of(
    st.builds(SortCondition, st.sampled_from(["=", "<", "<=", ">", ">=", "begins_with"]), st.tuples(text_values)),
    st.builds(SortCondition, st.just("between"), st.tuples(text_values, text_values)),
)


@st.composite
def tables_and_selections(draw: st.DrawFn) -> tuple[TableInfo, Selection]:
    partition, sort, index_partition, index_sort = draw(st.lists(names, min_size=4, max_size=4, unique=True))
    index = IndexInfo(
        "i", "global", KeySchema(KeyAttribute(index_partition, "S"), KeyAttribute(index_sort, "S")), "ALL"
    )
    table = TableInfo(
        name="t",
        arn="arn:aws:dynamodb:eu-west-1:1:table/t",
        key=KeySchema(KeyAttribute(partition, "S"), KeyAttribute(sort, "S")),
        indexes=(index,),
    )
    where = draw(st.none() | st.just("i"))
    what = draw(
        st.one_of(
            st.builds(KeyQuery, text_values, st.just(where), st.none() | sort_conditions),
            st.builds(Scan, st.just(where), st.integers(1, 4)),
            st.builds(DateQuery, st.just("i"), st.just(date(2021, 1, 1)), st.just(date(2021, 1, 3)), forms),
        )
    )
    aliases = draw(st.lists(placeholders, max_size=3, unique=True))
    condition = None
    if aliases:
        condition = FilterExpression(
            " AND ".join(f"#{alias} = :{alias}" for alias in aliases),
            {f"#{alias}": draw(names) for alias in aliases},
            {f":{alias}": draw(text_values) for alias in aliases},
        )
    return table, Selection(what, condition)


@given(table_and_selection=tables_and_selections())
def test_a_request_defines_what_it_uses_and_uses_what_it_defines(
    table_and_selection: tuple[TableInfo, Selection],
) -> None:
    """DynamoDB refuses a name or value that no expression uses, and one that is not defined."""
    table, selection = table_and_selection
    found = list(strands(selection, table))
    assert len({strand.id for strand in found}) == len(found)
    for strand in found:
        request = projected(strand, {"partition": table.key.names[0], "sort": table.key.names[1], "value": "restrike"})
        expressions = " ".join(text for name, text in request.items() if name.endswith("Expression"))
        assert set(re.findall(r"#\w+", expressions)) == set(request["ExpressionAttributeNames"])
        assert set(re.findall(r":\w+", expressions)) == set(request.get("ExpressionAttributeValues", {}))
        if selection.filter is not None:
            assert selection.filter.names.items() <= request["ExpressionAttributeNames"].items()
            assert selection.filter.values.items() <= request["ExpressionAttributeValues"].items()
