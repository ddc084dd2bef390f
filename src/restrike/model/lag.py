"""How fast a touch may go so that no consumer falls further behind than it may: a state machine without clock or I/O.

It is told what the run has written by when, and what CloudWatch says of each consumer: minute by minute, minutes late.

1. A consumer that was not invoked for five minutes while records were there pauses the run: what is missing is unknown,
   and no zero.
2. One that is behind by more than the limit, or of whose invocations more fail than before, halves the pace; and again
   after a minute, unless it catches up soon.
3. Else the pace grows by a tenth a minute. Where a consumer has a backlog, what it takes is known: then that is the
   pace, a little more where there is room below the limit; and so is it when that one has caught up.

IteratorAge tells how old a record is when it is handled: with a backlog, how long it *was*, while the last record of
it will be handled much later. But what was written by when is known here: a consumer that handles records of so long
before has handled what was written until then. That gives its speed, what is still before it, and so the lag that a
record has which is written now. The limit is held against that.
"""

from __future__ import annotations

import bisect
import statistics
from collections import deque
from collections.abc import Mapping, Sequence

import msgspec

from restrike.model.numbers import duration

PERIOD_S = 60
"""Of Lambda's metrics."""
SILENCE_S = 300.0
GROWTH = 1.1
AIM = 0.8
"""Of the limit: so long may a backlog become."""
SOON_PERIODS = 5
IDLE_S = 30.0
"""A lag of less is no backlog: to gather and to handle a batch takes its time."""
TELLING_S = 20.0
"""Since the run began: what is told of less says nothing of how its records are taken."""
EARLY = 0.7
"""Of the time since the run began: a lag of more is a backlog, however short it is."""
MORE_FAIL = 0.01
"""So much more of the invocations than in any of the periods before."""
KNOWN_PERIODS = 30
LEAST_ITEMS_PER_S = 0.1
_SPEEDS = 5
_MARK_EVERY_S = 2.0
_MARKS = 50_000


class Watched(msgspec.Struct, frozen=True):
    """A Lambda function that a touch fires. `resource`: NAME:ALIAS, where its mapping invokes an alias or a version.

    `window_s`: how long its mapping gathers a batch. `takes_all`: whether it takes every record, so that its silence
    tells something.
    """

    function: str
    resource: str = ""
    window_s: float = 0.0
    takes_all: bool = True

    @property
    def name(self) -> str:
        return self.resource or self.function


class LagOptions(msgspec.Struct, frozen=True):
    """How far behind a consumer may be, how long to wait for one that is further, and whom to look at."""

    max_lag_s: float
    wait_s: float
    consumers: tuple[Watched, ...]


class Told(msgspec.Struct, frozen=True):
    """What CloudWatch tells of a consumer: start of a period (epoch seconds) → value. What is not there is unknown."""

    ages_s: Mapping[float, float] = {}
    invocations: Mapping[float, float] = {}
    errors: Mapping[float, float] = {}
    throttles: Mapping[float, float] = {}


class Written:
    """How many records were written by when; between two marks as if evenly."""

    def __init__(self, began_s: float) -> None:
        self._moments = [began_s]
        self._counts = [0.0]

    def mark(self, now_s: float, count: float) -> None:
        if now_s - self._moments[-1] < _MARK_EVERY_S:
            return
        self._moments.append(now_s)
        self._counts.append(count)
        if len(self._moments) > _MARKS:
            del self._moments[1:-1:2], self._counts[1:-1:2]

    def by(self, moment_s: float) -> float:
        at = bisect.bisect_right(self._moments, moment_s)
        if at == 0:
            return 0.0
        if at == len(self._moments):
            return self._counts[-1]
        (first_s, next_s), (few, more) = self._moments[at - 1 : at + 1], self._counts[at - 1 : at + 1]
        return few + (more - few) * (moment_s - first_s) / (next_s - first_s)


