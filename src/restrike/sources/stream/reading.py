"""The source `stream:TABLE`, or the ARN of a stream: exact records, as far back as the stream remembers, 24 hours.

A stream that was switched off stays readable under its ARN for those 24 hours; a table that was switched off and on
again has two.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from restrike.aws import dynamodb, streams
from restrike.aws.pages import AFTER_START_S, COARSE_STAMP_S, Extent, Manner, Pages, hasty
from restrike.aws.session import Aws
from restrike.aws.streams import RETENTION_S, Start, StreamInfo
from restrike.aws.walk import SIDE_BY_SIDE
from restrike.aws.wire import Wire
from restrike.errors import UsageError
from restrike.model.clocks import check_clock
from restrike.model.record import Fidelity, Record, read_record
from restrike.model.window import Gap, Window
from restrike.sources import SourceInfo
from restrike.sources.stream import succession
from restrike.sources.stream.arn import stream_region

LOOK_PAGES = 25


def service_now_s(aws: Aws, table_or_arn: str) -> float:
    """The time by the clock that stamps the stream's records (epoch seconds); UsageError where ours is far off."""
    describe = dynamodb.describe_table if stream_region(table_or_arn) is None else streams.describe_stream
    now_s: float = describe(aws, table_or_arn)[1].timestamp()
    check_clock(time.time(), now_s, "DynamoDB's")
    return now_s


