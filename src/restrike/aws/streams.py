"""DynamoDB Streams: its calls, one by one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from restrike.aws.dynamodb import decode
from restrike.aws.session import Aws, answered_at, ask
from restrike.aws.wire import Wire, retry_delay_s
from restrike.errors import (
    AccessDenied,
    AwsError,
    BadCredentials,
    NotFound,
    ServiceFault,
    Throttled,
    Unreachable,
)

T = TypeVar("T")

TARGET = "DynamoDBStreams_20120810"
MAX_RECORDS = 1000  # the limit of GetRecords; a page is also at most 1 MB
RETENTION_S = 24 * 3600.0
READERS_PER_SHARD = 2  # the service's limit
ONE_MORE_READER = f"one more reader of the {READERS_PER_SHARD} that a shard allows"
AT_TIMESTAMP_ATTEMPTS = 8
NO_SUCH_TYPE = "InternalFailure"
"""What DynamoDB Local answers where it is asked for AT_TIMESTAMP, each time; the service calls its own faults
InternalServerError."""
CHILDREN_ATTEMPTS = 2  # then all shards are listed
NOT_TO_COME_S = 1.0
"""The service refuses a time that is to come, and tells its own in whole seconds."""
SWITCHED_S = 60.0
"""So long does who follows a table await a new stream when its stream was switched off: to switch it on again is a
second update of the table, which has to wait for the first."""
SWITCH_LOOK_S = 2.0
SWITCHED = "the table's stream was switched off, and on again: what was written in between is on no stream"
"""The cause of the gap before a table's second stream."""


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
    stream_status: str = "ENABLED"
    shards: list[Shard] = msgspec.field(default_factory=list)
    last_evaluated_shard_id: str | None = None


class _DescribeAnswer(msgspec.Struct, rename="pascal"):
    stream_description: _Description


class StreamInfo(msgspec.Struct, frozen=True):
    """What DescribeStream says of the stream itself. `created_s` (epoch seconds) is when it was switched on."""

    arn: str
    table_name: str
    view_type: str | None
    status: str
    created_s: float | None


def describe_stream(aws: Aws, stream_arn: str) -> tuple[StreamInfo, datetime]:
    """The stream, and the service's own time at the answer (UTC): records are stamped by that clock."""
    answer = ask(aws.client("dynamodbstreams"), "DescribeStream", StreamArn=stream_arn, Limit=1)
    description = answer["StreamDescription"]
    created = description.get("CreationRequestDateTime")
    info = StreamInfo(
        arn=description.get("StreamArn", stream_arn),
        table_name=description.get("TableName", ""),
        view_type=description.get("StreamViewType"),
        status=description.get("StreamStatus", "ENABLED"),
        created_s=created.timestamp() if isinstance(created, datetime) else None,
    )
    return info, answered_at(answer) or datetime.now(UTC)


def streams_of(aws: Aws, table: str) -> list[str]:
    """The ARNs of the table's streams that can still be read, also of those that were switched off; newest first."""
    answer = ask(aws.client("dynamodbstreams"), "ListStreams", TableName=table, Limit=10)
    return sorted((str(each["StreamArn"]) for each in answer.get("Streams", ())), reverse=True)


class _IteratorAnswer(msgspec.Struct, rename="pascal"):
    shard_iterator: str | None = None


_describe_answer = msgspec.json.Decoder(_DescribeAnswer)
_iterator_answer = msgspec.json.Decoder(_IteratorAnswer)


class Start(msgspec.Struct, frozen=True):
    """Where to begin in a shard: behind a sequence number, else at a time, else at the oldest or newest end.

    `at_s` is in epoch seconds; for a time that is to come stands the moment of the question. Where the service has no
    AT_TIMESTAMP the oldest record is the start. So who reads has to skip what is older.
    """

    after: str | None = None
    at_s: float | None = None
    latest: bool = False


async def list_shards(wire: Wire, stream_arn: str) -> dict[str, Shard]:
    """Every shard that the stream still knows, by id."""
    return (await list_with_status(wire, stream_arn))[0]


