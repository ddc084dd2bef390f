"""What a kind of write is: `Write` is what the engine needs of it, `Update` is what the kinds have in common.

A kind of write is one object. It turns the items of a unit into jobs, a job into a statement and an answer into an
outcome; it says which records it awaits on the stream and which of them are its own; and it keeps in the book what a
killed run needs to go on. When and how often a job is sent is the engine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec

from restrike.aws.dynamodb import StatementAnswer, StatementError, batch_execute, quoted, update_item
from restrike.aws.wire import Wire
from restrike.errors import RestrikeError
from restrike.model.report import Counts
from restrike.model.spelling import Spelling
from restrike.model.table import TableInfo
from restrike.selecting.read import Unit
from restrike.touching.current import read_attribute
from restrike.touching.request import Api
from restrike.touching.tables import UNKNOWN_CODE

REFUSED = "ConditionalCheckFailed"
OutcomeName = Literal["fired", "already", "gone", "changed", "refused", "unknown", "failed"]


class Outcome(msgspec.Struct, frozen=True):
    """What became of one job; the service's code and message where it failed, ours where it was refused."""

    name: OutcomeName
    code: str = ""
    message: str = ""

    @classmethod
    def failure(cls, error: StatementError) -> Outcome:
        return cls("failed", error.code, " ".join(error.message.split()))

    @property
    def is_unread(self) -> bool:
        """Whether the item was refused, and could not be read to tell why."""
        return self.name == "failed" and self.code == UNKNOWN_CODE


FIRED = Outcome("fired")
OVERWROTE = Outcome("fired", "Overwrote")
"""Fired, and another run's name went."""
UNANSWERED = Outcome("fired", "Unanswered")
"""Fired by a write whose answer was lost: the item bears the run's name."""
ALREADY = Outcome("already")
GONE = Outcome("gone")
GONE_UNANSWERED = Outcome("gone", "Unanswered")
"""Gone, and an attempt whose answer was lost may have fired it before."""
CHANGED = Outcome("changed")


class Change(Protocol):
    """A record of the stream: its raw key values, and the attribute in its images (raw, each may be None); or whole
    images, raw, where the write asks for them."""

    keys: Any
    new: Any
    old: Any


class Write(Protocol):
    """A kind of write. It is made of (wire, table, attribute, api, book, names), and has its line in the engine's
    KINDS; `names` are the names of runs that it may take the place of."""

    @property
    def batch_size(self) -> int: ...

    operation: str
    """What it calls, by the API's name."""

    @property
    def reads(self) -> str | None:
        """The attribute that the selection reads along with the keys."""
        ...

    read_along: bool
    """Whether the selection yields it: then an item without it has none."""

    @property
    def each_once(self) -> bool:
        """Whether `prepare` lets an item through once in a run, however often the selection yields it."""
        ...

    async def prepare(self, unit: Unit) -> Sequence[Any]:
        """The jobs of the unit's items. What needs no write is counted in the unit; what failed is left over there.

        A job has the raw key values `partition` and `sort`. What has to be durable ahead of the write is so when
        this returns; where that cannot be had it raises, and has changed nothing.
        """
        ...

    async def send(self, jobs: Sequence[Any]) -> tuple[list[StatementAnswer], float | None]:
        """One attempt; the answers in the order of the jobs, and the write units where the service tells them."""
        ...

    async def read_refused(self, batch: Sequence[tuple[Unit, Any]], answers: Sequence[StatementAnswer]) -> None:
        """Adds the item as it is now to each refusal of which it takes the item to tell what it means.

        Asked where a batch came back with anything but writes that fired. Where the item cannot be read, the refusal
        becomes a failure that says so.
        """
        ...

    def adapts_to(self, message: str) -> bool:
        """Goes over to another form of its statement where that error means that the service refuses this one.

        Whether the job is to be sent again. It is True for each job so refused: there may be many under way.
        """
        ...

    def outcome(self, job: Any, answer: StatementAnswer, *, doubtful: bool) -> Outcome:
        """What the answer means. `doubtful`: an earlier attempt may have been carried out without an answer."""
        ...

    def key(self, job: Any) -> bytes:
        """The job's canonical key."""
        ...

    def settle(self, unit: Unit, job: Any, outcome: Outcome) -> None:
        """Counts that outcome, and keeps what is needed of it."""
        ...

    def fired(self, unit: Unit, jobs: Sequence[Any]) -> None:
        """`settle` for jobs of one unit that were answered without an error and without an item: all fired."""
        ...

    def done(self, unit: Unit) -> None:
        """The unit and all before it are done: from now on the records of its writes are awaited."""
        ...

    @property
    def beside_units(self) -> Counts:
        """What is counted without a unit."""
        ...

    async def look_back(self) -> None:
        """Of a run that goes on, when its selection is done: looks after writes of a killed part whose items were not
        met again."""
        ...

    # The stream.

    events: frozenset[str]
    """The names of the events whose records it wants."""
    whole_images: bool

    @property
    def exact(self) -> bool:
        """Whether the stream's view type shows the attribute; otherwise what is seen is an upper bound."""
        ...

    @property
    def sees_both(self) -> bool:
        """Whether it shows both images, and so whose write a record is."""
        ...

    def records(self, changes: Sequence[Change]) -> None:
        """Records of the stream, in its order; those of this run's writes are ticked off (`book.seen`)."""
        ...

    def awaited(self) -> int:
        """How many writes have no record yet."""
        ...

    @property
    def stale(self) -> bool:
        """Whether it takes a save until `awaited` and `book.seen` heed the last records."""
        ...

    def unanswered(self, bearing: int) -> int:
        """Of so many items that bear the run's name without an answer that says since when: how many this run fired."""
        ...

    def uncounted(self, bearing: int) -> int:
        """How many records of this run's writes stand on the stream beyond those of items that were met."""
        ...

    def give_up(self, message: str, *, all_read: bool) -> None:
        """Inside a transaction: what is still awaited becomes left over. So does what fired without an answer and has
        no record, unless all of the stream was read."""
        ...


