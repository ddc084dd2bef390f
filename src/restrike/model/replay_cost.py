"""What a replay takes, as far as metrics tell: records, invocations and money."""

from __future__ import annotations

import math

from restrike.model import cost
from restrike.model.diagnosis import ConsumerSeen, Seen
from restrike.model.metrics import UNKNOWN_S
from restrike.model.prices import ELSEWHERE, Name, Prices
from restrike.model.window import Window

BATCH_SIZE = 100  # of a mapping that does not tell
A_READ = 1_000  # records that GetRecords answers at most
MOST_EXPORT_S = 86_400
"""How long the window of an incremental export is at most (DynamoDB Developer Guide, *Requesting a table export*)."""


def records_of(seen: Seen, consumer: ConsumerSeen, window: Window) -> int | None:
    """About how many the consumer was to get, where its mapping counts them; None where that is not known."""
    polled = _of_all(seen, consumer, "PolledEventCount", window)
    dropped = _of_all(seen, consumer, "FilteredOutEventCount", window) if consumer.filters else 0.0
    return None if polled is None or dropped is None else max(0, round(polled - dropped))


def usd_of_replay(
    seen: Seen, consumer: ConsumerSeen, records: int | None, invocations: int | None = None, *, reads: bool = False
) -> tuple[float | None, str]:
    """What it costs to hand over so many, but for the function's own time, and whose prices those are. Where records
    are not known it goes by the invocations."""
    size = consumer.batch_size or BATCH_SIZE
    if records is not None:
        invocations = math.ceil(records / size)
    if invocations is None:
        return None, ""
    prices = Prices(seen.table.region, seen.table.table_class)
    names: list[Name] = ["invocation", "stream-read"] if reads else ["invocation"]
    usd = prices.usd("invocation", invocations)
    if reads:
        most = invocations * size if records is None else records
        usd += prices.usd("stream-read", math.ceil(most / A_READ))
    return round(usd, 6), prices.told(names)


def invocations_of(seen: Seen, consumer: ConsumerSeen, window: Window) -> int | None:
    """About how many it takes: as many as the function had then. None where that is not known, or some of them are of
    others."""
    invoked = None if consumer.shares_function else _of_all(seen, consumer, "Invocations", window)
    return None if invoked is None else round(invoked)


def _of_all(seen: Seen, consumer: ConsumerSeen, name: str, window: Window) -> float | None:
    """The sum of a metric over the window; None where a period of that time has no value."""
    series = consumer.metrics.get(name)
    if series is None or window.since_s is None or window.since_s < seen.since_s:
        return None
    end_s = seen.now_s - UNKNOWN_S - series.period_s if window.until_s is None else window.until_s
    values = [value for at_s, value in series.points if window.overlaps(at_s, at_s + series.period_s)]
    known = bool(values) and len(values) >= math.ceil((end_s - window.since_s) / series.period_s)
    return sum(values) if known else None


def usd_of_export(seen: Seen, span: tuple[float, float]) -> tuple[float | None, str]:
    """What it costs by what was written in that time, 1 KB each unit; None where that is not known of all of it."""
    if seen.written is None or span[0] < seen.since_s or not seen.written.points:
        return None, ""
    window = Window(*span)
    units = sum(units for at_s, units in seen.written.points if window.overlaps(at_s, at_s + seen.written.period_s))
    windows = math.ceil((span[1] - span[0]) / MOST_EXPORT_S)
    gigabytes = max(units * 1024 / 1e9, windows * cost.EXPORT_LEAST_GB)
    whose = f"exports at the price of {ELSEWHERE}, {cost.EXPORT_PRICE_AS_OF}"
    return gigabytes * cost.USD_PER_EXPORTED_GB, whose
