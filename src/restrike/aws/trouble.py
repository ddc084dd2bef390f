"""What is wrong between us and a service, told while it lasts, by the logger `restrike`.

Retries are ours and go on for minutes; whoever waits for them is told the cause within seconds. A request that was
answered is told at level DEBUG, a service that gives no good answer at level WARNING; `fields` of a log record says the
same as data. Neither ever holds what was sent or answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

log = logging.getLogger("restrike.aws")
logging.getLogger("restrike").addHandler(logging.NullHandler())  # silent in somebody else's program, unless it listens

FIRST_S = 4.0
"""So long may a service refuse, or be silent, without a word."""
AGAIN_S = 10.0
SILENT_S = {"lambda": 60.0}
"""Where silence is ordinary for longer: a function may work for minutes."""
_TICK_S = 1.0
_STALE_S = 15.0  # longer than the longest pause between two tries: nobody tries any more
_NAMES = {"dynamodb": "DynamoDB", "dynamodbstreams": "DynamoDB Streams", "lambda": "Lambda", "s3": "S3"}


def name_of(service: str) -> str:
    return _NAMES.get(service, service)


class Trouble:
    """How long one service, asked by many at once, has given no good answer; tells it now and then."""

    def __init__(self, service: str, url: str) -> None:
        self._service = name_of(service)
        self._url = url
        self._silent_s = SILENT_S.get(service, FIRST_S)
        self._under_way = 0
        self._good_at = time.monotonic()
        self._bad_at = 0.0
        self._attempts = 0
        self._cause = ""
        self._operation = ""
        self._told_at = float("-inf")

    def begins(self, operation: str) -> None:
        if not self._under_way and not self._attempts:
            self._good_at = time.monotonic()
        self._under_way += 1
        self._operation = operation

    def ends(self) -> None:
        self._under_way -= 1

    def good(self) -> None:
        """An answer, be it a refusal of what was asked."""
        self._good_at = time.monotonic()
        self._attempts = 0

    def bad(self, cause: str) -> None:
        """One try that came to nothing and will be made again: `cause` goes on behind the service's name."""
        self._attempts += 1
        self._bad_at = time.monotonic()
        self._cause = cause

    def look(self, now: float) -> None:
        """Tells it where it is time to."""
        since_s = now - self._good_at
        if now - self._told_at < AGAIN_S:
            return
        if self._attempts and since_s >= FIRST_S and (self._under_way or now - self._bad_at < _STALE_S):
            self._told_at = now
            _tell(self._service, self._operation, self._cause, since_s, self._attempts + 1)
        elif not self._attempts and self._under_way and since_s >= self._silent_s:
            self._told_at = now
            _tell(self._service, self._operation, f"has not answered {self._operation} at {self._url}", since_s, 1)

    async def watch(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(_TICK_S)
            self.look(time.monotonic())


def _tell(service: str, operation: str, cause: str, since_s: float, attempt: int) -> None:
    tries = f", attempt {attempt}" if attempt > 1 else ""
    log.warning(
        f"{service} {cause} since {since_s:.0f} s{tries}",
        extra={
            "fields": {
                "event": "waiting",
                "service": service,
                "operation": operation,
                "cause": cause,
                "since_s": round(since_s, 1),
                "attempt": attempt,
            }
        },
    )


def log_request(service: str, operation: str, result: int | str, took_s: float, size_bytes: int | None = None) -> None:
    """One request that is over: its status, or why it has none."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    service, took_ms = name_of(service), round(took_s * 1000, 1)
    fields = {"event": "request", "service": service, "operation": operation, "result": result, "ms": took_ms}
    log.debug(
        f"{service} {operation}: {result} in {took_ms:g} ms",
        extra={"fields": fields if size_bytes is None else fields | {"bytes": size_bytes}},
    )


# ── calls through botocore, which retries by itself ──────────────────────────────────────────────────────


class _Call:
    cause = ""
    attempt = 1
    status: int | None = None


_current = threading.local()


@contextlib.contextmanager
def told_if_silent(service: str, operation: str, url: str) -> Iterator[None]:
    """Meanwhile one call through botocore is made in this thread; another tells where it takes long."""
    call = _current.call = _Call()
    began, over = time.monotonic(), threading.Event()

    def tell() -> None:
        wait_s = FIRST_S
        while not over.wait(wait_s):
            cause = call.cause or f"has not answered {operation} at {url}"
            _tell(service, operation, cause, time.monotonic() - began, call.attempt)
            wait_s = AGAIN_S

    threading.Thread(target=tell, daemon=True).start()
    try:
        yield
        log_request(service, operation, call.status or 200, time.monotonic() - began)
    except BaseException as error:
        log_request(service, operation, call.status or type(error).__name__, time.monotonic() - began)
        raise
    finally:
        over.set()
        _current.call = None


def note_try(response: Any = None, attempts: int = 1, caught_exception: Any = None, **_: Any) -> None:
    """botocore's event `needs-retry`: what one of its tries came to."""
    call = getattr(_current, "call", None)
    if call is None:
        return
    call.attempt = attempts + 1
    if caught_exception is not None:
        call.cause, call.status = f"gives no answer ({type(caught_exception).__name__})", None
    elif response is not None:
        status = int(response[0].status_code)
        call.cause, call.status = f"answers {status}" if status >= 400 else "", status
