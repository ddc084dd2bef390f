"""The marker: an attribute that takes the run's name. A second time that changes nothing, and so fires nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from restrike.aws.dynamodb import StatementAnswer, quoted
from restrike.aws.wire import Wire
from restrike.model.report import Counts
from restrike.model.table import TableInfo
from restrike.selecting.read import Unit
from restrike.touching.book import Book
from restrike.touching.request import Api
from restrike.touching.spelling import Spelling
from restrike.touching.write import ALREADY, FIRED, GONE, Change, Outcome, Update, count


class Marker(Update):
    """Sets the marker, and awaits one record for each write that fired.

    A record is ours where NewImage carries the run's name and OldImage does not: a neighbour's later write carries
    it in both. Where the view type lacks those images the proof is by key (NEW_IMAGE), or only a bound (KEYS_ONLY,
    OLD_IMAGE).

    `early` holds records that came before their unit was done. One that stays there to the end is the record of a
    write whose answer was lost: this run fired the item, though a repetition had to call it `already`.
    """

    each_once = False
    stale = False

    def __init__(self, wire: Wire, table: TableInfo, attribute: str, api: Api, book: Book) -> None:
        super().__init__(wire, table, attribute, api)
        self.reads = attribute
        self.beside_units = Counts()
        self._book = book
        self._spelling = Spelling(table.key)
        self._awaited = book.keys("awaited")
        self._early = book.keys("early")
        self._value = {"S": book.run.name}
        self._raw_value = msgspec.Raw(msgspec.json.encode(self._value))
        self._conditional = False
        self._shape()

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────

    def _shape(self) -> None:
        value = bytes(self._raw_value)
        if self._conditional:
            name = quoted(self._attribute)
            statement = f"{self._partiql} AND ({name} IS MISSING OR {name}<>?)"
            tail = b"," + value + b'],"ReturnValuesOnConditionCheckFailure":"ALL_OLD"}'
        else:
            statement = f"{self._partiql} RETURNING MODIFIED OLD *"
            tail = b"]}"
        head = b'{"Statement":' + msgspec.json.encode(statement) + b',"Parameters":[' + value + b","
        self._head, self._tail = head, tail
        self._has_sort = self._table.key.sort is not None

    async def prepare(self, unit: Unit) -> Sequence[Any]:
        """Leaves out the items that were read with this run's name on them already."""
        jobs = [item for item in unit.items if item.value is None or item.value != self._raw_value]
        unit.counts.already += len(unit.items) - len(jobs)
        return jobs

    async def send(self, jobs: Sequence[Any]) -> tuple[list[StatementAnswer], float | None]:
        if self._api == "update-item":
            return await self._execute(
                [self._update_item(job, "", {":a": self._value}, {"ReturnValues": "UPDATED_OLD"}) for job in jobs]
            )
        head, tail, join = self._head, self._tail, b"".join
        if self._has_sort:
            return await self._execute([join((head, job.partition, b",", job.sort, tail)) for job in jobs])
        return await self._execute([join((head, job.partition, tail)) for job in jobs])

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
            return ALREADY if old == self._value else FIRED
        if error.code == "ConditionalCheckFailed":
            return ALREADY if error.item else GONE
        return Outcome.failure(error)

    def key(self, job: Any) -> bytes:
        return self._spelling.of([job])[0]

    def settle(self, unit: Unit, job: Any, outcome: Outcome) -> None:
        if outcome is FIRED:
            self.fired(unit, [job])
        else:
            count(unit.counts, outcome.name)

    def fired(self, unit: Unit, jobs: Sequence[Any]) -> None:
        unit.counts.fired += len(jobs)
        if self._book.proving:
            unit.fired += jobs

    # ── the stream ───────────────────────────────────────────────────────────────────────────────────────

    def done(self, unit: Unit) -> None:
        if not unit.fired:
            return
        keys = set(self._spelling.of(unit.fired))
        unit.fired = []
        seen = self._early.take(keys)
        self._book.seen += len(seen)
        keys -= seen
        self._awaited.add(keys)

    def records(self, changes: Sequence[Change]) -> None:
        both, exact = self._view_type == "NEW_AND_OLD_IMAGES", self.exact
        is_ours = self._is_ours
        ours = [
            change.keys
            for change in changes
            if not exact or (is_ours(change.new) and not (both and is_ours(change.old)))
        ]
        listed = self._spelling.of(ours)
        keys = set(listed)
        seen = self._awaited.take(keys)
        self._book.seen += len(seen)
        if len(seen) < len(listed):
            # A key twice: its first record is the one that was awaited.
            early = keys - seen if len(keys) == len(listed) else _without_the_first(listed, seen)
            self._early.add(early)

    def _is_ours(self, image: Any) -> bool:
        value = image.value if image is not None else None
        # Another spelling is no other value.
        return value is not None and (value == self._raw_value or msgspec.json.decode(value) == self._value)

    def awaited(self) -> int:
        return len(self._awaited)

    def unanswered(self, already: int) -> int:
        # Told only by both images, so that no later write counts.
        return min(len(self._early), already) if self._view_type == "NEW_AND_OLD_IMAGES" else 0

    def give_up(self, message: str) -> None:
        self._awaited.give_up("NotSeen", message)


def _without_the_first(keys: Sequence[bytes], of: set[bytes]) -> set[bytes]:
    """The keys, but for the first of each of those."""
    rest, first = set[bytes](), set(of)
    for key in keys:
        if key in first:
            first.remove(key)
        else:
            rest.add(key)
    return rest
