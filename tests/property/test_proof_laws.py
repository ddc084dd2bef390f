"""The proof's books on a real ledger file: whatever comes in whatever order, a crash forgets only what comes again."""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restrike.errors import RestrikeError
from restrike.model.report import Counts
from restrike.model.spelling import Spelling
from restrike.model.table import AttributeValue, Key, KeyAttribute, KeySchema, KeyType, TableInfo, canonical_key
from restrike.running.ledger import Ledger
from restrike.running.run import Entry
from restrike.selecting.read import Unit
from restrike.touching import book as book_module
from restrike.touching.book import Book, KeySet
from restrike.touching.counter import Counter, Job
from restrike.touching.marker import Marker
from restrike.touching.tables import TABLES, IntentTable, KeyTable
from restrike.touching.write import Write

RUN = "r"
MARK = {"S": RUN}
NAMES = [f"k{number}" for number in range(8)]
KEYS = [b'{"pk":{"S":"%b"}}' % name.encode() for name in NAMES]
keys = st.sampled_from(KEYS)
NO_WIRE: Any = None  # nothing is sent here


class Item(msgspec.Struct):
    """An item, a job or a record's key: raw key values."""

    partition: Any
    sort: Any = None


class Image(msgspec.Struct):
    value: Any


class Record(msgspec.Struct):
    keys: Any
    new: Any
    old: Any


def item(key: bytes) -> Item:
    return Item(msgspec.json.decode(key, type=dict[str, msgspec.Raw])["pk"])


def record(key: bytes, new: Any, old: Any, *, whole: bool = False) -> Record:
    """A record with both images, or the whole of them; None: the image lacks the attribute."""

    def image(value: Any) -> Any:
        if whole:
            return msgspec.Raw(msgspec.json.encode(msgspec.json.decode(key) | ({} if value is None else {"n": value})))
        return Image(None if value is None else msgspec.Raw(msgspec.json.encode(value)))

    return Record(item(key), image(new), image(old))


def table(view_type: str) -> TableInfo:
    arn = "arn:aws:dynamodb:us-east-1:000000000000:table/t"
    return TableInfo("t", arn, KeySchema(KeyAttribute("pk", "S")), view_type=view_type)


def opened(path: Path) -> Ledger:
    ledger = Ledger(path, tables=TABLES)
    ledger.db.relax()  # processes are killed here, and no power is cut
    return ledger


@functools.cache
def _new_ledger() -> bytes:
    """A ledger's file with one run: to be made once, since a disk takes its time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        with opened(path) as ledger:
            ledger.enter(Entry(RUN, "touch", table("").arn, {}, b"{}"))
        return path.read_bytes()


@contextmanager
def ledger_file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        path.write_bytes(_new_ledger())
        yield path


class Books:
    """A ledger, the run's book and the write that keeps it."""

    def __init__(self, path: Path, kind: type[Marker] | type[Counter], view_type: str = "NEW_AND_OLD_IMAGES") -> None:
        self._open = (path, kind, view_type)
        self.reopen()

    def reopen(self) -> None:
        path, kind, view_type = self._open
        self.ledger = opened(path)
        self.book = Book(self.ledger, self.ledger.get(RUN), proving=True)
        self.write: Write = kind(NO_WIRE, table(view_type), "n", "partiql", self.book)

    def crash(self) -> None:
        self.ledger.close()
        self.reopen()

    def save(self) -> None:
        self.book.save(_nothing_told, 0.0)

    def fail_to_save(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.ledger, "set_counts", _full_disk)
            with pytest.raises(RestrikeError, match="disk is full"):
                self.save()

    def done(self, key: bytes) -> None:
        """A unit of that item alone is done, and the item fired."""
        unit = Unit("s", [], None, last=False)
        self.write.fired(unit, [item(key)])
        self.write.done(unit)

    def settle(self, key: bytes) -> None:
        """That write of a counter fired."""
        self.write.fired(Unit("s", [], None, last=False), [Job(None, None, key)])

    def finish(self) -> None:
        self.book.save(_nothing_told, 0.0, lambda: self.write.give_up("not seen", all_read=True))

    def record(self, key: bytes, new: Any, old: Any) -> None:
        self.write.records([record(key, new, old, whole=self.write.whole_images)])

    @property
    def lost(self) -> int:
        return self.write.unanswered(1_000)


def _nothing_told() -> tuple[Counts, int]:
    return Counts(), 0


def _full_disk(*_: object, **__: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


# ── the spelling of keys ─────────────────────────────────────────────────────────────────────────────────────


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
numbers = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9).map(str)


