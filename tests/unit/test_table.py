from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from restrike.errors import UsageError
from restrike.model.table import (
    KeyAttribute,
    KeySchema,
    canonical_key,
    key_value,
    normal_number,
    sortable,
    table_info,
    typed_key,
)

TEXT, NUMBER, BINARY = KeyAttribute("s", "S"), KeyAttribute("n", "N"), KeyAttribute("b", "B")
DIGITS_38 = "9" * 38


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("-0.000", "0"),
        ("0E+99", "0"),
        ("3.0", "3"),
        ("+3", "3"),
        (" 3 ", "3"),
        ("007.50", "7.5"),
        ("1E5", "100000"),
        ("-1.5e-3", "-0.0015"),
        (".5", "0.5"),
        (DIGITS_38, DIGITS_38),
        (DIGITS_38 + "000", DIGITS_38 + "000"),
        ("0." + "0" * 20 + DIGITS_38, "0." + "0" * 20 + DIGITS_38),
        ("1E125", "1" + "0" * 125),
        ("1E-130", "0." + "0" * 129 + "1"),
    ],
)
def test_a_number_in_plain_digits(text: str, plain: str) -> None:
    assert normal_number(text) == plain


@pytest.mark.parametrize(
    "text", ["", "one", "1,5", "0x10", "NaN", "Infinity", "-inf", "1 2", "9" * 39, "1E126", "1E-131", "1E999999999"]
)
def test_what_is_no_number_of_dynamodb(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        normal_number(text)
    assert repr(text) in caught.value.message


@pytest.mark.parametrize(
    ("attribute", "text", "value"),
    [
        (TEXT, " 1.0 ", {"S": " 1.0 "}),
        (NUMBER, "1.0", {"N": "1"}),
        (BINARY, "AAECAw==", {"B": "AAECAw=="}),
    ],
)
def test_a_typed_value(attribute: KeyAttribute, text: str, value: dict[str, str]) -> None:
    assert key_value(attribute, text) == value


@pytest.mark.parametrize(
    ("attribute", "text", "why"),
    [
        (TEXT, "", "cannot be empty"),
        (NUMBER, "", "'n' is a number"),
        (NUMBER, "x", "'n' is a number"),
        (BINARY, "", "cannot be empty"),
        (BINARY, "===", "not base64"),
        (BINARY, "AAE", "not base64"),
        (BINARY, "AA EC", "not base64"),
        (BINARY, "ä", "not base64"),
    ],
)
def test_a_value_of_another_type(attribute: KeyAttribute, text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        key_value(attribute, text)


SCHEMA = KeySchema(TEXT, NUMBER)


@pytest.mark.parametrize(
    "given",
    [
        {"s": {"S": "a"}, "n": {"N": "1.50"}},
        {"s": "a", "n": 1.5},
        {"s": "a", "n": Decimal("1.5")},
        {"s": "a", "n": "1.5"},
        {"n": {"N": "15e-1"}, "s": "a", "colour": {"S": "red"}, "more": None},
    ],
)
def test_a_key_out_of_an_object(given: dict[str, Any]) -> None:
    key = typed_key(SCHEMA, given)
    assert key == {"s": {"S": "a"}, "n": {"N": "1.5"}}
    assert canonical_key(SCHEMA, key) == b'{"s":{"S":"a"},"n":{"N":"1.5"}}'


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"s": "a"}, "'n' is missing"),
        ({"s": None, "n": 1}, "'s' is missing"),
        ({"s": 1, "n": 1}, "'s' is not of type S"),
        ({"s": "a", "n": True}, "'n' is not of type N"),
        ({"s": "a", "n": [1]}, "'n' is not of type N"),
        ({"s": {"N": "1"}, "n": 1}, "'s' is not of type S"),
        ({"s": {"S": "a", "N": "1"}, "n": 1}, "'s' is not of type S"),
        ({"s": {"S": None}, "n": 1}, "'s' is not of type S"),
        ({"s": "a", "n": float("nan")}, "'n' is a number"),
    ],
)
def test_an_object_that_is_no_key(given: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        typed_key(SCHEMA, given)


def test_the_canonical_key_has_the_order_of_the_schema_and_nothing_else() -> None:
    item = {"x": {"S": "y"}, "n": {"N": "1E2"}, "s": {"S": 'ä"\\\u2028'}}
    assert json.loads(canonical_key(SCHEMA, item)) == {"s": {"S": 'ä"\\\u2028'}, "n": {"N": "100"}}
    assert canonical_key(SCHEMA, item).startswith(b'{"s":')


def test_numbers_sort_by_size() -> None:
    ordered = ["-1E125", "-12", "-1.5", "-1", "-1E-130", "0", "1E-130", "0.5", "1", "1.05", "1.5", "12", "1E125"]
    shuffled = ordered[::2] + ordered[1::2]
    assert sorted(shuffled, key=lambda text: sortable(NUMBER, {"N": text})) == ordered


# ── DescribeTable ────────────────────────────────────────────────────────────────────────────────────────


def description(**more: Any) -> dict[str, Any]:
    return {
        "TableName": "orders",
        "TableArn": "arn:aws:dynamodb:eu-west-1:123456789012:table/orders",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "N"},
            {"AttributeName": "day", "AttributeType": "S"},
        ],
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        **more,
    }


