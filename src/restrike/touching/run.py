"""A touch as a run of the ledger: what it is asked for, what makes it this run, and how its counts are told."""

from __future__ import annotations

from typing import Any

import msgspec

from restrike.model.report import Counts
from restrike.model.selection import Selection, identity_parts
from restrike.model.table import TABLE_ID, TableInfo
from restrike.running.life import Verb
from restrike.running.run import Run
from restrike.touching.book import STREAM, Saved
from restrike.touching.options import Options
from restrike.touching.request import TouchRequest
from restrike.touching.tables import OWN_TABLES, TABLES

KEYS = "keys.db"
"""In the run's folder: the keys that were given, or those of an index in the table's order."""


class Asked(msgspec.Struct, frozen=True):
    """All that a touch goes on with, from whatever process and folder: nothing of it is read or parsed again."""

    request: TouchRequest
    selection: Selection
    options: Options
    wcu_per_item: float


def identity(asked: Asked, table: TableInfo) -> dict[str, str]:
    """What makes it the same run: the table, the items, and what is written. Not pace, limit, proof or retries."""
    options = asked.options
    parts = {"table": table.arn, TABLE_ID: table.id, **identity_parts(asked.selection), options.mode: options.attribute}
    if options.mode == "unmark":
        parts |= {"run": ", ".join(options.names)}
    return parts | ({"order": "by sort key"} if options.ordered else {})


def summary(run: Run) -> dict[str, Any]:
    """The counts of a run as `--json` prints them."""
    saved = msgspec.json.decode(run.counts, type=Saved)
    counts: Counts = saved.counts
    seen = None if saved.seen is None else saved.seen + saved.unanswered
    return {**msgspec.to_builtins(counts), "seen": seen, "consumed_wcu": saved.consumed_wcu}


def line(run: Run) -> str:
    """What it did, in words."""
    told = summary(run)
    parts = [f"{told['selected']:,} selected", f"{told['fired']:,} fired"]
    if told["seen"] is not None:
        parts.append(f"{told['seen']:,} seen")
    if told["overwrote"]:
        parts.append(f"{told['overwrote']:,} bore another run's name")
    parts += [
        f"{told[name]:,} {name}"
        for name in ("already", "gone", "changed", "refused", "unknown", "failed")
        if told[name]
    ]
    return ", ".join(parts)


TAKES = frozenset(
    {
        "limit",
        "rate",
        "max_wcu",
        "max_lag",
        "max_lag_wait",
        "concurrency",
        "verify",
        "profile",
        "force",
        "accept_replication_conflicts",
    }
)
VERB = Verb("touch", summary, line, TAKES, tables=TABLES, own_tables=OWN_TABLES, kept_places=(STREAM,))
UNMARK = Verb("unmark", summary, line, TAKES, tables=TABLES, own_tables=OWN_TABLES, kept_places=(STREAM,))


def verb_writing(mode: str) -> Verb:
    """The verb whose runs write so."""
    return UNMARK if mode == "unmark" else VERB
