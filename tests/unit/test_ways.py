"""The ways that are open, their order and their commands, and why the others are not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from restrike.model.diagnosis import (
    Asked,
    Closed,
    Horizon,
    IndexSeen,
    Kept,
    PointInTime,
    Seen,
    StreamSeen,
    Way,
    WillFire,
)
from restrike.model.losses import losses
from restrike.model.table import MARKER, KeyAttribute, KeySchema
from restrike.model.ways import order, ways
from restrike.touching.request import TouchRequest
from tests.pasted import parsed
from tests.seen import (
    DAYS,
    NOW_S,
    QUEUE,
    STREAM,
    TABLE,
    archive,
    asked,
    at,
    consumer,
    every,
    seen,
    series,
    steady,
)

FAILED = steady(Errors=every(300, 180, 10))
"""Lost: from 18:54:58 to 21:00 on the 25th."""
SINCE, UNTIL = "2025-11-25T18:54:58Z", "2025-11-25T21:00:00Z"
LAMBDA = "--to lambda:bookkeeper"
WINDOW = f"--since {SINCE} --until {UNTIL}"


def of(found: Seen, narrowed: Asked | None = None) -> tuple[tuple[Way, ...], tuple[Closed, ...]]:
    """The ways, each command of which the real command line takes."""
    narrowed = narrowed or Asked()
    opened, closed = ways(found, narrowed, losses(found, narrowed))
    for way in opened:
        parsed(way.command)
    return opened, closed


def commands(found: Seen, narrowed: Asked | None = None) -> list[str]:
    return [way.command.removeprefix("restrike ") for way in of(found, narrowed)[0]]


def one(found: Seen, begins: str, narrowed: Asked | None = None) -> Way:
    (way,) = (each for each in of(found, narrowed)[0] if each.command.startswith(f"restrike {begins}"))
    return way


def why(found: Seen, title: str, narrowed: Asked | None = None) -> str:
    """Why that way is not open."""
    (closed,) = (each for each in of(found, narrowed)[1] if each.title == title)
    return closed.why


def test_it_reckons_with_the_marker_of_touch() -> None:
    assert TouchRequest("orders").attribute == MARKER


# ── the order ────────────────────────────────────────────────────────────────────────────────────────────


def test_all_ways_in_their_order() -> None:
    """Whole before part; what expires first; one consumer before all; exact, net, synthetic."""
    place = msgspec.structs.replace(QUEUE, oldest_age_s=15_000.0, expires_in_s=60_000.0)
    found = seen(
        consumer(metrics=FAILED, on_failure=place),
        consumer("mailer"),
        kept=(archive(3_000, 4), Kept("export", "s3://kept/exports", at(3_000), at(60), "net")),
        point_in_time=PointInTime(True, at(10_000), at(5)),
    )
    assert commands(found) == [
        "redrive sqs://given-up --to original --archive s3://kept/orders",
        f"replay stream:orders {WINDOW} {LAMBDA}",
        f"replay archive:s3://kept/orders {WINDOW} {LAMBDA}",
        f"replay export:s3://kept/exports --since {SINCE} {LAMBDA}",
        "export orders --since 2025-11-25T18:54:00Z --until 2025-11-25T21:00:00Z "
        "--to s3://kept/restrike-orders-2025-11-25T185400Z",
        f"replay table:orders --index by_day --date 2025-11-25 {LAMBDA}",
        "touch orders --index by_day --date 2025-11-25",
    ]
    assert [way.covers for way in of(found)[0]] == ["whole"] * 5 + ["part"] * 2
    assert [way.fidelity for way in of(found)[0]] == ["exact"] * 3 + ["net"] * 2 + ["synthetic"] * 2


def test_what_fires_one_consumer_alone_comes_before_what_is_cheaper() -> None:
    way = one(seen(consumer(metrics=FAILED)), "replay table:")
    ways_ = [
        msgspec.structs.replace(way, only=False, fidelity="exact", usd=0.0),
        msgspec.structs.replace(way, usd=None),
        msgspec.structs.replace(way, usd=2.0),
        msgspec.structs.replace(way, fidelity="net", usd=3.0),
    ]
    assert sorted(ways_, key=order) == [ways_[3], ways_[2], ways_[1], ways_[0]]


def test_what_expires_soonest_comes_first_among_equals() -> None:
    """The stream forgets the beginning of the window 19 h from now; messages expire in 20 h."""
    place = msgspec.structs.replace(QUEUE, oldest_age_s=15_000.0, expires_in_s=72_000.0)
    opened, _ = of(seen(consumer(metrics=FAILED, on_failure=place)))
    assert [(way.verb, way.expires_s) for way in opened[:2]] == [
        ("replay", at(300) - 302 + 86_400),
        ("redrive", NOW_S + 72_000),
    ]


# ── redrive ──────────────────────────────────────────────────────────────────────────────────────────────


def test_redrive_says_how_many_and_how_soon() -> None:
    place = msgspec.structs.replace(QUEUE, oldest_age_s=3_600.0, expires_in_s=10_800.0)
    way = one(seen(consumer(on_failure=place)), "redrive")
    assert way.title == "redrive 12 messages to bookkeeper, the first expires in 3 h 0 min"
    assert (way.covers, way.only, way.expires_s) == ("whole", True, NOW_S + 10_800)


def test_redrive_covers_a_part_where_more_was_lost_than_was_given_up() -> None:
    metrics = steady(DroppedEventCount={50.0: 3.0})
    assert one(seen(consumer(metrics=metrics, on_failure=QUEUE)), "redrive").covers == "part"


def test_redrive_covers_nobody_knows_what_where_a_person_says_since_when() -> None:
    """Messages from before then, or none of it: a bug that threw nothing left none."""
    place = msgspec.structs.replace(QUEUE, messages=None)
    assert one(seen(consumer(on_failure=place)), "redrive", asked(since=60)).covers == "unknown"


def test_pointers_that_have_expired_are_no_whole_unless_an_archive_has_them() -> None:
    place = msgspec.structs.replace(QUEUE, oldest_age_s=90_000.0, expires_in_s=0.0)
    way = one(seen(consumer(on_failure=place)), "redrive")
    assert (way.covers, way.expires_s) == ("part", None)
    assert "the oldest pointers have expired: their records are nowhere here" in way.cannot
    assert one(seen(consumer(on_failure=place), kept=(archive(3_000, 4),)), "redrive").covers == "whole"


def test_a_destination_that_two_share_fires_both() -> None:
    opened, _ = of(seen(consumer("a", on_failure=QUEUE), consumer("b", on_failure=QUEUE)))
    redrive = next(way for way in opened if way.verb == "redrive")
    assert (redrive.only, redrive.others) == (False, ("b",))
    assert len([way for way in opened if way.verb == "redrive"]) == 1  # the command is one


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (None, "it has no on-failure destination: what its mapping gave up left no message"),
        (msgspec.structs.replace(QUEUE, messages=0), "sqs://given-up holds no message"),
        (msgspec.structs.replace(QUEUE, redrivable=False, why_not="a topic keeps nothing"), "a topic keeps nothing"),
    ],
)
def test_redrive_that_is_not_open(place: Any, reason: str) -> None:
    assert why(seen(consumer(on_failure=place)), "redrive to bookkeeper") == reason


def test_messages_that_were_named() -> None:
    named = msgspec.structs.replace(QUEUE, uri="sqs://others", messages=3)
    found = seen(consumer(), failures=(named, msgspec.structs.replace(named, uri="sqs://empty", messages=0)))
    assert one(found, "redrive").title == "redrive 3 messages of sqs://others"
    assert why(found, "redrive sqs://empty") == "sqs://empty holds no message"


# ── the stream ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_stream_to_its_end_where_it_goes_on() -> None:
    found = seen(consumer(metrics=steady(Errors=every(60, 10, 5))))
    assert one(found, "replay stream:").command == (
        f"restrike replay stream:orders --since 2025-11-25T22:54:58Z {LAMBDA}"
    )


def test_where_ages_are_not_known_it_begins_a_day_before() -> None:
    """Older than that no record can have been that a mapping still had."""
    metrics = {name: values for name, values in FAILED.items() if name != "IteratorAge"}
    way = one(seen(consumer(metrics=metrics)), "replay stream:")
    assert "--since 2025-11-24T19:00:00Z --until 2025-11-25T21:00:00Z" in way.command


def test_the_stream_has_a_part_of_what_is_older_than_its_horizon() -> None:
    found = seen(consumer(metrics=FAILED), horizon=Horizon(at(240), "read"))
    way = one(found, "replay stream:")
    assert (way.covers, way.expires_s) == ("part", at(180) + 86_400)
    assert way.cannot[0] == "it forgets more of that each minute"


@pytest.mark.parametrize("horizon", [None, Horizon(None, "at most 24 h")])
def test_a_horizon_that_was_not_read_is_a_day_back(horizon: Horizon | None) -> None:
    found = seen(consumer(), horizon=horizon)
    assert one(found, "replay stream:", asked(since=1_400)).covers == "whole"
    assert one(found, "replay stream:", asked(since=1_500)).covers == "part"


def test_the_stream_has_forgotten_it() -> None:
    reason = why(seen(consumer()), "replay from the stream", asked(since=3_000, until=2_000))
    assert reason == "it has what was written from 2025-11-24T23:50:00Z on"


def test_the_stream_is_off() -> None:
    off = msgspec.structs.replace(TABLE, stream_arn=None, view_type=None)
    found = seen(consumer(metrics=FAILED), table=off, streams=(), horizon=None)
    assert why(found, "replay from the stream").startswith("the table's stream is off")
    assert why(found, "touch").startswith("the table has no stream")


def test_an_earlier_stream_that_can_still_be_read() -> None:
    """Switched off and on again 4 h ago, in the midst of what was lost."""
    earlier = StreamSeen(STREAM, "NEW_AND_OLD_IMAGES", on=False, since_s=at(9_000))
    now = StreamSeen(STREAM.replace("11-01", "11-25"), "NEW_AND_OLD_IMAGES", on=True, since_s=at(240))
    found = seen(consumer(metrics=FAILED), streams=(now, earlier), horizon=Horizon(at(240), "read"))
    by_command = {way.command: way for way in of(found)[0]}
    assert by_command[f"restrike replay stream:orders {WINDOW} {LAMBDA}"].covers == "part"
    assert by_command[f"restrike replay {STREAM} {WINDOW} {LAMBDA}"].covers == "part"


def test_images_that_the_stream_lacks_are_said() -> None:
    table = msgspec.structs.replace(TABLE, view_type="KEYS_ONLY")
    streams = (StreamSeen(STREAM, "KEYS_ONLY", on=True, since_s=at(9_000)),)
    cannot = one(seen(consumer(metrics=FAILED), table=table, streams=streams), "replay stream:").cannot
    assert "the stream's view type is KEYS_ONLY: records have no images" in cannot
    assert "without NewImage nobody can tell which items have moved on since" in cannot


def test_a_third_reader_is_said() -> None:
    found = seen(consumer(metrics=FAILED), readers=2)
    assert any("two readers of a shard" in text for text in one(found, "replay stream:").cannot)


def test_a_replay_costs_what_its_mapping_counted() -> None:
    """10 records a period, of which 4 were dropped, in 26 periods that the window touches."""
    metrics = FAILED | {
        "PolledEventCount": series(every(1440, 10, 10)),
        "FilteredOutEventCount": series(every(1440, 10, 4)),
    }
    way = one(seen(consumer(metrics=metrics, filters=("{}",))), "replay stream:")
    assert way.records == 6 * 26
    assert one(seen(consumer(metrics=metrics)), "replay stream:").records == 10 * 26
    holed = metrics | {"PolledEventCount": series(every(1440, 250, 10) | every(245, 10, 10))}
    assert one(seen(consumer(metrics=holed)), "replay stream:").records is None
    assert way.usd == pytest.approx(2 * 0.2e-6 + 1 * 0.2e-6, abs=1e-6)
    assert way.prices == "prices of us-east-1, 2026-11"


def test_else_it_costs_what_the_function_was_invoked_for() -> None:
    """26 periods that the window touches, 20 invocations each; of up to 100 records each, 1,000 a read."""
    way = one(seen(consumer(metrics=FAILED)), "replay stream:")
    assert way.records is None
    assert way.usd == pytest.approx(26 * 20 * 0.2e-6 + 52 * 0.2e-6, abs=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"shares_function": True},
        {"metrics": FAILED | {"Invocations": series(every(1440, 250, 20) | every(245, 10, 20))}},
        {"metrics": {name: values for name, values in FAILED.items() if name != "Invocations"}},
    ],
    ids=["some are of others", "a period is not known", "not answered"],
)
def test_where_that_is_not_known_it_has_no_price(changes: dict[str, Any]) -> None:
    way = one(seen(consumer(**({"metrics": FAILED} | changes))), "replay stream:")
    assert (way.records, way.usd, way.prices) == (None, None, "")


# ── archives, exports ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("kept", "covers"),
    [
        (archive(3_000, 4), "whole"),
        (archive(3_000, 4, gaps=("a hole",)), "part"),
        (archive(290, 4), "part"),
        (archive(3_000, 200), "part"),
        (archive(None, 4), "unknown"),
        (archive(3_000, None), "unknown"),
    ],
)
def test_what_an_archive_covers(kept: Kept, covers: str) -> None:
    assert one(seen(consumer(metrics=FAILED), kept=(kept,)), "replay archive:").covers == covers


def test_an_archive_of_another_time_is_not_open() -> None:
    found = seen(consumer(metrics=FAILED), kept=(archive(9_000, 8_000),))
    assert why(found, "replay from the archive s3://kept/orders").startswith("it has what was written from 2025-11-19")


def test_a_replay_begins_where_the_archive_does() -> None:
    found = seen(consumer(metrics=FAILED), kept=(archive(240, 4),))
    assert "--since 2025-11-25T20:00:00Z" in one(found, "replay archive:").command


def test_an_export_of_which_nobody_knows_where_it_is_is_no_way() -> None:
    found = seen(consumer(metrics=FAILED), kept=(Kept("export", "", at(3_000), at(60)),))
    assert not any("export:" in each for each in commands(found))


def test_no_archive_says_what_keeps_one() -> None:
    assert "restrike capture" in why(seen(consumer()), "replay from an archive")


def test_a_full_export_has_items_and_no_window() -> None:
    kept = Kept("export", "full", at(60), at(60), "synthetic")
    way = one(seen(consumer(metrics=FAILED), kept=(kept,)), "replay export:")
    assert way.command == f"restrike replay export:full {LAMBDA}"
    assert (way.fidelity, way.covers) == ("synthetic", "part")


@pytest.mark.parametrize(
    ("recovery", "reason"),
    [
        (None, "whether point-in-time recovery is on could not be seen"),
        (PointInTime(on=False), "point-in-time recovery is off; switched on, it exports what is written from then on"),
        (
            PointInTime(True, at(60), at(5)),
            "point-in-time recovery reaches from 2025-11-25T23:00:00Z to 2025-11-25T23:55:00Z",
        ),
    ],
)
def test_an_export_that_is_not_open(recovery: PointInTime | None, reason: str) -> None:
    assert why(seen(consumer(metrics=FAILED), point_in_time=recovery), "export, then replay") == reason


def test_an_export_needs_to_know_since_when() -> None:
    found = seen(consumer(), point_in_time=PointInTime(True, at(9_000), at(5)))
    assert why(found, "export, then replay") == "it is not known since when: --since says it"


def test_an_export_has_fifteen_minutes_at_least() -> None:
    found = seen(consumer(), point_in_time=PointInTime(True, at(9_000), at(5)))
    way = one(found, "export", asked(since=20, until=15))
    assert "--since 2025-11-25T23:30:00Z --until 2025-11-25T23:45:00Z" in way.command
    way = one(found, "export", asked(since=10))
    assert "--since 2025-11-25T23:40:00Z --until 2025-11-25T23:55:00Z" in way.command


def test_an_export_names_no_bucket_of_anybody_else() -> None:
    """No bucket's name has capitals: pasted as it stands it is refused."""
    found = seen(consumer(metrics=FAILED), point_in_time=PointInTime(True, at(9_000), at(5)))
    way = one(found, "export")
    assert "--to s3://BUCKET/restrike-orders-2025-11-25T185400Z" in way.command
    assert way.fill == ("BUCKET",)


