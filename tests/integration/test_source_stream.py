"""The source `stream:`: on DynamoDB Local, through a proxy that misbehaves, and on a shard tree of the tests' own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restrike.aws import pages as module
from restrike.aws import streams, walk
from restrike.aws.refusals import error_for
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.aws.streams import StreamInfo
from restrike.aws.walk import SIDE_BY_SIDE
from restrike.errors import AccessDenied, NotFound, ServiceFault, SourceLacks, Throttled, UsageError
from restrike.model.record import Record
from restrike.model.window import DRAINED, Gap, Window
from restrike.sources import SourceInfo
from restrike.sources.stream.reading import StreamSource
from tests.integration.tables import Table, create, until
from tests.servers.faults import ExpiredIterator, ServerError, Throttle, Trimmed, faulty
from tests.servers.shard_tree import ARN, END, START_S, Shard, Tree, untimed

WAIT_S = 600.0
HOUR_S, DAY_S = 3600.0, 86_400.0


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of an open shard is awaited for moments only, but for the test that is about it."""
    monkeypatch.setattr(module, "QUIET_S", 0.0)
    monkeypatch.setattr(module, "MOST_QUIET_S", 0.0)
    monkeypatch.setattr(module, "MOST_QUIET_PAGES", module.QUIET_PAGES)
    monkeypatch.setattr("restrike.aws.walk.HEIR_LOOKS", 2)
    monkeypatch.setattr("restrike.aws.walk.IDLE_POLL_S", 0.01)
    monkeypatch.setattr("restrike.aws.walk.MAX_IDLE_POLL_S", 0.02)


@pytest.fixture
def most_quiet(monkeypatch: pytest.MonkeyPatch) -> int:
    """The most of empty pages that an open shard's end takes, as it is; without the seconds."""
    monkeypatch.setattr(module, "MOST_QUIET_PAGES", 60)
    monkeypatch.setattr("restrike.aws.walk.IDLE_POLL_S", 0.0)
    monkeypatch.setattr("restrike.aws.walk.MAX_IDLE_POLL_S", 0.0)
    return 60


def local(endpoint_url: str) -> Aws:
    return Aws(AwsSettings(endpoint_url=endpoint_url))


class Reading:
    """What a source gave."""

    def __init__(self) -> None:
        self.pages: list[list[Record]] = []
        self.gaps: list[Gap] = []
        self.ended = ""
        self.drained: set[str] = set()

    @property
    def records(self) -> list[Record]:
        return [record for page in self.pages for record in page]

    @property
    def places(self) -> list[int]:
        return [record.place for record in self.records]


async def gather(
    source: StreamSource,
    *,
    after: Mapping[str, int] | None = None,
    window: Window | None = None,
    each: Callable[[list[Record]], object] | None = None,
    enough: int | None = None,
) -> Reading:
    reading = Reading()
    async with source, contextlib.aclosing(source.read(after or {}, window or Window())) as pages:
        async for page in pages:
            reading.pages.append(page)
            if each is not None:
                each(page)
            if enough is not None and len(reading.records) >= enough:
                break
    reading.gaps, reading.ended, reading.drained = source.gaps, source.ended, source.drained
    return reading


def read(endpoint_url: str, name: str, **options: Any) -> Reading:
    return asyncio.run(gather(StreamSource(local(endpoint_url), name), **options))


# ── on DynamoDB Local ────────────────────────────────────────────────────────────────────────────────────


def every_type() -> list[dict[str, Any]]:
    """Items of every type, in boto3's DynamoDB JSON."""
    return [
        {"pk": {"S": "text"}, "s": {"S": 'quotes " and \\ and / \u2028 \x00\x1f é 漢 🜚'}, "empty": {"S": ""}},
        {"pk": {"S": "number"}, "big": {"N": "1" * 38}, "small": {"N": "-1.2345E-120"}, "zero": {"N": "0"}},
        {"pk": {"S": "binary"}, "b": {"B": bytes(range(256))}, "empty": {"B": b""}},
        {
            "pk": {"S": "sets"},
            "ss": {"SS": ["b", "a", "é"]},
            "ns": {"NS": ["3", "1.5"]},
            "bs": {"BS": [b"\xff", b"\0"]},
        },
        {"pk": {"S": "flags"}, "t": {"BOOL": True}, "f": {"BOOL": False}, "n": {"NULL": True}},
        {"pk": {"S": "nested"}, "m": {"M": {"l": {"L": [{"M": {}}, {"L": []}, {"M": {'é."x': {"N": "1"}}}]}}}},
        {"pk": {"S": "large"}, "x": {"S": "x" * 390_000}},
    ]


def test_images_are_byte_for_byte_what_get_records_answers(dynamodb_local: str) -> None:
    table = create(dynamodb_local, ("pk", "S"))
    for item in every_type():
        table.dynamodb.put_item(TableName=table.name, Item=item)
    for item in every_type():
        changed = {**item, "again": {"S": "é"}}
        table.dynamodb.put_item(TableName=table.name, Item=changed)
        table.dynamodb.delete_item(TableName=table.name, Key={"pk": item["pk"]})
    answered = asyncio.run(raw_records(dynamodb_local, table.stream_arn))
    found = read(dynamodb_local, table.name)
    assert len(found.records) == 21
    member = b',"eventSourceARN":"%b"}' % table.stream_arn.encode()
    assert [record.raw for record in found.records] == [raw[:-1] + member for raw in answered]
    for record in found.records:
        change = json.loads(record.raw)["dynamodb"]
        assert json.loads(record.keys) == change["Keys"]
        assert record.place == int(record.sequence_number)
        assert ("OldImage" in change, "NewImage" in change) == {
            "INSERT": (False, True), "MODIFY": (True, True), "REMOVE": (True, False),
        }[record.event_name]  # fmt: skip
    assert {record.fidelity for record in found.records} == {"exact"}
    assert untimed(found.ended) == "end of the stream: nothing new at 1 shard after 5 empty pages over 0 s"
    assert found.gaps == []


