"""`--where`: JMESPath over records that anybody may have written."""

from __future__ import annotations

import math
from typing import Any

import pytest

from restrike.errors import SourceLacks, UsageError
from restrike.replaying.where import MAX_CHARS, Where, plain_value


def record(**image: Any) -> dict[str, Any]:
    return {"eventName": "INSERT", "dynamodb": {"Keys": {"pk": {"S": "a"}}, "NewImage": image}}


@pytest.mark.parametrize(
    ("expression", "image", "holds"),
    [
        ("dynamodb.NewImage.n > `100`", {"n": {"N": "101"}}, True),
        ("dynamodb.NewImage.n > `100`", {"n": {"N": "99"}}, False),
        ("dynamodb.NewImage.n", {"n": {"N": "0"}}, True),
        ("dynamodb.NewImage.n", {"n": {"BOOL": False}}, False),
        ("dynamodb.NewImage.n", {"n": {"S": ""}}, False),
        ("dynamodb.NewImage.n", {"n": {"NULL": True}}, False),
        ("dynamodb.NewImage.n[?@ > `1`]", {"n": {"NS": ["1", "2"]}}, True),
        ("dynamodb.NewImage.n[?@ > `2`]", {"n": {"NS": ["1", "2"]}}, False),
        ("dynamodb.NewImage.m.a == 'x'", {"m": {"M": {"a": {"S": "x"}}}}, True),
    ],
)
def test_truth_is_jmespaths(expression: str, image: dict[str, Any], holds: bool) -> None:
    assert Where(expression).holds(record(**image)) is holds


def test_a_number_against_a_text_holds_for_nothing_and_is_counted() -> None:
    where = Where("dynamodb.NewImage.n > '100'")
    assert not where.holds(record(n={"N": "101"}))
    assert where.mixed == 1
    assert Where("dynamodb.NewImage.n > '100' || eventName == 'INSERT'").holds(record(n={"N": "101"}))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("5", 5),
        ("5.50", 5.5),
        ("9.9e125", 99 * 10**124),
        ("1e99999999", math.inf),
        ("-1e99999999", -math.inf),
        ("1e-99999999", 0.0),
        ("1" * 1_000_000, math.inf),
    ],
)
def test_numbers_of_any_size_are_numbers(text: str, number: float) -> None:
    assert plain_value({"N": text}) == number


@pytest.mark.parametrize("value", [{"N": "many"}, {"N": 5}, {}, {"M": 5}, 5, {"NS": 5}, {"S": "a", "N": "1"}])
def test_what_is_no_dynamodb_json_is_told(value: Any) -> None:
    with pytest.raises(SourceLacks, match="no DynamoDB JSON"):
        Where("dynamodb.NewImage.n").holds(record(n=value))


def test_images_that_are_nested_too_deep_are_told() -> None:
    value: dict[str, Any] = {"S": "x"}
    for _ in range(100_000):
        value = {"M": {"a": value}}
    with pytest.raises(SourceLacks, match="nested too deep"):
        Where("dynamodb.NewImage.n").holds(record(n=value))


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("dynamodb.", "no JMESPath"),
        ("(" * 3_000 + "a" + ")" * 1_000, "JMESPath|too deep"),
        ("!" * 4_000 + "a", "too deep"),
        ("a" * (MAX_CHARS + 1), "at most 4,096"),
        (" | ".join(["[@, @]"] * 30), "at most 1,000"),
        (" | ".join(["[@, @][]"] * 30), "at most 1,000"),
        (" | ".join(["{a: @, b: @}"] * 30), "at most 1,000"),
        (" | ".join(["join('', [@, @])"] * 30), "at most 1,000"),
    ],
)
def test_an_expression_that_is_none_or_multiplies_a_record_is_refused(expression: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Where(expression)


@pytest.mark.parametrize("expression", ["nope(eventName)", "sort(dynamodb)", "dynamodb.NewImage.l[::0]"])
def test_an_expression_that_fails_on_a_record_says_so(expression: str) -> None:
    with pytest.raises(UsageError, match="--where"):
        Where(expression).holds(record(l={"L": [{"S": "a"}]}))


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("NewImage.total > `1`", ["`NewImage` is not at the top of a record: `dynamodb.NewImage`"]),
        ("total && eventName", ["`total` is not at the top of a record: `dynamodb.NewImage.total`"]),
        ("dynamodb.NewImage.total[?price > `1`]", []),
        ("contains(NewImage.tags, 'x')", ["`NewImage` is not at the top of a record: `dynamodb.NewImage`"]),
    ],
)
def test_names_that_are_never_at_the_top_are_told(expression: str, told: list[str]) -> None:
    assert Where(expression).misplaced() == told
