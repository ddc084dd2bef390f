"""What a table takes, out of DescribeTable's answers of each kind."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from restrike.model.capacity import Capacity, capacity_of, seconds_on_one_partition
from restrike.model.table import table_info

DESCRIPTION = botocore.session.Session().get_service_model("dynamodb").shape_for("TableDescription")
ON_DEMAND: dict[str, Any] = {"BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}}


def described(*indexes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A table's description, of members that the service's model has."""
    whole = {
        "TableName": "orders",
        "TableArn": "arn:aws:dynamodb:eu-west-1:123456789012:table/orders",
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "day")],
        "GlobalSecondaryIndexes": list(indexes),
        **more,
    }
    assert not ParamValidator().validate(whole, DESCRIPTION).has_errors()
    return whole


def index(name: str = "by_day", projection: str = "ALL", **more: Any) -> dict[str, Any]:
    return {
        "IndexName": name,
        "KeySchema": [{"AttributeName": "day", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": projection},
        **more,
    }


def provisioned(wcu: int) -> dict[str, Any]:
    return {"ProvisionedThroughput": {"WriteCapacityUnits": wcu, "ReadCapacityUnits": 5}}


def set_to(wcu: int) -> dict[str, Any]:
    return {"OnDemandThroughput": {"MaxWriteRequestUnits": wcu, "MaxReadRequestUnits": -1}}


def warm(wcu: int) -> dict[str, Any]:
    return {"WarmThroughput": {"WriteUnitsPerSecond": wcu, "ReadUnitsPerSecond": 12_000, "Status": "ACTIVE"}}


def capacity(*indexes: dict[str, Any], **more: Any) -> Capacity:
    return capacity_of(table_info(described(*indexes, **more)), "restrike")


LOCAL: dict[str, Any] = {"LocalSecondaryIndexes": [index("local")]}
CASES: list[tuple[Capacity, float, str]] = [
    # on demand
    (capacity(**ON_DEMAND), 500, "500 WCU/s (on demand)"),
    (capacity(**ON_DEMAND, **warm(12_000)), 500, "500 WCU/s (on demand; warm throughput 12,000)"),
    (
        capacity(index(**warm(4_000)), **ON_DEMAND, **warm(12_000)),
        500,
        "500 WCU/s (on demand; warm throughput 4,000 of index by_day)",
    ),
    (capacity(**ON_DEMAND, **set_to(-1)), 500, "500 WCU/s (on demand)"),
    (capacity(**ON_DEMAND, **set_to(10_000)), 500, "500 WCU/s (on demand)"),
    (capacity(**ON_DEMAND, **set_to(1_000)), 250, "250 WCU/s (25 % of the maximum of 1,000)"),
    (capacity(**ON_DEMAND, **set_to(1)), 1, "1 WCU/s (100 % of the maximum of 1)"),
    (
        capacity(index(**set_to(200)), **ON_DEMAND, **set_to(1_000)),
        100,
        "100 WCU/s, at most 50 of them in index by_day (25 % of its maximum of 200)",
    ),
    (capacity(index("keys", "KEYS_ONLY", **set_to(8)), **ON_DEMAND), 500, "500 WCU/s (on demand)"),
    # provisioned
    (capacity(**provisioned(400)), 100, "100 WCU/s (25 % of 400)"),
    (capacity(**provisioned(4_000)), 1_000, "1,000 WCU/s (25 % of 4,000)"),
    (capacity(**provisioned(1)), 1, "1 WCU/s (100 % of 1)"),
    # A sparse index takes nothing, and then all units are the table's.
    (capacity(index(**provisioned(400)), **provisioned(400)), 100, "100 WCU/s (25 % of 400)"),
    (
        capacity(index(**provisioned(10)), **provisioned(400)),
        5,
        "5 WCU/s, at most 2.5 of them in index by_day (25 % of its 10)",
    ),
    (capacity(index("keys", "KEYS_ONLY", **provisioned(1)), **provisioned(400)), 100, "100 WCU/s (25 % of 400)"),
    (capacity(**LOCAL, **provisioned(400)), 100, "100 WCU/s (25 % of 400)"),
    (
        capacity(index(**provisioned(50)), **LOCAL, **provisioned(400)),
        25,
        "25 WCU/s, at most 12.5 of them in index by_day (25 % of its 50)",
    ),
]


@pytest.mark.parametrize(("of", "wcu", "told"), CASES, ids=[told for _, _, told in CASES])
def test_what_a_touch_takes_unless_told(of: Capacity, wcu: float, told: str) -> None:
    assert of.default_wcu == pytest.approx(wcu)
    assert of.default_told == told
    for place in of.places:
        assert place.most is None or of.default_wcu * place.share <= place.most


@pytest.mark.parametrize(
    ("of", "wcu", "why"),
    [
        (capacity(**ON_DEMAND), 4_000, "what a new table takes"),
        (capacity(**ON_DEMAND, **warm(12_000)), 12_000, "the warm throughput"),
        (capacity(index(**warm(4_000)), **ON_DEMAND, **warm(12_000)), 8_000, "the warm throughput of index by_day"),
        (capacity(**ON_DEMAND, **warm(12_000), **set_to(9_000)), 9_000, "the maximum of the table"),
        (capacity(index(**set_to(100)), **ON_DEMAND), 200, "the maximum of index by_day"),
        (capacity(**provisioned(300), **warm(4_000)), 300, "what is provisioned"),
    ],
)
def test_what_it_takes_at_once(of: Capacity, wcu: float, why: str) -> None:
    assert of.at_once == (wcu, why)


def test_the_places_that_are_crowded() -> None:
    """Each by its own part of the units."""
    both = capacity(index(**provisioned(10)), **provisioned(40))
    assert [str(place) for place in both.overfull(20)] == []
    assert [str(place) for place in both.overfull(21)] == ["index by_day"]
    assert [str(place) for place in both.overfull(41)] == ["the table", "index by_day"]
    assert capacity(**ON_DEMAND).overfull(1e9) == ()
    assert [str(place) for place in capacity(**ON_DEMAND, **set_to(100)).overfull(101)] == ["the table"]


def test_one_partition_takes_a_thousand_units_a_second() -> None:
    assert seconds_on_one_partition(10_000, 2.0) == 20


def test_what_a_vector_index_holds() -> None:
    vectors = [
        {
            "IndexName": name,
            "Projection": {"ProjectionType": projection} | ({"NonKeyAttributes": included} if included else {}),
            "VectorAttribute": {"AttributeName": "embedding"},
            "SearchSchema": [{"AttributeName": "tenant", "SearchSchemaElementType": "HASH"}],
        }
        for name, projection, *included in (("all", "ALL"), ("keys", "KEYS_ONLY"), ("some", "INCLUDE", "restrike"))
    ]
    table = table_info(described(VectorIndexes=vectors, **ON_DEMAND))
    found = {
        attribute: [each.name for each in table.vector_indexes if each.projects(attribute)]
        for attribute in ("restrike", "other", "embedding", "tenant")
    }
    every = ["all", "keys", "some"]
    assert found == {"restrike": ["all", "some"], "other": ["all"], "embedding": every, "tenant": every}


def test_what_else_is_told() -> None:
    description = described(
        **ON_DEMAND,
        TableClassSummary={"TableClass": "STANDARD_INFREQUENT_ACCESS"},
        OnDemandThroughput={"MaxReadRequestUnits": 70, "MaxWriteRequestUnits": -1},
    )
    table = table_info(description)
    assert table.table_class == "STANDARD_INFREQUENT_ACCESS"
    assert (table.max_read_request_units, table.max_write_request_units) == (70, None)
    bare = table_info(described(**ON_DEMAND))
    assert (bare.table_class, bare.max_read_request_units, bare.warm_write_units_per_s) == ("STANDARD", None, None)
