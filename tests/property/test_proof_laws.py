"""The proof's books on a real ledger file: whatever comes in whatever order, a crash forgets only what comes again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from restrike.model.report import Counts
from restrike.runs.ledger import Ledger
from restrike.touching.proof import CounterExpectation, DurableSet, MarkerExpectation

RUN = "r"
MARK = {"S": RUN}
KEYS = [b"k%d" % number for number in range(8)]
keys = st.sampled_from(KEYS)


@contextmanager
def ledger_file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        with Ledger(path) as ledger:
            ledger.enter(
                RUN,
                verb="touch",
                table_arn="arn:aws:dynamodb:us-east-1:000000000000:table/t",
                identity="i",
                request=b"{}",
            )
        yield path


def save(ledger: Ledger, expectation: MarkerExpectation | CounterExpectation) -> None:
    """As the engine saves: the expectation and its count in one transaction."""
    with ledger.transaction():
        expectation.save()
        ledger.save_progress(
            RUN,
            counts=Counts(),
            unit_counts=Counts(),
            consumed_wcu=None,
            seen=expectation.seen,
            elapsed_s=0.0,
            places={},
            stream_places={},
        )


# ── DurableSet ───────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.tuples(st.sampled_from(["add", "discard", "save", "crash", "ask"]), keys), max_size=60))
@settings(max_examples=120, deadline=None)
def test_a_durable_set_is_a_set_and_a_crash_takes_it_back_to_its_last_save(steps: list[tuple[str, bytes]]) -> None:
    with ledger_file() as path:
        ledger = Ledger(path)
        try:
            durable, model, saved = DurableSet(ledger, RUN, "kind"), set[bytes](), set[bytes]()
            for what, key in steps:
                match what:
                    case "add":
                        durable.add(key)
                        model.add(key)
                    case "discard":
                        assert durable.discard(key) == (key in model)
                        model.discard(key)
                    case "save":
                        with ledger.transaction():
                            durable.save()
                        saved = set(model)
                        assert durable.unsaved == 0
                    case "crash":
                        ledger.close()
                        ledger = Ledger(path)
                        durable, model = DurableSet(ledger, RUN, "kind"), set(saved)
                assert len(durable) == len(model)
                assert {each for each in KEYS if each in durable} == model
                assert durable.unsaved <= len(KEYS)
        finally:
            ledger.close()


# ── MarkerExpectation ────────────────────────────────────────────────────────────────────────────────────────


class World:
    """A run as the engine drives it: answers and records come in an order of their own, and a crash takes both back.

    A crash goes back to the last save with all three: what was answered, what was read, and the books. Answers that
    were forgotten are given again as `already` (the marker was there), and records that were forgotten are read again.
    """

    def __init__(self, path: Path, fired: list[bytes], records: list[bytes]) -> None:
        self._path = path
        self._fired = fired  # in the order of their answers
        self._records = records  # in the order of the stream
        self.ledger = Ledger(path)
        self.answered = self.read = 0
        self.saved = (0, 0)
        self.unanswered: set[bytes] = set()  # written, but the answer was lost in a crash
        self.lost: set[bytes] = set()
        self.books = self._open()

    def _open(self) -> MarkerExpectation:
        run = self.ledger.get(RUN)
        return MarkerExpectation(self.ledger, RUN, "NEW_AND_OLD_IMAGES", MARK, run.seen or 0)

    def answer(self) -> None:
        if self.answered < len(self._fired):
            key = self._fired[self.answered]
            if key not in self.lost:
                self.books.expect([key])
            self.answered += 1

    def record(self) -> None:
        if self.read < len(self._records):
            self.books.record(self._records[self.read], MARK, None)
            self.read += 1

    def noise(self, key: bytes) -> None:
        """Records that are not this run's first write of an item."""
        self.books.record(key, MARK, MARK)  # a neighbour's write after it
        self.books.record(key, {"S": "another"}, None)
        self.books.record(key, None, MARK)

    def save(self) -> None:
        save(self.ledger, self.books)
        self.saved = (self.answered, self.read)

    def crash(self) -> None:
        self.lost.update(self._fired[self.saved[0] : self.answered])
        self.ledger.close()
        self.ledger = Ledger(self._path)
        self.answered, self.read = self.saved
        self.books = self._open()


