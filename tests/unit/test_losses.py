"""What each consumer may have lost, on made-up histories: windows and certainties to the second."""

from __future__ import annotations

import msgspec
import pytest

from restrike.model.diagnosis import Asked, Certainty, Horizon, Loss, Seen, Sign
from restrike.model.losses import losses
from tests.seen import NOW_S, QUEUE, asked, at, consumer, every, mapping_of, seen, series, steady

Told = tuple[str, Certainty, Sign, float | None, float | None]


def told(found: Seen, narrowed: Asked | None = None) -> list[Told]:
    """Consumer, certainty, sign, and the window."""
    return [
        (loss.consumer, loss.certainty, loss.sign, loss.since_s, loss.until_s)
        for loss in losses(found, narrowed or Asked())
    ]


def only(found: Seen, narrowed: Asked | None = None) -> Loss:
    (loss,) = losses(found, narrowed or Asked())
    return loss


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_steady_failure_begins_before_its_first_error_by_the_age_and_a_period() -> None:
    """Errors from 5 h to 3 h ago; at the first of them records were two minutes old."""
    metrics = steady(Errors=every(300, 180, 10), IteratorAge=every(1440, 300, 2_000) | every(300, 10, 120_000))
    loss = only(seen(consumer(metrics=metrics)))
    assert (loss.certainty, loss.sign) == ("suspected", "errors")
    assert loss.first_s == at(300)
    assert loss.since_s == at(300) - 120 - 300
    assert loss.until_s == at(180)
    assert loss.records is None
    assert loss.what == (
        "240 of 480 invocations failed, in 24 periods of 5 min; what was tried again may have got through"
    )
    assert (
        loss.hint == "Its mapping gives a batch up after 3 attempts, and has no on-failure destination to tell of it."
    )


def test_a_failure_that_goes_on_has_no_end_since_the_last_five_minutes_are_unknown() -> None:
    loss = only(seen(consumer(metrics=steady(Errors=every(60, 10, 5)))))
    assert (loss.since_s, loss.until_s) == (at(60) - 2 - 300, None)


def test_a_failure_that_has_ended_has() -> None:
    loss = only(seen(consumer(metrics=steady(Errors=every(60, 20, 5)))))
    assert loss.until_s == at(20)


def test_an_invocation_of_the_last_minutes_ends_nothing_yet() -> None:
    """Its errors may not be there yet."""
    metrics = steady(Errors=every(60, 10, 5), Invocations=every(1440, 10, 20) | {5.0: 20.0})
    assert only(seen(consumer(metrics=metrics))).until_s is None


def test_of_three_functions_the_one_that_fails() -> None:
    names = ("bookkeeper", "mailer", "search")
    consumers = [
        consumer(name, metrics=steady(Errors=every(120, 60, 1)) if name == "mailer" else steady()) for name in names
    ]
    assert told(seen(*consumers)) == [
        ("mailer", "suspected", "errors", at(120) - 2 - 300, at(60)),
        ("bookkeeper", "not visible", "nothing", None, None),
        ("search", "not visible", "nothing", None, None),
    ]


def test_without_an_age_it_is_not_known_since_when() -> None:
    metrics = steady(Errors=every(60, 30, 1))
    del metrics["IteratorAge"]
    loss = only(seen(consumer(metrics=metrics)))
    assert (loss.since_s, loss.first_s, loss.until_s) == (None, at(60), at(30))


def test_an_age_that_is_missing_then_is_the_last_one_before() -> None:
    """What was handed over 20 minutes earlier was 10 minutes old: so nothing older was open."""
    metrics = steady(Errors=every(60, 30, 1), IteratorAge={90.0: 0.0, 80.0: 600_000.0})
    assert only(seen(consumer(metrics=metrics))).since_s == at(80) - 600 - 300


def test_an_age_that_came_only_later_tells_nothing() -> None:
    metrics = steady(Errors=every(60, 30, 1), IteratorAge=every(55, 10, 1_000))
    assert only(seen(consumer(metrics=metrics))).since_s is None


def test_errors_without_the_number_of_invocations() -> None:
    metrics = steady(Errors=every(60, 50, 3))
    del metrics["Invocations"]
    assert only(seen(consumer(metrics=metrics))).what.startswith("6 invocations failed, in 2 periods")


