"""What touch and unmark need of IAM."""

from __future__ import annotations

import msgspec

from restrike.aws import autoscaling
from restrike.aws import permissions as aws
from restrike.aws.settings import AwsSettings
from restrike.model.permissions import Need, Scope
from restrike.running.run import Run
from restrike.selecting import permissions as selecting
from restrike.touching.request import OFF, TouchRequest
from restrike.touching.run import Asked


def needs(request: TouchRequest, scope: Scope) -> tuple[Need, ...]:
    table = request.table
    write = "dynamodb:UpdateItem" if request.api == "update-item" else "dynamodb:PartiQLUpdate"
    return (
        aws.describing(scope, table),
        aws.items(scope, table),
        Need("Table", (write,), (scope.table(table),)),
        *selecting.reading(scope, table, request.selection),
        *_proof(request, scope),
        Need(
            "TimeToLive",
            ("dynamodb:DescribeTimeToLive",),
            (scope.table(table),),
            without="the plan does not warn that items expire",
        ),
        Need(
            "Autoscaling",
            (autoscaling.PERMISSION,),
            without="how far autoscaling may raise a provisioned table, and its price, is not known",
        ),
        *aws.naming_consumers(scope, table),
        *aws.naming_destinations(scope, table),
        *_lag(request),
    )


def _lag(request: TouchRequest) -> tuple[Need, ...]:
    """How far consumers are behind."""
    if request.max_lag == OFF:
        return ()
    without = "a touch does not wait for consumers that are behind"
    return (Need("Metrics", ("cloudwatch:GetMetricData",), without=without),)


def _proof(request: TouchRequest, scope: Scope) -> tuple[Need, ...]:
    if request.verify is False:
        return ()
    without = "" if request.verify else "nobody looks whether the records are on the stream"
    return (aws.reading_stream(scope, request.table, without=without, sid="Stream" if request.verify else "Proof"),)


def asked_of(run: Run) -> tuple[TouchRequest, AwsSettings]:
    """What a run goes on with, and where AWS is for it."""
    request = msgspec.json.decode(run.request, type=Asked).request
    return request, request.aws
