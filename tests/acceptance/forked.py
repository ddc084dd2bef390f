"""A `restrike` process without the half second that its imports take: forked from one that has made them already.

It has arguments, environment, folder, standard streams and a process of its own, as any other; only what Python reads
before a program begins (PYTHON…, the interpreter's flags) is that of the tests.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        __name__,
        "restrike.cli.main",
        "restrike.cli.touch",
        "restrike.cli.render.touch",
        "restrike.touching.plan",
        "restrike.cli.replay",
        "restrike.cli.render.replay",
        "restrike.replaying.plan",
        "restrike.cli.records",
        "restrike.cli.capture",
        "restrike.cli.archive",
        "restrike.cli.runs",
        "restrike.capturing.plan",
    ]
)


def run(
    words: Sequence[str], stdin: bytes, environment: Mapping[str, str], timeout_s: float
) -> tuple[int, bytes, bytes]:
    """`restrike WORDS` to its end: exit code (negative: the signal that ended it), stdout, stderr."""
    with tempfile.TemporaryDirectory() as folder:
        streams = [str(Path(folder) / name) for name in ("stdin", "stdout", "stderr")]
        Path(streams[0]).write_bytes(stdin)
        process = _FORKS.Process(target=_become, args=(list(words), dict(environment), str(Path.cwd()), streams))
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"restrike {' '.join(words)} did not end within {timeout_s:g} s")
        return process.exitcode, Path(streams[1]).read_bytes(), Path(streams[2]).read_bytes()


def _become(words: list[str], environment: dict[str, str], folder: str, streams: list[str]) -> None:
    from restrike.cli.main import main

    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    for number, path in enumerate(streams):
        found = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(found, number)
        os.close(found)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, "rw"[number > 0], encoding="utf-8") for number in range(3))
    sys.argv = ["restrike", *words]
    code = 1
    try:
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
