"""The source `jsonl:PATH` or `-`: records in a file, as GetRecords or Lambda has them, one JSON value after another.

A value is a record, a whole Lambda event (`{"Records": […]}`, whatever else it has), or a bare array of records as
EventBridge Pipes hands them. Between values there may be newlines, blanks or nothing, and they may be pretty-printed.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import sys
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from restrike.errors import SourceLacks, UsageError
from restrike.model.record import Fidelity, Record, read_record
from restrike.model.synthetic import is_made_up, is_net
from restrike.model.uri import STANDARD_INPUT, Uri
from restrike.model.window import Gap, Window
from restrike.sources import SourceInfo
from restrike.sources.jsonl.chunks import Both, Chunks, Frames, Input, Unbuffered
from restrike.sources.jsonl.extent import Extent, Measured
from restrike.sources.jsonl.splitter import ABSENT, PARSED_BYTES, Splitter, Value, decoded

CHUNK_BYTES = 1 << 18
MAX_PAGE_RECORDS = 1_000
LOOK_RECORDS = 100_000
LATEST_S = 253_402_300_800.0  # the year 10000, which no date can be of


class _Head(msgspec.Struct, rename="pascal"):
    stream_view_type: str | None = None


class _Viewed(msgspec.Struct):
    change: _Head = msgspec.field(name="dynamodb")


class JsonlSource:
    """The records of one file, in the order of the file, which is one shard named by its path.

    A place is the ordinal of a record in the file, from 1: sequence numbers may repeat there, within one file and
    even within one event. So a file that only grew can be resumed, and one that was changed otherwise is refused: what
    was read of it, by its bytes, is what a run stands on. A pipe gives its records once, and is refused too.

    `.gz` and `.zst` are unpacked on the way, the latter with the package `zstandard`. Memory holds one value (at most
    64 MB), a chunk of at most 8 MB, and of a `.zst` the window that it was packed with, at most 128 MB. `-` is standard
    input: it is read once, from its beginning, and `look` does not touch it.

    A record without an eventSourceARN, as GetRecords answers it, gets `stream_arn`. Records whose sequence numbers
    were made up by the source `table:` are synthetic, those of an export's net changes net, all others exact. A
    pretty-printed record loses its line breaks and indentation, and nothing else.

    SourceLacks names file, record, line and byte of what is no record. What stands before it has been yielded.
    """

    fidelity: Fidelity = "exact"

    def __init__(
        self,
        path: str,
        *,
        stream_arn: str = "",
        named: Uri | None = None,
        measures: bool = False,
        stood_on: Mapping[str, str] | None = None,
        again: str = "Put back the file that was read, or begin anew under another --run.",
    ) -> None:
        """`named`: as what a user knows it, where that is not this file (standard input that was spooled). `measures`:
        what is read is what a run will stand on. `stood_on`: what an earlier part of it had read; `again` is the hint
        where that is not there any more."""
        self.uri = named.text if named is not None else path if path == STANDARD_INPUT else f"jsonl:{path}"
        self._shard = named.rest if named is not None else path
        self.ended = ""
        self.gaps: list[Gap] = []
        self.drained: set[str] = set()
        self.started_s: float | None = None
        self.stands_on: Mapping[str, str] = stood_on or {}
        self._stood = Extent.of(self.stands_on)
        self._stands_bytes = 0 if self._stood is None else self._stood.size_bytes
        self._measures = measures
        self._again = again
        self._file: Measured | None = None
        self._path = path
        self._stream_arn = stream_arn
        self._begun = False

    async def __aenter__(self) -> Self:
        if self._path != STANDARD_INPUT:
            # What cannot be read is told before anything else is done. Not by opening it: it may be a named pipe.
            await asyncio.to_thread(self._check)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held between two readings."""

    async def look(self, window: Window) -> SourceInfo:
        """Reads the file, at most 100,000 records of it, and counts what is in the window."""
        if self._path == STANDARD_INPUT:
            return SourceInfo(how="standard input is read once, while it is replayed")
        count = seen = 0
        first_s: float | None = None
        last_s: float | None = None
        arns: set[str] = set()
        view_type: str | None = None
        at_least = False
        reading = self.read({}, window)
        try:
            async for records in reading:
                for record in records:
                    arns.add(record.stream_arn)
                    if window.holds(record.created_s):
                        count += 1
                        first_s = record.created_s if first_s is None else min(first_s, record.created_s)
                        last_s = record.created_s if last_s is None else max(last_s, record.created_s)
                if not seen:
                    view_type = _view_type(records[0])
                seen += len(records)
                if seen >= LOOK_RECORDS:
                    at_least = True
                    break
        finally:
            await reading.aclose()
        arn = next(iter(arns)) if len(arns) == 1 else None
        return SourceInfo(
            count=count,
            at_least=at_least,
            how=f"the first {seen:,} records of the file were read" if at_least else "the file was read",
            first_s=first_s,
            last_s=last_s,
            table_name=_table_name(arn),
            stream_arn=arn or None,
            view_type=view_type,
            warnings=(("several-streams", f"the file holds records of {len(arns)} streams"),) if len(arns) > 1 else (),
        )

    async def read(self, after: Mapping[str, int], window: Window) -> AsyncGenerator[list[Record], None]:
        place = after.get(self._shard, 0)
        if self._path == STANDARD_INPUT:
            if self._begun or place:
                raise UsageError("standard input can be read only once", "Put the records into a file to resume.")
            self._begun = True
        self.gaps = []
        self.ended = "stopped before its end"
        ordinal = 0
        splitter = Splitter("standard input" if self._path == STANDARD_INPUT else self._path)
        async with Chunks(self._open, splitter) as chunks:
            while True:
                # As much as is there, so that a pipe's records go on as they come; more for a value that is large.
                chunk = await chunks.next(max(CHUNK_BYTES, min(splitter.held_bytes, PARSED_BYTES)))
                splitter.feed(chunk)
                self._stand()
                page: list[Record] = []
                bad: SourceLacks | None = None
                try:
                    for value, known in splitter.values(last=not chunk):
                        for raw in self._records(value, known, splitter, ordinal):
                            ordinal += 1
                            if ordinal > place:
                                page.append(self._record(raw, ordinal, splitter))
                                if len(page) == MAX_PAGE_RECORDS:
                                    yield page
                                    page = []
                except SourceLacks as error:
                    bad = error
                if page:
                    yield page
                if bad is not None:
                    raise bad
                if not chunk:
                    break
        self.ended = f"end of the file: {ordinal:,} records"

    def _stand(self) -> None:
        """What was read stands for itself, once it is more than an earlier part of the run had read."""
        if self._file is not None:
            extent = self._file.extent
            if extent.size_bytes > self._stands_bytes:
                self.stands_on, self._stands_bytes = extent.as_parts(), extent.size_bytes

    def _records(
        self, value: bytes, known: Value | list[msgspec.Raw] | None, splitter: Splitter, ordinal: int
    ) -> list[Any]:
        """The records of one value, as bytes."""
        try:
            kind = known if known is not None else decoded(value)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise splitter.bad(f"record {ordinal + 1}: {error}") from None
        except RecursionError:
            raise splitter.bad(f"record {ordinal + 1} is nested too deep") from None
        if isinstance(kind, list):
            return kind
        if kind.records is not None:
            return kind.records
        if kind.change is ABSENT:
            raise splitter.bad(f"record {ordinal + 1}: an object without 'dynamodb' and without 'Records'")
        return [value]

    def _record(self, raw: Any, ordinal: int, splitter: Splitter) -> Record:
        one_line = bytes(raw)
        try:
            if b"\n" in one_line or b"\r" in one_line:
                # Strings hold no line breaks in JSON, so that only white space goes.
                one_line = msgspec.json.format(one_line, indent=-1)
            record = read_record(
                one_line, shard=self._shard, place=ordinal, stream_arn=self._stream_arn, fidelity="exact"
            )
        except (msgspec.MsgspecError, ValueError) as error:
            raise splitter.bad(f"record {ordinal} is no DynamoDB stream record: {error}") from None
        except RecursionError:
            raise splitter.bad(f"record {ordinal} is nested too deep") from None
        if not 0 <= record.created_s < LATEST_S:
            raise splitter.bad(f"record {ordinal} was created at no time: {record.created_s:g}")
        if is_made_up(record.sequence_number):
            record.fidelity = "synthetic"
        elif is_net(record.sequence_number):
            record.fidelity = "net"
        return record

    def _check(self) -> None:
        path = Path(self._path)
        why = None
        try:
            if path.is_dir():
                why = "it is a folder"
            elif not os.access(path, os.R_OK):
                path.stat()
                why = "it may not be read"
        except OSError as error:
            why = error.strerror
        if why is not None:
            hint = self._again if self._stood is not None else "Give a file of records, or -."
            raise UsageError(f"cannot read {self._path}: {why}", hint)
        if self._stood is not None:
            self._check_same(path, self._stood)
        if self._path.endswith(".zst"):
            self._zstandard()

    def _check_same(self, path: Path, stood: Extent) -> None:
        try:
            why = stood.why_not(path) if path.is_file() else "it is no file, and what it gave it gives only once"
        except OSError as error:
            why = error.strerror
        if why is not None:
            raise UsageError(f"{self._path} is not what this run has read: {why}", self._again)

    def _zstandard(self) -> Any:
        try:
            import zstandard
        except ImportError:
            raise UsageError(
                f"{self._path} is packed with Zstandard, and the package zstandard is not installed",
                "pip install zstandard, or unpack it: zstd -dc FILE | restrike … -",
            ) from None
        return zstandard

    def _open(self) -> Input:
        if self._path == STANDARD_INPUT:
            if sys.stdin is None:
                raise UsageError("standard input is closed", "Give the records there, or name a file: jsonl:PATH.")
            return Unbuffered(sys.stdin.fileno())
        try:
            raw: Any = Path(self._path).open("rb")  # noqa: SIM115 - `Chunks` closes it
        except OSError as error:
            raise UsageError(f"cannot read {self._path}: {error.strerror}", "Give a file of records, or -.") from None
        if self._measures:
            raw = self._file = Measured(raw)
        if self._path.endswith(".gz"):
            return Both(gzip.GzipFile(fileobj=raw), raw)
        if self._path.endswith(".zst"):
            return Frames(self._zstandard().ZstdDecompressor(), raw)
        plain: Input = raw
        return plain


def _view_type(record: Record) -> str | None:
    try:
        return msgspec.json.decode(record.raw, type=_Viewed).change.stream_view_type
    except msgspec.MsgspecError:
        return None


def _table_name(arn: str | None) -> str | None:
    match = re.fullmatch(r"arn:[^:]+:dynamodb:[^:]*:[^:]*:table/([^/]+)(/.*)?", arn or "")
    return match[1] if match else None
