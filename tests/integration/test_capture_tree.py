"""Capture, on a shard tree of the tests' own: whatever happens, every record is in the archive once.

Times are around START_S, which begins an hour: what is stamped before is of the hour before.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

import obstore.store
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import restrike
from restrike.archive.inspection import verify
from restrike.archive.layout import GAPS, HOUR_S, DataFile, StreamName, data_file, hour_of
from restrike.archive.places import opened
from restrike.archive.reader import ArchiveReader
from restrike.archive.state import CaptureState, encoded, gaps, load
from restrike.aws import pages, streams
from restrike.aws.refusals import error_for
from restrike.aws.session import Aws
from restrike.aws.streams import RETENTION_S, StreamInfo
from restrike.aws.walk import REFRESH_SHARDS_S
from restrike.capturing import takeover as module
from restrike.capturing.plan import CapturePlan
from restrike.capturing.request import CaptureOptions
from restrike.capturing.stream import StreamCapture
from restrike.capturing.tally import CaptureTally
from restrike.errors import AccessDenied, RestrikeError, ServiceFault, Unreachable, UsageError
from restrike.model.record import Record
from restrike.model.window import Gap, Window
from restrike.running.stop import Stop
from restrike.sources.archive.reading import ArchiveSource
from restrike.stores import open_store
from restrike.stores.objects import Store
from tests.integration.tables import create
from tests.servers.ministack import MiniStack
from tests.servers.shard_tree import ARN, START_S, Shard, Tree, untimed

T = TypeVar("T")

STREAM = StreamName("t", "s")
NOON = hour_of(START_S)
DAY_S = RETENTION_S
EVERYTHING = Window()
WAIT_S = 600.0


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is awaited, is awaited for moments."""
    monkeypatch.setattr(pages, "QUIET_S", 0.0)
    monkeypatch.setattr(pages, "MOST_QUIET_S", 0.0)
    monkeypatch.setattr(pages, "MOST_QUIET_PAGES", pages.QUIET_PAGES)
    monkeypatch.setattr("restrike.aws.walk.HEIR_LOOKS", 2)
    monkeypatch.setattr("restrike.aws.walk.IDLE_POLL_S", 0.01)
    monkeypatch.setattr("restrike.aws.walk.MAX_IDLE_POLL_S", 0.02)
    monkeypatch.setattr(streams, "retry_delay_s", lambda attempt: 0.0)
    monkeypatch.setattr("restrike.aws.walk.retry_delay_s", lambda attempt: 0.0)


# ── capturing and reading ────────────────────────────────────────────────────────────────────────────────


Hook = Callable[[str, str], object]


class Bucket(Store):
    """An object store in memory, which locks nothing and replaces conditionally, as S3 does. `before` and `after` see
    each operation and path, and may raise."""

    def __init__(self, objects: obstore.store.MemoryStore | None = None) -> None:
        super().__init__(objects or obstore.store.MemoryStore(), "memory")
        self.before: Hook = lambda operation, path: None
        self.after: Hook = lambda operation, path: None

    def again(self) -> Bucket:
        """The same objects, for another capture."""
        return Bucket(self._store)

    def _hooked(self, operation: str, path: str, work: Callable[[], T]) -> T:
        self.before(operation, path)
        answer = work()
        self.after(operation, path)
        return answer

    def read(self, path: str) -> tuple[bytes, str] | None:
        return self._hooked("read", path, lambda: Store.read(self, path))

    def create(self, path: str, data: bytes) -> bool:
        return self._hooked("create", path, lambda: Store.create(self, path, data))

    def replace(self, path: str, data: bytes, etag: str) -> str | None:
        return self._hooked("replace", path, lambda: Store.replace(self, path, data, etag))


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty archive: a folder of this disk, and a prefix in a bucket of MiniStack."""
    if request.param == "disk":
        return folder(tmp_path)
    stack: MiniStack = request.getfixturevalue("ministack")
    bucket = f"b-{uuid.uuid4().hex[:12]}"
    stack.client("s3").create_bucket(Bucket=bucket)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", stack.endpoint_url)
    return open_store(f"s3://{bucket}/streams/kept", Aws)


def folder(path: Path) -> Store:
    return open_store(str(path / "a"), lambda: Aws(), create=True)


def capturing(
    store: Store,
    tree: Tree,
    *,
    now_s: float = START_S,
    stop: Stop | None = None,
    tally: CaptureTally | None = None,
    **options: Any,
) -> Coroutine[Any, Any, str]:
    info = StreamInfo(ARN, "t", "NEW_AND_OLD_IMAGES", tree.status, START_S - 10 * DAY_S)
    chosen = CaptureOptions(**{"poll_s": 0.02, **options})
    return StreamCapture(
        tree,  # type: ignore[arg-type]  # it is what a Wire is here
        store,
        STREAM,
        info,
        now_s,
        {"HASH": "pk"},
        chosen,
        tally or CaptureTally(),
        stop or Stop(),
    ).run()


def once(store: Store, tree: Tree, **options: Any) -> str:
    return asyncio.run(asyncio.wait_for(capturing(store, tree, **options), WAIT_S))


async def follow(store: Store, tree: Tree, enough: Callable[[], bool], **options: Any) -> str:
    """Captures until `enough`, then stops."""
    stop = Stop()
    task = asyncio.create_task(capturing(store, tree, follow=True, stop=stop, **options))
    await until(lambda: enough() or task.done())
    stop.set()
    return await asyncio.wait_for(task, WAIT_S)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.005)


def files(store: Store) -> list[DataFile]:
    """The data files of the archive, each shard's by its first number."""
    found = [data_file(each.path, each.size_bytes, each.etag) for each in store.objects(STREAM.folder)]
    return sorted(each for each in found if each is not None)


def numbers(store: Store) -> list[int]:
    """All that lies in the files, as often as it lies there."""
    found: list[int] = []
    for file in files(store):
        parquet = opened(store, file)[0]
        for group in range(parquet.groups):
            found += [int(number) for number in parquet.column(group, "sequence_number")]
    return sorted(found)


def read(store: Store, window: Window = EVERYTHING) -> list[Record]:
    return [record for group in ArchiveReader(store, STREAM).read(window, {}) for record in group]


def places(records: Iterable[Record]) -> list[int]:
    return [record.place for record in records]


def state_of(store: Store) -> CaptureState:
    found = load(store, STREAM)
    assert found is not None
    return found[0]


def rewrite_state(store: Store, change: Callable[[CaptureState], object]) -> None:
    found = load(store, STREAM)
    assert found is not None
    change(found[0])
    assert store.replace(STREAM.state_path, encoded(found[0]), found[1]) is not None


