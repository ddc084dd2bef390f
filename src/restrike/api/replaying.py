"""What hands records over, or shows them: replay, redrive and records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from restrike.api.arguments import aws_of, given, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from restrike.model.record import Record
    from restrike.replaying.plan import ReplayPlan
    from restrike.replaying.redriving.from_queue import QueuePlan
    from restrike.replaying.redriving.plan import RedrivePlan
    from restrike.replaying.redriving.rescue import RescuePlan


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
            filters=filters.FilterRequest(**given(filters.FLAGS, values)),
            source_options=given(sources.flags(), values),
            target_options=given(targets.flags(), values),
            aws=aws_of(values),
            **given(FLAGS, values),
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
        source_options=given((ARCHIVE,), values),
        target_options=given(targets.flags(), values),
        aws=aws_of(values),
        **given(DELIVERY, values),
    )
    return plan_of(RedriveRequest(asked, **given(OWN, values)))


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
            filters=filters.FilterRequest(**given(filters.FLAGS, values)),
            source_options=given(sources.flags(), values),
            allow_gaps=allow_gaps,
            ledger=text(ledger),
            aws=aws_of(values),
        )
    )