class Behind:
    """One consumer: how far it is behind, what it takes, and whether more of its invocations fail than did."""

    def __init__(self, consumer: Watched, limit_s: float, written: Written, began_s: float) -> None:
        self.consumer = consumer
        self.speed: float | None = None
        """Items a second that it takes; None where it never had a backlog, in which alone that shows."""
        self.more_fail = False
        self.heard = False
        self._limit_s = limit_s
        self._written = written
        self._began_s = began_s
        self._usual_s: float | None = None
        self._heard_s = began_s
        self._at_s, self._age_s, self._handled = began_s, 0.0, 0.0
        self._speeds: deque[float] = deque(maxlen=_SPEEDS)
        self._invoked_s = began_s
        self._failing: dict[float, float] = {}
        self._judged_s = began_s

    def hear(self, now_s: float, told: Told) -> None:
        before = [age_s for start_s, age_s in told.ages_s.items() if start_s + PERIOD_S <= self._began_s]
        if before and self._usual_s is None:
            self._usual_s = min(before)
        for start_s, age_s in sorted(told.ages_s.items()):
            if self._heard_s < start_s + PERIOD_S <= now_s:
                self._heard_s = start_s + PERIOD_S
                self._hear_age(start_s, age_s)
        for start_s, count in told.invocations.items():
            if count > 0:
                self._invoked_s = max(self._invoked_s, start_s + PERIOD_S)
        self._hear_failures(now_s, told)

    def _hear_age(self, start_s: float, age_s: float) -> None:
        """The most of a period: at its end where ages rise, at its beginning where they fall."""
        at_s = max(start_s, self._began_s) if age_s < self._age_s else start_s + PERIOD_S
        handled = self._written.by(at_s - age_s)
        since_s, more = at_s - self._at_s, max(0.0, handled - self._handled)
        self._at_s, self._age_s, self._handled = at_s, age_s, handled
        self.heard = self.heard or self._heard_s - self._began_s >= TELLING_S
        if self._usual_s is not None:
            self._usual_s = min(self._usual_s, age_s)
        if self.has_backlog and since_s > PERIOD_S / 4:
            self._speeds.append(more / since_s)
            self.speed = statistics.median(self._speeds)

    def _hear_failures(self, now_s: float, told: Told) -> None:
        """Judges each period once, when it is over for a period: its values come one after the other."""
        self.more_fail = False
        for start_s, invoked in sorted(told.invocations.items()):
            throttled = told.throttles.get(start_s, 0.0)
            if start_s + 2 * PERIOD_S > now_s or invoked + throttled <= 0:
                continue
            share = (told.errors.get(start_s, 0.0) + throttled) / (invoked + throttled)
            if start_s >= self._judged_s:
                before = [each for at_s, each in self._failing.items() if at_s < start_s]
                self.more_fail = share > max(before, default=0.0) + MORE_FAIL
                self._judged_s = start_s + PERIOD_S
            self._failing[start_s] = share
        for start_s in sorted(self._failing)[:-KNOWN_PERIODS]:
            del self._failing[start_s]

    @property
    def has_backlog(self) -> bool:
        if not self.heard:
            return False
        usual_s = min(max(self.consumer.window_s, self._usual_s or 0.0), AIM * self._limit_s)
        return self._age_s > usual_s + min(IDLE_S, self._limit_s / 4, EARLY * (self._heard_s - self._began_s))

    @property
    def at_work(self) -> float:
        """The items a second that it took of late while it took any."""
        return statistics.median([speed for speed in self._speeds if speed > 0] or [0.0])

    def lag_s(self, now_s: float) -> float:
        """The lag that a record has which is written now, as far as it can be foreseen."""
        if not self.has_backlog or not self.speed:
            return max(0.0, self._age_s - self.consumer.window_s)
        waiting = self._written.by(now_s) - self._handled - self.speed * (now_s - self._at_s)
        return max(0.0, waiting / self.speed)

    def is_silent(self, now_s: float) -> bool:
        """Whether records were written so long ago, and no invocation is known since."""
        if not self.consumer.takes_all:
            return False
        then_s = now_s - SILENCE_S - self.consumer.window_s
        return then_s > self._invoked_s and self._written.by(then_s) > self._written.by(self._invoked_s)

    def pace(self, now_s: float) -> float:
        """The items a second by which its backlog comes to where it may stay."""
        assert self.speed is not None
        room_s = max(0.0, AIM * self._limit_s - self.lag_s(now_s))
        return max(LEAST_ITEMS_PER_S, self.speed * (1 + room_s / max(2 * self._limit_s, SOON_PERIODS * PERIOD_S)))

    def forget_speed(self) -> None:
        self._speeds.clear()
        self.speed = None


