"""Some items of the table, as touch would change them: what the consumers' filters are tried on."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from restrike.aws.dynamodb import batch_get, decode
from restrike.aws.wire import Wire
from restrike.errors import UsageError
from restrike.model.table import MARKER, TableInfo, canonical_key, key_value
from restrike.wiring.consumers import Item, touched_records

PLACES, ITEMS_A_PLACE = 4, 25
"""So many items at so many places of the table."""
MOST_SPLITS = 10
"""Of a key that has slashes, into partition and sort key."""


class _Page(msgspec.Struct, rename="pascal"):
    items: list[Item] = []


_page = msgspec.json.Decoder(_Page)


async def sample(wire: Wire, table: TableInfo, key: str | None) -> list[Item]:
    """Up to 100 items from all over the table, or those that `--key` names."""
    if key is not None:
        return await _of_key(wire, table, key)
    pages = await asyncio.gather(
        *(
            _asked(wire, "Scan", {"TableName": table.name, "Segment": place, "TotalSegments": PLACES})
            for place in range(PLACES)
        )
    )
    return [item for items in pages for item in items]


def as_touched(items: list[Item], table: TableInfo, region: str) -> list[dict[str, Any]]:
    """The records that touching them would write; none where the table has no stream."""
    if table.stream_arn is None:
        return []
    return list(touched_records(items, table, region, MARKER, {"S": MARKER}))


async def _of_key(wire: Wire, table: TableInfo, text: str) -> list[Item]:
    """`PARTITION`, or `PARTITION/SORT`: both may hold slashes themselves."""
    keys = []
    slashes = [at for at, letter in enumerate(text) if letter == "/"][:MOST_SPLITS] if table.key.sort else []
    for at in slashes:
        try:
            parts = zip(table.key.attributes, (text[:at], text[at + 1 :]), strict=True)
            keys.append(canonical_key(table.key, {each.name: key_value(each, part) for each, part in parts}))
        except UsageError:
            continue
    found = [msgspec.json.decode(raw, type=Item) for raw in await batch_get(wire, table.name, keys)] if keys else []
    if found:
        return found
    condition = {
        "TableName": table.name,
        "KeyConditionExpression": "#p = :p",
        "ExpressionAttributeNames": {"#p": table.key.partition.name},
        "ExpressionAttributeValues": {":p": key_value(table.key.partition, text)},
    }
    return await _asked(wire, "Query", condition)


async def _asked(wire: Wire, operation: str, request: dict[str, Any]) -> list[Item]:
    body = await wire.call(operation, msgspec.json.encode(request | {"Limit": ITEMS_A_PLACE}), attempts=3)
    return decode(_page, body, operation).items
