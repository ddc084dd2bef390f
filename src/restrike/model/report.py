"""What a run did."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

State = Literal["STARTING", "RUNNING", "CANCELLING", "COMPLETED", "CANCELLED", "FAILED", "INTERRUPTED", "LIMITED"]


class Counts(msgspec.Struct):
    """Items by what became of them. `selected` is the sum of the others; `consumed_wcu` is None where untold."""

    selected: int = 0
    fired: int = 0
    already: int = 0
    gone: int = 0
    changed: int = 0
    failed: int = 0

    def add(self, other: Counts) -> None:
        self.selected += other.selected
        self.fired += other.fired
        self.already += other.already
        self.gone += other.gone
        self.changed += other.changed
        self.failed += other.failed


class TouchReport(msgspec.Struct):
    """The result of a touch. `seen` is None where it was not or cannot be looked for.

    `leftover` counts the items that failed or were not seen on the stream: `restrike runs show RUN --leftover`.
    `seen_at_most` bounds `seen` where the stream's view type cannot tell our writes from others.
    """

    run: str
    table: str
    state: State
    selected: int
    fired: int
    already: int
    gone: int
    changed: int
    failed: int
    seen: int | None
    leftover: int
    consumed_wcu: float | None
    elapsed_s: float
    items_per_s: float
    verb: str = "touch"
    seen_at_most: int | None = None
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        order = [
            "run",
            "verb",
            "table",
            "state",
            "selected",
            "fired",
            "already",
            "gone",
            "changed",
            "failed",
            "seen",
            "leftover",
            "consumed_wcu",
            "elapsed_s",
            "items_per_s",
        ]
        out: dict[str, Any] = {name: getattr(self, name) for name in order}
        if self.seen_at_most is not None:
            out["seen_at_most"] = self.seen_at_most
        if self.notes:
            out["notes"] = list(self.notes)
        return out

    @property
    def exit_code(self) -> int:
        """0 done, 1 items failed, 6 written but not seen, 130 interrupted; 3 where the run itself failed."""
        if self.state == "INTERRUPTED":
            return 130
        if self.state == "FAILED":
            return 3
        if self.failed:
            return 1
        return 6 if self.leftover else 0
