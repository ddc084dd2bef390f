"""A span of time as windows that the service exports: each of 15 minutes to 24 hours, one behind the other."""

from __future__ import annotations

import itertools
import math

from restrike.errors import UsageError
from restrike.model.numbers import duration as length
from restrike.model.times import iso
from restrike.model.window import duration

SHORTEST_S, LONGEST_S = 15 * 60, 24 * 3600
MOST_WINDOWS = 5_000

Span = tuple[int, int]
"""From (included) to (excluded), in epoch seconds."""


def cut(since_s: int, until_s: int, each_s: int) -> list[Span]:
    """The windows, each of `each_s` but for the last: what would be too short goes to the one before it, or with
    that is cut in halves. UsageError where the span is none that the service takes."""
    if until_s - since_s < SHORTEST_S:
        raise UsageError(
            f"from {iso(since_s)} to {iso(until_s)} there are {length(max(0, until_s - since_s))}, and an export has "
            "15 minutes at least",
            "Begin earlier: --since. What comes before can be left out by the replay's own --since.",
        )
    count = math.ceil((until_s - since_s) / each_s)
    if count > MOST_WINDOWS:
        raise UsageError(f"that would be {count:,} windows: more than {MOST_WINDOWS:,}", "Give a longer --window.")
    edges = [*(since_s + number * each_s for number in range(count)), until_s]
    if count > 1 and edges[-1] - edges[-2] < SHORTEST_S:
        before = edges[-3]
        if until_s - before <= LONGEST_S:
            del edges[-2]
        else:
            edges[-2] = before + (until_s - before) // 2
    return list(itertools.pairwise(edges))


def window_s(text: str) -> int:
    """What one window has, in seconds; UsageError where that is none that the service takes."""
    found = int(duration("--window", text))
    if not SHORTEST_S <= found <= LONGEST_S:
        raise UsageError(f"--window {text} is not between 15m and 24h", "Smaller windows give finer net changes.")
    return found
