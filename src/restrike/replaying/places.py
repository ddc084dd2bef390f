"""How far a replay is: floors of shards, places of lanes, and what earlier parts of the run have done.

A lane is first in, first out: what it has done of a shard is one place. That place is true only for the number of
lanes it was made with, since another number sends other items through the lane. A run may go on with another number;
so places are kept by (lanes, lane, shard), and a record is done where any of those numbers says so.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Mapping

import msgspec

from restrike.model.record import Record
from restrike.model.window import DRAINED

LanePlaces = Mapping[tuple[int, int, str], int]
"""(Lanes, lane, shard) → the place up to which that lane, of so many, has done that shard."""


def key_hash(record: Record) -> int:
    """The same for all records of an item, in every run and on every machine."""
    key = msgspec.json.decode(record.keys)
    return zlib.crc32(msgspec.json.encode(key, order="deterministic"))


def lane_of(record: Record, lanes: int) -> int:
    """0 to lanes - 1, the same for all records of an item, in every run and on every machine."""
    return key_hash(record) % lanes if lanes > 1 else 0


class Done:
    """What earlier parts of a run have done above the floors."""

    def __init__(self, places: LanePlaces) -> None:
        self._by_shard: dict[str, dict[int, dict[int, int]]] = {}
        for (lanes, lane, shard), place in places.items():
            self._by_shard.setdefault(shard, {}).setdefault(lanes, {})[lane] = place
        self._highest = {
            shard: max(place for places in numbers.values() for place in places.values())
            for shard, numbers in self._by_shard.items()
        }

    def highest(self, shard: str) -> int:
        """Behind that place nothing of the shard is done; -1 where nothing is."""
        return self._highest.get(shard, -1)

    def has(self, record: Record) -> bool:
        """Whether a lane of some part of the run has dealt with it."""
        if record.place > self.highest(record.shard):
            return False
        hashed = key_hash(record)
        return any(
            record.place <= places.get(hashed % lanes, -1) for lanes, places in self._by_shard[record.shard].items()
        )


class Stretch:
    """Records of a shard that were read together, until each is done; `after` is the place behind them."""

    __slots__ = ("after", "filtered", "pending", "shard")

    def __init__(self, shard: str, after: int, pending: int, filtered: int = 0) -> None:
        self.filtered = filtered
        self.shard = shard
        self.after = after
        self.pending = pending


class Floors:
    """For each shard the place up to which everything is done, whichever lane it went through.

    `moved` names the shards whose floor is not in the book yet.
    """

    def __init__(self, known: Mapping[str, int]) -> None:
        self.known = dict(known)
        self.moved: set[str] = set()
        self.filtered = 0  # records up to the floors that did not pass the filter
        self._open: dict[str, deque[Stretch]] = {}

    def drained(self, shards: set[str]) -> None:
        """Nothing more comes of those shards: where all of one is done, its floor is behind everything, and it is
        taken out."""
        for shard in [each for each in shards if not self._open.get(each)]:
            self.known[shard] = DRAINED
            self.moved.add(shard)
            shards.discard(shard)

    def opened(self, stretch: Stretch) -> None:
        self._open.setdefault(stretch.shard, deque()).append(stretch)
        self.settle(stretch, 0)

    def settle(self, stretch: Stretch, records: int) -> None:
        """That many records of the stretch are done."""
        stretch.pending -= records
        stretches = self._open[stretch.shard]
        while stretches and stretches[0].pending == 0:
            done = stretches.popleft()
            self.known[stretch.shard] = done.after
            self.filtered += done.filtered
            self.moved.add(stretch.shard)

    def unsaved(self) -> dict[str, int]:
        """The floors that the book has not yet."""
        return {shard: self.known[shard] for shard in self.moved}

    def saved(self, floors: Mapping[str, int]) -> None:
        """The book has those; what has moved on since is still to be saved."""
        self.moved.difference_update(shard for shard, place in floors.items() if self.known[shard] == place)
