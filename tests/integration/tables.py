"""Tables on a real DynamoDB Local, and what their streams say: the ground that integration tests stand on."""

from __future__ import annotations

import base64
import functools
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import boto3

import restrike
from restrike.model.report import TouchReport
from restrike.model.table import KeyType

Value = str | int | Decimal | bytes
Item = Mapping[str, Value]
Attribute = tuple[str, KeyType]
"""A key attribute: name and type."""

REGION = "us-east-1"


@functools.cache
def client(service: Literal["dynamodb", "dynamodbstreams"], endpoint_url: str) -> Any:
    """A boto3 client of that engine, made once in each test process."""
    return boto3.client(
        service,
        REGION,
        endpoint_url=endpoint_url,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )


def streams(endpoint_url: str) -> list[dict[str, Any]]:
    """All that the engine has ever had, as ListStreams tells them."""
    found: list[dict[str, Any]] = []
    more: dict[str, Any] = {}
    while True:
        page = client("dynamodbstreams", endpoint_url).list_streams(**more)
        found += page["Streams"]
        if "LastEvaluatedStreamArn" not in page:
            return found
        more = {"ExclusiveStartStreamArn": page["LastEvaluatedStreamArn"]}


def until(condition: Callable[[], object], what: str, timeout_s: float = 600.0) -> None:
    """Waits for a condition; fails, naming it, where it does not come."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s"
        time.sleep(0.02)


def typed(value: Value) -> dict[str, Any]:
    """A Python value as boto3's DynamoDB JSON."""
    if isinstance(value, bytes):
        return {"B": value}
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


def plain(value: Mapping[str, Any]) -> Value:
    """The Python value of boto3's DynamoDB JSON: numbers as Decimal, anything but S, N and B as it is."""
    ((kind, content),) = value.items()
    found: Value = Decimal(content) if kind == "N" else content
    return found


class Index(NamedTuple):
    """A secondary index to create; without a partition key of its own it is a local one."""

    name: str
    partition: Attribute | None
    sort: Attribute | None = None
    projection: str = "KEYS_ONLY"
    included: tuple[str, ...] = ()


class Table:
    """A table with a stream, under a name of its own. `names` are its key attributes, in the order of the schema."""

    def __init__(self, endpoint_url: str, name: str, names: tuple[str, ...]) -> None:
        self.endpoint_url = endpoint_url
        self.name = name
        self.names = names
        self.dynamodb = client("dynamodb", endpoint_url)
        self._streams = client("dynamodbstreams", endpoint_url)

    @property
    def stream_arn(self) -> str:
        arn: str = self.dynamodb.describe_table(TableName=self.name)["Table"]["LatestStreamArn"]
        return arn

    def load(self, items: Iterable[Item]) -> None:
        requests = [{"PutRequest": {"Item": {name: typed(value) for name, value in item.items()}}} for item in items]
        for start in range(0, len(requests), 25):
            answer = self.dynamodb.batch_write_item(RequestItems={self.name: requests[start : start + 25]})
            assert not answer["UnprocessedItems"]

    def records(self) -> list[dict[str, Any]]:
        """The whole stream: every shard from its beginning, up to an empty page."""
        arn = self.stream_arn
        shards = self._streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        return [record for shard in shards for record in self._shard(arn, shard["ShardId"])]

    def _shard(self, arn: str, shard_id: str) -> Iterator[dict[str, Any]]:
        iterator = self._streams.get_shard_iterator(StreamArn=arn, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON")[
            "ShardIterator"
        ]
        while iterator:
            page = self._streams.get_records(ShardIterator=iterator)
            if not page["Records"]:
                return
            yield from page["Records"]
            iterator = page.get("NextShardIterator")

    def key_of(self, keys: Mapping[str, Any]) -> Any:
        """A key as one plain value, or a pair where the table has a sort key."""
        values = tuple(plain(keys[name]) for name in self.names)
        return values if len(values) > 1 else values[0]

    def fired(self, run: str, marker: str = "restrike") -> Counter[Any]:
        """How many records of that run stand on the stream, for each item."""
        found: Counter[Any] = Counter()
        for record in self.records():
            change = record["dynamodb"]
            if change.get("NewImage", {}).get(marker) == {"S": run}:
                found[self.key_of(change["Keys"])] += 1
        return found


