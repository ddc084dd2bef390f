"""A folder of objects, on this machine's disk or in S3: create-only puts, conditional replacement, reads by range.

The store itself is obstore's, but for writing on a local disk: that must be fsynced, and obstore does not.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from restrike.aws.session import CREDENTIALS_HINT, Aws
from restrike.errors import (
    AccessDenied,
    BadCredentials,
    NotFound,
    RestrikeError,
    Unreachable,
    UsageError,
)

CREDENTIALS_FOR_S = 300.0  # how long S3's client may keep what botocore gave; botocore renews its own
RETRY_FOR_S = 60.0
LEFT_BEHIND_S = 3600.0


class Changed(Exception):
    """The object is gone, or another than the one that was asked for."""


class Object(msgspec.Struct, frozen=True):
    """One object of a listing; `path` is from the store's own root."""

    path: str
    size_bytes: int
    etag: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def open_store(uri: str, ask: Callable[[], Aws], *, create: bool = False) -> Store:
    """The store of `s3://bucket/prefix` or of a folder; `create` makes the folder. `ask` is called only for S3."""
    import obstore.store

    if "://" not in uri:
        return LocalFolder(Path(uri), create=create)
    scheme, _, rest = uri.partition("://")
    bucket, _, prefix = rest.strip("/").partition("/")
    if scheme != "s3" or not bucket:
        raise UsageError(f"{uri!r} is no place for an archive", "Give a folder, or s3://bucket/prefix.")
    aws = ask()
    if not aws.may_ask("s3"):
        raise UsageError(
            "the table is on this machine, and s3: would write to a bucket of an AWS account",
            "Set AWS_ENDPOINT_URL_S3 to where the bucket is, or use a folder.",
        )

    def credentials() -> Any:
        frozen = aws.credentials().get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + timedelta(seconds=CREDENTIALS_FOR_S),
        }

    endpoint = aws.configured_endpoint("s3")
    config: Any = {"region": aws.region}
    if endpoint is not None:
        config |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    store = obstore.store.S3Store(
        bucket,
        prefix=prefix or None,
        config=config,
        credential_provider=credentials,
        client_options={"allow_http": True, "timeout": "60s", "connect_timeout": "5s"},
        retry_config={"max_retries": 8, "retry_timeout": timedelta(seconds=RETRY_FOR_S)},
    )
    return Store(store, uri.rstrip("/"), bucket=bucket)


