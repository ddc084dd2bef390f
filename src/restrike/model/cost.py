"""Capacity units of a touch, and what they cost."""

from __future__ import annotations

import math

from restrike.model.prices import Name, Prices
from restrike.model.table import TableInfo

USD_PER_EXPORTED_GB = 0.10  # us-east-1, and as of
EXPORT_PRICE_AS_OF = "2026-11"
EXPORT_LEAST_GB = 0.01  # that an incremental export is billed for at least


def writes_per_item(table: TableInfo, attribute: str) -> int:
    """Write units of one touch: ⌈size / 1 KB⌉, and as much again for every index that projects the attribute.

    The size is the table's average (its own figures, some six hours old), 1 KB where they are missing.
    An index that projects less than ALL holds smaller items; its part is an upper bound.
    """
    return item_kb(table) * (1 + len(table.indexes_projecting(attribute)))


def item_kb(table: TableInfo) -> int:
    """The KB of an average item, begun ones counted whole."""
    average_bytes = table.size_bytes / table.item_count if table.item_count else 0
    return max(1, math.ceil(average_bytes / 1024))


def replicas(table: TableInfo, region: str) -> tuple[str, ...]:
    """The other Regions of a global table, whether or not it names its own among them."""
    return tuple(sorted({*table.replica_regions} - {region}))


def usd_of_writes(table: TableInfo, attribute: str, units: float, prices: Prices) -> float:
    """Money for that many write units; nothing of provisioned capacity, unless autoscaling raises it.

    On a global table each write is a replicated one in every Region, the own one too, and those to global indexes are
    ordinary ones in every Region. Source: "Understanding your AWS billing and usage reports in DynamoDB".
    """
    if not table.on_demand:
        return 0.0
    others = replicas(table, prices.region)
    if not others:
        return prices.usd("write", units)
    projecting = table.indexes_projecting(attribute)
    in_indexes = units * sum(index.kind == "global" for index in projecting) / (1 + len(projecting))
    return sum(
        prices.usd("replicated-write", units - in_indexes, region) + prices.usd("write", in_indexes, region)
        for region in (prices.region, *others)
    )


def change_data_units(table: TableInfo, items: int, destinations: int) -> int:
    """Change data capture units of so many touches: one for each KB of the larger image and destination."""
    return items * item_kb(table) * destinations


def usd_of_reads(table: TableInfo, units: float, prices: Prices) -> float:
    return prices.usd("read", units) if table.on_demand else 0.0


def prices_told(table: TableInfo, attribute: str, prices: Prices) -> str:
    """Whose prices those are that a touch of the table is reckoned with."""
    if not table.on_demand:
        return "provisioned capacity costs no more"
    others = replicas(table, prices.region)
    names: list[Name] = ["replicated-write"] if others else ["write"]
    if others and any(index.kind == "global" for index in table.indexes_projecting(attribute)):
        names.append("write")
    return prices.told([*names, "read"], others)
