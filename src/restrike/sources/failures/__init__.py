"""The source `failures:PATH` or `failures:s3://…`: the batches that a mapping or a pipe gave up, by their messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from restrike.archive import require_packages
from restrike.errors import UsageError
from restrike.model.flags import Flag
from restrike.model.permissions import UNKNOWN, Need, Scope
from restrike.model.uri import Uri
from restrike.sources import Opening, Resolved
from restrike.sources.failures.state import MESSAGES, RECORDS, State

if TYPE_CHECKING:
    from restrike.aws.session import Aws
    from restrike.model.record import Fidelity
    from restrike.sources.failures.reading import FailureSource

_RESCUED = "jsonl:"
_QUEUES = ("sqs:", "arn:aws:sqs:", "https://sqs.")


class FailureKind:
    """Messages of an on-failure destination, or of a dead-letter queue, in a file, a folder or a bucket."""

    scheme = "failures"
    form = "failures:PATH or failures:s3://…"
    flags = (
        Flag(
            "--archive",
            "failures: capture's folder, s3://…, a rescue's jsonl:PATH.",
            "records",
            metavar="WHERE",
            field="archive",
        ),
    )
    has_table = False
    has_time = True
    ordered = True
    fidelity: Fidelity = "exact"
    spools: tuple[str, ...] = (MESSAGES, RECORDS)

    def parse(self, text: str, folder: Path) -> Uri:
        where = text.removeprefix("failures:")
        if where.startswith("s3:") and not where.startswith("s3://"):
            raise UsageError(f"{text!r} is no source", f"Write failures:s3://{where[3:].lstrip('/')}.")
        if where.startswith(_QUEUES):
            raise UsageError(
                f"{text!r}: messages are not taken out of a queue",
                "That is what restrike redrive does. To look at some: aws sqs receive-message --queue-url URL > FILE.",
            )
        if where.startswith("s3://") and not where[5:].partition("/")[0]:
            raise UsageError(f"{text!r} names no bucket", "Write failures:s3://bucket/prefix.")
        if "://" in where and not where.startswith("s3://"):
            raise UsageError(
                f"{text!r} is no source", "Messages lie in a file, in a folder, or under s3://bucket/prefix."
            )
        return Uri("failures", where if "://" in where else str(folder / where), text)

    def now_s(self, uri: Uri, aws: Callable[[], Aws]) -> float | None:
        return None

    def endless(self, options: Mapping[str, Any]) -> bool:
        return False

    async def resolve(self, uri: Uri, options: Mapping[str, Any], opening: Opening) -> Resolved:
        """The messages go onto disk as they are now: the run is of these, whatever comes or goes meanwhile."""
        import asyncio

        from restrike.sources.failures.taking import take_in

        archive = options.get("archive") or ""
        rescued = ""
        if archive.startswith(_RESCUED):
            rescued, archive = str(Path.cwd() / archive.removeprefix(_RESCUED)), ""
        elif archive:
            archive = archive.removeprefix("archive:")
            archive = archive if "://" in archive else str(Path.cwd() / archive)
            require_packages()
            from restrike.archive.reader import open_archive

            await asyncio.to_thread(open_archive, archive, opening.aws)  # refuses what is none
        taken = await asyncio.to_thread(take_in, opening.folder / MESSAGES, uri.rest, opening.aws, rescued)
        identity = {"messages": f"{taken.messages:,} with the digest {taken.digest[:16]}"}
        return Resolved(msgspec.json.encode(State(archive)), identity | ({"--archive": archive} if archive else {}))

    def open(self, uri: Uri, resolved: Resolved, opening: Opening) -> FailureSource:
        from restrike.sources.failures.reading import FailureSource

        state = msgspec.json.decode(resolved.state, type=State)
        return FailureSource(
            opening.aws,
            str(uri),
            opening.folder,
            archive=state.archive,
            wanted=state.wanted,
            looking=opening.looking,
            allow_gaps=opening.allow_gaps,
        )

    def permissions(self, uri: Uri, options: Mapping[str, Any], scope: Scope) -> tuple[Need, ...]:
        """Which streams are pointed into, only the messages say."""
        from restrike.aws.permissions import reading_stream
        from restrike.stores import permissions

        archive = str(options.get("archive") or "").removeprefix("archive:")
        return (
            reading_stream(scope, UNKNOWN),
            *permissions.reading(scope, uri.rest, named=True),
            *permissions.reading(scope, archive),
        )


KIND = FailureKind()
