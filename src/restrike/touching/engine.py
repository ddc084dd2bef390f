"""A touch under way: units from the selection, batches to the table, outcomes to the ledger, proof from the stream.

1. The selector reads pages into units, in bounded numbers.
2. The writer prepares a unit: what needs no write is counted, the rest becomes jobs.
3. Jobs of all units fill batches; a batch is sent when the pace allows, and what is throttled is sent again.
4. A unit is done when each of its jobs has an outcome. A strand's place moves when a unit and all before it
   are done; only then do its counts count and its keys are awaited on the stream.
5. Once a second all of that is saved in one transaction. A killed run goes on from the last save: what was
   written after it is written again, which changes nothing and so fires nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from restrike.aws import dynamodb, streams
from restrike.aws.refusals import error_for
from restrike.aws.session import Aws
from restrike.aws.walk import ended
from restrike.aws.wire import Wire, retry_delay_s
from restrike.errors import AccessDenied, Invalid, RestrikeError, ServiceFault, Throttled, Unreachable
from restrike.model.report import Counts, State, TouchReport
from restrike.model.selection import KeyList, Selection
from restrike.model.table import TableInfo
from restrike.runs.ledger import Ledger, Leftover, Run
from restrike.runs.stop import Stop
from restrike.selecting.keyfile import KeyFile, sort_bytes
from restrike.selecting.read import Limit, Places, Selector, Unit
from restrike.touching.pace import Pace, PaceOptions
from restrike.touching.proof import MAX_KEYS_IN_MEMORY, CounterExpectation, MarkerExpectation, Proof
from restrike.touching.writer import (
    FATAL_CODES,
    RETRY_CODES,
    Api,
    CounterWriter,
    MarkerWriter,
    Verdict,
    key_of,
)

SAVE_EVERY_S = 1.0
MAX_ATTEMPTS = 30  # of one batch: with back-off and jitter some two minutes of nothing but refusals
MAX_WAITING_JOBS = 5_000  # of --ordered


class Options(msgspec.Struct, frozen=True):
    """How a touch writes. Kept in the ledger with the selection, so that a resumed run does the same."""

    attribute: str = "restrike"
    mode: str = "marker"  # or "counter"
    api: Api = "partiql"
    ordered: bool = False
    concurrency: int = 16
    pace: PaceOptions = PaceOptions()
    limit: int | None = None
    verify: bool = True
    verify_timeout_s: float = 60.0


class Progress(msgspec.Struct, frozen=True):
    """Where a touch is; `seen` is None where the stream is not checked. Times in seconds."""

    phase: str
    counts: Counts
    seen: int | None
    awaited: int
    throttles: int
    elapsed_s: float
    items_per_s: float
    wcu_per_s: float


OnProgress = Callable[[Progress], None]


_LANE_FREE = Unit("", [], None, last=False)


class Stopped(Exception):
    """Work was laid down because the run is stopping."""


class Touch:
    """One execution of a run, from the places that the ledger knows. `wcu_per_item` is the plan's estimate."""

    def __init__(
        self,
        aws: Aws,
        table: TableInfo,
        selection: Selection,
        options: Options,
        ledger: Ledger,
        run: Run,
        *,
        resumed: bool,
        wcu_per_item: float,
        on_progress: OnProgress,
    ) -> None:
        self._aws = aws
        self._table = table
        self._selection = selection
        self._options = options
        self._ledger = ledger
        self._run = run
        self._resumed = resumed
        self._on_progress = on_progress
        self._pace = Pace(options.pace, table, wcu_per_item, time.monotonic)
        self._places = Places(ledger.places(run.name))
        # A unit that was not done is read again, and counts again.
        counted = run.unit_counts if options.mode == "marker" else run.counts
        self._limit = Limit(None if options.limit is None else options.limit - counted.selected)
        self._counts = run.unit_counts
        self._consumed = run.consumed_wcu
        self._elapsed_before_s = run.elapsed_s
        self._started = time.monotonic()
        self._done_before = counted.selected
        self._slots = asyncio.Semaphore(options.concurrency)
        self._sending: set[asyncio.Task[None]] = set()
        self._stop = Stop()
        self._cancelled = False
        self._proof: Proof | None = None
        self._failed_unsaved: list[Leftover] = []
        self._fatal: BaseException | None = None
        self._doubtful = resumed  # whether a write may have been carried out without an answer
        self._phase = "touching"

    # ── the run ──────────────────────────────────────────────────────────────────────────────────────────

    async def execute(self) -> TouchReport:
        """Runs to the end, the limit, an interruption or a failure. A failure is raised, its report attached."""
        self._ledger.set_state(self._run.name, "RUNNING")
        try:
            with self._stop.on_signals():
                async with contextlib.AsyncExitStack() as stack:
                    wire = await stack.enter_async_context(
                        dynamodb.connect(self._aws, connections=self._options.concurrency + 16)
                    )
                    self._make_writer(wire)
                    if self._options.verify:
                        await self._prepare_proof(
                            await stack.enter_async_context(streams.connect(self._aws, connections=64))
                        )
                    await self._work(wire)
        except Stopped:
            pass  # before the first write
        except BaseExceptionGroup as group:
            raise self._failed(_first(group)) from None
        except RestrikeError as error:
            raise self._failed(error) from None
        return self._finish()

    def stop(self) -> None:
        """Ends the run as soon as what is in flight is finished and saved."""
        self._stop.set()

    def _make_writer(self, wire: Wire) -> None:
        options, run = self._options, self._run
        self._outcomes = Counts()  # of a counter: what the ledger says of each write
        self.writer: MarkerWriter | CounterWriter
        if options.mode == "counter":
            self.writer = CounterWriter(
                wire, self._table, options.attribute, options.api, self._ledger, run.name, run.epoch
            )
            for outcome, count in self._ledger.count_outcomes(run.name, run.epoch).items():
                _count(self._outcomes, outcome, count)
        else:
            self.writer = MarkerWriter(wire, self._table, options.attribute, run.name, options.api)

    async def _prepare_proof(self, wire: Wire) -> None:
        run = self._run
        view_type = self._table.view_type or ""
        expectation: MarkerExpectation | CounterExpectation
        if self._options.mode == "counter":
            expectation = CounterExpectation(self._ledger, run.name, run.epoch, view_type)
        else:
            expectation = MarkerExpectation(self._ledger, run.name, view_type, {"S": run.name}, run.seen or 0)
        self._proof = Proof(
            wire,
            self._table,
            self._options.attribute,
            expectation,
            places=self._ledger.stream_places(run.name),
            start_s=run.stream_start_s or run.created_at,
            resumed=self._resumed,
        )
        with _without_proof():
            await self._proof.prepare()

    async def _work(self, wire: Wire) -> None:
        selection = self._selection
        if self._options.ordered and selection.index is not None:
            # An index has an order of its own: all keys are read and put in the table's order first.
            selection = await self._collected(wire)
        selector = self._selector(wire, selection, self._places, self._limit)
        follower = asyncio.create_task(self._follow(self._proof)) if self._proof else None
        saver = asyncio.create_task(self._save_regularly())
        reading = asyncio.create_task(selector.run())
        writing = asyncio.create_task(self._write(selector))
        helpers = [task for task in (saver, follower, reading) if task is not None]
        try:
            await _unless_failing(writing, helpers)
            if self._proof is not None and not self._stop.is_set():
                await _unless_failing(asyncio.create_task(self._await_records()), helpers)
        finally:
            tasks = (writing, *self._sending, *helpers)
            for task in tasks:
                task.cancel()
            # What failed is known already; what is done is saved all the same.
            await asyncio.gather(*tasks, return_exceptions=True)
            self._save()

    async def _follow(self, proof: Proof) -> None:
        with _without_proof():
            await proof.follower.run()

    def _selector(self, wire: Wire, selection: Selection, places: Places, limit: Limit) -> Selector:
        return Selector(
            wire,
            self._table,
            selection,
            attribute=self._options.attribute if self._options.mode == "marker" else None,
            places=places,
            limit=limit,
            keys_path=self._keys_path,
            stopping=self._stop.is_set,
        )

    @property
    def _keys_path(self) -> Path:
        return self._ledger.folder(self._run.name) / "keys.db"

    async def _collected(self, wire: Wire) -> Selection:
        """The selection as a list of keys in the run's folder, in the order of the table's keys."""
        if not self._keys_path.exists():
            self._phase = "collecting"
            partial = self._keys_path.with_suffix(".partial")
            partial.unlink(missing_ok=True)
            selector = self._selector(wire, self._selection, Places({}), Limit(None))
            reading = asyncio.create_task(selector.run())
            schema = self._table.key
            try:
                with KeyFile(partial) as file:
                    while (unit := await self._next_of(selector, reading)) is not None:
                        keys = [key_of(self._table, item) for item in unit.items]
                        file.write((key, sort_bytes(schema, msgspec.json.decode(key))) for key in keys)
                    if self._stop.is_set():
                        raise Stopped
                    file.sort()
            finally:
                await ended(reading)
            partial.rename(self._keys_path)
            self._phase = "touching"
        return Selection(KeyList("", 0, "the index"))

    async def _next_of(self, selector: Selector, reading: asyncio.Task[None]) -> Unit | None:
        getting = asyncio.create_task(selector.queue.get())
        await asyncio.wait({getting, reading}, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()
        return await getting

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            for _ in range(int(SAVE_EVERY_S / 0.1) - 1):
                self._report_progress()
                if self._proof and self._proof.expectation.unsaved() > MAX_KEYS_IN_MEMORY:
                    break
                await asyncio.sleep(0.1)
            self._save()
            if self._ledger.state(self._run.name) == "CANCELLING":
                self._cancelled = True
                self.stop()

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────

    async def _write(self, selector: Selector) -> None:
        """Takes units off the queue and sends their jobs, until the queue ends or the run stops."""
        size = self.writer.batch_size
        batcher = (
            OrderedBatches(size)
            if self._options.ordered
            else Batches(size, unique=self._selection.index is None or self._options.mode == "counter")
        )
        ended = False
        while True:
            while (batch := batcher.next(flush=self._flush(selector, batcher, ended=ended))) is not None:
                if not await self._start(batch, batcher):
                    await self._settle_sending()
                    return
            if ended:
                if not self._sending:
                    return
                await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
                continue
            if batcher.waiting > MAX_WAITING_JOBS:
                if not self._sending:
                    return  # the run is stopping: what was laid down keeps its lane shut
                await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
                continue
            unit = await self._next_unit(selector)
            if unit is None:
                ended = True
                continue
            if unit is _LANE_FREE:
                continue
            prepared = await self.writer.prepare(unit.items)
            unit.items = []
            unit.counts.add(prepared.counts)
            unit.failed += [Leftover(key, verdict.code, verdict.message) for key, verdict in prepared.failed]
            for outcome in prepared.recovered:
                _count(self._outcomes, outcome, 1)
            unit.pending = len(prepared.jobs)
            if not unit.pending:
                self._unit_done(unit)
            batcher.add(unit, prepared.jobs)

    def _flush(self, selector: Selector, batcher: Batches, *, ended: bool) -> bool:
        """Whether a batch that is not full should go: nothing more is there to fill it with."""
        return ended or selector.queue.empty() or batcher.waiting > MAX_WAITING_JOBS

    async def _next_unit(self, selector: Selector) -> Unit | None:
        """The next unit; None at the end of the queue or when the run is stopping.

        In an ordered run also _LANE_FREE, when a batch came back before the next page was there.
        """
        with contextlib.suppress(asyncio.QueueEmpty):
            return selector.queue.get_nowait()
        getting = asyncio.create_task(selector.queue.get())
        stopping = asyncio.create_task(self._stop.wait())
        lanes = self._sending if self._options.ordered else set()
        await asyncio.wait({getting, stopping, *lanes}, return_when=asyncio.FIRST_COMPLETED)
        stopped = stopping.done()
        await ended(stopping)
        if getting.done():
            return getting.result()
        await ended(getting)
        return None if stopped else _LANE_FREE

    async def _start(self, batch: list[tuple[Unit, Any]], batcher: Batches) -> bool:
        """Sends a batch when a slot is free; False where the run stopped meanwhile."""
        await self._slots.acquire()
        if self._stop.is_set():
            self._slots.release()
            return False
        task = asyncio.create_task(self._send(batch, batcher))
        self._sending.add(task)
        task.add_done_callback(self._sent)
        return True

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        self._slots.release()
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, Stopped):
            self._fatal = error
            self._stop.set()

    async def _settle_sending(self) -> None:
        while self._sending:
            await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)

    async def _send(self, batch: list[tuple[Unit, Any]], batcher: Batches) -> None:
        """One batch, again and again in part, until each of its jobs has an outcome."""
        writer = self.writer
        whole = batch
        doubtful = False
        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                await self._sleep(retry_delay_s(attempt))
            await self._pace.take(len(batch), self._sleep)
            if self._stop.is_set():
                # Not sent yet, refused, or in doubt: a resumed run sends it again, and that is harmless.
                raise Stopped
            try:
                answers, consumed = await writer.execute([job for _, job in batch])
            except Throttled as error:
                self._pace.throttled(error.throttling_reasons)
                last: RestrikeError = error
                continue
            except (ServiceFault, Unreachable) as error:
                doubtful = self._doubtful = True
                last = error
                continue
            except Invalid as error:
                if writer.can_do_without_returning(error.message):
                    last = error
                    continue
                raise
            if consumed is not None:
                self._consumed = (self._consumed or 0.0) + consumed
                self._pace.consumed(len(batch), consumed)
            batch, throttled_as = self._take_answers(batch, answers, doubtful=doubtful)
            if not batch:
                batcher.finished(whole)
                return
            if throttled_as == "InternalServerError":
                doubtful = self._doubtful = True
            last = error_for("BatchExecuteStatement", throttled_as, "refused again and again")
        raise last

    async def _sleep(self, seconds: float) -> None:
        """Sleeps, but not on when the run is to stop."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    def _take_answers(
        self, batch: list[tuple[Unit, Any]], answers: list[dynamodb.StatementAnswer], *, doubtful: bool
    ) -> tuple[list[tuple[Unit, Any]], str]:
        """Settles what was answered; returns what has to be sent again, and the code that asks for it."""
        if len(answers) != len(batch):
            raise ServiceFault(f"{len(batch)} statements got {len(answers)} answers", "Is there a proxy between?")
        if self._proof is None and self._options.mode == "marker" and batch[0][0] is batch[-1][0]:
            # By far the most batches: of one unit, all fired.
            unit = batch[0][0]
            if not self._options.ordered and all(each.error is None and each.item is None for each in answers):
                unit.counts.selected += len(batch)
                unit.counts.fired += len(batch)
                self._settled(unit, len(batch))
                return [], ""
        again: list[tuple[Unit, Any]] = []
        again_code = ""
        writer = self.writer
        counting = self._options.mode == "counter"
        for (unit, job), answer in zip(batch, answers, strict=True):
            error = answer.error
            if error is not None:
                if error.code in RETRY_CODES:
                    if error.code not in ("InternalServerError", "TransactionConflict"):
                        self._pace.throttled()
                    again.append((unit, job))
                    again_code = error.code
                    continue
                if error.code in FATAL_CODES:
                    raise error_for("BatchExecuteStatement", error.code, error.message)
                if writer.can_do_without_returning(error.message):
                    again.append((unit, job))
                    continue
            verdict = writer.verdict(job, answer, doubtful=doubtful)
            outcome = verdict.outcome
            if outcome == "failed":
                unit.failed.append(Leftover(writer.key(job), verdict.code, _one_line(verdict)))
            if counting:
                writer.settled(job, verdict)
                _count(self._outcomes, outcome, 1)
            else:
                counts = unit.counts
                counts.selected += 1
                if outcome == "fired":
                    counts.fired += 1
                    if self._proof is not None:
                        unit.fired.append(key_of(self._table, job))
                else:
                    _count_outcome(counts, outcome, 1)
            self._settled(unit, 1)
        return again, again_code

    def _settled(self, unit: Unit, jobs: int) -> None:
        unit.pending -= jobs
        if unit.pending == 0:
            self._unit_done(unit)

    def _unit_done(self, unit: Unit) -> None:
        for done in self._places.finished(unit.strand):
            self._counts.add(done.counts)
            self._failed_unsaved += done.failed
            if self._proof is not None:
                self._proof.expectation.expect(done.fired)

    # ── saving ───────────────────────────────────────────────────────────────────────────────────────────

    def _save(self) -> None:
        """One transaction that is consistent in itself: places, counts, stream places, keys still awaited."""
        moved, self._places.moved = self._places.moved, {}
        stream_moved: dict[str, str] = {}
        if self._proof is not None:
            stream_moved, self._proof.moved = self._proof.moved, {}
        with self._ledger.transaction():
            if isinstance(self.writer, CounterWriter):
                self._ledger.settle(self._run.name, self.writer.unsaved)
                self.writer.saved()
            if self._proof is not None:
                self._proof.expectation.save()
            self._ledger.add_leftovers(self._run.name, self._failed_unsaved)
            self._ledger.save_progress(
                self._run.name,
                counts=self.totals(),
                unit_counts=self._counts,
                consumed_wcu=self._consumed,
                seen=self._proof.expectation.seen if self._proof is not None else None,
                elapsed_s=self._elapsed_s(),
                places=moved,
                stream_places=stream_moved,
            )
        self._failed_unsaved.clear()
        self._report_progress()

    def _elapsed_s(self) -> float:
        return self._elapsed_before_s + time.monotonic() - self._started

    def totals(self) -> Counts:
        """The counts of the whole run so far, with the outcomes in units that are not done."""
        total = self._folded()
        total.add(self._outcomes)
        for unit in self._places.open():
            total.add(unit.counts)
        return total

    def _report_progress(self) -> None:
        counts = self.totals()
        since = time.monotonic() - self._started
        expectation = self._proof.expectation if self._proof is not None else None
        self._on_progress(
            Progress(
                phase=self._phase,
                counts=counts,
                seen=expectation.seen if expectation is not None else None,
                awaited=expectation.awaited() if expectation is not None else 0,
                throttles=self._pace.throttles,
                elapsed_s=self._elapsed_s(),
                items_per_s=(counts.selected - self._done_before) / since if since > 0 else 0.0,
                wcu_per_s=self._pace.wcu_per_s,
            )
        )

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    async def _await_records(self) -> None:
        """Until every write was seen, or nothing more has been for the time-out."""
        assert self._proof is not None
        self._phase = "verifying"
        expectation = self._proof.expectation
        self._save()
        seen, quiet_since = expectation.seen, time.monotonic()
        # The records of writes whose answer was lost are awaited by nobody: they are there when the end is reached.
        follower = self._proof.follower
        follower.mark()
        while expectation.awaited() or (self._doubtful and not follower.caught_up):
            if self._stop.is_set() or time.monotonic() - quiet_since > self._options.verify_timeout_s:
                return
            await asyncio.sleep(0.05)
            if isinstance(expectation, CounterExpectation) and expectation.unsaved():
                self._save()
            if expectation.seen != seen:
                seen, quiet_since = expectation.seen, time.monotonic()

    def _failed(self, error: BaseException) -> BaseException:
        if not isinstance(error, RestrikeError):
            self._ledger.set_state(self._run.name, "FAILED", f"{type(error).__name__}: {error}")
            return error
        resume = f"What is done is saved. Go on with: restrike runs resume {self._run.name}"
        error.hint = f"{error.hint} {resume}".strip()
        self._ledger.set_state(self._run.name, "FAILED", error.message)
        error.report = self._report("FAILED")
        return error

    def _finish(self) -> TouchReport:
        name = self._run.name
        if self._fatal is not None:
            raise self._failed(self._fatal)
        if self._cancelled:
            self._ledger.set_state(name, "CANCELLED", "cancelled by the user")
            return self._report("CANCELLED")
        if self._stop.is_set():
            self._ledger.set_state(name, "INTERRUPTED", "stopped by a signal")
            return self._report("INTERRUPTED")
        notes: list[str] = []
        if self._proof is not None:
            timeout_s = self._options.verify_timeout_s
            why = f"written, but its record was not seen on the stream within {timeout_s:g} s"
            if self._proof.trimmed:
                notes.append("the stream had forgotten records of this run (24 hours): they cannot be seen again")
            with self._ledger.transaction():
                self._proof.expectation.give_up(why)
        state: State = "LIMITED" if self._limit.reached else "COMPLETED"
        report = self._report(state, tuple(notes))
        with self._ledger.transaction():
            self._ledger.finish(name, state, self.totals(), self._folded(), report.seen)
        return report

    def _folded(self) -> Counts:
        """The counts of units, with the writes that were only seen on the stream counted as fired."""
        counts = Counts()
        counts.add(self._counts)
        unanswered = self._unanswered()
        counts.fired += unanswered
        counts.already -= unanswered
        return counts

    def _unanswered(self) -> int:
        """Writes whose answer was lost, but whose record is there: a repetition called them `already`."""
        if self._proof is None or len(self._places):
            return 0
        return min(self._proof.expectation.fired_unanswered(), self._counts.already)

    def _report(self, state: State, notes: tuple[str, ...] = ()) -> TouchReport:
        counts = self.totals()
        elapsed_s = self._elapsed_s()
        seen: int | None = None
        at_most: int | None = None
        if self._proof is not None:
            expectation = self._proof.expectation
            seen = expectation.seen + self._unanswered()
            if not expectation.exact:
                seen, at_most = None, seen
                notes += (
                    f"the stream's view type {self._table.view_type} does not show the attribute: `seen` can only be "
                    "bounded, by the touched items with any later MODIFY record",
                )
        return TouchReport(
            run=self._run.name,
            table=self._table.name,
            state=state,
            selected=counts.selected,
            fired=counts.fired,
            already=counts.already,
            gone=counts.gone,
            changed=counts.changed,
            failed=counts.failed,
            seen=seen,
            seen_at_most=at_most,
            leftover=self._ledger.count_leftovers(self._run.name),
            consumed_wcu=self._consumed,
            elapsed_s=round(elapsed_s, 3),
            items_per_s=round(counts.selected / elapsed_s, 1) if elapsed_s else 0.0,
            notes=notes,
        )


class Batches:
    """Jobs in the order in which they come, `size` to a batch, an item at most once in a batch.

    The same item twice in one batch is an error of the service, after some of it was applied. Only a selection
    through an index can yield one twice, where the item moves in it meanwhile: the rest is `unique`.
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


async def _unless_failing(work: asyncio.Task[None], helpers: list[asyncio.Task[None]]) -> None:
    """Waits for the work; a failure of it, or meanwhile of a helper, is raised at once."""
    waits = {work, *helpers}
    try:
        while not work.done():
            done, waits = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        await ended(work)


@contextlib.contextmanager
def _without_proof() -> Iterator[None]:
    """Tells whoever may not read the stream that it can be done without."""
    try:
        yield
    except AccessDenied as error:
        error.hint += " Or go without the proof: --no-verify."
        raise


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            return _first(error)
        if isinstance(error, RestrikeError):
            return error
    return group.exceptions[0]


def _count(counts: Counts, outcome: str, items: int) -> None:
    counts.selected += items
    _count_outcome(counts, outcome, items)


def _count_outcome(counts: Counts, outcome: str, items: int) -> None:
    setattr(counts, outcome, getattr(counts, outcome) + items)


def _one_line(verdict: Verdict) -> str:
    return " ".join(verdict.message.split())
