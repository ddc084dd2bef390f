"""A table as one side of an audit: the keys and compared values of its items, a page at a time, from places on."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from restrike.auditing.pace import ReadPace
from restrike.auditing.rows import Names
from restrike.aws import dynamodb
from restrike.aws.wire import Wire
from restrike.model.scalars import encoded, of_item
from restrike.model.selection import Selection, Strand, projected, strands
from restrike.model.spelling import Spelling
from restrike.model.table import TableInfo
from restrike.selecting.keyfile import KeyFile
from restrike.selecting.pages import each, pages
from restrike.selecting.read import Place

Row = tuple[bytes, bytes]
"""Canonical key with our names, and values as `model.scalars` encodes them."""
Take = Callable[[str, list[Row], Place], Awaitable[bool]]
"""Gets a strand's next rows and the place behind them; False ends the reading."""
CONSISTENT_BYTES = 4096  # of one unit


class TableSide:
    """The items of a selection. `theirs`: the table is the other side, and has that side's names.

    Pages are read eventually consistent, for half the price: what differs is read once more by `now`, consistently.
    Where an index does not hold what is compared, its pages tell the keys, and the values come from the table.
    """

    def __init__(
        self, wire: Wire, table: TableInfo, selection: Selection, names: Names, pace: ReadPace, *, theirs: bool = False
    ) -> None:
        self._wire = wire
        self._table = table
        self._selection = selection
        self._schema = names.key
        self._pace = pace
        called = names.their if theirs else str
        partition, sort = names.key.partition, names.key.sort
        self._key_names = {called(each.name): each.name for each in names.key.attributes}
        keys = {"partition": called(partition.name)} | ({"sort": called(sort.name)} if sort is not None else {})
        values = {f"value_{number}": called(name) for number, name in enumerate(names.on)}
        self._fields = keys | values
        self._values = tuple(values)
        self._spelling = Spelling(names.key)
        index = table.index(selection.index) if selection.index else None
        self._holds_values = index is None or all(index.projects(name) for name in values.values())
        self._page_fields = self._fields if self._holds_values else keys
        self._read_page = dynamodb.page_decoder({"sort": None, **self._page_fields})
        self._item, self._pick = dynamodb.attributes_type({"sort": None, **self._fields}, msgspec.Raw)
        average = table.size_bytes / table.item_count if table.item_count else 0.0
        self._rru_an_item = max(1, math.ceil(average / CONSISTENT_BYTES))

    async def read(self, places: dict[str, Place], take: Take, keys_path: Path) -> None:
        """Reads all strands from their places on, several side by side."""

        async def one(strand: Strand) -> bool:
            place = places.get(strand.id)
            if place is not None and place.done:
                return True
            after = None if place is None else place.after
            if strand.operation == "Keys":
                return await self._read_keys(strand, int(after or b"0"), take, keys_path)
            return await self._read_pages(strand, after, take)

        await each(strands(self._selection, self._table), one)

    async def _read_pages(self, strand: Strand, after: bytes | None, take: Take) -> bool:
        asking = projected(strand, self._page_fields)
        found = pages(self._wire, strand.operation, asking, self._read_page, after=after)
        async with contextlib.aclosing(found):
            async for page in found:
                rows = self._rows(page.items) if self._holds_values else await self._with_values(page.items)
                place = Place(page.last_key, page.last_key is None)
                goes_on = await take(strand.id, rows, place)
                await self._pace.took(page.capacity_units)
                if not goes_on:
                    return False
        return True

    async def _with_values(self, items: list[Any]) -> list[Row]:
        return list((await self.now(self._spelling.of(items))).items())

    async def _read_keys(self, strand: Strand, position: int, take: Take, path: Path) -> bool:
        with KeyFile(path) as keys:
            while True:
                rows = keys.read(position, dynamodb.KEYS_A_CALL)
                last = len(rows) < dynamodb.KEYS_A_CALL
                position = rows[-1][0] if rows else position
                found = await self.now([key for _, key in rows])
                if not await take(strand.id, list(found.items()), Place(str(position).encode(), last)):
                    return False
                if last:
                    return True

    def _rows(self, items: list[Any]) -> list[Row]:
        fields = self._values
        decode, keys = msgspec.json.decode, self._spelling.of(items)
        return [
            (
                key,
                encoded([
                    of_item(None if (raw := getattr(item, field)) is None else decode(raw)) for field in fields
                ]),
            )
            for key, item in zip(keys, items, strict=True)
        ]  # fmt: skip

    async def now(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The values of those items as they are now, by a consistent read; absent items are left out."""
        asked = [self._called(key) for key in keys]
        names = list(dict.fromkeys(self._fields.values()))
        items = await dynamodb.batch_get(self._wire, self._table.name, asked, attributes=names)
        await self._pace.took(len(keys) * self._rru_an_item)
        found = [self._pick(msgspec.json.decode(item, type=self._item)) for item in items]
        return dict(self._rows(found))

    def _called(self, key: bytes) -> bytes:
        """The key with the table's own names."""
        if all(theirs == ours for theirs, ours in self._key_names.items()):
            return key
        values = msgspec.json.decode(key, type=dict[str, msgspec.Raw])
        return msgspec.json.encode({theirs: values[ours] for theirs, ours in self._key_names.items()})
