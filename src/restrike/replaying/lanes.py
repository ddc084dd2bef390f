"""Lanes: records that must stay in order relative to each other, sent one batch at a time.

A record's lane is a stable hash of its item's key, so that all records of an item are in one lane, whichever
shard they are in. The number of lanes is fixed when the run is made. A lane is first in, first out: what it
has done of a shard is one place.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Iterable, Mapping

import msgspec

from restrike.model.record import EVENT_OVERHEAD_BYTES, Record
from restrike.model.window import DRAINED

MAX_QUEUED_RECORDS = 20_000
MAX_QUEUED_BYTES = 48_000_000


def lane_of(record: Record, lanes: int) -> int:
    """0 to lanes - 1, the same for all records of an item, in every run and on every machine."""
    if lanes == 1:
        return 0
    key = msgspec.json.decode(record.keys)
    return zlib.crc32(msgspec.json.encode(key, order="deterministic")) % lanes


class BatchLimits(msgspec.Struct, frozen=True):
    """What a batch may hold: records, and bytes of its whole event (None: no bound)."""

    records: int = 100
    payload_bytes: int | None = None


def next_batch(queue: deque[Record], limits: BatchLimits) -> list[Record]:
    """Takes the next batch off the queue: of one shard and one stream, within the limits, at least one record."""
    first = queue[0]
    batch: list[Record] = []
    size_bytes = EVENT_OVERHEAD_BYTES
    while queue and len(batch) < limits.records:
        record = queue[0]
        if record.shard != first.shard or record.stream_arn != first.stream_arn:
            break
        size_bytes += len(record.raw) + (1 if batch else 0)
        if batch and limits.payload_bytes is not None and size_bytes > limits.payload_bytes:
            break
        batch.append(queue.popleft())
    return batch


class Page:
    """Records that were read together, until each is done; `after` is the place behind them."""

    __slots__ = ("after", "filtered", "pending", "shard")

    def __init__(self, shard: str, after: int, pending: int, filtered: int = 0) -> None:
        self.filtered = filtered
        self.shard = shard
        self.after = after
        self.pending = pending


class Floors:
    """For each shard the place up to which everything is done, whichever lane it went through."""

    def __init__(self, known: Mapping[str, int]) -> None:
        self.known = dict(known)
        self.moved: set[str] = set()
        self.filtered = 0  # records up to the floors that did not pass the filter
        self._open: dict[str, deque[Page]] = {}

    def drained(self, shards: set[str]) -> None:
        """Nothing more comes of those shards: where all of one is done, its floor is behind everything, and it is
        taken out."""
        for shard in [each for each in shards if not self._open.get(each)]:
            self.known[shard] = DRAINED
            self.moved.add(shard)
            shards.discard(shard)

    def opened(self, page: Page) -> None:
        self._open.setdefault(page.shard, deque()).append(page)
        self.settle(page, 0)

    def settle(self, page: Page, records: int) -> None:
        """That many records of the page are done."""
        page.pending -= records
        pages = self._open[page.shard]
        while pages and pages[0].pending == 0:
            done = pages.popleft()
            self.known[page.shard] = done.after
            self.filtered += done.filtered
            self.moved.add(page.shard)


class Lanes:
    """The queues of all lanes, bounded together: who adds waits until there is room."""

    def __init__(self, count: int, limits: BatchLimits) -> None:
        self.limits = limits
        self.queues: list[deque[Record]] = [deque() for _ in range(count)]
        self._pages: list[deque[Page]] = [deque() for _ in range(count)]
        self._wakes = [asyncio.Event() for _ in range(count)]
        self._room = asyncio.Event()
        self._room.set()
        self._records = 0
        self._bytes = 0
        self._flush = False
        self.closed = False

    async def add(self, page: Page, records: Iterable[tuple[int, Record]]) -> None:
        """Queues (lane, record) pairs of a page; waits while the queues are full, and lets what is there go then."""
        for lane, record in records:
            queue = self.queues[lane]
            queue.append(record)
            self._pages[lane].append(page)
            self._records += 1
            self._bytes += len(record.raw)
            if len(queue) == self.limits.records:
                self._wakes[lane].set()
        if self._full():
            self.flush()
            self._room.clear()
            await self._room.wait()

    def _full(self) -> bool:
        return self._records >= MAX_QUEUED_RECORDS or self._bytes >= MAX_QUEUED_BYTES

    def flush(self) -> None:
        """Nothing more is coming for now: batches that are not full go too."""
        self._flush = True
        for queue, wake in zip(self.queues, self._wakes, strict=True):
            if queue:
                wake.set()

    def filling(self) -> None:
        """More is coming: batches wait until they are full."""
        self._flush = False

    def close(self) -> None:
        """Nothing more will come."""
        self.closed = True
        for wake in self._wakes:
            wake.set()
        self._room.set()

    async def take(self, lane: int) -> tuple[list[Record], list[Page]] | None:
        """The lane's next batch and the page of each of its records; None when there will be no more."""
        queue, wake = self.queues[lane], self._wakes[lane]
        while True:
            if len(queue) >= self.limits.records or (queue and (self._flush or self.closed)):
                batch = next_batch(queue, self.limits)
                pages = [self._pages[lane].popleft() for _ in batch]
                self._records -= len(batch)
                self._bytes -= sum(len(record.raw) for record in batch)
                if not self._room.is_set() and not self._full():
                    self._room.set()
                return batch, pages
            if self.closed:
                return None
            wake.clear()
            await wake.wait()
