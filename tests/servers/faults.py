"""A reverse proxy before DynamoDB Local that misbehaves on request.

DynamoDB Local never throttles, never drops a connection and never expires an iterator, so the paths of restrike that
matter most on a bad day would go untested. This proxy stands between client and engine and does those things from
a script: a list of faults, each naming an operation and when it is due.

    with faulty(dynamodb_local_url, [Throttle("BatchExecuteStatement", times=2)]) as proxy:
        client = boto3.client("dynamodb", endpoint_url=proxy.endpoint_url)
        ...
    assert proxy.fired("BatchExecuteStatement") == 2

How a request meets the script:

1. The faults are asked in the order of the list; those for other operations, and those whose `when` says no, are out.
2. A fault that is left counts the request. It is due unless `skip`, `every`, `times` or `probability` says otherwise.
3. The first one that is due acts, and the rest are not asked. `Slow` and `WithoutItem` let the rest act too.
4. If none is due, the request is forwarded.

The same script, seed and order of arrival give the same faults. Clients that send several requests at once decide the
order of arrival themselves: script those with `when` or with counts, not with positions.

The proxy rewrites bodies and `Host`, so signatures no longer fit: the engine must not check them (DynamoDB Local does
not).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import re
import socket
import struct
import threading
import zlib
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias

import aiohttp
from aiohttp import web

Body: TypeAlias = dict[str, Any]

ANY = "*"
_V2012 = "com.amazonaws.dynamodb.v20120810#"
_JSON = "application/x-amz-json-1.0"
_THROTTLED = "The level of configured provisioned throughput for the table was exceeded (fault injected)."
_RETURNING = re.compile(r"\bRETURNING\b", re.IGNORECASE)
_KEPT_REQUESTS = 20_000
_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 120.0
_UPSTREAM_TIMEOUT_S = 60.0
# Under the 30 s after which DynamoDB Local's Jetty drops an idle connection: a POST on a stale one cannot be retried.
_UPSTREAM_KEEPALIVE_S = 5.0
# RFC 9110, 7.6.1, and what this proxy sets itself.
_NOT_FORWARDED = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "expect",
        "accept-encoding",
        "content-encoding",
        "content-length",
        "x-amz-crc32",
    }
)


# --- the script ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """What goes wrong, for which operation, and when.

    `operation` is the suffix of X-Amz-Target, several of them, or `ANY`. Without a limit a fault acts every time.
    """

    operation: str | Collection[str] = ANY
    _: KW_ONLY
    times: int | None = None
    """Act at most so often."""
    every: int = 1
    """Act on each n-th request only: 3 is the third, the sixth, …"""
    skip: int = 0
    """Let the first n requests pass; `every` counts from there."""
    when: Callable[[Body], bool] | None = None
    """Consider only requests whose decoded body satisfies this."""
    probability: float = 1.0
    """Act on this share of the requests, drawn from the proxy's seed."""

    def __post_init__(self) -> None:
        if self.every < 1 or self.skip < 0 or not 0 <= self.probability <= 1:
            raise ValueError(f"{self!r}: every >= 1, skip >= 0 and probability within 0 and 1 are needed")

    def concerns(self, operation: str) -> bool:
        """Whether this fault is for `operation` at all."""
        if isinstance(self.operation, str):
            return self.operation in (ANY, operation)
        return operation in self.operation


@dataclass(frozen=True)
class Throttle(Fault):
    """Refuse the whole request before it is applied, with HTTP 400.

    `reasons` are pairs (reason, resource ARN), for example
    `("IndexWriteKeyRangeThroughputExceeded", "arn:aws:dynamodb:…:table/T/index/I")`.

    BatchExecuteStatement has no ProvisionedThroughputExceededException: then each of its statements is refused, in an
    answer that is HTTP 200. Those have no reasons, whatever throttled them.
    """

    _: KW_ONLY
    code: Literal["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"] = (
        "ProvisionedThroughputExceededException"
    )
    reasons: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class ThrottleStatements(Fault):
    """Refuse some statements of a batch: they are not forwarded, the others are, and all answers are in order.

    The statements are those at `indexes`, those that satisfy `matching`, or a `fraction` of them drawn from the seed;
    of more than one given, all. A request in which none is chosen does not count as a time. `code` may be any
    BatchStatementErrorCode, and another for each statement. With the codes `applied` a statement is carried out all
    the same.
    """

    operation: str | Collection[str] = "BatchExecuteStatement"
    _: KW_ONLY
    fraction: float = 0.0
    indexes: Collection[int] = ()
    matching: Callable[[Body], bool] | None = None
    code: str | Callable[[Body], str] = "ThrottlingError"
    message: str = "Throughput exceeds the current capacity of your table or index (fault injected)."
    applied: Collection[str] = ()


