"""One stretch of one shard: from a sequence number on, through empty pages, and into no other shard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any, Literal

import msgspec

from restrike.aws import streams
from restrike.aws.dynamodb import Unreadable, decode
from restrike.aws.wire import Wire
from restrike.errors import ExpiredIterator, Invalid, NotFound, TrimmedData
from restrike.model.record import Record, read_record

SILENT_S = 60.0
"""An open shard that gives nothing for so long has nothing more. How many empty pages may come before a record is not
documented; and a pointer may point at what never was."""
POLL_S = 0.25
REFUSED_IN_A_ROW = 20
SEQUENCE_DIGITS = 21  # the least that the API takes; DynamoDB Local's numbers are filled up with zeros


class _Iterator(msgspec.Struct, rename="pascal"):
    shard_iterator: str | None = None


_iterator = msgspec.json.Decoder(_Iterator)
_records = streams.records_decoder(msgspec.Raw)


async def stretch(wire: Wire, stream_arn: str, shard_id: str, first: int) -> AsyncGenerator[list[Record], None]:
    """The records of the shard from that number on, page by page, none of them empty; from its oldest record where the
    stream has forgotten the number, or never had it. Ends with the shard, with `SILENT_S` of nothing, and at once where
    the shard is gone. Who has enough closes it."""
    last = -1
    token = await _at(wire, stream_arn, shard_id, "AT", first)
    silent_since: float | None = None
    refused = 0
    while token is not None:
        request = msgspec.json.encode({"ShardIterator": token, "Limit": streams.MAX_RECORDS})
        try:
            answer: Any = decode(_records, await wire.call("GetRecords", request), "GetRecords")
        except (ExpiredIterator, TrimmedData, Invalid):
            # Invalid: a stand-in that was restarted does not know its old iterators.
            refused += 1
            if refused > REFUSED_IN_A_ROW:
                raise
            begun = last >= 0
            token = await _at(wire, stream_arn, shard_id, "AFTER" if begun else "AT", last if begun else first)
            continue
        refused = 0
        token = answer.next_iterator
        if answer.records:
            page = _read(stream_arn, shard_id, answer.records)
            fresh = [record for record in page if record.place > last]
            if fresh:
                last = fresh[-1].place
                yield fresh
            silent_since = None
            continue
        now = time.monotonic()
        silent_since = now if silent_since is None else silent_since
        if token is not None:
            if now - silent_since >= SILENT_S:
                return
            await asyncio.sleep(POLL_S)


async def _at(wire: Wire, stream_arn: str, shard_id: str, side: Literal["AT", "AFTER"], number: int) -> str | None:
    """An iterator at or behind that number or, where there is no such record, at the oldest; None where the shard is
    gone."""
    where = {"StreamArn": stream_arn, "ShardId": shard_id}
    for kind in (
        {"ShardIteratorType": f"{side}_SEQUENCE_NUMBER", "SequenceNumber": f"{number:0{SEQUENCE_DIGITS}d}"},
        {"ShardIteratorType": "TRIM_HORIZON"},
    ):
        try:
            body = await wire.call("GetShardIterator", msgspec.json.encode(where | kind))
        except (TrimmedData, Invalid):
            if "SequenceNumber" not in kind:
                raise
            continue
        except NotFound:
            return None
        return decode(_iterator, body, "GetShardIterator").shard_iterator
    return None


def _read(stream_arn: str, shard_id: str, raws: list[Any]) -> list[Record]:
    try:
        return [read_record(raw, shard=shard_id, place=None, stream_arn=stream_arn, fidelity="exact") for raw in raws]
    except (msgspec.MsgspecError, ValueError) as error:
        raise Unreadable(
            f"GetRecords: shard {shard_id} answered what is no record: {error}", "Is there a proxy between?"
        ) from None
