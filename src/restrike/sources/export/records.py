"""Records out of an export's lines: what is made up in them, and what are the line's own bytes.

An incremental line is the net change of an item in a window: NewImage is the item at its end, OldImage the item right
before its start, and the time is that of the last write. A full line is an item as it was at one time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from restrike.aws.dynamodb import attributes_type
from restrike.errors import SourceLacks
from restrike.model.record import EventName, Fidelity, Record
from restrike.model.synthetic import MOST_MICROS, Frame, timed_number
from restrike.sources.export.lines import DataLines

MAX_PAGE_RECORDS = 1_000
_ABSENT = msgspec.Raw(b"")
_ID_BYTES, _HASH_BYTES = 16, 8


class _Number(msgspec.Struct, gc=False):
    text: str = msgspec.field(name="N")


class _Metadata(msgspec.Struct, gc=False):
    written: str | int | float | _Number = msgspec.field(name="WriteTimestampMicros")
    """A text as in the guide, a number of DynamoDB's as in real files, or a bare number as in ION."""


class _Change(msgspec.Struct, gc=False):
    metadata: _Metadata = msgspec.field(name="Metadata")
    keys: msgspec.Raw = msgspec.field(name="Keys")
    new: msgspec.Raw = msgspec.field(name="NewImage", default=_ABSENT)
    old: msgspec.Raw = msgspec.field(name="OldImage", default=_ABSENT)


class _Whole(msgspec.Struct, gc=False):
    item: msgspec.Raw = msgspec.field(name="Item")


class NotALine(ValueError):
    """A line that DynamoDB does not write; the text says why."""


class Maker(Protocol):
    """Makes a record of a decoded line."""

    decoder: msgspec.json.Decoder[Any]

    def record(self, line: Any, shard: str, place: int) -> Record:
        """NotALine where it is none."""


class NetMaker:
    """Net changes. `without_old`: the export has new images alone, so that `as_event` says what those are."""

    fidelity: Fidelity = "net"

    def __init__(self, table_arn: str, frame: Frame, *, without_old: bool, as_event: EventName) -> None:
        self.decoder = msgspec.json.Decoder(_Change)
        self._frame = frame
        self._alone: EventName = as_event if without_old else "INSERT"
        self._digest = hashlib.blake2b(table_arn.encode() + b"\0", digest_size=_ID_BYTES + _HASH_BYTES)

    def record(self, line: _Change, shard: str, place: int) -> Record:
        written = line.metadata.written
        micros = int(written.text if type(written) is _Number else written)  # type: ignore[arg-type]  # the union's rest
        if not 0 <= micros < MOST_MICROS:
            raise NotALine(f"it was written at no time: {micros}")
        frame, keys, new, old = self._frame, bytes(line.keys), line.new, line.old
        event: EventName = "REMOVE" if not new else "MODIFY" if old else self._alone
        event_id, number = _identity(self._digest, micros, keys, net=True)
        created_s = micros // 1_000_000
        raw = frame.raw(event_id, event, created_s, keys, new if frame.new else b"", old if frame.old else b"", number)
        return Record(raw, shard, place, event, keys, number, float(created_s), frame.stream_arn, "net")


class WholeMaker:
    """Items as they were at one time, in microseconds of the epoch; `key_names` are the table's key attributes."""

    fidelity: Fidelity = "synthetic"

    def __init__(
        self,
        table_arn: str,
        frame: Frame,
        *,
        micros: int,
        key_names: tuple[str, ...],
        as_event: EventName,
        old_image: bool,
    ) -> None:
        self.decoder = msgspec.json.Decoder(_Whole)
        self._frame = frame
        self._event = as_event
        self._new = as_event != "REMOVE" and frame.new
        self._old = (as_event == "REMOVE" or (as_event == "MODIFY" and old_image)) and frame.old
        self._micros = micros
        self._digest = hashlib.blake2b(table_arn.encode() + b"\0", digest_size=_ID_BYTES + _HASH_BYTES)
        fields = {f"key_{number}": name for number, name in enumerate(key_names)}
        self._names = key_names
        key_type, self._pick = attributes_type(dict(fields), msgspec.Raw)
        self._keys = msgspec.json.Decoder(key_type)
        self._members = [
            (field, (b"," if number else b"{") + msgspec.json.encode(name) + b":")
            for number, (field, name) in enumerate(fields.items())
        ]

    def record(self, line: _Whole, shard: str, place: int) -> Record:
        found = self._pick(self._keys.decode(line.item))
        parts: list[bytes] = []
        for name, (field, before) in zip(self._names, self._members, strict=True):
            value = getattr(found, field)
            if value is None:
                raise NotALine(f"the item has no {name!r}, which was told to be a key attribute")
            parts += (before, value)
        parts.append(b"}")
        keys, frame = b"".join(parts), self._frame
        event_id, number = _identity(self._digest, self._micros, keys, net=False)
        created_s = self._micros // 1_000_000
        raw = frame.raw(
            event_id,
            self._event,
            created_s,
            keys,
            line.item if self._new else b"",
            line.item if self._old else b"",
            number,
        )
        return Record(raw, shard, place, self._event, keys, number, float(created_s), frame.stream_arn, "synthetic")


def _identity(table: Any, micros: int, keys: bytes, *, net: bool) -> tuple[str, str]:
    """The eventID and the SequenceNumber of an item as of a time: the same whenever they are made."""
    digest = table.copy()
    digest.update(b"%d\0%b" % (micros, keys))
    found: bytes = digest.digest()
    return found[:_ID_BYTES].hex(), timed_number(micros, int.from_bytes(found[_ID_BYTES:], "big"), net=net)


class Pages:
    """The records of one data file out of its blocks: those behind a place, which is the line's number, from 1."""

    def __init__(self, lines: DataLines, maker: Maker, shard: str, after: int) -> None:
        self._lines = lines
        self._maker = maker
        self._shard = shard
        self._after = after
        self._seen = 0

    def of(self, block: bytes) -> Iterator[list[Record]]:
        """Its pages, none of them empty; SourceLacks, which names file and line, for what is no line of an export."""
        try:
            found = self._maker.decoder.decode_lines(block)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self._bad_one(block) from None
        first = self._seen + 1
        self._seen += len(found)
        make, shard = self._maker.record, self._shard
        for start in range(max(0, self._after - first + 1), len(found), MAX_PAGE_RECORDS):
            page: list[Record] = []
            try:
                for line in found[start : start + MAX_PAGE_RECORDS]:
                    page.append(make(line, shard, first + start + len(page)))
            except (ValueError, msgspec.MsgspecError, RecursionError) as error:
                number = first + start + len(page)
                raise self._lines.bad(f"line {number}: {_told(error)}", first + start - 1) from None
            yield page

    def _bad_one(self, block: bytes) -> SourceLacks:
        """What is wrong with the first line that is."""
        for number, line in enumerate(block.splitlines(), self._seen + 1):
            try:
                self._maker.decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                why = f"line {number} is none that DynamoDB writes: {_told(error)}"
                return self._lines.bad(why, self._seen)
        return self._lines.bad(f"behind line {self._seen}: no lines of JSON", self._seen)


def _told(error: Exception) -> str:
    return "it is nested too deep" if isinstance(error, RecursionError) else str(error)
