"""The process that runs a handler: `python -P -m restrike.targets.handler.worker MODULE FUNCTION FD PARENT`.

1. It imports the handler and says `ready`, or why it could not.
2. It takes a request (two frames: an `Order`, the event), calls the handler and sends its response or its failure.
3. It ends when the other end of FD, a socket, closes: at once where a handler is at work.

On Linux the handler runs in a child, and the process that was started guards it: see `_guarded`.

A frame is its length (4 bytes, big-endian) and its bytes. The handler's prints go to standard error, as the process
is started so. Files of the project may bear the names of Python's own modules (`queue.py`): so the project's folder
comes into the path only for the handler, when all that this module needs is imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import json
import os
import queue
import resource
import signal
import socket
import struct
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import msgspec

LENGTH = struct.Struct(">I")
READY, RESPONSE, FAILURE, LAST_FAILURE = b"+", b"=", b"!", b"#"
"""The first byte of a frame to the parent. After LAST_FAILURE (`sys.exit`) the process ends."""

GUARDED = sys.platform == "linux"
"""Whether the process that is started is the guard of the one that runs the handler."""
MAX_ANSWER_BYTES = 6_291_556
"""What Lambda takes from a function."""
MAX_ERROR_CHARS = 1_000
_END_S = 5.0
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_HEEDED = frozenset({signal.SIGCHLD, signal.SIGTERM})


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
    if GUARDED:
        _guarded(parent)
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
    if here not in sys.path:
        sys.path.insert(0, here)
    sys.argv = [module]
    outermost = module.partition(".")[0]
    loaded = sys.modules.get(outermost)
    if loaded is not None and PathFinder.find_spec(outermost, [here]) is not None:
        del sys.modules[outermost]  # Python's own, under the name of the project's
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
    if GUARDED:
        os.kill(os.getpid(), signal.SIGKILL)  # the guard ends what the handler started
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


def _guarded(parent: int) -> None:
    """Goes on in a child. This process stays behind as its guard, who ends the child and all that its handler started
    when the parent ends, or when the child does.

    It is the parent of them all: the kernel hands it whatever lost its own, also what left the group and the session
    (`start_new_session`, a daemon). A handler that waits for its children does not wait for it.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _told_of_the_end_of(parent, signal.SIGTERM)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEEDED)
    guard = os.getpid()
    worker = os.fork()
    if worker == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _told_of_the_end_of(guard, signal.SIGKILL)
        return
    try:
        _guard(worker)
    finally:
        os._exit(1)


def _guard(worker: int) -> None:
    """Waits for the worker's end or a SIGTERM, kills every descendant, and ends as the worker did."""
    _hold_nothing()
    how = None
    while how is None and signal.sigwait(_HEEDED) == signal.SIGCHLD:
        how = dict(_reap(os.WNOHANG)).get(worker)
    _kill_children()
    for child, status in _reap(0):
        how = status if child == worker else how
        _kill_children()  # whoever was killed has handed its own to this process
    code = 1 if how is None else os.waitstatus_to_exitcode(how)
    if code >= 0:
        os._exit(code)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core, where one is wanted, was the worker's
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEEDED)
    with contextlib.suppress(OSError):
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)


def _reap(options: int) -> Iterator[tuple[int, int]]:
    """Children as they end, each with its status, until there are none; with WNOHANG those that have ended."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, options))[0]:
            yield ended


def _kill_children() -> None:
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            # The name, in brackets, may hold anything; behind it are the state and the parent.
            with contextlib.suppress(OSError):
                if int((process / "stat").read_bytes().rpartition(b")")[2].split()[1]) == os.getpid():
                    os.kill(int(process.name), signal.SIGKILL)


def _hold_nothing() -> None:
    """Lets go of all files: who reads what the worker writes must see that it ended."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))


def _told_of_the_end_of(parent: int, sign: int) -> None:
    """From now on the kernel sends that signal when the parent ends, even while C code holds the interpreter."""
    _prctl(_PR_SET_PDEATHSIG, sign)
    if os.getppid() != parent:
        os._exit(1)  # it ended before the kernel was told


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    descriptor = int(sys.argv[3])
    os.set_inheritable(descriptor, False)
    main(sys.argv[1], sys.argv[2], socket.socket(fileno=descriptor), int(sys.argv[4]))
