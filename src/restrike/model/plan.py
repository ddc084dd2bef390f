"""What a run would do, before it does it."""

from __future__ import annotations

from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec


class PlanWarning(msgspec.Struct, frozen=True):
    """Something to know before executing; `code` is stable for tools."""

    code: str
    message: str


def lacking_images(view_type: str | None) -> str:
    """What a consumer misses in a stream of that view type."""
    missing = {"NEW_IMAGE": "no OldImage", "OLD_IMAGE": "no NewImage"}.get(view_type or "", "no images")
    return f"the stream's view type is {view_type}: records have {missing}."


class PlanData(Protocol):
    """What every verb's plan tells."""

    @property
    def warnings(self) -> tuple[PlanWarning, ...]: ...
    @property
    def expected(self) -> int | None: ...
    def as_json(self) -> dict[str, Any]: ...


D = TypeVar("D", bound=PlanData)


class Planned(Generic[D]):
    """A plan, and what can be asked of it before it is carried out.

    `ledger` is the file that its run is kept in; `follows`: it has no end, and being stopped is how it ends.
    `resume_words`: what whoever goes on with the run must say each time.
    """

    def __init__(self, data: D, ledger: str, *, follows: bool = False, resume_words: tuple[str, ...] = ()) -> None:
        self.data = data
        self.ledger = ledger
        self.follows = follows
        self.resume_words = resume_words

    @property
    def warnings(self) -> tuple[PlanWarning, ...]:
        return self.data.warnings

    def as_json(self) -> dict[str, Any]:
        return self.data.as_json()


def in_json(data: msgspec.Struct, *first: str, **instead: Any) -> dict[str, Any]:
    """The object of a plan: the verb first, and those members; some told in another form than they are held in."""
    whole: dict[str, Any] = msgspec.to_builtins(data) | instead
    return {"plan": {name: whole[name] for name in ("verb", *first)} | whole}


def _stays(stays: tuple[tuple[str, int], ...]) -> list[dict[str, Any]]:
    return [{"why": why, "messages": messages} for why, messages in stays]


class Consumer(msgspec.Struct, frozen=True):
    """Who gets the table's changes, and what it will see: `fires` is None where that cannot be told.

    `kind`: `lambda` (an event source mapping), `pipe` (EventBridge Pipes), `ingestion` (OpenSearch Ingestion), or
    `kinesis`, a data stream that gets them beside the table's own stream. `state` is the service's own word.
    """

    name: str
    kind: str
    state: str
    fires: bool | None
    why: str


class Items(msgspec.Struct, frozen=True):
    """How many items, and how that was counted. None where it was not counted."""

    count: int | None
    how: str


Counted = Literal["exact", "about", "at most", "at least", "unknown"]
"""How near a count is to what will be."""


class Estimate(msgspec.Struct, frozen=True):
    """Write and read request units, money (None where the count is unknown), and time in seconds."""

    wru: float | None
    rru: float | None
    usd: float | None
    seconds: float | None


class TouchPlanData(msgspec.Struct, frozen=True):
    """The plan of a touch, as data: what `--json` prints and the console draws.

    `prices` says whose prices the money is reckoned with, and of when.
    `view_type` and `readers` are empty where the table has no stream, and Kinesis alone gets what changes.
    `replicas` are the other Regions of a global table, and `consistency` (EVENTUAL or STRONG) is None where it is none.
    `change_data_units` are those of Kinesis Data Streams for DynamoDB, and `change_data_usd`, which is in the estimate,
    is about what they cost; None where there is no such destination or the count is unknown.
    `lag` says whether its pace is that of its consumers, and `max_lag_s` how far they may be behind then (None: it is
    not); `lag_usd` is what asking for that costs, which is not in the estimate. `late`: why it must not begin.
    `sample_others` counts the names of other runs in the sample. `done`: the run has done all of it already, what and
    when; the rest is as it was planned then, but for the command, which starts over.
    """

    run: str
    table: str
    account: str
    region: str
    table_arn: str
    endpoint: str
    view_type: str
    attribute: str
    mode: str
    selection: str
    items: Items
    sample_keys: tuple[str, ...]
    sample_size: int
    sample_already: int
    estimate: Estimate
    rate: str
    seconds_one_partition: float | None
    prices_as_of: str
    consumers: tuple[Consumer, ...]
    consumers_note: str
    readers: str
    verify: bool
    verify_why: str
    warnings: tuple[PlanWarning, ...]
    command: str
    verb: str = "touch"
    limit: int | None = None
    sample_others: dict[str, int] = {}
    done: str | None = None
    replicas: tuple[str, ...] = ()
    consistency: str | None = None
    change_data_units: float | None = None
    change_data_usd: float | None = None
    prices: str = ""
    lag: str = ""
    max_lag_s: float | None = None
    lag_usd: float | None = None
    late: str = ""

    @property
    def total(self) -> int | None:
        """How many items the run is to have when it ends, as far as that is known."""
        if self.items.count is None or self.limit is None:
            return self.items.count
        return min(self.items.count, self.limit)

    @property
    def expected(self) -> int | None:
        """How many there are without the limit, as far as that is known."""
        return self.items.count

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints: `{"plan": {…}}`, the members that scripts use first."""
        return in_json(self, "table", "selection", "items", "estimate", "consumers", "warnings", "command")


class ReplayPlanData(msgspec.Struct, frozen=True):
    """The plan of a replay, as data.

    `records` are those that the whole run is to have, behind window, filters and limit, and `counted` is how near that
    is. `invocations` and `longest_s` are of what is left of it. `settings` is (setting, value, where it comes from).
    `longest_s`: how long it takes at most, without retries; None where nothing bounds it. `nothing_new` says of a run
    that is complete what it did, and when: it is not begun again.
    """

    run: str
    source: str
    target: str
    records: Items
    first: str | None
    last: str | None
    fidelity: str
    ended: str
    settings: tuple[tuple[str, str, str], ...]
    filters: str
    superseded: dict[str, int] | None
    invocations: int | None
    longest_s: float | None
    usd: float | None
    prices_as_of: str
    readers: str | None
    on_failure: str
    gaps: tuple[str, ...]
    warnings: tuple[PlanWarning, ...]
    command: str
    counted: Counted = "unknown"
    without_limit: int | None = None
    nothing_new: str = ""
    prices: str = ""
    verb: str = "replay"

    @property
    def expected(self) -> int | None:
        """How many there are without the limit, as far as that is known."""
        return self.without_limit

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints: `{"plan": {…}}`."""
        settings = {name: {"value": value, "from": origin} for name, value, origin in self.settings}
        return in_json(self, settings=settings)