@dataclass(frozen=True)
class WithoutItem(Fault):
    """Answer as ever, but for `Error.Item`: ReturnValuesOnConditionCheckFailure means nothing in a batch.

    A request counts where something was left out. Later faults of the list act as well.
    """

    operation: str | Collection[str] = "BatchExecuteStatement"


@dataclass(frozen=True)
class Refuse(Fault):
    """Answer that error to the whole request; nothing was applied."""

    _: KW_ONLY
    code: str
    status: int = 400


@dataclass(frozen=True)
class ServerError(Fault):
    """Answer 500 or 503 InternalServerError; nothing was applied."""

    _: KW_ONLY
    status: int = 500


@dataclass(frozen=True)
class ErrorAfterApply(Fault):
    """Apply the request, then answer as `ServerError` does: the client cannot know."""

    _: KW_ONLY
    status: int = 500


@dataclass(frozen=True)
class ResetBefore(Fault):
    """Reset the TCP connection; nothing was applied."""


@dataclass(frozen=True)
class ResetAfterApply(Fault):
    """Apply the request, then reset the TCP connection."""


@dataclass(frozen=True)
class HangAfterApply(Fault):
    """Apply the request and answer nothing for `seconds` or until the proxy stops; then cut the connection."""

    seconds: float = 60.0


@dataclass(frozen=True)
class Slow(Fault):
    """Answer `seconds` late. What is applied is applied at once, and later faults of the list act as well."""

    seconds: float = 1.0


@dataclass(frozen=True)
class TruncateBody(Fault):
    """Apply the request, promise the whole answer, send half of it and close the connection."""


@dataclass(frozen=True)
class ExpiredIterator(Fault):
    """The iterator is older than 15 minutes."""

    operation: str | Collection[str] = "GetRecords"


@dataclass(frozen=True)
class Trimmed(Fault):
    """The position is older than 24 hours."""

    operation: str | Collection[str] = ("GetRecords", "GetShardIterator")


@dataclass(frozen=True)
class RefuseReturning(Fault):
    """Refuse PartiQL with a RETURNING clause: the whole request, or (`per_statement`) each statement that has one."""

    operation: str | Collection[str] = ("BatchExecuteStatement", "ExecuteStatement")
    _: KW_ONLY
    per_statement: bool = False


@dataclass(frozen=True)
class AccessDenied(Fault):
    """IAM does not allow the operation."""


@dataclass(frozen=True)
class Altered(Fault):
    """Apply the request, and answer what `change` has made of the engine's answer: what only the service tells."""

    _: KW_ONLY
    change: Callable[[Body], object]


@dataclass(frozen=True)
class GarbageBody(Fault):
    """Answer HTTP 200 with HTML, as a captive portal does; the request is forwarded only with `apply`."""

    _: KW_ONLY
    apply: bool = False


class Rewriter(Protocol):
    """What the service has and the engine lacks, made of what the engine has."""

    def asked(self, operation: str, body: Body) -> Body | None:
        """What the engine is asked; None: it is not."""

    def answered(self, operation: str, body: Body, answer: Body) -> Body:
        """What is answered to `body`; `answer` is the engine's, {} where it was not asked."""


@dataclass(frozen=True)
class Rewritten(Fault):
    """Ask the engine something else, and answer something else."""

    _: KW_ONLY
    by: Rewriter


# --- the proxy ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Exchange:
    operation: str
    body: Body
    raw: bytes
    headers: Mapping[str, str]
    path: str
    method: str


@dataclass(frozen=True)
class _Reply:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": _JSON})
    truncated: bool = False


@dataclass(frozen=True)
class _Cut:
    """No answer: the connection is reset."""


_Outcome: TypeAlias = _Reply | _Cut


