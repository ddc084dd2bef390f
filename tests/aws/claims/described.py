"""What the service tells of a table: what a plan stands on."""

from __future__ import annotations

from typing import Any

from tests.aws.claim import Deviation, Seen, claim
from tests.aws.table import TAG, Table

NOT_DESCRIBED = Deviation("absent", "it has no such thing")
UNKNOWN = Deviation("refused: UnknownOperationException", "it does not know the operation")


@claim("present", "model", writes=0, local=NOT_DESCRIBED, otherwise="a table that was made anew is told by its date")
def table_id(here: Table) -> str:
    """DescribeTable tells a TableId."""
    return _there(here, "TableId")


@claim("present", "model", writes=0, local=NOT_DESCRIBED, otherwise="a plan takes the rate of a new table")
def warm_throughput(here: Table) -> Seen:
    """DescribeTable tells WarmThroughput, also where it was never set."""
    return Seen(_there(here, "WarmThroughput"), str(_now(here).get("WarmThroughput", "")))


@claim("absent", "unconfirmed", writes=0)
def on_demand_throughput(here: Table) -> Seen:
    """DescribeTable tells OnDemandThroughput only where a limit was set."""
    return Seen(_there(here, "OnDemandThroughput"), str(_now(here).get("OnDemandThroughput", "")))


@claim("PAY_PER_REQUEST, 0 units", "documented", writes=0)
def billing_mode(here: Table) -> str:
    """DescribeTable of a table on demand: its mode, and no provisioned units."""
    mode = _now(here).get("BillingModeSummary", {}).get("BillingMode")
    return f"{mode}, {_now(here).get('ProvisionedThroughput', {}).get('WriteCapacityUnits')} units"


@claim("STANDARD, or absent", "unconfirmed", writes=0)
def table_class(here: Table) -> Seen:
    """TableClassSummary of a table of the standard class."""
    found = _now(here).get("TableClassSummary", {}).get("TableClass", "absent")
    return Seen("STANDARD, or absent" if found in ("STANDARD", "absent") else str(found), str(found))


@claim("no Replicas, no MultiRegionConsistency", "model", writes=0, otherwise="a plan warns of a global table")
def one_region(here: Table) -> str:
    """DescribeTable of a table of one Region."""
    consistency = _now(here).get("MultiRegionConsistency")
    replicas = "Replicas" if _now(here).get("Replicas") else "no Replicas"
    return f"{replicas}, {f'MultiRegionConsistency {consistency}' if consistency else 'no MultiRegionConsistency'}"


@claim("DISABLED; backups ENABLED", "documented", writes=0, local=UNKNOWN)
def point_in_time_recovery(here: Table) -> str:
    """DescribeContinuousBackups: PointInTimeRecoveryStatus tells, ContinuousBackupsStatus is always ENABLED."""
    answer = here.dynamodb.describe_continuous_backups(TableName=here.name)["ContinuousBackupsDescription"]
    recovery = answer.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
    return f"{recovery}; backups {answer.get('ContinuousBackupsStatus')}"


@claim("an empty list", "model", writes=0, local=UNKNOWN)
def kinesis_destinations(here: Table) -> str:
    """DescribeKinesisStreamingDestination of a table without any."""
    answer = here.dynamodb.describe_kinesis_streaming_destination(TableName=here.name)
    return "an empty list" if answer.get("KinesisDataStreamDestinations") == [] else str(sorted(answer))


@claim("DISABLED, no attribute", "documented", writes=0)
def time_to_live(here: Table) -> str:
    """DescribeTimeToLive of a table without it."""
    answer = here.dynamodb.describe_time_to_live(TableName=here.name)["TimeToLiveDescription"]
    return f"{answer.get('TimeToLiveStatus')}, {'an' if answer.get('AttributeName') else 'no'} attribute"


@claim("the table's name", "documented", writes=0, local=UNKNOWN, otherwise="`--clean` leaves the probe's tables")
def tag(here: Table) -> str:
    """ListTagsOfResource has the tag that the table was made with."""
    answer = here.dynamodb.list_tags_of_resource(ResourceArn=here.description["TableArn"])
    value = {each["Key"]: each["Value"] for each in answer["Tags"]}.get(TAG, "absent")
    return "the table's name" if value == here.name else value


def _now(here: Table) -> dict[str, Any]:
    """What DescribeTable tells by now: a table that was just made may lack something yet."""
    return here.describe() or {}


def _there(here: Table, member: str) -> str:
    return "present" if member in _now(here) else "absent"
