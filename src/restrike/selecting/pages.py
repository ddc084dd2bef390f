"""The pages of a Query or Scan, one after the other, and several strands of them side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

import msgspec

from restrike.aws.wire import Wire

READERS = 8  # strands that are read at the same time


class Paged(Protocol):
    """A page that tells where it ends: the raw LastEvaluatedKey, None at the strand's end."""

    @property
    def last_key(self) -> bytes | None: ...


P = TypeVar("P", bound=Paged)
S = TypeVar("S")


async def pages(
    wire: Wire,
    operation: str,
    request: Mapping[str, Any],
    read: Callable[[bytes, str], P],
    *,
    after: bytes | None = None,
    most: int | None = None,
) -> AsyncGenerator[P, None]:
    """The pages behind that key, to the end or `most` of them. `read` makes a page of an answer's body."""
    asked = 0
    while most is None or asked < most:
        start = {} if after is None else {"ExclusiveStartKey": msgspec.Raw(after)}
        body = await wire.call(operation, msgspec.json.encode({**request, **start}))
        page = read(body, operation)
        del body  # a megabyte, while the page is dealt with
        asked += 1
        after = page.last_key
        yield page
        if after is None:
            return


async def each(strands: Iterator[S], work: Callable[[S], Awaitable[bool]], *, readers: int = READERS) -> None:
    """The work for each strand, `readers` at a time; a reader leaves where its work says False."""

    async def reader() -> None:
        # The strands come from one iterator: each reader takes the next when it is done with its own.
        for strand in strands:
            if not await work(strand):
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(readers):
            group.create_task(reader())