@dataclass
class _Script:
    """One fault and how far it has come."""

    fault: Fault
    rng: random.Random
    seen: int = 0
    acted: int = 0

    def due(self, operation: str, body: Body) -> frozenset[int] | None:
        """None if the fault does not act on this request, else the statements that it refuses (none for most)."""
        fault = self.fault
        if not fault.concerns(operation) or (fault.when is not None and not fault.when(body)):
            return None
        if fault.times is not None and self.acted >= fault.times:
            return None
        if isinstance(fault, RefuseReturning) and not _with_returning(body):
            return None
        self.seen += 1
        position = self.seen - fault.skip
        if position < 1 or position % fault.every:
            return None
        if fault.probability < 1 and self.rng.random() >= fault.probability:
            return None
        chosen: frozenset[int] = frozenset()
        if isinstance(fault, ThrottleStatements):
            chosen = self._choose(fault, body)
            if not chosen:
                return None
        elif isinstance(fault, RefuseReturning):
            chosen = _with_returning(body)
        self.acted += 1
        return chosen

    def _choose(self, fault: ThrottleStatements, body: Body) -> frozenset[int]:
        return frozenset(
            i
            for i, statement in enumerate(_statements(body))
            # The draw comes first, so that every statement takes one and the sequence depends on nothing else.
            if self.rng.random() < fault.fraction
            or i in fault.indexes
            or (fault.matching is not None and fault.matching(statement))
        )


