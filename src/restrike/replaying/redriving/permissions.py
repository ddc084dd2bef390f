"""What redrive needs of IAM."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from restrike import targets
from restrike.aws import permissions as aws
from restrike.aws import sqs
from restrike.aws.lambda_ import function_name
from restrike.aws.settings import AwsSettings
from restrike.errors import UsageError
from restrike.model.permissions import UNKNOWN, Kept, Need, Scope
from restrike.model.uri import Uri
from restrike.replaying import permissions as replaying
from restrike.replaying.redriving import queue as queues
from restrike.replaying.redriving.request import ORIGINAL, RedriveRequest, check
from restrike.replaying.redriving.run import redrive_of
from restrike.running.run import Run
from restrike.sources.failures import KIND
from restrike.stores import permissions as stores
from restrike.wiring.undelivered import queue_named

_URL = re.compile(r"https?://(?:sqs\.(?P<region>[a-z0-9-]+)\.)?[^/]+/(?P<account>\d{12})/[^/]+")


def needs(request: RedriveRequest, scope: Scope, consumer: str | None = None) -> tuple[Need, ...]:
    """`consumer`: the function that the messages are of, where they go to their original one."""
    check(request)
    asked = request.replay
    if consumer is not None and asked.to != ORIGINAL:
        raise UsageError(f"--consumer goes with --to {ORIGINAL}", "Leave it out: nobody else gets them.")
    return (
        *_messages(request, scope),
        *(_target(asked.to, scope, consumer) if request.rescue is None else ()),
        *(replaying.superseding(scope, UNKNOWN) if asked.if_superseded == "skip" else ()),
    )


def _messages(request: RedriveRequest, scope: Scope) -> tuple[Need, ...]:
    failures, options = request.replay.source, request.replay.source_options
    queue = queue_named(failures)
    if queue is not None:
        if request.delete_objects:
            text = "--delete-objects is for objects in S3, and messages of a queue go when they are done"
            raise UsageError(text, "Leave it out.")
        received = Uri("failures", queues.RECEIVED, failures)
        return (*_queue(request, scope, queue), *KIND.permissions(received, options, scope))
    where = KIND.parse(failures, Path.cwd())
    deleting = stores.deleting(scope, where.rest, named=True) if request.delete_objects else ()
    return (*KIND.permissions(where, options, scope), *deleting)


def _queue(request: RedriveRequest, scope: Scope, named: str) -> tuple[Need, ...]:
    arn = queue_arn(scope, named)
    actions = ["sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:ChangeMessageVisibility"]
    if not named.startswith(("https://", "http://")):
        actions.append("sqs:GetQueueUrl")
    if not request.keep and request.rescue is None:
        actions.append("sqs:DeleteMessage")
    return (
        Need("Queue", tuple(actions), (arn,), kept=Kept("queue", named)),
        aws.listing_mappings(),  # whether somebody else works the queue off
        Need("QueueAge", ("cloudwatch:GetMetricStatistics",), without="how old the oldest message is, is not known"),
    )


def queue_arn(scope: Scope, named: str) -> str:
    """Of a queue by its name, ARN, or URL, which tells its Region and ends with account and name."""
    name = named.rpartition("/")[2].rpartition(":")[2]
    sqs.check_name(named, name)
    if named.startswith("arn:"):
        return named
    found = _URL.fullmatch(named)
    if found is None:
        return scope.arn("sqs", name)
    region, account = found["region"] or scope.region, found["account"]
    return msgspec.structs.replace(scope, region=region, account=account).arn("sqs", name)


def _target(to: str, scope: Scope, consumer: str | None) -> tuple[Need, ...]:
    if to != ORIGINAL:
        target = targets.parse(to, Path.cwd())
        of_target = targets.kind_of(target).permissions(target, {}, scope)
        return (*of_target, *replaying.of_mapping(target, scope, UNKNOWN))
    function = None if consumer is None else function_name(consumer)
    any_qualifier = function is not None and function.qualifier is None  # its mapping may invoke it by an alias
    return (*aws.invoking(scope, function, any_qualifier=any_qualifier), *replaying.mapping(scope, UNKNOWN))


def asked_of(run: Run) -> tuple[RedriveRequest, AwsSettings]:
    """What a run goes on with, and where AWS is for it."""
    redrive = redrive_of(run)
    return redrive.request, redrive.base.aws