class Governor:
    """Sets the pace by the consumer that is worst off. `items_per_s` is what it allows: None where it sets no bound, 0
    where nothing may be written. `why` says in words what holds the run back, and `waiting_s` for how long now."""

    def __init__(self, options: LagOptions, began_s: float) -> None:
        self.items_per_s: float | None = None
        self.why = ""
        self.waiting_s = 0.0
        self._limit_s = options.max_lag_s
        self._written = Written(began_s)
        self._consumers = [Behind(each, options.max_lag_s, self._written, began_s) for each in options.consumers]
        self._waiting_since_s: float | None = None
        self._before_pause = 0.0
        self._slowed_s = self._grew_s = began_s

    @property
    def is_blind(self) -> bool:
        """Whether nothing is known yet of how some consumer takes what the run writes."""
        return not all(each.heard for each in self._consumers)

    def wrote(self, now_s: float, count: int) -> None:
        """So many records were written by now, since the governor was made."""
        self._written.mark(now_s, count)

    def hear(self, now_s: float, told: Sequence[Told]) -> None:
        """What CloudWatch tells of each consumer, in their order."""
        for behind, each in zip(self._consumers, told, strict=True):
            behind.hear(now_s, each)

    def decide(self, now_s: float) -> None:
        """Sets the pace anew."""
        silent = [each for each in self._consumers if each.is_silent(now_s)]
        worst = max(self._consumers, key=lambda each: each.lag_s(now_s))
        lag_s, name = worst.lag_s(now_s), worst.consumer.name
        failing = [each for each in self._consumers if each.more_fail]
        waits = bool(silent) or lag_s > self._limit_s
        if not waits:
            self._waiting_since_s = None
        elif self._waiting_since_s is None:
            self._waiting_since_s = now_s
        self.waiting_s = 0.0 if self._waiting_since_s is None else now_s - self._waiting_since_s
        if silent:
            self._pause(now_s)
            silence = duration(SILENCE_S + silent[0].consumer.window_s)
            self.why = f"{silent[0].consumer.name} was not invoked for {silence}, as far as CloudWatch tells"
            return
        self._end_pause(now_s)
        if lag_s > self._limit_s:
            self.why = f"{name} is {duration(lag_s)} behind, and --max-lag is {duration(self._limit_s)}"
            if not self._falls_soon(worst, lag_s):
                self._halve(now_s, worst.speed)
        elif failing:
            self.why = f"more invocations of {failing[0].consumer.name} fail than before"
            failing[0].forget_speed()
            self._halve(now_s, None)
        else:
            self._grow(now_s)
            binds = self.items_per_s is not None and self._now(now_s) > self.items_per_s * AIM
            self.why = f"as fast as {name} takes it" if binds else ""

    def _now(self, now_s: float) -> float:
        """Items a second that were written of late."""
        return (self._written.by(now_s) - self._written.by(now_s - PERIOD_S)) / PERIOD_S

    def _pause(self, now_s: float) -> None:
        if self.items_per_s != 0:
            now = self._now(now_s)
            self._before_pause = now if self.items_per_s is None else min(self.items_per_s, now or self.items_per_s)
        self.items_per_s = 0.0

    def _end_pause(self, now_s: float) -> None:
        if self.items_per_s == 0:
            self.items_per_s = max(LEAST_ITEMS_PER_S, self._before_pause / 2)
            self._slowed_s = self._grew_s = now_s

    def _falls_soon(self, worst: Behind, lag_s: float) -> bool:
        if self.items_per_s is None or not worst.speed:
            return False
        falls_s = (1 - self.items_per_s / worst.speed) * SOON_PERIODS * PERIOD_S
        return lag_s - falls_s <= self._limit_s

    def _halve(self, now_s: float, speed: float | None) -> None:
        now = self._now(now_s)
        if self.items_per_s is not None:
            if now_s - self._slowed_s < PERIOD_S:
                return
            now = min(now or self.items_per_s, self.items_per_s)
        if not now:
            return  # it writes nothing: what they are late with is not of this run
        self.items_per_s = max(LEAST_ITEMS_PER_S, min(now, speed or now) / 2)
        self._slowed_s = self._grew_s = now_s

    def _grow(self, now_s: float) -> None:
        measured = [each.pace(now_s) for each in self._consumers if each.has_backlog and each.speed]
        if measured:
            if self.items_per_s is not None or min(measured) < self._now(now_s):
                self.items_per_s = min(measured)
                self._grew_s = now_s
        elif self.items_per_s is not None and now_s - self._grew_s >= PERIOD_S:
            if self._now(now_s) > AIM * self.items_per_s:  # only a pace that was reached has shown that it does no harm
                taken = min((each.at_work for each in self._consumers if each.at_work), default=0.0)
                self.items_per_s = max(self.items_per_s * GROWTH, taken)
            self._grew_s = now_s
