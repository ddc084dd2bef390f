"""A counter beside a writer that counts too: whatever gets lost in whatever order, the books claim what is so, or say
that they do not know."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from restrike.aws.dynamodb import StatementAnswer, StatementError
from restrike.errors import AccessDenied
from restrike.model.report import Counts
from restrike.running.ledger import Ledger
from restrike.running.run import Leftover
from restrike.selecting.read import Unit
from restrike.touching.book import Book
from restrike.touching.counter import Counter, Job
from restrike.touching.tables import IntentTable
from tests.property.test_proof_laws import RUN, Item, Record, ledger_file, opened, table

NAMES = ["a", "b"]
ATTRIBUTE = "n"
BOTH = "NEW_AND_OLD_IMAGES"

Attributes = dict[str, dict[str, str]]


class Change:
    """A record of the stream, and whether it is this run's write."""

    def __init__(self, name: str, old: Attributes, new: Attributes | None, *, ours: bool) -> None:
        self.name, self.old, self.new, self.ours = name, old, new, ours
        self.event = "REMOVE" if new is None else "MODIFY"

    @property
    def looks_like_ours(self) -> bool:
        """Whether it raises the number by 1 and does nothing else: nobody could tell it from this run's write."""
        if self.new is None:
            return False
        before, after = int(self.old.get(ATTRIBUTE, {"N": "0"})["N"]), int(self.new.get(ATTRIBUTE, {"N": "0"})["N"])
        return after == before + 1 and self.old | {ATTRIBUTE: self.new[ATTRIBUTE]} == self.new

    def record(self, view_type: str) -> Record:
        def image(attributes: Attributes | None, wanted: str) -> Any:
            if attributes is None or (wanted not in view_type and view_type != BOTH):
                return None
            return msgspec.Raw(msgspec.json.encode({"pk": {"S": self.name}} | attributes))

        key = Item(msgspec.Raw(msgspec.json.encode({"S": self.name})))
        return Record(key, image(self.new, "NEW"), image(self.old, "OLD"))


