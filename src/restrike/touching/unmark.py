"""Taking a marker off: the attribute goes where it holds a run's name, and the stream fires once more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from restrike.aws.dynamodb import StatementAnswer, quoted
from restrike.aws.wire import Wire
from restrike.model.table import TableInfo
from restrike.selecting.read import Unit
from restrike.touching.book import Book
from restrike.touching.marker import Marker
from restrike.touching.request import Api
from restrike.touching.write import ALREADY, FIRED, GONE, GONE_UNANSWERED, REFUSED, UNANSWERED, Change, Outcome


class Unmark(Marker):
    """Removes the marker where it holds the one name of `names`; the condition is the statement's own.

    An item that does not bear the name counts as `already`. A record is ours where OldImage carries the name and
    NewImage does not; where the view type lacks NewImage, any record with the name in OldImage may be ours.
    """

    def __init__(
        self, wire: Wire, table: TableInfo, attribute: str, api: Api, book: Book, names: Sequence[str] = ()
    ) -> None:
        super().__init__(wire, table, attribute, api, book, names)
        self.exact = self._view_type in ("NEW_AND_OLD_IMAGES", "OLD_IMAGE")

    def _shape(self) -> None:
        (name,) = self._names
        self._value = {"S": name}
        self._raw_value = msgspec.Raw(msgspec.json.encode(self._value))
        self._has_sort = self._table.key.sort is not None
        attribute = quoted(self._attribute)
        where = " AND ".join(f"{quoted(key)}=?" for key in self._table.key.names)
        statement = f"UPDATE {quoted(self._table.name)} REMOVE {attribute} WHERE {where} AND {attribute}=?"
        self._head = b'{"Statement":' + msgspec.json.encode(statement) + b',"Parameters":['
        self._tail = b"," + bytes(self._raw_value) + b'],"ReturnValuesOnConditionCheckFailure":"ALL_OLD"}'

    async def prepare(self, unit: Unit) -> Sequence[Any]:
        """Leaves out the items that were read without the name."""
        bearing = [item for item in unit.items if self._may_bear(item.value)]
        rest = len(unit.items) - len(bearing)
        here = self._book.known_in_flight(rest)
        unit.counts.fired += here
        unit.counts.unanswered += here
        unit.counts.already += rest - here
        if rest and here == rest:  # else nobody knows which
            self._without_answer([item for item in unit.items if not self._may_bear(item.value)])
        return bearing

    def _may_bear(self, value: Any) -> bool:
        if value is None:
            return not self.read_along
        return bool(value == self._raw_value) or msgspec.json.decode(value) == self._value

    def _updating(self, job: Any) -> bytes:
        returning = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        return self._update_item(job, " AND #a = :a", {":a": self._value}, returning, action="REMOVE #a")

    def adapts_to(self, message: str) -> bool:
        return False

    def outcome(self, job: Any, answer: StatementAnswer, *, doubtful: bool) -> Outcome:
        error = answer.error
        if error is None:
            return FIRED
        if error.code != REFUSED:
            return self._failure(error, doubtful=doubtful)
        if error.item is None:
            return GONE_UNANSWERED if doubtful or self._book.resumed else GONE
        # It was read with the name or may have borne it: where an attempt had no answer, that one took it off.
        return UNANSWERED if doubtful or self._book.known_in_flight(1) else ALREADY

    def _is_our_change(self, change: Change) -> bool:
        return self._bears(change.old) and not self._bears(change.new)
