"""The follower on a stream whose shards split, end, expire and go away: each record once, parents before children."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restrike.aws.refusals import error_for
from restrike.aws.streams import Start, list_shards, records_decoder, shard_iterator
from restrike.aws.walk import Follower, ended
from restrike.aws.wire import Wire
from restrike.errors import AccessDenied, AwsError, ServiceFault, TrimmedData

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/s"
WAIT_S = 600.0


class Change(msgspec.Struct, rename="pascal"):
    sequence_number: str


class Record(msgspec.Struct):
    change: Change = msgspec.field(name="dynamodb")


class Shard:
    """A shard of the stub: sequence numbers in order; `closed` says that no more will come."""

    def __init__(self, shard_id: str, numbers: list[int], parent: str | None = None, *, closed: bool = True) -> None:
        self.shard_id = shard_id
        self.numbers = numbers
        self.parent = parent
        self.closed = closed
        self.trimmed_before = 0  # numbers below are forgotten

    def listed(self) -> dict[str, Any]:
        span = {"StartingSequenceNumber": str(self.numbers[0] if self.numbers else 1)}
        if self.closed:
            span["EndingSequenceNumber"] = str(self.numbers[-1] if self.numbers else 1)
        parent = {"ParentShardId": self.parent} if self.parent else {}
        return {"ShardId": self.shard_id, "SequenceNumberRange": span, **parent}


class StubWire:
    """A stream of shards behind the interface of Wire: DescribeStream, GetShardIterator and GetRecords.

    An iterator is `shard/position/serial`. Errors that are queued for an operation come before its answers.
    """

    def __init__(self, *shards: Shard, page: int = 3, listed: int = 2) -> None:
        self.shards = {shard.shard_id: shard for shard in shards}
        self.page = page  # records
        self.listed = listed  # shards on a page of DescribeStream
        self.errors: dict[str, list[AwsError]] = {}
        self.empty_pages = 0  # to be answered before the next page with records
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answered = asyncio.Event()

    async def call(self, operation: str, body: bytes, *, attempts: int = 8) -> bytes:
        request = json.loads(body)
        self.calls.append((operation, request))
        await asyncio.sleep(0)
        if self.errors.get(operation):
            raise self.errors[operation].pop(0)
        answers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "DescribeStream": self._describe,
            "GetShardIterator": self._iterator,
            "GetRecords": self._records,
        }
        return json.dumps(answers[operation](request)).encode()

    def service_now_s(self) -> float | None:
        return None

    def _describe(self, request: dict[str, Any]) -> dict[str, Any]:
        names = list(self.shards)
        first = names.index(request["ExclusiveStartShardId"]) + 1 if "ExclusiveStartShardId" in request else 0
        page = names[first : first + self.listed]
        last = {"LastEvaluatedShardId": page[-1]} if first + self.listed < len(names) else {}
        return {"StreamDescription": {"Shards": [self.shards[name].listed() for name in page], **last}}

    def _iterator(self, request: dict[str, Any]) -> dict[str, Any]:
        shard = self.shards.get(request["ShardId"])
        if shard is None:
            raise error_for("GetShardIterator", "ResourceNotFoundException", "no such shard")
        match request["ShardIteratorType"]:
            case "AFTER_SEQUENCE_NUMBER":
                after = int(request["SequenceNumber"])
                if after + 1 < shard.trimmed_before:
                    raise error_for("GetShardIterator", "TrimmedDataAccessException", "trimmed")
                position = sum(number <= after for number in shard.numbers)
            case "LATEST":
                position = len(shard.numbers)
            case "TRIM_HORIZON":
                position = sum(number < shard.trimmed_before for number in shard.numbers)
            case _:
                raise error_for("GetShardIterator", "InternalFailure", "as DynamoDB Local does", 500)
        return {"ShardIterator": f"{shard.shard_id}/{position}"}

    def _records(self, request: dict[str, Any]) -> dict[str, Any]:
        name, _, at = request["ShardIterator"].rpartition("/")
        position, shard = int(at), self.shards[name]
        if position < len(shard.numbers) and shard.numbers[position] < shard.trimmed_before:
            raise error_for("GetRecords", "TrimmedDataAccessException", "trimmed")
        if self.empty_pages:
            self.empty_pages -= 1
            return {"Records": [], "NextShardIterator": request["ShardIterator"]}
        page = shard.numbers[position : position + self.page]
        position += len(page)
        done = shard.closed and position == len(shard.numbers)
        following = {} if done else {"NextShardIterator": f"{name}/{position}"}
        return {"Records": [{"dynamodb": {"SequenceNumber": str(n)}} for n in page], **following}


class Reading:
    """A follower on a stub, and what it has handed out."""

    def __init__(self, stub: StubWire, fallback: Start | None = None) -> None:
        self.stub = stub
        self.seen: list[tuple[str, int]] = []
        self.trimmed: list[str] = []
        self.follower = Follower(
            cast(Wire, stub),
            ARN,
            records_decoder(Record),
            self._on_page,
            fallback=fallback or Start(at_s=1.0),
            on_trimmed=self.trimmed.append,
        )

    def _on_page(self, shard_id: str, records: list[Any]) -> str | None:
        self.seen += [(shard_id, int(record.change.sequence_number)) for record in records]
        return cast(str, records[-1].change.sequence_number)

    @property
    def numbers(self) -> list[int]:
        return [number for _, number in self.seen]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Reads until the condition holds; what ends the reading before that is raised."""
        reading = asyncio.create_task(self.follower.run())
        try:
            async with asyncio.timeout(WAIT_S):
                while not condition():
                    if reading.done():
                        await reading
                        raise AssertionError("the follower came to an end")
                    await asyncio.sleep(0)
        finally:
            await ended(reading)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restrike.aws.walk.IDLE_POLL_S", 0.0)
    monkeypatch.setattr("restrike.aws.walk.MAX_IDLE_POLL_S", 0.0)


