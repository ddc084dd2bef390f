"""The work of the lanes: each takes its next batch, delivers it, counts it, and waits until that is in the book."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from restrike.errors import DeliveryFailed
from restrike.model.record import Record
from restrike.model.text import printable
from restrike.replaying.counts import MAX_REASON_CHARS, ReplayCounts
from restrike.replaying.delivery import Delivery, LaidDown, Tally
from restrike.replaying.failures import Failures
from restrike.replaying.lanes import Lanes
from restrike.replaying.pacing import Pace, retry_delay_s
from restrike.replaying.places import Floors
from restrike.replaying.saving import Saver
from restrike.replaying.settings import Settings
from restrike.running.stop import Stop
from restrike.targets import Target

OnDelivered = Callable[[list[Record]], None]
"""Takes the records of a batch that were delivered or given up; those are told to the failures before. What it keeps is
saved with the batch's place, or later."""


class Verdicts(Protocol):
    """Says of a record whether the item has moved on: None for send, else the count that it goes to."""

    async def skip(self, records: list[Record]) -> list[str | None]: ...


class Workers:
    """All lanes' work. `busy` lanes have a batch under way."""

    def __init__(
        self,
        target: Target,
        lanes: Lanes,
        floors: Floors,
        saver: Saver,
        counts: ReplayCounts,
        settings: Settings,
        *,
        ending: Stop,
        failures: Failures,
        verdicts: Verdicts | None,
        fresh_event_ids: bool,
        on_delivered: OnDelivered | None = None,
    ) -> None:
        self._lanes = lanes
        self._floors = floors
        self._saver = saver
        self._counts = counts
        self._max_failures = settings.max_failures
        self._max_in_a_row = settings.max_failures_in_a_row
        self._in_a_row = 0
        self._why = ""
        self._failed_before = counts.failed
        self._ending = ending
        self._failures = failures
        self._verdicts = verdicts
        self._fresh_event_ids = fresh_event_ids
        self._on_delivered = on_delivered
        pace = Pace(settings.rate, ending)
        self._delivery = Delivery(
            target,
            settings.policy,
            clock=time.monotonic,
            pause=pace.pause,
            retry_delay_s=retry_delay_s,
            give_up=failures.keep,
            before_attempt=pace.take,
        )
        self.busy = 0

    async def run(self, lane: int) -> None:
        """Works until the lane has no more, or the run is ending: what is under way is finished."""
        while (taken := await self._lanes.take(lane)) is not None:
            if self._ending.is_set():
                return
            records, stretches = taken
            self.busy += 1
            try:
                done = await self._deliver(records)
            finally:
                self.busy -= 1
            if done:
                self._counts.selected += done
                last = records[done - 1]
                self._saver.moved(lane, last.shard, last.place)
                for stretch, group in itertools.groupby(stretches[:done]):
                    self._floors.settle(stretch, sum(1 for _ in group))
                self._check_failures()
                await self._saver.saved()

    async def _deliver(self, records: list[Record]) -> int:
        """Returns how many of the records, from the first on, are done: all, but where the run is ending.

        Counts them behind the last wait: what is counted and where the lane is then are saved together.
        """
        counts = self._counts
        sending = records
        verdicts: list[str | None] = []
        if self._verdicts is not None:
            verdicts = await self._verdicts.skip(records)
            sending = [record for record, skip in zip(records, verdicts, strict=True) if skip is None]
        if not sending:
            counts.count_skipped(verdicts)
            return len(records)
        whole = sending
        if self._fresh_event_ids:
            sending = [fresh(record) for record in sending]
        tally = Tally()
        with contextlib.suppress(LaidDown):
            await self._delivery.deliver(sending, tally)
        counts.batches += bool(tally.invocations)
        counts.delivered += tally.delivered
        counts.failed += tally.failed
        counts.count_reasons(tally.reasons)
        if tally.delivered:
            self._in_a_row = 0
        elif tally.failed == len(sending):
            self._in_a_row += 1
            self._why = printable(next(iter(tally.reasons)), most=MAX_REASON_CHARS, keep="")
        counts.invocations += tally.invocations
        done = tally.delivered + tally.failed
        if self._on_delivered is not None:
            self._on_delivered(whole[:done])
        counts.count_kinds(sending[:done])
        if done == len(sending):
            done = len(records)
        elif done:
            done = records.index(whole[done - 1]) + 1
        counts.count_skipped(verdicts[:done])
        return done

    def _check_failures(self) -> None:
        """Both count anew when the run goes on: else it could never get past its limits. A batch counts as it was first
        formed, not what it was split into, in the order in which they end, whatever their lanes."""
        if self._max_in_a_row and self._in_a_row >= self._max_in_a_row:
            raise DeliveryFailed(
                f"{self._in_a_row} batches in a row failed, and nothing of them was delivered: {self._why}",
                f"They are in {self._failures.path}. Mend the consumer, then resume. "
                "To go on whatever fails: --max-failures-in-a-row 0.",
            )
        limit, failed = self._max_failures, self._counts.failed - self._failed_before
        if limit is not None and failed > limit:
            raise DeliveryFailed(
                f"{failed} records were given up, more than --max-failures {limit}",
                f"They are in {self._failures.path}. Mend the consumer, then resume.",
            )


def fresh(record: Record) -> Record:
    """The record under an eventID of its own, for consumers that drop what they have seen; else byte for byte."""
    members = msgspec.json.decode(record.raw, type=dict[str, msgspec.Raw])
    members["eventID"] = msgspec.Raw(msgspec.json.encode(os.urandom(16).hex()))
    return msgspec.structs.replace(record, raw=msgspec.json.encode(members))
