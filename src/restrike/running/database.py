"""The ledger's file: one SQLite database, known by its application_id, with a version of its form.

A file that is there is looked at before SQLite opens it, so that one of another program, of an older or a newer
restrike is refused and stays as it is, to the byte. Every error of SQLite's becomes one of ours here.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from restrike.errors import RestrikeError, UsageError

APPLICATION_ID = 0x5265_7374  # "Rest"
FORM = 1
"""Counts up when the tables change so that what an older restrike wrote cannot be read any more."""
BUSY_S = 30.0
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_FORM_AT, _APPLICATION_AT = 60, 68  # of the header, four bytes each, big-endian (SQLite's file format, 1.3)


class LedgerFailed(RestrikeError):
    """The ledger cannot be written or read any more. What was committed is there; what was not, is not."""


class Database:
    """One file. Use as a context manager; `read_only` neither makes a file nor changes one.

    A read-only database of a file that is not there is empty.
    """

    def __init__(self, path: Path, schema: str, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        try:
            exists = _check(path)
            if read_only:
                self._db = _reading(path) if exists else _empty(schema)
            else:
                self._db = _writing(path, schema)
        except (sqlite3.Error, OSError) as error:
            raise UsageError(
                f"cannot open the ledger {path}: {_why(error)}",
                "Make room on its disk, or give another file with --ledger.",
            ) from None

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def install(self, tables: str) -> None:
        """Makes the tables of a verb's own, where they are not there yet."""
        with self._mapped():
            self._db.executescript(tables)

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> int:
        """Carries out one statement; returns how many rows it changed."""
        with self._mapped():
            return self._db.execute(statement, parameters).rowcount

    def many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        with self._mapped():
            self._db.executemany(statement, rows)

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]:
        with self._mapped():
            return self._db.execute(query, parameters).fetchall()

    def row(self, query: str, parameters: Sequence[Any] = ()) -> Any:
        """The first row, or None."""
        with self._mapped():
            return self._db.execute(query, parameters).fetchone()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is durable together, or not at all. Raises LedgerFailed for the latter."""
        with self._mapped():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # it rolls back by itself where the disk is full
                    self._db.execute("ROLLBACK")
                raise
            try:
                self._db.execute("COMMIT")
            except sqlite3.Error:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    def relax(self) -> None:
        """From now on a commit survives the process, but not a power cut."""
        self.execute("PRAGMA synchronous=NORMAL")

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            verb = "read" if self.read_only else "write"
            raise LedgerFailed(
                f"cannot {verb} the ledger {self.path}: {_why(error)}",
                "Make room on its disk, or wait for who holds it; what was saved before is there.",
            ) from None


def _check(path: Path) -> bool:
    """Whether the file is there; UsageError where it is not a ledger that this restrike can read."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        return False
    if not header:
        return False  # nothing in it: it becomes a ledger
    if not header.startswith(_MAGIC) or len(header) < _HEADER_BYTES:
        raise UsageError(f"{path} is no ledger of restrike's: it is no SQLite file", _OTHER_FILE)
    application = int.from_bytes(header[_APPLICATION_AT : _APPLICATION_AT + 4], "big")
    form = int.from_bytes(header[_FORM_AT : _FORM_AT + 4], "big")
    if application != APPLICATION_ID:
        raise UsageError(
            f"{path} is no ledger that this restrike can read: it is an SQLite file of another program, or a ledger "
            "from before ledgers had a version",
            _OTHER_FILE,
        )
    if form != FORM:
        age = "a newer" if form > FORM else "an older"
        hint = "Update restrike, or give another file with --ledger." if form > FORM else _OTHER_FILE
        raise UsageError(f"{path} was written by {age} restrike (form {form}; this one has {FORM})", hint)
    return True


_OTHER_FILE = "It was left as it is. Give another file with --ledger, or move it away."


def _writing(path: Path, schema: str) -> sqlite3.Connection:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Whole items may stand in what lies beside it, and keys in itself: nobody else reads them.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            # Before the journal is one of its own: the header tells what the file is.
            db.execute("BEGIN IMMEDIATE")
            if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                for statement in schema.split(";"):
                    if statement.strip():
                        db.execute(statement)
                db.execute(f"PRAGMA application_id={APPLICATION_ID}")
                db.execute(f"PRAGMA user_version={FORM}")
            db.execute("COMMIT")
        db.execute("PRAGMA journal_mode=WAL")
        # A commit survives a power cut: the counter's write-ahead and the places rely on it.
        db.execute("PRAGMA synchronous=FULL")
    except BaseException:
        db.close()
        raise
    return db


def _reading(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True, timeout=BUSY_S, check_same_thread=False)
    try:
        db.execute("SELECT 1 FROM runs LIMIT 1")
    except sqlite3.OperationalError:
        # A folder that may not be written: SQLite cannot make the file that readers share.
        db.close()
        db = sqlite3.connect(f"file:{_quoted(path)}?immutable=1", uri=True, timeout=BUSY_S, check_same_thread=False)
    return db


def _quoted(path: Path) -> str:
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _empty(schema: str) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", check_same_thread=False)
    db.executescript(schema)
    return db


def _why(error: sqlite3.Error | OSError) -> str:
    return str(error.strerror or error) if isinstance(error, OSError) else str(error)
