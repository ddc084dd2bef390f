"""Two sides' rows of one part, held against each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from restrike.model.scalars import same

BROKEN = b"!"
"""In place of values: the row's key could be read, and nothing else."""


class Tally(msgspec.Struct):
    """Rows of each side, those that are the same, and keys that the other side has more than once."""

    ours: int = 0
    theirs: int = 0
    equal: int = 0
    duplicates: int = 0

    def add(self, other: Tally) -> None:
        self.ours += other.ours
        self.theirs += other.theirs
        self.equal += other.equal
        self.duplicates += other.duplicates


class Suspicion(NamedTuple):
    """What differs at first sight: its key, the other side's values, and whether it was among the selected items."""

    key: bytes
    theirs: bytes | None
    selected: bool


class Compared(msgspec.Struct):
    """What a comparison found; `twice` are keys that the other side has more than once."""

    tally: Tally
    different: list[Suspicion]
    twice: list[bytes]


def compare(ours: Iterable[bytes], theirs: Iterable[bytes]) -> Compared:
    """Rows are as `Batches.read` gives them; of a key that comes twice the last one holds. What differs is
    to be read once more."""
    here = _by_key(ours)
    there: dict[bytes, bytes] = {}
    twice: dict[bytes, None] = {}
    for row in theirs:
        key, _, values = row.partition(b"\t")
        if key in there:
            twice[key] = None
        there[key] = values
    tally = Tally(len(here), len(there), 0, len(twice))
    different: list[Suspicion] = []
    for key, values in there.items():
        found = here.pop(key, None)
        if values == BROKEN:
            continue
        if found is not None and same(found, values):
            tally.equal += 1
        else:
            different.append(Suspicion(key, values, found is not None))
    different += [Suspicion(key, None, True) for key in here]
    return Compared(tally, different, list(twice))


def _by_key(rows: Iterable[bytes]) -> dict[bytes, bytes]:
    found = {}
    for row in rows:
        key, _, values = row.partition(b"\t")
        found[key] = values
    return found


def kind_of(ours: bytes | None, theirs: bytes | None) -> str:
    """What a difference is, by both sides' values: missing, stale, extra, uncompared; or settled."""
    if ours is None or theirs is None:
        return "settled" if ours is theirs else "extra" if ours is None else "missing"
    found = same(ours, theirs)
    return "uncompared" if found is None else "settled" if found else "stale"
