"""What a run did."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from restrike.model.times import iso_or_none
from restrike.model.window import Gap

State = Literal[
    "STARTING",
    "RUNNING",
    "CANCELLING",
    "COMPLETED",
    "CANCELLED",
    "PAUSING",
    "PAUSED",
    "FAILED",
    "INTERRUPTED",
    "LIMITED",
]


class Counts(msgspec.Struct):
    """Items by what became of them; `selected` is their sum.

    Of `fired`, `overwrote` had another run's name before, and `unanswered` are known by the name that they bear, or by
    a counter's record, alone: the answer to their write was lost. `unknown`: it was, and nothing tells whether the
    write was carried out.
    """

    selected: int = 0
    fired: int = 0
    already: int = 0
    gone: int = 0
    changed: int = 0
    refused: int = 0
    unknown: int = 0
    failed: int = 0
    overwrote: int = 0
    unanswered: int = 0

    def add(self, other: Counts) -> None:
        self.selected += other.selected
        self.fired += other.fired
        self.already += other.already
        self.gone += other.gone
        self.changed += other.changed
        self.refused += other.refused
        self.unknown += other.unknown
        self.failed += other.failed
        self.overwrote += other.overwrote
        self.unanswered += other.unanswered

    def at_least(self, other: Counts) -> None:
        """Each count becomes no less than the other's; but what was unknown may be known by now."""
        for name in self.__struct_fields__:
            if name != "unknown":
                setattr(self, name, max(getattr(self, name), getattr(other, name)))

    def sum_up(self) -> None:
        """`selected` becomes the sum of what became of the items."""
        became = (self.fired, self.already, self.gone, self.changed, self.refused, self.unknown, self.failed)
        self.selected = sum(became)


