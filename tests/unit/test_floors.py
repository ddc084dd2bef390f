"""The floors of a replay: up to where everything of a shard is done."""

from __future__ import annotations

from restrike.model.window import DRAINED
from restrike.replaying.lanes import Floors, Page


def test_a_shard_that_gives_no_more_is_done_when_all_that_it_gave_is() -> None:
    floors = Floors({})
    page = Page("busy", 5, 2)
    floors.opened(page)
    drained = {"busy", "idle"}
    floors.drained(drained)
    assert (floors.known, floors.moved, drained) == ({"idle": DRAINED}, {"idle"}, {"busy"})
    floors.settle(page, 1)
    floors.drained(drained)
    assert "busy" not in floors.known
    floors.settle(page, 1)
    floors.drained(drained)
    assert (floors.known["busy"], drained) == (DRAINED, set())
