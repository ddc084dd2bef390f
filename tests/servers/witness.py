"""A server that notes what it is asked, and answers what the test says."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Asked:
    """A request: `target` as it was on its first line, headers by their small letters."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def host(self) -> str:
        return self.headers["host"]


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def in_json(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer in JSON; a refusal of AWS's REST services is told in a header."""
    refused = {"X-Amzn-ErrorType": "AccessDeniedException"} if status == 403 else {}
    told = {"Content-Type": "application/json", **refused, **(headers or {})}
    return Answer(status, json.dumps(body).encode(), told)


@dataclass
class Witness:
    """A running one; made by `witness`. It is an endpoint, and an HTTP proxy too: then `target` is a whole URL."""

    url: str
    asked: list[Asked] = field(default_factory=list)


@contextlib.contextmanager
def witness(answer: Callable[[Asked], Answer] = lambda _: Answer()) -> Iterator[Witness]:
    """On 127.0.0.1, for as long as the block runs. An answer to HEAD has no body, whatever is said."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes: 40 ms of delayed ACK apart

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, body)
            running.asked.append(asked)
            told = answer(asked)
            self.send_response(told.status)
            for name, value in {"Content-Length": str(len(told.body)), **told.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(told.body)

        do_POST = do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815 - http.server's spelling

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's spelling
            """Nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: object, client_address: object) -> None:
            """Whoever went away in the middle of a request."""

    server = Server(("127.0.0.1", 0), Handler)
    running = Witness(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
