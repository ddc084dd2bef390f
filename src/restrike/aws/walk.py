"""The walk over a stream's shards: each after its parent, from given places on; and following it to its newest end."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from restrike.aws import streams
from restrike.aws.dynamodb import Unreadable, decode
from restrike.aws.streams import MAX_RECORDS, Shard, Start, shard_iterator
from restrike.aws.together import together
from restrike.aws.wire import Wire, retry_delay_s
from restrike.errors import ExpiredIterator, Invalid, NotFound, ServiceFault, Throttled, TrimmedData, Unreachable

T = TypeVar("T")

IDLE_POLL_S = 0.25  # Lambda asks a shard four times a second
MAX_IDLE_POLL_S = 1.0
REFRESH_SHARDS_S = 60.0
SIDE_BY_SIDE = 16  # shards of which a page is read or waits at the same time; a page is at most 1 MB
ITERATORS_IN_A_ROW = 20  # refused without a page between: then it is no matter of age
BROKEN_IN_A_ROW = 8  # answers that cannot be read, to one question
HEIR_LOOKS = 10
"""So often is a shard looked for that comes of one which has just ended: it is listed within moments. AWS's own adapter
for the Kinesis library looks as often."""
HEIR_LOOKS_FOLLOWING = 30  # nothing is lost meanwhile, and later it is found late
HEIRS_ONE_BY_ONE = 3  # of more shards at once, the whole list is fewer questions
SHORT_PAGE = 100  # records; the largest are 400 KB with two images, so a full megabyte may hold one


class Walk(abc.ABC):
    """Reads the shards of a stream from given places on, each after its parent, and hands over their pages.

    1. `prepare` takes the iterators, so that nothing that is written afterwards can be missed.
    2. `run` gives every shard a task. `side_by_side` of them at a time read a page and hand it over: whoever is slow
       to take pages slows the reading.
    3. When a shard is read to its end, its children begin. They are looked up in the list that is there, and asked for
       only where that knows none, since DescribeStream is for ten calls a second. In an enabled stream every shard that
       ended has a child, which may be listed moments later: so it is asked for several times.

    What becomes of a page is `_take`'s, in a subclass.
    """

    def __init__(
        self,
        wire: Wire,
        stream_arn: str,
        decoder: msgspec.json.Decoder[Any],
        *,
        fallback: Start,
        on_trimmed: Callable[[str], None],
        to_the_end: bool = False,
        patience_s: float = 0.0,
        idle_poll_s: float | None = None,
        side_by_side: int = SIDE_BY_SIDE,
    ) -> None:
        """`to_the_end`: `run` returns when no shard is left to read. `patience_s`: how long the service may throttle
        or be silent, beyond the retries of a call, until that is an error. `idle_poll_s`: the longest that a shard
        without new records is left alone."""
        self._idle_poll_s = MAX_IDLE_POLL_S if idle_poll_s is None else idle_poll_s
        self._wire = wire
        self._arn = stream_arn
        self._decoder = decoder
        self._fallback = fallback  # where a shard is read from that had no record yet when its iterator expired
        self._on_trimmed = on_trimmed
        self._to_the_end = to_the_end
        self._patience_s = patience_s
        self._positions: dict[str, str] = {}
        self._starts: dict[str, Start] = {}  # of shards that wait for their parent
        self._iterators: dict[str, str] = {}
        self._known: set[str] = set()  # shards that are read, are being read, or are not to be read
        self._left: set[str] = set()
        self._shards: dict[str, Shard] = {}
        self._status = "ENABLED"
        self._heirless: dict[str, int] = {}  # shards that are read and have no known child: how often to look for one
        self._filters = True  # until the service is seen not to list the children of one shard
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(side_by_side)

    # ── for subclasses ───────────────────────────────────────────────────────────────────────────────────

    @abc.abstractmethod
    async def _take(self, shard_id: str, records: list[Any], *, last: bool) -> str | None:
        """A page, which may be empty; `last`: the shard has no other. Returns the sequence number to go on behind."""

    def _asking(self, shard_id: str) -> None:  # noqa: B027 - may be left as it is
        """A page of the shard is asked for."""

    def _placed(self, shard_id: str, start: Start, *, by_time: bool) -> None:  # noqa: B027 - may be left as it is
        """The shard is read from there on. `by_time`: from that time, and not from its oldest record."""

    def _hurries(self, shard_id: str) -> bool:
        """Whether the shard is asked once a second at least, however long it gives nothing."""
        return False

    def _gone(self, shard_id: str) -> None:  # noqa: B027 - may be left as it is
        """The stream listed the shard and does not know it any more."""

    def _finished(self, shard_ids: Iterable[str]) -> None:  # noqa: B027 - may be left as it is
        """Those shards are read to their end, and their children have begun."""

    def _over(self) -> bool:
        """Whether to end, now that no shard is left to read."""
        return self._to_the_end

    def parent(self, shard_id: str) -> str | None:
        """The shard's parent, as far as it is known."""
        shard = self._shards.get(shard_id)
        return shard.parent_shard_id if shard is not None else None

    def _leave(self, shard_id: str) -> None:
        """Reads no further in that shard, nor in its children."""
        self._left.add(shard_id)

    # ── places ───────────────────────────────────────────────────────────────────────────────────────────

    async def prepare(self, starts: Mapping[str, Start], *, otherwise: Start, done: Collection[str] = ()) -> None:
        """Takes an iterator for each shard that has a start; for the others, but for those `done`, by `otherwise`.

        What lies before a started shard in its lineage is left out, and what comes after it is read when it
        is read to its end. With `otherwise` at the newest end, shards that are closed already are left out.
        """
        await self._list()
        before: set[str] = set()
        for shard_id in starts:
            before.update(self._lineage(shard_id))
        to_read: dict[str, Start] = {}
        waiting: set[str] = set()
        for shard_id, shard in self._shards.items():
            if shard_id in done:
                continue
            if shard_id in starts:
                to_read[shard_id] = starts[shard_id]
            elif any(ancestor in starts for ancestor in self._lineage(shard_id)):
                waiting.add(shard_id)
            elif shard_id not in before and (shard.open or not otherwise.latest):
                to_read[shard_id] = otherwise
        at_once: dict[str, Start] = {}
        for shard_id, start in to_read.items():
            if start.after is not None:
                self._positions[shard_id] = start.after
            if any(ancestor in to_read for ancestor in self._lineage(shard_id)):
                waiting.add(shard_id)
                self._starts[shard_id] = start
            else:
                at_once[shard_id] = start
        await self._take_iterators(at_once)
        self._known = set(self._shards) - waiting

    async def _list(self) -> None:
        self._shards, self._status = await self._patiently(lambda: streams.list_with_status(self._wire, self._arn))

    def _lineage(self, shard_id: str) -> list[str]:
        """The shard's ancestors, nearest first, up to the first that the stream does not list any more."""
        found: list[str] = []
        shard = self._shards.get(shard_id)
        while shard is not None and shard.parent_shard_id is not None and len(found) < len(self._shards):
            found.append(shard.parent_shard_id)
            shard = self._shards.get(shard.parent_shard_id)
        return found

    async def _take_iterators(self, starts: Mapping[str, Start]) -> None:
        async def take(shard_id: str, start: Start) -> None:
            async with self._turns:
                iterator = await self._iterator(shard_id, start)
            if iterator is not None:
                self._iterators[shard_id] = iterator

        await together(take(shard_id, start) for shard_id, start in starts.items())

    async def _iterator(self, shard_id: str, start: Start) -> str | None:
        """An iterator for that place or, where the stream has forgotten the place, for its oldest record."""
        try:
            found = await self._patiently(lambda: shard_iterator(self._wire, self._arn, shard_id, start))
            self._placed(shard_id, start, by_time=found.by_time)
            iterator = found.token
        except TrimmedData:
            self._on_trimmed(shard_id)
            iterator = await self._oldest(shard_id)
        except Invalid:
            # The service calls a number invalid that lies before the shard's first: then all records come after it.
            if start.after is None:
                raise
            iterator = await self._oldest(shard_id)
        if iterator is None:
            self._gone(shard_id)
        return iterator

    async def _oldest(self, shard_id: str) -> str | None:
        found = await self._patiently(lambda: shard_iterator(self._wire, self._arn, shard_id, Start()))
        self._placed(shard_id, Start(), by_time=False)
        return found.token

    async def _again(self, shard_id: str) -> str | None:
        after = self._positions.get(shard_id)
        return await self._iterator(shard_id, Start(after=after) if after is not None else self._fallback)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """The call's answer; throttles, faults and silence are borne for `patience_s` beyond the call's own retries."""
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                return await call()
            except (Throttled, ServiceFault, Unreachable):
                if time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(retry_delay_s(4))

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Reads until cancelled, or to the end. An error of a shard that retries do not mend ends it."""
        try:
            for shard_id in list(self._iterators):
                self._start(shard_id)
            await self._adopt_children()
            while self._tasks or self._heirless or not self._over():
                # A shard that has just closed gets its children within moments.
                eager = self._heirless or not self._tasks
                done = await self._any_done(MAX_IDLE_POLL_S if eager else REFRESH_SHARDS_S)
                for task in done:
                    self._tasks.discard(task)
                    task.result()
                names = {task.get_name() for task in done}
                heirless = names - self._left - self._parents()
                looks = HEIR_LOOKS if self._to_the_end else HEIR_LOOKS_FOLLOWING
                self._heirless |= dict.fromkeys(heirless, looks)
                if heirless or not done or not self._tasks:
                    await self._look_for_heirs(heirless if done else set(self._heirless))
                await self._adopt_children()
                # Only now: their children are to be read before the stream is at its end.
                self._finished(names)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look_for_heirs(self, shard_ids: set[str]) -> None:
        """Looks once for the children of those shards, read to their end without any: asks for each one's where they
        are few, and lists all shards where they are none or many, and before nothing is left to read."""
        few = 0 < len(shard_ids) <= HEIRS_ONE_BY_ONE
        last = not self._tasks and all(self._heirless[shard_id] == 1 for shard_id in shard_ids)
        if not few or last or not await self._found_children(shard_ids):
            await self._list()
        parents = self._parents()
        for shard_id in list(self._heirless):
            self._heirless[shard_id] -= shard_id in shard_ids
            if not self._heirless[shard_id] or shard_id in parents or self._status == "DISABLED":
                del self._heirless[shard_id]

    async def _found_children(self, shard_ids: set[str]) -> bool:
        """Asks for each one's children; False where that was not answered, or the service does not know how."""
        for shard_id in shard_ids if self._filters else ():
            try:
                answer = await streams.children(self._wire, self._arn, shard_id)
            except NotFound:
                continue  # the shard is forgotten meanwhile
            except (ServiceFault, Throttled, Unreachable):
                return False  # a listing is patient; of the filter that says nothing
            except Invalid:
                answer = None
            if answer is None:
                self._filters = False
                return False
            found, self._status = answer
            self._shards |= found
        return self._filters

    def _parents(self) -> set[str | None]:
        return {shard.parent_shard_id for shard in self._shards.values()}

    async def _any_done(self, timeout_s: float) -> set[asyncio.Task[None]]:
        if not self._tasks:
            await asyncio.sleep(timeout_s)
            return set()
        done, _ = await asyncio.wait(self._tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return done

    def _start(self, shard_id: str) -> None:
        self._tasks.add(asyncio.create_task(self._read_shard(shard_id), name=shard_id))

    async def _adopt_children(self) -> None:
        """Starts the shards whose parent is read to its end: where they were left, else at their oldest record."""
        while ready := self._ready():
            self._known.update(ready)
            await self._take_iterators(ready)
            for shard_id in ready:
                if shard_id in self._iterators:
                    self._start(shard_id)

    def _ready(self) -> dict[str, Start]:
        reading = {task.get_name() for task in self._tasks}
        ready: dict[str, Start] = {}
        for shard_id in self._shards:
            if shard_id in self._known:
                continue
            lineage = [each for each in self._lineage(shard_id) if each in self._shards]
            if any(each not in self._known or each in reading or each in self._left for each in lineage):
                continue
            ready[shard_id] = self._starts.get(shard_id) or Start(after=self._positions.get(shard_id))
        return ready

    async def _read_shard(self, shard_id: str) -> None:
        iterator: str | None = self._iterators.pop(shard_id)
        pause_s = IDLE_POLL_S
        refused = broken = 0
        while iterator is not None:
            async with self._turns:
                request = msgspec.json.encode({"ShardIterator": iterator, "Limit": MAX_RECORDS})
                self._asking(shard_id)
                try:
                    body = await self._patiently(lambda request=request: self._wire.call("GetRecords", request))  # type: ignore[misc]  # bound now
                except TrimmedData:
                    self._on_trimmed(shard_id)
                    iterator = await self._oldest(shard_id)
                    if iterator is None:
                        self._gone(shard_id)
                    continue
                except (ExpiredIterator, Invalid):
                    # Invalid: a stand-in that was restarted does not know its old iterators.
                    refused += 1
                    if refused > ITERATORS_IN_A_ROW:
                        raise
                    iterator = await self._again(shard_id)
                    quiet = refused > 1
                else:
                    refused = 0
                    try:
                        page = decode(self._decoder, body, "GetRecords")
                        del body  # a megabyte, while the page waits to be taken
                        quiet = not page.records  # now: whoever takes the page may empty the list
                        position = await self._take(shard_id, page.records, last=page.next_iterator is None)
                    except Unreadable:
                        broken += 1
                        if broken > BROKEN_IN_A_ROW:
                            raise
                        await asyncio.sleep(retry_delay_s(broken))
                        continue
                    broken = 0
                    iterator = page.next_iterator
                    if position is not None:
                        self._positions[shard_id] = position
                    if shard_id in self._left:
                        return
            if quiet:
                await asyncio.sleep(pause_s)
                pause_s = min(MAX_IDLE_POLL_S if self._hurries(shard_id) else pause_s * 1.5, self._idle_poll_s)
            else:
                pause_s = IDLE_POLL_S


OnPage = Callable[[str, list[Any]], str | None]
"""Takes a shard's id and a page of records; returns the sequence number behind which to go on."""


class Follower(Walk):
    """Reads a stream on from given positions, shard after child, until it is stopped; tells when it has caught up."""

    def __init__(
        self,
        wire: Wire,
        stream_arn: str,
        decoder: msgspec.json.Decoder[Any],
        on_page: OnPage,
        *,
        fallback: Start,
        on_trimmed: Callable[[str], None],
    ) -> None:
        super().__init__(wire, stream_arn, decoder, fallback=fallback, on_trimmed=on_trimmed)
        self._on_page = on_page
        self._behind: set[str] = set()  # shards that have not come to their end since `mark`
        self._marks = 0
        self._asked: dict[str, int] = {}  # marks when the shard's page was asked for

    def mark(self) -> None:
        """From now on `caught_up` asks whether every shard was read to what is its end now, or later."""
        self._behind = {task.get_name() for task in self._tasks}
        self._marks += 1

    @property
    def caught_up(self) -> bool:
        """A short page is taken for the end. No service promises that: a shard that is read along with what is written
        keeps it, and it is a guess where a place lies far back."""
        return not self._behind

    def _asking(self, shard_id: str) -> None:
        self._asked[shard_id] = self._marks

    async def _take(self, shard_id: str, records: list[Any], *, last: bool) -> str | None:
        # A page that was asked for before the mark says nothing about what came after it.
        if len(records) < SHORT_PAGE and not last and self._asked[shard_id] == self._marks:
            self._behind.discard(shard_id)
        return self._on_page(shard_id, records) if records else None

    def _start(self, shard_id: str) -> None:
        super()._start(shard_id)
        if self._marks:
            self._behind.add(shard_id)

    def _finished(self, shard_ids: Iterable[str]) -> None:
        self._behind.difference_update(shard_ids)


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancels a task and waits until it is gone."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
