"""A replay under way: pages from the source, records to lanes, batches to the target, places to the ledger.

1. The reader takes pages of one shard from the source, drops what the filter and the run's earlier parts have
   dealt with, and queues each record in its lane, in bounded numbers.
2. A lane delivers one batch at a time. When the batch is done, the lane's place in its shard is committed;
   only then is its next batch sent.
3. Commits of all lanes that wait are one transaction. After `kill -9` a run goes on behind the last commit: at
   most the batches that were in flight are delivered twice, and nothing is left out.
4. Beside the lanes' places there is a floor for each shard: all up to there is done, in every lane. The source is
   read from the floors on, and what a lane has done above them is skipped.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from restrike.errors import DeliveryFailed, RestrikeError
from restrike.model.record import Record, event
from restrike.model.report import ReplayReport, State
from restrike.model.window import Gap, Window
from restrike.replaying.delivery import Delivery, GivenUp, LaidDown, Policy, Tally
from restrike.replaying.filters import Filter
from restrike.replaying.lanes import BatchLimits, Floors, Lanes, Page, lane_of
from restrike.runs.stop import Stop
from restrike.sources import Source
from restrike.targets import Target

IDLE_FLUSH_S = 0.2
"""How long a source may be silent until batches that are not full are sent."""
SYNC_EVERY_S = 1.0
"""How often a target that keeps a file makes it durable. A commit survives the process, however it dies; a power cut
may take what came within that time, and the run says so when it goes on."""


class Settings(msgspec.Struct, frozen=True):
    """How a replay delivers; kept in the ledger. `lanes` is fixed when the run is made."""

    lanes: int = 1
    batch_size: int = 100
    max_payload_bytes: int | None = None
    policy: Policy = Policy()
    rate: float | None = None
    max_failures: int | None = None
    limit: int | None = None
    fresh_event_ids: bool = False


class ReplayCounts(msgspec.Struct):
    """Records by what became of them. `selected` passed the filter; `filtered` did not.

    Both count what is done, not what is only read: what is read again when the run goes on is counted once.
    """

    selected: int = 0
    filtered: int = 0
    delivered: int = 0
    skipped_superseded: int = 0
    skipped_deleted: int = 0
    failed: int = 0
    batches: int = 0
    invocations: int = 0
    exact: int = 0
    net: int = 0
    synthetic: int = 0
    first_s: float | None = None
    last_s: float | None = None
    target_bytes: int | None = None
    lost: list[Gap] = []


class Verdicts(Protocol):
    """Says of a record whether the item has moved on: None for send, else the count that it goes to."""

    async def skip(self, records: list[Record]) -> list[str | None]: ...


class Book(Protocol):
    """The part of the ledger that a replay writes: places and counts, durable together."""

    def floors(self) -> dict[str, int]: ...
    def lane_places(self) -> dict[tuple[int, str], int]: ...
    def commit(
        self,
        *,
        counts: ReplayCounts,
        floors: Mapping[str, int],
        lane_places: Mapping[tuple[int, str], int],
        elapsed_s: float,
    ) -> None: ...
    def cancelling(self) -> bool: ...


class ReplayProgress(msgspec.Struct, frozen=True):
    """Where a replay is. `read_s` is the creation time of the newest record that was read."""

    counts: ReplayCounts
    elapsed_s: float
    records_per_s: float
    lanes_busy: int
    read_s: float | None


OnReplayProgress = Callable[[ReplayProgress], None]


class Replay:
    """One execution of a replay, from the places that the book knows."""

    def __init__(
        self,
        source: Source,
        target: Target,
        record_filter: Filter,
        window: Window,
        settings: Settings,
        book: Book,
        *,
        name: str,
        counts: ReplayCounts,
        elapsed_before_s: float,
        on_failure: Path,
        verdicts: Verdicts | None,
        on_progress: OnReplayProgress,
    ) -> None:
        self._source = source
        self._target = target
        self._filter = record_filter
        self._window = window
        self._settings = settings
        self._book = book
        self._name = name
        self._counts = counts
        self._elapsed_before_s = elapsed_before_s
        self._started = self._synced = time.monotonic()
        self._done_before = counts.delivered
        self._failed_before = counts.failed
        self._filtered_before = counts.filtered
        self._lost_before = counts.lost
        self._on_failure = on_failure
        self._verdicts = verdicts
        self._on_progress = on_progress
        self._floors = Floors(book.floors())
        self._done_places = book.lane_places()  # by earlier parts of the run
        limits = BatchLimits(settings.batch_size, _smaller(settings.max_payload_bytes, target.max_payload_bytes))
        self._lanes = Lanes(settings.lanes, limits)
        self._committer = Committer(self._commit)
        self._moved: dict[tuple[int, str], int] = {}
        self._stop = Stop()
        self._cancelled = False
        self._busy = 0
        self._read_s: float | None = None
        self._limited = False
        self._limit_left = None if settings.limit is None else settings.limit - counts.selected
        self._rate = Rate(settings.rate)
        self._delivery = Delivery(
            target,
            settings.policy,
            clock=time.monotonic,
            pause=self._pause,
            retry_delay_s=_retry_delay_s,
            give_up=self._given_up,
            before_attempt=self._rate.take,
        )

    def stop(self) -> None:
        """Ends the replay when the batches in flight are done."""
        self._stop.set()

    async def execute(self) -> ReplayReport:
        """Runs to the source's end, the limit or a stop. Raises RestrikeError where the run cannot go on."""
        self._check_target()
        with self._stop.on_signals():
            ticker = asyncio.create_task(self._tick())
            committing = asyncio.create_task(self._committer.run())
            reading = asyncio.create_task(self._read())
            workers = [asyncio.create_task(self._work(lane)) for lane in range(self._settings.lanes)]
            try:
                await self._until_done(reading, workers, [ticker, committing])
            except RestrikeError as error:
                error.report = self._report("FAILED")
                raise
            finally:
                for task in (reading, ticker, *workers):
                    await _gone(task)
                await _gone(committing)
                await self._commit(final=True)
        if self._cancelled:
            return self._report("CANCELLED")
        if self._stop.is_set():
            return self._report("INTERRUPTED")
        return self._report("LIMITED" if self._limited else "COMPLETED")

    def _check_target(self) -> None:
        """What was delivered into a file may be gone: a power cut takes what was not on the disk yet."""
        before, now = self._counts.target_bytes, self._target.size_bytes
        if before is not None and now is not None and now < before:
            raise DeliveryFailed(
                f"{self._target.uri} has {now:,} bytes, and the run had written {before:,}: some of it is lost",
                "Was there a power cut, or was it edited? Replay again into another file, under another --run.",
            )

    async def _until_done(
        self, reading: asyncio.Task[None], workers: list[asyncio.Task[None]], helpers: list[asyncio.Task[None]]
    ) -> None:
        stopping = asyncio.create_task(self._stop.wait())
        failure: BaseException | None = None
        try:
            waits: set[asyncio.Task[Any]] = {reading, stopping, *workers, *helpers}
            while not all(worker.done() for worker in workers):
                done, waits = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if failure is None and (failure := task.exception()) is not None:
                        # The other lanes finish what they have in flight, so that it is not delivered twice.
                        self._stop.set()
                        if task in helpers:
                            raise failure  # nothing is committed any more: no lane could end
                if stopping in done:
                    # In flight is finished; what is only queued stays for the next part of the run.
                    await _gone(reading)
                    waits.discard(reading)
                    self._lanes.close()
            if failure is not None:
                raise failure
            if reading.done() and not reading.cancelled():
                reading.result()
        finally:
            await _gone(stopping)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────

    async def _read(self) -> None:
        pages = self._source.read(dict(self._floors.known), self._window)
        following = pages.__aiter__()
        getting: asyncio.Task[list[Record]] | None = None
        try:
            while not self._limited:
                getting = asyncio.ensure_future(_next(following))
                done, _ = await asyncio.wait({getting}, timeout=IDLE_FLUSH_S)
                if not done:
                    self._lanes.flush()
                    await asyncio.wait({getting})
                self._lanes.filling()
                try:
                    records = getting.result()
                except StopAsyncIteration:
                    break
                await self._queue(records)
            self._lanes.close()
        finally:
            if getting is not None:
                await _gone(getting)
            await following.aclose()  # type: ignore[attr-defined]  # sources are generators

    async def _queue(self, records: list[Record]) -> None:
        shard = records[0].shard
        lanes, passes = self._settings.lanes, self._filter.passes
        done_of = {lane: place for (lane, of), place in self._done_places.items() if of == shard}
        queued: list[tuple[int, Record]] = []
        after, filtered = -1, 0
        for record in records:
            if not passes(record):
                filtered += 1
                after = record.place
                continue
            lane = lane_of(record, lanes) if lanes > 1 else 0
            if done_of and record.place <= done_of.get(lane, -1):
                after = record.place
                continue  # an earlier part of the run has done it
            if self._limit_left is not None:
                if self._limit_left <= 0:
                    self._limited = True
                    break
                self._limit_left -= 1
            queued.append((lane, record))
            after = record.place
        self._limited = self._limited or self._limit_left == 0
        self._read_s = records[-1].created_s
        if after < 0:
            return  # the limit was reached before the first of them
        page = Page(shard, after, len(queued), filtered)
        self._floors.opened(page)
        await self._lanes.add(page, queued)

    # ── delivering ───────────────────────────────────────────────────────────────────────────────────────

    async def _work(self, lane: int) -> None:
        while (taken := await self._lanes.take(lane)) is not None:
            if self._stop.is_set():
                return
            records, pages = taken
            self._busy += 1
            try:
                done = await self._deliver(records)
            finally:
                self._busy -= 1
            if done:
                self._counts.selected += done
                last = records[done - 1]
                self._moved[lane, last.shard] = last.place
                for page, group in itertools.groupby(pages[:done]):
                    self._floors.settle(page, sum(1 for _ in group))
                self._check_failures()
                await self._committer.committed()

    async def _deliver(self, records: list[Record]) -> int:
        """Returns how many of the records, from the first on, are done: all, but where the run is stopping."""
        counts = self._counts
        sending = records
        verdicts: list[str | None] = []
        if self._verdicts is not None:
            verdicts = await self._verdicts.skip(records)
            sending = [record for record, skip in zip(records, verdicts, strict=True) if skip is None]
        if not sending:
            self._count_skipped(verdicts)
            return len(records)
        whole = sending
        if self._settings.fresh_event_ids:
            sending = [fresh(record) for record in sending]
        tally = Tally()
        with contextlib.suppress(LaidDown):
            await self._delivery.deliver(sending, tally)
        counts.batches += 1
        counts.delivered += tally.delivered
        counts.failed += tally.failed
        counts.invocations += tally.invocations
        done = tally.delivered + tally.failed
        self._count_kinds(sending[:done])
        if done == len(sending):
            done = len(records)
        elif done:
            done = records.index(whole[done - 1]) + 1
        self._count_skipped(verdicts[:done])
        return done

    def _count_skipped(self, verdicts: list[str | None]) -> None:
        self._counts.skipped_superseded += verdicts.count("superseded")
        self._counts.skipped_deleted += verdicts.count("deleted")

    def _check_failures(self) -> None:
        """Counts anew when the run goes on: else it could never get past its limit."""
        limit, failed = self._settings.max_failures, self._counts.failed - self._failed_before
        if limit is not None and failed > limit:
            raise DeliveryFailed(
                f"{failed} records were given up, more than --max-failures {limit}",
                f"They are in {self._on_failure}. Mend the consumer, then resume.",
            )

    def _count_kinds(self, records: list[Record]) -> None:
        if not records:
            return
        counts = self._counts
        for fidelity, number in collections.Counter([record.fidelity for record in records]).items():
            setattr(counts, fidelity, getattr(counts, fidelity) + number)
        created = [record.created_s for record in records]
        first_s, last_s = min(created), max(created)
        counts.first_s = first_s if counts.first_s is None else min(counts.first_s, first_s)
        counts.last_s = last_s if counts.last_s is None else max(counts.last_s, last_s)

    async def _pause(self, seconds: float) -> None:
        """Waits before a further attempt; a run that is stopping makes none."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
        if self._stop.is_set():
            raise LaidDown

    async def _given_up(self, given_up: GivenUp) -> None:
        """Writes the records as one event a line, in a form that `replay jsonl:` reads; durable before it returns."""
        line = (
            event(given_up.records)[:-1]
            + b',"restrike":'
            + json.dumps(
                {
                    "run": self._name,
                    "target": self._target.uri,
                    "condition": given_up.condition,
                    "error": given_up.error,
                    "attempts": given_up.attempts,
                }
            ).encode()
            + b"}\n"
        )
        await asyncio.to_thread(_append, self._on_failure, line)

    # ── saving ───────────────────────────────────────────────────────────────────────────────────────────

    async def _commit(self, *, final: bool = False) -> None:
        moved, self._moved = self._moved, {}
        self._floors.drained(self._source.drained)
        floors = {shard: self._floors.known[shard] for shard in self._floors.moved}
        self._floors.moved.clear()
        now = time.monotonic()
        self._counts.filtered = self._filtered_before + self._floors.filtered
        self._counts.target_bytes = self._target.size_bytes
        self._counts.lost = self._lost()
        counts = msgspec.structs.replace(self._counts)
        if final or now - self._synced > SYNC_EVERY_S:
            self._synced = now
            try:
                await self._target.sync()
            except BaseException:
                # What was taken is not saved: it is for the commit that follows, if one does.
                self._moved = moved | self._moved
                self._floors.moved.update(floors)
                raise
        self._book.commit(counts=counts, floors=floors, lane_places=moved, elapsed_s=self._elapsed_s())

    def _lost(self) -> list[Gap]:
        """What the source has lost, also in earlier parts of the run; a gap that is found again is one."""
        return [*self._lost_before, *(gap for gap in self._source.gaps if gap not in self._lost_before)]

    def _elapsed_s(self) -> float:
        return self._elapsed_before_s + time.monotonic() - self._started

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            since = time.monotonic() - self._started
            self._on_progress(
                ReplayProgress(
                    counts=self._counts,
                    elapsed_s=self._elapsed_s(),
                    records_per_s=(self._counts.delivered - self._done_before) / since,
                    lanes_busy=self._busy,
                    read_s=self._read_s,
                )
            )
            if self._book.cancelling():
                self._cancelled = True
                self.stop()

    def _report(self, state: State) -> ReplayReport:
        counts, elapsed_s = self._counts, self._elapsed_s()
        return ReplayReport(
            run=self._name,
            source=self._source.uri,
            target=self._target.uri,
            state=state,
            selected=counts.selected,
            filtered=counts.filtered,
            delivered=counts.delivered,
            skipped_superseded=counts.skipped_superseded,
            skipped_deleted=counts.skipped_deleted,
            failed=counts.failed,
            batches=counts.batches,
            invocations=counts.invocations,
            fidelity={"exact": counts.exact, "net": counts.net, "synthetic": counts.synthetic},
            first_s=counts.first_s,
            last_s=counts.last_s,
            elapsed_s=round(elapsed_s, 3),
            records_per_s=round(counts.delivered / elapsed_s, 1) if elapsed_s else 0.0,
            ended=self._source.ended,
            gaps=self._lost(),
            on_failure=str(self._on_failure) if counts.failed else None,
        )


class Committer:
    """Commits for all lanes that wait, one transaction at a time."""

    def __init__(self, commit: Callable[[], Awaitable[None]]) -> None:
        self._commit = commit
        self._waiting: list[asyncio.Future[None]] = []
        self._wanted = asyncio.Event()

    async def committed(self) -> None:
        """Returns when all that was done before the call is durable."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._wanted.set()
        await future

    async def run(self) -> None:
        """Commits whenever somebody waits, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            waiting, self._waiting = self._waiting, []
            await self._commit()
            for future in waiting:
                if not future.done():
                    future.set_result(None)


class Rate:
    """At most so many records a second, over all lanes; None: no bound."""

    def __init__(self, records_per_s: float | None) -> None:
        self._records_per_s = records_per_s
        self._next = 0.0

    async def take(self, records: int) -> None:
        if self._records_per_s is None:
            return
        now = time.monotonic()
        start = max(self._next, now)
        self._next = start + records / self._records_per_s
        if start > now:
            await asyncio.sleep(start - now)


def fresh(record: Record) -> Record:
    """The record under an eventID of its own, for consumers that drop what they have seen; else byte for byte."""
    members = msgspec.json.decode(record.raw, type=dict[str, msgspec.Raw])
    members["eventID"] = msgspec.Raw(msgspec.json.encode(os.urandom(16).hex()))
    return msgspec.structs.replace(record, raw=msgspec.json.encode(members))


def _retry_delay_s(attempt: int) -> float:
    from restrike.aws.wire import retry_delay_s

    return retry_delay_s(attempt, first_s=0.1)


def _smaller(one: int | None, other: int | None) -> int | None:
    return min(each for each in (one, other) if each is not None) if one or other else None


def _append(path: Path, line: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DeliveryFailed(
            f"cannot write what was given up to {path}: {error.strerror}",
            "Make room or give another file with --on-failure; then resume.",
        ) from None


async def _next(pages: Any) -> list[Record]:
    records: list[Record] = await pages.__anext__()
    return records


async def _gone(task: asyncio.Future[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, RestrikeError):
        await task
