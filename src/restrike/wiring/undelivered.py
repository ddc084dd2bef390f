"""Where a mapping or a pipe sends what it gives up, and whether `restrike redrive` takes it from there."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from restrike.aws import lambda_, sqs
from restrike.aws.session import Aws
from restrike.aws.sqs import Queue
from restrike.aws.streams import RETENTION_S
from restrike.errors import AccessDenied, AwsError, UsageError
from restrike.model.diagnosis import Undelivered
from restrike.stores import open_store

_ARN = re.compile(r"arn:[\w-]+:(?P<service>[\w-]+):(?P<region>[\w-]*):(?P<account>\d*):(?P<rest>.+)")
MOST_OBJECTS = 10_000
"""Of a bucket that are counted; where there are more, how many is not known."""
_QUEUES = ("sqs://", "arn:aws:sqs:", "https://sqs.")
_NOT_LIVE = ("Disabled", "Deleting")


def queue_named(failures: str) -> str | None:
    """The name, URL or ARN of the queue that FAILURES is; None where it is none. UsageError where it is misspelt."""
    text = failures.removeprefix("failures:")
    if not text.startswith(_QUEUES):
        if text.lower().startswith("sqs:"):
            raise UsageError(f"{text!r} is no queue", f"Write sqs://{text[4:].lstrip('/')}.")
        return None
    named = text.removeprefix("sqs://")
    if not named.strip("/"):
        raise UsageError(f"{text!r} names no queue", "Write sqs://NAME, or the queue's URL or ARN.")
    return named


def queue_to_redrive(aws: Aws, text: str) -> tuple[Queue, AccessDenied | None]:
    """The queue; and why it is not known who works it off, where that may not be asked. UsageError where it must not be
    redriven: a FIFO queue, or one that somebody else works off."""
    queue = sqs.queue_of(aws, text)
    return queue, _check(aws, queue, text)


def _check(aws: Aws, queue: Queue, text: str) -> AccessDenied | None:
    if queue.fifo:
        raise UsageError(f"{text} is a FIFO queue: no mapping reports to one", "Name the on-failure destination.")
    if not aws.may_ask("lambda") or not queue.arn:
        return None
    try:
        mappings = lambda_.event_source_mappings(aws, queue.arn)
    except AccessDenied as error:
        return error
    live = [str(each.get("FunctionArn")) for each in mappings if each.get("State") not in _NOT_LIVE]
    if live:
        raise UsageError(
            f"{text} has a mapping of its own: {', '.join(live)} gets its messages, too",
            "Disable that mapping first, and wait until it says Disabled.",
        )
    return None


def expires_in_s(oldest_age_s: float | None, retention_s: int | None) -> float | None:
    """The time that is left of a queue's oldest message at most: by how long the queue keeps it, and by the 24 h after
    a batch's arrival for which a pointer is good. None where its age is not known."""
    if oldest_age_s is None:
        return None
    return max(0.0, min(retention_s or RETENTION_S, RETENTION_S) - oldest_age_s)


def destination(arn: str, mapping: str = "") -> Undelivered:
    """What its ARN says of an on-failure destination, without a question to anybody. `mapping`: the UUID of the mapping
    that sends there, in whose folder of a bucket Lambda puts what it gives up."""
    found = _ARN.fullmatch(arn)
    service, rest = (found["service"], found["rest"]) if found else ("", arn)
    if service == "sqs":
        fifo = rest.endswith(".fifo")
        why = "a FIFO queue: no mapping reports to one" if fifo else ""
        return Undelivered(arn, "sqs", uri=f"sqs://{arn}", redrivable=not fifo, why_not=why)
    if service == "sns":
        return Undelivered(
            arn, "sns", why_not="a topic keeps nothing: a queue that is subscribed to it can be redriven"
        )
    if service == "s3":
        folder = f"aws/lambda/{mapping}/" if mapping else ""
        return Undelivered(arn, "s3", uri=f"s3://{rest}/{folder}", redrivable=True)
    return Undelivered(arn, "other", why_not=f"{service or arn} is none that redrive reads")


def named(failures: str) -> Undelivered:
    """What FAILURES, as redrive takes it, says by itself: a queue, a prefix in a bucket, a file or folder."""
    queue = queue_named(failures)
    if queue is not None:
        return Undelivered(queue if queue.startswith("arn:") else "", "sqs", f"sqs://{queue}", redrivable=True)
    where = failures.removeprefix("failures:")
    if where.startswith("s3://"):
        return Undelivered("", "s3", where, redrivable=True)
    why = "" if Path(where).exists() else "there is no such file or folder"
    return Undelivered("", "file", where, redrivable=not why, why_not=why)


def look_into(aws: Aws, found: Undelivered, now_s: float) -> Undelivered:
    """The same with what its queue or bucket tells: how many messages there are, how long they are kept, and whether
    somebody else works them off. How old a queue's oldest is only its metric tells. Raises AwsError or UsageError where
    that cannot be asked."""
    if found.kind == "sqs":
        return _queue(aws, found)
    if found.kind == "s3":
        return _bucket(aws, found, now_s)
    return found


def _queue(aws: Aws, found: Undelivered) -> Undelivered:
    text, why = found.uri.removeprefix("sqs://"), ""
    queue = sqs.queue_of(aws, text)
    try:
        _check(aws, queue, queue.arn.rpartition(":")[2] or text)
    except UsageError as error:
        why = error.message
    except AwsError:
        pass  # who else works it off is not known, and redrive will say so
    parts = ("", "NotVisible", "Delayed")
    numbers = [queue.number(f"ApproximateNumberOfMessages{part}") for part in parts]
    return Undelivered(
        arn=queue.arn or found.arn,
        kind="sqs",
        uri=found.uri,
        messages=None if numbers[0] is None else sum(number or 0 for number in numbers),
        redrivable=not why,
        why_not=why,
        retention_s=queue.number("MessageRetentionPeriod"),
    )


def _bucket(aws: Aws, found: Undelivered, now_s: float) -> Undelivered:
    bucket, _, folder = found.uri.removeprefix("s3://").partition("/")
    objects = open_store(f"s3://{bucket}", lambda: aws).some_objects(folder.rstrip("/"), MOST_OBJECTS)
    oldest_s = min((each.modified_s for each in objects), default=None)
    return msgspec.structs.replace(
        found,
        messages=len(objects) if len(objects) < MOST_OBJECTS else None,
        oldest_age_s=None if oldest_s is None else max(0.0, now_s - oldest_s),
    )
