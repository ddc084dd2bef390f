from __future__ import annotations

from datetime import UTC, date
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from restrike.errors import UsageError
from restrike.model.selection import (
    MAX_DATES,
    DateQuery,
    FilterExpression,
    KeyList,
    KeyQuery,
    Scan,
    Selection,
    SortCondition,
    date_range_condition,
    date_values,
    identity_parts,
    parse_date,
    parse_sort_condition,
    projected,
    recognised_format,
    strands,
)
from restrike.model.table import IndexInfo, KeyAttribute, KeySchema, TableInfo

TEXT, NUMBER, BINARY = KeyAttribute("s", "S"), KeyAttribute("n", "N"), KeyAttribute("b", "B")
TABLE = TableInfo(
    name="orders",
    arn="arn:aws:dynamodb:eu-west-1:1:table/orders",
    key=KeySchema(TEXT, NUMBER),
    indexes=(IndexInfo("by_day", "global", KeySchema(KeyAttribute("day", "S")), "KEYS_ONLY"),),
)


@pytest.mark.parametrize(
    ("attribute", "text", "operator", "values"),
    [
        (TEXT, "= a", "=", ["a"]),
        (TEXT, "=a", "=", ["a"]),
        (TEXT, "  =   a b  ", "=", ["a b"]),
        (TEXT, '= " a "', "=", [" a "]),
        (TEXT, '= "', "=", ['"']),
        (TEXT, '= ""', "=", ['""']),
        (TEXT, "= = a", "=", ["= a"]),
        (TEXT, "<= a", "<=", ["a"]),
        (TEXT, "< =a", "<", ["=a"]),
        (TEXT, ">=a", ">=", ["a"]),
        (TEXT, "> a", ">", ["a"]),
        (TEXT, "begins_with a b", "begins_with", ["a b"]),
        (TEXT, "BEGINS_WITH a", "begins_with", ["a"]),
        (TEXT, "between a b", "between", ["a", "b"]),
        (TEXT, "between a AND b", "between", ["a", "b"]),
        (TEXT, 'between "a b" "c d"', "between", ["a b", "c d"]),
        (TEXT, "between and and and", "between", ["and", "and"]),
        (NUMBER, "= 1.0", "=", ["1"]),
        (NUMBER, "> -5", ">", ["-5"]),
        (NUMBER, "between -1 1e2", "between", ["-1", "100"]),
        (BINARY, "begins_with AAE=", "begins_with", ["AAE="]),
    ],
)
def test_a_sort_condition(attribute: KeyAttribute, text: str, operator: Any, values: list[str]) -> None:
    found = parse_sort_condition(attribute, text)
    assert found == SortCondition(operator, tuple({attribute.type: value} for value in values))


@pytest.mark.parametrize(
    ("attribute", "text", "why"),
    [
        (TEXT, "", "is no condition"),
        (TEXT, "a", "is no condition"),
        (TEXT, "<> a", "is no condition"),
        (TEXT, "== a", "is no condition"),
        (TEXT, "=< a", "is no condition"),
        (TEXT, "!= a", "is no condition"),
        (TEXT, "betweena b", "is no condition"),
        (TEXT, "begins_witha", "is no condition"),
        (TEXT, "=", "lacks its value"),
        (TEXT, "begins_with", "lacks its value"),
        (TEXT, "between", "takes two values"),
        (TEXT, "between a", "takes two values"),
        (TEXT, "between a b c", "takes two values"),
        (TEXT, "between a or b", "takes two values"),
        (NUMBER, "= x", "'n' is a number"),
        (NUMBER, "begins_with 1", "begins_with does not work"),
        (BINARY, "= x", "not base64"),
    ],
)
def test_what_is_no_sort_condition(attribute: KeyAttribute, text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_sort_condition(attribute, text)


# ── dates ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("sample", "form"),
    [
        ("2021-01-22", "%Y-%m-%d"),
        ("20210122", "%Y%m%d"),
        ("2021/01/22", "%Y/%m/%d"),
        ("2021-01", "%Y-%m"),
        ("202101", "%Y%m"),
        ("202111", "%Y%m"),
        ("2021-1-22", None),
        ("2021-13-01", None),
        ("2021-02-30", None),
        ("22.01.2021", None),
        ("2021", None),
        ("2021-01-22T00:00", None),
        ("", None),
    ],
)
def test_a_format_that_is_recognised(sample: str, form: str | None) -> None:
    assert recognised_format(sample) == form


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2021-01-22", date(2021, 1, 22), date(2021, 1, 22)),
        (" 20210122 ", date(2021, 1, 22), date(2021, 1, 22)),
        ("2021-02", date(2021, 2, 1), date(2021, 2, 28)),
        ("202002", date(2020, 2, 1), date(2020, 2, 29)),
    ],
)
def test_a_date_that_was_typed(text: str, first: date, last: date) -> None:
    assert (parse_date(text), parse_date(text, end=True)) == (first, last)


