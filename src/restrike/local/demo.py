"""What `restrike demo` plays with: a shop's table of orders, and a consumer with a bug on its stream.

DynamoDB Local has one shard, so its stream is one line: a *fence* (a write of our own, which the shop does not
know) is read after all that was written before it. That is how nothing at all can be measured without guessing
how long to wait for it.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from restrike.aws import dynamodb
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.aws.wire import Wire
from restrike.errors import AwsError, RestrikeError
from restrike.local import bookkeeper

TABLE = "orders"
INDEX = "by_created_ymd"
DAYS = tuple((date(2021, 1, 15) + timedelta(days=number)).isoformat() for number in range(10))
LOST_DAY = "2021-01-22"
ORDERS_A_DAY = 200
CUSTOMERS = 150

MAX_BATCH_PUTS = 25  # the limit of BatchWriteItem
READ_TIMEOUT_S = 120.0
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


async def open_shop(endpoint_url: str) -> bool:
    """Makes the table with all of its orders on a DynamoDB Local; False where there is one of that name already."""
    async with dynamodb.connect(Aws(settings(endpoint_url)), connections=8) as wire:
        shop = Shop(wire)
        try:
            await shop.open()
        except AwsError as error:
            if error.code == "ResourceInUseException":
                return False
            raise
        await shop.load(orders())
    return True


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

    @property
    def fences(self) -> int:
        """How many of them there are."""
        return self._fences

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
    """What the consumer has booked, in a folder that it shares with the handler; `drop_day` is its bug."""

    def __init__(self, folder: Path, drop_day: str | None) -> None:
        self.folder = folder
        self.drop(drop_day)
        self._totals: dict[str, int] = {}

    def drop(self, day: str | None) -> None:
        """From now on orders of that day are not booked; None: the bug is mended."""
        bug = self.folder / bookkeeper.BUG
        if day is None:
            bug.unlink(missing_ok=True)
        else:
            bug.write_text(day, encoding="utf-8")

    def differences(self) -> int:
        """What the consumer of differences has booked since it was last asked."""
        path = self.folder / bookkeeper.DIFFERENCES
        booked = sum(map(int, path.read_text(encoding="utf-8").split())) if path.exists() else 0
        path.unlink(missing_ok=True)
        return booked

    def book(self, order_id: str, total: int | None) -> None:
        if total is not None:
            self._totals[order_id] = total

    @property
    def entries(self) -> int:
        return len(self._totals)

    def hold(self, order: Item) -> bool:
        """Whether the order is booked, with its total."""
        return self._totals.get(order["order_id"]["S"]) == usd([order])


class Line(msgspec.Struct):
    """What the handler writes of a record."""

    customer_id: str
    order_id: str
    usd: int | None


class Consumer:
    """Watches the books that the consumer writes, for as long as the block runs, and counts what it was told.

    Fences are not counted. `consumer` is what delivers to it; where that ends, nothing more can come.
    """

    def __init__(self, books: Books, consumer: Callable[[], object]) -> None:
        self.records = 0
        self._books = books
        self._consumer = consumer
        self._fences: set[str] = set()
        self._failure: RestrikeError | None = None
        self._read_bytes = 0

    async def __aenter__(self) -> Self:
        # Not a thread that the process waits for: Ctrl-C ends the demo, whatever its consumer is doing.
        self._delivering = threading.Thread(target=self._deliver, daemon=True)
        self._delivering.start()
        return self

    def _deliver(self) -> None:
        try:
            self._consumer()
        except RestrikeError as error:
            self._failure = error

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def read_to(self, fence: str) -> None:
        """Returns when that fence, and so all that was written before it, is booked."""
        deadline = time.monotonic() + READ_TIMEOUT_S
        while fence not in self._fences:
            if self._failure is not None:
                raise self._failure
            if time.monotonic() > deadline:
                raise RestrikeError(
                    f"the demo's consumer did not come to the end of the stream within {READ_TIMEOUT_S:.0f} seconds",
                    "Is this machine very busy? Try again.",
                )
            await asyncio.sleep(0.05)
            self._read_on()

    async def until_gone(self) -> None:
        """Returns when the consumer has ended."""
        await asyncio.to_thread(self._delivering.join, READ_TIMEOUT_S)

    def _read_on(self) -> None:
        path = self._books.folder / bookkeeper.LINES
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._read_bytes)
            lines = file.read().split(b"\n")
        # What stands behind the last line's end is still being written.
        for text in lines[:-1]:
            self._read_bytes += len(text) + 1
            line = msgspec.json.decode(text, type=Line)
            if line.customer_id == FENCE:
                self._fences.add(line.order_id)
            else:
                self.records += 1
                self._books.book(line.order_id, line.usd)
