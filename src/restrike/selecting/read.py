"""From a selection to units of items: pages read in parallel, in bounded numbers, each with its place."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from restrike.aws.dynamodb import page_decoder
from restrike.aws.wire import Wire
from restrike.model.report import Counts
from restrike.model.selection import Selection, Strand, projected, strands
from restrike.model.table import TableInfo
from restrike.running.run import Leftover
from restrike.selecting.keyfile import KeyFile
from restrike.selecting.pages import READERS, each, pages

QUEUED_UNITS = 2
KEYS_PER_UNIT = 1_000
ITEMS_PER_UNIT = 250  # ten batches


class Place(msgspec.Struct, frozen=True):
    """How far a strand is: behind that key (raw JSON), or done."""

    after: bytes | None
    done: bool


class Unit:
    """Some items that were read together, until each has its outcome. `after` is the place behind the last of them."""

    __slots__ = ("after", "counts", "failed", "fired", "gone", "items", "last", "pending", "strand")

    def __init__(self, strand: str, items: list[Any], after: bytes | None, *, last: bool) -> None:
        self.strand = strand
        self.items = items
        self.after = after
        self.last = last
        self.pending = -1  # jobs without an outcome; not known, and so not done, before its items became jobs
        self.counts = Counts()
        # The jobs that fired, and those gone of which that is not sure; kept only where the stream is checked.
        self.fired: list[Any] = []
        self.gone: list[Any] = []
        self.failed: list[Leftover] = []


class Places:
    """The place of every strand: it moves when a unit and all before it in its strand are done."""

    def __init__(self, known: Mapping[str, Place]) -> None:
        self.known = dict(known)
        self.moved: dict[str, Place] = {}
        self._open: dict[str, deque[Unit]] = {}

    def opened(self, unit: Unit) -> None:
        self._open.setdefault(unit.strand, deque()).append(unit)

    def finished(self, strand: str) -> Iterator[Unit]:
        """The units that are now done, oldest first; the strand's place moves behind each as it is yielded."""
        units = self._open[strand]
        while units and units[0].pending == 0:
            unit = units.popleft()
            self.moved[strand] = self.known[strand] = Place(unit.after, unit.last)
            yield unit

    def open(self) -> Iterator[Unit]:
        """The units that are not done, or come behind one that is not."""
        return itertools.chain.from_iterable(self._open.values())

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))


class Limit:
    """How many more items may be selected; None for all."""

    def __init__(self, items: int | None) -> None:
        self.left = items
        self.reached = items is not None and items <= 0

    def grant(self, items: int) -> int:
        if self.left is None:
            return items
        granted = min(items, self.left)
        self.left -= granted
        self.reached = self.left == 0
        return granted


class KeyItem(msgspec.Struct, gc=False):
    """A key out of a file, in the shape of an item that was read."""

    partition: Any
    sort: Any
    value: Any = None


class Selector:
    """Reads what is selected into a bounded queue of units, from the given places on; None ends the queue."""

    def __init__(
        self,
        wire: Wire,
        table: TableInfo,
        selection: Selection,
        *,
        attribute: str | None,
        places: Places,
        limit: Limit,
        keys_path: Path,
        stopping: Callable[[], bool],
    ) -> None:
        self._wire = wire
        self._table = table
        self._limit = limit
        self._places = places
        self._keys_path = keys_path
        self._stopping = stopping
        self.queue: asyncio.Queue[Unit | None] = asyncio.Queue(QUEUED_UNITS)
        self.consumed_rcu = 0.0
        self._strands = strands(selection, table)
        self._fields = {"partition": table.key.partition.name}
        if table.key.sort is not None:
            self._fields["sort"] = table.key.sort.name
        index = table.index(selection.index) if selection.index else None
        if index is not None:
            further = [name for name in index.key.names if name not in table.key.names]
            self._fields |= {f"index_{number}": name for number, name in enumerate(further)}
        # What the index does not hold cannot be asked of it.
        if attribute is not None and (index is None or index.projects(attribute)):
            self._fields["value"] = attribute
        self.reads_attribute = "value" in self._fields
        self._place_fields = {field: name for field, name in self._fields.items() if field != "value"}
        self._decode = page_decoder({"sort": None, "value": None, **self._fields})

    async def run(self) -> None:
        """Reads all strands, some at a time, then ends the queue.

        With a limit one after the other: taken up after a crash it then grants the same items again, and not others
        beside those that were in flight.
        """
        await each(self._strands, self._read, readers=READERS if self._limit.left is None else 1)
        await self.queue.put(None)

    async def _read(self, strand: Strand) -> bool:
        place = self._places.known.get(strand.id)
        if place is not None and place.done:
            return True
        if self._ends():
            return False
        read = self._read_keys if strand.operation == "Keys" else self._read_pages
        await read(strand, place.after if place is not None else None)
        return True

    def _ends(self) -> bool:
        return self._limit.reached or self._stopping()

    async def _read_pages(self, strand: Strand, after: bytes | None) -> None:
        found = pages(self._wire, strand.operation, projected(strand, self._fields), self._decode, after=after)
        async with contextlib.aclosing(found):
            async for page in found:
                self.consumed_rcu += page.capacity_units
                granted = self._limit.grant(len(page.items))
                if granted < len(page.items):
                    items = page.items[:granted]
                    if items:
                        # Any item's key is a place: a later run goes on behind the last one that the limit let through.
                        await self._put(Unit(strand.id, items, self._key_of(items[-1]), last=False))
                    return
                items = page.items
                # In parts, each with its place: what was done of a part that was not finished is done again.
                for first in range(0, len(items) - ITEMS_PER_UNIT, ITEMS_PER_UNIT):
                    part = items[first : first + ITEMS_PER_UNIT]
                    await self._put(Unit(strand.id, part, self._key_of(part[-1]), last=False))
                rest = items[max(0, len(items) - 1) // ITEMS_PER_UNIT * ITEMS_PER_UNIT :]
                await self._put(Unit(strand.id, rest, page.last_key, last=page.last_key is None))
                if self._ends():
                    return

    def _key_of(self, item: Any) -> bytes:
        fields = {name: getattr(item, field) for field, name in self._place_fields.items()}
        return msgspec.json.encode(fields)

    async def _read_keys(self, strand: Strand, after: bytes | None) -> None:
        position = int(after) if after is not None else 0
        with KeyFile(self._keys_path) as keys:
            while not self._ends():
                rows = keys.read(position, KEYS_PER_UNIT)
                granted = self._limit.grant(len(rows))
                if granted < len(rows):
                    rows = rows[:granted]
                    if not rows:
                        return
                elif len(rows) < KEYS_PER_UNIT:
                    granted = -1  # the last unit
                if rows:
                    position = rows[-1][0]
                items = [self._item(key) for _, key in rows]
                await self._put(Unit(strand.id, items, str(position).encode(), last=granted == -1))
                if granted == -1:
                    return

    def _item(self, key: bytes) -> KeyItem:
        values = msgspec.json.decode(key, type=dict[str, msgspec.Raw])
        sort = values[self._table.key.sort.name] if self._table.key.sort is not None else None
        return KeyItem(values[self._table.key.partition.name], sort)

    async def _put(self, unit: Unit) -> None:
        self._places.opened(unit)
        await self.queue.put(unit)
