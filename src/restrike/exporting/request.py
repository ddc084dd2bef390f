"""What `restrike export` is asked, as it was typed; and what of it every window has."""

from __future__ import annotations

import hashlib
import re
import shlex
from typing import Any

import msgspec

from restrike.aws import settings
from restrike.aws.settings import AwsSettings
from restrike.errors import UsageError
from restrike.model.flags import Flag, refuse_below, words
from restrike.model.table import TableInfo, key_value
from restrike.running.flags import LEDGER, run_flag

WINDOW = "24h"
TIMEOUT_S = 12 * 3600.0
VIEW, FORMAT = "NEW_AND_OLD_IMAGES", "DYNAMODB_JSON"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class ExportRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that `restrike export` takes; None where it was not given."""

    table: str
    to: str
    since: str | None = None
    until: str | None = None
    window: str | None = None
    key: str | None = None
    bucket_owner: str | None = None
    kms_key: str | None = None
    timeout_s: float | None = None
    run: str | None = None
    ledger: str | None = None
    aws: AwsSettings = AwsSettings()


FLAGS = (
    Flag("--since", "From this time on: 2h, 3d or 2021-01-22T10:00:00Z.", "records", metavar="TIME"),
    Flag("--until", "Before this time.", "records", metavar="TIME", default="as late as can be: 5 minutes ago"),
    Flag("--window", "What one export has: 15m to 24h. Smaller: finer.", "records", metavar="DURATION", default=WINDOW),
    Flag("--key", "Items of this partition key alone.", "records", metavar="PARTITION"),
    Flag("--bucket-owner", "The account of the bucket, where it is another's.", "keep", metavar="ID"),
    Flag(
        "--kms-key", "The key that encrypts what is written.", "keep", metavar="ID", default="the bucket's, else S3's"
    ),
    Flag(
        "--timeout",
        "Wait so long for the next window to end.",
        "run",
        "number",
        metavar="S",
        default=f"{TIMEOUT_S:g}",
        field="timeout_s",
    ),
    run_flag("export-TABLE-DIGEST"),
    LEDGER,
)


class Place(msgspec.Struct, frozen=True):
    """Where exports go: a bucket and what stands before `AWSDynamoDB/` in it."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def place_of(text: str) -> Place:
    """UsageError where it is no place in S3."""
    scheme, _, rest = text.partition("://")
    bucket, _, prefix = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise UsageError(f"--to {text!r} is no place for an export", "DynamoDB writes to S3: --to s3://bucket/prefix.")
    if not _BUCKET.fullmatch(bucket):
        raise UsageError(
            f"--to {text!r} is no place for an export: {bucket!r} is no name of a bucket",
            "A name has 3 to 63 small letters, digits, dots and hyphens: --to s3://bucket/prefix.",
        )
    prefix = prefix.strip("/")
    if "AWSDynamoDB" in prefix.split("/"):
        raise UsageError(
            f"--to {text} lies in an export: DynamoDB makes the folder AWSDynamoDB itself",
            f"Name what stands before it, for example s3://{bucket}/{prefix.partition('AWSDynamoDB')[0]}.",
        )
    return Place(bucket, prefix)


def check(request: ExportRequest) -> None:
    """UsageError for what makes no sense whatever the table is."""
    refuse_below("--timeout", request.timeout_s, 1)
    if request.since is None:
        raise UsageError("it is not said from when on", "Give --since: 3d, or 2021-01-22T10:00:00Z.")
    if request.bucket_owner is not None and not re.fullmatch(r"\d{12}", request.bucket_owner):
        raise UsageError(f"--bucket-owner {request.bucket_owner!r} is no account", "An account's id has 12 digits.")
    for flag in FLAGS:
        if getattr(request, flag.to) == "":
            raise UsageError(f"{flag.name} is empty", "Is the variable that it comes from set?")


def filter_of(table: TableInfo, key: str | None) -> dict[str, Any] | None:
    """A FilterSpecification on the partition key, by which less is read and billed; None without a key.

    No other filter is made: one on attributes drops items silently (it looks at the newest image alone), and a
    projection cuts images."""
    if key is None:
        return None
    partition = table.key.partition
    return {
        "KeyConditionExpression": "#k = :k",
        "ExpressionAttributeNames": {"#k": partition.name},
        "ExpressionAttributeValues": {":k": key_value(partition, key)},
    }


def parameters(
    request: ExportRequest, table: TableInfo, place: Place, filtered: dict[str, Any] | None
) -> dict[str, Any]:
    """What ExportTableToPointInTime takes of every window alike."""
    told: dict[str, Any] = {
        "TableArn": table.arn,
        "S3Bucket": place.bucket,
        "ExportFormat": FORMAT,
        "ExportType": "INCREMENTAL_EXPORT",
    }
    if place.prefix:
        told["S3Prefix"] = place.prefix
    if request.bucket_owner is not None:
        told["S3BucketOwner"] = request.bucket_owner
    if request.kms_key is not None:
        told |= {"S3SseAlgorithm": "KMS", "S3SseKmsKeyId": request.kms_key}
    if filtered is not None:
        told["FilterSpecification"] = filtered
    return told


def digest_of(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def command_line(request: ExportRequest, since: str, until: str, run: str) -> str:
    """The command line that carries it out; its times as they were settled, so that it is the same tomorrow."""
    fixed = msgspec.structs.replace(request, since=since, until=until)
    own = [flag for flag in FLAGS if flag.name != "--run"]
    line = ["restrike", "export", request.table, "--to", request.to, *words(own, fixed)]
    return shlex.join([*line, *words(settings.FLAGS, request.aws), "--run", run, "--execute"])
