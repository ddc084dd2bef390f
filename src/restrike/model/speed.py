"""How fast a run gets on, as its progress tells it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

OF_THE_LAST_S = 10.0
MARKS_EVERY_S = 0.5


class Speed:
    """Items or records a second, of the last seconds."""

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
