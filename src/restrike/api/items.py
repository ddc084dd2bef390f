"""What writes the items of a table: touch and unmark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from restrike.api.arguments import aws_of, given

if TYPE_CHECKING:
    from os import PathLike

    from restrike.touching.plan import TouchPlan


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

    selection = selecting.SelectionRequest(**given(selecting.FLAGS, values))
    return plan(TouchRequest(table=table, selection=selection, aws=aws_of(values), **given(FLAGS, values)))


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

    selection = selecting.SelectionRequest(**given(selecting.FLAGS, values))
    return plan(TouchRequest(table=table, selection=selection, aws=aws_of(values), **given(UNMARK_FLAGS, values)))