class World:
    """Some items, a run that counts up and is killed, an application that counts too, and the stream of both.

    It stands in for the wire: BatchGetItem answers from the items.
    """

    def __init__(self, path: Path, view_type: str, start: list[int | None], returned: str = "item") -> None:
        self._path, self._view_type = path, view_type
        self._returned = returned  # with a refusal: the item; or nothing, and it can be read, or is denied
        self._refusing = False
        self.items: dict[str, Attributes] = {
            name: {} if number is None else {ATTRIBUTE: {"N": str(number)}}
            for name, number in zip(NAMES, start, strict=True)
        }
        self.stream: list[Change] = []
        self.read = self._read_at_save = 0
        self.strays: dict[str, Job] = {}  # of a killed process: they may still arrive
        self.open(resumed=False)

    def open(self, *, resumed: bool = True) -> None:
        self.ledger: Ledger = opened(self._path)
        self.book = Book(self.ledger, self.ledger.get(RUN), proving=True, resumed=resumed)
        self.write = Counter(self, table(self._view_type), ATTRIBUTE, "partiql", self.book)  # type: ignore[arg-type]
        self.jobs: dict[str, Job] = {}
        self.sent: set[str] = set()  # without an answer

    async def call(self, operation: str, body: bytes) -> bytes:
        assert operation == "BatchGetItem"
        if self._refusing and self._returned == "denied":
            raise AccessDenied("not authorized")
        ((name, request),) = json.loads(body)["RequestItems"].items()
        asked = [key["pk"]["S"] for key in request["Keys"]]
        found = [{"pk": {"S": each}} | self.items[each] for each in asked if each in self.items]
        return json.dumps({"Responses": {name: found}}).encode()

    # ── the run ──────────────────────────────────────────────────────────────────────────────────────────

    def prepare(self) -> None:
        """The selection yields every item."""
        items = [Item(msgspec.Raw(msgspec.json.encode({"S": name}))) for name in NAMES]
        unit = Unit("s", items, None, last=True)
        for job in asyncio.run(self.write.prepare(unit)):
            self.jobs[msgspec.json.decode(job.partition)["S"]] = job

    def _carry_out(self, name: str) -> StatementAnswer:
        return self._arrive(name, self.jobs[name])

    def _arrive(self, name: str, job: Job) -> StatementAnswer:
        item = self.items.get(name)
        if item is None:
            return StatementAnswer(StatementError("ConditionalCheckFailed"))
        before = None if job.before is None else {"N": job.before}
        if item.get(ATTRIBUTE) != before:
            return StatementAnswer(StatementError("ConditionalCheckFailed", item={"pk": {"S": name}} | item))
        self._change(name, item | {ATTRIBUTE: {"N": job.after}}, ours=True)
        return StatementAnswer()

    def answer(self, name: str) -> None:
        """It is sent, and answered."""
        if name in self.jobs:
            answer, job = self._carry_out(name), self.jobs.pop(name)
            if answer.error is not None and self._returned != "item":
                answer.error.item = None
            self._refusing = True
            unit = Unit("s", [], None, last=False)
            asyncio.run(self.write.read_refused([(unit, job)], [answer]))
            self._refusing = False
            outcome = self.write.outcome(job, answer, doubtful=name in self.sent)
            if outcome.name == "failed":
                self.book.leftovers.append(Leftover(job.key, outcome.code, outcome.message))
            self.write.settle(unit, job, outcome)
            self.sent.discard(name)

    def lose_answer(self, name: str) -> None:
        if name in self.jobs:
            self._carry_out(name)
            self.sent.add(name)

    def lose(self, name: str) -> None:
        """It is sent, and gets lost before it is carried out."""
        if name in self.jobs:
            self.sent.add(name)

    def late(self, name: str) -> None:
        """What a killed process had sent arrives."""
        if name in self.strays:
            self._arrive(name, self.strays.pop(name))

    def see(self, _: str) -> None:
        """The next record is read."""
        if self.read < len(self.stream):
            change = self.stream[self.read]
            if change.event in self.write.events:
                self.write.records([change.record(self._view_type)])
            self.read += 1

    def save(self, _: str = "") -> None:
        self.book.save(lambda: (Counts(), 0), 0.0)
        self._read_at_save = self.read

    def kill(self, _: str = "") -> None:
        self.ledger.close()
        self.read = self._read_at_save
        self.strays |= self.jobs
        self.open()
        self.prepare()

    # ── the application ──────────────────────────────────────────────────────────────────────────────────

    def _change(self, name: str, new: Attributes | None, *, ours: bool = False) -> None:
        old = self.items[name]
        self.stream.append(Change(name, old, new, ours=ours))
        if new is None:
            del self.items[name]
        else:
            self.items[name] = new

    def _plus_one(self, name: str) -> Attributes:
        return {ATTRIBUTE: {"N": str(int(self.items[name].get(ATTRIBUTE, {"N": "0"})["N"]) + 1)}}

    def count(self, name: str) -> None:
        """The application counts, and nothing else: its record is as this run's would be."""
        if name in self.items:
            self._change(name, self.items[name] | self._plus_one(name))

    def visit(self, name: str) -> None:
        """The application counts, and writes something else with it."""
        if name in self.items:
            self._change(name, self.items[name] | self._plus_one(name) | {"at": {"N": str(len(self.stream))}})

    def note(self, name: str) -> None:
        if name in self.items:
            self._change(name, self.items[name] | {"at": {"N": str(len(self.stream))}})

    def delete(self, name: str) -> None:
        if name in self.items:
            self._change(name, None)

    # ── the truth ────────────────────────────────────────────────────────────────────────────────────────

    def finish(self, *, see_all: bool) -> dict[str, str]:
        """The run comes to its end; returns what it claims of each item."""
        self.kill()
        for name in list(self.jobs):
            self.answer(name)
        asyncio.run(self.write.look_back())
        while see_all and self.read < len(self.stream):
            self.see("")
        self.save()
        return self.claims()

    def claims(self) -> dict[str, str]:
        keys = {name: msgspec.json.encode({"pk": {"S": name}}) for name in NAMES}
        known = IntentTable(self.ledger, RUN).known(keys.values())
        return {name: (known[key][3] or "nothing").partition(",")[0] for name, key in keys.items() if key in known}


