"""A table and who reads it, as a tree: table → stream → consumers with their health."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from restrike.cli.render.ink import Hanging, Ink
from restrike.cli.render.runs import short
from restrike.cli.render.spark import UNKNOWN, UNKNOWN_LETTER, cells, spark
from restrike.model.numbers import counted, duration, figure
from restrike.model.text import printable
from restrike.model.times import iso

if TYPE_CHECKING:
    from restrike.model.diagnosis import (
        Certainty,
        ConsumerSeen,
        Diagnosis,
        IndexSeen,
        Kept,
        Loss,
        Sign,
        StreamSeen,
        Undelivered,
    )
    from restrike.model.metrics import Series

STYLES: dict[Certainty, str] = {"certain": "bold red", "suspected": "yellow", "not visible": "dim"}
"""How sure a loss is → how it is written."""
_HEALTH: dict[Certainty, str] = {
    "certain": "lost records",
    "suspected": "may have lost records",
    "not visible": "not known",
}
_OF_SIGNS: dict[Sign, tuple[str, str]] = {
    "nothing": ("nothing shows", "green"),
    "late": ("late", "yellow"),
    "unknown": ("not known", "dim"),
}
"""How a consumer is of whom there is no more than that, and how it is written."""
_SURER: tuple[Certainty, ...] = ("certain", "suspected", "not visible")
_WORKS = ("Enabled", "RUNNING", "ACTIVE")
"""A mapping's, a pipe's, an ingestion's and a destination's word for being at work."""
_KINDS = {"lambda": "function", "pipe": "pipe", "ingestion": "OpenSearch Ingestion", "kinesis": "Kinesis data stream"}
_ROLES = {"day": "a day", "month": "a month", "hour": "an hour", "iso": "a time"}
_LABEL = 11
_FLAT_AGE_MS = 60_000.0
"""An age below it is no news: the highest block is at least that."""
_WIDE = 100
_SAMPLE = 30  # letters of a sampled value
_MAPPING = {
    "PolledEventCount": "polled",
    "FilteredOutEventCount": "filtered out",
    "InvokedEventCount": "invoked",
    "FailedInvokeEventCount": "failed",
    "DroppedEventCount": "dropped",
    "OnFailureDestinationDeliveredEventCount": "handed to the destination",
}


class Wiring:
    """Draws what was seen; `width` is the console's."""

    def __init__(self, diagnosis: Diagnosis, ink: Ink, width: int) -> None:
        self._seen = diagnosis.seen
        self._losses = diagnosis.losses
        self._ink = ink
        self._cells = 48 if width >= _WIDE else 24
        self._room = max(20, width - _LABEL - 11)
        """How long a text beside a consumer's label can be and stays on its line."""

    def tree(self) -> Tree:
        """The whole of it; below a table without a stream stand those who read beside it."""
        root = Tree(self._table(), guide_style="dim")
        on = [stream for stream in self._seen.streams if stream.on]
        for stream in on:
            branch = root.add(self._stream(stream))
            readers = [each for each in self._seen.consumers if each.kind != "kinesis"]
            for consumer in readers:
                branch.add(self._consumer(consumer))
            if not readers:
                branch.add(self._line("no consumer is seen", "yellow"))
        if not on:
            root.add(self._line("no stream: nothing that changes is told to anyone", "yellow"))
        for stream in self._seen.streams:
            if not stream.on:
                root.add(self._old(stream))
        for consumer in self._seen.consumers:
            if consumer.kind == "kinesis" or not on:
                root.add(self._consumer(consumer))
        if self._seen.indexes:
            root.add(self._indexes())
        root.add(self._memory())
        return root

    def scale(self) -> Hanging:
        """How the lines of blocks are read, and what looking cost."""
        seen = self._seen
        told = f"Looked at {iso(seen.now_s)}; no metric is seen"
        if seen.written is not None or any(consumer.metrics for consumer in seen.consumers):
            cell = duration((seen.now_s - seen.since_s) / self._cells)
            told = f"Metrics are from {iso(seen.since_s)} to {iso(seen.now_s)}; "
            told += f"a cell is {cell}, {UNKNOWN_LETTER if self._ink.plain else UNKNOWN} is unknown"
        if seen.asked_usd:
            told += f"; asking CloudWatch cost ${seen.asked_usd:.4f}"
        return self._line(f"{told}.", "dim")

    def _line(self, text: str | Text, style: str = "") -> Hanging:
        return Hanging(Text(), self._ink(text, style) if isinstance(text, str) else text, 0)

    def _row(self, label: str, text: str | Text, style: str = "") -> Hanging:
        return Hanging(self._ink(label, "dim"), self._ink(text, style) if isinstance(text, str) else text, _LABEL)

    # ── the table ─────────────────────────────────────────────────────────────────────────────────────────

    def _table(self) -> RenderableType:
        table, ink = self._seen.table, self._ink
        rows: list[RenderableType] = [
            ink.line((table.name, "bold"), f"  account {table.account}, {table.region}"),
            self._row("items", f"{table.item_count:,}; {table.size_bytes:,} bytes (told about every six hours)"),
            self._row("key", ", ".join(f"{each.name} ({each.type})" for each in table.key.attributes)),
        ]
        if table.on_demand:
            bound = table.max_write_request_units
            capacity = "on demand" + (f", at most {bound:,} write units a second" if bound else "")
        else:
            capacity = f"{table.write_capacity:,} write and {table.read_capacity:,} read units a second"
        rows.append(self._row("capacity", capacity))
        if table.status != "ACTIVE":
            rows.append(self._row("status", table.status, "yellow"))
        if table.consistency is not None:
            strength = {"EVENTUAL": "eventual", "STRONG": "strong"}[table.consistency]
            told = f"{', '.join(table.replica_regions) or 'not told'}; {strength} consistency"
            rows.append(self._row("replicas", told))
        if self._seen.ttl:
            rows.append(self._row("TTL", self._seen.ttl))
        written = self._seen.written
        if written is not None:
            line = self._spark(written, any_shows=True)
            rows.append(self._row("written", ink.line(line, f" {figure(written.total)} write units")))
        return Group(*rows)

    def _stream(self, stream: StreamSeen) -> RenderableType:
        seen, ink = self._seen, self._ink
        since = f", on since {iso(stream.since_s)}" if stream.since_s is not None else ""
        shards = f", {counted(stream.open_shards, 'open shard')}" if stream.open_shards else ""
        if stream.closed_shards:
            shards += f", {stream.closed_shards:,} closed"
        rows: list[RenderableType] = [Hanging(ink("stream", "bold"), ink(f"{stream.view_type}{since}{shards}"), _LABEL)]
        if seen.horizon is not None:
            told = seen.horizon.how
            if seen.horizon.oldest_s is not None:
                ago = short(seen.now_s - seen.horizon.oldest_s)
                told = f"from {iso(seen.horizon.oldest_s)} on ({ago} ago); {told}"
            rows.append(self._row("remembers", told))
        readers = f"{seen.readers} known of the 2 that a shard allows"
        if seen.readers_note:
            readers += f"; {seen.readers_note}"
        rows.append(self._row("readers", readers, "yellow" if seen.readers > 2 else ""))
        return Group(*rows)

    def _old(self, stream: StreamSeen) -> RenderableType:
        since = f", made {iso(stream.since_s)}" if stream.since_s is not None else ""
        told = f"{stream.view_type}{since}; switched off, and can be read for 24 hours after that"
        return Hanging(self._ink("old stream", "bold"), self._ink(told), _LABEL)

    # ── a consumer ────────────────────────────────────────────────────────────────────────────────────────

    def _consumer(self, consumer: ConsumerSeen) -> RenderableType:
        ink = self._ink
        health, style = self._health(consumer)
        head = ink.line(("●", style), " ", (consumer.name, "bold"), f"  {_KINDS.get(consumer.kind, consumer.kind)}, ")
        head.append_text(ink(consumer.state, "" if consumer.state in _WORKS else "yellow"))
        if health:
            head.append_text(ink.line(", ", (health, style)))
        rows: list[RenderableType] = [self._line(head)]
        if consumer.mapping:
            rows.append(self._row("mapping", consumer.mapping))
        if consumer.stream:
            label = consumer.stream.rpartition("/")[2]
            rows.append(self._row("stream", f"an earlier one ({label}), to which nothing is written", "yellow"))
        settings = ", ".join(_settings(consumer))
        if settings:
            rows.append(self._row("settings", settings))
        rows += [self._row("filter", printable(text, most=self._room, keep="")) for text in consumer.filters[:2]]
        if len(consumer.filters) > 2:
            rows.append(self._row("", f"and {len(consumer.filters) - 2} more"))
        rows.append(self._row("touch", *self._touch(consumer)))
        if consumer.last_result and consumer.last_result not in ("OK", "No records processed"):
            rows.append(self._row("last", consumer.last_result, "yellow"))
        if consumer.changed_s is not None:
            ago = short(self._seen.now_s - consumer.changed_s)
            rows.append(self._row("code", f"changed {iso(consumer.changed_s)} ({ago} ago)"))
        rows += self._metrics(consumer)
        if consumer.on_failure is not None:
            rows.append(self._row("on failure", _undelivered(consumer.on_failure)))
        elif consumer.mapping:
            rows.append(self._row("on failure", "no destination: what it gives up is told to nobody"))
        return Group(*rows)

    def _health(self, consumer: ConsumerSeen) -> tuple[str, str]:
        """By the surest of its losses; nothing of who was not meant."""
        losses = [loss for loss in self._losses if loss.consumer == consumer.name]
        if not losses:
            return "", "dim"
        worst = min(losses, key=lambda loss: _SURER.index(loss.certainty))
        return _OF_SIGNS.get(worst.sign) or (_HEALTH[worst.certainty], STYLES[worst.certainty])

    @staticmethod
    def _touch(consumer: ConsumerSeen) -> tuple[str, str]:
        fires = consumer.will_fire.fires
        sign = {True: "fires", False: "does not fire", None: "unknown"}[fires]
        refused = consumer.will_fire.refused
        by = f"; {'the rest is ' if fires else ''}refused by {', '.join(refused)}" if refused else ""
        return f"{sign}: {consumer.will_fire.why}{by}", "" if fires else "yellow"

    def _metrics(self, consumer: ConsumerSeen) -> Iterable[RenderableType]:
        told, ink = consumer.metrics, self._ink
        shared = ", of all that call it" if consumer.shares_function else ""
        errors, invoked = told.get("Errors"), told.get("Invocations")
        if errors is not None:
            share = f" ({errors.total / invoked.total:.1%})" if invoked is not None and errors.total else ""
            among = f" of {counted(round(invoked.total), 'call')}{share}" if invoked is not None else ""
            text = f" {figure(errors.total)}{among}{shared}" if errors.points else f" nothing is told{shared}"
            style = "red" if errors.total else ""
            yield self._row("errors", ink.line(self._spark(errors, any_shows=True, style=style), text))
        throttles = told.get("Throttles")
        if throttles is not None and throttles.total:
            line = self._spark(throttles, any_shows=True, style="yellow")
            yield self._row("throttles", ink.line(line, f" {figure(throttles.total)}{shared}"))
        age = told.get("IteratorAge")
        if age is not None:
            line = self._spark(age, any_shows=False, style="yellow" if (age.most or 0) > _FLAT_AGE_MS else "")
            yield self._row("age", ink.line(line, f" {_ages(age)}"))
        mapping = [f"{figure(told[name].total)} {word}" for name, word in _MAPPING.items() if name in told]
        if mapping:
            yield self._row("events", ", ".join(mapping))
        lost = told.get("DestinationDeliveryFailures")
        if lost is not None and lost.total:
            told_of = counted(round(lost.total), "message")
            yield self._row("lost", f"{told_of} that the destination did not take", "bold red")

    def _spark(self, series: Series, *, any_shows: bool, style: str = "") -> Text:
        seen = self._seen
        of_age = series.metric.stat == "Maximum"
        values = cells(series, seen.since_s, seen.now_s, self._cells, max if of_age else sum)
        line = spark(values, full=_FLAT_AGE_MS if of_age else 0.0, any_shows=any_shows, plain=self._ink.plain)
        return Text(line, style=style)

    # ── what could select, and what remembers ─────────────────────────────────────────────────────────────

    def _indexes(self) -> RenderableType:
        others = [index.name for index in self._seen.indexes if index.name and not index.by_date]
        rows = [self._row("by date", _by_date(index)) for index in self._seen.indexes if index.by_date]
        if not rows:
            rows.append(self._row("by date", "nothing selects by date", "yellow"))
        if others:
            rows.append(self._row("others", ", ".join(others)))
        return Group(self._ink("selects", "bold"), *rows)

    def _memory(self) -> RenderableType:
        rows: list[RenderableType] = []
        point = self._seen.point_in_time
        if point is not None and point.on:
            since = f" from {iso(point.earliest_s)}" if point.earliest_s is not None else ""
            until = f" to {iso(point.latest_s)}" if point.latest_s is not None else ""
            rows.append(self._row("exports", f"can be asked for{since}{until} (point-in-time recovery is on)"))
        elif point is not None:
            rows.append(self._row("exports", "none can be asked for: point-in-time recovery is off"))
        none = {"archive": "none is known"}
        for kept in self._seen.kept:
            none.pop(kept.kind, None)
            rows.append(self._row(kept.kind, _kept(kept)))
            rows += [self._row("", gap, "yellow") for gap in kept.gaps]
        rows += [self._row(kind, told) for kind, told in none.items()]
        rows += [self._row("failures", _undelivered(named)) for named in self._seen.failures]
        return Group(self._ink("kept", "bold"), *rows)


