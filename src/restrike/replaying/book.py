"""What a replay writes down in the ledger: its counts, and how far floors and lanes are."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from restrike.replaying.counts import ReplayCounts
from restrike.replaying.places import LanePlaces
from restrike.running.ledger import Ledger
from restrike.running.run import Run

FLOOR, LANE = "floor", "lane"
"""Kinds of places. As text: a sequence number has more digits than SQLite's integers."""


class LedgerBook:
    """See `restrike.replaying.saving.Book`. A commit survives the process but waits for no disk.

    `part`: of a run that has several, each with places of its own.
    """

    def __init__(self, ledger: Ledger, run: Run, part: str = "") -> None:
        self._ledger = ledger
        self._name = run.name
        self._floor, self._lane = f"{FLOOR}{part}", f"{LANE}{part}"
        self.counts = msgspec.json.decode(run.counts, type=ReplayCounts)
        ledger.db.relax()

    def floors(self) -> dict[str, int]:
        return {shard: int(place) for shard, place in self._ledger.places(self._name, self._floor).items()}

    def lane_places(self) -> LanePlaces:
        found: dict[tuple[int, int, str], int] = {}
        for strand, place in self._ledger.places(self._name, self._lane).items():
            lanes, lane, shard = strand.split("/", 2)
            found[int(lanes), int(lane), shard] = int(place)
        return found

    async def commit(
        self,
        *,
        counts: ReplayCounts,
        floors: Mapping[str, int],
        lane_places: LanePlaces,
        elapsed_s: float,
        stands: Mapping[str, str],
    ) -> None:
        """In this thread: a commit that waits for no disk takes less than handing it to another."""
        lanes = {f"{lanes}/{lane}/{shard}": b"%d" % at for (lanes, lane, shard), at in lane_places.items()}
        with self._ledger.transaction():
            self._ledger.set_counts(self._name, msgspec.json.encode(counts), elapsed_s)
            self._ledger.set_places(self._name, self._floor, {shard: b"%d" % at for shard, at in floors.items()})
            self._ledger.set_places(self._name, self._lane, lanes)
            if stands:
                self._ledger.set_stands(self._name, stands)
            self._save_beside()

    def _save_beside(self) -> None:
        """What is to be kept beside it, in the same transaction."""


class _TouchOptions(msgspec.Struct):
    attribute: str


class _Touch(msgspec.Struct):
    """Of a touch's request, the attribute that it writes."""

    options: _TouchOptions


def markers(ledger: Ledger, table_arn: str) -> frozenset[str]:
    """The attributes that touches of that table have written."""
    touches = [run for run in ledger.runs() if run.verb == "touch" and run.subject == table_arn]
    return frozenset(msgspec.json.decode(run.request, type=_Touch).options.attribute for run in touches)
