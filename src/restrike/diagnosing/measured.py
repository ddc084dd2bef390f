"""What CloudWatch has of the table and its consumers: one GetMetricData for all of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from restrike.aws import cloudwatch
from restrike.aws.sqs import METRIC_WINDOW_S
from restrike.aws.streams import RETENTION_S
from restrike.diagnosing.questions import Questions
from restrike.model.diagnosis import ConsumerSeen, Undelivered, Unseen
from restrike.model.metrics import USD_PER_METRIC, Metric, Series, of_function
from restrike.model.numbers import counted
from restrike.model.table import TableInfo
from restrike.wiring.undelivered import expires_in_s

PERIOD_S = 300
_PERIODS_S = ((3 * 86_400, PERIOD_S), (15 * 86_400, 900), (math.inf, 3600))
"""Up to how many seconds back → the period: CloudWatch keeps fewer values of what is long ago."""
MOST_BACK_S = 455 * 86_400.0
_OF_FUNCTION = ("Invocations", "Errors", "Throttles", "IteratorAge", "DestinationDeliveryFailures")
_OF_MAPPING = (
    "PolledEventCount",
    "FilteredOutEventCount",
    "InvokedEventCount",
    "FailedInvokeEventCount",
    "DroppedEventCount",
    "OnFailureDestinationDeliveredEventCount",
)
_ENOUGH_MORE = 0.5
"""So much beyond the readers that are known tells of another one."""


class Measured(msgspec.Struct, frozen=True):
    """What was answered, by its metric, and what asking cost."""

    series: Mapping[Metric, Series] = {}
    usd: float = 0.0


def period_s(since_s: float, now_s: float) -> int:
    return next(period for back_s, period in _PERIODS_S if now_s - since_s <= back_s)


def since_s(asked_s: float | None, now_s: float) -> float:
    """From when on: a day, or further back where that is asked for."""
    day_ago_s = now_s - RETENTION_S
    return day_ago_s if asked_s is None else max(min(asked_s, day_ago_s), now_s - MOST_BACK_S)


def of_table(table: TableInfo) -> tuple[Metric, Metric | None]:
    """What is written to the table, and what is read of its stream; that is None without a stream."""
    name = ("TableName", table.name)
    written = Metric("AWS/DynamoDB", "ConsumedWriteCapacityUnits", (name,), "Sum")
    if table.stream_arn is None:
        return written, None
    label = ("StreamLabel", table.stream_arn.rpartition("/")[2])
    returned = Metric("AWS/DynamoDB", "ReturnedRecordsCount", (name, ("Operation", "GetRecords"), label), "Sum")
    return written, returned


def of_consumer(consumer: ConsumerSeen) -> dict[str, Metric]:
    """Its metrics by their names: those of its function, and those of its mapping where these are on."""
    if not consumer.function:
        return {}
    called = consumer.function.rpartition(":function:")[2]
    unqualified, colon, _ = called.partition(":")
    found = of_function(unqualified, called if colon else "", _OF_FUNCTION)
    if consumer.mapping_metrics:
        mapping = (("EventSourceMappingUUID", consumer.mapping),)
        found |= {name: Metric("AWS/Lambda", name, mapping, "Sum") for name in _OF_MAPPING}
    return found


def of_queue(found: Undelivered | None) -> Metric | None:
    if found is None or found.kind != "sqs":
        return None
    name = found.uri.removeprefix("sqs://").rpartition("/")[2].rpartition(":")[2]
    return Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", (("QueueName", name),), "Maximum")


async def measured(questions: Questions, metrics: Iterable[Metric], since_s: float, now_s: float) -> Measured:
    """The values of those metrics, each asked for once; of more than one call's those of the first."""
    every = list(dict.fromkeys(metrics))
    if not every or not questions.may_ask(cloudwatch.SERVICE, "CloudWatch"):
        return Measured()
    asked = every[: cloudwatch.A_CALL]
    if len(every) > len(asked):
        what = f"{counted(len(every) - len(asked), 'metric')} of {len(every):,}"
        questions.note(Unseen(what, f"one question asks for {cloudwatch.A_CALL}"))
    found = await questions.ask(
        "metrics",
        lambda: cloudwatch.metric_data(
            questions.aws, asked, since_s=since_s, until_s=now_s, period_s=period_s(since_s, now_s)
        ),
        service=cloudwatch.SERVICE,
        permission=cloudwatch.PERMISSION,
    )
    if found is None:
        return Measured()
    series = {each.metric: each for each in found}
    if len(series) < len(asked):
        questions.note(
            Unseen(f"{counted(len(asked) - len(series), 'metric')} of {len(asked):,}", "not answered in full")
        )
    return Measured(series, len(asked) * USD_PER_METRIC)


def with_metrics(consumer: ConsumerSeen, found: Measured, now_s: float) -> ConsumerSeen:
    metrics = {name: found.series[metric] for name, metric in of_consumer(consumer).items() if metric in found.series}
    return msgspec.structs.replace(consumer, metrics=metrics, on_failure=aged(consumer.on_failure, found, now_s))


def aged(undelivered: Undelivered | None, found: Measured, now_s: float) -> Undelivered | None:
    """With how old its oldest message is, by the queue's metric, and how long that one is still of use; as it was where
    there is no value of the last quarter of an hour."""
    metric = of_queue(undelivered)
    series = None if metric is None else found.series.get(metric)
    if undelivered is None or series is None or not series.points or undelivered.messages == 0:
        return undelivered
    at_s, age_s = series.points[-1]
    if now_s - at_s - series.period_s > METRIC_WINDOW_S:
        return undelivered
    return msgspec.structs.replace(
        undelivered, oldest_age_s=age_s, expires_in_s=expires_in_s(age_s, undelivered.retention_s)
    )


def more_readers(consumers: Sequence[ConsumerSeen], returned: Series | None, readers: int) -> str:
    """What hints at readers that no list shows: how often each record was read, by a mapping that counts what it polls;
    "" where nothing does."""
    polled = [
        each.metrics["PolledEventCount"].total
        for each in consumers
        if each.reads_now and "PolledEventCount" in each.metrics
    ]
    most = max(polled, default=0.0)
    if returned is None or not most:
        return ""
    times = returned.total / most
    if times < readers + _ENOUGH_MORE:
        return ""
    return (
        f"perhaps more: the stream gave each record {times:.1f} times (ReturnedRecordsCount against PolledEventCount), "
        f"and {counted(readers, 'reader')} {'is' if readers == 1 else 'are'} known"
    )
