"""The ways that hand records to one consumer again: redrive, and replay from stream, archive or export."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec

from restrike.model import cost
from restrike.model.diagnosis import Asked, Closed, ConsumerSeen, Covers, Kept, Loss, Seen, StreamSeen, Undelivered, Way
from restrike.model.losses import UNKNOWN_S
from restrike.model.meant import REMEMBERED_S, window_meant
from restrike.model.numbers import counted, duration, money
from restrike.model.pasted import BUCKET, command, sentences, window_words
from restrike.model.plan import lacking_images
from restrike.model.prices import ELSEWHERE, Name, Prices
from restrike.model.record import Fidelity
from restrike.model.times import iso
from restrike.model.window import Window

BATCH_SIZE = 100  # of a mapping that does not tell
MINUTE_S = 60
LEAST_EXPORT_S, MOST_EXPORT_S = 900, 86_400
"""How long a window of an incremental export is (DynamoDB Developer Guide, *Requesting a table export*)."""
NET = (
    "of a window's changes to an item it has the net one, and nothing of what was inserted and deleted within it",
    "what time to live deleted cannot be told apart",
)
_WITH_MESSAGES = {"given up", "errors", "throttles"}
"""Signs of what a mapping that gives up leaves messages of."""


def replay_ways(seen: Seen, asked: Asked, consumer: ConsumerSeen, losses: Sequence[Loss]) -> Iterator[Way | Closed]:
    """Those to that consumer, open or closed; `losses` are its own."""
    if not consumer.function:
        why = "a replay hands records to a function, a handler or a file: this one fires by the table's stream alone"
        place = consumer.on_failure
        if place is not None and place.messages and place.redrivable:
            why += f"; what it gave up can be redriven to a function: restrike redrive {place.uri} --to lambda:NAME"
        yield Closed(f"replay to {consumer.name}", why)
        return
    window = window_meant(asked, losses)
    yield _redrive(seen, asked, consumer, losses)
    yield from _from_streams(seen, asked, consumer, window)
    yield from _from_kept(seen, asked, consumer, window)
    yield _export_first(seen, asked, consumer, window)


# ── redrive ──────────────────────────────────────────────────────────────────────────────────────────────


def _redrive(seen: Seen, asked: Asked, consumer: ConsumerSeen, losses: Sequence[Loss]) -> Way | Closed:
    place = consumer.on_failure
    why = (
        "it has no on-failure destination: what its mapping gave up left no message" if place is None else _shut(place)
    )
    if place is None or why:
        return Closed(f"redrive to {consumer.name}", why)
    sharing = tuple(
        each.name
        for each in seen.consumers
        if each is not consumer and each.on_failure is not None and each.on_failure.arn == place.arn
    )
    records = next((loss.records for loss in losses if loss.sign == "given up"), None)
    usd, prices = _usd(seen, consumer, records)
    return msgspec.structs.replace(
        _of_messages(seen, place, f"to {consumer.name}"),
        covers=_covered_by_messages(asked, losses, lost=_expired(place) and not _archives(seen)),
        only=not sharing,
        others=sharing,
        records=records,
        usd=usd,
        prices=prices,
        consumer=consumer.name,
    )


def redrives_named(seen: Seen) -> Iterator[Way | Closed]:
    """Of the messages that were named, and are no consumer's own."""
    for place in seen.failures:
        why = _shut(place)
        yield Closed(f"redrive {place.uri or place.arn}", why) if why else _of_messages(seen, place, f"of {place.uri}")


def _shut(place: Undelivered) -> str:
    """Why its messages cannot be redriven; "" where they can."""
    if not place.redrivable or not place.uri:
        return place.why_not or f"messages cannot be taken from {place.arn}"
    return f"{place.uri} holds no message" if place.messages == 0 else ""


def _of_messages(seen: Seen, place: Undelivered, whose: str) -> Way:
    archives, expires_in_s = _archives(seen), place.expires_in_s
    many = "the messages" if place.messages is None else counted(place.messages, "message")
    lost = "their records come from the archive" if archives else "their records are nowhere here"
    soon = f", the first expires in {duration(expires_in_s)}" if expires_in_s else ""
    return Way(
        verb="redrive",
        title=f"redrive {many} {whose}{soon}",
        command=command(
            seen, "redrive", place.uri, "--to", "original", *(["--archive", archives[0]] if archives else [])
        ),
        fidelity="exact",
        covers="unknown",
        expires_s=seen.now_s + expires_in_s if expires_in_s else None,
        cannot=sentences(
            "it has what was given up, and nothing that a function took without an error",
            "it takes all messages: no window and no key",
            f"the oldest pointers have expired: {lost}" if _expired(place) else "",
            _superseded(seen),
        ),
    )


