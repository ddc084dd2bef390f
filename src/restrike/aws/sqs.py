"""SQS: a queue's attributes, and its messages taken, held, given back and deleted. Calls block."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from restrike.aws.session import Aws, ask
from restrike.errors import AwsError, UsageError

METRIC_WINDOW_S = 900
A_CALL = 10  # messages, the limit of each of these calls
MOST_HELD = 120_000  # messages of one queue that are held at a time, by whomever
OVER_LIMIT = ("OverLimit", "AWS.SimpleQueueService.OverLimit")
"""The codes with which a queue refuses to give out more than MOST_HELD."""
LONGEST_INVISIBLE_S = 12 * 3600
"""From the receive on, however often it is extended; then the message is received again."""
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}(\.fifo)?")
_ARN = re.compile(r"arn:[\w-]+:sqs:(?P<region>[\w-]+):(?P<account>\d{12}):(?P<name>[\w.-]+)")


class Queue(msgspec.Struct, frozen=True):
    """A queue as GetQueueAttributes tells of it."""

    url: str
    arn: str
    attributes: dict[str, str]

    @property
    def fifo(self) -> bool:
        return self.url.endswith(".fifo") or self.attributes.get("FifoQueue") == "true"

    def number(self, name: str) -> int | None:
        text = self.attributes.get(name)
        return int(text) if text is not None and text.isdecimal() else None


class Received(msgspec.Struct, frozen=True):
    """A message as it was received; `handle` is what it is held, given back and deleted by."""

    message_id: str
    handle: str
    body: str


def check_name(text: str, name: str) -> None:
    """UsageError where the name in what was typed is none of a queue."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{text!r} is no queue", "Write sqs://NAME, sqs://URL or sqs://ARN.")


def queue_of(aws: Aws, text: str) -> Queue:
    """The queue of that name, URL or ARN. UsageError where it is none, or on another machine than the table."""
    if not aws.may_ask("sqs"):
        raise UsageError(
            "the table is on this machine, and the queue would be one of an AWS account",
            "Set AWS_ENDPOINT_URL_SQS to where the queue is.",
        )
    client = aws.client("sqs")
    if text.startswith(("https://", "http://")):
        url = text
    else:
        request = {"QueueName": text}
        if (arn := _ARN.fullmatch(text)) is not None:
            if arn["region"] != aws.region:
                raise UsageError(
                    f"the queue is in {arn['region']}, and the Region is {aws.region}", f"Add --region {arn['region']}."
                )
            request = {"QueueName": arn["name"], "QueueOwnerAWSAccountId": arn["account"]}
        check_name(text, request["QueueName"])
        url = str(ask(client, "GetQueueUrl", **request)["QueueUrl"])
    attributes = ask(client, "GetQueueAttributes", QueueUrl=url, AttributeNames=["All"]).get("Attributes", {})
    return Queue(url, str(attributes.get("QueueArn", "")), attributes)


def oldest_age_s(aws: Aws, queue: Queue) -> float | None:
    """How old the queue's oldest message is, by its metric; None where that is not to be had (no permission, no answer,
    no data point in the last quarter of an hour)."""
    if not aws.may_ask("cloudwatch"):
        return None
    now = datetime.now(UTC)
    try:
        answer = ask(
            aws.client("cloudwatch"),
            "GetMetricStatistics",
            Namespace="AWS/SQS",
            MetricName="ApproximateAgeOfOldestMessage",
            Dimensions=[{"Name": "QueueName", "Value": queue.url.rpartition("/")[2]}],
            StartTime=now - timedelta(seconds=METRIC_WINDOW_S),
            EndTime=now,
            Period=60,
            Statistics=["Maximum"],
        )
    except (AwsError, UsageError):
        return None
    points = sorted(answer.get("Datapoints", ()), key=lambda each: each["Timestamp"])
    return float(points[-1]["Maximum"]) if points else None


def receive(aws: Aws, url: str, *, visibility_s: int, wait_s: int) -> list[Received]:
    """At most ten of its messages, which nobody else gets for so long."""
    answer = ask(
        aws.client("sqs"),
        "ReceiveMessage",
        QueueUrl=url,
        MaxNumberOfMessages=A_CALL,
        VisibilityTimeout=visibility_s,
        WaitTimeSeconds=wait_s,
    )
    return [
        Received(each["MessageId"], each["ReceiptHandle"], each.get("Body", "")) for each in answer.get("Messages", ())
    ]


def hold(aws: Aws, url: str, handles: Sequence[str], visibility_s: int) -> int:
    """Nobody else gets those for so long from now; 0 gives them back. How many of them it was said of: one that was
    received again has another handle by now."""
    return _batches(aws, "ChangeMessageVisibilityBatch", url, handles, {"VisibilityTimeout": visibility_s})


def delete(aws: Aws, url: str, handles: Sequence[str]) -> int:
    """How many of them were deleted."""
    return _batches(aws, "DeleteMessageBatch", url, handles, {})


def _batches(aws: Aws, operation: str, url: str, handles: Sequence[str], more: dict[str, Any]) -> int:
    done = 0
    for first in range(0, len(handles), A_CALL):
        entries = [
            {"Id": str(number), "ReceiptHandle": handle, **more}
            for number, handle in enumerate(handles[first : first + A_CALL])
        ]
        try:
            answer = ask(aws.client("sqs"), operation, QueueUrl=url, Entries=entries)
        except AwsError as error:
            if error.status >= 500 or error.status == 0:
                raise
            continue  # a handle that has gone stale spoils the whole call with some
        done += len(answer.get("Successful", ()))
    return done
