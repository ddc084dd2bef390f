"""What a picture for a terminal is made of: lines that wrap under themselves, in words that any terminal can show."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rich.text import Text

from restrike.cli.render.console import Asked
from restrike.model.text import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

WIDTH = 120
"""Where stdout is no terminal and COLUMNS does not say another."""
_IN_ASCII = str.maketrans(
    {"…": "...", "–": "-", "—": "-", "−": "-", "·": ".", "→": "->", "≤": "<=", "≥": ">=", "×": "x", "●": "*", "“": '"'}
    | {"”": '"', "‘": "'", "’": "'", "\xa0": " "}
)


class Plain(Asked):
    """A console that draws in plain ASCII, whatever its file's encoding is."""

    @property
    def encoding(self) -> str:
        return "ascii"


def console_on_stdout() -> Console:
    """As wide as the terminal; in plain ASCII where that shows nothing else. OSError where stdout is closed."""
    from restrike.cli.render.streams import on_stdout, writes_unicode

    stream = on_stdout()
    dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    kind = Asked if writes_unicode(stream) and not (dumb and stream.isatty()) else Plain
    known = stream.isatty() or "COLUMNS" in os.environ
    return kind(file=stream, highlight=False, emoji=False, markup=False, width=None if known else WIDTH)


class Ink:
    """Makes lines for one console: nothing in a text that came from elsewhere moves the cursor, and what a terminal in
    ASCII has no sign for is spelled otherwise."""

    def __init__(self, *, plain: bool) -> None:
        self.plain = plain

    def __call__(self, text: str, style: str = "") -> Text:
        shown = printable(text, keep="")
        return Text(shown.translate(_IN_ASCII) if self.plain else shown, style=style)

    def verbatim(self, text: str) -> Text:
        """A command, which is not spelled otherwise; what would move the cursor is shown as an escape all the same."""
        return Text(printable(text, keep=""))

    def line(self, *parts: str | tuple[str, str] | Text) -> Text:
        """Parts put together: a text, a text and its style, or what is a line already."""
        whole = Text()
        for part in parts:
            whole.append_text(
                part if isinstance(part, Text) else self(part) if isinstance(part, str) else self(part[0], part[1])
            )
        return whole


class Hanging:
    """A label, and a text beside it that wraps under itself. Without trailing blanks, so that it can be copied."""

    def __init__(self, label: Text, text: Text, indent: int) -> None:
        self._label = label
        self._text = text
        self._indent = indent

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(10, options.max_width - self._indent)
        lines = self._text.wrap(console, width) or [Text()]
        for number, line in enumerate(lines):
            line.rstrip()
            label = self._label.copy() if number == 0 else Text()
            label.pad_right(self._indent - label.cell_len)
            # A text that has no line of its own left would end in the label's blanks.
            yield Text.assemble(label, line) if line.plain else Text(label.plain.rstrip(), style=label.style)
