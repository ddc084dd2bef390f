"""The footer of a data file, and the checksum that it carries of itself.

Pages have checksums, and Parquet's footer has none: a bit that is turned there changes statistics, by which row groups
are passed over, or the ARN that every record gets, or ends the process inside the Parquet library. So it is checked
before that library sees a byte of it.

The checksum stands in the extension that the format leaves to whoever writes a file (field 32767, which readers
pass over), as the last thing in the footer. There it is written together with the file, and found from the file's
end, also where the length before `PAR1` is wrong:

    …the footer's other fields | 08 FF FF 01 10 | restrike-crc | CRC-32 | 00 | length | PAR1

It covers all of the footer before it, and the length. Files of before have none.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

from restrike.errors import SourceLacks

FOOTER_BYTES = 8192  # fetched at once: the footer of a row group or two
TELLS = b'"footer_checksum":true'
"""Stands in what a footer says of its file (`schema.About`) where it was written with a checksum."""

_MAGIC = b"PAR1"
_MARK = b"restrike-crc"
_STOP = b"\0"  # ends a struct of Thrift
_EXTENSION = b"\x08\xff\xff\x01" + bytes([len(_MARK) + 4]) + _MARK
_MARK_AT = -(len(_MARK) + 4 + len(_STOP) + 4 + len(_MAGIC))
LEAST_BYTES = -_MARK_AT


class Damaged(SourceLacks):
    """A file of an archive that cannot be what its name says."""


def damaged(path: str, why: str) -> Damaged:
    return Damaged(
        f"{path}: {why}", "Restore it from a copy, or leave it out with --allow-gaps; see: restrike archive verify"
    )


def sealed(parts: list[bytes]) -> bytes:
    """The file that those are, with a checksum in its footer. Empties the list."""
    tail = b""
    while len(tail) < LEAST_BYTES or len(tail) < _length(tail):
        tail = parts.pop() + tail
    begin = len(tail) - _length(tail)
    footer = tail[begin : -len(_STOP + _MAGIC) - 4] + _EXTENSION
    length = (len(footer) + 4 + len(_STOP)).to_bytes(4, "little")
    data = b"".join([*parts, tail[:begin], footer, _checksum(footer, length), _STOP, length, _MAGIC])
    parts.clear()
    return data


def read_footer(source: Any, path: str) -> tuple[bytes, bool]:
    """The footer with what ends it, for the Parquet library, and whether it has a checksum, which is right then.

    Damaged where it is not whole. Fetched are the last 8 KB: the library alone would fetch 64, a third of the file of
    a quiet minute.
    """
    size = source.size()
    source.seek(max(0, size - FOOTER_BYTES))
    tail = source.read()
    needed = _length(tail)
    if len(tail) < LEAST_BYTES or tail[-4:] != _MAGIC or needed > size:
        raise damaged(path, "it is no whole Parquet file: it does not end as one")
    if len(tail) < needed:
        source.seek(size - needed)
        tail = source.read(needed - len(tail)) + tail
    footer = tail[-needed:]
    if tail[_MARK_AT : _MARK_AT + len(_MARK)] == _MARK:
        told_at = _MARK_AT + len(_MARK)
        told, stop, length = tail[told_at : told_at + 4], tail[told_at + 4 : -8], tail[-8:-4]
        if stop != _STOP or _checksum(footer[:told_at], length) != told:
            raise damaged(path, "its footer was changed: the checksum in it does not fit")
        return footer, True
    if TELLS in footer:
        raise damaged(path, "its footer was changed: the checksum in it is gone")
    return footer, False


def _length(tail: bytes) -> int:
    """How long the footer is, with its length and PAR1, which are the last 8 bytes."""
    return int.from_bytes(tail[-8:-4], "little") + 8


def _checksum(footer: bytes, length: bytes) -> bytes:
    return crc32(length, crc32(footer)).to_bytes(4, "little")