class Update:
    """An update of one attribute of an item that exists, as PartiQL or as UpdateItem."""

    def __init__(self, wire: Wire, table: TableInfo, attribute: str, api: Api, names: Sequence[str] = ()) -> None:
        self._wire = wire
        self._table = table
        self._attribute = attribute
        self._api = api
        self._names = tuple(names)
        self.read_along = False
        self.events = frozenset({"MODIFY"})
        self.whole_images = False
        self._view_type = table.view_type or ""
        self.sees_both = self._view_type == "NEW_AND_OLD_IMAGES"
        self.exact = self._view_type in ("NEW_AND_OLD_IMAGES", "NEW_IMAGE")
        self.batch_size = 25 if api == "partiql" else 1
        self.operation = "BatchExecuteStatement" if api == "partiql" else "UpdateItem"
        self._spelling = Spelling(table.key)
        self._conditioned = True  # on more than that the item is there
        where = " AND ".join(f"{quoted(name)}=?" for name in table.key.names)
        self._partiql = f"UPDATE {quoted(table.name)} SET {quoted(attribute)}=? WHERE {where}"  # noqa: S608 - quoted

    async def look_back(self) -> None:
        """Nothing to look after."""

    def key(self, job: Any) -> bytes:
        return self._spelling.of([job])[0]

    async def read_refused(self, batch: Sequence[tuple[Unit, Any]], answers: Sequence[StatementAnswer]) -> None:
        """UpdateItem is documented to return the item that fails a condition, where there is one. A batch is not so:
        its `Error.Item` may be missing though ALL_OLD was asked for, and only a read tells whether the item is gone.
        """
        if self._api == "update-item" or not self._conditioned:
            return
        blind = [
            (job, answer.error)
            for (_, job), answer in zip(batch, answers, strict=True)
            if answer.error is not None and answer.error.code == REFUSED and not answer.error.item
        ]
        if not blind:
            return
        keys = self._spelling.of(job for job, _ in blind)
        try:
            found = await read_attribute(self._wire, self._table, keys, self._attribute)
        except RestrikeError as problem:
            # The other answers of the batch must not get lost with it.
            for _, error in blind:
                error.code, error.message = UNKNOWN_CODE, f"refused, and it could not be read why: {problem.message}"
            return
        for key, (_, error) in zip(keys, blind, strict=True):
            # An item without attributes, which a batch may return for none, is none.
            value = found.get(key)
            error.item = None if key not in found else {} if value is None else {self._attribute: value}

    async def _execute(self, statements: Sequence[bytes]) -> tuple[list[StatementAnswer], float | None]:
        if self._api == "partiql":
            return await batch_execute(self._wire, statements)
        answer, consumed = await update_item(self._wire, statements[0])
        return [answer], consumed

    def _key_parameters(self, job: Any) -> bytes:
        return bytes(job.partition) if self._table.key.sort is None else b"%b,%b" % (job.partition, job.sort)

    def _update_item(
        self,
        job: Any,
        condition: str,
        values: dict[str, Any],
        returning: dict[str, str],
        action: str = "SET #a = :a",
    ) -> bytes:
        key = {self._table.key.partition.name: msgspec.Raw(bytes(job.partition))}
        if self._table.key.sort is not None:
            key[self._table.key.sort.name] = msgspec.Raw(bytes(job.sort))
        return msgspec.json.encode(
            {
                "TableName": self._table.name,
                "Key": key,
                "UpdateExpression": action,
                # Without this a missing item would come to life as a stub.
                "ConditionExpression": f"attribute_exists(#p){condition}",
                "ExpressionAttributeNames": {"#a": self._attribute, "#p": self._table.key.partition.name},
                "ExpressionAttributeValues": values,
                "ReturnConsumedCapacity": "TOTAL",
            }
            | returning
        )


def count(counts: Counts, name: OutcomeName, items: int = 1) -> None:
    """One more of that outcome, or so many."""
    setattr(counts, name, getattr(counts, name) + items)
