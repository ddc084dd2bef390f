"""The source `jsonl:PATH` or `-`: records in a file, as GetRecords or Lambda has them, one JSON value after another.

A value is a record, a whole Lambda event (`{"Records": […]}`, whatever else it has), or a bare array of records as
EventBridge Pipes hands them. Between values there may be newlines, blanks or nothing, and they may be pretty-printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import re
import sys
import threading
import zlib
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec

from restrike.errors import RestrikeError, SourceLacks, UsageError
from restrike.model.record import Fidelity, Record, read_record
from restrike.model.window import Gap, Window
from restrike.sources import SourceInfo
from restrike.sources.table import is_made_up

STANDARD_INPUT = "-"
CHUNK_BYTES = 1 << 18
MAX_VALUE_BYTES = 64 << 20  # of one JSON value; a Lambda event holds 6 MB
MAX_PAGE_RECORDS = 1_000
LOOK_RECORDS = 100_000
PARSED_BYTES = 8 << 20  # of a value that is not all there: below, it is parsed anew with each chunk

_WHITE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_TOKEN = re.compile(rb'[\[{\]}]|"[^"\\]*+(?:\\.[^"\\]*+)*+"|"', re.DOTALL)
"""What tells where a value ends: brackets outside of strings. A lone quote is a string that is not all there yet."""


_ABSENT = msgspec.Raw(b"null")  # msgspec takes no Raw in a union


class _Value(msgspec.Struct, gc=False):
    """Tells an event from a record."""

    records: list[msgspec.Raw] | None = msgspec.field(name="Records", default=None)
    change: msgspec.Raw = msgspec.field(name="dynamodb", default=_ABSENT)


class _Head(msgspec.Struct, rename="pascal"):
    stream_view_type: str | None = None


class _Viewed(msgspec.Struct):
    change: _Head = msgspec.field(name="dynamodb")


_value = msgspec.json.Decoder(_Value)
_array = msgspec.json.Decoder(list[msgspec.Raw])


def decoded(value: bytes) -> _Value | list[msgspec.Raw]:
    """A JSON value as what this source knows: an array of records, an event or a record."""
    return _array.decode(value) if value[0] == 0x5B else _value.decode(value)


class Splitter:
    """Cuts concatenated JSON values out of bytes that come in chunks; holds one value and one chunk at most.

    A line that holds exactly one value, the usual case, is taken as a whole; anything else is scanned for its
    brackets.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._buffer = bytearray()
        self._scanned = 0  # of the buffer; up to there brackets are counted
        self._depth = 0
        self._known: tuple[bytes, _Value | list[msgspec.Raw]] | None = None  # the first value, decoded
        self._offset = 0  # of the buffer's first byte in the text
        self._line = 1

    def feed(self, chunk: bytes) -> None:
        self._buffer += chunk

    @property
    def where(self) -> str:
        """The place of the next value, for people; bytes are those of the text, before compression."""
        return f"line {self._line}, byte {self._offset}"

    @property
    def held_bytes(self) -> int:
        return len(self._buffer)

    def values(self, *, last: bool) -> Iterator[tuple[bytes, _Value | list[msgspec.Raw] | None]]:
        """The values that are all there, and what they decode to where that is known already.

        `last`: no more chunks come. `where` is that of the value yielded last.
        """
        if self._offset == 0:
            if self._buffer.startswith(_BOM):
                self._drop(len(_BOM))
            elif _BOM.startswith(self._buffer) and not last:
                return
        while True:
            self._skip_white()
            if not self._buffer:
                return
            end = self._end(last=last)
            if end is None:
                if len(self._buffer) > MAX_VALUE_BYTES:
                    raise SourceLacks(
                        f"{self._name}, {self.where}: a value of more than {MAX_VALUE_BYTES >> 20} MB",
                        "A Lambda event holds at most 6 MB: is this a file of records?",
                    )
                if last:
                    raise SourceLacks(
                        f"{self._name}, {self.where}: the text ends in the middle of a value",
                        "Was the file cut off? What stands before it was read.",
                    )
                return
            known, self._known = self._known, None
            yield known or (bytes(memoryview(self._buffer)[:end]), None)
            self._drop(end)

    def _skip_white(self) -> None:
        start = 0
        while start < len(self._buffer) and self._buffer[start] in _WHITE:
            start += 1
        if start:
            self._drop(start)

    def _drop(self, count: int) -> None:
        self._line += self._buffer.count(b"\n", 0, count)
        self._offset += count
        del self._buffer[:count]
        self._scanned = self._depth = 0

    def _end(self, *, last: bool) -> int | None:
        """The end of the first value; None where it is not all there."""
        if not self._scanned:
            end = self._line_end(last=last)
            if end is not None:
                return end
            # A line that goes on in the next chunk: parsing it to see that is ten times faster than scanning it.
            if b"\n" not in self._buffer and len(self._buffer) < PARSED_BYTES and self._is_truncated():
                return None
        return self._value_end()

    def _is_truncated(self) -> bool:
        try:
            msgspec.json.decode(self._buffer, type=msgspec.Raw)
        except msgspec.DecodeError as error:
            return str(error) == "Input data was truncated"
        return False

    def _line_end(self, *, last: bool) -> int | None:
        """The end of the value on the first line, where that line looks like one value and is one."""
        end = self._buffer.find(b"\n")
        if end < 0:
            if not last:
                return None
            end = len(self._buffer)
        while end and self._buffer[end - 1] in _WHITE:
            end -= 1
        if self._buffer[end - 1] not in b"}]":
            return None
        value = bytes(memoryview(self._buffer)[:end])
        try:
            self._known = value, decoded(value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return end

    def _value_end(self) -> int | None:
        """Counts brackets on from where the last call ended; None where the value is not all there."""
        if self._buffer[0] not in b"{[":
            raise self.bad("neither an object nor an array begins here")
        for match in _TOKEN.finditer(self._buffer, self._scanned):
            token = self._buffer[match.start()]
            if token == 0x22:
                if match.end() - match.start() == 1:
                    self._scanned = match.start()
                    return None
            elif token in b"{[":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 0:
                    return match.end()
        self._scanned = len(self._buffer)
        return None

    def bad(self, why: str) -> SourceLacks:
        return SourceLacks(
            f"{self._name}, {self.where}: {why}",
            "A value is a stream record, an event with Records, or an array of records.",
        )


class _Input(Protocol):
    def read1(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class JsonlSource:
    """The records of one file, in the order of the file, which is one shard named by its path.

    A place is the ordinal of a record in the file, from 1: sequence numbers may repeat there, within one file and
    even within one event. A file that only grew can be resumed; one that was changed otherwise cannot.

    `.gz` and `.zst` are unpacked on the way, the latter with the package `zstandard`. Memory holds one value (at most
    64 MB) and a chunk. `-` is standard input: it is read once, from its beginning, and `look` does not touch it.

    A record without an eventSourceARN, as GetRecords answers it, gets `stream_arn`. Records whose sequence numbers
    were made up by the source `table:` are synthetic, all others exact. A pretty-printed record loses its line
    breaks and indentation, and nothing else.

    SourceLacks names file, record, line and byte of what is no record. What stands before it has been yielded.
    """

    fidelity: Fidelity = "exact"

    def __init__(self, path: str, *, stream_arn: str = "") -> None:
        self.uri = path if path == STANDARD_INPUT else f"jsonl:{path}"
        self.ended = ""
        self.gaps: list[Gap] = []
        self.drained: set[str] = set()
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
        place = after.get(self._path, 0)
        if self._path == STANDARD_INPUT:
            if self._begun or place:
                raise UsageError("standard input can be read only once", "Put the records into a file to resume.")
            self._begun = True
        self.gaps = []
        self.ended = "stopped before its end"
        ordinal = 0
        splitter = Splitter("standard input" if self._path == STANDARD_INPUT else self._path)
        async with _Chunks(self._open, splitter) as chunks:
            while True:
                # As much as is there, so that a pipe's records go on as they come; more for a value that is large.
                chunk = await chunks.next(max(CHUNK_BYTES, splitter.held_bytes))
                splitter.feed(chunk)
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

    def _records(
        self, value: bytes, known: _Value | list[msgspec.Raw] | None, splitter: Splitter, ordinal: int
    ) -> list[Any]:
        """The records of one value, as bytes."""
        try:
            kind = known if known is not None else decoded(value)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise splitter.bad(f"record {ordinal + 1}: {error}") from None
        if isinstance(kind, list):
            return kind
        if kind.records is not None:
            return kind.records
        if kind.change is _ABSENT:
            raise splitter.bad(f"record {ordinal + 1}: an object without 'dynamodb' and without 'Records'")
        return [value]

    def _record(self, raw: Any, ordinal: int, splitter: Splitter) -> Record:
        one_line = bytes(raw)
        try:
            if b"\n" in one_line or b"\r" in one_line:
                # Strings hold no line breaks in JSON, so that only white space goes.
                one_line = msgspec.json.format(one_line, indent=-1)
            record = read_record(
                one_line, shard=self._path, place=ordinal, stream_arn=self._stream_arn, fidelity="exact"
            )
        except (msgspec.MsgspecError, ValueError) as error:
            raise splitter.bad(f"record {ordinal} is no DynamoDB stream record: {error}") from None
        if is_made_up(record.sequence_number):
            record.fidelity = "synthetic"
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
            raise UsageError(f"cannot read {self._path}: {why}", "Give a file of records, or -.")
        if self._path.endswith(".zst"):
            self._zstandard()

    def _zstandard(self) -> Any:
        try:
            import zstandard
        except ImportError:
            raise UsageError(
                f"{self._path} is packed with Zstandard, and the package zstandard is not installed",
                "pip install zstandard, or unpack it: zstd -dc FILE | restrike … -",
            ) from None
        return zstandard

    def _open(self) -> _Input:
        if self._path == STANDARD_INPUT:
            return _Unbuffered(sys.stdin.fileno())
        try:
            raw = Path(self._path).open("rb")  # noqa: SIM115 - `_Chunks` closes it
        except OSError as error:
            raise UsageError(f"cannot read {self._path}: {error.strerror}", "Give a file of records, or -.") from None
        if self._path.endswith(".gz"):
            return _Both(gzip.GzipFile(fileobj=raw), raw)
        if self._path.endswith(".zst"):
            return _Frames(self._zstandard().ZstdDecompressor(), raw)
        return raw


def _view_type(record: Record) -> str | None:
    try:
        return msgspec.json.decode(record.raw, type=_Viewed).change.stream_view_type
    except msgspec.MsgspecError:
        return None


def _table_name(arn: str | None) -> str | None:
    match = re.fullmatch(r"arn:[^:]+:dynamodb:[^:]*:[^:]*:table/([^/]+)(/.*)?", arn or "")
    return match[1] if match else None


_PACKED_BYTES = 16 << 10  # read at once; unpacked they are a few hundred kilobytes


class _Both:
    """A stream that unpacks, and the file under it, closed together."""

    def __init__(self, unpacking: Any, under: Any) -> None:
        self._unpacking = unpacking
        self._under = under

    def read1(self, size: int, /) -> bytes:
        chunk: bytes = self._unpacking.read1(size)
        return chunk

    def close(self) -> None:
        self._unpacking.close()
        self._under.close()


class _Frames:
    """A file of Zstandard frames. One that was cut off inside a frame is an error, also where a value ends there:
    the library's own reader takes that for the end."""

    def __init__(self, decompressor: Any, under: Any) -> None:
        self._decompressor = decompressor
        self._under = under
        self._frame: Any = None
        self._packed = b""

    def read1(self, size: int, /) -> bytes:
        while True:
            if not self._packed:
                self._packed = self._under.read(_PACKED_BYTES)
            if not self._packed:
                if self._frame is not None:
                    raise EOFError("it ends within a Zstandard frame: it was cut off")
                return b""
            if self._frame is None:
                self._frame = self._decompressor.decompressobj()
            chunk: bytes = self._frame.decompress(self._packed)
            self._packed = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = None
            if chunk:
                return chunk

    def close(self) -> None:
        self._under.close()


class _Unbuffered:
    """Standard input by its descriptor: Python's own reader holds a lock that a waiting thread would keep at exit."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read1(self, size: int, /) -> bytes:
        return os.read(self._descriptor, size)

    def close(self) -> None:
        """It is not ours."""


class _Chunks:
    """Opens and reads a file in a thread, a chunk when it is asked for one.

    Not asyncio's executor: that waits at exit for its threads, and a pipe that stays silent would hold up Ctrl-C.
    """

    def __init__(self, opened: Callable[[], _Input], splitter: Splitter) -> None:
        self._opened = opened
        self._splitter = splitter
        self._lock = threading.Lock()
        self._input: _Input | None = None
        self._reading = False
        self._left = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._left = True
            if not self._reading:
                self._close()  # otherwise the thread does, when its read returns

    def _close(self) -> None:
        if self._input is not None:
            self._input.close()
            self._input = None

    def _read(self, size: int) -> bytes | Exception:
        answer: bytes | Exception
        try:
            if self._input is None:
                self._input = self._opened()
            answer = self._input.read1(size)
        except Exception as error:
            answer = error
        with self._lock:
            self._reading = False
            if self._left:
                self._close()
        return answer

    async def next(self, size: int) -> bytes:
        """Up to that many bytes, as soon as there are any; empty at the end."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes | Exception] = loop.create_future()

        def settle(answer: bytes | Exception) -> None:
            if not future.done():
                future.set_result(answer)

        def work() -> None:
            answer = self._read(size)
            with contextlib.suppress(RuntimeError):  # the loop is gone, and with it whoever asked
                loop.call_soon_threadsafe(settle, answer)

        self._reading = True
        threading.Thread(target=work, name="restrike-jsonl", daemon=True).start()
        answer = await future
        if isinstance(answer, bytes):
            return answer
        raise self._unreadable(answer)

    def _unreadable(self, error: Exception) -> Exception:
        if isinstance(error, RestrikeError):
            return error
        if isinstance(error, OSError | EOFError | zlib.error) or type(error).__name__ == "ZstdError":
            return self._splitter.bad(f"cannot be read: {error}")
        return error
