"""What doctor needs of IAM: the table's description, and for all else that it knows more."""

from __future__ import annotations

from pathlib import Path

import msgspec

from restrike.aws import permissions as aws
from restrike.diagnosing.request import DoctorRequest
from restrike.model.permissions import UNKNOWN, Kept, Need, Scope
from restrike.sources import kind_of
from restrike.stores import permissions as stores
from restrike.wiring.undelivered import queue_named


def needs(request: DoctorRequest, scope: Scope) -> tuple[Need, ...]:
    table = scope.table(request.table)
    return (
        aws.describing(scope, request.table),
        Need(
            "Recovery",
            ("dynamodb:DescribeContinuousBackups",),
            (table,),
            without="whether and how far back the table can be exported is not known",
        ),
        Need("TimeToLive", ("dynamodb:DescribeTimeToLive",), (table,), without="that items expire is not told"),
        Need(
            "Samples",
            ("dynamodb:Scan", "dynamodb:Query"),
            (table, scope.index(request.table, "*")),
            without="which index could select by date is not known, and filters are tried on no items",
            kept=Kept("table", request.table),
        ),
        Need(
            "Items",
            ("dynamodb:BatchGetItem",),
            (table,),
            without="filters are tried on no items of a key or a window",
            kept=Kept("table", request.table),
        ),
        Need("ListStreams", ("dynamodb:ListStreams",), without="earlier streams that can still be read are not named"),
        aws.reading_stream(scope, request.table, without="how far back the stream reaches is not known"),
        *aws.naming_consumers(scope, request.table),
        *aws.naming_destinations(scope, request.table),
        Need(
            "FunctionSettings",
            ("lambda:GetFunctionConfiguration",),
            (scope.arn("lambda", "function:*"),),
            without="when a function was last changed is not known",
        ),
        Need("Metrics", ("cloudwatch:GetMetricData",), without="what may have been lost is not known"),
        *_given_up(scope),
        *_places(request, scope),
    )


def _given_up(scope: Scope) -> tuple[Need, ...]:
    """On-failure destinations, of which only the mappings know which they are."""
    return (
        Need(
            "GivenUpQueues",
            ("sqs:GetQueueUrl", "sqs:GetQueueAttributes"),
            (scope.arn("sqs", UNKNOWN),),
            without="how many messages the queues hold is not known, nor for how long",
        ),
        Need(
            "GivenUpBuckets",
            ("s3:ListBucket",),
            (f"arn:{scope.partition}:s3:::{UNKNOWN}",),
            without="how many messages the buckets hold is not known",
        ),
    )


def _places(request: DoctorRequest, scope: Scope) -> tuple[Need, ...]:
    """Archives, exports and messages that flags name; those of a queue are among what mappings gave up."""
    found: list[Need] = []
    if request.failures is not None and queue_named(request.failures) is None:
        found += stores.reading(scope, request.failures.removeprefix("failures:"))
    for scheme, text in (("archive", request.archive), ("export", request.export)):
        if text is None:
            continue
        uri = kind_of(scheme).parse(f"{scheme}:{text.removeprefix(f'{scheme}:').partition('/table=')[0]}", Path.cwd())
        found += stores.reading(scope, uri.rest)
    return tuple(msgspec.structs.replace(need, without="what is kept there is not known") for need in found)
