"""What was given up: a file of events, one a line, in a form that `replay jsonl:` reads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from pathlib import Path

from restrike.errors import DeliveryFailed
from restrike.model.record import event
from restrike.replaying.delivery import GivenUp


class Failures:
    """Keeps what a run gives up in the file at `path`, which is made with the first of it."""

    def __init__(self, path: Path, *, run: str, target: str) -> None:
        self.path = path
        self._run = run
        self._target = target

    async def keep(self, given_up: GivenUp) -> None:
        """Durable when it returns; DeliveryFailed where the file takes no more."""
        told = {
            "run": self._run,
            "target": self._target,
            "condition": given_up.condition,
            "error": given_up.error,
            "attempts": given_up.attempts,
        }
        line = event(given_up.records)[:-1] + b',"restrike":' + json.dumps(told).encode() + b"}\n"
        await asyncio.to_thread(_append, self.path, line)


def _append(path: Path, line: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Whole images: nobody else's business.
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            before = os.fstat(file).st_size
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[os.write(file, rest) :]
                os.fsync(file)
            except OSError:
                # Half a line would spoil the one behind it.
                with contextlib.suppress(OSError):
                    os.ftruncate(file, before)
                raise
        finally:
            os.close(file)
    except OSError as error:
        raise DeliveryFailed(
            f"cannot write what was given up to {path}: {error.strerror}", "Make room there, then resume."
        ) from None
