"""Proof from the stream: which of the writes show up there as records of this run.

A marker's record is ours where NewImage carries the run's name and OldImage does not: a neighbour's later
write carries it in both. A counter's record is ours by the number. Where the view type lacks those images the
proof is by key (NEW_IMAGE), or only a bound (KEYS_ONLY, OLD_IMAGE).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from restrike.aws.dynamodb import attributes_type
from restrike.aws.streams import Start, records_decoder
from restrike.aws.walk import Follower
from restrike.aws.wire import Wire
from restrike.errors import UsageError
from restrike.model.table import TableInfo, canonical_key, normal_number
from restrike.runs.ledger import Ledger

MAX_KEYS_IN_MEMORY = 50_000  # of each kind; about 10 MB


class DurableSet:
    """A set of keys in memory that moves to the ledger at every save; memory holds at most what came since."""

    def __init__(self, ledger: Ledger, run: str, kind: str) -> None:
        self._ledger = ledger
        self._run = run
        self._kind = kind
        self._fresh: set[bytes] = set()
        self._gone: set[bytes] = set()
        self._on_disk = ledger.count_keys(run, kind)

    def __len__(self) -> int:
        return len(self._fresh) + self._on_disk - len(self._gone)

    @property
    def unsaved(self) -> int:
        return len(self._fresh) + len(self._gone)

    def add(self, key: bytes) -> None:
        if key in self._gone:
            self._gone.remove(key)
        elif not self._stored(key):
            self._fresh.add(key)

    def discard(self, key: bytes) -> bool:
        """Takes the key out; whether it was in."""
        if key in self._fresh:
            self._fresh.remove(key)
            return True
        if key in self._gone or not self._stored(key):
            return False
        self._gone.add(key)
        return True

    def __contains__(self, key: bytes) -> bool:
        return key in self._fresh or (key not in self._gone and self._stored(key))

    def _stored(self, key: bytes) -> bool:
        return bool(self._on_disk) and self._ledger.has_key(self._run, self._kind, key)

    def save(self) -> None:
        """Inside a transaction: all to disk, memory empty."""
        self._ledger.remove_keys(self._run, self._kind, self._gone)
        self._ledger.add_keys(self._run, self._kind, self._fresh)
        self._on_disk += len(self._fresh) - len(self._gone)
        self._fresh.clear()
        self._gone.clear()


class MarkerExpectation:
    """Awaits one record for each marker that was written.

    `early` holds records that came before the answer to their write. One that stays there to the end is the
    record of a write whose answer was lost: the item was fired by this run, though a repetition had to call
    it `already`.
    """

    def __init__(self, ledger: Ledger, run: str, view_type: str, value: dict[str, Any], seen: int) -> None:
        self.exact = view_type in ("NEW_AND_OLD_IMAGES", "NEW_IMAGE")
        self.seen = seen
        self._view_type = view_type
        self._value = value
        self._ledger = ledger
        self._run = run
        self._awaited = DurableSet(ledger, run, "awaited")
        self._early = DurableSet(ledger, run, "early")

    def record(self, key: bytes, new: Any, old: Any) -> None:
        if self._view_type == "NEW_AND_OLD_IMAGES":
            if new != self._value or old == self._value:
                return
        elif self._view_type == "NEW_IMAGE" and new != self._value:
            return
        if self._awaited.discard(key):
            self.seen += 1
        else:
            self._early.add(key)

    def expect(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            if self._early.discard(key):
                self.seen += 1
            else:
                self._awaited.add(key)

    def fired_unanswered(self) -> int:
        """Items fired by a write whose answer was lost; told only by both images, so that no later write counts."""
        return len(self._early) if self._view_type == "NEW_AND_OLD_IMAGES" else 0

    def awaited(self) -> int:
        return len(self._awaited)

    def unsaved(self) -> int:
        return self._awaited.unsaved + self._early.unsaved

    def save(self) -> None:
        self._awaited.save()
        self._early.save()

    def give_up(self, message: str) -> int:
        """Inside a transaction: what is still awaited becomes left over."""
        self.save()
        return self._ledger.move_keys_to_leftovers(self._run, "awaited", "NotSeen", message)


class CounterExpectation:
    """Awaits the record of each number that was written; the ledger holds all of them already."""

    def __init__(self, ledger: Ledger, run: str, epoch: int, view_type: str) -> None:
        self.exact = view_type in ("NEW_AND_OLD_IMAGES", "NEW_IMAGE")
        self._ledger = ledger
        self._run = run
        self._epoch = epoch
        self._view_type = view_type
        self._records: list[tuple[bytes, str]] = []
        self.seen, self._missing = ledger.count_seen(run, epoch)

    def record(self, key: bytes, new: Any, old: Any) -> None:
        if not self.exact:
            for known in self._ledger.intents(self._run, [key]).values():
                self._records.append((key, known[1]))
            return
        number = _number(new)
        if number is not None and (self._view_type == "NEW_IMAGE" or _number(old) != number):
            self._records.append((key, number))

    def expect(self, keys: Iterable[bytes]) -> None:
        """The ledger's write-ahead says it."""

    def fired_unanswered(self) -> int:
        return 0

    def awaited(self) -> int:
        return self._missing

    def unsaved(self) -> int:
        return len(self._records)

    def save(self) -> None:
        self._ledger.mark_seen(self._run, self._records)
        self._records.clear()
        self.seen, self._missing = self._ledger.count_seen(self._run, self._epoch)

    def give_up(self, message: str) -> int:
        self.save()
        return self._ledger.move_unseen_to_leftovers(self._run, self._epoch, "NotSeen", message)