def follow(
    stub: StubWire,
    want: int,
    *,
    starts: Mapping[str, Start] | None = None,
    otherwise: Start | None = None,
    meanwhile: Callable[[Reading], Awaitable[None]] | None = None,
) -> Reading:
    """Prepares and reads until that many records are there, and every shard is at its end."""

    async def go() -> Reading:
        reading = Reading(stub)
        await reading.follower.prepare(starts or {}, otherwise=otherwise or Start())
        if meanwhile is not None:
            await meanwhile(reading)
        reads = 0

        def idle() -> bool:
            nonlocal reads
            # Some rounds more than needed: what comes twice has to have its chance.
            reads += len(reading.seen) >= want
            return reads > 50

        await reading.until(idle)
        return reading

    return asyncio.run(go())


def family() -> list[Shard]:
    """A root that splits in two; one child has one child, the other splits again."""
    return [
        Shard("a", list(range(1, 8))),
        Shard("b", list(range(10, 15)), "a"),
        Shard("c", list(range(20, 24)), "a"),
        Shard("d", list(range(30, 39)), "b", closed=False),
        Shard("e", list(range(40, 42)), "c", closed=False),
        Shard("f", list(range(50, 57)), "c", closed=False),
    ]


def in_lineage(reading: Reading, shards: list[Shard]) -> None:
    """Each record once, in order in its shard, and a parent's last before its child's first."""
    assert max(Counter(reading.numbers).values(), default=1) == 1
    parents = {shard.shard_id: shard.parent for shard in shards}
    at: dict[str, list[int]] = {}
    for place, (shard_id, _) in enumerate(reading.seen):
        at.setdefault(shard_id, []).append(place)
    for shard_id, places in at.items():
        numbers = [reading.seen[place][1] for place in places]
        assert numbers == sorted(numbers), shard_id
        parent = parents[shard_id]
        if parent in at:
            assert max(at[parent]) < min(places), f"{shard_id} was read before its parent {parent} was at its end"


def all_numbers(shards: list[Shard]) -> list[int]:
    return sorted(number for shard in shards for number in shard.numbers)


def test_a_tree_of_splits_is_read_once_and_parents_first() -> None:
    shards = family()
    reading = follow(StubWire(*shards), want=34)
    assert sorted(reading.numbers) == all_numbers(shards)
    in_lineage(reading, shards)
    assert reading.trimmed == []


@pytest.mark.parametrize("turned", [False, True], ids=["parents-listed-first", "children-listed-first"])
def test_a_child_waits_although_both_became_ready_at_once(turned: bool) -> None:
    chain = [Shard("a", [1]), Shard("b", [2, 3, 4, 5, 6, 7], "a"), Shard("c", [8, 9], "b", closed=False)]
    reading = follow(StubWire(*(reversed(chain) if turned else chain), page=1), want=9)
    assert reading.numbers == list(range(1, 10))
    in_lineage(reading, chain)


def test_an_open_shard_that_splits_while_it_is_read() -> None:
    root = Shard("a", [1, 2], closed=False)
    stub = StubWire(root)

    async def go() -> Reading:
        reading = Reading(stub)
        await reading.follower.prepare({}, otherwise=Start(latest=True))
        root.numbers += [3, 4]
        root.closed = True
        left, right = Shard("b", [5, 6], "a", closed=False), Shard("c", [7], "a", closed=False)
        stub.shards |= {"b": left, "c": right}
        await reading.until(lambda: len(reading.seen) >= 5)
        return reading

    reading = asyncio.run(go())
    assert sorted(reading.numbers) == [3, 4, 5, 6, 7], "what was there before is left out, children are read whole"
    in_lineage(reading, [root, *stub.shards.values()])