async def list_with_status(wire: Wire, stream_arn: str) -> tuple[dict[str, Shard], str]:
    """The shards, and the stream's status."""
    shards: dict[str, Shard] = {}
    request: dict[str, Any] = {"StreamArn": stream_arn}
    while True:  # ends: every page names a later shard
        body = await wire.call("DescribeStream", msgspec.json.encode(request))
        page = decode(_describe_answer, body, "DescribeStream").stream_description
        for shard in page.shards:
            shards[shard.shard_id] = shard
        last = page.last_evaluated_shard_id
        if last is None or last == request.get("ExclusiveStartShardId"):
            return shards, page.stream_status
        request["ExclusiveStartShardId"] = last


async def children(wire: Wire, stream_arn: str, shard_id: str) -> tuple[dict[str, Shard], str] | None:
    """The shards that came of that one, and the stream's status, in one call however many shards there are; None where
    the service answers others as well, since it does not know the filter."""
    request = {"StreamArn": stream_arn, "ShardFilter": {"Type": "CHILD_SHARDS", "ShardId": shard_id}}
    body = await wire.call("DescribeStream", msgspec.json.encode(request), attempts=CHILDREN_ATTEMPTS)
    found = decode(_describe_answer, body, "DescribeStream").stream_description
    if any(each.parent_shard_id != shard_id for each in found.shards):
        return None
    return {each.shard_id: each for each in found.shards}, found.stream_status


class Iterator(msgspec.Struct, frozen=True):
    """Where to read next, good for 15 minutes; without a token the shard is gone. `by_time`: at the time that was asked
    for, and not before."""

    token: str | None
    by_time: bool = False


async def shard_iterator(wire: Wire, stream_arn: str, shard_id: str, start: Start) -> Iterator:
    """An iterator for that place. A place that the stream has forgotten raises TrimmedData."""
    request: dict[str, Any] = {"StreamArn": stream_arn, "ShardId": shard_id}
    if start.after is not None:
        request |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": start.after}
    elif start.latest:
        request["ShardIteratorType"] = "LATEST"
    else:
        found = None if start.at_s is None else await iterator_at_time(wire, stream_arn, shard_id, start.at_s)
        if found is not None:
            return found
        request["ShardIteratorType"] = "TRIM_HORIZON"
    try:
        answer = await wire.call("GetShardIterator", msgspec.json.encode(request))
    except NotFound:
        return Iterator(None)
    return Iterator(decode(_iterator_answer, answer, "GetShardIterator").shard_iterator)


async def iterator_at_time(wire: Wire, stream_arn: str, shard_id: str, at_s: float) -> Iterator | None:
    """An iterator for the first record of that time (epoch seconds) or later; None where the service knows no
    AT_TIMESTAMP."""
    request = {"StreamArn": stream_arn, "ShardId": shard_id, "ShardIteratorType": "AT_TIMESTAMP"}
    for attempt in range(AT_TIMESTAMP_ATTEMPTS):
        now_s = wire.service_now_s()
        not_to_come_s = at_s if now_s is None else min(at_s, now_s - NOT_TO_COME_S)
        asked = msgspec.json.encode(request | {"Timestamp": not_to_come_s})
        try:
            answer = await wire.call("GetShardIterator", asked, attempts=1)
            return Iterator(decode(_iterator_answer, answer, "GetShardIterator").shard_iterator, by_time=True)
        except NotFound:
            return Iterator(None)
        except (AccessDenied, BadCredentials):
            raise
        except (Throttled, Unreachable, ServiceFault) as error:
            if error.code == NO_SUCH_TYPE:
                return None
            # No word on AT_TIMESTAMP, and a day of records is a dear price for not asking again.
            await asyncio.sleep(retry_delay_s(attempt))
        except AwsError:
            return None
    return None


async def try_reading(wire: Wire, stream_arn: str) -> None:
    """Asks for a shard, and for an iterator of it; raises AwsError where that is refused. No record is read."""
    body = await wire.call("DescribeStream", msgspec.json.encode({"StreamArn": stream_arn, "Limit": 1}))
    for shard in decode(_describe_answer, body, "DescribeStream").stream_description.shards:
        await shard_iterator(wire, stream_arn, shard.shard_id, Start(latest=True))


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
