"""Plans as rows of a name and a value, lists as columns on stdout."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TextIO

from restrike.cli.render.streams import put, say
from restrike.model.text import printable

if TYPE_CHECKING:
    from rich.console import Console

    from restrike.model.plan import PlanWarning


def stderr() -> Console:
    """A console for what is more than a line."""
    from restrike.cli.render.console import Heedless

    # Not a terminal: no wrapping, so that lines can be searched.
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    return Heedless(stderr=True, highlight=False, width=None if on_terminal else 160)


class Rows:
    """A plan as lines of a name and a value; long values are folded under themselves on a terminal."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str]] = []
        self._examples: list[tuple[str, str]] = []
        self._warnings: list[str] = []
        self._to_do: tuple[str, ...] = ()

    def __call__(self, name: str, value: str) -> None:
        self._rows.append((name, printable(value)))

    def example(self, name: str, value: str) -> None:
        """A line with a key: shown to whoever asks for the plan, and not in the log of what is being done."""
        self._examples.append((name, value))
        self(name, value)

    def warnings(self, warnings: Iterable[PlanWarning]) -> None:
        self._warnings += [warning.message for warning in warnings]

    def to_do(self, not_done: str, command: str, *, purpose: str = "do it") -> None:
        """What was not done, and the command that does it: the last lines of a plan that is only shown."""
        self._to_do = (f"{not_done} To {purpose}:", f"  {command}")

    def ask(self) -> None:
        """The whole plan on stdout: it is what was asked for. OSError where it cannot be written."""
        self._show([*self._rows, *(("warning", text) for text in self._warnings)], sys.stdout, put)
        for line in self._to_do:
            put(line)

    def tell(self) -> None:
        """The plan of what is being done, on stderr; its warnings are told as all others are."""
        self._show([row for row in self._rows if row not in self._examples], sys.stderr, say)
        for text in self._warnings:
            say(f"warning: {text}")

    def _show(self, rows: list[tuple[str, str]], stream: TextIO | None, line: Callable[[str], None]) -> None:
        width = max((len(name) for name, _ in rows), default=0) + 1
        if stream is None or not stream.isatty():
            for name, value in rows:
                line(f"{name:{width}} {value}")
            return
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows:
            table.add_row(Text(name, style="yellow" if name == "warning" else "bold"), Text(value))
        with contextlib.suppress(OSError):
            Console(file=stream, highlight=False).print(table)


def show_columns(header: list[str], rows: list[list[str]], numbers: frozenset[str]) -> None:
    """A table on stdout, one row a line whatever the width: made to be read and to be cut."""
    widths = [max(len(line[at]) for line in [header, *rows]) for at in range(len(header))]
    for line in [header, *rows]:
        cells = [
            cell.rjust(width) if name in numbers else cell.ljust(width)
            for name, cell, width in zip(header, line, widths, strict=True)
        ]
        put("  ".join(cells).rstrip())
