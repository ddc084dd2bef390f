"""A question to a service that a plan can do without: asked in a thread, and for no longer than the plan waits."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def in_time(look: Callable[[], T], timeout_s: float) -> T:
    """What `look` finds in a thread of its own; TimeoutError where it is late.

    Such a thread ends with the process, and nobody waits for it.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[T] = loop.create_future()

    def tell(settle: Callable[[], None]) -> None:
        if not found.done():
            settle()

    def looking() -> None:
        try:
            settle = functools.partial(found.set_result, look())
        except Exception as error:
            settle = functools.partial(found.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the plan is made, and its loop closed
            loop.call_soon_threadsafe(tell, settle)

    threading.Thread(target=looking, daemon=True).start()
    return await asyncio.wait_for(found, timeout_s)