def create(
    endpoint_url: str,
    partition: Attribute,
    sort: Attribute | None = None,
    *,
    indexes: Iterable[Index] = (),
    view_type: str | None = "NEW_AND_OLD_IMAGES",
    wcu: int | None = None,
    items: Iterable[Item] = (),
) -> Table:
    """A table of its own for whoever asks: on demand unless `wcu` is given, no stream where `view_type` is None."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    attributes = dict([partition] if sort is None else [partition, sort])
    throughput: dict[str, Any] = {}
    if wcu is not None:
        throughput = {"ProvisionedThroughput": {"ReadCapacityUnits": wcu, "WriteCapacityUnits": wcu}}
    members: dict[str, list[dict[str, Any]]] = {}
    for index in indexes:
        attributes |= dict(each for each in (index.partition, index.sort) if each is not None)
        projection: dict[str, Any] = {"ProjectionType": index.projection}
        if index.included:
            projection["NonKeyAttributes"] = list(index.included)
        local = index.partition is None
        members.setdefault("LocalSecondaryIndexes" if local else "GlobalSecondaryIndexes", []).append(
            {
                "IndexName": index.name,
                "KeySchema": _schema(index.partition or partition, index.sort),
                "Projection": projection,
            }
            | ({} if local else throughput)
        )
    client("dynamodb", endpoint_url).create_table(
        TableName=name,
        KeySchema=_schema(partition, sort),
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in attributes.items()],
        **(throughput or {"BillingMode": "PAY_PER_REQUEST"}),
        **({"StreamSpecification": {"StreamEnabled": True, "StreamViewType": view_type}} if view_type else {}),
        **members,
    )
    table = Table(endpoint_url, name, (partition[0],) if sort is None else (partition[0], sort[0]))
    table.load(items)
    return table


def switch_stream(table: Table, view_type: str | None) -> None:
    """Switches the table's stream on, or off with None."""
    specification: dict[str, Any] = {"StreamEnabled": view_type is not None}
    if view_type is not None:
        specification["StreamViewType"] = view_type
    table.dynamodb.update_table(TableName=table.name, StreamSpecification=specification)
    until(
        lambda: table.dynamodb.describe_table(TableName=table.name)["Table"]["TableStatus"] == "ACTIVE",
        "the table becomes active",
    )


def _schema(partition: Attribute, sort: Attribute | None) -> list[dict[str, str]]:
    schema = [{"AttributeName": partition[0], "KeyType": "HASH"}]
    return schema if sort is None else [*schema, {"AttributeName": sort[0], "KeyType": "RANGE"}]


def run_name() -> str:
    return f"run-{uuid.uuid4().hex[:12]}"


def touch(table: Table, *, run: str | None = None, **selection: Any) -> TouchReport:
    """A touch through the Python API, to its end."""
    plan = restrike.touch(table.name, run=run or run_name(), endpoint_url=table.endpoint_url, **selection)
    return plan.execute()


def touched(table: Table, *, verify: bool = False, **selection: Any) -> list[Any]:
    """The items that a touch fired by the stream's own account, in order; each once, and the report agrees.

    The test reads the stream itself, so that Restrike's own proof is needed only where it is what is tested.
    """
    report = touch(table, verify=verify, **selection)
    fired = table.fired(report.run, selection.get("marker", "restrike"))
    assert set(fired.values()) <= {1}, f"fired more than once: {fired}"
    assert report.state == "COMPLETED"
    assert report.exit_code == 0
    assert report.selected == report.fired == len(fired)
    assert report.seen == (len(fired) if verify else None)
    return sorted(fired)


def numbers(keys: list[Any]) -> list[int]:
    """The sort keys of (partition key, number) pairs, in order."""
    return sorted(int(sort) for _, sort in keys)


def base64_text(value: bytes) -> str:
    return base64.b64encode(value).decode()