def _number(value: Any) -> str | None:
    if not isinstance(value, dict) or not isinstance(value.get("N"), str):
        return None
    try:
        return normal_number(value["N"])
    except UsageError:
        return None


def _record_type(image: type[Any]) -> type[Any]:
    """A record of which only the keys and what `image` names are parsed."""
    change = msgspec.defstruct(
        "Change",
        [
            ("keys", dict[str, dict[str, Any]]),
            ("sequence_number", str),
            ("created_s", float, 0.0),
            ("new", image | None, None),
            ("old", image | None, None),
        ],
        rename={
            "keys": "Keys",
            "sequence_number": "SequenceNumber",
            "created_s": "ApproximateCreationDateTime",
            "new": "NewImage",
            "old": "OldImage",
        },
    )
    fields: list[tuple[str, Any, Any]] = [("change", change, msgspec.NODEFAULT), ("event_name", str, "")]
    return msgspec.defstruct("Record", fields, rename={"change": "dynamodb", "event_name": "eventName"})


class Proof:
    """Follows the table's stream while a run writes, and ticks off what it sees.

    `places` are the sequence numbers that an earlier part of the run had read up to; the stream is read from
    the newest end where there are none, and from `start_s` (epoch seconds by the service's clock) where an
    earlier part had begun without reading anything.
    """

    def __init__(
        self,
        wire: Wire,
        table: TableInfo,
        attribute: str,
        expectation: MarkerExpectation | CounterExpectation,
        *,
        places: dict[str, str],
        start_s: float,
        resumed: bool,
    ) -> None:
        assert table.stream_arn is not None
        self.expectation = expectation
        self.places = places
        self.moved: dict[str, str] = {}
        self.trimmed: list[str] = []
        self.last_seen_count = -1
        self._table = table
        self._start_s = start_s
        # Records are stamped in whole seconds, rounded down; by DynamoDB Local in whole minutes.
        self._not_before_s = start_s - start_s % 60
        self._resumed = resumed
        image, self._pick = attributes_type({"value": attribute}, dict[str, Any])
        self.follower = Follower(
            wire,
            table.stream_arn,
            records_decoder(_record_type(image)),
            self._on_page,
            fallback=Start(at_s=start_s),
            on_trimmed=self.trimmed.append,
        )

    async def prepare(self) -> None:
        """Takes the iterators: what is written from now on cannot be missed."""
        starts = {shard: Start(after=number) for shard, number in self.places.items()} if self._resumed else {}
        otherwise = Start(at_s=self._start_s) if self._resumed else Start(latest=True)
        await self.follower.prepare(starts, otherwise=otherwise)

    def _on_page(self, shard_id: str, records: list[Any]) -> str | None:
        record = self.expectation.record
        schema = self._table.key
        for each in records:
            change = each.change
            if each.event_name != "MODIFY" or change.created_s < self._not_before_s:
                continue
            record(
                canonical_key(schema, change.keys),
                self._pick(change.new).value if change.new is not None else None,
                self._pick(change.old).value if change.old is not None else None,
            )
        number: str = records[-1].change.sequence_number
        self.places[shard_id] = self.moved[shard_id] = number
        return number
