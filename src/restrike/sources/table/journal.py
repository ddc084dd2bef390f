"""The keys that a reading of a table met, on disk, so that a place means the same item for as long as the run lives."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from restrike.running.spool import written


class Journal:
    """The keys of the pages that were read, on disk before their records are handed out, so that places hold.

    One row a page: the strand, the ordinal of its first item, the canonical keys, and the key to read on behind
    (None at the strand's end). A power cut takes no row that was written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with written(path):
            # Keys are people's data: nobody else reads them.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS pages"
                " (strand TEXT, first INTEGER, count INTEGER, keys BLOB, behind BLOB, PRIMARY KEY (strand, first))"
            )
            self._db.execute("CREATE TABLE IF NOT EXISTS about (id TEXT)")
            self._db.execute(
                "INSERT INTO about SELECT ? WHERE NOT EXISTS (SELECT 1 FROM about)", (secrets.token_hex(8),)
            )
            self.id = str(self._db.execute("SELECT id FROM about").fetchone()[0])
            """Tells it from any other, also from one that was made in its place."""

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def write(self, strand: str, first: int, keys: Sequence[bytes], behind: bytes | None) -> None:
        with self._lock:
            row = (strand, first, len(keys), b"[" + b",".join(keys) + b"]", behind)
            with written(self._path):
                self._db.execute("INSERT INTO pages VALUES (?, ?, ?, ?, ?)", row)

    def after(self, strand: str, place: int) -> list[tuple[int, bytes]]:
        """The (ordinal, key) behind that place, of the next page that has any."""
        with self._lock:
            row = self._db.execute(
                "SELECT first, keys FROM pages WHERE strand = ? AND first + count - 1 > ? ORDER BY first LIMIT 1",
                (strand, place),
            ).fetchone()
        if row is None:
            return []
        first, text = row
        keys = enumerate(msgspec.json.decode(text, type=list[msgspec.Raw]), first)
        return [(ordinal, bytes(key)) for ordinal, key in keys if ordinal > place]

    def end(self, strand: str) -> tuple[int, bytes | None] | None:
        """The last ordinal of the strand, and the key to read on behind; None where nothing was read."""
        with self._lock:
            row = self._db.execute(
                "SELECT first + count - 1, behind FROM pages WHERE strand = ? ORDER BY first DESC LIMIT 1", (strand,)
            ).fetchone()
        return (int(row[0]), row[1]) if row is not None else None