def test_an_export_costs_what_was_written() -> None:
    """3 million units in each of the 26 periods that the window touches, 1 KB each; and 3 invocations of the replay."""
    counted = {"PolledEventCount": series(every(1440, 10, 10)), "FilteredOutEventCount": series({})}
    found = seen(
        consumer(metrics=FAILED | counted),
        point_in_time=PointInTime(True, at(9_000), at(5)),
        written=series(every(1440, 10, 3e6)),
    )
    way = one(found, "export")
    assert way.usd == pytest.approx(26 * 3e6 * 1024 / 1e9 * 0.1 + 3 * 0.2e-6, abs=1e-6)
    assert way.prices == "prices of us-east-1, 2026-11; exports at the price of us-east-1, 2026-11"
    assert one(msgspec.structs.replace(found, written=None), "export").usd is None


def test_where_a_replay_has_no_price_the_exports_is_said() -> None:
    found = seen(consumer(metrics=FAILED), point_in_time=PointInTime(True, at(9_000), at(5)))
    way = one(found, "export")
    assert (way.usd, way.prices) == (None, "")
    assert any(text.startswith("the export alone costs less than $0.01") for text in way.cannot)


@pytest.mark.parametrize(
    ("key", "sort", "flag"),
    [
        ("c7", None, "--key c7"),
        ("a/b", None, "--key a/b"),
        ("c7/5", "S", "--key c7"),
        ("c7", "S", ""),
        ("a/b/c", "S", ""),
    ],
)
def test_an_export_of_a_key(key: str, sort: Any, flag: str) -> None:
    schema = KeySchema(KeyAttribute("pk", "S"), None if sort is None else KeyAttribute("sk", sort))
    found = seen(
        consumer(metrics=FAILED),
        table=msgspec.structs.replace(TABLE, key=schema),
        point_in_time=PointInTime(True, at(9_000), at(5)),
    )
    command = one(found, "export", asked(key=(key,))).command
    assert flag in command if flag else "--key" not in command


