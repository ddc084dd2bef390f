"""DynamoDB Streams: shards, iterators, and following a stream from given positions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from restrike.aws.dynamodb import decode
from restrike.aws.session import Aws
from restrike.aws.wire import Wire
from restrike.errors import AwsError, ExpiredIterator, Invalid, NotFound, TrimmedData

TARGET = "DynamoDBStreams_20120810"
MAX_RECORDS = 1000  # the limit of GetRecords; a page is also at most 1 MB
SHORT_PAGE = 100  # records; the largest are 400 KB with two images, so a full megabyte may hold one
READERS_PER_SHARD = 2  # the service's limit
IDLE_POLL_S = 0.25
MAX_IDLE_POLL_S = 1.0
REFRESH_SHARDS_S = 60.0


def connect(aws: Aws, *, connections: int = 64) -> Wire:
    return Wire(aws, "dynamodbstreams", TARGET, connections=connections)


class SequenceRange(msgspec.Struct, rename="pascal"):
    starting_sequence_number: str | None = None
    ending_sequence_number: str | None = None


class Shard(msgspec.Struct, rename="pascal"):
    """A shard; it is open as long as it has no ending sequence number."""

    shard_id: str
    parent_shard_id: str | None = None
    sequence_number_range: SequenceRange = msgspec.field(default_factory=SequenceRange)

    @property
    def open(self) -> bool:
        return self.sequence_number_range.ending_sequence_number is None


class _Description(msgspec.Struct, rename="pascal"):
    shards: list[Shard] = msgspec.field(default_factory=list)
    last_evaluated_shard_id: str | None = None


class _DescribeAnswer(msgspec.Struct, rename="pascal"):
    stream_description: _Description


class _IteratorAnswer(msgspec.Struct, rename="pascal"):
    shard_iterator: str | None = None


_describe_answer = msgspec.json.Decoder(_DescribeAnswer)
_iterator_answer = msgspec.json.Decoder(_IteratorAnswer)


class Start(msgspec.Struct, frozen=True):
    """Where to begin in a shard: behind a sequence number, else at a time, else at the oldest or newest end.

    `at_s` is in epoch seconds. Where the service has no AT_TIMESTAMP the oldest record is the start, and who
    reads has to skip what is older.
    """

    after: str | None = None
    at_s: float | None = None
    latest: bool = False


async def list_shards(wire: Wire, stream_arn: str) -> dict[str, Shard]:
    """Every shard that the stream still knows, by id."""
    shards: dict[str, Shard] = {}
    request: dict[str, Any] = {"StreamArn": stream_arn}
    while True:  # ends: every page names a later shard
        body = await wire.call("DescribeStream", msgspec.json.encode(request))
        page = decode(_describe_answer, body, "DescribeStream").stream_description
        for shard in page.shards:
            shards[shard.shard_id] = shard
        last = page.last_evaluated_shard_id
        if last is None or last == request.get("ExclusiveStartShardId"):
            return shards
        request["ExclusiveStartShardId"] = last


async def shard_iterator(wire: Wire, stream_arn: str, shard_id: str, start: Start) -> str | None:
    """An iterator (good for 15 minutes) for that place; None where the shard is gone.

    A place that the stream has forgotten raises TrimmedData.
    """
    request: dict[str, Any] = {"StreamArn": stream_arn, "ShardId": shard_id}
    if start.after is not None:
        request |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": start.after}
    elif start.latest:
        request["ShardIteratorType"] = "LATEST"
    elif start.at_s is not None:
        at_time = msgspec.json.encode(request | {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": start.at_s})
        try:
            # One attempt: DynamoDB Local answers AT_TIMESTAMP with an internal failure, each time.
            answer = await wire.call("GetShardIterator", at_time, attempts=1)
            return decode(_iterator_answer, answer, "GetShardIterator").shard_iterator
        except NotFound:
            return None
        except AwsError:
            request["ShardIteratorType"] = "TRIM_HORIZON"
    else:
        request["ShardIteratorType"] = "TRIM_HORIZON"
    try:
        answer = await wire.call("GetShardIterator", msgspec.json.encode(request))
    except NotFound:
        return None
    return decode(_iterator_answer, answer, "GetShardIterator").shard_iterator


def records_decoder(record_type: type[Any]) -> msgspec.json.Decoder[Any]:
    """A decoder of GetRecords answers with `records` of that type and the `next_iterator`."""
    answer = msgspec.defstruct(
        "Answer",
        [
            ("records", list[record_type], msgspec.field(default_factory=list)),  # type: ignore[valid-type]  # given at run time
            ("next_iterator", str | None, None),
        ],
        rename={"records": "Records", "next_iterator": "NextShardIterator"},
    )
    return msgspec.json.Decoder(answer)


OnPage = Callable[[str, list[Any]], str | None]
"""Takes a shard's id and a page of records; returns the sequence number behind which to go on."""


