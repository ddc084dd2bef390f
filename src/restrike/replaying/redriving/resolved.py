"""A redrive as planning settled it: the request of its run, as the ledger keeps it."""

from __future__ import annotations

import msgspec

from restrike.replaying.redriving.request import RedriveRequest
from restrike.replaying.resolved import Resolved, identity
from restrike.sources.failures.index import Origin


class Part(msgspec.Struct, frozen=True):
    """One consumer, and whence the messages come that are its; no origins: all of them."""

    origins: tuple[Origin, ...]
    replay: Resolved

    @property
    def consumer(self) -> str:
        """What its deliveries are remembered by."""
        return self.replay.target.resolved

    def takes(self, origin: Origin) -> bool:
        return not self.origins or origin in self.origins


class Redrive(msgspec.Struct, frozen=True):
    """`base` is what all parts have in common. `stays`: why messages of an origin have no consumer.
    `queue`: the URL of the queue that they were taken out of, if any."""

    request: RedriveRequest
    base: Resolved
    parts: tuple[Part, ...]
    stays: tuple[tuple[Origin, str], ...] = ()
    queue: str = ""


def identity_of(redrive: Redrive) -> dict[str, str]:
    """What makes it this run and no other: the messages, and who gets them."""
    found = identity(redrive.base) | {"target": redrive.request.replay.to or ""}
    for number, part in enumerate(redrive.parts if len(redrive.parts) > 1 or part_differs(redrive) else ()):
        found[f"consumer {number + 1}"] = part.consumer
    return found


def part_differs(redrive: Redrive) -> bool:
    """Whether who gets the records is not what was typed."""
    return any(part.consumer != redrive.base.target.resolved for part in redrive.parts)