# ── touch ────────────────────────────────────────────────────────────────────────────────────────────────


def test_touch_by_the_days_of_the_window() -> None:
    found = seen(consumer(), consumer("mailer"))
    way = one(found, "touch", asked(since=3_000, until=30, consumer="bookkeeper"))
    assert way.command == "restrike touch orders --index by_day --date 2025-11-23..2025-11-25"
    assert (way.only, way.others, way.fidelity, way.covers) == (False, ("mailer",), "synthetic", "part")
    assert (way.records, way.seconds) == (3_000, 6.0)
    assert way.usd == pytest.approx(3_000 * 0.625e-6, abs=1e-6)
    assert way.prices == "prices of us-east-1, 2026-11"
    assert "items that are gone: nothing of a DELETE" in way.cannot


def test_others_are_those_that_fire() -> None:
    others = [consumer("mailer", will_fire=WillFire(False, "no")), consumer("search", will_fire=WillFire(None, "?"))]
    assert one(seen(consumer(metrics=FAILED), *others), "touch").others == ("search",)


def test_a_window_that_ends_at_midnight_has_no_day_more() -> None:
    way = one(seen(consumer()), "touch", asked(since=2_880, until=1_440))
    assert way.command.endswith("--date 2025-11-24")


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (IndexSeen("by_month", "m", attribute="m", role="partition", form="month"), "--index by_month --date 2025-11"),
        (
            IndexSeen("by_time", "kind", "made", attribute="made", role="sort", form="epoch ms"),
            "--index by_time --partition-key VALUE --date 2025-11-25",
        ),
        (
            IndexSeen("", "pk", "made", attribute="made", role="sort", form="iso"),
            "--partition-key VALUE --date 2025-11-25",
        ),
    ],
)
def test_other_dates(index: IndexSeen, words: str) -> None:
    found = seen(consumer(metrics=FAILED), indexes=(index,))
    way = one(found, "touch")
    assert way.command == f"restrike touch orders {words}"
    assert way.fill == (("VALUE",) if "VALUE" in words else ())
    assert (way.records, way.usd, way.seconds) == (None, None, None)