def _expired(place: Undelivered) -> bool:
    return place.expires_in_s is not None and place.expires_in_s <= 0


def _archives(seen: Seen) -> list[str]:
    return [kept.name for kept in seen.kept if kept.kind in _SCHEMES and _exact(kept)]


def _covered_by_messages(asked: Asked, losses: Sequence[Loss], *, lost: bool) -> Covers:
    """Whole, where all that was lost is what its mapping gave up, and left messages of."""
    signs = {loss.sign for loss in losses if loss.certainty != "not visible"}
    if asked.window.since_s is not None and "given up" not in signs:
        return "unknown"
    return "whole" if "given up" in signs and signs <= _WITH_MESSAGES and not lost else "part"


# ── from a stream ────────────────────────────────────────────────────────────────────────────────────────


def _from_streams(seen: Seen, asked: Asked, consumer: ConsumerSeen, window: Window) -> Iterator[Way | Closed]:
    streams = seen.streams
    if not streams and seen.table.stream_arn is not None:
        streams = (StreamSeen(seen.table.stream_arn, seen.table.view_type or "", on=True),)
    if not any(stream.on for stream in streams):
        yield Closed("replay from the stream", "the table's stream is off; switched on, it has what is written then")
    made_s = [stream.since_s for stream in streams if stream.on]
    for stream in streams:
        since_s, until_s = stream.since_s, None if stream.on else next(iter(made_s), None)
        oldest_s = seen.now_s - REMEMBERED_S  # it remembers at least as far back
        if stream.on and seen.horizon is not None and seen.horizon.oldest_s is not None:
            oldest_s = seen.horizon.oldest_s
        oldest_s = oldest_s if since_s is None else max(oldest_s, since_s)
        held = Window(oldest_s, seen.now_s if stream.on else until_s)
        covers = _covers(window, held, seen.now_s)
        what = "the stream" if stream.on else f"the stream that was switched off ({stream.arn.rpartition('/')[2]})"
        if covers is None:
            yield Closed(f"replay from {what}", f"it has what was written from {iso(oldest_s)} on")
            continue
        # The whole is whole as long as its first record is there; a part is less each minute, down to its last.
        lasts_until = {"whole": window.since_s, "part": window.until_s}.get(covers)
        yield _replay(
            seen,
            asked,
            consumer,
            window,
            source=f"stream:{seen.table.name}" if stream.on else stream.arn,
            title=f"replay from {what} to {consumer.name}",
            fidelity="exact",
            covers=covers,
            expires_s=None if lasts_until is None else lasts_until + REMEMBERED_S,
            cannot=sentences(
                "it forgets more of that each minute" if covers == "part" else "",
                "" if stream.view_type in ("", "NEW_AND_OLD_IMAGES") else lacking_images(stream.view_type).rstrip("."),
                "two readers of a shard are known already: this one more is throttled, or throttles them"
                if stream.on and seen.readers >= 2
                else "",
                _superseded(seen),
            ),
            reads=True,
        )


# ── from what was kept ───────────────────────────────────────────────────────────────────────────────────

_SCHEMES: dict[str, str] = {"archive": "archive", "export": "export"}
"""Of what is kept: the source that reads it."""
_FIDELITY: dict[str, Fidelity] = {"archive": "exact", "export": "net"}


def _exact(kept: Kept) -> bool:
    return (kept.fidelity or _FIDELITY.get(kept.kind)) == "exact"


def _from_kept(seen: Seen, asked: Asked, consumer: ConsumerSeen, window: Window) -> Iterator[Way | Closed]:
    places = [kept for kept in seen.kept if kept.kind in _SCHEMES]
    if not any(map(_exact, places)):
        why = "none is known; restrike capture keeps a stream from now on, and --archive names one that there is"
        yield Closed("replay from an archive", why)
    for kept in places:
        fidelity, held = kept.fidelity or _FIDELITY[kept.kind], Window(kept.since_s, kept.until_s)
        title = f"replay from the {kept.kind} {kept.name}"
        covers: Covers | None
        if fidelity == "synthetic":  # items as of one time: of what changed before it, in whatever window
            covers = None if held.until_s is not None and held.until_s <= (window.since_s or 0.0) else "part"
        else:
            covers = _covers(window, held, seen.now_s)
        if covers is None:
            yield Closed(title, f"it has what was written {_from_to(kept)}")
            continue
        asking = _asking(window, held, fidelity)
        yield _replay(
            seen,
            asked,
            consumer,
            asking,
            source=f"{_SCHEMES[kept.kind]}:{kept.name}",
            title=f"{title} to {consumer.name}",
            fidelity=fidelity,
            covers="part" if kept.gaps and covers == "whole" else covers,
            cannot=sentences(kept.gaps, _LACKING[fidelity], _superseded(seen)),
            counts=covers == "whole" and asking == window,
        )


