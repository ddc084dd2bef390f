"""What only looks: doctor and audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restrike.api.arguments import aws_of, given

if TYPE_CHECKING:
    from os import PathLike

    from restrike.auditing.plan import AuditPlan
    from restrike.model.diagnosis import Diagnosis


def doctor(
    table: str,
    *,
    since: str | None = None,
    until: str | None = None,
    last: str | None = None,
    key: str | None = None,
    consumer: str | None = None,
    archive: str | None = None,
    export: str | None = None,
    failures: str | None = None,
    timeout_s: float | None = None,
    ledger: str | PathLike[str] | None = None,
    region: str | None = None,
    profile: str | None = None,
    endpoint_url: str | None = None,
) -> Diagnosis:
    """Looks at a table and who reads it: what they may have lost, and the ways to fire it again. Writes nothing."""
    values = locals()
    from restrike.diagnosing.diagnose import diagnose
    from restrike.diagnosing.request import FLAGS, DoctorRequest
    from restrike.running.stop import run_to_end

    return run_to_end(diagnose(DoctorRequest(table=table, aws=aws_of(values), **given(FLAGS, values))))


def audit(
    table: str,
    against: str,
    *,
    partition_key: str | None = None,
    sort_key: str | None = None,
    index: str | None = None,
    date: str | None = None,
    date_format: str | None = None,
    tz: str | None = None,
    all: bool = False,  # noqa: A002 - the flag's name
    segments: int | None = None,
    keys: str | None = None,
    filter_expression: str | None = None,
    expression_attribute_names: str | None = None,
    expression_attribute_values: str | None = None,
    on: str | None = None,
    map: str | None = None,  # noqa: A002 - the flag's name
    as_of: str | None = None,
    archive: str | None = None,
    max_rru: float | None = None,
    price: str | None = None,
    run: str | None = None,
    plan_timeout_s: float | None = None,
    ledger: str | PathLike[str] | None = None,
    region: str | None = None,
    profile: str | None = None,
    endpoint_url: str | None = None,
) -> AuditPlan:
    """Plans to compare a table with a file or another table; `plan.execute()` does it and returns an AuditReport."""
    values = locals()
    from restrike.auditing.plan import plan
    from restrike.auditing.request import FLAGS, AuditRequest
    from restrike.selecting import request as selecting

    selection = selecting.SelectionRequest(**given(selecting.FLAGS, values))
    request = AuditRequest(
        table=table, against=against, selection=selection, aws=aws_of(values), **given(FLAGS, values)
    )
    return plan(request)
