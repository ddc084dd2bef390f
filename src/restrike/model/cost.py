"""Capacity units and money. Prices: us-east-1, Standard class; PRICES_AS_OF goes beside any that is shown."""

from __future__ import annotations

import math

from restrike.model.table import TableInfo

PRICES_AS_OF = "2026-11"
USD_PER_WRITE = 0.625e-6
USD_PER_READ = 0.125e-6
USD_PER_STREAM_READ = 0.02 / 100_000  # a GetRecords
USD_PER_INVOCATION = 0.20e-6  # of a Lambda function, without its duration
PARTITION_WCU = 1_000  # what one partition takes a second, and so one partition key
ON_DEMAND_DEFAULT_WCU = 500.0
PROVISIONED_SHARE = 0.25


def writes_per_item(table: TableInfo, attribute: str) -> int:
    """Write units of one touch: ⌈size / 1 KB⌉, and as much again for every index that projects the attribute.

    The size is the table's average (its own figures, some six hours old), 1 KB where they are missing.
    An index that projects less than ALL holds smaller items; its part is an upper bound.
    """
    average_bytes = table.size_bytes / table.item_count if table.item_count else 0
    each = max(1, math.ceil(average_bytes / 1024))
    return each * (1 + len(table.indexes_projecting(attribute)))


def usd_of_writes(table: TableInfo, units: float) -> float:
    """Money for that many write units, in every Region of a global table; provisioned capacity costs no more."""
    if not table.on_demand:
        return 0.0
    return units * USD_PER_WRITE * (1 + len(table.replica_regions))


def usd_of_reads(table: TableInfo, units: float) -> float:
    return units * USD_PER_READ if table.on_demand else 0.0


def default_wcu(table: TableInfo) -> float:
    """The write units a second that a touch may take from a table that serves an application meanwhile."""
    if table.on_demand:
        return ON_DEMAND_DEFAULT_WCU
    return max(1.0, table.write_capacity * PROVISIONED_SHARE)