def test_newest_end_leaves_out_closed_shards() -> None:
    shards = family()
    stub = StubWire(*shards)

    async def more(_: Reading) -> None:
        stub.shards["d"].numbers.append(100)
        stub.shards["e"].numbers.append(101)

    reading = follow(stub, want=2, otherwise=Start(latest=True), meanwhile=more)
    assert sorted(reading.numbers) == [100, 101]


def test_it_goes_on_behind_positions_and_into_the_children() -> None:
    shards = family()
    starts = {"a": Start(after="5"), "c": Start(after="21")}
    # c was being read, so that all of a is behind it; b was not begun: a's place tells how far its side is.
    reading = follow(StubWire(*shards), want=25, starts=starts)
    wanted = [6, 7, *range(10, 15), *range(30, 39), 22, 23, 40, 41, *range(50, 57)]
    assert sorted(reading.numbers) == sorted(wanted)
    in_lineage(reading, shards)


def test_a_place_in_a_shard_that_is_no_longer_listed_goes_on_with_its_children_at_once() -> None:
    children = [Shard("b", [10, 11], "a"), Shard("c", [20], "b", closed=False)]
    reading = follow(StubWire(*children), want=3, starts={"a": Start(after="5")}, otherwise=Start(latest=True))
    assert reading.numbers == [10, 11, 20]


def test_a_shard_that_goes_between_listing_and_reading_does_not_hold_its_children_up() -> None:
    stub = StubWire(Shard("a", [1, 2]), Shard("b", [3], "a", closed=False))
    gone = error_for("GetShardIterator", "ResourceNotFoundException", "trimmed away")
    stub.errors["GetShardIterator"] = [gone]
    reading = follow(stub, want=1, starts={"a": Start(after="1")})
    assert reading.numbers == [3]


def test_an_expired_iterator_is_taken_again_behind_the_last_record() -> None:
    shards = [Shard("a", list(range(1, 20)), closed=False)]
    stub = StubWire(*shards)
    expired = error_for("GetRecords", "ExpiredIteratorException", "too old")

    async def expire(reading: Reading) -> None:
        original = reading.follower._on_page

        def on_page(shard_id: str, records: list[Any]) -> str | None:
            stub.errors.setdefault("GetRecords", []).append(expired)
            return original(shard_id, records)

        reading.follower._on_page = on_page

    reading = follow(stub, want=19, meanwhile=expire)
    assert reading.numbers == list(range(1, 20))
    assert sum(operation == "GetShardIterator" for operation, _ in stub.calls) > 6


def test_an_iterator_that_expires_before_the_first_record_falls_back_to_the_start_of_the_run() -> None:
    shard = Shard("a", [1, 2], closed=False)
    stub = StubWire(shard)

    async def expire(_: Reading) -> None:
        stub.errors["GetRecords"] = [error_for("GetRecords", "ExpiredIteratorException", "too old")]
        shard.numbers += [3]

    reading = follow(stub, want=3, otherwise=Start(latest=True), meanwhile=expire)
    # AT_TIMESTAMP is refused here, as by DynamoDB Local: the whole shard is read, and who reads has to skip.
    assert reading.numbers == [1, 2, 3]
    kinds = [request["ShardIteratorType"] for operation, request in stub.calls if operation == "GetShardIterator"]
    assert kinds == ["LATEST", "AT_TIMESTAMP", "TRIM_HORIZON"]


def test_an_iterator_that_a_restarted_engine_does_not_know_is_taken_again() -> None:
    stub = StubWire(Shard("a", [1, 2, 3, 4], closed=False), page=2)
    stub.errors["GetRecords"] = [error_for("GetRecords", "ValidationException", "Invalid ShardIterator")]
    assert follow(stub, want=4).numbers == [1, 2, 3, 4]


def test_trimmed_data_is_told_and_reading_goes_on_at_the_oldest_record() -> None:
    shard = Shard("a", list(range(1, 10)), closed=False)
    shard.trimmed_before = 6
    reading = follow(StubWire(shard), want=4, starts={"a": Start(after="2")})
    assert reading.numbers == [6, 7, 8, 9]
    assert reading.trimmed == ["a"]


def test_what_is_trimmed_while_it_is_read_is_told_too() -> None:
    shard = Shard("a", list(range(1, 10)), closed=False)
    stub = StubWire(shard)

    async def trim(_: Reading) -> None:
        shard.trimmed_before = 4  # behind the iterator that was taken already

    reading = follow(stub, want=6, meanwhile=trim)
    assert reading.numbers == list(range(4, 10))
    assert reading.trimmed == ["a"]


