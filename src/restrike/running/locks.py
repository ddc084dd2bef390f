"""Who executes a run: a lock on a file in the run's folder, which the kernel takes back from a process that dies,
however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import IO

from restrike.errors import UsageError

TRIES = 10
PAUSE_S = 0.02


class Locks:
    """The locks that this process holds, by run."""

    def __init__(self) -> None:
        self._held: dict[str, IO[str]] = {}

    def acquire(self, name: str, folder: Path) -> None:
        """Takes the run, until `release` or the process's end. UsageError where another process has it."""
        try:
            owner = self.take(name, folder)
        except OSError as error:
            raise UsageError(
                f"cannot make the folder of run {name}, {folder}: {error.strerror}", "Give another --ledger."
            ) from None
        if owner is not None:
            raise UsageError(
                f"run {name} is being executed by {owner}", f"Wait for it, or end it: restrike runs pause {name}"
            )

    def take(self, name: str, folder: Path, who: str = "") -> str | None:
        """Takes what that folder stands for, under that name; who has it, where it is taken. Raises OSError where the
        folder cannot be made."""
        for each in (folder.parent, folder):  # a mode is of the last folder alone
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.fdopen(os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "a+")
        for tries_left in range(TRIES - 1, -1, -1):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if tries_left:  # somebody may only be asking `held`
                    time.sleep(PAUSE_S)
                    continue
                lock.seek(0)
                owner = lock.read().strip() or "another process"
                lock.close()
                return owner
        lock.seek(0)
        lock.truncate()
        lock.write(f"process {os.getpid()}{who and f', {who}'}\n")
        lock.flush()
        self._held[name] = lock
        return None

    def release(self, name: str) -> None:
        lock = self._held.pop(name, None)
        if lock is not None:
            lock.close()

    def release_all(self) -> None:
        for name in list(self._held):
            self.release(name)

    def held(self, name: str, folder: Path) -> bool:
        """Whether some process executes the run now."""
        if name in self._held:
            return True
        try:
            with (folder / "lock").open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False


def holders(folder: Path) -> list[str]:
    """Who has what that folder stands for; empty where nobody has, or it cannot be known."""
    try:
        with (folder / "lock").open("r") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return [lock.read().strip() or "another process"]
    except OSError:
        pass
    return []
