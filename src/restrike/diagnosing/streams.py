"""The table's streams, on and off, and how far back the one that is written can be read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from restrike.aws import streams
from restrike.aws.dynamodb import decode
from restrike.aws.streams import Shard, Start, StreamInfo
from restrike.aws.wire import Wire
from restrike.diagnosing.questions import Questions
from restrike.errors import NotFound, TrimmedData
from restrike.model.diagnosis import Horizon, StreamSeen
from restrike.model.numbers import counted
from restrike.model.table import TableInfo

MOST_SHARDS = 16
"""Of the oldest, that are asked for a record."""
AT_MOST = "at most 24 h"


class Streams(msgspec.Struct, frozen=True):
    """The streams that can still be read, the one that is written first, and that one's shards."""

    seen: tuple[StreamSeen, ...] = ()
    shards: dict[str, Shard] = {}


class _Change(msgspec.Struct):
    created_s: float | None = msgspec.field(name="ApproximateCreationDateTime", default=None)


class _Record(msgspec.Struct):
    change: _Change = msgspec.field(name="dynamodb", default_factory=_Change)


_answer = streams.records_decoder(_Record)


async def arns_of(questions: Questions, table: TableInfo) -> list[str]:
    """Those of the streams that may still be read; the one that is written first, where there is one."""
    listed = await questions.ask(
        "earlier streams of the table",
        lambda: streams.streams_of(questions.aws, table.name),
        service="dynamodbstreams",
        permission="dynamodb:ListStreams",
    )
    on = [] if table.stream_arn is None else [table.stream_arn]
    return [*on, *(arn for arn in listed or () if arn not in on)]


async def described(questions: Questions, wire: Wire, table: TableInfo, arns: Sequence[str]) -> Streams:
    found = await asyncio.gather(*(_one(questions, wire, table, arn) for arn in arns))
    shards = found[0][1] if table.stream_arn is not None else {}
    return Streams(tuple(stream for stream, _ in found if stream is not None), shards)


async def _one(
    questions: Questions, wire: Wire, table: TableInfo, arn: str
) -> tuple[StreamSeen | None, dict[str, Shard]]:
    """A stream; None where it cannot be read any more."""
    on, label = arn == table.stream_arn, arn.rpartition("/")[2]

    async def shards_of() -> dict[str, Shard]:
        return await streams.list_shards(wire, arn)

    def info_of() -> StreamInfo | None:
        try:
            return streams.describe_stream(questions.aws, arn)[0]
        except NotFound:
            return None

    what, permission = f"the stream {label}", "dynamodb:DescribeStream"
    info, shards = await asyncio.gather(
        questions.ask(what, info_of, service="dynamodbstreams", permission=permission),
        questions.follow(f"the shards of {what}", shards_of(), permission=permission) if on else _none(),
    )
    if info is None and not on:
        return None, {}
    shards = shards or {}
    still_open = sum(shard.open for shard in shards.values())
    seen = StreamSeen(
        arn=arn,
        view_type=str((table.view_type if info is None else info.view_type) or ""),
        on=on,
        since_s=None if info is None else info.created_s,
        open_shards=still_open,
        closed_shards=len(shards) - still_open,
    )
    return seen, shards


async def _none() -> None:
    return None


async def horizon(questions: Questions, wire: Wire, arn: str, shards: Mapping[str, Shard], readers: int) -> Horizon:
    """The oldest record that the stream has, by one GetRecords on each of the oldest shards. It is not read where the
    readers that are known fill a shard: one more would take turns from them."""
    if readers >= streams.READERS_PER_SHARD:
        return Horizon(None, f"{AT_MOST}: {counted(readers, 'reader')} are known, and a shard allows 2")
    if not shards:
        return Horizon(None, f"{AT_MOST}: its shards could not be listed")
    oldest = sorted(name for name, shard in shards.items() if shard.parent_shard_id not in shards)
    asked = oldest[:MOST_SHARDS]
    what = "how far back the stream reaches"
    permissions = "dynamodb:GetShardIterator, dynamodb:GetRecords"
    found = await questions.follow(what, _oldest(wire, arn, asked), permission=permissions)
    if found is None:
        return Horizon(None, f"{AT_MOST}: it could not be read")
    moments = [moment for moment in found if moment is not None]
    of = f"{counted(len(asked), 'oldest shard')}" + (f" of {len(oldest):,}" if len(oldest) > len(asked) else "")
    if not moments:
        return Horizon(None, f"{AT_MOST}: {of} gave no record at the first try")
    return Horizon(min(moments), f"the first record of {len(moments):,} of the {of}")


async def _oldest(wire: Wire, arn: str, shards: Sequence[str]) -> list[float | None]:
    return list(await asyncio.gather(*(_first_s(wire, arn, shard) for shard in shards)))


async def _first_s(wire: Wire, arn: str, shard: str) -> float | None:
    """When the first record of the shard was written; None where one page does not have it."""
    try:
        at = await streams.shard_iterator(wire, arn, shard, Start())
        if at.token is None:
            return None
        body = await wire.call("GetRecords", msgspec.json.encode({"ShardIterator": at.token, "Limit": 1}), attempts=2)
    except (NotFound, TrimmedData):  # it went meanwhile
        return None
    records: list[_Record] = decode(_answer, body, "GetRecords").records
    return records[0].change.created_s if records else None
