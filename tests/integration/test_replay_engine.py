"""The engine of replay on a ledger: commits that fail, deaths around them, stops, and other numbers of lanes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from restrike.errors import DeliveryFailed, RestrikeError
from restrike.model.record import Fidelity, Record, read_record
from restrike.model.report import ReplayReport
from restrike.model.uri import Uri
from restrike.model.window import DRAINED, Gap, Window
from restrike.replaying.book import LedgerBook
from restrike.replaying.counts import MAX_REASONS, OTHER_REASONS, TOLD_REASONS, ReplayCounts
from restrike.replaying.delivery import Policy
from restrike.replaying.engine import Replay
from restrike.replaying.filters import FilterRequest, RecordFilter
from restrike.replaying.places import Done, LanePlaces, lane_of
from restrike.replaying.settings import Settings
from restrike.running.ledger import Ledger
from restrike.running.run import Entry
from restrike.running.stop import Stop
from restrike.sources import SourceInfo
from restrike.targets import Answer

ITEMS, SHARDS, PAGE = 13, 3, 17
BOUND_S = 600.0


def record(shard: int, place: int) -> Record:
    keys = f'{{"pk":{{"S":"k{shard}-{place % ITEMS}"}}}}'
    raw = (
        f'{{"eventID":"{shard}-{place}","eventName":"MODIFY","dynamodb":{{"Keys":{keys},"SequenceNumber":"{place}"}}}}'
    )
    return read_record(raw.encode(), shard=f"s{shard}", place=place, stream_arn="arn", fidelity="exact")


class Memory:
    """A source of SHARDS shards with so many records each."""

    uri = "memory"
    fidelity: Fidelity = "exact"

    def __init__(self, each: int) -> None:
        self.records = {f"s{shard}": [record(shard, place) for place in range(1, each + 1)] for shard in range(SHARDS)}
        self.started_s: float | None = None
        self.stands_on: Mapping[str, str] = {}
        self.ended = ""
        self.gaps: list[Gap] = []
        self.drained: set[str] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held."""

    async def look(self, window: Window) -> SourceInfo:
        return SourceInfo()

    async def read(self, after: Mapping[str, int], window: Window) -> AsyncIterator[list[Record]]:
        left = {
            shard: [each for each in records if each.place > after.get(shard, 0)]
            for shard, records in self.records.items()
        }
        while any(left.values()):
            for shard in list(left):
                page, left[shard] = left[shard][:PAGE], left[shard][PAGE:]
                if page:
                    yield page
                if not left[shard] and shard in self.records:
                    self.drained.add(shard)
                await asyncio.sleep(0)
        self.ended = "end"

    @property
    def all(self) -> list[tuple[str, int]]:
        return [(each.shard, each.place) for records in self.records.values() for each in records]


