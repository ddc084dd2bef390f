"""Application Auto Scaling: how far it may raise what is provisioned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from restrike.aws.refusals import not_of
from restrike.aws.session import Aws, pages
from restrike.model.table import TableInfo

SERVICE = "application-autoscaling"
PERMISSION = "application-autoscaling:DescribeScalableTargets"
_UNITS: dict[str, Literal["WCU", "RCU"]] = {"WriteCapacityUnits": "WCU", "ReadCapacityUnits": "RCU"}


class Scaling(msgspec.Struct, frozen=True):
    """What autoscaling may raise: the table's own (`index` is empty) or an index's, to so many units a second."""

    index: str
    unit: Literal["WCU", "RCU"]
    most: int


def scaling_of(aws: Aws, table: TableInfo) -> tuple[Scaling, ...]:
    """What of the table and its indexes autoscaling may raise; not what it was told to leave alone.

    Raises the AwsError of a refusal.
    """
    client = aws.client(SERVICE)
    names = {f"table/{table.name}": ""}
    names |= {f"table/{table.name}/index/{index.name}": index.name for index in table.indexes if index.kind == "global"}
    request: dict[str, Any] = {"ServiceNamespace": "dynamodb", "ResourceIds": list(names)}
    found: list[Scaling] = []
    for answer in pages(client, "DescribeScalableTargets", **request):
        try:
            found += _scaling(answer["ScalableTargets"], names)
        except (KeyError, TypeError, AttributeError):
            raise not_of("Application Auto Scaling", "DescribeScalableTargets", aws.endpoint(SERVICE)) from None
    return tuple(found)


def _scaling(targets: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> Iterator[Scaling]:
    for target in targets:
        unit = _UNITS.get(target["ScalableDimension"].rpartition(":")[2])
        suspended = target.get("SuspendedState", {}).get("DynamicScalingOutSuspended", False)
        if unit is not None and target["ResourceId"] in names and not suspended:
            yield Scaling(names[target["ResourceId"]], unit, target["MaxCapacity"])
