"""What each consumer may have lost, and how sure that is: read out of its metrics, its messages and its state.

A metric tells when an invocation failed, and not of when its records were. So a window begins as long before the first
sign as records were old then (IteratorAge), less one period. A period without a value is unknown, never zero.
"""

from __future__ import annotations

from collections.abc import Iterator

from restrike.model.diagnosis import Asked, Certainty, ConsumerSeen, Loss, Seen, Sign
from restrike.model.meant import REMEMBERED_S, consumers_named
from restrike.model.numbers import counted, duration
from restrike.model.times import iso

UNKNOWN_S = 300.0
"""What CloudWatch may not have yet."""
LATE_S = 900.0
"""Behind by so much is worth a word."""
SILENT_PERIODS = 3
"""So many periods with writes and without an invocation are a silence: a batch may wait for five minutes anyway."""

_ORDER: dict[Certainty, int] = {"certain": 0, "suspected": 1, "not visible": 2}
_NOT_VISIBLE = "a function that was wrong and threw nothing looks the same"

Points = tuple[tuple[float, float], ...]


def losses(seen: Seen, asked: Asked) -> tuple[Loss, ...]:
    """What is certain first, then what is suspected, then of whom nothing is visible."""
    found = [loss for consumer in consumers_named(seen, asked) for loss in _Reading(consumer, seen, asked).losses()]
    return tuple(sorted(found, key=lambda loss: _ORDER[loss.certainty]))