def test_errors_of_a_function_that_others_share_may_be_theirs() -> None:
    loss = only(seen(consumer(metrics=steady(Errors=every(60, 30, 1)), shares_function=True)))
    assert loss.certainty == "suspected"
    assert "its function has other callers too, and they may be theirs" in loss.what


@pytest.mark.parametrize(
    ("retries", "max_age_s", "age_ms", "fate"),
    [
        (-1, -1, 3_600_000, "nothing is lost by that yet, it is late"),
        (-1, -1, 86_200_000, "records may have become too old before they got through"),
        (-1, 3_700, 3_600_000, "records may have become too old before they got through"),
        (-1, 7_200, 3_600_000, "nothing is lost by that yet, it is late"),
        (-1, None, 3_600_000, "how late it is, and so whether anything was lost, is not known"),
        (2, -1, 3_600_000, "what was tried again may have got through"),
    ],
)
def test_what_endless_retries_have_lost(retries: int, max_age_s: int | None, age_ms: float, fate: str) -> None:
    metrics = steady(Errors=every(120, 10, 1), IteratorAge=every(120, 10, age_ms))
    loss = only(seen(consumer(metrics=metrics, retries=retries, max_age_s=max_age_s)))
    assert loss.what.endswith(f"; {fate}")


def test_endless_retries_say_when_the_first_record_is_lost() -> None:
    metrics = steady(Errors=every(120, 10, 1), IteratorAge=every(120, 10, 3_600_000))
    loss = only(seen(consumer(metrics=metrics, retries=-1)))
    assert loss.hint == (
        "Its mapping tries again until a record is 24 h 0 min old. The first is at 2025-11-26T22:45:00Z."
    )


def test_endless_retries_that_got_through_have_lost_nothing() -> None:
    loss = only(seen(consumer(metrics=steady(Errors=every(120, 60, 1)), retries=-1)))
    assert loss.what.endswith("; its mapping tried until they got through: nothing was lost by that")


def test_how_often_it_tries_is_not_known() -> None:
    loss = only(seen(consumer(metrics=steady(Errors=every(120, 60, 1)), retries=None)))
    assert loss.hint.startswith("How often its mapping tries again is not known")


# ── given up, dropped ────────────────────────────────────────────────────────────────────────────────────


def test_messages_are_certain() -> None:
    """The oldest was sent 100 minutes ago; errors went on until 90 minutes ago, and only those make messages."""
    place = msgspec.structs.replace(QUEUE, oldest_age_s=6_000.0, expires_in_s=80_400.0)
    metrics = steady(Errors=every(100, 90, 5))
    assert told(seen(consumer(metrics=metrics, on_failure=place))) == [
        ("bookkeeper", "certain", "given up", at(100) - 2 - 300, at(90)),
        ("bookkeeper", "suspected", "errors", at(100) - 2 - 300, at(90)),
    ]
    first = losses(seen(consumer(metrics=metrics, on_failure=place)), Asked())[0]
    assert first.what == "its mapping gave up: its on-failure destination holds 12 messages"
    assert first.hint == "The first of them expires in 22 h 20 min."
    assert first.records is None


def test_messages_whose_age_nobody_knows_have_no_beginning() -> None:
    loss = losses(seen(consumer(on_failure=QUEUE)), Asked())[0]
    assert (loss.sign, loss.since_s, loss.until_s, loss.first_s) == ("given up", None, None, None)


def test_messages_whose_age_nobody_knows_may_be_of_another_time_than_was_asked_for() -> None:
    loss = losses(seen(consumer(on_failure=QUEUE)), asked(since=5_000, until=4_000))[0]
    assert (loss.sign, loss.certainty, loss.since_s, loss.until_s) == ("given up", "suspected", at(5_000), at(4_000))
    place = msgspec.structs.replace(QUEUE, oldest_age_s=600.0)
    narrowed = losses(seen(consumer(on_failure=place)), asked(since=5_000, until=4_000))
    assert [loss.sign for loss in narrowed] == ["nothing"]


def test_where_age_makes_it_give_up_too_the_end_is_not_known() -> None:
    place = msgspec.structs.replace(QUEUE, oldest_age_s=6_000.0)
    loss = losses(seen(consumer(metrics=steady(Errors=every(100, 90, 5)), on_failure=place, max_age_s=3_600)), Asked())[
        0
    ]
    assert (loss.sign, loss.until_s) == ("given up", None)


