"""What the safety tests share: a table, its stream from the first record on, and the command as a process.

The table `NAME` has the key (pk: S, sk: N), a KEYS_ONLY index `by_day` (day: S, at: N) and a stream with both images.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import botocore.config
import botocore.session
import pytest
import urllib3

from restrike.api import resume
from restrike.aws import wire
from restrike.aws.session import Aws
from restrike.model.report import TouchReport
from restrike.touching import engine
from tests.acceptance import forked

INDEX = "by_day"
DAYS = 16
AWAIT_S = 600.0
"""For what never comes; a busy machine is no reason to give up."""
BEFORE = ""
"""Python that a command runs before it begins; a test may name some."""

_CONNECTIONS = urllib3.PoolManager(maxsize=8, retries=False, timeout=AWAIT_S)
_ANYBODY = "AWS4-HMAC-SHA256 Credential=local/20210101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"

Item = dict[str, dict[str, Any]]


@functools.cache
def _session() -> botocore.session.Session:
    """It reads the descriptions of the services, which takes longer than most tests ask."""
    return botocore.session.Session()


def connect(service: str, url: str) -> Any:
    """A botocore client that tries once: what is under test is restrike's patience, not this one's."""
    config = botocore.config.Config(retries={"total_max_attempts": 1}, max_pool_connections=32)
    return _session().create_client(
        service,
        region_name="us-east-1",
        endpoint_url=url,
        config=config,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )


def answered(url: str, target: str, **parameters: Any) -> dict[str, Any]:
    """What DynamoDB Local answers, as it says it: whole streams go by here, and botocore takes long to understand
    them."""
    headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.0", "Authorization": _ANYBODY}
    answer = _CONNECTIONS.request("POST", url, body=json.dumps(parameters), headers=headers)
    said: dict[str, Any] = json.loads(answer.data)
    return said


def await_true(condition: Callable[[], bool], what: str, every_s: float = 0.01) -> None:
    """Returns when the condition holds; an AssertionError that says what did not come true otherwise."""
    deadline = time.monotonic() + AWAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {AWAIT_S:g} s: {what}")
        time.sleep(every_s)


def key_text(item: Item) -> str:
    """An item's or record's key, as `pk/sk`."""
    return f"{item['pk']['S']}/{item['sk']['N']}"


class Table:
    """A table on the real engine, and every record that its stream has had."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self._url = url
        self.client = connect("dynamodb", url)
        self._streams = connect("dynamodbstreams", url)
        described = self.client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "N"},
                {"AttributeName": "day", "AttributeType": "S"},
                {"AttributeName": "at", "AttributeType": "N"},
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": INDEX,
                    "KeySchema": [
                        {"AttributeName": "day", "KeyType": "HASH"},
                        {"AttributeName": "at", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        self.arn = described["TableDescription"]["TableArn"]
        self.stream_arn = described["TableDescription"]["LatestStreamArn"]
        self.records: list[dict[str, Any]] = []
        self._iterators: dict[str, str | None] = {}

    def close(self) -> None:
        self.client.delete_table(TableName=self.name)
        self.client.close()
        self._streams.close()

    def fill(self, count: int, counter: str | None = "n") -> list[Item]:
        """Puts items under keys that were never used; every third lacks the counter."""
        items: list[Item] = []
        tag = uuid.uuid4().hex[:6]
        for number in range(count):
            item: Item = {
                "pk": {"S": f"customer-{tag}-{number % 97}"},
                "sk": {"N": str(number)},
                "day": {"S": f"2021-01-{number % DAYS + 1:02}"},
                "at": {"N": str(number)},
            }
            if counter is not None and number % 3:
                item[counter] = {"N": str(number)}
            items.append(item)
        for first in range(0, count, 25):
            requests = [{"PutRequest": {"Item": item}} for item in items[first : first + 25]]
            answer = self.client.batch_write_item(RequestItems={self.name: requests})
            assert not answer["UnprocessedItems"]
        return items

    def clear(self) -> None:
        """Removes every item and forgets the records so far: a new table, but for the price of one.

        DynamoDB Local takes longer for each write the more streams it has ever had.
        """
        keys = [{"pk": item["pk"], "sk": item["sk"]} for item in self.scan().values()]
        for first in range(0, len(keys), 25):
            requests = [{"DeleteRequest": {"Key": key}} for key in keys[first : first + 25]]
            assert not self.client.batch_write_item(RequestItems={self.name: requests})["UnprocessedItems"]
        self.read_stream()
        self.records.clear()

    def scan(self) -> dict[str, Item]:
        """Every item of the table as it is now, by `pk/sk`."""
        found: dict[str, Item] = {}
        more: dict[str, Any] = {}
        while True:
            page = answered(self._url, "DynamoDB_20120810.Scan", TableName=self.name, ConsistentRead=True, **more)
            found |= {key_text(item): item for item in page["Items"]}
            if "LastEvaluatedKey" not in page:
                return found
            more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def read_stream(self) -> list[dict[str, Any]]:
        """Reads on to the end of every shard, from TRIM_HORIZON; returns all records since the table was made."""
        described = self._streams.describe_stream(StreamArn=self.stream_arn)["StreamDescription"]
        for shard in described["Shards"]:
            if shard["ShardId"] not in self._iterators:
                self._iterators[shard["ShardId"]] = self._streams.get_shard_iterator(
                    StreamArn=self.stream_arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
                )["ShardIterator"]
        for shard_id, iterator in self._iterators.items():
            while iterator is not None:
                page = self._page(shard_id, iterator)
                iterator = self._iterators[shard_id] = page.get("NextShardIterator")
                self.records += [{"eventName": each["eventName"], **each["dynamodb"]} for each in page["Records"]]
                if not page["Records"]:
                    break
        return self.records

    def _page(self, shard_id: str, iterator: str) -> dict[str, Any]:
        """DynamoDB Local now and then takes an iterator of a stream that it has just made for one from before its first
        record: a new one is asked for, as long as nothing was read."""
        for _ in range(5):
            page = answered(self._url, "DynamoDBStreams_20120810.GetRecords", ShardIterator=iterator, Limit=1000)
            if "Records" in page:
                return page
            assert page["__type"].endswith("#TrimmedDataAccessException"), page
            assert not self.records, page
            iterator = self._streams.get_shard_iterator(
                StreamArn=self.stream_arn, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
        raise AssertionError(f"shard {shard_id} begins nowhere")

    def marked(self, run: str, attribute: str = "restrike") -> Counter[str]:
        """How often each item was newly marked by that run, as the stream tells."""
        value = {"S": run}
        return Counter(
            key_text(record["Keys"])
            for record in self.read_stream()
            if record["eventName"] == "MODIFY"
            and record["NewImage"].get(attribute) == value
            and record["OldImage"].get(attribute) != value
        )

    def counted(self, attribute: str = "n") -> Counter[str]:
        """How often the number of each item was raised by 1 (from nothing to 1), as the stream tells."""
        return Counter(
            key_text(record["Keys"])
            for record in self.read_stream()
            if record["eventName"] == "MODIFY"
            and int(record["NewImage"].get(attribute, {"N": "-1"})["N"])
            == int(record["OldImage"].get(attribute, {"N": "0"})["N"]) + 1
        )

    def modifications(self) -> Counter[str]:
        """How many MODIFY records each item has, whoever wrote."""
        return Counter(key_text(each["Keys"]) for each in self.read_stream() if each["eventName"] == "MODIFY")


@contextlib.contextmanager
def table(url: str, name: str) -> Iterator[Table]:
    """A new table for the length of the block; `url` is the engine itself, never a faulty proxy."""
    made = Table(url, name)
    try:
        yield made
    finally:
        made.close()


def once_each(items: Sequence[Item]) -> Counter[str]:
    """What a count of records has to be: one for each item, none for any other."""
    return Counter(key_text(item) for item in items)


# ── the command as a process ─────────────────────────────────────────────────────────────────────────────────


class Command:
    """`restrike …` as a process of its own group; its output in files, so that nothing blocks it."""

    def __init__(self, process: forked.Command) -> None:
        self.process = process
        self.arguments = process.words

    @property
    def ended(self) -> bool:
        return self.process.ended

    def kill(self) -> None:
        """kill -9 of the whole group; whether it still ran is told by the exit code of `wait`."""
        with contextlib.suppress(ProcessLookupError):  # it has ended, or has no group yet
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()

    def interrupt(self) -> None:
        self.process.send(signal.SIGINT)

    def wait(self) -> int:
        return self.process.wait(AWAIT_S)

    @property
    def stdout(self) -> str:
        return self.process.written[0].decode()

    @property
    def stderr(self) -> str:
        return self.process.written[1].decode()

    def report(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        report: dict[str, Any] = json.loads(self.stdout)
        return report


@contextlib.contextmanager
def command(*arguments: str) -> Iterator[Command]:
    """A started `restrike` command, which does not outlive the block."""
    with forked.start(arguments, b"", os.environ, before=[(os.setsid,), (exec, BEFORE, {})]) as process:
        started = Command(process)
        try:
            yield started
        finally:
            if not started.ended:
                started.kill()


def restrike(*arguments: str) -> tuple[int, str, str]:
    """Runs a command to its end: exit code, stdout, stderr."""
    with command(*arguments) as started:
        code = started.wait()
        return code, started.stdout, started.stderr


# ── restrike in this process ─────────────────────────────────────────────────────────────────────────────────


def resumed(run: str, folder: Path, *, rate: float | None = None) -> TouchReport:
    """Goes on with a touch of the ledger in that folder, to its end."""
    report = resume(run, ledger=ledger_path(folder), rate=rate).execute()
    assert isinstance(report, TouchReport)
    return report


def hurry(monkeypatch: pytest.MonkeyPatch, *, timeout_s: float = 2.0) -> None:
    """Shortens pauses, so that a test of retries takes no longer than the retries; counts stay as they are.

    Not much shorter: an engine that is still busy with requests that were given up must get out of the woods. Where
    nothing hangs, `timeout_s` may be as it is: to a busy machine an answer that is late is one that is lost.
    """
    monkeypatch.setattr(wire, "MAX_RETRY_DELAY_S", 0.05)
    monkeypatch.setattr(wire, "TIMEOUT_S", timeout_s)
    monkeypatch.setattr("restrike.aws.walk.IDLE_POLL_S", 0.02)
    monkeypatch.setattr("restrike.aws.walk.MAX_IDLE_POLL_S", 0.05)
    monkeypatch.setattr(engine, "SAVE_EVERY_S", 0.3)
    # Each plan would make clients of its own, which takes longer than what it asks.
    monkeypatch.setattr("restrike.touching.plan.Aws", functools.cache(Aws))


def ledger_path(folder: Path) -> str:
    return str(folder / "ledger.db")
