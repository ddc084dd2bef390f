"""A metric over time as a line of blocks, one a cell: what is unknown is a dot, and never a zero."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from restrike.model.metrics import Series

BLOCKS = "▁▂▃▄▅▆▇█"
LETTERS = "_-=+*#%@"
"""The same in plain ASCII, from little ink to much."""
UNKNOWN = "·"
UNKNOWN_LETTER = "."


def cells(
    series: Series, since_s: float, until_s: float, count: int, fold: Callable[[Iterable[float]], float]
) -> list[float | None]:
    """The values in `count` spans of equal length, several periods folded into one; None where there is no value."""
    held: list[list[float]] = [[] for _ in range(count)]
    if until_s <= since_s:
        return [None] * count
    for start_s, value in series.points:
        at = int((start_s - since_s) / (until_s - since_s) * count)
        # A period may begin before the first moment that was asked for.
        if -1 <= at <= count:
            held[min(max(at, 0), count - 1)].append(value)
    return [fold(values) if values else None for values in held]


def spark(values: Sequence[float | None], *, full: float = 0.0, any_shows: bool, plain: bool) -> str:
    """The cells as signs, the largest of them as the highest; it takes `full` at least to be that high. `any_shows`:
    what is not zero is higher than zero, however small. `plain`: in ASCII."""
    signs = LETTERS if plain else BLOCKS
    most = max([full, *(value for value in values if value is not None)])
    line = ""
    for value in values:
        if value is None:
            line += UNKNOWN_LETTER if plain else UNKNOWN
            continue
        height = round(value / most * (len(signs) - 1)) if most > 0 else 0
        line += signs[max(height, 1 if any_shows and value > 0 else 0)]
    return line
