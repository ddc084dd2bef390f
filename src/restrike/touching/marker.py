"""The marker: an attribute that takes the run's name. A second time that changes nothing, and so fires nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from restrike.aws.dynamodb import StatementAnswer, StatementError, quoted
from restrike.aws.wire import Wire
from restrike.model.report import Counts
from restrike.model.table import MARKER, TableInfo
from restrike.selecting.read import Unit
from restrike.touching.book import Book
from restrike.touching.request import Api
from restrike.touching.tables import UNKNOWN_CODE
from restrike.touching.write import (
    ALREADY,
    FIRED,
    GONE,
    GONE_UNANSWERED,
    OVERWROTE,
    REFUSED,
    UNANSWERED,
    Change,
    Outcome,
    Update,
    count,
)


class Marker(Update):
    """Sets the marker, and awaits one record for each write that fired.

    Under Restrike's own name for it, whatever text it holds is a run's name. Under any other the statement itself
    overwrites only this run's name and those of `names`: the rest may be the application's.

    A record is ours where NewImage carries the run's name and OldImage does not: a neighbour's later write carries
    it in both. Where the view type lacks those images the proof is by key (NEW_IMAGE), or only a bound (KEYS_ONLY,
    OLD_IMAGE).

    `early` holds records that came before their unit was done. One that stays there to the end is the record of a
    write whose answer was lost: this run fired the item, though a repetition only finds the name there. `unproved`
    holds those that fired so and have no record yet. `missed` holds items that were gone when they were written again
    after a lost answer: a record tells that they had fired before. Those of `unread` were refused, and could not be
    read: their records are no other item's, and are told as such.
    """

    each_once = False
    stale = False

    def __init__(
        self, wire: Wire, table: TableInfo, attribute: str, api: Api, book: Book, names: Sequence[str] = ()
    ) -> None:
        super().__init__(wire, table, attribute, api, names)
        self.reads = attribute
        self.beside_units = Counts()
        self._book = book
        self._awaited = book.keys("awaited")
        self._early = book.keys("early")
        self._missed = book.keys("missed")
        self._unproved = book.keys("unproved")
        self._unread = book.keys("unread")
        self._unread_fired = book.keys("unread, fired")
        self._value = {"S": book.run.name}
        self._raw_value = msgspec.Raw(msgspec.json.encode(self._value))
        self._guarded = attribute != MARKER
        self._conditional = False
        self._shape()

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────

    def _shape(self) -> None:
        value = bytes(self._raw_value)
        name = quoted(self._attribute)
        compared: list[bytes] = []
        condition = ""
        if self._guarded:
            # Without RETURNING it is the refusal that tells `already`.
            compared = [] if self._conditional else [value]
            compared += [msgspec.json.encode({"S": other}) for other in self._names if other != self._value["S"]]
            condition = f" AND ({name} IS MISSING{f' OR {name}=?' * len(compared)})"
        elif self._conditional:
            compared = [value]
            condition = f" AND ({name} IS MISSING OR {name}<>?)"
        statement = self._partiql + condition + ("" if self._conditional else " RETURNING MODIFIED OLD *")
        tail = b"".join(b"," + each for each in compared) + b"]"
        tail += b',"ReturnValuesOnConditionCheckFailure":"ALL_OLD"}' if condition else b"}"
        head = b'{"Statement":' + msgspec.json.encode(statement) + b',"Parameters":[' + value + b","
        self._head, self._tail = head, tail
        self._conditioned = bool(condition)  # else a refusal means that the item is gone, and nothing has to be read
        self._has_sort = self._table.key.sort is not None

    async def prepare(self, unit: Unit) -> Sequence[Any]:
        """Leaves out the items that were read with this run's name on them already."""
        jobs = [item for item in unit.items if item.value is None or item.value != self._raw_value]
        bearing = len(unit.items) - len(jobs)
        if bearing:
            here = self._book.written_here(bearing, doubtful=False)
            unit.counts.fired += here
            unit.counts.unanswered += here
            unit.counts.already += bearing - here
            if here == bearing:  # else nobody knows which
                self._without_answer([item for item in unit.items if item.value == self._raw_value])
        return jobs

    async def send(self, jobs: Sequence[Any]) -> tuple[list[StatementAnswer], float | None]:
        head, tail, join = self._head, self._tail, b"".join
        if self._api == "update-item":
            statements = [self._updating(job) for job in jobs]
        elif self._has_sort:
            statements = [join((head, job.partition, b",", job.sort, tail)) for job in jobs]
        else:
            statements = [join((head, job.partition, tail)) for job in jobs]
        return await self._execute(statements)

    def _updating(self, job: Any) -> bytes:
        values: dict[str, Any] = {":a": self._value}
        returning = {"ReturnValues": "UPDATED_OLD"}
        if not self._guarded:
            return self._update_item(job, "", values, returning)
        values |= {f":n{number}": {"S": name} for number, name in enumerate(self._names)}
        condition = f" AND (attribute_not_exists(#a) OR #a IN ({','.join(values)}))"
        return self._update_item(job, condition, values, returning | {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"})

    def adapts_to(self, message: str) -> bool:
        """Where the service refuses RETURNING inside a batch, a condition takes its place."""
        if self._api != "partiql" or "RETURNING" not in message.upper():
            return False
        if not self._conditional:
            self._conditional = True
            self._shape()
        return True

    def outcome(self, job: Any, answer: StatementAnswer, *, doubtful: bool) -> Outcome:
        error = answer.error
        if error is None:
            # What is returned is the marker as it was: absent or another run's where this write fired.
            old = answer.item.get(self._attribute) if answer.item else None
            if old is None:  # or not told: then it is as it was read
                return OVERWROTE if self._conditional and job.value is not None else FIRED
            return self._bearing(job, doubtful=doubtful) if old == self._value else OVERWROTE
        if error.code != REFUSED:
            return self._failure(error, doubtful=doubtful)
        if error.item is None:
            return GONE_UNANSWERED if doubtful or self._book.resumed else GONE
        now = error.item.get(self._attribute)
        if now == self._value:
            return self._bearing(job, doubtful=doubtful)
        if not self._guarded:
            # Nothing but the run's name is refused; what was read is later than the refusal.
            error.code, error.message = UNKNOWN_CODE, "refused, and changed again before it was read why"
            return self._failure(error, doubtful=doubtful)
        kind = "nothing any more" if now is None else f"a value of type {next(iter(now))}"
        return Outcome(
            "refused", "NotOurs", f"{self._attribute} holds {kind}: no name of a run that may be overwritten"
        )

    def _failure(self, error: StatementError, *, doubtful: bool) -> Outcome:
        if error.code == UNKNOWN_CODE and (doubtful or self._book.resumed):
            error.message += "; an attempt without an answer may have been carried out before"
        return Outcome.failure(error)

    def _bearing(self, job: Any, *, doubtful: bool) -> Outcome:
        """Of an item that bears the name. One that was read without it got it from an attempt without an answer."""
        if doubtful and (self.read_along or job.value is not None):
            return UNANSWERED
        return UNANSWERED if self._book.written_here(1, doubtful=doubtful) else ALREADY

    def _without_answer(self, jobs: Sequence[Any]) -> None:
        """They fired, and have their record already or are to have it."""
        if self._book.proving and self.sees_both:
            keys = set(self._spelling.of(jobs))
            self._unproved.add(keys - self._early.having(keys))

    def settle(self, unit: Unit, job: Any, outcome: Outcome) -> None:
        count(unit.counts, outcome.name)
        if outcome is UNANSWERED:
            unit.counts.unanswered += 1
            self._without_answer([job])
        elif outcome is GONE_UNANSWERED:
            if self._book.proving and self.sees_both:
                unit.gone.append(job)
        elif outcome.is_unread and self._book.proving and self.sees_both:
            key = {self.key(job)}
            fired = self._early.take(key)
            self._unread_fired.add(fired)
            self._unread.add(key - fired)
        elif outcome.name == "fired":
            unit.counts.overwrote += outcome is OVERWROTE
            if self._book.proving:
                unit.fired.append(job)

    def fired(self, unit: Unit, jobs: Sequence[Any]) -> None:
        unit.counts.fired += len(jobs)
        if self._conditional:
            unit.counts.overwrote += sum(job.value is not None for job in jobs)
        if self._book.proving:
            unit.fired += jobs

    # ── the stream ───────────────────────────────────────────────────────────────────────────────────────

    def done(self, unit: Unit) -> None:
        if unit.gone:
            gone = set(self._spelling.of(unit.gone))
            unit.gone = []
            late = self._early.take(gone)
            self._book.late += len(late)
            self._missed.add(gone - late)
        if not unit.fired:
            return
        keys = set(self._spelling.of(unit.fired))
        unit.fired = []
        seen = self._early.take(keys)
        self._book.seen += len(seen)
        keys -= seen
        self._awaited.add(keys)

    def records(self, changes: Sequence[Change]) -> None:
        exact, is_ours = self.exact, self._is_our_change
        ours = [change.keys for change in changes if not exact or is_ours(change)]
        listed = self._spelling.of(ours)
        keys = set(listed)
        seen = self._awaited.take(keys)
        self._book.seen += len(seen)
        if len(seen) < len(listed):
            # A key twice: its first record is the one that was awaited.
            early = keys - seen if len(keys) == len(listed) else _without_the_first(listed, seen)
            if self._missed:
                late = self._missed.take(early)
                self._book.late += len(late)
                early = early - late
            if self._unread:
                fired = self._unread.take(early)
                self._unread_fired.add(fired)
                early = early - fired
            if self._unproved:
                self._unproved.take(early)
            self._early.add(early)

    def _is_our_change(self, change: Change) -> bool:
        return self._bears(change.new) and not (self.sees_both and self._bears(change.old))

    def _bears(self, image: Any) -> bool:
        value = image.value if image is not None else None
        # Another spelling is no other value.
        return value is not None and (value == self._raw_value or msgspec.json.decode(value) == self._value)

    def awaited(self) -> int:
        return len(self._awaited)

    def unanswered(self, bearing: int) -> int:
        # Told only by both images, so that no later write counts.
        return min(len(self._early), bearing) if self.sees_both else 0

    def uncounted(self, bearing: int) -> int:
        return max(0, len(self._early) - bearing) + len(self._unread_fired) if self.sees_both else 0

    def give_up(self, message: str, *, all_read: bool) -> None:
        self._awaited.give_up("NotSeen", message)
        if not all_read:  # else they bore the name before, and are counted so
            self._unproved.give_up("NotSeen", message)


def _without_the_first(keys: Sequence[bytes], of: set[bytes]) -> set[bytes]:
    """The keys, but for the first of each of those."""
    rest, first = set[bytes](), set(of)
    for key in keys:
        if key in first:
            first.remove(key)
        else:
            rest.add(key)
    return rest
