"""Several works side by side, of which none is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any


async def together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Returns when all are done. Where one fails, or this is cancelled, the others are cancelled and awaited."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        for task in tasks:
            await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