def test_messages_that_are_younger_than_the_last_failure_have_no_end() -> None:
    place = msgspec.structs.replace(QUEUE, oldest_age_s=1_200.0)
    loss = losses(seen(consumer(metrics=steady(Errors=every(100, 90, 5)), on_failure=place)), Asked())[0]
    assert (loss.sign, loss.since_s, loss.until_s) == ("given up", at(20) - 2 - 300, None)


def test_messages_of_a_destination_that_two_share_may_be_the_others() -> None:
    found = seen(consumer("a", on_failure=QUEUE), consumer("b", on_failure=QUEUE))
    assert [loss.certainty for loss in losses(found, Asked())] == ["suspected", "suspected"]
    assert "of b too" in losses(found, Asked())[0].what


def test_the_mappings_own_metrics_count_the_records() -> None:
    metrics = steady(DroppedEventCount={50.0: 3.0, 40.0: 4.0}, OnFailureDestinationDeliveredEventCount={45.0: 100.0})
    found = seen(consumer(metrics=metrics, on_failure=msgspec.structs.replace(QUEUE, messages=0)))
    assert told(found) == [
        ("bookkeeper", "certain", "given up", at(45) - 2 - 300, at(40)),
        ("bookkeeper", "certain", "dropped", at(50) - 2 - 300, at(35)),
    ]
    assert [loss.records for loss in losses(found, Asked())] == [100, 7]


def test_no_number_of_records_where_messages_are_older_than_the_metric() -> None:
    metrics = steady(OnFailureDestinationDeliveredEventCount={45.0: 100.0})
    ages = {None: None, 90_000.0: None, 3_000.0: 100}
    for age_s, records in ages.items():
        place = msgspec.structs.replace(QUEUE, oldest_age_s=age_s)
        assert losses(seen(consumer(metrics=metrics, on_failure=place)), Asked())[0].records == records


@pytest.mark.parametrize(("shared", "certainty"), [(False, "certain"), (True, "suspected")])
def test_messages_that_could_not_be_left(shared: bool, certainty: Certainty) -> None:
    metrics = steady(DestinationDeliveryFailures={45.0: 2.0})
    loss = only(seen(consumer(metrics=metrics, shares_function=shared)))
    assert (loss.sign, loss.certainty, loss.records) == ("undelivered", certainty, None)


# ── throttled, silent, late ──────────────────────────────────────────────────────────────────────────────


def test_throttles_are_suspected_and_late() -> None:
    """Nothing is handed over meanwhile, and so no age is told: the last one before counts."""
    metrics = steady(
        Throttles=every(120, 10, 40),
        Invocations=every(1440, 120, 20),
        IteratorAge=every(1440, 120, 2_000) | {60.0: 3_600_000.0},
    )
    found = losses(seen(consumer(metrics=metrics)), Asked())
    assert [(loss.certainty, loss.sign, loss.since_s, loss.until_s) for loss in found] == [
        ("suspected", "throttles", at(125) - 2 - 300, None),
        ("suspected", "silence", at(125) - 2 - 300, None),
    ]
    assert found[0].what == "880 invocations throttled; nothing is lost by that yet, it is late"


def test_throttles_of_unknown_age_are_not_called_late() -> None:
    metrics = steady(Throttles=every(120, 10, 40))
    del metrics["IteratorAge"]
    loss = only(seen(consumer(metrics=metrics)))
    assert loss.what.endswith("how late it is, and so whether anything was lost, is not known")


def test_silence_while_the_table_was_written() -> None:
    """No invocation from 4 h to 2 h ago, and afterwards it has new records only."""
    metrics = steady(
        Invocations=every(1440, 240, 20) | every(120, 10, 20),
        IteratorAge=every(1440, 240, 2_000) | every(120, 10, 2_000),
    )
    loss = only(seen(consumer(metrics=metrics)))
    assert (loss.certainty, loss.sign) == ("suspected", "silence")
    assert (loss.since_s, loss.first_s, loss.until_s) == (at(245) - 2 - 300, at(240), at(120))
    assert loss.what == "no invocation in 24 periods of 5 min in which the table was written"