def check(store: Store, tree: Tree, shards: Iterable[Shard], expected: Iterable[int] | None = None) -> None:
    """Every record of the shards is in the archive once, where it belongs, and is read once, in order, as it was."""
    shards = list(shards)
    wanted = sorted(expected if expected is not None else (each for shard in shards for each in shard.numbers))
    assert numbers(store) == wanted
    of = {number: shard for shard in shards for number in shard.numbers}
    for file in files(store):
        parquet = opened(store, file)[0]
        inside = [int(each) for group in range(parquet.groups) for each in parquet.column(group, "sequence_number")]
        assert inside == sorted(inside)
        assert (inside[0], inside[-1]) == (file.first, parquet.last)
        hours = [hour_of(of[number].created[number]) for number in inside]
        assert hours[0] == file.hour == max(hours)
    found = read(store)
    assert sorted(places(found)) == wanted
    at: dict[str, list[int]] = {}
    for position, record in enumerate(found):
        at.setdefault(record.shard, []).append(position)
    for shard in shards:
        own = [found[position].place for position in at.get(shard.name, ())]
        assert own == sorted(own)
        if shard.parent in at and shard.name in at:
            assert max(at[shard.parent]) < min(at[shard.name])
    for record in found:
        shard = of[record.place]
        assert record.shard == shard.name
        answered = tree.record(shard, record.place)
        told = json.loads(record.raw)
        assert told == {**answered, "eventSourceARN": ARN}
        for name in ("Keys", "NewImage", "OldImage"):
            if name in answered["dynamodb"]:
                # As the answer spelled it, with its white space and escapes.
                assert f'"{name}":{json.dumps(answered["dynamodb"][name])}'.encode() in record.raw


def family() -> list[Shard]:
    """A root that splits in two; one child has one child, the other splits again. The root is of the hour before."""
    return [
        Shard("a", list(range(1, 8)), at_s=-4000),
        Shard("b", list(range(10, 15)), "a", at_s=-3000),
        Shard("c", list(range(20, 24)), "a", at_s=-3000),
        Shard("d", list(range(30, 39)), "b", closed=False),
        Shard("e", list(range(40, 42)), "c", closed=False, at_s=0.0),
        Shard("f", list(range(50, 57)), "c", closed=False, at_s=0.0),
    ]


# ── a tree ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("turn", [False, True], ids=["parents-listed-first", "children-listed-first"])
@pytest.mark.parametrize("flush_bytes", [1, 2_000, 64_000_000])
def test_a_tree_of_splits_is_in_the_archive_once(store: Store, turn: bool, flush_bytes: int) -> None:
    shards = family()
    tree = Tree(*(reversed(shards) if turn else shards), images=True)
    ended = "end of the stream: nothing new at 3 shards after 5 empty pages over 0 s"
    assert untimed(once(store, tree, flush_bytes=flush_bytes)) == ended
    check(store, tree, shards)
    state = state_of(store)
    assert {name for name, shard in state.shards.items() if shard.done} == {"a", "b", "c"}
    assert (state.owner, state.ended) == (None, None)
    # Once more: nothing new, and nothing twice.
    before = files(store)
    once(store, tree)
    assert files(store) == before


def test_expired_iterators_throttles_and_empty_pages_leave_no_hole_and_nothing_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "QUIET_PAGES", 60)  # all of the empty ones, some 27, may come to one shard
    shards = family()
    tree = Tree(*shards, page=2, images=True)
    expired = error_for("GetRecords", "ExpiredIteratorException", "old")
    throttled = error_for("GetRecords", "LimitExceededException", "slow")
    tree.empty_pages = 7
    asked = 0

    def misbehave(name: str, served: list[int]) -> None:
        nonlocal asked
        asked += 1
        if asked % 2:
            tree.errors["GetRecords"] = [expired, throttled]
            tree.errors["GetShardIterator"] = [error_for("GetShardIterator", "ThrottlingException", "slow")]
        if asked % 3 == 0:
            tree.empty_pages += 2

    tree.on_records = misbehave
    once(store, tree, flush_bytes=1)
    check(store, tree, shards)
    assert asked > 20
    assert gaps(store, STREAM) == []


@pytest.fixture
def most_quiet(monkeypatch: pytest.MonkeyPatch) -> int:
    """The most of empty pages that an open shard's end takes, as it is; without the seconds."""
    monkeypatch.setattr(pages, "MOST_QUIET_PAGES", 60)
    monkeypatch.setattr("restrike.aws.walk.IDLE_POLL_S", 0.0)
    monkeypatch.setattr("restrike.aws.walk.MAX_IDLE_POLL_S", 0.0)
    return 60


def sparse(empty_pages: int) -> Tree:
    """An open shard with records of five hours ago and, behind empty pages, of an hour ago."""
    shard = Shard("a", [1, 2, 3], closed=False, at_s=-5 * HOUR_S)
    shard.put(4, -HOUR_S)
    shard.sparse = {4: empty_pages}
    return Tree(shard, images=True)


@pytest.mark.parametrize("at_timestamp", [True, False])
def test_a_sparse_shard_is_captured_to_its_end(tmp_path: Path, most_quiet: int, at_timestamp: bool) -> None:
    """Each start ended at the same place before, until the stream had forgotten the records."""
    store, tree = folder(tmp_path), sparse(most_quiet - 1)
    tree.at_timestamp = at_timestamp
    ended = once(store, tree)
    assert untimed(ended) == f"end of the stream: nothing new at 1 shard after {most_quiet} empty pages over 0 s"
    check(store, tree, tree.shards.values())
    # Its next record, an hour of nothing later.
    tree.shards["a"].put(5, HOUR_S)
    tree.shards["a"].sparse = {5: most_quiet - 1}
    once(store, tree, now_s=START_S + 2 * HOUR_S)
    check(store, tree, tree.shards.values())
    assert gaps(store, STREAM) == []


def test_a_shard_that_does_not_give_what_it_has_ends_a_capture_in_an_error(tmp_path: Path, most_quiet: int) -> None:
    store, tree = folder(tmp_path), sparse(10**9)
    with pytest.raises(ServiceFault, match="holds records that it does not give"):
        once(store, tree)
    assert numbers(store) == [1, 2, 3]
    # What was looked at in vain is not said to be in the archive.
    assert state_of(store).shards["a"].read_to_s <= START_S - 5 * HOUR_S
    tree.shards["a"].sparse = {}
    once(store, tree)
    check(store, tree, tree.shards.values())