async def raw_records(endpoint_url: str, arn: str) -> list[bytes]:
    """The records as they stand in the answers, cut out by their braces alone."""
    raw: list[bytes] = []
    async with streams.connect(local(endpoint_url)) as wire:
        for shard_id in await streams.list_shards(wire, arn):
            iterator = (await streams.shard_iterator(wire, arn, shard_id, streams.Start())).token
            while iterator:
                body = await wire.call("GetRecords", json.dumps({"ShardIterator": iterator}).encode())
                page = cut(body)
                if not page:
                    break
                raw += page
                iterator = json.loads(body).get("NextShardIterator")
    return raw


def cut(body: bytes) -> list[bytes]:
    text = body.decode()
    at = text.index("[", text.index('"Records"')) + 1
    found, decoder = [], json.JSONDecoder()
    while text[at] != "]":
        _, end = decoder.raw_decode(text, at)
        found.append(text[at:end].encode())
        at = end + (text[end] == ",")
    return found


def test_an_open_shard_is_at_its_end_after_five_empty_pages_over_three_seconds(
    dynamodb_local: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    table = create(dynamodb_local, ("pk", "S"), items=[{"pk": "a"}])
    with faulty(dynamodb_local) as proxy:
        began = time.monotonic()
        found = read(proxy.endpoint_url, table.name)
        took_s = time.monotonic() - began
    assert len(found.records) == 1
    assert took_s >= 3.0
    assert proxy.count("GetRecords") >= 6


def test_the_old_stream_of_a_table_that_was_switched_off_and_on(dynamodb_local: str) -> None:
    table = create(dynamodb_local, ("pk", "N"), items=[{"pk": n} for n in range(5)])
    old = table.stream_arn
    switch(table, None)
    with pytest.raises(SourceLacks) as caught:
        read(dynamodb_local, table.name)
    assert old in caught.value.hint
    switch(table, "KEYS_ONLY")
    table.load([{"pk": 100}])
    found = read(dynamodb_local, old)
    assert [json.loads(record.keys)["pk"]["N"] for record in found.records] == ["0", "1", "2", "3", "4"]
    assert {record.stream_arn for record in found.records} == {old}
    assert found.ended == "end of the stream: every shard is closed and read"
    assert [json.loads(record.keys)["pk"]["N"] for record in read(dynamodb_local, table.name).records] == ["100"]
    # Followed, a stream that was switched off has an end too.
    followed = asyncio.run(gather(StreamSource(local(dynamodb_local), old, follow=True)))
    assert len(followed.records) == 5
    info = asyncio.run(looked(StreamSource(local(dynamodb_local), old)))
    assert [code for code, _ in info.warnings] == ["stream-switched-off"]


async def looked(source: StreamSource, window: Window | None = None) -> SourceInfo:
    async with source:
        return await source.look(window or Window())


def switch(table: Table, view_type: str | None) -> None:
    specification: dict[str, Any] = {"StreamEnabled": view_type is not None}
    if view_type is not None:
        specification["StreamViewType"] = view_type
    table.dynamodb.update_table(TableName=table.name, StreamSpecification=specification)
    until(
        lambda: table.dynamodb.describe_table(TableName=table.name)["Table"]["TableStatus"] == "ACTIVE",
        "the table becomes active",
    )


def test_a_table_without_a_stream_and_one_that_is_not_there(dynamodb_local: str) -> None:
    table = create(dynamodb_local, ("pk", "S"), view_type=None)
    with pytest.raises(SourceLacks) as caught:
        read(dynamodb_local, table.name)
    assert f"table:{table.name}" in caught.value.hint
    with pytest.raises(NotFound):
        read(dynamodb_local, "no-such-table")
    with pytest.raises(NotFound):
        read(dynamodb_local, "arn:aws:dynamodb:ddblocal:000000000000:table/none/stream/2026-01-01T00:00:00.000")


def test_a_stream_of_another_region_is_refused_where_aws_is_asked() -> None:
    arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/t/stream/2026-01-01T00:00:00.000"
    with pytest.raises(UsageError) as caught:
        asyncio.run(gather(StreamSource(Aws(), arn)))
    assert "--region eu-west-1" in caught.value.hint


def test_any_place_is_one_to_go_on_from(dynamodb_local: str) -> None:
    table = create(dynamodb_local, ("pk", "N"), items=[{"pk": n} for n in range(40)])
    whole = read(dynamodb_local, table.name)
    shard = whole.records[0].shard
    first = whole.places[0]
    # A place may be a number that no record has: the one before a record's.
    for place in (whole.places[0], whole.places[19], whole.places[-1], whole.places[7] - 1, first - 1, first - 2):
        found = read(dynamodb_local, table.name, after={shard: max(place, 0)})
        assert found.places == [each for each in whole.places if each > place], place
        assert found.gaps == []
    done = read(dynamodb_local, table.name, after={shard: DRAINED})
    assert done.records == []


def test_expired_iterators_throttles_and_faults_leave_no_hole_and_nothing_twice(dynamodb_local: str) -> None:
    table = create(dynamodb_local, ("pk", "N"))
    for start in range(0, 3000, 500):
        table.load([{"pk": n, "x": "x" * 700} for n in range(start, start + 500)])
    faults = [
        ExpiredIterator(every=3),
        Throttle(("GetRecords", "GetShardIterator", "DescribeStream"), every=4, code="ThrottlingException"),
        ServerError("GetRecords", every=5),
    ]
    with faulty(dynamodb_local, faults) as proxy:
        found = read(proxy.endpoint_url, table.name)
    assert sorted(int(json.loads(record.keys)["pk"]["N"]) for record in found.records) == list(range(3000))
    assert found.places == sorted(set(found.places))
    assert found.gaps == []
    for kind in (ExpiredIterator, Throttle, ServerError):
        assert proxy.fired(kind), kind


def test_trimmed_records_are_told(dynamodb_local: str) -> None:
    table = create(dynamodb_local, ("pk", "N"), items=[{"pk": n} for n in range(10)])
    place = read(dynamodb_local, table.name).records[4]
    with faulty(dynamodb_local, [Trimmed("GetShardIterator", times=1)]) as proxy:
        found = read(proxy.endpoint_url, table.name, after={place.shard: place.place})
    # The service goes on at its oldest record; of those the ones behind the place are yielded.
    assert len(found.records) == 5
    (gap,) = found.gaps
    assert (gap.shard, gap.from_s, gap.to_s) == (place.shard, None, found.records[0].created_s)
    assert "24 hours" in gap.why
    with faulty(dynamodb_local, [Trimmed("GetRecords", times=1)]) as proxy:
        found = read(proxy.endpoint_url, table.name)
    assert len(found.records) == 10
    assert len(found.gaps) == 1
    # What the stream forgets is a day old: none of it lies in a window of an hour.
    with faulty(dynamodb_local, [Trimmed("GetRecords", times=1)]) as proxy:
        found = read(proxy.endpoint_url, table.name, window=Window(time.time() - 3600))
    assert len(found.records) == 10
    assert found.gaps == []


def test_access_denied_ends_the_reading_after_the_pages_before_it(dynamodb_local: str) -> None:
    from tests.servers.faults import AccessDenied as Denied

    table = create(dynamodb_local, ("pk", "N"), items=[{"pk": n} for n in range(3)])
    seen: list[Record] = []
    with faulty(dynamodb_local, [Denied("GetRecords", skip=1)]) as proxy, pytest.raises(AccessDenied):
        asyncio.run(gather(StreamSource(local(proxy.endpoint_url), table.name), each=seen.extend))
    assert len(seen) == 3


def test_patience_with_throttles_has_an_end(dynamodb_local: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    monkeypatch.setattr("restrike.aws.wire.retry_delay_s", lambda attempt: 0.0)
    table = create(dynamodb_local, ("pk", "N"))
    with faulty(dynamodb_local, [Throttle("GetRecords")]) as proxy, pytest.raises(Throttled):
        read(proxy.endpoint_url, table.name)


def test_following_from_the_newest_end(dynamodb_local: str) -> None:
    table = create(dynamodb_local, ("pk", "N"), items=[{"pk": n} for n in range(5)])

    async def go() -> None:
        source = StreamSource(local(dynamodb_local), table.name, follow=True, start_latest=True)
        async with source:
            assert (await source.look(Window())).count is None
            pages = source.read({}, Window())
            async with contextlib.aclosing(pages):
                waiting = asyncio.ensure_future(anext(pages))
                # Only what is written once the iterators are taken is certain to come.
                number = 100
                while not waiting.done():
                    await asyncio.to_thread(table.load, [{"pk": number}])
                    number += 1
                    await asyncio.wait({waiting}, timeout=0.02)
                first = await waiting
                assert all(int(json.loads(record.keys)["pk"]["N"]) >= 100 for record in first)
                await asyncio.to_thread(table.load, [{"pk": 9_999}])
                while int(json.loads(first[-1].keys)["pk"]["N"]) != 9_999:
                    first = await anext(pages)
            assert source.ended == "stopped before its end"
            assert source.started_s is not None
            started_s = source.started_s
        # A second part reads what was written between the parts, also where the first had no place yet.
        again = StreamSource(local(dynamodb_local), table.name, follow=True, start_latest=True, started_s=started_s)
        found = await gather(again, enough=number - 100)
        assert {int(json.loads(record.keys)["pk"]["N"]) for record in found.records} >= set(range(100, number))

    asyncio.run(go())


def test_start_latest_is_for_following() -> None:
    with pytest.raises(UsageError):
        StreamSource(Aws(), "t", start_latest=True)


def test_a_look_counts_and_tells(dynamodb_local: str) -> None:
    table = create(dynamodb_local, ("pk", "N"), items=[{"pk": n} for n in range(7)], view_type="KEYS_ONLY")
    info = asyncio.run(looked(StreamSource(local(dynamodb_local), table.name)))
    assert (info.count, info.at_least, info.view_type, info.table_name) == (7, False, "KEYS_ONLY", table.name)
    assert info.stream_arn == table.stream_arn
    assert info.first_s is not None
    assert info.expires_s == info.first_s + 86_400
    assert info.readers is not None
    later = asyncio.run(looked(StreamSource(local(dynamodb_local), table.name), Window(time.time() + 60)))
    assert later.count == 0


def test_pages_wait_until_they_are_taken(dynamodb_local: str) -> None:
    table = create(dynamodb_local, ("pk", "N"))
    for start in range(0, 300, 20):
        table.load([{"pk": n, "x": "x" * 100_000} for n in range(start, start + 20)])

    async def go() -> int:
        source = StreamSource(local(proxy.endpoint_url), table.name)
        async with source, contextlib.aclosing(source.read({}, Window())) as pages:
            await anext(pages)
            asked = -1
            while asked != (asked := proxy.count("GetRecords")):
                await asyncio.sleep(0.2)  # until it stands still: that is what is shown
            return asked

    with faulty(dynamodb_local) as proxy:
        asked = asyncio.run(go())
    # Of some 30 pages: one taken, those queued, and one in the reader's hand.
    assert asked <= 1 + module.QUEUED_PAGES + 1


def test_two_readings_of_one_source_are_the_same(dynamodb_local: str) -> None:
    table = create(dynamodb_local, ("pk", "N"), items=[{"pk": n} for n in range(7)])

    async def go() -> None:
        async with StreamSource(local(dynamodb_local), table.name) as source:
            first = [record.raw async for page in source.read({}, Window()) for record in page]
            second = [record.raw async for page in source.read({}, Window()) for record in page]
            assert first == second
            assert len(first) == 7

    asyncio.run(go())


# ── on a shard tree of the tests' own ────────────────────────────────────────────────────────────────────


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., StreamSource]:
    """A source on a tree, opened at START_S by the service's clock."""

    def open_on(
        tree: Tree, *, opened_s: float = START_S, created_s: float = START_S - 3600, **options: Any
    ) -> StreamSource:
        info = StreamInfo(ARN, "t", "KEYS_ONLY", tree.status, created_s)
        now = datetime.fromtimestamp(opened_s, UTC)
        monkeypatch.setattr(streams, "connect", lambda aws, connections: tree)
        monkeypatch.setattr(streams, "describe_stream", lambda aws, arn: (info, now))
        monkeypatch.setattr("restrike.sources.stream.reading.check_clock", lambda *_: None)  # START_S is to come
        return StreamSource(Aws(AwsSettings(endpoint_url="http://127.0.0.1:1")), ARN, **options)

    return open_on


Opener = Callable[..., StreamSource]


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


def check(reading: Reading, shards: list[Shard]) -> None:
    """Pages of one shard, its order, each record once, and a parent's last before its child's first."""
    at: dict[str, list[int]] = {}
    for number, page in enumerate(reading.pages):
        assert page
        assert len({record.shard for record in page}) == 1
        at.setdefault(page[0].shard, []).append(number)
    assert max(Counter(reading.places).values(), default=1) == 1
    for shard in shards:
        places = [record.place for record in reading.records if record.shard == shard.name]
        assert places == sorted(places)
        if shard.parent in at and shard.name in at:
            assert max(at[shard.parent]) < min(at[shard.name])


def all_numbers(shards: list[Shard]) -> list[int]:
    return sorted(number for shard in shards for number in shard.numbers)


@pytest.mark.parametrize("turn", [False, True], ids=["parents-listed-first", "children-listed-first"])
def test_a_tree_of_splits(on: Opener, turn: bool) -> None:
    shards = family()
    tree = Tree(*(reversed(shards) if turn else shards))
    found = asyncio.run(gather(on(tree)))
    assert sorted(found.places) == all_numbers(shards)
    check(found, shards)
    assert untimed(found.ended) == "end of the stream: nothing new at 3 shards after 5 empty pages over 0 s"
    assert found.drained == {"a", "b", "c"}
    assert found.gaps == []


def test_empty_pages_in_a_closed_shard_are_not_its_end(on: Opener) -> None:
    shards = [Shard("a", [1, 2, 3, 4]), Shard("b", [5], "a")]
    tree = Tree(*shards, page=2)
    tree.empty_pages = 12
    found = asyncio.run(gather(on(tree)))
    assert found.places == [1, 2, 3, 4, 5]
    assert found.ended == "end of the stream: every shard is closed and read"


def test_the_end_is_the_first_record_that_is_newer_than_the_start(on: Opener) -> None:
    one, other = Shard("a", [1, 2], closed=False), Shard("b", [10], closed=False)
    # The service's clock is told in whole seconds: what is stamped with the next one may be from before.
    one.put(3, 0.0)
    one.put(4, 1.0)
    one.put(5, 2.0)
    one.put(6, 3.0)
    found = asyncio.run(gather(on(Tree(one, other, page=2))))
    assert sorted(found.places) == [1, 2, 3, 4, 10]
    assert (
        untimed(found.ended)
        == "end of the stream: a newer record at 1 shard, nothing new at 1 shard after 5 empty pages over 0 s"
    )
    assert "a" not in found.drained


def test_a_stream_that_never_stands_still_has_an_end(on: Opener) -> None:
    shard = Shard("a", [1], closed=False)

    def write(name: str, numbers: list[int]) -> None:
        last = shard.numbers[-1]
        for number in range(last + 1, last + 4):
            shard.put(number, number / 10)

    tree = Tree(shard)
    tree.on_records = write
    found = asyncio.run(gather(on(tree)))
    assert found.places == list(range(1, 11))
    assert found.ended == "end of the stream: a newer record at 1 shard"


def sparse(*, pages: int, at_s: float = -HOUR_S) -> Tree:
    """An open shard with records of five hours ago and, behind empty pages, of an hour ago."""
    shard = Shard("a", [1, 2, 3], closed=False, at_s=-5 * HOUR_S)
    shard.put(4, at_s)
    shard.put(5, at_s)
    shard.sparse = {4: pages}
    return Tree(shard)


@pytest.mark.parametrize("at_timestamp", [True, False])
@pytest.mark.parametrize("since_s", [None, START_S - 4 * HOUR_S])
@pytest.mark.parametrize("after", [{}, {"a": 3}])
def test_records_behind_more_than_five_empty_pages(
    on: Opener, most_quiet: int, after: dict[str, int], since_s: float | None, at_timestamp: bool
) -> None:
    tree = sparse(pages=most_quiet - 1)
    tree.at_timestamp = at_timestamp
    found = asyncio.run(gather(on(tree, created_s=START_S - DAY_S), after=after, window=Window(since_s=since_s)))
    assert found.places[-2:] == [4, 5]
    assert untimed(found.ended) == f"end of the stream: nothing new at 1 shard after {most_quiet} empty pages over 0 s"


def test_empty_pages_that_come_once_more_count_once_more(on: Opener, most_quiet: int) -> None:
    """An iterator that has expired is taken anew behind the last record, and all of the empty pages are before it."""
    tree = sparse(pages=most_quiet - 1)
    tree.at_timestamp = False
    call = tree.call

    async def expire(operation: str, body: bytes, *, attempts: int = 8) -> bytes:
        if operation == "GetRecords" and tree.count("GetRecords") == most_quiet - 10:
            tree.errors["GetRecords"] = [error_for("GetRecords", "ExpiredIteratorException", "old")]
        return await call(operation, body, attempts=attempts)

    tree.call = expire  # type: ignore[method-assign]
    found = asyncio.run(gather(on(tree, created_s=START_S - DAY_S)))
    assert found.places == [1, 2, 3, 4, 5]


def test_a_guess_that_was_wrong_shortens_nothing(on: Opener, most_quiet: int) -> None:
    """A closed parent may seem to be read, and its child begins where it was closed, hours ago."""
    parent, child = Shard("a", [1], at_s=-5 * HOUR_S), Shard("b", [], "a", closed=False)
    parent.put(2, -4 * HOUR_S)
    child.put(3, -HOUR_S)
    parent.sparse, child.sparse = {2: most_quiet + 10, END: most_quiet + 10}, {3: most_quiet - 10}
    tree = Tree(parent, child, at_timestamp=False)
    assert asyncio.run(gather(on(tree, created_s=START_S - DAY_S))).places == [1, 2, 3]


def test_a_shard_that_has_a_record_by_time_is_read_on_beyond_all_patience(on: Opener, most_quiet: int) -> None:
    found = asyncio.run(gather(on(sparse(pages=3 * most_quiet), created_s=START_S - DAY_S)))
    assert found.places == [1, 2, 3, 4, 5]


def test_a_shard_that_never_gives_the_record_that_it_has_is_an_error(on: Opener, most_quiet: int) -> None:
    tree = sparse(pages=10**9)
    with pytest.raises(ServiceFault, match="shard a holds records that it does not give: 10 times 60 empty pages"):
        asyncio.run(gather(on(tree, created_s=START_S - DAY_S)))
    assert tree.count("GetRecords") < 11 * most_quiet + 3 * module.DOUBTS


def test_a_record_by_time_that_is_newer_than_the_end_is_no_doubt(on: Opener, most_quiet: int) -> None:
    found = asyncio.run(gather(on(sparse(pages=10**9, at_s=10.0), created_s=START_S - DAY_S)))
    assert found.places == [1, 2, 3]
    assert untimed(found.ended) == f"end of the stream: nothing new at 1 shard after {most_quiet} empty pages over 0 s"


@pytest.mark.parametrize(
    ("created_s", "record_s", "pages"),
    [(DAY_S, 299.0, 5), (60.0, None, 5), (DAY_S, 20 * 60.0, 20), (30 * 60.0, None, 30), (DAY_S, None, 60)],
    ids=["read-to-near-now", "a-young-stream", "twenty-minutes", "a-stream-of-half-an-hour", "a-day"],
)
def test_patience_goes_by_how_far_from_now_the_place_is(
    on: Opener, most_quiet: int, created_s: float, record_s: float | None, pages: int
) -> None:
    tree = Tree(Shard("a", [] if record_s is None else [1], closed=False, at_s=-(record_s or 0.0)))
    tree.now_s = START_S
    found = asyncio.run(gather(on(tree, created_s=START_S - created_s)))
    assert untimed(found.ended) == f"end of the stream: nothing new at 1 shard after {pages} empty pages over 0 s"


def test_patience_is_of_pages_and_of_seconds(on: Opener, most_quiet: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(module, "time", SimpleNamespace(time=time.time, monotonic=lambda: next(ticks) / 2))
    monkeypatch.setattr(module, "MOST_QUIET_S", 60.0)
    tree = Tree(Shard("a", [], closed=False), at_timestamp=False)
    found = asyncio.run(gather(on(tree, created_s=START_S - DAY_S)))
    assert found.ended == "end of the stream: nothing new at 1 shard after 121 empty pages over 60 s"  # two a second
    assert tree.count("GetRecords") == 121


def test_a_shard_that_is_read_far_from_now_is_asked_once_a_second(
    on: Opener, most_quiet: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was asked four times a second, which made 240 pages of the 60 that are promised."""
    now_s = 0.0
    sleep = asyncio.sleep

    async def elapse(pause_s: float) -> None:
        nonlocal now_s
        now_s += pause_s
        await sleep(0)

    monkeypatch.setattr(module, "time", SimpleNamespace(time=time.time, monotonic=lambda: now_s))
    monkeypatch.setattr(walk, "IDLE_POLL_S", 0.25)
    monkeypatch.setattr(walk, "MAX_IDLE_POLL_S", 1.0)
    monkeypatch.setattr(module, "MOST_QUIET_S", 60.0)
    source = on(Tree(Shard("a", [], closed=False), at_timestamp=False), created_s=START_S - DAY_S)
    monkeypatch.setattr(asyncio, "sleep", elapse)
    found = asyncio.run(gather(source))
    assert found.ended == "end of the stream: nothing new at 1 shard after 62 empty pages over 60 s"


def test_a_plan_takes_the_least_for_an_end_and_says_that_there_may_be_more(on: Opener, most_quiet: int) -> None:
    source = on(sparse(pages=most_quiet), created_s=START_S - DAY_S, looking=True)
    info = asyncio.run(looked(source))
    assert (info.count, info.at_least, info.guessed) == (3, True, True)
    assert asyncio.run(gather(source)).places == [1, 2, 3]
    near = Tree(Shard("a", [1], closed=False, at_s=-60.0))
    near.now_s = START_S
    info = asyncio.run(looked(on(near)))
    assert (info.count, info.at_least, info.guessed) == (1, False, False)


@pytest.mark.parametrize("filters", [True, False])
@pytest.mark.parametrize("others", [0, 1, 9])
def test_a_shard_that_splits_at_the_moment_it_is_drained(
    on: Opener, monkeypatch: pytest.MonkeyPatch, others: int, filters: bool
) -> None:
    """Its children are listed moments later."""
    monkeypatch.setattr(walk, "HEIR_LOOKS", 10)
    parent, left, right = Shard("a", [1, 2]), Shard("b", [3], "a", closed=False), Shard("c", [4], "a", closed=False)
    rest = [Shard(f"o{number}", [100 + number], closed=False) for number in range(others)]
    tree = Tree(parent, left, right, *rest, listed=100)
    tree.filters = filters
    left.listed_after = right.listed_after = 7  # two are asked before a page is
    found = asyncio.run(gather(on(tree)))
    assert sorted(found.places) == all_numbers([*tree.shards.values()])
    assert found.drained == {"a"}


def test_an_heir_that_never_comes_is_looked_for_ten_times(on: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "HEIR_LOOKS", 10)
    tree = Tree(Shard("a", [1]))
    assert asyncio.run(gather(on(tree))).places == [1]
    assert tree.count("DescribeStream") == 2 + 10
    tree = Tree(Shard("a", [1]))
    tree.status = "DISABLED"
    assert asyncio.run(gather(on(tree))).places == [1]
    assert tree.count("DescribeStream") <= 2 + 2
    tree = Tree(Shard("a", [1]), Shard("b", [2], "a", closed=False))
    assert asyncio.run(gather(on(tree))).places == [1, 2]
    assert tree.count("DescribeStream") == 2 + 2  # the usual case: it is listed already, and nobody waits


@pytest.mark.parametrize(
    ("code", "asked"),
    [("ThrottlingException", 9), ("InternalServerError", 9), ("ValidationException", 1)],
)
def test_one_refusal_of_the_filter_does_not_say_that_the_service_does_not_know_it(
    on: Opener, monkeypatch: pytest.MonkeyPatch, code: str, asked: int
) -> None:
    """All shards were listed from then on, for as long as the stream was followed."""
    monkeypatch.setattr(walk, "HEIR_LOOKS", 10)
    tree = Tree(Shard("a", [1]))

    def refuse(name: str, numbers: list[int]) -> None:
        tree.errors["DescribeStream"] = [error_for("DescribeStream", code, "not now")]

    tree.on_records = refuse
    assert asyncio.run(gather(on(tree))).places == [1]
    assert sum("ShardFilter" in request for _, request in tree.calls) == asked


def test_a_lower_bound_that_is_to_come_is_asked_for_as_now(on: Opener) -> None:
    """The service refuses it, and a day of records was read instead."""
    tree = Tree(Shard("a", [1, 2], closed=False, at_s=-HOUR_S))
    tree.now_s = START_S
    found = asyncio.run(gather(on(tree), window=Window(since_s=START_S + 30)))
    assert found.places == []
    asked = [request for operation, request in tree.calls if operation == "GetShardIterator"]
    assert {request["ShardIteratorType"] for request in asked} == {"AT_TIMESTAMP"}
    assert max(request["Timestamp"] for request in asked) < START_S


def test_a_question_for_a_time_that_is_denied_is_an_error(on: Opener) -> None:
    tree = Tree(Shard("a", [1], closed=False))
    tree.errors["GetShardIterator"] = [error_for("GetShardIterator", "AccessDeniedException", "no")]
    with pytest.raises(AccessDenied):
        asyncio.run(gather(on(tree), window=Window(START_S - 900)))


def test_children_of_a_shard_that_was_left_at_the_end_are_not_read(on: Opener) -> None:
    parent = Shard("a", [1])
    parent.put(2, 10.0)
    found = asyncio.run(gather(on(Tree(parent, Shard("b", [3], "a", at_s=20.0)))))
    assert found.places == [1]


def test_a_shard_that_splits_while_it_is_read(on: Opener) -> None:
    shards = [Shard("a", [1, 2], closed=False)]
    tree = Tree(*shards)

    def split(name: str, numbers: list[int]) -> None:
        if name == "a" and not numbers:
            shards[0].closed = True
            tree.shards |= {"b": Shard("b", [3, 4], "a", closed=False), "c": Shard("c", [5], "a", closed=False)}

    tree.on_records = split
    found = asyncio.run(gather(on(tree, follow=True), enough=5))
    assert sorted(found.places) == [1, 2, 3, 4, 5]
    check(found, list(tree.shards.values()))
    assert found.places[:2] == [1, 2]


def test_a_child_that_is_listed_late_is_found_when_following(on: Opener) -> None:
    tree = Tree(Shard("a", [1]), Shard("other", [100], closed=False))

    def late(name: str, numbers: list[int]) -> None:
        if tree.count("DescribeStream") > 6:
            tree.shards.setdefault("b", Shard("b", [2], "a", closed=False))

    tree.on_records = late
    found = asyncio.run(gather(on(tree, follow=True), enough=3))
    assert sorted(found.places) == [1, 2, 100]


BROKEN = [b'{"Records":[{"dynamodb":', b'{"Records":"none"}', b'{"Records":[{"eventID":"1"}],"NextShardIterator":"x"}']


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("broken", BROKEN, ids=["cut-off", "no-records", "no-record"])
def test_an_answer_that_is_broken_is_asked_for_again(on: Opener, broken: bytes, follow: bool) -> None:
    """One such answer ended whoever followed."""
    tree = Tree(*family())
    tree.broken = [broken, broken]
    numbers = all_numbers(family())
    found = asyncio.run(gather(on(tree, follow=follow), enough=len(numbers) if follow else None))
    assert sorted(found.places) == numbers
    check(found, family())


def test_answers_that_stay_broken_are_an_error_with_an_end(on: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "retry_delay_s", lambda attempt: 0.0)
    tree = Tree(*family())
    tree.broken = [BROKEN[0]] * 100
    with pytest.raises(ServiceFault, match="unreadable answer"):
        asyncio.run(gather(on(tree)))
    assert tree.count("GetRecords") == walk.BROKEN_IN_A_ROW + 1


def test_following_ends_where_the_stream_is_switched_off(on: Opener) -> None:
    tree = Tree(Shard("a", [1, 2], closed=False))

    def off(name: str, numbers: list[int]) -> None:
        if not numbers:
            tree.shards["a"].closed = True
            tree.status = "DISABLED"

    tree.on_records = off
    found = asyncio.run(gather(on(tree, follow=True)))
    assert found.places == [1, 2]
    assert found.ended == "end of the stream: every shard is closed and read"


def test_following_ends_at_an_open_shard_of_a_stream_that_is_switched_off(
    on: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was followed until the stream was forgotten. What comes before the end is read."""
    monkeypatch.setattr(walk, "REFRESH_SHARDS_S", 0.05)
    shard = Shard("a", [1, 2], closed=False)
    tree = Tree(shard)
    looks = itertools.count()

    def off(name: str, numbers: list[int]) -> None:
        if not numbers and next(looks) == 20:  # later than an end is guessed elsewhere
            tree.status = "DISABLED"
            shard.put(3, 1.0)

    tree.on_records = off
    found = asyncio.run(asyncio.wait_for(gather(on(tree, follow=True)), WAIT_S))
    assert found.places == [1, 2, 3]
    assert untimed(found.ended) == "end of the stream: nothing new at 1 shard after 5 empty pages over 0 s"
    assert found.drained == set()


def test_following_to_the_end_of_the_window(on: Opener) -> None:
    now = time.time()
    shard = Shard("a", [1, 2], closed=False, at_s=now - START_S - 50)
    shard.put(3, now - START_S + 100)
    quiet = Shard("b", [10], closed=False, at_s=now - START_S - 50)
    source = on(Tree(shard, quiet), opened_s=now, created_s=now - 60, follow=True)
    found = asyncio.run(gather(source, window=Window(until_s=now - 5)))
    assert sorted(found.places) == [1, 2, 10]
    assert (
        untimed(found.ended)
        == "end of the window: a newer record at 1 shard, nothing new at 1 shard after 5 empty pages over 0 s"
    )


def test_latest_leaves_out_what_is_there_and_reads_children_from_their_oldest(on: Opener) -> None:
    tree = Tree(Shard("old", [1, 2]), Shard("a", [3, 4], "old", closed=False))

    def split(name: str, numbers: list[int]) -> None:
        if not tree.shards["a"].closed:
            tree.shards["a"].put(5, 5.0)
            tree.shards["a"].closed = True
            tree.shards["b"] = Shard("b", [6, 7], "a", closed=False, at_s=6.0)

    tree.on_records = split
    found = asyncio.run(gather(on(tree, follow=True, start_latest=True), enough=3))
    assert found.places == [5, 6, 7]


@pytest.mark.parametrize("at_timestamp", [True, False])
def test_resuming_at_the_newest_end_reads_what_came_since_the_start(on: Opener, at_timestamp: bool) -> None:
    # As DynamoDB Local, without AT_TIMESTAMP, stamps are rounded down to the minute.
    shards = [
        Shard("a", [1, 2], at_s=-3600),
        Shard("b", [3], "a", closed=False, at_s=-3600),
        Shard("c", [9], closed=False),
    ]
    shards[1].put(4, 10)
    tree = Tree(*shards, at_timestamp=at_timestamp)
    source = on(tree, opened_s=START_S + 600, follow=True, start_latest=True, started_s=START_S)
    found = asyncio.run(gather(source, after={"c": 9}, enough=1))
    assert found.places == [4]


@pytest.mark.parametrize("at_timestamp", [True, False])
def test_a_lower_bound(on: Opener, at_timestamp: bool) -> None:
    shards = [Shard("a", [1, 2], at_s=-3000), Shard("b", [3], "a", closed=False, at_s=-2000)]
    shards[1].put(4, -900)
    shards[1].put(5, -600)
    tree = Tree(*shards, at_timestamp=at_timestamp)
    found = asyncio.run(gather(on(tree), window=Window(START_S - 900)))
    assert found.places == [4, 5]
    asked = [request for operation, request in tree.calls if operation == "GetShardIterator"]
    assert sum(request.get("Timestamp") == START_S - 900 for request in asked) == 2
    kinds = Counter(request["ShardIteratorType"] for request in asked)
    assert kinds["TRIM_HORIZON"] == (0 if at_timestamp else 2)


def test_a_shard_that_has_more_is_read_on_without_a_pause(on: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restrike.aws.walk.IDLE_POLL_S", 3600.0)
    monkeypatch.setattr("restrike.aws.walk.MAX_IDLE_POLL_S", 3600.0)
    tree = Tree(Shard("a", list(range(1, 100))), page=3)
    tree.status = "DISABLED"  # else an heir would be awaited
    found = asyncio.run(asyncio.wait_for(gather(on(tree)), WAIT_S))
    assert found.places == list(range(1, 100))


def test_an_upper_bound_ends_the_reading(on: Opener) -> None:
    shard = Shard("a", [1, 2], closed=False, at_s=-1000)
    for number in range(3, 300):
        shard.put(number, -500.0)
    tree = Tree(shard)
    found = asyncio.run(gather(on(tree), window=Window(until_s=START_S - 900)))
    assert found.places == [1, 2]
    assert tree.count("GetRecords") == 1


def test_a_throttled_question_for_a_time_is_asked_again(on: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "retry_delay_s", lambda attempt: 0.0)
    monkeypatch.setattr("restrike.aws.walk.retry_delay_s", lambda attempt: 0.0)
    tree = Tree(Shard("a", [1], closed=False))
    refusals = ("LimitExceededException", 400), ("InternalServerError", 500), ("LimitExceededException", 400)
    tree.errors["GetShardIterator"] = [error_for("GetShardIterator", code, "", status) for code, status in refusals]
    asyncio.run(gather(on(tree), window=Window(START_S - 900)))
    kinds = {request["ShardIteratorType"] for op, request in tree.calls if op == "GetShardIterator"}
    assert kinds == {"AT_TIMESTAMP"}


def test_trimmed_records_are_a_gap_with_its_times(on: Opener) -> None:
    shard = Shard("a", list(range(1, 10)), closed=False)
    for number in shard.numbers:
        shard.created[number] = START_S - 100 + number
    shard.trimmed = 6
    found = asyncio.run(gather(on(Tree(shard)), after={"a": 2}))
    assert found.places == [6, 7, 8, 9]
    (gap,) = found.gaps
    assert (gap.shard, gap.from_s, gap.to_s) == ("a", None, START_S - 94)
    shard.trimmed = 0
    tree = Tree(shard)

    def trim(name: str, numbers: list[int]) -> None:
        if 3 in numbers:
            shard.trimmed = 6

    tree.on_records = trim
    found = asyncio.run(gather(on(tree)))
    assert found.places == [1, 2, 3, 6, 7, 8, 9]
    (gap,) = found.gaps
    assert (gap.from_s, gap.to_s) == (START_S - 97, START_S - 94)


def test_a_shard_that_is_gone_is_a_gap_unless_it_was_drained(on: Opener) -> None:
    tree = Tree(Shard("b", [5, 6], "a", closed=False))
    found = asyncio.run(gather(on(tree), after={"a": 3, "b": 5}))
    assert found.places == [6]
    assert [gap.shard for gap in found.gaps] == ["a"]
    found = asyncio.run(gather(on(tree), after={"a": DRAINED, "b": 5}))
    assert found.places == [6]
    assert found.gaps == []


def test_a_shard_that_goes_away_after_it_was_listed_is_a_gap(on: Opener) -> None:
    tree = Tree(Shard("a", [1]), Shard("b", [2], "a", closed=False))
    tree.errors["GetShardIterator"] = [error_for("GetShardIterator", "ResourceNotFoundException", "gone")]
    found = asyncio.run(gather(on(tree)))
    assert found.places == [2]
    assert [gap.shard for gap in found.gaps] == ["a"]


def test_a_window_from_before_the_streams_memory_is_a_gap(on: Opener) -> None:
    shards = [Shard("a", [1], closed=False)]
    old = on(Tree(*shards), created_s=START_S - 10 * 86_400)
    found = asyncio.run(gather(old, window=Window(START_S - 3 * 86_400)))
    (gap,) = found.gaps
    assert (gap.from_s, gap.to_s) == (START_S - 3 * 86_400, START_S - 86_400)
    assert asyncio.run(looked(old, Window(START_S - 3 * 86_400))).warnings
    # Of a stream of an hour ago nothing is lost.
    found = asyncio.run(gather(on(Tree(*shards)), window=Window(START_S - 3 * 86_400)))
    assert found.gaps == []


def test_a_parent_and_its_child_both_with_places(on: Opener) -> None:
    """With lanes a parent's place may lag behind while its child has one: both are gone on with, the parent first."""
    shards = family()
    found = asyncio.run(gather(on(Tree(*shards)), after={"b": 12, "d": 33}))
    check(found, shards)
    left_out = {10, 11, 12, 30, 31, 32, 33}
    assert sorted(found.places) == [each for each in all_numbers(shards) if each not in left_out]


def test_drained_shards_are_not_read_again(on: Opener) -> None:
    shards = family()
    tree = Tree(*shards)
    found = asyncio.run(gather(on(tree), after={"a": DRAINED, "b": DRAINED, "c": DRAINED, "d": 33}))
    assert sorted(found.places) == [*range(34, 39), 40, 41, *range(50, 57)]
    asked = {request["ShardId"] for operation, request in tree.calls if operation == "GetShardIterator"}
    assert asked == {"d", "e", "f"}
    # Also where all there is was drained.
    tree = Tree(Shard("a", [1, 2]))
    assert asyncio.run(gather(on(tree), after={"a": DRAINED})).records == []


def test_many_shards_at_bounded_width_and_few_listings(on: Opener) -> None:
    """300 chains of three: at most 16 requests at a time, and no new listing for each shard that ends."""
    shards = [
        Shard(f"{chain}-{age}", [chain * 10 + age], f"{chain}-{age - 1}" if age else None, closed=age < 2)
        for chain in range(300)
        for age in range(3)
    ]
    tree = Tree(*shards, listed=100)
    found = asyncio.run(gather(on(tree)))
    assert sorted(found.places) == all_numbers(shards)
    check(found, shards)
    assert tree.most_at_once <= SIDE_BY_SIDE
    assert tree.count("DescribeStream") <= 9 * 4


@st.composite
def trees(draw: st.DrawFn) -> list[Shard]:
    """Shards in any number of generations, listed in any order; leaves may be open, the rest is closed."""
    count = draw(st.integers(1, 9))
    parents = [draw(st.none() | st.integers(0, index - 1)) if index else None for index in range(count)]
    shards, number = [], 1
    for index, parent in enumerate(parents):
        size = draw(st.integers(0, 7))
        closed = index in parents or draw(st.booleans())
        name = None if parent is None else f"s{parent}"
        shards.append(Shard(f"s{index}", list(range(number, number + size)), name, closed=closed))
        number += size
    return draw(st.permutations(shards))


@given(trees(), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_tree_read_in_two_parts(
    on: Opener, shards: list[Shard], page: int, listed: int, empty: int, data: st.DataObject
) -> None:
    """Stopped anywhere, also inside a page, and gone on with: together each record once, parents first."""
    tree = Tree(*shards, page=page, listed=listed)
    tree.empty_pages = empty
    whole = asyncio.run(gather(on(tree)))
    check(whole, shards)
    assert sorted(whole.places) == all_numbers(shards)
    kept = whole.records[: data.draw(st.integers(0, len(whole.records)))]
    places = {record.shard: record.place for record in kept}
    rest = asyncio.run(gather(on(tree), after=places))
    check(rest, shards)
    assert sorted([record.place for record in kept] + rest.places) == all_numbers(shards)
