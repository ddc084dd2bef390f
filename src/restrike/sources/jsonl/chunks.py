"""A file's bytes in chunks: plain, packed, or from standard input, read in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import zlib
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from restrike.errors import RestrikeError
from restrike.sources.jsonl.splitter import Splitter


class Input(Protocol):
    def read1(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


_PACKED_BYTES = 16 << 10  # read at once; unpacked they are a few hundred kilobytes


class Both:
    """A stream that unpacks, and the file under it, closed together."""

    def __init__(self, unpacking: Any, under: Any) -> None:
        self._unpacking = unpacking
        self._under = under

    def read1(self, size: int, /) -> bytes:
        chunk: bytes = self._unpacking.read1(size)
        return chunk

    def close(self) -> None:
        self._unpacking.close()
        self._under.close()


class Frames:
    """A file of Zstandard frames. One that was cut off inside a frame is an error, also where a value ends there:
    the library's own reader takes that for the end."""

    def __init__(self, decompressor: Any, under: Any) -> None:
        self._decompressor = decompressor
        self._under = under
        self._frame: Any = None
        self._packed = b""

    def read1(self, size: int, /) -> bytes:
        while True:
            if not self._packed:
                self._packed = self._under.read(_PACKED_BYTES)
            if not self._packed:
                if self._frame is not None:
                    raise EOFError("it ends within a Zstandard frame: it was cut off")
                return b""
            if self._frame is None:
                self._frame = self._decompressor.decompressobj()
            chunk: bytes = self._frame.decompress(self._packed)
            self._packed = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = None
            if chunk:
                return chunk

    def close(self) -> None:
        self._under.close()


class Unbuffered:
    """Standard input by its descriptor: Python's own reader holds a lock that a waiting thread would keep at exit."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read1(self, size: int, /) -> bytes:
        return os.read(self._descriptor, size)

    def close(self) -> None:
        """It is not ours."""


class Chunks:
    """Opens and reads a file in a thread, a chunk when it is asked for one.

    Not asyncio's executor: that waits at exit for its threads, and a pipe that stays silent would hold up Ctrl-C.
    """

    def __init__(self, opened: Callable[[], Input], splitter: Splitter) -> None:
        self._opened = opened
        self._splitter = splitter
        self._lock = threading.Lock()
        self._input: Input | None = None
        self._reading = False
        self._left = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._left = True
            if not self._reading:
                self._close()  # otherwise the thread does, when its read returns

    def _close(self) -> None:
        if self._input is not None:
            self._input.close()
            self._input = None

    def _read(self, size: int) -> bytes | Exception:
        answer: bytes | Exception
        try:
            if self._input is None:
                self._input = self._opened()
            answer = self._input.read1(size)
        except Exception as error:
            answer = error
        with self._lock:
            self._reading = False
            if self._left:
                self._close()
        return answer

    async def next(self, size: int) -> bytes:
        """Up to that many bytes, as soon as there are any; empty at the end."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes | Exception] = loop.create_future()

        def settle(answer: bytes | Exception) -> None:
            if not future.done():
                future.set_result(answer)

        def work() -> None:
            answer = self._read(size)
            with contextlib.suppress(RuntimeError):  # the loop is gone, and with it whoever asked
                loop.call_soon_threadsafe(settle, answer)

        self._reading = True
        threading.Thread(target=work, name="restrike-jsonl", daemon=True).start()
        answer = await future
        if isinstance(answer, bytes):
            return answer
        raise self._unreadable(answer)

    def _unreadable(self, error: Exception) -> Exception:
        if isinstance(error, RestrikeError):
            return error
        if isinstance(error, OSError | EOFError | zlib.error) or type(error).__name__ == "ZstdError":
            return self._splitter.bad(f"cannot be read: {error}")
        return error
