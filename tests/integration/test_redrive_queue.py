"""Redrive from a queue of MiniStack's: taken in first, deleted only when done, given back otherwise; killed at whim."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import itertools
import json
import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders

from restrike.aws import sqs
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.errors import AccessDenied, AwsError, NotFound, UsageError
from restrike.model.record import Record
from restrike.model.report import RedriveReport, RescueReport
from restrike.model.times import iso
from restrike.replaying.redriving import from_queue, queue
from restrike.replaying.redriving.from_queue import QueuePlan
from restrike.replaying.redriving.request import RedriveRequest
from restrike.replaying.request import ReplayRequest
from tests.failure_messages import ASYNCHRONOUS
from tests.integration.deliveries import TARGET, noting, whole_lines
from tests.integration.safety import command
from tests.integration.safety import restrike as run_restrike
from tests.integration.tables import Table, create
from tests.integration.test_redrive import FUNCTION, Ground, on_stream
from tests.servers import faults
from tests.servers.faults import faulty
from tests.servers.invoked import Invoked, invoked
from tests.servers.ministack import MiniStack
from tests.servers.witness import Answer, Asked, Witness, in_json, witness

ITEMS = 40


def epoch_s(text: str | None) -> float:
    assert text is not None
    return datetime.fromisoformat(text).timestamp()


@pytest.fixture(scope="module")
def table(dynamodb_local: str) -> Table:
    return create(dynamodb_local, ("pk", "N"), items=[{"pk": n} for n in range(ITEMS)])


@pytest.fixture(scope="module")
def written(table: Table) -> list[Record]:
    with pytest.MonkeyPatch.context() as environment:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "local")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        return on_stream(table, ITEMS)


@pytest.fixture
def ground(table: Table, written: list[Record], tmp_path: Path) -> Ground:
    return Ground(table, tmp_path, written)


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Invoked]:
    with invoked() as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        yield stub


class Mailbox:
    """A queue, and what it holds."""

    def __init__(self, stack: MiniStack, **attributes: str) -> None:
        self.client = stack.client("sqs")
        self.name = f"given-up-{uuid.uuid4().hex[:8]}"
        self.url = self.client.create_queue(QueueName=self.name, Attributes=attributes)["QueueUrl"]
        self.arn = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]

    def send(self, *bodies: Any) -> None:
        for body in bodies:
            self.client.send_message(QueueUrl=self.url, MessageBody=json.dumps(body))

    def counts(self) -> tuple[int, int]:
        """Messages that are visible, and those that somebody holds."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return int(told[names[0]]), int(told[names[1]])


