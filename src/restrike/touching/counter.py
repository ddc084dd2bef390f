"""The counter: a number that goes up by 1, conditioned on the number that was read and written down before."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any

import msgspec

from restrike.aws.dynamodb import StatementAnswer, quoted
from restrike.aws.wire import Wire
from restrike.errors import UsageError
from restrike.model.report import Counts
from restrike.model.table import TableInfo, normal_number
from restrike.running.run import Leftover
from restrike.selecting.read import Unit
from restrike.touching.book import Book
from restrike.touching.current import read_attribute
from restrike.touching.request import Api
from restrike.touching.spelling import Spelling
from restrike.touching.write import CHANGED, FIRED, GONE, Change, Outcome, OutcomeName, Update


class Job(msgspec.Struct, gc=False):
    """An item to write: its key values as raw JSON, its canonical key, and the numbers before and after."""

    partition: Any
    sort: Any
    key: bytes = b""
    before: str | None = None
    after: str = ""
    resumed: bool = False  # an earlier process may have sent it


class Counter(Update):
    """Adds 1 to a number. (key, number before, number after) is durable ahead of the write, and after a crash the
    number itself tells what happened. What became of each write stands in the book, not in the units.

    A record is ours by the number; the book knows all of them, and ticks them off at a save.
    """

    reads = None
    each_once = True

    def __init__(
        self, wire: Wire, table: TableInfo, attribute: str, api: Api, book: Book, names: Sequence[str] = ()
    ) -> None:
        super().__init__(wire, table, attribute, api, names)
        self._spelling = Spelling(table.key)
        self._intents = book.intents()
        name = quoted(attribute)
        self._bump = msgspec.json.encode(f"{self._partiql} AND {name}=?")
        self._create = msgspec.json.encode(f"{self._partiql} AND {name} IS MISSING")

    @property
    def beside_units(self) -> Counts:
        return self._intents.counts

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────

    async def prepare(self, unit: Unit) -> Sequence[Job]:
        """Reads the numbers (consistently, from the table), writes down what will be written, drops what is done."""
        intents = self._intents
        keys = [key for key in dict.fromkeys(self._spelling.of(unit.items)) if not intents.is_mine(key)]
        numbers = await read_attribute(self._wire, self._table, keys, self._attribute)
        known = intents.known(keys)
        counts = Counts()
        jobs: list[Job] = []
        failed: list[Leftover] = []
        new: list[tuple[bytes, str | None, str]] = []
        dropped: list[bytes] = []
        recovered: list[tuple[bytes, OutcomeName, bool]] = []
        for key in keys:
            value = numbers.get(key, _ABSENT)
            if key in known:
                before, after, epoch, outcome = known[key]
                this_time = epoch == intents.epoch
                if outcome is None:
                    outcome = _what_happened(value, before, after)
                    if outcome is None:
                        jobs.append(self._job(key, before, after, resumed=True))
                        continue
                    if this_time or outcome == "fired":
                        recovered.append((key, outcome, this_time))
                if this_time:
                    continue  # counted from the book
                if outcome == "fired":
                    counts.already += 1
                    continue
                dropped.append(key)
            if value is _ABSENT:
                counts.gone += 1
                continue
            before = value["N"] if value is not None and "N" in value else None
            plus_one = _plus_one(before)
            if value is not None and before is None:
                why = ("NotANumber", f"{self._attribute} is of type {next(iter(value))}")
            elif plus_one is None:
                why = ("NumberTooLarge", f"{self._attribute} + 1 has more than 38 digits")
            else:
                new.append((key, before, plus_one))
                jobs.append(self._job(key, before, plus_one))
                continue
            counts.failed += 1
            failed.append(Leftover(key, *why))
        intents.intend(new, instead_of=dropped)
        # Only now: where that could not be written nothing has happened.
        intents.take_on(job.key for job in jobs)
        for key, outcome, this_time in recovered:
            intents.recover(key, outcome, counted=this_time)
        unit.counts.add(counts)
        unit.failed += failed
        return jobs

    def _job(self, key: bytes, before: str | None, after: str, *, resumed: bool = False) -> Job:
        values = msgspec.json.decode(key, type=dict[str, msgspec.Raw])
        schema = self._table.key
        sort = values[schema.sort.name] if schema.sort else None
        return Job(values[schema.partition.name], sort, key, before, after, resumed)

    async def send(self, jobs: Sequence[Job]) -> tuple[list[StatementAnswer], float | None]:
        return await self._execute([self._statement(job) for job in jobs])

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

    def adapts_to(self, message: str) -> bool:
        return False

    def outcome(self, job: Job, answer: StatementAnswer, *, doubtful: bool) -> Outcome:
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
        return Outcome.failure(error)

    def key(self, job: Job) -> bytes:
        return job.key

    def settle(self, unit: Unit, job: Job, outcome: Outcome) -> None:
        self._intents.settle(job.key, outcome.name)

    def fired(self, unit: Unit, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._intents.settle(job.key, "fired")

    # ── the stream ───────────────────────────────────────────────────────────────────────────────────────

    def done(self, unit: Unit) -> None:
        """Its intents are awaited already."""

    def records(self, changes: Sequence[Change]) -> None:
        keys = self._spelling.of(change.keys for change in changes)
        if not self.exact:
            for key, intent in self._intents.known(keys).items():
                self._intents.shown(key, intent[1])
            return
        for key, change in zip(keys, changes, strict=True):
            number = _number(change.new)
            if number is not None and (self._view_type == "NEW_IMAGE" or _number(change.old) != number):
                self._intents.shown(key, number)

    def awaited(self) -> int:
        return self._intents.awaited

    @property
    def stale(self) -> bool:
        return self._intents.stale

    def unanswered(self, bearing: int) -> int:
        return 0  # the number has told

    def give_up(self, message: str) -> None:
        self._intents.give_up("NotSeen", message)


_ABSENT: Any = object()


def _number(image: Any) -> str | None:
    if image is None or image.value is None:
        return None
    value = msgspec.json.decode(image.value)
    if not isinstance(value, dict) or not isinstance(value.get("N"), str):
        return None
    try:
        return normal_number(value["N"])
    except UsageError:
        return None


def _same_number(value: dict[str, Any] | None, number: str | None) -> bool:
    if value is None or number is None:
        return value is None and number is None
    return "N" in value and normal_number(value["N"]) == normal_number(number)


def _what_happened(value: Any, before: str | None, after: str) -> OutcomeName | None:
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
