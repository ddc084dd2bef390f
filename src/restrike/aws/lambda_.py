"""Lambda's calls: who is wired to a stream."""

from __future__ import annotations

from typing import Any

from restrike.aws.session import Aws, ask

MAX_MAPPINGS = 1_000


def event_source_mappings(aws: Aws, stream_arn: str) -> list[dict[str, Any]]:
    """The event source mappings that read that stream, in this account and Region, as Lambda describes them."""
    client = aws.client("lambda")
    found: list[dict[str, Any]] = []
    request: dict[str, Any] = {"EventSourceArn": stream_arn}
    while len(found) < MAX_MAPPINGS:
        answer = ask(client, "ListEventSourceMappings", **request)
        found += answer.get("EventSourceMappings", [])
        if not answer.get("NextMarker"):
            break
        request["Marker"] = answer["NextMarker"]
    return found
