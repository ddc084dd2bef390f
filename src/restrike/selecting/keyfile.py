"""Key files: what a user or another run names, spooled to disk, each key once, before anything is written."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, TextIO

import msgspec

from restrike.errors import UsageError
from restrike.model.selection import KeyList
from restrike.model.table import Key, KeySchema, canonical_key, sortable, typed_key
from restrike.running.spool import written

KEYS_PER_READ = 1_000

_TABLE = "CREATE TABLE IF NOT EXISTS spool (position INTEGER PRIMARY KEY, key BLOB UNIQUE, sort_key BLOB)"

_object = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


class KeyFile:
    """The keys of a run on disk, each once: canonical forms, in the order of `position`."""

    def __init__(self, path: Path, *, new: bool = False) -> None:
        """UsageError where one that is not `new` is not there or is none: a run without its keys would seem to be
        complete."""
        self._path = path
        try:
            # Keys are people's data: nobody else reads them.
            os.close(os.open(path, (os.O_CREAT | os.O_RDWR if new else os.O_RDONLY) | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA synchronous=OFF")  # it is of use only once it was kept whole, `running.spool`
            if new:
                with written(path):
                    self._db.execute(_TABLE)
            else:
                self._db.execute("SELECT position FROM spool LIMIT 1")
        except (OSError, sqlite3.Error) as error:
            raise UsageError(
                f"the run's keys are not there: {path}: {error}", "Begin anew under another --run."
            ) from None

    def __enter__(self) -> KeyFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def write(self, keys: Iterator[tuple[bytes, bytes]]) -> int:
        """Adds (canonical key, what it sorts by) pairs, each key once; returns how many there are."""
        with written(self._path, (sqlite3.Error,)):  # and not what the file says that the keys are read from
            self._db.execute("BEGIN")
            self._db.executemany("INSERT OR IGNORE INTO spool (key, sort_key) VALUES (?, ?)", keys)
            self._db.execute("COMMIT")
        return len(self)

    def sort(self) -> None:
        """Numbers the keys anew, by what they sort by."""
        with written(self._path):
            self._db.executescript(
                "CREATE TABLE sorted (position INTEGER PRIMARY KEY, key BLOB UNIQUE, sort_key BLOB);"
                "INSERT INTO sorted (key, sort_key) SELECT key, sort_key FROM spool ORDER BY sort_key;"
                "DROP TABLE spool; ALTER TABLE sorted RENAME TO spool;"
            )

    def read(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        return self._db.execute(
            "SELECT position, key FROM spool WHERE position > ? ORDER BY position LIMIT ?", (after, limit)
        ).fetchall()

    def digest(self) -> str:
        """SHA-256 over the keys, in the order of the keys: the same set has the same digest."""
        return self._digest("key")

    def digest_in_order(self) -> str:
        """The same in the order in which they are read."""
        return self._digest("position")

    def _digest(self, order: str) -> str:
        digest = hashlib.sha256()
        for (key,) in self._db.execute(f"SELECT key FROM spool ORDER BY {order}"):  # noqa: S608 - a column's name
            digest.update(key + b"\n")
        return digest.hexdigest()

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM spool").fetchone()[0])

    def __iter__(self) -> Iterator[bytes]:
        after = 0
        while rows := self.read(after, KEYS_PER_READ):
            for after, key in rows:  # noqa: B007 - the last position goes into the next read
                yield key


def sort_bytes(schema: KeySchema, key: Key) -> bytes:
    """Bytes that keep the items of one partition key together, in the order of their sort keys."""
    partition = sortable(schema.partition, key[schema.partition.name])
    # 0 bytes inside are doubled out of the way, so that a longer partition key does not fall between.
    prefix = partition.replace(b"\0", b"\0\xff") + b"\0\0"
    return prefix if schema.sort is None else prefix + sortable(schema.sort, key[schema.sort.name])


def spool(target: Path, schema: KeySchema, keys: Iterator[Key], origin: str, *, in_order: bool) -> KeyList:
    """Writes the keys to a new file, each once."""
    with KeyFile(target, new=True) as file:
        count = file.write((canonical_key(schema, key), sort_bytes(schema, key) if in_order else b"") for key in keys)
        if in_order:
            file.sort()
        return KeyList(file.digest(), count, origin, file.digest_in_order())


def check_whole(path: Path, keys: KeyList, run: str, hint: str) -> None:
    """UsageError, with that hint, where the file does not hold those keys in their order: without them the run would
    leave items out, and seem to be complete."""
    if not path.exists():
        raise UsageError(f"the keys of run {run} are gone: there is no {path}", hint)
    try:
        with KeyFile(path) as file:
            same = (file.digest_in_order() == keys.in_order) if keys.in_order else (file.digest() == keys.digest)
    except (UsageError, sqlite3.Error):
        same = False
    if not same:
        raise UsageError(f"{path} does not hold the keys that run {run} was given: {keys.count:,} of them", hint)


def read_keys(stream: TextIO, schema: KeySchema, name: str) -> Iterator[Key]:
    """Keys of a JSON-lines or CSV text; UsageError with the number of the first line that is no key.

    A JSON line is an object with the key's attributes as DynamoDB JSON or plain values, or has such an object
    as its `Keys`, `Key` or `key` (stream records, `runs show --leftover`). A CSV has a header with their names.
    """
    number, first = 0, "\n"
    while first and not first.strip("\ufeff \t\r\n"):
        number, first = number + 1, stream.readline()
    if not first:
        return
    first = first.lstrip("\ufeff")
    if first.lstrip().startswith("{"):
        yield from _read_json_lines(first, number, stream, schema, name)
    else:
        yield from _read_csv(first, number, stream, schema, name)


def _read_json_lines(first: str, number: int, rest: TextIO, schema: KeySchema, name: str) -> Iterator[Key]:
    line = first
    while line:
        if line.strip():
            try:
                yield typed_key(schema, _unwrapped(_object.decode(line), schema))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise UsageError(f"{name}, line {number}: not a JSON object: {error}", _BAD_LINE) from None
            except UsageError as error:
                raise UsageError(f"{name}, line {number}: {error.message}", _BAD_LINE) from None
        line = rest.readline()
        number += 1


def _unwrapped(given: dict[str, Any], schema: KeySchema) -> dict[str, Any]:
    if schema.partition.name not in given:
        for wrapper in ("Keys", "Key", "key"):
            if isinstance(given.get(wrapper), dict):
                inner: dict[str, Any] = given[wrapper]
                return inner
    return given


def _read_csv(header: str, number: int, rest: TextIO, schema: KeySchema, name: str) -> Iterator[Key]:
    columns = next(csv.reader(io.StringIO(header)))
    columns = [column.strip() for column in columns]
    missing = [each for each in schema.names if each not in columns]
    if missing:
        raise UsageError(
            f"{name}, line {number}: the header lacks {' and '.join(map(repr, missing))}",
            "Give a CSV with a header line, or JSON lines.",
        )
    reader = csv.reader(rest, strict=True)
    while True:
        try:
            row = next(reader)
            if not row:
                continue
            if len(row) != len(columns):
                raise UsageError(f"{len(row)} columns, the header has {len(columns)}")
            yield typed_key(schema, dict(zip(columns, row, strict=True)))
        except StopIteration:
            return
        except (csv.Error, UsageError) as error:
            raise UsageError(f"{name}, line {number + reader.line_num}: {error}", _BAD_LINE) from None


_BAD_LINE = "Nothing was written. Mend or remove that line."
