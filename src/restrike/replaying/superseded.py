"""Whether an item has moved on since its record: current, superseded, or deleted.

A record is compared through its item: the last record of an item in the run decides for all of them, since a
record that only a later one of the same run supersedes is sent. So the source is read once ahead (`Verdicts.survey`),
and per item a digest of its last NewImage is kept on disk; then each is held against the item as it is now.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from restrike.aws import dynamodb
from restrike.aws.session import Aws
from restrike.aws.wire import Wire
from restrike.errors import UsageError
from restrike.model.record import Record, images
from restrike.model.table import KeySchema, canonical_key
from restrike.running.spool import written

Verdict = Literal["current", "superseded", "deleted"]

_NOT_OF_IT = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, StopIteration)
"""What comes of keys and images that are no attribute values, or of another table."""
_SETS = {"SS", "NS", "BS"}


def digest(image: dict[str, Any] | None, ignored: frozenset[str]) -> bytes:
    """Equal for equal images: whatever the order of attributes and of the members of sets; b"" for no image."""
    if image is None:
        return b""
    kept = {name: _ordered(value) for name, value in image.items() if name not in ignored}
    return hashlib.sha256(msgspec.json.encode(kept, order="deterministic")).digest()


def _ordered(value: dict[str, Any]) -> dict[str, Any]:
    kind, content = next(iter(value.items()))
    if kind in _SETS:
        return {kind: sorted(content)}
    if kind == "M":
        return {kind: {name: _ordered(inner) for name, inner in content.items()}}
    if kind == "L":
        return {kind: [_ordered(inner) for inner in content]}
    return value


class Verdicts:
    """The verdict of each item of a run, on disk; memory does not grow with their number."""

    def __init__(self, path: Path, wire: Wire, table: str, schema: KeySchema, ignored: frozenset[str]) -> None:
        self._wire = wire
        self._table = table
        self._schema = schema
        self._ignored = ignored
        self._path = path
        with written(path):
            # Keys are people's data: nobody else reads them.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA synchronous=OFF")  # made anew where it is not whole
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS items (key BLOB PRIMARY KEY, last BLOB, verdict TEXT) WITHOUT ROWID"
            )
            self._db.execute("CREATE TABLE IF NOT EXISTS whole (yes INTEGER)")

    def close(self) -> None:
        self._db.close()

    def key_of(self, record: Record) -> bytes:
        try:
            return canonical_key(self._schema, msgspec.json.decode(record.keys))
        except _NOT_OF_IT as error:
            raise self._strange(record, error) from None

    def _strange(self, record: Record, error: Exception) -> UsageError:
        return UsageError(
            f"record {record.sequence_number} is none of table {self._table}: keys or images are none of its "
            f"({type(error).__name__})",
            "Give --if-superseded send.",
        )

    async def survey(self, pages: AsyncGenerator[list[Record], None], passes: Callable[[Record], bool]) -> None:
        """Reads all records of the run ahead and judges each item; nothing where that was done before."""
        if self._db.execute("SELECT 1 FROM whole").fetchone():
            return
        with written(self._path):
            self._db.execute("DELETE FROM items")
        async with contextlib.aclosing(pages):
            async for page in pages:
                self._note(record for record in page if passes(record))
        await self._judge()
        with written(self._path):
            self._db.execute("INSERT INTO whole VALUES (1)")

    def _note(self, records: Iterable[Record]) -> None:
        rows = []
        for record in records:
            change = images(record)
            if record.event_name != "REMOVE" and change.new_image is None:
                raise UsageError(
                    "these records have no NewImage, so that nothing can be compared with the items",
                    "Give --if-superseded send.",
                )
            try:
                rows.append((self.key_of(record), digest(change.new_image, self._ignored)))
            except _NOT_OF_IT as error:
                raise self._strange(record, error) from None
        self._write("INSERT OR REPLACE INTO items (key, last) VALUES (?, ?)", rows)

    async def _judge(self) -> None:
        after = b""
        while rows := self._db.execute(
            "SELECT key, last FROM items WHERE key > ? ORDER BY key LIMIT ?", (after, dynamodb.KEYS_A_CALL)
        ).fetchall():
            after = rows[-1][0]
            now = await self._items([key for key, _ in rows])
            verdicts = [(_verdict(last, now.get(key)), key) for key, last in rows]
            self._write("UPDATE items SET verdict = ? WHERE key = ?", verdicts)

    def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        with written(self._path):
            self._db.execute("BEGIN")
            self._db.executemany(statement, rows)
            self._db.execute("COMMIT")

    async def _items(self, keys: list[bytes]) -> dict[bytes, bytes]:
        """Digest of each item as it is now, by a consistent read; absent items are left out."""
        found: dict[bytes, bytes] = {}
        for raw in await dynamodb.batch_get(self._wire, self._table, keys):
            item: dict[str, Any] = msgspec.json.decode(raw)
            found[canonical_key(self._schema, item)] = digest(item, self._ignored)
        return found

    async def skip(self, records: list[Record]) -> list[str | None]:
        """For each record None where it is to be sent, else why not."""
        verdicts: list[str | None] = []
        for record in records:
            row = self._db.execute("SELECT verdict FROM items WHERE key = ?", (self.key_of(record),)).fetchone()
            # A record that came after the survey is newer than all that was compared: it is sent.
            verdicts.append(None if row is None or row[0] == "current" else row[0])
        return verdicts

    def counts(self) -> dict[str, int]:
        """Items by verdict."""
        return dict(self._db.execute("SELECT verdict, count(*) FROM items GROUP BY verdict").fetchall())


class JustBefore(Verdicts):
    """Each item is looked at just before its batch is sent: what is ahead is only what the run's last record of it
    says."""

    async def _judge(self) -> None:
        """Not yet."""

    async def skip(self, records: list[Record]) -> list[str | None]:
        keys = [self.key_of(record) for record in records]
        now = await self._items(list(dict.fromkeys(keys)))
        verdicts: list[str | None] = []
        for key in keys:
            row = self._db.execute("SELECT last FROM items WHERE key = ?", (key,)).fetchone()
            verdict = "current" if row is None else _verdict(row[0], now.get(key))
            verdicts.append(None if verdict == "current" else verdict)
        return verdicts


async def open_verdicts(
    aws: Aws,
    table_name: str | None,
    ignored: Callable[[str], frozenset[str]],
    path: Path,
    stack: contextlib.AsyncExitStack,
    kind: type[Verdicts] = Verdicts,
) -> Verdicts:
    """The verdicts at `path`, closed with the stack. `ignored` tells by the table's ARN which attributes are not
    compared. Touched items differ from their records by the marker alone: that does not supersede them."""
    if table_name is None:
        raise UsageError(
            "these records do not name their table, so that nothing can be compared", "Give --if-superseded send."
        )
    table, _ = dynamodb.describe_table(aws, table_name)
    wire = await stack.enter_async_context(dynamodb.connect(aws, connections=4))
    verdicts = kind(path, wire, table.name, table.key, ignored(table.arn))
    stack.callback(verdicts.close)
    return verdicts


def _verdict(last: bytes, now: bytes | None) -> Verdict:
    """`last` is the digest of the item's last NewImage, b"" where its last record is a REMOVE."""
    if now is None:
        return "current" if last == b"" else "deleted"
    return "current" if last == now else "superseded"