def test_empty_pages_of_a_followed_shard_do_not_say_that_it_is_read(
    tmp_path: Path, most_quiet: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gap is told by what was read: what seems to be read and is not would be lost without a word."""
    store, tree = folder(tmp_path), sparse(10**9)
    tree.at_timestamp = False

    def asked() -> int:
        return tree.count("GetRecords")

    monkeypatch.setattr(pages, "MOST_QUIET_S", WAIT_S)
    asyncio.run(follow(store, tree, lambda: asked() >= most_quiet + 5))
    assert state_of(store).shards["a"].read_to_s <= START_S - 5 * HOUR_S
    monkeypatch.setattr(pages, "MOST_QUIET_S", 0.0)
    before = asked()
    asyncio.run(follow(store, tree, lambda: asked() >= before + most_quiet + 5))
    assert state_of(store).shards["a"].read_to_s >= START_S - 60


@pytest.mark.parametrize("filters", [True, False])
def test_a_shard_that_splits_at_the_moment_it_is_drained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filters: bool
) -> None:
    monkeypatch.setattr("restrike.aws.walk.HEIR_LOOKS", 10)
    store = folder(tmp_path)
    parent, child = Shard("a", [1, 2]), Shard("b", [3, 4], "a", closed=False)
    tree = Tree(parent, child, Shard("other", [100], closed=False), images=True, listed=100)
    tree.filters = filters
    child.listed_after = 8
    once(store, tree)
    check(store, tree, tree.shards.values())
    assert {name for name, shard in state_of(store).shards.items() if shard.done} == {"a"}


def test_a_followed_shard_that_splits_and_a_child_that_is_listed_late(store: Store) -> None:
    tree = Tree(Shard("a", [1, 2], closed=False), Shard("other", [100], closed=False), images=True)

    def split(name: str, served: list[int]) -> None:
        shard = tree.shards["a"]
        if name == "a" and not served and not shard.closed:
            shard.put(3, 1.0)
            shard.closed = True
        if shard.closed and tree.count("DescribeStream") > 12:
            tree.shards.setdefault("b", Shard("b", [4, 5], "a", closed=False, at_s=2.0))
            tree.shards.setdefault("c", Shard("c", [6], "a", closed=False, at_s=2.0))

    tree.on_records = split
    tally = CaptureTally()
    assert asyncio.run(follow(store, tree, lambda: tally.records == 7, tally=tally, flush_s=0.05)) == "stopped"
    check(store, tree, tree.shards.values())
    # A child says whose it is, also when it was born after the capture began.
    assert {opened(store, file)[0].about.parent_shard for file in files(store) if file.shard in "bc"} == {"a"}


def test_what_is_held_when_a_follow_is_stopped_is_put(store: Store) -> None:
    shards = family()
    tree = Tree(*shards, images=True)
    tally = CaptureTally()

    def all_read() -> bool:
        quiet = Counter(json.dumps(request) for operation, request in tree.calls if operation == "GetRecords")
        ends = [quiet[json.dumps({"ShardIterator": f"{s.name}/{len(s.numbers)}", "Limit": 1000})] for s in shards[3:]]
        return min(ends) > 2

    assert asyncio.run(follow(store, tree, all_read, tally=tally)) == "stopped"
    check(store, tree, shards)
    assert tally.records == sum(len(shard.numbers) for shard in shards)
    assert tally.held_bytes == 0


def test_a_stream_that_was_switched_off_is_captured_to_its_end_and_said_to_be(store: Store) -> None:
    shards = [Shard("a", [1, 2]), Shard("b", [3], "a")]
    tree = Tree(*shards, images=True)
    tree.status = "DISABLED"
    ended = once(store, tree, follow=True)
    assert ended == "end of the stream: every shard is closed and read"
    assert state_of(store).ended == ended
    check(store, tree, shards)


def test_an_open_shard_of_a_stream_that_was_switched_off_ends_a_capture_and_is_looked_at_again(tmp_path: Path) -> None:
    """Whoever followed it did so until the stream was forgotten."""
    store, shard = folder(tmp_path), Shard("a", [1, 2], closed=False)
    tree = Tree(shard, images=True)
    tree.status = "DISABLED"
    ended = once(store, tree, follow=True)
    assert untimed(ended) == "end of the stream: nothing new at 1 shard after 5 empty pages over 0 s"
    assert state_of(store).ended is None
    shard.put(3, 1.0)
    shard.closed = True
    ended = once(store, tree, follow=True)
    assert state_of(store).ended == ended == "end of the stream: every shard is closed and read"
    check(store, tree, [shard])


def test_a_closed_shard_is_put_before_its_children(tmp_path: Path) -> None:
    """Whoever reads an archive that is being written, or whose capture was killed, has no child without its parent's
    last records."""
    shards = [Shard("a", [1, 2]), Shard("b", list(range(10, 40)), "a")]
    tree = Tree(*shards, images=True)
    store = Bucket()
    put: list[str] = []
    store.after = lambda operation, path: put.append(path) if path.endswith(".parquet") else None
    once(store, tree, flush_bytes=4_000)  # the child is the larger of the two
    assert len(put) > 2
    assert ["/a." in path for path in put] == [True] + [False] * (len(put) - 1)
    check(store, tree, shards)


@st.composite
def trees(draw: st.DrawFn) -> list[Shard]:
    """Shards in any number of generations, over hours, with stragglers. Numbers rise within a lineage; those of two
    lineages tell nothing of each other."""
    count = draw(st.integers(1, 7))
    shards: list[Shard] = []
    parents = [draw(st.none() | st.integers(0, index - 1)) if index else None for index in range(count)]
    ends: list[tuple[int, float]] = []  # what is added to the lineage's numbers, and the time
    number = 0
    for index, parent in enumerate(parents):
        closed = index in parents or draw(st.booleans())
        if parent is None:
            added, at_s = draw(st.sampled_from([0, 10**22, 10**25])), -20.0 * HOUR_S
        else:
            added, at_s = ends[parent]
        shard = Shard(f"s{index}", [], None if parent is None else f"s{parent}", closed=closed)
        for _ in range(draw(st.integers(0, 6))):
            number += draw(st.integers(1, 3))
            at_s += draw(st.sampled_from([0.0, 1.0, 600.0, 1500.0]))
            late_s = draw(st.sampled_from([0.0, 0.0, 1.0, 700.0]))
            shard.put(added + number, at_s - late_s)
        shards.append(shard)
        ends.append((added, at_s))
    return draw(st.permutations(shards))


class Killed(RestrikeError):
    """What ends a capture as a kill does: nothing more is written."""


def killed_after(writes: int, *, half: bool) -> tuple[Hook, Hook]:
    """Hooks of a store in which just so many writes are done; the next is done too, if `half`, and not answered."""
    left = writes

    def before(operation: str, path: str) -> None:
        nonlocal left
        if operation != "read":
            left -= 1
            if left < 0 and not (half and left == -1):
                raise Killed("killed")

    def after(operation: str, path: str) -> None:
        if operation != "read" and left < 0:
            raise Killed("killed")

    return before, after


@given(trees(), st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_tree_in_any_number_of_captures_that_are_killed(
    shards: list[Shard], page: int, listed: int, empty: int, data: st.DataObject
) -> None:
    """Killed behind any write, also between a file and the state, and gone on with: each record once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STALE_S", 0.0)
        tree = Tree(*shards, page=page, listed=listed, images=True)
        tree.empty_pages = empty
        store = Bucket()
        for _ in range(data.draw(st.integers(0, 4))):
            dying = store.again()
            dying.before, dying.after = killed_after(data.draw(st.integers(0, 12)), half=data.draw(st.booleans()))
            with contextlib.suppress(Killed):
                once(dying, tree, flush_bytes=data.draw(st.sampled_from([1, 1_500, 5_000, 10**6])))
        once(store, tree, flush_bytes=data.draw(st.sampled_from([1, 1_500, 10**6])))
        check(store, tree, shards)
        assert gaps(store, STREAM) == []


@given(trees(), st.integers(1, 4), st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_tree_in_parts_that_are_stopped(
    tmp_path: Path, shards: list[Shard], page: int, data: st.DataObject
) -> None:
    """Followed, and stopped after any number of pages, on a disk; what is written meanwhile comes too."""
    tree = Tree(*shards, page=page, images=True)
    store = open_store(tempfile.mkdtemp(dir=tmp_path), lambda: Aws(), create=True)
    for _ in range(data.draw(st.integers(1, 3))):
        calls = len(tree.calls) + data.draw(st.integers(0, 25))
        assert asyncio.run(
            follow(store, tree, lambda calls=calls: len(tree.calls) >= calls, flush_bytes=1_500, flush_s=0.05)  # type: ignore[misc]  # bound now
        ) in ("stopped", "end of the stream: every shard is closed and read")
    once(store, tree, flush_bytes=1)
    check(store, tree, shards)
    # Any window gives all that it holds, stragglers too.
    first_s = data.draw(st.integers(-21 * HOUR_S, 0))
    window = Window(START_S + first_s, START_S + data.draw(st.integers(first_s, 0)))
    inside = {each for shard in shards for each in shard.numbers if window.holds(shard.created[each])}
    assert inside <= set(places(read(store, window)))


# ── hours ────────────────────────────────────────────────────────────────────────────────────────────────


def around_the_hour() -> Shard:
    """Records of two hours with two stragglers, 4 and 6."""
    shard = Shard("a", [], closed=False)
    for number, at_s in enumerate([-3, -1, 0, -1, 0.5, -2, 1], start=1):
        shard.put(number, at_s)
    return shard


def test_files_are_cut_at_the_hour_and_a_straggler_stays_in_its_run(store: Store) -> None:
    shard = around_the_hour()
    tree = Tree(shard, images=True, page=10)
    once(store, tree)
    assert [(file.first, file.hour) for file in files(store)] == [(1, NOON - 1), (3, NOON)]
    assert files(store)[0].path == (f"table=t/stream=s/date=2027-01-15/hour=07/a.{1:040d}.parquet")
    check(store, tree, [shard])
    # Asked for the hour before, the reader finds the stragglers in the file of the hour behind.
    assert {1, 2, 4, 6} <= set(places(read(store, Window(START_S - HOUR_S, START_S))))
    assert {3, 5, 7} <= set(places(read(store, Window(START_S, START_S + HOUR_S))))
    assert read(store, Window(START_S - 3 * HOUR_S, START_S - HOUR_S)) == []


def test_a_run_that_begins_with_a_straggler_is_filed_an_hour_earlier(store: Store) -> None:
    shard = around_the_hour()
    tree = Tree(shard, images=True, page=1)
    once(store, tree, flush_bytes=1)
    by_number = [file.hour for file in files(store)]
    assert by_number != sorted(by_number)
    check(store, tree, [shard])
    # Gone on with behind a straggler's file, which lies in an older folder than the one before it.
    shard.put(8, -1.0)
    once(store, tree, flush_bytes=1)
    assert files(store)[-1].hour == NOON - 1
    rewrite_state(store, lambda state: state.shards.clear())
    shard.put(9, 1.0)
    once(store, tree, flush_bytes=1)
    check(store, tree, [shard])


def test_a_straggler_is_read_behind_the_file_before_it_whatever_other_shards_hold(store: Store) -> None:
    """The numbers of two lineages tell nothing of each other: a far higher one must not draw a file forward."""
    other = Shard("other", [10**25], closed=False, at_s=-HOUR_S - 10)
    shard = Shard("a", [], closed=False)
    for number, at_s in ((1, -10), (2, 0), (3, -1), (4, 1)):
        shard.put(number, at_s)
    tree = Tree(shard, other, images=True, page=1)
    once(store, tree, flush_bytes=1)
    check(store, tree, [shard, other])


def test_a_child_that_begins_with_a_straggler_is_read_behind_its_parent(store: Store) -> None:
    parent, child = Shard("a", [], closed=True), Shard("b", [], "a", closed=False)
    for number, at_s in ((1, -10), (2, 0)):
        parent.put(number, at_s)
    for number, at_s in ((3, -1), (4, 1)):
        child.put(number, at_s)
    tree = Tree(parent, child, images=True, page=1)
    once(store, tree)
    assert [file.hour for file in files(store)] == [NOON - 1, NOON, NOON - 1, NOON]
    check(store, tree, [parent, child])


# ── going on ─────────────────────────────────────────────────────────────────────────────────────────────


def test_the_files_win_over_a_state_that_is_older_or_says_less(store: Store) -> None:
    shards = family()
    tree = Tree(*shards, images=True)
    once(store, tree, flush_bytes=1_500)
    before = files(store)

    def forgets_all(state: CaptureState) -> None:
        state.shards.clear()

    def knows_no_file(state: CaptureState) -> None:
        for shard in state.shards.values():
            shard.last, shard.hour, shard.done, shard.read_to_s = None, None, False, START_S - 5_000

    def is_behind(state: CaptureState) -> None:
        for name, shard in state.shards.items():
            shard.last, shard.done = str(tree.shards[name].numbers[0]), False

    for change in (forgets_all, knows_no_file, is_behind):
        rewrite_state(store, change)
        once(store, tree)
        assert files(store) == before, change
    assert gaps(store, STREAM) == []
    check(store, tree, shards)


def test_without_its_state_a_capture_goes_on_behind_its_files(store: Store) -> None:
    """Also one that is told to begin at the newest end: the archive has something of the stream already."""
    shard = Shard("a", [1, 2])
    child = Shard("b", [3], "a", closed=False)
    tree = Tree(shard, child, images=True)
    once(store, tree)
    store.delete(STREAM.state_path)
    child.put(4, -50.0)
    tree.shards["c"] = Shard("c", [5, 6], closed=False)
    once(store, tree, latest=True)
    check(store, tree, tree.shards.values())


def test_a_start_at_the_newest_end_that_was_ended_before_its_first_file(store: Store) -> None:
    old = Shard("old", [1, 2], at_s=-5000)
    shard = Shard("a", [3, 4], "old", closed=False, at_s=-4000)
    tree = Tree(old, shard, images=True)

    def listening() -> bool:
        return tree.count("GetRecords") > 3

    asyncio.run(follow(store, tree, listening, latest=True))
    assert files(store) == []
    # What came while no capture ran; the shard has closed since, and its children are read from their oldest record.
    shard.put(5, 10.0)
    shard.closed = True
    tree.shards |= {"b": Shard("b", [6, 7], "a", closed=False, at_s=20.0), "c": Shard("c", [8], "a", at_s=20.0)}
    once(store, tree, now_s=START_S + 60, latest=True)
    check(store, tree, tree.shards.values(), [5, 6, 7, 8])


def test_a_follow_from_the_newest_end_reads_children_from_their_oldest_record(store: Store) -> None:
    tree = Tree(Shard("a", [1, 2], closed=False), images=True)

    def split(name: str, served: list[int]) -> None:
        if name == "a" and not tree.shards["a"].closed:
            tree.shards["a"].put(3, 0.0)
            tree.shards["a"].closed = True
            tree.shards["b"] = Shard("b", [4, 5], "a", closed=False, at_s=1.0)

    tree.on_records = split
    tally = CaptureTally()
    asyncio.run(follow(store, tree, lambda: tally.records == 3, tally=tally, latest=True, flush_s=0.05))
    check(store, tree, tree.shards.values(), [3, 4, 5])


def test_a_lower_bound_counts_for_the_first_capture_only(store: Store) -> None:
    shard = Shard("a", [1, 2], closed=False, at_s=-4000)
    shard.put(3, -100.0)
    tree = Tree(shard, images=True)
    once(store, tree, since_s=START_S - 200)
    shard.put(4, -50.0)
    once(store, tree, since_s=START_S - 10)
    check(store, tree, [shard], [3, 4])


# ── gaps ─────────────────────────────────────────────────────────────────────────────────────────────────


def long_ago(hours: float) -> Callable[[CaptureState], None]:
    """A state that was last looked after so long ago."""

    def change(state: CaptureState) -> None:
        state.saved_s -= hours * HOUR_S
        for shard in state.shards.values():
            shard.read_to_s -= hours * HOUR_S

    return change


async def told(store: Store, window: Window) -> list[Gap]:
    """What the source of a replay says is missing."""
    async with ArchiveSource(lambda: Aws(), store.uri) as source:
        await source.look(window)
        looked = source.gaps
        async for _ in source.read({}, window):
            pass
        assert source.gaps == looked
        return looked


@pytest.mark.parametrize("gone", [True, False], ids=["the-shards-are-gone", "one-shard-is-left"])
def test_a_pause_of_more_than_24_hours_is_one_gap(store: Store, gone: bool) -> None:
    shard = Shard("a", [1, 2], closed=False, at_s=-29 * HOUR_S)
    other = Shard("b", [100], closed=False, at_s=-29 * HOUR_S)
    tree = Tree(shard, other, images=True)
    began_s = START_S - 29 * HOUR_S
    once(store, tree, now_s=began_s)
    later = Shard("c", [10, 11], "a", closed=False)
    shard.numbers += [3, 4, 5]
    shard.created |= dict.fromkeys([3, 4], START_S - 28 * HOUR_S) | {5: START_S - 100}
    shard.trimmed = 5
    shard.closed = True
    tree.shards["c"] = later
    if gone:
        del tree.shards["a"], tree.shards["b"]
    expected = [1, 2, 10, 11, 100] + ([] if gone else [5])
    once(store, tree)
    (gap,) = gaps(store, STREAM)
    assert began_s - 5 <= gap.from_s <= began_s + 60
    assert gap.to_s == pytest.approx(START_S - DAY_S, abs=60)
    assert set(gap.shards) == {"a", "b"}
    (entry,) = store.objects(f"{STREAM.folder}/{GAPS}")
    # An hour and a day later nothing more is missing: it was looked after.
    for hours in (1, 24, 40):
        later.put(later.numbers[-1] + 1, hours * HOUR_S - 10.0)
        expected.append(later.numbers[-1])
        once(store, tree, now_s=START_S + hours * HOUR_S)
        assert store.objects(f"{STREAM.folder}/{GAPS}") == [entry], hours
    assert numbers(store) == sorted(expected)

    # A replay is told of it when it asks for that time, and not otherwise.
    def asked(first_s: float, end_s: float) -> list[Gap]:
        return asyncio.run(told(store, Window(first_s, end_s)))

    assert asked(START_S - 27 * HOUR_S, START_S - 26 * HOUR_S) == [gap.as_gap()]
    assert asked(START_S - 80 * HOUR_S, START_S) == [gap.as_gap()]
    assert asked(START_S - 3 * HOUR_S, START_S) == []
    assert asked(START_S - 80 * HOUR_S, START_S - 30 * HOUR_S) == []


def test_a_pause_of_less_than_24_hours_is_no_gap(store: Store) -> None:
    shard = Shard("a", [1, 2], closed=False, at_s=-23 * HOUR_S)
    tree = Tree(shard, images=True)
    once(store, tree, now_s=START_S - 23 * HOUR_S)
    shard.put(3, -20.0 * HOUR_S)
    once(store, tree)
    check(store, tree, [shard])
    assert gaps(store, STREAM) == []


def test_an_idle_shard_whose_place_the_stream_forgot_is_no_gap(store: Store) -> None:
    """Its last record is older than a day, but it was looked at five minutes ago."""
    shard, busy = Shard("a", [1, 2], closed=False, at_s=-30 * HOUR_S), Shard("b", [50], closed=False)
    tree = Tree(shard, busy, images=True)
    once(store, tree, now_s=START_S - 29.9 * HOUR_S)
    for hours in (20.0, 300 / HOUR_S):
        once(store, tree, now_s=START_S - hours * HOUR_S)
    shard.put(3, -10.0)
    shard.trimmed = 3
    once(store, tree)
    check(store, tree, [shard, busy])
    assert gaps(store, STREAM) == []


def test_an_idle_shard_that_has_gone_away_is_no_gap_then_nor_later(store: Store) -> None:
    idle, busy = Shard("a", [1], closed=False, at_s=-30 * HOUR_S), Shard("b", [50], closed=False, at_s=-50)
    tree = Tree(idle, busy, images=True)
    for hours in (29.0, 10.0, 0.1):
        once(store, tree, now_s=START_S - hours * HOUR_S)
    del tree.shards["a"]
    for hours in (0, 20, 40):  # of now on
        once(store, tree, now_s=START_S + hours * HOUR_S)
        assert gaps(store, STREAM) == [], hours
    assert numbers(store) == [1, 50]


@pytest.mark.parametrize("empty", [0, 1], ids=["", "after-an-empty-page"])
def test_records_that_the_stream_forgets_while_they_are_read_are_a_gap(
    store: Store, monkeypatch: pytest.MonkeyPatch, empty: int
) -> None:
    """Neither a short page nor an empty one says that a shard is read to its end."""
    shard = Shard("a", [], closed=False)
    for number in range(1, 21):
        shard.put(number, -23.5 * HOUR_S + number)
    busy = Shard("b", list(range(100, 130)), closed=False)
    tree = Tree(shard, busy, page=1, images=True)

    def trim(name: str, served: list[int]) -> None:
        if served == [11]:
            tree.empty_pages = 2 * empty
        if served == [12]:
            shard.trimmed = 18

    tree.on_records = trim

    # The clock goes on by an hour while the capture is slow to read.
    with monkeypatch.context() as patch:
        clock = time.time
        patch.setattr(time, "time", lambda: clock() + (HOUR_S if shard.trimmed else 0.0))
        once(store, tree, flush_bytes=1)
    assert numbers(store) == [*range(1, 13), 18, 19, 20, *range(100, 130)]
    (gap,) = gaps(store, STREAM)
    assert gap.shards == ("a",)
    assert shard.created[1] <= gap.from_s <= shard.created[13]
    assert gap.to_s >= shard.created[17]


@pytest.mark.parametrize("busy_pages", [0, 40])
def test_a_place_that_the_stream_forgot_is_one_gap(store: Store, busy_pages: int) -> None:
    """Also while other shards have their pages before that one goes on."""
    shard = Shard("a", [1, 2, 3], closed=False, at_s=-30 * HOUR_S)
    busy = Shard("b", list(range(100, 100 + busy_pages)), closed=False)
    tree = Tree(shard, images=True, page=1)
    once(store, tree, now_s=START_S - 29 * HOUR_S)
    tree.shards["b"] = busy
    shard.numbers += [4, 5]
    shard.created |= {4: START_S - 28 * HOUR_S, 5: START_S - 10}
    shard.trimmed = 5

    # The state was at work, but that shard was not read for more than a day.
    def at_work(state: CaptureState) -> None:
        state.saved_s = START_S - 100

    rewrite_state(store, at_work)
    once(store, tree, flush_bytes=1)
    assert numbers(store) == [1, 2, 3, 5, *busy.numbers]
    (gap,) = gaps(store, STREAM)
    assert gap.shards == ("a",)


# ── two at once ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_second_capture_into_a_folder_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    shards = family()
    tree = Tree(*shards, images=True)
    store = folder(tmp_path)

    async def go() -> None:
        stop, tally = Stop(), CaptureTally()
        first = asyncio.create_task(capturing(store, tree, follow=True, stop=stop, tally=tally, flush_s=0.05))
        await until(lambda: tally.records > 0)
        before = store.read(STREAM.state_path)
        with pytest.raises(UsageError, match="another process captures t s into"):
            await capturing(folder(tmp_path), tree)
        assert store.read(STREAM.state_path) == before
        await until(lambda: tally.records == sum(len(shard.numbers) for shard in shards))
        stop.set()
        assert await first == "stopped"

    asyncio.run(go())
    check(store, tree, shards)
    once(store, tree)  # and the lock is free again
    check(store, tree, shards)


async def collide(bucket: Bucket, tree: Tree, first_tree: Tree) -> tuple[list[object], CaptureTally]:
    """One capture is about to put its first file when it stands still, is taken for dead, and another takes over.
    It wakes when the other has looked where the archive is, and puts what it held, before the other puts its first."""
    taken_over, held, put = threading.Event(), threading.Event(), threading.Event()
    one, other = bucket.again(), bucket.again()

    def stands_still(operation: str, path: str) -> None:
        if operation == "create" and path.endswith(".parquet"):
            held.set()
            assert taken_over.wait(WAIT_S)

    def has_put(operation: str, path: str) -> None:
        if operation == "create" and path.endswith(".parquet"):
            put.set()

    def wakes_it(operation: str, path: str) -> None:
        if operation == "create" and path.endswith(".parquet"):
            taken_over.set()
            assert put.wait(WAIT_S)

    one.before, one.after, other.before = stands_still, has_put, wakes_it
    tally = CaptureTally()
    first = asyncio.create_task(capturing(one, first_tree))
    await until(held.is_set)
    second = asyncio.create_task(capturing(other, tree, tally=tally, flush_bytes=1))
    results: list[object] = list(await asyncio.gather(first, second, return_exceptions=True))
    return results, tally


@pytest.mark.parametrize("more", [0, 2, 30], ids=["the-same", "less", "far-less"])
def test_who_was_taken_for_dead_and_wakes_doubles_nothing(monkeypatch: pytest.MonkeyPatch, more: int) -> None:
    """Without a lock, as in S3. The sleeper held several files' worth of what the other has read by then."""
    monkeypatch.setattr(module, "STALE_S", 0.0)
    shard = Shard("a", [], closed=False)
    for number in range(1, 40):
        shard.put(number, 0.5 if number > 20 and number % 5 else -10.0)  # with stragglers
    tree = Tree(shard, images=True, page=3)
    early = Shard("a", shard.numbers[: 3 + more], closed=False)
    early.created = shard.created
    bucket = Bucket()
    results, _ = asyncio.run(collide(bucket, tree, Tree(early, images=True, page=3)))
    assert isinstance(results[1], str), results
    check(bucket, tree, [shard])
    once(bucket, tree)
    check(bucket, tree, [shard])


def test_a_capture_that_others_took_over_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """It notices at its next file, or where it says that it is at work."""
    monkeypatch.setattr(module, "STALE_S", 0.0)
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.05)
    shard = Shard("a", [1, 2, 3], closed=False)
    tree = Tree(shard, images=True)
    bucket = Bucket()

    async def go() -> None:
        tallies = [CaptureTally(), CaptureTally()]
        first = asyncio.create_task(capturing(bucket.again(), tree, follow=True, tally=tallies[0], flush_s=0.05))
        await until(lambda: tallies[0].records == 3)
        stop = Stop()

        async def taking_over() -> str:
            while True:
                with contextlib.suppress(UsageError):  # where the first has just said that it is at work
                    return await capturing(bucket.again(), tree, follow=True, tally=tallies[1], flush_s=0.05, stop=stop)

        second = asyncio.create_task(taking_over())
        with pytest.raises(UsageError, match="another capture writes t s into memory: process"):
            await asyncio.wait_for(first, WAIT_S)
        shard.put(4, 0.0)
        await until(lambda: tallies[1].records == 1)
        stop.set()
        assert await second == "stopped"

    asyncio.run(go())
    check(bucket, tree, [shard])


def test_a_capture_does_not_begin_beside_one_that_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.05)
    shards = family()
    tree = Tree(*shards, images=True)
    bucket = Bucket()

    async def go() -> None:
        stop, tally = Stop(), CaptureTally()
        first = asyncio.create_task(capturing(bucket.again(), tree, follow=True, stop=stop, tally=tally, flush_s=0.05))
        await until(lambda: tally.records > 0)
        with pytest.raises(UsageError, match="another capture writes"):
            await capturing(bucket.again(), tree)
        await until(lambda: tally.records == sum(len(shard.numbers) for shard in shards))
        stop.set()
        assert await first == "stopped"

    asyncio.run(go())
    check(bucket, tree, shards)


