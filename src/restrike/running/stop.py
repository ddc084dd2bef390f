"""Ending a run early: the wish to stop, which any thread may have, and the event loop that a run is given."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, TypeVar

from restrike.model.report import State

T = TypeVar("T")

Reason = Literal["signal", "cancel", "pause", "deadline", "caller"]
_STATES: dict[Reason, State] = {"cancel": "CANCELLED", "pause": "PAUSED"}


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Runs the coroutine; in a thread of its own where this one has an event loop already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
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
        """SIGINT and SIGTERM set it, and `said` is called; a second one ends the process at once. Only in the main
        thread: elsewhere nothing is done."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)

        def stop() -> None:
            self.set("signal")
            for number in numbers:
                loop.remove_signal_handler(number)
            said()

        for number in numbers:
            loop.add_signal_handler(number, stop)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