def _settings(consumer: ConsumerSeen) -> Iterable[str]:
    if consumer.batch_size is not None:
        yield f"batches of {consumer.batch_size:,}"
    if consumer.window_s:
        yield f"gathered for {consumer.window_s} s"
    if consumer.parallel not in (None, 1):
        yield f"{consumer.parallel} in parallel"
    if consumer.retries is not None:
        yield ("endless retries" if consumer.retries < 0 else _retries(consumer.retries))
    if consumer.max_age_s is not None and consumer.max_age_s >= 0:
        yield f"records of at most {duration(consumer.max_age_s)}"
    if consumer.bisects is not None:
        yield "bisects" if consumer.bisects else "no bisecting"


def _retries(number: int) -> str:
    if number < 0:
        return "endless retries"
    return "1 retry" if number == 1 else f"{number:,} retries"


def _undelivered(found: Undelivered) -> str:
    told = found.uri or found.arn
    if found.messages is not None:
        told += f", {counted(found.messages, 'message')}"
    if found.oldest_age_s is not None:
        told += f", the oldest {duration(found.oldest_age_s)} old"
    if found.expires_in_s is not None:
        left_s = found.expires_in_s
        told += f", the first expires in {duration(left_s)}" if left_s > 0 else ", the first is expired"
    return told + (f"; {found.why_not}" if found.why_not else "")


