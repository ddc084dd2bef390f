"""Where a touch is, and how fast it gets on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from restrike.model.report import Counts

OF_THE_LAST_S = 10.0
MARKS_EVERY_S = 0.5


class TouchProgress(msgspec.Struct, frozen=True):
    """Where a touch is; `seen` is None where the stream is not checked. Times in seconds."""

    phase: str
    counts: Counts
    seen: int | None
    awaited: int
    throttles: int
    elapsed_s: float
    items_per_s: float
    wcu_per_s: float


OnProgress = Callable[[TouchProgress], None]


class Speed:
    """Items a second, of the last seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._marks: deque[tuple[float, int]] = deque()

    def of(self, done: int) -> float:
        """The speed, now that so many items are done in all."""
        now = self._clock()
        if not self._marks or now - self._marks[-1][0] >= MARKS_EVERY_S:
            self._marks.append((now, done))
        while len(self._marks) > 1 and now - self._marks[1][0] >= OF_THE_LAST_S:
            self._marks.popleft()
        since_s, before = now - self._marks[0][0], self._marks[0][1]
        return (done - before) / since_s if since_s > 0 else 0.0
