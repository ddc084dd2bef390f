"""What keeps records for later: capture and export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restrike.api.arguments import aws_of, given

if TYPE_CHECKING:
    from os import PathLike

    from restrike.capturing.plan import CapturePlan
    from restrike.exporting.plan import ExportPlan


def capture(
    table: str,
    to: str,
    *,
    since: str | None = None,
    follow: bool = False,
    flush_seconds: float | None = None,
    flush_mb: float | None = None,
    poll_seconds: float | None = None,
    price: str | None = None,
    ledger: str | PathLike[str] | None = None,
    region: str | None = None,
    profile: str | None = None,
    endpoint_url: str | None = None,
) -> CapturePlan:
    """Plans a capture of a table's stream into an archive; `plan.execute()` carries it out and returns a CaptureReport.

    Needs the extra `archive`.
    """
    values = locals()
    from restrike.archive import require_packages

    require_packages()
    from restrike.capturing.plan import plan
    from restrike.capturing.request import FLAGS, CaptureRequest

    return plan(CaptureRequest(table=table, to=to, follow=follow, aws=aws_of(values), **given(FLAGS, values)))


def export(
    table: str,
    to: str,
    *,
    since: str | None = None,
    until: str | None = None,
    window: str | None = None,
    key: str | None = None,
    bucket_owner: str | None = None,
    kms_key: str | None = None,
    timeout_s: float | None = None,
    run: str | None = None,
    ledger: str | PathLike[str] | None = None,
    region: str | None = None,
    profile: str | None = None,
    endpoint_url: str | None = None,
) -> ExportPlan:
    """Plans to have DynamoDB export a span of time to S3; `plan.execute()` waits for it and returns an ExportReport."""
    values = locals()
    from restrike.exporting.plan import plan
    from restrike.exporting.request import FLAGS, ExportRequest

    return plan(ExportRequest(table=table, to=to, aws=aws_of(values), **given(FLAGS, values)))
