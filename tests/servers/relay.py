"""A relay before MiniStack that denies operations, or does not answer them: MiniStack knows no permissions.

MiniStack takes the streams of its own Region alone. So to it a table of DynamoDB Local is one of that Region.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from urllib.parse import quote, urlsplit

from tests.servers.ministack import REGION

_PATHS = (
    (r"/service/[^/]+/operation/(\w+)", None),
    (r"/2015-03-31/event-source-mappings/?", "ListEventSourceMappings"),
    (r"/2015-03-31/event-source-mappings/.+", "GetEventSourceMapping"),
    (r"/2015-03-31/functions/.+/configuration", "GetFunctionConfiguration"),
    (r"/v1/pipes/?", "ListPipes"),
    (r"/v1/pipes/.+", "DescribePipe"),
)
"""A path of a REST API → its operation, or the one that the path names."""


HERE, THERE = "arn:aws:dynamodb:ddblocal:", f"arn:aws:dynamodb:{REGION}:"


def _there(text: str) -> str:
    return text.replace(HERE, THERE).replace(quote(HERE, safe=""), quote(THERE, safe=""))


@dataclass
class Relay:
    """A running one; made by `relay`. `asked` are the operations that it was asked for, in order."""

    url: str
    denied: Collection[str] = ()
    silent: Collection[str] = ()
    asked: list[str] = field(default_factory=list)
    ending: Event = field(default_factory=Event)


def operation_of(path: str, target: str) -> str:
    if target:
        return target.rpartition(".")[2]
    for pattern, name in _PATHS:
        found = re.fullmatch(pattern, urlsplit(path).path)
        if found is not None:
            return name or found[1]
    return path


@contextmanager
def relay(upstream: str) -> Iterator[Relay]:
    """On 127.0.0.1, for as long as the block runs."""
    host = urlsplit(upstream).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            operation = operation_of(self.path, self.headers.get("X-Amz-Target", ""))
            running.asked.append(operation)
            if operation in running.silent:
                running.ending.wait()
            if operation in running.denied or operation in running.silent:
                denied = {"__type": "AccessDeniedException", "message": f"not authorized to perform: {operation}"}
                headers = {"X-Amzn-ErrorType": "AccessDeniedException", "Content-Type": "application/x-amz-json-1.0"}
                self._say(403, headers, json.dumps(denied).encode())
                return
            connection = http.client.HTTPConnection(host, timeout=60)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
            try:
                connection.request(
                    self.command, _there(self.path), _there(body.decode("latin-1")).encode("latin-1"), headers
                )
                answer = connection.getresponse()
                content = answer.read().replace(THERE.encode(), HERE.encode())
            finally:
                connection.close()
            left_out = ("content-length", "transfer-encoding", "connection")
            self._say(answer.status, {k: v for k, v in answer.getheaders() if k.lower() not in left_out}, content)

        do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - http.server's spelling

        def _say(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            """Tests are quiet."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: object, client_address: object) -> None:
            """Whoever went away in the middle of a request."""

    server = Server(("127.0.0.1", 0), Handler)
    running = Relay(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.ending.set()
        server.shutdown()
        server.server_close()
        thread.join()