class StreamSource:
    """The records of one stream, shards side by side, each after its parent.

    A table's streams follow one another where it is switched off and on. The one that a run began in is written to the
    file `kept`; a later part reads that to its end, then those after it. Where the file is lost, `begun_s` tells it,
    when the run began. With `follow`, those that are switched on later are read too. What was written in between is a
    gap.

    Without `follow` a shard is at its end when it is closed and read; at the first record that was created after
    the source was opened, by the service's clock (that record and what follows is left out, whatever came before is
    in); or, while it is open, after empty pages: at least five over 3 seconds, and more where its place is long before
    now, up to 60 over 60 seconds. That is a guess, since nobody says how many come before records. `ended` counts which
    it was, and says on how many a guess was made. Who is only `looking` takes five for the end wherever the place is.

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
        begun_s: float | None = None,
        kept: Path | None = None,
        looking: bool = False,
    ) -> None:
        if start_latest and not follow:
            raise UsageError("a stream is read from its newest end only to follow it", "Add --follow.")
        self.uri = table_or_arn if stream_region(table_or_arn) is not None else f"stream:{table_or_arn}"
        self.ended = ""
        self.gaps: list[Gap] = []
        self.drained: set[str] = set()
        self.started_s = started_s
        self.stands_on: Mapping[str, str] = {}
        self._resumed = started_s is not None
        self._begun_s = begun_s
        self._kept = kept
        self._looking = looking
        self._gone = False
        self._aws = aws
        self._name = table_or_arn
        self._follow = follow
        self._start_latest = start_latest
        self._wire: Wire | None = None
        self._streams: list[StreamInfo] = []
        self._opened_s = 0.0
        self._clock_offset_s = 0.0

    async def __aenter__(self) -> Self:
        self._streams = await asyncio.to_thread(self._describe)
        if self.started_s is None:
            self.started_s = self._opened_s
        self._wire = streams.connect(self._aws, connections=SIDE_BY_SIDE + 2)
        await self._wire.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._wire is not None:
            await self._wire.__aexit__(kind, error, trace)

    @property
    def info(self) -> StreamInfo:
        """What the service says of the stream, the newest where there are several. Only inside."""
        assert self._streams, "use the source as a context manager"
        return self._streams[-1]

    def _describe(self) -> list[StreamInfo]:
        region = stream_region(self._name)
        if region not in (None, self._aws.region) and self._aws.configured_endpoint("dynamodbstreams") is None:
            raise UsageError(
                f"the stream is in {region}, and the Region is {self._aws.region}", f"Add --region {region}."
            )
        found: list[StreamInfo] = []
        begun = None if self._begun_s is None else self._kept_arn() or self._begun_s
        if region is None and begun is not None:
            found, self._gone = succession.since(self._aws, self._name, begun)
        arn = found[-1].arn if found else self._name if region else succession.stream_of_table(self._aws, self._name)
        info, now = streams.describe_stream(self._aws, arn)
        self._opened_s = now.timestamp()
        check_clock(time.time(), self._opened_s, "DynamoDB's")
        self._clock_offset_s = self._opened_s - time.time()
        if region is None and self._kept is not None and (begun is None or not self._kept.exists()):
            with contextlib.suppress(OSError):  # without it the start of the run tells the stream
                self._kept.touch(0o600)
                self._kept.write_text(found[0].arn if found else arn)
        return [*found[:-1], info]

    def _kept_arn(self) -> str | None:
        """The stream that the run began in, as an earlier part has written it down."""
        if self._kept is None or not self._kept.exists():
            return None
        text = self._kept.read_text()
        return text if stream_region(text) is not None else None

    async def look(self, window: Window) -> SourceInfo:
        """Counts what is there: at most 25 pages, each shard up to its first empty page."""
        info = self.info
        warnings = self._warnings(window)
        told = SourceInfo(
            how="it is followed: nobody knows how many will come",
            table_name=info.table_name or None,
            stream_arn=info.arn,
            view_type=info.view_type,
            readers=streams.ONE_MORE_READER,
            warnings=warnings,
        )
        if self._follow:
            return told
        pages, count = 0, 0
        first_s: float | None = None
        last_s: float | None = None
        at_least = len(self._streams) > 1  # what an earlier one has left is not counted
        walk = self._walk(info, {}, window, [], Manner(quiet_pages=1, quiet_s=0.0))
        async with contextlib.aclosing(walk.pages({})) as found:
            async for page in found:
                if not page.records:
                    continue
                held = [record.created_s for record in page.records if window.holds(record.created_s)]
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
            at_least=at_least or walk.doubtful,
            guessed=walk.doubtful,
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
        created_s = self._streams[0].created_s
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
        left = list(self._streams)
        of_stream = await self._by_stream(after)
        while left:
            info = left.pop(0)
            # A plan is not to wait for minutes; what it has counted it calls a guess.
            walk = self._walk(info, of_stream.get(info.arn, {}), window, self.gaps, hasty() if self._looking else None)
            async with contextlib.aclosing(walk.pages(of_stream.get(info.arn, {}))) as pages:
                async for page in pages:
                    if page.records:
                        yield page.records
                    if page.last:  # and what it gave was taken: the next one is asked for
                        self.drained.add(page.shard)
            if not left and self._follow and not walk.open and stream_region(self._name) is None:
                left = await succession.after(self._aws, self._name, info)
                self._streams += left
            if left:
                self.gaps.append(succession.hole(left[0]))
        self.ended = walk.why()

    async def _by_stream(self, after: Mapping[str, int]) -> dict[str, Mapping[str, int]]:
        """The places by the ARN of the stream that each is in: with the oldest are those that no stream knows."""
        assert self._wire is not None, "use the source as a context manager"
        first = self._streams[0]
        if self._gone:
            self.gaps.append(succession.forgotten(first))
        if len(self._streams) == 1 and not self._gone:
            return {first.arn: after}
        found: dict[str, Mapping[str, int]] = {}
        unknown = dict(after)
        for info in reversed(self._streams):
            listed = await streams.list_shards(self._wire, info.arn)
            found[info.arn] = {shard: unknown.pop(shard) for shard in listed if shard in unknown}
        if not self._gone:
            found[first.arn] = {**found[first.arn], **unknown}
        return found

    def _walk(
        self,
        info: StreamInfo,
        after: Mapping[str, int],
        window: Window,
        gaps: list[Gap],
        manner: Manner | None,
    ) -> Pages:
        assert self._wire is not None, "use the source as a context manager"
        assert self.started_s is not None
        latest = self._start_latest and window.since_s is None
        since_s = self.started_s if latest else window.since_s
        first_time = not self._resumed and not after  # later streams of a table are read from their oldest record
        otherwise = Start(latest=True) if latest and first_time else Start(at_s=since_s)
        bounds = [] if self._follow else [self._opened_s]
        bounds += [] if window.until_s is None else [window.until_s]
        self._resumed = True  # a second reading of this source begins where the first did
        # What the stream has forgotten is at least 24 hours old.
        forgets_only_older = (
            window.since_s is not None and window.since_s > self._opened_s - RETENTION_S + COARSE_STAMP_S
        )
        return Pages(
            self._wire,
            info.arn,
            streams.records_decoder(msgspec.Raw),
            functools.partial(_records, info.arn),
            Extent(
                otherwise=otherwise,
                since_s=since_s,
                stop_s=min(bounds) + AFTER_START_S if bounds else None,
                follow=self._follow,
                clock_offset_s=self._clock_offset_s,
                begun_s=info.created_s,
            ),
            manner,
            gaps=gaps,
            loses=lambda _: not forgets_only_older,
        )


def _records(arn: str, shard_id: str, raws: list[Any]) -> tuple[list[Record], float]:
    found = [read_record(raw, shard=shard_id, place=None, stream_arn=arn, fidelity="exact") for raw in raws]
    return found, max(record.created_s for record in found)
