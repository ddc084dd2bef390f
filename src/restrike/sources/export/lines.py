"""A data file as blocks of whole lines: fetched a range at a time, unpacked in bounded steps, held to its manifest."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator

from restrike.errors import SourceLacks
from restrike.sources.export.manifest import DataFile, is_md5_of
from restrike.stores.objects import Changed, Object, Store

RANGE_BYTES = 1 << 20
BLOCK_BYTES = 256 << 10
MAX_LINE_BYTES = 16 << 20
"""Two images of 400 KB, were each of their bytes escaped; more is no line of an export."""


class DataLines:
    """The lines of one data file. Memory holds a range of the file, a block, and at most one line of MAX_LINE_BYTES.

    Iterated to its end it raises SourceLacks where the file is not what its manifest says: each error tells how many
    of its lines were handed out before that was known.
    """

    def __init__(self, store: Store, file: DataFile, find: Callable[[], Object], *, sent: bool = True) -> None:
        """`find` says where the file lies. `sent`: what is handed out may be sent on."""
        self.count = 0
        self._store = store
        self._find = find
        self._file = file
        self._name = file.data_file_s3_key
        self._sent = sent
        self._digest = hashlib.md5(usedforsecurity=False)

    def blocks(self) -> Iterator[bytes]:
        """Whole lines, some at a time, then the check."""
        rest = b""
        for unpacked in self._unpacked():
            end = unpacked.rfind(b"\n") + 1
            if not end:
                rest += unpacked
                if len(rest) > MAX_LINE_BYTES:
                    raise self.bad(f"a line of more than {MAX_LINE_BYTES >> 20} MB")
                continue
            block = rest + unpacked[:end] if rest else unpacked[:end]
            rest = unpacked[end:]
            self.count += block.count(b"\n")
            yield block
        if rest:
            self.count += 1
            yield rest
        if not is_md5_of(self._digest.digest(), self._file.md5_checksum):
            raise self.bad(f"its MD5 is {self._digest.hexdigest()}, and its manifest says {self._file.md5_checksum}")
        if self.count != self._file.item_count:
            raise self.bad(f"it has {self.count:,} items, and its manifest says {self._file.item_count:,}")

    def bad(self, why: str, handed_out: int | None = None) -> SourceLacks:
        """What is wrong with the file; `handed_out` is how many records of it were, where that is not the count."""
        read = (self.count if handed_out is None else handed_out) if self._sent else 0
        before = f"; {read:,} of its records were read before that was known" if read else ""
        return SourceLacks(
            f"{self._name}: {why}{before}",
            ("What was read may have been sent. " if read else "")
            + "Copy the file again from where it was exported to; --verify-first finds this before anything is sent.",
        )

    def _ranges(self) -> Iterator[bytes]:
        found = self._find()
        self._name, size_bytes = f"{self._store.uri}/{found.path}", found.size_bytes
        try:
            for start in range(0, size_bytes, RANGE_BYTES):
                packed = self._store.read_range(found, start, min(start + RANGE_BYTES, size_bytes))
                self._digest.update(packed)
                yield packed
        except Changed:
            raise self.bad("it was replaced while it was read") from None

    def _unpacked(self) -> Iterator[bytes]:
        member = zlib.decompressobj(wbits=31)
        begun = False
        try:
            for packed in self._ranges():
                while packed:
                    if member.eof:
                        member = zlib.decompressobj(wbits=31)
                    begun = True
                    unpacked = member.decompress(packed, BLOCK_BYTES)
                    if unpacked:
                        yield unpacked
                    packed = member.unused_data if member.eof else member.unconsumed_tail
                    if not packed and not member.eof and len(unpacked) == BLOCK_BYTES:
                        # What is left is inside of zlib.
                        while unpacked := member.decompress(b"", BLOCK_BYTES):
                            yield unpacked
        except zlib.error as error:
            raise self.bad(f"it cannot be unpacked: {error}") from None
        if not begun or not member.eof:
            raise self.bad("it ends within its gzip stream: it was cut off")
