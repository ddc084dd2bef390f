"""How fast an audit reads: so many read units a second, whoever takes them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from restrike.model.numbers import figure
from restrike.model.table import TableInfo

SHARE = 0.25
ON_DEMAND_RRU = 1_500.0
"""An eighth of what an on-demand table takes at once when it is new: 12,000."""
_BURST_S = 0.1
_SLEEP_FROM_S = 0.005


def default_rru(table: TableInfo) -> tuple[float, str]:
    """How many read units a second an audit takes where nothing was said, and why."""
    if not table.on_demand:
        return max(1.0, SHARE * table.read_capacity), f"a quarter of the {table.read_capacity:,} that are provisioned"
    most = table.max_read_request_units
    if most is not None and most * SHARE < ON_DEMAND_RRU:
        return max(1.0, most * SHARE), f"a quarter of the table's maximum of {most:,}"
    return ON_DEMAND_RRU, f"{figure(ON_DEMAND_RRU)} on demand"


class ReadPace:
    """Makes whoever has taken read units wait until they were due."""

    def __init__(
        self,
        max_rru: float,
        sleep: Callable[[float], Awaitable[object]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_rru = max_rru
        self._sleep = sleep
        self._clock = clock
        self._next = 0.0
        self.taken_rru = 0.0

    async def took(self, rru: float) -> None:
        """Returns when the next read may begin, or when the sleep ends before its time."""
        self.taken_rru += rru
        now = self._clock()
        self._next = max(self._next, now - _BURST_S) + rru / self._max_rru
        if self._next - now > _SLEEP_FROM_S:
            await self._sleep(self._next - now)
