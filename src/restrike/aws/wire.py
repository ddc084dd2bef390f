"""Signed asynchronous calls to the JSON services: one call, its retries, and error codes as exceptions.

Used where calls are many (Query, Scan, BatchExecuteStatement, GetRecords). What is asked seldom goes through
`restrike.aws.session.ask`.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
import urllib.request
from types import TracebackType
from typing import Any, Self

import aiohttp
import botocore.httpsession
import msgspec
from yarl import URL

from restrike.aws.refusals import EXPIRED_TOKEN_CODES, error_for, unreachable
from restrike.aws.session import Aws
from restrike.aws.signing import Signer
from restrike.errors import AwsError, BadCredentials, ServiceFault, Throttled, Unreachable


class _Reason(msgspec.Struct):
    reason: str = ""


class _ErrorBody(msgspec.Struct):
    type_: str = msgspec.field(default="", name="__type")
    message: str | None = None
    message_: str | None = msgspec.field(default=None, name="Message")
    reasons: list[_Reason] | None = msgspec.field(default=None, name="ThrottlingReasons")
    reasons_: list[_Reason] | None = msgspec.field(default=None, name="throttlingReasons")
    item: dict[str, dict[str, Any]] | None = msgspec.field(default=None, name="Item")


_error_body = msgspec.json.Decoder(_ErrorBody)

MAX_RETRY_DELAY_S = 10.0
TIMEOUT_S = 20.0  # of one attempt, from the connection to the last byte


def retry_delay_s(attempt: int, *, first_s: float = 0.05) -> float:
    """Exponential back-off with full jitter: 0 to `first_s` × 2^attempt seconds, at most 10."""
    return random.uniform(0, min(MAX_RETRY_DELAY_S, first_s * 2 ** min(attempt, 20)))  # noqa: S311 - no secret


class Wire:
    """Keep-alive connections to one service that speaks the AWS JSON protocol (DynamoDB and its streams).

    Use as an asynchronous context manager. `connections` bounds the requests under way.
    """

    def __init__(
        self,
        aws: Aws,
        service: str,
        target: str,
        *,
        connections: int = 32,
        timeout_s: float | None = None,
    ) -> None:
        self._aws = aws
        self._target = target
        self._connections = connections
        self._timeout_s = TIMEOUT_S if timeout_s is None else timeout_s
        self.url = aws.endpoint(service)
        self._url = URL(self.url)
        if not self._url.raw_path:
            self._url = self._url.with_path("/")
        default_port = self._url.port == {"http": 80, "https": 443}.get(self._url.scheme)
        self._signer = Signer(
            # The streams of DynamoDB are signed as DynamoDB.
            service="dynamodb" if service == "dynamodbstreams" else service,
            region=aws.region,
            host=str(self._url.host) if default_port else f"{self._url.host}:{self._url.port}",
            path=self._url.raw_path,
        )
        self._credentials = aws.credentials()
        self._session: aiohttp.ClientSession | None = None
        self._proxy: str | None = None

    async def __aenter__(self) -> Self:
        verify: ssl.SSLContext | bool = True
        if self._url.scheme == "https":
            bundle = self._aws.ca_bundle() or botocore.httpsession.get_cert_path(True)
            verify = ssl.create_default_context(cafile=bundle)
        host = self._url.host or ""
        if not urllib.request.proxy_bypass(host):
            # Not aiohttp's trust_env: that would also take a login for the host out of ~/.netrc.
            self._proxy = urllib.request.getproxies().get(self._url.scheme)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, ssl=verify, ttl_dns_cache=60),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s, connect=10),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, operation: str, body: bytes, *, attempts: int = 8) -> bytes:
        """The answer's body. Throttles, faults and silence are tried again, `attempts` times in all.

        For calls that may be repeated safely. Raises the AwsError of the last attempt.
        """
        for attempt in range(attempts - 1):
            try:
                return await self.call_once(operation, body)
            except (Throttled, ServiceFault, Unreachable):
                await asyncio.sleep(retry_delay_s(attempt))
        return await self.call_once(operation, body)

    async def call_once(self, operation: str, body: bytes) -> bytes:
        """One attempt, and one more where the credentials had just expired.

        After Unreachable and ServiceFault it is unknown whether the service carried the request out.
        """
        try:
            return await self._send(operation, body)
        except BadCredentials as error:
            if error.code not in EXPIRED_TOKEN_CODES:
                raise
        # The service refused the expired token before doing anything, so this is no second write.
        self._credentials = await asyncio.to_thread(self._aws.credentials, renew=True)
        return await self._send(operation, body)

    async def _send(self, operation: str, body: bytes) -> bytes:
        assert self._session is not None, "use Wire as a context manager"
        headers = await self._signed_headers(operation, body)
        try:
            async with self._session.post(
                self._url, data=body, headers=headers, proxy=self._proxy, allow_redirects=False
            ) as response:
                answer = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise unreachable(operation, self.url, error) from None
        if status == 200:
            return answer
        raise _error_from_body(operation, status, answer)

    async def _signed_headers(self, operation: str, body: bytes) -> dict[str, str]:
        credentials = self._credentials
        if getattr(credentials, "refresh_needed", _never)():
            # Refreshing asks a login service or runs a process: not on the event loop.
            frozen = await asyncio.to_thread(credentials.get_frozen_credentials)
        else:
            frozen = credentials.get_frozen_credentials()
        return self._signer.headers(frozen, f"{self._target}.{operation}", body, time.time())


def _never() -> bool:
    return False


def _error_from_body(operation: str, status: int, answer: bytes) -> AwsError:
    try:
        problem = _error_body.decode(answer)
    except msgspec.MsgspecError:
        return error_for(operation, "", f"HTTP {status} without a readable body", status)
    code = problem.type_.rpartition("#")[2]
    reasons = tuple(reason.reason for reason in problem.reasons or problem.reasons_ or ())
    error = error_for(operation, code, problem.message or problem.message_ or "", status, reasons)
    error.item = problem.item
    return error
