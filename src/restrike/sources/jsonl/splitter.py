"""Concatenated JSON values cut out of bytes that come in chunks, whatever stands between them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from restrike.errors import SourceLacks

MAX_VALUE_BYTES = 64 << 20  # of one JSON value; a Lambda event holds 6 MB
PARSED_BYTES = 8 << 20  # of a value that is not all there: below, it is parsed anew with each chunk

_WHITE = b" \t\r\n"
_BLANKS = re.compile(rb"[ \t\r\n]*+")
_BOM = b"\xef\xbb\xbf"
_TOKEN = re.compile(rb'[\[{\]}]|"[^"\\]*+(?:\\.[^"\\]*+)*+"|"', re.DOTALL)
"""What tells where a value ends: brackets outside of strings. A lone quote is a string that is not all there yet."""


ABSENT = msgspec.Raw(b"null")  # msgspec takes no Raw in a union


class Value(msgspec.Struct, gc=False):
    """Tells an event from a record."""

    records: list[msgspec.Raw] | None = msgspec.field(name="Records", default=None)
    change: msgspec.Raw = msgspec.field(name="dynamodb", default=ABSENT)


_value = msgspec.json.Decoder(Value)
_array = msgspec.json.Decoder(list[msgspec.Raw])


def decoded(value: bytes) -> Value | list[msgspec.Raw]:
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
        self._known: tuple[bytes, Value | list[msgspec.Raw]] | None = None  # the first value, decoded
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

    def values(self, *, last: bool) -> Iterator[tuple[bytes, Value | list[msgspec.Raw] | None]]:
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
        match = _BLANKS.match(self._buffer)
        if match is not None and match.end():
            self._drop(match.end())

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
        except RecursionError:
            pass  # who counts brackets has no depth
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
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
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
