"""What doctor sees of a table and of those that are wired to it: DynamoDB Local for table and stream, MiniStack for
mappings, pipes, queues and metrics, stubs for what it has not."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

import restrike
from restrike.aws import streams
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.aws.streams import Shard
from restrike.diagnosing import questions
from restrike.diagnosing.look import look
from restrike.diagnosing.permissions import needs
from restrike.diagnosing.request import DoctorRequest
from restrike.diagnosing.streams import horizon
from restrike.errors import AwsError, NotFound, Unreachable, UsageError
from restrike.model.diagnosis import ConsumerSeen, Horizon, Seen, Unseen
from restrike.model.permissions import Scope
from restrike.model.policy import document
from restrike.model.times import iso
from tests.exported import BEGINS_S, change, export
from tests.integration import tables
from tests.integration.tables import Index, Table, run_name, switch_stream
from tests.policies import actions_of
from tests.servers import exports_stub
from tests.servers.faults import AccessDenied, HangAfterApply, Proxy, faulty
from tests.servers.lambda_api import KEY_ARN, mapping, stub_lambda
from tests.servers.ministack import ACCOUNT, REGION, MiniStack
from tests.servers.oddities import answering
from tests.servers.relay import HERE, THERE, Relay, relay
from tests.servers.retold import global_table, kinesis
from tests.servers.wired import wired
from tests.servers.witness import Answer, Asked, witness

NOW_S = time.time()
DAYS = [f"2026-11-{1 + n:02d}" for n in range(20)]
FUNCTION = "def main(event, context): pass"


def is_of_here(moment_s: float | None) -> bool:
    """Whether it lies within these tests; the engine rounds down to minutes."""
    return moment_s is not None and NOW_S - 60 <= moment_s <= time.time()


def item(n: int) -> tables.Item:
    found: dict[str, tables.Value] = {
        "pk": f"p{n % 7}",
        "sk": n,
        "day": DAYS[n % 20],
        "customer": f"c{n % 3}",
        "at": 1_790_000_000 + n * 3_600,
        "status": "open" if n % 2 == 0 else "closed",
    }
    return found | ({"month": "2026-11", "made": f"2026-11-01T{n % 24:02d}:00:00Z#{n}"} if n < 50 else {})


@pytest.fixture(scope="module")
def orders(dynamodb_local: str) -> Table:
    """200 items, ten of each day; the odd ones are closed."""
    return tables.create(
        dynamodb_local,
        ("pk", "S"),
        ("sk", "N"),
        indexes=[
            Index("by_day", ("day", "S")),
            Index("by_time", ("customer", "S"), ("at", "N"), "ALL"),
            Index("by_status", ("status", "S")),
            Index("of_some", ("month", "S"), ("made", "S")),
        ],
        items=[item(n) for n in range(200)],
    )


class World(NamedTuple):
    """What is wired to `orders`: a function that a mapping invokes, with a queue for what it gives up, and a pipe."""

    function: str
    mapping: str
    pipe: str
    queue: str


def arn_of(queue: str) -> str:
    return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"


def queue_with_a_message(ministack: MiniStack, name: str) -> None:
    url = ministack.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    ministack.client("sqs").send_message(QueueUrl=url, MessageBody="{}")


@pytest.fixture(scope="module")
def world(orders: Table, ministack: MiniStack) -> World:
    name = run_name()
    found = World(f"f-{name}", "", f"pipe-{name}", f"given-up-{name}")
    queue_with_a_message(ministack, found.queue)
    ministack.create_function(found.function, FUNCTION)
    made = ministack.lambda_.create_event_source_mapping(
        EventSourceArn=orders.stream_arn.replace(HERE, THERE),
        FunctionName=found.function,
        BatchSize=50,
        StartingPosition="TRIM_HORIZON",
        MaximumRetryAttempts=3,
        MaximumRecordAgeInSeconds=3_600,
        BisectBatchOnFunctionError=True,
        ParallelizationFactor=2,
        DestinationConfig={"OnFailure": {"Destination": arn_of(found.queue)}},
        FilterCriteria={"Filters": [{"Pattern": json.dumps({"dynamodb": {"NewImage": {"status": {"S": ["open"]}}}})}]},
    )
    ministack.client("pipes").create_pipe(
        Name=found.pipe,
        Source=orders.stream_arn.replace(HERE, THERE),
        Target="arn:aws:sqs:us-east-1:000000000000:q",
        RoleArn="arn:aws:iam::000000000000:role/r",
        DesiredState="STOPPED",
    )
    return found._replace(mapping=made["UUID"])


def put(
    ministack: MiniStack, namespace: str, name: str, dimensions: dict[str, str], *values: tuple[float, float]
) -> None:
    """Each value with how many seconds ago it was."""
    ministack.client("cloudwatch").put_metric_data(
        Namespace=namespace,
        MetricData=[
            {
                "MetricName": name,
                "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
                "Timestamp": datetime.fromtimestamp(NOW_S - ago_s, UTC),
                "Value": value,
            }
            for ago_s, value in values
        ],
    )


@pytest.fixture(scope="module")
def metrics(ministack: MiniStack, world: World, orders: Table) -> None:
    function, queue = {"FunctionName": world.function}, {"QueueName": world.queue}
    put(ministack, "AWS/Lambda", "Errors", function, (7_200, 3.0), (3_600, 4.0), (100_000, 9.0))
    put(ministack, "AWS/Lambda", "Invocations", function, (7_200, 10.0))
    put(ministack, "AWS/Lambda", "IteratorAge", function, (7_200, 1_500.0), (7_190, 900.0))
    put(ministack, "AWS/SQS", "ApproximateAgeOfOldestMessage", queue, (30, 4_000.0))
    put(ministack, "AWS/DynamoDB", "ConsumedWriteCapacityUnits", {"TableName": orders.name}, (7_200, 60.0))


SERVICES = ("LAMBDA", "SQS", "PIPES", "CLOUDWATCH")


@pytest.fixture
def elsewhere(ministack: MiniStack, world: World, metrics: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """The relay that all services but DynamoDB are asked through; OpenSearch Ingestion by a stub."""
    with relay(ministack.endpoint_url) as running, wired() as stub:
        for service in SERVICES:
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", running.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_OSIS", stub.url)
        yield running


@pytest.fixture
def proxy(orders: Table) -> Iterator[Proxy]:
    with faulty(orders.endpoint_url) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no failure."""
    monkeypatch.setattr(questions, "LONGEST_S", 300.0)


