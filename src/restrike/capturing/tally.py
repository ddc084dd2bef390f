"""What a capture has done so far."""

from __future__ import annotations

import time

import msgspec


class CaptureTally(msgspec.Struct):
    """What was captured so far, by this process. Times in epoch seconds; all that came before `read_to_s` was read."""

    records: int = 0
    files: int = 0
    written_bytes: int = 0
    gaps: int = 0
    shards: int = 0
    held_bytes: int = 0
    read_to_s: float | None = None
    first_s: float | None = None
    last_s: float | None = None
    waiting_for: str = ""

    @property
    def lag_s(self) -> float | None:
        """How far behind now; None where nothing was read yet."""
        return None if self.read_to_s is None else max(0.0, time.time() - self.read_to_s)
