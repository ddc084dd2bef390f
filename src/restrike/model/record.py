"""One change record: the JSON that Lambda receives, kept as bytes, with the little that is read out of it.

Images are never parsed on the way through. What GetRecords answers on the wire plus `eventSourceARN` is the
record that Lambda hands to a function.
"""

from __future__ import annotations

import functools
from datetime import datetime
from typing import Any, Literal

import msgspec

from restrike.model.table import AttributeValue

Fidelity = Literal["exact", "net", "synthetic"]
"""exact: a captured stream record; net: the net change of a window; synthetic: made from the item as it is now."""
EventName = Literal["INSERT", "MODIFY", "REMOVE"]


class Record(msgspec.Struct, gc=False):
    """A change record on its way.

    `raw` is the whole Lambda record as JSON bytes. `shard` names what it is in order within (a shard of a
    stream, a file), `place` its position there: the sequence number as an integer in a stream, the ordinal
    from 1 on in a file. `keys` is the raw JSON of its Keys. `created_s` is in epoch seconds.
    """

    raw: bytes
    shard: str
    place: int
    event_name: str
    keys: bytes
    sequence_number: str
    created_s: float
    stream_arn: str
    fidelity: Fidelity


class _Identity(msgspec.Struct, omit_defaults=True):
    type: str | None = None
    Type: str | None = None
    principal: str | None = msgspec.field(default=None, name="principalId")
    Principal: str | None = msgspec.field(default=None, name="PrincipalId")


class _Change(msgspec.Struct, gc=False):
    keys: msgspec.Raw = msgspec.field(name="Keys")
    sequence_number: str = msgspec.field(name="SequenceNumber", default="0")
    created: float | str = msgspec.field(name="ApproximateCreationDateTime", default=0.0)


class _Head(msgspec.Struct, gc=False):
    change: _Change = msgspec.field(name="dynamodb")
    event_name: str = msgspec.field(name="eventName", default="")
    stream_arn: str | None = msgspec.field(name="eventSourceARN", default=None)
    identity: _Identity | None = msgspec.field(name="userIdentity", default=None)


_head = msgspec.json.Decoder(_Head)


class Change(msgspec.Struct):
    """The images of a record, parsed: only for who asks for them. An image that is absent is None."""

    keys: dict[str, AttributeValue] = msgspec.field(name="Keys")
    new_image: dict[str, AttributeValue] | None = msgspec.field(name="NewImage", default=None)
    old_image: dict[str, AttributeValue] | None = msgspec.field(name="OldImage", default=None)


class _Changed(msgspec.Struct):
    change: Change = msgspec.field(name="dynamodb")


_changed = msgspec.json.Decoder(_Changed)


def images(record: Record) -> Change:
    """The record's keys and images, parsed."""
    return _changed.decode(record.raw).change


def read_record(
    raw: bytes | msgspec.Raw, *, shard: str, place: int | None, stream_arn: str, fidelity: Fidelity
) -> Record:
    """A record out of its JSON, as GetRecords answers it or as Lambda receives it.

    Without a `place` the sequence number is the place. `stream_arn` is added where the record does not name its
    own. `raw` has no white space around it. The bytes of the images stay as they are. Raises
    msgspec.MsgspecError where it is no such record.
    """
    head = _head.decode(raw)
    change = head.change
    if head.identity is not None and (head.identity.Type is not None or head.identity.Principal is not None):
        raw = _with_lambda_identity(raw, head.identity)
    if head.stream_arn is None:
        # Before the closing brace, where the value ends: one copy of the record, and the only one.
        raw = b"".join((memoryview(raw)[:-1], _arn_member(stream_arn)))
    return Record(
        bytes(raw),
        shard,
        place if place is not None else int(change.sequence_number),
        head.event_name,
        bytes(change.keys),
        change.sequence_number,
        created_seconds(change.created),
        head.stream_arn or stream_arn,
        fidelity,
    )


@functools.lru_cache(16)
def _arn_member(stream_arn: str) -> bytes:
    return b',"eventSourceARN":' + msgspec.json.encode(stream_arn) + b"}"


def created_seconds(value: float | str) -> float:
    """ApproximateCreationDateTime in epoch seconds: a number of seconds, of milliseconds, or ISO 8601 text."""
    if isinstance(value, str):
        return datetime.fromisoformat(value).timestamp()
    return value / 1000 if value > 1e11 else value


def _with_lambda_identity(raw: bytes | msgspec.Raw, identity: _Identity) -> bytes:
    """`Type` and `PrincipalId`, as some answers spell them, in Lambda's spelling; the rest byte for byte."""
    members: dict[str, Any] = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    members["userIdentity"] = {
        "type": identity.type or identity.Type,
        "principalId": identity.principal or identity.Principal,
    }
    return msgspec.json.encode(members)


def event(records: list[Record]) -> bytes:
    """The Lambda event of a batch: exactly the records' bytes, joined."""
    if not records:
        return _HEAD + _TAIL
    parts = [record.raw for record in records]
    # Head and tail go onto small parts, so that the whole is copied once.
    parts[0] = _HEAD + parts[0]
    parts[-1] += _TAIL
    return b",".join(parts)


_HEAD, _TAIL = b'{"Records":[', b"]}"


EVENT_OVERHEAD_BYTES = len(_HEAD + _TAIL)
