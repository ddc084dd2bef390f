"""Pages of the source into the lanes: without what the filter drops, and what earlier parts of the run have done."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from restrike.errors import RestrikeError
from restrike.model.record import Record
from restrike.model.window import Window
from restrike.replaying.filters import RecordFilter
from restrike.replaying.lanes import Lanes
from restrike.replaying.places import Done, Floors, Stretch, lane_of
from restrike.sources import Source

IDLE_FLUSH_S = 0.2
"""How long a source may be silent until batches that are not full are sent."""


class RecordReader:
    """Reads a source from the floors on. `limited`: `left` records were queued, and no more are; `read_s` is the
    creation time of the newest record that was read."""

    def __init__(
        self,
        source: Source,
        record_filter: RecordFilter,
        window: Window,
        lanes: Lanes,
        floors: Floors,
        done: Done,
        *,
        left: int | None,
    ) -> None:
        self._source = source
        self._filter = record_filter
        self._window = window
        self._lanes = lanes
        self._floors = floors
        self._done = done
        self._left = left
        self.limited = left is not None and left <= 0
        self.read_s: float | None = None

    async def run(self) -> None:
        """Returns at the source's end or at the limit; the lanes are closed then."""
        if not self.limited:
            await self._read()
        self._lanes.close()

    async def _read(self) -> None:
        after: Mapping[str, int] = dict(self._floors.known)
        pages = self._source.read(after, self._window)
        following = pages.__aiter__()
        getting: asyncio.Task[list[Record]] | None = None
        try:
            while not self.limited:
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
        finally:
            if getting is not None:
                getting.cancel()
                with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, RestrikeError):
                    await getting
            await following.aclose()  # type: ignore[attr-defined]  # sources are generators

    async def _queue(self, records: list[Record]) -> None:
        lanes, passes = len(self._lanes.queues), self._filter.passes
        done_up_to = self._done.highest(records[0].shard)
        queued: list[tuple[int, Record]] = []
        after, filtered = -1, 0
        for record in records:
            if not passes(record):
                filtered += 1
            elif record.place > done_up_to or not self._done.has(record):
                if self._left is not None:
                    if self._left <= 0:
                        break
                    self._left -= 1
                queued.append((lane_of(record, lanes) if lanes > 1 else 0, record))
            after = record.place
        self.limited = self._left is not None and self._left <= 0
        self.read_s = records[-1].created_s
        if after < 0:
            return  # the limit was reached before the first of them
        stretch = Stretch(records[0].shard, after, len(queued), filtered)
        self._floors.opened(stretch)
        await self._lanes.add(stretch, queued)


async def _next(pages: Any) -> list[Record]:
    records: list[Record] = await pages.__anext__()
    return records
