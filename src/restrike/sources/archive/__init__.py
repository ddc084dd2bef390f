"""The source `archive:PATH` or `archive:s3://bucket/prefix`: exact records, as far back as capture has kept them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restrike.archive import require_packages
from restrike.errors import UsageError
from restrike.model.flags import Flag
from restrike.model.permissions import Need, Scope
from restrike.model.uri import Uri
from restrike.sources import Opening, Resolved

if TYPE_CHECKING:
    from restrike.aws.session import Aws
    from restrike.model.record import Fidelity
    from restrike.sources.archive.reading import ArchiveSource


class ArchiveKind:
    """What capture keeps, in a folder or a bucket."""

    scheme = "archive"
    form = "archive:PATH or archive:s3://…"
    flags: tuple[Flag, ...] = ()
    has_table = False
    has_time = True
    ordered = True
    fidelity: Fidelity = "exact"
    spools: tuple[str, ...] = ()

    def parse(self, text: str, folder: Path) -> Uri:
        where = text.removeprefix("archive:")
        if where.startswith("s3:") and not where.startswith("s3://"):
            raise UsageError(f"{text!r} is no source", f"Write archive:s3://{where[3:].lstrip('/')}.")
        return Uri("archive", where if "://" in where else str(folder / where), text)

    def now_s(self, uri: Uri, aws: Callable[[], Aws]) -> float | None:
        require_packages()
        from restrike.archive.clock import now_s
        from restrike.archive.reader import open_archive

        return now_s(*open_archive(uri.rest, aws))

    def endless(self, options: Mapping[str, Any]) -> bool:
        return False

    async def resolve(self, uri: Uri, options: Mapping[str, Any], opening: Opening) -> Resolved:
        return Resolved()

    def open(self, uri: Uri, resolved: Resolved, opening: Opening) -> ArchiveSource:
        require_packages()
        from restrike.sources.archive.reading import ArchiveSource

        return ArchiveSource(
            opening.aws,
            uri.rest,
            wants_key=opening.wants_key,
            skips_damaged=opening.allow_gaps,
            named=uri.text,
            stood_on=opening.stood_on,
        )

    def permissions(self, uri: Uri, options: Mapping[str, Any], scope: Scope) -> tuple[Need, ...]:
        from restrike.stores import permissions

        return permissions.reading(scope, uri.rest)


KIND = ArchiveKind()
