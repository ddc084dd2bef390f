"""What only looks: doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restrike.api.arguments import aws_of, given

if TYPE_CHECKING:
    from os import PathLike

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