class Proxy:
    """A running proxy; made by `faulty`. Its properties may be read from any thread, also after it has stopped."""

    def __init__(self, upstream_url: str, faults: Iterable[Fault], *, seed: int) -> None:
        self._upstream_url = upstream_url.rstrip("/")
        self._seed = seed
        self._lock = threading.Lock()
        self._scripts: list[_Script] = []
        self._requests: deque[tuple[str, Body]] = deque(maxlen=_KEPT_REQUESTS)
        self._received: Counter[str] = Counter()
        self._hosts: set[str] = set()
        self._forwarded: Counter[str] = Counter()
        self.forwarding = 0
        """Requests that the engine has not answered yet, also of clients that are gone."""
        self._fired: Counter[str] = Counter()
        self._fired_by_kind: Counter[type[Fault]] = Counter()
        self._failures: list[BaseException] = []
        self._request_ids = itertools.count(1)
        self._port = 0
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self.script(faults)

    @property
    def endpoint_url(self) -> str:
        """Where clients send their requests."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def requests(self) -> list[tuple[str, Body]]:
        """(operation, decoded body) of the last 20,000 requests in order of arrival; {} for a body that is not JSON."""
        with self._lock:
            return list(self._requests)

    @property
    def hosts(self) -> set[str]:
        """Whom the requests were meant for, by their header: behind a `tests.servers.tunnel`, hosts of AWS."""
        with self._lock:
            return set(self._hosts)

    def count(self, operation: str = ANY) -> int:
        """How many requests for `operation` arrived."""
        return self._total(self._received, operation)

    def forwarded(self, operation: str = ANY) -> int:
        """How many requests for `operation` reached the engine, whatever the client was told."""
        return self._total(self._forwarded, operation)

    def fired(self, what: str | type[Fault] = ANY) -> int:
        """How often a fault acted, by operation or by kind: a test that proves survival first proves the fault."""
        if isinstance(what, str):
            return self._total(self._fired, what)
        with self._lock:
            return sum(n for kind, n in self._fired_by_kind.items() if issubclass(kind, what))

    def script(self, faults: Iterable[Fault]) -> None:
        """Replace the script, from the next request on; an empty one heals the engine. Counts stay."""
        scripts = [_Script(f, random.Random(f"{self._seed}/{i}")) for i, f in enumerate(faults)]
        with self._lock:
            self._scripts = scripts

    def start(self) -> None:
        """Bind a free port of 127.0.0.1 and serve in a thread."""
        self._thread.start()
        if not self._ready.wait(_START_TIMEOUT_S):
            raise TimeoutError(f"the fault proxy did not start within {_START_TIMEOUT_S} s")
        if not self._port:
            self._thread.join(_STOP_TIMEOUT_S)
            self.raise_failures()

    def stop(self) -> None:
        """End hanging answers, close every connection and wait for the thread."""
        if self._loop is not None and self._stopping is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the thread ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(_STOP_TIMEOUT_S)
        if self._thread.is_alive():
            raise TimeoutError(f"the fault proxy did not stop within {_STOP_TIMEOUT_S} s")

    def raise_failures(self) -> None:
        """Raise what went wrong in the proxy itself, for example in a `when`: a client would only see a 500."""
        with self._lock:
            failures = list(self._failures)
        if failures:
            raise RuntimeError(f"the fault proxy itself failed ({len(failures)} times)") from failures[0]

    def _total(self, counter: Counter[str], operation: str) -> int:
        with self._lock:
            return counter.total() if operation == ANY else counter[operation]

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as e:
            self._fail(e)
        finally:
            self._ready.set()

    def _fail(self, error: Exception) -> None:
        with self._lock:
            self._failures.append(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_UPSTREAM_KEEPALIVE_S)
        timeout = aiohttp.ClientTimeout(total=_UPSTREAM_TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

            async def handle(request: web.Request) -> web.StreamResponse:
                return await self._handle(session, request)

            app = web.Application(client_max_size=64 * 2**20)
            app.router.add_route("*", "/{path:.*}", handle)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                self._port = runner.addresses[0][1]
                self._ready.set()
                await self._stopping.wait()
            finally:
                await runner.cleanup()

    async def _handle(self, session: aiohttp.ClientSession, request: web.Request) -> web.StreamResponse:
        try:
            raw = await request.read()
            outcome = await self._outcome(
                session,
                _Exchange(
                    operation=request.headers.get("X-Amz-Target", "").rpartition(".")[2],
                    body=_decoded(raw),
                    raw=raw,
                    headers=request.headers,
                    path=request.raw_path,
                    method=request.method,
                ),
            )
        except ConnectionError:
            return web.Response(status=500)  # the client left while it was sending; nobody reads this
        except Exception as e:
            self._fail(e)
            outcome = self._error("InternalServerError", f"the fault proxy itself failed: {e!r}", status=500)
        match outcome:
            case _Cut():
                _reset(request)
                return web.Response(status=500)  # aiohttp wants one; the connection is gone
            case _Reply(truncated=True):
                return await _send_half(request, outcome)
            case _Reply():
                return web.Response(status=outcome.status, body=outcome.body, headers=_with_crc(outcome))

    async def _outcome(self, session: aiohttp.ClientSession, exchange: _Exchange) -> _Outcome:
        delay_s, without_item, fault, chosen = self._consult(exchange)
        outcome = await self._act(session, exchange, fault, chosen)
        if without_item and isinstance(outcome, _Reply):
            outcome = self._leave_items_out(exchange.operation, outcome)
        if delay_s:
            await self._pause(delay_s)
        return outcome

    def _consult(self, exchange: _Exchange) -> tuple[float, bool, Fault | None, frozenset[int]]:
        """Note the request down and ask the script: how late, without items, which fault, which statements."""
        delay_s, without_item = 0.0, False
        with self._lock:
            self._requests.append((exchange.operation, exchange.body))
            self._received[exchange.operation] += 1
            self._hosts.add(exchange.headers.get("Host", ""))
            for script in self._scripts:
                chosen = script.due(exchange.operation, exchange.body)
                if chosen is None:
                    continue
                if isinstance(script.fault, WithoutItem):
                    without_item = True
                    continue
                self._fired[exchange.operation] += 1
                self._fired_by_kind[type(script.fault)] += 1
                if isinstance(script.fault, Slow):
                    delay_s += script.fault.seconds
                else:
                    return delay_s, without_item, script.fault, chosen
        return delay_s, without_item, None, frozenset()

    async def _act(
        self, session: aiohttp.ClientSession, exchange: _Exchange, fault: Fault | None, chosen: frozenset[int]
    ) -> _Outcome:
        match fault:
            case Throttle(code="ProvisionedThroughputExceededException") if _statements(exchange.body):
                every = frozenset(range(len(_statements(exchange.body))))
                return await self._refuse_statements(
                    session, exchange, every, "ProvisionedThroughputExceeded", _THROTTLED
                )
            case Throttle():
                return self._throttled(fault)
            case ThrottleStatements(code=code, message=message, applied=applied):
                return await self._refuse_statements(session, exchange, chosen, code, message, applied)
            case Refuse(code=code, status=status):
                return self._error(code, "The request was rejected (fault injected).", status=status)
            case ServerError(status=status):
                return self._error("InternalServerError", "The server had an internal error.", status=status)
            case ErrorAfterApply(status=status):
                await self._forward(session, exchange)
                return self._error("InternalServerError", "The server had an internal error.", status=status)
            case ResetBefore():
                return _Cut()
            case ResetAfterApply():
                await self._forward(session, exchange)
                return _Cut()
            case HangAfterApply(seconds=seconds):
                await self._forward(session, exchange)
                await self._pause(seconds)
                return _Cut()
            case TruncateBody():
                reply = await self._forward(session, exchange)
                return _Reply(reply.status, reply.body, reply.headers, truncated=True)
            case ExpiredIterator():
                return self._error(
                    "ExpiredIteratorException", "Iterator expired. The iterator was created too long ago."
                )
            case Trimmed():
                return self._error(
                    "TrimmedDataAccessException", "Attempted access of data beyond trim horizon (24 hours)."
                )
            case RefuseReturning(per_statement=per_statement):
                message = "Unsupported clause: RETURNING is not supported in this statement."
                if per_statement and exchange.operation == "BatchExecuteStatement":
                    return await self._refuse_statements(session, exchange, chosen, "ValidationError", message)
                return self._error("ValidationException", message, namespace="com.amazon.coral.validate#")
            case AccessDenied():
                return self._error(
                    "AccessDeniedException",
                    f"User: arn:aws:iam::123456789012:user/local is not authorized to perform: "
                    f"dynamodb:{exchange.operation} because no identity-based policy allows the action",
                    namespace="com.amazon.coral.service#",
                    # Coral's own exceptions spell it with a capital; clients must read both.
                    message_key="Message",
                )
            case Altered(change=change):
                reply = await self._forward(session, exchange)
                answer = _decoded(reply.body)
                change(answer)
                return _Reply(reply.status, json.dumps(answer).encode(), reply.headers)
            case GarbageBody(apply=apply):
                if apply:
                    await self._forward(session, exchange)
                return _Reply(200, b"<html><body>Sign in to the Wi-Fi</body></html>", {"Content-Type": "text/html"})
            case Rewritten(by=by):
                asked = by.asked(exchange.operation, exchange.body)
                reply = _Reply(200, b"{}")
                if asked is not None:
                    reply = await self._forward(session, replace(exchange, body=asked, raw=json.dumps(asked).encode()))
                if reply.status != 200:
                    return reply
                answer = by.answered(exchange.operation, exchange.body, _decoded(reply.body))
                return _Reply(200, json.dumps(answer).encode(), reply.headers)
            case None:
                return await self._forward(session, exchange)
            case _:
                raise TypeError(f"no such fault: {fault!r}")

    async def _forward(self, session: aiohttp.ClientSession, exchange: _Exchange) -> _Reply:
        headers = _end_to_end(exchange.headers)
        headers["Accept-Encoding"] = "identity"  # so that bodies can be cut and put together
        with self._lock:
            self._forwarded[exchange.operation] += 1
            self.forwarding += 1
        try:
            async with session.request(
                exchange.method,
                self._upstream_url + exchange.path,
                data=exchange.raw,
                headers=headers,
                skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
                allow_redirects=False,
            ) as response:
                return _Reply(response.status, await response.read(), _end_to_end(response.headers))
        except (aiohttp.ClientError, TimeoutError) as e:
            # Not the proxy's failure: a test may stop the engine on purpose.
            return self._error("InternalServerError", f"the fault proxy cannot reach the engine: {e!r}", status=502)
        finally:
            with self._lock:
                self.forwarding -= 1

    async def _refuse_statements(
        self,
        session: aiohttp.ClientSession,
        exchange: _Exchange,
        refused: frozenset[int],
        code: str | Callable[[Body], str],
        message: str,
        applied: Collection[str] = (),
    ) -> _Reply:
        statements = _statements(exchange.body)
        codes = {i: code if isinstance(code, str) else code(statements[i]) for i in sorted(refused)}
        kept = [s for i, s in enumerate(statements) if i not in codes or codes[i] in applied]
        answer: Body = {}
        headers: Mapping[str, str] = {"Content-Type": _JSON, "x-amzn-RequestId": self._request_id()}
        if kept:
            body = {**exchange.body, "Statements": kept}
            reply = await self._forward(
                session,
                _Exchange(
                    exchange.operation,
                    body,
                    json.dumps(body).encode(),
                    exchange.headers,
                    exchange.path,
                    exchange.method,
                ),
            )
            if reply.status != 200:
                return reply
            answer, headers = _decoded(reply.body), reply.headers
        answers = iter(answer.get("Responses", ()))
        responses = []
        for i in range(len(statements)):
            carried_out = next(answers) if i not in codes or codes[i] in applied else {}
            responses.append({"Error": {"Code": codes[i], "Message": message}} if i in codes else carried_out)
        return _Reply(200, json.dumps({**answer, "Responses": responses}).encode(), headers)

    def _leave_items_out(self, operation: str, reply: _Reply) -> _Reply:
        body = _decoded(reply.body)
        errors = [each["Error"] for each in body.get("Responses", ()) if "Item" in each.get("Error", {})]
        if not errors:
            return reply
        for error in errors:
            del error["Item"]
        with self._lock:
            self._fired[operation] += 1
            self._fired_by_kind[WithoutItem] += 1
        return _Reply(reply.status, json.dumps(body).encode(), reply.headers, reply.truncated)

    def _throttled(self, fault: Throttle) -> _Reply:
        reasons = [{"reason": reason, "resource": resource} for reason, resource in fault.reasons]
        if fault.code == "ThrottlingException":
            # botocore's model spells this member with a small t, unlike the other two exceptions.
            extra = {"throttlingReasons": reasons} if reasons else {}
            return self._error(fault.code, _THROTTLED, namespace="com.amazon.coral.availability#", extra=extra)
        return self._error(fault.code, _THROTTLED, extra={"ThrottlingReasons": reasons} if reasons else {})

    def _error(
        self,
        code: str,
        message: str,
        *,
        status: int = 400,
        namespace: str = _V2012,
        message_key: str = "message",
        extra: Mapping[str, Any] | None = None,
    ) -> _Reply:
        body = {"__type": namespace + code, message_key: message, **(extra or {})}
        headers = {"Content-Type": _JSON, "x-amzn-RequestId": self._request_id()}
        return _Reply(status, json.dumps(body).encode(), headers)

    def _request_id(self) -> str:
        return f"FAULT{next(self._request_ids):047d}"

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond the proxy's own end."""
        assert self._stopping is not None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)