def index_description(name: str, projection: str, *included: str) -> dict[str, Any]:
    return {
        "IndexName": name,
        "KeySchema": [{"AttributeName": "day", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": projection, "NonKeyAttributes": list(included)},
    }


def test_a_table_without_a_stream() -> None:
    table = table_info(description())
    assert (table.account, table.region) == ("123456789012", "eu-west-1")
    assert (table.stream_arn, table.view_type) == (None, None)
    assert table.key.names == ("pk", "sk")


def test_a_stream_that_was_switched_off_is_none() -> None:
    table = table_info(description(LatestStreamArn="arn:old", StreamSpecification={"StreamEnabled": False}))
    assert (table.stream_arn, table.view_type) == (None, None)


def test_a_stream() -> None:
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    table = table_info(description(LatestStreamArn="arn:new", StreamSpecification=stream))
    assert (table.stream_arn, table.view_type) == ("arn:new", "NEW_IMAGE")


def replicas(*regions: str) -> list[dict[str, str]]:
    return [{"RegionName": region} for region in regions]


@pytest.mark.parametrize(
    ("more", "regions", "consistency"),
    [
        ({}, (), None),
        ({"Replicas": []}, (), None),
        ({"Replicas": replicas("eu-west-1")}, (), None),  # itself alone
        ({"Replicas": replicas("eu-west-2")}, ("eu-west-2",), "EVENTUAL"),
        ({"Replicas": replicas("eu-west-1", "eu-west-2", "us-east-1")}, ("eu-west-2", "us-east-1"), "EVENTUAL"),
        ({"Replicas": replicas("eu-west-2"), "MultiRegionConsistency": "EVENTUAL"}, ("eu-west-2",), "EVENTUAL"),
        ({"Replicas": replicas("eu-west-2"), "MultiRegionConsistency": "STRONG"}, ("eu-west-2",), "STRONG"),
        ({"GlobalTableVersion": "2017.11.29"}, (), "EVENTUAL"),
        ({"GlobalTableVersion": "2019.11.21"}, (), None),
    ],
)
def test_a_global_table(more: dict[str, Any], regions: tuple[str, ...], consistency: str | None) -> None:
    table = table_info(description(**more))
    assert (table.replica_regions, table.consistency) == (regions, consistency)
    assert table.replicates_eventually == (consistency == "EVENTUAL")


@pytest.mark.parametrize(
    ("more", "on_demand", "write_capacity"),
    [
        ({}, True, 0),
        ({"ProvisionedThroughput": {"WriteCapacityUnits": 0, "ReadCapacityUnits": 0}}, True, 0),
        (
            {"BillingModeSummary": {}, "ProvisionedThroughput": {"WriteCapacityUnits": 7, "ReadCapacityUnits": 3}},
            False,
            7,
        ),
    ],
)
def test_capacity(more: dict[str, Any], on_demand: bool, write_capacity: int) -> None:
    table = table_info(description(**more))
    assert (table.on_demand, table.write_capacity) == (on_demand, write_capacity)


def test_what_an_index_projects() -> None:
    table = table_info(
        description(
            GlobalSecondaryIndexes=[
                index_description("all", "ALL"),
                index_description("keys", "KEYS_ONLY"),
                index_description("some", "INCLUDE", "restrike"),
            ]
        )
    )
    assert [index.name for index in table.indexes_projecting("restrike")] == ["all", "some"]
    assert [index.name for index in table.indexes_projecting("day")] == ["all", "keys", "some"]
    assert table.key_attributes_everywhere() == {"pk", "sk", "day"}
    assert table.index("keys").key.sort is None
    with pytest.raises(UsageError, match="no index 'nothing'") as caught:
        table.index("nothing")
    assert caught.value.hint == "Its indexes: all, keys, some."
