"""Where the output of a command may go: to a terminal, or to nobody."""

from __future__ import annotations

import contextlib
import os
import pty
from collections.abc import Iterator
from typing import IO


class Screen:
    """`file` is the terminal as a process has it; `said` is all that was written there, once the block has ended."""

    said = b""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file


@contextlib.contextmanager
def terminal() -> Iterator[Screen]:
    ours, theirs = pty.openpty()
    try:
        with os.fdopen(theirs, "wb") as file:
            screen = Screen(file)
            yield screen
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(ours, 65536):
                screen.said += part
    finally:
        os.close(ours)


@contextlib.contextmanager
def unread() -> Iterator[IO[bytes]]:
    """A pipe whose reader has gone away."""
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "wb") as pipe:
        yield pipe
