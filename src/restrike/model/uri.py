"""Where records come from or go to, as one value, whatever its kind."""

from __future__ import annotations

import msgspec

STANDARD_INPUT = "-"


class Uri(msgspec.Struct, frozen=True):
    """A source or a target, resolved once, when the run was planned.

    `scheme` names the kind. `rest` is what that kind makes of what stood behind it: paths are absolute, so that it
    means the same from whatever folder. `text` is what was typed, and what people are shown.
    """

    scheme: str
    rest: str
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def resolved(self) -> str:
        """What tells it from others: two texts that mean the same have the same."""
        return f"{self.scheme}:{self.rest}"
