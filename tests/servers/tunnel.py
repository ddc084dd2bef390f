"""A proxy for https that leads every host to one server of the tests: so requests to AWS's own hosts reach it.

It is a certificate authority too, which the client is told to trust, and takes the encryption off.

    with tunnel(server_url, tmp_path) as through:
        monkeypatch.setenv("HTTPS_PROXY", through.proxy_url)
        monkeypatch.setenv("AWS_CA_BUNDLE", through.ca_file)
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import trustme

START_TIMEOUT_S = 120.0


@dataclass
class Tunnel:
    proxy_url: str
    ca_file: str
    hosts: list[str] = field(default_factory=list)
    """Host and port of each connection, in order."""


@contextlib.contextmanager
def tunnel(to_url: str, folder: Path) -> Iterator[Tunnel]:
    """On 127.0.0.1, for as long as the block runs; `folder` is for the authority's certificate."""
    authority = trustme.CA()
    ca_file = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    running = Tunnel("", str(ca_file))
    up, loop, over = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(_serve(running, to_url, authority, up, over)), daemon=True
    )
    thread.start()
    try:
        assert up.wait(START_TIMEOUT_S), "the tunnel did not start"
        yield running
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(START_TIMEOUT_S)
        loop.close()


async def _serve(running: Tunnel, to_url: str, authority: trustme.CA, up: threading.Event, over: asyncio.Event) -> None:
    upstream = urlsplit(to_url)
    context = _as_any_host(authority)
    relays: set[asyncio.Task[None]] = set()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        relays.add(task)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            method, host, *_ = (await reader.readuntil(b"\r\n\r\n")).decode().split()
            assert method == "CONNECT", method
            running.hosts.append(host)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.start_tls(context)
            far_reader, far_writer = await asyncio.open_connection(upstream.hostname, upstream.port)
            await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))
        writer.transport.abort()
        relays.discard(task)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    running.proxy_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    up.set()
    await over.wait()
    server.close()
    for task in list(relays):
        task.cancel()
    await asyncio.gather(*relays, return_exceptions=True)


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(1 << 16):
            target.write(data)
            await target.drain()
    finally:
        target.close()


def _as_any_host(authority: trustme.CA) -> ssl.SSLContext:
    """A server's side that has a certificate for whatever host the client asks for."""
    known: dict[str, ssl.SSLContext] = {}

    def be(connection: ssl.SSLObject, host: str | None, _: ssl.SSLContext) -> None:
        if host is None:
            return
        if host not in known:
            known[host] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert(host).configure_cert(known[host])
        connection.context = known[host]

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.sni_callback = be
    return context
