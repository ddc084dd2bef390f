"""What AWS says of an exported table and its exports. Where a question fails, the plan says what is not known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from restrike.aws import dynamodb
from restrike.aws.exports import describe_export
from restrike.aws.session import Aws
from restrike.errors import AccessDenied, AwsError, BadCredentials, RestrikeError, Unreachable, UsageError
from restrike.model.numbers import counted
from restrike.model.table import TableInfo
from restrike.sources.export.manifest import Exported

AT_ONCE = 8
MOST_ASKED = 200
"""Exports whose filters are asked for; of the rest the plan says that they are not known."""

_CONDITIONS = ("KeyConditionExpression", "FilterExpression")

Warnings = list[tuple[str, str]]


class Told(msgspec.Struct, frozen=True):
    """`table` is None where it cannot be asked, and `silent` where nobody answers, so that nothing else is asked."""

    table: TableInfo | None
    silent: bool
    warnings: tuple[tuple[str, str], ...]


def ask_table(export: Exported, aws: Callable[[], Aws]) -> Told:
    """The table as it is now, where it is the exported one by its ARN."""
    what = "the stream's ARN and view type, and the table's keys"
    try:
        if aws().region != region_of(export.table_arn) and aws().configured_endpoint("dynamodb") is None:
            why = f"it is in {region_of(export.table_arn)}, and {aws().region} is asked: --region"
            return Told(None, True, (("table-unknown", f"{what} are not known: {why}"),))
        table, _ = dynamodb.describe_table(aws(), export.table_arn.rpartition("/")[2])
    except RestrikeError as error:
        silent = not isinstance(error, AwsError) or isinstance(error, (BadCredentials, Unreachable))
        text = f"{what} are not known: {_why(error, 'dynamodb:DescribeTable')}"
        return Told(None, silent, (("table-unknown", text),))
    if table.arn != export.table_arn:
        text = f"{what} are not known: {table.name} is {table.arn} here, and {export.table_arn} was exported"
        return Told(None, True, (("table-unknown", text),))
    warnings: Warnings = []
    if export.table_id and table.id and table.id != export.table_id:
        warnings.append(
            ("table-made-anew", f"table {table.name} was deleted and made anew since it was exported (by its TableId)")
        )
    if table.stream_arn is None:
        warnings.append(("no-stream", f"table {table.name} has no stream now: records name none"))
    return Told(table, False, tuple(warnings))


def check_filters(exports: Iterable[Exported], aws: Callable[[], Aws], *, silent: bool) -> Warnings:
    """Warnings of exports that were filtered, or of which that is not known; UsageError where one was projected: its
    images are cut, and no consumer could tell."""
    exports = tuple(exports)
    asked = () if silent else tuple(each for each in exports if each.arn)[:MOST_ASKED]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        filters = list(pool.map(lambda export: _filter(export, aws), asked))
    found: Warnings = []
    for export, told in zip(asked, filters, strict=True):
        if isinstance(told, RestrikeError):
            continue
        if "ProjectionExpression" in told:
            raise UsageError(
                f"export {export.id} was made with a ProjectionExpression ({told['ProjectionExpression']}): its images "
                "lack attributes",
                "Export that window once more without one.",
            )
        if told:
            conditions = "; ".join(str(told[each]) for each in _CONDITIONS if each in told)
            text = f"export {export.id} holds only what its filter let through: {conditions}"
            found.append(("filtered-export", text))
    failed = [told for told in filters if isinstance(told, RestrikeError)]
    unknown = len(exports) - len(filters) + len(failed)
    if unknown:
        why = f": {_why(failed[0], 'dynamodb:DescribeExport')}" if failed else ""
        if len(exports) > MOST_ASKED and not failed:
            why = f": only {MOST_ASKED} are asked for"
        text = (
            f"whether they were filtered or projected is not known of {unknown:,} of {counted(len(exports), 'export')}"
        )
        found.append(("filter-unknown", text + why))
    return found


def _filter(export: Exported, aws: Callable[[], Aws]) -> dict[str, object] | RestrikeError:
    """Its FilterSpecification, empty where it has none; or why that is not known."""
    try:
        return describe_export(aws(), export.arn).filter or {}
    except RestrikeError as error:
        return error


def region_of(arn: str) -> str:
    parts = arn.split(":")
    return parts[3] if len(parts) > 3 else ""


def _why(error: RestrikeError, action: str) -> str:
    return f"allow {action}" if isinstance(error, AccessDenied) else error.message
