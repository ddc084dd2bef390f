"""Which messages are done, why the others stay, and the deletion of what is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import msgspec

from restrike.aws.session import Aws
from restrike.model.failure import Pointer
from restrike.model.report import Staying
from restrike.replaying.redriving.expiring import Expiries
from restrike.replaying.redriving.memory import Memory
from restrike.replaying.redriving.resolved import Redrive
from restrike.running.ledger import Ledger
from restrike.sources.failures.index import Index, Message
from restrike.sources.failures.taking import listed

NOT_REACHED = "the run did not come to it"


class Settled(msgspec.Struct):
    """`done` messages of so many. `stays`: why the others stay, the most frequent reason first; `staying`: those of
    them that expire first."""

    messages: int = 0
    done: int = 0
    deleted: int = 0
    stays: tuple[tuple[str, int], ...] = ()
    staying: tuple[Staying, ...] = ()


class Settling:
    """What a run has made of the messages. `ended`: how many of its parts have read all of theirs."""

    def __init__(self, redrive: Redrive, index: Index, ledger: Ledger, run: str, ended: int) -> None:
        self._redrive = redrive
        self._index = index
        self._stays = dict(redrive.stays)
        self._ended = ended
        self._parts = [
            (
                part,
                Memory(ledger, run, part.consumer),
                {shard: int(place) for shard, place in ledger.places(run, f"floor{number}").items()},
            )
            for number, part in enumerate(redrive.parts)
        ]

    def why(self, message: Message) -> str:
        """Why the message stays; empty where it is done."""
        pointer = message.pointer
        if pointer is None:
            return message.why
        origin = (pointer.stream_arn, message.function)
        if origin in self._stays:
            return self._stays[origin]
        for number, (part, memory, floors) in enumerate(self._parts):
            if part.takes(origin):
                return self._undone(pointer, memory, floors, ended=number < self._ended)
        return NOT_REACHED

    def _undone(self, pointer: Pointer, memory: Memory, floors: dict[str, int], *, ended: bool) -> str:
        outcome = self._index.outcome(pointer)
        if outcome is None:
            return NOT_REACHED
        if outcome.lost:
            return outcome.lost
        if not ended and floors.get(pointer.shard, -1) < pointer.last:
            return NOT_REACHED
        failed, error = memory.failed(pointer.stream_arn, pointer.shard, pointer.first, pointer.last)
        return f"records of it failed again: {error}" if failed else ""

    def all(self) -> Iterator[tuple[Message, str]]:
        for message in self._index.messages():
            yield message, self.why(message)


def settle(settling: Settling, expiries: Expiries) -> Settled:
    """Counts them, and tells those that stay."""
    found, stays = Settled(), Counter[str]()

    def staying() -> Iterator[tuple[Message, str]]:
        for message, why in settling.all():
            found.messages += 1
            if why:
                stays[why] += 1
                yield message, why
            else:
                found.done += 1

    found.staying = expiries.soonest(staying())
    found.stays = tuple(stays.most_common())
    return found


def done_objects(settling: Settling) -> dict[str, str]:
    """The objects all of whose messages are done, and the ETag that each had."""
    done: dict[str, str] = {}
    staying: set[str] = set()
    for message, why in settling.all():
        if why:
            staying.add(message.path)
        else:
            done[message.path] = message.etag
    return {path: etag for path, etag in done.items() if path not in staying}


def done_messages(settling: Settling) -> frozenset[int]:
    """The numbers of the messages that are done."""
    return frozenset(message.number for message, why in settling.all() if not why)


def delete(where: str, done: Mapping[str, str], ask: Callable[[], Aws]) -> int:
    """Deletes those objects, each as it was, and not another that came to have its name; how many there were."""
    store, objects = listed(where, ask)
    found = [each for each in objects if done.get(each.path) == each.etag]
    for each in found:
        store.delete(each.path)
    return len(found)
