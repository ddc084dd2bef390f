"""How the list of runs looks, and one of them."""

from __future__ import annotations

import shutil
import sys
import time
from datetime import UTC, datetime
from typing import Any

from restrike.cli.render.rows import show_columns
from restrike.cli.render.streams import put, say

COLUMNS = ("run", "verb", "state", "began", "age", "took", "on", "did")
_IN_TWO = ("run", "state", "began", "age", "took")
"""Of the first of two lines; what it is on and did stands in the second."""


def show_list(summaries: list[dict[str, Any]], *, more: int) -> None:
    """A row for each run, as columns on stdout; on a terminal that is too narrow two lines for each. `more` runs are
    not among them."""
    now = time.time()
    rows = [_row(each, now) for each in summaries]
    widest = sum(max((len(row[name]) for row in [*rows, _HEADER]), default=0) + 2 for name in COLUMNS) - 2
    width = shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else widest
    if widest <= width:
        show_columns(list(COLUMNS), [[row[name] for name in COLUMNS] for row in rows], frozenset())
    else:
        _show_in_two(rows, width)
    if more:
        say(f"{more:,} older ones: --limit 0 shows all")


_HEADER = {name: name for name in COLUMNS}


def _show_in_two(rows: list[dict[str, str]], width: int) -> None:
    widths = {name: max(len(row[name]) for row in [*rows, _HEADER]) for name in _IN_TWO}
    for row in [_HEADER, *rows]:
        put(" ".join(row[name].ljust(widths[name]) for name in _IN_TWO).rstrip())
        if row is not _HEADER:
            put(_cut(f"  {row['verb']} {row['on']}: {row['did']}", width))


def _row(summary: dict[str, Any], now: float) -> dict[str, str]:
    began = datetime.fromisoformat(summary["created_at"])
    same_year = began.year == datetime.fromtimestamp(now, UTC).year
    took = summary["elapsed_s"]
    return {name: str(summary.get(name, "")) for name in COLUMNS} | {
        "began": f"{began:%m-%d %H:%M}" if same_year else f"{began:%Y-%m-%d}",
        "age": short(now - began.timestamp()),
        "took": short(took) if took else "",
    }


def short(seconds: float) -> str:
    """A length of time in at most six letters: 0.4 s, 12 s, 3 min, 2 h, 5 d."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    for unit_s, name, most in ((1, "s", 100), (60, "min", 100), (3600, "h", 48)):
        if seconds / unit_s < most:
            return f"{seconds / unit_s:.0f} {name}"
    return f"{seconds / 86400:.0f} d"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def show_one(summary: dict[str, Any]) -> None:
    """What the ledger knows of a run, a line for each member that says something, on stdout."""
    told = {member: value for member, value in summary.items() if value not in (None, "", [], {})}
    width = max(len(member) for member in told)
    for member, value in told.items():
        for line in value if isinstance(value, list) else [value]:
            put(f"{member:{width}}  {line}")
