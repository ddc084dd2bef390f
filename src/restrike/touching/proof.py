"""Proof from the stream: follows it while a run writes, and hands its records to the write that awaits them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from restrike.aws.dynamodb import attributes_type
from restrike.aws.streams import Start, records_decoder
from restrike.aws.walk import Follower
from restrike.aws.wire import Wire
from restrike.errors import AccessDenied
from restrike.model.table import TableInfo
from restrike.touching.book import Book
from restrike.touching.write import Write


class Proof:
    """Follows the table's stream from where an earlier part of the run stopped.

    It is read from the newest end where there was none, and from `start_s` (epoch seconds by the service's clock)
    where an earlier part had begun without reading anything.
    """

    def __init__(
        self, wire: Wire, table: TableInfo, attribute: str, write: Write, book: Book, *, start_s: float, resumed: bool
    ) -> None:
        assert table.stream_arn is not None
        self.trimmed: list[str] = []
        self._write = write
        self._book = book
        self._start_s = start_s
        # Records are stamped in whole seconds, rounded down; by DynamoDB Local in whole minutes.
        self._not_before_s = start_s - start_s % 60
        self._resumed = resumed
        sort = table.key.sort.name if table.key.sort is not None else None
        keys, self._pick_keys = attributes_type({"partition": table.key.partition.name, "sort": sort}, msgspec.Raw)
        image: Any = msgspec.Raw
        self._pick: Callable[[Any], Any] = lambda whole: whole
        if not write.whole_images:
            image, self._pick = attributes_type({"value": attribute}, msgspec.Raw)
        self._as_decoded = not {keys, image} & {dict[str, msgspec.Raw]}
        self.follower = Follower(
            wire,
            table.stream_arn,
            records_decoder(_record_type(keys, image)),
            self._on_page,
            fallback=Start(at_s=start_s),
            on_trimmed=self.trimmed.append,
        )

    async def prepare(self) -> None:
        """Takes the iterators: what is written from now on cannot be missed."""
        starts: dict[str, Start] = {}
        otherwise = Start(latest=True)
        if self._resumed:
            starts = {shard: Start(after=number) for shard, number in self._book.stream_places.items()}
            otherwise = Start(at_s=self._start_s)
        await self.follower.prepare(starts, otherwise=otherwise)

    def _on_page(self, shard_id: str, records: list[Any]) -> str | None:
        not_before_s, wanted = self._not_before_s, self._write.events
        changes = [
            change
            for each in records
            if each.event_name in wanted and (change := each.change).created_s >= not_before_s
        ]
        if not self._as_decoded:
            for change in changes:
                change.keys = self._pick_keys(change.keys)
                change.new = self._pick(change.new) if change.new is not None else None
                change.old = self._pick(change.old) if change.old is not None else None
        self._write.records(changes)
        number: str = records[-1].change.sequence_number
        self._book.stream_read(shard_id, number)
        return number


@contextlib.contextmanager
def without_proof() -> Iterator[None]:
    """Tells whoever may not read the stream that it can be done without."""
    try:
        yield
    except AccessDenied as error:
        error.hint += " Or go without the proof: --no-verify."
        raise


def _record_type(keys: type[Any], image: type[Any]) -> type[Any]:
    """A record of which only those key values and that of its images is read, and not parsed."""
    change = msgspec.defstruct(
        "Change",
        [
            ("keys", keys),
            ("sequence_number", str),
            ("created_s", float, 0.0),
            # Of `Raw | None` msgspec reads only null.
            ("new", image if image is msgspec.Raw else image | None, None),
            ("old", image if image is msgspec.Raw else image | None, None),
        ],
        rename={
            "keys": "Keys",
            "sequence_number": "SequenceNumber",
            "created_s": "ApproximateCreationDateTime",
            "new": "NewImage",
            "old": "OldImage",
        },
        gc=False,
    )
    fields: list[tuple[str, Any, Any]] = [("change", change, msgspec.NODEFAULT), ("event_name", str, "")]
    return msgspec.defstruct("Record", fields, rename={"change": "dynamodb", "event_name": "eventName"}, gc=False)
