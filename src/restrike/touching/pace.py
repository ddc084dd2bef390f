"""How fast to write: a share of the table's capacity, a fixed rate, or as fast as it takes without throttling."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from restrike.model.capacity import Capacity
from restrike.model.numbers import figure

GROWTH = 1.25  # a second, while nothing is throttled
MIN_WCU_PER_S = 25.0  # about a batch a second: from less it would take minutes to find back
START_SHARE = 0.5  # of what the table takes at once: where --rate max begins
_SLEEP_FROM_S = 0.005
_BURST_S = 0.1
_LOOK_S = 1.0  # where consumers hold the pace: it may be another by then


class PaceOptions(msgspec.Struct, frozen=True):
    """`rate`: items a second or "max"; `max_wcu`: write units a second. Both None: the default for the table."""

    rate: float | Literal["max"] | None = None
    max_wcu: float | None = None

    def cap_wcu(self, capacity: Capacity) -> float | None:
        """What "max" never exceeds: what was asked for, and the maximum that was set for the table on demand."""
        limits = [limit for limit in (self.max_wcu, capacity.most_wcu if capacity.on_demand else None) if limit]
        return min(limits, default=None)

    def start_wcu(self, capacity: Capacity) -> float:
        """Where "max" begins: at half of what the table takes at once."""
        start = max(MIN_WCU_PER_S, capacity.at_once[0] * START_SHARE)
        return min(start, self.cap_wcu(capacity) or start)

    def describe(self, capacity: Capacity) -> str:
        """The pace in words, and what it is based on."""
        if self.rate == "max":
            return self._max(capacity)
        parts = []
        if self.rate is not None:
            parts.append(f"{figure(self.rate)} items/s")
        if self.max_wcu is not None:
            parts.append(f"{figure(self.max_wcu)} WCU/s")
        return " and ".join(parts) or capacity.default_told

    def _max(self, capacity: Capacity) -> str:
        cap, start = self.cap_wcu(capacity), self.start_wcu(capacity)
        at_once, why = capacity.at_once
        text = f"as fast as nothing is throttled, from {figure(start)} WCU/s on"
        text += f" (half of {why})" if start == at_once * START_SHARE else ""
        if cap is None:
            return text
        return f"{text}, at most {figure(cap)}" + ("" if cap == self.max_wcu else f" (maximum of {capacity.tightest})")

    def items_per_s(self, capacity: Capacity, wcu_per_item: float) -> float | None:
        """The items a second that this comes to; None for "max" without a cap."""
        if self.rate == "max":
            cap = self.cap_wcu(capacity)
            return None if cap is None else cap / wcu_per_item
        limits = []
        if self.rate is not None:
            limits.append(self.rate)
        if self.max_wcu is not None:
            limits.append(self.max_wcu / wcu_per_item)
        return min(limits) if limits else capacity.default_wcu / wcu_per_item

    def seconds(self, capacity: Capacity, items: int, wcu_per_item: float) -> float:
        """How long that many items take at this pace; "max" is reckoned at what the table takes at once."""
        rate = self.items_per_s(capacity, wcu_per_item)
        if self.rate == "max" or rate is None:
            at_once = capacity.at_once[0] / wcu_per_item
            rate = at_once if rate is None else min(rate, at_once)
        return items / rate


class Pace:
    """Hands out leave to write. Halves when something is throttled; grows again (or, for "max", on) otherwise."""

    def __init__(
        self, options: PaceOptions, capacity: Capacity, wcu_per_item: float, clock: Callable[[], float]
    ) -> None:
        self._clock = clock
        self._wcu_per_item = wcu_per_item
        self._adaptive = options.rate == "max"
        self._asked = self._items_cap = options.rate if isinstance(options.rate, int | float) else None
        self._held: float | None = None
        if self._adaptive:
            self._cap = options.cap_wcu(capacity)
            self._wcu_per_s = options.start_wcu(capacity)
        else:
            # Without a limit in units, a rate in items is the only one.
            self._cap = options.max_wcu if self._items_cap is None or options.max_wcu else float("inf")
            if self._cap is None:
                self._cap = capacity.default_wcu
            self._wcu_per_s = self._cap
        self._next = 0.0
        self._changed_at = clock()
        self._waited = False
        self._grows = True
        self.throttles = 0

    @property
    def wcu_per_s(self) -> float:
        return self._wcu_per_s

    def hold(self, items_per_s: float | None) -> None:
        """From now on no more items a second than that, whatever else would be allowed; 0: none at all, None: as many
        as that."""
        self._held = items_per_s
        self._items_cap = min((each for each in (self._asked, items_per_s) if each), default=None)
        self._next = min(self._next, self._clock())  # what was reserved at another pace is not waited for

    async def take(self, items: int, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        """Returns when that many items may be written, or when `sleep` ends before its time (it says so by True)."""
        if self._held is not None:
            await self._turn(sleep)
        self._adjust()
        now = self._clock()
        seconds = items * self._wcu_per_item / self._wcu_per_s
        held = False
        if self._items_cap is not None and items / self._items_cap > seconds:
            seconds = items / self._items_cap
            held = self._held is not None  # then the table's own pace is not what was reached
        start = max(self._next, now - _BURST_S)
        self._next = start + seconds
        if start - now > _SLEEP_FROM_S:
            self._waited = self._waited or not held
            await sleep(start - now)

    async def _turn(self, sleep: Callable[[float], Awaitable[object]]) -> None:
        """Waits until its turn is near: meanwhile the pace that is held may become another."""
        while self._held == 0 or (self._held is not None and self._next - self._clock() > _LOOK_S):
            if await sleep(_LOOK_S) is True:
                return

    def consumed(self, items: int, wcu: float | None) -> None:
        """What a batch really took: later leave is reckoned with it."""
        if wcu and items:
            self._wcu_per_item += 0.2 * (wcu / items - self._wcu_per_item)

    def throttled(self, reasons: tuple[str, ...] = ()) -> None:
        """Something was refused for capacity. A throttled index refuses the application's writes too: growth ends.

        So it does only where the index is named. A whole call is told `reasons`; a statement of a batch is told none,
        and most throttles of a batch are of statements.
        """
        self.throttles += 1
        if any(reason.startswith("IndexWrite") for reason in reasons):
            self._grows = False
        now = self._clock()
        if now - self._changed_at < 0.2:
            return  # one burst of refusals is one signal
        self._changed_at = now
        current = self._wcu_per_s
        if current == float("inf"):
            assert self._items_cap is not None
            current = self._items_cap * self._wcu_per_item
        self._wcu_per_s = max(min(MIN_WCU_PER_S, current), current / 2)

    def _adjust(self) -> None:
        now = self._clock()
        if now - self._changed_at < 1.0:
            return
        self._changed_at = now
        # Only a rate that was reached has shown that it does no harm.
        if self._grows and self._waited:
            self._wcu_per_s = min(self._wcu_per_s * GROWTH, self._cap or float("inf"))
        self._waited = False