@pytest.mark.parametrize("form", ["hour", "iso", "epoch s"])
def test_a_partition_key_of_times_is_no_day(form: str) -> None:
    index = IndexSeen("by_hour", "hour", attribute="hour", role="partition", form=form)
    found = seen(consumer(metrics=FAILED), indexes=(index,))
    assert "--partition-key" in why(found, "touch by date, through index by_hour")
    assert commands(found)[-1] == "touch orders --all"


def test_without_a_date_it_takes_them_all() -> None:
    found = seen(consumer(metrics=FAILED), indexes=())
    way = one(found, "touch")
    assert (way.command, way.records) == ("restrike touch orders --all", 1_000_000)
    assert way.usd == pytest.approx(0.625)
    assert why(found, "touch by date").startswith("no key of the table or of an index is a date")


def test_without_a_window_the_days_are_not_known() -> None:
    assert why(seen(consumer()), "touch by date") == "it is not known of which days: --since says it"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("c7", "--partition-key c7"),
        ("c7/5", "--partition-key c7 --sort-key '= 5'"),
        ("it's/5", "--partition-key 'it'\"'\"'s' --sort-key '= 5'"),
    ],
)
def test_touch_by_key(key: str, words: str) -> None:
    found = seen(consumer(metrics=FAILED))
    assert commands(found, asked(key=(key,)))[-2:] == [
        f"replay table:orders {words} {LAMBDA}",
        f"touch orders {words}",
    ]