class _Reading:
    """One consumer's history, read within the window that was asked for."""

    def __init__(self, consumer: ConsumerSeen, seen: Seen, asked: Asked) -> None:
        self._consumer = consumer
        self._seen = seen
        self._asked = asked.window
        self._period_s = float(seen.period_s)
        self._ages = self._all("IteratorAge") or ()

    def losses(self) -> Iterator[Loss]:
        """Each sign of a loss; where there is none, that nothing is visible."""
        found = [
            loss
            for look in (
                self._given_up,
                self._undelivered,
                self._dropped,
                self._errors,
                self._throttles,
                self._silence,
                self._late,
            )
            if (loss := look()) is not None
        ]
        yield from found
        missing = [name for name in ("Errors", "Throttles") if name not in self._consumer.metrics]
        if not found:
            yield self._nothing(missing)
        elif missing and self._consumer.function:
            what = f"whether there is more cannot be told: {' and '.join(missing)} could not be read"
            yield self._loss("unknown", "not visible", what, hint=self._ask())

    # ── given up and dropped ─────────────────────────────────────────────────────────────────────────────

    def _given_up(self) -> Loss | None:
        """Messages at the on-failure destination, or records that CloudWatch saw go there."""
        place = self._consumer.on_failure
        delivered = self._signs("OnFailureDestinationDeliveredEventCount")
        records = round(sum(value for _, value in delivered)) if delivered else None
        if place is None or not place.messages:
            if records is None:
                return None
            left = "holds no message now" if place is not None and place.messages == 0 else "may hold their messages"
            what = f"its mapping gave them up; its on-failure destination {left}"
            return self._of("given up", "certain", what, delivered, records=records)
        first_s = None if place.oldest_age_s is None else self._seen.now_s - place.oldest_age_s
        if first_s is None or first_s < self._seen.since_s:
            records = None  # there are messages that are older than the metric
        sharing = [
            each.name
            for each in self._seen.consumers
            if each is not self._consumer and each.on_failure is not None and each.on_failure.arn == place.arn
        ]
        what = f"its mapping gave up: its on-failure destination holds {counted(place.messages, 'message')}"
        if sharing:
            what += f", of {' and '.join(sharing)} too: whose they are, they say themselves"
        since_s, until_s = self._begin(first_s), self._end_of_giving_up(first_s)
        if not self._meant(since_s, self._seen.now_s if until_s is None else until_s):
            return None
        expiry = ""
        if place.expires_in_s is not None:
            when = "has expired" if place.expires_in_s <= 0 else f"expires in {duration(place.expires_in_s)}"
            expiry = f"The first of them {when}."
        certainty: Certainty = "suspected" if sharing else "certain"
        return self._loss("given up", certainty, what, since_s, until_s, first_s, records=records, hint=expiry)

    def _end_of_giving_up(self, first_s: float | None) -> float | None:
        """When it last gave up, where only a batch that failed can have been given up, and failures are known."""
        failed = tuple(point for point in self._all("Errors") or () if point[1] > 0)
        tries = self._consumer.retries
        by_failing_alone = tries is not None and tries >= 0 and self._consumer.max_age_s == -1
        end_s = self._end(failed) if failed and by_failing_alone else None
        return None if end_s is None or first_s is None or end_s < first_s else end_s

    def _undelivered(self) -> Loss | None:
        points = self._signs("DestinationDeliveryFailures")
        if not points:
            return None
        what = "batches were given up, and no message of them could be left at the on-failure destination"
        if self._consumer.shares_function:
            what += f" ({_SHARED})"
        certainty: Certainty = "suspected" if self._consumer.shares_function else "certain"
        return self._of("undelivered", certainty, what, points, hint="May the function's role write there?")

    def _dropped(self) -> Loss | None:
        points = self._signs("DroppedEventCount")
        if not points:
            return None
        records = round(sum(value for _, value in points))
        return self._of("dropped", "certain", "its mapping dropped them, and left no message", points, records=records)

    # ── failed, throttled, silent ────────────────────────────────────────────────────────────────────────

    def _errors(self) -> Loss | None:
        points = self._signs("Errors")
        if not points:
            return None
        failed = round(sum(value for _, value in points))
        invoked = sum(value for at_s, value in self._all("Invocations") or () if self._between(points, at_s))
        of = f"{failed:,} of {counted(round(invoked), 'invocation')}" if invoked else counted(failed, "invocation")
        what = f"{of} failed, in {counted(len(points), 'period')} of {duration(self._period_s)}"
        if self._consumer.shares_function:
            what += f" ({_SHARED})"
        tries = self._consumer.retries
        if tries is None:
            fate, hint = "", "How often its mapping tries again is not known; what it tried again may have got through."
        elif tries < 0:
            fate, hint = self._fate_of_waiting(points)
        else:
            fate = "what was tried again may have got through"
            hint = f"Its mapping gives a batch up after {counted(tries + 1, 'attempt')}{self._message_of_it()}."
        return self._of("errors", "suspected", f"{what}; {fate}" if fate else what, points, hint=hint)

    def _message_of_it(self) -> str:
        place = self._consumer.on_failure
        if place is None:
            return ", and has no on-failure destination to tell of it"
        if place.messages == 0:
            return "; its on-failure destination holds no message: none was given up, or somebody took them"
        return "; its on-failure destination has the messages"

    def _throttles(self) -> Loss | None:
        points = self._signs("Throttles")
        if not points:
            return None
        what = f"{counted(round(sum(value for _, value in points)), 'invocation')} throttled"
        if self._consumer.shares_function:
            what += f" ({_SHARED})"
        fate, hint = self._fate_of_waiting(points)
        return self._of("throttles", "suspected", f"{what}; {fate}", points, hint=hint)

    def _fate_of_waiting(self, points: Points) -> tuple[str, str]:
        """What becomes of records that are tried until they are too old, and the moment at which they are."""
        limit_s = self._limit_s()
        since = [(at_s, age_ms / 1000) for at_s, age_ms in self._ages if at_s >= points[0][0]]
        tries = "Its mapping tries again until a record is too old; from which age on is not known."
        if limit_s is not None:
            tries = f"Its mapping tries again until a record is {duration(limit_s)} old."
        if limit_s is None or not since:
            return "how late it is, and so whether anything was lost, is not known", tries
        if max(age_s for _, age_s in since) >= limit_s - self._period_s:
            return "records may have become too old before they got through", tries
        if self._end(points) is not None:
            return "its mapping tried until they got through: nothing was lost by that", tries
        at_s, age_s = since[-1]
        return "nothing is lost by that yet, it is late", f"{tries} The first is at {iso(at_s - age_s + limit_s)}."

    def _limit_s(self) -> float | None:
        """The age from which on its mapping gives a record up, or the stream has forgotten it."""
        most_s = self._consumer.max_age_s
        if most_s is None:
            return None
        return REMEMBERED_S if most_s < 0 else min(float(most_s), REMEMBERED_S)

    def _silence(self) -> Loss | None:
        """Periods in which the table was written and nothing was invoked; and one that does not read now."""
        stretches = [run for run in self._silences() if self._meant(self._begin(run[0]), run[-1] + self._period_s)]
        if not self._consumer.reads_now or self._consumer.stream:
            what = f"it is {self._consumer.state}, and gets nothing"
            hint = "When it reads again it goes on where it stopped; what is older than 24 h then is lost to it."
            if self._consumer.stream:
                what = "it reads an earlier stream of the table, and gets nothing of what is written now"
                hint = "It takes a mapping of the stream that is on."
            first_s = stretches[-1][0] if stretches else None
            since_s = self._begin(first_s if first_s is not None else self._seen.now_s)
            if not self._meant(since_s, self._seen.now_s):
                return None
            return self._loss("stopped", "suspected", what, since_s, None, first_s, hint=hint)
        if not stretches:
            return None
        periods = counted(sum(map(len, stretches)), "period")
        what = f"no invocation in {periods} of {duration(self._period_s)} in which the table was written"
        hint = "Writes that change nothing make no record"
        hint += ", and its filter drops others without an invocation." if self._consumer.filters else "."
        last_s = stretches[-1][-1]
        resumed = any(at_s > last_s for at_s, _ in self._all("Invocations") or ())
        until_s = last_s + self._period_s if resumed else None
        return self._loss(
            "silence", "suspected", what, self._begin(stretches[0][0]), until_s, stretches[0][0], hint=hint
        )

    def _silences(self) -> Iterator[list[float]]:
        """Written periods without an invocation between them, at least SILENT_PERIODS of them, as long as nothing shows
        that their records were handed over afterwards."""
        invoked, written = self._all("Invocations"), self._seen.written
        if invoked is None or written is None:
            return
        known_s = self._seen.now_s - UNKNOWN_S - self._period_s
        # What its mapping's filter dropped was read, too.
        heard = [*invoked, *(self._all("FilteredOutEventCount") or ())]
        calls = {at_s for at_s, value in heard if value > 0}
        wrote = {at_s for at_s, value in written.points if value > 0 and at_s <= known_s}
        run: list[float] = []
        for at_s in sorted(wrote | calls):
            if at_s not in calls:
                run.append(at_s)
                continue
            if len(run) >= SILENT_PERIODS and not self._reaches_back(at_s, run[0]):
                yield run
            run = []
        if len(run) >= SILENT_PERIODS:
            yield run

    def _reaches_back(self, at_s: float, first_s: float) -> bool:
        """Whether what was handed over at that time is as old as what was written at the first."""
        return any(at_s - age_ms / 1000 <= first_s + self._period_s for then_s, age_ms in self._ages if then_s == at_s)

    # ── late, or nothing at all ──────────────────────────────────────────────────────────────────────────

    def _late(self) -> Loss | None:
        """One that fails in nothing, and is behind."""
        if not self._ages or self._signs("Errors") or self._signs("Throttles"):
            return None
        at_s, age_ms = self._ages[-1]
        age_s = age_ms / 1000
        limit_s = self._limit_s() or REMEMBERED_S
        recent = at_s >= self._seen.now_s - UNKNOWN_S - SILENT_PERIODS * self._period_s
        if not recent or age_s < LATE_S or not self._meant(self._begin(at_s), self._seen.now_s):
            return None
        what = f"healthy, but {duration(age_s)} behind"
        if age_s >= limit_s - self._period_s:
            what += f": records are given up at an age of {duration(limit_s)}, and may have been"
            return self._loss("late", "suspected", what, self._begin(at_s), None, at_s)
        what += ": nothing is lost by that yet"
        hint = f"Records are lost to it at an age of {duration(limit_s)}. Beyond that nothing shows: {_NOT_VISIBLE}."
        return self._loss("late", "not visible", what, self._begin(at_s), None, at_s, hint=f"{hint} {self._ask()}")

    def _nothing(self, missing: list[str]) -> Loss:
        if not self._consumer.function:
            what = (
                f"whether it lost anything cannot be seen: of {_KINDS.get(self._consumer.kind, 'it')} no metric is read"
            )
            return self._loss("unknown", "not visible", what, *self._asked_for(), hint=self._ask())
        if missing:
            what = f"whether it lost anything cannot be told: {' and '.join(missing)} could not be read"
            return self._loss("unknown", "not visible", what, *self._asked_for(), hint=self._ask())
        what = f"nothing shows, up to 5 minutes ago; {_NOT_VISIBLE}"
        return self._loss("nothing", "not visible", what, *self._asked_for(), hint=self._ask())

    def _asked_for(self) -> tuple[float | None, float | None]:
        return self._asked.since_s, self._asked.until_s

    def _ask(self) -> str:
        """Where nobody said of when, that it has to be said; and when the function was changed."""
        ask = "" if self._asked.since_s is not None else "Say since when: --since."
        if self._consumer.changed_s is not None:
            ask += f"{' ' if ask else ''}Its function was last changed at {iso(self._consumer.changed_s)}."
        return ask

    # ── windows ──────────────────────────────────────────────────────────────────────────────────────────

    def _all(self, name: str) -> Points | None:
        """A metric's values; None where it was not answered."""
        series = self._consumer.metrics.get(name)
        return None if series is None else series.points

    def _signs(self, name: str) -> Points:
        """The periods that have something of it, as far as their records may lie in the window that was asked for."""
        return tuple(
            (at_s, value)
            for at_s, value in self._all(name) or ()
            if value > 0 and self._meant(self._begin(at_s), at_s + self._period_s)
        )

    def _meant(self, since_s: float | None, until_s: float) -> bool:
        """Whether records from then to then may be meant; an unknown beginning is as early as can be."""
        return self._asked.overlaps(until_s - REMEMBERED_S if since_s is None else since_s, until_s)

    def _begin(self, first_s: float | None) -> float | None:
        """When the oldest records of what first showed then can have been written; None where their age is unknown.

        What it had taken by the last value of its age is older than that value says; so nothing older was open."""
        if first_s is None:
            return None
        before = [(at_s, age_ms) for at_s, age_ms in self._ages if at_s <= first_s]
        if not before:
            return None
        at_s, age_ms = before[-1]
        return at_s - age_ms / 1000 - self._period_s

    def _end(self, points: Points) -> float | None:
        """The end of the last such period, where the function was invoked after it; None where it may go on."""
        last_s, known_s = points[-1][0], self._seen.now_s - UNKNOWN_S - self._period_s
        invoked = self._all("Invocations")
        over = last_s < known_s if invoked is None else any(last_s < at_s <= known_s for at_s, _ in invoked)
        return last_s + self._period_s if over else None

    @staticmethod
    def _between(points: Points, at_s: float) -> bool:
        return points[0][0] <= at_s <= points[-1][0]

    def _of(
        self,
        sign: Sign,
        certainty: Certainty,
        what: str,
        points: Points,
        *,
        records: int | None = None,
        hint: str = "",
    ) -> Loss:
        """The loss that those periods of a metric are the sign of."""
        first_s = points[0][0]
        return self._loss(
            sign, certainty, what, self._begin(first_s), self._end(points), first_s, records=records, hint=hint
        )

    def _loss(
        self,
        sign: Sign,
        certainty: Certainty,
        what: str,
        since_s: float | None = None,
        until_s: float | None = None,
        first_s: float | None = None,
        *,
        records: int | None = None,
        hint: str = "",
    ) -> Loss:
        """A loss, cut to the window that was asked for."""
        asked = self._asked
        if asked.since_s is not None:
            since_s = asked.since_s if since_s is None else max(since_s, asked.since_s)
        if asked.until_s is not None:
            until_s = asked.until_s if until_s is None else min(until_s, asked.until_s)
        kept_s = self._kept_since_s()
        if since_s is not None and kept_s is not None and since_s < kept_s:
            hint += f"{' ' if hint else ''}What was written before {iso(kept_s)} is on no stream any more."
        return Loss(
            consumer=self._consumer.name,
            certainty=certainty,
            what=what,
            since_s=since_s,
            until_s=until_s,
            records=records,
            hint=hint,
            sign=sign,
            first_s=first_s,
        )

    def _kept_since_s(self) -> float | None:
        """From when on the stream has everything, as far as that is known."""
        horizon = self._seen.horizon
        return None if horizon is None else horizon.oldest_s


_SHARED = "its function has other callers too, and they may be theirs"
_KINDS = {"pipe": "a pipe", "ingestion": "a pipeline", "kinesis": "a Kinesis destination"}
