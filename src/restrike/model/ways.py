"""The ways to fire again that are open, the best first; and why the others are not."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence

from restrike.model.diagnosis import Asked, Closed, Covers, Loss, Seen, Way
from restrike.model.meant import consumers_meant, consumers_named, window_meant
from restrike.model.record import Fidelity
from restrike.model.replay_ways import redrives_named, replay_ways
from restrike.model.report import State
from restrike.model.touch_ways import touch_ways

_COVERS: dict[Covers, int] = {"whole": 0, "part": 1, "unknown": 2}
_FIDELITY: dict[Fidelity, int] = {"exact": 0, "net": 1, "synthetic": 2}
_UNFINISHED: tuple[State, ...] = ("PAUSED", "INTERRUPTED", "FAILED")


def ways(seen: Seen, asked: Asked, losses: Sequence[Loss]) -> tuple[tuple[Way, ...], tuple[Closed, ...]]:
    """Those that are open, in their order, and those that are not, each said once."""
    found = [*_all_of(seen, asked, losses), *redrives_named(seen), *_going_on(seen)]
    is_open: dict[str, Way] = {}
    for each in found:
        if isinstance(each, Way):
            is_open.setdefault(each.command, each)  # two mappings may be of one function
    closed = dict.fromkeys(each for each in found if isinstance(each, Closed))
    return tuple(sorted(is_open.values(), key=order)), tuple(closed)


def order(way: Way) -> tuple[int, float, bool, int, float]:
    """Covers the window, expires soonest, only this consumer fires, fidelity, cost; what is not known comes last."""
    return (
        _COVERS[way.covers],
        math.inf if way.expires_s is None else way.expires_s,
        not way.only,
        _FIDELITY[way.fidelity],
        math.inf if way.usd is None else way.usd,
    )


def _all_of(seen: Seen, asked: Asked, losses: Sequence[Loss]) -> Iterator[Way | Closed]:
    named = {each.name for each in consumers_named(seen, asked)}
    losses = [loss for loss in losses if loss.consumer in named]
    meant = consumers_meant(seen, asked, losses)
    for consumer in meant:
        yield from replay_ways(seen, asked, consumer, [loss for loss in losses if loss.consumer == consumer.name])
    yield from touch_ways(seen, asked, meant, window_meant(asked, losses))


def _going_on(seen: Seen) -> Iterator[Way]:
    """Runs of this table that have begun, and are not at their end. The ledger knows where they run."""
    for kept in seen.kept:
        if kept.kind != "run" or kept.state not in _UNFINISHED:
            continue
        yield Way(
            verb="runs",
            title=f"go on with {kept.name}, a {kept.verb or 'run'} that is {kept.state}",
            command=shlex.join(["restrike", "runs", "resume", kept.name]),
            fidelity=kept.fidelity or "synthetic",
            covers="unknown",
            only=kept.verb != "touch",
        )
