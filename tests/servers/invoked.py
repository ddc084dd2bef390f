"""A Lambda that knows mappings and takes invocations, in a thread of its own: which function got which records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers.witness import Answer, Asked, in_json, witness

Event = dict[str, Any]


class Invoked:
    """`mappings` are those of each stream's ARN; `fails` says of an event whether the function raises. `got` are
    (function with its qualifier, event), in their order."""

    def __init__(self) -> None:
        self.url = ""
        self.mappings: dict[str, list[dict[str, Any]]] = {}
        self.fails: Callable[[Event], bool] = lambda event: False
        self.got: list[tuple[str, Event]] = []
        self.asked: list[str] = []
        self.denied = False
        self._lock = Lock()

    def map(self, stream: str, function: str, **members: Any) -> None:
        mapping = {"UUID": f"m{len(self.mappings)}", "FunctionArn": function, "State": "Disabled", **members}
        self.mappings.setdefault(stream, []).append(mapping)

    def places(self, function: str | None = None) -> list[int]:
        """The sequence numbers that it got, in their order."""
        return [
            int(record["dynamodb"]["SequenceNumber"])
            for name, event in self.got
            if function in (None, name)
            for record in event["Records"]
        ]

    def get(self, path: str) -> tuple[int, Any]:
        parts = urlsplit(path)
        if "event-source-mappings" in parts.path:
            query = parse_qs(parts.query)
            if self.denied:
                return 403, {"Message": "no"}
            if "EventSourceArn" not in query:
                (name,) = query["FunctionName"]
                every = [mapping for mappings in self.mappings.values() for mapping in mappings]
                return 200, {"EventSourceMappings": [each for each in every if each["FunctionArn"] == name]}
            (stream,) = query["EventSourceArn"]
            self.asked.append(stream)
            return 200, {"EventSourceMappings": self.mappings.get(stream, [])}
        if parts.path.endswith("/configuration"):
            return 200, {"FunctionName": "f", "FunctionArn": "arn:f", "Timeout": 3, "Version": "$LATEST"}
        return 200, {}

    def post(self, path: str, body: bytes) -> bool:
        """Whether the function failed."""
        parts = urlsplit(path)
        name = unquote(parts.path).split("/functions/")[1].split("/invocations")[0]
        qualifier = parse_qs(parts.query).get("Qualifier", [""])[0]
        event = json.loads(body)
        with self._lock:
            failed = self.fails(event)
            if not failed:
                self.got.append((f"{name}:{qualifier}" if qualifier else name, event))
        return failed


@contextmanager
def invoked() -> Iterator[Invoked]:
    def answer(asked: Asked) -> Answer:
        if asked.method == "GET":
            status, body = stub.get(asked.target)
            return in_json(body, status)
        if stub.post(asked.target, asked.body):
            return in_json({"errorMessage": "poison"}, headers={"X-Amz-Function-Error": "Unhandled"})
        return in_json(None)

    stub = Invoked()
    with witness(answer) as server:
        stub.url = server.url
        yield stub