def test_a_key_that_is_none_of_the_tables() -> None:
    assert "'sk' is a number" in why(seen(consumer()), "touch by key", asked(key=("c7/x",)))


def test_touch_is_not_open_where_a_filter_refuses_what_it_fires() -> None:
    refused = WillFire(False, "its filter drops the MODIFY records of all 100 sampled items", 0, 100, ("eventName",))
    found = seen(consumer(metrics=FAILED, will_fire=refused))
    assert why(found, "touch") == (
        "bookkeeper would not fire: its filter drops the MODIFY records of all 100 sampled items (eventName)"
    )
    assert not any(way.verb == "touch" for way in of(found)[0])
    assert any(way.command.startswith("restrike replay table:") for way in of(found)[0])


def test_touch_says_whom_of_those_meant_it_does_not_fire() -> None:
    refused, unknown = WillFire(False, "its filter drops them"), WillFire(None, "its filter cannot be read")
    failing = [
        consumer(name, metrics=FAILED, will_fire=fires)
        for name, fires in (("a", WillFire(True, "")), ("b", refused), ("c", unknown))
    ]
    cannot = one(seen(*failing), "touch").cannot
    assert "b would not fire: its filter drops them" in cannot
    assert "whether c fires cannot be told: its filter cannot be read" in cannot


