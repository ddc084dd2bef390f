"""The functions of the public API, each with the command line's flags as keyword arguments.

Spelled out, so that an editor shows them and a type checker holds callers to them; a test holds them to the flags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

    from restrike.aws.settings import AwsSettings
    from restrike.capturing.plan import CapturePlan
    from restrike.exporting.plan import ExportPlan
    from restrike.model.diagnosis import Diagnosis
    from restrike.model.flags import Flag
    from restrike.model.record import Record
    from restrike.replaying.plan import ReplayPlan
    from restrike.replaying.redriving.from_queue import QueuePlan
    from restrike.replaying.redriving.plan import RedrivePlan
    from restrike.replaying.redriving.rescue import RescuePlan
    from restrike.running.run import Run
    from restrike.touching.plan import TouchPlan


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

    return run_to_end(diagnose(DoctorRequest(table=table, aws=_aws(values), **_given(FLAGS, values))))


def touch(
    table: str,
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
    limit: int | None = None,
    marker: str | None = None,
    over: str | None = None,
    counter: str | None = None,
    api: Literal["partiql", "update-item"] | None = None,
    ordered: bool = False,
    concurrency: int | None = None,
    rate: float | Literal["max"] | None = None,
    max_wcu: float | None = None,
    max_lag: str | None = None,
    max_lag_wait: str | None = None,
    price: str | None = None,
    verify: bool | None = None,
    verify_timeout_s: float | None = None,
    run: str | None = None,
    again: bool = False,
    plan_timeout_s: float | None = None,
    expect_account: str | None = None,
    force: bool = False,
    accept_replication_conflicts: bool = False,
    ledger: str | PathLike[str] | None = None,
    region: str | None = None,
    profile: str | None = None,
    endpoint_url: str | None = None,
) -> TouchPlan:
    """Plans a touch of a table's items; `plan.execute()` carries it out and returns a TouchReport."""
    values = locals()
    from restrike.selecting import request as selecting
    from restrike.touching.plan import plan
    from restrike.touching.request import FLAGS, TouchRequest

    selection = selecting.SelectionRequest(**_given(selecting.FLAGS, values))
    return plan(TouchRequest(table=table, selection=selection, aws=_aws(values), **_given(FLAGS, values)))


def unmark(
    table: str,
    run: str,
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
    limit: int | None = None,
    marker: str | None = None,
    api: Literal["partiql", "update-item"] | None = None,
    ordered: bool = False,
    concurrency: int | None = None,
    rate: float | Literal["max"] | None = None,
    max_wcu: float | None = None,
    max_lag: str | None = None,
    max_lag_wait: str | None = None,
    price: str | None = None,
    verify: bool | None = None,
    verify_timeout_s: float | None = None,
    again: bool = False,
    plan_timeout_s: float | None = None,
    expect_account: str | None = None,
    force: bool = False,
    accept_replication_conflicts: bool = False,
    ledger: str | PathLike[str] | None = None,
    region: str | None = None,
    profile: str | None = None,
    endpoint_url: str | None = None,
) -> TouchPlan:
    """Plans to take the name of `run` off the items that bear it: of those that it touched, where no others are chosen.

    `plan.execute()` carries it out and returns a TouchReport; the stream fires once more for each item.
    """
    values = locals() | {"remove": run}
    from restrike.selecting import request as selecting
    from restrike.touching.request import UNMARK_FLAGS, TouchRequest
    from restrike.touching.unmarking.plan import plan

    selection = selecting.SelectionRequest(**_given(selecting.FLAGS, values))
    return plan(TouchRequest(table=table, selection=selection, aws=_aws(values), **_given(UNMARK_FLAGS, values)))


def replay(
    source: str,
    to: str,
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
    as_event: Literal["INSERT", "MODIFY", "REMOVE"] | None = None,
    old_image: bool | None = None,
    view_type: Literal["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"] | None = None,
    key_attributes: str | None = None,
    leave_out: str | None = None,
    verify_first: bool = False,
    follow: bool = False,
    archive: str | None = None,
    since: str | None = None,
    until: str | None = None,
    last: str | None = None,
    key: str | None = None,
    event: str | None = None,
    pattern: str | None = None,
    where: str | None = None,
    limit: int | None = None,
    allow_gaps: bool = False,
    batch_size: int | None = None,
    max_payload: int | None = None,
    retries: int | None = None,
    bisect: bool | None = None,
    report_batch_item_failures: bool | None = None,
    max_age_s: float | None = None,
    parallel: int | None = None,
    rate: float | None = None,
    price: str | None = None,
    max_failures: int | None = None,
    max_failures_in_a_row: int | None = None,
    on_failure: str | None = None,
    if_superseded: Literal["send", "skip"] | None = None,
    ignore_attributes: str | None = None,
    event_id: Literal["keep", "fresh"] | None = None,
    events: bool = False,
    timeout_s: float | None = None,
    run: str | None = None,
    plan_timeout_s: float | None = None,
    ledger: str | PathLike[str] | None = None,
    region: str | None = None,
    profile: str | None = None,
    endpoint_url: str | None = None,
) -> ReplayPlan:
    """Plans a replay of a source's records to one target; `plan.execute()` delivers them and returns a ReplayReport."""
    values = locals()
    from restrike import sources, targets
    from restrike.replaying import filters
    from restrike.replaying.plan import plan
    from restrike.replaying.request import FLAGS, ReplayRequest

    return plan(
        ReplayRequest(
            source=source,
            to=to,
            filters=filters.FilterRequest(**_given(filters.FLAGS, values)),
            source_options=_given(sources.flags(), values),
            target_options=_given(targets.flags(), values),
            aws=_aws(values),
            **_given(FLAGS, values),
        )
    )


