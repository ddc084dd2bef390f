"""One batch, from the moment when it may go until each of its jobs has an outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from restrike.aws.dynamodb import StatementAnswer
from restrike.aws.refusals import ENDS_THE_RUN, ERRORS, SENT_AGAIN, error_for
from restrike.aws.wire import retry_delay_s
from restrike.errors import AwsError, Conflict, Invalid, RestrikeError, ServiceFault, Throttled, Unreachable
from restrike.running.run import Leftover
from restrike.running.stop import Stop
from restrike.selecting.read import Unit
from restrike.touching.batches import Batches
from restrike.touching.book import Book
from restrike.touching.pace import Pace
from restrike.touching.write import Write

MAX_ATTEMPTS = 30  # of one batch: with back-off and jitter some two minutes of nothing but refusals

Batch = list[tuple[Unit, Any]]


class Sender:
    """Sends batches, `concurrency` at a time. A failure that retries do not mend is in `failure`, and sets `stop`."""

    def __init__(
        self,
        write: Write,
        batches: Batches,
        pace: Pace,
        book: Book,
        stop: Stop,
        *,
        concurrency: int,
        in_order: bool,
        on_done: Callable[[Unit], None],
    ) -> None:
        self.under_way: set[asyncio.Task[None]] = set()
        self.failure: BaseException | None = None
        self.doubtful = False  # whether a write may have been carried out without an answer
        self.in_doubt = 0  # writes that were given up so
        self._write = write
        self._batches = batches
        self._pace = pace
        self._book = book
        self._stop = stop
        self._slots = asyncio.Semaphore(concurrency)
        self._in_order = in_order
        self._on_done = on_done

    async def start(self, batch: Batch) -> bool:
        """Sends a batch when a slot is free; False where the run stopped meanwhile."""
        await self._slots.acquire()
        if self._stop.is_set():
            self._slots.release()
            return False
        task = asyncio.create_task(self._send(batch))
        self.under_way.add(task)
        task.add_done_callback(self._sent)
        return True

    def _sent(self, task: asyncio.Task[None]) -> None:
        self.under_way.discard(task)
        self._slots.release()
        if not task.cancelled() and (error := task.exception()) is not None and self.failure is None:
            self.failure = error
            self._stop.set()

    async def one(self) -> None:
        """Waits until one of the batches under way is back."""
        await asyncio.wait(self.under_way, return_when=asyncio.FIRST_COMPLETED)

    async def all(self) -> None:
        while self.under_way:
            await self.one()

    async def _send(self, batch: Batch) -> None:
        """One batch, again and again in part, until each of its jobs has an outcome or the run stops."""
        whole = batch
        doubtful = False
        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                await self._stop.sleep(retry_delay_s(attempt))
            await self._pace.take(len(batch), self._stop.sleep)
            if self._stop.is_set():
                # Not sent yet, refused, or in doubt: a resumed run sends it again, and that is harmless.
                self.in_doubt += len(batch) if doubtful else 0
                return
            try:
                answers, consumed = await self._write.send([job for _, job in batch])
            except Throttled as error:
                self._pace.throttled(error.throttling_reasons)
                last: RestrikeError = error
                continue
            except (ServiceFault, Unreachable, Conflict) as error:
                # A conflict is of one statement; where it is told of the whole batch, the others are in doubt.
                doubtful = self.doubtful = True
                last = error
                continue
            except Invalid as error:
                if self._write.adapts_to(error.message):
                    last = error
                    continue
                raise
            if consumed is not None:
                self._book.consumed_wcu = (self._book.consumed_wcu or 0.0) + consumed
                self._pace.consumed(len(batch), consumed)
            if len(answers) != len(batch):
                raise ServiceFault(f"{len(batch)} statements got {len(answers)} answers", "Is there a proxy between?")
            codes: list[str] = []
            if not self._in_order and self._settle_fired(batch, answers):
                batch = []
            else:
                await self._write.read_refused(batch, answers)
                final = attempt == MAX_ATTEMPTS - 1
                batch, codes = self._take_answers(batch, answers, doubtful=doubtful, final=final)
            if not batch:
                self._batches.finished(whole)
                return
            if any(ERRORS[code] is ServiceFault for code in codes):
                doubtful = self.doubtful = True
            last = error_for(self._write.operation, codes[-1] if codes else "", "refused again and again")
        self.in_doubt += len(batch) if doubtful else 0
        raise last

    def _settle_fired(self, batch: Batch, answers: list[StatementAnswer]) -> bool:
        """Settles a batch of one unit of which every write fired, and no other: by far the most are so."""
        unit = batch[0][0]
        if unit is not batch[-1][0] or not _all_fired(answers):
            return False
        self._write.fired(unit, [job for _, job in batch])
        self._settled(unit, len(batch))
        return True

    def _take_answers(
        self, batch: Batch, answers: list[StatementAnswer], *, doubtful: bool, final: bool
    ) -> tuple[Batch, list[str]]:
        """Settles what was answered; returns what has to be sent again, and the codes that ask for it.

        At the `final` attempt a conflict is of its item, which is left over, and of no other.
        """
        again: Batch = []
        codes: list[str] = []
        write = self._write
        for (unit, job), answer in zip(batch, answers, strict=True):
            error = answer.error
            if error is not None:
                kind = ERRORS.get(error.code, AwsError)
                if kind in SENT_AGAIN and not (final and kind is Conflict and not doubtful):
                    if kind is Throttled:
                        # A statement is not told which table or index it was: only a whole call is.
                        self._pace.throttled()
                    again.append((unit, job))
                    codes.append(error.code)
                    continue
                if kind in ENDS_THE_RUN:
                    raise error_for(write.operation, error.code, error.message)
                if write.adapts_to(error.message):
                    again.append((unit, job))
                    continue
            outcome = write.outcome(job, answer, doubtful=doubtful)
            if outcome.name in ("failed", "refused"):
                unit.failed.append(Leftover(write.key(job), outcome.code, outcome.message))
            write.settle(unit, job, outcome)
            self._settled(unit, 1)
        return again, codes

    def _settled(self, unit: Unit, jobs: int) -> None:
        unit.pending -= jobs
        if unit.pending == 0:
            self._on_done(unit)


def _all_fired(answers: list[StatementAnswer]) -> bool:
    """Whether each write was taken and nothing was there before. A plain loop: it runs over every item."""
    for each in answers:  # noqa: SIM110 - `all` with a generator takes twice the time
        if each.error is not None or each.item is not None:
            return False
    return True
