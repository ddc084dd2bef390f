"""Pointers into records: through the stream while it remembers, each shard once, else through an archive.

1. For each stream, that of the oldest pointer first, its shards are listed, and their order is kept.
2. A shard is read once, from the first number that is pointed at to the last. What lies in no pointer is left out.
3. A pointer is whole where its first and its last record came in one reading. Where the first is missing, the stream
   has forgotten it.
4. What is not whole is looked for in the archive, in the hours of its arrival.
5. What may not be read is not lost: it is asked for again by the next part of the run.

What a pointer led to is on disk before anything of it is delivered: a slow consumer lets nothing expire.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import cast

from restrike.aws import streams
from restrike.aws.session import Aws
from restrike.aws.streams import Shard
from restrike.aws.stretch import stretch
from restrike.aws.together import together
from restrike.aws.wire import Wire
from restrike.errors import AccessDenied, Invalid, NotFound
from restrike.model.failure import Pointer
from restrike.model.record import Record
from restrike.model.uri import Uri
from restrike.model.window import Gap, Window
from restrike.sources import Opening, Resolved, kind_of
from restrike.sources.failures.index import PARTLY, UNREAD, WHOLE, Index, Outcome

SIDE_BY_SIDE = 8  # shards that are read at the same time
ARRIVAL_SLACK_S = 61.0
"""Arrivals are told in whole seconds; DynamoDB Local stamps records with whole minutes."""
FROM_STREAM, FROM_ARCHIVE = "the stream", "the archive"


class Ranges:
    """Stretches of numbers, those that overlap as one."""

    def __init__(self, pointers: Iterable[Pointer]) -> None:
        self.merged: list[tuple[int, int]] = []
        for first, last in sorted((each.first, each.last) for each in pointers):
            if self.merged and first <= self.merged[-1][1]:
                self.merged[-1] = (self.merged[-1][0], max(last, self.merged[-1][1]))
            else:
                self.merged.append((first, last))
        self._firsts = [first for first, _ in self.merged]

    def hold(self, number: int) -> bool:
        at = bisect.bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self.merged[at][1]


async def resolve(index: Index, ask: Callable[[], Aws], archive: str = "") -> None:
    """Every pointer gets its outcome, but for those that have one from an earlier part of the run."""
    for stream in index.streams():
        shards = [shard for shard, _ in index.shards(stream)]
        sought = [shard for shard in shards if _open(index, stream, shard)]
        if not sought or await _from_stream(index, ask(), stream, sought):
            index.order(stream, shards)  # those of which the stream knows nothing come by their oldest pointer
        lost = [each for shard in sought for each in index.pointers(stream, shard) if not _whole(index, each)]
        if lost and archive:
            await _from_archive(index, ask, archive, stream, lost)


def _open(index: Index, stream: str, shard: str) -> list[Pointer]:
    found = ((each, index.outcome(each)) for each in index.pointers(stream, shard))
    return [each for each, outcome in found if outcome is None or outcome.state == UNREAD]


def _whole(index: Index, pointer: Pointer) -> bool:
    found = index.outcome(pointer)
    return found is not None and found.state == WHOLE


async def _from_stream(index: Index, aws: Aws, stream: str, sought: list[str]) -> bool:
    """Whether the stream told its shards, or that it has none."""
    why = state = ""
    listed: dict[str, Shard] = {}
    here = aws.configured_endpoint("dynamodbstreams") is not None
    region = Pointer(stream, "", 0, 0).region
    if not here and region != aws.region:
        why, state = f"the stream is in {region}, and the Region is {aws.region}: --region {region}", UNREAD
    else:
        async with streams.connect(aws, connections=SIDE_BY_SIDE + 2) as wire:
            try:
                listed = await streams.list_shards(wire, stream)
            except (NotFound, Invalid) as error:
                why = error.message
            except AccessDenied as error:
                why, state = error.message, UNREAD
            else:
                index.order(stream, in_order(listed, [shard for shard, _ in index.shards(stream)]))
                await _passes(index, wire, stream, [shard for shard in sought if shard in listed])
    why = why or f"{FROM_STREAM} has forgotten the shard"
    for shard in sought:
        if shard not in listed:
            index.settle(Outcome(each, state, why) for each in _open(index, stream, shard))
    return state != UNREAD


async def _passes(index: Index, wire: Wire, stream: str, sought: list[str]) -> None:
    turns = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(shard: str) -> None:
        async with turns:
            pointers = _open(index, stream, shard)
            try:
                async with contextlib.aclosing(stretch(wire, stream, shard, pointers[0].first)) as pages:
                    await _take(index, pages, pointers)
            except AccessDenied as error:
                index.settle(Outcome(each, UNREAD, error.message) for each in _open(index, stream, shard))

    await together(map(one, sought))


async def _take(index: Index, pages: AsyncGenerator[list[Record], None], pointers: list[Pointer]) -> None:
    """Of one shard's pages what is pointed at, up to the last number. What became of a pointer is told as soon as its
    end was passed: another may point at what never was, and is waited for."""
    ranges = Ranges(pointers)
    left = sorted(pointers, key=lambda each: -each.last)
    ends = {number for each in pointers for number in (each.first, each.last)}
    seen: set[int] = set()
    async for page in pages:
        index.put(record for record in page if ranges.hold(record.place))
        seen.update(ends.intersection(record.place for record in page))
        passed = []
        while left and left[-1].last <= page[-1].place:
            passed.append(_outcome(left.pop(), seen, FROM_STREAM))
        if passed:
            index.settle(passed)
        if not left:
            return
    index.settle(_outcome(each, seen, FROM_STREAM) for each in left)


def _outcome(pointer: Pointer, seen: set[int], source: str) -> Outcome:
    if pointer.last not in seen:
        return Outcome(pointer, "", f"{source} has not its last record")
    if pointer.first not in seen:
        return Outcome(pointer, PARTLY, f"{source} has not its first record")
    return Outcome(pointer, WHOLE, source)


def in_order(listed: Mapping[str, Shard], shards: list[str]) -> list[str]:
    """Those shards, each behind all of its ancestors among them; else as they are given."""
    wanted, done = set(shards), dict[str, None]()
    for shard in shards:
        lineage: list[str] = []
        at: str | None = shard
        while at is not None and at in listed and len(lineage) < len(listed):
            lineage.append(at)
            at = listed[at].parent_shard_id
        done |= dict.fromkeys(each for each in reversed(lineage) if each in wanted)
    return list(done)


async def _from_archive(
    index: Index, ask: Callable[[], Aws], archive: str, stream: str, pointers: list[Pointer]
) -> None:
    """In the hours of their arrival; a pointer that tells none is looked for in all."""
    kind = kind_of("archive")
    uri = Uri("archive", archive, archive)
    by_shard: dict[str, list[Pointer]] = {}
    for each in pointers:
        by_shard.setdefault(each.shard, []).append(each)
    ranges = {shard: Ranges(each) for shard, each in by_shard.items()}
    ends = {shard: {n for each in of_it for n in (each.first, each.last)} for shard, of_it in by_shard.items()}
    seen: dict[str, set[int]] = {shard: set() for shard in by_shard}
    gaps: list[Gap] = []
    async with kind.open(uri, Resolved(), Opening(ask, index.folder, allow_gaps=True, looking=True)) as source:
        for window in _windows(pointers):
            pages = cast("AsyncGenerator[list[Record], None]", source.read({}, window))
            async with contextlib.aclosing(pages):
                async for page in pages:
                    shard = page[0].shard
                    if shard not in ranges or page[0].stream_arn != stream:
                        continue
                    index.put(record for record in page if ranges[shard].hold(record.place))
                    seen[shard].update(ends[shard].intersection(record.place for record in page))
            gaps += source.gaps
    outcomes = []
    for each in pointers:
        found = _outcome(each, seen[each.shard], FROM_ARCHIVE)
        if found.state == WHOLE and any(_touches(gap, each) for gap in gaps):
            found = Outcome(each, PARTLY, f"{FROM_ARCHIVE} has a gap there")
        before = index.outcome(each)
        if before is not None and before.state == UNREAD and not found.state:
            found = Outcome(each, UNREAD, f"{before.source}; and {found.source}")
        if found.state or before is None or not before.state:
            outcomes.append(found)
    index.settle(outcomes)


def _windows(pointers: Iterable[Pointer]) -> list[Window]:
    """When they arrived, with some slack; windows that overlap are one."""
    found: list[tuple[float, float]] = []
    spans = []
    for each in pointers:
        if each.first_s is None or each.last_s is None:
            return [Window()]
        spans.append((each.first_s - ARRIVAL_SLACK_S, each.last_s + ARRIVAL_SLACK_S))
    for since_s, until_s in sorted(spans):
        if found and since_s <= found[-1][1]:
            found[-1] = (found[-1][0], max(until_s, found[-1][1]))
        else:
            found.append((since_s, until_s))
    return [Window(*each) for each in found]


def _touches(gap: Gap, pointer: Pointer) -> bool:
    if gap.shard and pointer.shard not in gap.shard.split(", "):
        return False
    if pointer.first_s is None or pointer.last_s is None:
        return True
    return (gap.from_s is None or gap.from_s <= pointer.last_s) and (gap.to_s is None or gap.to_s >= pointer.first_s)
