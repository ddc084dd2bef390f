"""Exports that exist already: those of the same windows, to the same place, of the same items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from restrike.aws.exports import Export, Listed, describe_export, list_exports
from restrike.aws.session import Aws
from restrike.errors import AwsError, NotFound
from restrike.exporting.cutting import Span
from restrike.exporting.request import FORMAT, VIEW

AT_ONCE = 8


class Existing(msgspec.Struct, frozen=True):
    """What is exported already: `same` by window, the newest where there are several. `beside` are ids of others in
    the same place whose windows overlap: read together they are refused."""

    same: dict[Span, Export] = {}
    beside: tuple[str, ...] = ()


def existing(aws: Aws, parameters: Mapping[str, Any], spans: Iterable[Span]) -> Existing:
    """Looks through the table's exports, complete or under way.

    ListExports tells neither window nor place: each export that was started behind the first window's beginning is
    asked for by itself. Raises AwsError where they cannot be asked."""
    wanted = set(spans)
    earliest_s, latest_s = min(from_s for from_s, _ in wanted), max(to_s for _, to_s in wanted)

    def may_be(listed: Listed) -> bool:
        started_s = listed.started_s
        is_later = started_s is None or started_s >= earliest_s
        return listed.kind == "incremental" and listed.status != "FAILED" and is_later

    listed = [each for each in list_exports(aws, parameters["TableArn"]) if may_be(each)]
    listed.sort(key=lambda each: each.started_s or 0.0, reverse=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        described = list(pool.map(lambda each: _described(aws, each.arn), listed))
    same: dict[Span, Export] = {}
    beside: list[str] = []
    for export in described:
        if export is None or not _in_the_same_place(export, parameters):
            continue
        span = (round(export.from_s), round(export.to_s))
        if span in wanted and _same(export, parameters):
            if span not in same or same[span].status != "COMPLETED":
                same[span] = export
        elif span[0] < latest_s and span[1] > earliest_s:
            beside.append(export.id)
    return Existing(same, tuple(sorted(beside)))


def _described(aws: Aws, arn: str) -> Export | None:
    try:
        return describe_export(aws, arn)
    except NotFound:
        return None
    except AwsError as error:
        if error.code == "ExportNotFoundException":
            return None
        raise


def _in_the_same_place(export: Export, parameters: Mapping[str, Any]) -> bool:
    return (
        export.status != "FAILED"
        and export.bucket == parameters["S3Bucket"]
        and export.prefix.strip("/") == parameters.get("S3Prefix", "")
    )


def _same(export: Export, parameters: Mapping[str, Any]) -> bool:
    return export.view == VIEW and export.format == FORMAT and export.filter == parameters.get("FilterSpecification")
