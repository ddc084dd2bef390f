"""Objects under one prefix: create-only puts, conditional replacement, reads by range. obstore does the work."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from restrike.errors import AccessDenied, RestrikeError, Unreachable

T = TypeVar("T")


class Changed(Exception):
    """The object is gone, or another than the one that was asked for."""


class Object(msgspec.Struct, frozen=True):
    """One object of a listing; `path` is from the store's own root. `modified_s` (epoch seconds) is when it was last
    written, by the store's clock; 0 where it was not listed."""

    path: str
    size_bytes: int
    etag: str
    modified_s: float = 0.0

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


class Store:
    """Objects under one prefix. Calls block: they are for threads. Errors are ours, each naming the object."""

    def __init__(self, store: Any, uri: str) -> None:
        """`store`: an obstore store."""
        self.uri = uri
        self._store = store

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────

    def read(self, path: str) -> tuple[bytes, str] | None:
        """The object's bytes and ETag; None where there is none."""
        import obstore

        try:
            return self._done(lambda: _whole(obstore.get(self._store, path)))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._problem(error, f"cannot read {self.uri}/{path}") from None

    def head(self, path: str) -> Object | None:
        """The object as it is now; None where there is none."""
        import obstore

        try:
            told = obstore.head(self._store, path)
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._problem(error, f"cannot read {self.uri}/{path}") from None
        return Object(path, int(told["size"]), str(told["e_tag"]), told["last_modified"].timestamp())

    def read_range(self, found: Object, start: int, end: int) -> bytes:
        """Those bytes of just that object; Changed where it is gone or was written over."""
        import obstore
        import obstore.exceptions

        if start >= end:
            return b""
        try:
            return self._done(
                lambda: bytes(
                    obstore.get(
                        self._store, found.path, options={"range": (start, end), "if_match": found.etag}
                    ).bytes()
                )
            )
        except (FileNotFoundError, obstore.exceptions.PreconditionError):
            raise Changed(found.path) from None
        except Exception as error:
            raise self._problem(error, f"cannot read {self.uri}/{found.path}") from None

    def objects(self, folder: str) -> list[Object]:
        """The objects of a folder, and of those in it, by path; none where there is no such folder."""
        return sorted(self.some_objects(folder), key=lambda each: each.path)

    def some_objects(self, folder: str, most: int | None = None) -> list[Object]:
        """The same in the order in which they are listed, and no more than so many."""
        import obstore

        def listed() -> list[Any]:
            return list(
                itertools.islice(itertools.chain.from_iterable(obstore.list(self._store, folder or None)), most)
            )

        try:
            found = self._done(listed)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise self._problem(error, f"cannot list {self.uri}/{folder}") from None
        return [
            Object(str(each["path"]), int(each["size"]), str(each["e_tag"]), each["last_modified"].timestamp())
            for each in found
        ]

    def folders(self, folder: str) -> list[str]:
        """The paths of the folders in it, sorted."""
        import obstore

        try:
            answer = self._done(lambda: obstore.list_with_delimiter(self._store, folder or None))
        except FileNotFoundError:
            return []
        except Exception as error:
            raise self._problem(error, f"cannot list {self.uri}/{folder}") from None
        return sorted(str(each) for each in answer["common_prefixes"])

    def now_s(self) -> float | None:
        """The time by the clock that stamps its objects; None where that is not to be had without writing one."""
        return None

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────

    def create(self, path: str, data: bytes) -> bool:
        """Puts a new object, whole, and returns when it is durable; False where there is one already."""
        import obstore
        import obstore.exceptions

        try:
            self._done(lambda: obstore.put(self._store, path, data, mode="create", use_multipart=False))
        except obstore.exceptions.AlreadyExistsError:
            return False
        except Exception as error:
            raise self._problem(error, f"cannot write {self.uri}/{path}") from None
        return True

    def replace(self, path: str, data: bytes, etag: str) -> str | None:
        """Writes over the object that has that ETag; returns the new one, None where it has another by now."""
        import obstore
        import obstore.exceptions

        try:
            answer = self._done(lambda: obstore.put(self._store, path, data, mode={"e_tag": etag}, use_multipart=False))
        except (obstore.exceptions.PreconditionError, FileNotFoundError):
            return None
        except Exception as error:
            raise self._problem(error, f"cannot write {self.uri}/{path}") from None
        return str(answer["e_tag"])

    def delete(self, path: str) -> None:
        """Removes the object, if it is there."""
        import obstore

        try:
            self._done(lambda: obstore.delete(self._store, path))
        except FileNotFoundError:
            return
        except Exception as error:
            raise self._problem(error, f"cannot delete {self.uri}/{path}") from None

    @contextlib.contextmanager
    def lock(self, path: str) -> Iterator[bool]:
        """Whether this process alone holds that lock, inside the block. Where nothing can be locked, it does."""
        yield True

    def _done(self, call: Callable[[], T]) -> T:
        """What that call of obstore's, with this store's `_store`, comes to."""
        return call()

    def _problem(self, error: Exception, what: str) -> RestrikeError:
        """That error of obstore's, or one that is ours already, as it is told to people."""
        import obstore.exceptions

        if isinstance(error, RestrikeError):
            return error
        if isinstance(error, obstore.exceptions.PermissionDeniedError):
            return AccessDenied(f"{what}: access denied: {first_line(error)}", "Mend its rights.")
        return Unreachable(f"{what}: {first_line(error)}", "Is the endpoint right, and the network up?")


def _whole(answer: Any) -> tuple[bytes, str]:
    return bytes(answer.bytes()), str(answer.meta["e_tag"])


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


class ObjectFile(io.RawIOBase):
    """An object as a file that can be read anywhere, for pyarrow. Counts the bytes that were fetched."""

    def __init__(self, store: Store, found: Object) -> None:
        self.fetched_bytes = 0
        self._objects = store
        self._object = found
        self._at = 0
        self._held_from = 0
        self._held = b""

    def hold(self, start: int, end: int) -> None:
        """Fetches those bytes at once, for the reads that follow."""
        self._held_from, self._held = start, self._fetch(start, end)

    def _fetch(self, start: int, end: int) -> bytes:
        data = self._objects.read_range(self._object, start, end)
        self.fetched_bytes += len(data)
        return data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def size(self) -> int:
        return self._object.size_bytes

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._object.size_bytes}[whence]
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = self._object.size_bytes
        if size is not None and size >= 0:
            end = min(end, self._at + size)
        start = self._at - self._held_from
        if start >= 0 and end <= self._held_from + len(self._held):
            data = self._held[start : end - self._held_from]
        else:
            data = self._fetch(self._at, end)
        self._at += len(data)
        return data
