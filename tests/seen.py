"""What a doctor saw, made up: a table that a day of metrics was looked at, and who gets its changes.

Moments are told in minutes before NOW_S, which is the end of a period.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from restrike.model.diagnosis import (
    Asked,
    ConsumerSeen,
    Horizon,
    IndexSeen,
    Kept,
    PointInTime,
    Seen,
    StreamSeen,
    Undelivered,
    WillFire,
)
from restrike.model.metrics import Metric, Series
from restrike.model.table import IndexInfo, KeyAttribute, KeySchema, TableInfo
from restrike.model.window import Window

PERIOD_S = 300
NOW_S = 1_764_115_200.0
"""2025-11-26T00:00:00Z."""
SINCE_S = NOW_S - 86_400
ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
STREAM = f"{ARN}/stream/2025-11-01T00:00:00.000"
KEYS = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sk", "N"))
BY_DAY = IndexInfo("by_day", "global", KeySchema(KeyAttribute("day", "S")), "KEYS_ONLY")
TABLE = TableInfo(
    name="orders",
    arn=ARN,
    key=KEYS,
    indexes=(BY_DAY,),
    item_count=1_000_000,
    size_bytes=1_000_000_000,
    stream_arn=STREAM,
    view_type="NEW_AND_OLD_IMAGES",
)
DAYS = IndexSeen(
    "by_day",
    "day",
    projection="KEYS_ONLY",
    items=1_000_000,
    attribute="day",
    role="partition",
    form="day",
    samples=("2025-11-25",),
    sparse=False,
    sampled=100,
    entries_a_day=1_000.0,
    wru_a_day=1_000.0,
)
QUEUE = Undelivered(
    "arn:aws:sqs:us-east-1:123456789012:given-up", "sqs", uri="sqs://given-up", messages=12, redrivable=True
)


def at(minutes_ago: float) -> float:
    """The moment so many minutes before NOW_S."""
    return NOW_S - 60 * minutes_ago


def series(values: Mapping[float, float]) -> Series:
    """A metric's values, by minutes before NOW_S at which their period begins."""
    points = sorted((at(minutes_ago), float(value)) for minutes_ago, value in values.items())
    return Series(Metric("AWS/Lambda", "made up", (), "Sum"), PERIOD_S, tuple(points))


def every(begin: int, end: int, value: float) -> dict[float, float]:
    """That value in each period from `begin` minutes before NOW_S up to `end` minutes before it."""
    return {float(minutes): value for minutes in range(begin, end, -PERIOD_S // 60)}


def steady(**metrics: Mapping[float, float]) -> dict[str, Series]:
    """The metrics of a function that was invoked all day and took its records within two seconds, but for those that
    are given. The last ten minutes are not there yet."""
    all_day = {
        "Invocations": every(1440, 10, 20),
        "IteratorAge": every(1440, 10, 2_000),
        "Errors": every(1440, 10, 0),
        "Throttles": every(1440, 10, 0),
    }
    return {name: series(values) for name, values in (all_day | dict(metrics)).items()}


def mapping_of(name: str) -> str:
    """The UUID of the mapping that invokes it."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def consumer(name: str = "bookkeeper", **changes: Any) -> ConsumerSeen:
    """A function with a mapping that tries twice more, and has nowhere to send what it gives up."""
    given: dict[str, Any] = {
        "kind": "lambda",
        "state": "Enabled",
        "will_fire": WillFire(True, "no filter: sees every touched item as MODIFY"),
        "function": name,
        "mapping": mapping_of(name),
        "batch_size": 100,
        "retries": 2,
        "max_age_s": -1,
        "bisects": False,
        "metrics": steady(),
    }
    return ConsumerSeen(name=name, **(given | changes))


def seen(*consumers: ConsumerSeen, **changes: Any) -> Seen:
    """A table that is written all day, with a stream of its own for weeks, and nothing kept of it."""
    given: dict[str, Any] = {
        "table": TABLE,
        "now_s": NOW_S,
        "since_s": SINCE_S,
        "streams": (StreamSeen(STREAM, "NEW_AND_OLD_IMAGES", on=True, since_s=NOW_S - 20 * 86_400),),
        "horizon": Horizon(NOW_S - 87_000, "read"),
        "indexes": (DAYS,),
        "point_in_time": PointInTime(on=False),
        "readers": len(consumers),
        "written": series(every(1440, 10, 3_000)),
        "period_s": PERIOD_S,
    }
    return Seen(consumers=consumers, **(given | changes))


def asked(since: float | None = None, until: float | None = None, **changes: Any) -> Asked:
    """What a person narrowed it to, in minutes before NOW_S."""
    window = Window(None if since is None else at(since), None if until is None else at(until))
    return Asked(window=window, **changes)


def archive(since: float | None, until: float | None, **changes: Any) -> Kept:
    """An archive of what was written in that time, in minutes before NOW_S."""
    kept = Kept("archive", "s3://kept/orders", fidelity="exact")
    times = {"since_s": None if since is None else at(since), "until_s": None if until is None else at(until)}
    return msgspec.structs.replace(kept, **(times | changes))