def test_what_was_silent_and_then_caught_up_has_lost_nothing() -> None:
    """The first batch after two hours is two hours old."""
    metrics = steady(
        Invocations=every(1440, 240, 20) | every(120, 10, 20),
        IteratorAge=every(1440, 240, 2_000) | {120.0: 7_200_000.0} | every(115, 10, 2_000),
    )
    assert told(seen(consumer(metrics=metrics))) == [("bookkeeper", "not visible", "nothing", None, None)]


def test_silence_that_goes_on() -> None:
    metrics = steady(Invocations=every(1440, 60, 20), IteratorAge=every(1440, 60, 2_000))
    loss = only(seen(consumer(metrics=metrics, filters=('{"eventName": ["INSERT"]}',))))
    assert (loss.since_s, loss.until_s) == (at(65) - 2 - 300, None)
    assert loss.hint.endswith("its filter drops others without an invocation.")


def test_what_its_filter_dropped_was_no_silence() -> None:
    metrics = steady(
        Invocations=every(1440, 60, 20), IteratorAge=every(1440, 60, 2_000), FilteredOutEventCount=every(60, 10, 5)
    )
    assert [loss.sign for loss in losses(seen(consumer(metrics=metrics)), Asked())] == ["nothing"]


@pytest.mark.parametrize(
    "changes",
    [{"written": None}, {"written": series({})}, {"written": series(every(1440, 60, 5))}],
    ids=["unknown", "no value", "not written then"],
)
def test_no_silence_where_it_is_not_known_that_the_table_was_written(changes: dict[str, object]) -> None:
    metrics = steady(Invocations=every(1440, 60, 20), IteratorAge=every(1440, 60, 2_000))
    assert [loss.sign for loss in losses(seen(consumer(metrics=metrics), **changes), Asked())] == ["nothing"]


def test_no_silence_where_invocations_were_not_answered() -> None:
    metrics = steady()
    del metrics["Invocations"]
    assert [loss.sign for loss in losses(seen(consumer(metrics=metrics)), Asked())] == ["nothing"]


def test_two_silent_periods_are_none_yet() -> None:
    metrics = steady(Invocations=every(1440, 120, 20) | every(110, 10, 20))
    assert [loss.sign for loss in losses(seen(consumer(metrics=metrics)), Asked())] == ["nothing"]


def test_writes_of_the_last_minutes_are_no_silence_yet() -> None:
    metrics = steady(Invocations=every(1440, 15, 20), IteratorAge=every(1440, 15, 2_000))
    found = seen(consumer(metrics=metrics), written=series(every(1440, 0, 3_000)))
    assert [loss.sign for loss in losses(found, Asked())] == ["nothing"]


def test_a_mapping_that_is_disabled() -> None:
    metrics = steady(Invocations=every(1440, 60, 20), IteratorAge=every(1440, 60, 2_000))
    loss = only(seen(consumer(metrics=metrics, state="Disabled", reads_now=False)))
    assert (loss.certainty, loss.sign, loss.since_s, loss.until_s) == ("suspected", "stopped", at(65) - 2 - 300, None)
    assert loss.what == "it is Disabled, and gets nothing"


def test_a_mapping_of_an_earlier_stream() -> None:
    loss = only(seen(consumer(stream="arn:aws:dynamodb:…:table/orders/stream/2025-01-01T00:00:00.000")))
    assert (loss.sign, loss.what[:44]) == ("stopped", "it reads an earlier stream of the table, and")


def test_healthy_but_late_is_no_loss() -> None:
    metrics = steady(IteratorAge=every(1440, 300, 2_000) | every(300, 10, 11_400_000))
    loss = only(seen(consumer(metrics=metrics)))
    assert (loss.certainty, loss.sign) == ("not visible", "late")
    assert (loss.since_s, loss.until_s) == (at(15) - 11_400 - 300, None)
    assert loss.what == "healthy, but 3 h 10 min behind: nothing is lost by that yet"


def test_late_by_all_that_a_stream_remembers_is_suspected() -> None:
    metrics = steady(IteratorAge=every(300, 10, 86_300_000))
    loss = only(seen(consumer(metrics=metrics)))
    assert (loss.certainty, loss.sign) == ("suspected", "late")


def test_what_was_late_in_the_morning_is_not_late_now() -> None:
    metrics = steady(IteratorAge=every(900, 600, 11_400_000))
    assert [loss.sign for loss in losses(seen(consumer(metrics=metrics)), Asked())] == ["nothing"]