@given(st.data(), st.sampled_from(["S", "N", "B"]), st.sampled_from(["S", "N", "B", None]))
def test_however_a_service_spells_a_key_it_is_one_key(data: st.DataObject, first: KeyType, second: KeyType) -> None:
    schema = KeySchema(KeyAttribute('p"k', first), KeyAttribute("sk", second) if second else None)
    values = {"S": texts, "N": numbers, "B": st.binary(min_size=1).map(lambda raw: raw.hex())}

    def spelled(value: AttributeValue) -> msgspec.Raw:
        """As one of the ways to write that value in JSON."""
        blank, ascii_only = data.draw(st.booleans()), data.draw(st.booleans())
        separators = (", ", ": ") if blank else (",", ":")
        return msgspec.Raw(json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode())

    wanted, given_ = [], []
    for _ in range(data.draw(st.integers(0, 5))):
        key: Key = {each.name: {each.type: data.draw(values[each.type])} for each in schema.attributes}
        wanted.append(canonical_key(schema, key))
        parts = [spelled(value) for value in key.values()]
        given_.append(Item(*parts))
    assert Spelling(schema).of(given_) == wanted


# ── KeySet ───────────────────────────────────────────────────────────────────────────────────────────────────


steps_of_a_set = st.tuples(
    st.sampled_from(["add", "take", "save", "fail", "crash"]), st.sets(keys, min_size=1, max_size=4)
)


@pytest.mark.parametrize("most", [0, 2, 50_000], ids=["never-in-memory", "spilled", "in-memory"])
@given(steps=st.lists(steps_of_a_set, max_size=40))
@settings(max_examples=120, deadline=None)
def test_a_key_set_is_a_set_and_a_crash_takes_it_back_to_its_last_save(
    most: int, steps: list[tuple[str, set[bytes]]]
) -> None:
    with ledger_file() as path, pytest.MonkeyPatch.context() as patch:
        patch.setattr(book_module, "MAX_KEYS_IN_MEMORY", most)
        ledger = opened(path)
        try:
            durable, model, saved = KeySet(KeyTable(ledger, RUN, "kind")), set[bytes](), set[bytes]()
            for what, some in steps:
                match what:
                    case "add":
                        durable.add(some)
                        model |= some
                    case "take":
                        assert durable.take(some) == some & model
                        model -= some
                    case "save":
                        with ledger.transaction():
                            durable.write()
                        durable.saved()
                        saved = set(model)
                        assert durable.unsaved == 0
                    case "fail":
                        with contextlib.suppress(ZeroDivisionError), ledger.transaction():
                            durable.write()
                            raise ZeroDivisionError  # it is not committed
                    case "crash":
                        ledger.close()
                        ledger = Ledger(path)
                        durable, model = KeySet(KeyTable(ledger, RUN, "kind")), set(saved)
                assert len(durable) == len(model)
            assert durable.take(set(KEYS)) == model
        finally:
            ledger.close()


# ── a marker ─────────────────────────────────────────────────────────────────────────────────────────────────


class World:
    """A run as the engine drives it: answers and records come in an order of their own, and a crash takes both back.

    A crash goes back to the last save with all three: what was answered, what was read, and the books. Answers that
    were forgotten are given again as `already` (the marker was there), and records that were forgotten are read again.
    """

    def __init__(self, path: Path, fired: list[bytes], records: list[bytes]) -> None:
        self._fired = fired  # in the order of their answers
        self._records = records  # in the order of the stream
        self.answered = self.read = 0
        self.saved = (0, 0)
        self.lost: set[bytes] = set()  # written, but the answer was forgotten in a crash
        self.books = Books(path, Marker)

    def answer(self) -> None:
        if self.answered < len(self._fired):
            key = self._fired[self.answered]
            if key not in self.lost:
                self.books.done(key)
            self.answered += 1

    def record(self) -> None:
        if self.read < len(self._records):
            self.books.record(self._records[self.read], MARK, None)
            self.read += 1

    def noise(self) -> None:
        """Records that are not this run's first write of an item."""
        self.books.record(KEYS[0], MARK, MARK)  # a neighbour's write after it
        self.books.record(KEYS[0], {"S": "another"}, None)
        self.books.record(KEYS[0], None, MARK)

    def save(self) -> None:
        self.books.save()
        self.saved = (self.answered, self.read)

    def fail(self) -> None:
        """A save that is not committed changes nothing."""
        self.books.fail_to_save()

    def crash(self) -> None:
        self.lost.update(self._fired[self.saved[0] : self.answered])
        self.answered, self.read = self.saved
        self.books.crash()


