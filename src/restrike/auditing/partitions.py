"""What was read of one side, on disk in parts by the hash of the key, so that two sides are compared part by part.

A batch is one file that never changes: where each part begins, then the parts. It is whole and on the disk before
whoever reads notes that it is there; so after a death the batches that were noted are all that was read.
"""

from __future__ import annotations

import os
import zlib
from array import array
from collections.abc import Iterable
from pathlib import Path

from restrike.running.spool import written

BATCH_BYTES = 16 << 20
"""Held in memory until it is a batch."""
KEYS_A_PART = 40_000
LEAST_PARTS, MOST_PARTS = 64, 4_096
ENDING = ".batch"


def parts_for(keys: int) -> int:
    """How many parts there are to be for so many keys, as far as that is known: a power of two."""
    parts = LEAST_PARTS
    while parts < MOST_PARTS and parts * KEYS_A_PART < keys:
        parts *= 2
    return parts


class Batches:
    """The batches of one side: `count` of them are there."""

    def __init__(self, folder: Path, side: str, parts: int, count: int = 0) -> None:
        self.count = count
        self._folder = folder
        self._side = side
        self._parts = parts
        self._held: list[bytearray] = [bytearray() for _ in range(parts)]
        self._held_bytes = 0

    @property
    def is_full(self) -> bool:
        return self._held_bytes >= BATCH_BYTES

    def add(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Rows of a canonical key and encoded values; neither holds a newline."""
        held, mask, size, crc32 = self._held, self._parts - 1, 0, zlib.crc32
        for key, values in rows:
            line = b"%b\t%b\n" % (key, values)
            held[crc32(key) & mask] += line
            size += len(line)
        self._held_bytes += size

    def write(self) -> None:
        """Makes a batch of what is held, if anything is."""
        if not self._held_bytes:
            return
        begins = array("Q", [8 * (self._parts + 1)])
        for part in self._held:
            begins.append(begins[-1] + len(part))
        path = self._path(self.count)
        with written(path), os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(begins.tobytes())
            file.writelines(self._held)
            file.flush()
            os.fsync(file.fileno())
        self.count += 1
        self._held = [bytearray() for _ in range(self._parts)]
        self._held_bytes = 0

    def read(self, part: int) -> list[bytes]:
        """The rows of a part, in the order in which they were read: key, tab, values."""
        rows: list[bytes] = []
        for number in range(self.count):
            with self._path(number).open("rb") as file:
                file.seek(8 * part)
                begins = array("Q", file.read(16))
                file.seek(begins[0])
                data = file.read(begins[1] - begins[0])
            rows += data.split(b"\n")
            rows.pop()  # behind the last newline there is nothing
        return rows

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._side}-{number:06}{ENDING}"
