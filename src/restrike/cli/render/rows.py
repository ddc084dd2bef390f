"""Plans as rows of a name and a value on stderr, lists as columns on stdout."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from restrike.cli.render.streams import put, say

if TYPE_CHECKING:
    from rich.console import Console

    from restrike.model.plan import PlanWarning


def stderr() -> Console:
    """A console for what is more than a line."""
    from rich.console import Console

    # Not a terminal: no wrapping, so that lines can be searched.
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else 160)


class Rows:
    """Lines of a name and a value on stderr; long values are folded under themselves on a terminal."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str]] = []

    def __call__(self, name: str, value: str) -> None:
        self._rows.append((name, value))

    def warnings(self, warnings: Iterable[PlanWarning]) -> None:
        for warning in warnings:
            self("warning", warning.message)

    def show(self) -> None:
        width = max((len(name) for name, _ in self._rows), default=0) + 1
        if not sys.stderr.isatty():
            for name, value in self._rows:
                say(f"{name:{width}} {value}")
            return
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in self._rows:
            table.add_row(Text(name, style="yellow" if name == "warning" else "bold"), Text(value))
        with contextlib.suppress(OSError):
            stderr().print(table)


def show_columns(header: list[str], rows: list[list[str]], numbers: frozenset[str]) -> None:
    """A table on stdout, one row a line whatever the width: made to be read and to be cut."""
    widths = [max(len(line[at]) for line in [header, *rows]) for at in range(len(header))]
    for line in [header, *rows]:
        cells = [
            cell.rjust(width) if name in numbers else cell.ljust(width)
            for name, cell, width in zip(header, line, widths, strict=True)
        ]
        put("  ".join(cells).rstrip())
