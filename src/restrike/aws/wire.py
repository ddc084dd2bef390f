"""Signed asynchronous calls: one call, its retries, and error codes as exceptions.

`Channel` sends a signed POST anywhere in one service; `Wire` is a channel to a service of the AWS JSON protocol.
Used where calls are many (Query, Scan, BatchExecuteStatement, GetRecords, Invoke). What is asked seldom goes through
`restrike.aws.session.ask`.
"""

from __future__ import annotations

import asyncio
import functools
import io
import math
import random
import socket
import ssl
import time
import urllib.request
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
import botocore.httpsession
import msgspec
from yarl import URL

from restrike.aws.endpoints import no_certificates
from restrike.aws.refusals import ERRORS, EXPIRED_TOKEN_CODES, error_for, not_of, unreachable
from restrike.aws.session import Aws, user_agent
from restrike.aws.signing import JSON_1_0, FrozenCredentials, Signer
from restrike.aws.trouble import Trouble, log_request, name_of
from restrike.errors import (
    NO_MORE_FILES,
    AwsError,
    NoMoreFiles,
    ServiceFault,
    Throttled,
    Unreachable,
)


class _Reason(msgspec.Struct):
    reason: str = ""


class _ErrorBody(msgspec.Struct):
    type_: str = msgspec.field(default="", name="__type")
    code: str = ""
    message: str | None = None
    message_: str | None = msgspec.field(default=None, name="Message")
    reasons: list[_Reason] | None = msgspec.field(default=None, name="ThrottlingReasons")
    reasons_: list[_Reason] | None = msgspec.field(default=None, name="throttlingReasons")
    item: dict[str, dict[str, Any]] | None = msgspec.field(default=None, name="Item")


_error_body = msgspec.json.Decoder(_ErrorBody)

MAX_RETRY_DELAY_S = 10.0
OF_ONE_ITEM = frozenset({"GetItem", "PutItem", "UpdateItem", "DeleteItem"})  # all is well with them without a word
READ_ATTEMPTS = 30  # with back-off and jitter some two minutes of nothing but refusals, as for writes
MAX_SENT_AT_ONCE_BYTES = 1 << 20
TIMEOUT_S = 20.0  # of one attempt, from the connection to the last byte


def retry_delay_s(attempt: int, *, first_s: float = 0.05) -> float:
    """Exponential back-off with full jitter: 0 to `first_s` × 2^attempt seconds, at most 10."""
    return random.uniform(0, min(MAX_RETRY_DELAY_S, first_s * 2 ** min(attempt, 20)))  # noqa: S311 - no secret


