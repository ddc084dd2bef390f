"""A Python handler on this machine, in processes of its own.

1. A batch takes an idle worker, or starts one, at most one a core; the lanes share them.
2. The worker gets the event and answers; an exception of the handler is the answer's error.
3. A worker that hangs, crashes or leaves (`sys.exit`) has failed that batch. It is killed with what it started, and
   the next batch starts another.

Workers end with this process, however that ends: see `restrike.targets.handler.worker`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from restrike.aws.lambda_ import MAX_EVENT_BYTES
from restrike.errors import UsageError
from restrike.model.record import Record, event
from restrike.targets import Answer
from restrike.targets.client_context import client_context
from restrike.targets.handler.finding import no_handler
from restrike.targets.handler.worker import FAILURE, GUARDED, LAST_FAILURE, LENGTH, READY, RESPONSE, Order

DEFAULT_TIMEOUT_S = 60.0
START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 10.0
_WORKER = "restrike.targets.handler.worker"


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Gone(Exception):
    """The worker ended, or does not keep to the protocol."""


class _Worker:
    """One process and the connection to it."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, module: str, function: str, folder: Path) -> Self:
        """Starts a worker in that folder. UsageError where its handler cannot be had."""
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                _WORKER,
                module,
                function,
                str(theirs.fileno()),
                str(os.getpid()),
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=2,  # the handler's prints: our standard output is for data
                pass_fds=(theirs.fileno(),),
                # Ctrl-C is for the run, which lets its batches end; and a worker is killed with what it started.
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise no_handler(module, function, f"{error.strerror}: {folder}") from None
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours)
        worker = cls(process, reader, writer)
        try:
            tag, text = await asyncio.wait_for(worker._receive(), START_TIMEOUT_S)
        except (TimeoutError, _Gone) as error:
            await worker.end(at_once=True)
            what = f"did not come up within {START_TIMEOUT_S:g} s" if isinstance(error, TimeoutError) else str(error)
            raise no_handler(module, function, what) from None
        except BaseException:
            await worker.end(at_once=True)
            raise
        if tag != READY:
            await worker.end(at_once=True)
            raise no_handler(module, function, text.decode())
        return worker

    async def ask(self, order: Order, text: bytes) -> tuple[bytes, bytes]:
        """The tag and payload of the answer. Raises _Gone where the worker ended instead."""
        head = msgspec.json.encode(order)
        self._writer.writelines([LENGTH.pack(len(head)), head, LENGTH.pack(len(text)), text])
        with contextlib.suppress(ConnectionError):  # it ended; what it still said is read below
            await self._writer.drain()
        return await self._receive()

    async def _receive(self) -> tuple[bytes, bytes]:
        # A process that the handler forked may hold the connection open: so the worker's end is watched for as well.
        frame = asyncio.ensure_future(self._frame())
        ended = asyncio.ensure_future(self.process.wait())
        try:
            await asyncio.wait((frame, ended), return_when=asyncio.FIRST_COMPLETED)
            if not frame.done():
                # Its last words may be on the way still.
                await asyncio.wait((frame,), timeout=1)
            if frame.done() and frame.exception() is None:
                return frame.result()
            await asyncio.wait((ended,), timeout=1)
        finally:
            for task in (frame, ended):
                task.cancel()
            await asyncio.gather(frame, ended, return_exceptions=True)
        raise _Gone(_how_it_ended(self.process.returncode))

    async def _frame(self) -> tuple[bytes, bytes]:
        (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
        content = await self._reader.readexactly(length)
        return content[:1], content[1:]

    async def end(self, *, at_once: bool = False) -> None:
        """Ends the process and all that it started: `at_once`, else by closing, which it has 10 s to follow."""
        try:
            self._writer.close()
            if at_once and GUARDED:
                with contextlib.suppress(ProcessLookupError):
                    self.process.terminate()  # the guard ends what the handler started, wherever it went
            if not at_once or GUARDED:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.process.wait(), END_TIMEOUT_S)
            # Its group bears its number, and it may have left members behind when it ended itself. While one of them
            # lives, nobody else gets that number.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            await asyncio.wait_for(self.process.wait(), END_TIMEOUT_S)
        finally:
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(self._writer.wait_closed(), END_TIMEOUT_S)


class HandlerTarget:
    """Hands batches to a Python function, called as Lambda calls it. See `Target` for the contract.

    `timeout_s` bounds one call. `workers` bounds the processes, and is at most the number of cores. The handler is
    imported, from `folder`, when the target is entered; UsageError where it cannot be.
    """

    max_payload_bytes: int | None = MAX_EVENT_BYTES
    stands_on: Mapping[str, str] = {}
    """As of Lambda: the handler is one of its own."""

    def __init__(
        self,
        module: str,
        function: str,
        *,
        run: str,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        workers: int | None = None,
        folder: Path | None = None,
    ) -> None:
        if timeout_s <= 0:
            raise UsageError("the time-out of a handler is more than 0 seconds")
        self.uri = f"handler:{module}:{function}"
        self.workers = max(1, min(workers or cores(), cores()))
        self._module = module
        self._function = function
        self._folder = folder or Path.cwd()
        self._run = run
        self._timeout_s = timeout_s
        self._free = asyncio.Semaphore(self.workers)
        self._idle: list[_Worker] = []

    async def __aenter__(self) -> Self:
        self._idle.append(await _Worker.start(self._module, self._function, self._folder))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        idle, self._idle = self._idle, []
        await asyncio.gather(*[worker.end() for worker in idle])

    @property
    def size_bytes(self) -> int | None:
        """No file is kept."""
        return None

    async def sync(self) -> None:
        """An attempt that was answered is done: nothing is kept here."""

    async def attempt(self, records: list[Record]) -> Answer:
        """One call of the handler. An exception, a time-out and the end of its process are the answer's error."""
        order = Order(
            request_id=str(uuid.uuid4()),
            timeout_s=self._timeout_s,
            client_context=client_context(self._run, records),
        )
        text = event(records)
        async with self._free:
            worker = await self._worker()
            usable = False
            try:
                tag, answer = await asyncio.wait_for(worker.ask(order, text), self._timeout_s)
                usable = tag != LAST_FAILURE
            except TimeoutError:
                return Answer(ok=False, error=f"the handler did not answer within {self._timeout_s:g} s; it was killed")
            except _Gone as error:
                return Answer(ok=False, error=f"the handler's process {error}")
            finally:
                if usable:
                    self._idle.append(worker)
                else:
                    await worker.end(at_once=True)
        if tag == RESPONSE:
            return Answer(ok=True, response=answer)
        assert tag in (FAILURE, LAST_FAILURE)
        return Answer(ok=False, error=answer.decode())

    async def _worker(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.process.returncode is None:
                return worker
            # It ended with nothing to do (memory ran out, a thread of the handler's): no batch's failure.
            await worker.end(at_once=True)
        return await _Worker.start(self._module, self._function, self._folder)


def _how_it_ended(returncode: int | None) -> str:
    if returncode is None:
        return "closed its connection"
    if returncode < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-returncode).name}"
    return f"ended with exit code {returncode}"
