"""The part of Lambda's API that tells of mappings and functions, as AWS answers it: a filter under a key of the
customer's is in GetEventSourceMapping alone. No engine here does that."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import NAMESPACE_URL, uuid5

from tests.servers.witness import Answer, Asked, in_json, witness

LOCAL_ACCOUNT = "000000000000"
KEY_ARN = f"arn:aws:kms:us-east-1:{LOCAL_ACCOUNT}:key/k"
_MAPPINGS = "/2015-03-31/event-source-mappings"
_FUNCTIONS = "/2015-03-31/functions/"


class StubLambda:
    """`asked` holds the stream ARNs whose mappings it was asked for, `gotten` the names of those asked for by UUID. A
    mapping that names no EventSourceArn is of every source.

    `denied`: the operations that are refused. `function` is what GetFunctionConfiguration says of every function.
    """

    def __init__(self, mappings: list[dict[str, Any]], denied: frozenset[str], function: Mapping[str, Any]) -> None:
        self.url = ""
        self.mappings = mappings
        self.denied = denied
        self.function = function
        self.asked: list[str] = []
        self.gotten: list[str] = []

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        parts = urlsplit(path)
        place = unquote(parts.path).rstrip("/")
        if place == _MAPPINGS:
            return self._list(parse_qs(parts.query))
        if place.startswith(_MAPPINGS):
            return self._get(place.rpartition("/")[2])
        if place.startswith(_FUNCTIONS) and place.endswith("/configuration"):
            name = place.removeprefix(_FUNCTIONS).partition("/")[0]
            return 200, {"FunctionName": name, "FunctionArn": name, "Timeout": 3, "Version": "$LATEST", **self.function}
        if place.endswith("/concurrency"):
            return 200, {}
        if place.endswith("/account-settings"):
            return 200, {"AccountLimit": {"UnreservedConcurrentExecutions": 1_000}}
        return 404, {"Message": f"the stub has no {place}"}

    def _list(self, query: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        source, function = (query.get(name, [""])[0] for name in ("EventSourceArn", "FunctionName"))
        if source:
            self.asked.append(source)
        if "ListEventSourceMappings" in self.denied:
            return 403, {"Message": "User is not authorized"}
        listed = [
            each
            for each in self.mappings
            if each.get("EventSourceArn", source) == source or not source
            if not function or each["FunctionArn"].endswith(f":{function}") or each["FunctionArn"] == function
        ]
        # One mapping a page: whoever asks has to follow the marker.
        position = int(query.get("Marker", ["0"])[0])
        shown = [
            {**found, "FilterCriteria": None} if "KMSKeyArn" in found else found
            for found in listed[position : position + 1]
        ]
        page: dict[str, Any] = {"EventSourceMappings": shown}
        if position + 1 < len(listed):
            page["NextMarker"] = str(position + 1)
        return 200, page

    def _get(self, uuid: str) -> tuple[int, dict[str, Any]]:
        found = next(each for each in self.mappings if each["UUID"] == uuid)
        self.gotten.append(found["FunctionArn"].rpartition(":")[2])
        if "GetEventSourceMapping" in self.denied:
            return 403, {"Message": "User is not authorized"}
        return 200, found


@contextmanager
def stub_lambda(
    *mappings: dict[str, Any], denied: tuple[str, ...] = (), function: Mapping[str, Any] | None = None
) -> Iterator[StubLambda]:
    """A stub on 127.0.0.1, in a thread of its own."""

    def answer(asked: Asked) -> Answer:
        if asked.method == "POST":  # an invocation, of a function that takes whatever comes
            return in_json(None)
        status, body = stub.answer(asked.target)
        return in_json(body, status)

    stub = StubLambda(list(mappings), frozenset(denied), function or {})
    with witness(answer) as server:
        stub.url = server.url
        yield stub


def mapping(name: str, *patterns: dict[str, Any] | str, state: str = "Enabled", **members: Any) -> dict[str, Any]:
    """A mapping as GetEventSourceMapping describes it; `KMSKeyArn` among the members encrypts its filter."""
    found: dict[str, Any] = {
        "UUID": str(uuid5(NAMESPACE_URL, name)),
        "FunctionArn": f"arn:aws:lambda:us-east-1:{LOCAL_ACCOUNT}:function:{name}",
        "State": state,
        **members,
    }
    if patterns:
        texts = [each if isinstance(each, str) else json.dumps(each) for each in patterns]
        found["FilterCriteria"] = {"Filters": [{"Pattern": text} for text in texts]}
    return found
