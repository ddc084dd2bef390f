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


_BLOCK_BYTES = 128 << 10  # unpacked, at most
_MAGIC, _SKIPPED = b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"
_SKIPPED_BYTES = 1 << 20
_ONE_BYTE_REPEATED = 1


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
    """A file of Zstandard frames, unpacked a few blocks at a time.

    A block of four bytes may unpack to 128 KB, so that bytes of the file are no measure of what they become; blocks
    are. One that was cut off inside a frame is an error, also where a value ends there: the library's own reader takes
    that for the end. (RFC 8878, sections 3.1.1 and 3.1.2.)
    """

    def __init__(self, decompressor: Any, under: Any) -> None:
        self._decompressor = decompressor
        self._under = under
        self._frame: Any = None
        self._checksum_bytes = 0

    def read1(self, size: int, /) -> bytes:
        # As many as was asked for: a long value is scanned anew with each chunk.
        while packed := self._blocks(max(1, size // _BLOCK_BYTES)):
            chunk: bytes = self._frame.decompress(packed)
            if chunk:
                return chunk
        return b""

    def close(self) -> None:
        self._under.close()

    def _blocks(self, most: int) -> bytes:
        """The next blocks of a frame, at most so many, with the head and the checksum that it has; empty at the end."""
        parts: list[bytes] = []
        if self._frame is None or self._checksum_bytes < 0:
            head = self._head()
            if not head:
                return b""
            parts.append(head)
            self._frame = self._decompressor.decompressobj()
        for _ in range(most):
            told = self._exactly(3)
            block = int.from_bytes(told, "little")
            kind, length = block >> 1 & 3, block >> 3
            parts += [told, self._exactly(1 if kind == _ONE_BYTE_REPEATED else length)]
            if block & 1:  # the last of the frame
                parts.append(self._exactly(self._checksum_bytes))
                self._checksum_bytes = -1
                break
        return b"".join(parts)

    def _head(self) -> bytes:
        """The head of the next frame; frames of others, which are to be skipped, are skipped."""
        while magic := self._under.read(4):
            if magic == _MAGIC:
                told = self._exactly(1)
                flags = told[0]
                alone = flags >> 5 & 1
                rest = (1 - alone) + (0, 1, 2, 4)[flags & 3] + (alone, 2, 4, 8)[flags >> 6]
                self._checksum_bytes = 4 * (flags >> 2 & 1)
                return _MAGIC + told + self._exactly(rest)
            if magic[1:] != _SKIPPED[1:] or magic[0] >> 4 != _SKIPPED[0] >> 4:
                raise OSError("no Zstandard frame begins where one should")
            left = int.from_bytes(self._exactly(4), "little")
            while left:
                left -= len(self._exactly(min(left, _SKIPPED_BYTES)))
        return b""

    def _exactly(self, size: int) -> bytes:
        found: bytes = self._under.read(size)
        if len(found) < size:
            raise EOFError("it ends within a Zstandard frame: it was cut off")
        return found


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