def seen(table: Table, at: Proxy | None = None, **request: Any) -> Seen:
    url = table.endpoint_url if at is None else at.endpoint_url
    asked: dict[str, Any] = {"table": table.name, "timeout_s": 1_200.0, "aws": AwsSettings(endpoint_url=url)} | request
    return asyncio.run(look(DoctorRequest(**asked)))


def of_kind(found: Seen, kind: str) -> ConsumerSeen:
    (only,) = [each for each in found.consumers if each.kind == kind]
    return only


# ── the table, its stream, its indexes ───────────────────────────────────────────────────────────────────


def test_the_table_alone(orders: Table) -> None:
    found = seen(orders)
    assert (found.table.name, found.table.view_type) == (orders.name, "NEW_AND_OLD_IMAGES")
    (stream,) = found.streams
    assert (stream.arn, stream.on, stream.open_shards, stream.closed_shards) == (orders.stream_arn, True, 1, 0)
    assert is_of_here(stream.since_s)
    assert found.horizon is not None
    assert is_of_here(found.horizon.oldest_s)
    assert found.horizon.how == "the first record of 1 of the 1 oldest shard"
    assert (found.ttl, found.kept, found.readers) == (None, (), 0)
    assert found.since_s == pytest.approx(found.now_s - 86_400)
    assert found.flags == ("--endpoint-url", orders.endpoint_url)
    assert [(each.what, each.permission) for each in found.unseen] == [
        ("point-in-time recovery", ""),
        ("CloudWatch, EventBridge Pipes, Lambda, OpenSearch Ingestion", ""),
    ]
    assert "does not know DescribeContinuousBackups" in found.unseen[0].why
    assert found.unseen[1].why.startswith(f"not asked: DynamoDB is at {orders.endpoint_url}")


def test_which_index_could_select_by_date(orders: Table) -> None:
    by_name = {each.name: each for each in seen(orders).indexes}
    assert list(by_name) == ["", "by_day", "by_status", "by_time", "of_some"]
    told = {name: (each.attribute, each.type, each.role, each.form, each.sparse) for name, each in by_name.items()}
    assert told == {
        "": ("", "", "", "", False),
        "by_day": ("day", "S", "partition", "day", False),
        "by_time": ("at", "N", "sort", "epoch s", False),
        "by_status": ("", "", "", "", False),
        "of_some": ("month", "S", "partition", "month", True),
    }
    day = by_name["by_day"]
    assert set(day.samples) <= set(DAYS)
    assert len(day.samples) == 3
    assert (day.entries_a_day, day.wru_a_day) == (10.0, 20.0), "by_time projects the marker, too"
    assert day.sampled <= 100
    time_ = by_name["by_time"]
    assert time_.entries_a_day == pytest.approx(200 / (200 / 24 + 1), rel=0.1)
    assert all(sample.startswith("179") for sample in time_.samples)
    assert by_name["of_some"].projection == "KEYS_ONLY"
    assert (by_name["by_status"].entries_a_day, by_name[""].entries_a_day) == (None, None)


