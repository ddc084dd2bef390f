"""The probe's own table in one Region: made, written to, removed. Nothing else in the account is written to."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import Any

import botocore.config
import botocore.exceptions

from restrike.aws.session import Aws, answered_at
from restrike.errors import RestrikeError
from tests.aws.statements import Statement, text
from tests.aws.stream import Reader, Record

PREFIX = "restrike-probe-"
TAG = "restrike-probe"
"""Its value is the table's own name."""
MAKING_S = 300.0
APPEARING_S = 10.0
REMOVING_S = 300.0
REPLICATING_S = 1_800.0
LONGEST_PAUSE_S = 2.0
LARGEST_ITEM_BYTES = 400 * 1024
NOT_SENT = (
    botocore.exceptions.ConnectTimeoutError,
    botocore.exceptions.EndpointConnectionError,
    botocore.exceptions.ProxyConnectionError,
)
"""No connection came about: the service has not seen the request."""


class Took(RestrikeError):
    """Something did not come about in time."""

    exit_code = 3


def new_name() -> str:
    return PREFIX + uuid.uuid4().hex[:8]


class Table:
    """The table as the claims see it. `made` is False only where it is known that it was not made."""

    def __init__(self, aws: Aws, name: str) -> None:
        self.aws = aws
        self.name = name
        self.region = aws.region
        self.made = False
        self._seen = False
        self._keys = 0

    def _client(self, service: str) -> Any:
        endpoint_url = self.aws.configured_endpoint(service)
        config = botocore.config.Config(
            account_id_endpoint_mode="disabled",
            connect_timeout=10,
            read_timeout=30,
            # A stand-in that fails does so each time.
            retries={"mode": "standard", "total_max_attempts": 4 if endpoint_url is None else 1},
            user_agent_extra="restrike-probe",
        )
        return self.aws.session.create_client(
            service, region_name=self.region, endpoint_url=endpoint_url, config=config
        )

    @cached_property
    def dynamodb(self) -> Any:
        return self._client("dynamodb")

    @cached_property
    def streams(self) -> Any:
        return self._client("dynamodbstreams")

    # ── making and removing ──────────────────────────────────────────────────────────────────────────────

    def make(self) -> None:
        """On demand, with a stream of both images, tagged with its own name; waits until it can be used.

        Its two indexes hold the items that have the attribute `all`, or `keys`.
        """
        lost = False

        def note_try(response: Any = None, caught_exception: Exception | None = None, **_: Any) -> None:
            """botocore's event `needs-retry`: whether that try may have made it."""
            nonlocal lost
            refused = response is not None and 400 <= response[0].status_code < 500
            lost = lost or not (refused or isinstance(caught_exception, NOT_SENT))

        self.dynamodb.meta.events.register("needs-retry.dynamodb.CreateTable", note_try)
        self.made = True  # where it is stopped meanwhile
        try:
            self.dynamodb.create_table(
                TableName=self.name,
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "all", "keys")],
                GlobalSecondaryIndexes=[_index("all", "ALL"), _index("keys", "KEYS_ONLY")],
                BillingMode="PAY_PER_REQUEST",
                StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
                Tags=[{"Key": TAG, "Value": self.name}],
            )
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
            self.made = lost
            raise
        self.await_active(MAKING_S)

    def await_active(self, timeout_s: float) -> None:
        awaited(lambda: (self.describe() or {}).get("TableStatus") == "ACTIVE", f"{self.name} is active", timeout_s)

    def describe(self) -> dict[str, Any] | None:
        """The table as it is described, afresh; None where there is none."""
        try:
            table: dict[str, Any] = self.dynamodb.describe_table(TableName=self.name)["Table"]
        except self.dynamodb.exceptions.ResourceNotFoundException:
            return None
        self._seen = True
        return table

    def replicate(self, other: Table) -> None:
        """Makes it a global table with a replica in the other's Region, and waits until that can be used."""
        self.dynamodb.update_table(TableName=self.name, ReplicaUpdates=[{"Create": {"RegionName": other.region}}])
        awaited(lambda: self._replicas().get(other.region) == "ACTIVE", f"the replica in {other.region}", REPLICATING_S)
        other.await_active(MAKING_S)
        tags = [{"Key": TAG, "Value": self.name}]
        other.dynamodb.tag_resource(ResourceArn=other.description["TableArn"], Tags=tags)

    def _replicas(self) -> dict[str, str]:
        """Region → status of the others."""
        replicas = (self.describe() or {}).get("Replicas", [])
        return {each["RegionName"]: each["ReplicaStatus"] for each in replicas if each["RegionName"] != self.region}

    def remove(self) -> None:
        """Deletes the replicas, then the table, and waits until it is gone.

        In that order: AWS keeps a table that a replica was made from as long as it has replicas, up to 24 hours.
        """
        if not self._seen:
            # Its making was cut short, and for some moments such a table is not told.
            with contextlib.suppress(Took):
                awaited(lambda: self.describe() is not None, f"{self.name} is there", APPEARING_S)
        awaited(self._is_gone, f"{self.name} is deleted", REPLICATING_S if self._replicas() else REMOVING_S)

    def _is_gone(self) -> bool:
        """Does the next thing that has to be done for that."""
        table, replicas = self.describe(), self._replicas()
        if table is None or table["TableStatus"] != "ACTIVE" or "DELETING" in replicas.values():
            return table is None
        try:
            if replicas:
                delete = {"Delete": {"RegionName": next(iter(replicas))}}
                self.dynamodb.update_table(TableName=self.name, ReplicaUpdates=[delete])
            else:
                self.dynamodb.delete_table(TableName=self.name)
        except (self.dynamodb.exceptions.ResourceInUseException, self.dynamodb.exceptions.ResourceNotFoundException):
            pass  # changed since it was described
        return self.describe() is None

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def description(self) -> dict[str, Any]:
        """As it was when it was first asked for."""
        table = self.describe()
        assert table is not None
        return table

    @property
    def is_dynamodb_local(self) -> bool:
        return ":dynamodb:ddblocal:" in str(self.description["TableArn"])

    @property
    def stream_arn(self) -> str:
        return str(self.description["LatestStreamArn"])

    def fresh(self) -> str:
        """A partition key that no other claim has."""
        self._keys += 1
        return f"{self.region}-{self._keys:03d}"

    def item(self, **attributes: dict[str, Any]) -> str:
        """A new item of those attributes; its key."""
        pk = self.fresh()
        self.dynamodb.put_item(TableName=self.name, Item={"pk": text(pk)} | attributes)
        return pk

    def get(self, pk: str, *, attributes: str = "") -> dict[str, Any] | None:
        """The item as it is now, or so much of it; None where there is none."""
        projection = {"ProjectionExpression": attributes} if attributes else {}
        answer = self.dynamodb.get_item(TableName=self.name, Key={"pk": text(pk)}, ConsistentRead=True, **projection)
        item: dict[str, Any] | None = answer.get("Item")
        return item

    def batch(self, *statements: Statement) -> list[dict[str, Any]]:
        """What each statement of one BatchExecuteStatement answered."""
        answer = self.dynamodb.batch_execute_statement(Statements=list(statements))
        responses: list[dict[str, Any]] = answer["Responses"]
        return responses

    def now(self) -> datetime:
        """The service's own time."""
        at = answered_at(self.dynamodb.describe_table(TableName=self.name))
        assert at is not None
        return at

    # ── its stream ───────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def reader(self) -> Reader:
        """Of the whole stream; each claim reads on where the last one stopped."""
        return Reader(self.streams, self.stream_arn)

    def records_of(self, pk: str) -> list[Record]:
        """All that the stream has of that item up to now: a last change is written, and its record awaited."""
        fence = uuid.uuid4().hex
        self.dynamodb.update_item(
            TableName=self.name,
            Key={"pk": text(pk)},
            UpdateExpression="SET fence = :f",
            ExpressionAttributeValues={":f": text(fence)},
        )
        last = self.reader.until(
            lambda record: record.change.get("NewImage", {}).get("fence") == text(fence), "the record of a change"
        )
        records = [record for record in self.reader.records if record.pk == pk]
        return records[: records.index(last)]

    @cached_property
    def life(self) -> list[Record]:
        """The records of an item that was made, changed and deleted."""
        pk = self.item(n={"N": "1"})
        self.dynamodb.put_item(TableName=self.name, Item={"pk": text(pk), "n": {"N": "2"}})
        self.dynamodb.delete_item(TableName=self.name, Key={"pk": text(pk)})
        return self.records_of(pk)

    @cached_property
    def largest(self) -> str:
        """The key of an item as large as one may be."""
        pk = self.fresh()
        used = len("pk") + len(pk) + len("v")
        item = {"pk": text(pk), "v": text("x" * (LARGEST_ITEM_BYTES - used))}
        self.dynamodb.put_item(TableName=self.name, Item=item)
        return pk


def _index(name: str, projection: str) -> dict[str, Any]:
    schema = [{"AttributeName": name, "KeyType": "HASH"}]
    return {"IndexName": name, "KeySchema": schema, "Projection": {"ProjectionType": projection}}


def awaited(condition: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Asks, ever more seldom, until it is so; Took where it is not in time."""
    deadline, pause_s = time.monotonic() + timeout_s, 0.05
    while not condition():
        if time.monotonic() > deadline:
            raise Took(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
