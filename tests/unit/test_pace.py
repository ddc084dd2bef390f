"""The pace, by a clock that moves only when somebody sleeps."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

from restrike.model.capacity import NEW_TABLE_WCU, Capacity, Place
from restrike.touching.pace import GROWTH, MIN_WCU_PER_S, START_SHARE, Pace, PaceOptions

ON_DEMAND = Capacity(on_demand=True, places=(Place(1.0),))
WARM = Capacity(on_demand=True, places=(Place(1.0, warm=12_000),))
BOUNDED = Capacity(on_demand=True, places=(Place(1.0, warm=12_000, most=1_000),))
INDEXED = Capacity(on_demand=True, places=(Place(1.0, warm=12_000), Place(0.5, "by_day", most=1_000, warm=4_000)))
PROVISIONED = Capacity(on_demand=False, places=(Place(1.0, most=400),))
START_WCU_PER_S = START_SHARE * NEW_TABLE_WCU
MAX = "as fast as nothing is throttled"


class Paced:
    """A pace with its clock."""

    def __init__(self, capacity: Capacity = ON_DEMAND, wcu_per_item: float = 1.0, **options: Any) -> None:
        self.now = 1_000.0
        self.pace = Pace(PaceOptions(**options), capacity, wcu_per_item, lambda: self.now)

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def write(self, items: int, batch: int = 25) -> float:
        """The seconds that it takes to get leave for that many items, and for what comes behind them."""
        began = self.now

        async def go() -> None:
            for _ in range(0, items, batch):
                await self.pace.take(batch, self._sleep)
            await self.pace.take(1, self._sleep)

        asyncio.run(go())
        return self.now - began


@pytest.mark.parametrize(
    ("capacity", "wcu_per_item", "options", "items_per_s"),
    [
        (ON_DEMAND, 1, {}, 500),
        (ON_DEMAND, 4, {}, 125),
        (BOUNDED, 1, {}, 250),
        (BOUNDED, 1, {"rate": 2_000.0}, 2_000),  # as asked: the plan warns of it
        (INDEXED, 2, {}, 250),
        (PROVISIONED, 1, {}, 100),
        (PROVISIONED, 2, {"max_wcu": 100.0}, 50),
        (PROVISIONED, 1, {"rate": 10.0}, 10),
        (ON_DEMAND, 9, {"rate": 2_000.0}, 2_000),
        (ON_DEMAND, 10, {"rate": 50.0, "max_wcu": 100.0}, 10),
        (ON_DEMAND, 1, {"rate": 50.0, "max_wcu": 100.0}, 50),
        (ON_DEMAND, 1, {"rate": 1.0}, 1),
    ],
)
def test_the_rate_is_kept(capacity: Capacity, wcu_per_item: float, options: dict[str, Any], items_per_s: float) -> None:
    seconds = Paced(capacity, wcu_per_item, **options).write(1_000)
    assert seconds == pytest.approx(1_000 / items_per_s, abs=0.15)  # the burst
    assert PaceOptions(**options).items_per_s(capacity, wcu_per_item) == pytest.approx(items_per_s)
    assert PaceOptions(**options).seconds(capacity, 1_000, wcu_per_item) == pytest.approx(1_000 / items_per_s)


def test_what_was_not_used_is_not_saved_up() -> None:
    paced = Paced(rate=100.0)
    paced.write(100)
    paced.now += 3_600
    assert paced.write(100) == pytest.approx(1.0, abs=0.15)


def test_max_grows_while_nothing_is_throttled() -> None:
    paced = Paced(rate="max")
    assert paced.pace.wcu_per_s == START_WCU_PER_S
    paced.write(20_000)
    assert paced.pace.wcu_per_s > START_WCU_PER_S * GROWTH**2


def test_max_does_not_grow_beyond_what_was_reached() -> None:
    paced = Paced(rate="max")
    for _ in range(20):
        paced.now += 1.1
        paced.write(25)
    assert paced.pace.wcu_per_s == START_WCU_PER_S


def test_max_has_a_cap() -> None:
    paced = Paced(rate="max", max_wcu=2_100.0)
    paced.write(30_000)
    assert paced.pace.wcu_per_s == 2_100


@pytest.mark.parametrize(
    ("capacity", "options", "start", "end", "items_per_s"),
    [
        (ON_DEMAND, {}, 2_000, None, 4_000),
        (WARM, {}, 6_000, None, 12_000),
        (WARM, {"max_wcu": 5_000.0}, 5_000, 5_000, 5_000),
        (BOUNDED, {}, 500, 1_000, 1_000),
        (BOUNDED, {"max_wcu": 300.0}, 300, 300, 300),
        (BOUNDED, {"max_wcu": 30_000.0}, 500, 1_000, 1_000),
        (INDEXED, {}, 1_000, 2_000, 2_000),
        (PROVISIONED, {}, 200, None, 400),
        (Capacity(on_demand=False, places=(Place(1.0, most=10),)), {}, MIN_WCU_PER_S, None, 10),
        (Capacity(on_demand=True, places=(Place(1.0, most=10),)), {}, 10, 10, 10),
    ],
)
def test_max_stands_on_what_the_table_takes(
    capacity: Capacity, options: dict[str, Any], start: float, end: float | None, items_per_s: float
) -> None:
    paced = Paced(capacity, rate="max", **options)
    assert paced.pace.wcu_per_s == start
    assert PaceOptions("max", **options).seconds(capacity, 1_000, 1.0) == pytest.approx(1_000 / items_per_s)
    for _ in range(20):
        paced.write(int(start) * 2)
    assert paced.pace.wcu_per_s == end if end is not None else paced.pace.wcu_per_s > start


@pytest.mark.parametrize("options", [{"rate": "max"}, {"max_wcu": 1_000.0}, {"rate": 1_000.0}, {}], ids=str)
def test_a_throttle_halves_and_a_burst_of_them_is_one(options: dict[str, Any]) -> None:
    paced = Paced(**options)
    paced.now += 0.5
    before = min(paced.pace.wcu_per_s, 1_000.0) if options.get("rate") == 1_000.0 else paced.pace.wcu_per_s
    for _ in range(5):
        paced.pace.throttled()
    assert paced.pace.wcu_per_s == before / 2
    assert paced.pace.throttles == 5
    paced.now += 0.3
    paced.pace.throttled()
    assert paced.pace.wcu_per_s == before / 4


def test_after_a_throttle_it_recovers_up_to_its_limit() -> None:
    paced = Paced(max_wcu=1_000.0)
    paced.now += 0.5
    paced.pace.throttled()
    paced.write(20_000)
    assert paced.pace.wcu_per_s == 1_000


@pytest.mark.parametrize(
    ("reason", "grows"),
    [("TableWriteProvisionedThroughputExceeded", True), ("IndexWriteKeyRangeThroughputExceeded", False)],
)
def test_a_throttled_index_ends_growth(reason: str, grows: bool) -> None:
    paced = Paced(rate="max")
    paced.now += 0.5
    paced.pace.throttled((reason,))
    paced.write(20_000)
    assert (paced.pace.wcu_per_s > START_WCU_PER_S / 2) is grows


def test_it_never_stops_altogether() -> None:
    paced = Paced()
    for _ in range(60):
        paced.now += 0.5
        paced.pace.throttled()
    assert paced.pace.wcu_per_s == MIN_WCU_PER_S


def test_what_items_really_take_is_learned() -> None:
    paced = Paced(max_wcu=100.0)
    for _ in range(50):
        paced.pace.consumed(25, 100.0)
    paced.pace.consumed(25, None)
    assert paced.write(1_000) == pytest.approx(40, abs=0.3)


def test_who_sleeps_can_be_woken() -> None:
    paced = Paced(rate=0.01)
    asked: list[float] = []

    async def woken(seconds: float) -> None:
        asked.append(seconds)

    async def go() -> None:
        await paced.pace.take(1, woken)
        await paced.pace.take(1, woken)

    asyncio.run(go())
    assert asked == [pytest.approx(100, abs=0.2)]


@pytest.mark.parametrize("options", [{}, {"rate": 400.0}, {"rate": "max"}], ids=str)
def test_it_is_held_lower_while_it_runs_and_let_go(options: dict[str, Any]) -> None:
    paced = Paced(**options)
    before = 1_000 / paced.write(1_000)
    paced.pace.hold(10.0)
    assert paced.write(200) == pytest.approx(20, abs=2.6)  # a batch
    paced.pace.hold(100.0)
    assert paced.write(1_000) == pytest.approx(10, abs=0.3), "what was reserved at 10 is not waited for"
    paced.pace.hold(None)
    assert 1_000 / paced.write(1_000) == pytest.approx(before, rel=0.2)


def test_a_pace_that_is_held_does_not_lift_what_was_asked_for() -> None:
    paced = Paced(rate=50.0)
    paced.pace.hold(1_000.0)
    assert paced.write(500) == pytest.approx(10, abs=0.2)
    paced.pace.hold(0)
    paced.pace.throttled()
    paced.pace.hold(None)
    assert paced.write(500) >= 10


def test_held_at_none_at_all_it_waits_until_it_is_let_go_or_woken() -> None:
    paced = Paced()
    paced.pace.hold(0)
    slept: list[float] = []

    async def let_go(seconds: float) -> bool:
        slept.append(seconds)
        paced.now += seconds
        if len(slept) == 30:
            paced.pace.hold(50.0)
        return False

    asyncio.run(paced.pace.take(25, let_go))
    assert sum(slept) == 30

    async def woken(seconds: float) -> bool:
        slept.append(seconds)
        return True

    paced.pace.hold(0)
    slept.clear()
    asyncio.run(paced.pace.take(25, woken))
    assert len(slept) <= 2


def test_who_waits_for_a_slow_turn_sees_that_it_is_faster_now() -> None:
    """At 0.1 a second a batch would be waited for 250 s."""
    paced = Paced()
    paced.pace.hold(0.1)
    slept: list[float] = []

    async def sleep(seconds: float) -> bool:
        slept.append(seconds)
        paced.now += seconds
        if len(slept) == 5:
            paced.pace.hold(100.0)
        return False

    async def go() -> None:
        await paced.pace.take(25, sleep)
        await paced.pace.take(25, sleep)

    asyncio.run(go())
    assert sum(slept) == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize(
    ("capacity", "rate", "max_wcu", "text"),
    [
        (ON_DEMAND, None, None, "500 WCU/s (on demand)"),
        (PROVISIONED, None, None, "100 WCU/s (25 % of 400)"),
        (ON_DEMAND, 10.0, None, "10 items/s"),
        (ON_DEMAND, 10.0, 20.0, "10 items/s and 20 WCU/s"),
        (ON_DEMAND, 0.001, 1_234_567.5, "0.001 items/s and 1,234,567.5 WCU/s"),
        (ON_DEMAND, "max", None, f"{MAX}, from 2,000 WCU/s on (half of what a new table takes)"),
        (WARM, "max", None, f"{MAX}, from 6,000 WCU/s on (half of the warm throughput)"),
        (PROVISIONED, "max", None, f"{MAX}, from 200 WCU/s on (half of what is provisioned)"),
        (ON_DEMAND, "max", 20.0, f"{MAX}, from 20 WCU/s on, at most 20"),
        (
            BOUNDED,
            "max",
            None,
            f"{MAX}, from 500 WCU/s on (half of the maximum of the table), at most 1,000 (maximum of the table)",
        ),
        (
            INDEXED,
            "max",
            1_500.0,
            f"{MAX}, from 1,000 WCU/s on (half of the maximum of index by_day), at most 1,500",
        ),
    ],
)
def test_in_words(capacity: Capacity, rate: float | Literal["max"] | None, max_wcu: float | None, text: str) -> None:
    assert PaceOptions(rate, max_wcu).describe(capacity) == text
