"""The ways that begin with the items as they are now: touch, and a replay of synthetic records of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime

import msgspec

from restrike.errors import UsageError
from restrike.model import cost
from restrike.model.capacity import capacity_of, seconds_on_one_partition
from restrike.model.diagnosis import Asked, Closed, ConsumerSeen, Covers, IndexSeen, Seen, Way
from restrike.model.numbers import counted
from restrike.model.pasted import command, sentences
from restrike.model.prices import Name, Prices
from restrike.model.replay_cost import BATCH_SIZE
from restrike.model.selection import recognised_format
from restrike.model.table import MARKER, TableInfo, key_value
from restrike.model.window import Window

VALUE = "VALUE"
"""Stands for a partition key that nobody but its reader knows."""
_A_DAY = {"day", "month"}
"""The forms of a date that may be a partition key, to be selected by: one key a day or month."""
_DELETED = "items that are gone: nothing of a DELETE"


class Choice(msgspec.Struct, frozen=True):
    """A selection of items: its flags, and in words. `items` and `wru` (write units of touching them) are estimates,
    None where there is none. `one_key`: all of it is written to one partition key."""

    words: tuple[str, ...]
    told: str
    items: float | None = None
    wru: float | None = None
    one_key: bool = False
    cannot: tuple[str, ...] = ()
    fill: tuple[str, ...] = ()
    covers: Covers = "part"


def touch_ways(seen: Seen, asked: Asked, meant: Sequence[ConsumerSeen], window: Window) -> Iterator[Way | Closed]:
    """A touch of each selection, for all consumers that are meant, and for each of them a replay of its items."""
    found = list(_choices(seen, asked, window))
    yield from (each for each in found if isinstance(each, Closed))
    choices = [each for each in found if isinstance(each, Choice)]
    refused = _why_no_touch(seen, meant)
    if refused:
        yield Closed("touch", refused)
    for choice in choices:
        for consumer in meant:
            if consumer.function:
                yield _of_items(seen, consumer, choice)
        if not refused:
            yield _touch(seen, meant, choice)


# ── which items ──────────────────────────────────────────────────────────────────────────────────────────


def _choices(seen: Seen, asked: Asked, window: Window) -> Iterator[Choice | Closed]:
    """By key where that was asked for, else by the days of the window, else all."""
    if asked.key:
        for text in asked.key:
            yield _by_key(seen.table, text)
        return
    dated = [index for index in seen.indexes if index.by_date]
    if not dated:
        why = "no key of the table or of an index is a date: see the advice for an index that has one"
        yield Closed("touch by date", why)
    elif window.since_s is None:
        yield Closed("touch by date", "it is not known of which days: --since says it")
    else:
        first, last = _days(window, seen.now_s)
        found = [_by_date(index, first, last) for index in dated]
        yield from found
        if any(isinstance(each, Choice) for each in found):
            return
    items = float(seen.table.item_count)
    yield Choice(
        ("--all",),
        f"all {counted(seen.table.item_count, 'item')} of the table",
        items,
        items * cost.writes_per_item(seen.table, MARKER),
        cannot=("it takes each item, whether its change was lost or not",),
        covers="unknown" if window.since_s is None else "part",
    )


def _by_key(table: TableInfo, text: str) -> Choice | Closed:
    """`PARTITION` or `PARTITION/SORT`, as the filter `--key` has it, split at the first slash."""
    partition, sort = text, ""
    if table.key.sort is not None and "/" in text:
        partition, _, sort = text.partition("/")
    words = ["--partition-key", partition]
    try:
        key_value(table.key.partition, partition)
        if sort and table.key.sort is not None:
            key_value(table.key.sort, sort)
            # Behind the operator a value is taken as it is, but for white space and quotes around it.
            quoted = sort != sort.strip() or (len(sort) > 2 and sort[0] == sort[-1] == '"')
            words += ["--sort-key", f'= "{sort}"' if quoted else f"= {sort}"]
    except UsageError as error:
        return Closed("touch by key", f"{text} is no key of this table: {error.message}")
    return Choice(tuple(words), f"key {text}", 1.0 if sort or table.key.sort is None else None, one_key=True)


def _days(window: Window, now_s: float) -> tuple[date, date]:
    """The first and last day of the window in UTC, both included."""
    assert window.since_s is not None
    end_s = now_s if window.until_s is None else max(window.since_s, math.ceil(window.until_s) - 1)
    first, last = (datetime.fromtimestamp(at_s, UTC).date() for at_s in (window.since_s, end_s))
    return first, max(first, last)


def _by_date(index: IndexSeen, first: date, last: date) -> Choice | Closed:
    """The items of those days: a key each where the date is the partition key, a range where it is the sort key."""
    where = f"index {index.name}" if index.name else "the table"
    title = f"touch by date, through {where}"
    form = "%Y-%m" if index.form == "month" else "%Y-%m-%d"
    begin, end = first.strftime(form), last.strftime(form)
    days = begin if begin == end else f"{begin}..{end}"
    words = ["--index", index.name] if index.name else []
    fill: tuple[str, ...] = ()
    if index.role == "partition":
        if index.form not in _A_DAY or not index.name:
            why = f"{index.attribute}, its partition key, is {_an(index.form)}: each is a --partition-key of its own"
            return Closed(title, why)
        if any(recognised_format(sample) is None for sample in index.samples):
            return Closed(
                title, f"the form of {index.attribute} is to be given: --date-format, for example '%Y-%m-%d#0'"
            )
    else:
        words += ["--partition-key", VALUE]
        fill = (VALUE,)
    words += ["--date", days]
    spans = (last.year - first.year) * 12 + last.month - first.month + 1 if form == "%Y-%m" else (last - first).days + 1
    a_day = None if fill else index.entries_a_day
    items = None if a_day is None else a_day * ((last - first).days + 1)
    wru = None if items is None or index.wru_a_day is None else index.wru_a_day * ((last - first).days + 1)
    sparse = f"items without {index.attribute} are not in it" if index.sparse else ""
    return Choice(
        tuple(words),
        f"the items of {days.replace('..', ' to ')} in {where}",
        items,
        wru,
        one_key=spans == 1 and index.projection == "ALL" and bool(index.name),
        cannot=sentences(
            f"it goes by {index.attribute}: what changed then and bears another day is not in it; days are UTC's",
            sparse,
        ),
        fill=fill,
    )


def _an(form: str) -> str:
    return {"hour": "an hour", "iso": "a time"}.get(form, f"a number ({form})" if "epoch" in form else f"a {form}")


# ── what is done with them ───────────────────────────────────────────────────────────────────────────────


def _why_no_touch(seen: Seen, meant: Sequence[ConsumerSeen]) -> str:
    """Why nobody who is meant would fire; "" where somebody may."""
    reading = any(each.kind == "kinesis" and each.reads_now for each in seen.consumers)
    if seen.table.stream_arn is None and not reading:
        return "the table has no stream, and no Kinesis data stream gets its changes: nothing would fire"
    if meant and all(each.will_fire.fires is False for each in meant):
        return "; ".join(f"{each.name} would not fire: {_why_not(each)}" for each in meant)
    return ""


def _why_not(consumer: ConsumerSeen) -> str:
    refused = consumer.will_fire.refused
    return consumer.will_fire.why + (f" ({', '.join(refused)})" if refused else "")


def _touch(seen: Seen, meant: Sequence[ConsumerSeen], choice: Choice) -> Way:
    table = seen.table
    names = {each.name for each in meant}
    others = [each.name for each in seen.consumers if each.name not in names and each.will_fire.fires is not False]
    others += [f"the stream of {table.name} in {region}" for region in cost.replicas(table, table.region)]
    usd, prices = _usd_of_touch(seen, choice)
    return Way(
        verb="touch",
        title=f"touch {choice.told}",
        command=command(seen, "touch", table.name, *choice.words),
        fidelity="synthetic",
        covers=choice.covers,
        only=not others,
        others=tuple(others),
        records=None if choice.items is None else round(choice.items),
        usd=usd,
        seconds=_seconds(table, choice),
        prices=prices,
        fill=choice.fill,
        cannot=sentences(
            choice.cannot,
            _DELETED,
            "it fires a MODIFY for each item, however often that changed; OldImage is the item as it is now",
            [f"{each.name} would not fire: {_why_not(each)}" for each in meant if each.will_fire.fires is False],
            [
                f"whether {each.name} fires cannot be told: {each.will_fire.why}"
                for each in meant
                if each.will_fire.fires is None
            ],
            "on this global table a write can undo one of another Region, and has to be accepted"
            if table.replicates_eventually
            else "",
        ),
    )


def _usd_of_touch(seen: Seen, choice: Choice) -> tuple[float | None, str]:
    """What the writing costs; None of provisioned capacity, which costs no more unless autoscaling raises it."""
    table = seen.table
    if choice.wru is None or not table.on_demand:
        return None, ""
    prices = Prices(table.region, table.table_class)
    usd = cost.usd_of_writes(table, MARKER, choice.wru, prices)
    destinations = sum(each.kind == "kinesis" and each.reads_now for each in seen.consumers)
    if destinations and choice.items is not None:
        usd += prices.usd("change-data", cost.change_data_units(table, round(choice.items), destinations))
    return round(usd, 6), cost.prices_told(table, MARKER, prices)


def _seconds(table: TableInfo, choice: Choice) -> float | None:
    """How long at the pace that a touch keeps to by itself."""
    if choice.wru is None or choice.items is None:
        return None
    seconds = choice.wru / capacity_of(table, MARKER).default_wcu
    if choice.one_key and choice.items:
        seconds = max(seconds, seconds_on_one_partition(round(choice.items), choice.wru / choice.items))
    return round(seconds, 1)


def _of_items(seen: Seen, consumer: ConsumerSeen, choice: Choice) -> Way:
    """Synthetic records of the items, to that consumer alone."""
    usd, told = None, ""
    if choice.items is not None:
        prices = Prices(seen.table.region, seen.table.table_class)
        names: list[Name] = ["invocation"]
        usd = prices.usd("invocation", math.ceil(choice.items / (consumer.batch_size or BATCH_SIZE)))
        if seen.table.on_demand:
            names.append("read")
            usd += prices.usd("read", choice.items * math.ceil(cost.item_kb(seen.table) / 4))
        usd, told = round(usd, 6), prices.told(names)
    return Way(
        verb="replay",
        title=f"replay {choice.told} as they are now to {consumer.name}",
        command=command(
            seen, "replay", f"table:{seen.table.name}", *choice.words, "--to", f"lambda:{consumer.function}"
        ),
        fidelity="synthetic",
        covers=choice.covers,
        records=None if choice.items is None else round(choice.items),
        usd=usd,
        prices=told,
        consumer=consumer.name,
        fill=choice.fill,
        cannot=sentences(
            choice.cannot,
            _DELETED,
            "its records are INSERTs without OldImage, unless --as MODIFY says otherwise",
        ),
    )
