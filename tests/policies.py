"""Policies of IAM judged as IAM judges them, and the calls that are judged by them, with what each is on."""

from __future__ import annotations

import contextlib
import fnmatch
import http.client
import json
import logging
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from restrike.model.permissions import Scope
from tests.servers.faults import Body, Proxy
from tests.servers.witness import Answer, Asked, Witness, witness

Policy = dict[str, Any]

LOCAL = Scope(region="ddblocal", account="000000000000")
"""Of DynamoDB Local, by its ARNs."""
ACTIONS = {
    "BatchExecuteStatement": "PartiQLUpdate",
    "Invoke": "InvokeFunction",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
    "DeleteMessageBatch": "DeleteMessage",
    "HeadBucket": "ListBucket",
    "GetBucketEncryption": "GetEncryptionConfiguration",
}
"""Operation → the action that allows it, where they are not called the same."""
SERVICES = {
    "Lambda": "lambda",
    "Pipes": "pipes",
    "OSIS": "osis",
    "ApplicationAutoScaling": "application-autoscaling",
    "CloudWatch": "cloudwatch",
    "SQS": "sqs",
    "S3": "s3",
    "STS": "sts",
}
"""A service as a log has it → its prefix in IAM; else it is DynamoDB."""


def allows(policy: Policy, action: str, resource: str | None = None, context: Mapping[str, str] | None = None) -> bool:
    """Whether some statement allows that; on any resource where none is told. Conditions are those on texts, and one on
    a key that is not in the context does not hold."""
    return any(
        action in statement["Action"]
        and (resource is None or any(_like(pattern, resource) for pattern in statement["Resource"]))
        and all(
            any(_like(value, (context or {}).get(key, "\0")) for value in values)
            for keys in statement.get("Condition", {}).values()
            for key, values in keys.items()
        )
        for statement in policy["Statement"]
    )


def _like(pattern: str, text: str) -> bool:
    return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))


def actions_of(policy: Policy) -> set[str]:
    return {action for statement in policy["Statement"] for action in statement["Action"]}


@dataclass
class Calls(logging.Handler):
    """The actions behind the requests that are made meanwhile."""

    actions: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    __hash__ = logging.Handler.__hash__

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", {})
        if fields.get("event") == "request":
            service = SERVICES.get(fields["service"], "dynamodb")
            self.actions.add(f"{service}:{ACTIONS.get(fields['operation'], fields['operation'])}")


@contextmanager
def calls() -> Iterator[Calls]:
    found, log = Calls(), logging.getLogger("restrike.aws")
    level = log.level
    log.addHandler(found)
    log.setLevel(logging.DEBUG)
    try:
        yield found
    finally:
        log.removeHandler(found)
        log.setLevel(level)


# ── what calls of DynamoDB are on ────────────────────────────────────────────────────────────────────────


def on_tables(proxy: Proxy) -> set[tuple[str, str]]:
    """Action and ARN of each call that went through that proxy."""
    return {
        (f"dynamodb:{ACTIONS.get(operation, operation)}", arn)
        for operation, body in proxy.requests
        for arn in _resources(operation, body)
    }


def _resources(operation: str, body: Body) -> list[str]:
    if operation == "ListStreams":
        return ["*"]
    if "StreamArn" in body:
        return [body["StreamArn"]]
    if "ShardIterator" in body:
        return re.findall(r"arn:aws:dynamodb:[^|]+/stream/[^|]+", body["ShardIterator"])
    if "RequestItems" in body:
        return [LOCAL.table(name) for name in body["RequestItems"]]
    if "Statements" in body:
        names = {re.match(r'UPDATE "([^"]+)"', each["Statement"]) for each in body["Statements"]}
        return [LOCAL.table(name[1]) for name in names if name is not None]
    if "IndexName" in body:
        return [LOCAL.index(body["TableName"], body["IndexName"])]
    return [LOCAL.table(body["TableName"])]


# ── what calls of S3 are on ──────────────────────────────────────────────────────────────────────────────


@contextmanager
def before_s3(endpoint_url: str) -> Iterator[Witness]:
    """A witness that hands everything on to that S3."""
    host = urlsplit(endpoint_url).netloc

    def forward(asked: Asked) -> Answer:
        headers = {name: value for name, value in asked.headers.items() if name not in ("host", "connection")}
        with contextlib.closing(http.client.HTTPConnection(host, timeout=60)) as there:
            there.request(asked.method, asked.target, asked.body, headers)
            answer = there.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
            return Answer(answer.status, answer.read(), kept)

    with witness(forward) as running:
        yield running


_HOP = ("connection", "transfer-encoding", "date", "server")


def on_objects(running: Witness) -> set[tuple[str, str, str | None]]:
    """Action, ARN, and the prefix of a list: of each request but HeadBucket, of which a refusal is enough."""
    return {found for asked in running.asked for found in _on_objects(asked)}


def _on_objects(asked: Asked) -> Iterator[tuple[str, str, str | None]]:
    parts = urlsplit(asked.target)
    query = parse_qs(parts.query, keep_blank_values=True)
    bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
    arn = f"arn:aws:s3:::{bucket}"
    if key:
        # S3 tells of an object that is not there only who may list it.
        action = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}[asked.method]
        yield f"s3:{action}", f"{arn}/{key}", None
        if asked.method in ("GET", "HEAD"):
            yield "s3:ListBucket", arn, key
    elif asked.method == "GET":
        yield "s3:ListBucket", arn, query["prefix"][0] if "prefix" in query else None
    elif asked.method == "POST" and "delete" in query:
        for each in ET.fromstring(asked.body).iter():
            if each.tag.rpartition("}")[2] == "Key":
                yield "s3:DeleteObject", f"{arn}/{each.text}", None


def told(policy: Policy) -> str:
    """For the message of a test that fails."""
    return json.dumps(policy, indent=1)
