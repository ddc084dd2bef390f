"""The process that runs a handler: `python -m restrike.targets.handler.worker MODULE FUNCTION FD`.

1. It imports the handler and says `ready`, or why it could not.
2. It takes a request (two frames: an `Order`, the event), calls the handler and sends its response or its failure.
3. It ends when the other end of FD, a socket, closes: at once where a handler is at work.

A frame is its length (4 bytes, big-endian) and its bytes. The handler's prints go to standard error, as the process
is started so.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import json
import os
import queue
import select
import signal
import socket
import struct
import sys
import threading
import time
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

LENGTH = struct.Struct(">I")
READY, RESPONSE, FAILURE, LAST_FAILURE = b"+", b"=", b"!", b"#"
"""The first byte of a frame to the parent. After LAST_FAILURE (`sys.exit`) the process ends."""

MAX_ANSWER_BYTES = 6_291_556
"""What Lambda takes from a function."""
MAX_ERROR_CHARS = 1_000
_END_S = 5.0
_PR_SET_PDEATHSIG = 1


class Order(msgspec.Struct, frozen=True):
    """What comes with an event. `client_context` is the JSON of Lambda's ClientContext."""

    request_id: str
    timeout_s: float
    client_context: bytes


class ClientContext:
    """`context.client_context`, as Lambda's runtime has it: `custom` and `env` are dictionaries."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.custom = told.get("custom")
        self.env = told.get("env")
        self.client = told.get("client")


class Identity:
    """`context.identity`: empty, as for every function that no Cognito identity invokes."""

    cognito_identity_id = None
    cognito_identity_pool_id = None


class Context:
    """The second argument of a handler: the attributes of Lambda's own, with values of this machine.

    `memory_limit_in_mb` is text, as Lambda's runtime has it.
    """

    function_version = "$LATEST"
    memory_limit_in_mb = "128"
    identity = Identity()

    def __init__(self, name: str, order: Order, deadline_s: float, log_stream: str) -> None:
        self.function_name = name
        self.invoked_function_arn = f"arn:aws:lambda:local:000000000000:function:{name}"
        self.log_group_name = f"/aws/lambda/{name}"
        self.log_stream_name = log_stream
        self.aws_request_id = order.request_id
        self.client_context = ClientContext(json.loads(order.client_context))
        self._deadline_s = deadline_s

    def get_remaining_time_in_millis(self) -> int:
        """How long until the attempt is given up and this process killed."""
        return max(0, int((self._deadline_s - time.monotonic()) * 1000))

    def log(self, message: object) -> None:
        sys.stderr.write(str(message))


def main(module: str, function: str, connection: socket.socket, parent: int) -> None:
    """Serves until the other side closes."""
    _die_with(parent)
    _leave_guard(parent)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # what was printed is seen, whatever happens next
    frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    at_work = threading.Event()
    threading.Thread(target=_receive, args=(connection, frames, at_work), daemon=True).start()
    try:
        handler = _find(module, function)
    except BaseException as error:
        _send(connection, FAILURE, _describe(error).encode(errors="replace"))
        return
    _send(connection, READY, b"")
    log_stream = time.strftime("%Y/%m/%d/[$LATEST]") + uuid.uuid4().hex
    while (frame := frames.get()) is not None:
        order, text = msgspec.json.decode(frame, type=Order), frames.get()
        if text is None:
            return
        context = Context(function, order, time.monotonic() + order.timeout_s, log_stream)
        at_work.set()
        tag, answer = _call(handler, text, context)
        at_work.clear()
        _send(connection, tag, answer)
        if tag == LAST_FAILURE:
            return


def _find(module: str, function: str) -> Callable[[Any, Context], object]:
    here = str(Path.cwd())
    if here not in sys.path:  # PYTHONSAFEPATH leaves it out
        sys.path.insert(0, here)
    sys.argv = [module]
    handler = getattr(importlib.import_module(module), function)
    if not callable(handler):
        raise TypeError(f"{function} in {module} cannot be called")
    found: Callable[[Any, Context], object] = handler
    return found


def _call(handler: Callable[[Any, Context], object], text: bytes, context: Context) -> tuple[bytes, bytes]:
    try:
        answer = json.dumps(handler(json.loads(text), context), default=_plain, ensure_ascii=False).encode()
    except Exception as error:
        return FAILURE, _describe(error).encode(errors="replace")
    except BaseException as error:  # SystemExit, and what else means: end the process
        return LAST_FAILURE, _describe(error).encode(errors="replace")
    if len(answer) > MAX_ANSWER_BYTES:
        return FAILURE, f"the response has {len(answer):,} bytes, and Lambda takes {MAX_ANSWER_BYTES:,}".encode()
    return RESPONSE, answer


def _plain(value: object) -> float:
    if isinstance(value, Decimal):  # the one type beyond JSON's that Lambda's runtime takes
        return float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _describe(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be had)"
    return f"{type(error).__name__}: {text}"[:MAX_ERROR_CHARS] if text else type(error).__name__


def _send(connection: socket.socket, tag: bytes, payload: bytes) -> None:
    with contextlib.suppress(OSError):  # the parent is gone: the receiving thread ends this process
        connection.sendall(LENGTH.pack(len(payload) + 1) + tag + payload)


def _receive(connection: socket.socket, frames: queue.SimpleQueue[bytes | None], at_work: threading.Event) -> None:
    """Takes frames until the parent closes, or ends: then this process ends too, with what its handler started."""
    with contextlib.suppress(OSError, EOFError):
        while True:
            (length,) = LENGTH.unpack(_exactly(connection, LENGTH.size))
            frames.put(_exactly(connection, length))
    if not at_work.is_set():
        frames.put(None)
        # What the interpreter does at its end (threads that are waited for, atexit) has a bound too.
        time.sleep(_END_S)
    with contextlib.suppress(OSError):
        os.killpg(os.getpid(), signal.SIGKILL)  # the group that it was started as the leader of
    os._exit(1)


def _exactly(connection: socket.socket, length: int) -> bytes:
    taken = bytearray()
    while len(taken) < length:
        piece = connection.recv(min(1 << 20, length - len(taken)))
        if not piece:
            raise EOFError
        taken += piece
    return bytes(taken)


def _die_with(parent: int) -> None:
    """On Linux the kernel kills this process when its parent ends, even while C code holds the interpreter."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # it ended before the kernel was told


def _leave_guard(parent: int) -> None:
    """Leaves a process in this group that kills the group when the parent ends, on Linux: the kernel kills the worker
    alone, and what its handler started would go on.

    Forked twice: a handler that waits for its children must not wait for this one.
    """
    if not hasattr(os, "pidfd_open"):
        return
    try:
        ended = os.pidfd_open(parent)
    except OSError:
        return  # an old kernel: nothing else is lost
    first = os.fork()
    if first == 0:
        try:
            if os.fork() == 0:
                _guard(ended)
        finally:
            os._exit(0)
    os.waitpid(first, 0)
    os.close(ended)


def _guard(ended: int) -> None:
    """Holds nothing but the word of the parent's end: who reads what the worker writes must see that it ended."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.closerange(3, ended)
    os.closerange(ended + 1, os.sysconf("SC_OPEN_MAX"))
    waiting = select.poll()
    waiting.register(ended, select.POLLIN)
    waiting.poll()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    descriptor = int(sys.argv[3])
    os.set_inheritable(descriptor, False)
    main(sys.argv[1], sys.argv[2], socket.socket(fileno=descriptor), int(sys.argv[4]))
