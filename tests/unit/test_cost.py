from __future__ import annotations

from typing import Any

import pytest

from restrike.errors import UsageError
from restrike.model import cost
from restrike.model.prices import NAMES, Prices, TableClass, given_prices
from restrike.model.table import IndexInfo, KeyAttribute, KeySchema, TableInfo

KEY = KeySchema(KeyAttribute("pk", "S"))
ALL = IndexInfo("all", "global", KEY, "ALL")
LOCAL = IndexInfo("local", "local", KEY, "ALL")
KEYS = IndexInfo("keys", "global", KEY, "KEYS_ONLY")
MILLION = 1_000_000


def table(**more: Any) -> TableInfo:
    return TableInfo(name="t", arn="arn:aws:dynamodb:us-east-1:1:table/t", key=KEY, **more)


def usd(of: TableInfo, units: float, prices: Prices | None = None) -> float:
    return cost.usd_of_writes(of, "restrike", units, prices or Prices("us-east-1"))


@pytest.mark.parametrize(
    ("more", "writes"),
    [
        ({}, 1),
        ({"item_count": 10, "size_bytes": 0}, 1),
        ({"item_count": 10, "size_bytes": 10_240}, 1),
        ({"item_count": 10, "size_bytes": 10_241}, 2),
        ({"item_count": 1, "size_bytes": 400 * 1024}, 400),
        ({"indexes": (ALL, KEYS)}, 2),
        ({"indexes": (ALL, ALL, KEYS), "item_count": 10, "size_bytes": 30_000}, 9),
    ],
)
def test_writes_per_item(more: dict[str, Any], writes: int) -> None:
    assert cost.writes_per_item(table(**more), "restrike") == writes


def test_money() -> None:
    assert usd(table(), 10 * MILLION) == pytest.approx(6.25)
    assert cost.usd_of_reads(table(), MILLION, Prices("us-east-1")) == pytest.approx(0.125)


@pytest.mark.parametrize(
    ("region", "table_class", "write", "read"),
    [
        ("us-east-1", "STANDARD", 0.625, 0.125),
        ("us-east-2", "STANDARD", 0.625, 0.125),
        ("eu-west-1", "STANDARD", 0.705, 0.1415),
        ("us-east-2", "STANDARD_INFREQUENT_ACCESS", 0.78, 0.155),
        ("eu-central-1", "STANDARD", 0.625, 0.125),  # not listed
        ("eu-west-1", "STANDARD_INFREQUENT_ACCESS", 0.78, 0.155),  # not listed
    ],
)
def test_the_prices_of_region_and_class(region: str, table_class: TableClass, write: float, read: float) -> None:
    prices = Prices(region, table_class)
    assert usd(table(), MILLION, prices) == pytest.approx(write)
    assert cost.usd_of_reads(table(), MILLION, prices) == pytest.approx(read)


def test_every_region_of_a_global_table_is_paid_once() -> None:
    """Whether or not it names its own Region among its replicas, and each at its own price."""
    replicated = table(replica_regions=("us-east-2", "eu-west-1"))
    assert usd(replicated, MILLION) == pytest.approx(0.625 + 0.625 + 0.705)
    named = table(replica_regions=("us-east-1", "us-east-2", "eu-west-1"))
    assert usd(named, MILLION) == pytest.approx(0.625 + 0.625 + 0.705)


def test_writes_to_global_indexes_are_no_replicated_writes() -> None:
    """AWS: "Writes to global secondary indexes (GSIs) are billed using standard write units"."""
    replicated = table(replica_regions=("us-east-2",), indexes=(ALL, LOCAL, KEYS))
    prices = Prices("us-east-1", given={"write": 1.0, "replicated-write": 10.0})
    assert usd(replicated, 3 * MILLION, prices) == pytest.approx(2 * (2 * 10.0 + 1 * 1.0))
    assert usd(table(indexes=(ALL,)), 2 * MILLION, prices) == pytest.approx(2.0)


def test_change_data_capture_is_by_the_kb_and_the_destination() -> None:
    big = table(item_count=10, size_bytes=10_241, indexes=(ALL,))
    assert cost.change_data_units(big, 1_000, destinations=3) == 6_000, "an index sends nothing to Kinesis"
    assert Prices("us-east-1").usd("change-data", 1_000_000) == pytest.approx(0.10)


def test_provisioned_capacity_is_paid_already() -> None:
    provisioned = table(on_demand=False, write_capacity=100)
    assert usd(provisioned, 1e9) == cost.usd_of_reads(provisioned, 1e9, Prices("us-east-1")) == 0
    assert cost.prices_told(provisioned, "restrike", Prices("us-east-1")) == "provisioned capacity costs no more"


@pytest.mark.parametrize(
    ("prices", "more", "told"),
    [
        (Prices("us-east-1"), {}, "prices of us-east-1, 2026-11"),
        (Prices("eu-west-1"), {}, "prices of eu-west-1, 2026-10"),
        (
            Prices("eu-central-1"),
            {},
            "prices of us-east-1, 2026-11; those of eu-central-1 are others and not known here: --price",
        ),
        (
            Prices("eu-west-1"),
            {"replica_regions": ("eu-west-1", "sa-east-1", "us-east-2")},
            "prices of eu-west-1, 2026-10 and us-east-1, 2026-11 and us-east-2, 2026-11; "
            "those of sa-east-1 are others and not known here: --price",
        ),
        (Prices("sa-east-1", given={"write": 0.9, "read": 0.2}), {}, "write 0.9, read 0.2 USD a million, as given"),
        (
            Prices("us-east-1", given={"write": 0.9}),
            {},
            "write 0.9 USD a million, as given; prices of us-east-1, 2026-11",
        ),
        (  # a single Region has no replicated writes
            Prices("us-east-1", given={"replicated-write": 0.9}),
            {},
            "prices of us-east-1, 2026-11",
        ),
    ],
)
def test_whose_prices_they_are_is_told(prices: Prices, more: dict[str, Any], told: str) -> None:
    assert cost.prices_told(table(**more), "restrike", prices) == told


def test_what_is_given_counts() -> None:
    given = given_prices("write=0.7, read=0.14,invocation=0,change-data=1e2,stream-read=3,replicated-write=.5")
    assert given == {
        "write": 0.7,
        "read": 0.14,
        "invocation": 0,
        "change-data": 100,
        "stream-read": 3,
        "replicated-write": 0.5,
    }
    assert set(given) == set(NAMES)
    prices = Prices("eu-west-1", given=given)
    assert [round(prices.usd(name, MILLION), 9) for name in NAMES] == [0.7, 0.14, 0.5, 100, 3, 0]
    assert given_prices(None) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no price ''"),
        ("0.7", "there is no price '0.7'"),
        ("write=0.7,", "there is no price ''"),
        ("Write=0.7", "there is no price 'Write'"),
        ("storage=0.25", "there is no price 'storage'"),
        ("write", "'' is no number from 0 on"),
        ("write=", "'' is no number from 0 on"),
        ("write=cheap", "'cheap' is no number from 0 on"),
        ("write=-1", "'-1' is no number from 0 on"),
        ("write=nan", "'nan' is no number from 0 on"),
        ("write=inf", "'inf' is no number from 0 on"),
        ("write=$0.7", "is no number from 0 on"),
        ("write=0.7,read=0.1,write=0.7", "gives write twice"),
        ("write=6.25e-7", "the price of one unit"),
    ],
)
def test_what_is_no_price(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        given_prices(text)
    assert says in caught.value.message
    assert "--price write=0.625" in (caught.value.hint or "")
