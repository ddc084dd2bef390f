"""`restrike export` against a DynamoDB that knows exports: what is started, found again, awaited and refused."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import restrike
from restrike.aws import exports as aws_exports
from restrike.cli.main import run as command
from restrike.errors import AccessDenied, AwsError, NotFound, RestrikeError, UsageError
from restrike.exporting import execute
from restrike.model.times import iso
from restrike.running.ledger import Ledger
from tests.exported import change, export
from tests.servers import exports_stub
from tests.servers.exports_stub import ARN, ExportService, Refused
from tests.servers.ministack import MiniStack

DAY_S = 86_400
TO = "s3://exports/orders"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "POLL_S", 0.01)


@pytest.fixture
def service() -> Iterator[ExportService]:
    with exports_stub.running() as known:
        known.earliest_s = known.latest_s - 35 * DAY_S
        yield known


Plan = Callable[..., restrike.ExportPlan]


@pytest.fixture
def plan(service: ExportService, tmp_path: Path) -> Plan:
    def planned(to: str = TO, **flags: Any) -> restrike.ExportPlan:
        flags.setdefault("since", "3d")
        flags.setdefault("ledger", tmp_path / "ledger.db")
        return restrike.export("orders", to, endpoint_url=service.endpoint_url, **flags)

    return planned


def spans(service: ExportService) -> list[tuple[float, float]]:
    windows = [each["IncrementalExportSpecification"] for each in service.calls("ExportTableToPointInTime")]
    return [(each["ExportFromTime"], each["ExportToTime"]) for each in windows]


def resumed(folder: Path) -> restrike.ExportReport:
    report = restrike.resume("r", ledger=folder / "ledger.db").execute()
    assert isinstance(report, restrike.ExportReport)
    return report


# ── what is started ──────────────────────────────────────────────────────────────────────────────────────


def test_a_plan_starts_nothing(plan: Plan, service: ExportService, tmp_path: Path) -> None:
    made = plan()
    assert (made.data.windows, made.data.existing, made.data.to_start) == (3, 0, 3)
    assert made.data.usd_at_least == pytest.approx(0.003)
    assert made.data.usd is None
    assert "CloudWatch is not asked" in made.data.usd_how
    assert service.calls("ExportTableToPointInTime") == []
    assert not (tmp_path / "ledger.db").exists()
    assert made.data.replay.startswith(f"restrike replay export:{TO} --since {made.data.since} --until")


def test_the_span_is_exported_window_by_window(plan: Plan, service: ExportService) -> None:
    made = plan(since=iso(service.latest_s // 60 * 60 - 3 * DAY_S))
    report = made.execute()
    assert (report.state, report.windows, report.completed, report.started, report.found) == ("COMPLETED", 3, 3, 3, 0)
    assert (report.items, report.billed_bytes) == (21, 3 * 10_485_760)
    assert report.exit_code == 0
    found = spans(service)
    assert [iso(from_s) for from_s, _ in found][:1] == [made.data.since]
    assert [one[1] for one in found[:-1]] == [other[0] for other in found[1:]], "one behind the other"
    assert found[-1][1] <= service.latest_s
    first = service.calls("ExportTableToPointInTime")[0]
    assert first | {"ClientToken": "", "IncrementalExportSpecification": {}} == {
        "TableArn": ARN,
        "S3Bucket": "exports",
        "S3Prefix": "orders",
        "ExportFormat": "DYNAMODB_JSON",
        "ExportType": "INCREMENTAL_EXPORT",
        "ClientToken": "",
        "IncrementalExportSpecification": {},
    }
    assert first["IncrementalExportSpecification"]["ExportViewType"] == "NEW_AND_OLD_IMAGES"


def test_a_key_becomes_a_filter_on_the_partition_key_alone(plan: Plan, service: ExportService) -> None:
    plan(since="1h", key="c7", bucket_owner="123456789012", kms_key="alias/k").execute()
    (call,) = service.calls("ExportTableToPointInTime")
    assert call["FilterSpecification"] == {
        "KeyConditionExpression": "#k = :k",
        "ExpressionAttributeNames": {"#k": "pk"},
        "ExpressionAttributeValues": {":k": {"S": "c7"}},
    }
    assert (call["S3BucketOwner"], call["S3SseAlgorithm"], call["S3SseKmsKeyId"]) == ("123456789012", "KMS", "alias/k")


def test_a_second_call_starts_nothing_twice(plan: Plan, service: ExportService, tmp_path: Path) -> None:
    since, until = iso(service.latest_s // 60 * 60 - DAY_S), iso(service.latest_s // 60 * 60)
    flags: dict[str, Any] = {"since": since, "until": until, "window": "6h"}
    plan(**flags).execute()
    assert len(service.exports) == 4
    again = plan(**flags)  # the same run
    assert again.data.nothing_new
    assert again.execute().state == "COMPLETED"
    elsewhere = plan(**flags, ledger=tmp_path / "other.db")  # a ledger that knows nothing
    assert (elsewhere.data.existing, elsewhere.data.to_start, elsewhere.data.usd_at_least) == (4, 0, 0)
    report = elsewhere.execute()
    assert (report.started, report.found, report.completed) == (0, 4, 4)
    assert len(service.exports) == len(service.calls("ExportTableToPointInTime")) == 4
    other = plan("s3://exports/else", **flags)
    assert other.data.existing == 0, "to another place it is another export"
    assert plan(**flags, key="c7").data.existing == 0


def test_exports_that_overlap_in_the_same_place_are_warned_of(plan: Plan, service: ExportService) -> None:
    since, until = iso(service.latest_s // 60 * 60 - DAY_S), iso(service.latest_s // 60 * 60)
    plan(since=since, until=until).execute()
    finer: dict[str, Any] = {"since": since, "until": until, "window": "6h"}
    (text,) = [each.message for each in plan(**finer).warnings if each.code == "overlaps"]
    (arn,) = service.exports
    assert arn.rpartition("/")[2] in text
    assert all(each.code != "overlaps" for each in plan("s3://exports/finer", **finer).warnings)


def test_the_token_is_in_the_ledger_before_the_call_and_a_lost_answer_starts_nothing_twice(
    plan: Plan, service: ExportService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The export was started, and whoever asked did not hear of it."""
    made = plan(since="1h", run="r")
    start = aws_exports.start_export
    tokens: list[str] = []

    def lost(aws: Any, parameters: Any) -> Any:
        with Ledger(tmp_path / "ledger.db", read_only=True) as ledger:
            (row,) = ledger.db.rows("SELECT from_s, attempt FROM export_windows WHERE run = 'r'")
        assert row[1] == 1, "what the token is made of is durable"
        tokens.append(parameters["ClientToken"])
        start(aws, parameters)
        if len(tokens) == 1:
            raise AwsError("no answer", code="Lost")
        return start(aws, parameters)

    monkeypatch.setattr(aws_exports, "start_export", lost)
    service.refuse["ListExports"] = [Refused("AccessDeniedException") for _ in range(3)]  # the tokens alone
    with pytest.raises(AwsError, match="no answer"):
        made.execute()
    report = resumed(tmp_path)
    assert report.state == "COMPLETED"
    assert len(set(tokens)) == 1
    assert len(service.exports) == 1


