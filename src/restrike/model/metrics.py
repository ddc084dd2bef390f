"""What CloudWatch keeps of a metric, as numbers: which one is asked for, and its values over time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

USD_PER_METRIC = 0.01 / 1_000
"""GetMetricData costs by the metric that is asked for (CloudWatch pricing, us-east-1, 2026-11)."""

UNKNOWN_S = 300.0
"""Of the last so many seconds CloudWatch may not have everything yet."""


class Metric(msgspec.Struct, frozen=True):
    """One metric, as GetMetricData names it. `dimensions` are (name, value) pairs."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    stat: Literal["Sum", "Maximum", "Average", "SampleCount"]


def of_function(function: str, resource: str, names: Iterable[str]) -> dict[str, Metric]:
    """Lambda's metrics of those names. `resource` is NAME:QUALIFIER where the function is invoked by one, else ""."""
    dimensions = [("FunctionName", function)]
    if resource:
        dimensions.append(("Resource", resource))
    return {
        name: Metric("AWS/Lambda", name, tuple(dimensions), "Maximum" if name == "IteratorAge" else "Sum")
        for name in names
    }


class Series(msgspec.Struct, frozen=True):
    """The values of a metric, oldest first. A period that has no value is not there: it is unknown, never zero.

    `points` are (start of the period in epoch seconds, value); a period is `period_s` long.
    """

    metric: Metric
    period_s: int
    points: tuple[tuple[float, float], ...] = ()

    @property
    def total(self) -> float:
        return sum(value for _, value in self.points)

    @property
    def most(self) -> float | None:
        """The largest value; None where there is none."""
        return max((value for _, value in self.points), default=None)
