"""The pages of a stream, pulled: from places on, each shard after its parent, to an end that is told."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import msgspec

from restrike.aws import streams
from restrike.aws.dynamodb import Unreadable, decode
from restrike.aws.streams import MAX_RECORDS, Start
from restrike.aws.walk import SIDE_BY_SIDE, Walk
from restrike.aws.wire import Wire
from restrike.errors import ExpiredIterator, Invalid, ServiceFault, TrimmedData
from restrike.model.window import DRAINED, Gap

QUEUED_PAGES = 2
QUIET_PAGES = 5  # empty ones in a row, and
QUIET_S = 3.0  # seconds between the first and the last of them: the end of an open shard that is read to near now
NEAR_S = 300.0
MOST_QUIET_PAGES, MOST_QUIET_S = 60, 60.0
"""Of each so many at most where the place is further from now than NEAR_S. GetRecords may answer any number of empty
pages before it comes to records, and nobody says how many; but the longer that time, the more may lie there. So it is a
page and a second for each minute of it, and about one page a second is asked for."""
MINUTE_S = 60.0
DOUBTS = 10  # times that a shard, which gives nothing, is waited for anew
AFTER_START_S = 1.0
"""The service tells its time in whole seconds, rounded down: a record of the same second may be from before."""
COARSE_STAMP_S = 60.0  # DynamoDB Local rounds creation times down to the minute, the service to the second
PATIENCE_S = 300.0
SEQUENCE_DIGITS = 21  # the least that the API takes; DynamoDB Local's numbers are filled up with zeros


class ShardPage(msgspec.Struct, frozen=True):
    """Records of one shard, in order; none where the shard had none to give.

    `newest_s`: none of them was created later (epoch seconds by the service's clock).
    `read_to_s`: all that the shard got before (by the same clock) is in this page or was in one
    before it; 0 where that is not known. `last`: the shard is closed, and nothing more will come.
    """

    shard: str
    records: list[Any]
    newest_s: float
    read_to_s: float
    last: bool


class Extent(msgspec.Struct, frozen=True):
    """From where to where a stream is read.

    `otherwise` is where shards without a place begin, and `since_s` the time before which records are of no use.
    Without `follow` a shard is at its end when it is closed and read, at the first record created after `stop_s`, or,
    while it is open, when it seems to have nothing more to give. `clock_offset_s`: what the service's clock is
    ahead of ours, until an answer tells its time. `begun_s`: when the stream was switched on; no record is older.
    """

    otherwise: Start = Start()
    since_s: float | None = None
    stop_s: float | None = None
    follow: bool = False
    clock_offset_s: float = 0.0
    begun_s: float | None = None


class Manner(msgspec.Struct, frozen=True):
    """How it is read. An open shard has nothing more to give after `quiet_pages` empty pages over at least `quiet_s`,
    wherever its place is; `patience_s`, `idle_poll_s` and `side_by_side` are the walk's. None is what is usual."""

    quiet_pages: int | None = None
    quiet_s: float | None = None
    patience_s: float | None = None
    idle_poll_s: float | None = None
    side_by_side: int = SIDE_BY_SIDE


def hasty() -> Manner:
    """Of who only looks, and is not to wait: the least of empty pages are an end, wherever the place is."""
    return Manner(quiet_pages=QUIET_PAGES, quiet_s=QUIET_S)


ReadPage = Callable[[str, list[Any]], tuple[list[Any], float]]
"""Of a shard's records as they were answered, of which there is at least one, makes a list of what the pages hold, and
their newest creation time; MsgspecError or ValueError where they are no records."""


class _Shard:
    """How far one shard is read."""

    __slots__ = ("doubts", "empty_pages", "from_s", "gap", "guessed_s", "last_s", "past", "place", "quiet_since")

    def __init__(self, place: int) -> None:
        self.place = place
        self.last_s: float | None = None  # creation time of the last record
        self.from_s = 0.0  # its place was not before that time when it began to be read
        self.guessed_s = 0.0  # when it seemed to be read; no record has come since
        self.gap: int | None = None  # which of the gaps waits for its end
        self.empty_pages = 0  # in a row
        self.quiet_since = 0.0
        self.past = False  # whether these are from after the window's end
        self.doubts = 0

    @property
    def known_s(self) -> float:
        """The latest time that its place is surely not before."""
        return max(self.from_s, self.last_s or 0.0)

    def behind_s(self, now_s: float) -> float:
        """How far before now its place may be."""
        return now_s - max(self.known_s, self.guessed_s)


class Pages(Walk):
    """The walk over the shards, as pages that are pulled. Without a puller the reading stands still.

    `decoder` reads an answer of GetRecords, and `read` makes of its records what the pages hold: each has `place` (the
    sequence number as a number), `created_s` and `sequence_number`. `loses` says of a shard whether what the stream
    has forgotten of it is a loss; then it is among `gaps`.
    """

    def __init__(
        self,
        wire: Wire,
        stream_arn: str,
        decoder: msgspec.json.Decoder[Any],
        read: ReadPage,
        extent: Extent,
        manner: Manner | None = None,
        *,
        gaps: list[Gap],
        loses: Callable[[str], bool] = lambda _: True,
    ) -> None:
        since_s = extent.since_s
        manner = manner or Manner()
        super().__init__(
            wire,
            stream_arn,
            decoder,
            fallback=Start(at_s=since_s),
            on_trimmed=self._trimmed,
            to_the_end=not extent.follow,
            patience_s=PATIENCE_S if manner.patience_s is None else manner.patience_s,
            idle_poll_s=manner.idle_poll_s,
            side_by_side=manner.side_by_side,
        )
        self._read = read
        self._otherwise = extent.otherwise
        self._skip_before_s = -1.0 if since_s is None else since_s - since_s % COARSE_STAMP_S
        self._stop_s = extent.stop_s
        self._follow = extent.follow
        self._clock_offset_s = extent.clock_offset_s
        self._begun_s = extent.begun_s or 0.0
        self._loses = loses
        self._quiet = (manner.quiet_pages, manner.quiet_s)
        self._gaps = gaps
        self._after: Mapping[str, int] = {}
        self._progress: dict[str, _Shard] = {}
        self._ends: Counter[str] = Counter()
        self._off: set[str] = set()  # open shards of a stream that was switched off, left where they gave nothing
        self._doubtful = False
        self._guesses: list[tuple[int, float]] = []  # empty pages that were taken for an end, and their seconds
        self._asked_s: dict[str, float] = {}
        self._queue: asyncio.Queue[ShardPage | None] = asyncio.Queue(QUEUED_PAGES)

    async def pages(self, after: Mapping[str, int]) -> AsyncGenerator[ShardPage, None]:
        """The pages from those places on, to the end."""
        self._after = after
        walking = asyncio.create_task(self._walk())
        try:
            while (page := await self._queue.get()) is not None:
                yield page
            walking.result()
        finally:
            walking.cancel()
            await asyncio.gather(walking, return_exceptions=True)

    async def _walk(self) -> None:
        """Ends the queue also where it fails; who pulls gets the pages before the error, then the error."""
        failed: Exception | None = None
        try:
            await self._begin()
            await self.run()
        except Exception as error:
            failed = error
        await self._queue.put(None)
        if failed is not None:
            raise failed

    async def _begin(self) -> None:
        """Gives every shard its start: its place, else the common one. None before a place is taken for done."""
        listed = await self._patiently(lambda: streams.list_shards(self._wire, self._arn))
        starts: dict[str, Start] = {}
        for shard_id, shard in listed.items():
            place = self._after.get(shard_id)
            if place is not None:
                if place < DRAINED:
                    starts[shard_id] = Start(after=f"{place:0{SEQUENCE_DIGITS}d}")
            elif shard.open or not self._otherwise.latest:
                starts[shard_id] = self._otherwise
        for shard_id, place in self._after.items():
            if shard_id not in listed and place < DRAINED:
                self._lost(shard_id, "the stream has forgotten the shard, and what followed this run's place in it")
        done = [shard_id for shard_id, place in self._after.items() if place >= DRAINED]
        await self.prepare(starts, otherwise=self._otherwise, done=done)

    @property
    def open(self) -> bool:
        """Whether the stream may get more records."""
        return self._status != "DISABLED" or not self._left <= self._off

    @property
    def doubtful(self) -> bool:
        """Whether a shard was left where it gave nothing, though that was far from now: it may have had more."""
        return self._doubtful

    def why(self) -> str:
        """Why there are no more pages, in a few words. That an open shard had nothing more is a guess: it says on what
        it is made."""
        ends = [f"{what} at {count} shard{'s' if count > 1 else ''}" for what, count in sorted(self._ends.items())]
        if self._guesses:
            pages, seconds = (_span([guess[number] for guess in self._guesses]) for number in (0, 1))
            ends[-1] += f" after {pages} empty pages over {seconds} s"
        if ends:
            return f"end of the {'window' if self._follow and not self._off else 'stream'}: {', '.join(ends)}"
        return "end of the stream: every shard is closed and read"

    def _of(self, shard_id: str) -> _Shard:
        shard = self._progress.get(shard_id)
        if shard is None:
            shard = self._progress[shard_id] = _Shard(self._after.get(shard_id, -1))
        return shard

    async def _take(self, shard_id: str, records: list[Any], *, last: bool) -> str | None:
        shard = self._of(shard_id)
        asked_s = self._asked_s.pop(shard_id)
        if not records:
            seems_read = last or await self._seems_read(shard_id, shard, asked_s)
            await self._queue.put(ShardPage(shard_id, [], 0.0, asked_s if seems_read else shard.last_s or 0.0, last))
            return None
        shard.empty_pages = shard.doubts = 0
        page, newest_s = self._records(shard_id, records)
        records.clear()  # the page's megabyte: it is the page's alone, or nobody's
        position: str = page[-1].sequence_number
        read_to_s = asked_s if last else page[-1].created_s
        if page[0].place <= shard.place:
            page = [record for record in page if record.place > shard.place]
        if self._stop_s is not None and newest_s > self._stop_s:
            page = self._before_the_end(shard_id, page, self._stop_s)
        if page:
            shard.place = page[-1].place
            shard.last_s = page[-1].created_s
            shard.guessed_s = 0.0
            first_s = page[0].created_s
            self._gap_ends(shard, first_s)
            if first_s < self._skip_before_s:
                page = [record for record in page if record.created_s >= self._skip_before_s]
        if shard_id in self._left and self._stop_s is not None:
            read_to_s = min(read_to_s, self._stop_s)
        if page or last:
            last = last and shard_id not in self._left
            await self._queue.put(ShardPage(shard_id, page, newest_s, read_to_s, last))
        return position

    def _asking(self, shard_id: str) -> None:
        # Rounded down: the service stamps in whole seconds, and its clock and ours are compared but once.
        self._asked_s[shard_id] = self._now_s() - 1.0

    def _now_s(self) -> float:
        """By the service's clock, also where ours is set while the stream is read."""
        told_s = self._wire.service_now_s()
        return time.time() + self._clock_offset_s if told_s is None else told_s

    def _before_the_end(self, shard_id: str, page: list[Any], stop_s: float) -> list[Any]:
        """The page up to the first record that is too new; the shard is left there."""
        for number, record in enumerate(page):
            if record.created_s > stop_s:
                self._leave(shard_id)
                self._ends["a newer record"] += 1
                return page[:number]
        return page

    # ── whether an open shard is read ────────────────────────────────────────────────────────────────────

    def _placed(self, shard_id: str, start: Start, *, by_time: bool) -> None:
        shard = self._of(shard_id)
        parent = self._progress.get(self.parent(shard_id) or "")  # all of a child comes behind it
        shard.from_s = max(self._begun_s, parent.known_s if parent is not None else 0.0)
        if start.latest and start.after is None:
            shard.from_s = self._now_s()
        elif by_time:
            shard.from_s = max(shard.from_s, start.at_s or 0.0)
        shard.guessed_s = 0.0
        if shard.empty_pages and shard.doubts < DOUBTS and self._is_far(shard):
            shard.empty_pages = 0  # those that were passed come once more
            shard.doubts += 1

    def _hurries(self, shard_id: str) -> bool:
        return self._is_far(self._of(shard_id))

    def _is_far(self, shard: _Shard) -> bool:
        return shard.behind_s(self._now_s()) > NEAR_S

    def _patience(self, shard: _Shard) -> tuple[int, float]:
        """After how many empty pages, over how many seconds, the shard seems to be read."""
        pages, seconds = QUIET_PAGES, QUIET_S
        if self._is_far(shard):
            minutes = shard.behind_s(self._now_s()) / MINUTE_S
            pages, seconds = min(math.ceil(minutes), MOST_QUIET_PAGES), min(minutes, MOST_QUIET_S)
        told_pages, told_s = self._quiet
        return pages if told_pages is None else told_pages, seconds if told_s is None else told_s

    async def _seems_read(self, shard_id: str, shard: _Shard, asked_s: float) -> bool:
        """Whether the shard has nothing more, as far as empty pages tell; and, where that was awaited, leaves it.

        With `follow` it is left only past the window, and where the stream is switched off: that closes its shards, but
        one that is not told to be closed must not be followed for ever. It is not taken for drained: who comes again
        looks at it again.

        A single empty page, or a short one, does not say so, and no number of them is a proof. So where the place is
        far from now, and the service finds places by time, a record behind it that is found like this is a doubt: the
        shard is read on.
        """
        off = self._follow and self._status == "DISABLED"
        ends = not self._follow or off or self._past_the_window()
        if ends and not shard.past:
            shard.past, shard.empty_pages = True, 0
        shard.empty_pages += 1
        now = time.monotonic()
        if shard.empty_pages == 1:
            shard.quiet_since = now
        pages, seconds = self._patience(shard)
        if shard.empty_pages < pages or now - shard.quiet_since < seconds:
            return False
        listed = self._shards.get(shard_id)
        ends = ends and (listed is None or listed.open)  # else its end is told by the service
        far = self._is_far(shard)
        if far and self._quiet == (None, None) and await self._has_more(shard_id, shard):
            shard.doubts += 1
            shard.empty_pages = 0
            if ends and shard.doubts >= DOUBTS:
                raise ServiceFault(
                    f"shard {shard_id} holds records that it does not give: {DOUBTS} times {pages} empty pages"
                    f" or more, over at least {seconds:.0f} s, came instead",
                    "Run the same command again: it goes on where this one ended.",
                )
            return False
        if ends:
            self._leave(shard_id)
            self._off |= {shard_id} if off else set()
            self._ends["nothing new"] += 1
            self._guesses.append((shard.empty_pages, now - shard.quiet_since))
            self._doubtful = self._doubtful or far
        shard.guessed_s = asked_s
        return True

    async def _has_more(self, shard_id: str, shard: _Shard) -> bool:
        """Whether a record behind the shard's place is found by a time, of those that are wanted. What is found is not
        read on from: there may be records before it."""
        for at_s in (shard.known_s + 1.0, self._now_s() - MINUTE_S):
            try:
                found = await streams.iterator_at_time(self._wire, self._arn, shard_id, at_s)
                if found is None or found.token is None:
                    return False
                request = msgspec.json.encode({"ShardIterator": found.token, "Limit": MAX_RECORDS})
                body = await self._patiently(lambda request=request: self._wire.call("GetRecords", request))  # type: ignore[misc]  # bound now
            except (TrimmedData, ExpiredIterator, Invalid):
                continue
            records = decode(self._decoder, body, "GetRecords").records
            for record in self._records(shard_id, records)[0] if records else ():
                if record.place > shard.place and (self._stop_s is None or record.created_s <= self._stop_s):
                    return True
        return False

    def _records(self, shard_id: str, records: list[Any]) -> tuple[list[Any], float]:
        try:
            return self._read(shard_id, records)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Unreadable(
                f"GetRecords: shard {shard_id} answered what is no record: {error}", "Is there a proxy between?"
            ) from None

    def _past_the_window(self) -> bool:
        return self._stop_s is not None and self._now_s() > self._stop_s

    def _over(self) -> bool:
        return self._to_the_end or self._status == "DISABLED" or self._past_the_window()

    # ── what is lost ─────────────────────────────────────────────────────────────────────────────────────

    def _trimmed(self, shard_id: str) -> None:
        shard = self._of(shard_id)
        if shard.gap is None and self._loses(shard_id):
            shard.gap = len(self._gaps)
            self._lost(shard_id, "older than 24 hours: the stream forgot these records before they were read")

    def _gone(self, shard_id: str) -> None:
        self._lost(shard_id, "the stream forgot the shard before it was read to its end")

    def _lost(self, shard_id: str, why: str) -> None:
        if self._loses(shard_id):
            known = self._progress.get(shard_id)
            self._gaps.append(Gap(shard_id, known.last_s if known is not None else None, None, why))

    def _gap_ends(self, shard: _Shard, created_s: float) -> None:
        if shard.gap is not None:
            self._gaps[shard.gap] = msgspec.structs.replace(self._gaps[shard.gap], to_s=created_s)
            shard.gap = None


def _span(numbers: list[Any]) -> str:
    """The least and the largest of them, in whole numbers."""
    least, most = round(min(numbers)), round(max(numbers))
    return f"{least}" if least == most else f"{least} to {most}"
