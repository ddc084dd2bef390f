"""From when to when records are wanted, and what of it is lost."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from restrike.errors import UsageError
from restrike.model.clocks import MOST_APART_S
from restrike.model.times import iso

MOST_S = 100 * 365 * 86_400.0
"""Of a duration."""
_LAST_S = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
DRAINED = 10**40
"""A place behind every sequence number: the shard is closed, and all of its records are dealt with."""


class Window(msgspec.Struct, frozen=True):
    """From when to when, in epoch seconds: `since` is included, `until` is not. None: no bound."""

    since_s: float | None = None
    until_s: float | None = None

    def holds(self, created_s: float) -> bool:
        return (self.since_s is None or created_s >= self.since_s) and (
            self.until_s is None or created_s < self.until_s
        )

    def overlaps(self, first_s: float, last_s: float) -> bool:
        """Whether something from then to then, both included, may lie in it."""
        return (self.since_s is None or last_s >= self.since_s) and (self.until_s is None or first_s < self.until_s)


class Gap(msgspec.Struct, frozen=True):
    """Records that should be there and are not: where, and from when to when (epoch seconds, if known)."""

    shard: str
    from_s: float | None
    to_s: float | None
    why: str


_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def is_duration(text: str | None) -> bool:
    """Whether a time is told as a duration back from now."""
    return text is not None and _DURATION.fullmatch(text.strip()) is not None


def duration(flag: str, text: str) -> float:
    """Seconds of `90s`, `30m`, `2h`, `3d` or `1w`; UsageError, which names the flag, for what is none."""
    match = _DURATION.fullmatch(text.strip())
    if not match:
        raise UsageError(f"{flag} {text!r} is no duration", "Write 90s, 30m, 2h, 3d or 1w.")
    seconds = float(match[1]) * _UNITS_S[match[2]]
    if seconds > MOST_S:
        raise UsageError(f"{flag} {text!r} is more than a hundred years", "Write 90s, 30m, 2h, 3d or 1w.")
    return seconds


def moment(flag: str, text: str, now: datetime) -> float:
    """Epoch seconds of ISO 8601 with a zone, or of a duration back from now; UsageError for what is neither, or lies
    before 1970 or after 9999."""
    if is_duration(text):
        return _in_range(flag, text, now.timestamp() - duration(flag, text))
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(
            f"{flag} {text!r} is no time",
            "Write 2021-01-22T10:00:00Z, with a zone, or a duration back from now: 2h, 3d.",
        ) from None
    if found.tzinfo is None:
        raise UsageError(
            f"{flag} {text!r} has no time zone", f"Write {found.isoformat()}Z for UTC, or an offset such as +02:00."
        )
    return _in_range(flag, text, found.timestamp())


def _in_range(flag: str, text: str, at_s: float) -> float:
    if not 0 <= at_s <= _LAST_S:
        end = "before 1970" if at_s < 0 else "after 9999"
        raise UsageError(f"{flag} {text} is {end}", "Give a time in between.")
    return at_s


def asked_window(since: str | None, until: str | None, last: str | None, now: datetime) -> Window:
    """The window of `--since`, `--until` and `--last`, with relative times reckoned from `now`."""
    if last is not None:
        if since or until:
            raise UsageError("--last is a window by itself: leave out --since and --until")
        length_s = duration("--last", last)
        if length_s <= 0:
            raise UsageError(f"--last {last} is no time at all", "Write 90m, 6h or 1d.")
        return Window(_in_range("--last", last, now.timestamp() - length_s), None)
    since_s = None if since is None else moment("--since", since, now)
    until_s = None if until is None else moment("--until", until, now)
    if since_s is not None and since_s > now.timestamp() + MOST_APART_S:
        raise UsageError(
            f"--since {since} is still to come", f"Give a time that is past: the clock says {iso(now.timestamp())}."
        )
    if since_s is not None and until_s is not None and until_s <= since_s:
        raise UsageError(f"--until {until} is not after --since {since}")
    return Window(since_s, until_s)
