"""A replay under way: pages from the source, records to lanes, batches to the target, places to the book.

1. The reader (`reading`) takes pages of one shard from the source, drops what the filter and the run's earlier parts
   have dealt with, and queues each record in its lane, in bounded numbers.
2. A lane (`working`) delivers one batch at a time. When the batch is done, the lane's place in its shard is saved;
   only then is its next batch sent.
3. Saves (`saving`) of all lanes that wait are one transaction. After `kill -9` a run goes on behind the last one: at
   most the batches that were in flight are delivered twice, and nothing is left out.
4. Beside the lanes' places there is a floor for each shard (`places`): all up to there is done, in every lane. The
   source is read from the floors on, and what a lane has done above them is skipped.
5. A stop, or the failure of one part, ends all of it: reading at once, waits at once, batches when they are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from restrike.errors import DeliveryFailed, RestrikeError
from restrike.model.report import ReplayReport, State
from restrike.model.speed import Speed
from restrike.model.window import Window
from restrike.replaying.counts import OnReplayProgress, ReplayCounts, ReplayProgress, report_of
from restrike.replaying.failures import Failures
from restrike.replaying.filters import RecordFilter
from restrike.replaying.lanes import BatchLimits, Lanes
from restrike.replaying.places import Done, Floors
from restrike.replaying.reading import RecordReader
from restrike.replaying.saving import Book, Saver
from restrike.replaying.settings import Settings
from restrike.replaying.working import OnDelivered, Verdicts, Workers
from restrike.running.stop import Stop
from restrike.sources import Source
from restrike.targets import Target

PROGRESS_EVERY_S = 0.2


class Replay:
    """One execution of a replay, from the places that the book knows, until its end or the stop."""

    def __init__(
        self,
        source: Source,
        target: Target,
        record_filter: RecordFilter,
        window: Window,
        settings: Settings,
        book: Book,
        *,
        stop: Stop,
        name: str,
        counts: ReplayCounts,
        on_failure: Path,
        elapsed_before_s: float = 0.0,
        fresh_event_ids: bool = False,
        verdicts: Verdicts | None = None,
        failures: Failures | None = None,
        on_delivered: OnDelivered | None = None,
        on_progress: OnReplayProgress = lambda _: None,
    ) -> None:
        self._source = source
        self._target = target
        self._settings = settings
        self._stop = stop
        self._name = name
        self._counts = counts
        self._elapsed_before_s = elapsed_before_s
        self._started = time.monotonic()
        self._on_progress = on_progress
        self._ending = Stop()
        """Set by the stop, and by what fails: the caller's stop is his alone."""
        self._failure: Exception | None = None
        self._failures = failures or Failures(on_failure, run=name, target=target.uri)
        floors = Floors(book.floors())
        limits = BatchLimits(settings.batch_size, _smaller(settings.max_payload_bytes, target.max_payload_bytes))
        self._lanes = Lanes(settings.lanes, limits)
        self._saver = Saver(book, source, target, floors, counts, lanes=settings.lanes, elapsed_s=self._elapsed_s)
        self._reader = RecordReader(
            source,
            record_filter,
            window,
            self._lanes,
            floors,
            Done(book.lane_places()),
            # Of the whole run, whatever part of it is already done.
            left=None if settings.limit is None else settings.limit - counts.selected,
        )
        self._workers = Workers(
            target,
            self._lanes,
            floors,
            self._saver,
            counts,
            settings,
            ending=self._ending,
            failures=self._failures,
            verdicts=verdicts,
            fresh_event_ids=fresh_event_ids,
            on_delivered=on_delivered,
        )

    async def execute(self) -> ReplayReport:
        """Runs to the source's end, the limit or the stop. Raises RestrikeError, with the report, where the run cannot
        go on."""
        self._check_target()
        if self._stop.is_set():
            self._ending.set()
        saving = asyncio.create_task(self._saver.run())
        reading = asyncio.create_task(self._guarded(self._reader.run()))
        others = [
            asyncio.create_task(work) for work in (self._heed(), self._close(reading), self._guarded(self._tick()))
        ]
        working = [asyncio.create_task(self._guarded(self._workers.run(lane))) for lane in range(self._settings.lanes)]
        try:
            await asyncio.gather(*working)
        finally:
            await _gone(reading, *others, *working)
            self._saver.close()
            await saving
            try:
                await self._saver.save_last()
            except Exception as error:
                self._failure = self._failure or error
        if self._failure is not None:
            if isinstance(self._failure, RestrikeError):
                self._failure.report = self._report("FAILED")
            raise self._failure
        if self._stop.is_set():
            return self._report(self._stop.state)
        return self._report("LIMITED" if self._reader.limited else "COMPLETED")

    def _check_target(self) -> None:
        """What was delivered into a file may be gone: a power cut takes what was not on the disk yet."""
        before, now = self._counts.target_bytes, self._target.size_bytes
        if before is not None and now is not None and now < before:
            raise DeliveryFailed(
                f"{self._target.uri} has {now:,} bytes, and the run had written {before:,}: some of it is lost",
                "Was there a power cut, or was it edited? Replay again into another file, under another --run.",
            )

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """What fails first ends the others: they finish what they have in flight, so that it is not sent twice."""
        try:
            await work
        except Exception as error:
            self._failure = self._failure or error
            self._ending.set()

    async def _heed(self) -> None:
        await self._stop.wait()
        self._ending.set()

    async def _close(self, reading: asyncio.Task[None]) -> None:
        """What is in flight is finished; what is only queued stays for the next part of the run."""
        await self._ending.wait()
        await _gone(reading)
        self._lanes.close()

    async def _tick(self) -> None:
        speed = Speed(time.monotonic)
        speed.of(self._counts.selected)
        while True:
            await asyncio.sleep(PROGRESS_EVERY_S)
            self._on_progress(
                ReplayProgress(
                    counts=self._counts,
                    elapsed_s=self._elapsed_s(),
                    records_per_s=speed.of(self._counts.selected),
                    lanes_busy=self._workers.busy,
                    read_s=self._reader.read_s,
                )
            )

    def _elapsed_s(self) -> float:
        return self._elapsed_before_s + time.monotonic() - self._started

    def _report(self, state: State) -> ReplayReport:
        counts, elapsed_s = self._counts, self._elapsed_s()
        return report_of(
            self._name,
            self._source.uri,
            self._target.uri,
            state,
            counts,
            elapsed_s=elapsed_s,
            ended=self._source.ended,
            gaps=self._saver.lost(),
            on_failure=str(self._failures.path),
        )


def _smaller(one: int | None, other: int | None) -> int | None:
    return min((each for each in (one, other) if each is not None), default=None)


async def _gone(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
