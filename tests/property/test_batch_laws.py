"""Batches: every job once, none too large, no item twice in one; ordered: one of a partition key at a time."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from restrike.selecting.read import Places, Unit
from restrike.touching.batches import Batches, OrderedBatches
from restrike.touching.counter import Job

jobs = st.builds(
    Job,
    partition=st.integers(0, 4).map(lambda number: b'{"N":"%d"}' % number),
    sort=st.none() | st.integers(0, 4).map(lambda number: b'{"N":"%d"}' % number),
)
# Units of jobs come between attempts to take a batch.
units = st.lists(st.tuples(st.lists(jobs, max_size=12), st.booleans()), max_size=8)
sizes = st.sampled_from([1, 2, 5, 25])


def item(job: Any) -> tuple[bytes, bytes | None]:
    return job.partition, job.sort


def numbered(groups: list[tuple[list[Job], bool]]) -> list[tuple[Unit, list[Job], bool]]:
    """The units with jobs that can be told apart: each is a copy with a number of its own."""
    number = 0
    found = []
    for position, (group, flush) in enumerate(groups):
        mine = []
        for job in group:
            mine.append(Job(job.partition, job.sort, key=b"%d" % number))
            number += 1
        found.append((Unit(f"strand-{position}", [], None, last=False), mine, flush))
    return found


@given(groups=units, size=sizes)
def test_every_job_is_handed_out_once_with_its_unit(groups: list[tuple[list[Job], bool]], size: int) -> None:
    batches = Batches(size)
    added: Counter[tuple[str, bytes]] = Counter()
    taken: list[list[tuple[Unit, Any]]] = []
    for unit, mine, flush in numbered(groups):
        batches.add(unit, mine)
        added.update((unit.strand, job.key) for job in mine)
        while (batch := batches.next(flush=flush)) is not None:
            assert flush or len({item(job) for _, job in batch}) == len(batch)
            taken.append(batch)
    while (batch := batches.next(flush=True)) is not None:
        taken.append(batch)
    assert Counter((unit.strand, job.key) for batch in taken for unit, job in batch) == added
    for batch in taken:
        assert 0 < len(batch) <= size
        assert len({item(job) for _, job in batch}) == len(batch)
        # The writes of one item keep their order; those of different items may pass each other.
    for each in {item(job) for batch in taken for _, job in batch}:
        keys = [int(job.key) for batch in taken for _, job in batch if item(job) == each]
        assert keys == sorted(keys)


@given(group=st.lists(jobs, max_size=60), size=sizes)
def test_without_flush_only_full_batches_go(group: list[Job], size: int) -> None:
    distinct = {item(job): job for job in group}
    batches = Batches(size)
    batches.add(Unit("s", [], None, last=False), list(distinct.values()))
    found = []
    while (batch := batches.next(flush=False)) is not None:
        found.append(batch)
    assert [len(batch) for batch in found] == [size] * (len(distinct) // size)
    rest = batches.next(flush=True)
    assert len(rest or []) == len(distinct) % size


@given(groups=units, size=sizes, data=st.data())
def test_ordered_batches_keep_the_order_of_each_partition_key(
    groups: list[tuple[list[Job], bool]], size: int, data: st.DataObject
) -> None:
    """Batches come back in any order, some while others are still in flight."""
    batches = OrderedBatches(size)
    added: dict[bytes, list[bytes]] = {}
    started: dict[bytes, list[bytes]] = {}
    in_flight: list[list[tuple[Unit, Any]]] = []

    def take(*, flush: bool) -> bool:
        batch = batches.next(flush=flush)
        if batch is None:
            return False
        assert 0 < len(batch) <= size
        busy = [job.partition for other in in_flight for _, job in other]
        mine = [job.partition for _, job in batch]
        assert len(set(mine)) == len(mine)
        assert not set(mine) & set(busy)
        for _, job in batch:
            started.setdefault(job.partition, []).append(job.key)
        in_flight.append(batch)
        return True

    def finish_one() -> None:
        batches.finished(in_flight.pop(data.draw(st.integers(0, len(in_flight) - 1))))

    total = 0
    for unit, mine, flush in numbered(groups):
        batches.add(unit, mine)
        total += len(mine)
        for job in mine:
            added.setdefault(job.partition, []).append(job.key)
        while take(flush=flush):
            pass
        assert batches.waiting == total - sum(map(len, started.values()))
        early: bool = data.draw(st.booleans())
        if early and in_flight:
            finish_one()
    while take(flush=True) or in_flight:
        if in_flight:
            finish_one()
    assert started == added
    assert batches.waiting == 0
    assert all(int(one) < int(other) for keys in started.values() for one, other in pairwise(keys))


def test_a_unit_that_waits_is_not_done_when_the_one_before_it_is() -> None:
    """It was read, and lies in the queue: the place must not move behind it before its items are written."""
    places = Places({})
    first, second = (Unit("s", [number], b"%d" % number, last=False) for number in range(2))
    places.opened(first)
    places.opened(second)
    first.pending = 0
    assert list(places.finished("s")) == [first]
    assert places.known["s"].after == first.after
    second.pending = 0
    assert list(places.finished("s")) == [second]
