"""A capture as a run of the ledger: one for a table and an archive, taken up again by each start.

The archive is the only checkpoint; what the ledger has is for whoever looks.
"""

from __future__ import annotations

import hashlib

import msgspec

from restrike.capturing.request import place_of
from restrike.model.numbers import counted
from restrike.running.life import Verb
from restrike.running.run import Run, counts_as


class Counts(msgspec.Struct):
    """What was captured since the run is known, by all of its starts. `lag_s` is how far behind now it was when it was
    last heard of."""

    records: int = 0
    files: int = 0
    bytes: int = 0
    gaps: int = 0
    starts: int = 0
    lag_s: float | None = None


def name_of(table_arn: str, archive: str) -> str:
    """The same for the same table and archive, so that a scheduler does not fill the list."""
    table = table_arn.rpartition("/")[2]
    digest = hashlib.sha256(f"{table_arn} {place_of(archive)}".encode()).hexdigest()
    return f"capture-{table[:40]}-{digest[:8]}"


def identity(table_arn: str, archive: str) -> dict[str, str]:
    return {"table": table_arn, "archive": place_of(archive)}


def line(run: Run) -> str:
    counts = msgspec.json.decode(run.counts, type=Counts)
    parts = [f"{counted(counts.records, 'record')} in {counted(counts.files, 'file')}", counted(counts.starts, "start")]
    parts += [counted(counts.gaps, "gap")] if counts.gaps else []
    parts += [f"{counts.lag_s:,.0f} s behind"] if counts.lag_s is not None else []
    return ", ".join(parts)


VERB = Verb("capture", counts_as(Counts), line, reports_only=True)
