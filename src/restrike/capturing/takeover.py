"""Taking a stream's archive over: who captures into it, how far each shard is there, and what a pause has lost.

`_capture/…json` is written every few seconds, and names its owner. In S3, where nothing can be locked, who wants to
capture waits until an owner that does not say that it is at work is surely dead; and whoever finds another's name
there gives way. The names of the files are the last word: two that go on at the same place collide.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from restrike.archive.footer import Damaged
from restrike.archive.layout import CAPTURES, HOUR_S, StreamName, hour_of
from restrike.archive.places import REMEMBERED_HOURS, last_files, opened
from restrike.archive.state import CaptureState, KnownGap, Owner, ShardState, encoded, load, this_process, write_gap
from restrike.aws.streams import RETENTION_S, Shard, StreamInfo
from restrike.capturing.request import CaptureOptions
from restrike.capturing.tally import CaptureTally
from restrike.errors import RestrikeError, ServiceFault, SourceLacks, Throttled, Unreachable, UsageError
from restrike.model.window import DRAINED, Gap
from restrike.running.stop import Stop
from restrike.stores.folder import LocalFolder
from restrike.stores.objects import Changed, Store

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
FORGET_DONE_S = 2 * RETENTION_S


class Tenure:
    """One process's time at the archive of a stream: `take_over`, `places`, then `beat`, and at last `end`.
    `resumed`: the archive has something of the stream already."""

    state: CaptureState

    def __init__(
        self,
        store: Store,
        stream: StreamName,
        info: StreamInfo,
        now_s: float,
        told_now_s: Callable[[], float | None],
        options: CaptureOptions,
        tally: CaptureTally,
        stop: Stop,
    ) -> None:
        """`now_s`: the service's time at this moment; `told_now_s` tells it later, where an answer has told it."""
        self.resumed = False
        self.opened_s = now_s
        self._told_now_s = told_now_s
        self._first_offset_s = now_s - time.time()
        self.patience_s = FOLLOW_PATIENCE_S if options.follow else ONCE_PATIENCE_S
        self.parents: dict[str, str | None] = {}
        self._store = store
        self._stream = stream
        self._info = info
        self._options = options
        self._tally = tally
        self._stop = stop
        self._owner = this_process()
        self._etag = ""
        self._verified: dict[str, float] = {}
        self._claimed = 0
        self._saving = asyncio.Lock()

    def now_s(self) -> float:
        """By the service's clock."""
        told_s = self._told_now_s()
        return time.time() + self._first_offset_s if told_s is None else told_s

    @property
    def clock_offset_s(self) -> float:
        """What the service's clock is ahead of ours."""
        return self.now_s() - time.time()

    async def take_over(self) -> None:
        """Makes the archive of the stream this process's; raises UsageError where it is another's."""
        known = await self.patiently(lambda: load(self._store, self._stream))
        if known is None:
            await self._create_state()
        else:
            self.resumed = True
            self.state, self._etag = known
            await self._outwait()

    async def places(self, listed: Mapping[str, Shard]) -> dict[str, int]:
        """The place of each shard behind which to go on; what a pause has lost is written down as a gap."""
        state, known_state = self.state, self.resumed
        self.parents = {shard_id: shard.parent_shard_id for shard_id, shard in listed.items()}
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
            if known_shard is not None and (known_shard.hour or 0) >= hour_of(self.now_s()) - REMEMBERED_HOURS:
                # Somebody took its last file away: what the stream still remembers of it is read again.
                known_shard.last = known_shard.hour = None
                after.pop(shard_id, None)
        for shard_id, (last, hour) in found.items():
            after[shard_id] = last  # whatever the state says: the files win
            shard = self.shard(shard_id)
            shard.last, shard.hour = str(after[shard_id]), hour
            shard.read_to_s = max(shard.read_to_s, hour * HOUR_S)
        if not known_state and after:
            # The state was lost, not the files: this is no first capture.
            state.latest, state.since_s, self.resumed = False, None, True
        await self._claim_pause()
        for shard_id, shard in state.shards.items():
            if shard_id not in listed and not shard.done:
                # Closed for a day: what of it was not read is in the gap.
                shard.done = True
                after[shard_id] = DRAINED
        await self._save(owner=self._owner, call=self.patiently)
        return after

    async def _create_state(self) -> None:
        options = self._options
        self.state = CaptureState(
            stream_arn=self._info.arn,
            table=self._stream.table,
            label=self._stream.label,
            began_s=self.opened_s,
            saved_s=self.opened_s,
            latest=options.latest,
            since_s=options.since_s,
            owner=self._owner,
        )
        data = encoded(self.state)
        await self.patiently(lambda: self._store.create(self._stream.state_path, data))
        found = await self.patiently(lambda: load(self._store, self._stream))
        if found is None or found[0].owner != self._owner:
            raise self.another(found[0].owner if found is not None else None)
        self._etag = found[1]

    async def _outwait(self) -> None:
        """Waits until a capture that is not known to have ended is surely dead. On a local disk the lock says so."""
        if isinstance(self._store, LocalFolder):
            return
        saved_s, deadline = self.state.saved_s, time.monotonic() + STALE_S
        fresh = self.now_s() - saved_s < STALE_S
        while fresh and self.state.owner is not None and time.monotonic() < deadline:
            if await self._stop.sleep(1.0):
                break
            found = await self.patiently(lambda: load(self._store, self._stream))
            if found is None:
                break
            self.state, self._etag = found
            if self.state.owner is not None and self.state.saved_s != saved_s:
                raise self.another(self.state.owner)

    def another(self, owner: Owner | None) -> UsageError:
        """What is raised where another capture is at work, whoever that is."""
        return UsageError(
            f"another capture writes {self._stream} into {self._store.uri}: {owner or 'nobody knows whose'}",
            "Let it, or end it first. Nothing was lost or written twice.",
        )

    async def check_place(self) -> None:
        """RestrikeError where the folder is not the one any more that this capture has written to: moved, put back from
        a copy. What it would put there would leave a hole behind what that one holds.

        On a disk the lock keeps others from writing the state; a bucket is not replaced.
        """
        store = self._store
        if not isinstance(store, LocalFolder):
            return
        async with self._saving:
            if await asyncio.to_thread(store.etag, self._stream.state_path) != self._etag:
                raise self._replaced()

    def _replaced(self) -> RestrikeError:
        return RestrikeError(
            f"{self._store.uri} was replaced while it was captured into: {self._stream.state_path} is another, or gone",
            "Run the same command again: it goes on where that archive is, and reads what the stream still remembers.",
        )

    async def _last_places(self, floors: dict[str, int]) -> dict[str, tuple[int, int]]:
        """The last sequence number that the archive holds of each shard, and the hour of its file."""

        def look() -> dict[str, tuple[int, int]]:
            files = last_files(self._store, self._stream, floors, self.now_s())
            if isinstance(self._store, LocalFolder):
                for folder in {CAPTURES, *(file.path.rpartition("/")[0] for file in files.values())}:
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

        found = await self.patiently(look)
        for shard in floors:
            self._verified[shard] = self.now_s()
        return found

    async def _claim_pause(self) -> None:
        """Writes down a gap where the stream has forgotten what came after the archive was last looked after."""
        state, horizon_s = self.state, self.opened_s - RETENTION_S
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
        await self.patiently(lambda: write_gap(self._store, self._stream, gap))
        self._tally.gaps += 1

    def shard(self, shard_id: str) -> ShardState:
        """How far it is; from now on it is known that there is something to read."""
        known = self.state.shards.get(shard_id)
        if known is None:
            parent = self.state.shards.get(self.parents.get(shard_id) or "")
            # All of a child comes behind its parent.
            begins_s = parent.read_to_s if parent is not None and parent.done else self._unread_from_s()
            known = self.state.shards[shard_id] = ShardState(min(self.state.oldest_s, begins_s))
        return known

    def _unread_from_s(self) -> float:
        """Where a shard begins of which nothing was read yet: with what the stream remembers of what is wanted."""
        state = self.state
        wanted_s = state.began_s if state.latest else state.since_s or 0.0
        return max(self.now_s() - RETENTION_S + BEGIN_S, self._info.created_s or 0.0, wanted_s)

    def _floor(self, shard_id: str) -> int:
        """The hour before which the shard's last file cannot be."""
        known = self.state.shards.get(shard_id)
        if known is None:
            return hour_of(self._unread_from_s()) - 1
        return (hour_of(known.read_to_s) if known.hour is None else known.hour) - 1

    def loses(self, shard_id: str) -> bool:
        """Whether what the stream has forgotten of the shard can be missing in the archive."""
        known = self.state.shards.get(shard_id)
        read_to_s = self.state.saved_s if known is None else known.read_to_s
        return read_to_s < self.now_s() - RETENTION_S

    async def claim_lost(self, lost: list[Gap]) -> None:
        """Writes down those that are not yet. The list stays: the walk fills it in."""
        for gap in lost[self._claimed :]:
            known = self.state.shards.get(gap.shard)
            from_s = known.read_to_s if known is not None else self.state.oldest_s
            horizon_s = self.now_s() - RETENTION_S
            await self._claim(from_s, gap.to_s or horizon_s, (gap.shard,), gap.why)
            self.shard(gap.shard).read_to_s = max(from_s, horizon_s)
            self._claimed += 1

    async def where_the_archive_is(self, shard: str) -> int | None:
        """The last place of the shard that the archive holds; None where it holds nothing of the shard."""
        found = (await self._last_places({shard: self._floor(shard)})).get(shard)
        return None if found is None else found[0]

    def unsure(self, shard: str) -> bool:
        """Whether it is long since it was known where the archive is."""
        return self.now_s() - self._verified.get(shard, 0.0) > UNSURE_S

    def has_put(self, shard: str, last: int, hour: int, read_to_s: float) -> None:
        """All of the shard up to that place is in the archive, the last file under that hour."""
        known = self.shard(shard)
        known.last, known.hour, known.read_to_s = str(last), hour, max(known.read_to_s, read_to_s)
        self._verified[shard] = self.now_s()

    async def place_of_the_winner(self, shard: str) -> int:
        """The last place of the shard that the archive holds, now that a name of ours is taken.

        Raises UsageError where another capture is at work: it will go on. The winner may be this process: an answer
        that was lost, and a put that was tried again; or a capture that was taken for dead, and put what it held.
        """
        found = await self.patiently(lambda: load(self._store, self._stream))
        if found is not None and found[0].owner not in (None, self._owner):
            raise self.another(found[0].owner)
        place = await self.where_the_archive_is(shard)
        if place is None:
            raise self.another(None)
        return place

    async def beat(self) -> None:
        """Says every few seconds that it is at work, until it is cancelled."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            # The puts have a patience, and tell when it is at its end.
            with contextlib.suppress(Unreachable, Throttled, ServiceFault):
                await self._save(owner=self._owner)

    async def end(self) -> None:
        """Gives the archive back."""
        await self._save(owner=None)

    async def _save(
        self, *, owner: Owner | None, call: Callable[[Callable[[], Any]], Awaitable[Any]] = asyncio.to_thread
    ) -> None:
        """To its end, also where it is cancelled: a thread that writes goes on, and whoever saves next must know what
        it has written."""
        saving = asyncio.ensure_future(self._saved(owner, call))
        try:
            await asyncio.shield(saving)
        except asyncio.CancelledError:
            await asyncio.gather(saving, return_exceptions=True)
            raise

    async def _saved(self, owner: Owner | None, call: Callable[[Callable[[], Any]], Awaitable[Any]]) -> None:
        async with self._saving:
            state = self.state
            state.owner, state.saved_s = owner, self.now_s()
            for shard_id in [
                each
                for each, shard in state.shards.items()
                if shard.done and shard.read_to_s < state.saved_s - FORGET_DONE_S
            ]:
                del state.shards[shard_id]  # the stream has forgotten it too
            data = encoded(state)
            etag = await call(lambda: self._store.replace(self._stream.state_path, data, self._etag))
            if etag is None:
                if isinstance(self._store, LocalFolder):
                    raise self._replaced()
                found = await call(lambda: load(self._store, self._stream))
                if found is None or found[0].owner not in (None, self._owner):
                    raise self.another(found[0].owner if found is not None else None)
                # Our own put, whose answer was lost; or one who has ended since.
                now = found[1]
                etag = await call(lambda: self._store.replace(self._stream.state_path, data, now))
                if etag is None:
                    raise self.another(None)
            self._etag = etag

    async def patiently(self, work: Callable[[], T]) -> T:
        """The work, in a thread; where the store cannot be reached, again and again for as long as it makes sense."""
        deadline = time.monotonic() + self.patience_s
        while True:
            try:
                answer = await asyncio.to_thread(work)
            except (Unreachable, Throttled, ServiceFault) as error:
                if time.monotonic() >= deadline or self._stop.is_set():
                    raise
                self._tally.waiting_for = error.message
                await self._stop.sleep(PAUSE_S)
            else:
                self._tally.waiting_for = ""
                return answer
