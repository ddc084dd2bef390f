"""Messages out of a file, a folder or a bucket, into the index: what was not understood too, with the reason."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from restrike.aws.session import Aws
from restrike.errors import UsageError
from restrike.model.failure import Untaken, messages_in, read_failure
from restrike.sources.failures.index import Taking
from restrike.stores import open_store
from restrike.stores.objects import Changed, Object, Store

MAX_FILE_BYTES = 64_000_000
"""Of one file or object: it is held whole. Lambda's largest, with an event of 6 MB as escaped text, has some 13 MB."""


class Taken(msgspec.Struct, frozen=True):
    messages: int
    digest: str


def take_in(path: Path, where: str, ask: Callable[[], Aws], rescued: str = "") -> Taken:
    """All messages that lie there into a new index; `rescued` is a file whose messages only bring their payload.
    UsageError where there is nothing of that name, or no message."""
    taking = Taking(path)
    digest = hashlib.sha256()
    try:
        for found, text in _texts(where, ask):
            digest.update(b"%d %s " % (len(text or b""), found.path.encode(errors="surrogateescape")))
            if text is None:
                taking.refuse((found.path, found.etag, ""), f"it is larger than {MAX_FILE_BYTES:,} bytes")
                continue
            digest.update(text)
            messages = messages_in(text)
            for number, message in enumerate(messages, 1):
                lies = (found.path, found.etag, "" if len(messages) == 1 else f":{number}")
                failure = read_failure(message)
                if isinstance(failure, Untaken):
                    taking.refuse(lies, failure.why)
                else:
                    taking.add(lies, failure)
        if rescued:
            _bring(taking, rescued, digest.update)
    finally:
        count = taking.close()
    if not count:
        raise UsageError(f"there are no messages in {where}", "Is it the right folder, or prefix?")
    return Taken(count, digest.hexdigest())


def _texts(where: str, ask: Callable[[], Aws]) -> Iterator[tuple[Object, bytes | None]]:
    """Each object and its content object, by name; None for one that is too large. What is gone by then is left out."""
    store, objects = listed(where, ask)
    for found in objects:
        if not found.size_bytes:
            continue  # an empty object is how consoles make a folder
        if found.size_bytes > MAX_FILE_BYTES:
            yield found, None
            continue
        try:
            yield found, store.read_range(found, 0, found.size_bytes)
        except Changed:
            continue


def listed(where: str, ask: Callable[[], Aws]) -> tuple[Store, list[Object]]:
    """The objects under a prefix or in a folder; of a name that is no folder, the one object."""
    above, _, name = where.rpartition("/")
    if "://" in where:
        store = open_store(where, ask)
        objects = store.objects("")
        if not objects and name and above.count("/") > 1:
            store = open_store(above, ask)
            objects = [each for each in store.objects("") if each.path == name]
        return store, objects
    path = Path(where)
    if path.is_dir():
        return (store := open_store(where, ask)), store.objects("")
    if not path.is_file():
        raise UsageError(f"{where} is not there", "Name a file of messages, a folder, or s3://bucket/prefix.")
    store = open_store(above or "/", ask)
    return store, [each for each in store.objects("") if each.path == name]


def _bring(taking: Taking, rescued: str, digest: Callable[[bytes], object]) -> None:
    """A rescue's file: a message a line, each with its payload. Read a line at a time."""
    try:
        with Path(rescued).open("rb") as file:
            for number, line in enumerate(file, 1):
                digest(line)
                found = read_failure(line)
                if isinstance(found, Untaken) or found.payload is None:
                    why = found.why if isinstance(found, Untaken) else "it has no payload"
                    raise UsageError(f"{rescued} is no rescue: line {number}: {why}", "Name what --rescue has written.")
                taking.bring(found)
    except OSError as error:
        raise UsageError(f"cannot read {rescued}: {error.strerror}", "Name what --rescue has written.") from None
