"""What a caller of doctor asks for, as it was typed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from restrike.aws import settings
from restrike.aws.settings import AwsSettings
from restrike.errors import UsageError
from restrike.model.diagnosis import Asked
from restrike.model.flags import Flag, refuse_below, words
from restrike.model.window import asked_window
from restrike.running.flags import LEDGER
from restrike.sources.export import KIND as EXPORT
from restrike.sources.failures import KIND as FAILURES
from restrike.stores import bucket_of
from restrike.wiring.undelivered import queue_named

TIMEOUT_S = 30.0


class DoctorRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that `restrike doctor` takes; None where it was not given."""

    table: str
    since: str | None = None
    until: str | None = None
    last: str | None = None
    key: str | None = None
    consumer: str | None = None
    archive: str | None = None
    export: str | None = None
    failures: str | None = None
    timeout_s: float | None = None
    ledger: str | None = None
    aws: AwsSettings = AwsSettings()


FLAGS = (
    Flag("--since", "What was lost begins here: 2h, 3d or 2021-01-22T10:00:00Z.", "records", metavar="TIME"),
    Flag("--until", "And ends before this time.", "records", metavar="TIME"),
    Flag("--last", "The same as --since, as a duration: 90m, 6h.", "records", metavar="DURATION"),
    Flag("--key", "This item alone: PARTITION or PARTITION/SORT.", "records", metavar="KEY"),
    Flag("--consumer", "This one alone: a function, its alias, a mapping's UUID, a pipe.", "records", metavar="NAME"),
    Flag("--archive", "Look at this archive, too: a folder or s3://….", "records", metavar="WHERE", completes="file"),
    Flag("--export", "Look at these exports, too: a folder or s3://….", "records", metavar="WHERE", completes="file"),
    Flag(
        "--failures",
        "At this queue or these messages: sqs://NAME, PATH, s3://….",
        "records",
        metavar="WHERE",
        completes="file",
    ),
    Flag(
        "--timeout",
        "What answers later is left out.",
        "run",
        "number",
        metavar="S",
        default=f"{TIMEOUT_S:g}",
        field="timeout_s",
    ),
    LEDGER,
)


def check(request: DoctorRequest) -> None:
    """UsageError for what makes no sense whatever the table is."""
    refuse_below("--timeout", request.timeout_s, 1)
    for flag in FLAGS:
        if getattr(request, flag.to) == "":
            raise UsageError(f"{flag.name} is empty", "Is the variable that it comes from set?")
    _check_places(request)
    asked_of(request, datetime.now(UTC))


def _check_places(request: DoctorRequest) -> None:
    """UsageError for what cannot name such a place, whether something is there or not."""
    if request.archive is not None:
        bucket_of(request.archive.removeprefix("archive:"))
    if request.export is not None:
        EXPORT.parse(request.export, Path.cwd())
    if request.failures is not None and queue_named(request.failures) is None:
        FAILURES.parse(request.failures, Path.cwd())


def asked_of(request: DoctorRequest, now: datetime) -> Asked:
    """What it is narrowed to, with relative times reckoned from `now`."""
    window = asked_window(request.since, request.until, request.last, now)
    return Asked(window, () if request.key is None else (request.key,), request.consumer)


def aws_flags(request: DoctorRequest) -> tuple[str, ...]:
    """`--region`, `--profile` and `--endpoint-url` as they were given, as words of a command line."""
    return tuple(words(settings.FLAGS, request.aws))
