"""Places and counts into the book, for all lanes that wait at once.

A save is one transaction that is consistent in itself: the counts are those up to its places. What it holds is taken
out of memory only when the book has it. So one that fails leaves everything as it was: the run ends, and what the
closing save cannot have either is delivered and counted again when the run goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from restrike.model.window import Gap
from restrike.replaying.counts import ReplayCounts
from restrike.replaying.places import Floors, LanePlaces
from restrike.sources import Source
from restrike.targets import Target

SYNC_EVERY_S = 1.0
"""How often a target that keeps a file makes it durable. A commit survives the process, however it dies; a power cut
may take what came within that time, and the run says so when it goes on."""


class Book(Protocol):
    """Where a replay writes down how far it is: places and counts, durable together."""

    def floors(self) -> dict[str, int]: ...
    def lane_places(self) -> LanePlaces: ...
    async def commit(
        self,
        *,
        counts: ReplayCounts,
        floors: Mapping[str, int],
        lane_places: LanePlaces,
        elapsed_s: float,
        stands: Mapping[str, str],
    ) -> None:
        """All of it, or nothing and a RestrikeError. Only what moved is given, of the places and of what the run stands
        on."""


class Saver:
    """Saves for all lanes that wait, one transaction at a time."""

    def __init__(
        self,
        book: Book,
        source: Source,
        target: Target,
        floors: Floors,
        counts: ReplayCounts,
        *,
        lanes: int,
        elapsed_s: Callable[[], float],
    ) -> None:
        self._book = book
        self._source = source
        self._target = target
        self._floors = floors
        self._counts = counts
        self._lanes = lanes
        self._elapsed_s = elapsed_s
        self._filtered_before = counts.filtered
        self._lost_before = counts.lost
        self._moved: dict[tuple[int, int, str], int] = {}
        self._synced: float | None = None  # the first save does: from then on it is known which file it is
        self._waiting: list[asyncio.Future[None]] = []
        self._wanted = asyncio.Event()
        self._closed = False
        self._failure: BaseException | None = None
        self._stood: list[Mapping[str, str]] = [{}, {}]  # of source and target, as the book has it

    def moved(self, lane: int, shard: str, place: int) -> None:
        """The lane has done the shard up to there."""
        self._moved[self._lanes, lane, shard] = place

    async def saved(self) -> None:
        """Returns when all that was done before the call is durable. Raises what a save has failed with."""
        if self._failure is not None:
            raise self._failure
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._wanted.set()
        await future

    async def run(self) -> None:
        """Saves whenever somebody waits, until `close` or the first save that fails: who waits is told."""
        while self._failure is None and not (self._closed and not self._waiting):
            await self._wanted.wait()
            self._wanted.clear()
            waiting, self._waiting = self._waiting, []
            if not waiting:
                continue
            try:
                await self._save()
            except BaseException as error:  # whatever it is, nobody may wait for a save that does not come
                self._failure = error
                waiting += self._waiting
            for future in waiting:
                if not future.done():
                    if self._failure is None:
                        future.set_result(None)
                    else:
                        future.set_exception(self._failure)

    def close(self) -> None:
        """Nobody will wait any more: `run` ends, behind a save that is under way."""
        self._closed = True
        self._wanted.set()

    async def save_last(self) -> None:
        """Once `run` has ended: all that is done, also where a save before has failed; the target made durable."""
        await self._save(last=True)

    def lost(self) -> list[Gap]:
        """What the source has lost, also in earlier parts of the run; a gap that is found again is one."""
        return [*self._lost_before, *(gap for gap in self._source.gaps if gap not in self._lost_before)]

    async def _save(self, *, last: bool = False) -> None:
        # All of one moment: nothing is awaited until everything was taken.
        self._floors.drained(self._source.drained)
        floors, lane_places = self._floors.unsaved(), dict(self._moved)
        self._counts.filtered = self._filtered_before + self._floors.filtered
        self._counts.target_bytes = self._target.size_bytes
        self._counts.lost = self.lost()
        counts = msgspec.structs.replace(self._counts)
        now = time.monotonic()
        if last or self._synced is None or now - self._synced > SYNC_EVERY_S:
            await self._target.sync()
            self._synced = now
        standing: list[Mapping[str, str]] = [self._source.stands_on, self._target.stands_on]
        stands: dict[str, str] = {}
        for before, current in zip(self._stood, standing, strict=True):
            if current is not before:
                stands |= current
        await self._book.commit(
            counts=counts, floors=floors, lane_places=lane_places, elapsed_s=self._elapsed_s(), stands=stands
        )
        self._stood = standing
        self._floors.saved(floors)
        for at, place in lane_places.items():
            if self._moved[at] == place:
                del self._moved[at]