def _ages(age: Series) -> str:
    if age.most is None:
        return "nothing is told"
    return f"up to {duration(age.most / 1000)}, last {duration(age.points[-1][1] / 1000)}"


def _by_date(index: IndexSeen) -> str:
    what = _ROLES.get(index.form, f"a time in {index.form.removeprefix('epoch ')}")
    samples = f" ({', '.join(printable(each, most=_SAMPLE) for each in index.samples)})" if index.samples else ""
    told = f"{index.name or 'the key of the table'}: {index.attribute}, its {index.role} key, is {what}{samples}"
    if index.entries_a_day is not None:
        told += f"; about {figure(round(index.entries_a_day))} entries a day"
    if index.wru_a_day is not None:
        told += f", {figure(round(index.wru_a_day))} write units to touch them"
    if index.entries_a_day is not None or index.wru_a_day is not None:
        told += f" (estimated from {index.sampled:,})"
    if index.sparse:
        told += "; sparse: not every item is in it"
    return told


def _kept(kept: Kept) -> str:
    told = kept.name
    if kept.verb:
        told += f" ({kept.verb})"
    if kept.since_s is not None:
        told += f", from {iso(kept.since_s)}"
    if kept.until_s is not None:
        told += f" to {iso(kept.until_s)}"
    if kept.fidelity is not None:
        told += f", {kept.fidelity}"
    return told + (f", {kept.state}" if kept.state else "")


def window_of(loss: Loss) -> str:
    """From when to when, and how long that is, as far as it is known."""
    if loss.until_s is None:
        return f"from {iso(loss.since_s)} on, to an unknown end" if loss.since_s is not None else ""
    if loss.since_s is None:
        return f"from an unknown beginning to {iso(loss.until_s)}"
    return f"from {iso(loss.since_s)} to {iso(loss.until_s)} ({duration(loss.until_s - loss.since_s)})"
