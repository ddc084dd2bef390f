"""Delivery's laws for any set of poison records: every good record arrives, each poison one ends alone, in order."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from restrike.model.record import Record, event, read_record
from restrike.replaying.delivery import Delivery, GivenUp, Policy, Tally
from restrike.replaying.lanes import BatchLimits, Lanes, next_batch
from restrike.replaying.places import Floors, Stretch, lane_of
from restrike.targets import Answer

ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/t/stream/2026-01-01T00:00:00.000"


def record(number: int, item: int, shard: str = "s") -> Record:
    raw = msgspec.json.encode(
        {
            "eventID": str(number),
            "eventName": "MODIFY",
            "dynamodb": {"Keys": {"pk": {"N": str(item)}}, "SequenceNumber": str(1000 + number)},
        }
    )
    return read_record(raw, shard=shard, place=None, stream_arn=ARN, fidelity="exact")


class Consumer:
    """Fails where a batch holds a poison record: with an exception, or naming the first one it meets."""

    uri = "test:"
    max_payload_bytes: int | None = None
    stands_on: Mapping[str, str] = {}

    def __init__(self, poison: set[str], *, reports: bool) -> None:
        self._poison = poison
        self._reports = reports
        self.handled: list[str] = []  # sequence numbers in the order in which they were taken for done
        self.attempts: list[list[Record]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def size_bytes(self) -> int | None:
        return None

    async def sync(self) -> None: ...

    async def attempt(self, records: list[Record]) -> Answer:
        self.attempts.append(records)
        numbers = [each.sequence_number for each in records]
        bad = [number for number in numbers if number in self._poison]
        if not bad:
            self.handled += numbers
            return Answer(ok=True, response=b"null")
        if not self._reports:
            return Answer(ok=False, error="boom")
        self.handled += numbers[: numbers.index(bad[0])]
        failures = [{"itemIdentifier": number} for number in reversed(bad)]
        return Answer(ok=True, response=msgspec.json.encode({"batchItemFailures": failures}))


class Output:
    """What was given up, and the pauses that were taken: none of them real."""

    def __init__(self) -> None:
        self.given_up: list[GivenUp] = []

    async def give_up(self, given_up: GivenUp) -> None:
        self.given_up.append(given_up)


async def no_pause(_: float) -> None:
    return None


def deliver(records: list[Record], consumer: Consumer, policy: Policy) -> tuple[Tally, list[GivenUp]]:
    output = Output()
    delivery = Delivery(
        consumer,
        policy,
        clock=lambda: 0.0,
        pause=no_pause,
        retry_delay_s=lambda _: 0.0,
        give_up=output.give_up,
    )
    tally = Tally()
    asyncio.run(delivery.deliver(records, tally))
    return tally, output.given_up


batches = st.lists(st.booleans(), min_size=1, max_size=40)


@given(batches, st.booleans(), st.integers(0, 3))
def test_with_bisect_each_poison_record_ends_alone(poisoned: list[bool], reports: bool, retries: int) -> None:
    records = [record(number, number % 5) for number in range(len(poisoned))]
    poison = {each.sequence_number for each, bad in zip(records, poisoned, strict=True) if bad}
    consumer = Consumer(poison, reports=reports)
    tally, given_up = deliver(
        records, consumer, Policy(retries=retries, bisect=True, report_batch_item_failures=reports)
    )
    good = [each.sequence_number for each in records if each.sequence_number not in poison]
    assert consumer.handled == good  # each once, and in order
    assert [[each.sequence_number for each in one.records] for one in given_up] == [
        [each.sequence_number] for each in records if each.sequence_number in poison
    ]
    assert all(one.attempts == retries + 1 for one in given_up)
    assert (tally.delivered, tally.failed) == (len(good), len(poison))
    assert tally.invocations == len(consumer.attempts)


@given(batches, st.booleans(), st.integers(0, 3))
def test_without_bisect_nothing_is_lost_or_silent(poisoned: list[bool], reports: bool, retries: int) -> None:
    records = [record(number, number % 5) for number in range(len(poisoned))]
    poison = {each.sequence_number for each, bad in zip(records, poisoned, strict=True) if bad}
    consumer = Consumer(poison, reports=reports)
    tally, given_up = deliver(
        records, consumer, Policy(retries=retries, bisect=False, report_batch_item_failures=reports)
    )
    accounted = consumer.handled + [each.sequence_number for one in given_up for each in one.records]
    assert accounted == [each.sequence_number for each in records]
    assert tally.delivered + tally.failed == len(records)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["a", "b"])), min_size=1, max_size=60),
    st.integers(1, 10),
    st.integers(200, 2_000),
)
def test_batches_hold_one_shard_and_keep_to_size_and_bytes(
    shape: list[tuple[int, str]], size: int, payload_bytes: int
) -> None:
    from collections import deque

    records = [record(number, item, shard) for number, (item, shard) in enumerate(shape)]
    queue = deque(records)
    limits = BatchLimits(size, payload_bytes)
    seen: list[Record] = []
    while queue:
        batch = next_batch(queue, limits)
        assert 1 <= len(batch) <= size
        assert len({each.shard for each in batch}) == 1
        assert len(batch) == 1 or len(event(batch)) <= payload_bytes
        seen += batch
    assert seen == records


@given(st.lists(st.integers(0, 9), min_size=1, max_size=200), st.integers(1, 8), st.integers(1, 7))
def test_lanes_keep_each_items_order_and_the_floor_is_never_ahead(
    items: list[int], lanes_count: int, size: int
) -> None:
    async def run() -> None:
        lanes = Lanes(lanes_count, BatchLimits(size))
        floors = Floors({})
        records = [record(number, item) for number, item in enumerate(items)]
        done: list[Record] = []

        async def read() -> None:
            for first in range(0, len(records), 10):
                page = records[first : first + 10]
                unit = Stretch("s", page[-1].place, len(page))
                floors.opened(unit)
                await lanes.add(unit, [(lane_of(each, lanes_count), each) for each in page])
            lanes.close()

        async def work(lane: int) -> None:
            while (taken := await lanes.take(lane)) is not None:
                batch, pages = taken
                assert len(batch) <= size
                done.extend(batch)
                for page in pages:
                    floors.settle(page, 1)
                floor = floors.known.get("s", -1)
                finished = {each.place for each in done}
                assert all(each.place in finished for each in records if each.place <= floor)

        await asyncio.gather(read(), *(work(lane) for lane in range(lanes_count)))
        by_item: dict[bytes, list[int]] = defaultdict(list)
        for each in done:
            by_item[each.keys].append(each.place)
        assert all(places == sorted(places) for places in by_item.values())
        assert sorted(each.place for each in done) == [each.place for each in records]
        assert floors.known["s"] == records[-1].place

    asyncio.run(run())