class Follower:
    """Reads a stream on from given positions, shard after child, until it is stopped.

    `prepare` takes the iterators, so that nothing that is written afterwards can be missed; `run` reads.
    Children of a shard start at their oldest record, when their parent is read to its end.
    """

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
        self._wire = wire
        self._arn = stream_arn
        self._decoder = decoder
        self._on_page = on_page
        self._fallback = fallback  # where a shard is read from that had no record yet when its iterator expired
        self._on_trimmed = on_trimmed
        self._positions: dict[str, str] = {}
        self._iterators: dict[str, str] = {}
        self._known: set[str] = set()
        self._shards: dict[str, Shard] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._behind: set[str] = set()  # shards that have not come to their end since `mark`
        self._marks = 0

    async def prepare(self, starts: Mapping[str, Start], *, otherwise: Start) -> None:
        """Takes an iterator for each shard that has a start; for the others by `otherwise`.

        What lies before a started shard in its lineage is left out, and what comes after it is read when it
        is read to its end. With `otherwise` at the newest end, shards that are closed already are left out.
        """
        self._shards = await list_shards(self._wire, self._arn)
        before: set[str] = set()
        for shard_id in starts:
            before.update(self._lineage(shard_id))
        to_read: dict[str, Start] = {}
        waiting: set[str] = set()
        for shard_id, shard in self._shards.items():
            if shard_id in starts:
                to_read[shard_id] = starts[shard_id]
            elif any(ancestor in starts for ancestor in self._lineage(shard_id)):
                waiting.add(shard_id)
            elif shard_id not in before and (shard.open or not otherwise.latest):
                to_read[shard_id] = otherwise
        for shard_id, start in to_read.items():
            if start.after is not None:
                self._positions[shard_id] = start.after
            if self._shards[shard_id].parent_shard_id in to_read:
                waiting.add(shard_id)
            else:
                await self._take_iterator(shard_id, start)
        self._known = set(self._shards) - waiting

    def _lineage(self, shard_id: str) -> list[str]:
        """The shard's ancestors that the stream still lists, nearest first."""
        found: list[str] = []
        shard = self._shards.get(shard_id)
        while shard is not None and shard.parent_shard_id is not None and len(found) < len(self._shards):
            found.append(shard.parent_shard_id)
            shard = self._shards.get(shard.parent_shard_id)
        return found

    async def _take_iterator(self, shard_id: str, start: Start) -> None:
        try:
            iterator = await shard_iterator(self._wire, self._arn, shard_id, start)
        except TrimmedData:
            self._on_trimmed(shard_id)
            iterator = await shard_iterator(self._wire, self._arn, shard_id, Start())
        if iterator is not None:
            self._iterators[shard_id] = iterator

    async def run(self) -> None:
        """Reads until cancelled. An error of a shard that retries do not mend ends it."""
        try:
            for shard_id in list(self._iterators):
                self._start(shard_id)
            await self._adopt_children()
            while True:
                waiting = asyncio.create_task(asyncio.sleep(REFRESH_SHARDS_S))
                done, _ = await asyncio.wait({*self._tasks, waiting}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                for task in done - {waiting}:
                    self._tasks.discard(task)
                    task.result()
                self._shards = await list_shards(self._wire, self._arn)
                await self._adopt_children()
                # Only now: its children are to be read before the stream is at its end.
                self._behind.difference_update(task.get_name() for task in done)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def mark(self) -> None:
        """From now on `caught_up` asks whether every shard was read to what is its end now, or later."""
        self._behind = {task.get_name() for task in self._tasks}
        self._marks += 1

    @property
    def caught_up(self) -> bool:
        """A short page is taken for the end: the service fills pages where it has more."""
        return not self._behind

    def _start(self, shard_id: str) -> None:
        task = asyncio.create_task(self._read_shard(shard_id), name=shard_id)
        self._tasks.add(task)
        if self._marks:
            self._behind.add(shard_id)

    async def _adopt_children(self) -> None:
        """Starts the shards whose parent is read to its end: where they were left, else at their oldest record."""
        reading = {task.get_name() for task in self._tasks}
        for shard_id, shard in self._shards.items():
            parent = shard.parent_shard_id
            ready = parent is None or parent not in self._shards or parent in self._known
            if shard_id in self._known or parent in reading or not ready:
                continue
            self._known.add(shard_id)
            await self._take_iterator(shard_id, Start(after=self._positions.get(shard_id)))
            if shard_id in self._iterators:
                self._start(shard_id)
                reading.add(shard_id)

    async def _read_shard(self, shard_id: str) -> None:
        iterator: str | None = self._iterators.pop(shard_id)
        pause_s = IDLE_POLL_S
        while iterator is not None:
            request = msgspec.json.encode({"ShardIterator": iterator, "Limit": MAX_RECORDS})
            marks = self._marks
            try:
                body = await self._wire.call("GetRecords", request)
            except ExpiredIterator:
                iterator = await self._again(shard_id)
                continue
            except TrimmedData:
                self._on_trimmed(shard_id)
                iterator = await shard_iterator(self._wire, self._arn, shard_id, Start())
                continue
            except Invalid:
                # A stand-in that was restarted does not know its old iterators.
                iterator = await self._again(shard_id)
                await asyncio.sleep(pause_s)
                continue
            page = decode(self._decoder, body, "GetRecords")
            # A page that was asked for before the mark says nothing about what came after it.
            if len(page.records) < SHORT_PAGE and page.next_iterator is not None and marks == self._marks:
                self._behind.discard(shard_id)
            if page.records:
                position = self._on_page(shard_id, page.records)
                if position is not None:
                    self._positions[shard_id] = position
                pause_s = IDLE_POLL_S
            else:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 1.5, MAX_IDLE_POLL_S)
            iterator = page.next_iterator

    async def _again(self, shard_id: str) -> str | None:
        after = self._positions.get(shard_id)
        start = Start(after=after) if after is not None else self._fallback
        try:
            return await shard_iterator(self._wire, self._arn, shard_id, start)
        except TrimmedData:
            self._on_trimmed(shard_id)
            return await shard_iterator(self._wire, self._arn, shard_id, Start())


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancels a task and waits until it is gone."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
