"""How much of a file was read, by its bytes on the disk: so it is known later whether they are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import msgspec

_PART = "file"
_BLOCK_BYTES = 1 << 20


class Extent(msgspec.Struct, frozen=True):
    """The first bytes of a file, and their SHA-256."""

    size_bytes: int
    digest: str

    @classmethod
    def of(cls, parts: Mapping[str, str]) -> Self | None:
        """As `as_parts` told it; None where nothing was told."""
        if _PART not in parts:
            return None
        size_bytes, digest = parts[_PART].split()
        return cls(int(size_bytes), digest)

    def as_parts(self) -> dict[str, str]:
        return {_PART: f"{self.size_bytes} {self.digest}"}

    def why_not(self, path: Path) -> str | None:
        """Why the file does not begin with these bytes; None where it does. Raises OSError where it cannot be read."""
        digest, left = hashlib.sha256(), self.size_bytes
        with path.open("rb") as file:
            while left and (block := file.read(min(left, _BLOCK_BYTES))):
                digest.update(block)
                left -= len(block)
        if left:
            return f"it has {self.size_bytes - left:,} bytes, and {self.size_bytes:,} were read of it"
        if digest.hexdigest() != self.digest:
            return f"its first {self.size_bytes:,} bytes, which were read, are others now"
        return None


class Measured:
    """A file that is read from its beginning to its end, and how much of it was."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._size_bytes = 0

    def read(self, size: int = -1, /) -> bytes:
        return self._measured(self._file.read(size))

    def read1(self, size: int = -1, /) -> bytes:
        return self._measured(self._file.read1(size))

    def _measured(self, block: bytes) -> bytes:
        self._digest.update(block)
        self._size_bytes += len(block)
        return block

    def close(self) -> None:
        self._file.close()

    @property
    def extent(self) -> Extent:
        return Extent(self._size_bytes, self._digest.copy().hexdigest())
