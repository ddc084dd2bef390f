"""The pace by the consumer's lag, against consumers that are simulated second by second: no clock, no service."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from restrike.model.lag import (
    GROWTH,
    LEAST_ITEMS_PER_S,
    PERIOD_S,
    SILENCE_S,
    Governor,
    LagOptions,
    Told,
    Watched,
    Written,
)

LIMIT_S = 300.0
NOON_S = 60.0 * 30_000_000
DELAY_S = 120.0


@dataclass
class Trial:
    """A run and its consumer, who takes `takes(second)` records a second; CloudWatch tells of a minute `delay_s` after
    its end. `latency_s` is added to every age, and was usual before. `fails`: while it takes nothing it is invoked."""

    takes: Callable[[int], float]
    most_per_s: float
    records: float
    delay_s: float = DELAY_S
    phase_s: float = 0.0
    limit_s: float = LIMIT_S
    noise: float = 0.0
    latency_s: float = 1.0
    fails: bool = False
    began_s: float = NOON_S
    rates: list[float] = field(default_factory=list)
    backlogs: list[float] = field(default_factory=list)
    written_s: int = 0
    handled_s: int = 0

    def run(self, most_s: int = 50_000) -> Trial:
        self.began_s = now_s = NOON_S + self.phase_s
        rng = random.Random(7)
        governor = Governor(LagOptions(self.limit_s, 3_600.0, (Watched("f"),)), now_s)
        before = [now_s // PERIOD_S * PERIOD_S - PERIOD_S * n for n in range(1, 20)]
        ages, invocations = dict.fromkeys(before, self.latency_s), dict.fromkeys(before, 3.0)
        marks, head, written, handled, ask_in_s = [0.0], 0, 0.0, 0.0, 15.0
        for second in range(most_s):
            rate = self.most_per_s
            if governor.items_per_s is not None:
                rate = min(rate, governor.items_per_s)
            written = min(self.records, written + rate)
            marks.append(written)
            could = self.takes(second) * (1 + self.noise * rng.uniform(-1, 1))
            did = min(written - handled, could)
            handled += did
            while head + 1 < len(marks) and marks[head + 1] <= handled:
                head += 1
            minute_s = now_s // PERIOD_S * PERIOD_S
            if did > 0 or (self.fails and handled < written):
                age_s = self.latency_s + max(0, second - head)
                ages[minute_s] = max(ages.get(minute_s, 0.0), age_s)
                invocations[minute_s] = invocations.get(minute_s, 0.0) + did / 100
            now_s += 1
            governor.wrote(now_s, int(written))
            if written < self.records:
                self.rates.append(rate)
                self.written_s = second + 1
            self.backlogs.append(written - handled)
            self.handled_s = second + 1
            if handled >= self.records:
                return self
            ask_in_s -= 1
            if ask_in_s <= 0:
                ask_in_s = 15.0 if governor.is_blind else 30.0
                seen = [start_s for start_s in ages if start_s + PERIOD_S + self.delay_s <= now_s]
                told = Told({at: ages[at] for at in seen}, {at: invocations[at] for at in seen})
                governor.hear(now_s, [told])
                governor.decide(now_s)
        raise AssertionError(f"{handled:,.0f} of {self.records:,.0f} after {most_s:,} s")

    @property
    def settled(self) -> list[float]:
        return self.rates[len(self.rates) // 2 :]


def steady(per_s: float) -> Callable[[int], float]:
    return lambda _: per_s


@pytest.mark.parametrize("times", [1.1, 2, 5, 10, 20])
@pytest.mark.parametrize(("delay_s", "phase_s"), [(60, 0), (120, 0), (120, 37), (180, 55)])
def test_a_consumer_that_takes_less(times: float, delay_s: float, phase_s: float) -> None:
    """No more is written too much than before CloudWatch can tell, and the consumer never waits for the run."""
    takes, hours = 100.0, 4
    trial = Trial(steady(takes), takes * times, takes * hours * 3_600, delay_s, phase_s).run()
    overshoot = max(trial.backlogs) - takes * LIMIT_S
    assert overshoot <= trial.most_per_s * (PERIOD_S + delay_s)
    assert max(trial.settled) <= 2 * min(trial.settled)
    assert max(trial.backlogs[len(trial.rates) // 2 :]) <= takes * LIMIT_S
    assert trial.handled_s <= 1.01 * hours * 3_600, "1.25 is allowed"


@pytest.mark.parametrize("times", [0.2, 0.5, 0.9, 0.99])
def test_a_consumer_that_takes_it_is_not_waited_for(times: float) -> None:
    trial = Trial(steady(100.0), 100 * times, 100 * times * 3_600).run()
    assert set(trial.rates) == {100 * times}


@pytest.mark.parametrize(("noise", "times"), [(0.2, 1.2), (0.5, 2.0), (0.5, 5.0)])
def test_one_whose_speed_is_never_the_same(noise: float, times: float) -> None:
    trial = Trial(steady(100.0), 100 * times, 100 * 14_400, noise=noise).run()
    assert max(trial.settled) <= 2 * min(trial.settled)
    assert trial.handled_s <= 1.05 * 14_400


@pytest.mark.parametrize("limit_s", [60.0, 120.0, 900.0])
def test_other_limits(limit_s: float) -> None:
    trial = Trial(steady(100.0), 300.0, 100 * 10_800, limit_s=limit_s).run()
    assert max(trial.backlogs[len(trial.rates) // 2 :]) <= 1.1 * 100 * limit_s
    assert max(trial.settled) <= 2 * min(trial.settled)
    assert trial.handled_s <= 1.05 * 10_800


def test_one_that_becomes_slower_and_one_that_becomes_faster() -> None:
    slower = Trial(lambda second: 100.0 if second < 3_600 else 20.0, 90.0, 90 * 3_600 + 20 * 10_800).run()
    assert max(slower.settled) <= 2 * min(slower.settled)
    assert max(slower.backlogs) - 20 * LIMIT_S <= 90 * (PERIOD_S + DELAY_S)
    faster = Trial(lambda second: 20.0 if second < 3_600 else 500.0, 500.0, 20 * 3_600 + 500 * 5_400).run()
    assert faster.rates[-1] == 500
    assert faster.handled_s <= 1.25 * 9_000


@pytest.mark.parametrize("latency_s", [100.0, 200.0, 250.0])
def test_one_that_is_always_that_late_is_not_behind(latency_s: float) -> None:
    """A batch that takes minutes has records that are minutes old when it is done."""
    trial = Trial(steady(200.0), 100.0, 100 * 7_200, latency_s=latency_s).run()
    assert set(trial.rates) == {100}


def test_one_that_stood_still_is_waited_for_and_caught_up_with() -> None:
    stood = Trial(lambda second: 0.0 if 1_800 < second < 3_000 else 100.0, 300.0, 100 * 12_000).run()
    assert min(stood.rates) == 0, "no invocation for five minutes: it pauses"
    assert stood.handled_s <= 1.05 * 13_200


@pytest.mark.parametrize("most_per_s", [50.0, 120.0, 300.0])
def test_one_that_failed_for_a_while_is_gone_on_with_as_fast_as_before(most_per_s: float) -> None:
    """Almost nothing is written then: growing from there by a tenth a minute took more than an hour."""
    takes = min(100.0, most_per_s)

    def failing(second: int) -> float:
        return 0.0 if 1_800 < second < 3_000 else 100.0

    failed = Trial(failing, most_per_s, takes * 9_000, fails=True).run()
    assert failed.handled_s <= 1.25 * (9_000 + 1_200)
    assert failed.rates[-1] >= 0.9 * takes


# ── by hand ──────────────────────────────────────────────────────────────────────────────────────────────────


class Hand:
    """A governor that is told minute by minute; `minutes` are those since the run began."""

    def __init__(self, *consumers: Watched, limit_s: float = LIMIT_S, rate: float = 100.0) -> None:
        self.consumers = consumers or (Watched("f"),)
        self.governor = Governor(LagOptions(limit_s, 3_600.0, self.consumers), NOON_S)
        self.minutes, self.written, self.rate = 0, 0.0, rate
        self.told = [Told({}, {}, {}, {}) for _ in self.consumers]

    def minute(self, *each: tuple[float | None, float | None, float, float]) -> float | None:
        """(age, invocations, errors, throttles) of each consumer; what it allows then. Told at once."""
        start_s = NOON_S + self.minutes * PERIOD_S
        for told, (age_s, invocations, errors, throttles) in zip(self.told, each, strict=True):
            for values, value in (
                (told.ages_s, age_s),
                (told.invocations, invocations),
                (told.errors, errors),
                (told.throttles, throttles),
            ):
                if value is not None:
                    values[start_s] = value  # type: ignore[index]  # a dict, here
        self.minutes += 1
        now_s = start_s + PERIOD_S
        for second in range(PERIOD_S):
            allowed = self.governor.items_per_s
            self.written += self.rate if allowed is None else min(self.rate, allowed)
            self.governor.wrote(start_s + second + 1, int(self.written))
        self.governor.hear(now_s, self.told)
        self.governor.decide(now_s)
        return self.governor.items_per_s


FINE = (1.0, 60.0, 0.0, 0.0)


def test_more_failures_halve_the_pace_once_and_it_grows_by_a_tenth_a_minute() -> None:
    hand = Hand()
    assert [hand.minute(FINE) for _ in range(5)] == [None] * 5
    hand.minute((1.0, 60.0, 12.0, 0.0))
    assert hand.minute(FINE) == 50, "a minute is judged when the next one is over"
    assert hand.governor.why == "more invocations of f fail than before"
    grown = [hand.minute(FINE) for _ in range(3)]
    assert grown == pytest.approx([50 * GROWTH, 50 * GROWTH**2, 50 * GROWTH**3])
    assert hand.governor.why == "as fast as f takes it"
    hand.minute((1.0, 60.0, 12.0, 0.0))
    assert hand.minute(FINE) == pytest.approx(50 * GROWTH**5), "as many failed before"
    assert hand.governor.waiting_s == 0


@pytest.mark.parametrize("growing", ["errors", "throttles"])
def test_failures_that_go_on_rising_halve_it_again_and_again(growing: str) -> None:
    hand = Hand()
    hand.minute(FINE)
    for minute in range(5):
        failed = 5.0 * (minute + 1)
        hand.minute((1.0, 60.0, failed, 0.0) if growing == "errors" else (1.0, 60.0, 0.0, failed))
    assert hand.governor.items_per_s == pytest.approx(100 / 2**4)


def test_failures_of_before_the_run_are_nothing_new() -> None:
    hand = Hand()
    start_s = NOON_S - 10 * PERIOD_S
    hand.told[0].invocations[start_s] = 100.0  # type: ignore[index]  # a dict, here
    hand.told[0].errors[start_s] = 20.0  # type: ignore[index]
    for _ in range(4):
        assert hand.minute((1.0, 60.0, 12.0, 0.0)) is None


def test_silence_pauses_and_an_invocation_ends_it() -> None:
    hand = Hand()
    silent = (None, None, 0.0, 0.0)
    assert hand.minute(FINE) is None
    for _ in range(5):
        assert hand.minute(silent) is None, "five minutes were not over"
    assert hand.minute(silent) == 0
    assert hand.governor.why == "f was not invoked for 5 min, as far as CloudWatch tells"
    assert hand.governor.waiting_s == 0
    hand.minute(silent)
    assert hand.governor.waiting_s == PERIOD_S
    hand.told[0].invocations[NOON_S + 60] = 0.0  # type: ignore[index]  # no invocation, though that is told
    assert hand.minute(silent) == 0
    assert hand.minute(FINE) == 50, "half of what it was"
    assert hand.governor.waiting_s == 0


def test_no_record_no_silence() -> None:
    hand = Hand(rate=0.0)
    for _ in range(20):
        assert hand.minute((None, None, 0.0, 0.0)) is None


def test_a_consumer_with_a_filter_may_be_silent_and_a_batching_window_is_waited_for() -> None:
    filtered = Hand(Watched("f", takes_all=False))
    gathering = Hand(Watched("f", window_s=300.0))
    for minute in range(10):
        assert filtered.minute((None, None, 0.0, 0.0)) is None
        assert gathering.minute((None, None, 0.0, 0.0)) is None, minute
    assert gathering.minute((None, None, 0.0, 0.0)) == 0
    assert "f was not invoked for 10 min" in gathering.governor.why


def test_a_lag_of_the_batching_window_is_none() -> None:
    hand = Hand(Watched("f", window_s=300.0))
    for _ in range(10):
        assert hand.minute((300.0, 10.0, 0.0, 0.0)) is None


def test_the_worst_of_several_sets_the_pace() -> None:
    hand = Hand(Watched("f"), Watched("g", "g:live"))
    late = (400.0, 60.0, 0.0, 0.0)
    hand.minute(FINE, FINE)
    hand.minute(FINE, FINE)
    assert hand.minute(FINE, late) is not None
    assert hand.governor.why.startswith("g:live is ")
    assert "behind, and --max-lag is 5 min" in hand.governor.why


def test_one_that_never_gets_better_is_slowed_to_almost_nothing_and_waited_for() -> None:
    hand = Hand()
    hand.minute(FINE)
    for minute in range(70):
        hand.minute((60.0 * (minute + 1), 1.0, 1.0, 0.0))
    assert hand.governor.items_per_s == LEAST_ITEMS_PER_S
    assert hand.governor.waiting_s >= 3_600


def test_what_writes_nothing_is_not_slowed() -> None:
    """The application's own records may be what a consumer is late with."""
    hand = Hand(rate=0.0)
    for _ in range(3):
        assert hand.minute((900.0, 60.0, 0.0, 0.0)) is None


def test_what_was_written_between_two_marks_is_taken_to_be_even() -> None:
    written = Written(100.0)
    written.mark(101.0, 5.0)  # too early for a mark
    written.mark(110.0, 50.0)
    assert [written.by(at_s) for at_s in (0.0, 100.0, 105.0, 110.0, 900.0)] == [0.0, 0.0, 25.0, 50.0, 50.0]


def test_marks_are_bounded() -> None:
    written = Written(0.0)
    for second in range(0, 300_000, 2):
        written.mark(float(second), float(second))
    assert len(written._moments) <= 50_000
    assert written.by(150_000.0) == pytest.approx(150_000.0)
    assert SILENCE_S == 300
