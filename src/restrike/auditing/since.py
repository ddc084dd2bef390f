"""What was written to the table since the other side was read, by an archive and by the table's stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import cast

import msgspec

from restrike.archive import require_packages
from restrike.auditing.book import Book
from restrike.aws.session import Aws
from restrike.aws.streams import RETENTION_S
from restrike.errors import AccessDenied, RestrikeError
from restrike.model.record import Record
from restrike.model.table import TableInfo, canonical_key
from restrike.model.times import iso
from restrike.model.window import Gap, Window
from restrike.running.stop import Stop
from restrike.sources import Source
from restrike.sources.stream.reading import StreamSource

LOCAL_REGION = "ddblocal"
"""In the ARNs of DynamoDB Local, which stamps records with whole minutes."""
OVERLAP_S = 120.0
"""So far before its end an archive's records are looked for in the stream too."""


class Since:
    """Marks in the book what was written at or after `as_of_s` (epoch seconds, the service's clock).

    A record's stamp is cut to the second: one of that very second counts as written since.
    """

    def __init__(self, aws: Aws, table: TableInfo, book: Book, as_of_s: float, stop: Stop) -> None:
        self._aws = aws
        self._table = table
        self._book = book
        self._from_s = as_of_s - as_of_s % (60 if table.region == LOCAL_REGION else 1)
        self._as_of_s = as_of_s
        self._stop = stop
        self.records = 0

    async def look(self, archive: str | None, on_progress: Callable[[], None]) -> str:
        """Reads both as far as it is needed. Returns why it cannot be told of all differences whether they have moved;
        empty where it can."""
        from_s, told = self._from_s, ""
        if archive is not None:
            to_s, told = await self._archive(archive, on_progress)
            if to_s is not None:
                from_s = max(from_s, to_s - OVERLAP_S)
        if self._stop.is_set():
            return "the run was stopped"
        of_stream = await self._stream(from_s, on_progress)
        return f"{told}; {of_stream}".strip("; ") if of_stream else ""

    async def _stream(self, from_s: float, on_progress: Callable[[], None]) -> str:
        """Why the stream does not tell all from then on; empty where it does."""
        arn = self._table.stream_arn
        if arn is None:
            return f"table {self._table.name} has no stream"
        try:
            gaps = await self._read(StreamSource(self._aws, self._table.name), from_s, on_progress)
        except AccessDenied as error:
            actions = "dynamodb:DescribeStream, dynamodb:GetShardIterator, dynamodb:GetRecords"
            return f"the stream may not be read ({error.message}): allow {actions}"
        except RestrikeError as error:
            return f"the stream cannot be read: {error.message}"
        if gaps:
            return f"the stream has lost records: {gaps[0].why}"
        begun_s = _begun_s(arn)
        late = begun_s is not None and begun_s > max(from_s, self._as_of_s)
        return f"the stream was switched on at {iso(begun_s or 0.0)}" if late else ""

    async def _archive(self, place: str, on_progress: Callable[[], None]) -> tuple[float | None, str]:
        """Up to when the archive tells all (epoch seconds), None where it does not begin to; and what it lacks."""
        try:
            begins_s, ends_s = await asyncio.to_thread(self._span, place)
            from restrike.sources.archive.reading import ArchiveSource

            source = ArchiveSource(lambda: self._aws, place, skips_damaged=True)
            gaps = await self._read(source, self._from_s, on_progress)
        except RestrikeError as error:
            return None, f"the archive cannot be read: {error.message}"
        if gaps:
            return None, f"the archive has a gap: {gaps[0].why}"
        if begins_s > self._as_of_s:
            return None, f"the archive begins at {iso(begins_s)}"
        return ends_s, f"the archive ends at {iso(ends_s)}"

    def _span(self, place: str) -> tuple[float, float]:
        """From when to when the archive has all, but for its gaps."""
        require_packages()
        from restrike.archive.reader import open_archive
        from restrike.archive.state import load

        store, names = open_archive(place, lambda: self._aws)
        states = [found[0] for name in names if (found := load(store, name)) is not None]
        if not states:
            return float("inf"), float("-inf")
        first, last = states[0], states[-1]
        memory_s = first.began_s if first.latest else first.began_s - RETENTION_S
        return first.since_s if first.since_s is not None else memory_s, last.oldest_s

    async def _read(self, source: Source, from_s: float, on_progress: Callable[[], None]) -> list[Gap]:
        async with source:
            # All sources are generators.
            pages = cast("AsyncGenerator[list[Record], None]", source.read({}, Window(since_s=from_s)))
            async with contextlib.aclosing(pages):
                async for records in pages:
                    self._note(records)
                    on_progress()
                    if self._stop.is_set():
                        break
            return list(source.gaps)

    def _note(self, records: list[Record]) -> None:
        self.records += len(records)
        schema = self._table.key
        self._book.note_changed(
            canonical_key(schema, msgspec.json.decode(record.keys))
            for record in records
            if record.created_s >= self._from_s
        )


def _begun_s(stream_arn: str) -> float | None:
    """When the stream was switched on, by its label (epoch seconds); None where that tells nothing."""
    try:
        return datetime.fromisoformat(stream_arn.rpartition("/")[2]).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
