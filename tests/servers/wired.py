"""A stand-in for the APIs that tell who is wired to a stream: EventBridge Pipes and OpenSearch Ingestion.

It knows ListPipes, DescribePipe, ListPipelines and GetPipeline, one entry a page, so that whoever asks has to follow
the token; and it refuses what it is told to.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Body = dict[str, Any]


class Wired:
    """`asked` are the operations that it was asked for, in order."""

    def __init__(
        self, url: str, pipes: Mapping[str, Body], pipelines: Mapping[str, Body], denied: Collection[str]
    ) -> None:
        self.url = url
        self.pipes = pipes
        self.pipelines = pipelines
        self.denied = denied
        self.asked: list[str] = []
        self.silent: Collection[str] = ()
        """Operations that are not answered before the stub ends."""
        self.ending = Event()

    def answer(self, path: str) -> tuple[int, Body]:
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        names = [unquote(part) for part in parts.path.strip("/").split("/")]
        match names:
            case ["v1", "pipes"]:
                prefix = query.get("SourcePrefix", "")
                found = [pipe for pipe in self.pipes.values() if pipe["Source"].startswith(prefix)]
                kept = [{key: pipe[key] for key in pipe if key != "SourceParameters"} for pipe in found]
                return self._answered("ListPipes", _page(kept, "Pipes", query.get("NextToken")))
            case ["v1", "pipes", name]:
                return self._answered("DescribePipe", self.pipes[name])
            case ["2022-01-01", "osis", "listPipelines"]:
                told = [{key: each[key] for key in ("PipelineName", "Status")} for each in self.pipelines.values()]
                return self._answered("ListPipelines", _page(told, "Pipelines", query.get("nextToken")))
            case ["2022-01-01", "osis", "getPipeline", name]:
                return self._answered("GetPipeline", {"Pipeline": self.pipelines[name]})
            case _:
                raise AssertionError(path)

    def _answered(self, operation: str, body: Body) -> tuple[int, Body]:
        self.asked.append(operation)
        if operation in self.silent:
            self.ending.wait()
        if operation in self.denied:
            return 403, {"message": f"User is not authorized to perform: {operation}"}
        return 200, body


def _page(entries: Sequence[Body], member: str, token: str | None) -> Body:
    position = int(token or 0)
    page: Body = {member: list(entries[position : position + 1])}
    return page | ({"NextToken": str(position + 1)} if position + 1 < len(entries) else {})


@contextmanager
def wired(
    *, pipes: Sequence[Body] = (), pipelines: Sequence[Body] = (), denied: Collection[str] = ()
) -> Iterator[Wired]:
    """Serves them on 127.0.0.1 for as long as the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = stub.answer(self.path)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status == 403:
                self.send_header("X-Amzn-ErrorType", "AccessDeniedException")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    stub = Wired(
        f"http://127.0.0.1:{server.server_address[1]}",
        {pipe["Name"]: pipe for pipe in pipes},
        {pipeline["PipelineName"]: pipeline for pipeline in pipelines},
        denied,
    )
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield stub
    finally:
        stub.ending.set()
        server.shutdown()
        server.server_close()
        thread.join()
