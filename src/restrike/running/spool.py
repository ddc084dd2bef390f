"""What a plan has spooled: in a folder of its own, and then in the folder of the run that it becomes.

People's data stands in it, and a process that is killed removes nothing. So a plan's folder is locked while its
process lives, and whoever starts next removes those whose lock is free.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import sqlite3
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

from restrike.errors import RestrikeError
from restrike.model.plan import D, Planned
from restrike.running.ledger import Ledger

PREFIX = "restrike-spool-"
TRIES = 10
_HALF = ".half-"


class Spool:
    """A folder of temporary files for nobody else to read, which goes with `cleanup`, or with this object or process.

    Not tempfile's: that one warns where it goes with the object, as it does with a plan that is not executed.
    """

    def __init__(self) -> None:
        sweep()
        for _ in range(TRIES):
            self.name = tempfile.mkdtemp(prefix=PREFIX)
            lock = None
            try:
                lock = _lock(Path(self.name))
            except (FileNotFoundError, BlockingIOError):
                continue  # somebody swept it away between its making and its lock
            except OSError:
                pass  # a file system without locks: nobody sweeps there either
            break
        else:
            raise RestrikeError(f"cannot keep a folder in {tempfile.gettempdir()}", "Name another: TMPDIR=FOLDER …")
        self.cleanup = weakref.finalize(self, _remove, self.name, lock)

    def __enter__(self) -> str:
        return self.name

    def __exit__(self, *_: object) -> None:
        self.cleanup()

    def __truediv__(self, name: str) -> Path:
        return Path(self.name) / name


class SpooledPlan(Planned[D]):
    """A plan that has spooled what could be read only once: gone with the process, or with the plan."""

    _spool: Spool | None = None

    def discard(self) -> None:
        """Removes what was spooled for a plan that is not executed."""
        if self._spool is not None:
            self._spool.cleanup()
            self._spool = None


def _remove(folder: str, lock: int | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if lock is not None:
        os.close(lock)


def sweep() -> None:
    """Removes the folders of plans whose process was killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            lock = _lock(folder)
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def sweep_halves(ledger: Ledger, ours: str) -> None:
    """Removes what a process that was killed has moved only in part into the folder of a run; `ours` is the run that
    this process has taken."""
    for half in ledger.folder("*").parent.glob(f"*/{_HALF}*"):
        run = half.parent.name
        if run == ours or not ledger.is_active(run):
            with contextlib.suppress(OSError):
                half.unlink()


def keep(spooled: Path, folder: Path) -> None:
    """Moves the file into the folder, whole and on the disk, for nobody else to read."""
    half = folder / f"{_HALF}{spooled.name}"
    try:
        with written(folder / spooled.name):
            shutil.move(spooled, half)
            half.chmod(0o600)
            with half.open("rb") as file:
                os.fsync(file.fileno())
            half.replace(folder / spooled.name)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def tidy(ledger: Path, run: str, names: Iterable[str]) -> None:
    """Takes those files out of the folder of a run that is complete: nothing will be read from them any more."""
    with Ledger(ledger, read_only=True) as book:
        folder = book.folder(run)
    for name in names:
        with contextlib.suppress(OSError):
            (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def written(path: Path, errors: tuple[type[Exception], ...] = (sqlite3.Error, OSError)) -> Iterator[None]:
    """While it is written, what the disk or SQLite says against it (one of those errors) becomes one of ours that names
    the file."""
    try:
        yield
    except errors as error:
        temporary = Path(tempfile.gettempdir()) in path.parents
        raise RestrikeError(
            f"cannot write {path}: {error.strerror if isinstance(error, OSError) else error}",
            "Make room there, or name another folder for it: TMPDIR=FOLDER restrike …"
            if temporary
            else f"Make room on the disk of {path.parent}.",
        ) from None


def _lock(folder: Path) -> int:
    """Takes a folder of our own. BlockingIOError where somebody has it, FileNotFoundError where it is gone by then."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = os.fstat(lock)
        if held.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it is somebody else's")
        if not os.path.samestat(held, folder.lstat()):
            raise FileNotFoundError(errno.ENOENT, "it is another folder")
    except BaseException:
        os.close(lock)
        raise
    return lock
