"""A `restrike` process without the half second that its imports take: forked from one that has made them already
(`tests.acceptance.preloaded`).

It has arguments, environment, folder, standard streams and a process of its own, as any other; only what Python reads
before a program begins (PYTHON…, the interpreter's flags) is that of the tests.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import multiprocessing.connection
import multiprocessing.forkserver
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Before = Sequence[tuple[Any, ...]]

_FORKS = multiprocessing.get_context("forkserver")
_MADE_BEFORE = "tests.acceptance.preloaded"
_FORKS.set_forkserver_preload([__name__, _MADE_BEFORE])
_ROOT = Path(__file__).parents[2]
KILLED_S = 600.0
_ONE_AT_A_TIME = threading.RLock()
"""Two threads that look for the end of one process would each read the one exit code, and a start looks for all."""


@functools.cache
def _serve() -> None:
    """Starts the server of this process, which would go without what it cannot import, and say nothing."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(_ROOT)
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


class Command:
    """A `restrike` that was started; `with` it, and it does not outlive the block."""

    def __init__(self, words: Sequence[str], stdin: bytes, environment: Mapping[str, str], before: Before) -> None:
        self.words = words
        self._folder = tempfile.TemporaryDirectory()
        self._streams = [str(Path(self._folder.name) / name) for name in ("stdin", "stdout", "stderr")]
        Path(self._streams[0]).write_bytes(stdin)
        given = (list(words), dict(environment), str(Path.cwd()), self._streams, before)
        with _ONE_AT_A_TIME:
            self._process = _FORKS.Process(target=_become, args=given)
            _serve()
            self._process.start()

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._folder.cleanup()

    @property
    def _exit_code(self) -> int | None:
        with _ONE_AT_A_TIME:
            return self._process.exitcode

    @property
    def ended(self) -> bool:
        return self._exit_code is not None

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def send(self, number: int) -> None:
        """Sends it that signal; nothing where it has ended."""
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9; nothing where it has ended."""
        self.send(signal.SIGKILL)
        self.wait(KILLED_S)

    def wait(self, timeout_s: float) -> int:
        """Its exit code, negative where a signal ended it."""
        multiprocessing.connection.wait([self._process.sentinel], timeout_s)
        code = self._exit_code
        if code is None:
            raise TimeoutError(f"restrike {' '.join(self.words)} did not end within {timeout_s:g} s")
        return code

    @property
    def written(self) -> tuple[bytes, bytes]:
        """What it has written so far: stdout, stderr."""
        out, err = (Path(path).read_bytes() if Path(path).exists() else b"" for path in self._streams[1:])
        return out, err

    def end(self, timeout_s: float) -> tuple[int, bytes, bytes]:
        """Waits for its end: exit code (negative: the signal that ended it), stdout, stderr."""
        return self.wait(timeout_s), *self.written


def run(
    words: Sequence[str], stdin: bytes, environment: Mapping[str, str], timeout_s: float
) -> tuple[int, bytes, bytes]:
    """`restrike WORDS` to its end: exit code, stdout, stderr."""
    with start(words, stdin, environment) as command:
        return command.end(timeout_s)


def start(words: Sequence[str], stdin: bytes, environment: Mapping[str, str], before: Before = ()) -> Command:
    """`restrike WORDS`. `before` are functions of a module and their arguments, called in it before it begins."""
    return Command(words, stdin, environment, before)


def _become(words: list[str], environment: dict[str, str], folder: str, streams: list[str], before: Before) -> None:
    assert _MADE_BEFORE in sys.modules
    from restrike.cli.main import main

    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    tempfile.tempdir = None  # TMPDIR is looked at anew
    os.chdir(folder)
    for number, path in enumerate(streams):
        found = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(found, number)
        os.close(found)
    sys.stdin, sys.stdout = (os.fdopen(number, "rw"[number], encoding="utf-8") for number in range(2))
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8")
    sys.argv = ["restrike", *words]
    code = 1
    try:
        for function, *arguments in before:
            function(*arguments)
        main()
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()  # which a fork leaves out
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)
