"""Change records made for tests that need no table."""

from __future__ import annotations

import json
from typing import Any

from restrike.model.record import Fidelity, Record, read_record

STREAM_ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2026-11-23T00:00:00.000"


def make_record(
    place: int, *, size_bytes: int = 0, fidelity: Fidelity = "exact", image: dict[str, Any] | None = None
) -> Record:
    """An INSERT of the item `place`, with `size_bytes` more in its image."""
    keys = {"pk": {"S": f"k{place}"}}
    raw = json.dumps(
        {
            "eventID": f"id{place}",
            "eventName": "INSERT",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_700_000_000 + place,
                "Keys": keys,
                "NewImage": {**keys, **(image or {}), "filling": {"S": "x" * size_bytes}},
                "SequenceNumber": str(place),
                "SizeBytes": 10,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        },
        separators=(",", ":"),
        ensure_ascii=False,
    ).encode()
    return read_record(raw, shard="s", place=place, stream_arn=STREAM_ARN, fidelity=fidelity)
