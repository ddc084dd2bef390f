"""What was given up: a file of events, one a line, in a form that `replay jsonl:` reads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
from pathlib import Path

import msgspec

from restrike.errors import DeliveryFailed
from restrike.model.record import event
from restrike.replaying.delivery import GivenUp

LONGEST_LINE_BYTES = 64 << 20  # more than any event holds, with what is told beside it
_CHUNK_BYTES = 1 << 16
_BEGINS = b'{"Records":['


class Failures:
    """Keeps what a run gives up in the file at `path`, which is made with the first of it; what an earlier part of the
    run kept stays, and nobody else's file is written to."""

    def __init__(self, path: Path, *, run: str, target: str) -> None:
        self.path = path
        self._run = run
        self._target = target
        self._begun = False

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
        await asyncio.to_thread(self._append, line)

    def _append(self, line: bytes) -> None:
        try:
            if not self._begun:
                self._begin()
            _append(self.path, line)
        except OSError as error:
            raise DeliveryFailed(
                f"cannot write what was given up to {self.path}: {error.strerror}", "Make room there, then resume."
            ) from None

    def _begin(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            if (why := not_ours(self.path, self._run)) is not None:
                raise DeliveryFailed(
                    f"what was given up is not written to {self.path}: {why}", "Move it away, then resume."
                )
            _cut_half_line(self.path)
        self._begun = True


def not_ours(path: Path, run: str) -> str | None:
    """Why the file that is there is not one that the run may append to: in words; None where it may.

    It may to an empty file, and to one that it began itself: its first line names the run. Half a line is all that a
    death leaves that comes with the first.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        return "it is no file"
    with path.open("rb") as file:
        first = file.readline(LONGEST_LINE_BYTES)
    if not first or (not first.endswith(b"\n") and first.startswith(_BEGINS)):
        return None
    try:
        name = msgspec.json.decode(first, type=_Line).told.run
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "it is there already, and no run has written it"
    return None if name == run else f"it is there already, and run {name} has written it"


class _Told(msgspec.Struct):
    run: str


class _Line(msgspec.Struct):
    told: _Told = msgspec.field(name="restrike")


def _cut_half_line(path: Path) -> None:
    """What a death left at the end: its records are delivered again."""
    with path.open("r+b") as file:
        end = size = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _CHUNK_BYTES)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)


def _append(path: Path, line: bytes) -> None:
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