def test_two_captures_that_begin_at_the_same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALE_S", 0.0)
    shards = family()
    tree = Tree(*shards, images=True)
    bucket = Bucket()

    async def go() -> list[object]:
        captures = [capturing(bucket.again(), tree, flush_bytes=size) for size in (1, 3_000, 10**6)]
        return list(await asyncio.wait_for(asyncio.gather(*captures, return_exceptions=True), WAIT_S))

    results = asyncio.run(go())
    assert {type(each) for each in results} <= {str, UsageError}
    once(bucket, tree)
    check(bucket, tree, shards)


# ── a store that fails ───────────────────────────────────────────────────────────────────────────────────


def test_a_store_that_cannot_be_reached_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.01)
    shards = family()
    tree = Tree(*shards, images=True)
    bucket, failures = Bucket(), Counter[str]()

    def fails(operation: str, path: str) -> None:
        if failures[operation] < 5 or (operation == "create" and failures[operation] < 20):
            failures[operation] += 1
            raise Unreachable("no answer from memory")

    bucket.before = fails
    tally = CaptureTally()
    total = sum(len(shard.numbers) for shard in shards)
    assert asyncio.run(follow(bucket, tree, lambda: tally.records == total, tally=tally, flush_s=0.05)) == "stopped"
    bucket.before = lambda operation, path: None
    assert failures == {"read": 5, "replace": 5, "create": 20}
    assert tally.waiting_for == ""
    check(bucket, tree, shards)


