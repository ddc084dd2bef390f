"""Commits of the ledger that fail, and processes that die at one: injected below it, where SQLite is called."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest

What = Literal["locked", "fails", "dies-before", "dies-after"]


class Commits:
    """Counts the commits of ledgers that are opened meanwhile; at number `at` (from 0) something happens.

    `locked`: its transaction cannot begin. `fails`: it cannot be committed. `dies-…`: nothing reaches the disk any
    more, as after the death of the process right before or after it.
    """

    def __init__(self, what: What, at: int) -> None:
        self._what = what
        self._at = at
        self._count = 0
        self.happened = False

    def begin(self) -> None:
        if self._what == "locked":
            self._count_up("database is locked")

    def commit(self, commit: Callable[[], sqlite3.Cursor]) -> sqlite3.Cursor:
        if self._what == "dies-after" and self._count == self._at:
            commit()
        if self._what != "locked":
            self._count_up("database or disk is full")
        return commit()

    def _count_up(self, error: str) -> None:
        number, self._count = self._count, self._count + 1
        if number == self._at:
            self.happened = True
            raise sqlite3.OperationalError(error)

    def check(self) -> None:
        if self.happened and self._what.startswith("dies"):
            raise sqlite3.OperationalError("the process is dead")


class _Connection(sqlite3.Connection):
    commits: Commits

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        self.commits.check()
        execute = functools.partial(super().execute, sql, *parameters)
        by_itself = not self.in_transaction and sql.startswith(("INSERT", "UPDATE", "DELETE"))
        if sql.startswith("BEGIN") or by_itself:
            self.commits.begin()
        return self.commits.commit(execute) if sql == "COMMIT" or by_itself else execute()

    def executemany(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        self.commits.check()
        return super().executemany(sql, *parameters)


@contextlib.contextmanager
def injected(what: What, at: int) -> Iterator[Commits]:
    """Ledgers that are opened inside meet that at their commit of that number, counted over all of them."""
    commits = Commits(what, at)
    connection = type("Connection", (_Connection,), {"commits": commits})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "restrike.running.database.sqlite3.connect", functools.partial(sqlite3.connect, factory=connection)
        )
        yield commits
