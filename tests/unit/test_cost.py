from __future__ import annotations

from typing import Any

import pytest

from restrike.model import cost
from restrike.model.table import IndexInfo, KeyAttribute, KeySchema, TableInfo

KEY = KeySchema(KeyAttribute("pk", "S"))
ALL = IndexInfo("all", "global", KEY, "ALL")
KEYS = IndexInfo("keys", "global", KEY, "KEYS_ONLY")


def table(**more: Any) -> TableInfo:
    return TableInfo(name="t", arn="arn:aws:dynamodb:eu-west-1:1:table/t", key=KEY, **more)


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
    assert cost.usd_of_writes(table(), 10_000_000) == pytest.approx(6.25)
    assert cost.usd_of_writes(table(replica_regions=("eu-west-2", "eu-north-1")), 1_000_000) == pytest.approx(3 * 0.625)
    assert cost.usd_of_reads(table(), 1_000_000) == pytest.approx(0.125)


def test_provisioned_capacity_is_paid_already() -> None:
    provisioned = table(on_demand=False, write_capacity=100)
    assert cost.usd_of_writes(provisioned, 1e9) == cost.usd_of_reads(provisioned, 1e9) == 0


@pytest.mark.parametrize(
    ("more", "wcu"),
    [({}, 500), ({"on_demand": False, "write_capacity": 400}, 100), ({"on_demand": False, "write_capacity": 1}, 1)],
)
def test_what_a_touch_takes_unless_told(more: dict[str, Any], wcu: float) -> None:
    assert cost.default_wcu(table(**more)) == wcu
