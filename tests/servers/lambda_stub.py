"""A Lambda of the tests' own, for what no stand-in does: throttles, refusals, silence and cut connections.

It answers GetFunctionConfiguration, and each invocation by the next of its script (the last one again and again).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(frozen=True)
class Say:
    """Answers so, `after_s` seconds late."""

    status: int = 200
    body: bytes = b"null"
    headers: Mapping[str, str] = field(default_factory=dict)
    after_s: float = 0.0


@dataclass(frozen=True)
class Reset:
    """Takes the request and resets the connection."""


@dataclass(frozen=True)
class Hang:
    """Takes the request and never answers."""


Act = Say | Reset | Hang


def refuse(status: int, code: str, message: str = "no", **headers: str) -> Say:
    """An error as Lambda's REST API tells it: the code is in a header."""
    named = {"x-amzn-ErrorType": f"{code}:http://internal.amazon.com/coral/com.amazonaws.awsgirapi/"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    return Say(status, json.dumps({"Type": "User", "Message": message}).encode(), named)


@dataclass
class Invocation:
    """A request as it came in: the path and query as they were on the wire."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class LambdaStub:
    """A running stub; made by `lambda_stub`."""

    def __init__(self, script: Sequence[Act], configuration: Say) -> None:
        self.endpoint_url = ""
        self.invocations: list[Invocation] = []
        self.under_way = 0
        self.most_under_way = 0
        self._script = list(script)
        self._configuration = configuration
        self._closing = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "GET":
            return _response(self._configuration)
        self.invocations.append(Invocation(request.raw_path, request.headers, await request.read()))
        act = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            match act:
                case Say():
                    await asyncio.sleep(act.after_s)
                    return _response(act)
                case Reset():
                    assert request.transport is not None
                    connection = request.transport.get_extra_info("socket")
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                case Hang():
                    await self._closing.wait()
        finally:
            self.under_way -= 1
        if request.transport:
            request.transport.abort()
        return web.Response()

    def close(self) -> None:
        self._closing.set()


def _response(say: Say) -> web.Response:
    return web.Response(status=say.status, body=say.body, headers={"Content-Type": "application/json", **say.headers})


@contextlib.asynccontextmanager
async def lambda_stub(
    *script: Act, function_timeout_s: int = 3, configuration: Say | None = None
) -> AsyncIterator[LambdaStub]:
    """A stub on 127.0.0.1, in the running loop, for as long as the block runs."""
    told = {"FunctionName": "f", "FunctionArn": "arn:f", "Timeout": function_timeout_s, "Version": "$LATEST"}
    stub = LambdaStub(script or [Say()], configuration or Say(body=json.dumps(told).encode()))
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{path:.*}", stub.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stub.endpoint_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield stub
    finally:
        stub.close()
        await runner.cleanup()
