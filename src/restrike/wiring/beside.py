"""A question to a service that one can do without: asked in a thread, for no longer than one waits, and what it did
not tell is said."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable
from typing import TypeVar

from restrike.errors import AccessDenied, RestrikeError
from restrike.model.diagnosis import Unseen

T = TypeVar("T")

NOT_ASKED = "not asked: DynamoDB is at "
"""Why nothing is known where a table of this machine must not lead to a question elsewhere; its endpoint follows."""


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


def missed(what: str, permission: str, error: RestrikeError) -> Unseen:
    """That it could not be seen; where access was denied, with the permission that it takes."""
    if isinstance(error, AccessDenied):
        return Unseen(what, "access denied", permission)
    return Unseen(what, error.message)


def sentence(unseen: Unseen) -> str:
    """The same in a sentence, without its full stop."""
    permission = f" ({unseen.permission})" if unseen.permission else ""
    return f"Could not look for {unseen.what}: {unseen.why}{permission}"