def redrive(
    failures: str,
    to: str | None = None,
    *,
    archive: str | None = None,
    rescue: str | None = None,
    keep: bool = False,
    delete_objects: bool = False,
    if_superseded: Literal["send", "skip"] | None = None,
    ignore_attributes: str | None = None,
    allow_gaps: bool = False,
    batch_size: int | None = None,
    max_payload: int | None = None,
    retries: int | None = None,
    bisect: bool | None = None,
    report_batch_item_failures: bool | None = None,
    max_age_s: float | None = None,
    parallel: int | None = None,
    rate: float | None = None,
    max_failures: int | None = None,
    max_failures_in_a_row: int | None = None,
    on_failure: str | None = None,
    event_id: Literal["keep", "fresh"] | None = None,
    events: bool = False,
    timeout_s: float | None = None,
    price: str | None = None,
    run: str | None = None,
    plan_timeout_s: float | None = None,
    ledger: str | PathLike[str] | None = None,
    region: str | None = None,
    profile: str | None = None,
    endpoint_url: str | None = None,
) -> RedrivePlan | QueuePlan | RescuePlan:
    """Plans to hand what a mapping gave up to its consumer once more; `plan.execute()` does it and returns a
    RedriveReport. With `rescue` it plans to write the records down, and `to` is left out."""
    values = locals()
    from restrike import targets
    from restrike.replaying.redriving.asked import plan_of
    from restrike.replaying.redriving.request import ARCHIVE, DELIVERY, OWN, RedriveRequest
    from restrike.replaying.request import ReplayRequest

    asked = ReplayRequest(
        source=failures,
        to=to or "",
        source_options=_given((ARCHIVE,), values),
        target_options=_given(targets.flags(), values),
        aws=_aws(values),
        **_given(DELIVERY, values),
    )
    return plan_of(RedriveRequest(asked, **_given(OWN, values)))


def records(
    source: str,
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
    as_event: Literal["INSERT", "MODIFY", "REMOVE"] | None = None,
    old_image: bool | None = None,
    view_type: Literal["KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES"] | None = None,
    key_attributes: str | None = None,
    leave_out: str | None = None,
    verify_first: bool = False,
    follow: bool = False,
    archive: str | None = None,
    since: str | None = None,
    until: str | None = None,
    last: str | None = None,
    key: str | None = None,
    event: str | None = None,
    pattern: str | None = None,
    where: str | None = None,
    limit: int | None = None,
    allow_gaps: bool = False,
    ledger: str | PathLike[str] | None = None,
    region: str | None = None,
    profile: str | None = None,
    endpoint_url: str | None = None,
) -> Iterator[Record]:
    """The records of a source that pass the window and filters; nothing is delivered and nothing is kept."""
    values = locals()
    from restrike import sources
    from restrike.replaying import filters
    from restrike.replaying.records import read_records
    from restrike.replaying.request import ReplayRequest

    return read_records(
        ReplayRequest(
            source=source,
            to="-",
            filters=filters.FilterRequest(**_given(filters.FLAGS, values)),
            source_options=_given(sources.flags(), values),
            allow_gaps=allow_gaps,
            ledger=_text(ledger),
            aws=_aws(values),
        )
    )


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

    return plan(CaptureRequest(table=table, to=to, follow=follow, aws=_aws(values), **_given(FLAGS, values)))


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

    return plan(ExportRequest(table=table, to=to, aws=_aws(values), **_given(FLAGS, values)))


def runs(*, ledger: str | PathLike[str] | None = None) -> list[Run]:
    """The runs that a ledger knows, the newest first; a ledger that is not there has none."""
    from restrike.running.ledger import Ledger, ledger_path

    with Ledger(ledger_path(_text(ledger)), read_only=True) as book:
        return book.runs()


def resume(
    name: str,
    *,
    ledger: str | PathLike[str] | None = None,
    limit: int | None = None,
    rate: float | Literal["max"] | None = None,
    max_wcu: float | None = None,
    max_lag: str | None = None,
    max_lag_wait: str | None = None,
    verify: bool | None = None,
    concurrency: int | None = None,
    parallel: int | None = None,
    retries: int | None = None,
    max_failures: int | None = None,
    max_failures_in_a_row: int | None = None,
    profile: str | None = None,
    force: bool = False,
    accept_replication_conflicts: bool = False,
) -> TouchPlan | ReplayPlan | RedrivePlan | CapturePlan | ExportPlan:
    """The plan that goes on with a run as it was planned, but for what is given here; `plan.execute()` carries it out.

    UsageError where the run is complete, where its verb has no such setting, or where this restrike does not know it.
    """
    values = locals()
    from restrike.running.flags import RESUME
    from restrike.running.ledger import Ledger, ledger_path
    from restrike.verbs import plan_to_resume

    path = ledger_path(_text(ledger))
    with Ledger(path, read_only=True) as book:
        run = book.get(name)
    plan: TouchPlan | ReplayPlan | CapturePlan | ExportPlan = plan_to_resume(run, path, _given(RESUME, values))
    return plan


def _given(flags: Iterable[Flag], values: dict[str, Any]) -> dict[str, Any]:
    """The arguments that were given, by the fields that those flags fill."""
    from restrike.model.flags import given

    found = given(flags, values)
    return found | {"ledger": _text(found["ledger"])} if "ledger" in found else found


def _aws(values: dict[str, Any]) -> AwsSettings:
    from restrike.aws.settings import FLAGS, AwsSettings

    return AwsSettings(**_given(FLAGS, values))


def _text(path: str | PathLike[str] | None) -> str | None:
    import os

    return None if path is None else os.fspath(path)
