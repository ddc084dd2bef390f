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
    from restrike.touching.plan import Plan

__all__ = ["touch"]


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
