"""`restrike archive`: look at what capture keeps, verify it, merge its small files, throw away what is old."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from restrike.aws import settings
from restrike.cli.flags import EXECUTE, JSON
from restrike.cli.options import VerbGroup, aws_settings
from restrike.errors import UsageError
from restrike.model.flags import Flag, refuse_below
from restrike.model.window import duration

if TYPE_CHECKING:
    from restrike.archive.layout import StreamName
    from restrike.model.window import Window
    from restrike.stores.objects import Store

WINDOW = (
    Flag("--since", "From then on: ISO 8601 with zone, or back from now: 2h, 3d.", "records", metavar="TIME"),
    Flag("--until", "Before then.", "records", metavar="TIME"),
)
OLDER_THAN = Flag("--older-than", "Only hours that ended so long ago.", "keep", metavar="AGE", default="1h")
TARGET_MB = Flag("--target-mb", "A merged file's size at most.", "keep", "number", metavar="MB", default="128")
HORIZON = Flag("--older-than", "Hours that ended so long ago: 90d. At least 48h.", "keep", metavar="AGE")

LEAST_MB = 1


@click.group(cls=VerbGroup)
def command() -> None:
    """Look after an archive: ARCHIVE is a folder or s3://bucket/prefix, also …/table=NAME where it holds several."""


def _opened(archive: str, values: dict[str, Any]) -> tuple[Store, list[StreamName]]:
    from restrike.archive import require_packages

    require_packages()
    from restrike.archive.reader import open_archive
    from restrike.aws.session import Aws

    settings = aws_settings(values)
    return open_archive(archive.removeprefix("archive:"), lambda: Aws(settings))


def _windowed(archive: str, values: dict[str, Any]) -> tuple[Store, list[StreamName], Window]:
    """The archive, and what is asked for of it. Back from now is back from the store's now."""
    from restrike.archive.clock import now_s
    from restrike.model.window import is_duration

    since, until = values.pop("since"), values.pop("until")
    window = _window(since, until, datetime.now(UTC))
    store, names = _opened(archive, values)
    if is_duration(since) or is_duration(until):
        window = _window(since, until, datetime.fromtimestamp(now_s(store, names), UTC))
    return store, names, window


def _window(since: str | None, until: str | None, now: datetime) -> Window:
    from restrike.model.window import Window, moment

    window = Window(
        None if since is None else moment("--since", since, now),
        None if until is None else moment("--until", until, now),
    )
    if window.since_s is not None and window.until_s is not None and window.until_s <= window.since_s:
        raise UsageError(f"--until {until} is not after --since {since}", "Nothing lies between: exchange the two.")
    return window


@command.verb("ls", *WINDOW, JSON, *settings.FLAGS)
@click.argument("archive")
def ls(archive: str, as_json: bool, **values: Any) -> int:
    """List the data files, an hour's after the other: hour, shard, first sequence number, bytes, path."""
    store, names, window = _windowed(archive, values)
    from restrike.archive.inspection import files
    from restrike.cli.render.archive import show_file

    for _, file in files(store, names, window):
        show_file(file, as_json=as_json)
    return 0


@command.verb("stat", *WINDOW, JSON, *settings.FLAGS)
@click.argument("archive")
def stat(archive: str, as_json: bool, **values: Any) -> int:
    """Count records by hour; first and last, bytes, and what is known to be missing.

    The exit code is 4 where a file cannot be read.
    """
    store, names, window = _windowed(archive, values)
    from restrike.archive.inspection import stat as count
    from restrike.cli.render.archive import show_stat
    from restrike.cli.render.streams import put_json

    found = count(store, names, window)
    if as_json:
        put_json({"table": names[0].table, "streams": [name.label for name in names], **found.as_json()})
    else:
        show_stat(names, found)
    return 4 if found.damaged else 0


@command.verb("verify", JSON, *settings.FLAGS)
@click.argument("archive")
def verify(archive: str, as_json: bool, **values: Any) -> int:
    """Read everything: names against content, order, duplicates, and gaps.

    The exit code is 6 where something is wrong, 4 where the archive is known to lack records.
    """
    store, names = _opened(archive, values)
    from restrike.archive.inspection import verify as check
    from restrike.cli.render.archive import show_verdict
    from restrike.cli.render.streams import put_json

    verdict = check(store, names)
    if as_json:
        put_json(verdict.as_json())
    else:
        show_verdict(verdict)
    if verdict.problems:
        return 6
    return 4 if verdict.gaps else 0


@command.verb("compact", OLDER_THAN, TARGET_MB, EXECUTE, JSON, *settings.FLAGS)
@click.argument("archive")
def compact(
    archive: str, older_than: str | None, target_mb: float | None, execute: bool, as_json: bool, **values: Any
) -> int:
    """Merge the small files of each shard's hour. Captures and readers may be at work meanwhile."""
    refuse_below("--target-mb", target_mb, LEAST_MB)
    older_than = older_than or "1h"
    age_s = duration("--older-than", older_than)
    store, names = _opened(archive, values)
    import msgspec

    from restrike.archive.clock import now_s
    from restrike.archive.compaction import Compacted, merges
    from restrike.archive.compaction import compact as merge
    from restrike.cli.render.archive import show_compacted
    from restrike.cli.render.streams import put_json

    before_s = now_s(store, names) - age_s
    if older_than in ("0s", "0m", "0h", "0d"):
        before_s += 3600.0  # also the hour that is not over
    target_bytes = int((target_mb or 128.0) * 1_000_000)
    whole = Compacted()
    for name in names:
        if execute:
            done = merge(store, name, before_s=before_s, target_bytes=target_bytes)
        else:
            done = Compacted()
            for each in merges(store, name, before_s=before_s, target_bytes=target_bytes):
                done.merges += 1
                done.files_before += len(each.files)
                done.files_after += 1
                done.bytes_before += each.size_bytes
        for field in Compacted.__struct_fields__:
            setattr(whole, field, getattr(whole, field) + getattr(done, field))
    if as_json:
        put_json({"verb": "compact", "executed": execute, **msgspec.to_builtins(whole)})
    else:
        show_compacted(whole, executed=execute)
    return 1 if whole.damaged else 0


@command.verb("prune", HORIZON, EXECUTE, JSON, *settings.FLAGS)
@click.argument("archive")
def prune(archive: str, older_than: str | None, execute: bool, as_json: bool, **values: Any) -> int:
    """Throw away old hours. Never the last 48."""
    if older_than is None:
        raise UsageError("it is not said what is old", "Give --older-than AGE, for example --older-than 90d.")
    age_s = duration("--older-than", older_than)
    store, names = _opened(archive, values)
    from restrike.archive.clock import now_s, stamped_s
    from restrike.archive.pruning import prune as throw_away
    from restrike.cli.render.archive import show_pruned
    from restrike.cli.render.streams import put_json
    from restrike.model.times import iso

    at_s = now_s(store, names)
    told_s = stamped_s(store, names, at_s)
    done = [
        throw_away(store, name, older_than_s=age_s, now_s=at_s, stamped_s=told_s, execute=execute) for name in names
    ]
    files, stored = sum(each.files for each in done), sum(each.stored_bytes for each in done)
    young = sum(each.young_hours for each in done)
    to_s = max((each.to_s for each in done if each.to_s is not None), default=None)
    if as_json:
        told = None if to_s is None else iso(to_s)
        put_json(
            {"verb": "prune", "executed": execute, "files": files, "bytes": stored, "to": told, "young_hours": young}
        )
    else:
        show_pruned(files, stored, to_s, young, executed=execute)
    return 0
