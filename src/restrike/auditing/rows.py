"""The other side's file: JSON lines or CSV, row by row, with the line of each that cannot be read.

A JSON line is an object with the key's attributes, or has them under `Keys`, `Key` or `key`, or is an item under
`Item`; values are plain or typed as DynamoDB JSON has them. A CSV has a header. A byte order mark, carriage returns at
the ends of lines and newlines in quotes are all right.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from restrike.errors import SourceLacks, UsageError
from restrike.model.numbers import counted
from restrike.model.scalars import Spelled, encoded, is_plain, of_cell, of_json
from restrike.model.table import KeySchema, canonical_key, typed_key

LINE_BYTES = 8 << 20
"""More than a row may have: an item has 400 KB."""
CHUNK_ROWS = 5_000
HASHED_AT_ONCE = 1 << 20
_BLANK = b"\xef\xbb\xbf \t\r\n"
_object = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


class Names(msgspec.Struct, frozen=True):
    """What is compared, and how the other side calls it: our name → theirs, where it differs."""

    key: KeySchema
    on: tuple[str, ...] = ()
    theirs: dict[str, str] = {}

    def their(self, name: str) -> str:
        return self.theirs.get(name, name)


class FilePlace(msgspec.Struct, frozen=True):
    """How far a file is read: so many bytes and lines, and the SHA-256 of those bytes."""

    read_bytes: int = 0
    lines: int = 0
    digest: str = ""


class Unreadable(msgspec.Struct, frozen=True):
    """A row that is none: where it begins, why, and its key where that much could be read."""

    line: int
    why: str
    key: bytes | None = None


class Chunk(msgspec.Struct, frozen=True):
    """Some rows as (canonical key, values as `model.scalars` encodes them), and the place behind them."""

    rows: list[tuple[bytes, bytes]]
    unreadable: list[Unreadable]
    read_bytes: int
    lines: int


class RowFile:
    """A file of the other side. Use as a context manager; memory holds some rows, whatever its size."""

    def __init__(self, path: Path, names: Names, *, named: str = "") -> None:
        self.named = named or str(path)
        self._path = path
        self._names = names
        self._keys = [(each.name, names.their(each.name), each.type) for each in names.key.attributes]
        self._on = [names.their(name) for name in names.on]
        self._hash = hashlib.sha256()
        self._hashed = 0

    def __enter__(self) -> RowFile:
        try:
            if not self._path.is_file():
                raise UsageError(
                    f"{self.named} is no file that can be read twice"
                    if self._path.exists()
                    else f"cannot read {self.named}: No such file or directory",
                    "Name a file, or hand it over by standard input: --against -",
                )
            self._file: BinaryIO = self._path.open("rb")
        except OSError as error:
            raise UsageError(f"cannot read {self.named}: {error.strerror}", "Name a file, or -.") from None
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def place(self, chunk: Chunk) -> FilePlace:
        """The place behind a chunk; what lies before it is read once more, for its digest."""
        return FilePlace(chunk.read_bytes, chunk.lines, self._digest_to(chunk.read_bytes))

    def _digest_to(self, end: int) -> str:
        with self._path.open("rb") as file:
            file.seek(self._hashed)
            while self._hashed < end and (data := file.read(min(HASHED_AT_ONCE, end - self._hashed))):
                self._hash.update(data)
                self._hashed += len(data)
        return self._hash.hexdigest()

    def chunks(self, after: FilePlace | None = None) -> Iterator[Chunk]:
        """All rows behind the place. SourceLacks where what lies before it is not what was read."""
        after = after or FilePlace()
        if after.read_bytes and self._digest_to(after.read_bytes) != after.digest:
            raise SourceLacks(
                f"{self.named} is another file than the run has read {after.read_bytes:,} bytes of",
                "Put it back as it was, or begin anew under another --run.",
            )
        lines = _Lines(self._file)
        first = lines.first()
        if first is None:
            return
        if first.lstrip(_BLANK).startswith(b"["):
            raise UsageError(
                f"{self.named} is one JSON array",
                f"Give JSON lines: jq -c '.[]' {self.named} | restrike … --against -",
            )
        if first.lstrip(_BLANK).startswith(b"{"):
            rows = self._json_rows(lines)
            lines.back(first)
        else:
            rows = self._csv_rows(self._header(first, lines.number), lines)
        if after.read_bytes:
            lines.go_to(after)
        while True:
            chunk = Chunk([], [], 0, 0)
            for key, values, unreadable in rows:
                if unreadable is not None:
                    chunk.unreadable.append(unreadable)
                else:
                    chunk.rows.append((key, values))
                if len(chunk.rows) + len(chunk.unreadable) >= CHUNK_ROWS:
                    break
            if not chunk.rows and not chunk.unreadable:
                return
            yield msgspec.structs.replace(chunk, read_bytes=lines.read_bytes, lines=lines.number)

    # ── JSON lines ───────────────────────────────────────────────────────────────────────────────────────

    def _json_rows(self, lines: _Lines) -> Iterator[_Row]:
        while (line := lines.take()) is not None:
            if not line.strip(_BLANK):
                continue
            number = lines.number
            try:
                given = _object.decode(line if number > 1 else line.lstrip(_BLANK))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                why = "longer than a row may be" if len(line) >= LINE_BYTES else "no JSON object"
                yield b"", b"", Unreadable(number, why)
                continue
            yield self._row(number, *self._unwrapped(given), of_json)

    def _unwrapped(self, given: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Where the key stands, and where the values do."""
        if self._keys[0][1] not in given:
            item = given.get("Item")
            if isinstance(item, dict):
                return item, item
            for wrapper in ("Keys", "Key", "key"):
                inner = given.get(wrapper)
                if isinstance(inner, dict):
                    return inner, given
        return given, given

    # ── CSV ──────────────────────────────────────────────────────────────────────────────────────────────

    def _header(self, line: bytes, number: int) -> list[str]:
        try:
            columns = next(csv.reader(io.StringIO(line.lstrip(b"\xef\xbb\xbf").decode()), strict=True))
        except (csv.Error, UnicodeDecodeError, StopIteration):
            raise UsageError(f"{self.named}, line {number}: neither a CSV's header nor JSON", _HEADER) from None
        columns = [column.strip() for column in columns]
        missing = [name for name in (*(theirs for _, theirs, _ in self._keys), *self._on) if name not in columns]
        if missing:
            raise UsageError(
                f"{self.named}, line {number}: the header lacks {' and '.join(map(repr, missing))}", _HEADER
            )
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise UsageError(f"{self.named}, line {number}: the header has {twice[0]!r} twice", _HEADER)
        return columns

    def _csv_rows(self, columns: list[str], lines: _Lines) -> Iterator[_Row]:
        csv.field_size_limit(max(csv.field_size_limit(), LINE_BYTES))
        reader = csv.reader(lines, strict=True)
        while True:
            number = lines.number + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield b"", b"", Unreadable(number, str(error))
                continue
            if not cells:
                continue
            if len(cells) != len(columns):
                yield b"", b"", Unreadable(number, f"{counted(len(cells), 'column')}, the header has {len(columns)}")
                continue
            given = dict(zip(columns, cells, strict=True))
            yield self._row(number, given, given, of_cell)

    # ── a row ────────────────────────────────────────────────────────────────────────────────────────────

    def _row(self, line: int, keyed: Mapping[str, Any], given: Mapping[str, Any], of: Any) -> _Row:
        key = None
        try:
            key = self._key(keyed)
            return key, encoded([self._value(of, name, given) for name in self._on]), None
        except UsageError as error:
            return b"", b"", Unreadable(line, error.message, key)
        except UnicodeError:
            return b"", b"", Unreadable(line, "no UTF-8", key)

    def _value(self, of: Any, name: str, given: Mapping[str, Any]) -> Spelled:
        try:
            value: Spelled = of(given.get(name))
        except UsageError as error:
            raise UsageError(f"{name!r}: {error.message}") from None
        return value

    def _key(self, given: Mapping[str, Any]) -> bytes:
        key = {}
        for ours, theirs, kind in self._keys:
            value = given.get(theirs)
            if not isinstance(value, str) or not value or not (kind == "S" or (kind == "N" and is_plain(value))):
                break
            key[ours] = {kind: value}
        else:
            return msgspec.json.encode(key)
        schema = self._names.key
        return canonical_key(schema, typed_key(schema, {ours: given.get(theirs) for ours, theirs, _ in self._keys}))


