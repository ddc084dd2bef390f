"""A folder of a local disk: what was written is durable. obstore does not fsync, so that the writing is our own."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from restrike.errors import RestrikeError, UsageError
from restrike.stores.objects import Store, first_line

LOCK_TRIES = 10


class NoFolder(UsageError):
    """There is nothing of that name."""


class LocalFolder(Store):
    """A folder of a local disk. What was written is on the disk, whole, or it is not there at all."""

    def __init__(self, root: Path, *, create: bool) -> None:
        import obstore.store

        self._root = root.absolute()
        try:
            if create and not self._root.exists():
                self._root.mkdir(parents=True, exist_ok=True)
            if not self._root.is_dir():
                above = next(each for each in self._root.parents if each.exists())
                if not above.is_dir():
                    raise UsageError(f"{root} cannot be a folder: {above} is none", "Name the folder of an archive.")
                if not self._root.exists():
                    raise NoFolder(f"{root} is not there", "Name the folder of an archive.")
                raise UsageError(f"{root} is no folder", "Name the folder of an archive.")
        except OSError as error:
            raise UsageError(f"cannot make the folder {root}: {error.strerror}", "Name another.") from None
        super().__init__(obstore.store.LocalStore(self._root), str(root))

    def create(self, path: str, data: bytes) -> bool:
        target = self._root / path
        with self._written(target, data) as temporary:
            try:
                os.link(temporary, target)
            except FileExistsError:
                return False
            _sync_folder(target.parent)
        return True

    def replace(self, path: str, data: bytes, etag: str) -> str | None:
        """As in S3, as long as all who replace it hold the same `lock`."""
        target = self._root / path
        now = self.etag(path)
        if now != etag:
            return None
        with self._written(target, data) as temporary:
            temporary.rename(target)
            _sync_folder(target.parent)
        return self.etag(path)

    def etag(self, path: str) -> str | None:
        """Of what is there now; None where there is nothing."""
        import obstore

        try:
            return str(obstore.head(self._store, path)["e_tag"])
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def _written(self, target: Path, data: bytes) -> Iterator[Path]:
        """The data in a file beside the target, on the disk; removed afterwards.

        Its name ends in # and digits, which listings leave out. It is locked while somebody needs it (see `sweep`)."""
        temporary = target.with_name(f"{target.name}#{os.getpid()}{threading.get_ident() % 10**6}")
        try:
            made = _make_folders(target.parent, self._root)
            with _locked(temporary) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                for folder in made:
                    _sync_folder(folder)
                yield temporary
        except OSError as error:
            raise RestrikeError(
                f"cannot write {target}: {error.strerror or error}",
                "Make room, or mend its rights; then run the same command again: it goes on where it is.",
            ) from None
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def delete(self, path: str) -> None:
        super().delete(path)
        folder = (self._root / path).parent
        with contextlib.suppress(OSError):
            _sync_folder(folder)
            while folder != self._root:
                folder.rmdir()  # only where it is empty
                folder = folder.parent

    def _problem(self, error: Exception, what: str) -> RestrikeError:
        if isinstance(error, RestrikeError):
            return error
        return UsageError(f"{what}: {first_line(error)}", "Mend the folder's rights, or name another.")

    @contextlib.contextmanager
    def lock(self, path: str) -> Iterator[bool]:
        target = self._root / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            file = target.open("a+")
        except OSError as error:
            raise RestrikeError(
                f"cannot write {target}: {error.strerror}", "Mend its rights, or name another folder."
            ) from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            yield True

    def sweep(self, folder: str) -> None:
        """Removes what a process that was killed left half-written there: nobody holds its lock."""
        for path in (self._root / folder).glob("*#*"):
            if path.name.rpartition("#")[2].isdigit():
                with contextlib.suppress(OSError), path.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()


def _locked(path: Path) -> IO[bytes]:
    """A new file that this process holds; made again where it was swept away between its making and its lock."""
    for _ in range(LOCK_TRIES):
        file = path.open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            return file  # a file system without locks: nobody sweeps there either
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()
    raise FileNotFoundError(errno.ENOENT, "it is taken away again and again")


def _make_folders(folder: Path, root: Path) -> list[Path]:
    """Makes the folder; returns those in which a new one has to be made durable."""
    missing: list[Path] = []
    while not folder.is_dir() and folder != root:
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
    return [each.parent for each in missing]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
