"""The source `table:TABLE`: synthetic records of the selected items, as they are now.

What is made up: eventID, SequenceNumber, SizeBytes (an approximation), ApproximateCreationDateTime (when the item was
read), and the stream's ARN where the table has no stream. Images are the item's bytes as they were answered.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec

from restrike.aws import dynamodb
from restrike.aws.dynamodb import decode
from restrike.aws.session import Aws
from restrike.aws.wire import Wire, retry_delay_s
from restrike.errors import SourceLacks, Throttled, UsageError
from restrike.model.record import EventName, Fidelity, Record
from restrike.model.selection import KeyList, Scan, Selection, Strand, projected, strands
from restrike.model.table import TableInfo, canonical_key
from restrike.model.window import Gap, Window
from restrike.sources import SourceInfo

READERS = 8  # strands that are read at the same time
QUEUED_PAGES = 2
KEYS_A_CALL = 100  # the limit of BatchGetItem
BATCHES = 4  # BatchGetItem under way
BATCH_BYTES = 4 << 20  # of items that are aimed at: 100 of 400 KB would be 40 MB
UNANSWERED_ROUNDS = 30  # of UnprocessedKeys without a single item
COUNT_PAGES = 25
NO_STREAM = "/stream/1970-01-01T00:00:00.000"

_PREFIX = "9999"
_STRAND_DIGITS, _ORDINAL_DIGITS = 6, 30
_DIGITS = len(_PREFIX) + _STRAND_DIGITS + _ORDINAL_DIGITS


def made_up_number(strand: int, ordinal: int) -> str:
    """A SequenceNumber of 40 digits, the most that there are: 9999, the strand, the ordinal. It ascends in a strand."""
    return f"{_PREFIX}{strand:0{_STRAND_DIGITS}d}{ordinal:0{_ORDINAL_DIGITS}d}"


def is_made_up(sequence_number: str) -> bool:
    """Whether `made_up_number` made it: no stream has numbers of that length that begin so."""
    return len(sequence_number) == _DIGITS and sequence_number.startswith(_PREFIX)


_Items = list[tuple[int, bytes]]
"""(Ordinal, whole item)."""


class Keys(Protocol):
    """The keys of a KeyList, in the order of their positions, from 1 on; `touching.keys.KeyFile` is one."""

    def read(self, after: int, limit: int) -> list[tuple[int, bytes]]: ...


_ABSENT = msgspec.Raw(b"null")  # msgspec takes no Raw in a union


class _Page(msgspec.Struct, rename="pascal"):
    items: list[msgspec.Raw] = msgspec.field(default_factory=list)
    last_evaluated_key: msgspec.Raw = _ABSENT

    @property
    def behind(self) -> bytes | None:
        return None if self.last_evaluated_key is _ABSENT else bytes(self.last_evaluated_key)


class _Count(_Page, rename="pascal"):
    count: int = 0


class _Batch(msgspec.Struct, rename="pascal"):
    responses: dict[str, list[msgspec.Raw]] = {}
    unprocessed_keys: dict[str, msgspec.Raw] = {}


_page = msgspec.json.Decoder(_Page)
_count = msgspec.json.Decoder(_Count)
_batch = msgspec.json.Decoder(_Batch)


class Journal:
    """The keys of the pages that were read, on disk before their records are handed out, so that places hold.

    One row a page: the strand, the ordinal of its first item, the canonical keys, and the key to read on behind
    (None at the strand's end). A power cut takes no row that was written.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._lock = threading.Lock()
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS pages"
            " (strand TEXT, first INTEGER, count INTEGER, keys BLOB, behind BLOB, PRIMARY KEY (strand, first))"
        )

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def write(self, strand: str, first: int, keys: Sequence[bytes], behind: bytes | None) -> None:
        with self._lock:
            row = (strand, first, len(keys), b"[" + b",".join(keys) + b"]", behind)
            self._db.execute("INSERT INTO pages VALUES (?, ?, ?, ?, ?)", row)

    def after(self, strand: str, place: int) -> list[tuple[int, bytes]]:
        """The (ordinal, key) behind that place, of the next page that has any."""
        with self._lock:
            row = self._db.execute(
                "SELECT first, keys FROM pages WHERE strand = ? AND first + count - 1 > ? ORDER BY first LIMIT 1",
                (strand, place),
            ).fetchone()
        if row is None:
            return []
        first, text = row
        keys = enumerate(msgspec.json.decode(text, type=list[msgspec.Raw]), first)
        return [(ordinal, bytes(key)) for ordinal, key in keys if ordinal > place]

    def end(self, strand: str) -> tuple[int, bytes | None] | None:
        """The last ordinal of the strand, and the key to read on behind; None where nothing was read."""
        with self._lock:
            row = self._db.execute(
                "SELECT first + count - 1, behind FROM pages WHERE strand = ? ORDER BY first DESC LIMIT 1", (strand,)
            ).fetchone()
        return (int(row[0]), row[1]) if row is not None else None