@given(
    st.permutations(KEYS),
    st.permutations(KEYS),
    st.integers(0, len(KEYS)),
    st.integers(0, len(KEYS)),
    st.lists(st.sampled_from(["answer", "record", "noise", "save", "fail", "crash"]), max_size=50),
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
        books = world.books
        try:
            for step in steps:
                getattr(world, step)()
                assert books.book.seen + books.write.awaited() + books.lost <= len(fired)
            while world.answered < len(fired):
                world.answer()
            while world.read < len(seen_later):
                world.record()
            world.save()
            world.crash()

            answered, shown = set(fired) - world.lost, set(seen_later)
            assert books.book.seen == len(answered & shown)
            assert books.write.awaited() == len(answered - shown)
            assert books.lost == len(world.lost & shown)
            books.finish()
            assert {each.key for each in books.ledger.leftovers(RUN)} == answered - shown
        finally:
            books.ledger.close()


@given(st.lists(st.tuples(keys, st.booleans()), max_size=30), st.sampled_from(["KEYS_ONLY", "OLD_IMAGE", "NEW_IMAGE"]))
@settings(max_examples=60, deadline=None)
def test_without_both_images_a_key_counts_once(steps: list[tuple[bytes, bool]], view_type: str) -> None:
    with ledger_file() as path:
        books = Books(path, Marker, view_type)
        try:
            assert books.write.exact == (view_type == "NEW_IMAGE")
            expected, recorded = set[bytes](), set[bytes]()
            for key, write in steps:
                if write and key not in expected:
                    books.done(key)
                    expected.add(key)
                elif not write:
                    books.record(key, MARK if view_type == "NEW_IMAGE" else None, None)
                    recorded.add(key)
            assert books.book.seen == len(expected & recorded)
            assert books.write.awaited() == len(expected - recorded)
            assert books.lost == 0, "a later write of somebody else's looks the same here"
        finally:
            books.ledger.close()


@given(st.lists(keys, max_size=12), st.sets(keys))
@settings(max_examples=60, deadline=None)
def test_a_page_with_a_key_twice_is_the_same_as_two_pages(page: list[bytes], awaited: set[bytes]) -> None:
    with ledger_file() as one, ledger_file() as other:
        at_once, one_by_one = Books(one, Marker), Books(other, Marker)
        try:
            for books in (at_once, one_by_one):
                for key in awaited:
                    books.done(key)
            at_once.write.records([record(key, MARK, None) for key in page])
            for key in page:
                one_by_one.record(key, MARK, None)
            for books in (at_once, one_by_one):
                assert books.book.seen == len(awaited & set(page))
            assert at_once.lost == one_by_one.lost
        finally:
            at_once.ledger.close()
            one_by_one.ledger.close()


# ── a counter ────────────────────────────────────────────────────────────────────────────────────────────────

COUNTER_STEPS = ["send", "answer", "record", "other", "save", "fail", "crash"]


@given(st.lists(st.tuples(st.sampled_from(COUNTER_STEPS), keys), max_size=60))
@settings(max_examples=150, deadline=None)
def test_a_counters_books_come_from_its_write_ahead(steps: list[tuple[str, bytes]]) -> None:
    with ledger_file() as path:
        books = Books(path, Counter)
        try:
            sent, answered, shown = set[bytes](), set[bytes](), set[bytes]()
            saved: tuple[set[bytes], set[bytes]] = (set(), set())
            for what, key in steps:
                match what:
                    case "send":
                        IntentTable(books.ledger, RUN).intend(1, [(key, None, "1")], instead_of=())
                        sent.add(key)
                    case "answer" if key in sent and key not in answered:
                        books.settle(key)
                        answered.add(key)
                    case "record" if key in sent:
                        books.record(key, {"N": "1"}, None)
                        shown.add(key)
                    case "other":
                        _others(books, key)
                    case "save":
                        books.save()
                        saved = (set(answered), set(shown))
                        assert (books.book.seen, books.write.awaited()) == (
                            len(answered & shown),
                            len(answered - shown),
                        )
                    case "fail":
                        books.fail_to_save()
                    case "crash":
                        books.crash()
                        answered, shown = set(saved[0]), set(saved[1])
                assert books.write.beside_units.fired == len(answered)
            books.save()
            assert (books.book.seen, books.write.awaited()) == (len(answered & shown), len(answered - shown))
            known = IntentTable(books.ledger, RUN).known(KEYS)
            assert {key for key, (_, _, _, outcome) in known.items() if outcome is None} == sent - answered
            books.finish()
            assert {each.key for each in books.ledger.leftovers(RUN)} == answered - shown
        finally:
            books.ledger.close()


def _others(books: Books, key: bytes) -> None:
    """Records of the application: other numbers, no number, and the number kept while something else changed."""
    others: list[tuple[Any, Any]] = [({"N": "7"}, {"N": "6"}), (None, {"N": "1"}), ({"N": "1"}, {"N": "1.0"})]
    for new, old in [*others, ({"S": "1"}, None)]:
        books.record(key, new, old)