STEPS = [
    "answer", "answer", "lose_answer", "lose_answer", "lose", "late", "see", "save", "save", "kill", "count", "visit",
    "visit", "note", "delete", "delete",
]  # fmt: skip
steps = st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from(NAMES)), min_size=6, max_size=30)
starts = st.lists(st.sampled_from([None, 0, 7]), min_size=len(NAMES), max_size=len(NAMES))


@example([("lose_answer", "a"), ("delete", "a"), ("answer", "a"), ("save", "a")], [7, 7], True, BOTH, "item")
@example([("lose_answer", "a"), ("visit", "a"), ("answer", "a"), ("save", "a")], [7, 7], True, BOTH, "read")
@example([("lose", "a"), ("visit", "a"), ("answer", "a"), ("save", "a")], [7, 7], True, BOTH, "denied")
@example([("visit", "a"), ("answer", "a"), ("save", "a"), ("lose", "b"), ("visit", "b")], [7, 7], False, BOTH, "denied")
@example([("visit", "a"), ("answer", "a"), ("save", "a")], [None, 7], False, BOTH, "read")
@example([("lose", "a"), ("kill", "a"), ("late", "a"), ("answer", "a"), ("save", "a")], [7, 7], True, BOTH, "item")
@example([("lose_answer", "a"), ("visit", "a"), ("kill", "a")], [None, 7], False, BOTH, "item")
@given(
    steps,
    starts,
    st.booleans(),
    st.sampled_from([BOTH] * 2 + ["NEW_IMAGE", "KEYS_ONLY"]),
    st.sampled_from(["item", "read", "denied"]),
)
@settings(max_examples=80)
def test_what_is_claimed_is_so(
    steps: list[tuple[str, str]], start: list[int | None], see_all: bool, view_type: str, returned: str
) -> None:
    with ledger_file() as path:
        world = World(path, view_type, start, returned)
        try:
            world.prepare()
            for what, name in steps:
                getattr(world, what)(name)
            claims = world.finish(see_all=see_all)
            tells = view_type == BOTH
            for name, claim in claims.items():
                ours = [each for each in world.stream if each.name == name and each.ours]
                alike = [each for each in world.stream if each.name == name and each.looks_like_ours]
                assert len(ours) <= 1, "it fired twice"
                match claim:
                    case "fired":
                        assert ours or (tells and alike), "it is said to have fired, and there is no such record"
                    case "changed" | "gone":
                        assert not ours, f"it is said to be {claim}, and it fired"
                    case "failed":
                        assert returned == "denied"
                        assert not ours, "it is said to have failed, and it fired"
                    case "unknown":
                        assert not (tells and see_all), "its record stands on the stream"
                    case _:
                        raise AssertionError(f"{name} has no outcome: {claim}")
            counts = world.write.beside_units
            assert counts.unknown == list(claims.values()).count("unknown")
            left = {(each.key, each.code) for each in world.ledger.leftovers(RUN)}
            unknown = [name for name, claim in claims.items() if claim in ("unknown", "failed")]
            assert left == {(b'{"pk":{"S":"%b"}}' % name.encode(), "Unknown") for name in unknown}

            # A repetition writes nothing of that again.
            world.kill()
            assert not world.jobs
            assert world.claims() == claims
        finally:
            world.ledger.close()
