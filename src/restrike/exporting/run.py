"""An export as a run of the ledger: how its counts are told."""

from __future__ import annotations

import msgspec

from restrike.exporting.windows import OWN, TABLES
from restrike.model.numbers import counted
from restrike.running.life import Verb
from restrike.running.run import Run, counts_as


class Counts(msgspec.Struct):
    """Windows of the run: all, complete, under way, failed, and how many were there already; items of those that are
    complete."""

    windows: int = 0
    completed: int = 0
    under_way: int = 0
    failed: int = 0
    started: int = 0
    found: int = 0
    items: int = 0
    billed_bytes: int = 0


def counts_of(run: Run) -> Counts:
    return msgspec.json.decode(run.counts, type=Counts)


def line(run: Run) -> str:
    counts = counts_of(run)
    parts = [f"{counts.completed:,} of {counted(counts.windows, 'window')}", counted(counts.items, "item")]
    parts += [f"{counts.under_way:,} under way"] if counts.under_way else []
    parts += [f"{counts.failed:,} failed"] if counts.failed else []
    return ", ".join(parts)


VERB = Verb("export", counts_as(Counts), line, frozenset({"profile"}), tables=TABLES, own_tables=OWN)