class Consumer:
    """A target that keeps what it gets, and calls `on_batch` before it answers."""

    uri = "memory:"
    max_payload_bytes: int | None = None
    stands_on: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.got: list[Record] = []
        self.batches = 0
        self.on_batch: Any = lambda: None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held."""

    @property
    def size_bytes(self) -> int | None:
        return None

    async def attempt(self, records: list[Record]) -> Answer:
        await asyncio.sleep(0)
        self.got += records
        self.batches += 1
        self.on_batch()
        await asyncio.sleep(0)
        return Answer(ok=True)

    async def sync(self) -> None:
        """It is in memory."""

    @property
    def places(self) -> list[tuple[str, int]]:
        return [(each.shard, each.place) for each in self.got]


class Death(BaseException):
    """The process is gone: nothing that it would do at its end is done."""


FULL = "CREATE TRIGGER full AFTER UPDATE OF counts ON runs BEGIN SELECT raise(ABORT, 'full'); END"
"""From then on SQLite refuses each save in its middle."""


class FailingBook(LedgerBook):
    """Fails at its commit number `at`: `how` is a commit that is refused, whole or in its middle, once or for good,
    or a death before or after it."""

    at = -1
    how = "refused"
    commits = 0
    dead = False

    async def commit(
        self,
        *,
        counts: ReplayCounts,
        floors: Mapping[str, int],
        lane_places: LanePlaces,
        elapsed_s: float,
        stands: Mapping[str, str],
    ) -> None:
        self.commits += 1
        failing = self.commits == self.at
        if self.dead or (failing and self.how == "before"):
            self.dead = True
            raise Death
        if failing and self.how == "refused":
            raise RestrikeError("cannot write the ledger: database or disk is full", "Make room.")
        if failing and self.how in ("half", "for good"):
            self._ledger.db.execute(FULL)
        try:
            await super().commit(
                counts=counts, floors=floors, lane_places=lane_places, elapsed_s=elapsed_s, stands=stands
            )
        finally:
            if failing and self.how == "half":
                self._ledger.db.execute("DROP TRIGGER full")
        if failing and self.how == "after":
            self.dead = True
            raise Death


class Bench:
    """One run in a ledger of its own, executed in as many parts as a test wants."""

    def __init__(self, folder: Path, *, each: int = 60) -> None:
        self.path = folder / "ledger.db"
        self.folder = folder
        self.each = each
        self.consumer = Consumer()
        with Ledger(self.path) as ledger:
            uri = Uri("memory", "", "memory")
            ledger.enter(Entry("r", "replay", str(uri), {}, b"{}"))

    @property
    def all(self) -> list[tuple[str, int]]:
        return sorted(Memory(self.each).all)

    def part(
        self,
        *,
        at: int = -1,
        how: str = "refused",
        stop: Stop | None = None,
        **settings: Any,
    ) -> tuple[ReplayReport, int]:
        """One part of the run; its report and how many commits it made."""
        with Ledger(self.path) as ledger:
            book = FailingBook(ledger, ledger.get("r"))
            book.at, book.how = at, how
            report = asyncio.run(asyncio.wait_for(self._part(book, stop or Stop(), Settings(**settings)), BOUND_S))
            return report, book.commits

    async def _part(self, book: LedgerBook, stop: Stop, settings: Settings) -> ReplayReport:
        return await Replay(
            Memory(self.each),
            self.consumer,
            RecordFilter(FilterRequest(), Window()),
            Window(),
            settings,
            book,
            stop=stop,
            name="r",
            counts=book.counts,
            on_failure=self.folder / "failed",
        ).execute()

    def counted(self) -> ReplayCounts:
        with Ledger(self.path) as ledger:
            return LedgerBook(ledger, ledger.get("r")).counts

    def assert_counts_are_those_of_the_places(self) -> None:
        """Whatever happened: the ledger counts each record once that its places say is done."""
        with Ledger(self.path) as ledger:
            book = LedgerBook(ledger, ledger.get("r"))
            floors, done = book.floors(), Done(book.lane_places())
            counts = book.counts
        records = [each for records in Memory(self.each).records.values() for each in records]
        saved = [each for each in records if each.place <= floors.get(each.shard, 0) or done.has(each)]
        assert counts.selected == counts.delivered == counts.exact == len(saved)
        assert {(each.shard, each.place) for each in saved} <= set(self.consumer.places)

    def assert_in_order(self) -> None:
        """The first comings of each item's records are in the order of their shard."""
        highest: dict[bytes, int] = {}
        for shard, place in dict.fromkeys(self.consumer.places):
            key = record(int(shard[1:]), place).keys
            assert place > highest.get(key, 0), "an item's records changed their order"
            highest[key] = place


LANES, BATCH = 4, 5


@pytest.mark.parametrize("how", ["refused", "half", "for good", "before", "after"])
def test_any_commit_may_fail_and_nothing_is_counted_twice_or_lost(tmp_path: Path, how: str) -> None:
    _, commits = Bench(tmp_path).part(lanes=LANES, batch_size=BATCH)
    assert commits > 10
    for at in range(1, commits + 1):
        folder = tmp_path / str(at)
        folder.mkdir()
        bench = Bench(folder)
        with pytest.raises(Death if how in ("before", "after") else RestrikeError) as caught:
            bench.part(at=at, how=how, lanes=LANES, batch_size=BATCH)
        once = how in ("refused", "half") and at < commits
        if isinstance(caught.value, RestrikeError):
            assert "full" in caught.value.message
            assert caught.value.report.state == "FAILED"
            assert caught.value.report.delivered == len(bench.consumer.got)
        if once:  # the closing save could have all that was done
            assert bench.counted().delivered == len(bench.consumer.got)
        with sqlite3.connect(bench.path) as db:
            db.execute("DROP TRIGGER IF EXISTS full")
        bench.assert_counts_are_those_of_the_places()
        report, _ = bench.part(lanes=LANES, batch_size=BATCH)
        assert report.state == "COMPLETED"
        assert (report.selected, report.delivered) == (len(bench.all), len(bench.all))
        assert sorted(set(bench.consumer.places)) == bench.all, "nothing is lost"
        repeated = len(bench.consumer.places) - len(bench.all)
        # What was in flight, and not more: a lane's next batch is not sent before its last one is saved.
        assert repeated <= (0 if once else LANES * BATCH)
        bench.assert_in_order()


# ── other numbers of lanes ───────────────────────────────────────────────────────────────────────────────


