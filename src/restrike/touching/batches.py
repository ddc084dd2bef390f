"""Which jobs go into a batch: as they come, or one of a partition key at a time."""

from __future__ import annotations

from collections import deque
from typing import Any

from restrike.selecting.read import Unit


class Batches:
    """Jobs in the order in which they come, `size` to a batch, an item at most once in a batch.

    The same item twice in one batch is an error of the service: of the whole batch, before any of it is applied (in
    DynamoDB Local, after some of it was). Only a selection through an index can yield one twice, where the item moves
    in it meanwhile: the rest is `unique`.
    """

    def __init__(self, size: int, *, unique: bool = False) -> None:
        self._size = size
        self._unique = unique
        self._jobs: list[tuple[Unit, Any]] = []
        self._next = 0

    @property
    def waiting(self) -> int:
        return 0  # never more than a unit

    def add(self, unit: Unit, jobs: Any) -> None:
        self._jobs = self._jobs[self._next :]
        self._next = 0
        self._jobs += [(unit, job) for job in jobs]

    def next(self, *, flush: bool) -> list[tuple[Unit, Any]] | None:
        """A full batch, or with `flush` what there is; None where there is nothing to send yet."""
        left = len(self._jobs) - self._next
        if not left or (left < self._size and not flush):
            return None
        batch = self._jobs[self._next : self._next + self._size]
        if not self._unique:
            batch = self._up_to_a_repetition(batch)
        self._next += len(batch)
        return batch

    def _up_to_a_repetition(self, batch: list[tuple[Unit, Any]]) -> list[tuple[Unit, Any]]:
        keys: set[tuple[bytes, bytes]] = set()
        for number, (_, job) in enumerate(batch):
            key = (bytes(job.partition), b"" if job.sort is None else bytes(job.sort))
            if key in keys:
                return batch[:number]
            keys.add(key)
        return batch

    def finished(self, batch: list[tuple[Unit, Any]]) -> None:
        """A batch that was handed out is done."""


class OrderedBatches(Batches):
    """At most one job of a partition key in flight, in the order in which its jobs come."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._lanes: dict[bytes, deque[tuple[Unit, Any]]] = {}  # a lane stays while a job of it is in flight
        self._ready: deque[bytes] = deque()
        self._waiting = 0

    @property
    def waiting(self) -> int:
        return self._waiting

    def add(self, unit: Unit, jobs: Any) -> None:
        for job in jobs:
            name = bytes(job.partition)
            if name not in self._lanes:
                self._lanes[name] = deque()
                self._ready.append(name)
            self._lanes[name].append((unit, job))
            self._waiting += 1

    def next(self, *, flush: bool) -> list[tuple[Unit, Any]] | None:
        if not self._ready or (len(self._ready) < self._size and not flush):
            return None
        names = [self._ready.popleft() for _ in range(min(self._size, len(self._ready)))]
        self._waiting -= len(names)
        return [self._lanes[name].popleft() for name in names]

    def finished(self, batch: list[tuple[Unit, Any]]) -> None:
        for _, job in batch:
            name = bytes(job.partition)
            if self._lanes[name]:
                self._ready.append(name)
            else:
                del self._lanes[name]
