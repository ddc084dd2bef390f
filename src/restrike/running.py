"""What every run needs: a name, an event loop of its own, and the wish to stop."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import signal
import string
import threading
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

T = TypeVar("T")


def default_name(verb: str, what: str) -> str:
    """`VERB-WHAT-UTCTIME-xxxx`: the last four are random, so that two people at one second differ."""
    stem = re.sub(r"[^.A-Za-z0-9_-]", "-", what.rpartition("/")[2])[:35]
    tail = "".join(random.choices(string.ascii_lowercase + string.digits, k=4))  # noqa: S311 - no secret
    return f"{verb}-{stem}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{tail}"


def flag_words(values: object, defaults: object, flags: Mapping[str, str]) -> list[str]:
    """The flags (field → flag) of all fields whose value is not the default, as words of a command line."""
    words: list[str] = []
    for field, flag in flags.items():
        value = getattr(values, field)
        if value == getattr(defaults, field):
            continue
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            words += [flag, f"{value:.15g}" if isinstance(value, float) else str(value)]
    return words


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Runs the coroutine; in a thread of its own where this one has an event loop already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


class Stop:
    """Set once, never unset: work in flight is finished, nothing new is begun."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM stop; a second one ends the process at once. Only in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)

        def stop() -> None:
            self.set()
            for number in numbers:
                loop.remove_signal_handler(number)

        for number in numbers:
            loop.add_signal_handler(number, stop)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