def _asking(window: Window, held: Window, fidelity: Fidelity) -> Window:
    """What of the window to ask for: what is before the first record would be a gap, and an export's window has no end
    within it."""
    if fidelity == "synthetic":
        return Window()
    begins_s = window.since_s
    if begins_s is not None and held.since_s is not None:
        begins_s = max(begins_s, held.since_s)
    return Window(begins_s, window.until_s if fidelity == "exact" else None)


def _from_to(kept: Kept) -> str:
    since = "" if kept.since_s is None else f"from {iso(kept.since_s)} "
    return f"{since}{'on' if kept.until_s is None else f'to {iso(kept.until_s)}'}"


_LACKING: dict[Fidelity, tuple[str, ...]] = {
    "exact": (),
    "net": (*NET, "it ends with an export's window, and so maybe later"),
    "synthetic": ("its records are made of items as they were at one time: it has no change, and no deleted item",),
}


# ── a new export ─────────────────────────────────────────────────────────────────────────────────────────


def _export_first(seen: Seen, asked: Asked, consumer: ConsumerSeen, window: Window) -> Way | Closed:
    title, recovery = "export, then replay", seen.point_in_time
    if recovery is None:
        unseen = next((each for each in seen.unseen if "point-in-time" in each.what.lower()), None)
        why = f": {unseen.why}" if unseen is not None else ""
        return Closed(title, f"whether point-in-time recovery is on could not be seen{why}")
    if not recovery.on:
        why = "point-in-time recovery is off; switched on, it exports what is written from then on"
        return Closed(title, why)
    if window.since_s is None:
        return Closed(title, "it is not known since when: --since says it")
    latest_s = recovery.latest_s if recovery.latest_s is not None else seen.now_s - UNKNOWN_S
    covers = _covers(window, Window(recovery.earliest_s, latest_s), seen.now_s)
    if covers is None:
        begins = "" if recovery.earliest_s is None else f" from {iso(recovery.earliest_s)}"
        return Closed(title, f"point-in-time recovery reaches{begins} to {iso(latest_s)}")
    span = _span(window, recovery.earliest_s, latest_s)
    if span is None:
        return Closed(title, f"an export has 15 minutes at least, and ends by {iso(latest_s)}")
    prefix = f"s3://{_bucket(seen) or BUCKET}/restrike-{seen.table.name}-{iso(span[0]).replace(':', '')}"
    words = ["export", seen.table.name, *window_words(Window(*span)), "--to", prefix]
    words += _export_key(seen, asked)
    export_usd, whose = _usd_of_export(seen, span)
    records = None if asked.key else _records(seen, consumer, window)
    usd, prices = _usd(seen, consumer, records)
    alone = ""
    if export_usd is not None and usd is None:
        alone = f"the export alone costs {money(export_usd)} ({whose}), and its replay what invocations cost"
    return Way(
        verb="export",
        title=f"export {iso(span[0])} to {iso(span[1])}, then replay it to {consumer.name}",
        command=command(seen, *words),
        fidelity="net",
        covers=covers,
        usd=None if usd is None or export_usd is None else round(usd + export_usd, 6),
        prices="" if usd is None or export_usd is None else f"{prices}; {whose}",
        consumer=consumer.name,
        fill=(BUCKET,) if BUCKET in prefix else (),
        cannot=sentences(
            "it is done when DynamoDB says so; the plan has the replay's command", alone, NET, _superseded(seen)
        ),
    )


def _span(window: Window, earliest_s: float | None, latest_s: float) -> tuple[int, int] | None:
    """Whole minutes around the window that an export takes; None where there are none."""
    assert window.since_s is not None
    latest = math.floor(latest_s / MINUTE_S) * MINUTE_S
    end_s = latest_s if window.until_s is None else window.until_s
    until = min(math.ceil(end_s / MINUTE_S) * MINUTE_S, latest)
    since = min(math.floor(window.since_s / MINUTE_S) * MINUTE_S, until - LEAST_EXPORT_S)
    if earliest_s is not None and since < earliest_s:
        since = math.ceil(earliest_s / MINUTE_S) * MINUTE_S
        until = max(until, min(since + LEAST_EXPORT_S, latest))
    return (since, until) if until - since >= LEAST_EXPORT_S else None


def _bucket(seen: Seen) -> str:
    """A bucket that something of this table lies in already."""
    names = (kept.name for kept in seen.kept if kept.name.startswith("s3://"))
    return next((name.removeprefix("s3://").partition("/")[0] for name in names), "")


