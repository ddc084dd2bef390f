"""DynamoDB's exports to S3: what may be exported, what was, and starting one; and how much was written meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from restrike.aws.session import Aws, ask, pages

Kind = Literal["full", "incremental"]
_PAGE = 25
"""That ListExports answers at once."""
_METRIC_PERIOD_S = 3600
_KINDS: dict[str, Kind] = {"FULL_EXPORT": "full", "INCREMENTAL_EXPORT": "incremental"}


class Recovery(msgspec.Struct, frozen=True):
    """How far point-in-time recovery reaches, in epoch seconds; None where it is off or was never on."""

    enabled: bool
    earliest_s: float | None = None
    latest_s: float | None = None


class Export(msgspec.Struct, frozen=True):
    """What DescribeExport tells. Times in epoch seconds, of a full export the time that it shows. `filter` is its
    FilterSpecification: None where it has none."""

    arn: str
    status: str
    kind: Kind = "full"
    from_s: float = 0.0
    to_s: float = 0.0
    view: str = ""
    format: str = ""
    bucket: str = ""
    prefix: str = ""
    items: int | None = None
    billed_bytes: int | None = None
    failure: str = ""
    token: str = ""
    filter: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        """The last part of its ARN, which is the name of its folder."""
        return self.arn.rpartition("/")[2]


class Listed(msgspec.Struct, frozen=True):
    """One line of ListExports."""

    arn: str
    status: str
    kind: Kind

    @property
    def started_s(self) -> float | None:
        """When it was started, by its ARN, which begins with the milliseconds of that; None where it does not."""
        digits = self.arn.rpartition("/")[2].partition("-")[0]
        return int(digits) / 1000 if digits.isdigit() else None


def recovery(aws: Aws, table: str) -> Recovery:
    """Of a table. `ContinuousBackupsStatus` is always ENABLED and says nothing."""
    answer = ask(aws.client("dynamodb"), "DescribeContinuousBackups", TableName=table)
    told = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
    return Recovery(
        told.get("PointInTimeRecoveryStatus") == "ENABLED",
        _seconds(told.get("EarliestRestorableDateTime")),
        _seconds(told.get("LatestRestorableDateTime")),
    )


def describe_export(aws: Aws, arn: str) -> Export:
    return _export(ask(aws.client("dynamodb"), "DescribeExport", ExportArn=arn)["ExportDescription"])


def start_export(aws: Aws, parameters: Mapping[str, Any]) -> Export:
    """One ExportTableToPointInTime. With a ClientToken that was given within 8 hours it is the export of that call."""
    answer = ask(aws.client("dynamodb"), "ExportTableToPointInTime", **parameters)
    return _export(answer["ExportDescription"])


def list_exports(aws: Aws, table_arn: str) -> Iterator[Listed]:
    """The table's exports of the last 90 days, in any order."""
    for answer in pages(aws.client("dynamodb"), "ListExports", TableArn=table_arn, MaxResults=_PAGE):
        for each in answer["ExportSummaries"]:
            kind = _KINDS.get(each.get("ExportType", ""), "full")
            yield Listed(each.get("ExportArn", ""), each.get("ExportStatus", ""), kind)


def consumed_write_units(aws: Aws, table: str, since_s: float, until_s: float) -> float:
    """Write units that the table has consumed meanwhile, by CloudWatch, in whole hours."""
    answer = ask(
        aws.client("cloudwatch"),
        "GetMetricStatistics",
        Namespace="AWS/DynamoDB",
        MetricName="ConsumedWriteCapacityUnits",
        Dimensions=[{"Name": "TableName", "Value": table}],
        StartTime=datetime.fromtimestamp(since_s, UTC),
        EndTime=datetime.fromtimestamp(until_s, UTC),
        Period=_METRIC_PERIOD_S,
        Statistics=["Sum"],
    )
    return float(sum(point.get("Sum", 0.0) for point in answer.get("Datapoints", ())))


def _export(told: Mapping[str, Any]) -> Export:
    window = told.get("IncrementalExportSpecification") or {}
    kind = _KINDS.get(told.get("ExportType", ""), "incremental" if window else "full")
    from_s = _seconds(window.get("ExportFromTime") if kind == "incremental" else told.get("ExportTime"))
    to_s = _seconds(window.get("ExportToTime")) if kind == "incremental" else from_s
    failure = ": ".join(part for part in (told.get("FailureCode"), told.get("FailureMessage")) if part)
    return Export(
        arn=told.get("ExportArn", ""),
        status=told.get("ExportStatus", ""),
        kind=kind,
        from_s=from_s or 0.0,
        to_s=to_s or 0.0,
        view=window.get("ExportViewType", ""),
        format=told.get("ExportFormat", ""),
        bucket=told.get("S3Bucket", ""),
        prefix=told.get("S3Prefix", "") or "",
        items=told.get("ItemCount"),
        billed_bytes=told.get("BilledSizeBytes"),
        failure=failure,
        token=told.get("ClientToken", ""),
        filter=told.get("FilterSpecification") or None,
    )


def _seconds(moment: Any) -> float | None:
    return moment.timestamp() if isinstance(moment, datetime) else None
