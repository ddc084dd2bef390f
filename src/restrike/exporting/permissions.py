"""What export needs of IAM. DynamoDB writes with the permissions of who asks: those on the bucket are the caller's."""

from __future__ import annotations

import re

import msgspec

from restrike.aws import permissions as aws
from restrike.aws.settings import AwsSettings
from restrike.errors import UsageError
from restrike.exporting.request import ExportRequest, place_of
from restrike.exporting.settled import Settled
from restrike.model.permissions import Kept, Need, Scope, using_key
from restrike.running.run import Run
from restrike.stores import permissions as stores

_KEY = re.compile(r"[A-Za-z0-9:/_-]+")
_BUCKET_ACTIONS = ("s3:PutObject", "s3:PutObjectAcl", "s3:AbortMultipartUpload")


def needs(request: ExportRequest, scope: Scope) -> tuple[Need, ...]:
    """UsageError for what is no place in S3."""
    place = place_of(request.to)
    table = scope.table(request.table)
    kept = Kept("bucket", place.bucket, writes=True) if request.kms_key is None else None
    return (
        aws.describing(scope, request.table),
        Need("Table", ("dynamodb:ExportTableToPointInTime",), (table,), kept=Kept("table", request.table)),
        Need("Exports", ("dynamodb:DescribeExport",), (f"{table}/export/*",)),
        Need("Objects", _BUCKET_ACTIONS, (stores.objects_under(scope, str(place)),), kept=kept),
        *_key(request, scope),
        Need(
            "ListExports",
            ("dynamodb:ListExports",),
            without="what is exported already is not known, and is exported and paid for again after 8 hours",
        ),
        Need(
            "Recovery",
            ("dynamodb:DescribeContinuousBackups",),
            (table,),
            without="how far back the table can be exported is not known before it is tried",
        ),
        stores.whole_bucket(
            scope, place.bucket, without="that there is no such bucket shows only when it is written to"
        ),
        Need("Price", ("cloudwatch:GetMetricStatistics",), without="the plan tells no price but the least"),
    )


def _key(request: ExportRequest, scope: Scope) -> tuple[Need, ...]:
    """Of the key that what is written is to be under; else the bucket says which."""
    if request.kms_key is None:
        return ()
    if not _KEY.fullmatch(request.kms_key):
        raise UsageError(f"--kms-key {request.kms_key!r} is no key", "Give its id, its ARN, or alias/NAME.")
    found = using_key(scope, Need("ExportKey", ("kms:Decrypt", "kms:GenerateDataKey")), request.kms_key, "s3")
    return () if found is None else (found,)


def asked_of(run: Run) -> tuple[ExportRequest, AwsSettings]:
    """What a run goes on with, and where AWS is for it."""
    settled = msgspec.json.decode(run.request, type=Settled)
    return settled.request, settled.aws
