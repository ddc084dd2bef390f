"""The counter: a number that goes up by 1, conditioned on the number that was read and written down before.

An answer tells what became of a write, and where it is lost, only the stream does. The number does not: whoever else
raises it leaves the same one. The first record that moves the number away from what it was before decides. It is this
run's write where the number became the one that was to be and the rest of the item is as it was; else it is somebody
else's, and this run's, whose condition is the number before, did nothing. Without such a record the write is `unknown`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Context, Decimal
from typing import Any

import msgspec

from restrike.aws.dynamodb import KEYS_A_CALL, StatementAnswer, attributes_type, quoted
from restrike.aws.wire import Wire
from restrike.errors import UsageError
from restrike.model.report import Counts
from restrike.model.table import TableInfo, normal_number
from restrike.running.run import Leftover
from restrike.selecting.read import Unit
from restrike.touching.book import Book
from restrike.touching.current import read_attribute
from restrike.touching.request import Api
from restrike.touching.tables import UNKNOWN, UNKNOWN_GONE
from restrike.touching.write import CHANGED, FIRED, GONE, REFUSED, Change, Outcome, Update


class Job(msgspec.Struct, gc=False):
    """An item to write: its key values as raw JSON, its canonical key, and the numbers before and after."""

    partition: Any
    sort: Any
    key: bytes = b""
    before: str | None = None
    after: str = ""
    resumed: bool = False  # an earlier process may have sent it


class Counter(Update):
    """Adds 1 to a number. (key, number before, number after) is durable ahead of the write: after a crash, a number
    that is as it was before shows that nothing happened. What became of each write stands in the book, not in the
    units, and the book ticks off records at a save.
    """

    reads = None
    each_once = True

    def __init__(
        self, wire: Wire, table: TableInfo, attribute: str, api: Api, book: Book, names: Sequence[str] = ()
    ) -> None:
        super().__init__(wire, table, attribute, api, names)
        self.events = frozenset({"MODIFY", "REMOVE"})
        self.whole_images = True
        self._intents = book.intents()
        image, self._pick = attributes_type({"value": attribute}, msgspec.Raw)
        self._image = msgspec.json.Decoder(image)
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
        settled: list[tuple[bytes, str]] = []
        for key in keys:
            value = numbers.get(key, _ABSENT)
            if key in known:
                before, after, epoch, outcome = known[key]
                if epoch == intents.epoch:
                    if outcome is not None:
                        continue  # counted from the book
                    unknown = _unknown(value, before)
                    if unknown is None:
                        jobs.append(self._job(key, before, after, resumed=True))
                    else:
                        settled.append((key, unknown))
                    continue
                if outcome == "fired":
                    counts.already += 1
                    continue
                dropped.append(key)
            if value is _ABSENT:
                counts.gone += 1
                continue
            before = normal_number(value["N"]) if value is not None and "N" in value else None
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
        intents.take_on([job.key for job in jobs])
        intents.take_on([key for key, _ in settled])
        for key, unknown in settled:
            intents.settle(key, unknown)
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
        # An earlier attempt may have been carried out: whatever the number is now does not tell.
        doubtful = doubtful or job.resumed
        if error.code == REFUSED:
            if error.item is None:
                return _UNKNOWN_GONE if doubtful else GONE
            return _UNKNOWN if doubtful else CHANGED
        failure = Outcome.failure(error)
        return _UNKNOWN if doubtful and failure.is_unread else failure

    def key(self, job: Job) -> bytes:
        return job.key

    def settle(self, unit: Unit, job: Job, outcome: Outcome) -> None:
        self._intents.settle(job.key, outcome.code if outcome.name == "unknown" else outcome.name)

    def fired(self, unit: Unit, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._intents.settle(job.key, "fired")

    async def look_back(self) -> None:
        for some in self._intents.open(KEYS_A_CALL):
            keys = [key for key, _ in some]
            numbers = await read_attribute(self._wire, self._table, keys, self._attribute)
            for key, before in some:
                unknown = _unknown(numbers.get(key, _ABSENT), before)
                if unknown is not None:
                    self._intents.settle(key, unknown)

    # ── the stream ───────────────────────────────────────────────────────────────────────────────────────

    def done(self, unit: Unit) -> None:
        """Its intents are awaited already."""

    def records(self, changes: Sequence[Change]) -> None:
        keys = self._spelling.of(change.keys for change in changes)
        intents = self._intents
        if not self.exact:
            for key, intent in intents.known(keys).items():
                intents.maybe_ours(key, intent[1])
            return
        for key, change in zip(keys, changes, strict=True):
            new = self._number(change.new)
            if not self.sees_both:
                if isinstance(new, str):
                    intents.maybe_ours(key, new)
                continue
            old = self._number(change.old)
            if old is _NO_NUMBER or old == new:
                continue
            if (
                isinstance(new, str)
                and new == _plus_one(old)
                and (not intents.is_undecided(key) or self._is_all(change))
            ):
                # Where the answer was there, the one write between those numbers is the one that was answered.
                intents.ours(key, old, new)
            else:
                intents.anothers(key, old)

    def _number(self, image: Any) -> Any:
        """The number in a whole image; None where it lacks the attribute, _NO_NUMBER where that is none or there is no
        image."""
        if image is None:
            return _NO_NUMBER
        raw = self._pick(self._image.decode(image)).value
        if raw is None:
            return None
        value = msgspec.json.decode(raw)
        if not isinstance(value, dict) or not isinstance(value.get("N"), str):
            return _NO_NUMBER
        try:
            return normal_number(value["N"])
        except UsageError:
            return _NO_NUMBER

    def _is_all(self, change: Change) -> bool:
        """Whether the images differ in the attribute alone."""
        new, old = _attributes(change.new), _attributes(change.old)
        new.pop(self._attribute, None)
        old.pop(self._attribute, None)
        return new == old or (new.keys() == old.keys() and all(_same(new[name], old[name]) for name in new))

    def awaited(self) -> int:
        return self._intents.awaited + (self._intents.counts.unknown if self.sees_both else 0)

    @property
    def stale(self) -> bool:
        return self._intents.stale

    def unanswered(self, bearing: int) -> int:
        return 0  # the book has told

    def uncounted(self, bearing: int) -> int:
        return 0

    def give_up(self, message: str, *, all_read: bool) -> None:
        self._intents.give_up("NotSeen", message)


_ABSENT: Any = object()
_NO_NUMBER: Any = object()
_UNKNOWN = Outcome("unknown", UNKNOWN)
_UNKNOWN_GONE = Outcome("unknown", UNKNOWN_GONE)


def _unknown(value: Any, before: str | None) -> str | None:
    """What a write of which only the intent is known came to; None: nothing, since the number is as it was before."""
    if value is _ABSENT:
        return UNKNOWN_GONE
    if value is None or before is None:
        return None if value is before else UNKNOWN
    return None if "N" in value and normal_number(value["N"]) == before else UNKNOWN


def _attributes(image: Any) -> dict[str, Any]:
    return msgspec.json.decode(image, type=dict[str, msgspec.Raw])


def _same(one: msgspec.Raw, other: msgspec.Raw) -> bool:
    """Whether it is one value, however it is spelled, and in whatever order a set or a map is."""
    return one == other or _plain(msgspec.json.decode(one)) == _plain(msgspec.json.decode(other))


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: sorted(each) if name in _SETS and _is_texts(each) else _plain(each) for name, each in value.items()}


_SETS = frozenset({"SS", "NS", "BS"})


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _plus_one(number: str | None) -> str | None:
    """The number + 1, 1 where there was none; None where DynamoDB could not tell the two apart."""
    if number is None:
        return "1"
    exact = Context(prec=200).add(Decimal(number), 1)
    rounded = Context(prec=38).plus(exact)
    return normal_number(str(exact)) if rounded == exact else None
