"""Progress on stderr: a live line on a terminal, else a plain line every five seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from restrike.cli.render.rows import stderr
from restrike.cli.render.streams import is_live, say, writes_unicode

if TYPE_CHECKING:
    from rich.status import Status

PLAIN_EVERY_S = 5.0

P = TypeVar("P")


class ProgressLine(Generic[P]):
    """Called with a verb's progress as often as the verb likes; `text` makes a line of it where one is due."""

    def __init__(self, text: Callable[[P], str]) -> None:
        self._text = text
        self._next = time.monotonic() + PLAIN_EVERY_S
        self._status: Status | None = None
        if is_live(sys.stderr):
            self._status = stderr().status("starting", spinner="dots" if writes_unicode(sys.stderr) else "line")
            self._status.start()

    def __call__(self, progress: P) -> None:
        if self._status is not None:
            from rich.text import Text

            self._status.update(Text(self._text(progress)))
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + PLAIN_EVERY_S
            say(self._text(progress))

    def close(self) -> None:
        if self._status is not None:
            self._status.stop()
