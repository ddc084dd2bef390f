"""SQS: a queue's attributes, and its messages taken, held, given back and deleted. Calls block."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from restrike.aws.session import Aws, ask
from restrike.errors import AccessDenied, AwsError, NotFound, UsageError

METRIC_WINDOW_S = 900
A_CALL = 10  # messages, the limit of each of these calls
MOST_HELD = 120_000  # messages of one queue that are held at a time, by whomever
OVER_LIMIT = ("OverLimit", "AWS.SimpleQueueService.OverLimit")
"""The codes with which a queue refuses to give out more than MOST_HELD."""
LONGEST_INVISIBLE_S = 12 * 3600
"""From the receive on, however often it is extended; then the message is received again."""
_UNKNOWN = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}(\.fifo)?")
_ARN = re.compile(r"arn:[\w-]+:sqs:(?P<region>[\w-]+):(?P<account>\d{12}):(?P<name>[\w.-]+)")
_URL = re.compile(r"https?://(sqs(-fips)?\.(?P<region>[a-z]{2}[a-z-]+-\d)\.(amazonaws\.|api\.aws))")


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
    """A message as it was received; `handle` is what it is held, given back and deleted by. `sent_s` is when it was
    sent first (epoch seconds), also where a queue has moved it here; None where that is not told."""

    message_id: str
    handle: str
    body: str
    sent_s: float | None = None


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
    region = next((match["region"] for form in (_ARN, _URL) if (match := form.match(text)) is not None), aws.region)
    if region != aws.region:
        raise UsageError(f"the queue is in {region}, and the Region is {aws.region}", f"Add --region {region}.")
    if text.startswith(("https://", "http://")):
        url = text
    else:
        request = {"QueueName": text}
        if (arn := _ARN.fullmatch(text)) is not None:
            request = {"QueueName": arn["name"], "QueueOwnerAWSAccountId": arn["account"]}
        check_name(text, request["QueueName"])
        url = str(_of_queue(aws, text, "GetQueueUrl", **request)["QueueUrl"])
    attributes = _of_queue(aws, text, "GetQueueAttributes", QueueUrl=url, AttributeNames=["All"]).get("Attributes", {})
    return Queue(url, str(attributes.get("QueueArn", "")), attributes)


def _of_queue(aws: Aws, text: str, operation: str, **request: Any) -> dict[str, Any]:
    try:
        return ask(aws.client("sqs"), operation, **request)
    except AwsError as error:
        if error.code not in _UNKNOWN:
            raise
        raise NotFound(
            f"there is no queue {text} in {aws.region}",
            "Look: aws sqs list-queues",
            code=error.code,
            operation=operation,
        ) from None


def oldest_age_s(aws: Aws, queue: Queue) -> float | None:
    """How old the queue's oldest message is, by its metric; None where that is not to be had (no answer, no data point
    in the last quarter of an hour). Raises AccessDenied."""
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
    except AccessDenied:
        raise
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
        MessageSystemAttributeNames=["SentTimestamp"],
    )
    return [
        Received(each["MessageId"], each["ReceiptHandle"], each.get("Body", ""), _sent_s(each))
        for each in answer.get("Messages", ())
    ]


def _sent_s(message: Mapping[str, Any]) -> float | None:
    text = str(message.get("Attributes", {}).get("SentTimestamp", ""))
    return int(text) / 1000 if text.isdecimal() else None


def hold(aws: Aws, url: str, handles: Sequence[str], visibility_s: int) -> tuple[int, str]:
    """Nobody else gets those for so long from now; 0 gives them back. How many of them it was said of, and why not of
    all: one that was received again has another handle by now."""
    return _batches(aws, "ChangeMessageVisibilityBatch", url, handles, {"VisibilityTimeout": visibility_s})


def delete(aws: Aws, url: str, handles: Sequence[str]) -> tuple[int, str]:
    """How many of them were deleted, and why not all."""
    return _batches(aws, "DeleteMessageBatch", url, handles, {})


def _batches(aws: Aws, operation: str, url: str, handles: Sequence[str], more: dict[str, Any]) -> tuple[int, str]:
    """How many were done, and what was said first against one that was not."""
    done, why = 0, ""
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
            why = why or error.message
            continue  # a handle that has gone stale spoils the whole call with some
        done += len(answer.get("Successful", ()))
        for each in answer.get("Failed", ()):
            why = why or f"{operation}: {each.get('Code', '')}: {each.get('Message', '')}"
    return done, why
