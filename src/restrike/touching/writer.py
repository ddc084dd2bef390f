"""The one write that fires an item, and what its answer means: a marker, or a counter.

A writer turns the items of a unit into jobs, a job into a statement, and an answer into an outcome. What a
write does is decided here alone; when and how often it is sent is the engine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any, Literal, Protocol

import msgspec

from restrike.aws.dynamodb import StatementAnswer, StatementError, batch_execute, decode, quoted, update_item
from restrike.aws.wire import Wire
from restrike.model.report import Counts
from restrike.model.table import Key, TableInfo, canonical_key, normal_number
from restrike.runs.ledger import Ledger

Outcome = Literal["fired", "already", "gone", "changed", "failed"]
Api = Literal["partiql", "update-item"]

RETRY_CODES = frozenset(
    {
        "ThrottlingError",
        "ThrottlingException",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "InternalServerError",
        "TransactionConflict",
    }
)
"""Statement errors after which that statement is sent again."""
FATAL_CODES = frozenset({"AccessDenied", "AccessDeniedException", "ResourceNotFound", "ResourceNotFoundException"})
"""Statement errors that every other statement would meet too."""


class Job(msgspec.Struct, gc=False):
    """An item to write: its key values as raw JSON, and for a counter the numbers before and after."""

    partition: Any
    sort: Any
    key: bytes = b""
    before: str | None = None
    after: str = ""
    resumed: bool = False  # an earlier process may have sent it


class Verdict(msgspec.Struct, frozen=True):
    outcome: Outcome
    code: str = ""
    message: str = ""


FIRED = Verdict("fired")
ALREADY = Verdict("already")
GONE = Verdict("gone")
CHANGED = Verdict("changed")


class Prepared(msgspec.Struct):
    """The jobs of some items, and the count of those that need no write."""

    jobs: Sequence[Any]
    counts: Counts
    failed: Sequence[tuple[bytes, Verdict]] = ()
    recovered: Sequence[Outcome] = ()  # what became of writes of a killed process, as it shows only now


class Writer(Protocol):
    """What the engine needs of a marker or a counter."""

    batch_size: int

    async def prepare(self, items: Sequence[Any]) -> Prepared: ...
    async def execute(self, jobs: Sequence[Any]) -> tuple[list[StatementAnswer], float | None]: ...
    def verdict(self, job: Any, answer: StatementAnswer, *, doubtful: bool) -> Verdict: ...
    def key(self, job: Any) -> bytes: ...
    def settled(self, job: Any, verdict: Verdict) -> None: ...
    def can_do_without_returning(self, message: str) -> bool: ...


def key_of(table: TableInfo, job: Any) -> bytes:
    """The canonical key of an item or job with raw key values."""
    key: Key = {table.key.partition.name: msgspec.json.decode(job.partition)}
    if table.key.sort is not None:
        key[table.key.sort.name] = msgspec.json.decode(job.sort)
    return canonical_key(table.key, key)


class _Update:
    """An update of one attribute of an item that exists, as PartiQL or as UpdateItem."""

    def __init__(self, wire: Wire, table: TableInfo, attribute: str, api: Api) -> None:
        self._wire = wire
        self._table = table
        self._attribute = attribute
        self._api = api
        self.batch_size = 25 if api == "partiql" else 1
        where = " AND ".join(f"{quoted(name)}=?" for name in table.key.names)
        self._partiql = f"UPDATE {quoted(table.name)} SET {quoted(attribute)}=? WHERE {where}"  # noqa: S608 - quoted

    async def _send(self, statements: Sequence[bytes]) -> tuple[list[StatementAnswer], float | None]:
        if self._api == "partiql":
            return await batch_execute(self._wire, statements)
        answer, consumed = await update_item(self._wire, statements[0])
        return [answer], consumed

    def _key_parameters(self, job: Any) -> bytes:
        return bytes(job.partition) if self._table.key.sort is None else b"%b,%b" % (job.partition, job.sort)

    def _update_item(self, job: Any, condition: str, values: dict[str, Any], returning: dict[str, str]) -> bytes:
        key = {self._table.key.partition.name: msgspec.Raw(bytes(job.partition))}
        if self._table.key.sort is not None:
            key[self._table.key.sort.name] = msgspec.Raw(bytes(job.sort))
        return msgspec.json.encode(
            {
                "TableName": self._table.name,
                "Key": key,
                "UpdateExpression": "SET #a = :a",
                # Without this a missing item would come to life as a stub.
                "ConditionExpression": f"attribute_exists(#p){condition}",
                "ExpressionAttributeNames": {"#a": self._attribute, "#p": self._table.key.partition.name},
                "ExpressionAttributeValues": values,
                "ReturnConsumedCapacity": "TOTAL",
            }
            | returning
        )


class MarkerWriter(_Update):
    """Sets the marker to the run's name: a second time it changes nothing, and so fires nothing."""

    def __init__(self, wire: Wire, table: TableInfo, marker: str, run: str, api: Api) -> None:
        super().__init__(wire, table, marker, api)
        self._value = {"S": run}
        self._raw_value = msgspec.json.encode(self._value)
        self._conditional = False
        self._shape()

    def _shape(self) -> None:
        if self._conditional:
            name = quoted(self._attribute)
            statement = f"{self._partiql} AND ({name} IS MISSING OR {name}<>?)"
            tail = b"," + self._raw_value + b'],"ReturnValuesOnConditionCheckFailure":"ALL_OLD"}'
        else:
            statement = f"{self._partiql} RETURNING MODIFIED OLD *"
            tail = b"]}"
        head = b'{"Statement":' + msgspec.json.encode(statement) + b',"Parameters":[' + self._raw_value + b","
        self._head, self._tail = head, tail
        self._has_sort = self._table.key.sort is not None

    async def prepare(self, items: Sequence[Any]) -> Prepared:
        """Leaves out the items that were read with this run's name on them already."""
        jobs = [item for item in items if item.value is None or bytes(item.value) != self._raw_value]
        already = len(items) - len(jobs)
        return Prepared(jobs, Counts(selected=already, already=already))

    async def execute(self, jobs: Sequence[Any]) -> tuple[list[StatementAnswer], float | None]:
        if self._api == "update-item":
            return await self._send(
                [self._update_item(job, "", {":a": self._value}, {"ReturnValues": "UPDATED_OLD"}) for job in jobs]
            )
        head, tail, join = self._head, self._tail, b"".join
        if self._has_sort:
            return await self._send([join((head, job.partition, b",", job.sort, tail)) for job in jobs])
        return await self._send([join((head, job.partition, tail)) for job in jobs])

    def verdict(self, job: Any, answer: StatementAnswer, *, doubtful: bool) -> Verdict:
        error = answer.error
        if error is None:
            # What is returned is the marker as it was: absent or another run's where this write fired.
            old = answer.item.get(self._attribute) if answer.item else None
            return ALREADY if old == self._value else FIRED
        if error.code == "ConditionalCheckFailed":
            return ALREADY if error.item else GONE
        return _failure(error)

    def key(self, job: Any) -> bytes:
        return key_of(self._table, job)

    def settled(self, job: Any, verdict: Verdict) -> None:
        """The marker itself is the record."""

    def can_do_without_returning(self, message: str) -> bool:
        """Where the service refuses RETURNING: goes over to a condition. True for every statement so refused.

        There are many of them: the rest of the batch, and the batches that were under way."""
        if self._api != "partiql" or "RETURNING" not in message.upper():
            return False
        if not self._conditional:
            self._conditional = True
            self._shape()
        return True


