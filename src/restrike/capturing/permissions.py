"""What capture needs of IAM."""

from __future__ import annotations

import msgspec

from restrike.aws import permissions as aws
from restrike.aws.settings import AwsSettings
from restrike.capturing.request import CaptureRequest, check_place
from restrike.model.permissions import Need, Scope
from restrike.running.run import Run
from restrike.stores import permissions as stores


def needs(request: CaptureRequest, scope: Scope) -> tuple[Need, ...]:
    """UsageError for a place that would be read under another name."""
    check_place(request.to)
    return (
        aws.describing(scope, request.table),
        aws.reading_stream(scope, request.table),
        *stores.reading(scope, request.to),
        *stores.writing(scope, request.to),
    )


def asked_of(run: Run) -> tuple[CaptureRequest, AwsSettings]:
    """What a run goes on with, and where AWS is for it."""
    request = msgspec.json.decode(run.request, type=CaptureRequest)
    return request, request.aws
