"""Text that came from elsewhere, as it may be shown: nothing in it moves a terminal's cursor or turns a line around."""

from __future__ import annotations

_LETS_THROUGH = "\n\t"


def printable(text: str, *, most: int | None = None, keep: str = _LETS_THROUGH) -> str:
    r"""The text with controls, overrides of direction, separators and halves of letters as `\x1b` or `\u202e`;
    longer than `most` characters it is cut. `keep` are controls that stay."""
    if most is not None and len(text) > most:
        text = f"{text[: most - 1]}…"
    if text.isprintable():
        return text
    return "".join(letter if letter in keep or letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")