def _export_key(seen: Seen, asked: Asked) -> list[str]:
    """`--key`, by which less is exported: a partition key, where that can be told from what was asked for."""
    if len(asked.key) != 1:
        return []
    partition, slash, sort = asked.key[0].partition("/")
    if seen.table.key.sort is None:
        return ["--key", asked.key[0]]
    return ["--key", partition] if slash and partition and "/" not in sort else []


def _usd_of_export(seen: Seen, span: tuple[float, float]) -> tuple[float | None, str]:
    """What it costs by what was written in that time, 1 KB each unit; None where that is not known of all of it."""
    if seen.written is None or span[0] < seen.since_s or not seen.written.points:
        return None, ""
    window = Window(*span)
    units = sum(units for at_s, units in seen.written.points if window.overlaps(at_s, at_s + seen.written.period_s))
    windows = math.ceil((span[1] - span[0]) / MOST_EXPORT_S)
    gigabytes = max(units * 1024 / 1e9, windows * cost.EXPORT_LEAST_GB)
    whose = f"exports at the price of {ELSEWHERE}, {cost.EXPORT_PRICE_AS_OF}"
    return gigabytes * cost.USD_PER_EXPORTED_GB, whose


# ── of all of them ───────────────────────────────────────────────────────────────────────────────────────


def _replay(
    seen: Seen,
    asked: Asked,
    consumer: ConsumerSeen,
    window: Window,
    *,
    source: str,
    title: str,
    fidelity: Fidelity,
    covers: Covers,
    expires_s: float | None = None,
    cannot: tuple[str, ...] = (),
    reads: bool = False,
    counts: bool = True,
) -> Way:
    """A replay of that source, of the window and the key."""
    words = ["replay", source, *window_words(window)]
    if len(asked.key) == 1:
        words += ["--key", asked.key[0]]
    elif asked.key:
        cannot = sentences("it takes one --key: the records of all are in it", cannot)
    records = _records(seen, consumer, window) if counts and not asked.key else None
    usd, prices = _usd(seen, consumer, records, reads=reads)
    return Way(
        verb="replay",
        title=title,
        command=command(seen, *words, "--to", f"lambda:{consumer.function}"),
        fidelity=fidelity,
        covers=covers,
        expires_s=expires_s,
        records=records,
        usd=usd,
        prices=prices,
        consumer=consumer.name,
        cannot=cannot,
    )


def _covers(window: Window, held: Window, now_s: float) -> Covers | None:
    """How much of the window lies in what is held (a None there is unknown); None: nothing of it."""
    end_s = now_s - UNKNOWN_S if window.until_s is None else window.until_s
    if window.since_s is not None and held.until_s is not None and held.until_s <= window.since_s:
        return None
    if held.since_s is not None and held.since_s >= (now_s if window.until_s is None else window.until_s):
        return None
    if window.since_s is None:
        return "unknown"
    begun = None if held.since_s is None else held.since_s <= window.since_s
    ended = None if held.until_s is None else held.until_s >= end_s
    if begun is False or ended is False:
        return "part"
    return "whole" if begun and ended else "unknown"


def _records(seen: Seen, consumer: ConsumerSeen, window: Window) -> int | None:
    """About how many the consumer was to get, where its mapping counts them; None where that is not known."""
    polled, dropped = (consumer.metrics.get(name) for name in ("PolledEventCount", "FilteredOutEventCount"))
    if polled is None or not polled.points or dropped is None or window.since_s is None:
        return None
    if window.since_s < seen.since_s:
        return None
    held = [
        sum(value for at_s, value in series.points if window.overlaps(at_s, at_s + series.period_s))
        for series in (polled, dropped)
    ]
    return max(0, round(held[0] - held[1]))


def _usd(seen: Seen, consumer: ConsumerSeen, records: int | None, *, reads: bool = False) -> tuple[float | None, str]:
    """What it costs to hand over so many, but for the function's own time, and whose prices those are."""
    if records is None:
        return None, ""
    prices = Prices(seen.table.region, seen.table.table_class)
    names: list[Name] = ["invocation", "stream-read"] if reads else ["invocation"]
    usd = prices.usd("invocation", math.ceil(records / (consumer.batch_size or BATCH_SIZE)))
    if reads:
        usd += prices.usd("stream-read", math.ceil(records / 1_000))
    return round(usd, 6), prices.told(names)


def _superseded(seen: Seen) -> str:
    if seen.table.view_type in ("KEYS_ONLY", "OLD_IMAGE"):
        return "without NewImage nobody can tell which items have moved on since"
    return "items may have moved on since: --if-superseded skip leaves their records out"
