"""What stays and why: messages that could not be read now, and those of another table, Region or account."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from restrike.aws.settings import AwsSettings
from restrike.errors import UsageError
from restrike.model.times import iso
from restrike.replaying.plan import plan as plan_replay
from restrike.replaying.request import ReplayRequest
from tests.failure_messages import message
from tests.integration.tables import create

# The fixtures are what a redrive stands on.
from tests.integration.test_redrive import (  # noqa: F401
    FUNCTION,
    Ground,
    _quick,
    consumer,
    ground,
    on_stream,
    stays,
    table,
    written,
)
from tests.servers.faults import AccessDenied, faulty
from tests.servers.invoked import Invoked


@pytest.mark.parametrize("denied", ["DescribeStream", "GetShardIterator", "GetRecords"])
def test_what_may_not_be_read_is_not_lost(ground: Ground, consumer: Invoked, denied: str) -> None:  # noqa: F811
    ground.write("a", ground.body(3, 6))
    ground.write("b", ground.body(8, 10, payload=True))
    with faulty(ground.url, [AccessDenied(denied, times=1)]) as proxy:
        ground.url = proxy.endpoint_url
        plan = ground.plan()
        ((why, messages),) = plan.data.stays
        assert f"its batch cannot be read: {denied}: AccessDeniedException" in why
        assert f"dynamodb:{denied}" in why, "which permission is missing"
        assert (messages, plan.data.taken) == (1, 1), "what brings its records along is not held back"
        report = plan.execute()  # the permission is there by now
    assert (report.done, report.stays, report.gaps) == (2, (), [])
    assert consumer.places() == ground.places[3:6] + ground.places[8:10]


def test_what_could_not_be_read_is_read_by_the_next_run(ground: Ground, consumer: Invoked) -> None:  # noqa: F811
    ground.write("a", ground.body(3, 6))
    with faulty(ground.url, [AccessDenied("GetRecords")]) as proxy:
        url, ground.url = ground.url, proxy.endpoint_url
        report = ground.plan().execute()
    assert (report.done, report.delivered, report.exit_code) == (0, 0, 4)
    assert "cannot be read" in report.gaps[0].why
    assert "What is left" not in report.gaps[0].why
    ground.url = url
    assert ground.plan(run="next").execute().done == 1


def test_a_stream_of_another_region_is_not_called_lost(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    there = "arn:aws:dynamodb:eu-west-1:123456789012:table/t/stream/2026-11-25T00:00:00.000"
    ground.write("a", ground.body(3, 6, streamArn=there))
    ground.url = None  # type: ignore[assignment]  # AWS itself, which is not asked
    plan = ground.plan("jsonl:out.jsonl")
    ((why, _),) = plan.data.stays
    assert why == (
        "its batch cannot be read: the stream is in eu-west-1, and the Region is us-east-1: --region eu-west-1"
    )
    plan.discard()


def test_messages_of_two_tables_are_compared_with_the_items_of_each(
    ground: Ground,  # noqa: F811
    consumer: Invoked,  # noqa: F811
    dynamodb_local: str,
    tmp_path: Path,
) -> None:
    """One queue is often the destination of several mappings."""
    other = create(dynamodb_local, ("pk", "N"), items=[{"pk": n} for n in range(4)])
    (tmp_path / "other").mkdir()
    there = Ground(other, tmp_path / "other", on_stream(other, 4))
    other.dynamodb.delete_item(TableName=other.name, Key={"pk": {"N": str(2)}})
    ground.write("a", ground.body(3, 6))
    ground.write("b", there.body(0, 4))
    report = ground.plan(if_superseded="skip").execute()
    assert (report.done, report.delivered, report.skipped_deleted, report.exit_code) == (2, 6, 1, 0)
    assert {int(each["dynamodb"]["Keys"]["pk"]["N"]) for _, event in consumer.got for each in event["Records"]} == {
        int(each["dynamodb"]["Keys"]["pk"]["N"]) for each in ground.records[3:6] + there.records[:4]
    } - {2}
    # A file is one target for both.
    path = tmp_path / "out.jsonl"
    report = ground.plan(f"jsonl:{path}", if_superseded="skip", run="file").execute()
    assert (report.done, len(path.read_text().splitlines())) == (2, 6)


def test_a_table_of_that_name_elsewhere_says_nothing_of_the_items(ground: Ground, consumer: Invoked) -> None:  # noqa: F811
    """Its items would be taken for gone, and the message for done."""
    there = ground.stream.replace(":ddblocal:", ":eu-west-1:")
    records = [each | {"eventSourceARN": there} for each in ground.records[8:10]]
    ground.write("a", message(records, shard=ground.shard, stream_arn=there, function=FUNCTION, payload=True))
    ground.write("b", ground.body(3, 6))
    nobodys = ground.stream.replace(ground.table.name, "nobodys-table")
    ground.write("c", ground.body(3, 6, streamArn=nobodys))
    plan = ground.plan(if_superseded="skip")
    why = stays(plan.data)
    assert len(why) == 2
    assert all("its items cannot be compared" in each for each in why)
    assert any("there is no table nobodys-table" in each for each in why)
    report = plan.execute()
    assert (report.done, report.delivered, report.exit_code) == (1, 3, 4)
    assert stays(report) == why


def test_records_that_are_none_of_the_table_end_a_comparison_in_words(
    ground: Ground,  # noqa: F811
    consumer: Invoked,  # noqa: F811
) -> None:
    forged = [{**each, "dynamodb": {**each["dynamodb"], "Keys": {"pk": {"S": "x"}}}} for each in ground.records[3:4]]
    ground.write("a", message(forged, shard=ground.shard, stream_arn=ground.stream, payload=True))
    with pytest.raises(UsageError, match="is none of table") as caught:
        ground.plan(if_superseded="skip")
    assert "--if-superseded send" in caught.value.hint


def test_what_a_plan_has_followed_does_not_expire(ground: Ground, consumer: Invoked) -> None:  # noqa: F811
    """It was told to be kept elsewhere first, though it lay on the disk already."""
    arrived_s = float(int(time.time())) - 24 * 3600 + 60
    ground.write("a", ground.body(3, 6, approximateArrivalOfFirstRecord=iso(arrived_s)))
    redrive = ground.plan()
    assert redrive.data.messages[0].expires == iso(arrived_s + 24 * 3600)
    assert "expires" not in [each.code for each in redrive.data.warnings]
    redrive.discard()
    request = ReplayRequest(f"failures:{ground.given_up}", "-", aws=AwsSettings(endpoint_url=ground.url))
    replay = plan_replay(request)
    assert "expires" in [each.code for each in replay.data.warnings]
    replay.discard()