def test_what_is_under_way_is_awaited_again_by_who_goes_on(plan: Plan, service: ExportService, tmp_path: Path) -> None:
    service.looks_until_done = 10**9
    stop = restrike.Stop()
    made = plan(run="r")
    report = made.execute(lambda progress: stop.set() if progress.counts.under_way == 3 else None, stop=stop)
    assert (report.state, report.exit_code, report.under_way) == ("INTERRUPTED", 130, 3)
    (known,) = restrike.runs(ledger=tmp_path / "ledger.db")
    assert known.state == "INTERRUPTED"
    service.looks_until_done = 1
    report = resumed(tmp_path)
    assert report.state == "COMPLETED"
    assert len(service.calls("ExportTableToPointInTime")) == 3


def test_a_pause_from_elsewhere_ends_the_waiting(plan: Plan, service: ExportService, tmp_path: Path) -> None:
    service.looks_until_done = 10**9
    asked = threading.Event()

    def on_progress(_: restrike.ExportProgress) -> None:
        if not asked.is_set():
            asked.set()
            with Ledger(tmp_path / "ledger.db") as ledger:
                ledger.ask("r", "PAUSING", "paused by the user")

    assert plan(run="r").execute(on_progress).state == "PAUSED"


def test_fewer_are_started_where_the_service_wants_fewer(plan: Plan, service: ExportService) -> None:
    service.most_at_once = 2
    report = plan().execute()  # botocore tries some seconds by itself
    assert (report.state, report.completed) == ("COMPLETED", 3)
    assert len(service.exports) == 3


