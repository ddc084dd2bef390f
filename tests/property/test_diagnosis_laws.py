"""Laws of a diagnosis, whatever was seen: of losses, of the order of ways, and that no number is made up."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from restrike.model.advice import advice
from restrike.model.diagnosis import Asked, ConsumerSeen, Horizon, IndexSeen, Kept, PointInTime, Seen, Way, WillFire
from restrike.model.losses import losses
from restrike.model.metrics import Series
from restrike.model.ways import ways
from restrike.model.window import Window
from tests.pasted import aws_parameters, parsed
from tests.seen import DAYS, NOW_S, QUEUE, TABLE, at, consumer, seen, series

METRICS = (
    "Invocations",
    "Errors",
    "Throttles",
    "DestinationDeliveryFailures",
    "DroppedEventCount",
    "OnFailureDestinationDeliveredEventCount",
    "PolledEventCount",
    "FilteredOutEventCount",
)
FEW = settings(max_examples=40)
"""Each makes a whole situation, and many ways out of it."""
moments = st.integers(1, 288).map(lambda number: number * 5.0)
"""Minutes before now at which a period begins."""
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6)


def histories(values: st.SearchStrategy[float]) -> st.SearchStrategy[Series]:
    return st.dictionaries(moments, values, max_size=12).map(series)


metrics = st.fixed_dictionaries(
    {}, optional={name: histories(st.integers(0, 9).map(float)) for name in METRICS}
).flatmap(
    lambda found: st.one_of(
        st.just(found),
        histories(st.integers(0, 90_000_000).map(float)).map(lambda ages: found | {"IteratorAge": ages}),
    )
)
maybe = st.none() | st.floats(-90_000, 90_000).map(lambda seconds: max(0.0, seconds))
destinations = st.none() | st.builds(
    lambda messages, age_s, left_s: msgspec.structs.replace(
        QUEUE, messages=messages, oldest_age_s=age_s, expires_in_s=left_s
    ),
    st.none() | st.integers(0, 9),
    maybe,
    maybe,
)


@st.composite
def consumers(draw: st.DrawFn, name: str) -> ConsumerSeen:
    return consumer(
        name,
        metrics=draw(metrics),
        on_failure=draw(destinations),
        retries=draw(st.sampled_from([None, -1, 0, 3])),
        max_age_s=draw(st.sampled_from([None, -1, 60, 7_200])),
        reads_now=draw(st.sampled_from([True, True, True, False])),
        shares_function=draw(st.booleans()),
        changed_s=draw(st.none() | moments.map(at)),
        will_fire=WillFire(draw(st.sampled_from([None, True, False])), "so it is"),
    )


kept = st.builds(
    lambda kind, since, length, gaps: Kept(
        kind,
        "kept" if kind == "export" else "s3://kept/orders",
        None if since is None else at(since),
        None if length is None or since is None else at(since) + length,
        gaps=gaps,
    ),
    st.sampled_from(["archive", "export"]),
    st.none() | moments,
    st.none() | st.floats(1, 90_000),
    st.sampled_from([(), ("a hole",)]),
)
indexes = st.sampled_from(
    [
        (),
        (DAYS,),
        (IndexSeen("by_month", "m", attribute="m", role="partition", form="month"),),
        (IndexSeen("by_time", "kind", "made", attribute="made", role="sort", form="iso"), DAYS),
        (IndexSeen("by_hour", "hour", attribute="hour", role="partition", form="hour"),),
    ]
)


@st.composite
def situations(draw: st.DrawFn) -> Seen:
    return seen(
        *(draw(consumers(name)) for name in draw(st.sampled_from([(), ("a",), ("a", "b"), ("a", "b", "c")]))),
        table=draw(st.sampled_from([TABLE, msgspec.structs.replace(TABLE, stream_arn=None, view_type=None)])),
        horizon=draw(st.sampled_from([None, Horizon(None, "not read"), Horizon(at(200), "read")])),
        kept=tuple(draw(st.lists(kept, max_size=2))),
        written=draw(st.none() | histories(st.integers(0, 1_000_000).map(float))),
        point_in_time=draw(
            st.sampled_from([None, PointInTime(on=False), PointInTime(True, at(3_000), at(5)), PointInTime(True)])
        ),
        indexes=draw(indexes),
        streams=(),
    )


windows = st.one_of(
    st.just(Window()),
    moments.map(lambda since: Window(at(since), None)),
    st.tuples(moments, moments).map(lambda ends: Window(at(max(ends)), at(min(ends)) + 60)),
)
askings = st.builds(
    lambda window, key, name: Asked(window, key, name),
    windows,
    st.sampled_from([(), ("k",), ("k/5",)]) | names.map(lambda text: (text,)),
    st.sampled_from([None, None, "a"]),
)


@FEW
@given(found=situations(), window=windows)
def test_no_loss_begins_after_its_first_sign_or_ends_before_it_began(found: Seen, window: Window) -> None:
    """And it lies in the window that was asked for; each consumer is told of, the most certain first."""
    told = losses(found, Asked(window))
    for loss in told:
        if loss.since_s is not None and loss.first_s is not None and window.since_s is None:
            assert loss.since_s <= loss.first_s - found.period_s
        if loss.since_s is not None and loss.until_s is not None:
            assert loss.since_s <= loss.until_s
        assert loss.until_s is None or loss.until_s <= NOW_S + 60
        assert window.since_s is None or (loss.since_s is not None and loss.since_s >= window.since_s)
        assert window.until_s is None or (loss.until_s is not None and loss.until_s <= window.until_s)
    assert {loss.consumer for loss in told} == {each.name for each in found.consumers}
    ranks = [["certain", "suspected", "not visible"].index(loss.certainty) for loss in told]
    assert ranks == sorted(ranks)


@FEW
@given(found=situations())
def test_without_an_age_no_beginning_is_made_up(found: Seen) -> None:
    aged = tuple(
        msgspec.structs.replace(
            each, metrics={name: values for name, values in each.metrics.items() if name != "IteratorAge"}
        )
        for each in found.consumers
    )
    for loss in losses(msgspec.structs.replace(found, consumers=aged), Asked()):
        assert loss.since_s is None


@FEW
@given(found=situations(), narrowed=askings)
def test_where_nothing_was_counted_no_number_is_made_up(found: Seen, narrowed: Asked) -> None:
    """No metric, no message and no estimate: then no records, no sign and no cost of a replay."""
    bare = msgspec.structs.replace(
        found,
        consumers=tuple(msgspec.structs.replace(each, metrics={}, on_failure=None) for each in found.consumers),
        written=None,
        indexes=tuple(msgspec.structs.replace(each, entries_a_day=None, wru_a_day=None) for each in found.indexes),
        table=msgspec.structs.replace(found.table, item_count=0),
    )
    told = losses(bare, narrowed)
    assert all(loss.records is None and loss.first_s is None for loss in told)
    assert all(loss.sign in ("unknown", "stopped") for loss in told)
    for way in ways(bare, narrowed, told)[0]:
        if "--all" not in way.command and "--sort-key" not in way.command:
            assert (way.records, way.usd) == (None, None)


def rank(way: Way) -> tuple[Any, ...]:
    """The order as it is told: covers the window, expires soonest, only this consumer fires, fidelity, cost."""
    return (
        ["whole", "part", "unknown"].index(way.covers),
        way.expires_s is None,
        way.expires_s or 0.0,
        not way.only,
        ["exact", "net", "synthetic"].index(way.fidelity),
        way.usd is None,
        way.usd or 0.0,
    )


@FEW
@given(found=situations(), narrowed=askings)
def test_ways_come_in_their_order_and_each_command_once(found: Seen, narrowed: Asked) -> None:
    told = losses(found, narrowed)
    opened, closed = ways(found, narrowed, told)
    assert (told, (opened, closed)) == (losses(found, narrowed), ways(found, narrowed, told))
    assert [rank(way) for way in opened] == sorted(rank(way) for way in opened)
    assert len({way.command for way in opened}) == len(opened)
    assert len(set(closed)) == len(closed)
    assert all(each.why for each in closed)


@FEW
@given(found=situations(), narrowed=askings)
def test_the_command_line_takes_every_command(found: Seen, narrowed: Asked) -> None:
    for way in ways(found, narrowed, losses(found, narrowed))[0]:
        parsed(way.command)
    for each in advice(found):
        if each.command.startswith("aws "):
            aws_parameters(each.command)
        elif each.command:
            parsed(each.command)


@FEW
@given(key=names, profile=names)
def test_keys_and_profiles_come_through_a_shell_as_they_are(key: str, profile: str) -> None:
    found = seen(consumer(), flags=("--profile", profile), indexes=())
    for way in ways(found, Asked(Window(at(60)), (key,)), ())[0]:
        words = shlex.split(way.command)
        assert words[-2:] == ["--profile", profile]
        if "--key" in words:
            assert words[words.index("--key") + 1] == key
        elif "--sort-key" not in words:
            assert words[words.index("--partition-key") + 1] == key.removesuffix("/")
