"""Until when a message is of use: its pointer is good for 24 hours from the batch on, and a queue keeps it so long."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from restrike.aws.streams import RETENTION_S
from restrike.model.report import Staying
from restrike.model.times import iso
from restrike.replaying.redriving.queue import Line
from restrike.sources.failures.index import Index, Message

TOLD_MESSAGES = 1_000
BY_STREAM, BY_QUEUE = "the stream", "the queue"


class Expiries:
    """Of the messages of an index. `lines`: those that were taken out of a queue, in the order of their numbers."""

    def __init__(self, index: Index, lines: Sequence[Line] = ()) -> None:
        self._index = index
        self._queued = {number: (line.message_id, line.kept_until_s) for number, line in enumerate(lines, 1)}

    def of(self, message: Message) -> tuple[float, str] | None:
        """When, and by whom: the earlier of the two; None where neither is told, or does not expire."""
        found = []
        pointer = message.pointer
        if pointer is not None and pointer.first_s is not None and not self._index.brought(pointer):
            found.append((pointer.first_s + RETENTION_S, BY_STREAM))
        _, kept_until_s = self._queued.get(message.number, ("", None))
        if kept_until_s is not None:
            found.append((kept_until_s, BY_QUEUE))
        return min(found, default=None)

    def name(self, message: Message) -> str:
        """The MessageId of what a queue gave."""
        return self._queued.get(message.number, (message.name, None))[0]

    def soonest(self, messages: Iterable[tuple[Message, str]]) -> tuple[Staying, ...]:
        """Of messages, and why each stays, those that expire first."""
        rows = ((self.of(message), message.number, self.name(message), why) for message, why in messages)
        first = heapq.nsmallest(TOLD_MESSAGES, rows, key=lambda row: (row[0] is None, row[0] or (0.0, ""), row[1]))
        return tuple(
            Staying(name, why, None if expiry is None else iso(expiry[0]), "" if expiry is None else expiry[1])
            for expiry, _, name, why in first
        )
