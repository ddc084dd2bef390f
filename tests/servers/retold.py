"""What DynamoDB tells of a table and DynamoDB Local does not: replicas, their consistency, Kinesis destinations."""

from __future__ import annotations

from typing import Any

from tests.servers.faults import Altered, Body, Rewritten

LOCAL_REGION = "ddblocal"
"""The Region in the ARNs of DynamoDB Local."""


class Streaming:
    """DescribeKinesisStreamingDestination with those destinations; the engine knows no such operation."""

    def __init__(self, destinations: list[Body]) -> None:
        self._destinations = destinations

    def asked(self, operation: str, body: Body) -> None:
        pass

    def answered(self, operation: str, body: Body, answer: Body) -> Body:
        return {"TableName": body["TableName"], "KinesisDataStreamDestinations": self._destinations}


def global_table(*regions: str, skip: int = 0, **members: Any) -> Altered:
    """A table with replicas in those Regions, and with `members` of its description; `skip` times it is not told."""
    replicas = [{"RegionName": region, "ReplicaStatus": "ACTIVE"} for region in regions]

    def change(answer: Body) -> None:
        answer["Table"] |= {"Replicas": replicas} | members

    return Altered("DescribeTable", skip=skip, change=change)


def kinesis(**destinations: str) -> Rewritten:
    """A table whose changes go to Kinesis data streams of those names: name → DestinationStatus."""
    told = [
        {"StreamArn": f"arn:aws:kinesis:us-east-1:000000000000:stream/{name}", "DestinationStatus": status}
        for name, status in destinations.items()
    ]
    return Rewritten("DescribeKinesisStreamingDestination", by=Streaming(told))
