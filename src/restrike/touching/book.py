"""What a touch keeps: noted in memory at once, made durable together by the next `save`.

A save is one transaction that is consistent in itself: the places, the counts up to those places, what is left over,
the places in the stream and the keys that are still awaited there. Memory gives up what a save wrote only when that
is committed: after one that failed everything stands as it was, and the next one writes all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, cast

import msgspec

from restrike.model.report import Counts
from restrike.running.ledger import Ledger
from restrike.running.run import Leftover, Run
from restrike.selecting.read import Place, Places
from restrike.touching.tables import Intent, IntentTable, KeyTable
from restrike.touching.write import OutcomeName, count

MAX_KEYS_IN_MEMORY = 50_000  # of each kind that are not saved, and as many that are; some 5 MB each
KEYS_PER_QUESTION = 500


class _Part(Protocol):
    @property
    def unsaved(self) -> int: ...
    def write(self) -> None: ...
    def saved(self) -> None: ...


class Saved(msgspec.Struct):
    """The counts of a run in the ledger: what is shown, of that what units tell that are done, and the proof's.

    `unanswered` are writes that were seen, though their answer was lost; of the items of `late` only the record was
    there, since they were deleted. `in_flight` fired in units that are not done: they are met again, and bear the run's
    name then.
    """

    counts: Counts = msgspec.field(default_factory=Counts)
    of_units: Counts = msgspec.field(default_factory=Counts)
    seen: int | None = None
    consumed_wcu: float | None = None
    unanswered: int = 0
    in_flight: int = 0
    late: int = 0


READ, STREAM = "read", "stream"
"""Kinds of places: in the selection, and in the stream. The latter outlast a beginning anew: what the run fired before
them is not to be counted again."""
_place = msgspec.json.Decoder(Place)


class Book:
    """The book of one run, from where an earlier part of it stopped. All that touch tells the ledger goes through it.

    `counts` are those of the units that are done; of them `selected` is how many items they had. `seen` is None
    where the run does without proof. `resumed`: an earlier part of the run may have written what is not in here.
    """

    def __init__(self, ledger: Ledger, run: Run, *, proving: bool, resumed: bool = False) -> None:
        saved = msgspec.json.decode(run.counts, type=Saved)
        self.run = run
        self.proving = proving
        self.before = saved.counts  # as they were shown when an earlier part ended
        self.places = Places({name: _place.decode(raw) for name, raw in ledger.places(run.name, READ).items()})
        self.stream_places = {name: raw.decode() for name, raw in ledger.places(run.name, STREAM).items()}
        self.counts = saved.of_units
        self.seen = saved.seen or 0
        self.late = saved.late  # counted as gone, and fired before they went
        self.consumed_wcu = saved.consumed_wcu
        self.leftovers: list[Leftover] = []  # that are not saved
        self._ledger = ledger
        self.resumed = resumed
        self._in_flight = saved.in_flight
        self._stream_moved: dict[str, str] = {}
        self._parts: list[_Part] = []

    @property
    def folder(self) -> Path:
        return self._ledger.folder(self.run.name)

    def keys(self, kind: str) -> KeySet:
        """The run's keys of that kind, part of this book from now on."""
        keys = KeySet(KeyTable(self._ledger, self.run.name, kind))
        self._parts.append(keys)
        return keys

    def intents(self) -> Intents:
        """The run's write-ahead, part of this book from now on."""
        intents = Intents(self, IntentTable(self._ledger, self.run.name))
        self._parts.append(intents)
        return intents

    def written_here(self, bearing: int, *, doubtful: bool) -> int:
        """Of so many items that bear the run's name: how many this run has written, by writes whose answer is not
        known any more.

        All of them, where an earlier attempt or an earlier part of the run may have been at work, and nobody else can
        have given that name: it is the run's first time, and no item bore it before. Otherwise those that an earlier
        part had counted behind its places.
        """
        if (doubtful or self.resumed) and self.run.epoch == 1 and not self.counts.already:
            return bearing
        return self.known_in_flight(bearing)

    def known_in_flight(self, items: int) -> int:
        """Of so many items that are met again: how many an earlier part had counted as fired behind its places."""
        known = min(items, self._in_flight)
        self._in_flight -= known
        return known

    def stream_read(self, shard_id: str, sequence_number: str) -> None:
        """The records of that shard are ticked off up to there."""
        self.stream_places[shard_id] = self._stream_moved[shard_id] = sequence_number

    @property
    def crowded(self) -> bool:
        """Whether so much is unsaved that memory should not hold more."""
        return any(part.unsaved > MAX_KEYS_IN_MEMORY for part in self._parts)

    def save(
        self, tell: Callable[[], tuple[Counts, int]], elapsed_s: float, give_up: Callable[[], None] | None = None
    ) -> None:
        """Makes durable what was noted. `tell` has the counts to be shown, with those of units that are not done, and
        how many unanswered writes they have as fired.

        `give_up`, at the end of a run that did all it was to do, makes left over what is still awaited.
        """
        name = self.run.name
        with self._ledger.transaction():
            for part in self._parts:
                part.write()
            if give_up is not None:
                give_up()
            totals, unanswered = tell()
            seen = self.seen if self.proving else None
            in_flight = sum(unit.counts.fired for unit in self.places.open())
            counts = Saved(totals, self.counts, seen, self.consumed_wcu, unanswered, in_flight, self.late)
            self._ledger.set_counts(name, msgspec.json.encode(counts), elapsed_s)
            self._ledger.add_leftovers(name, self.leftovers)
            places = {strand: msgspec.json.encode(place) for strand, place in self.places.moved.items()}
            self._ledger.set_places(name, READ, places)
            self._ledger.set_places(name, STREAM, {shard: at.encode() for shard, at in self._stream_moved.items()})
        for part in self._parts:
            part.saved()
        self.leftovers.clear()
        self.places.moved.clear()
        self._stream_moved.clear()

    def count_leftovers(self, code: str | None = None) -> int:
        return self._ledger.count_leftovers(self.run.name, code)