class Store:
    """Objects under one prefix. Calls block: they are for threads. Errors are ours, each naming the object."""

    def __init__(self, store: Any, uri: str, *, bucket: str = "") -> None:
        self.uri = uri
        self._store = store
        self._bucket = bucket

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────

    def read(self, path: str) -> tuple[bytes, str] | None:
        """The object's bytes and ETag; None where there is none."""
        import obstore

        try:
            answer = obstore.get(self._store, path)
            return bytes(answer.bytes()), str(answer.meta["e_tag"])
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._problem(error, f"cannot read {self.uri}/{path}") from None

    def read_range(self, found: Object, start: int, end: int) -> bytes:
        """Those bytes of just that object; Changed where it is gone or was written over."""
        import obstore
        import obstore.exceptions

        if start >= end:
            return b""
        try:
            answer = obstore.get(self._store, found.path, options={"range": (start, end), "if_match": found.etag})
            return bytes(answer.bytes())
        except (FileNotFoundError, obstore.exceptions.PreconditionError):
            raise Changed(found.path) from None
        except Exception as error:
            raise self._problem(error, f"cannot read {self.uri}/{found.path}") from None

    def objects(self, folder: str) -> list[Object]:
        """The objects of a folder, and of those in it, by path; none where there is no such folder."""
        import obstore

        try:
            found = [each for page in obstore.list(self._store, folder or None) for each in page]
        except FileNotFoundError:
            return []
        except Exception as error:
            raise self._problem(error, f"cannot list {self.uri}/{folder}") from None
        listed = [Object(str(each["path"]), int(each["size"]), str(each["e_tag"])) for each in found]
        return sorted(listed, key=lambda each: each.path)

    def folders(self, folder: str) -> list[str]:
        """The paths of the folders in it, sorted."""
        import obstore

        try:
            answer = obstore.list_with_delimiter(self._store, folder or None)
        except FileNotFoundError:
            return []
        except Exception as error:
            raise self._problem(error, f"cannot list {self.uri}/{folder}") from None
        return sorted(str(each) for each in answer["common_prefixes"])

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────

    def create(self, path: str, data: bytes) -> bool:
        """Puts a new object, whole, and returns when it is durable; False where there is one already."""
        import obstore
        import obstore.exceptions

        try:
            obstore.put(self._store, path, data, mode="create", use_multipart=False)
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
            answer = obstore.put(self._store, path, data, mode={"e_tag": etag}, use_multipart=False)
        except (obstore.exceptions.PreconditionError, FileNotFoundError):
            return None
        except Exception as error:
            raise self._problem(error, f"cannot write {self.uri}/{path}") from None
        return str(answer["e_tag"])

    def delete(self, path: str) -> None:
        """Removes the object, if it is there."""
        import obstore

        try:
            obstore.delete(self._store, path)
        except FileNotFoundError:
            return
        except Exception as error:
            raise self._problem(error, f"cannot delete {self.uri}/{path}") from None

    @contextlib.contextmanager
    def lock(self, path: str) -> Iterator[bool]:
        """On a local disk: whether this process alone holds that lock, inside the block. In S3 nothing is locked."""
        yield True

    def _problem(self, error: Exception, what: str) -> RestrikeError:
        import obstore.exceptions

        if isinstance(error, RestrikeError):
            return error
        why = str(error).partition("\n")[0]
        if isinstance(error, obstore.exceptions.PermissionDeniedError):
            return AccessDenied(f"{what}: access denied: {why}", "Allow s3:GetObject, PutObject, DeleteObject, List.")
        if isinstance(error, obstore.exceptions.UnauthenticatedError):
            return BadCredentials(f"{what}: {why}", CREDENTIALS_HINT)
        if "NoSuchBucket" in str(error):
            return NotFound(f"{what}: there is no bucket {self._bucket}", "Create it, or name another.")
        if "AccessDenied" in str(error):
            return AccessDenied(f"{what}: access denied: {why}", "Allow s3:GetObject, PutObject, DeleteObject, List.")
        return Unreachable(f"{what}: {why}", "Is the endpoint right, and the network up?")


class LocalFolder(Store):
    """A folder of a local disk. What was written is on the disk, whole, or it is not there at all."""

    def __init__(self, root: Path, *, create: bool) -> None:
        import obstore.store

        self._root = root.absolute()
        try:
            if create and not self._root.exists():
                self._root.mkdir(parents=True, exist_ok=True)
            if not self._root.is_dir():
                what = "is no folder" if self._root.exists() else "is not there"
                raise UsageError(f"{root} {what}", "Name the folder of an archive.")
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
        now = self._etag(path)
        if now != etag:
            return None
        with self._written(target, data) as temporary:
            temporary.rename(target)
            _sync_folder(target.parent)
        return self._etag(path)

    def _etag(self, path: str) -> str | None:
        import obstore

        try:
            return str(obstore.head(self._store, path)["e_tag"])
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def _written(self, target: Path, data: bytes) -> Iterator[Path]:
        """The data in a file beside the target, on the disk; removed afterwards.

        Its name ends in # and digits, which listings leave out."""
        temporary = target.with_name(f"{target.name}#{os.getpid()}{threading.get_ident() % 10**6}")
        try:
            made = _make_folders(target.parent, self._root)
            with temporary.open("wb") as file:
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
        """Removes what a process that was killed left half-written there, an hour ago or more."""
        for path in (self._root / folder).glob("*#*"):
            if path.name.rpartition("#")[2].isdigit():
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime > LEFT_BEHIND_S:
                        path.unlink()


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
