"""The source `stream:TABLE`, or the ARN of a stream: exact records, as far back as the stream remembers, 24 hours.

A stream that was switched off stays readable under its ARN for those 24 hours; a table that was switched off and on
again has two.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Any, Self

import msgspec

from restrike.aws import dynamodb, streams
from restrike.aws.session import Aws
from restrike.aws.streams import Start, StreamInfo, Walk
from restrike.aws.wire import Wire
from restrike.errors import AwsError, ServiceFault, SourceLacks, UsageError
from restrike.model.record import Fidelity, Record, read_record
from restrike.replaying.sources import Gap, SourceInfo, Window

RETENTION_S = 24 * 3600.0
QUEUED_PAGES = 4
QUIET_PAGES = 5  # empty ones in a row, and
QUIET_S = 3.0  # seconds between the first and the last of them: an open shard's end
AFTER_START_S = 1.0
"""The service tells its time in whole seconds, rounded down: a record of the same second may be from before."""
COARSE_STAMP_S = 60.0  # DynamoDB Local rounds creation times down to the minute, the service to the second
PATIENCE_S = 300.0
LOOK_PAGES = 25
SEQUENCE_DIGITS = 21  # the least that the API takes; DynamoDB Local's numbers are filled up with zeros
DRAINED = 10**40
"""A place behind every sequence number. Who stores it for a shard that `drained` names, and of which all records are
dealt with, need not hear of a gap when the stream has forgotten that shard."""

_ARN = re.compile(r"arn:[\w-]+:dynamodb:([\w-]+):\d*:table/([^/]+)/stream/.+")


def is_stream_arn(text: str) -> bool:
    return _ARN.fullmatch(text) is not None


class StreamSource:
    """The records of one stream, shards side by side, each after its parent.

    Without `follow` a shard is at its end when it is closed and read; at the first record that was created after
    the source was opened, by the service's clock (that record and what follows is left out, whatever came before is
    in); or, while it is open, after five empty pages over at least 3 seconds. `ended` counts which it was.

    With `follow` it goes on until it is cancelled, until the window's end, or until the stream is switched off and
    read. `start_latest` begins at the newest end. Who resumes such a run gives the `started_s` that the first part
    had as its attribute (epoch seconds by the service's clock): a shard without a place is read from there.

    Skipping: with a lower bound the shards are asked for AT_TIMESTAMP, and where the service has none, what is older
    is read and left out. No shard is passed over because of its id or its age: how long a shard lives is not
    promised, and AT_TIMESTAMP on a closed one costs one or two calls.

    A place is the sequence number. `gaps` names what the stream has forgotten of what was asked: records that were
    trimmed before they were read, shards with a place that are gone, and the time before the stream's memory.
    What is gone and lies before the window is no gap. Whether gaps are an error is for the caller's report.

    Throttles and silence are borne for 5 minutes beyond the retries of a call; then they are an AwsError.
    """

    fidelity: Fidelity = "exact"

    def __init__(
        self,
        aws: Aws,
        table_or_arn: str,
        *,
        follow: bool = False,
        start_latest: bool = False,
        started_s: float | None = None,
    ) -> None:
        if start_latest and not follow:
            raise UsageError("a stream is read from its newest end only to follow it", "Add --follow.")
        self.uri = table_or_arn if is_stream_arn(table_or_arn) else f"stream:{table_or_arn}"
        self.ended = ""
        self.gaps: list[Gap] = []
        self.drained: set[str] = set()
        self.started_s = started_s
        self._resumed = started_s is not None
        self._aws = aws
        self._name = table_or_arn
        self._follow = follow
        self._start_latest = start_latest
        self._wire: Wire | None = None
        self._info: StreamInfo | None = None
        self._opened_s = 0.0
        self._clock_offset_s = 0.0

    async def __aenter__(self) -> Self:
        self._info = await asyncio.to_thread(self._describe)
        if self.started_s is None:
            self.started_s = self._opened_s
        self._wire = streams.connect(self._aws, connections=streams.SIDE_BY_SIDE + 2)
        await self._wire.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._wire is not None:
            await self._wire.__aexit__(kind, error, trace)

    @property
    def info(self) -> StreamInfo:
        """What the service says of the stream. Only inside."""
        assert self._info is not None, "use the source as a context manager"
        return self._info

    def _describe(self) -> StreamInfo:
        arn = self._name
        match = _ARN.fullmatch(arn)
        if match is None:
            arn = self._stream_of_table(arn)
        elif match[1] != self._aws.region and self._aws.configured_endpoint("dynamodbstreams") is None:
            raise UsageError(
                f"the stream is in {match[1]}, and the Region is {self._aws.region}", f"Add --region {match[1]}."
            )
        info, now = streams.describe_stream(self._aws, arn)
        self._opened_s = now.timestamp()
        self._clock_offset_s = self._opened_s - time.time()
        return info

    def _stream_of_table(self, name: str) -> str:
        table, _ = dynamodb.describe_table(self._aws, name)
        if table.stream_arn is not None:
            return table.stream_arn
        try:
            old = streams.streams_of(self._aws, table.name)
        except AwsError:
            old = []  # only a hint is lost
        hint = (
            f"It was switched off. For 24 hours it can be read by its ARN: {old[0]}"
            if old
            else f"Read the items as they are now: table:{table.name}."
        )
        raise SourceLacks(f"table {table.name} has no stream", hint)

    async def look(self, window: Window) -> SourceInfo:
        """Counts what is there: at most 25 pages, each shard up to its first empty page."""
        info = self.info
        warnings = self._warnings(window)
        told = SourceInfo(
            how="it is followed: nobody knows how many will come",
            table_name=info.table_name or None,
            stream_arn=info.arn,
            view_type=info.view_type,
            readers=f"one more reader of the {streams.READERS_PER_SHARD} that a shard allows",
            warnings=warnings,
        )
        if self._follow:
            return told
        pages, count = 0, 0
        first_s: float | None = None
        last_s: float | None = None
        at_least = False
        walk = self._walk({}, window, [], set(), looking=True)
        async with contextlib.aclosing(walk.pages({})) as found:
            async for records in found:
                held = [record.created_s for record in records if window.holds(record.created_s)]
                if held:
                    count += len(held)
                    first_s = min(held) if first_s is None else min(first_s, *held)
                    last_s = max(held) if last_s is None else max(last_s, *held)
                pages += 1
                if pages == LOOK_PAGES:
                    at_least = True
                    break
        return msgspec.structs.replace(
            told,
            count=count,
            at_least=at_least,
            how=f"read in {pages} pages, each shard up to its first empty one",
            first_s=first_s,
            last_s=last_s,
            expires_s=first_s + RETENTION_S if first_s is not None else None,
        )

    def _warnings(self, window: Window) -> tuple[tuple[str, str], ...]:
        found: list[tuple[str, str]] = []
        before = self._before_memory(window)
        if before is not None:
            found.append(("window-before-stream", f"{before.why}; older records are not to be had from here"))
        if self.info.status != "ENABLED":
            found.append(("stream-switched-off", f"the stream is {self.info.status}: it can be read for 24 hours more"))
        return tuple(found)

    def _before_memory(self, window: Window) -> Gap | None:
        """The part of the window that lies before what any stream remembers."""
        horizon_s = self._opened_s - RETENTION_S
        created_s = self.info.created_s
        from_s = max(window.since_s, created_s or 0.0) if window.since_s is not None else horizon_s
        if from_s >= horizon_s - COARSE_STAMP_S:
            return None
        return Gap("", from_s, horizon_s, "the window begins before the 24 hours that a stream remembers")

    async def read(self, after: Mapping[str, int], window: Window) -> AsyncGenerator[list[Record], None]:
        self.gaps = []
        self.drained = set()
        self.ended = "stopped before its end"
        if not after and (before := self._before_memory(window)) is not None:
            self.gaps.append(before)
        walk = self._walk(after, window, self.gaps, self.drained)
        async with contextlib.aclosing(walk.pages(after)) as pages:
            async for records in pages:
                yield records
        self.ended = walk.why()

    def _walk(
        self,
        after: Mapping[str, int],
        window: Window,
        gaps: list[Gap],
        drained: set[str],
        *,
        looking: bool = False,
    ) -> _Pages:
        assert self._wire is not None, "use the source as a context manager"
        assert self.started_s is not None
        latest = self._start_latest and window.since_s is None
        since_s = self.started_s if latest else window.since_s
        first_time = not self._resumed and not after
        otherwise = Start(latest=True) if latest and first_time else Start(at_s=since_s)
        bounds = [] if self._follow else [self._opened_s]
        bounds += [] if window.until_s is None else [window.until_s]
        self._resumed = True  # a second reading of this source begins where the first did
        return _Pages(
            self._wire,
            self.info.arn,
            otherwise=otherwise,
            since_s=since_s,
            stop_s=min(bounds) + AFTER_START_S if bounds else None,
            follow=self._follow,
            clock_offset_s=self._clock_offset_s,
            # What the stream has forgotten is at least 24 hours old.
            forgets_only_older=window.since_s is not None
            and window.since_s > self._opened_s - RETENTION_S + COARSE_STAMP_S,
            quiet_pages=1 if looking else QUIET_PAGES,
            quiet_s=0.0 if looking else QUIET_S,
            gaps=gaps,
            drained=drained,
        )


class _Shard:
    """How far one shard is read."""

    __slots__ = ("empty_pages", "gap", "last_s", "place", "quiet_since")

    def __init__(self, place: int) -> None:
        self.place = place
        self.last_s: float | None = None  # creation time of the last record
        self.gap: int | None = None  # which of the gaps waits for its end
        self.empty_pages = 0
        self.quiet_since = 0.0


class _Pages(Walk):
    """The walk over the shards, as pages of records that are pulled. Without a puller the reading stands still."""

    def __init__(
        self,
        wire: Wire,
        stream_arn: str,
        *,
        otherwise: Start,
        since_s: float | None,
        stop_s: float | None,
        follow: bool,
        clock_offset_s: float,
        forgets_only_older: bool,
        quiet_pages: int,
        quiet_s: float,
        gaps: list[Gap],
        drained: set[str],
    ) -> None:
        super().__init__(
            wire,
            stream_arn,
            streams.records_decoder(msgspec.Raw),
            fallback=Start(at_s=since_s),
            on_trimmed=self._trimmed,
            to_the_end=not follow,
            patience_s=PATIENCE_S,
        )
        self._otherwise = otherwise
        self._skip_before_s = -1.0 if since_s is None else since_s - since_s % COARSE_STAMP_S
        self._stop_s = stop_s
        self._follow = follow
        self._clock_offset_s = clock_offset_s
        self._forgets_only_older = forgets_only_older
        self._quiet_pages = quiet_pages
        self._quiet_s = quiet_s
        self._gaps = gaps
        self._drained = drained
        self._after: Mapping[str, int] = {}
        self._progress: dict[str, _Shard] = {}
        self._ends: Counter[str] = Counter()
        self._queue: asyncio.Queue[list[Record] | None] = asyncio.Queue(QUEUED_PAGES)

    async def pages(self, after: Mapping[str, int]) -> AsyncGenerator[list[Record], None]:
        """Non-empty pages of records, from those places on, to the end."""
        self._after = after
        walking = asyncio.create_task(self._walk())
        try:
            while (records := await self._queue.get()) is not None:
                yield records
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

    def why(self) -> str:
        """Why there are no more pages, in a few words."""
        ends = [f"{what} at {count} shard{'s' if count > 1 else ''}" for what, count in sorted(self._ends.items())]
        if ends:
            return f"end of the {'window' if self._follow else 'stream'}: {', '.join(ends)}"
        return "end of the stream: every shard is closed and read"

    def _of(self, shard_id: str) -> _Shard:
        shard = self._progress.get(shard_id)
        if shard is None:
            shard = self._progress[shard_id] = _Shard(self._after.get(shard_id, -1))
        return shard

    async def _take(self, shard_id: str, records: list[Any], *, last: bool) -> str | None:
        shard = self._of(shard_id)
        if last:
            self._drained.add(shard_id)
        if not records:
            if not last:
                self._empty_page(shard_id, shard)
            return None
        shard.empty_pages = 0
        try:
            page = [
                read_record(raw, shard=shard_id, place=None, stream_arn=self._arn, fidelity="exact") for raw in records
            ]
        except (msgspec.MsgspecError, ValueError) as error:
            raise ServiceFault(
                f"GetRecords: shard {shard_id} answered what is no record: {error}", "Is there a proxy between?"
            ) from None
        records.clear()  # the page's megabyte: the records have their own bytes
        position = page[-1].sequence_number
        if page[0].place <= shard.place:
            page = [record for record in page if record.place > shard.place]
        page = self._before_the_end(shard_id, page)
        if page:
            shard.place = page[-1].place
            shard.last_s = page[-1].created_s
            self._gap_ends(shard, page[0].created_s)
            if page[0].created_s < self._skip_before_s:
                page = [record for record in page if record.created_s >= self._skip_before_s]
        if page:
            await self._queue.put(page)
        return position

    def _before_the_end(self, shard_id: str, page: list[Record]) -> list[Record]:
        """The page up to the first record that is too new; the shard is left there."""
        stop_s = self._stop_s
        if stop_s is None:
            return page
        for number, record in enumerate(page):
            if record.created_s > stop_s:
                self._leave(shard_id)
                self._drained.discard(shard_id)
                self._ends["a newer record"] += 1
                return page[:number]
        return page

    def _empty_page(self, shard_id: str, shard: _Shard) -> None:
        """Counts them while an open shard's end is awaited."""
        if self._follow and not self._past_the_window():
            return
        listed = self._shards.get(shard_id)
        if listed is not None and not listed.open:
            return  # its end is told by the service
        shard.empty_pages += 1
        now = time.monotonic()
        if shard.empty_pages == 1:
            shard.quiet_since = now
        if shard.empty_pages >= self._quiet_pages and now - shard.quiet_since >= self._quiet_s:
            self._leave(shard_id)
            self._ends["nothing new"] += 1

    def _past_the_window(self) -> bool:
        return self._stop_s is not None and time.time() + self._clock_offset_s > self._stop_s

    def _over(self) -> bool:
        return self._to_the_end or self._status == "DISABLED" or self._past_the_window()

    # ── what is lost ─────────────────────────────────────────────────────────────────────────────────────

    def _trimmed(self, shard_id: str) -> None:
        shard = self._of(shard_id)
        if shard.gap is None and not self._forgets_only_older:
            shard.gap = len(self._gaps)
            self._lost(shard_id, "older than 24 hours: the stream forgot these records before they were read")

    def _gone(self, shard_id: str) -> None:
        self._lost(shard_id, "the stream forgot the shard before it was read to its end")

    def _lost(self, shard_id: str, why: str) -> None:
        if not self._forgets_only_older:
            known = self._progress.get(shard_id)
            self._gaps.append(Gap(shard_id, known.last_s if known is not None else None, None, why))

    def _gap_ends(self, shard: _Shard, created_s: float) -> None:
        if shard.gap is not None:
            self._gaps[shard.gap] = msgspec.structs.replace(self._gaps[shard.gap], to_s=created_s)
            shard.gap = None