class KeySet:
    """A set of canonical keys that grows and shrinks in memory, and is durable as it was at the last save.

    What is saved stays in memory too as long as it is not too much; only then is the ledger asked for it.
    """

    def __init__(self, table: KeyTable) -> None:
        self._table = table
        self._fresh: set[bytes] = set()
        self._gone: set[bytes] = set()  # saved, and taken out since
        self._on_disk = len(table)
        self._saved: set[bytes] | None = None  # on disk and not gone; None where that is too much
        if self._on_disk <= MAX_KEYS_IN_MEMORY:
            self._saved = set(table.all()) if self._on_disk else set()

    def __len__(self) -> int:
        return len(self._fresh) + self._on_disk - len(self._gone)

    @property
    def unsaved(self) -> int:
        return len(self._fresh) + len(self._gone)

    def add(self, keys: set[bytes]) -> None:
        if self._on_disk:
            back = keys & self._gone
            if back:
                self._gone -= back
                if self._saved is not None:
                    self._saved |= back
                keys = keys - back
            keys = keys - self._stored(keys)
        self._fresh |= keys

    def having(self, keys: set[bytes]) -> set[bytes]:
        """Those of the keys that are in."""
        return keys & self._fresh | (self._stored(keys) if self._on_disk else set())

    def take(self, keys: set[bytes]) -> set[bytes]:
        """Takes those keys out; returns the ones that were in."""
        found = keys & self._fresh
        self._fresh -= found
        if self._on_disk and len(found) < len(keys):
            stored = self._stored(keys - found)
            self._gone |= stored
            if self._saved is not None:
                self._saved -= stored
            found |= stored
        return found

    def _stored(self, keys: set[bytes]) -> set[bytes]:
        """Those of the keys that are on disk and not gone."""
        if self._saved is not None:
            return keys & self._saved
        asked = list(keys - self._gone)
        stored: set[bytes] = set()
        for first in range(0, len(asked), KEYS_PER_QUESTION):
            stored |= self._table.having(asked[first : first + KEYS_PER_QUESTION])
        return stored

    def write(self) -> None:
        self._table.remove(self._gone)
        self._table.add(self._fresh)

    def saved(self) -> None:
        self._on_disk += len(self._fresh) - len(self._gone)
        if self._on_disk > MAX_KEYS_IN_MEMORY:
            self._saved = None
        elif self._saved is not None:
            self._saved |= self._fresh
        elif not self._on_disk:
            self._saved = set()
        self._fresh = set()
        self._gone = set()

    def give_up(self, code: str, message: str) -> None:
        """Inside a transaction, and written: all of it becomes left over."""
        self._table.move_to_leftovers(code, message)


