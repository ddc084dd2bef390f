"""What `restrike demo` plays with: a shop's table of orders, and a consumer with a bug on its stream.

DynamoDB Local has one shard, so its stream is one line: a *fence* (a write of our own, which the shop does not
know) is read after all that was written before it. That is how nothing at all can be measured without guessing
how long to wait for it.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from types import TracebackType
from typing import Any, Self

import msgspec

from restrike.aws import streams
from restrike.aws.settings import AwsSettings
from restrike.aws.wire import Wire
from restrike.errors import RestrikeError

TABLE = "orders"
INDEX = "by_created_ymd"
DAYS = tuple((date(2021, 1, 15) + timedelta(days=number)).isoformat() for number in range(10))
LOST_DAY = "2021-01-22"
ORDERS_A_DAY = 200
CUSTOMERS = 150

MAX_BATCH_PUTS = 25  # the limit of BatchWriteItem
READ_TIMEOUT_S = 20.0
FENCE = "~fence"

Item = dict[str, dict[str, Any]]
"""An item or an image as DynamoDB's JSON has it."""


def settings(endpoint_url: str) -> AwsSettings:
    return AwsSettings(region="us-east-1", endpoint_url=endpoint_url)


@contextmanager
def nobodys_environment() -> Iterator[None]:
    """While the block runs, this process has no AWS settings of its user: no profile, file, key, endpoint or proxy."""
    before = dict(os.environ)
    for name in before:
        if name.startswith("AWS_"):
            del os.environ[name]
    os.environ.update(
        AWS_ACCESS_KEY_ID="local",
        AWS_SECRET_ACCESS_KEY="local",  # noqa: S106 - DynamoDB Local takes any
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        NO_PROXY="127.0.0.1",
        no_proxy="127.0.0.1",
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


# ────────────────────────────────────────────────────────────────────────────────────────────────────── the shop


def orders() -> list[Item]:
    """Every order of the ten days, the same each time; totals are whole dollars."""
    return [
        {
            "customer_id": {"S": f"customer-{number * 7 % CUSTOMERS:03}"},
            "order_id": {"S": f"{day}-{number:03}"},
            "created_ymd": {"S": day},
            "total": {"N": str(20 + number * 37 % 160)},
            "status": {"S": "PAID"},
        }
        for day in DAYS
        for number in range(ORDERS_A_DAY)
    ]


def usd(items: Iterable[Item]) -> int:
    """What those orders come to."""
    return sum(int(order["total"]["N"]) for order in items)


class Shop:
    """The table `orders`, over a connection to a DynamoDB Local that has none yet."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._fences = 0

    async def open(self) -> str:
        """Creates the table; returns the ARN of its stream."""
        attributes = ("customer_id", "order_id", "created_ymd")
        answer = await self._call(
            "CreateTable",
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in attributes],
            KeySchema=_key_schema("customer_id", "order_id"),
            GlobalSecondaryIndexes=[
                {
                    "IndexName": INDEX,
                    "KeySchema": _key_schema("created_ymd"),
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        return str(answer["TableDescription"]["LatestStreamArn"])

    async def load(self, items: list[Item]) -> None:
        await asyncio.gather(
            *(
                self._call(
                    "BatchWriteItem",
                    RequestItems={TABLE: [{"PutRequest": {"Item": item}} for item in items[at : at + MAX_BATCH_PUTS]]},
                )
                for at in range(0, len(items), MAX_BATCH_PUTS)
            )
        )

    async def orders_of(self, day: str) -> list[Item]:
        """The day's orders as GetItem answers them; the index, which holds only keys, says which they are."""
        page = await self._call(
            "Query",
            TableName=TABLE,
            IndexName=INDEX,
            KeyConditionExpression="created_ymd = :day",
            ExpressionAttributeValues={":day": {"S": day}},
        )
        keys = [{name: item[name] for name in ("customer_id", "order_id")} for item in page["Items"]]
        answers = await asyncio.gather(
            *(self._call("GetItem", TableName=TABLE, Key=key, ConsistentRead=True) for key in keys)
        )
        return [answer["Item"] for answer in answers]

    async def put(self, items: Iterable[Item]) -> int:
        """Puts each item by a PutItem of its own; returns how many answered."""
        return len(await asyncio.gather(*(self._call("PutItem", TableName=TABLE, Item=item) for item in items)))

    async def fence(self) -> str:
        """Writes a record of its own to the stream, behind all that was written so far; returns its name."""
        self._fences += 1
        name = str(self._fences)
        await self.put([{"customer_id": {"S": FENCE}, "order_id": {"S": name}}])
        return name

    async def _call(self, operation: str, **request: Any) -> Any:
        return msgspec.json.decode(await self._wire.call(operation, msgspec.json.encode(request)))


def _key_schema(partition_key: str, *sort_key: str) -> list[dict[str, str]]:
    keys = [{"AttributeName": partition_key, "KeyType": "HASH"}]
    return keys + [{"AttributeName": name, "KeyType": "RANGE"} for name in sort_key]


# ────────────────────────────────────────────────────────────────────────────────────────────────── its consumer


class Books:
    """The consumer: it books the total of each order that it is told of, but for those of `drop_day`, its bug."""

    def __init__(self, drop_day: str | None) -> None:
        self.drop_day = drop_day
        self._totals: dict[str, int] = {}

    def book(self, order: Item) -> None:
        if order["created_ymd"]["S"] != self.drop_day:
            self._totals[order["order_id"]["S"]] = usd([order])

    @property
    def entries(self) -> int:
        return len(self._totals)

    def hold(self, order: Item) -> bool:
        """Whether the order is booked, with its total."""
        return self._totals.get(order["order_id"]["S"]) == usd([order])


class Change(msgspec.Struct, rename="pascal"):
    """What a record of this table tells; nothing is ever deleted, so there is always a new image."""

    sequence_number: str
    new_image: Item


class Record(msgspec.Struct):
    change: Change = msgspec.field(name="dynamodb")


class Reader:
    """Reads the stream from its oldest record on, for as long as the block runs, counts it and hands it to the books.

    Fences are neither counted nor handed on.
    """

    def __init__(self, wire: Wire, stream_arn: str, books: Books) -> None:
        self.records = 0
        self._books = books
        self._fences: defaultdict[str, asyncio.Future[None]] = defaultdict(asyncio.Future)
        self._follower = streams.Follower(
            wire,
            stream_arn,
            streams.records_decoder(Record),
            self._on_page,
            fallback=streams.Start(),
            on_trimmed=_cannot_be_trimmed,
        )

    async def __aenter__(self) -> Self:
        await self._follower.prepare({}, otherwise=streams.Start())
        self._reading = asyncio.create_task(self._follower.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await streams.ended(self._reading)

    async def read_to(self, fence: str) -> None:
        """Returns when that fence, and so all that was written before it, is read."""
        passed = self._fences[fence]
        await asyncio.wait({passed, self._reading}, timeout=READ_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        if self._reading.done():
            self._reading.result()
        if not passed.done():
            raise RestrikeError(
                f"the demo's consumer did not come to the end of the stream within {READ_TIMEOUT_S:.0f} seconds",
                "Is this machine very busy? Try again.",
            )

    def _on_page(self, _: str, records: list[Record]) -> str:
        for record in records:
            image = record.change.new_image
            if image["customer_id"]["S"] == FENCE:
                self._fences[image["order_id"]["S"]].set_result(None)
            else:
                self.records += 1
                self._books.book(image)
        return records[-1].change.sequence_number


def _cannot_be_trimmed(shard_id: str) -> None:
    raise RestrikeError(f"a stream of a minute ago has forgotten records of {shard_id}")
