"""What audit needs of IAM: reading, and nothing else."""

from __future__ import annotations

from restrike.auditing.request import OF_A_TABLE, AuditRequest
from restrike.auditing.settled import settled_of
from restrike.aws import permissions as aws
from restrike.aws.settings import AwsSettings
from restrike.model.permissions import Need, Scope
from restrike.running.run import Run
from restrike.selecting import permissions as selecting
from restrike.selecting.request import SelectionRequest, is_empty
from restrike.stores import permissions as stores

WHOLE = SelectionRequest(all=True)


def needs(request: AuditRequest, scope: Scope) -> tuple[Need, ...]:
    selection = WHOLE if is_empty(request.selection) else request.selection
    other = request.against.removeprefix(OF_A_TABLE) if request.kind == "table" else None
    return (
        *_table(request.table, selection, scope),
        *(_table(other, WHOLE, scope) if other is not None else ()),
        aws.reading_stream(
            scope,
            request.table,
            without="what has moved meanwhile is not known of all that differs",
            sid="Moved",
        ),
        *stores.reading(scope, (request.archive or "").removeprefix("archive:")),
    )


def _table(table: str, selection: SelectionRequest, scope: Scope) -> tuple[Need, ...]:
    """What differs is read once more, by its keys."""
    return (aws.describing(scope, table), aws.items(scope, table), *selecting.reading(scope, table, selection))


def asked_of(run: Run) -> tuple[AuditRequest, AwsSettings]:
    """What a run goes on with, and where AWS is for it."""
    settled = settled_of(run.request)
    return settled.request, settled.aws