# ── nothing visible ──────────────────────────────────────────────────────────────────────────────────────


def test_nothing_visible_asks_since_when_and_tells_when_the_function_changed() -> None:
    loss = only(seen(consumer(changed_s=at(500))))
    assert (loss.certainty, loss.sign, loss.since_s, loss.until_s) == ("not visible", "nothing", None, None)
    assert loss.what == (
        "nothing shows, up to 5 minutes ago; a function that was wrong and threw nothing looks the same"
    )
    assert loss.hint == "Say since when: --since. Its function was last changed at 2025-11-25T15:40:00Z."


def test_nothing_visible_in_the_window_that_was_asked_for() -> None:
    loss = only(seen(consumer()), asked(since=500, until=400))
    assert (loss.since_s, loss.until_s, loss.hint) == (at(500), at(400), "")


@pytest.mark.parametrize("missing", [("Errors",), ("Throttles",), ("Errors", "Throttles")])
def test_a_metric_that_was_not_answered_is_unknown(missing: tuple[str, ...]) -> None:
    metrics = {name: values for name, values in steady().items() if name not in missing}
    loss = only(seen(consumer(metrics=metrics)))
    assert (loss.certainty, loss.sign) == ("not visible", "unknown")
    assert loss.what == f"whether it lost anything cannot be told: {' and '.join(missing)} could not be read"


def test_beside_a_loss_it_is_said_that_there_may_be_more() -> None:
    metrics = steady(Errors=every(60, 30, 1))
    del metrics["Throttles"]
    assert [loss.sign for loss in losses(seen(consumer(metrics=metrics)), Asked())] == ["errors", "unknown"]


def test_of_a_pipe_nothing_can_be_seen() -> None:
    loss = only(seen(consumer("to-bus", kind="pipe", function="", mapping="", metrics={})))
    assert (loss.certainty, loss.sign) == ("not visible", "unknown")
    assert "of a pipe no metric is read" in loss.what


# ── narrowed ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_window_that_was_asked_for_cuts_what_was_lost() -> None:
    found = seen(consumer(metrics=steady(Errors=every(300, 180, 10))))
    assert told(found, asked(since=280)) == [("bookkeeper", "suspected", "errors", at(280), at(180))]
    assert told(found, asked(until=200)) == [("bookkeeper", "suspected", "errors", at(300) - 302, at(200))]


def test_errors_outside_of_it_are_none_of_it() -> None:
    found = seen(consumer(metrics=steady(Errors=every(300, 180, 10))))
    assert told(found, asked(since=100)) == [("bookkeeper", "not visible", "nothing", at(100), None)]


def test_errors_after_it_count_where_records_were_that_old() -> None:
    """Two hours late: an error 1 h ago is of a record of 3 h ago."""
    metrics = steady(Errors=every(60, 50, 1), IteratorAge=every(120, 10, 7_200_000))
    found = losses(seen(consumer(metrics=metrics)), asked(since=200, until=150))
    assert [(loss.sign, loss.since_s, loss.until_s) for loss in found] == [("errors", at(60) - 7_200 - 300, at(150))]


@pytest.mark.parametrize(
    "name", ["mailer", mapping_of("mailer"), "arn:aws:lambda:us-east-1:123456789012:function:mailer"]
)
def test_one_consumer_alone(name: str) -> None:
    found = seen(consumer("bookkeeper"), consumer("mailer", function="mailer:live"))
    assert [loss.consumer for loss in losses(found, asked(consumer=name))] == ["mailer"]


def test_an_alias_is_not_another() -> None:
    found = seen(consumer("a", function="mailer:live"), consumer("b", function="mailer:beta"))
    assert [loss.consumer for loss in losses(found, asked(consumer="mailer:beta"))] == ["b"]


def test_what_the_stream_has_forgotten_is_said() -> None:
    metrics = steady(Errors=every(300, 180, 10))
    found = seen(consumer(metrics=metrics), horizon=Horizon(at(200), "read"))
    assert only(found).hint.endswith("What was written before 2025-11-25T20:40:00Z is on no stream any more.")
    assert "on no stream" not in only(seen(consumer(metrics=metrics), horizon=Horizon(None, "at most 24 h"))).hint


def test_the_day_is_the_made_up_one() -> None:
    assert at(0) == NOW_S
