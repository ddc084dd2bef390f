"""DynamoDB's calls: what is asked once through botocore, what is asked per page or batch through the wire."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from restrike.aws.refusals import as_of_a_statement, not_of
from restrike.aws.session import Aws, answered_at, ask
from restrike.aws.wire import Wire, retry_delay_s
from restrike.errors import AwsError, NotFound, ServiceFault, Throttled, UsageError
from restrike.model.table import TableInfo, table_info

T = TypeVar("T")
NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}|arn:[^\s/]+:table/[A-Za-z0-9_.-]{3,255}")
"""Of a table, as CreateTable takes it; or its ARN."""
TARGET = "DynamoDB_20120810"
KEYS_A_CALL = 100  # the limit of BatchGetItem
UNANSWERED_ROUNDS = 30  # of UnprocessedKeys without a single item


def connect(aws: Aws, *, connections: int, patience_s: float = math.inf) -> Wire:
    return Wire(aws, "dynamodb", TARGET, connections=connections, patience_s=patience_s)


def check_name(name: str) -> None:
    """UsageError for what is no name of a table, and no ARN of one."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name of a table",
            "A name has 3 to 255 of a-z, A-Z, 0-9, '_', '-' and '.'; the table's ARN will do, too.",
        )


def describe_table(aws: Aws, name: str) -> tuple[TableInfo, datetime]:
    """The table, and the service's own time at the answer (UTC): stream records are stamped by that clock."""
    check_name(name)
    try:
        answer = ask(aws.client("dynamodb"), "DescribeTable", TableName=name)
    except NotFound:
        raise NotFound(
            f"there is no table {name} in {aws.region} at {aws.endpoint('dynamodb')}",
            "Check the name, --region, --profile and --endpoint-url.",
            code="ResourceNotFoundException",
            operation="DescribeTable",
        ) from None
    try:
        return table_info(answer["Table"]), answered_at(answer) or datetime.now(UTC)
    except (KeyError, TypeError, AttributeError):
        raise not_of("DynamoDB", "DescribeTable", aws.endpoint("dynamodb")) from None


def time_to_live_attribute(aws: Aws, table: str) -> str | None:
    """The attribute that the table's items expire by, or None."""
    answer = ask(aws.client("dynamodb"), "DescribeTimeToLive", TableName=table)
    description = answer.get("TimeToLiveDescription", {})
    if description.get("TimeToLiveStatus") not in ("ENABLED", "ENABLING"):
        return None
    name = description.get("AttributeName")
    return str(name) if name else None


def kinesis_destinations(aws: Aws, table: str) -> list[tuple[str, str]]:
    """The Kinesis data streams that get the table's changes: (ARN, DestinationStatus)."""
    answer = ask(aws.client("dynamodb"), "DescribeKinesisStreamingDestination", TableName=table)
    listed = answer.get("KinesisDataStreamDestinations") or []
    return [(str(each.get("StreamArn", "?")), str(each.get("DestinationStatus", "unknown"))) for each in listed]


class ConsumedCapacity(msgspec.Struct, rename="pascal"):
    capacity_units: float = 0.0


class StatementError(msgspec.Struct, rename="pascal"):
    """Why one statement of a batch failed. `item` as it was, where the statement asked for it; not even then is it
    certain to be there."""

    code: str = ""
    message: str = ""
    item: dict[str, dict[str, Any]] | None = None


class StatementAnswer(msgspec.Struct, rename="pascal"):
    """What one write answered; `item` holds the old values that it asked to be returned."""

    error: StatementError | None = None
    item: dict[str, dict[str, Any]] | None = None


class _BatchAnswer(msgspec.Struct, rename="pascal"):
    responses: list[StatementAnswer]
    consumed_capacity: list[ConsumedCapacity] | None = None


class _UpdateAnswer(msgspec.Struct, rename="pascal"):
    attributes: dict[str, dict[str, Any]] | None = None
    consumed_capacity: ConsumedCapacity | None = None


_batch_answer = msgspec.json.Decoder(_BatchAnswer)
_update_answer = msgspec.json.Decoder(_UpdateAnswer)


async def batch_execute(wire: Wire, statements: Iterable[bytes]) -> tuple[list[StatementAnswer], float | None]:
    """One attempt of one BatchExecuteStatement (at most 25 statements, each item once).

    Answers in the order of the statements, and the capacity units where the service tells them.
    """
    body = b'{"ReturnConsumedCapacity":"TOTAL","Statements":[' + b",".join(statements) + b"]}"
    answer = decode(_batch_answer, await wire.call_once("BatchExecuteStatement", body), "BatchExecuteStatement")
    consumed = answer.consumed_capacity
    return answer.responses, sum(each.capacity_units for each in consumed) if consumed else None


async def update_item(wire: Wire, body: bytes) -> tuple[StatementAnswer, float | None]:
    """One attempt of one UpdateItem, answered as a statement of a batch would be."""
    try:
        answer = decode(_update_answer, await wire.call_once("UpdateItem", body), "UpdateItem")
    except AwsError as error:
        code = as_of_a_statement(error.code)
        if code is None:
            raise
        return StatementAnswer(error=StatementError(code, error.message, error.item or None)), None
    consumed = answer.consumed_capacity
    return StatementAnswer(item=answer.attributes), consumed.capacity_units if consumed else None