class TouchReport(msgspec.Struct):
    """The result of a touch. `seen` is None where it was not or cannot be looked for.

    `leftover` counts the items that failed, were refused, are unknown or not seen on the stream: `restrike runs show
    RUN --leftover`. `refused`: the attribute held what is no run's. `overwrote`: of those that fired, how many bore
    another run's name. `unknown`: written or not, nothing tells.
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
    refused: int = 0
    unknown: int = 0
    overwrote: int = 0
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
            "overwrote",
            "already",
            "gone",
            "changed",
            "refused",
            "unknown",
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
        """0 done, 1 items failed, were refused or are unknown, 6 written but not seen, 130 interrupted; 3 the run
        itself failed."""
        if self.state == "INTERRUPTED":
            return 130
        if self.state == "FAILED":
            return 3
        if self.failed or self.refused or self.unknown:
            return 1
        return 6 if self.leftover else 0


class ReplayReport(msgspec.Struct):
    """The result of a replay. Counts are of records; `first_s` and `last_s` are creation times in epoch seconds.

    `gaps` is what the source has lost. `readers` says what the replay was beside the stream's other readers. `reasons`
    are the most frequent ones for which records failed, and of how many records. `done_at` is when the run was complete
    (epoch seconds), where it was so before, and nothing was sent now.
    """

    run: str
    source: str
    target: str
    state: State
    selected: int
    filtered: int
    delivered: int
    skipped_superseded: int
    skipped_deleted: int
    failed: int
    batches: int
    invocations: int
    fidelity: dict[str, int]
    first_s: float | None
    last_s: float | None
    elapsed_s: float
    records_per_s: float
    ended: str
    gaps: list[Gap]
    on_failure: str | None
    gaps_allowed: bool = False
    readers: str | None = None
    verb: str = "replay"
    reasons: tuple[tuple[str, int], ...] = ()
    done_at: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "run": self.run,
            "verb": self.verb,
            "source": self.source,
            "target": self.target,
            "state": self.state,
            "selected": self.selected,
            "filtered": self.filtered,
            "delivered": self.delivered,
            "skipped_superseded": self.skipped_superseded,
            "skipped_deleted": self.skipped_deleted,
            "failed": self.failed,
            "batches": self.batches,
            "invocations": self.invocations,
            "fidelity": self.fidelity,
            "first": iso_or_none(self.first_s),
            "last": iso_or_none(self.last_s),
            "elapsed_s": self.elapsed_s,
            "records_per_s": self.records_per_s,
            "ended": self.ended,
            "gaps": [
                {"shard": gap.shard, "from": iso_or_none(gap.from_s), "to": iso_or_none(gap.to_s), "why": gap.why}
                for gap in self.gaps
            ],
            "readers": self.readers,
            "on_failure": self.on_failure,
            "reasons": [{"error": error, "records": records} for error, records in self.reasons],
            "nothing_new": self.done_at is not None,
            "done_at": iso_or_none(self.done_at),
        }

    @property
    def exit_code(self) -> int:
        """0 done, now or before, 1 records were given up, 4 the source lacks records, 130 interrupted, 5 delivery
        failed."""
        if self.done_at is not None:
            return 0
        if self.state == "INTERRUPTED":
            return 130
        if self.state == "FAILED":
            return 5
        if self.failed:
            return 1
        return 4 if self.gaps and not self.gaps_allowed else 0


class Staying(msgspec.Struct, frozen=True):
    """A message that stays where it is, and why. `name` is its MessageId, or where it lies. After `expires` it is of no
    use: `expires_by` the stream, which forgets what it points at, or by the queue, which deletes it."""

    name: str
    why: str
    expires: str | None = None
    expires_by: str = ""


class RedriveReport(ReplayReport):
    """What a redrive did with records, and with the messages that tell of them. A message is done when each of its
    records was delivered, dropped by the mapping's filter, or skipped by choice. `stays` are the reasons for which the
    others stay, and how many; `staying` are the first of those, the soonest to expire first."""

    messages: int = 0
    done: int = 0
    deleted: int = 0
    stays: tuple[tuple[str, int], ...] = ()
    staying: tuple[Staying, ...] = ()

    @classmethod
    def of(cls, replay: ReplayReport, failures: str, target: str, **messages: Any) -> RedriveReport:
        """What it did with records, as its replay told it; and with messages."""
        members = {name: getattr(replay, name) for name in ReplayReport.__struct_fields__}
        return cls(**members | {"verb": "redrive", "source": failures, "target": target}, **messages)

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        told = {
            "messages": self.messages,
            "done": self.done,
            "deleted": self.deleted,
            "stays": [{"why": why, "messages": messages} for why, messages in self.stays],
            "staying": msgspec.to_builtins(self.staying),
        }
        return ReplayReport.as_json(self) | told

    @property
    def exit_code(self) -> int:
        """As of a replay; 4 where a message stays for another reason than records that failed."""
        code = ReplayReport.exit_code.fget(self)  # type: ignore[attr-defined]  # a property
        return code or (4 if self.stays and self.done_at is None else 0)


class RescueReport(msgspec.Struct):
    """What a rescue wrote. `stays` are the reasons for which records of messages are not in it, and how many. All
    messages stay: `staying` are the first of them, the soonest to expire first, and why they are not rescued, if so."""

    to: str
    messages: int
    pointers: int
    records: int
    written_bytes: int
    stays: tuple[tuple[str, int], ...]
    command: str
    staying: tuple[Staying, ...] = ()
    state: State = "COMPLETED"
    verb: str = "redrive"

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        whole: dict[str, Any] = msgspec.to_builtins(self)
        return whole | {"stays": [{"why": why, "messages": messages} for why, messages in self.stays]}

    @property
    def exit_code(self) -> int:
        """0 done, 4 records of some message are lost."""
        return 4 if self.stays else 0


class CaptureReport(msgspec.Struct):
    """What a capture added to its archive. `first_s` and `last_s` are creation times in epoch seconds."""

    run: str
    table: str
    archive: str
    streams: list[str]
    state: State
    records: int
    files: int
    written_bytes: int
    gaps: int
    first_s: float | None
    last_s: float | None
    elapsed_s: float
    ended: str
    verb: str = "capture"

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "run": self.run,
            "verb": self.verb,
            "table": self.table,
            "archive": self.archive,
            "streams": self.streams,
            "state": self.state,
            "records": self.records,
            "files": self.files,
            "bytes": self.written_bytes,
            "gaps": self.gaps,
            "first": iso_or_none(self.first_s),
            "last": iso_or_none(self.last_s),
            "elapsed_s": self.elapsed_s,
            "ended": self.ended,
        }

    @property
    def exit_code(self) -> int:
        """0 done, 4 the stream had forgotten records, 130 interrupted before the end."""
        if self.state == "INTERRUPTED":
            return 130
        return 4 if self.gaps else 0


class ExportReport(msgspec.Struct):
    """What became of an export's windows. `found` were exported already, `started` by this run; `items` and
    `billed_bytes` are of those that are complete. `replay` is the command for them."""

    run: str
    table: str
    to: str
    state: State
    since: str
    until: str
    windows: int
    completed: int
    under_way: int
    failed: int
    started: int
    found: int
    items: int
    billed_bytes: int
    elapsed_s: float
    replay: str
    verb: str = "export"

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        whole: dict[str, Any] = msgspec.to_builtins(self)
        return {"run": self.run, "verb": self.verb} | whole

    @property
    def exit_code(self) -> int:
        """0 all windows are complete, 130 interrupted, 3 one was refused or has failed."""
        if self.state == "INTERRUPTED":
            return 130
        return 3 if self.state == "FAILED" else 0
