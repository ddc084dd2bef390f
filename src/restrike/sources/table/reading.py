"""The source `table:TABLE`: synthetic records of the selected items, as they are now.

What is made up: eventID, SequenceNumber, SizeBytes (an approximation), ApproximateCreationDateTime (when the item was
read), and the stream's ARN where the table has no stream. Images are the item's bytes as they were answered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec

from restrike.aws import dynamodb
from restrike.aws.dynamodb import decode
from restrike.aws.session import Aws
from restrike.aws.wire import Wire
from restrike.errors import AwsError, NotFound, SourceLacks, UsageError
from restrike.model.record import EventName, Fidelity, Record
from restrike.model.selection import KeyList, Selection, Strand, projected, strands
from restrike.model.table import TableInfo, canonical_key
from restrike.model.window import Gap, Window
from restrike.selecting.count import count
from restrike.selecting.pages import READERS, each, pages
from restrike.sources import SourceInfo
from restrike.sources.table.journal import Journal
from restrike.sources.table.records import Maker

QUEUED_PAGES = 2
BATCHES = 4  # BatchGetItem under way
BATCH_BYTES = 4 << 20  # of items that are aimed at: 100 of 400 KB would be 40 MB

_JOURNAL = "journal"
_ITEMS_TOLD_GONE = "the target is told that these items are gone, and the table has them."
_KEYS_TOLD_GONE = (
    "the target is told that items are gone, also of a key that the table has: --if-superseded skip leaves that out."
)
_Items = list[tuple[int, bytes, bytes]]
"""(Ordinal, key, whole item); no item where a record is made of the key alone."""


class Keys(Protocol):
    """The keys of a KeyList, in the order of their positions, from 1 on; `selecting.keyfile.KeyFile` is one."""

    def read(self, after: int, limit: int) -> list[tuple[int, bytes]]: ...


_ABSENT = msgspec.Raw(b"null")  # msgspec takes no Raw in a union


class _Page(msgspec.Struct, rename="pascal"):
    items: list[msgspec.Raw] = msgspec.field(default_factory=list)
    last_evaluated_key: msgspec.Raw = _ABSENT

    @property
    def last_key(self) -> bytes | None:
        return None if self.last_evaluated_key is _ABSENT else bytes(self.last_evaluated_key)


_page = msgspec.json.Decoder(_Page)


def _read(body: bytes, operation: str) -> _Page:
    return decode(_page, body, operation)


class TableSource:
    """The selected items, each as one record. A strand is a partition key, a day, a segment of a scan, or a key file.

    `as_event` INSERT has a NewImage only, REMOVE an OldImage only, MODIFY both, of which the old one is the item
    too, or left out without `old_image`. The stream's view type takes away what it does not show; a table without
    a stream shows both.

    Whole items come with the page where the table itself is read (consistently) or an index that projects ALL (as
    the index has them). For any other index and for a key list the keys come first and the items from BatchGetItem,
    consistently; an item that is gone by then is left out and counted in `gone`. But of keys that are given a REMOVE
    is made all the same: it has the key and no image.

    A shard is a strand; a place is the item's ordinal in it, from 1. An ordinal over a second reading would mean
    another item as soon as one is deleted or added. So with a `journal` (a file in the run's folder) the keys of a
    page are durable there before its records are yielded, some 50 to 200 bytes an item: who resumes gets the items
    behind his place by those very keys, as they are now, and then what follows the last page. What holds:

    - An item that exists throughout is yielded in every case, whatever comes and goes beside it.
    - An ordinal is the same item for the life of the journal, so that a place skips nothing but what was yielded.
      A record that is yielded again has the same place, SequenceNumber and eventID.
    - An item deleted meanwhile is left out, one that is added is yielded if it lies in front of the reader.
    - An item that moves inside an index while that is read can be met at both of its places, as in any Query.

    A key list needs no journal: it is one. Without a journal nothing can be resumed.

    `salt`, the run's name, goes into eventIDs: a second run is no duplicate to a consumer that knows the first's.
    """

    fidelity: Fidelity = "synthetic"

    def __init__(
        self,
        aws: Aws,
        table: TableInfo,
        selection: Selection,
        *,
        as_event: EventName = "INSERT",
        old_image: bool = True,
        keys: Keys | None = None,
        journal: Path | None = None,
        salt: str = "",
        stood_on: Mapping[str, str] | None = None,
    ) -> None:
        if not old_image and as_event != "MODIFY":
            raise UsageError(f"--no-old-image goes with --as MODIFY, not with {as_event}")
        if isinstance(selection.what, KeyList) and keys is None:
            raise UsageError("a selection of keys needs the keys", "Give the spooled file.")
        self.uri = f"table:{table.name}"
        self.ended = ""
        self.gaps: list[Gap] = []
        self.drained: set[str] = set()
        self.started_s: float | None = None
        self.stands_on: Mapping[str, str] = stood_on or {}
        self.gone = 0
        self._aws = aws
        self._table = table
        self._selection = selection
        self._keys = keys
        self._of_keys_alone = as_event == "REMOVE" and keys is not None
        self._warnings: tuple[tuple[str, str], ...] = ()
        if as_event == "REMOVE":
            self._warnings = (("as-remove", _KEYS_TOLD_GONE if self._of_keys_alone else _ITEMS_TOLD_GONE),)
        self._journal_path = journal
        self._journal: Journal | None = None
        self._wire: Wire | None = None
        index = table.index(selection.index) if selection.index else None
        self._whole = not isinstance(selection.what, KeyList) and (index is None or index.projection == "ALL")
        self._make = Maker(table, as_event, old_image=old_image, salt=salt)
        # The key alone, whatever its attributes are called.
        fields = {"partition": table.key.partition.name, "sort": table.key.sort.name if table.key.sort else None}
        self._key_type, self._pick_key = dynamodb.attributes_type(fields, msgspec.Raw)
        self._batches = asyncio.Semaphore(BATCHES)
        self._keys_a_call = dynamodb.KEYS_A_CALL  # fewer where items are large

    async def __aenter__(self) -> Self:
        if self._journal_path is not None and self._keys is None:
            self._journal = await asyncio.to_thread(Journal, self._journal_path)
            stood = self.stands_on.get(_JOURNAL, self._journal.id)
            if stood != self._journal.id:
                self._journal.close()
                raise SourceLacks(
                    f"{self._journal_path}, in which the run wrote down what it had read, is gone or another",
                    "Without it this run cannot go on: begin anew under another --run.",
                )
            self.stands_on = {_JOURNAL: stood}
        self._wire = dynamodb.connect(self._aws, connections=READERS + BATCHES)
        await self._wire.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._wire is not None:
            await self._wire.__aexit__(kind, error, trace)
        if self._journal is not None:
            self._journal.close()

    async def look(self, window: Window) -> SourceInfo:
        """Counts by Select=COUNT, as far as that is cheap."""
        counted = await count(self._connected, self._table, self._selection)
        return SourceInfo(
            count=counted.items.count,
            at_least=counted.at_least,
            how=counted.items.how,
            table_name=self._table.name,
            stream_arn=self._make.stream_arn,
            view_type=self._make.view_type,
            warnings=self._warnings,
        )

    async def read(self, after: Mapping[str, int], window: Window) -> AsyncGenerator[list[Record], None]:
        if any(place > 0 for place in after.values()) and self._journal is None and self._keys is None:
            raise UsageError("a table can be read on from a place only with the journal of the first reading")
        self.gaps = []
        self.gone = 0
        self.ended = "stopped before its end"
        queue: asyncio.Queue[list[Record] | None] = asyncio.Queue(QUEUED_PAGES)
        reading = asyncio.create_task(self._read_all(after, queue))
        try:
            while (records := await queue.get()) is not None:
                yield records
            reading.result()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        left_out = f", {self.gone:,} items were gone" if self.gone else ""
        self.ended = f"end of the selection{left_out}"

    async def _read_all(self, after: Mapping[str, int], queue: asyncio.Queue[list[Record] | None]) -> None:
        """Ends the queue also where it fails; who reads gets the pages before the error, then the error."""

        async def read(numbered: tuple[int, Strand]) -> bool:
            number, strand = numbered
            place = after.get(strand.id, 0)
            found = self._key_pages(place) if strand.operation == "Keys" else self._pages(strand, place)
            async for items in found:
                records = [self._make.record(strand.id, number, ordinal, key, item) for ordinal, key, item in items]
                if records:
                    await queue.put(records)
            return True

        failed: Exception | None = None
        try:
            await each(enumerate(strands(self._selection, self._table, consistent=True)), read)
            await asyncio.to_thread(self._check_same)
        except ExceptionGroup as errors:
            failed = _first(errors)
            if isinstance(failed, NotFound):
                failed = SourceLacks(
                    f"{self.uri} was deleted while it was read",
                    "What was read before went on its way. If there is a new table of that name, begin anew: --run.",
                )
        except SourceLacks as error:
            failed = error
        await queue.put(None)
        if failed is not None:
            raise failed

    def _check_same(self) -> None:
        """SourceLacks where another table has the name by now: its items were among those that were read."""
        with contextlib.suppress(AwsError):  # that it cannot be asked any more changes nothing of what was read
            table, _ = dynamodb.describe_table(self._aws, self._table.name)
            if table.id != self._table.id:
                raise SourceLacks(
                    f"{self.uri} was deleted and made anew while it was read: there are records of both",
                    "Begin anew under another --run.",
                )

    # ── pages of items ───────────────────────────────────────────────────────────────────────────────────

    async def _pages(self, strand: Strand, place: int) -> AsyncGenerator[_Items, None]:
        """Pages of items from behind the place on, without those that are gone."""
        behind: bytes | None = None
        ordinal = place + 1
        if self._journal is not None:
            while noted := await asyncio.to_thread(self._journal.after, strand.id, place):
                async for items in self._batches_of(noted):
                    yield items
                place = noted[-1][0]
            end = await asyncio.to_thread(self._journal.end, strand.id)
            if place > (end[0] if end is not None else 0):
                raise SourceLacks(
                    f"{self.uri}: the journal knows no item {place} of {strand.id}",
                    f"Was {self._journal_path} lost? Without it this run cannot go on; start a new one.",
                )
            if end is not None:
                last, behind = end
                ordinal = last + 1
                if behind is None:
                    return
        request = strand.request if self._whole else projected(strand, self._key_fields())
        async for page in pages(self._connected, strand.operation, request, _read, after=behind):
            if not page.items:
                continue
            keys = [self._key_of(item) for item in page.items]
            if self._journal is not None:
                await asyncio.to_thread(self._journal.write, strand.id, ordinal, keys, page.last_key)
            if self._whole:
                numbered = enumerate(zip(keys, page.items, strict=True), ordinal)
                yield [(number, key, bytes(item)) for number, (key, item) in numbered]
            else:
                async for items in self._batches_of(list(enumerate(keys, ordinal))):
                    yield items
            ordinal += len(keys)

    async def _key_pages(self, place: int) -> AsyncGenerator[_Items, None]:
        assert self._keys is not None
        while rows := self._keys.read(place, dynamodb.KEYS_A_CALL):
            async for items in self._batches_of(rows):
                yield items
            place = rows[-1][0]

    async def _batches_of(self, keys: Sequence[tuple[int, bytes]]) -> AsyncGenerator[_Items, None]:
        """The items of those (ordinal, key), in their order, without those that are gone and say nothing by that."""
        start = 0
        while start < len(keys):
            some = keys[start : start + self._keys_a_call]
            start += len(some)
            found = await self._items([key for _, key in some])
            if self._of_keys_alone:
                yield [(ordinal, key, found.get(key, b"")) for ordinal, key in some]
                continue
            self.gone += len(some) - len(found)
            yield [(ordinal, key, found[key]) for ordinal, key in some if key in found]

    def _key_fields(self) -> dict[str, str]:
        return {f"key_{number}": name for number, name in enumerate(self._table.key.names)}

    def _key_of(self, item: bytes | msgspec.Raw) -> bytes:
        """The canonical key of a whole item or of a key."""
        fields = self._pick_key(msgspec.json.decode(item, type=self._key_type))
        schema = self._table.key
        key = {schema.partition.name: msgspec.json.decode(fields.partition)}
        if schema.sort is not None:
            key[schema.sort.name] = msgspec.json.decode(fields.sort)
        return canonical_key(schema, key)

    async def _items(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Up to 100 items as they are now, whole, by their keys."""
        async with self._batches:
            items = await dynamodb.batch_get(self._connected, self._table.name, keys)
        found = {self._key_of(item): bytes(item) for item in items}
        size_bytes = sum(map(len, found.values()))
        if size_bytes:
            self._keys_a_call = max(1, min(dynamodb.KEYS_A_CALL, len(found) * BATCH_BYTES // size_bytes))
        return found

    @property
    def _connected(self) -> Wire:
        assert self._wire is not None, "use the source as a context manager"
        return self._wire


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