def test_empty_pages_are_not_the_end() -> None:
    stub = StubWire(Shard("a", [1, 2, 3, 4]), Shard("b", [5], "a", closed=False))
    stub.empty_pages = 7
    reading = follow(stub, want=5)
    assert reading.numbers == [1, 2, 3, 4, 5]


def test_caught_up_waits_for_the_children_of_a_shard_that_ends() -> None:
    stub = StubWire(Shard("a", [1, 2, 3]), Shard("b", [4, 5], "a", closed=False))

    async def go() -> None:
        reading = Reading(stub)
        await reading.follower.prepare({}, otherwise=Start())
        marked = False

        def caught_up() -> bool:
            nonlocal marked
            if not marked and reading.follower._tasks:
                reading.follower.mark()
                marked = True
            return marked and reading.follower.caught_up

        await reading.until(caught_up)
        assert reading.numbers == [1, 2, 3, 4, 5]

    asyncio.run(go())


@pytest.mark.parametrize("operation", ["DescribeStream", "GetShardIterator", "GetRecords"])
def test_what_retries_do_not_mend_ends_the_reading(operation: str) -> None:
    stub = StubWire(*family())
    stub.errors[operation] = [error_for(operation, "AccessDeniedException", "no")]
    with pytest.raises(AccessDenied):
        follow(stub, want=1)


def test_list_shards_reads_every_page_and_none_twice() -> None:
    stub = StubWire(*family(), listed=1)
    found = asyncio.run(list_shards(cast(Wire, stub), ARN))
    assert list(found) == list("abcdef")
    assert [found[name].open for name in "abcdef"] == [False, False, False, True, True, True]
    assert sum(operation == "DescribeStream" for operation, _ in stub.calls) == 6


def test_an_iterator_of_a_forgotten_place_is_an_error_and_of_a_gone_shard_is_none() -> None:
    shard = Shard("a", [1, 2, 3])
    shard.trimmed_before = 3
    stub = cast(Wire, StubWire(shard))
    with pytest.raises(TrimmedData):
        asyncio.run(shard_iterator(stub, ARN, "a", Start(after="1")))
    assert asyncio.run(shard_iterator(stub, ARN, "gone", Start())).token is None
    assert asyncio.run(shard_iterator(stub, ARN, "gone", Start(at_s=1.0))).token is None


def test_an_unreadable_answer_is_a_fault_and_no_crash() -> None:
    class Garbage(StubWire):
        async def call(self, operation: str, body: bytes, *, attempts: int = 8) -> bytes:
            return b"<html>"

    with pytest.raises(ServiceFault):
        asyncio.run(list_shards(cast(Wire, Garbage()), ARN))


@st.composite
def trees(draw: st.DrawFn) -> list[Shard]:
    """Shards in any number of generations, in any order of listing; leaves are open, the rest is closed."""
    count = draw(st.integers(1, 9))
    parents = [draw(st.none() | st.integers(0, index - 1)) if index else None for index in range(count)]
    shards = []
    number = 1
    for index, parent in enumerate(parents):
        size = draw(st.integers(0, 7))
        numbers = list(range(number, number + size))
        number += size
        name = f"s{index}"
        shards.append(Shard(name, numbers, None if parent is None else f"s{parent}", closed=index in parents))
    return draw(st.permutations(shards))


@given(trees(), st.integers(1, 4), st.integers(1, 4), st.data())
@settings(max_examples=60, deadline=None)
def test_any_tree_from_any_place_in_each_lineage(
    shards: list[Shard], page: int, listed: int, data: st.DataObject
) -> None:
    """Read in part, stopped anywhere, and read on from the positions: together each record once, parents first."""
    total = len(all_numbers(shards))
    stub = StubWire(*shards, page=page, listed=listed)
    stub.empty_pages = data.draw(st.integers(0, 3))
    cut = data.draw(st.integers(0, total))
    first = follow_until(stub, cut, {})
    starts = {name: Start(after=str(max(n for s, n in first.seen if s == name))) for name, _ in first.seen}
    second = follow_until(stub, total - len(first.seen), starts)
    joined = Reading(stub)
    joined.seen = first.seen + second.seen
    assert sorted(joined.numbers) == all_numbers(shards)
    in_lineage(joined, shards)


def follow_until(stub: StubWire, want: int, starts: Mapping[str, Start]) -> Reading:
    async def go() -> Reading:
        reading = Reading(stub)
        await reading.follower.prepare(starts, otherwise=Start())
        await reading.until(lambda: len(reading.seen) >= want)
        return reading

    return asyncio.run(go())
