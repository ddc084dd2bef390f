"""What choosing items needs of IAM."""

from __future__ import annotations

import re

from restrike.errors import UsageError
from restrike.model.permissions import Kept, Need, Scope
from restrike.selecting.request import SelectionRequest, several, ways

_INDEX = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_ANY = "no items are chosen: every way to choose some is allowed. Narrower with --index, --date, --partition-key, …"
NEEDED_BY = frozenset({"partition_key", "index", "date", "date_format", "all", "keys"})
"""The fields of a selection that make a difference."""


def reading(scope: Scope, table: str, request: SelectionRequest) -> tuple[Need, ...]:
    """Finding and reading them; where none are chosen, whatever may be. UsageError for flags that contradict one
    another."""
    chosen = ways(request)
    if len(chosen) > 1:
        raise UsageError(several(chosen), "Give one of them.")
    if "--keys" in chosen:
        if request.index is not None:
            raise UsageError("--keys names items: it takes no --index")
        return ()
    if request.index is not None:
        if not _INDEX.fullmatch(request.index):
            raise UsageError(
                f"{request.index!r} is no name of an index", "It has 3 to 255 letters, digits, _, - and dots."
            )
        resources: tuple[str, ...] = (scope.index(table, request.index),)
    elif "--date" in chosen:
        raise UsageError("--date needs the --index whose key is the date", "Give --index NAME.")
    else:
        resources = (scope.table(table),) if chosen else (scope.table(table), scope.index(table, "*"))
    if request.date_format is not None and request.date is None:
        raise UsageError("--date-format goes with --date")
    note = "" if chosen or request.index is not None else _ANY
    return (Need("Select", _actions(chosen, request), resources, kept=Kept("table", table), note=note),)


def _actions(chosen: list[str], request: SelectionRequest) -> tuple[str, ...]:
    query, scan = "dynamodb:Query", "dynamodb:Scan"
    if chosen == ["--all"]:
        return (scan,)
    if chosen == ["--partition-key"] or (chosen and request.date_format is not None):
        return (query,)
    return (query, scan)  # by date, too: the form of the dates is taken from the first item that a scan finds
