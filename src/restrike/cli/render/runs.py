"""How the list of runs looks, and one of them."""

from __future__ import annotations

from typing import Any

from restrike.cli.render.rows import show_columns
from restrike.cli.render.streams import put

COLUMNS = ("run", "verb", "state", "on", "did", "updated_at")


def show_list(summaries: list[dict[str, Any]]) -> None:
    """A row for each run, as columns on stdout."""
    show_columns([*COLUMNS[:-1], "updated"], [[str(each[name]) for name in COLUMNS] for each in summaries], frozenset())


def show_one(summary: dict[str, Any]) -> None:
    """What the ledger knows of a run, a line for each member that says something, on stdout."""
    told = {member: value for member, value in summary.items() if value not in (None, "", [], {})}
    width = max(len(member) for member in told)
    for member, value in told.items():
        put(f"{member:{width}}  {value}")
