"""Fire a DynamoDB stream again: the public Python API.

    import restrike

    plan = restrike.touch("orders", index="by_created_ymd", date_from="2021-01-22", date_to="2021-01-22")
    print(plan.data.items.count, plan.warnings)
    report = plan.execute()

Nothing is written before `execute`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from restrike.capturing.plan import Plan as CapturePlan
    from restrike.model.record import Record
    from restrike.replaying.plan import Plan as ReplayPlan
    from restrike.touching.plan import Plan

__all__ = ["capture", "records", "replay", "touch"]


def touch(table: str, **request: Any) -> Plan:
    """Plans a touch of a table's items; `plan.execute(on_progress=…)` carries it out and returns the report.

    Keyword arguments are the fields of `restrike.touching.request.TouchRequest`: the command line's flags with
    underscores (`date_from` and `date_to` for --from and --to; `region`, `profile`, `endpoint_url` for AWS).
    Raises the exceptions of `restrike.errors`.
    """
    from restrike.aws.settings import AwsSettings
    from restrike.touching.plan import plan
    from restrike.touching.request import TouchRequest

    settings = {name: request.pop(name) for name in ("region", "profile", "endpoint_url") if name in request}
    return plan(TouchRequest(table=table, aws=AwsSettings(**settings), **request))


def replay(source: str, to: str, **request: Any) -> ReplayPlan:
    """Plans a replay of a source's records to one target; `plan.execute(on_progress=…)` delivers them.

    Keyword arguments are the fields of `restrike.replaying.request.ReplayRequest` and of its `FilterRequest`
    (`since`, `until`, `last`, `key`, `event`, `pattern`, `where`, `limit`), and `region`, `profile`, `endpoint_url`.
    The items of a `table:` source are chosen by `selection=TouchRequest(…)`.
    """
    from restrike.replaying.plan import plan

    return plan(_replay_request(source, to, request))


def records(source: str, **request: Any) -> Iterator[Record]:
    """The records of a source that pass the window and filters; arguments as for `replay`."""
    from restrike.replaying.plan import read_records

    return read_records(_replay_request(source, "-", request))


def capture(table: str, to: str, **request: Any) -> CapturePlan:
    """Plans a capture of a table's stream into an archive; `plan.execute(on_status=…)` carries it out.

    Keyword arguments are the fields of `restrike.capturing.plan.CaptureRequest` (`since`, `follow`, `flush_seconds`,
    `flush_mb`, `poll_seconds`), and `region`, `profile`, `endpoint_url`. Needs the extra `archive`.
    """
    from restrike.archive import require_packages

    require_packages()
    from restrike.aws.settings import AwsSettings
    from restrike.capturing.plan import CaptureRequest, plan

    settings = {name: request.pop(name) for name in ("region", "profile", "endpoint_url") if name in request}
    return plan(CaptureRequest(table=table, to=to, aws=AwsSettings(**settings), **request))


def _replay_request(source: str, to: str, request: dict[str, Any]) -> Any:
    from restrike.aws.settings import AwsSettings
    from restrike.replaying.filters import FilterRequest
    from restrike.replaying.request import ReplayRequest

    settings = {name: request.pop(name) for name in ("region", "profile", "endpoint_url") if name in request}
    filters = {name: request.pop(name) for name in FilterRequest.__struct_fields__ if name in request}
    return ReplayRequest(source=source, to=to, filters=FilterRequest(**filters), aws=AwsSettings(**settings), **request)
