"""MiniStack: a stand-in for Lambda, SQS, SNS, S3 and CloudWatch that runs Python functions without Docker.

It listens on 127.0.0.1 only, since it runs whatever code is uploaded to it, and ends with the process that started it,
however that ends. It does not stand in for DynamoDB: it gets wrong when a stream has a record.

What it does otherwise than Lambda (1.4.21):

- `context.client_context` is always None.
- An event of more than 6 MB is taken: 413 never comes, nor does 429 where no concurrency is set.
- A text is answered without its quotes, and every exception has the errorType `Runtime.HandlerError`.
- What is not set in a mapping has the defaults of SQS (batch size 10) or is absent; a tumbling window is forgotten.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import zipfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import botocore.config
import botocore.session

REGION = "us-east-1"
ACCOUNT = "000000000000"
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 15.0
_ATTEMPTS = 3
_RUN = """
import ctypes, os, runpy, signal, sys
owner = int(sys.argv.pop())
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
if os.getppid() != owner:
    sys.exit("the tests ended")
runpy.run_module("ministack", run_name="__main__")
"""


class MiniStack:
    """A running MiniStack; made by `start`."""

    def __init__(self, port: int) -> None:
        self.endpoint_url = f"http://127.0.0.1:{port}"
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """A botocore client of that service, which tries once."""
        if service not in self._clients:
            session = botocore.session.Session()
            session.set_credentials("test", "test")
            self._clients[service] = session.create_client(
                service,
                region_name=REGION,
                endpoint_url=self.endpoint_url,
                config=botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=60),
            )
        return self._clients[service]

    @cached_property
    def lambda_(self) -> Any:
        return self.client("lambda")

    def create_function(self, name: str, code: str, *, timeout_s: int = 10, handler: str = "index.main") -> str:
        """A Python function out of its source (the module `index`), ready to be invoked; its ARN."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("index.py", textwrap.dedent(code))
        answer = self.lambda_.create_function(
            FunctionName=name,
            Runtime=f"python{sys.version_info.major}.{sys.version_info.minor}",
            Role=f"arn:aws:iam::{ACCOUNT}:role/r",
            Handler=handler,
            Code={"ZipFile": packed.getvalue()},
            Timeout=timeout_s,
        )
        self.lambda_.get_waiter("function_active_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 300}
        )
        return str(answer["FunctionArn"])

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


@contextlib.contextmanager
def start() -> Iterator[MiniStack]:
    """A MiniStack for as long as the block runs."""
    with (
        tempfile.TemporaryDirectory(prefix="ministack-", ignore_cleanup_errors=True) as scratch,
        (Path(scratch) / "log").open("w+b") as log,
    ):
        process, port = _launch(scratch, log)
        stack = MiniStack(port)
        try:
            yield stack
        finally:
            stack.close()
            _end(process)


def _launch(scratch: str, log: IO[bytes]) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(_ATTEMPTS):
        # It cannot choose a port itself, so another may take this one first.
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-c", _RUN, str(os.getpid())],
            cwd=scratch,
            env=_environment(scratch, port),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Its functions' processes are of its group, so that they can be ended with it.
            start_new_session=True,
        )
        came_up = False
        try:
            came_up = _comes_up(process, port)
        finally:
            if not came_up:
                _end(process)
        if came_up:
            return process, port
    tail = os.pread(log.fileno(), 1 << 20, 0).decode(errors="replace")[-2000:]
    raise RuntimeError(f"MiniStack did not start; the end of its log:\n{tail}")


def _environment(scratch: str, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RESTRIKE_"))}
    return kept | {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "TMPDIR": scratch,
        "LOG_LEVEL": "WARNING",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
    }


def _comes_up(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", "/_ministack/health")
            # Asked again, since it is another's answer if ours found the port taken and ended.
            if connection.getresponse().status == 200 and process.poll() is None:
                return True
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
        finally:
            connection.close()
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    if process.returncode is None:
        process.kill()
        process.wait(STOP_TIMEOUT_S)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
