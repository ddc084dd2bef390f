"""CloudWatch: the values of metrics over time, asked for with one GetMetricData for up to 500 of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from restrike.aws.refusals import not_of
from restrike.aws.session import Aws, pages
from restrike.model.metrics import Metric, Series

SERVICE = "cloudwatch"
PERMISSION = "cloudwatch:GetMetricData"
A_CALL = 500
"""Metrics that one call may ask for."""
MAX_PAGES = 100
"""Of one call. A page has 100,800 values where there are so many, and may have none."""


def metric_data(aws: Aws, metrics: Sequence[Metric], *, since_s: float, until_s: float, period_s: int) -> list[Series]:
    """The values of those metrics from `since_s` to `until_s` (epoch seconds), in their order.

    The ends are moved outwards to whole periods, so that no value is of less than one, but for that of a period that is
    not over yet. A metric that CloudWatch does not answer in full (InternalError, PartialData, Forbidden) is not in the
    list; one without a value is, and has no points. Who asks looks at `aws.may_ask(SERVICE)` first. Raises the AwsError
    of a refusal, and ServiceFault where the pages have no end.
    """
    found: list[Series] = []
    for first in range(0, len(metrics), A_CALL):
        asked = {f"m{number}": metric for number, metric in enumerate(metrics[first : first + A_CALL])}
        request = {
            "MetricDataQueries": [_query(name, metric, period_s) for name, metric in asked.items()],
            "StartTime": _moment(math.floor(since_s / period_s) * period_s),
            "EndTime": _moment(math.ceil(until_s / period_s) * period_s),
            "ScanBy": "TimestampAscending",
        }
        points: dict[str, dict[float, float]] = {}
        whole: dict[str, bool] = {}
        for result in _results(aws, request):
            try:
                name, status = str(result["Id"]), result.get("StatusCode", "Complete")
                moments = [moment.timestamp() for moment in result.get("Timestamps", ())]
                values = [float(value) for value in result.get("Values", ())]
                points.setdefault(name, {}).update(zip(moments, values, strict=True))
            except (KeyError, TypeError, ValueError, AttributeError):
                raise not_of("CloudWatch", "GetMetricData", aws.endpoint(SERVICE)) from None
            # What is partial on one page is told to be whole on the last that has it.
            whole[name] = status == "Complete"
        found += [
            Series(metric, period_s, tuple(sorted(points[name].items())))
            for name, metric in asked.items()
            if whole.get(name)
        ]
    return found


def _query(name: str, metric: Metric, period_s: int) -> dict[str, Any]:
    dimensions = [{"Name": key, "Value": value} for key, value in metric.dimensions]
    named = {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions}
    return {"Id": name, "MetricStat": {"Metric": named, "Period": period_s, "Stat": metric.stat}, "ReturnData": True}


def _moment(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)


def _results(aws: Aws, request: dict[str, Any]) -> Iterator[Mapping[str, Any]]:
    for page in pages(aws.client(SERVICE), "GetMetricData", most=MAX_PAGES, **request):
        yield from page["MetricDataResults"]
