"""Whether two clocks agree. Records are stamped by the service's, and what is old is told by a machine's."""

from __future__ import annotations

from restrike.errors import UsageError
from restrike.model.times import iso

MOST_APART_S = 300.0


def check_clock(ours_s: float, theirs_s: float, whose: str) -> None:
    """UsageError where this machine's clock and another (epoch seconds) are more than 5 minutes apart; `whose` names
    the other."""
    apart_s = ours_s - theirs_s
    if abs(apart_s) <= MOST_APART_S:
        return
    how = "ahead of" if apart_s > 0 else "behind"
    told = f"it says {iso(ours_s)}, that one {iso(theirs_s)}"
    raise UsageError(
        f"this machine's clock is {_length(abs(apart_s))} {how} {whose}: {told}",
        "Set this machine's clock (timedatectl, NTP), then run the command again.",
    )


def _length(seconds: float) -> str:
    for unit, unit_s in (("days", 86400), ("hours", 3600)):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.1f} {unit}"
    return f"{seconds / 60:.0f} minutes"
