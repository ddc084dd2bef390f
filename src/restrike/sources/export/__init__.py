"""The source `export:PATH` or `export:s3://bucket/prefix`: DynamoDB's own exports, 35 days back and more.

An incremental export has the net change of each item in a window, a full one the items as they were at one time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restrike.errors import UsageError
from restrike.model.flags import Flag
from restrike.model.permissions import UNKNOWN, Need, Scope
from restrike.model.record import Fidelity
from restrike.model.uri import Uri
from restrike.sources import Opening, Resolved
from restrike.sources.table import AS, OLD_IMAGE

if TYPE_CHECKING:
    from restrike.aws.session import Aws
    from restrike.sources.export.reading import ExportSource

VIEW_TYPES = ("KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES")


class ExportKind:
    """What DynamoDB exported to S3, there or copied to a folder."""

    scheme = "export"
    form = "export:PATH or export:s3://…"
    flags: tuple[Flag, ...] = (
        AS,
        OLD_IMAGE,
        Flag(
            "--view-type",
            "export: the images to show.",
            "exported",
            "choice",
            choices=VIEW_TYPES,
            metavar="TYPE",
            default="the stream's",
        ),
        Flag(
            "--key-attributes",
            "export, full: PARTITION[,SORT].",
            "exported",
            metavar="NAMES",
            default="the table's",
        ),
        Flag("--leave-out", "export: ids not to read, with commas.", "exported", metavar="IDS"),
        Flag("--verify-first", "export: read and check all of it before the first record.", "exported", "switch"),
    )
    has_table = False
    has_time = True
    ordered = True
    fidelity: Fidelity = "net"
    spools: tuple[str, ...] = ()

    def parse(self, text: str, folder: Path) -> Uri:
        where = text.removeprefix("export:")
        if where.startswith("s3:") and not where.startswith("s3://"):
            raise UsageError(f"{text!r} is no source", f"Write export:s3://{where[3:].lstrip('/')}.")
        if where.startswith("s3://") and not where[5:].partition("/")[0]:
            raise UsageError(f"{text!r} names no bucket", "Write export:s3://bucket/prefix.")
        return Uri("export", where if "://" in where else str(folder / where), text)

    def now_s(self, uri: Uri, aws: Callable[[], Aws]) -> float | None:
        import time

        from restrike.model.clocks import check_clock
        from restrike.sources.export.finding import open_place

        store, _ = open_place(uri.rest, aws)
        told_s = store.now_s()
        if told_s is not None:
            check_clock(time.time(), told_s, f"that of {store.uri}")
        return told_s

    def endless(self, options: Mapping[str, Any]) -> bool:
        return False

    async def resolve(self, uri: Uri, options: Mapping[str, Any], opening: Opening) -> Resolved:
        import asyncio

        from restrike.sources.export.resolving import resolved

        return await asyncio.to_thread(resolved, uri, options, opening)

    def open(self, uri: Uri, resolved: Resolved, opening: Opening) -> ExportSource:
        from restrike.sources.export.reading import ExportSource
        from restrike.sources.export.resolving import state_of

        return ExportSource(
            opening.aws,
            uri.rest,
            state_of(resolved),
            named=uri.text,
            verifies=opening.once or not opening.looking,
            stood_on=opening.stood_on,
        )

    def permissions(self, uri: Uri, options: Mapping[str, Any], scope: Scope) -> tuple[Need, ...]:
        """Data files lie beside an export's own folder. Which table was exported, only the export says."""
        from restrike.aws.permissions import describing
        from restrike.sources.export.finding import ROOT
        from restrike.stores import permissions

        above, root, _ = f"{uri.rest}/".partition(f"/{ROOT}/")
        table = scope.table(UNKNOWN)
        return (
            *permissions.reading(scope, f"{above}{root}".rstrip("/")),
            describing(
                scope,
                UNKNOWN,
                sid="ExportedTable",
                without="what the table's stream shows, and its keys, have to be told: --view-type, --key-attributes",
            ),
            Need(
                "Exported",
                ("dynamodb:DescribeExport",),
                (f"{table}/export/*",),
                without="whether an export was filtered or projected is not known",
            ),
        )


KIND = ExportKind()
