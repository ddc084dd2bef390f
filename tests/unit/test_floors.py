"""The floors of a replay: up to where everything of a shard is done."""

from __future__ import annotations

from restrike.model.window import DRAINED
from restrike.replaying.places import Floors, Stretch


def test_a_shard_that_gives_no_more_is_done_when_all_that_it_gave_is() -> None:
    floors = Floors({})
    stretch = Stretch("busy", 5, 2)
    floors.opened(stretch)
    drained = {"busy", "idle"}
    floors.drained(drained)
    assert (floors.known, floors.moved, drained) == ({"idle": DRAINED}, {"idle"}, {"busy"})
    floors.settle(stretch, 1)
    floors.drained(drained)
    assert "busy" not in floors.known
    floors.settle(stretch, 1)
    floors.drained(drained)
    assert (floors.known["busy"], drained) == (DRAINED, set())
