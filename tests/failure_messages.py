"""Messages of what was given up, in every form: as AWS publishes them, and made from a stream's records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

LAMBDA: dict[str, Any] = {
    "requestContext": {
        "requestId": "316aa6d0-8154-xmpl-9af7-85d5f4a6bc81",
        "functionArn": "arn:aws:lambda:us-east-2:123456789012:function:myfunction",
        "condition": "RetryAttemptsExhausted",
        "approximateInvokeCount": 1,
    },
    "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
    "version": "1.0",
    "timestamp": "2019-11-14T00:13:49.717Z",
    "DDBStreamBatchInfo": {
        "shardId": "shardId-00000001573689847184-864758bb",
        "startSequenceNumber": "800000000003126276362",
        "endSequenceNumber": "800000000003126276362",
        "approximateArrivalOfFirstRecord": "2019-11-14T00:13:19Z",
        "approximateArrivalOfLastRecord": "2019-11-14T00:13:19Z",
        "batchSize": 1,
        "streamArn": "arn:aws:dynamodb:us-east-2:123456789012:table/mytable/stream/2019-11-14T00:04:06.388",
    },
}
"""To SQS, from Lambda's developer guide (services-dynamodb-errors)."""
PIPE: dict[str, Any] = {
    "context": {
        "partnerResourceArn": "arn:aws:pipes:eu-west-2:123456789123:pipe/dev-application-pipe",
        "condition": "RetryAttemptsExhausted",
    },
    "version": "1.0",
    "timestamp": "2024-03-08T00:00:00Z",
    "DDBStreamBatchInfo": {
        "shardId": "shardId-00000001234567891234-aaa1abcd",
        "startSequenceNumber": "1234567800000000001234567891",
        "endSequenceNumber": "1234567800000000001234567899",
        "approximateArrivalOfFirstRecord": "2024-03-08T00:00:00Z",
        "approximateArrivalOfLastRecord": "2024-03-08T00:00:00Z",
        "batchSize": 1,
        "streamArn": "arn:aws:dynamodb:eu-west-2:123456789123:table/dev-application-domain/stream/2023-01-01T00:00:00Z",
    },
}
"""A pipe's dead letter, as somebody else captured it."""
ASYNCHRONOUS: dict[str, Any] = {
    "version": "1.0",
    "timestamp": "2019-11-14T18:16:05.568Z",
    "requestContext": {
        "requestId": "e4b46cbf-b738-xmpl-8880-a18cdf61200e",
        "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:my-function:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    },
    "requestPayload": {"ORDER_IDS": ["9e07af03-ce31-4ff3-xmpl-36dce652cb4f"]},
    "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
    "responsePayload": {"errorMessage": "RequestId: e4b46cbf-b738-xmpl-8880-a18cdf61200e Process exited"},
}
"""From Lambda's developer guide (invocation-async-retain-records)."""
KINESIS: dict[str, Any] = {
    **{name: LAMBDA[name] for name in ("requestContext", "version", "timestamp")},
    "KinesisBatchInfo": {"shardId": "shardId-000000000001", "startSequenceNumber": "1", "endSequenceNumber": "2"},
}


def message(
    records: Sequence[Mapping[str, Any]],
    *,
    shard: str,
    stream_arn: str,
    function: str | None = "arn:aws:lambda:us-east-1:000000000000:function:projector",
    payload: bool = False,
    **changed: Any,
) -> dict[str, Any]:
    """What Lambda writes of that batch; `payload` as it does to S3, `function` None as a pipe does."""
    first, last = records[0]["dynamodb"], records[-1]["dynamodb"]
    about: dict[str, Any] = {"condition": "RetryAttemptsExhausted"}
    found: dict[str, Any] = {
        "context" if function is None else "requestContext": about
        | ({} if function is None else {"functionArn": function}),
        "version": "1.0",
        "timestamp": "2026-11-25T10:00:00.000Z",
        "DDBStreamBatchInfo": {
            "shardId": shard,
            "startSequenceNumber": first["SequenceNumber"],
            "endSequenceNumber": last["SequenceNumber"],
            "approximateArrivalOfFirstRecord": _arrival(first),
            "approximateArrivalOfLastRecord": _arrival(last),
            "batchSize": len(records),
            "streamArn": stream_arn,
            **changed,
        },
    }
    if payload:
        found["payload"] = json.dumps({"Records": list(records)})
    return found


def _arrival(change: Mapping[str, Any]) -> str | None:
    created = change["ApproximateCreationDateTime"]
    if isinstance(created, int | float):
        from restrike.model.times import iso

        return iso(float(created))
    return str(created.isoformat())


def in_sqs(body: Mapping[str, Any]) -> dict[str, Any]:
    """As ReceiveMessage answers it."""
    return {"MessageId": "1c4d", "ReceiptHandle": "AQEB", "MD5OfBody": "00", "Body": json.dumps(body)}


def in_sns(body: Mapping[str, Any]) -> dict[str, Any]:
    """As SNS hands it to SQS, without raw delivery."""
    return {
        "Type": "Notification",
        "MessageId": "2d5e",
        "TopicArn": "arn:aws:sns:us-east-1:123456789012:given-up",
        "Message": json.dumps(body),
        "Timestamp": "2026-11-25T10:00:00.000Z",
        "SignatureVersion": "1",
    }
