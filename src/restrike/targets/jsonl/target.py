"""A file or standard output as a target: one record a line, or one whole event a line.

A file is at every moment whole lines, but for what a crash may leave at its end, which is cut off when the run is
resumed. So whoever reads it may do so while it grows.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import msgspec

from restrike.errors import DeliveryFailed, RestrikeError, UsageError
from restrike.model.record import Record, event
from restrike.targets import END, STANDARD_OUTPUT, Answer, TargetInfo
from restrike.targets.jsonl.written import Written

_CHUNK_BYTES = 1 << 16
_LONGEST_NAP_S = 0.05
_COMPRESSED = (".gz", ".zst")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class JsonlTarget:
    """Writes records to a file or to standard output (`-`). See `Target` for the contract.

    `events`: each line is the Lambda event of a batch, else each is a record. `resume`: what an earlier process of
    the same run wrote is kept, and written on behind its last whole line; a file that is there and not empty is
    refused otherwise. So is one that does not begin with what that process had written, by its size, its first and its
    last bytes, or that has more than that where it had ended in order.

    Raises BrokenPipeError where the reader of standard output went away: the command ends quietly then.
    """

    max_payload_bytes: int | None = None

    def __init__(
        self,
        path: str,
        *,
        events: bool = False,
        resume: bool = False,
        uri: str = "",
        stood_on: Mapping[str, str] | None = None,
    ) -> None:
        import asyncio

        if path.endswith(_COMPRESSED):
            raise UsageError(
                f"{path} would not be compressed: a target is written as plain lines, so that it can be continued",
                "Write it without the extension, and compress it afterwards.",
            )
        self.path = path
        self.uri = uri or (path if path == STANDARD_OUTPUT else f"jsonl:{path}")
        self._events = events
        self._resume = resume
        self.stands_on: Mapping[str, str] = stood_on or {}
        self._end = self.stands_on.get(END, "")
        self._stood = Written.of(self.stands_on)
        self._file = -1
        self._regular = False
        # A reader may be slower than several lanes, and a line must not come between the halves of another.
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        import asyncio

        if self.path == STANDARD_OUTPUT:
            sys.stdout.flush()
            self._file = os.dup(1)
            self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)
        else:
            await asyncio.to_thread(self._open)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file < 0:
            return
        try:
            # What went wrong already is what the user must hear of.
            with contextlib.suppress(*((RestrikeError,) if error is not None else ())):
                await self.sync()
        finally:
            os.close(self._file)
            self._file = -1

    def look(self) -> TargetInfo:
        """What can be told without opening the file to write. Raises as entering would, as far as it can be known."""
        if self.path == STANDARD_OUTPUT:
            return TargetInfo()
        path = Path(self.path)
        try:
            found = path.stat() if path.exists() else None
            if found is None:
                _check_may(path.absolute().parent, os.W_OK | os.X_OK)
            elif stat.S_ISDIR(found.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            else:
                _check_may(path, os.W_OK)
            if found is None or not stat.S_ISREG(found.st_mode) or not found.st_size:
                self._check_there(found)
                return TargetInfo()
            if not self._resume:
                raise self._not_empty()
            with path.open("rb") as file:
                whole = _end_of_last_line(file.fileno(), found.st_size)
                self._check_same(file.fileno(), found.st_size, whole)
                half_bytes = found.st_size - whole
        except OSError as error:
            raise self._unwritable(error) from None
        if not half_bytes:
            return TargetInfo()
        message = f"{self.path} ends in half a line of {half_bytes:,} bytes, which is cut off when the run goes on."
        return TargetInfo(warnings=(("half-a-line", message),))

    @property
    def size_bytes(self) -> int | None:
        """The size of the file; None for a pipe and for standard output, which may be anything."""
        return os.fstat(self._file).st_size if self._regular and self.path != STANDARD_OUTPUT else None

    async def attempt(self, records: list[Record]) -> Answer:
        """Writes the batch, into a file with a single write. Raises RestrikeError where the disk takes no more."""
        text = self._lines(records)
        if self._regular:
            # Into the page cache: faster than a thread would be.
            self._write_file(text)
        else:
            async with self._turn:
                await self._write_stream(text)
        return Answer(ok=True)

    async def sync(self) -> None:
        """Returns when all that was written is on the disk."""
        import asyncio

        if self._regular:
            try:
                await asyncio.to_thread(os.fsync, self._file)
                if self.path != STANDARD_OUTPUT and self._stood != (now := Written.now(self._file)):
                    self._stood, self.stands_on = now, now.as_parts()
            except OSError as error:
                raise self._refusal(error) from None

    def _lines(self, records: list[Record]) -> bytes:
        if self._events:
            return _one_line(event(records)) + b"\n"
        # The empty one ends the last line.
        return b"\n".join([*[_one_line(record.raw) for record in records], b""])

    def _open(self) -> None:
        try:
            there = Path(self.path).exists()
            if not there:
                self._check_there(None)  # before it is made
            kept = not there or Path(self.path).is_file()
            # A pipe is opened to write only, and without waiting: one that nobody reads is refused.
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT if kept else os.O_WRONLY | os.O_NONBLOCK
            self._file = os.open(self.path, flags | os.O_CLOEXEC, 0o600)  # whole images: nobody else's business
            self._regular = stat.S_ISREG(os.fstat(self._file).st_mode)
            if self._regular:
                self._take_over()
        except OSError as error:
            self._close()
            raise self._unwritable(error) from None
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _take_over(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{self.path} is being written by another run", "Wait for it, or name another file."
            ) from None
        except OSError:
            pass  # a file system without locks: one run more or less careful, but none that cannot run
        size = os.fstat(self._file).st_size
        if size and not self._resume:
            raise self._not_empty()
        whole = _end_of_last_line(self._file, size)
        self._check_same(self._file, size, whole)
        if whole < size:
            os.ftruncate(self._file, whole)
        # That the file exists must last as well as what is in it; not every file system can be asked.
        folder = os.open(Path(self.path).absolute().parent, os.O_RDONLY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            os.fsync(folder)
        os.close(folder)

    def _check_there(self, found: os.stat_result | None) -> None:
        if self._stood is not None and self._stood.size_bytes and (found is None or stat.S_ISREG(found.st_mode)):
            self._refuse("is gone" if found is None else "is empty")

    def _check_same(self, file: int, size: int, whole: int) -> None:
        """Raises where the file does not begin with what the run had written, or goes on with lines that it had not."""
        if self._stood is not None and not self._stood.is_of(file, size):
            lost = size < self._stood.size_bytes
            self._refuse(f"has {size:,} bytes" if lost else "is another file, or was written over")
        if self._end and whole > int(self._end):
            extra = f"{whole - int(self._end):,} bytes behind what the run had written"
            raise DeliveryFailed(
                f"{self.path} has {extra}: somebody else wrote to it",
                "Take them away to go on, or replay again into another file, under another --run.",
            )

    def _refuse(self, how: str) -> NoReturn:
        assert self._stood is not None
        raise DeliveryFailed(
            f"{self.path} {how}, and the run had written {self._stood.size_bytes:,} bytes: some of it is lost",
            "Was there a power cut, or was it edited? Put it back, or replay into another file, under another --run.",
        )

    def _write_file(self, text: bytes) -> None:
        before = os.fstat(self._file).st_size
        try:
            _write_all(self._file, text)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, before)
            raise self._refusal(error) from None

    async def _write_stream(self, text: bytes) -> None:
        """In pieces that a pipe takes without blocking, so that a reader that has stopped cannot stop our Ctrl-C."""
        import asyncio

        poll = select.poll()
        poll.register(self._file, select.POLLOUT)
        rest, nap_s = memoryview(text), 0.001
        try:
            while rest:
                if poll.poll(0):
                    rest, nap_s = rest[os.write(self._file, rest[: select.PIPE_BUF]) :], 0.001
                else:
                    await asyncio.sleep(nap_s)
                    nap_s = min(nap_s * 2, _LONGEST_NAP_S)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._refusal(error) from None

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(f"{self.path} cannot be written: {error.strerror}", "Name another file, or make its folder.")

    def _not_empty(self) -> UsageError:
        return UsageError(
            f"{self.path} is there already and not empty: it is not written over",
            "Name another file, remove that one, or resume the run that wrote it.",
        )

    def _refusal(self, error: OSError) -> RestrikeError:
        hint = "Make room on its disk" if error.errno in _FULL else "Look at its disk"
        what = "standard output" if self.path == STANDARD_OUTPUT else self.path
        return RestrikeError(f"{what} cannot be written: {error.strerror}", f"{hint}, then resume the run.")


def _check_may(path: Path, mode: int) -> None:
    if not os.access(path, mode):
        path.stat()  # tells where it is not there
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    if mode & os.X_OK and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def _write_all(file: int, text: bytes) -> None:
    """One write; more only where the system took a part, which it does when the disk is full."""
    written = os.write(file, text)
    while written < len(text):
        written += os.write(file, memoryview(text)[written:])


def _one_line(text: bytes) -> bytes:
    """JSON without line breaks. Inside a string there are none, so only what was laid out for people is rewritten."""
    return msgspec.json.format(text, indent=-1) if b"\n" in text or b"\r" in text else text


def _end_of_last_line(file: int, size: int) -> int:
    """The position behind the last line break of the file; 0 where it has none."""
    end = size
    while end:
        start = max(0, end - _CHUNK_BYTES)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