def test_touch_fires_the_replicas_too() -> None:
    table = msgspec.structs.replace(TABLE, replica_regions=("eu-west-1",), consistency="EVENTUAL")
    way = one(seen(consumer(metrics=FAILED), table=table), "touch")
    assert way.others == ("the stream of orders in eu-west-1",)
    assert any("has to be accepted" in text for text in way.cannot)


def test_provisioned_capacity_has_no_price_that_is_known() -> None:
    table = msgspec.structs.replace(TABLE, on_demand=False, write_capacity=400, read_capacity=100)
    way = one(seen(consumer(metrics=FAILED), table=table), "touch")
    assert (way.usd, way.prices, way.seconds) == (None, "", 10.0)


def test_prices_of_a_region_that_is_not_listed_are_others_and_that_is_said() -> None:
    table = msgspec.structs.replace(TABLE, arn=TABLE.arn.replace("us-east-1", "sa-east-1"))
    way = one(seen(consumer(metrics=FAILED), table=table), "touch")
    assert "those of sa-east-1 are others and not known here" in way.prices


def test_change_data_units_are_paid_too() -> None:
    kinesis = consumer("kds", kind="kinesis", function="", mapping="", metrics={})
    way = one(seen(consumer(metrics=FAILED), kinesis), "touch")
    assert way.usd == pytest.approx(1_000 * 0.625e-6 + 1_000 * 0.1e-6, abs=2e-6)


