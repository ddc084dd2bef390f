"""Text of others, on a terminal."""

from __future__ import annotations

import pytest

from restrike.model.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain: ä ☃ 再着火 👍", "plain: ä ☃ 再着火 👍"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\x9b31mb\x7f", "a\\x9b31mb\\x7f"),
        ("turned \u202eround", "turned \\u202eround"),
        ("two\u2028lines\r", "two\\u2028lines\\r"),
        ("half \ud800 letter", "half \\ud800 letter"),
        ("a line\nand\ttabs", "a line\nand\ttabs"),
    ],
)
def test_nothing_moves_the_cursor(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_it_is_cut_and_may_be_one_line() -> None:
    assert printable("a\nb", keep="") == "a\\nb"
    assert printable("x" * 300, most=200) == "x" * 199 + "…"
