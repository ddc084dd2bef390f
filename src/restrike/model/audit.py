"""What an audit would do, and what it found."""

from __future__ import annotations

from typing import Any

import msgspec

from restrike.model.plan import Estimate, Items, PlanWarning, in_json
from restrike.model.report import State


class AuditPlanData(msgspec.Struct, frozen=True):
    """The plan of an audit, as data. `as_of` is None where the other side is a table that was given no time: then it is
    when that is read. `sample_rows` rows of a file were read to see whether they can be. `rate` is what is read, in
    words. `done`: the run is complete, what it found and when."""

    run: str
    table: str
    table_arn: str
    account: str
    region: str
    endpoint: str
    selection: str
    items: Items
    against: str
    on: tuple[str, ...]
    as_of: str | None
    since: str
    estimate: Estimate
    rate: str
    prices: str
    sample_rows: int
    sample_unreadable: int
    warnings: tuple[PlanWarning, ...]
    command: str
    nothing_new: str = ""
    verb: str = "audit"

    @property
    def expected(self) -> int | None:
        """How many items there are, as far as that is known."""
        return self.items.count

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints: `{"plan": {…}}`."""
        return in_json(self)


class AuditReport(msgspec.Struct):
    """What an audit found. `ours` and `theirs` are items and rows, `equal` those that are the same.

    `missing`, `stale` and `extra` are wrong on the other side: the item is not there, is there with other values, is
    there and not in the table. `moved`: so too, but written since `as_of`, so that the other side was maybe right.
    `may_have_moved` says why it is not known of the three whether they have moved; empty where they have not.
    `settled` differed at first and not when they were read once more. `outside` is in the table and not selected.
    `uncompared` items have a compared attribute that is no scalar. `unreadable` rows of the other side, `duplicates`
    keys that it has more than once. `files` holds the keys of each kind, `repairs` the commands for them.
    """

    run: str
    table: str
    selection: str
    against: str
    on: tuple[str, ...]
    as_of: str | None
    state: State
    ours: int
    theirs: int
    equal: int
    missing: int
    stale: int
    extra: int
    moved: int
    settled: int
    outside: int
    uncompared: int
    unreadable: int
    duplicates: int
    may_have_moved: str
    consumed_rru: float
    elapsed_s: float
    files: dict[str, str] = {}
    repairs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    verb: str = "audit"

    @property
    def differences(self) -> int:
        return self.missing + self.stale + self.extra

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        whole: dict[str, Any] = msgspec.to_builtins(self)
        return {"run": self.run, "verb": self.verb} | whole

    @property
    def exit_code(self) -> int:
        """0 equal, 6 differences, 1 rows or items could not be compared, 130 interrupted, 3 the run itself failed."""
        if self.state == "INTERRUPTED":
            return 130
        if self.state == "FAILED":
            return 3
        if self.differences:
            return 6
        return 1 if self.unreadable or self.uncompared else 0