_Row = tuple[bytes, bytes, Unreadable | None]
_HEADER = "Give a CSV with a header line, or JSON lines; other names: --map theirs=ours."


class _Lines:
    """The lines of a file, counted; as an iterator, what the csv module wants."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.read_bytes = 0
        self.number = 0

    def first(self) -> bytes | None:
        """The first line that says something."""
        while (line := self.take()) is not None:
            if line.strip(_BLANK):
                return line
        return None

    def back(self, line: bytes) -> None:
        """That line is to be taken once more."""
        self.read_bytes -= len(line)
        self.number -= 1
        self._file.seek(self.read_bytes)

    def go_to(self, place: FilePlace) -> None:
        self.read_bytes, self.number = place.read_bytes, place.lines
        self._file.seek(place.read_bytes)

    def take(self) -> bytes | None:
        """The next line, or the beginning of one that is too long."""
        line = self._file.readline(LINE_BYTES)
        if not line:
            return None
        self.read_bytes += len(line)
        self.number += 1
        if len(line) >= LINE_BYTES and not line.endswith(b"\n"):
            while (rest := self._file.readline(LINE_BYTES)) and self._more(rest):
                pass
        return line

    def _more(self, rest: bytes) -> bool:
        """Passes over what belongs to the same line; whether there may be more."""
        self.read_bytes += len(rest)
        return not rest.endswith(b"\n")

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.take()
        if line is None:
            raise StopIteration
        return line.decode("utf-8", "surrogateescape")
