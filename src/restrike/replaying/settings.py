"""How a replay delivers: what was given, else as the function's event source mapping does, else Lambda's default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from restrike.replaying.delivery import Policy
from restrike.replaying.mapping import DEFAULT_BATCH_SIZE, DEFAULT_RETRIES, MappingSettings
from restrike.replaying.request import MAX_FAILURES_IN_A_ROW, ReplayRequest


class Settings(msgspec.Struct, frozen=True):
    """How a replay delivers; kept with the run. A rerun under the run's name may bring others."""

    lanes: int = 1
    batch_size: int = DEFAULT_BATCH_SIZE
    max_payload_bytes: int | None = None
    policy: Policy = Policy()
    rate: float | None = None
    max_failures: int | None = None
    max_failures_in_a_row: int = MAX_FAILURES_IN_A_ROW
    limit: int | None = None


def settle(request: ReplayRequest, mapping: MappingSettings | None) -> tuple[Settings, list[tuple[str, str, str]]]:
    """The settings, and where each of those that a mapping has comes from: (setting, value, origin)."""
    origins: list[tuple[str, str, str]] = []

    def pick(name: str, given: Any, default: Any) -> Any:
        if given is not None:
            value, origin = given, "as given"
        elif mapping is not None:
            value, origin = getattr(mapping, name), f"mapping {mapping.uuid}"
        else:
            value, origin = default, "default"
        told = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
        origins.append((name, told, origin))
        return value

    settings = Settings(
        batch_size=pick("batch_size", request.batch_size, DEFAULT_BATCH_SIZE),
        lanes=pick("parallel", request.parallel, 1),
        policy=Policy(
            retries=pick("retries", request.retries, DEFAULT_RETRIES),
            bisect=pick("bisect", request.bisect, False),
            report_batch_item_failures=pick("report_batch_item_failures", request.report_batch_item_failures, False),
            max_age_s=request.max_age_s,
        ),
        max_payload_bytes=request.max_payload,
        rate=request.rate,
        max_failures=request.max_failures,
        max_failures_in_a_row=(
            MAX_FAILURES_IN_A_ROW if request.max_failures_in_a_row is None else request.max_failures_in_a_row
        ),
        limit=request.filters.limit,
    )
    return settings, origins


def changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with what a run is to go on with otherwise, by the fields of the request."""
    plain = {
        "limit": "limit",
        "rate": "rate",
        "parallel": "lanes",
        "max_failures": "max_failures",
        "max_failures_in_a_row": "max_failures_in_a_row",
    }
    found = {plain[name]: value for name, value in changes.items() if name in plain}
    policy = settings.policy
    if changes.get("retries") is not None:
        policy = msgspec.structs.replace(policy, retries=changes["retries"])
    for name in ("lanes", "max_failures_in_a_row"):
        if found.get(name, 1) is None:
            del found[name]
    return msgspec.structs.replace(settings, policy=policy, **found)
