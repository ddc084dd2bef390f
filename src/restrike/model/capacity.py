"""How many write units a second a table takes, by its own word, and how many of them a touch may."""

from __future__ import annotations

import msgspec

from restrike.model.numbers import figure
from restrike.model.table import TableInfo

PARTITION_WCU = 1_000
"""What one partition takes a second. A partition key has one of its own at least where it is busy, and it may be split
over several; where there is a local index it is not. So a key may take as few as these."""
NEW_TABLE_WCU = 4_000.0
"""What an on-demand table takes at once when it is new, and where it does not tell its warm throughput."""
ON_DEMAND_DEFAULT_WCU = 500.0
DEFAULT_SHARE = 0.25
INDEX_SHARE = 0.5
"""The most that one index gets of all units: what it takes of a write the table takes too, and maybe others. The table
gets all of them where its indexes have nothing of the items, and so this is no matter of how many there are."""


class Place(msgspec.Struct, frozen=True):
    """Where writes go: the table with its local indexes, or a global index (`index` is its name).

    `share` is its part, at most, of all the units that a touch takes. `most` is what it takes a second: provisioned, or
    the maximum that was set for it on demand; None where nothing is. `warm` is what it takes at once, None where that
    is not told.
    """

    share: float
    index: str = ""
    most: int | None = None
    warm: int | None = None

    def __str__(self) -> str:
        return f"index {self.index}" if self.index else "the table"

    @property
    def most_wcu(self) -> float | None:
        """The units a second in all places together at which this one is full."""
        return None if self.most is None else self.most / self.share

    @property
    def warm_wcu(self) -> float | None:
        """The units a second in all places together that this one takes at once."""
        return None if self.warm is None else self.warm / self.share


class Capacity(msgspec.Struct, frozen=True):
    """What a table takes of a touch. Its rates are of all units, those of the table and of its indexes together."""

    on_demand: bool
    places: tuple[Place, ...]

    @property
    def tightest(self) -> Place | None:
        """The place that is full first; None where none has a bound."""
        return min(
            (place for place in self.places if place.most_wcu is not None),
            key=lambda place: place.most_wcu or 0.0,
            default=None,
        )

    @property
    def coldest(self) -> Place | None:
        """The place that takes least at once; None where none tells."""
        return min(
            (place for place in self.places if place.warm_wcu is not None),
            key=lambda place: place.warm_wcu or 0.0,
            default=None,
        )

    @property
    def most_wcu(self) -> float | None:
        """The write units a second at which a place is full; None where nothing bounds them."""
        return None if self.tightest is None else self.tightest.most_wcu

    @property
    def at_once(self) -> tuple[float, str]:
        """The write units a second that it takes without throttling, and what says so."""
        limits: list[tuple[float, str]] = []
        full, coldest = self.tightest, self.coldest
        if full is not None and full.most_wcu is not None:
            limits.append((full.most_wcu, f"the maximum of {full}" if self.on_demand else "what is provisioned"))
        if self.on_demand and coldest is not None and coldest.warm_wcu is not None:
            limits.append((coldest.warm_wcu, "the warm throughput" + (f" of {coldest}" if coldest.index else "")))
        elif self.on_demand or not limits:
            limits.append((NEW_TABLE_WCU, "what a new table takes"))
        return min(limits)

    @property
    def default_wcu(self) -> float:
        """The write units a second that a touch may take from a table that serves an application meanwhile."""
        most = self.most_wcu
        if most is None:
            return ON_DEMAND_DEFAULT_WCU
        wcu = max(1.0, most * DEFAULT_SHARE)
        return min(ON_DEMAND_DEFAULT_WCU, wcu) if self.on_demand else wcu

    @property
    def default_told(self) -> str:
        """The default in words, and what it is based on."""
        wcu, place = self.default_wcu, self.tightest
        told = f"{figure(wcu)} WCU/s"
        if place is None or place.most is None or (self.on_demand and wcu == ON_DEMAND_DEFAULT_WCU):
            coldest, warm = self.coldest, ""
            if coldest is not None:
                warm = f"; warm throughput {coldest.warm:,}" + (f" of {coldest}" if coldest.index else "")
            return f"{told} (on demand{warm})"
        here = wcu * place.share
        percent = f"{100 * here / place.most:.0f} %"
        most = f"{'maximum of ' if self.on_demand else ''}{place.most:,}"
        if place.share < 1:
            return f"{told}, at most {figure(here)} of them in {place} ({percent} of its {most})"
        return f"{told} ({percent} of {'the ' if self.on_demand else ''}{most})"

    def overfull(self, wcu: float) -> tuple[Place, ...]:
        """The places that take less than their part of so many write units a second."""
        return tuple(place for place in self.places if place.most is not None and wcu * place.share > place.most)


def capacity_of(table: TableInfo, attribute: str) -> Capacity:
    """What the table takes of writes to that attribute: its own, and those of the indexes that project it.

    An index that is full holds the table back: DynamoDB throttles writes to the table for it.
    """
    places = [
        Place(
            share=1.0,
            most=table.max_write_request_units if table.on_demand else table.write_capacity,
            warm=table.warm_write_units_per_s,
        )
    ]
    places += [
        Place(
            share=INDEX_SHARE,
            index=index.name,
            most=index.max_write_request_units if table.on_demand else index.write_capacity or None,
            warm=index.warm_write_units_per_s,
        )
        for index in table.indexes_projecting(attribute)
        if index.kind == "global"
    ]
    return Capacity(table.on_demand, tuple(places))


def seconds_on_one_partition(items: int, wcu_per_item: float) -> float:
    """How long if all items are of one partition key, and one partition serves it."""
    return items * wcu_per_item / PARTITION_WCU