def test_an_export_that_the_service_calls_pending_is_awaited(plan: Plan, service: ExportService) -> None:
    """As the guide does; the API says IN_PROGRESS."""
    service.under_way = "PENDING"
    service.looks_until_done = 2
    assert plan(since="1h").execute().state == "COMPLETED"


def test_a_service_that_fails_for_a_while_ends_no_waiting(plan: Plan, service: ExportService) -> None:
    service.looks_until_done = 2
    service.refuse["DescribeExport"] = [Refused("InternalServerError"), Refused("ThrottlingException")]
    assert plan(since="1h").execute().state == "COMPLETED"


def test_the_price_is_by_what_was_written_in_that_time(
    plan: Plan, service: ExportService, ministack: MiniStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the least, where that is more."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", ministack.endpoint_url)
    made = plan(since="1h")
    assert made.data.usd == made.data.usd_at_least == pytest.approx(0.001)
    ministack.client("cloudwatch").put_metric_data(
        Namespace="AWS/DynamoDB",
        MetricData=[
            {
                "MetricName": "ConsumedWriteCapacityUnits",
                "Dimensions": [{"Name": "TableName", "Value": "orders"}],
                "Timestamp": datetime.fromtimestamp(service.latest_s - 1800, UTC),
                "Value": 5e6,
            }
        ],
    )
    made = plan(since="1h")
    assert made.data.usd == pytest.approx(0.512)
    assert "5,000,000 write units" in made.data.usd_how


def test_a_bucket_that_is_not_there_is_said_before(
    plan: Plan, ministack: MiniStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", ministack.endpoint_url)
    bucket = f"exports-{uuid.uuid4().hex[:8]}"
    with pytest.raises(UsageError, match=f"there is no bucket {bucket}"):
        plan(f"s3://{bucket}", since="1h")
    ministack.client("s3").create_bucket(Bucket=bucket)
    assert plan(f"s3://{bucket}", since="1h").data.to == f"s3://{bucket}"


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────


def test_without_recovery_it_says_how_to_switch_it_on(plan: Plan, service: ExportService) -> None:
    service.recovery = "DISABLED"
    with pytest.raises(UsageError, match="has no point-in-time recovery") as caught:
        plan()
    assert "aws dynamodb update-continuous-backups --table-name orders" in caught.value.hint


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"since": "40d"}, "is before the earliest that can be exported"),
        ({"since": "2h", "until": "0s"}, "is behind the latest that can be exported"),
        ({"since": "2h", "until": "3h"}, "is not after --since"),
        ({"since": "2h", "until": "110m"}, "an export has 15 minutes at least"),
        ({"window": "5m"}, "is not between 15m and 24h"),
        ({"window": "2d"}, "is not between 15m and 24h"),
        ({"since": "yesterday"}, "is no time"),
        ({"since": None}, "not said from when on"),
        ({"to": "exports/orders"}, "DynamoDB writes to S3"),
        ({"to": "s3://Exports"}, "is no place for an export"),
        ({"to": "s3://exports/x/AWSDynamoDB/1"}, "lies in an export"),
        ({"bucket_owner": "me"}, "is no account"),
        ({"timeout_s": 0}, "--timeout 0 is no number from 1 on"),
    ],
    ids=str,
)
def test_what_the_service_would_refuse_is_refused_first(
    plan: Plan, service: ExportService, flags: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError) as caught:
        plan(**flags)
    assert says in f"{caught.value.message} {caught.value.hint}"
    assert service.calls("ExportTableToPointInTime") == []


