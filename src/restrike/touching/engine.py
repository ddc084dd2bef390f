"""A touch under way: units from the selection, batches to the table, outcomes to the book, proof from the stream.

1. The selector reads pages into units, in bounded numbers.
2. The write prepares a unit: what needs no write is counted, the rest becomes jobs.
3. Jobs of all units fill batches; a batch is sent when the pace allows, and what is throttled is sent again.
4. A unit is done when each of its jobs has an outcome. A strand's place moves when a unit and all before it
   are done; only then do its counts count and its keys are awaited on the stream.
5. Once a second all of that is saved in one transaction. A killed run goes on from the last save: what was
   written after it is written again, which changes nothing and so fires nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable, Sequence

import msgspec

from restrike.aws import dynamodb, streams
from restrike.aws.session import Aws
from restrike.aws.walk import ended
from restrike.aws.wire import Wire
from restrike.errors import RestrikeError
from restrike.model.capacity import capacity_of
from restrike.model.report import State, TouchReport
from restrike.model.selection import KeyList, Selection
from restrike.model.speed import Speed
from restrike.model.table import TableInfo
from restrike.running.life import Life
from restrike.running.stop import Stop
from restrike.selecting.read import Limit, Places, Selector, Unit
from restrike.touching.batches import Batches, OrderedBatches
from restrike.touching.book import Book
from restrike.touching.collecting import collect, is_whole
from restrike.touching.counter import Counter
from restrike.touching.marker import Marker
from restrike.touching.pace import Pace
from restrike.touching.progress import OnProgress, TouchProgress
from restrike.touching.proof import Proof, without_proof
from restrike.touching.request import Api
from restrike.touching.run import KEYS, Asked
from restrike.touching.sending import Sender
from restrike.touching.tally import Tally
from restrike.touching.unmark import Unmark
from restrike.touching.watching import Watching
from restrike.touching.write import Write

SAVE_EVERY_S = 1.0
CLOSING_SAVES = 3
MAX_WAITING_JOBS = 5_000  # of --ordered

KINDS: dict[str, Callable[[Wire, TableInfo, str, Api, Book, Sequence[str]], Write]] = {
    "marker": Marker,
    "counter": Counter,
    "unmark": Unmark,
}
"""The kinds of write, by what `Options.mode` calls them."""


_LANE_FREE = Unit("", [], None, last=False)


class Touch:
    """One execution of a run, from where its book stands. Its life's stop ends it as soon as what is in flight is
    finished and saved."""

    def __init__(
        self,
        aws: Aws,
        table: TableInfo,
        asked: Asked,
        life: Life,
        on_progress: OnProgress,
        epoch_s: Callable[[], float] = time.time,
    ) -> None:
        options = asked.options
        self._aws = aws
        self._table = table
        self._selection = asked.selection
        self._options = options
        self._life = life
        self._resumed = life.resumed
        self._on_progress = on_progress
        self._book = Book(life.book, life.run, proving=options.verify, resumed=life.resumed)
        self._pace = Pace(options.pace, capacity_of(table, options.attribute), asked.wcu_per_item, time.monotonic)
        lag = options.lag
        self._watching = None if lag is None else Watching(aws, lag, self._pace, epoch_s)
        self._fired_before = self._book.before.fired
        # A unit that was not done is read again, and counts again.
        self._limit = Limit(None if options.limit is None else options.limit - self._book.counts.selected)
        self._keys_path = self._book.folder / KEYS
        self._stop = life.stop
        self._ending = Stop()  # set with it, and by a failure: that is no matter of the caller's
        self._proof: Proof | None = None
        self._all_done = False
        self._phase = "touching"
        self._started = time.monotonic()
        self._speed = Speed(time.monotonic)

    # ── the run ──────────────────────────────────────────────────────────────────────────────────────────

    async def execute(self) -> TouchReport:
        """Runs to the end, the limit, an interruption or a failure. A failure is raised, its report attached."""
        wire = dynamodb.connect(self._aws, connections=self._options.concurrency + 16)
        self._make(wire)
        obeying = asyncio.create_task(self._obey())
        try:
            async with contextlib.AsyncExitStack() as stack:
                await stack.enter_async_context(wire)
                if self._options.verify:
                    await self._prepare_proof(
                        await stack.enter_async_context(streams.connect(self._aws, connections=64))
                    )
                await self._work(wire)
            return self._finish()
        except BaseExceptionGroup as group:
            raise self._failed(_first(group)) from None
        except Exception as error:
            raise self._failed(error) from None
        finally:
            await ended(obeying)

    async def _obey(self) -> None:
        await self._stop.wait()
        self._ending.set()

    def _make(self, wire: Wire) -> None:
        options = self._options
        self._write: Write = KINDS[options.mode](
            wire, self._table, options.attribute, options.api, self._book, options.names
        )
        self._tally = Tally(self._book, self._write)
        size = self._write.batch_size
        self._batches = (
            OrderedBatches(size)
            if options.ordered
            else Batches(size, unique=self._selection.index is None or self._write.each_once)
        )
        self._sender = Sender(
            self._write,
            self._batches,
            self._pace,
            self._book,
            self._ending,
            concurrency=options.concurrency,
            in_order=options.ordered,
            on_done=self._unit_done,
        )
        # Of a part that was killed it is not known what was in flight.
        self._sender.doubtful = self._resumed

    async def _prepare_proof(self, wire: Wire) -> None:
        run = self._book.run
        self._proof = Proof(
            wire,
            self._table,
            self._options.attribute,
            self._write,
            self._book,
            start_s=run.started_s or run.began_at,
            resumed=self._resumed,
        )
        with without_proof():
            await self._proof.prepare()

    async def _work(self, wire: Wire) -> None:
        selection = self._selection
        if self._options.ordered and selection.index is not None:
            # An index has an order of its own: all keys are read and put in the table's order first.
            if not await self._collected(wire):
                return
            selection = Selection(KeyList("", 0, "the index"))
        selector = self._selector(wire, selection, self._book.places, self._limit)
        self._write.read_along = selector.reads_attribute and not isinstance(selection.what, KeyList)
        follower = asyncio.create_task(self._follow(self._proof)) if self._proof else None
        saver = asyncio.create_task(self._save_regularly())
        reading = asyncio.create_task(selector.run())
        writing = asyncio.create_task(self._write_units(selector))
        watching = asyncio.create_task(self._watching.run()) if self._watching else None
        helpers = [task for task in (saver, follower, reading) if task is not None]
        try:
            await self._unless_failing(writing, [*helpers, watching] if watching else helpers)
            if watching is not None:
                await ended(watching)
            if self._resumed and not self._stop.is_set():
                await self._unless_failing(asyncio.create_task(self._write.look_back()), helpers)
            if self._proof is not None and not self._stop.is_set():
                await self._unless_failing(asyncio.create_task(self._await_records(self._proof)), helpers)
            self._all_done = not self._stop.is_set()
            self._tally.final = self._all_done and not self._limit.reached
        finally:
            tasks = (writing, *self._sender.under_way, *helpers, *([watching] if watching else []))
            for task in tasks:
                task.cancel()
            # What failed is known already; what is done is saved all the same.
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._save_at_last()

    async def _unless_failing(self, work: asyncio.Task[None], helpers: list[asyncio.Task[None]]) -> None:
        """Waits for the work. When it or a helper fails, or a batch has, nothing new is begun; what is in flight is
        finished, so that its outcomes are known; then that failure is raised."""
        failure: BaseException | None = None
        waits = {work, *helpers}
        try:
            while not work.done():
                done, waits = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    failure = failure or task.exception()
                if failure is not None:
                    self._ending.set()
        finally:
            if not work.done():
                await ended(work)
        failure = failure or self._sender.failure
        if failure is not None:
            self._ending.set()
            await self._sender.all()  # where it was the work that failed, nobody has waited for them
            raise failure

    async def _follow(self, proof: Proof) -> None:
        with without_proof():
            await proof.follower.run()

    def _selector(self, wire: Wire, selection: Selection, places: Places, limit: Limit) -> Selector:
        return Selector(
            wire,
            self._table,
            selection,
            attribute=self._write.reads,
            places=places,
            limit=limit,
            keys_path=self._keys_path,
            stopping=self._is_ending,
        )

    def _is_ending(self) -> bool:
        return self._ending.is_set() or self._stop.is_set()

    async def _collected(self, wire: Wire) -> bool:
        """Whether the selection stands in the run's folder as a list of keys, in the order of the table's keys."""
        ledger, name = self._life.book, self._book.run.name
        if is_whole(ledger, name, self._keys_path):
            return True
        self._phase = "collecting"
        selector = self._selector(wire, self._selection, Places({}), Limit(None))
        keep = functools.partial(ledger.set_stands, name)
        collected = await collect(selector, self._table.key, self._keys_path, self._stop, keep)
        self._phase = "touching"
        return collected

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────

    async def _write_units(self, selector: Selector) -> None:
        """Takes units off the queue and sends their jobs, until the queue ends or the run stops."""
        batches, sender = self._batches, self._sender
        at_end = False
        while True:
            while (batch := batches.next(flush=self._flush(selector, at_end=at_end))) is not None:
                if not await sender.start(batch):
                    await sender.all()
                    return
            if at_end:
                if not sender.under_way:
                    return
                await sender.one()
                continue
            if batches.waiting > MAX_WAITING_JOBS:
                if not sender.under_way:
                    return  # the run is stopping: what was laid down keeps its lane shut
                await sender.one()
                continue
            unit = await self._next_unit(selector)
            if unit is None:
                at_end = True
                continue
            if unit is _LANE_FREE:
                continue
            jobs = await self._write.prepare(unit)
            unit.counts.selected += len(unit.items)
            unit.items = []
            unit.pending = len(jobs)
            if not unit.pending:
                self._unit_done(unit)
            batches.add(unit, jobs)

    def _flush(self, selector: Selector, *, at_end: bool) -> bool:
        """Whether a batch that is not full should go: nothing more is there to fill it with."""
        return at_end or selector.queue.empty() or self._batches.waiting > MAX_WAITING_JOBS

    async def _next_unit(self, selector: Selector) -> Unit | None:
        """The next unit; None at the end of the queue or when the run is stopping.

        In an ordered run also _LANE_FREE, when a batch came back before the next page was there.
        """
        with contextlib.suppress(asyncio.QueueEmpty):
            return selector.queue.get_nowait()
        getting = asyncio.create_task(selector.queue.get())
        stopping = asyncio.create_task(self._ending.wait())
        lanes = self._sender.under_way if self._options.ordered else set()
        await asyncio.wait({getting, stopping, *lanes}, return_when=asyncio.FIRST_COMPLETED)
        stopped = stopping.done()
        await ended(stopping)
        if getting.done():
            return getting.result()
        await ended(getting)
        return None if stopped else _LANE_FREE

    def _unit_done(self, unit: Unit) -> None:
        for done in self._book.places.finished(unit.strand):
            self._book.counts.add(done.counts)
            self._book.leftovers += done.failed
            self._write.done(done)

    # ── saving ───────────────────────────────────────────────────────────────────────────────────────────

    async def _save_regularly(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            for _ in range(int(SAVE_EVERY_S / 0.1) - 1):
                self._report_progress()
                if self._book.crowded:
                    break
                await asyncio.sleep(0.1)
            self._save()

    def _save(self) -> None:
        self._book.save(self._tally.to_save, self._elapsed_s())
        self._report_progress()

    async def _save_at_last(self) -> None:
        """What this does not save is forgotten with the process: it is tried again."""
        for _ in range(CLOSING_SAVES - 1):
            with contextlib.suppress(RestrikeError):
                self._save()
                return
            await asyncio.sleep(0.2)
        self._save()

    def _elapsed_s(self) -> float:
        return self._book.run.elapsed_s + time.monotonic() - self._started

    def _report_progress(self) -> None:
        counts = self._tally.counts()
        self._life.sample(counts.selected, msgspec.to_builtins(counts))
        if self._watching is not None:
            self._watching.wrote(counts.fired - self._fired_before)
        self._on_progress(
            TouchProgress(
                phase=self._phase,
                counts=counts,
                seen=self._book.seen if self._proof is not None else None,
                awaited=self._write.awaited() if self._proof is not None else 0,
                throttles=self._pace.throttles,
                elapsed_s=self._elapsed_s(),
                items_per_s=self._speed.of(counts.selected),
                wcu_per_s=self._pace.wcu_per_s,
                held=self._watching.held if self._watching is not None and self._phase == "touching" else "",
            )
        )

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────

    async def _await_records(self, proof: Proof) -> None:
        """Until every write was seen, or nothing more has been for the time-out."""
        self._phase = "verifying"
        write, book = self._write, self._book
        self._save()
        seen, quiet_since = book.seen, time.monotonic()
        # The records of writes whose answer was lost are awaited by nobody: they are there when the end is reached.
        proof.follower.mark()
        while write.awaited() or (self._sender.doubtful and not proof.follower.caught_up):
            if time.monotonic() - quiet_since > self._options.verify_timeout_s:
                return
            if await self._ending.sleep(0.05):
                return
            if write.stale:
                self._save()
            if book.seen != seen:
                seen, quiet_since = book.seen, time.monotonic()
        self._tally.read_to_its_end = proof.follower.caught_up and not proof.trimmed

    def _failed(self, error: BaseException) -> BaseException:
        if isinstance(error, RestrikeError):
            with contextlib.suppress(RestrikeError):  # what failed may be the ledger itself
                error.report = self._report("FAILED")
        return error

    def _finish(self) -> TouchReport:
        if not self._all_done:
            return self._report(self._stop.state)
        notes: tuple[str, ...] = ()
        if self._proof is not None:
            if self._proof.trimmed:
                notes += ("the stream had forgotten records of this run (24 hours): they cannot be seen again",)
            why = f"written, but its record was not seen on the stream within {self._options.verify_timeout_s:g} s"
            give_up = functools.partial(self._write.give_up, why, all_read=self._tally.read_to_its_end)
            self._book.save(self._tally.to_save, self._elapsed_s(), give_up)
        return self._report("LIMITED" if self._limit.reached else "COMPLETED", notes)

    def _report(self, state: State, notes: tuple[str, ...] = ()) -> TouchReport:
        counts = self._tally.counts()
        elapsed_s = self._elapsed_s()
        seen, at_most = self._tally.seen()
        notes += self._tally.notes(in_doubt=self._sender.in_doubt)
        if at_most is not None:
            notes += (
                f"the stream's view type {self._table.view_type} does not show the attribute: `seen` can only be "
                "bounded, by the touched items with any later MODIFY record",
            )
        return TouchReport(
            verb=self._book.run.verb,
            run=self._book.run.name,
            table=self._table.name,
            state=state,
            selected=counts.selected,
            fired=counts.fired,
            already=counts.already,
            gone=counts.gone,
            changed=counts.changed,
            refused=counts.refused,
            unknown=counts.unknown,
            overwrote=counts.overwrote,
            failed=counts.failed,
            seen=seen,
            seen_at_most=at_most,
            leftover=self._book.count_leftovers(),
            consumed_wcu=self._book.consumed_wcu,
            elapsed_s=round(elapsed_s, 3),
            items_per_s=round(counts.selected / elapsed_s, 1) if elapsed_s else 0.0,
            notes=notes,
        )


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            return _first(error)
        if isinstance(error, RestrikeError):
            return error
    return group.exceptions[0]