class TableSource:
    """The selected items, each as one record. A strand is a partition key, a day, a segment of a scan, or a key file.

    `as_event` INSERT has a NewImage only, REMOVE an OldImage only, MODIFY both, of which the old one is the item
    too, or left out without `old_image`. The stream's view type takes away what it does not show; a table without
    a stream shows both.

    Whole items come with the page where the table itself is read (consistently) or an index that projects ALL (as
    the index has them). For any other index and for a key list the keys come first and the items from BatchGetItem,
    consistently; an item that is gone by then is left out and counted in `gone`.

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
    ) -> None:
        if not old_image and as_event != "MODIFY":
            raise UsageError(f"--no-old-image goes with --as MODIFY, not with {as_event}")
        if isinstance(selection.what, KeyList) and keys is None:
            raise UsageError("a selection of keys needs the keys", "Give the spooled file.")
        self.uri = f"table:{table.name}"
        self.ended = ""
        self.gaps: list[Gap] = []
        self.drained: set[str] = set()
        self.gone = 0
        self._aws = aws
        self._table = table
        self._selection = selection
        self._keys = keys
        self._journal_path = journal
        self._journal: Journal | None = None
        self._wire: Wire | None = None
        index = table.index(selection.index) if selection.index else None
        self._whole = not isinstance(selection.what, KeyList) and (index is None or index.projection == "ALL")
        self._make = _Maker(table, as_event, old_image=old_image, salt=salt)
        # The key alone, whatever its attributes are called.
        fields = {"partition": table.key.partition.name, "sort": table.key.sort.name if table.key.sort else None}
        self._key_type, self._pick_key = dynamodb.attributes_type(fields, msgspec.Raw)
        self._batches = asyncio.Semaphore(BATCHES)
        self._keys_a_call = KEYS_A_CALL  # fewer where items are large

    async def __aenter__(self) -> Self:
        if self._journal_path is not None and self._keys is None:
            self._journal = await asyncio.to_thread(Journal, self._journal_path)
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
        """Counts by Select=COUNT, at most 25 pages; a whole table by its own figure, some six hours old."""
        count, at_least, how = await self._counted()
        return SourceInfo(
            count=count,
            at_least=at_least,
            how=how,
            table_name=self._table.name,
            stream_arn=self._make.stream_arn,
            view_type=self._make.view_type,
        )

    async def _counted(self) -> tuple[int, bool, str]:
        what = self._selection.what
        if isinstance(what, KeyList):
            return what.count, False, "the keys that were given; items that are gone are left out"
        count = pages = 0
        for strand in strands(self._selection, self._table):
            behind: bytes | None = None
            while True:
                if pages == COUNT_PAGES:
                    return self._by_the_tables_figure(count)
                request = strand.request | {"Select": "COUNT"} | _behind(behind)
                page = decode(_count, await self._call(strand.operation, request), strand.operation)
                count += page.count
                pages += 1
                behind = page.behind
                if behind is None:
                    break
        return count, False, f"counted in {pages} pages"

    def _by_the_tables_figure(self, counted: int) -> tuple[int, bool, str]:
        known = self._table.index(self._selection.index) if self._selection.index else self._table
        if isinstance(self._selection.what, Scan) and self._selection.filter is None and known.item_count > counted:
            return known.item_count, False, "DynamoDB's own figure, some six hours old"
        return counted, True, f"counted in {COUNT_PAGES} pages, and there are more"

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
        each = enumerate(strands(self._selection, self._table, consistent=True))
        failed: Exception | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(READERS):
                    group.create_task(self._reader(each, after, queue))
        except ExceptionGroup as errors:
            failed = _first(errors)
        await queue.put(None)
        if failed is not None:
            raise failed

    async def _reader(
        self, each: Iterator[tuple[int, Strand]], after: Mapping[str, int], queue: asyncio.Queue[list[Record] | None]
    ) -> None:
        # The strands come from one iterator: each reader takes the next when it is done with its own.
        for number, strand in each:
            place = after.get(strand.id, 0)
            pages = self._key_pages(place) if strand.operation == "Keys" else self._pages(strand, place)
            async for items in pages:
                records = [
                    self._make.record(strand.id, number, ordinal, self._key_of(item), item) for ordinal, item in items
                ]
                if records:
                    await queue.put(records)

    # ── pages of items ───────────────────────────────────────────────────────────────────────────────────

    async def _pages(self, strand: Strand, place: int) -> AsyncGenerator[_Items, None]:
        """Pages of (ordinal, whole item) from behind the place on, without those that are gone."""
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
        while True:
            body = await self._call(strand.operation, request | _behind(behind))
            page = decode(_page, body, strand.operation)
            del body
            behind = page.behind
            if page.items:
                keys = [self._key_of(item) for item in page.items]
                if self._journal is not None:
                    await asyncio.to_thread(self._journal.write, strand.id, ordinal, keys, behind)
                if self._whole:
                    yield [(number, bytes(item)) for number, item in enumerate(page.items, ordinal)]
                else:
                    async for items in self._batches_of(list(enumerate(keys, ordinal))):
                        yield items
                ordinal += len(keys)
            if behind is None:
                return

    async def _key_pages(self, place: int) -> AsyncGenerator[_Items, None]:
        assert self._keys is not None
        while rows := self._keys.read(place, KEYS_A_CALL):
            async for items in self._batches_of(rows):
                yield items
            place = rows[-1][0]

    async def _batches_of(self, keys: Sequence[tuple[int, bytes]]) -> AsyncGenerator[_Items, None]:
        """The items of those (ordinal, key), in their order, without those that are gone."""
        start = 0
        while start < len(keys):
            some = keys[start : start + self._keys_a_call]
            start += len(some)
            found = await self._items([key for _, key in some])
            self.gone += len(some) - len(found)
            yield [(ordinal, found[key]) for ordinal, key in some if key in found]

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
        found: dict[bytes, bytes] = {}
        name = self._table.name
        request = b'{"Keys":[' + b",".join(keys) + b'],"ConsistentRead":true}'
        pending = {name: msgspec.Raw(request)}
        without = 0
        async with self._batches:
            while pending:
                body = await self._call("BatchGetItem", {"RequestItems": pending})
                answer = decode(_batch, body, "BatchGetItem")
                items = [item for of_table in answer.responses.values() for item in of_table]
                for item in items:
                    found[self._key_of(item)] = bytes(item)
                pending = answer.unprocessed_keys
                # 16 MB fill an answer, and under load some keys wait for another time.
                if pending and not items:
                    without += 1
                    if without == UNANSWERED_ROUNDS:
                        raise Throttled(
                            f"BatchGetItem: table {name} does not answer for {len(keys) - len(found)} keys",
                            "Its read capacity is used up. Try again later.",
                        )
                    await asyncio.sleep(retry_delay_s(without))
        size_bytes = sum(map(len, found.values()))
        if size_bytes:
            self._keys_a_call = max(1, min(KEYS_A_CALL, len(found) * BATCH_BYTES // size_bytes))
        return found

    async def _call(self, operation: str, request: Mapping[str, Any]) -> bytes:
        assert self._wire is not None, "use the source as a context manager"
        return await self._wire.call(operation, msgspec.json.encode(request))


def _behind(key: bytes | None) -> dict[str, msgspec.Raw]:
    return {} if key is None else {"ExclusiveStartKey": msgspec.Raw(key)}


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


class _Maker:
    """Makes records of items: all that is the same in each is made once."""

    def __init__(self, table: TableInfo, as_event: EventName, *, old_image: bool, salt: str) -> None:
        self.stream_arn = table.stream_arn or table.arn + NO_STREAM
        self.view_type = table.view_type or "NEW_AND_OLD_IMAGES"
        self._event = as_event
        self._new = as_event != "REMOVE" and self.view_type in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES")
        old = as_event == "REMOVE" or (as_event == "MODIFY" and old_image)
        self._old = old and self.view_type in ("OLD_IMAGE", "NEW_AND_OLD_IMAGES")
        self._digest = hashlib.blake2b(
            b"\0".join(each.encode() for each in (salt, table.arn, as_event)), digest_size=16
        )
        self._before_time = (
            b'","eventName":"%b","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":%b,'
            b'"dynamodb":{"ApproximateCreationDateTime":' % (as_event.encode(), msgspec.json.encode(table.region))
        )
        self._tail = b',"StreamViewType":"%b"},"eventSourceARN":%b}' % (
            self.view_type.encode(),
            msgspec.json.encode(self.stream_arn),
        )

    def record(self, shard: str, strand: int, ordinal: int, key: bytes, item: bytes) -> Record:
        number = made_up_number(strand, ordinal)
        created_s = int(time.time())
        digest = self._digest.copy()
        digest.update(b"%b\0%b" % (number.encode(), key))
        image = (b',"NewImage":' + item if self._new else b"") + (b',"OldImage":' + item if self._old else b"")
        size_bytes = len(key) + len(item) * (self._new + self._old)
        raw = b"".join(
            (
                b'{"eventID":"',
                digest.hexdigest().encode(),
                self._before_time,
                b"%d" % created_s,
                b',"Keys":',
                key,
                image,
                b',"SequenceNumber":"%b","SizeBytes":%d' % (number.encode(), size_bytes),
                self._tail,
            )
        )
        return Record(raw, shard, ordinal, self._event, key, number, float(created_s), self.stream_arn, "synthetic")
