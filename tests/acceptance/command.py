"""The `restrike` command as its user runs it: a subprocess of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.acceptance import forked

RESTRIKE = str(Path(sys.executable).with_name("restrike"))
TIMEOUT_S = 600
"""For what never ends; a busy machine is no reason to give up."""


class Result:
    """What a command left: exit code, stdout and stderr; `json` is the one object on stdout."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        self.code = code
        self.stdout = stdout
        self.stderr = stderr

    @property
    def json(self) -> dict[str, Any]:
        found = json.loads(self.stdout)
        assert isinstance(found, dict)
        return found

    def __repr__(self) -> str:
        return f"exit {self.code}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    # The scripts beside the interpreter are on the PATH, as in an activated environment.
    path = f"{Path(RESTRIKE).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **changes}


def restrike(*words: str, stdin: str | bytes = b"", **environment: str) -> Result:
    """Runs `restrike` to its end. Keyword arguments are environment variables."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    code, stdout, stderr = forked.run(words, given, _environment(environment), TIMEOUT_S)
    return Result(code, stdout.decode(), stderr.decode())


def shell(line: str, **environment: str) -> Result:
    """Runs a line as a user would paste it."""
    done = subprocess.run(
        ["sh", "-c", line], input=b"", env=_environment(environment), capture_output=True, timeout=TIMEOUT_S
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


class Running:
    """A `restrike` that was started and not waited for."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def interrupt(self) -> Result:
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self) -> Result:
        """Waits for its end."""
        stdout, stderr = self.process.communicate(timeout=TIMEOUT_S)
        return Result(self.process.returncode, stdout, stderr)


@contextmanager
def started(*words: str, **environment: str) -> Iterator[Running]:
    """A `restrike` in the background; killed where the test leaves it running."""
    process = subprocess.Popen(
        [RESTRIKE, *words],
        env=_environment(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Running(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def runs() -> dict[str, dict[str, Any]]:
    """The runs of the ledger, by name, as `restrike runs list --json` tells them."""
    listed = restrike("runs", "list", "--json")
    assert listed.code == 0, listed
    return {run["run"]: run for run in listed.json["runs"]}