# ── whom ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_only_those_that_lost_something_are_meant() -> None:
    found = seen(consumer(metrics=FAILED), consumer("mailer"))
    assert {way.consumer for way in of(found)[0]} == {"bookkeeper", ""}


def test_a_pipe_fires_by_the_stream_alone() -> None:
    pipe = consumer("to-bus", kind="pipe", function="", mapping="", metrics={}, on_failure=None)
    found = seen(pipe)
    assert [way.verb for way in of(found, asked(since=60))[0]] == ["touch"]
    assert "fires by the table's stream alone" in why(found, "replay to to-bus")


def test_region_profile_and_endpoint_go_into_each_command() -> None:
    flags = ("--region", "eu-west-1", "--profile", "it is me", "--endpoint-url", "http://127.0.0.1:8000")
    for command in commands(seen(consumer(metrics=FAILED), flags=flags)):
        assert "--region eu-west-1 --profile 'it is me' --endpoint-url http://127.0.0.1:8000" in command


@pytest.mark.parametrize("state", ["PAUSED", "INTERRUPTED", "FAILED", "COMPLETED"])
def test_a_run_that_has_begun_can_go_on(state: str) -> None:
    found = seen(consumer(), kept=(Kept("run", "touch-orders-1", state=state, verb="touch"),))
    assert ("runs resume touch-orders-1" in commands(found)) == (state != "COMPLETED")


def test_what_a_pipe_gave_up_can_go_to_a_function() -> None:
    pipe = consumer("to-bus", kind="pipe", function="", mapping="", metrics={}, on_failure=QUEUE)
    assert why(seen(pipe), "replay to to-bus").endswith("restrike redrive sqs://given-up --to lambda:NAME")


def test_where_nothing_is_known_the_stream_comes_before_all_items() -> None:
    opened, _ = of(seen(consumer(), indexes=()))
    assert [(way.verb, way.covers, way.expires_s) for way in opened] == [
        ("replay", "unknown", None),
        ("replay", "unknown", None),
        ("touch", "unknown", None),
    ]
    assert opened[0].command.startswith("restrike replay stream:")


def test_nobody_reads_it() -> None:
    """Then a touch is all there is, and replays have nobody to go to."""
    assert {way.verb for way in of(seen(), asked(since=60))[0]} == {"touch"}


def test_the_days_are_those_of_a_listed_index() -> None:
    assert DAYS.by_date
