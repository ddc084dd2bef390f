"""What DynamoDB tells of a table and DynamoDB Local does not: replicas, their consistency, Kinesis destinations."""

from __future__ import annotations

from typing import Any

from tests.servers.faults import Body, Rewritten

LOCAL_REGION = "ddblocal"
"""The Region in the ARNs of DynamoDB Local."""


class Replicated:
    """DescribeTable with those members of its own."""

    def __init__(self, members: Body) -> None:
        self._members = members

    def asked(self, operation: str, body: Body) -> Body:
        return body

    def answered(self, operation: str, body: Body, answer: Body) -> Body:
        return {"Table": answer["Table"] | self._members}


class Streaming:
    """DescribeKinesisStreamingDestination with those destinations; the engine knows no such operation."""

    def __init__(self, destinations: list[Body]) -> None:
        self._destinations = destinations

    def asked(self, operation: str, body: Body) -> None:
        pass

    def answered(self, operation: str, body: Body, answer: Body) -> Body:
        return {"TableName": body["TableName"], "KinesisDataStreamDestinations": self._destinations}


def global_table(*regions: str, skip: int = 0, **members: Any) -> Rewritten:
    """A table with replicas in those Regions, and with `members` of its description; `skip` times it is not told."""
    replicas = [{"RegionName": region, "ReplicaStatus": "ACTIVE"} for region in regions]
    return Rewritten("DescribeTable", skip=skip, by=Replicated({"Replicas": replicas} | members))


def kinesis(**destinations: str) -> Rewritten:
    """A table whose changes go to Kinesis data streams of those names: name → DestinationStatus."""
    told = [
        {"StreamArn": f"arn:aws:kinesis:us-east-1:000000000000:stream/{name}", "DestinationStatus": status}
        for name, status in destinations.items()
    ]
    return Rewritten("DescribeKinesisStreamingDestination", by=Streaming(told))