class Reply(msgspec.Struct, frozen=True):
    """An answer of a service, whatever its status. `headers` do not mind upper and lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NotConnected(Unreachable):
    """No connection came about: the service has not seen the request."""


class Channel:
    """Keep-alive connections to one service for signed POSTs; proxies, certificates and credentials are seen to here.

    Use as an asynchronous context manager. `connections` bounds the requests under way, `timeout_s` each of them from
    its connection to its last byte.
    """

    _told_at = ("", 0.0)  # the time in the last answer, and our monotonic time then

    def __init__(
        self,
        aws: Aws,
        service: str,
        *,
        connections: int = 32,
        timeout_s: float | None = None,
        content_type: str = JSON_1_0,
    ) -> None:
        self._aws = aws
        self._service = service
        self._connections = connections
        self._timeout_s = TIMEOUT_S if timeout_s is None else timeout_s
        where = aws.destination(service)
        self.url = where.url
        self._url = URL(self.url)
        if not self._url.raw_path:
            self._url = self._url.with_path("/")
        default_port = self._url.port == {"http": 80, "https": 443}.get(self._url.scheme)
        self._signer = Signer(
            service=where.signing_name,  # the streams of DynamoDB are signed as DynamoDB
            region=where.region,
            host=str(self._url.host) if default_port else f"{self._url.host}:{self._url.port}",
            path=self._url.raw_path,
            content_type=content_type,
        )
        self._credentials = aws.credentials()
        self._session: aiohttp.ClientSession | None = None
        self._proxy: str | None = None
        self._trouble = Trouble(service, self.url)
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        verify: ssl.SSLContext | bool = True
        if self._url.scheme == "https":
            bundle = self._aws.ca_bundle() or str(botocore.httpsession.get_cert_path(True))
            try:
                verify = ssl.create_default_context(cafile=bundle)
            except OSError as error:
                raise no_certificates(bundle, error) from None
        host = self._url.host or ""
        if not urllib.request.proxy_bypass(host):
            # Not aiohttp's trust_env: that would also take a login for the host out of ~/.netrc.
            self._proxy = urllib.request.getproxies().get(self._url.scheme)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._connections, ssl=verify, ttl_dns_cache=60, socket_factory=_kept_alive
            ),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, connect=10),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            headers={"User-Agent": user_agent()},
            skip_auto_headers=("Accept", "Accept-Encoding"),
        )
        self._watching = asyncio.create_task(self._trouble.watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def post(
        self, operation: str, body: bytes, headers: Mapping[str, str], *, path: str | None = None, query: str = ""
    ) -> Reply:
        """One signed POST, and one more where the credentials had just expired; the answer, whatever its status.

        `path` and `query` are percent-encoded; without a path, it is the endpoint's. Raises Unreachable where no
        answer came (NotConnected: nothing was sent), and BadCredentials where there are none to sign with.
        """
        signed_with = await self._frozen_credentials()
        reply = await self._send(operation, body, headers, path, query, signed_with)
        if reply.status < 400 or _refusal_code(reply) not in EXPIRED_TOKEN_CODES:
            return reply
        # The service refused the expired token before doing anything, so this is no second write.
        await asyncio.to_thread(self._credentials.renew, signed_with)
        return await self._send(operation, body, headers, path, query, await self._frozen_credentials())

    async def _send(
        self,
        operation: str,
        body: bytes,
        headers: Mapping[str, str],
        path: str | None,
        query: str,
        credentials: FrozenCredentials,
    ) -> Reply:
        assert self._session is not None, "use it as a context manager"
        signed = self._signer.sign(credentials, headers, body, time.time(), path=path, query=query)
        url = self._url
        if path is not None:
            # Built, not joined: what is encoded in the path must go over the wire as it was signed.
            url = URL.build(
                scheme=url.scheme,
                authority=url.raw_authority,
                path=path,
                query_string=query,
                encoded=True,
            )
        # aiohttp sends plain bytes in one go, and warns where they are many.
        data = body if len(body) <= MAX_SENT_AT_ONCE_BYTES else io.BytesIO(body)
        began = time.monotonic()
        self._trouble.begins(operation)
        try:
            async with self._session.post(
                url, data=data, headers=signed, proxy=self._proxy, allow_redirects=False
            ) as response:
                reply = Reply(response.status, response.headers, await response.read())
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError) as error:
            if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno in NO_MORE_FILES:
                raise NoMoreFiles from None  # nothing that waiting mends
            self._no_answer(operation, error, began)
            silence = unreachable(operation, self.url, error)
            raise NotConnected(silence.message, silence.hint, operation=operation) from None
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            self._no_answer(operation, error, began)
            raise unreachable(operation, self.url, error) from None
        finally:
            self._trouble.ends()
        now = time.monotonic()
        self._told_at = (reply.headers.get("Date", ""), now)
        log_request(self._service, operation, reply.status, now - began, len(reply.body))
        self._judge(operation, reply)
        return reply

    def service_now_s(self) -> float | None:
        """The time by the service's clock, by its last answer (epoch seconds, up to one too early); None where it has
        told none. This machine's clock may be set meanwhile."""
        date, at = self._told_at
        try:
            return _epoch_s(date) + time.monotonic() - at
        except ValueError:
            return None

    def _is_readable(self, operation: str, body: bytes) -> bool:
        """Whether this may be what the service answers where all is well."""
        return True

    def _no_answer(self, operation: str, error: BaseException, began: float) -> None:
        what = "no answer" if isinstance(error, TimeoutError) else type(error).__name__
        log_request(self._service, operation, what, time.monotonic() - began)
        self._trouble.bad(f"gives no answer ({what})" if what != "no answer" else "gives no answer")

    def _judge(self, operation: str, reply: Reply) -> None:
        if reply.status == 200:
            if self._is_readable(operation, reply.body):
                self._trouble.good()
            else:
                self._trouble.bad("gives an answer that cannot be read")
            return
        code = _refusal_code(reply)
        if reply.status >= 500 or reply.status == 429 or ERRORS.get(code) in (Throttled, ServiceFault):
            self._trouble.bad(f"answers {reply.status}" + (f" ({code})" if code else ""))
        else:
            self._trouble.good()

    async def _frozen_credentials(self) -> FrozenCredentials:
        if self._credentials.refresh_needed():
            return await asyncio.to_thread(self._credentials.get_frozen_credentials)
        return self._credentials.get_frozen_credentials()