@given(
    st.permutations(KEYS),
    st.permutations(KEYS),
    st.integers(0, len(KEYS)),
    st.integers(0, len(KEYS)),
    st.lists(st.sampled_from(["answer", "record", "noise", "save", "crash"]), max_size=50),
)
@settings(max_examples=150, deadline=None)
def test_any_interleaving_ends_with_the_same_books(
    fired: list[bytes], stream: list[bytes], writes: int, withheld: int, steps: list[str]
) -> None:
    fired = fired[:writes]
    records = [key for key in stream if key in fired]
    seen_later = records[: max(0, len(records) - withheld)]
    with ledger_file() as path:
        world = World(path, fired, seen_later)
        try:
            for step in steps:
                if step == "noise":
                    world.noise(KEYS[0])
                else:
                    getattr(world, step)()
                assert world.books.seen + world.books.awaited() + world.books.fired_unanswered() <= len(fired)
            while world.answered < len(fired):
                world.answer()
            while world.read < len(seen_later):
                world.record()
            world.save()
            world.crash()

            answered, shown = set(fired) - world.lost, set(seen_later)
            assert world.books.seen == len(answered & shown)
            assert world.books.awaited() == len(answered - shown)
            assert world.books.fired_unanswered() == len(world.lost & shown)
            with world.ledger.transaction():
                assert world.books.give_up("not seen") == len(answered - shown)
            assert {each.key for each in world.ledger.leftovers(RUN)} == answered - shown
        finally:
            world.ledger.close()


@given(st.lists(st.tuples(keys, st.booleans()), max_size=30), st.sampled_from(["KEYS_ONLY", "OLD_IMAGE", "NEW_IMAGE"]))
@settings(max_examples=60, deadline=None)
def test_without_both_images_a_key_counts_once(steps: list[tuple[bytes, bool]], view_type: str) -> None:
    with ledger_file() as path, Ledger(path) as ledger:
        books = MarkerExpectation(ledger, RUN, view_type, MARK, 0)
        assert books.exact == (view_type == "NEW_IMAGE")
        expected, recorded = set[bytes](), set[bytes]()
        for key, write in steps:
            if write and key not in expected:
                books.expect([key])
                expected.add(key)
            elif not write:
                books.record(key, MARK if view_type == "NEW_IMAGE" else None, None)
                recorded.add(key)
        assert books.seen == len(expected & recorded)
        assert books.awaited() == len(expected - recorded)
        assert books.fired_unanswered() == 0, "a later write of somebody else's looks the same here"


# ── CounterExpectation ───────────────────────────────────────────────────────────────────────────────────────

COUNTER_STEPS = ["send", "answer", "record", "other", "save", "crash"]


@given(st.lists(st.tuples(st.sampled_from(COUNTER_STEPS), keys), max_size=60))
@settings(max_examples=150, deadline=None)
def test_a_counters_books_come_from_its_write_ahead(steps: list[tuple[str, bytes]]) -> None:
    with ledger_file() as path:
        ledger = Ledger(path)
        try:

            def open_books() -> CounterExpectation:
                return CounterExpectation(ledger, RUN, 1, "NEW_AND_OLD_IMAGES")

            books = open_books()
            sent, answered, shown = set[bytes](), set[bytes](), set[bytes]()
            saved: tuple[set[bytes], set[bytes]] = (set(), set())
            for what, key in steps:
                match what:
                    case "send":
                        ledger.intend(RUN, 1, [(key, None, "1")])
                        sent.add(key)
                    case "answer" if key in sent:
                        answered.add(key)
                    case "record" if key in sent:
                        books.record(key, {"N": "1"}, None)
                        shown.add(key)
                    case "other":
                        _others(books, key)
                    case "save":
                        with ledger.transaction():
                            ledger.settle(RUN, [(each, "fired") for each in answered])
                        save(ledger, books)
                        saved = (set(answered), set(shown))
                        assert (books.seen, books.awaited()) == (len(answered & shown), len(answered - shown))
                    case "crash":
                        ledger.close()
                        ledger = Ledger(path)
                        books = open_books()
                        answered, shown = set(saved[0]), set(saved[1])
            with ledger.transaction():
                ledger.settle(RUN, [(each, "fired") for each in answered])
            save(ledger, books)
            assert (books.seen, books.awaited()) == (len(answered & shown), len(answered - shown))
            assert {key for key, _, _ in ledger.open_intents(RUN)} == sent - answered
            with ledger.transaction():
                assert books.give_up("not seen") == len(answered - shown)
            assert {each.key for each in ledger.leftovers(RUN)} == answered - shown
        finally:
            ledger.close()


def _others(books: CounterExpectation, key: bytes) -> None:
    """Records of the application: other numbers, no number, and the number kept while something else changed."""
    others: list[tuple[Any, Any]] = [({"N": "7"}, {"N": "6"}), (None, {"N": "1"}), ({"N": "1"}, {"N": "1.0"})]
    for new, old in [*others, ({"S": "1"}, None)]:
        books.record(key, new, old)