@pytest.mark.parametrize(
    ("code", "kind", "hint"),
    [
        ("AccessDeniedException", AccessDenied, "s3:PutObject, s3:PutObjectAcl and s3:AbortMultipartUpload"),
        ("ExportConflictException", AwsError, "give another prefix"),
        ("InvalidExportTimeException", AwsError, "plan again"),
        ("LimitExceededException", AwsError, "wait for those to end"),
        ("PointInTimeRecoveryUnavailableException", AwsError, "Switch point-in-time recovery on"),
        ("TableNotFoundException", NotFound, "Check the name"),
    ],
)
def test_each_refusal_says_what_helps_and_the_run_goes_on_later(
    plan: Plan, service: ExportService, tmp_path: Path, code: str, kind: type[RestrikeError], hint: str
) -> None:
    service.refuse["ExportTableToPointInTime"] = [Refused(code) for _ in range(4)]  # botocore tries throttles again
    with pytest.raises(kind, match=code) as caught:
        plan(since="1h", run="r").execute()
    assert hint in caught.value.hint
    assert "restrike runs resume r" in caught.value.hint
    assert caught.value.exit_code == 3
    service.refuse.clear()
    assert resumed(tmp_path).state == "COMPLETED"


def test_a_bucket_that_refuses_fails_the_window_and_a_mended_one_takes_it(
    plan: Plan, service: ExportService, tmp_path: Path
) -> None:
    """With another token: the first one would answer the failed export."""
    service.fails = [("S3AccessDenied", "Access denied when writing to the bucket")]
    with pytest.raises(AwsError, match="has failed: S3AccessDenied: Access denied") as caught:
        plan(run="r", window="12h").execute()
    assert "s3:PutObject" in caught.value.hint
    report = resumed(tmp_path)
    assert (report.state, report.completed) == ("COMPLETED", 6)
    calls = service.calls("ExportTableToPointInTime")
    assert len(calls) == 7
    assert len({call["ClientToken"] for call in calls}) == 7


def test_the_waiting_has_an_end(plan: Plan, service: ExportService, monkeypatch: pytest.MonkeyPatch) -> None:
    service.looks_until_done = 10**9
    monkeypatch.setattr(execute, "POLL_S", 0.3)
    with pytest.raises(AwsError, match="no window has ended for") as caught:
        plan(since="1h", timeout_s=1).execute()
    assert "--timeout" in caught.value.hint


def test_a_stand_in_knows_no_exports(dynamodb_local: str, tmp_path: Path) -> None:
    from tests.integration.tables import create

    table = create(dynamodb_local, ("pk", "S"))
    with pytest.raises(UsageError, match="knows no exports: they are AWS's own"):
        restrike.export(table.name, TO, since="1h", endpoint_url=dynamodb_local, ledger=tmp_path / "ledger.db")


@pytest.mark.parametrize("operation", ["DescribeContinuousBackups", "ListExports"])
def test_what_is_denied_leaves_the_plan_standing(plan: Plan, service: ExportService, operation: str) -> None:
    service.refuse[operation] = [Refused("AccessDeniedException")]
    made = plan(since="1h")
    assert any(f"dynamodb:{operation}" in warning.message for warning in made.warnings)
    assert made.execute().state == "COMPLETED"


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_prints_what_replays_it(
    service: ExportService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exported, then read: the same windows, by the very line."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", service.endpoint_url)
    monkeypatch.setenv("RESTRIKE_LEDGER", str(tmp_path / "ledger.db"))
    written = tmp_path / "bucket"

    def write(done: dict[str, Any]) -> None:
        window = done["IncrementalExportSpecification"]
        arn = done["ExportArn"]
        line = change({"pk": {"S": "a"}, "sk": {"N": "1"}}, new={}, micros=int(window["ExportFromTime"] * 1e6) + 5)
        export(
            [[line]],
            id=arn.rpartition("/")[2],
            from_s=window["ExportFromTime"],
            to_s=window["ExportToTime"],
            prefix=done["S3Prefix"],
        ).write(written)

    service.on_export = write
    words = ["export", "orders", "--since", "1d", "--window", "6h", "--to", TO]
    assert command(words) == 0
    planned = capsys.readouterr().out
    assert "4 windows of 6 h" in planned
    assert "costs at least" in planned
    (line,) = [line.strip() for line in planned.splitlines() if line.startswith("  restrike export")]
    assert command([*line.split()[1:], "--json"]) == 0
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert (report["state"], report["completed"], report["started"]) == ("COMPLETED", 4, 4)
    assert f"replay it: {report['replay']}" in said.err
    replay = report["replay"].split()[1:-2]
    replay = [word.replace(TO, str(written)) for word in replay]
    assert command(["records", *replay[1:]]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert command(["runs", "list"]) == 0
    assert "4 of 4 windows, 28 items" in " ".join(capsys.readouterr().out.split())
