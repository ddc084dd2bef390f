"""A DynamoDB of the tests' own that knows one table and its exports, which no stand-in has: in a thread, on 127.0.0.1.

It keeps what AWS documents of ExportTableToPointInTime: point-in-time recovery and its range, windows of 15 minutes to
24 hours, client tokens, exports that are IN_PROGRESS for a while, and the refusals, which a test asks for.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.servers.witness import Answer, Asked, in_json, witness

ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
STREAM = f"{ARN}/stream/2026-01-01T00:00:00.000"


class Refused(Exception):
    """An answer of status 400 with that code."""

    def __init__(self, code: str, message: str = "no") -> None:
        super().__init__(code)
        self.code = code
        self.message = message


@dataclass
class ExportService:
    """What it knows and was asked. `refuse` holds, by operation, what it refuses the next calls with; `fails` how the
    next exports end that would be complete."""

    table: dict[str, Any] | None = None
    recovery: str = "ENABLED"
    earliest_s: float = 0.0
    latest_s: float = field(default_factory=lambda: time.time() - 300)
    looks_until_done: int = 1
    under_way: str = "IN_PROGRESS"
    most_at_once: int = 300
    exports: dict[str, dict[str, Any]] = field(default_factory=dict)
    refuse: dict[str, list[Refused]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    on_export: Callable[[dict[str, Any]], None] = lambda _: None
    fails: list[tuple[str, str]] = field(default_factory=list)
    endpoint_url: str = ""
    _looks: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def calls(self, operation: str) -> list[dict[str, Any]]:
        return [body for name, body in self.asked if name == operation]

    def answer(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self.asked.append((operation, body))
            if self.refuse.get(operation):
                raise self.refuse[operation].pop(0)
            known = getattr(self, f"_{operation}", None)
            if known is None:
                raise Refused("UnknownOperationException")
            return known(body)  # type: ignore[no-any-return]

    def _DescribeTable(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"Table": self._table(body["TableName"])}

    def _table(self, name: str) -> dict[str, Any]:
        if self.table is None or name not in (self.table["TableName"], self.table["TableArn"]):
            raise Refused("ResourceNotFoundException", f"no table {name}")
        return self.table

    def _DescribeContinuousBackups(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        told: dict[str, Any] = {"PointInTimeRecoveryStatus": self.recovery}
        if self.recovery == "ENABLED":
            told |= {
                "RecoveryPeriodInDays": 35,
                "EarliestRestorableDateTime": self.earliest_s,
                "LatestRestorableDateTime": self.latest_s,
            }
        return {
            "ContinuousBackupsDescription": {
                "ContinuousBackupsStatus": "ENABLED",
                "PointInTimeRecoveryDescription": told,
            }
        }

    def _ListExports(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        begin = int(body.get("NextToken", "0"))
        some = list(self.exports.values())[begin : begin + 2]
        answer: dict[str, Any] = {
            "ExportSummaries": [
                {name: each[name] for name in ("ExportArn", "ExportStatus", "ExportType")} for each in some
            ]
        }
        if begin + 2 < len(self.exports):
            answer["NextToken"] = str(begin + 2)
        return answer

    def _DescribeExport(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        found = self.exports.get(body["ExportArn"])
        if found is None:
            raise Refused("ExportNotFoundException", body["ExportArn"])
        arn = found["ExportArn"]
        self._looks[arn] = self._looks.get(arn, 0) + 1
        if found["ExportStatus"] == self.under_way and self._looks[arn] >= self.looks_until_done:
            if self.fails:
                code, message = self.fails.pop(0)
                found |= {"ExportStatus": "FAILED", "FailureCode": code, "FailureMessage": message}
            else:
                found |= {"ExportStatus": "COMPLETED", "ItemCount": 7, "BilledSizeBytes": 10_485_760}
                self.on_export(found)
        return {"ExportDescription": found}

    def _ExportTableToPointInTime(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        if self.recovery != "ENABLED":
            raise Refused("PointInTimeRecoveryUnavailableException", "Point in time recovery is not enabled")
        for each in self.exports.values():
            if each["ClientToken"] == body["ClientToken"]:
                same = all(each.get(name) == value for name, value in body.items())
                if not same:
                    raise Refused("ExportConflictException", "the same token with other parameters")
                return {"ExportDescription": each}
        window = body["IncrementalExportSpecification"]
        from_s, to_s = window["ExportFromTime"], window["ExportToTime"]
        if not 900 <= to_s - from_s <= 86_400 or from_s < self.earliest_s or to_s > self.latest_s:
            raise Refused("InvalidExportTimeException", "the window is not within the range")
        if sum(each["ExportStatus"] == self.under_way for each in self.exports.values()) >= self.most_at_once:
            raise Refused("LimitExceededException", "too many exports at once")
        assert self.table is not None
        arn = f"{self.table['TableArn']}/export/{int(time.time() * 1000):014}-{len(self.exports):08x}"
        self.exports[arn] = body | {"ExportArn": arn, "ExportStatus": self.under_way, "StartTime": time.time()}
        return {"ExportDescription": self.exports[arn]}


def table(**changes: Any) -> dict[str, Any]:
    """A table with a stream and the key pk, sk."""
    return {
        "TableName": "orders",
        "TableArn": ARN,
        "TableId": "b116b490-6460-4d4a-9a6b-5d360abf4fb3",
        "TableStatus": "ACTIVE",
        "CreationDateTime": 1_600_000_000.0,
        "KeySchema": [
            {"AttributeName": "pk", "KeyType": "HASH"},
            {"AttributeName": "sk", "KeyType": "RANGE"},
        ],
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "N"},
        ],
        "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
        "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        "LatestStreamArn": STREAM,
    } | changes


@contextlib.contextmanager
def running(service: ExportService | None = None) -> Iterator[ExportService]:
    """The service for as long as the block runs; `endpoint_url` says where."""
    known = service or ExportService(table=table())

    def answer(asked: Asked) -> Answer:
        operation = asked.headers.get("x-amz-target", "").rpartition(".")[2]
        try:
            return in_json(known.answer(operation, json.loads(asked.body or b"{}")))
        except Refused as error:
            code = f"com.amazonaws.dynamodb.v20120810#{error.code}"
            return in_json({"__type": code, "message": error.message}, 400)

    with witness(answer) as server:
        known.endpoint_url = server.url
        yield known