@contextlib.contextmanager
def faulty(upstream_url: str, faults: Iterable[Fault] = (), *, seed: int = 0) -> Iterator[Proxy]:
    """Serve `upstream_url` with faults for the length of the block, and raise if the proxy itself failed."""
    proxy = Proxy(upstream_url, faults, seed=seed)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
    proxy.raise_failures()


def _decoded(raw: bytes) -> Body:
    try:
        body = json.loads(raw)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _statements(body: Body) -> list[Body]:
    statements = body.get("Statements")
    return statements if isinstance(statements, list) else []


def _with_returning(body: Body) -> frozenset[int]:
    """Which statements have a RETURNING clause; ExecuteStatement's one is number 0."""
    statements = _statements(body) or [body]
    return frozenset(i for i, s in enumerate(statements) if _RETURNING.search(s.get("Statement", "")))


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    named = {h.strip().lower() for h in headers.get("Connection", "").split(",")}
    return {k: v for k, v in headers.items() if k.lower() not in _NOT_FORWARDED and k.lower() not in named}


def _with_crc(reply: _Reply) -> dict[str, str]:
    # Computed over the body as sent: the engine's would be wrong for one that was put together here.
    return {**reply.headers, "x-amz-crc32": str(zlib.crc32(reply.body))}


def _reset(request: web.Request) -> None:
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        # With a linger time of 0 close() sends RST; without, the client would see an orderly end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def _send_half(request: web.Request, reply: _Reply) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=_with_crc(reply))
    response.content_length = len(reply.body)
    with contextlib.suppress(ConnectionError):  # the client has left already
        await response.prepare(request)
        await response.write(reply.body[: len(reply.body) // 2])
    if request.transport is not None:
        request.transport.close()  # not abort(): the half must arrive
    return response
