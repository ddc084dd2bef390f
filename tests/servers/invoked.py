"""A Lambda that knows mappings and takes invocations, in a thread of its own: which function got which records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

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
            (stream,) = parse_qs(parts.query)["EventSourceArn"]
            self.asked.append(stream)
            return (
                (403, {"Message": "no"})
                if self.denied
                else (200, {"EventSourceMappings": self.mappings.get(stream, [])})
            )
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
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = stub.get(self.path)
            self._say(status, body, {"X-Amzn-ErrorType": "AccessDeniedException"} if status == 403 else {})

        def do_POST(self) -> None:
            failed = stub.post(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self._say(
                200,
                {"errorMessage": "poison"} if failed else None,
                {"X-Amz-Function-Error": "Unhandled"} if failed else {},
            )

        def _say(self, status: int, body: Any, headers: dict[str, str]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
            """Tests are quiet."""

    stub = Invoked()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