@pytest.mark.parametrize("text", ["", "today", "2021", "22.01.2021", "2021-02-29"])
def test_what_is_no_date(text: str) -> None:
    with pytest.raises(UsageError, match="is not a date"):
        parse_date(text)


def test_dates_of_a_range() -> None:
    assert date_values(date(2020, 2, 28), date(2020, 3, 1), "%Y%m%d") == ["20200228", "20200229", "20200301"]
    assert date_values(date(2020, 12, 31), date(2021, 1, 1), "%Y-%m") == ["2020-12", "2021-01"]
    with pytest.raises(UsageError, match="is before"):
        date_values(date(2021, 1, 2), date(2021, 1, 1), "%Y")


def test_the_longest_range() -> None:
    with pytest.raises(UsageError, match=f"more than {MAX_DATES:,} dates"):
        date_values(date(1900, 1, 1), date(2021, 1, 1), "%Y-%m-%d")


@pytest.mark.parametrize(
    ("sample", "low", "high"),
    [
        ("2021-01-05T10:00:00Z", "2021-01-22", "2021-01-23"),
        ("2021-01-05", "2021-01-22", "2021-01-23"),
        ("2021/01/05 10:00", "2021/01/22", "2021/01/23"),
        ("20210105T100000", "20210122", "20210123"),
        ("2021-01", "2021-01", "2021-01"),
    ],
)
def test_a_range_of_text(sample: str, low: str, high: str) -> None:
    found = date_range_condition(TEXT, sample, date(2021, 1, 22), date(2021, 1, 23), UTC)
    assert found == SortCondition("between", ({"S": low}, {"S": high + "\U0010ffff"}))


@pytest.mark.parametrize(
    ("sample", "unit"),
    [("1611273600", 1), ("1611273600.5", 1), ("0", 1), ("1611273600000", 1_000), ("1611273600000000", 1_000_000)],
)
def test_a_range_of_epoch_numbers(sample: str, unit: int) -> None:
    found = date_range_condition(NUMBER, sample, date(2021, 1, 22), date(2021, 1, 22), ZoneInfo("Europe/Berlin"))
    low, high = (Decimal(value["N"]) for value in found.values)
    assert low == 1611270000 * unit
    assert high == (1611270000 + 86_400) * unit - Decimal("0.000001")


