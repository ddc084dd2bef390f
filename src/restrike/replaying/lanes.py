"""Lanes: records that must stay in order relative to each other, sent one batch at a time.

A record's lane is a stable hash of its item's key, so that all records of an item are in one lane, whichever
shard they are in. A lane is first in, first out: what it has done of a shard is one place.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable

import msgspec

from restrike.model.record import EVENT_OVERHEAD_BYTES, Record
from restrike.replaying.places import Stretch

MAX_QUEUED_RECORDS = 20_000
MAX_QUEUED_BYTES = 48_000_000


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


class Lanes:
    """The queues of all lanes, bounded together: who adds waits until there is room."""

    def __init__(self, count: int, limits: BatchLimits) -> None:
        self.limits = limits
        self.queues: list[deque[Record]] = [deque() for _ in range(count)]
        self._stretches: list[deque[Stretch]] = [deque() for _ in range(count)]
        self._wakes = [asyncio.Event() for _ in range(count)]
        self._room = asyncio.Event()
        self._room.set()
        self._records = 0
        self._bytes = 0
        self._flush = False
        self.closed = False

    async def add(self, stretch: Stretch, records: Iterable[tuple[int, Record]]) -> None:
        """Queues (lane, record) pairs of a stretch; waits while the queues are full, and lets what is there go then."""
        for lane, record in records:
            queue = self.queues[lane]
            queue.append(record)
            self._stretches[lane].append(stretch)
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

    async def take(self, lane: int) -> tuple[list[Record], list[Stretch]] | None:
        """The lane's next batch and the stretch of each of its records; None when there will be no more."""
        queue, wake = self.queues[lane], self._wakes[lane]
        while True:
            if len(queue) >= self.limits.records or (queue and (self._flush or self.closed)):
                batch = next_batch(queue, self.limits)
                stretches = [self._stretches[lane].popleft() for _ in batch]
                self._records -= len(batch)
                self._bytes -= sum(len(record.raw) for record in batch)
                if not self._room.is_set() and not self._full():
                    self._room.set()
                return batch, stretches
            if self.closed:
                return None
            wake.clear()
            await wake.wait()