class Intents:
    """A counter's write-ahead: (key, number before, number after), what became of each, and which were seen.

    `counts` are the outcomes of this time that the run is executed (its epoch), also of its earlier parts. What is
    unknown becomes fired, changed or gone in the save that writes the record that tells it; until then it is left over.
    """

    def __init__(self, book: Book, table: IntentTable) -> None:
        self._book = book
        self._table = table
        self.epoch = book.run.epoch
        self._mine: set[bytes] = set()  # keys that this process has taken on, until their outcome is saved
        self._undecided: set[bytes] = set()  # of those, the ones without an outcome, and all that are unknown
        self._many_undecided = book.resumed  # or more of an earlier part, or than memory is for
        self._outcomes: list[tuple[bytes, str]] = []
        self._ours: list[tuple[bytes, str | None, str]] = []
        self._anothers: list[tuple[bytes, str | None]] = []
        self._maybe: list[tuple[bytes, str]] = []
        self._noted = (self._outcomes, self._ours, self._anothers, self._maybe)
        self._relist = False  # whether what is unknown has changed since it was left over
        self.counts = self._counted()
        book.seen, self.awaited = self._table.seen(self.epoch)

    def _counted(self) -> Counts:
        counts = Counts()
        for outcome, number in self._table.outcomes(self.epoch).items():
            count(counts, _name(outcome), number)
        counts.unanswered = self._table.decided(self.epoch)
        return counts

    def is_mine(self, key: bytes) -> bool:
        """Whether this process is about to write it, or has and that is not saved yet: later `known` tells."""
        return key in self._mine

    def known(self, keys: Iterable[bytes]) -> dict[bytes, Intent]:
        """What the run knows of those keys: (before, after, epoch, outcome)."""
        return self._table.known(keys)

    def open(self, limit: int) -> Iterator[list[tuple[bytes, str | None]]]:
        """Intents of a killed process that were not met again, so many at a time: (key, before)."""
        after = b""
        while found := self._table.open(after, limit):
            after = found[-1][0]
            yield [each for each in found if each[0] not in self._mine]

    def intend(self, new: Iterable[tuple[bytes, str | None, str]], *, instead_of: Iterable[bytes]) -> None:
        """Durable when it returns. A key that is known keeps what it has, but for those of `instead_of`."""
        self._table.intend(self.epoch, new, instead_of=instead_of)

    def is_undecided(self, key: bytes) -> bool:
        """Whether a record of that key may have to tell what became of its write; True where that is not known."""
        return self._many_undecided or key in self._undecided

    def take_on(self, keys: Sequence[bytes]) -> None:
        self._mine.update(keys)
        self._undecided.update(keys)
        if len(self._undecided) > MAX_KEYS_IN_MEMORY:
            self._many_undecided = True
            self._undecided.clear()

    def settle(self, key: bytes, outcome: str) -> None:
        """What became of a write, as the table has it: also UNKNOWN and UNKNOWN_GONE."""
        self._outcomes.append((key, outcome))
        name = _name(outcome)
        count(self.counts, name)
        if name == "unknown":
            self._relist = True
        else:
            self._undecided.discard(key)

    # Records of that item stand on the stream.

    def ours(self, key: bytes, before: str | None, after: str) -> None:
        """The number went so, and nothing else changed."""
        self._ours.append((key, before, after))

    def anothers(self, key: bytes, before: str | None) -> None:
        """Somebody else moved the number away from there."""
        self._anothers.append((key, before))

    def maybe_ours(self, key: bytes, after: str) -> None:
        """All that can be told is that the number may have been written."""
        self._maybe.append((key, after))

    @property
    def stale(self) -> bool:
        return bool(self._ours or self._anothers or self._maybe)

    @property
    def unsaved(self) -> int:
        return max(len(noted) for noted in self._noted)

    def write(self) -> None:
        if not any(self._noted):
            return
        table = self._table
        table.settle(self._outcomes)
        table.mark_ours(self._ours)
        table.mark_anothers(self._anothers)
        table.mark_maybe(self._maybe)
        # What is noted counts already, whether or not this is committed.
        if self.counts.unknown and table.decide(self.epoch):
            self.counts = self._counted()
            self._relist = True
        if self._relist:
            table.leave_unknown(self.epoch, _NOT_KNOWN)
        if self._book.proving:
            self._book.seen, self.awaited = table.seen(self.epoch)

    def saved(self) -> None:
        self._mine.difference_update(key for key, _ in self._outcomes)
        for noted in self._noted:
            noted.clear()
        self._relist = False

    def give_up(self, code: str, message: str) -> None:
        """Inside a transaction, and written: what has no record becomes left over."""
        self._table.move_unseen_to_leftovers(self.epoch, code, message)


_NOT_KNOWN = "its write had no answer, and nothing tells whether the number that is there now is this run's"


def _name(outcome: str) -> OutcomeName:
    """The outcome that is counted."""
    return cast(OutcomeName, outcome.partition(",")[0])
