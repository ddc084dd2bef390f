"""Some items of the table, as touch would change them: what the consumers' filters are tried on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import msgspec

from restrike.aws.dynamodb import batch_get, decode
from restrike.aws.wire import Wire
from restrike.errors import UsageError
from restrike.model.diagnosis import IndexSeen
from restrike.model.selection import DateQuery, Selection, Strand, recognised_format, strands
from restrike.model.table import MARKER, TableInfo, canonical_key, key_value
from restrike.model.window import Window
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


async def sample_of_window(
    wire: Wire, table: TableInfo, indexes: Sequence[IndexSeen], window: Window, now_s: float
) -> list[Item]:
    """Items of some of the window's days, by an index whose partition key is a day or month; none without one."""
    for index in indexes:
        form = recognised_format(index.samples[0]) if index.samples and index.role == "partition" else None
        if form is None or not index.name or window.since_s is None:
            continue
        days = _days(window.since_s, now_s if window.until_s is None else window.until_s, form)
        of_days = (strand.request for day in days for strand in _strands(table, index.name, day, form))
        found = await asyncio.gather(*(_asked(wire, "Query", request) for request in of_days))
        keys = dict.fromkeys(canonical_key(table.key, item) for items in found for item in items)
        if keys:
            return [msgspec.json.decode(raw, type=Item) for raw in await batch_get(wire, table.name, list(keys))]
    return []


def _days(since_s: float, until_s: float, form: str) -> list[date]:
    """The first, the middle and the last of the window; of months, whatever day of them."""
    moments = (since_s, (since_s + until_s) / 2, until_s)
    days = {
        datetime.fromtimestamp(moment, UTC).strftime(form): datetime.fromtimestamp(moment, UTC) for moment in moments
    }
    return [moment.date() for moment in days.values()]


def _strands(table: TableInfo, index: str, day: date, form: str) -> Iterator[Strand]:
    return strands(Selection(DateQuery(index, day, day, form)), table)


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
