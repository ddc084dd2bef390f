"""Rich's console, but for what it does where nobody reads any more: it ends the process, with 1."""

from __future__ import annotations

from rich.console import Console


class Heedless(Console):
    """On stderr, for people: no run ends, or ends otherwise, because nobody listens any more."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class Asked(Console):
    """On stdout, for who asked for it and may have enough: BrokenPipeError then, as of any other line there."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError
