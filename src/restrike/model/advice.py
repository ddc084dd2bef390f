"""What to change some other day, so that the next time is easier: a table, its stream and its mappings made for it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from restrike.model import cost
from restrike.model.diagnosis import Advice, ConsumerSeen, Seen
from restrike.model.numbers import counted, duration, figure, money
from restrike.model.pasted import BUCKET, aws_command, command
from restrike.model.plan import lacking_images
from restrike.model.prices import Prices

HOT_WRITES_PER_S = 500
"""On one partition key: half of what a partition takes."""
BEHIND_S = 3_600.0
READERS = 2
"""Of a shard, at most (DynamoDB Developer Guide, *Change data capture for DynamoDB Streams*)."""
MOST_PARALLEL = 10
TRIES = 5
_DATE = "created_ymd"
_CAPTURED = {"archive"}


def advice(seen: Seen) -> tuple[Advice, ...]:
    """What there is to say, the table's own first, then of each consumer."""
    return tuple(
        each
        for part in (_date_index(seen), _stream(seen), *(_consumer(seen, consumer) for consumer in seen.consumers))
        for each in part
    )


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────


def _date_index(seen: Seen) -> Iterator[Advice]:
    """An index by which the items of a day are found; and where one day's key is written too often."""
    dated = [index for index in seen.indexes if index.by_date]
    a_day = [index.name for index in dated if index.role == "partition" and index.form == "day"]
    busiest = _busiest_wcu_per_s(seen)
    hot = busiest is not None and busiest > HOT_WRITES_PER_S
    if not dated:
        warning = f"Above {HOT_WRITES_PER_S} writes a second on one day's key"
        if hot and busiest is not None:
            warning = f"The table takes up to {figure(busiest)} write units a second: with one key a day"
        yield Advice(
            "no-date-index",
            f"No index finds items by date. Give new items an attribute such as {_DATE} (2021-01-22), and the table an "
            f"index on it; KEYS_ONLY is enough for touch. {_cost_of_index(seen)} {warning} that index is hot, and a "
            f"hot index throttles the table: shard the key ({_DATE} 2021-01-22#0 to #9).",
            _create_index(seen),
        )
    elif hot and a_day and busiest is not None:
        yield Advice(
            "hot-date-index",
            f"The table takes up to {figure(busiest)} write units a second, and all of a day's new items go to one key "
            f"of {' and '.join(a_day)}: above {HOT_WRITES_PER_S} a second that index is hot, and a hot index throttles "
            "the table. Shard the key (2021-01-22#0 to #9).",
        )


def _busiest_wcu_per_s(seen: Seen) -> float | None:
    """The most write units a second that a period had; None where that is not known."""
    if seen.written is None or seen.written.most is None:
        return None
    return seen.written.most / seen.written.period_s


def _cost_of_index(seen: Seen) -> str:
    """What it costs to have it: a write unit for each item that gets into it, now and later."""
    if not seen.table.on_demand:
        return "It needs write capacity of its own, as much as new items take."
    prices = Prices(seen.table.region, seen.table.table_class)
    new = f"A new item then costs a write unit more, ${prices.usd('write', 1e6):.15g} a million"
    items, units = seen.table.item_count, cost.item_kb(seen.table) + 1
    there = f"; giving the attribute to all {counted(items, 'item')} that are there takes {units} units each, "
    there += f"{money(prices.usd('write', float(units * items)))}, and fires the stream for each"
    return f"{new}{there if items else ''} ({prices.told(['write'])})."


