"""The keys of the table and its indexes, and which of them could select by date."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from restrike.aws.dynamodb import ItemPage, page_decoder
from restrike.aws.wire import Wire
from restrike.diagnosing.questions import Questions
from restrike.model import cost
from restrike.model.dates import DAY_S, Form, Role, form_of, length_s, seconds_of
from restrike.model.diagnosis import IndexSeen
from restrike.model.selection import Strand, projected
from restrike.model.table import MARKER, AttributeValue, IndexInfo, KeyAttribute, TableInfo

FIRST_ENTRIES = 10
"""Of each index, by which its form is recognised."""
PLACES, ENTRIES_A_PLACE = 20, 5
"""Where it may be read by date, so many entries at so many places all over the index: entries that stand together are
of one day."""
COUNTED_ENTRIES = 1_000
"""Of a day, at most: one page, some 130 read units where entries are large."""
MOST_PARTITIONS = 10
SHOWN_SAMPLES = 3
_FEWER = 0.99
"""Counts of table and index are taken some hours apart: only what is well below is fewer."""


async def indexes_of(questions: Questions, wire: Wire, table: TableInfo, now_s: float) -> tuple[IndexSeen, ...]:
    """The table's own key first, then the indexes by their names. One that cannot be read is told as far as the table's
    description goes."""
    every: list[IndexInfo | None] = [None, *sorted(table.indexes, key=lambda index: index.name)]
    return tuple(await asyncio.gather(*(_one(questions, wire, table, index, now_s) for index in every)))


async def _one(questions: Questions, wire: Wire, table: TableInfo, index: IndexInfo | None, now_s: float) -> IndexSeen:
    key = table.key if index is None else index.key
    seen = IndexSeen(
        name="" if index is None else index.name,
        partition=key.partition.name,
        sort="" if key.sort is None else key.sort.name,
        projection="ALL" if index is None else index.projection,
        items=table.item_count if index is None else index.item_count,
        sparse=False if index is None else _sparse(table, index),
    )
    what = "the table's keys" if index is None else f"the keys of index {index.name}"
    reading = _Reading(wire, table, seen.name, key.attributes)
    permissions = "dynamodb:Scan, dynamodb:Query"
    return await questions.follow(what, _dated(reading, table, seen, now_s), permission=permissions) or seen


def _sparse(table: TableInfo, index: IndexInfo) -> bool | None:
    if not table.item_count or not index.item_count:
        return None
    if index.item_count >= table.item_count:
        return False
    return True if index.item_count < table.item_count * _FEWER else None


class _Reading:
    """Scans and queries of one index that read key attributes alone."""

    def __init__(self, wire: Wire, table: TableInfo, index: str, attributes: Sequence[KeyAttribute]) -> None:
        self.attributes = attributes
        self._wire = wire
        self._fields = {f"key_{number}": each.name for number, each in enumerate(attributes)}
        self._read = page_decoder(self._fields)
        where: dict[str, Any] = {"TableName": table.name} | ({"IndexName": index} if index else {})
        self._scan = projected(Strand("sample", "Scan", where), self._fields)
        condition = {
            "KeyConditionExpression": "#p = :p",
            "ExpressionAttributeNames": {"#p": attributes[0].name},
        }
        self._query = projected(Strand("sample", "Query", where | condition), self._fields)

    async def some(self, limit: int, **place: int) -> tuple[list[tuple[str, ...]], bool]:
        """The values of some entries, in the order of `attributes`, and whether there are no more at that place."""
        return await self._asked("Scan", self._scan | {"Limit": limit} | place)

    async def of_key(self, value: str, limit: int, *, latest: bool = False) -> tuple[list[tuple[str, ...]], bool]:
        """The same of one partition key, from its first or its last entry on."""
        values = {":p": {self.attributes[0].type: value}}
        more = {"Limit": limit, "ExpressionAttributeValues": values, "ScanIndexForward": not latest}
        return await self._asked("Query", self._query | more)

    async def _asked(self, operation: str, request: dict[str, Any]) -> tuple[list[tuple[str, ...]], bool]:
        body = await self._wire.call(operation, msgspec.json.encode(request), attempts=3)
        page: ItemPage = self._read(body, operation)
        return [tuple(map(_text, self._of(item))) for item in page.items], page.last_key is None

    def _of(self, item: Any) -> list[AttributeValue]:
        return [msgspec.json.decode(getattr(item, field)) for field in self._fields]


def _text(value: AttributeValue) -> str:
    return str(next(iter(value.values())))


async def _dated(reading: _Reading, table: TableInfo, seen: IndexSeen, now_s: float) -> IndexSeen:
    """With what its entries say, where it holds dates."""
    first, _ = await reading.some(FIRST_ENTRIES)
    found = _which(reading.attributes, first, now_s)
    if found is None:
        return seen
    number, role, form = found
    pages = await asyncio.gather(
        *(reading.some(ENTRIES_A_PLACE, Segment=place, TotalSegments=PLACES) for place in range(PLACES))
    )
    entries = [entry for some, _ in pages for entry in some] or first
    attribute = reading.attributes[number]
    seen = msgspec.structs.replace(
        seen,
        attribute=attribute.name,
        type=attribute.type,
        role=role,
        form=form,
        samples=tuple(dict.fromkeys(entry[number] for entry in entries))[:SHOWN_SAMPLES],
        sampled=len(entries),
    )
    if role == "partition" and form in ("day", "month"):
        a_day, counted = await _of_some_days(reading, entries, form)
        seen = msgspec.structs.replace(seen, sampled=max(seen.sampled, counted))
    else:
        entries += await _latest(reading, entries) if role == "sort" else []
        a_day = None
    if a_day is None:
        items = len(entries) if all(ended for _, ended in pages) and role == "partition" else seen.items
        a_day = _spread(items, [entry[number] for entry in entries], form)
    if a_day is None:
        return seen
    wru = a_day * cost.writes_per_item(table, MARKER)
    return msgspec.structs.replace(seen, entries_a_day=round(a_day, 1), wru_a_day=round(wru, 1))


def _which(
    attributes: Sequence[KeyAttribute], entries: Sequence[Sequence[str]], now_s: float
) -> tuple[int, Role, Form] | None:
    """The key attribute that holds dates, the partition key before the sort key."""
    roles: tuple[Role, ...] = ("partition", "sort")
    for number, (attribute, role) in enumerate(zip(attributes, roles, strict=False)):
        form = form_of(attribute.type, [entry[number] for entry in entries], role, now_s)
        if form:
            return number, role, form
    return None


async def _of_some_days(reading: _Reading, entries: Sequence[Sequence[str]], form: Form) -> tuple[float | None, int]:
    """What a day holds, by some days that are counted (None where one of them holds more than is counted), and how many
    entries these have together."""
    days = sorted({entry[0] for entry in entries})
    some = list(dict.fromkeys((days[0], days[len(days) // 2], days[-1])))
    counted = await asyncio.gather(*(reading.of_key(day, COUNTED_ENTRIES) for day in some))
    entries_counted = sum(len(found) for found, _ in counted)
    if not all(ended for _, ended in counted):
        return None, entries_counted
    return entries_counted / len(some) / (length_s(form) / DAY_S), entries_counted


async def _latest(reading: _Reading, entries: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The last entries of some partition keys: what is read from the front of each is what is old."""
    some = list(dict.fromkeys(entry[0] for entry in entries))[:MOST_PARTITIONS]
    found = await asyncio.gather(*(reading.of_key(value, 1, latest=True) for value in some))
    return [entry for last, _ in found for entry in last]


def _spread(items: int, values: Sequence[str], form: Form) -> float | None:
    """What a day holds where so many lie evenly between the earliest and the latest of those values."""
    moments = [moment for value in values if (moment := seconds_of(form, value)) is not None]
    if not items or not moments:
        return None
    return items / max(1.0, (max(moments) - min(moments) + length_s(form)) / DAY_S)
