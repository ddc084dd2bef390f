"""Ending a run early: the wish to stop, which any thread may have, and the event loop that a run is given."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar

from restrike.model.report import State

T = TypeVar("T")

Reason = Literal["signal", "cancel", "pause", "deadline", "caller"]
SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME_S = 1.0
"""Signals that are closer together are one wish."""
EXIT_CODE = 130
_STATES: dict[Reason, State] = {"cancel": "CANCELLED", "pause": "PAUSED"}


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Runs the coroutine; in a thread of its own where this one has an event loop already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with contextlib.closing(work):  # where no event loop can be made it is never begun
            return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


class Stop:
    """Set once, from any thread, and never unset: work in flight is finished, nothing new is begun.

    It is no event of asyncio's, which another thread does not wake: a host without signals (a server, a notebook, a
    Lambda function) makes one, hands it to `execute`, and sets it from wherever it is.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: Reason | None = None
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._followers: list[Stop] = []

    def set(self, reason: Reason = "caller") -> None:
        """The first reason stays."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            waiting, followers = list(self._waiting), list(self._followers)
        for follower in followers:
            follower.set(reason)
        for loop, event in waiting:
            with contextlib.suppress(RuntimeError):  # that loop has ended
                loop.call_soon_threadsafe(event.set)

    def is_set(self) -> bool:
        return self._reason is not None

    @property
    def reason(self) -> Reason | None:
        return self._reason

    @property
    def state(self) -> State:
        """The state of a run that ends by it."""
        return _STATES.get(self._reason, "INTERRUPTED") if self._reason is not None else "INTERRUPTED"

    @contextlib.contextmanager
    def followed_by(self, other: Stop) -> Iterator[None]:
        """Meanwhile the other is set when this one is; not the other way round."""
        with self._lock:
            self._followers.append(other)
        if self._reason is not None:
            other.set(self._reason)
        try:
            yield
        finally:
            with self._lock:
                self._followers.remove(other)

    async def wait(self) -> None:
        """Returns when it is set."""
        event = asyncio.Event()
        entry = (asyncio.get_running_loop(), event)
        with self._lock:
            if self._reason is not None:
                return
            self._waiting.add(entry)
        try:
            await event.wait()
        finally:
            with self._lock:
                self._waiting.discard(entry)

    async def sleep(self, seconds: float) -> bool:
        """Sleeps, but not on when it is set; whether it is."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wait(), seconds)
        return self.is_set()

    @contextlib.contextmanager
    def on_signals(self, said: Callable[[], None] = lambda: None) -> Iterator[None]:
        """SIGINT and SIGTERM set it, and `said` is called. One that comes SAME_S later or more ends the process with
        code 130, at once and without any cleanup, as safe as kill -9 is; an earlier one is the same wish once more
        (a key that bounces, a terminal that signals a whole group, a wrapper that passes it on).

        Only in the main thread: elsewhere nothing is done.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in SIGNALS}
        first_at: float | None = None

        def stop() -> None:
            nonlocal first_at
            first_at = time.monotonic()
            for number in SIGNALS:
                loop.remove_signal_handler(number)
                # Not the loop's: the second must be heard where the loop is not.
                signal.signal(number, again)
            self.set("signal")
            said()

        def again(*_: object) -> None:
            if first_at is not None and time.monotonic() - first_at >= SAME_S:
                os._exit(EXIT_CODE)

        for number in SIGNALS:
            loop.add_signal_handler(number, stop)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)
                signal.signal(number, before[number] or signal.SIG_DFL)
