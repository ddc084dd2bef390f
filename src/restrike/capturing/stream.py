"""Capture of one stream: its records into files, none lost and none twice.

1. Where to go on is what the archive holds: the last file of each shard says behind which sequence number (`takeover`).
2. Pages are gathered in one growing file for each shard, cut where the hour changes (`buffers`). It is put when it is
   old enough, or when all together are as large as they may be.
3. Files of a shard are put one after the other, create-only, each durable before the next (`puts`). Whoever goes on at
   the same place chooses the same name, so that one of two captures fails there, looks again, and gives way or goes on
   behind the other.
4. Beside that, the archive's state is written every few seconds: who is at work, and up to when each shard was looked
   at.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from restrike.archive.columns import Answered, answered_page
from restrike.archive.layout import StreamName
from restrike.archive.schema import About
from restrike.aws import streams
from restrike.aws.pages import AFTER_START_S, Extent, Manner, Pages, ShardPage
from restrike.aws.streams import Start, StreamInfo
from restrike.aws.wire import Wire
from restrike.capturing.buffers import Buffer, due, until_due_s
from restrike.capturing.puts import Puts
from restrike.capturing.request import CaptureOptions
from restrike.capturing.takeover import Tenure
from restrike.capturing.tally import CaptureTally
from restrike.errors import RestrikeError, UsageError
from restrike.model.window import Gap
from restrike.running.stop import Stop
from restrike.stores.objects import Store

SHARDS_SIDE_BY_SIDE = 6  # of which a page is read or waits; their megabytes are not in --flush-mb


class StreamCapture:
    """Captures one stream into an archive, from where the archive is to the stream's end or until it is stopped."""

    def __init__(
        self,
        wire: Wire,
        store: Store,
        stream: StreamName,
        info: StreamInfo,
        now_s: float,
        keys: dict[str, str],
        options: CaptureOptions,
        tally: CaptureTally,
        stop: Stop,
    ) -> None:
        """`now_s`: the service's time at this moment; `keys`: the table's key attributes by HASH and RANGE."""
        self._wire = wire
        self._store = store
        self._stream = stream
        self._info = info
        self._keys = keys
        self._options = options
        self._tally = tally
        self._stop = stop
        self._tenure = Tenure(store, stream, info, now_s, wire.service_now_s, options, tally, stop)
        self._puts = Puts(store, stream, self._tenure, tally)
        self._buffers: dict[str, Buffer] = {}
        self._lost: list[Gap] = []

    async def run(self) -> str:
        """Captures; returns why it ended. Raises RestrikeError where it cannot go on; what is put stays put."""
        tenure = self._tenure
        with self._store.lock(self._stream.lock_path) as alone:
            if not alone:
                raise UsageError(
                    f"another process captures {self._stream} into {self._store.uri}", "Let it, or end it first."
                )
            await tenure.take_over()
            listed = await streams.list_shards(self._wire, self._info.arn)
            self._tally.shards = len(listed)
            after = await tenure.places(listed)
            beating = asyncio.create_task(tenure.beat())
            try:
                return await self._capture(after, beating)
            finally:
                beating.cancel()
                await asyncio.gather(beating, return_exceptions=True)
                with contextlib.suppress(RestrikeError):  # whatever went wrong is told already
                    await tenure.end()

    async def _capture(self, after: dict[str, int], beating: asyncio.Task[None]) -> str:
        state, walk = self._tenure.state, self._walk()
        stopping = asyncio.create_task(self._stop.wait())
        try:
            async with contextlib.aclosing(walk.pages(after)) as pages:
                getting: asyncio.Future[ShardPage] = asyncio.ensure_future(anext(pages))
                try:
                    while True:
                        waits: set[asyncio.Future[Any]] = {getting, stopping, beating}
                        await asyncio.wait(
                            waits,
                            timeout=until_due_s(self._buffers, self._options.flush_s),
                            return_when=asyncio.FIRST_COMPLETED,
                        )
                        if beating.done():
                            beating.result()
                        if stopping.done():
                            ended = "stopped"
                            break
                        if getting.done():
                            try:
                                self._take(getting.result(), walk)
                            except StopAsyncIteration:
                                ended = walk.why()
                                break
                            except RestrikeError:
                                await self._flush(list(self._buffers))  # asked later, the stream may have forgotten
                                raise
                            getting = asyncio.ensure_future(anext(pages))
                        await self._tenure.claim_lost(self._lost)
                        await self._flush(due(self._buffers, self._tally.held_bytes, self._options))
                finally:
                    getting.cancel()
                    with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, RestrikeError):
                        await getting
        finally:
            stopping.cancel()
        await self._tenure.claim_lost(self._lost)
        await self._flush(list(self._buffers))
        if ended != "stopped" and all(shard.done for shard in state.shards.values()) and not walk.open:
            state.ended = ended
        return ended

    def _walk(self) -> Pages:
        tenure, options = self._tenure, self._options
        state = tenure.state
        since_s = state.began_s if state.latest else state.since_s
        return Pages(
            self._wire,
            self._info.arn,
            streams.records_decoder(Answered),
            answered_page,
            Extent(
                otherwise=Start(latest=True) if state.latest and not tenure.resumed else Start(at_s=since_s),
                since_s=since_s,
                stop_s=None if options.follow else tenure.opened_s + AFTER_START_S,
                follow=options.follow,
                clock_offset_s=tenure.clock_offset_s,
                begun_s=self._info.created_s,
            ),
            Manner(
                patience_s=tenure.patience_s,
                idle_poll_s=options.poll_s if options.follow else None,
                side_by_side=SHARDS_SIDE_BY_SIDE,
            ),
            gaps=self._lost,
            loses=tenure.loses,
        )

    def _take(self, page: ShardPage, walk: Pages) -> None:
        """Into the buffer of its shard. A page's records are in order, and none of them was there before."""
        tenure, tally = self._tenure, self._tally
        buffer = self._buffers.get(page.shard)
        if buffer is None:
            buffer = self._buffers[page.shard] = Buffer()
            if page.shard not in tenure.parents:
                tenure.parents[page.shard] = walk.parent(page.shard)
            tenure.shard(page.shard)
        tenure.state.heard_s = max(tenure.state.heard_s, page.read_to_s)
        tally.held_bytes += buffer.add(page, self._about(page.shard))
        # What waits for its row group is a quarter of what may be held, all shards together.
        buffer.pack(self._options.flush_bytes // (4 * len(self._buffers)))
        if not buffer.files:
            self._settle(page.shard, buffer)
        reading = [each.read_to_s for each in self._buffers.values() if each.read_to_s]
        tally.read_to_s = min(reading) - tenure.clock_offset_s if reading else None

    async def _flush(self, shards: list[str]) -> None:
        await self._puts.flush({shard: self._buffers[shard] for shard in shards}, self._settle)

    def _settle(self, shard_id: str, buffer: Buffer) -> None:
        """All that was read of the shard is in the archive."""
        shard = self._tenure.shard(shard_id)
        shard.read_to_s = max(shard.read_to_s, buffer.read_to_s)
        shard.done = shard.done or buffer.done
        if shard.done:
            del self._buffers[shard_id]

    def _about(self, shard: str) -> About:
        return About(
            stream_arn=self._info.arn,
            table=self._stream.table,
            shard=shard,
            view_type=self._info.view_type,
            keys=self._keys,
            parent_shard=self._tenure.parents.get(shard),
        )