def _create_index(seen: Seen) -> str:
    """The UpdateTable call: a KEYS_ONLY index on the attribute."""
    table = seen.table
    names = (f"by_{_DATE}{number}" for number in ("", *(f"_{each}" for each in range(2, 100))))
    taken = {index.name for index in table.indexes}
    name = next(each for each in names if each not in taken)  # a table has 20 indexes
    create: dict[str, object] = {
        "IndexName": name,
        "KeySchema": [{"AttributeName": _DATE, "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "KEYS_ONLY"},
    }
    if not table.on_demand:
        create["ProvisionedThroughput"] = {
            "ReadCapacityUnits": max(1, table.read_capacity),
            "WriteCapacityUnits": max(1, table.write_capacity),
        }
    return aws_command(
        seen,
        "dynamodb",
        "update-table",
        "--table-name",
        table.name,
        "--attribute-definitions",
        f"AttributeName={_DATE},AttributeType=S",
        "--global-secondary-index-updates",
        msgspec.json.encode([{"Create": create}]).decode(),
    )


def _stream(seen: Seen) -> Iterator[Advice]:
    """Its images, its readers, and how far back it can be read."""
    table = seen.table
    if table.stream_arn is None:
        return
    if table.view_type in ("KEYS_ONLY", "NEW_IMAGE"):
        yield Advice(
            "no-old-image",
            f"{_capital(lacking_images(table.view_type))} With NEW_AND_OLD_IMAGES a consumer and a replay can tell "
            "what changed. A view type cannot be changed: switch the stream off and on again when it is quiet. That "
            "makes a new stream, and each mapping has to be made anew on it.",
        )
    if not any(kept.kind in _CAPTURED or kept.verb == "capture" for kept in seen.kept):
        yield Advice(
            "no-capture",
            "Nothing keeps the stream beyond 24 hours. A capture does, each record with its images, and a replay reads "
            f"them years later. For {BUCKET} put a bucket of yours; --follow for a service, --once for a scheduler.",
            command(seen, "capture", table.name, "--to", f"s3://{BUCKET}/{table.name}", "--once"),
        )
    if seen.readers > READERS:
        yield Advice(
            "third-reader",
            f"{seen.readers} readers are known of a shard that allows {READERS}: they throttle one another. Let one "
            "read and hand on to the others, or give the table a Kinesis data stream, which many may read.",
        )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


# ── each consumer ────────────────────────────────────────────────────────────────────────────────────────


def _consumer(seen: Seen, consumer: ConsumerSeen) -> Iterator[Advice]:
    """How its mapping gives up, and how far it is behind."""
    if not consumer.mapping:
        return
    place = consumer.on_failure
    to_s3 = (
        "--destination-config",
        msgspec.json.encode({"OnFailure": {"Destination": f"arn:aws:s3:::{BUCKET}"}}).decode(),
    )
    if place is None:
        yield Advice(
            "no-on-failure-destination",
            f"{consumer.name} has no on-failure destination: what its mapping gives up is gone without a word. A "
            f"bucket keeps the whole event, which does not expire. For {BUCKET} put one of yours, which the function's "
            "role may write to (s3:PutObject, s3:ListBucket).",
            _update(seen, consumer, *to_s3),
        )
    elif place.kind in ("sqs", "sns"):
        yield Advice(
            "pointers-expire",
            f"The on-failure destination of {consumer.name} ({place.kind.upper()}) gets pointers into the stream, "
            f"which are good for 24 hours. A bucket keeps the whole event, which does not expire. For {BUCKET} put one "
            "of yours, which the function's role may write to (s3:PutObject, s3:ListBucket).",
            _update(seen, consumer, *to_s3),
        )
    if _tries_for_ever(consumer) and consumer.bisects is False:
        yield Advice(
            "endless-retries",
            f"The mapping of {consumer.name} tries a batch for ever and splits none: one bad record stops its shard "
            f"until it is 24 hours old, and all behind it are late. {TRIES} retries with bisect give up that record "
            "alone, which an on-failure destination then has.",
            _update(seen, consumer, "--maximum-retry-attempts", str(TRIES), "--bisect-batch-on-function-error"),
        )
    yield from _behind(seen, consumer)


def _tries_for_ever(consumer: ConsumerSeen) -> bool:
    return consumer.retries == -1 and consumer.max_age_s == -1


def _behind(seen: Seen, consumer: ConsumerSeen) -> Iterator[Advice]:
    ages = consumer.metrics.get("IteratorAge")
    if ages is None or ages.most is None or ages.most / 1000 < BEHIND_S:
        return
    text = (
        f"{consumer.name} was up to {duration(ages.most / 1000)} behind; at 24 hours records are lost. Bigger batches "
        "or more of them at a time let it catch up"
    )
    parallel = consumer.parallel
    if parallel is None or parallel >= MOST_PARALLEL:
        yield Advice("behind", f"{text}.")
        return
    more = min(MOST_PARALLEL, 2 * parallel)
    yield Advice(
        "behind",
        f"{text}: ParallelizationFactor {more} for {parallel}. An item's records stay in order.",
        _update(seen, consumer, "--parallelization-factor", str(more)),
    )


def _update(seen: Seen, consumer: ConsumerSeen, *words: str) -> str:
    return aws_command(seen, "lambda", "update-event-source-mapping", "--uuid", consumer.mapping, *words)