def stop_after(consumer: Consumer, batches: int, stop: Stop) -> None:
    wanted = consumer.batches + batches

    def on_batch() -> None:
        if consumer.batches >= wanted:
            stop.set()

    consumer.on_batch = on_batch


@pytest.mark.parametrize("seed", range(8))
def test_a_run_that_goes_on_with_other_lanes_repeats_nothing(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    bench = Bench(tmp_path)
    for _ in range(10):
        stop = Stop()
        stop_after(bench.consumer, rng.randint(1, 5), stop)
        report, _ = bench.part(stop=stop, lanes=rng.choice([1, 2, 3, 4, 7]), batch_size=rng.choice([2, 5, 9]))
        bench.assert_counts_are_those_of_the_places()
        assert report.delivered == len(bench.consumer.got)
    bench.consumer.on_batch = lambda: None
    report, _ = bench.part(lanes=3, batch_size=5)
    assert report.state == "COMPLETED"
    assert sorted(bench.consumer.places) == bench.all
    bench.assert_in_order()


@pytest.mark.parametrize("seed", range(8))
def test_killed_and_gone_on_with_other_lanes_only_what_was_in_flight_comes_twice(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    bench = Bench(tmp_path)
    allowed = 0
    for _ in range(8):
        lanes, batch_size = rng.choice([1, 2, 3, 4, 7]), rng.choice([2, 5])
        allowed += lanes * batch_size
        with contextlib.suppress(Death):
            bench.part(at=rng.randint(1, 6), how=rng.choice(["before", "after"]), lanes=lanes, batch_size=batch_size)
        bench.assert_counts_are_those_of_the_places()
    report, _ = bench.part(lanes=6, batch_size=7)
    assert (report.state, report.delivered) == ("COMPLETED", len(bench.all))
    assert sorted(set(bench.consumer.places)) == bench.all
    assert len(bench.consumer.places) - len(bench.all) <= allowed
    bench.assert_in_order()


def test_a_place_is_true_for_its_own_number_of_lanes() -> None:
    records = [record(0, place) for place in range(1, 60)]
    done = Done({(4, 2, "s0"): 30, (3, 1, "s0"): 50})
    assert [done.has(each) for each in records] == [
        (each.place <= 30 and lane_of(each, 4) == 2) or (each.place <= 50 and lane_of(each, 3) == 1) for each in records
    ]
    assert not done.has(record(1, 1))
    assert (done.highest("s0"), done.highest("s1")) == (50, -1)


def test_a_run_that_is_done_reads_nothing_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.part(lanes=2)
    with Ledger(bench.path) as ledger:
        assert set(LedgerBook(ledger, ledger.get("r")).floors().values()) == {DRAINED}
    report, _ = bench.part(lanes=5)
    assert (report.state, report.delivered, len(bench.consumer.got)) == ("COMPLETED", len(bench.all), len(bench.all))


# ── the limit, and stopping ──────────────────────────────────────────────────────────────────────────────


def test_the_limit_is_of_the_whole_run(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    states = []
    for _ in range(20):
        stop = Stop()
        stop_after(bench.consumer, 2, stop)
        states.append(bench.part(stop=stop, lanes=2, batch_size=4, limit=50)[0].state)
        if states[-1] == "LIMITED":
            break
    assert set(states[:-1]) == {"INTERRUPTED"}
    assert len(states) > 3
    for _ in range(2):  # and again, whatever the lanes
        assert bench.part(lanes=3, limit=50)[0].state == "LIMITED"
    assert len(bench.consumer.got) == bench.counted().selected == 50
    assert bench.part(limit=60)[0].delivered == 60
    assert bench.part()[0].state == "COMPLETED"
    assert sorted(bench.consumer.places) == bench.all


@pytest.mark.parametrize(("reason", "state"), [("pause", "PAUSED"), ("cancel", "CANCELLED"), ("caller", "INTERRUPTED")])
def test_a_stop_of_another_thread_ends_the_wait_for_the_rate(tmp_path: Path, reason: Any, state: str) -> None:
    bench = Bench(tmp_path)
    stop, sent = Stop(), threading.Event()
    bench.consumer.on_batch = sent.set

    def set_it() -> None:
        assert sent.wait(BOUND_S)
        time.sleep(0.05)  # into the wait, most times; it must hold before as well
        stop.set(reason)

    thread = threading.Thread(target=set_it)
    thread.start()
    report, _ = bench.part(stop=stop, rate=0.01, batch_size=10)  # the second batch would go after 1,000 s
    thread.join()
    assert (report.state, report.delivered, bench.consumer.batches) == (state, 10, 1)
    assert (report.batches, report.invocations) == (1, 1)


def test_a_stop_that_is_set_already_sends_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    stop = Stop()
    stop.set()
    report, _ = bench.part(stop=stop)
    assert (report.state, report.delivered, bench.consumer.batches) == ("INTERRUPTED", 0, 0)


def test_a_lane_that_fails_leaves_the_callers_stop_alone(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    stop = Stop()

    def fail() -> None:
        raise RestrikeError("no such function", "Look.")

    bench.consumer.on_batch = fail
    with pytest.raises(RestrikeError, match="no such function"):
        bench.part(stop=stop, lanes=2, policy=Policy(retries=0))
    assert not stop.is_set()


# ── a consumer that refuses everything ───────────────────────────────────────────────────────────────────


def refusing(bench: Bench, answers: Any) -> list[int]:
    """Makes the consumer refuse the batches for which `answers` says why; the list fills with the attempts' sizes."""
    sizes: list[int] = []

    async def attempt(records: list[Record]) -> Answer:
        await asyncio.sleep(0)
        sizes.append(len(records))
        why = answers(len(sizes), records)
        if why is None:
            bench.consumer.got += records
        return Answer(ok=why is None, error=why or "")

    bench.consumer.attempt = attempt  # type: ignore[method-assign]
    return sizes


def test_ten_failed_batches_in_a_row_end_the_run_and_it_can_go_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    sizes = refusing(bench, lambda *_: "Boom: \x1b[2J" + "x" * 300)
    with pytest.raises(
        DeliveryFailed, match="10 batches in a row failed, and nothing of them was delivered: Boom"
    ) as it:
        bench.part(batch_size=5, policy=Policy(retries=0))
    assert len(sizes) == 10
    report = it.value.report
    failed = sum(sizes)
    assert (report.state, report.exit_code, report.failed, report.delivered) == ("FAILED", 5, failed, 0)
    [(reason, records)] = report.reasons
    assert records == failed
    assert reason.startswith("Boom: \\x1b[2Jxxx")
    assert "\x1b" not in it.value.message
    sizes.clear()
    with pytest.raises(DeliveryFailed):
        bench.part(batch_size=5, policy=Policy(retries=0))
    assert len(sizes) == 10, "it counts anew, behind what was given up"
    assert bench.counted().failed == failed + sum(sizes)


def test_a_batch_counts_as_it_was_first_formed(tmp_path: Path) -> None:
    """Bisected it makes many attempts, and is one batch all the same."""
    bench = Bench(tmp_path)
    sizes = refusing(bench, lambda *_: "Boom")
    with pytest.raises(DeliveryFailed, match="3 batches in a row"):
        bench.part(batch_size=4, policy=Policy(retries=0, bisect=True), max_failures_in_a_row=3)
    assert sizes == [4, 2, 1, 1, 2, 1, 1] * 3
    assert bench.counted().failed == 12


@pytest.mark.parametrize("bisect", [True, False])
def test_any_delivered_record_resets_the_count(tmp_path: Path, bisect: bool) -> None:
    bench = Bench(tmp_path)

    def why(_: int, records: list[Record]) -> str | None:
        """All fail but those that hold a record of every sixth place; with bisect, only where it stands alone."""
        good = any(each.place % 6 == 1 for each in records) and (not bisect or len(records) == 1)
        return None if good else "Boom"

    refusing(bench, why)
    report, _ = bench.part(batch_size=4, policy=Policy(retries=0, bisect=bisect), max_failures_in_a_row=5)
    assert (report.state, report.exit_code) == ("COMPLETED", 1)
    assert report.delivered >= 9
    assert report.failed == 180 - report.delivered


def test_zero_never_stops(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    refusing(bench, lambda *_: "Boom")
    report, _ = bench.part(batch_size=5, policy=Policy(retries=0), max_failures_in_a_row=0)
    assert (report.state, report.failed) == ("COMPLETED", 180)


def test_reasons_are_counted_by_records_and_bounded(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    refusing(bench, lambda number, _: "often" if number % 2 else f"once {number}")
    report, _ = bench.part(batch_size=1, policy=Policy(retries=0), max_failures_in_a_row=0, limit=500)
    assert report.reasons[0] == ("often", 90)
    assert len(report.reasons) == TOLD_REASONS
    counts = ReplayCounts()
    for number in range(1_000):
        counts.count_reasons({f"reason {number}": 1})
    assert len(counts.reasons) == MAX_REASONS + 1
    assert counts.most_frequent(1) == [(OTHER_REASONS, 1_000 - MAX_REASONS)]
