"""Putting files: of one shard one after the other, create-only, each durable before the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pyarrow as pa

from restrike.archive.layout import StreamName, file_path, hour_of
from restrike.archive.opened import Opened
from restrike.archive.schema import About
from restrike.archive.writing import GrowingFile, Writer
from restrike.aws.together import together
from restrike.capturing.buffers import Buffer
from restrike.capturing.takeover import Tenure
from restrike.capturing.tally import CaptureTally
from restrike.stores.objects import Store

PUTS_SIDE_BY_SIDE = 4
MAX_COLLISIONS = 5

Settle = Callable[[str, Buffer], None]


class WholeFile(msgspec.Struct):
    """A file to put: its bytes, its first place, the hour that it is filed under, and its records."""

    data: bytes
    first: int
    hour: int
    records: int


class Puts:
    """Puts what the buffers hold into the archive of one stream."""

    def __init__(self, store: Store, stream: StreamName, tenure: Tenure, tally: CaptureTally) -> None:
        self._store = store
        self._stream = stream
        self._tenure = tenure
        self._tally = tally
        self._turns = asyncio.Semaphore(PUTS_SIDE_BY_SIDE)

    async def flush(self, buffers: dict[str, Buffer], settle: Settle) -> None:
        """Puts all that those hold, by shard; `settle` is called for each of which all is put."""
        await together(self._flush(shard, each, settle) for shard, each in buffers.items() if each.files)

    async def _flush(self, shard: str, buffer: Buffer, settle: Settle) -> None:
        async with self._turns:
            while buffer.files:
                hour, growing = buffer.files.popleft()
                await self._put(shard, hour, growing, buffer)
                self._tally.held_bytes -= growing.held_bytes
        settle(shard, buffer)

    async def _put(self, shard: str, hour: int, growing: GrowingFile, buffer: Buffer) -> None:
        tenure, tally, about = self._tenure, self._tally, growing.about
        if tenure.unsure(shard):
            place = await tenure.where_the_archive_is(shard)
            if place is not None and place >= growing.first:
                raise tenure.another(None)
        last = max(growing.last, buffer.behind)
        files = [WholeFile(growing.finish(tenure.shard(shard).last), growing.first, hour, growing.records)]
        if growing.first <= buffer.behind:
            files = await asyncio.to_thread(rest_of, files[0].data, about, buffer.behind)
        collisions = 0
        while files:
            file = files[0]
            await tenure.check_place()
            path = file_path(self._stream, file.hour, shard, file.first)
            if not await tenure.patiently(lambda path=path, data=file.data: self._store.create(path, data)):  # type: ignore[misc]  # bound now
                collisions += 1
                if collisions > MAX_COLLISIONS:
                    raise tenure.another(None)
                place = await tenure.place_of_the_winner(shard)
                buffer.behind = max(buffer.behind, place)
                if place != last:
                    files = [
                        rest for each in files for rest in await asyncio.to_thread(rest_of, each.data, about, place)
                    ]
                    last = max(last, place)
                    continue
                files = files[:1]  # it is there already
            files.pop(0)
            hour = file.hour
            tally.records += file.records
            tally.files += 1
            tally.written_bytes += len(file.data)
        tenure.has_put(shard, last, hour, growing.last_s)
        tally.first_s = growing.first_s if tally.first_s is None else min(tally.first_s, growing.first_s)
        tally.last_s = growing.last_s if tally.last_s is None else max(tally.last_s, growing.last_s)


def rest_of(data: bytes, about: About, last: int) -> list[WholeFile]:
    """The records of a file behind a place, as files of their own, cut where the hour changes."""
    whole = Opened(pa.BufferReader(data), about.shard)
    table = pa.concat_tables([whole.batch(group) for group in range(whole.groups)])
    numbers = table.column("sequence_number").to_pylist()
    begins: list[tuple[int, int]] = []
    for at, (number, created) in enumerate(zip(numbers, table.column("created_at").to_pylist(), strict=True)):
        hour = hour_of(created.timestamp())
        if int(number) > last and (not begins or hour > begins[-1][1]):
            begins.append((at, hour))
    files: list[WholeFile] = []
    follows = str(last)
    for (begin, hour), (end, _) in zip(begins, [*begins[1:], (len(numbers), 0)], strict=False):
        writer = Writer(about, whole.records)
        for batch in table.slice(begin, end - begin).to_batches():
            writer.add_batch(batch)
        data = writer.finish(numbers[begin], numbers[end - 1], follows)
        follows = numbers[end - 1]
        files.append(WholeFile(data, int(numbers[begin]), hour, end - begin))
    return files