class CapturePlanData(msgspec.Struct, frozen=True):
    """The plan of a capture, as data. `usd_month_per_shard`: what polling one shard costs, beyond the free reads."""

    run: str
    table: str
    region: str
    stream_arn: str
    endpoint: str
    view_type: str
    archive: str
    begins: str
    ends: str
    readers: str
    usd_month_per_shard: float | None
    warnings: tuple[PlanWarning, ...]
    command: str
    prices: str = ""
    verb: str = "capture"

    @property
    def expected(self) -> int | None:
        """A stream is not counted."""
        return None

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints: `{"plan": {…}}`."""
        return in_json(self)


class ExportPlanData(msgspec.Struct, frozen=True):
    """The plan of an export, as data.

    `existing` windows are exported already, and `to_start` are not. `usd_at_least` is what those cost at least, `usd`
    what all may cost, by `usd_how`; None where that is not known. `replay` is the command for what was exported.
    """

    run: str
    table: str
    region: str
    endpoint: str
    to: str
    since: str
    until: str
    window_s: int
    windows: int
    existing: int
    to_start: int
    key: str | None
    usd_at_least: float
    usd: float | None
    usd_how: str
    prices_as_of: str
    replay: str
    nothing_new: str
    warnings: tuple[PlanWarning, ...]
    command: str
    verb: str = "export"

    @property
    def expected(self) -> int | None:
        return self.windows

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints: `{"plan": {…}}`."""
        return in_json(self)


class MessagePlan(msgspec.Struct, frozen=True):
    """A message of an on-failure destination, and what a redrive would do with it. `served_by` is where its records
    come from, empty where they are lost or not looked for; `to` who gets them, empty where `why` it stays."""

    name: str
    function: str | None
    condition: str
    failed: str | None
    expires: str | None
    records: int
    served_by: str
    to: str
    why: str


class RedrivePlanData(msgspec.Struct, frozen=True):
    """The plan of a redrive, as data. `messages` are the first of `message_count`; `parts` the replays that it is made
    of, one for each consumer. `stays` are the reasons for which messages stay where they are, and how many."""

    run: str
    failures: str
    target: str
    message_count: int
    taken: int
    messages: tuple[MessagePlan, ...]
    stays: tuple[tuple[str, int], ...]
    parts: tuple[ReplayPlanData, ...]
    if_superseded: str
    deletes: bool
    on_failure: str
    warnings: tuple[PlanWarning, ...]
    command: str
    nothing_new: str = ""
    verb: str = "redrive"

    @property
    def expected(self) -> int | None:
        """How many records there are, as far as that is known."""
        counts = [part.records.count for part in self.parts]
        return None if None in counts else sum(count for count in counts if count is not None)

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints: `{"plan": {…}}`."""
        return in_json(self, parts=[part.as_json()["plan"] for part in self.parts], stays=_stays(self.stays))


class QueuePlanData(msgspec.Struct, frozen=True):
    """The plan of a redrive from a queue, as data: a queue cannot be listed, so that only its attributes are told.
    After `moves_after` receives it moves a message to `moves_to`. A run takes `most` messages. `oldest_s`: the age of
    its oldest message, by its metric; `expires_in_s`: the time that is left of it at most, by the queue's retention and
    by the 24 h after a batch's arrival for which a pointer is good."""

    run: str
    failures: str
    target: str
    queue: str
    messages: int | None
    in_flight: int | None
    retention_s: int | None
    oldest_s: float | None
    expires_in_s: float | None
    moves_after: int | None
    moves_to: str
    most: int
    if_superseded: str
    deletes: bool
    warnings: tuple[PlanWarning, ...]
    command: str
    verb: str = "redrive"

    @property
    def expected(self) -> int | None:
        """Nobody knows how many records the messages tell of."""
        return None

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints: `{"plan": {…}}`."""
        return in_json(self)


class RescuePlanData(msgspec.Struct, frozen=True):
    """The plan of a rescue, as data: which pointers could be followed, and where their records would be written.
    `expires`: when the stream forgets the first record that it has. `expired` messages point at what it has forgot."""

    failures: str
    to: str
    message_count: int
    taken: int
    stays: tuple[tuple[str, int], ...]
    expires: str | None
    warnings: tuple[PlanWarning, ...]
    command: str
    verb: str = "redrive"
    run: str = ""
    expired: int = 0

    @property
    def expected(self) -> int | None:
        return None

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints: `{"plan": {…}}`."""
        return in_json(self, stays=_stays(self.stays))
