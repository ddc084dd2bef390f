"""Carry a capture out: stream after stream of the table, until each is at its end or somebody stops it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

import msgspec

from restrike.aws import dynamodb, streams
from restrike.aws.session import Aws
from restrike.aws.walk import SIDE_BY_SIDE
from restrike.capturing.request import CaptureOptions, CaptureRequest, options_of
from restrike.capturing.run import Counts
from restrike.capturing.stream import StreamCapture
from restrike.capturing.table_streams import claim_switched, forget, streams_to_capture
from restrike.capturing.tally import CaptureTally
from restrike.errors import NotFound, RestrikeError
from restrike.model.clocks import check_clock
from restrike.model.report import CaptureReport, State
from restrike.running.life import Life
from restrike.stores import open_store
from restrike.stores.objects import Store

STATUS_EVERY_S = 60.0
NOTE_EVERY_S = 5.0

OnStatus = Callable[[CaptureTally], None]


async def capture(
    request: CaptureRequest, aws: Aws, life: Life, on_status: OnStatus | None, status_every_s: float
) -> CaptureReport:
    """Captures to the end or until its life's stop is set. `on_status` is called every so often.

    An error that ends it carries the report of what was done.
    """
    running = _Capturing(request, aws, life)
    tasks = [asyncio.create_task(running.tell(on_status, status_every_s)), asyncio.create_task(running.note())]
    try:
        return await running.run()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        running.note_now()


class _Capturing:
    """A capture under way."""

    def __init__(self, request: CaptureRequest, aws: Aws, life: Life) -> None:
        self._request = request
        self._aws = aws
        self._life = life
        self._stop = life.stop
        self._tally = CaptureTally()
        self._began = time.monotonic()
        self._captured: list[str] = []
        self._before = msgspec.json.decode(life.run.counts, type=Counts)

    async def run(self) -> CaptureReport:
        store = await asyncio.to_thread(open_store, self._request.to, lambda: self._aws, create=True)
        try:
            return self._report(await self._streams(store))
        except RestrikeError as error:
            error.report = self._report("FAILED")
            raise

    async def tell(self, on_status: OnStatus | None, every_s: float) -> None:
        """Until it is cancelled."""
        while on_status is not None:
            await asyncio.sleep(every_s)
            on_status(self._tally)

    async def note(self) -> None:
        """What is shown of it, into the ledger; until it is cancelled."""
        while True:
            self.note_now()
            await asyncio.sleep(NOTE_EVERY_S)

    def note_now(self) -> None:
        tally, before = self._tally, self._before
        lag_s = None if tally.lag_s is None else round(tally.lag_s, 1)
        counts = Counts(
            records=before.records + tally.records,
            files=before.files + tally.files,
            bytes=before.bytes + tally.written_bytes,
            gaps=before.gaps + tally.gaps,
            starts=before.starts + 1,
            lag_s=lag_s,
        )
        self._life.sample(counts.records, {"files": counts.files, "lag_s": lag_s})
        self._life.save_counts(msgspec.json.encode(counts), self._life.run.elapsed_s + time.monotonic() - self._began)

    async def _streams(self, store: Store) -> str:
        """Captures the table's streams, also one that is switched on while another is captured; why it ended."""
        ended = ""
        done: set[str] = set()
        options: CaptureOptions | None = None
        waited_from = math.inf
        async with streams.connect(self._aws, connections=SIDE_BY_SIDE + 2) as wire:
            while not self._stop.is_set():
                table, told = await asyncio.to_thread(dynamodb.describe_table, self._aws, self._request.table)
                if options is None:
                    check_clock(time.time(), told.timestamp(), "DynamoDB's")
                    options = options_of(self._request, told)
                chosen = await asyncio.to_thread(streams_to_capture, table.name, table.stream_arn, store)
                todo = [each for each in chosen if each.arn not in done]
                if not todo:
                    # It may have been switched off to be switched on again: a second update of the table.
                    waited_from = min(waited_from, time.monotonic())
                    if not options.follow or not done or time.monotonic() - waited_from >= streams.SWITCHED_S:
                        break
                    await self._stop.sleep(streams.SWITCH_LOOK_S)
                    continue
                waited_from = math.inf
                stream = todo[0]
                done.add(stream.arn)
                current = stream.arn == table.stream_arn
                try:
                    info, now = await asyncio.to_thread(streams.describe_stream, self._aws, stream.arn)
                except NotFound:
                    if current:
                        raise
                    await asyncio.to_thread(forget, store, stream, told.timestamp())
                    self._tally.gaps += 1
                    continue
                if stream.state is None:
                    self._tally.gaps += await asyncio.to_thread(claim_switched, store, stream, info)
                # What was captured before is not to have a hole where the table's stream was switched.
                first = not any(each.arn != stream.arn for each in chosen) and not self._captured
                options_here = msgspec.structs.replace(
                    options,
                    follow=options.follow and current,
                    latest=options.latest and first,
                    since_s=options.since_s if first else None,
                )
                keys = {"HASH": table.key.partition.name} | (
                    {"RANGE": table.key.sort.name} if table.key.sort is not None else {}
                )
                self._captured.append(stream.arn)
                ended = await StreamCapture(
                    wire, store, stream.name, info, now.timestamp(), keys, options_here, self._tally, self._stop
                ).run()
            else:
                ended = "stopped"
        return ended

    def _report(self, ended: str) -> CaptureReport:
        tally = self._tally
        state: State = "FAILED" if ended == "FAILED" else "COMPLETED"
        if ended == "stopped" and (not self._request.follow or self._stop.reason in ("pause", "cancel")):
            state = self._stop.state
        return CaptureReport(
            run=self._life.run.name,
            table=self._request.table,
            archive=self._request.to,
            streams=self._captured,
            state=state,
            records=tally.records,
            files=tally.files,
            written_bytes=tally.written_bytes,
            gaps=tally.gaps,
            first_s=tally.first_s,
            last_s=tally.last_s,
            elapsed_s=round(time.monotonic() - self._began, 3),
            ended="" if ended == "FAILED" else ended,
        )