def _failure(error: StatementError) -> Verdict:
    return Verdict("failed", error.code, error.message)


class CounterWriter(_Update):
    """Adds 1 to a number, conditioned on the number that was read and durably written down before."""

    def __init__(
        self, wire: Wire, table: TableInfo, counter: str, api: Api, ledger: Ledger, run: str, epoch: int
    ) -> None:
        super().__init__(wire, table, counter, api)
        self._ledger = ledger
        self._run = run
        self._epoch = epoch
        self.unsaved: list[tuple[bytes, str]] = []  # outcomes that the next save makes durable
        self._mine: set[bytes] = set()  # keys that this process has taken on, until their outcome is saved
        name = quoted(counter)
        self._bump = msgspec.json.encode(f"{self._partiql} AND {name}=?")
        self._create = msgspec.json.encode(f"{self._partiql} AND {name} IS MISSING")

    async def prepare(self, items: Sequence[Any]) -> Prepared:
        """Reads the numbers (consistently, from the table), writes down what will be written, drops what is done.

        An item is written once in a run, however often the selection yields it.
        """
        keys = list(dict.fromkeys(key_of(self._table, item) for item in items))
        numbers = await read_attribute(self._wire, self._table, keys, self._attribute)
        known = self._ledger.intents(self._run, keys)
        counts = Counts()
        jobs: list[Job] = []
        failed: list[tuple[bytes, Verdict]] = []
        new: list[tuple[bytes, str | None, str]] = []
        dropped: list[bytes] = []
        recovered: list[Outcome] = []

        for key in keys:
            if key in self._mine:
                continue  # the selection yields it again
            value = numbers.get(key, _ABSENT)
            if key in known:
                before, after, epoch, outcome = known[key]
                if outcome is None:
                    outcome = _what_happened(value, before, after)
                    if outcome is not None:
                        self.unsaved.append((key, outcome))
                        self._mine.add(key)
                        if epoch == self._epoch:
                            recovered.append(outcome)
                    else:
                        jobs.append(_job(self._table, key, before, after, resumed=True))
                        continue
                if epoch == self._epoch:
                    continue  # counted from the ledger
                if outcome == "fired":
                    counts.selected += 1
                    counts.already += 1
                    continue
                dropped.append(key)
            if value is _ABSENT:
                counts.selected += 1
                counts.gone += 1
                continue
            verdict = None
            if value is not None and "N" not in value:
                verdict = Verdict("failed", "NotANumber", f"{self._attribute} is of type {next(iter(value))}")
            else:
                before = None if value is None else value["N"]
                plus_one = _plus_one(before)
                if plus_one is None:
                    verdict = Verdict("failed", "NumberTooLarge", f"{self._attribute} + 1 has more than 38 digits")
                else:
                    new.append((key, before, plus_one))
                    jobs.append(_job(self._table, key, before, plus_one))
            if verdict is not None:
                counts.selected += 1
                counts.failed += 1
                failed.append((key, verdict))
        self._mine.update(job.key for job in jobs)
        self._ledger.intend(self._run, self._epoch, new, instead_of=dropped)
        return Prepared(jobs, counts, failed, recovered)

    async def execute(self, jobs: Sequence[Job]) -> tuple[list[StatementAnswer], float | None]:
        return await self._send([self._statement(job) for job in jobs])

    def _statement(self, job: Job) -> bytes:
        after = msgspec.json.encode({"N": job.after})
        if self._api == "update-item":
            values: dict[str, Any] = {":a": {"N": job.after}}
            condition = " AND attribute_not_exists(#a)"
            if job.before is not None:
                values[":b"] = {"N": job.before}
                condition = " AND #a = :b"
            return self._update_item(job, condition, values, {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"})
        parameters = after + b"," + self._key_parameters(job)
        statement = self._create
        if job.before is not None:
            statement = self._bump
            parameters += b"," + msgspec.json.encode({"N": job.before})
        return b'{"Statement":%b,"Parameters":[%b],"ReturnValuesOnConditionCheckFailure":"ALL_OLD"}' % (
            statement,
            parameters,
        )

    def verdict(self, job: Job, answer: StatementAnswer, *, doubtful: bool) -> Verdict:
        error = answer.error
        if error is None:
            return FIRED
        if error.code == "ConditionalCheckFailed":
            if not error.item:
                return GONE
            # Where an earlier attempt may have been carried out, the number that it writes tells that it was.
            now = error.item.get(self._attribute)
            doubtful = doubtful or job.resumed
            return FIRED if doubtful and _same_number(now, job.after) else CHANGED
        return _failure(error)

    def key(self, job: Job) -> bytes:
        return job.key

    def settled(self, job: Job, verdict: Verdict) -> None:
        self.unsaved.append((job.key, verdict.outcome))

    def saved(self) -> None:
        """What was unsaved is durable: from now on the ledger knows those keys."""
        self._mine.difference_update(key for key, _ in self.unsaved)
        self.unsaved.clear()

    def can_do_without_returning(self, message: str) -> bool:
        return False


_ABSENT: Any = object()


def _job(table: TableInfo, key: bytes, before: str | None, after: str, *, resumed: bool = False) -> Job:
    values = msgspec.json.decode(key, type=dict[str, msgspec.Raw])
    sort = values[table.key.sort.name] if table.key.sort else None
    return Job(values[table.key.partition.name], sort, key, before, after, resumed)


def _same_number(value: dict[str, Any] | None, number: str | None) -> bool:
    if value is None or number is None:
        return value is None and number is None
    return "N" in value and normal_number(value["N"]) == normal_number(number)


def _what_happened(value: Any, before: str | None, after: str) -> Outcome | None:
    """What became of a write of which only the intent is known; None: it was not carried out."""
    if value is _ABSENT:
        return "gone"
    if _same_number(value, after):
        return "fired"
    return None if _same_number(value, before) else "changed"


def _plus_one(number: str | None) -> str | None:
    """The number + 1, 1 where there was none; None where DynamoDB could not tell the two apart."""
    if number is None:
        return "1"
    exact = Context(prec=200).add(Decimal(number), 1)
    rounded = Context(prec=38).plus(exact)
    return normal_number(str(exact)) if rounded == exact else None


class _GetAnswer(msgspec.Struct, rename="pascal"):
    responses: dict[str, list[dict[str, dict[str, Any]]]] = {}
    unprocessed_keys: dict[str, msgspec.Raw] = {}


_get_answer = msgspec.json.Decoder(_GetAnswer)


async def read_attribute(
    wire: Wire, table: TableInfo, keys: Sequence[bytes], attribute: str
) -> dict[bytes, dict[str, Any] | None]:
    """The attribute of each item as it is now (consistently): None where the item lacks it; absent items left out."""
    found: dict[bytes, dict[str, Any] | None] = {}
    names = {f"#n{number}": name for number, name in enumerate((*table.key.names, attribute))}
    for first in range(0, len(keys), 100):
        pending: Any = {
            table.name: {
                "Keys": [msgspec.Raw(key) for key in keys[first : first + 100]],
                "ConsistentRead": True,
                "ProjectionExpression": ",".join(names),
                "ExpressionAttributeNames": names,
            }
        }
        for _ in range(100):  # each round returns at least one page of 16 MB
            body = await wire.call("BatchGetItem", msgspec.json.encode({"RequestItems": pending}))
            answer = decode(_get_answer, body, "BatchGetItem")
            for item in answer.responses.get(table.name, ()):
                found[canonical_key(table.key, item)] = item.get(attribute)
            pending = answer.unprocessed_keys
            if not pending:
                break
    return found
