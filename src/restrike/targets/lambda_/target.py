"""A Lambda function as a target: one synchronous invocation a batch."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import msgspec

from restrike.aws.lambda_ import (
    LONGEST_SYNCHRONOUS_S,
    MAX_CLIENT_CONTEXT_BYTES,
    MAX_EVENT_BYTES,
    FunctionInfo,
    FunctionName,
    Invoker,
    function_info,
)
from restrike.aws.session import Aws
from restrike.aws.wire import NotConnected, Reply, refusal
from restrike.errors import AccessDenied, Unreachable, UsageError
from restrike.model.record import Record, event
from restrike.targets import Answer
from restrike.targets.client_context import client_context

MARGIN_S = 20.0
"""How much longer than the function's own time-out is waited: it begins after a cold start, of up to 10 s, and the
answer has a way to go."""
MAX_RETRY_AFTER_S = 300.0
MAX_ERROR_CHARS = 1_000
_OF_THE_MOMENT = frozenset({408, 409, 410})
"""Refusals that pass: a snapshot, a network interface or a file system of the function that is not ready."""


class _FunctionError(msgspec.Struct):
    """What a runtime answers for an invocation that failed; each runtime has more, and some have less."""

    message: str = msgspec.field(default="", name="errorMessage")
    type: str = msgspec.field(default="", name="errorType")


class LambdaTarget:
    """Hands batches to a Lambda function. See `Target` for the contract.

    `lanes` is how many attempts may be under way at once. `timeout_s` bounds an attempt; without it, that is the
    function's own time-out and 20 s. `function` holds what Lambda says about it, once entered.
    """

    max_payload_bytes: int | None = MAX_EVENT_BYTES
    stands_on: Mapping[str, str] = {}

    def __init__(
        self, aws: Aws, name: FunctionName, *, run: str, lanes: int = 32, timeout_s: float | None = None
    ) -> None:
        if name.region not in (None, aws.region):
            raise UsageError(
                f"the function is in {name.region}, and the Region here is {aws.region}",
                f"Give --region {name.region}.",
            )
        if not aws.may_ask("lambda"):
            raise UsageError(
                "the table is on this machine, and lambda: would invoke a function of an AWS account",
                "Set AWS_ENDPOINT_URL_LAMBDA to where the function is, or use handler:MODULE:FUNCTION.",
            )
        self.uri = f"lambda:{name}"
        self.name = name
        self.function: FunctionInfo | None = None
        self._aws = aws
        self._run = run
        self._lanes = lanes
        self._timeout_s = timeout_s
        self._function_ends_s = 0.0
        self._invoker: Invoker | None = None

    async def __aenter__(self) -> Self:
        own_timeout_s = float(LONGEST_SYNCHRONOUS_S)
        try:
            self.function = await function_info(self._aws, self.name)
            own_timeout_s = self.function.longest_s
        except AccessDenied:
            # Who may invoke need not be allowed to look; then only the longest of all is sure to be enough.
            pass
        self._function_ends_s = own_timeout_s + MARGIN_S
        self._invoker = Invoker(
            self._aws,
            self.name,
            connections=self._lanes,
            timeout_s=self._function_ends_s if self._timeout_s is None else self._timeout_s,
        )
        await self._invoker.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._invoker is not None:
            await self._invoker.__aexit__(kind, error, trace)

    @property
    def size_bytes(self) -> int | None:
        """No file is kept."""
        return None

    async def sync(self) -> None:
        """An attempt that was answered is done: nothing is kept here."""

    async def attempt(self, records: list[Record]) -> Answer:
        """One invocation. What became of it is unknown after a 5xx and where no answer came."""
        assert self._invoker is not None, "use it as a context manager"
        told = base64.b64encode(client_context(self._run, records)).decode()
        assert len(told) <= MAX_CLIENT_CONTEXT_BYTES, "a run's name has at most 64 characters"
        body = event(records)
        began_s = time.monotonic()
        try:
            reply = await self._invoker.invoke(body, told)
        except NotConnected as error:
            return Answer(ok=False, error=error.message)
        except Unreachable as error:
            # The function may be at work on this batch still. A second attempt beside it would break the order.
            wait_s = max(0.0, self._function_ends_s - (time.monotonic() - began_s))
            return Answer(ok=False, error=error.message, wait_s=wait_s)
        return self._answer(reply, len(body))

    def _answer(self, reply: Reply, size_bytes: int) -> Answer:
        if reply.status == 200:
            failed = reply.headers.get("X-Amz-Function-Error")
            return Answer(ok=False, error=_what_failed(failed, reply.body)) if failed else Answer(True, reply.body)
        problem = refusal("Invoke", reply)
        if reply.status == 413:
            return Answer(ok=False, error=f"413: {size_bytes:,} bytes are too many for Lambda ({problem.message})")
        if reply.status == 429:
            return Answer(ok=False, error=problem.message, throttled=True, wait_s=_retry_after_s(reply))
        if reply.status >= 500 or reply.status in _OF_THE_MOMENT:
            return Answer(ok=False, error=f"{reply.status}: {problem.message}")
        raise problem


def _retry_after_s(reply: Reply) -> float:
    try:
        return min(MAX_RETRY_AFTER_S, max(0.0, float(reply.headers.get("Retry-After", "0"))))
    except ValueError:
        return 0.0


def _what_failed(kind: str, body: bytes) -> str:
    """The exception as the runtime tells it, without its stack: type and message, or at least `kind`."""
    try:
        told = msgspec.json.decode(body, type=_FunctionError)
    except msgspec.MsgspecError:
        told = _FunctionError()
    said = ": ".join(part for part in (told.type, told.message) if part)
    return (said or kind)[:MAX_ERROR_CHARS]
