"""Capture: the records of a stream into files, none lost and none twice.

1. Where to go on is what the archive holds: the last file of each shard says behind which sequence number.
2. Pages are gathered in one run for each shard, cut where the hour changes. A run becomes a file when it is old
   enough, or when all runs together are as large as they may be.
3. Files of a shard are put one after the other, create-only, each durable before the next. Whoever goes on at the
   same place chooses the same name, so that one of two captures fails there, looks again, and gives way or goes on
   behind the other.
4. Beside that, `state` is written every few seconds: who is at work, and up to when each shard was looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import pyarrow as pa

from restrike.archive.layout import HOUR_S, StreamName, file_path, hour_of
from restrike.archive.parquet import About, Answered, Damaged, Opened, Row, RunFile, Writer, row
from restrike.archive.places import REMEMBERED_HOURS, last_files, opened
from restrike.archive.state import CaptureState, KnownGap, Owner, ShardState, encoded, load, this_process, write_gap
from restrike.aws import streams
from restrike.aws.pages import AFTER_START_S, Page, Pages
from restrike.aws.streams import RETENTION_S, Start, StreamInfo
from restrike.aws.wire import Wire
from restrike.errors import RestrikeError, ServiceFault, SourceLacks, Throttled, Unreachable, UsageError
from restrike.model.window import DRAINED, Gap
from restrike.runs.stop import Stop
from restrike.stores.objects import Changed, LocalFolder, Store

T = TypeVar("T")

HEARTBEAT_S = 10.0
STALE_S = 35.0
"""A capture in S3 that has not said for so long that it is at work is taken for dead."""
BEGIN_S = 60.0
"""What the stream forgets while a capture begins belongs to the gap before it."""
UNSURE_S = 900.0
"""Who has not put a file of a shard for so long looks again where the archive is before it does."""
ONCE_PATIENCE_S = 300.0
FOLLOW_PATIENCE_S = RETENTION_S
PAUSE_S = 5.0  # until a store that could not be reached is tried again
PUTS_SIDE_BY_SIDE = 4
SHARDS_SIDE_BY_SIDE = 6  # of which a page is read or waits; their megabytes are not in --flush-mb
MAX_COLLISIONS = 5
FORGET_DONE_S = 2 * RETENTION_S


class CaptureOptions(msgspec.Struct, frozen=True):
    """How to capture. `latest` and `since_s` count only where the archive has nothing of the stream yet."""

    follow: bool = False
    latest: bool = False
    since_s: float | None = None
    flush_s: float = 60.0
    flush_bytes: int = 64_000_000
    poll_s: float = 5.0


class CaptureTally(msgspec.Struct):
    """What was captured so far, by this process. Times in epoch seconds; all that came before `read_to_s` was read."""

    records: int = 0
    files: int = 0
    written_bytes: int = 0
    gaps: int = 0
    shards: int = 0
    held_bytes: int = 0
    read_to_s: float | None = None
    first_s: float | None = None
    last_s: float | None = None
    waiting_for: str = ""

    @property
    def lag_s(self) -> float | None:
        """How far behind now; None where nothing was read yet."""
        return None if self.read_to_s is None else max(0.0, time.time() - self.read_to_s)


class _File(msgspec.Struct):
    """A file to put: its bytes, its first place, the hour that it is filed under, and its records."""

    data: bytes
    first: int
    hour: int
    records: int


class _Buffer:
    """What was read of a shard and is not yet put."""

    __slots__ = ("behind", "done", "read_to_s", "runs", "since")

    def __init__(self) -> None:
        self.runs: deque[tuple[int, RunFile]] = deque()  # with the hour that each is filed under
        self.since = 0.0  # monotonic time of the oldest record here
        self.read_to_s = 0.0
        self.done = False
        self.behind = -1  # the place up to which another capture has put the shard meanwhile

    def add(self, records: list[Row], about: About) -> int:
        """Into the last run, or into new ones where the hour changes; returns the bytes that they take."""
        if records and records[0].place <= self.behind:
            records = [each for each in records if each.place > self.behind]
        held = 0
        while records:
            if not self.runs:
                self.since = time.monotonic()
            if not self.runs or hour_of(records[0].created_s) > self.runs[-1][0]:
                self.runs.append((hour_of(records[0].created_s), RunFile(about)))
            hour, run = self.runs[-1]
            later_s = (hour + 1) * HOUR_S
            fitting = next((at for at, each in enumerate(records) if each.created_s >= later_s), len(records))
            held += run.add(records[:fitting])
            records = records[fitting:]
        return held

    @property
    def held_bytes(self) -> int:
        return sum(run.held_bytes for _, run in self.runs)


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
        self._opened_s = now_s
        self._clock_offset_s = now_s - time.time()
        self._owner = this_process()
        self._state: CaptureState
        self._etag = ""
        self._parents: dict[str, str | None] = {}
        self._walk: Pages | None = None
        self._buffers: dict[str, _Buffer] = {}
        self._verified: dict[str, float] = {}
        self._puts = asyncio.Semaphore(PUTS_SIDE_BY_SIDE)
        self._saving = asyncio.Lock()

    def _now_s(self) -> float:
        return time.time() + self._clock_offset_s

    async def run(self) -> str:
        """Captures; returns why it ended. Raises RestrikeError where it cannot go on; what is put stays put."""
        with self._store.lock(self._stream.lock_path) as alone:
            if not alone:
                raise UsageError(
                    f"another process captures {self._stream} into {self._store.uri}", "Let it, or end it first."
                )
            after = await self._begin()
            beating = asyncio.create_task(self._beat())
            try:
                return await self._capture(after, beating)
            finally:
                beating.cancel()
                await asyncio.gather(beating, return_exceptions=True)
                with contextlib.suppress(RestrikeError):  # whatever went wrong is told already
                    await self._save(owner=None)

    # ── where to begin ───────────────────────────────────────────────────────────────────────────────────

    async def _begin(self) -> dict[str, int]:
        """Takes the archive over, finds the gap that a pause has left, and returns the place of each shard."""
        known = await self._patiently(lambda: load(self._store, self._stream))
        self._resumed = known is not None
        if known is None:
            await self._create_state()
        else:
            self._state, self._etag = known
            await self._take_over()
        state = self._state
        listed = await streams.list_shards(self._wire, self._info.arn)
        self._parents = {shard_id: shard.parent_shard_id for shard_id, shard in listed.items()}
        self._tally.shards = len(listed)
        after = {
            shard_id: DRAINED if shard.done else int(shard.last or 0)
            for shard_id, shard in state.shards.items()
            if shard.done or shard.last is not None
        }
        open_ended = {shard_id for shard_id in listed if after.get(shard_id) != DRAINED}
        # Of a shard that the state does not know there may be files all the same.
        floors = {shard_id: self._floor(shard_id) if shard_id in state.shards else 0 for shard_id in open_ended}
        found = await self._last_places(floors)
        for shard_id in open_ended - found.keys():
            known_shard = state.shards.get(shard_id)
            if known_shard is not None and (known_shard.hour or 0) >= hour_of(self._now_s()) - REMEMBERED_HOURS:
                # Somebody took its last file away: what the stream still remembers of it is read again.
                known_shard.last = known_shard.hour = None
                after.pop(shard_id, None)
        for shard_id, (last, hour) in found.items():
            after[shard_id] = last  # whatever the state says: the files win
            shard = self._shard(shard_id)
            shard.last, shard.hour = str(after[shard_id]), hour
            shard.read_to_s = max(shard.read_to_s, hour * HOUR_S)
        if known is None and after:
            # The state was lost, not the files: this is no first capture.
            state.latest, state.since_s, self._resumed = False, None, True
        await self._claim_pause()
        for shard_id, shard in state.shards.items():
            if shard_id not in listed and not shard.done:
                # Closed for a day: what of it was not read is in the gap.
                shard.done = True
                after[shard_id] = DRAINED
        await self._save(owner=self._owner, call=self._patiently)
        return after

    async def _create_state(self) -> None:
        options = self._options
        self._state = CaptureState(
            stream_arn=self._info.arn,
            table=self._stream.table,
            label=self._stream.label,
            began_s=self._opened_s,
            saved_s=self._opened_s,
            latest=options.latest,
            since_s=options.since_s,
            owner=self._owner,
        )
        data = encoded(self._state)
        await self._patiently(lambda: self._store.create(self._stream.state_path, data))
        found = await self._patiently(lambda: load(self._store, self._stream))
        if found is None or found[0].owner != self._owner:
            raise self._another(found[0].owner if found is not None else None)
        self._etag = found[1]

    async def _take_over(self) -> None:
        """Waits until a capture that is not known to have ended is surely dead. On a local disk the lock says so."""
        if isinstance(self._store, LocalFolder):
            return
        saved_s, deadline = self._state.saved_s, time.monotonic() + STALE_S
        fresh = self._now_s() - saved_s < STALE_S
        while fresh and self._state.owner is not None and time.monotonic() < deadline and not self._stop.is_set():
            await asyncio.sleep(1.0)
            found = await self._patiently(lambda: load(self._store, self._stream))
            if found is None:
                break
            self._state, self._etag = found
            if self._state.owner is not None and self._state.saved_s != saved_s:
                raise self._another(self._state.owner)

    def _another(self, owner: Owner | None) -> UsageError:
        return UsageError(
            f"another capture writes {self._stream} into {self._store.uri}: {owner or 'nobody knows whose'}",
            "Let it, or end it first. Nothing was lost or written twice.",
        )

    async def _last_places(self, floors: dict[str, int]) -> dict[str, tuple[int, int]]:
        """The last sequence number that the archive holds of each shard, and the hour of its file."""

        def look() -> dict[str, tuple[int, int]]:
            files = last_files(self._store, self._stream, floors, self._now_s())
            if isinstance(self._store, LocalFolder):
                for folder in {file.path.rpartition("/")[0] for file in files.values()}:
                    self._store.sweep(folder)
            try:
                return {shard: (opened(self._store, file)[0].last, file.hour) for shard, file in files.items()}
            except Damaged as error:
                raise SourceLacks(
                    error.message.replace(": ", " tells where to go on, and cannot be read: ", 1),
                    "Move that file away: what the stream still remembers of it is then read again.",
                ) from None
            except Changed as error:  # by a compaction, since it was listed: then it is looked for again
                raise ServiceFault(f"{self._store.uri}/{error} changed while it was looked at") from None

        found = await self._patiently(look)
        for shard in floors:
            self._verified[shard] = time.time()
        return found

    async def _claim_pause(self) -> None:
        """Writes down a gap where the stream has forgotten what came after the archive was last looked after."""
        state, horizon_s = self._state, self._opened_s - RETENTION_S
        if state.oldest_s >= horizon_s:
            return
        horizon_s += BEGIN_S
        behind = tuple(sorted(each for each, shard in state.shards.items() if not shard.done))
        await self._claim(
            state.oldest_s, horizon_s, behind, "no capture ran, and the stream forgot what was not read within 24 hours"
        )
        for shard in state.shards.values():
            shard.read_to_s = max(shard.read_to_s, horizon_s)
        state.saved_s = max(state.saved_s, horizon_s)
        state.heard_s = max(state.heard_s, horizon_s) if state.heard_s else 0.0

    async def _claim(self, from_s: float, to_s: float, shards: tuple[str, ...], cause: str) -> None:
        gap = KnownGap(self._info.arn, from_s, max(from_s, to_s), shards, cause)
        await self._patiently(lambda: write_gap(self._store, self._stream, gap))
        self._tally.gaps += 1

    def _shard(self, shard_id: str) -> ShardState:
        known = self._state.shards.get(shard_id)
        if known is None:
            parent = self._state.shards.get(self._parents.get(shard_id) or "")
            # All of a child comes behind its parent.
            begins_s = parent.read_to_s if parent is not None and parent.done else self._unread_from_s()
            known = self._state.shards[shard_id] = ShardState(min(self._state.oldest_s, begins_s))
        return known

    def _unread_from_s(self) -> float:
        """Where a shard begins of which nothing was read yet: with what the stream remembers of what is wanted."""
        state = self._state
        wanted_s = state.began_s if state.latest else state.since_s or 0.0
        return max(self._now_s() - RETENTION_S + BEGIN_S, self._info.created_s or 0.0, wanted_s)

    def _floor(self, shard_id: str) -> int:
        """The hour before which the shard's last file cannot be."""
        known = self._state.shards.get(shard_id)
        if known is None:
            return hour_of(self._unread_from_s()) - 1
        return (hour_of(known.read_to_s) if known.hour is None else known.hour) - 1

    def _loses(self, shard_id: str) -> bool:
        """Whether what the stream has forgotten of the shard can be missing in the archive."""
        known = self._state.shards.get(shard_id)
        if known is not None:
            read_to_s = known.read_to_s
        elif shard_id in self._buffers:
            read_to_s = self._buffers[shard_id].read_to_s or self._state.saved_s
        else:
            read_to_s = self._state.saved_s
        return read_to_s < self._now_s() - RETENTION_S

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────

    async def _capture(self, after: dict[str, int], beating: asyncio.Task[None]) -> str:
        state, options = self._state, self._options
        since_s = state.began_s if state.latest else state.since_s
        lost: list[Gap] = []
        claimed = 0
        walk = Pages(
            self._wire,
            self._info.arn,
            streams.records_decoder(Answered),
            row,
            otherwise=Start(latest=True) if state.latest and not self._resumed else Start(at_s=since_s),
            gaps=lost,
            since_s=since_s,
            stop_s=None if options.follow else self._opened_s + AFTER_START_S,
            follow=options.follow,
            clock_offset_s=self._clock_offset_s,
            loses=self._loses,
            patience_s=FOLLOW_PATIENCE_S if options.follow else ONCE_PATIENCE_S,
            idle_poll_s=options.poll_s if options.follow else None,
            side_by_side=SHARDS_SIDE_BY_SIDE,
        )
        self._walk = walk
        stopping = asyncio.create_task(self._stop.wait())
        try:
            async with contextlib.aclosing(walk.pages(after)) as pages:
                getting: asyncio.Future[Page] = asyncio.ensure_future(anext(pages))
                try:
                    while True:
                        waits: set[asyncio.Future[Any]] = {getting, stopping, beating}
                        await asyncio.wait(
                            waits,
                            timeout=self._until_due_s(),
                            return_when=asyncio.FIRST_COMPLETED,
                        )
                        if beating.done():
                            beating.result()
                        if stopping.done():
                            ended = "stopped"
                            break
                        if getting.done():
                            try:
                                self._take(getting.result())
                            except StopAsyncIteration:
                                ended = walk.why()
                                break
                            except RestrikeError:
                                await self._flush(list(self._buffers))  # asked later, the stream may have forgotten
                                raise
                            getting = asyncio.ensure_future(anext(pages))
                        claimed = await self._claim_lost(lost, claimed)
                        await self._flush_due()
                finally:
                    getting.cancel()
                    with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration, RestrikeError):
                        await getting
        finally:
            stopping.cancel()
        await self._claim_lost(lost, claimed)
        await self._flush(list(self._buffers))
        if ended != "stopped" and all(shard.done for shard in state.shards.values()) and not walk.open:
            state.ended = ended
        return ended

    async def _claim_lost(self, lost: list[Gap], claimed: int) -> int:
        """Writes down those that are not yet; returns how many there are. The list stays: the walk fills it in."""
        for gap in lost[claimed:]:
            known = self._state.shards.get(gap.shard)
            from_s = known.read_to_s if known is not None else self._state.oldest_s
            horizon_s = self._now_s() - RETENTION_S
            await self._claim(from_s, gap.to_s or horizon_s, (gap.shard,), gap.why)
            self._shard(gap.shard).read_to_s = max(from_s, horizon_s)
            claimed += 1
        return claimed

    def _take(self, page: Page) -> None:
        """Into the runs of its shard. A page's records are in order, and none of them was there before."""
        buffer = self._buffers.get(page.shard)
        if buffer is None:
            buffer = self._buffers[page.shard] = _Buffer()
            if page.shard not in self._parents and self._walk is not None:
                self._parents[page.shard] = self._walk.parent(page.shard)
            self._shard(page.shard)  # from now on it is known that there is something to read
        self._state.heard_s = max(self._state.heard_s, page.read_to_s)
        tally, about = self._tally, self._about(page.shard)
        tally.held_bytes += buffer.add(page.records, about)
        # What waits for its row group is a quarter of what may be held, all shards together.
        share_bytes = self._options.flush_bytes // (4 * len(self._buffers))
        if buffer.runs and (buffer.runs[-1][1].full or buffer.runs[-1][1].waiting_bytes >= share_bytes):
            # Some ten milliseconds, and not in a thread: that would keep a heap of its own, and wait for this one.
            buffer.runs[-1][1].pack()
        buffer.read_to_s = max(buffer.read_to_s, page.read_to_s)
        buffer.done = buffer.done or page.last
        if not buffer.runs:
            self._settle(page.shard, buffer)
        elif buffer.done:
            buffer.since = -math.inf  # now: no file of a child before the last of its parent
        reading = [each.read_to_s for each in self._buffers.values() if each.read_to_s]
        tally.read_to_s = min(reading) - self._clock_offset_s if reading else None

    def _settle(self, shard_id: str, buffer: _Buffer) -> None:
        """All that was read of the shard is in the archive."""
        shard = self._shard(shard_id)
        shard.read_to_s = max(shard.read_to_s, buffer.read_to_s)
        shard.done = shard.done or buffer.done
        if shard.done:
            del self._buffers[shard_id]

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────

    def _until_due_s(self) -> float:
        waiting = [buffer.since for buffer in self._buffers.values() if buffer.runs]
        due = min(waiting, default=time.monotonic()) + self._options.flush_s
        return max(0.05, due - time.monotonic())

    async def _flush_due(self) -> None:
        """The runs that are old enough; and where all together are too large, the largest, down to half."""
        now = time.monotonic()
        due = [
            shard
            for shard, buffer in self._buffers.items()
            if buffer.runs and now - buffer.since >= self._options.flush_s
        ]
        held = self._tally.held_bytes
        if held >= self._options.flush_bytes:
            for shard in sorted(self._buffers, key=lambda each: -self._buffers[each].held_bytes):
                if held <= self._options.flush_bytes // 2:
                    break
                if shard not in due:
                    due.append(shard)
                held -= self._buffers[shard].held_bytes
        if due:
            await self._flush(due)

    async def _flush(self, shards: list[str]) -> None:
        """Puts all that is held of those shards. Of one shard one file after the other."""
        tasks = [asyncio.create_task(self._flush_shard(shard)) for shard in shards if self._buffers[shard].runs]
        try:
            for task in tasks:
                await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _flush_shard(self, shard: str) -> None:
        buffer = self._buffers[shard]
        async with self._puts:
            while buffer.runs:
                hour, run = buffer.runs.popleft()
                await self._put_run(shard, hour, run, buffer)
                self._tally.held_bytes -= run.held_bytes
        self._settle(shard, buffer)

    async def _put_run(self, shard: str, hour: int, run: RunFile, buffer: _Buffer) -> None:
        if time.time() - self._verified.get(shard, 0.0) > UNSURE_S:
            found = (await self._last_places({shard: self._floor(shard)})).get(shard)
            if found is not None and found[0] >= run.first:
                raise self._another(None)
        about, last = self._about(shard), max(run.last, buffer.behind)
        follows = self._shard(shard).last
        files = [_File(run.finish(follows), run.first, hour, run.records)]
        if run.first <= buffer.behind:
            files = await asyncio.to_thread(_rest, files[0].data, about, buffer.behind)
        tally = self._tally
        collisions = 0
        while files:
            file = files[0]
            path = file_path(self._stream, file.hour, shard, file.first)
            if not await self._patiently(lambda path=path, data=file.data: self._store.create(path, data)):  # type: ignore[misc]  # bound now
                collisions += 1
                if collisions > MAX_COLLISIONS:
                    raise self._another(None)
                place = await self._place_of_the_winner(shard)
                buffer.behind = max(buffer.behind, place)
                if place != last:
                    files = [rest for each in files for rest in await asyncio.to_thread(_rest, each.data, about, place)]
                    last = max(last, place)
                    continue
                files = files[:1]  # it is there already
            files.pop(0)
            hour = file.hour
            tally.records += file.records
            tally.files += 1
            tally.written_bytes += len(file.data)
        state = self._shard(shard)
        state.last, state.hour, state.read_to_s = str(last), hour, max(state.read_to_s, run.last_s)
        self._verified[shard] = time.time()
        tally.first_s = run.first_s if tally.first_s is None else min(tally.first_s, run.first_s)
        tally.last_s = run.last_s if tally.last_s is None else max(tally.last_s, run.last_s)

    def _about(self, shard: str) -> About:
        return About(
            stream_arn=self._info.arn,
            table=self._stream.table,
            shard=shard,
            view_type=self._info.view_type,
            keys=self._keys,
            parent_shard=self._parents.get(shard),
        )

    async def _place_of_the_winner(self, shard: str) -> int:
        """The last place of the shard that the archive holds, now that a name of ours is taken.

        Raises UsageError where another capture is at work: it will go on. The winner may be this process: an answer
        that was lost, and a put that was tried again; or a capture that was taken for dead, and put what it held.
        """
        found = await self._patiently(lambda: load(self._store, self._stream))
        if found is not None and found[0].owner not in (None, self._owner):
            raise self._another(found[0].owner)
        place = (await self._last_places({shard: self._floor(shard)})).get(shard)
        if place is None:
            raise self._another(None)
        return place[0]

    # ── the state ────────────────────────────────────────────────────────────────────────────────────────

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            # The puts have a patience, and tell when it is at its end.
            with contextlib.suppress(Unreachable, Throttled, ServiceFault):
                await self._save(owner=self._owner)

    async def _save(
        self, *, owner: Owner | None, call: Callable[[Callable[[], Any]], Awaitable[Any]] = asyncio.to_thread
    ) -> None:
        async with self._saving:
            state = self._state
            state.owner, state.saved_s = owner, self._now_s()
            for shard_id in [
                each
                for each, shard in state.shards.items()
                if shard.done and shard.read_to_s < state.saved_s - FORGET_DONE_S
            ]:
                del state.shards[shard_id]  # the stream has forgotten it too
            data = encoded(state)
            etag = await call(lambda: self._store.replace(self._stream.state_path, data, self._etag))
            if etag is None:
                found = await call(lambda: load(self._store, self._stream))
                if found is None or found[0].owner not in (None, self._owner):
                    raise self._another(found[0].owner if found is not None else None)
                # Our own put, whose answer was lost; or one who has ended since.
                now = found[1]
                etag = await call(lambda: self._store.replace(self._stream.state_path, data, now))
                if etag is None:
                    raise self._another(None)
            self._etag = etag

    async def _patiently(self, work: Callable[[], T]) -> T:
        """The work, in a thread; where the store cannot be reached, again and again for as long as it makes sense."""
        deadline = time.monotonic() + (FOLLOW_PATIENCE_S if self._options.follow else ONCE_PATIENCE_S)
        while True:
            try:
                answer = await asyncio.to_thread(work)
            except (Unreachable, Throttled, ServiceFault) as error:
                if time.monotonic() >= deadline or self._stop.is_set():
                    raise
                self._tally.waiting_for = error.message
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), PAUSE_S)
            else:
                self._tally.waiting_for = ""
                return answer


def _rest(data: bytes, about: About, last: int) -> list[_File]:
    """The records of a file behind a place, as files of their own, cut where the hour changes."""
    whole = Opened(pa.BufferReader(data), about.shard)
    table = pa.concat_tables([whole.batch(group) for group in range(whole.groups)])
    numbers = table.column("sequence_number").to_pylist()
    begins: list[tuple[int, int]] = []
    for at, (number, created) in enumerate(zip(numbers, table.column("created_at").to_pylist(), strict=True)):
        hour = hour_of(created.timestamp())
        if int(number) > last and (not begins or hour > begins[-1][1]):
            begins.append((at, hour))
    files: list[_File] = []
    follows = str(last)
    for (begin, hour), (end, _) in zip(begins, [*begins[1:], (len(numbers), 0)], strict=False):
        writer = Writer(about, whole.records)
        for batch in table.slice(begin, end - begin).to_batches():
            writer.add_batch(batch)
        data = writer.finish(numbers[begin], numbers[end - 1], follows)
        follows = numbers[end - 1]
        files.append(_File(data, int(numbers[begin]), hour, end - begin))
    return files