@pytest.mark.parametrize(
    ("attribute", "sample", "why"),
    [(BINARY, "AAE=", "binary"), (TEXT, "order-1", "does not start with a date"), (TEXT, "2021", "does not start")],
)
def test_a_sort_key_that_holds_no_dates(attribute: KeyAttribute, sample: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        date_range_condition(attribute, sample, date(2021, 1, 22), date(2021, 1, 22), UTC)


# ── identity, description, requests ──────────────────────────────────────────────────────────────────────

KEY = KeyQuery({"S": "p"})
DAYS = DateQuery("by_day", date(2021, 1, 22), date(2021, 1, 24), "%Y-%m-%d")
SELECTIONS = [
    Selection(KEY),
    Selection(KeyQuery({"S": "p"}, "by_day")),
    Selection(KeyQuery({"S": "p"}, None, SortCondition("=", ({"N": "1"},)))),
    Selection(KeyQuery({"S": "p"}, None, SortCondition("<", ({"N": "1"},)))),
    Selection(KEY, FilterExpression("a = b")),
    Selection(KEY, FilterExpression("a = b", {}, {":a": {"S": "x"}})),
    Selection(DAYS),
    Selection(DateQuery("by_day", date(2021, 1, 22), date(2021, 1, 25), "%Y-%m-%d")),
    Selection(Scan()),
    Selection(Scan("by_day")),
    Selection(KeyList("0a", 2, "f")),
    Selection(KeyList("0b", 2, "f")),
]


def test_each_selection_has_an_identity_of_its_own() -> None:
    marks = {tuple(identity_parts(each).items()) for each in SELECTIONS}
    assert len(marks) == len(SELECTIONS)


def test_how_it_is_read_and_where_keys_stand_is_no_part_of_it() -> None:
    assert identity_parts(Selection(Scan(None, 1))) == identity_parts(Selection(Scan(None, 8)))
    assert identity_parts(Selection(KeyList("0a", 2, "f"))) == identity_parts(Selection(KeyList("0a", 2, "g")))


def test_values_of_a_filter_are_told_apart_and_not_shown() -> None:
    ones, others = (
        identity_parts(Selection(KEY, FilterExpression("a = :a", {}, {":a": {"S": text}})))
        for text in ("secret", "hidden")
    )
    assert ones != others
    assert "secret" not in str(ones)


def test_the_identity_does_not_depend_on_the_order_of_names() -> None:
    ones = FilterExpression("x", {"#a": "a", "#b": "b"})
    others = FilterExpression("x", {"#b": "b", "#a": "a"})
    assert identity_parts(Selection(KEY, ones)) == identity_parts(Selection(KEY, others))


@pytest.mark.parametrize(
    ("selection", "text"),
    [
        (Selection(KEY), "partition key p"),
        (Selection(KeyQuery({"S": "p"}, "i", SortCondition("between", ({"N": "1"}, {"N": "2"})))), "between 1 2"),
        (Selection(DAYS), "2021-01-22 to 2021-01-24 of index by_day"),
        (Selection(DateQuery("i", date(2021, 1, 1), date(2021, 1, 1), "%Y%m")), "202101 of index i"),
        (Selection(Scan()), "the whole table"),
        (
            Selection(Scan("i"), FilterExpression("a = :a", {}, {":a": {"S": "secret"}})),
            "all items of index i where a = :a",
        ),
        (Selection(KeyList("0a", 1234, "f.csv")), "1,234 keys from f.csv"),
    ],
)
def test_a_selection_in_words(selection: Selection, text: str) -> None:
    assert text in selection.describe()
    assert "secret" not in selection.describe()


@pytest.mark.parametrize(
    ("selection", "ids"),
    [
        (Selection(KEY), ["key"]),
        (Selection(DAYS), ["2021-01-22", "2021-01-23", "2021-01-24"]),
        (Selection(Scan(segments=3)), ["segment-0", "segment-1", "segment-2"]),
        (Selection(KeyList("0a", 2, "f")), ["keys"]),
    ],
)
def test_strands(selection: Selection, ids: list[str]) -> None:
    assert [strand.id for strand in strands(selection, TABLE)] == ids


def test_a_single_segment_is_a_plain_scan() -> None:
    (strand,) = strands(Selection(Scan()), TABLE, consistent=True)
    assert strand.request == {"TableName": "orders", "ConsistentRead": True}
    (strand,) = strands(Selection(Scan("by_day")), TABLE, consistent=True)
    assert strand.request == {"TableName": "orders", "IndexName": "by_day"}  # an index is never consistent


def test_a_filter_keeps_its_names_beside_ours() -> None:
    condition = FilterExpression("#s = :s", {"#s": "status"}, {":s": {"S": "open"}})
    (strand,) = strands(Selection(KEY, condition), TABLE)
    request = projected(strand, {"partition": "s", "sort": "n"})
    names, values = request["ExpressionAttributeNames"], request["ExpressionAttributeValues"]
    assert names["#s"] == "status"
    assert values[":s"] == {"S": "open"}
    assert {"s", "n", "status"} == set(names.values())
    assert condition.names == {"#s": "status"}  # not written into


def test_a_filter_without_names_or_values_sends_no_empty_ones() -> None:
    (strand,) = strands(Selection(Scan(), FilterExpression("attribute_exists(a)")), TABLE)
    assert strand.request == {"TableName": "orders", "FilterExpression": "attribute_exists(a)"}
