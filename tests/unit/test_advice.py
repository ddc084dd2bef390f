"""What to change some other day, and that the commands for it are ones that the service takes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from restrike.model.advice import advice
from restrike.model.diagnosis import Advice, Kept, Seen
from tests.pasted import aws_parameters, parsed
from tests.seen import DAYS, QUEUE, TABLE, archive, consumer, every, mapping_of, seen, series, steady

S3 = msgspec.structs.replace(QUEUE, kind="s3", arn="arn:aws:s3:::kept")
CONTENT = {"kept": (archive(3_000, 4),)}
"""Of a table that is captured, and whose index has dates: there is nothing to say of it."""


def well(**changes: Any) -> Seen:
    """A table and a consumer made for it, but for what is given of the consumer."""
    return seen(consumer(on_failure=S3, **changes), **CONTENT)


def codes(found: Seen) -> list[str]:
    return [each.code for each in advice(found)]


def one(found: Seen, code: str) -> Advice:
    (each,) = (each for each in advice(found) if each.code == code)
    return each


def test_where_all_is_well_there_is_nothing_to_say() -> None:
    assert advice(well()) == ()


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────


def test_no_date_index() -> None:
    found = seen(consumer(on_failure=S3), indexes=(), flags=("--endpoint-url", "http://127.0.0.1:8000"), **CONTENT)
    each = one(found, "no-date-index")
    assert "KEYS_ONLY is enough for touch" in each.text
    assert "A new item then costs a write unit more, $0.625 a million" in each.text
    assert "to all 1,000,000 items that are there takes 2 units each, $1.25" in each.text
    assert "(prices of us-east-1, 2026-11)" in each.text
    assert "Above 500 writes a second on one day's key that index is hot" in each.text
    assert aws_parameters(each.command) == (
        "dynamodb",
        "update_table",
        {
            "TableName": "orders",
            "AttributeDefinitions": [{"AttributeName": "created_ymd", "AttributeType": "S"}],
            "GlobalSecondaryIndexUpdates": [
                {
                    "Create": {
                        "IndexName": "by_created_ymd",
                        "KeySchema": [{"AttributeName": "created_ymd", "KeyType": "HASH"}],
                        "Projection": {"ProjectionType": "KEYS_ONLY"},
                    }
                }
            ],
        },
    )
    assert each.command.endswith("--endpoint-url http://127.0.0.1:8000")


def test_a_provisioned_table_gives_its_index_capacity() -> None:
    table = msgspec.structs.replace(TABLE, on_demand=False, write_capacity=40, read_capacity=7)
    each = one(seen(table=table, indexes=()), "no-date-index")
    created = aws_parameters(each.command)[2]["GlobalSecondaryIndexUpdates"][0]["Create"]
    assert created["ProvisionedThroughput"] == {"ReadCapacityUnits": 7, "WriteCapacityUnits": 40}
    assert "It needs write capacity of its own" in each.text
    assert "$" not in each.text


def test_an_index_of_that_name_that_has_no_dates_is_left_alone() -> None:
    indexes = tuple(msgspec.structs.replace(TABLE.indexes[0], name=name) for name in ("by_created_ymd", "x"))
    found = seen(table=msgspec.structs.replace(TABLE, indexes=indexes), indexes=())
    assert '"IndexName":"by_created_ymd_2"' in one(found, "no-date-index").command


@pytest.mark.parametrize(("wcu_per_s", "hot"), [(500, False), (501, True)])
def test_above_500_writes_a_second_the_key_of_a_day_is_hot(wcu_per_s: float, hot: bool) -> None:
    written = series(every(1440, 1430, 10) | {100.0: wcu_per_s * 300.0})
    without = seen(consumer(on_failure=S3), indexes=(), written=written, **CONTENT)
    assert ("The table takes up to 501 write units a second" in one(without, "no-date-index").text) == hot
    assert codes(seen(consumer(on_failure=S3), written=written, **CONTENT)) == (["hot-date-index"] if hot else [])


def test_a_date_in_the_sort_key_spreads_what_is_written() -> None:
    index = msgspec.structs.replace(DAYS, role="sort", form="iso")
    written = series({100.0: 1e6})
    assert codes(seen(consumer(on_failure=S3), indexes=(index,), written=written, **CONTENT)) == []


@pytest.mark.parametrize(
    ("view_type", "said"),
    [("KEYS_ONLY", True), ("NEW_IMAGE", True), ("OLD_IMAGE", False), ("NEW_AND_OLD_IMAGES", False)],
)
def test_a_view_type_without_old_images(view_type: str, said: bool) -> None:
    table = msgspec.structs.replace(TABLE, view_type=view_type)
    found = seen(consumer(on_failure=S3), table=table, **CONTENT)
    assert ("no-old-image" in codes(found)) == said


def test_no_capture() -> None:
    each = one(seen(consumer(on_failure=S3)), "no-capture")
    assert parsed(each.command)["to"] == "s3://my-bucket/orders"
    assert "s3://BUCKET/orders" in each.command
    running = Kept("run", "capture-orders", state="RUNNING", verb="capture")
    assert "no-capture" not in codes(seen(consumer(on_failure=S3), kept=(running,)))
    export = Kept("export", "s3://kept/exports")
    assert "no-capture" in codes(seen(consumer(on_failure=S3), kept=(export,)))


@pytest.mark.parametrize(("readers", "said"), [(2, False), (3, True)])
def test_a_third_reader(readers: int, said: bool) -> None:
    assert ("third-reader" in codes(msgspec.structs.replace(well(), readers=readers))) == said


def test_of_a_table_without_a_stream_only_its_index_is_told() -> None:
    table = msgspec.structs.replace(TABLE, stream_arn=None, view_type=None)
    assert codes(seen(table=table, streams=(), indexes=(), readers=3)) == ["no-date-index"]


# ── consumers ────────────────────────────────────────────────────────────────────────────────────────────


def test_no_on_failure_destination() -> None:
    found = seen(consumer(), flags=("--region", "eu-west-1", "--endpoint-url", "http://127.0.0.1:8000"), **CONTENT)
    each = one(found, "no-on-failure-destination")
    assert aws_parameters(each.command) == (
        "lambda",
        "update_event_source_mapping",
        {
            "UUID": mapping_of("bookkeeper"),
            "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::BUCKET"}},
        },
    )
    assert each.command.endswith("--region eu-west-1")  # the endpoint is DynamoDB's


@pytest.mark.parametrize("kind", ["sqs", "sns"])
def test_a_queue_keeps_pointers_where_a_bucket_keeps_events(kind: str) -> None:
    found = seen(consumer(on_failure=msgspec.structs.replace(QUEUE, kind=kind)), **CONTENT)
    assert codes(found) == ["pointers-expire"]
    assert kind.upper() in advice(found)[0].text


@pytest.mark.parametrize(
    ("retries", "max_age_s", "bisects", "said"),
    [
        (-1, -1, False, True),
        (-1, -1, True, False),
        (5, -1, False, False),
        (-1, 3_600, False, False),
        (None, -1, None, False),
    ],
)
def test_endless_retries_without_bisect(retries: Any, max_age_s: int, bisects: Any, said: bool) -> None:
    found = well(retries=retries, max_age_s=max_age_s, bisects=bisects)
    assert codes(found) == (["endless-retries"] if said else [])
    if said:
        assert aws_parameters(advice(found)[0].command)[2] == {
            "UUID": mapping_of("bookkeeper"),
            "MaximumRetryAttempts": 5,
            "BisectBatchOnFunctionError": True,
        }


@pytest.mark.parametrize(("age_ms", "said"), [(3_599_000, False), (3_600_000, True)])
def test_behind_by_hours(age_ms: float, said: bool) -> None:
    found = well(parallel=6, metrics=steady(IteratorAge={100.0: age_ms}))
    assert codes(found) == (["behind"] if said else [])
    if said:
        assert "60 min behind" in advice(found)[0].text
        assert aws_parameters(advice(found)[0].command)[2]["ParallelizationFactor"] == 10


@pytest.mark.parametrize("parallel", [10, None])
def test_what_cannot_be_more_parallel_has_no_command(parallel: int | None) -> None:
    found = well(parallel=parallel, metrics=steady(IteratorAge={100.0: 7_200_000.0}))
    assert [each.command for each in advice(found)] == [""]


def test_a_pipe_has_no_mapping_to_change() -> None:
    pipe = consumer("to-bus", kind="pipe", function="", mapping="", retries=-1, max_age_s=-1, bisects=False, metrics={})
    assert advice(seen(pipe, **CONTENT)) == ()
