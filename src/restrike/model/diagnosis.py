"""What `restrike doctor` saw, and what follows from it. All moments are epoch seconds."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from restrike.model.metrics import Series
from restrike.model.plan import PlanWarning
from restrike.model.record import Fidelity
from restrike.model.table import TableInfo
from restrike.model.times import iso_or_none
from restrike.model.window import Window

Certainty = Literal["certain", "suspected", "not visible"]
"""certain: a mapping gave these records up, or dropped them. suspected: something failed, and may have lost nothing.
not visible: nothing shows, which a bug that threw nothing looks like, too."""
Sign = Literal[
    "given up", "undelivered", "dropped", "errors", "throttles", "silence", "stopped", "late", "nothing", "unknown"
]
"""By what it shows. undelivered: given up, and no message of it could be left. late: healthy, and behind. nothing: it
was looked at, and nothing shows. unknown: it could not be looked at, or not at all of it."""
Covers = Literal["whole", "part", "unknown"]
_MOMENTS = ("now", "since", "until", "oldest", "earliest", "latest", "changed", "expires")
"""Members that are moments; in JSON they are told as everywhere, and without their unit."""


class Asked(msgspec.Struct, frozen=True):
    """What a person narrowed it to. Without a window the losses say which one is meant."""

    window: Window = Window()
    key: tuple[str, ...] = ()
    """As `--key` was given, to be given on."""
    consumer: str | None = None


class Unseen(msgspec.Struct, frozen=True):
    """What could not be seen: what, why (denied, late, not there), and the permission that it takes ("": none)."""

    what: str
    why: str
    permission: str = ""


class StreamSeen(msgspec.Struct, frozen=True):
    """A stream of the table, on or off; `on` is true of the one that is written. `since_s` is when it was made."""

    arn: str
    view_type: str
    on: bool
    since_s: float | None = None
    open_shards: int = 0
    closed_shards: int = 0


class Horizon(msgspec.Struct, frozen=True):
    """The oldest record that the stream still has; None where that was not read, `how` says why or how it was."""

    oldest_s: float | None
    how: str


class IndexSeen(msgspec.Struct, frozen=True):
    """An index (or the table's own key, `name` ""), and whether it could select by date.

    `attribute` is the key attribute that holds dates, `type` its type (S, N), `role` which key it is, `form` how a date
    is spelled there (`day`, `month`, `hour`, `iso`, `epoch s`, `epoch ms`); all four "" where none does. `--date` takes
    a partition key's days and months, and, beside a `--partition-key`, each form of a sort key. `samples`: up to three
    of its values. `sparse`: whether items are missing in it, None where that cannot be told; it goes by item counts of
    index and table, which are both some six hours old. `entries_a_day` and `wru_a_day` (what touching one day costs in
    write units) are estimates from `sampled` entries.
    """

    name: str
    partition: str
    sort: str = ""
    projection: str = "ALL"
    items: int = 0
    attribute: str = ""
    type: str = ""
    role: Literal["", "partition", "sort"] = ""
    form: str = ""
    samples: tuple[str, ...] = ()
    sparse: bool | None = None
    sampled: int = 0
    entries_a_day: float | None = None
    wru_a_day: float | None = None

    @property
    def by_date(self) -> bool:
        return self.role != ""


class PointInTime(msgspec.Struct, frozen=True):
    """Point-in-time recovery: whether it is on, and from when to when an export may be asked for."""

    on: bool
    earliest_s: float | None = None
    latest_s: float | None = None


class Undelivered(msgspec.Struct, frozen=True):
    """An on-failure destination: `kind` is sqs, sns, s3, file or other. Numbers are None where they cannot be known.

    `oldest_age_s`: of its oldest message. `expires_in_s`: until that one's pointer, or the message itself, is of no
    more use; None where it holds payloads (S3), which do not expire. `redrivable`: `restrike redrive` takes it as it is
    (an SNS topic it does not, a queue behind one it does). `uri` is what redrive and `failures:` take.
    """

    arn: str
    kind: str
    uri: str = ""
    messages: int | None = None
    oldest_age_s: float | None = None
    expires_in_s: float | None = None
    redrivable: bool = False
    why_not: str = ""
    retention_s: int | None = None


class WillFire(msgspec.Struct, frozen=True):
    """Whether touch fires it: `matches` of `sampled` items, as touch would change them, pass its filters; None: that
    cannot be told. `why` says so in words, `refused` which part of the pattern refused the rest (`eventName`)."""

    fires: bool | None
    why: str
    matches: int = 0
    sampled: int = 0
    refused: tuple[str, ...] = ()


class ConsumerSeen(msgspec.Struct, frozen=True):
    """Who gets the table's changes. `kind`: lambda, pipe, ingestion or kinesis. `state` is the service's own word.

    What is of Lambda alone is "" or None elsewhere: `function` (as `lambda:` takes it), `mapping` (its UUID), batch
    settings (retries and age: -1 is for ever), when the function was last changed, and `metrics` by their names:
    Invocations, Errors, Throttles, IteratorAge (ms, Maximum), DestinationDeliveryFailures, and where the mapping's own
    are on PolledEventCount, FilteredOutEventCount, InvokedEventCount, FailedInvokeEventCount, DroppedEventCount,
    OnFailureDestinationDeliveredEventCount. A metric that was not answered is not there; one without a value is empty.
    """

    name: str
    kind: str
    state: str
    will_fire: WillFire
    function: str = ""
    mapping: str = ""
    last_result: str = ""
    reads_now: bool = True
    batch_size: int | None = None
    window_s: int | None = None
    parallel: int | None = None
    retries: int | None = None
    max_age_s: int | None = None
    bisects: bool | None = None
    filters: tuple[str, ...] = ()
    on_failure: Undelivered | None = None
    changed_s: float | None = None
    mapping_metrics: bool = False
    stream: str = ""
    """The ARN of the stream that it reads, where that is an earlier one of the table, which nothing is written to."""
    shares_function: bool = False
    """Its function has other event sources or callers that are known: its metrics are not of this table alone."""
    metrics: dict[str, Series] = {}


class Kept(msgspec.Struct, frozen=True):
    """Something that holds records or items of the past: `kind` is archive, export or run; `name` what the verbs take
    (a path or URI, or a run's name). `fidelity` of what it holds; `state` in its own words; gaps as sentences."""

    kind: Literal["archive", "export", "run"]
    name: str
    since_s: float | None = None
    until_s: float | None = None
    fidelity: Fidelity | None = None
    state: str = ""
    verb: str = ""
    gaps: tuple[str, ...] = ()


class Seen(msgspec.Struct, frozen=True):
    """All that was looked at, and when (`now_s`, the service's clock). `since_s`: how far back metrics were asked for.

    `readers`: how many of a shard's two are known; `readers_note`: who may read beside them, and what hints at it.
    `written`: the table's ConsumedWriteCapacityUnits (Sum), None where it was not answered. `returned`:
    ReturnedRecordsCount of the stream. `asked_usd`: what looking cost at CloudWatch.
    """

    table: TableInfo
    now_s: float
    since_s: float
    streams: tuple[StreamSeen, ...] = ()
    horizon: Horizon | None = None
    indexes: tuple[IndexSeen, ...] = ()
    ttl: str | None = None
    point_in_time: PointInTime | None = None
    consumers: tuple[ConsumerSeen, ...] = ()
    readers: int = 0
    readers_note: str = ""
    written: Series | None = None
    returned: Series | None = None
    kept: tuple[Kept, ...] = ()
    failures: tuple[Undelivered, ...] = ()
    """What `--failures` named, and is no consumer's own."""
    unseen: tuple[Unseen, ...] = ()
    warnings: tuple[PlanWarning, ...] = ()
    asked_usd: float = 0.0
    period_s: int = 300
    flags: tuple[str, ...] = ()
    """`--region`, `--profile`, `--endpoint-url` as they were given: each command that is handed over needs them."""


class Loss(msgspec.Struct, frozen=True):
    """What a consumer may have lost, and how sure that is. `records` is a number of records, None where it is unknown;
    `since_s` and `until_s`, of when the records were written, are None where that end is unknown. `first_s` is when the
    sign of it was first seen (the start of a period), None where there is none or that is unknown. `hint`: what helps
    to know more."""

    consumer: str
    certainty: Certainty
    what: str
    since_s: float | None = None
    until_s: float | None = None
    records: int | None = None
    hint: str = ""
    sign: Sign = "unknown"
    first_s: float | None = None


class Way(msgspec.Struct, frozen=True):
    """One way to fire again, with the command to paste, which prints its plan and changes nothing as it stands.

    `expires_s`: until when it can be gone; None: it does not expire, or that is unknown. `only`: only the consumer that
    is meant (`consumer`, "": all of them) fires; `others` names who would fire, too. `usd` and `seconds` are None where
    they cannot be reckoned, and `prices` says whose prices `usd` is reckoned with, and of when. `fill`: words of the
    command that whoever pastes it has to put a name or value for (`BUCKET`).
    """

    verb: str
    title: str
    command: str
    fidelity: Fidelity
    covers: Covers
    expires_s: float | None = None
    only: bool = True
    others: tuple[str, ...] = ()
    records: int | None = None
    usd: float | None = None
    seconds: float | None = None
    cannot: tuple[str, ...] = ()
    consumer: str = ""
    prices: str = ""
    fill: tuple[str, ...] = ()


class Closed(msgspec.Struct, frozen=True):
    """A way that is not open, and why: what would open it."""

    title: str
    why: str


class Advice(msgspec.Struct, frozen=True):
    """Something to change some other day, so that the next time is easier. `command` may be ""; `code` is for tools."""

    code: str
    text: str
    command: str = ""


class Diagnosis(msgspec.Struct, frozen=True):
    """The whole of it: what `--json` prints and people see."""

    asked: Asked
    seen: Seen
    losses: tuple[Loss, ...]
    ways: tuple[Way, ...]
    closed: tuple[Closed, ...]
    advice: tuple[Advice, ...]

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints: `{"doctor": {…}}`, what follows first, and then what was seen. Moments are
        ISO 8601."""
        whole: dict[str, Any] = _told(msgspec.to_builtins(self))
        first = {"table": self.seen.table.name, "now": whole["seen"]["now"]}
        return {"doctor": first | {name: whole[name] for name in ("losses", "ways", "closed", "advice")} | whole}


def _told(value: Any) -> Any:
    """The same with its moments as they are told; the points of a metric too."""
    if isinstance(value, list | tuple):
        return [_told(each) for each in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for name, held in value.items():
        if name == "points":
            found[name] = [[iso_or_none(start_s), number] for start_s, number in held]
        elif name.removesuffix("_s") in _MOMENTS and name.endswith("_s"):
            found[name.removesuffix("_s")] = iso_or_none(held)
        else:
            found[name] = _told(held)
    return found
