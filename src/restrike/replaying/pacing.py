"""When the next attempt may be made; none of the waits outlasts the end of the run."""

from __future__ import annotations

import time

from restrike.replaying.delivery import LaidDown
from restrike.running.stop import Stop


class Pace:
    """At most so many records a second, over all lanes (None: no bound), and the waits between attempts.

    Where the run is `ending`, a wait raises LaidDown, and so nothing more is sent.
    """

    def __init__(self, records_per_s: float | None, ending: Stop) -> None:
        self._records_per_s = records_per_s
        self._ending = ending
        self._next = 0.0

    async def take(self, records: int) -> None:
        """Returns when so many records may be sent."""
        start_s = now_s = time.monotonic()
        if self._records_per_s is not None:
            start_s = max(self._next, now_s)
            self._next = start_s + records / self._records_per_s
        if start_s > now_s:
            await self.pause(start_s - now_s)
        elif self._ending.is_set():
            raise LaidDown

    async def pause(self, seconds: float) -> None:
        """Waits before a further attempt."""
        if await self._ending.sleep(seconds):
            raise LaidDown


def retry_delay_s(attempt: int) -> float:
    """How long to wait after that many failures."""
    from restrike.aws import wire

    return wire.retry_delay_s(attempt, first_s=0.1)
