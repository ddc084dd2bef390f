"""What `restrike capture` is asked, and what of it a capture of one stream has to know."""

from __future__ import annotations

import shlex
from datetime import datetime
from pathlib import Path

import msgspec

from restrike.aws import settings
from restrike.aws.settings import AwsSettings
from restrike.errors import UsageError
from restrike.model.flags import Flag, refuse_below, words
from restrike.model.prices import given_prices
from restrike.model.window import moment
from restrike.running.flags import LEDGER, PRICE

TRIM_HORIZON, LATEST = "trim-horizon", "latest"
FLUSH_SECONDS, FLUSH_MB, POLL_SECONDS = 60.0, 64.0, 5.0


class CaptureRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that `restrike capture` takes; None where it was not given. `flush_mb` is of all shards together."""

    table: str
    to: str
    since: str | None = None
    follow: bool = False
    flush_seconds: float | None = None
    flush_mb: float | None = None
    poll_seconds: float | None = None
    price: str | None = None
    ledger: str | None = None
    aws: AwsSettings = AwsSettings()

    @property
    def poll_s(self) -> float:
        return POLL_SECONDS if self.poll_seconds is None else self.poll_seconds


class CaptureOptions(msgspec.Struct, frozen=True):
    """How to capture. `latest` and `since_s` count only where the archive has nothing of the stream yet."""

    follow: bool = False
    latest: bool = False
    since_s: float | None = None
    flush_s: float = FLUSH_SECONDS
    flush_bytes: int = int(FLUSH_MB * 1_000_000)
    poll_s: float = POLL_SECONDS


FLAGS = (
    Flag(
        "--since",
        "Where a new archive begins: trim-horizon, latest, ISO 8601 with zone, or 2h.",
        "keep",
        metavar="WHEN",
        default=TRIM_HORIZON,
    ),
    Flag("--flush-seconds", "A file at least so often.", "keep", "number", metavar="S", default=f"{FLUSH_SECONDS:g}"),
    Flag("--flush-mb", "Held in memory at most.", "keep", "number", metavar="MB", default=f"{FLUSH_MB:g}"),
    Flag(
        "--poll-seconds", "An idle shard is asked so often.", "pace", "number", metavar="S", default=f"{POLL_SECONDS:g}"
    ),
    PRICE,
    LEDGER,
)


def options_of(request: CaptureRequest, now: datetime) -> CaptureOptions:
    """UsageError where a number is out of its range, or the time to begin at is still to come."""
    for flag, value, least in (
        ("--flush-seconds", request.flush_seconds, 0.1),
        ("--flush-mb", request.flush_mb, 1),
        ("--poll-seconds", request.poll_seconds, 0.1),
    ):
        refuse_below(flag, value, least)
    given_prices(request.price)
    latest = request.since == LATEST
    at = None if request.since in (None, TRIM_HORIZON, LATEST) else moment("--since", request.since or "", now)
    if at is not None and at > now.timestamp():
        raise UsageError(f"--since {request.since} is still to come", "Give --since latest, or a time that is past.")
    return CaptureOptions(
        follow=request.follow,
        latest=latest,
        since_s=at,
        flush_s=FLUSH_SECONDS if request.flush_seconds is None else request.flush_seconds,
        flush_bytes=int((FLUSH_MB if request.flush_mb is None else request.flush_mb) * 1_000_000),
        poll_s=request.poll_s,
    )


def check_place(archive: str) -> None:
    """UsageError for a place that would be read under another name."""
    above, _, last = archive.rstrip("/").rpartition("/")
    if last.startswith(("table=", "stream=")):
        raise UsageError(
            f"--to {archive} lies in an archive: table=… and stream=… are folders that a capture makes itself",
            f"Name the archive's own place, for example {above or 'kept'}.",
        )


def place_of(archive: str) -> str:
    """Where the archive is, from whatever folder it was named."""
    return archive if "://" in archive else str(Path(archive).absolute())


def command_line(request: CaptureRequest) -> str:
    """The command line that carries the request out."""
    line = ["restrike", "capture", request.table, "--to", request.to, *words(FLAGS, request)]
    line.append("--follow" if request.follow else "--once")
    return shlex.join([*line, *words(settings.FLAGS, request.aws), "--execute"])
