"""A stand-in for the APIs that tell who is wired to a stream: EventBridge Pipes and OpenSearch Ingestion.

It knows ListPipes, DescribePipe, ListPipelines and GetPipeline, one entry a page, so that whoever asks has to follow
the token; and it refuses what it is told to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers.witness import Answer, Asked, in_json, witness

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

    def answer(asked: Asked) -> Answer:
        status, body = stub.answer(asked.target)
        return in_json(body, status)

    with witness(answer) as server:
        stub = Wired(
            server.url,
            {pipe["Name"]: pipe for pipe in pipes},
            {pipeline["PipelineName"]: pipeline for pipeline in pipelines},
            denied,
        )
        try:
            yield stub
        finally:
            stub.ending.set()