@pytest.fixture
def mailbox(ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> Mailbox:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", ministack.endpoint_url)
    monkeypatch.setattr(queue, "WAIT_S", 0)
    return Mailbox(ministack)


def redriven(found: QueuePlan) -> RedriveReport:
    report = found.execute()
    assert isinstance(report, RedriveReport)
    return report


def plan(ground: Ground, which: str, *, keep: bool = False, rescue: str | None = None, **how: Any) -> QueuePlan:
    replay: dict[str, Any] = {"if_superseded": "send", "run": "run", "retries": 0, "to": f"lambda:{FUNCTION}"}
    replay = (replay if rescue is None else {"to": ""}) | how
    request = ReplayRequest(
        f"sqs://{which}",
        ledger=str(ground.folder / "ledger.db"),
        aws=AwsSettings(region="us-east-1", endpoint_url=ground.url),
        **replay,
    )
    return from_queue.plan(RedriveRequest(request, rescue=rescue, keep=keep), which)


def test_a_plan_tells_attributes_and_receives_nothing(
    ground: Ground, consumer: Invoked, ministack: MiniStack, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = Mailbox(ministack)
    policy = json.dumps({"maxReceiveCount": "4", "deadLetterTargetArn": dead.arn})
    mailbox.client.set_queue_attributes(QueueUrl=mailbox.url, Attributes={"RedrivePolicy": policy})
    mailbox.send(ground.body(1, 2), ASYNCHRONOUS)
    assert plan(ground, mailbox.name).data.oldest_s is None, "nobody names an endpoint of CloudWatch"
    ministack.client("cloudwatch").put_metric_data(
        Namespace="AWS/SQS",
        MetricData=[
            {
                "MetricName": "ApproximateAgeOfOldestMessage",
                "Dimensions": [{"Name": "QueueName", "Value": mailbox.name}],
                "Value": 420.0,
            }
        ],
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", ministack.endpoint_url)
    data = plan(ground, mailbox.name).data
    assert data.oldest_s == 420.0
    assert data.expires_in_s == 86_400 - 420, "the pointer's 24 h end before the queue's four days"
    mailbox.client.set_queue_attributes(QueueUrl=mailbox.url, Attributes={"MessageRetentionPeriod": "3600"})
    assert plan(ground, mailbox.name).data.expires_in_s == 3_600 - 420
    assert (data.messages, data.in_flight, data.moves_after, data.moves_to) == (2, 0, 4, dead.arn)
    assert "after 4 receives the queue moves a message to" in data.warnings[0].message
    assert mailbox.counts() == (2, 0)
    answer = mailbox.client.receive_message(QueueUrl=mailbox.url, AttributeNames=["ApproximateReceiveCount"])
    assert answer["Messages"][0]["Attributes"]["ApproximateReceiveCount"] == "1"


@pytest.mark.parametrize("named", ["name", "url", "arn"])
def test_what_is_done_is_deleted_and_the_rest_is_given_back(
    ground: Ground, consumer: Invoked, mailbox: Mailbox, named: str
) -> None:
    poison = ground.places[12]
    consumer.fails = lambda event: poison in [int(each["dynamodb"]["SequenceNumber"]) for each in event["Records"]]
    mailbox.send(ground.body(3, 6), ground.body(3, 6), ground.body(10, 14), ground.body(20, 21), ASYNCHRONOUS)
    which = {"name": mailbox.name, "url": mailbox.url, "arn": mailbox.arn}[named]
    report = redriven(plan(ground, which, bisect=True))
    assert (report.messages, report.done, report.deleted, report.delivered, report.failed) == (5, 3, 3, 7, 1)
    assert mailbox.counts() == (2, 0)
    assert report.source == f"sqs://{which}"
    consumer.fails = lambda event: False
    again = redriven(plan(ground, which, run="again"))
    assert (again.messages, again.done, again.delivered) == (2, 1, 1)
    assert mailbox.counts() == (1, 0)
    assert sorted(consumer.places()) == ground.places[3:6] + ground.places[10:14] + ground.places[20:21]


def test_what_is_to_be_kept_is_given_back_and_not_sent_twice(
    ground: Ground, consumer: Invoked, mailbox: Mailbox
) -> None:
    mailbox.send(ground.body(3, 6))
    assert redriven(plan(ground, mailbox.name, keep=True)).deleted == 0
    assert mailbox.counts() == (1, 0)
    again = redriven(plan(ground, mailbox.name, run="again"))
    assert (again.done, again.deleted, again.delivered) == (1, 1, 0)
    assert mailbox.counts() == (0, 0)
    nothing = redriven(plan(ground, mailbox.name, run="nothing"))
    assert (nothing.messages, nothing.exit_code, nothing.ended) == (0, 0, "the queue gave no message")


def test_no_late_request_hides_what_was_given_back(
    ground: Ground, consumer: Invoked, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold, gave_back = sqs.hold, threading.Event()

    def late(aws: Aws, url: str, handles: Sequence[str], visibility_s: int) -> tuple[int, str]:
        if visibility_s:
            gave_back.wait(1.0)
        answer = hold(aws, url, handles, visibility_s)
        if not visibility_s:
            gave_back.set()
        return answer

    monkeypatch.setattr(sqs, "hold", late)
    mailbox.send(ground.body(3, 6))
    assert redriven(plan(ground, mailbox.name, keep=True)).done == 1
    assert mailbox.counts() == (1, 0)


@pytest.mark.parametrize("raw", ["true", "false"])
def test_messages_by_way_of_sns(
    ground: Ground, consumer: Invoked, ministack: MiniStack, mailbox: Mailbox, raw: str
) -> None:
    sns = ministack.client("sns")
    topic = sns.create_topic(Name=f"given-up-{uuid.uuid4().hex[:8]}")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=mailbox.arn, Attributes={"RawMessageDelivery": raw})
    sns.publish(TopicArn=topic, Message=json.dumps(ground.body(3, 6)))
    report = redriven(plan(ground, mailbox.name))
    assert (report.messages, report.done, report.delivered) == (1, 1, 3)
    assert consumer.places() == ground.places[3:6]


def test_a_rescue_gives_everything_back(ground: Ground, consumer: Invoked, mailbox: Mailbox) -> None:
    mailbox.send(ground.body(3, 6), ASYNCHRONOUS)
    path = ground.folder / "rescued.jsonl"
    found = plan(ground, mailbox.name, rescue=f"jsonl:{path}")
    assert not path.exists()
    report = found.execute()
    assert isinstance(report, RescueReport)
    assert (report.messages, report.pointers, report.records, report.exit_code) == (2, 1, 3, 4)
    assert (mailbox.counts(), consumer.got) == ((2, 0), [])
    with faulty(ground.url, [faults.AccessDenied("DescribeStream")]) as proxy:
        ground.url = proxy.endpoint_url
        later = plan(ground, mailbox.name, source_options={"archive": f"jsonl:{path}"}).execute()
    assert isinstance(later, RedriveReport)
    assert (later.done, later.deleted, later.delivered) == (1, 1, 3)


def test_it_is_told_until_when_messages_that_stay_are_of_use(
    ground: Ground, consumer: Invoked, mailbox: Mailbox
) -> None:
    """The stream forgets what they point at, and the queue deletes them: the earlier counts."""
    mailbox.client.set_queue_attributes(QueueUrl=mailbox.url, Attributes={"MessageRetentionPeriod": "7200"})
    in_an_hour, began_s = iso(time.time() - 23 * 3600), time.time()
    mailbox.send(
        ground.body(1, 2, function=None),
        ASYNCHRONOUS,
        ground.body(3, 4, function=None, approximateArrivalOfFirstRecord=in_an_hour),
        ground.body(5, 6),
    )
    consumer.map(ground.stream, FUNCTION)
    report = redriven(plan(ground, mailbox.name, to="original"))
    assert (report.done, len(report.staying), report.exit_code) == (1, 3, 4)
    soonest, *others = report.staying
    assert (soonest.expires, soonest.expires_by) == (iso(epoch_s(in_an_hour) + 24 * 3600), "the stream")
    assert {each.expires_by for each in others} == {"the queue"}
    assert all(began_s + 7199 <= epoch_s(each.expires) <= time.time() + 7201 for each in others)
    received = mailbox.client.receive_message(QueueUrl=mailbox.url, MaxNumberOfMessages=10)["Messages"]
    assert {each["MessageId"] for each in received} == {each.name for each in report.staying}
    assert {each["name"] for each in report.as_json()["staying"]} == {each.name for each in report.staying}


def test_a_rescue_writes_what_expires_first_first(ground: Ground, consumer: Invoked, mailbox: Mailbox) -> None:
    arrived_s = int(time.time()) - 12 * 3600
    order = [3, 1, 2, 0]
    for n in order:
        at = iso(arrived_s + n * 3600)
        mailbox.send(ground.body(n, n + 1, approximateArrivalOfFirstRecord=at, approximateArrivalOfLastRecord=at))
    path = ground.folder / "rescued.jsonl"
    report = plan(ground, mailbox.name, rescue=f"jsonl:{path}").execute()
    assert isinstance(report, RescueReport)
    found = [json.loads(line)["DDBStreamBatchInfo"]["startSequenceNumber"] for line in path.read_text().splitlines()]
    assert [int(each) for each in found] == ground.places[:4]
    assert [each.expires for each in report.staying] == [iso(arrived_s + n * 3600 + 24 * 3600) for n in range(4)]
    assert [each.why for each in report.staying] == [""] * 4


@contextlib.contextmanager
def denying(stack: MiniStack, operation: str) -> Iterator[Witness]:
    """MiniStack for credentials that lack the permission for that operation."""

    def answer(asked: Asked) -> Answer:
        if asked.headers.get("x-amz-target", "").endswith(operation):
            refusal = {"__type": "com.amazonaws.sqs#AccessDenied", "message": f"not authorized to perform: {operation}"}
            return in_json(refusal, 400, {"Content-Type": "application/x-amz-json-1.0"})
        headers = {name: value for name, value in asked.headers.items() if name not in ("host", "connection")}
        upstream = http.client.HTTPConnection(stack.endpoint_url.removeprefix("http://"), timeout=30)
        with contextlib.closing(upstream):
            upstream.request(asked.method, asked.target, asked.body, headers)
            told = upstream.getresponse()
            return Answer(told.status, told.read(), {"Content-Type": told.headers.get("Content-Type", "")})

    with witness(answer) as proxy:
        yield proxy


def test_what_may_not_be_deleted_is_told_and_sent_once(
    ground: Ground, consumer: Invoked, ministack: MiniStack, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox.send(ground.body(3, 6), ground.body(10, 12))
    with denying(ministack, "DeleteMessageBatch") as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", proxy.url)
        report = redriven(plan(ground, mailbox.name))
    assert (report.done, report.deleted, report.delivered, report.exit_code) == (2, 0, 5, 4)
    ((why, messages),) = report.stays
    assert (why.startswith("done, but the queue did not delete it: DeleteMessageBatch"), messages) == (True, 2)
    assert sum(mailbox.counts()) == 2


def test_what_may_not_be_given_back_is_told(
    ground: Ground, consumer: Invoked, ministack: MiniStack, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox.send(ground.body(3, 6), ASYNCHRONOUS)
    warned: list[str] = []
    with denying(ministack, "ChangeMessageVisibilityBatch") as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", proxy.url)
        report = plan(ground, mailbox.name).execute(on_warning=warned.append)
    assert isinstance(report, RedriveReport)
    assert (report.done, report.deleted) == (1, 1)
    (warning,) = warned
    assert warning.startswith("messages are hidden for up to 10 minutes more: ChangeMessageVisibilityBatch")


def test_who_works_a_queue_off_must_be_known(ground: Ground, consumer: Invoked, mailbox: Mailbox) -> None:
    """The plan stands without; taking messages away from somebody does not."""
    mailbox.send(ground.body(3, 6))
    consumer.denied = True
    found = plan(ground, mailbox.name)
    assert found.data.messages == 1
    assert [each.code for each in found.data.warnings] == ["readers-unknown"]
    assert "ListEventSourceMappings" in found.data.warnings[0].message
    with pytest.raises(AccessDenied, match="ListEventSourceMappings"):
        found.execute()
    assert mailbox.counts() == (1, 0)


def test_what_the_metric_does_not_tell_is_told(
    ground: Ground, consumer: Invoked, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = in_json({"__type": "AccessDenied", "message": "not authorized: cloudwatch:GetMetricStatistics"}, 403)
    with witness(lambda _: refusal) as cloudwatch:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", cloudwatch.url)
        data = plan(ground, mailbox.name).data
    assert [each.code for each in data.warnings] == ["no-metric"]
    assert "cloudwatch:GetMetricStatistics" in data.warnings[0].message


@pytest.mark.parametrize(
    "url",
    [
        "https://sqs.eu-west-1.amazonaws.com/123456789012/given-up",
        "https://sqs-fips.us-gov-west-1.amazonaws.com/123456789012/given-up",
        "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/given-up",
        "https://sqs.eu-west-1.api.aws/123456789012/given-up",
        "arn:aws:sqs:eu-west-1:123456789012:given-up",
    ],
)
def test_a_queue_of_another_region_is_named(url: str, mailbox: Mailbox) -> None:
    """Asked for here, there would be no such queue."""
    with pytest.raises(UsageError, match="and the Region is us-east-1") as told:
        sqs.queue_of(Aws(AwsSettings(region="us-east-1")), url)
    assert told.value.hint.startswith("Add --region ")


def test_a_queue_that_is_not_there(mailbox: Mailbox) -> None:
    with pytest.raises(NotFound, match="there is no queue nobodys-queue in us-east-1"):
        sqs.queue_of(Aws(AwsSettings(region="us-east-1")), "nobodys-queue")


def test_a_queue_that_somebody_works_off_is_refused(
    ground: Ground, consumer: Invoked, ministack: MiniStack, mailbox: Mailbox
) -> None:
    consumer.map(mailbox.arn, FUNCTION, State="Enabled")
    with pytest.raises(UsageError, match="has a mapping of its own"):
        plan(ground, mailbox.name)
    client = ministack.client("sqs")
    client.create_queue(QueueName=f"{mailbox.name}.fifo", Attributes={"FifoQueue": "true"})
    with pytest.raises(UsageError, match="is a FIFO queue"):
        plan(ground, f"{mailbox.name}.fifo")


def test_what_cannot_be_redriven_is_given_back(ground: Ground, consumer: Invoked, mailbox: Mailbox) -> None:
    mailbox.send(ASYNCHRONOUS, ground.body(1, 2, function=None))
    with pytest.raises(UsageError, match="no message has a consumer"):
        plan(ground, mailbox.name, to="original").execute()
    assert mailbox.counts() == (2, 0)
    with pytest.raises(UsageError, match="had given up"):
        plan(ground, mailbox.name, if_superseded=None).execute()
    assert redriven(plan(ground, mailbox.name)).done == 1


def test_ctrl_c_before_there_is_a_run_gives_back_what_was_taken(
    ground: Ground, consumer: Invoked, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox.send(ground.body(3, 6))
    found, asked = plan(ground, mailbox.name, to="original"), consumer.get

    def interrupted(path: str) -> tuple[int, Any]:
        os.kill(os.getpid(), signal.SIGINT)
        return asked(path)

    monkeypatch.setattr(consumer, "get", interrupted)
    with pytest.raises(KeyboardInterrupt):
        found.execute()
    assert mailbox.counts() == (1, 0)
    assert not (ground.folder / "ledger-runs" / "run" / queue.RECEIVED).exists()


@pytest.mark.parametrize(("rescues", "says"), [(False, "they are for the next run"), (True, "they are not rescued")])
def test_a_queue_that_has_more_than_a_run_takes_is_told(
    ground: Ground, consumer: Invoked, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, rescues: bool, says: str
) -> None:
    monkeypatch.setattr(queue, "MAX_MESSAGES", 10)
    mailbox.send(*(ground.body(n, n + 1) for n in range(12)))
    rescue = f"jsonl:{ground.folder / 'rescued.jsonl'}" if rescues else None
    warned: list[str] = []
    report = plan(ground, mailbox.name, rescue=rescue).execute(on_warning=warned.append)
    assert report.messages == 10
    assert warned == [f"the queue may have more than the 10 messages that were taken in: {says}"]


def test_a_message_is_held_while_the_run_works_and_for_twelve_hours_at_most(mailbox: Mailbox, tmp_path: Path) -> None:
    aws = Aws(AwsSettings(region="us-east-1", endpoint_url="http://127.0.0.1:1"))
    asked: list[list[str]] = []
    aws.client("sqs").meta.events.register(
        "before-parameter-build.sqs.ChangeMessageVisibilityBatch",
        lambda params, **_: asked.append([each["ReceiptHandle"] for each in params["Entries"]]),
    )
    ages_s = {
        "new": 0,
        "old": sqs.LONGEST_INVISIBLE_S - queue.VISIBILITY_S - 60,
        "oldest": sqs.LONGEST_INVISIBLE_S - 60,
    }
    lines = [queue.Line(name, name, "{}", time.time() - age_s) for name, age_s in ages_s.items()]
    (tmp_path / queue.RECEIVED).write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines) + b'{"half')

    async def go() -> None:
        async with queue.Holding(aws, mailbox.url, tmp_path):
            while not asked:
                await asyncio.sleep(0.01)

    asyncio.run(go())
    assert asked == [["new", "old"]]


class Streamed(io.BytesIO):
    """As botocore reads the body of an answer."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


def test_a_queue_that_gives_no_more_is_redriven_with_what_it_gave(mailbox: Mailbox, tmp_path: Path) -> None:
    """It gives out 120,000 messages at a time, to whomever; no engine here has that limit."""
    mailbox.client.send_message_batch(
        QueueUrl=mailbox.url, Entries=[{"Id": str(each), "MessageBody": f"{each}"} for each in range(10)]
    )
    aws = Aws(AwsSettings(region="us-east-1", endpoint_url="http://127.0.0.1:1"))
    received = itertools.count()

    def refuse(request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        if next(received) == 0:
            return None
        headers = {"x-amzn-query-error": "OverLimit;Sender"}
        body = b'{"__type": "com.amazonaws.sqs#OverLimit", "message": "Too many messages in flight"}'
        return AWSResponse(request.url, 403, HTTPHeaders.from_dict(headers), Streamed(body))

    aws.client("sqs").meta.events.register("before-send.sqs.ReceiveMessage", refuse)
    found = sqs.queue_of(aws, mailbox.name)
    assert queue.take_in(aws, found, tmp_path / queue.RECEIVED) == (10, True)
    with pytest.raises(AwsError, match="OverLimit") as told:
        queue.take_in(aws, found, tmp_path / "another.jsonl")
    assert "120,000 of its messages are held already" in told.value.hint
    assert mailbox.counts() == (0, 10)


def test_no_more_than_a_run_may_hold_is_received(
    mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "MAX_MESSAGES", 30)
    for n in range(4):
        mailbox.client.send_message_batch(
            QueueUrl=mailbox.url, Entries=[{"Id": str(each), "MessageBody": f"{n}-{each}"} for each in range(10)]
        )
    aws = Aws(AwsSettings(region="us-east-1", endpoint_url="http://127.0.0.1:1"))
    found = sqs.queue_of(aws, mailbox.name)
    path = tmp_path / queue.RECEIVED
    assert queue.take_in(aws, found, path) == (30, True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len({line.message_id for line in queue.lines_of(tmp_path)}) == 30
    assert mailbox.counts() == (10, 30)
    assert queue.give_back(aws, mailbox.url, tmp_path, frozenset(range(1, 11)), keep=False) == (10, "", "")
    assert mailbox.counts() == (30, 0)


@pytest.mark.soak
def test_kills_delete_nothing_that_was_not_done(
    ground: Ground, mailbox: Mailbox, tmp_path: Path, kills: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is lost, and nothing comes twice but what was in flight, though messages stand twice."""
    kills = min(kills, 20)  # as many as so few records allow
    monkeypatch.chdir(tmp_path)
    delivered = noting(tmp_path, monkeypatch)

    def arrived() -> list[int]:
        return [int(line) for line in whole_lines(delivered)]

    bodies = [ground.body(first, first + 4) for first in range(0, ITEMS, 4)]
    mailbox.send(*bodies, *bodies[::3])
    total = len(bodies) + len(bodies[::3])
    words = ["redrive", f"sqs://{mailbox.name}", "--to", TARGET, "--if-superseded", "send"]
    words += ["--endpoint-url", ground.url, "--region", "us-east-1", "--batch-size", "2", "--execute", "--json"]
    first = [*words, "--rate", str(15 * ITEMS // (kills * 10)), "--run", "killed"]
    rng = random.Random(3)
    for _ in range(kills):
        with command(*first) as started:
            wanted = max(1, len(arrived()) + rng.randint(0, 1))  # all of it is taken in by then
            while len(arrived()) < wanted and not started.ended:
                time.sleep(0.01)
            time.sleep(rng.uniform(0.0, 0.4))  # the moment is what is random
            assert not started.ended, started.stderr
            started.kill()
            assert started.wait() == -9
        assert sum(mailbox.counts()) == total
    code, out, err = run_restrike(*first[:-4], "--run", "killed")
    assert code == 0, err
    report = json.loads(out)
    assert (report["state"], report["messages"], report["done"], report["deleted"]) == (
        "COMPLETED",
        total,
        total,
        total,
    )
    assert set(arrived()) == set(ground.places)
    assert len(arrived()) - ITEMS <= 2 * kills
    assert mailbox.counts() == (0, 0)