def test_an_earlier_stream_and_its_mapping(dynamodb_local: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tables.create(dynamodb_local, ("pk", "S"), items=[{"pk": "a"}])
    earlier = table.stream_arn
    switch_stream(table, None)
    switch_stream(table, "KEYS_ONLY")
    with stub_lambda(mapping("old", EventSourceArn=earlier), mapping("new", EventSourceArn=table.stream_arn)) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        found = seen(table)
    assert [(each.arn, each.on, each.view_type) for each in found.streams] == [
        (table.stream_arn, True, "KEYS_ONLY"),
        (earlier, False, "NEW_AND_OLD_IMAGES"),
    ]
    new, old = sorted(found.consumers, key=lambda each: each.name)
    assert (new.reads_now, new.stream, new.will_fire.fires) == (True, "", True)
    assert (old.reads_now, old.stream, old.will_fire.fires) == (False, earlier, False)
    assert "an earlier stream" in old.will_fire.why
    assert found.readers == 1


def test_a_table_without_a_stream(dynamodb_local: str, proxy: Proxy) -> None:
    table = tables.create(dynamodb_local, ("pk", "S"), view_type=None, items=[{"pk": "a"}])
    found = seen(table)
    assert (found.streams, found.horizon, found.consumers, found.readers_note) == ((), None, (), "")
    proxy.script([kinesis(changes="ACTIVE")])
    (kinesis_,) = seen(table, proxy).consumers
    assert (kinesis_.kind, kinesis_.state, kinesis_.will_fire.fires) == ("kinesis", "ACTIVE", True)


def test_two_readers_leave_the_horizon_unread(orders: Table, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy.script([global_table("eu-west-1")])
    with stub_lambda(mapping("one", EventSourceArn=orders.stream_arn)) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        found = seen(orders, proxy)
    assert found.readers == 2, "a function and the replication"
    assert found.table.replica_regions == ("eu-west-1",)
    assert found.horizon is not None
    assert (found.horizon.oldest_s, found.horizon.how) == (
        None,
        "at most 24 h: 2 readers are known, and a shard allows 2",
    )
    assert proxy.count("GetRecords") == 0


class Shards:
    """Of a stream that a stub has: shard `n` has its oldest record at 1,000,000 + n, the first one none."""

    def __init__(self, number: int) -> None:
        self.every = {f"shardId-{n:020d}": Shard(f"shardId-{n:020d}") for n in range(number)}
        self.every["child"] = Shard("child", parent_shard_id=next(iter(self.every)))
        self.read: list[str] = []

    def __call__(self, asked: Asked) -> Answer:
        body = json.loads(asked.body)
        if "ShardId" in body:
            return Answer(body=json.dumps({"ShardIterator": body["ShardId"]}).encode())
        shard = body["ShardIterator"]
        assert body["Limit"] == 1
        self.read.append(shard)
        number = list(self.every).index(shard)
        record = {"dynamodb": {"ApproximateCreationDateTime": 1_000_000 + number}}
        records = [record] if number else []
        return Answer(body=json.dumps({"Records": records, "NextShardIterator": "more"}).encode())


def test_each_of_the_oldest_shards_is_asked_once_and_no_more_than_sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    shards = Shards(20)

    async def found(url: str) -> Horizon:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
        aws = Aws()
        async with streams.connect(aws, connections=4) as wire:
            return await horizon(questions.Questions(aws, 600), wire, "arn", shards.every, 1)

    with witness(shards) as stub:
        told = asyncio.run(found(stub.url))
    assert sorted(shards.read) == sorted(shards.every)[1:17], "neither a child, nor the last four"
    assert told == Horizon(1_000_001.0, "the first record of 15 of the 16 oldest shards of 20")


# ── who gets it ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_function_with_its_settings_its_metrics_and_its_queue(orders: Table, world: World, elsewhere: Relay) -> None:
    found = seen(orders)
    assert found.unseen == (Unseen("point-in-time recovery", found.unseen[0].why),)
    one = of_kind(found, "lambda")
    assert (one.name, one.function, one.mapping, one.state) == (
        world.function,
        world.function,
        world.mapping,
        "Enabled",
    )
    assert (one.batch_size, one.retries, one.max_age_s, one.bisects, one.parallel) == (50, 3, 3_600, True, 2)
    assert one.filters == ('{"dynamodb": {"NewImage": {"status": {"S": ["open"]}}}}',)
    assert is_of_here(one.changed_s)
    assert (one.reads_now, one.shares_function, one.mapping_metrics) == (True, False, False)
    assert [value for _, value in one.metrics["Errors"].points] == [3.0, 4.0], "of a day"
    assert one.metrics["IteratorAge"].most == 1_500.0
    assert one.metrics["Throttles"].points == (), "unknown is no zero"
    assert "PolledEventCount" not in one.metrics
    given_up = one.on_failure
    assert given_up is not None
    assert (given_up.kind, given_up.messages, given_up.redrivable, given_up.retention_s) == ("sqs", 1, True, 345_600)
    assert (given_up.oldest_age_s, given_up.expires_in_s) == (4_000.0, 82_400.0)
    assert given_up.uri == f"sqs://{arn_of(world.queue)}"
    assert found.written is not None
    assert found.written.total == 60.0
    assert found.asked_usd == pytest.approx(8 * 0.00001)
    assert elsewhere.asked.count("GetMetricData") == 1
    assert (found.readers, found.period_s) == (1, 300)


def test_a_pipe(orders: Table, world: World, elsewhere: Relay) -> None:
    pipe = of_kind(seen(orders), "pipe")
    assert (pipe.name, pipe.state, pipe.reads_now) == (world.pipe, "STOPPED", False)
    assert pipe.will_fire.fires is False


def test_a_pipe_with_its_settings_and_its_dead_letters(
    orders: Table, ministack: MiniStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = f"dead-{run_name()}"
    queue_with_a_message(ministack, queue)
    how = {
        "BatchSize": 10,
        "MaximumRetryAttempts": -1,
        "OnPartialBatchItemFailure": "AUTOMATIC_BISECT",
        "DeadLetterConfig": {"Arn": arn_of(queue)},
    }
    filters = {"Filters": [{"Pattern": '{"dynamodb": {"NewImage": {"status": {"S": ["open"]}}}}'}]}
    parameters = {"FilterCriteria": filters, "DynamoDBStreamParameters": how}
    one = {"Name": "one", "CurrentState": "RUNNING", "Source": orders.stream_arn, "SourceParameters": parameters}
    with wired(pipes=[one]) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_PIPES", stub.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", ministack.endpoint_url)
        found = seen(orders)
    pipe = of_kind(found, "pipe")
    assert (pipe.reads_now, pipe.batch_size, pipe.retries, pipe.bisects) == (True, 10, -1, True)
    assert pipe.on_failure is not None
    assert (pipe.on_failure.messages, pipe.on_failure.oldest_age_s) == (1, None)
    assert 0 < pipe.will_fire.matches < pipe.will_fire.sampled
    assert pipe.will_fire.refused == ("dynamodb.NewImage.status.S",)
    assert found.readers == 1


def test_how_many_of_the_items_a_touch_would_fire_it_for(orders: Table, world: World, elsewhere: Relay) -> None:
    fires = of_kind(seen(orders), "lambda").will_fire
    assert fires.fires is True
    assert 0 < fires.matches < fires.sampled <= 100
    assert fires.refused == ("dynamodb.NewImage.status.S",)
    closed = of_kind(seen(orders, key="p1/1"), "lambda").will_fire
    assert (closed.fires, closed.matches, closed.sampled) == (False, 0, 1)
    assert closed.refused == ("dynamodb.NewImage.status.S",)
    of_one_key = of_kind(seen(orders, key="p1"), "lambda").will_fire
    assert (of_one_key.sampled, of_one_key.fires) == (25, True)


def test_of_a_window_its_own_items_are_tried(orders: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an index has its days; what was written on others says nothing of them."""
    second = {"dynamodb": {"NewImage": {"day": {"S": ["2026-11-02", "2026-11-03"]}}}}
    with stub_lambda(mapping("one", second)) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        window: dict[str, Any] = {"since": "2026-11-02T00:00:00Z", "until": "2026-11-03T23:59:59Z"}
        of_window = of_kind(seen(orders, **window), "lambda").will_fire
        others: dict[str, Any] = {"since": "2026-11-05T00:00:00Z", "until": "2026-11-05T01:00:00Z"}
        of_another = of_kind(seen(orders, **others), "lambda").will_fire
    assert (of_window.matches, of_window.sampled, of_window.fires) == (20, 20, True)
    assert (of_another.matches, of_another.sampled, of_another.fires) == (0, 10, False)
    assert of_another.refused == ("dynamodb.NewImage.day.S",)


def test_a_filter_of_inserts_is_told_by_its_part(orders: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    inserts = {"eventName": ["INSERT"], "dynamodb": {"NewImage": {"pk": {"S": [{"prefix": "p"}]}}}}
    with stub_lambda(mapping("one", inserts)) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        fires = of_kind(seen(orders), "lambda").will_fire
    assert (fires.fires, fires.matches, fires.refused) == (False, 0, ("eventName",))


def test_a_function_that_others_call_too(orders: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = mapping("one", EventSourceArn=arn_of("some-queue")) | {"UUID": "another"}
    with stub_lambda(mapping("one", EventSourceArn=orders.stream_arn), shared) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        assert of_kind(seen(orders), "lambda").shares_function is True


def test_an_alias_is_measured_by_itself(orders: Table, ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> None:
    name = run_name()
    put(ministack, "AWS/Lambda", "Errors", {"FunctionName": name}, (3_600, 9.0))
    put(ministack, "AWS/Lambda", "Errors", {"FunctionName": name, "Resource": f"{name}:live"}, (3_600, 2.0))
    with stub_lambda(mapping(f"{name}:live")) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", ministack.endpoint_url)
        one = of_kind(seen(orders), "lambda")
    assert (one.name, one.metrics["Errors"].total) == (f"{name}:live", 2.0)


def test_records_that_are_read_more_often_hint_at_more_readers(
    orders: Table, ministack: MiniStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = mapping(run_name(), EventSourceArn=orders.stream_arn, MetricsConfig={"Metrics": ["EventCount"]})
    put(ministack, "AWS/Lambda", "PolledEventCount", {"EventSourceMappingUUID": one["UUID"]}, (7_200, 100.0))
    with stub_lambda(one) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", ministack.endpoint_url)
        before = seen(orders)
        label = orders.stream_arn.rpartition("/")[2]
        of_stream = {"TableName": orders.name, "Operation": "GetRecords", "StreamLabel": label}
        put(ministack, "AWS/DynamoDB", "ReturnedRecordsCount", of_stream, (7_200, 190.0))
        found = seen(orders)
    assert of_kind(found, "lambda").metrics["PolledEventCount"].total == 100.0
    assert "perhaps more" not in before.readers_note
    assert found.returned is not None
    assert found.returned.total == 190.0
    assert found.readers_note.endswith(
        "perhaps more: the stream gave each record 1.9 times (ReturnedRecordsCount against PolledEventCount), and 1 "
        "reader is known"
    )


def test_further_back_than_a_day(orders: Table, world: World, elsewhere: Relay) -> None:
    found = seen(orders, since="4d")
    assert found.since_s == pytest.approx(found.now_s - 4 * 86_400, abs=5)
    assert found.period_s == 900
    assert of_kind(found, "lambda").metrics["Errors"].total == 16.0


def test_messages_that_a_flag_names(orders: Table, world: World, elsewhere: Relay, tmp_path: Path) -> None:
    (queue,) = seen(orders, failures=f"sqs://{world.queue}").failures
    assert (queue.kind, queue.messages, queue.uri) == ("sqs", 1, f"sqs://{world.queue}")
    (nowhere,) = seen(orders, failures=str(tmp_path / "nowhere")).failures
    assert (nowhere.redrivable, nowhere.why_not) == (False, "there is no such file or folder")
    (folder,) = seen(orders, failures=str(tmp_path)).failures
    assert (folder.kind, folder.messages, folder.redrivable) == ("file", None, True)
    assert seen(orders).failures == ()


def test_a_bucket_is_counted(orders: Table, ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket, s3 = f"b-{run_name()}", ministack.client("s3")
    s3.create_bucket(Bucket=bucket)
    given_up = mapping("one", DestinationConfig={"OnFailure": {"Destination": f"arn:aws:s3:::{bucket}"}})
    for name in (
        f"aws/lambda/{given_up['UUID']}/shard/1",
        f"aws/lambda/{given_up['UUID']}/shard/2",
        "aws/lambda/other/3",
    ):
        s3.put_object(Bucket=bucket, Key=name, Body=b"{}")
    with stub_lambda(given_up) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", ministack.endpoint_url)
        found = of_kind(seen(orders), "lambda").on_failure
    assert found is not None
    assert (found.kind, found.messages, found.redrivable, found.expires_in_s) == ("s3", 2, True, None)
    assert found.uri == f"s3://{bucket}/aws/lambda/{given_up['UUID']}/"
    assert found.oldest_age_s is not None


@pytest.mark.parametrize(
    ("arn", "kind", "why"),
    [
        (f"arn:aws:sns:{REGION}:{ACCOUNT}:told", "sns", "a topic keeps nothing"),
        (f"arn:aws:sqs:{REGION}:{ACCOUNT}:given-up.fifo", "sqs", "a FIFO queue"),
        (f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/c", "other", "kafka is none that redrive reads"),
    ],
)
def test_what_redrive_does_not_take(
    orders: Table, monkeypatch: pytest.MonkeyPatch, arn: str, kind: str, why: str
) -> None:
    with stub_lambda(mapping("one", DestinationConfig={"OnFailure": {"Destination": arn}})) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        found = of_kind(seen(orders), "lambda").on_failure
    assert found is not None
    assert (found.kind, found.redrivable) == (kind, False)
    assert why in found.why_not


# ── what is denied, late or not there ────────────────────────────────────────────────────────────────────

OF_DYNAMODB = {
    "ListStreams": "dynamodb:ListStreams",
    "DescribeStream": "dynamodb:DescribeStream",
    "GetShardIterator": "dynamodb:GetShardIterator",
    "GetRecords": "dynamodb:GetRecords",
    "Scan": "dynamodb:Scan",
    "Query": "dynamodb:Query",
    "DescribeTimeToLive": "dynamodb:DescribeTimeToLive",
    "DescribeContinuousBackups": "dynamodb:DescribeContinuousBackups",
    "DescribeKinesisStreamingDestination": "dynamodb:DescribeKinesisStreamingDestination",
}
OF_OTHERS = {
    "ListEventSourceMappings": "lambda:ListEventSourceMappings",
    "GetFunctionConfiguration": "lambda:GetFunctionConfiguration",
    "ListPipes": "pipes:ListPipes",
    "DescribePipe": "pipes:DescribePipe",
    "GetQueueUrl": "sqs:GetQueueUrl",
    "GetQueueAttributes": "sqs:GetQueueAttributes",
    "GetMetricData": "cloudwatch:GetMetricData",
}
DEPENDING = {
    "ListStreams": {"streams"},
    "DescribeStream": {"streams", "horizon"},
    "GetShardIterator": {"horizon"},
    "GetRecords": {"horizon"},
    "Scan": {"indexes", "consumers"},
    "Query": {"indexes"},
    "DescribeTimeToLive": {"ttl"},
    "DescribeContinuousBackups": {"point_in_time"},
    "DescribeKinesisStreamingDestination": set(),
    "ListEventSourceMappings": {"consumers", "readers", "asked_usd"},
    "GetFunctionConfiguration": {"consumers"},
    "ListPipes": {"consumers"},
    "DescribePipe": {"consumers"},
    "GetQueueUrl": {"consumers"},
    "GetQueueAttributes": {"consumers"},
    "GetMetricData": {"consumers", "written", "returned", "readers_note", "asked_usd"},
}
"""Operation → what of the whole may look otherwise where it is denied; the rest stands."""


def parts(found: Seen) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(found)
    for moving in ("now_s", "since_s", "unseen", "flags"):
        del told[moving]
    if told["horizon"] is not None:
        del told["horizon"]["how"]
    for index in told["indexes"]:
        del index["samples"]
    return told


@pytest.fixture(scope="module")
def undenied() -> list[Seen]:
    """What is seen where nothing is denied: looked at once, by the first who compares with it."""
    return []


@pytest.mark.parametrize("operation", [*OF_DYNAMODB, *OF_OTHERS])
def test_what_is_denied_is_told_with_its_permission_and_the_rest_stands(
    orders: Table, proxy: Proxy, elsewhere: Relay, undenied: list[Seen], operation: str
) -> None:
    if not undenied:
        undenied.append(seen(orders, proxy))
    (whole,) = undenied
    if operation in OF_DYNAMODB:
        proxy.script([AccessDenied(operation)])
    else:
        elsewhere.denied = (operation,)
    found = seen(orders, proxy)
    permission = (OF_DYNAMODB | OF_OTHERS)[operation]
    told = [each for each in found.unseen if each.permission]
    assert told, f"{operation} is denied, and nothing is said of it"
    assert {(each.why, each.permission) for each in told} == {("access denied", permission)}
    before, after = parts(whole), parts(found)
    assert {name for name in before if before[name] != after[name]} <= DEPENDING[operation]
    if operation not in ("Scan", "ListEventSourceMappings", "ListPipes"):
        assert [each.name for each in found.consumers] == [each.name for each in whole.consumers]


def test_an_encrypted_filter_that_may_not_be_read(orders: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    with stub_lambda(
        mapping("one", {"eventName": ["INSERT"]}, KMSKeyArn=KEY_ARN), denied=("GetEventSourceMapping",)
    ) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        found = seen(orders)
    one = of_kind(found, "lambda")
    assert (one.will_fire.fires, one.will_fire.sampled, one.filters) == (None, 0, ())
    (told,) = [each for each in found.unseen if each.permission]
    assert (told.what, told.permission) == ("the filter of one", "lambda:GetEventSourceMapping")


@pytest.mark.parametrize("operation", ["GetPipeline", "ListPipelines"])
def test_pipelines_of_opensearch_that_may_not_be_seen(
    orders: Table, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    pipeline = {"PipelineName": "one", "Status": "ACTIVE", "PipelineConfigurationBody": ""}
    with wired(pipelines=[pipeline], denied=[operation]) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_OSIS", stub.url)
        found = seen(orders)
    assert [each.permission for each in found.unseen if each.permission] == [f"osis:{operation}"]


LATE = ("ListStreams", "GetRecords", "DescribeTimeToLive", "ListEventSourceMappings", "GetMetricData", "GetQueueUrl")


def test_what_is_late_is_left_out_and_named(
    orders: Table, proxy: Proxy, elsewhere: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six services' questions are never answered, and the rest is there in time."""
    monkeypatch.setattr(questions, "LONGEST_S", 0.5)
    proxy.script([HangAfterApply(each) for each in LATE[:3]])
    elsewhere.silent = LATE[3:]
    found = seen(orders, proxy)
    late = {each.what for each in found.unseen if each.why == "no answer within 0.5 s"}
    assert {"earlier streams of the table", "time to live", "Lambda functions", "metrics"} <= late
    stands(found, "EventBridge Pipes", {each.kind for each in found.consumers} == {"pipe"})
    stands(found, "the shards of the stream", found.streams[0].open_shards == 1)
    stands(found, "the keys of index by_day", found.indexes[1].role == "partition")
    assert found.horizon is not None
    assert found.horizon.oldest_s is None


def stands(found: Seen, what: str, seen: bool) -> None:
    """A busy machine may be late with the rest, too; then that is named."""
    assert seen or any(each.what.startswith(what) for each in found.unseen), what


def test_time_is_shared_so_that_all_ends_within_the_limit(orders: Table, proxy: Proxy, elsewhere: Relay) -> None:
    proxy.script([HangAfterApply("Scan")])
    elsewhere.silent = ("ListEventSourceMappings", "ListPipes", "GetMetricData")
    began = time.monotonic()
    found = seen(orders, proxy, timeout_s=3.0)
    assert time.monotonic() - began < 60, "and not the minutes after which a service is given up"
    assert {"a sample of items", "Lambda functions", "EventBridge Pipes"} <= {each.what for each in found.unseen}
    stands(found, "the shards of the stream", found.streams[0].open_shards == 1)


def test_only_the_table_itself_is_needed(orders: Table, proxy: Proxy) -> None:
    with pytest.raises(NotFound, match="there is no table nobodys"):
        asyncio.run(look(DoctorRequest("nobodys", aws=AwsSettings(endpoint_url=proxy.endpoint_url))))
    proxy.script([AccessDenied("DescribeTable")])
    with pytest.raises(AwsError, match="DescribeTable"):
        seen(orders, proxy)
    proxy.script([HangAfterApply("DescribeTable")])
    with pytest.raises(Unreachable, match=r"no answer from .* within 0\.5 s") as told:
        seen(orders, proxy, timeout_s=1.0)
    assert "--timeout" in told.value.hint


def test_a_stranger_at_a_services_address_is_told(orders: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(b"<html>log in</html>") as url:
        for service in SERVICES:
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", url)
        found = seen(orders)
    why = {each.what: each.why for each in found.unseen}
    assert "is not Lambda" in why["Lambda functions"]
    assert "metrics" in why
    assert found.indexes[1].role == "partition"


def test_what_makes_no_sense_is_refused(orders: Table) -> None:
    for request, words in (
        ({"timeout_s": 0.5}, "--timeout 0.5 is no number from 1 on"),
        ({"since": "yesterday"}, "--since 'yesterday' is no time"),
        ({"last": "1h", "since": "2h"}, "--last is a window by itself"),
        ({"consumer": ""}, "--consumer is empty"),
    ):
        with pytest.raises(UsageError, match=words):
            seen(orders, **request)


# ── what holds the past ──────────────────────────────────────────────────────────────────────────────────


def test_archives_and_runs_of_the_ledger(orders: Table, tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger.db")
    at: dict[str, Any] = {"endpoint_url": orders.endpoint_url}
    kept = tmp_path / "kept"
    restrike.capture(orders.name, str(kept), ledger=ledger, **at).execute()
    restrike.replay(
        f"table:{orders.name}", f"jsonl:{tmp_path / 'a.jsonl'}", run="r", ledger=ledger, partition_key="p1", **at
    ).execute()
    restrike.replay(f"archive:{kept}", f"jsonl:{tmp_path / 'b.jsonl'}", run="other", ledger=ledger, **at).execute()
    archive, run = seen(orders, ledger=ledger).kept
    assert (archive.kind, archive.name, archive.fidelity, archive.gaps) == ("archive", str(kept), "exact", ())
    assert is_of_here(archive.since_s)
    assert is_of_here(archive.until_s)
    assert archive.state.startswith("no capture is at work, last at ")
    assert (run.kind, run.name, run.verb, run.state) == ("run", "r", "replay", "COMPLETED")
    (named,) = seen(orders, archive=str(kept), ledger=str(tmp_path / "none.db")).kept
    assert named == msgspec.structs.replace(archive)


def test_an_archive_that_is_not_there_is_told(orders: Table, tmp_path: Path) -> None:
    found = seen(orders, archive=str(tmp_path / "gone"), export=str(tmp_path / "gone"), ledger=str(tmp_path / "l.db"))
    assert found.kept == ()
    assert [each.what for each in found.unseen if "gone" in each.what] == [
        f"the archive {tmp_path / 'gone'}",
        f"the exports {tmp_path / 'gone'}",
    ]


def test_exports_that_a_flag_names(orders: Table, tmp_path: Path) -> None:
    arn = seen(orders).table.arn
    lines = [[change({"pk": {"S": "p0"}}, new={})]]
    for number, window in enumerate((0, 1, 4)):  # of a quarter of an hour
        from_s = BEGINS_S + window * 900
        made = export(lines, id=f"0170000000000{number}-a1b2c3d4", from_s=from_s, to_s=from_s + 900, table_arn=arn)
        made.write(tmp_path / "mine")
    full = export([[{"Item": {"pk": {"S": "p0"}}}]], id="01700000000009-a1b2c3d4", full=True, table_arn=arn)
    full.write(tmp_path / "mine")
    net, whole = seen(orders, export=f"export:{tmp_path / 'mine'}").kept
    assert (net.kind, net.name, net.fidelity) == ("export", str(tmp_path / "mine"), "net")
    assert (net.since_s, net.until_s, net.state) == (BEGINS_S, BEGINS_S + 4_500, "3 incremental exports")
    assert net.gaps == (f"{iso(BEGINS_S + 1_800)} to {iso(BEGINS_S + 3_600)}: no export has it",)
    assert (whole.fidelity, whole.since_s, whole.until_s) == ("synthetic", None, BEGINS_S)
    export(lines).write(tmp_path / "others")
    found = seen(orders, export=str(tmp_path / "others"))
    (why,) = [each.why for each in found.unseen if each.what.startswith("the exports")]
    assert why == f"it holds exports of orders, and none of {arn}"


def test_exports_of_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told as its plan and counts tell: the stub has nothing else of a table than what an export takes."""
    monkeypatch.setattr("restrike.exporting.execute.POLL_S", 0.01)
    ledger = str(tmp_path / "ledger.db")
    with exports_stub.running() as service:
        service.earliest_s = service.latest_s - 86_400
        plan = restrike.export("orders", "s3://exports/o", since="1h", ledger=ledger, endpoint_url=service.endpoint_url)
        plan.execute()
        request = DoctorRequest("orders", ledger=ledger, aws=AwsSettings(endpoint_url=service.endpoint_url))
        found = asyncio.run(look(request))
    (kept,) = found.kept
    assert (kept.kind, kept.name, kept.fidelity, kept.verb) == ("export", "s3://exports/o", "net", "export")
    assert (kept.state, kept.gaps) == ("COMPLETED", ())
    assert (iso(kept.since_s or 0), iso(kept.until_s or 0)) == (plan.data.since, plan.data.until)
    recovery = found.point_in_time
    assert recovery is not None
    assert recovery.on
    assert recovery.earliest_s == pytest.approx(service.earliest_s, abs=1)
    assert recovery.latest_s == pytest.approx(service.latest_s, abs=1)
    assert found.horizon is not None
    assert found.horizon.how == "at most 24 h: its shards could not be listed"


# ── permissions ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_names_what_it_asks_for_and_no_more(
    orders: Table, proxy: Proxy, elsewhere: Relay, ministack: MiniStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = {"Name": "one", "CurrentState": "RUNNING", "Source": orders.stream_arn}
    pipeline = {"PipelineName": "one", "Status": "ACTIVE", "PipelineConfigurationBody": ""}
    log = Requests()
    with (
        wired(pipes=[pipe], pipelines=[pipeline]) as stub,
        stub_lambda(mapping("orders", {"eventName": ["INSERT"]}, KMSKeyArn=KEY_ARN)) as functions,
        log,
    ):
        seen(orders, proxy, key="p1/1")
        monkeypatch.setenv("AWS_ENDPOINT_URL_PIPES", stub.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_OSIS", stub.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", functions.url)
        seen(orders, proxy)
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")
    section = page.partition("## Permissions\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z0-9-]+:[A-Z][a-z]\w+)`", section))
    declared = document(needs(DoctorRequest(orders.name, archive="s3://kept"), Scope()))
    assert {action for action in named if not action.startswith("kms:")} == actions_of(declared)
    assert {action for action in named if not action.startswith(("s3:", "kms:"))} == log.actions
    assert [each["Action"] for each in declared["Statement"] if not each["Sid"].startswith("Optional")] == [
        ["dynamodb:DescribeTable"]
    ]


SERVICE_OF = {"Lambda": "lambda", "Pipes": "pipes", "OSIS": "osis", "SQS": "sqs", "CloudWatch": "cloudwatch"}


class Requests(logging.Handler):
    """The actions behind the requests that are made meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.actions: set[str] = set()
        self._log = logging.getLogger("restrike.aws")
        self._level = self._log.level

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", {})
        if fields.get("event") == "request":
            self.actions.add(f"{SERVICE_OF.get(fields['service'], 'dynamodb')}:{fields['operation']}")

    def __enter__(self) -> None:
        self._log.addHandler(self)
        self._log.setLevel(logging.DEBUG)

    def __exit__(self, *_: object) -> None:
        self._log.removeHandler(self)
        self._log.setLevel(self._level)
