"""Who gets the table's changes: how each is set, whether a touch would fire it, and where what it gives up goes."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from restrike.aws import lambda_, pipelines
from restrike.aws.lambda_ import mapped_function
from restrike.diagnosing.questions import Questions
from restrike.model.diagnosis import ConsumerSeen, Undelivered, Unseen, WillFire
from restrike.model.plan import Consumer
from restrike.model.table import TableInfo
from restrike.wiring.audience import AT_REST
from restrike.wiring.consumers import READING, Tried, consumers_in, tried
from restrike.wiring.undelivered import destination, look_into

Records = Sequence[Mapping[str, Any]]

_LOOKED_INTO = {"sqs": ("sqs", "sqs:GetQueueUrl, sqs:GetQueueAttributes"), "s3": ("s3", "s3:ListBucket")}
"""Kind of an on-failure destination that can be looked into → the service, and what that takes."""
_NAMES = {"lambda": "Lambda", "sqs": "SQS", "s3": "S3"}
_EARLIER = "it reads an earlier stream of the table, to which nothing is written any more"


def _of_mapping(
    region: str, table: TableInfo, consumer: Consumer, mapping: Mapping[str, Any], touched: Records
) -> ConsumerSeen:
    function = mapped_function(mapping)
    if function.region == region and function.account == table.account:
        function = msgspec.structs.replace(function, region=None, account=None)
    uuid, stream = str(mapping.get("UUID", "")), str(mapping.get("EventSourceArn", ""))
    filters = (mapping.get("FilterCriteria") or {}).get("Filters") or []
    found = Tried() if lambda_.unreadable_filter(mapping) is not None else tried(filters, touched)
    will_fire = WillFire(consumer.fires, consumer.why, found.matches, found.sampled, found.refused)
    earlier = stream not in ("", table.stream_arn)
    given_up = ((mapping.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination")
    return ConsumerSeen(
        name=str(function),
        kind="lambda",
        state=consumer.state,
        will_fire=WillFire(False, _EARLIER) if earlier else will_fire,
        function=str(function),
        mapping=uuid,
        last_result=str(mapping.get("LastProcessingResult") or ""),
        reads_now=consumer.state in READING and not earlier,
        batch_size=mapping.get("BatchSize"),
        window_s=mapping.get("MaximumBatchingWindowInSeconds"),
        parallel=mapping.get("ParallelizationFactor"),
        retries=mapping.get("MaximumRetryAttempts"),
        max_age_s=mapping.get("MaximumRecordAgeInSeconds"),
        bisects=mapping.get("BisectBatchOnFunctionError"),
        filters=_patterns(filters),
        on_failure=destination(str(given_up), uuid) if given_up else None,
        mapping_metrics="EventCount" in ((mapping.get("MetricsConfig") or {}).get("Metrics") or ()),
        stream=stream if earlier else "",
    )


def of_pipe(consumer: Consumer, pipe: Mapping[str, Any] | None, touched: Records) -> ConsumerSeen:
    """A pipe; `pipe` is its description, None where it could not be read."""
    filters = [] if pipe is None else pipelines.filters_of(pipe)
    how = ((pipe or {}).get("SourceParameters") or {}).get("DynamoDBStreamParameters") or {}
    found = Tried() if pipe is None else tried(filters, touched)
    given_up = (how.get("DeadLetterConfig") or {}).get("Arn")
    return ConsumerSeen(
        name=consumer.name,
        kind="pipe",
        state=consumer.state,
        will_fire=WillFire(consumer.fires, consumer.why, found.matches, found.sampled, found.refused),
        reads_now=consumer.state not in AT_REST,
        batch_size=how.get("BatchSize"),
        window_s=how.get("MaximumBatchingWindowInSeconds"),
        parallel=how.get("ParallelizationFactor"),
        retries=how.get("MaximumRetryAttempts"),
        max_age_s=how.get("MaximumRecordAgeInSeconds"),
        bisects=how.get("OnPartialBatchItemFailure") == "AUTOMATIC_BISECT" if how else None,
        filters=_patterns(filters),
        on_failure=destination(str(given_up)) if given_up else None,
    )


def of_others(known: Sequence[Consumer]) -> tuple[ConsumerSeen, ...]:
    """Kinesis destinations and pipelines of OpenSearch Ingestion."""
    return tuple(
        ConsumerSeen(
            name=each.name,
            kind=each.kind,
            state=each.state,
            will_fire=WillFire(each.fires, each.why),
            reads_now=each.fires is not False,
        )
        for each in known
    )


def _patterns(filters: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(str(each.get("Pattern", "")) for each in filters)


async def mapped(
    questions: Questions, table: TableInfo, streams: Sequence[str], touched: Records
) -> tuple[ConsumerSeen, ...]:
    """The functions that mappings of those streams invoke, as far as Lambda tells."""
    aws = questions.aws
    if not streams or not questions.may_ask("lambda", "Lambda"):
        return ()
    listed = await asyncio.gather(
        *(
            questions.ask(
                "Lambda functions",
                functools.partial(lambda_.event_source_mappings, aws, arn),
                service="lambda",
                permission="lambda:ListEventSourceMappings",
            )
            for arn in streams
        )
    )
    every = [mapping for found in listed for mapping in found or ()]
    if not every:
        return ()
    # In a thread: what is encrypted is asked for by itself.
    told = await questions.ask("the mappings' filters", lambda: consumers_in(aws, every, touched), service="lambda")
    if told is None:
        return ()
    for mapping in told.mappings:
        why = lambda_.unreadable_filter(mapping)
        if why is not None:
            denied = why.startswith("access denied")
            name = mapped_function(mapping).name
            permission = "lambda:GetEventSourceMapping" if denied else ""
            questions.note(Unseen(f"the filter of {name}", why, permission))
    return tuple(
        _of_mapping(aws.region, table, consumer, mapping, touched)
        for consumer, mapping in zip(told.known, told.mappings, strict=True)
    )


async def looked_into(questions: Questions, consumer: ConsumerSeen, now_s: float) -> ConsumerSeen:
    """With what its function and its on-failure destination tell."""
    changed_s, shares, given_up = await asyncio.gather(
        _changed_s(questions, consumer),
        _shares(questions, consumer),
        undelivered(questions, consumer.on_failure, now_s),
    )
    return msgspec.structs.replace(consumer, changed_s=changed_s, shares_function=shares, on_failure=given_up)


async def _changed_s(questions: Questions, consumer: ConsumerSeen) -> float | None:
    if not consumer.function:
        return None
    found = await questions.ask(
        f"function {consumer.function}",
        lambda: lambda_.describe_function(questions.aws, lambda_.function_name(consumer.function)),
        service="lambda",
        permission="lambda:GetFunctionConfiguration",
    )
    return None if found is None else found.changed_s


async def _shares(questions: Questions, consumer: ConsumerSeen) -> bool:
    if not consumer.function:
        return False
    found = await questions.ask(
        f"other event sources of {consumer.function}",
        lambda: lambda_.has_other_sources(questions.aws, lambda_.function_name(consumer.function), consumer.mapping),
        service="lambda",
        permission="lambda:ListEventSourceMappings",
    )
    return bool(found)


async def undelivered(questions: Questions, found: Undelivered | None, now_s: float) -> Undelivered | None:
    """An on-failure destination with what is in it, as far as that is told."""
    service, permissions = _LOOKED_INTO.get("" if found is None else found.kind, ("", ""))
    if found is None or not service:
        return found
    what = f"what is in {found.uri or found.arn}"
    if not questions.may_ask(service, _NAMES[service]):
        return found
    told = await questions.ask(
        what, lambda: look_into(questions.aws, found, now_s), service=service, permission=permissions
    )
    return told or found
