"""What a run has written to a file, in little: its size, and the digests of its first and last bytes.

Not of all: what is written over between them changes nothing of what is still to be delivered.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Self

import msgspec

_PART = "target"
_EDGE_BYTES = 1 << 16


class Written(msgspec.Struct, frozen=True):
    """The first `size_bytes` of a file."""

    size_bytes: int
    head: str
    tail: str

    @classmethod
    def now(cls, file: int, size_bytes: int | None = None) -> Self:
        """As the file is, or as its first bytes are."""
        size = os.fstat(file).st_size if size_bytes is None else size_bytes
        edge = min(size, _EDGE_BYTES)
        return cls(size, _digest(file, edge, 0), _digest(file, edge, size - edge))

    @classmethod
    def of(cls, parts: Mapping[str, str]) -> Self | None:
        """As `as_parts` told it; None where nothing was told."""
        if _PART not in parts:
            return None
        size_bytes, head, tail = parts[_PART].split()
        return cls(int(size_bytes), head, tail)

    def as_parts(self) -> dict[str, str]:
        return {_PART: f"{self.size_bytes} {self.head} {self.tail}"}

    def is_of(self, file: int, size_bytes: int) -> bool:
        """Whether a file of that size begins so."""
        return size_bytes >= self.size_bytes and self.now(file, self.size_bytes) == self


def _digest(file: int, size_bytes: int, at: int) -> str:
    return hashlib.sha256(os.pread(file, size_bytes, at)).hexdigest()[:32]
