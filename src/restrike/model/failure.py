"""What Lambda and EventBridge Pipes leave behind where they gave a batch of a DynamoDB stream up.

To SQS and SNS goes a pointer into the stream; to S3 the whole event goes with it, as `payload`. The forms are those of
https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html. A message is a stranger's text: whatever
it says is data, and what is not understood to the end is not taken, for a reason that is told.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import msgspec

from restrike.model.record import EventName, images, read_record
from restrike.model.times import iso_or_none

MAX_WRAPPERS = 4  # SNS's inside of SQS's, and what a tool has put around them
LARGEST_BATCH = 10_000  # of a mapping: whatever a stranger says
PLACE_DIGITS = 40  # the most that a sequence number has
_NEVER_S = 4_102_444_800.0  # 2100
_STREAM = re.compile(
    r"arn:aws[a-z-]*:dynamodb:([a-z0-9-]+):(\d{12}):table/([\w.-]{1,255})/stream/([\w:.-]{1,64})", re.ASCII
)
_FUNCTION = re.compile(r"arn:aws[a-z-]*:lambda:[\w:$.-]{1,250}", re.ASCII)
_SHARD = re.compile(r"[\w-]{1,65}", re.ASCII)
_NUMBER = re.compile(r"\d{1,40}", re.ASCII)
_OTHER_BATCH = re.compile(r"(\w+)BatchInfo", re.ASCII)

Members = dict[str, msgspec.Raw]
_PARTLY = "beginningIsLost"
"""A member of our own, which only a rescue writes."""


class Pointer(msgspec.Struct, frozen=True):
    """A stretch of one shard: sequence numbers from `first` to `last`, both of records and both included.

    `first_s` and `last_s` are when the first and the last record arrived (epoch seconds); None where that is not told.
    `records` is the size of the batch as it is told; whether that counts what a filter drops is not documented.
    """

    stream_arn: str
    shard: str
    first: int
    last: int
    first_s: float | None = None
    last_s: float | None = None
    records: int = 0

    @property
    def region(self) -> str:
        return self._part(1)

    @property
    def account(self) -> str:
        return self._part(2)

    @property
    def table(self) -> str:
        return self._part(3)

    def _part(self, number: int) -> str:
        match = _STREAM.fullmatch(self.stream_arn)
        return match[number] if match else ""


class Payload(msgspec.Struct, frozen=True):
    """One record that a message brought along."""

    place: int
    raw: bytes


class Failure(msgspec.Struct, frozen=True):
    """A batch that was given up. `function` is the ARN that the message names, None for a pipe; `condition` is why,
    `failed_s` when (epoch seconds). `payload` are the batch's records, None where the message only points at them.
    `partly`: those at its beginning were lost when the payload was written down."""

    kind: Literal["mapping", "pipe"]
    pointer: Pointer
    function: str | None = None
    condition: str = ""
    failed_s: float | None = None
    payload: tuple[Payload, ...] | None = None
    partly: bool = False


class Untaken(msgspec.Struct, frozen=True):
    """A message that is left where it is, and why."""

    why: str


class _Strange(Exception):
    """Why a message is not taken."""


class _Body(msgspec.Struct, rename="camel"):
    """DDBStreamBatchInfo. Numbers are texts; a number where a text belongs is no pointer."""

    shard_id: str
    start_sequence_number: str
    end_sequence_number: str
    stream_arn: str
    batch_size: int = 0
    approximate_arrival_of_first_record: str | None = None
    approximate_arrival_of_last_record: str | None = None


class _Context(msgspec.Struct, rename="camel"):
    """requestContext of a mapping, context of a pipe."""

    condition: str = ""
    function_arn: str | None = None


class _Event(msgspec.Struct):
    records: list[msgspec.Raw] = msgspec.field(name="Records")


class _Change(msgspec.Struct):
    number: str = msgspec.field(name="SequenceNumber")


class _Record(msgspec.Struct):
    change: _Change = msgspec.field(name="dynamodb")
    event_source: str = msgspec.field(name="eventSource", default="")
    stream_arn: str | None = msgspec.field(name="eventSourceARN", default=None)


def messages_in(text: bytes) -> list[bytes]:
    """The messages of a file: one JSON value, an array of them, what `aws sqs receive-message` printed, or a value a
    line. What is no JSON is given back as it is, to be told."""
    try:
        whole = bytes(msgspec.json.decode(text, type=msgspec.Raw))
        msgspec.json.decode(whole)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return [line.strip() for line in text.split(b"\n") if line.strip()]
    if whole.startswith(b"["):
        return [bytes(each) for each in msgspec.json.decode(whole, type=list[msgspec.Raw])]
    if whole.startswith(b"{") and "Messages" in (members := _members(whole)):
        try:
            return [bytes(each) for each in msgspec.json.decode(members["Messages"], type=list[msgspec.Raw])]
        except msgspec.MsgspecError:
            pass
    return [whole]


def read_failure(message: bytes) -> Failure | Untaken:
    """Reads the body of a message, or an object of S3."""
    try:
        return _failure(_unwrapped(message))
    except _Strange as error:
        return Untaken(str(error))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
        return Untaken(f"it is not what Lambda writes: {error}")


def _members(text: bytes | msgspec.Raw) -> Members:
    return msgspec.json.decode(text, type=Members)


def _unwrapped(message: bytes) -> Members:
    """The members of what Lambda or a pipe wrote, without SQS's and SNS's wrappings."""
    text: bytes | msgspec.Raw = message
    for _ in range(MAX_WRAPPERS):
        try:
            members = _members(text)
        except (msgspec.MsgspecError, UnicodeError):
            raise _Strange("it is no JSON object") from None
        inner = next((members[name] for name in ("Body", "body") if name in members), None)
        if inner is None and _text(members.get("Type")) == "Notification":
            inner = members.get("Message")
        if inner is None:
            return members
        text = msgspec.json.decode(inner, type=str).encode()
    raise _Strange("it is wrapped too many times")


def _text(raw: msgspec.Raw | None) -> str | None:
    """The member as a text; None where it is none."""
    try:
        return None if raw is None else msgspec.json.decode(raw, type=str)
    except msgspec.MsgspecError:
        return None


def _failure(members: Members) -> Failure:
    if "DDBStreamBatchInfo" not in members:
        raise _Strange(_what_else(members))
    version = _text(members.get("version"))
    if version not in (None, "1.0"):
        raise _Strange(f"it is of version {version!r}, which this restrike does not know")
    pipe = "requestContext" not in members
    about = members.get("context" if pipe else "requestContext")
    context = _Context() if about is None else msgspec.json.decode(about, type=_Context)
    function = context.function_arn
    if function is not None and not _FUNCTION.fullmatch(function):
        raise _Strange("its functionArn is none of a function")
    pointer = _pointer(msgspec.json.decode(members["DDBStreamBatchInfo"], type=_Body))
    return Failure(
        kind="pipe" if pipe else "mapping",
        pointer=pointer,
        function=function,
        condition=context.condition,
        failed_s=_moment(_text(members.get("timestamp"))),
        payload=_payload(members["payload"], pointer) if "payload" in members else None,
        partly=bytes(members.get(_PARTLY, b"")) == b"true",
    )


def _what_else(members: Members) -> str:
    """Why a message without a pointer into a DynamoDB stream is not taken."""
    if "requestPayload" in members:
        return "it is the record of an asynchronous invocation: it points at no stream"
    other = next((match[1] for name in members if (match := _OTHER_BATCH.fullmatch(name))), None)
    if other is not None:
        return f"it is of another kind of source: {other}"
    if "Records" in members or "dynamodb" in members:
        return "it is an event or a record, and no message: that is a source of its own, jsonl:PATH"
    return "it is none of Lambda's or of a pipe: it has no DDBStreamBatchInfo"


def _pointer(body: _Body) -> Pointer:
    if not _STREAM.fullmatch(body.stream_arn):
        raise _Strange("its streamArn is none of a DynamoDB stream")
    if not _SHARD.fullmatch(body.shard_id):
        raise _Strange("its shardId is none")
    numbers = (body.start_sequence_number, body.end_sequence_number)
    if not all(_NUMBER.fullmatch(each) for each in numbers):
        raise _Strange("its sequence numbers are none")
    first, last = map(int, numbers)
    if last < first:
        raise _Strange(f"its endSequenceNumber {last} is before its startSequenceNumber {first}")
    return Pointer(
        stream_arn=body.stream_arn,
        shard=body.shard_id,
        first=first,
        last=last,
        first_s=_moment(body.approximate_arrival_of_first_record),
        last_s=_moment(body.approximate_arrival_of_last_record),
        records=min(max(0, body.batch_size), LARGEST_BATCH),
    )


def _moment(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        found_s = (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return found_s if 0 <= found_s < _NEVER_S else None  # what is reckoned with it is a time, too


def _payload(raw: msgspec.Raw, pointer: Pointer) -> tuple[Payload, ...]:
    """The records of an event, which is an object, or its text. Each is of what the message points at."""
    escaped = _text(raw)
    event = msgspec.json.decode(raw if escaped is None else escaped.encode(), type=_Event)
    found: dict[int, bytes] = {}
    for each in event.records:
        record = msgspec.json.decode(each, type=_Record)
        number = record.change.number
        if record.event_source not in ("", "aws:dynamodb") or not _NUMBER.fullmatch(number):
            raise _Strange("its payload has what is no record of DynamoDB's")
        if record.stream_arn not in (None, pointer.stream_arn) or not pointer.first <= int(number) <= pointer.last:
            raise _Strange("its payload has records of something else than what it points at")
        found[int(number)] = _one_line(each, int(number), pointer)
    if not found:
        raise _Strange("its payload has no records")
    return tuple(Payload(place, found[place]) for place in sorted(found))


def _one_line(raw: msgspec.Raw, number: int, pointer: Pointer) -> bytes:
    """The record as one line, since files of records are of lines. One that cannot be delivered is told now."""
    line = bytes(raw)
    if b"\n" in line or b"\r" in line:
        line = msgspec.json.format(line, indent=-1)  # strings hold no line breaks in JSON: only white space goes
    try:
        record = read_record(line, shard=pointer.shard, place=number, stream_arn=pointer.stream_arn, fidelity="exact")
        images(record)
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise _Strange(f"its payload has what is no record of DynamoDB's: {error}") from None
    if record.event_name not in get_args(EventName) or not 0 <= record.created_s < _NEVER_S:
        raise _Strange("its payload has what is no record of DynamoDB's: its eventName or its time is none")
    return line


def message_of(failure: Failure) -> bytes:
    """The failure as Lambda writes it to S3: with its payload, as an object."""
    pointer = failure.pointer
    body: dict[str, Any] = {
        "shardId": pointer.shard,
        "startSequenceNumber": str(pointer.first),
        "endSequenceNumber": str(pointer.last),
        "approximateArrivalOfFirstRecord": iso_or_none(pointer.first_s),
        "approximateArrivalOfLastRecord": iso_or_none(pointer.last_s),
        "batchSize": pointer.records,
        "streamArn": pointer.stream_arn,
    }
    context: dict[str, Any] = {"condition": failure.condition}
    if failure.function is not None:
        context["functionArn"] = failure.function
    message: dict[str, Any] = {
        "requestContext" if failure.kind == "mapping" else "context": context,
        "version": "1.0",
        "timestamp": iso_or_none(failure.failed_s),
        "DDBStreamBatchInfo": body,
    }
    if failure.payload is not None:
        message["payload"] = {"Records": [msgspec.Raw(each.raw) for each in failure.payload]}
    if failure.partly:
        message[_PARTLY] = True
    return msgspec.json.encode(message)