@pytest.mark.parametrize("operation", ["create", "replace"])
def test_an_answer_that_was_lost(monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    """The store did what it was told, and its answer did not come: each time, for every file and every state."""
    monkeypatch.setattr(module, "PAUSE_S", 0.001)
    shards = family()
    tree = Tree(*shards, images=True)
    bucket, lost = Bucket(), set[str]()

    def loses(done: str, path: str) -> None:
        if done == operation and path not in lost:
            lost.add(path)
            raise Unreachable("no answer from memory")

    bucket.after = loses
    tally = CaptureTally()
    total = sum(len(shard.numbers) for shard in shards)
    once(bucket, tree, tally=tally, flush_bytes=1)
    assert lost
    bucket.after = lambda operation, path: None
    assert (tally.records, tally.files, tally.held_bytes) == (total, len(files(bucket)), 0)
    check(bucket, tree, shards)


def test_a_full_disk_ends_the_capture_and_the_next_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = family()
    tree = Tree(*shards, images=True)
    store = folder(tmp_path)
    puts = 0
    fsync = os.fsync

    def full(descriptor: int) -> None:
        nonlocal puts
        puts += 1
        if puts > 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(RestrikeError, match="No space left on device") as caught:
            once(store, tree, flush_bytes=1)
    assert "Make room" in caught.value.hint
    # What is there is whole, and a part of it all.
    kept = numbers(store)
    assert 0 < len(kept) < sum(len(shard.numbers) for shard in shards)
    assert set(places(read(store))) == set(kept)
    once(store, tree, flush_bytes=1)
    check(store, tree, shards)
    assert [
        path for path in tmp_path.rglob("*") if path.is_file() and path.suffix not in (".parquet", ".json", ".lock")
    ] == []


@pytest.mark.parametrize("put_back", [True, False], ids=["a-copy-of-before", "nothing"])
def test_a_folder_that_is_replaced_under_a_capture_gets_no_hole(tmp_path: Path, put_back: bool) -> None:
    """What was captured since the copy was made lay in the folder that is gone, and the capture went on behind it."""
    shard = Shard("a", list(range(1, 6)), closed=False)
    tree = Tree(shard, images=True)
    store = folder(tmp_path)

    async def go() -> None:
        tally = CaptureTally()
        first = asyncio.create_task(capturing(store, tree, follow=True, tally=tally, flush_s=0.05))
        await until(lambda: tally.records == 5)
        shutil.copytree(tmp_path / "a", tmp_path / "copy")
        for number in range(6, 11):
            shard.put(number, 1.0)
        await until(lambda: tally.records == 10)
        (tmp_path / "a").rename(tmp_path / "gone")
        if put_back:
            (tmp_path / "copy").rename(tmp_path / "a")
        for number in range(11, 16):
            shard.put(number, 1.0)
        with pytest.raises(RestrikeError, match="was replaced while it was captured into") as caught:
            await first
        assert "reads what the stream still remembers" in caught.value.hint

    asyncio.run(go())
    again = folder(tmp_path)
    once(again, tree)
    assert numbers(again) == list(range(1, 16))
    assert verify(again, [STREAM]).problems == []


def test_a_refusal_of_the_stream_leaves_what_is_put_and_the_next_capture_goes_on(store: Store) -> None:
    shards = family()
    tree = Tree(*shards, images=True)

    got: list[int] = []

    def refuse(name: str, served: list[int]) -> None:
        got.extend(served)
        if name == "c":
            tree.errors["GetRecords"] = [error_for("GetRecords", "AccessDeniedException", "no") for _ in range(20)]

    tree.on_records = refuse
    with pytest.raises(AccessDenied):
        once(store, tree)
    # What was read before is in the archive.
    assert numbers(store) == sorted(got) != []
    tree.errors.clear()
    tree.on_records = lambda name, served: None
    once(store, tree)
    check(store, tree, shards)


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────────


def test_no_more_is_held_than_was_asked_for_and_a_page(tmp_path: Path) -> None:
    shards = [Shard(f"s{index}", list(range(100 * index, 100 * index + 50))) for index in range(1, 5)]
    tree = Tree(*shards, images=True, page=5)
    bucket = Bucket()
    held: list[int] = []
    tally = CaptureTally()
    bucket.before = lambda operation, path: held.append(tally.held_bytes)
    once(bucket, tree, tally=tally, flush_bytes=10_000)
    page_bytes = 5 * 1_200
    assert 10_000 <= max(held) < 10_000 + page_bytes
    assert tally.held_bytes == 0
    check(bucket, tree, shards)


def test_a_store_that_stands_still_stops_the_reading(tmp_path: Path) -> None:
    """What the stream has is not taken into memory while nothing can be put."""
    shard = Shard("a", list(range(1, 1000)))
    tree = Tree(shard, images=True, page=5)
    bucket, goes_on = Bucket(), threading.Event()
    waits = 0

    def stands_still(operation: str, path: str) -> None:
        nonlocal waits
        if path.endswith(".parquet"):
            waits += 1
            assert goes_on.wait(WAIT_S)

    bucket.before = stands_still

    async def go() -> None:
        task = asyncio.create_task(capturing(bucket, tree, flush_bytes=10_000))
        await until(lambda: waits == 1)
        asked = -1
        while asked != (asked := tree.count("GetRecords")):
            await asyncio.sleep(0.1)  # until it stands still: that is what is shown
        assert asked < 10_000 / (5 * 400) + pages.QUEUED_PAGES + 3
        goes_on.set()
        await asyncio.wait_for(task, WAIT_S)

    asyncio.run(go())
    check(bucket, tree, [shard])


# ── running as a service ─────────────────────────────────────────────────────────────────────────────────


def test_an_idle_shard_is_asked_less_and_less_often_down_to_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And there is one reader a shard: what asks for its pages waits between them."""
    monkeypatch.setattr("restrike.aws.walk.IDLE_POLL_S", 0.25)
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noted(delay_s: float) -> None:
        pauses.append(delay_s)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", noted)
    tree = Tree(Shard("a", [1, 2], closed=False), images=True)

    async def run() -> None:
        stop = Stop()
        task = asyncio.create_task(capturing(folder(tmp_path), tree, follow=True, stop=stop, poll_s=5.0))
        while len([each for each in pauses if each >= 0.25]) < 40:
            await sleep(0.005)
        stop.set()
        await asyncio.wait_for(task, WAIT_S)

    asyncio.run(run())
    idle = [each for each in pauses if 0.25 <= each <= 5.0][:20]
    assert idle == sorted(idle)
    assert idle[0] == 0.25
    assert idle[-1] == 5.0
    assert max(pauses) <= REFRESH_SHARDS_S


def test_the_status_tells_what_is_kept_and_how_far_behind_now(
    dynamodb_local: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "QUIET_S", 1.0)  # so that it lasts a while
    table = create(dynamodb_local, ("pk", "S"), items=[{"pk": f"k{n}"} for n in range(30)])
    told: list[tuple[int, int, float | None]] = []
    plan = restrike.capture(
        table.name, str(tmp_path / "kept"), flush_seconds=0.1, region="us-east-1", endpoint_url=dynamodb_local
    )
    report = plan.execute(lambda tally: told.append((tally.records, tally.files, tally.lag_s)), status_every_s=0.02)
    assert (report.records, report.files) == (30, 1)
    assert told[-1][:2] == (30, 1)
    # DynamoDB Local stamps whole minutes, and the end of a shard is told by five empty pages.
    assert told[-1][2] is not None
    assert 0 <= told[-1][2] < 90


def followed(dynamodb_local: str, folder: Path) -> CapturePlan:
    """The plan of a service that captures a table of 30 records."""
    table = create(dynamodb_local, ("pk", "S"), items=[{"pk": f"k{n}"} for n in range(30)])
    return restrike.capture(
        table.name, str(folder), follow=True, poll_seconds=0.1, region="us-east-1", endpoint_url=dynamodb_local
    )


def test_a_host_ends_a_capture_from_another_thread(dynamodb_local: str, tmp_path: Path) -> None:
    plan = followed(dynamodb_local, tmp_path / "kept")
    stop = Stop()
    waiting = threading.Event()

    def host() -> None:
        waiting.wait(WAIT_S)
        stop.set()

    thread = threading.Thread(target=host)
    thread.start()
    report = plan.execute(lambda tally: waiting.set() if tally.held_bytes else None, stop=stop, status_every_s=0.02)
    thread.join()
    assert (report.state, report.ended, report.records) == ("COMPLETED", "stopped", 30)
    assert stop.reason == "caller"


def test_a_capture_ends_at_its_deadline(dynamodb_local: str, tmp_path: Path) -> None:
    plan = followed(dynamodb_local, tmp_path / "kept")
    stop = Stop()
    report = plan.execute(stop=stop, time_limit_s=0.0)
    assert (report.ended, stop.is_set()) == ("stopped", False)  # the caller's own stop is only read
    again = plan.execute(time_limit_s=-1.0)
    assert again.ended == "stopped"


def test_a_capture_that_is_stopped_before_it_begins_says_so(dynamodb_local: str, tmp_path: Path) -> None:
    table = create(dynamodb_local, ("pk", "S"), items=[{"pk": "k"}])
    plan = restrike.capture(table.name, str(tmp_path / "kept"), region="us-east-1", endpoint_url=dynamodb_local)
    stop = Stop()
    stop.set("pause")
    report = plan.execute(stop=stop)
    assert (report.state, report.ended, report.records) == ("PAUSED", "stopped", 0)


@pytest.mark.parametrize("uri", ["s3:/bucket/x", "archive:ax", "jsonl:x", "s3://", "gs://bucket/x"])
def test_what_is_no_place_is_not_taken_for_a_folder(
    dynamodb_local: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.chdir(tmp_path)
    table = create(dynamodb_local, ("pk", "S")).name
    with pytest.raises(UsageError, match="is no place for an archive"):
        open_store(uri, Aws, create=True)
    with pytest.raises(UsageError, match="is no place for an archive"):
        restrike.capture(table, uri, region="us-east-1", endpoint_url=dynamodb_local)
    assert list(tmp_path.iterdir()) == []
    open_store(f"./{uri}", Aws, create=True)
    assert (tmp_path / uri).is_dir()


def test_a_plan_makes_no_folder(dynamodb_local: str, tmp_path: Path) -> None:
    followed(dynamodb_local, tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    followed(dynamodb_local, tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []
