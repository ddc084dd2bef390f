"""What a thread reads, a few pieces ahead of whoever takes them."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")
LEAVE_S = 10.0


class Ahead(Generic[T]):
    """One reader in a thread of its own, at most `most` pieces ahead. `arrived` is set, in the loop that made it,
    whenever there is something to take; several may share one."""

    def __init__(self, pieces: Iterator[T], most: int, arrived: asyncio.Event, name: str) -> None:
        self._pieces = pieces
        self._loop = asyncio.get_running_loop()
        self._arrived = arrived
        self._found: deque[T | BaseException | None] = deque()
        self._room = threading.Semaphore(most)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether `take` has something to give."""
        return bool(self._found)

    def take(self) -> T | None:
        """The next piece, or None behind the last; raises what the reader has failed with."""
        found = self._found.popleft()
        if isinstance(found, BaseException):
            raise found
        self._room.release()
        return found

    def leave(self) -> None:
        """Nothing more is wanted: the thread ends behind what it is reading."""
        self._left.set()
        self._room.release()

    def join(self) -> None:
        self._thread.join(LEAVE_S)

    def _work(self) -> None:
        last: BaseException | None = None
        try:
            for piece in self._pieces:
                self._room.acquire()
                if self._left.is_set():
                    return
                self._loop.call_soon_threadsafe(self._put, piece)
        except BaseException as error:
            last = error
        if not self._left.is_set():
            self._loop.call_soon_threadsafe(self._put, last)

    def _put(self, found: T | BaseException | None) -> None:
        self._found.append(found)
        self._arrived.set()


async def gone(readers: Sequence[Ahead[Any]]) -> None:
    """Returns when none of them reads any more."""
    for each in readers:
        each.leave()
    for each in readers:
        await asyncio.to_thread(each.join)


async def ahead(pieces: Iterator[T], most: int, name: str) -> AsyncGenerator[T, None]:
    """The pieces of a reader that works in a thread."""
    arrived = asyncio.Event()
    reader = Ahead(pieces, most, arrived, name)
    try:
        while True:
            while not reader.ready:
                arrived.clear()
                await arrived.wait()
            piece = reader.take()
            if piece is None:
                return
            yield piece
    finally:
        await gone([reader])
