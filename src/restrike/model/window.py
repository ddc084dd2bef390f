"""From when to when records are wanted, and what of it is lost."""

from __future__ import annotations

import msgspec

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


class Gap(msgspec.Struct, frozen=True):
    """Records that should be there and are not: where, and from when to when (epoch seconds, if known)."""

    shard: str
    from_s: float | None
    to_s: float | None
    why: str
