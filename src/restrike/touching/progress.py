"""Where a touch is."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from restrike.model.report import Counts


class TouchProgress(msgspec.Struct, frozen=True):
    """Where a touch is; `seen` is None where the stream is not checked. Times in seconds. `held` says in words how its
    consumers hold it back."""

    phase: str
    counts: Counts
    seen: int | None
    awaited: int
    throttles: int
    elapsed_s: float
    items_per_s: float
    wcu_per_s: float
    held: str = ""


OnProgress = Callable[[TouchProgress], None]
