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
        (" | ".join(["[@, @]"] * 30), "at most 100 are"),
        (" | ".join(["[@, @][]"] * 30), "at most 100 are"),
        (" | ".join(["{a: @, b: @}"] * 30), "at most 100 are"),
        (" | ".join(["join('', [@, @])"] * 30), "at most 100 are"),
    ],
)
def test_an_expression_that_is_none_or_multiplies_a_record_is_refused(expression: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Where(expression)


LIST = {"L": [{"S": "x"}] * 40_000}


@pytest.mark.parametrize(
    ("expression", "image", "why"),
    [
        ("join(dynamodb.NewImage.s, dynamodb.NewImage.l)", {"s": {"S": "y" * 100_000}, "l": LIST}, "10,000,000 char"),
        ("join('', [to_string(@), to_string(@)])", {"s": {"S": "y" * 9_000_000}}, "10,000,000 char"),
        ("to_string([" * 60 + "dynamodb.NewImage.s" + "])" * 60, {"s": {"S": '"' * 9}}, "10,000,000 char"),
        (f"to_string([{','.join('@' * 90)}])", {"l": LIST}, "10,000,000 char"),
        ("dynamodb.NewImage.l" + " | reverse(@)" * 200, {"l": LIST}, "5,000,000 steps"),
    ],
)
def test_an_expression_that_takes_for_ever_on_a_record_is_refused_there(
    expression: str, image: dict[str, Any], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        Where(expression).holds(record(**image))


def test_each_record_has_its_own_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restrike.replaying.where.MAX_STEPS", 100)
    where = Where("dynamodb.NewImage.l[?@ == 'x']")
    for _ in range(50):
        assert where.holds(record(l={"L": [{"S": "x"}] * 10}))
    with pytest.raises(UsageError, match="more than 100 steps"):
        where.holds(record(l={"L": [{"S": "x"}] * 100}))


def test_many_words_of_the_user_are_no_copies_of_the_record() -> None:
    wanted = ",".join(f"'id{number}'" for number in range(300))
    assert Where(f"contains([{wanted}], dynamodb.NewImage.id)").holds(record(id={"S": "id299"}))


@pytest.mark.parametrize(
    ("expression", "holds"),
    [("join('-', dynamodb.NewImage.l) == 'a-b'", True), ('to_string(dynamodb.NewImage.l) == \'["a","b"]\'', True)],
)
def test_texts_that_are_made_are_jmespaths(expression: str, holds: bool) -> None:
    assert Where(expression).holds(record(l={"L": [{"S": "a"}, {"S": "b"}]})) is holds


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