@functools.lru_cache(maxsize=16)
def _epoch_s(date: str) -> float:
    return parsedate_to_datetime(date).timestamp()


def _kept_alive(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that asks now and then whether the other side is there.

    A function may run 15 minutes without a byte on its connection, and a NAT gateway forgets one after 350 s.
    """
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, seconds in (("TCP_KEEPIDLE", 60), ("TCP_KEEPALIVE", 60), ("TCP_KEEPINTVL", 30)):
        if hasattr(socket, name):  # TCP_KEEPALIVE is macOS's name for TCP_KEEPIDLE
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), seconds)
    return made


class Wire(Channel):
    """A channel to a service that speaks the AWS JSON protocol: DynamoDB and its streams."""

    def __init__(
        self,
        aws: Aws,
        service: str,
        target: str,
        *,
        connections: int = 32,
        timeout_s: float | None = None,
        patience_s: float = math.inf,
    ) -> None:
        super().__init__(aws, service, connections=connections, timeout_s=timeout_s)
        self._target = target
        self._patience_s = patience_s

    def _is_readable(self, operation: str, body: bytes) -> bool:
        # No answer to a query or a batch is empty; taken for one, it would be the end of all there is to read.
        return body.startswith(b"{") and (body != b"{}" or operation in OF_ONE_ITEM)

    async def call(self, operation: str, body: bytes, *, attempts: int | None = None) -> bytes:
        """The answer's body. Throttles, faults and silence are tried again, `attempts` (READ_ATTEMPTS) times in all,
        and for as long as the wire's `patience_s`.

        For calls that may be repeated safely. Raises the AwsError of the last attempt.
        """
        began = time.monotonic()
        for attempt in range((READ_ATTEMPTS if attempts is None else attempts) - 1):
            if time.monotonic() - began > self._patience_s:
                break
            try:
                return await self.call_once(operation, body)
            except (Throttled, ServiceFault, Unreachable):
                await asyncio.sleep(retry_delay_s(attempt))
        return await self.call_once(operation, body)

    async def call_once(self, operation: str, body: bytes) -> bytes:
        """One attempt, and one more where the credentials had just expired.

        After Unreachable and ServiceFault it is unknown whether the service carried the request out.
        """
        reply = await self.post(operation, body, {"X-Amz-Target": f"{self._target}.{operation}"})
        if reply.status == 200 and self._is_readable(operation, reply.body):
            return reply.body
        if reply.status == 200:
            raise not_of(name_of(self._service), operation, self.url)
        raise refusal(operation, reply)


def _error_of(reply: Reply) -> tuple[str, _ErrorBody] | None:
    """The error's code and the rest of it; None where it is unreadable. REST services name the code in a header."""
    try:
        problem = _error_body.decode(reply.body)
    except msgspec.MsgspecError:
        return None
    code = problem.type_ or reply.headers.get("x-amzn-ErrorType", "") or problem.code
    return code.partition(":")[0].rpartition("#")[2], problem


def _refusal_code(reply: Reply) -> str:
    error = _error_of(reply)
    return error[0] if error else ""


def refusal(operation: str, reply: Reply) -> AwsError:
    """The exception for an answer that is an error."""
    found = _error_of(reply)
    if found is None:
        return error_for(operation, "", f"HTTP {reply.status} without a readable body", reply.status)
    code, problem = found
    reasons = tuple(reason.reason for reason in problem.reasons or problem.reasons_ or ())
    error = error_for(operation, code, problem.message or problem.message_ or "", reply.status, reasons)
    error.item = problem.item
    return error
