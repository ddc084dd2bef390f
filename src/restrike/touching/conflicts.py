"""What a touch can undo in another Region of a global table, and that somebody has accepted it for this execution.

With eventual consistency each Region takes writes by itself, and where two meet, the later one wins for the whole item:
the write of a touch carries the item as it was here. No condition helps: it is judged by this Region's copy alone.
(docs.aws.amazon.com, amazondynamodb, V2globaltables_HowItWorks.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from restrike.errors import UsageError
from restrike.model.plan import PlanWarning
from restrike.model.table import LEGACY_GLOBAL, TableInfo
from restrike.running.flags import ACCEPT_REPLICATION_CONFLICTS
from restrike.touching.request import TouchRequest

ACCEPT = ACCEPT_REPLICATION_CONFLICTS.name
LEGACY_ATTRIBUTE = "aws:rep:updateregion"
"""What replication of version 2017.11.29 writes on every item."""
_ADVICE = "Touch in the Region that writes, when it is quiet"


def as_items_tell(table: TableInfo, items: Iterable[Mapping[str, Any]]) -> TableInfo:
    """The table as one of the legacy version where its items bear that one's attribute: DescribeTable does not tell."""
    if table.consistency is not None or not any(LEGACY_ATTRIBUTE in item for item in items):
        return table
    return msgspec.structs.replace(table, consistency="EVENTUAL", global_version=LEGACY_GLOBAL)


def replicas(table: TableInfo) -> str:
    """The other Regions of a global table, for people."""
    told = ", ".join(table.replica_regions) or "DescribeTable does not name them"
    return f"{told}; version {LEGACY_GLOBAL}" if table.global_version == LEGACY_GLOBAL else told


def danger(table: TableInfo) -> str:
    """What may be lost."""
    return (
        f"a global table with eventual consistency (replicas: {replicas(table)}): a write or delete of another Region "
        "that has not been replicated yet can be undone, since the last writer wins for the whole item, and the "
        "condition of a write sees this Region alone"
    )


def warning(table: TableInfo) -> PlanWarning:
    """What may be lost, what helps, and what executing it takes."""
    return PlanWarning("replication-conflicts", f"{danger(table)}. {_ADVICE}. --execute needs {ACCEPT}.")


def check_accepted(request: TouchRequest, *seen: TableInfo) -> None:
    """UsageError where a write can undo another Region's, as the table was at any time seen, and nobody has accepted
    that."""
    for table in seen:
        if table.replicates_eventually and not request.accept_replication_conflicts:
            text = f"table {table.name} is {danger(table)}; nothing was written"
            raise UsageError(text, f"{_ADVICE}, and add {ACCEPT}.")


def check_of_use(request: TouchRequest, table: TableInfo) -> None:
    """UsageError where there is nothing to accept."""
    if not request.accept_replication_conflicts or table.replicates_eventually:
        return
    why = "no global table"
    if table.consistency == "STRONG":
        why = "a global table with strong consistency, whose Regions undo no write of each other"
    raise UsageError(f"{ACCEPT} has no use here: table {table.name} is {why}", "Leave it out.")


def as_it_must_be_given(request: TouchRequest, table: TableInfo) -> TouchRequest:
    """The request with what it needs to be executed: that is what a printed command says."""
    return msgspec.structs.replace(request, accept_replication_conflicts=table.replicates_eventually)


def resume_words(table: TableInfo) -> tuple[str, ...]:
    """What whoever goes on with a run must say each time."""
    return (ACCEPT,) if table.replicates_eventually else ()