class _GetAnswer(msgspec.Struct, rename="pascal"):
    responses: dict[str, list[msgspec.Raw]] = {}
    unprocessed_keys: dict[str, msgspec.Raw] = {}


_get_answer = msgspec.json.Decoder(_GetAnswer)


async def batch_get(
    wire: Wire, table: str, keys: Sequence[bytes], *, attributes: Sequence[str] = ()
) -> list[msgspec.Raw]:
    """The items of those keys (raw JSON) as they are now, by a consistent read; absent ones are left out.

    Whole items, or with `attributes` just those. They come in no order, and keep the answer's buffer alive. Asks for
    100 keys a call. 16 MB fill an answer, and under load some keys wait for another round: Throttled where 30 rounds in
    a row answered nothing.
    """
    found: list[msgspec.Raw] = []
    names = {f"#n{number}": name for number, name in enumerate(attributes)}
    projection = {"ProjectionExpression": ",".join(names), "ExpressionAttributeNames": names} if names else {}
    for first in range(0, len(keys), KEYS_A_CALL):
        some = [msgspec.Raw(key) for key in keys[first : first + KEYS_A_CALL]]
        pending: dict[str, Any] = {table: {"Keys": some, "ConsistentRead": True} | projection}
        without = 0
        while pending:
            body = await wire.call("BatchGetItem", msgspec.json.encode({"RequestItems": pending}))
            answer = decode(_get_answer, body, "BatchGetItem")
            items = [item for of_table in answer.responses.values() for item in of_table]
            found += items
            pending = dict(answer.unprocessed_keys)
            without = 0 if items else without + 1
            if pending and without == UNANSWERED_ROUNDS:
                raise Throttled(
                    f"BatchGetItem: table {table} does not answer for some of {len(keys):,} keys",
                    "Its read capacity is used up. Try again later.",
                    operation="BatchGetItem",
                )
            if pending and without:
                await asyncio.sleep(retry_delay_s(without))
    return found


class Unreadable(ServiceFault):
    """An answer that is not what the service says; asked again, it may well be."""


def decode(decoder: msgspec.json.Decoder[T], answer: bytes, operation: str) -> T:
    """The answer as its type; a body that is no such JSON is an unreadable answer, not a crash."""
    try:
        return decoder.decode(answer)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unreadable(
            f"{operation}: unreadable answer: {error}", "Is there a proxy between?", operation=operation
        ) from None


def quoted(name: str) -> str:
    """A table or attribute name as PartiQL wants it: in double quotes, quotes doubled."""
    return '"' + name.replace('"', '""') + '"'


class ItemPage(msgspec.Struct):
    """One page of a Query or Scan. `items` are structs with `partition`, `sort`, `value` and the index's keys."""

    items: list[Any]
    last_key: bytes | None
    capacity_units: float


_ABSENT = "\ue000absent"  # a name that no attribute has: a character of Unicode's private use


def attributes_type(fields: Mapping[str, str | None], kind: Any) -> tuple[type[Any], Callable[[Any], Any]]:
    """A type that reads only the given attributes of an item or image: field → attribute name (None: never there).

    Returns the type to decode to, and a function from what was decoded to an object with the fields, each None
    where the attribute is absent; what is not named is skipped without being parsed.
    """
    # The default is not checked against the type, and msgspec takes no Raw in a union.
    members = [(field, kind, None) for field in fields]
    rename = {field: name if name is not None else f"{_ABSENT} {field}" for field, name in fields.items()}
    names = set(rename.values())
    # msgspec matches names as they are written in JSON, so that one which has to be escaped cannot be a field.
    if all(min(name) >= " " and not {'"', "\\"} & set(name) for name in names):
        return msgspec.defstruct("Attributes", members, rename=rename, gc=False), lambda decoded: decoded
    plain = msgspec.defstruct("Attributes", members, gc=False)

    def pick(decoded: dict[str, Any]) -> Any:
        values = {field: decoded.get(name) for field, name in rename.items()}
        return plain(
            **{field: None if raw is None else msgspec.json.decode(raw, type=kind) for field, raw in values.items()}
        )

    return dict[str, msgspec.Raw], pick


def page_decoder(fields: Mapping[str, str | None]) -> Callable[[bytes, str], ItemPage]:
    """A decoder for pages that reads only the given attributes of each item: field → attribute name.

    Each becomes raw JSON bytes (msgspec.Raw), or None where the item lacks the attribute; the rest of an item
    is skipped without being parsed. The raw bytes keep the page's buffer alive.
    """
    item, pick = attributes_type(fields, msgspec.Raw)
    answer = msgspec.defstruct(
        "Answer",
        [
            ("items", list[item], msgspec.field(default_factory=list)),  # type: ignore[valid-type]  # made here
            ("last_key", msgspec.Raw, None),
            ("consumed", ConsumedCapacity | None, None),
        ],
        rename={"items": "Items", "last_key": "LastEvaluatedKey", "consumed": "ConsumedCapacity"},
    )
    decoder = msgspec.json.Decoder(answer)
    picked = item != dict[str, msgspec.Raw]

    def read(body: bytes, operation: str) -> ItemPage:
        page: Any = decode(decoder, body, operation)
        return ItemPage(
            items=page.items if picked else [pick(each) for each in page.items],
            last_key=bytes(page.last_key) if page.last_key is not None else None,
            capacity_units=page.consumed.capacity_units if page.consumed else 0.0,
        )

    return read
