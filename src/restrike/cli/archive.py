"""`restrike archive`: look at what capture keeps, verify it, merge its small files, throw away what is old."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from restrike.cli.options import aws_options, aws_settings, json_option, option

if TYPE_CHECKING:
    from restrike.archive.inspection import Stat
    from restrike.archive.layout import StreamName
    from restrike.model.window import Window
    from restrike.stores.objects import Store

F = TypeVar("F", bound=Callable[..., Any])

CHART_WIDTH = 50
MOST_BARS = 48  # beyond, a bar is a day


@click.group()
def command() -> None:
    """Look after an archive: ARCHIVE is a folder or s3://bucket/prefix, also …/table=NAME where it holds several."""


def _window_options(verb: F) -> F:
    since = option("--since", metavar="TIME", help="From then on: ISO 8601 with zone, or back from now: 2h, 3d.")
    return since(option("--until", metavar="TIME", help="Before then.")(verb))


def _opened(archive: str, values: dict[str, Any]) -> tuple[Store, list[StreamName]]:
    from restrike.archive import require_packages

    require_packages()
    from restrike.archive.reader import open_archive
    from restrike.aws.session import Aws

    settings = aws_settings(values)
    return open_archive(archive.removeprefix("archive:"), lambda: Aws(settings))


def _window(values: dict[str, Any]) -> Window:
    from restrike.model.window import Window, moment

    now = datetime.now(UTC)
    since, until = values.pop("since"), values.pop("until")
    return Window(
        None if since is None else moment("--since", since, now),
        None if until is None else moment("--until", until, now),
    )


@command.command("ls")
@click.argument("archive")
@_window_options
@json_option
@aws_options
def ls(archive: str, as_json: bool, **values: Any) -> int:
    """List the data files, an hour's after the other: hour, shard, first sequence number, bytes, path."""
    from restrike.archive.inspection import files
    from restrike.archive.layout import HOUR_S, iso
    from restrike.cli.output import print_json

    window = _window(values)
    store, names = _opened(archive, values)
    for _, file in files(store, names, window):
        hour = iso(file.hour * HOUR_S)
        if as_json:
            print_json(
                {
                    "hour": hour,
                    "shard": file.shard,
                    "first": str(file.first),
                    "bytes": file.size_bytes,
                    "path": file.path,
                }
            )
        else:
            click.echo(f"{hour}  {file.size_bytes:>12,}  {file.path}")
    return 0


@command.command("stat")
@click.argument("archive")
@_window_options
@json_option
@aws_options
def stat(archive: str, as_json: bool, **values: Any) -> int:
    """Count records by hour; first and last, bytes, and what is known to be missing.

    The exit code is 4 where a file cannot be read.
    """
    from restrike.archive.inspection import stat as count
    from restrike.cli.output import print_json

    window = _window(values)
    store, names = _opened(archive, values)
    found = count(store, names, window)
    if as_json:
        print_json({"table": names[0].table, "streams": [name.label for name in names], **found.as_json()})
    else:
        _draw(names, found)
    return 4 if found.damaged else 0


def _draw(names: list[StreamName], found: Stat) -> None:
    """Bars for the hours, or for the days where there are many hours."""
    from restrike.archive.layout import iso
    from restrike.cli.output import counted

    told = found.as_json()
    held = f"{counted(told['records'], 'record')}, {counted(told['files'], 'file')}, {told['bytes']:,} bytes"
    click.echo(f"{names[0].table}: {held}")
    if told["first"] is not None:
        click.echo(
            f"from {told['first']} to {told['last']}, {counted(told['shards'], 'shard')}, "
            f"{counted(len(names), 'stream')}"
        )
    letters = 13 if len(found.hours) <= MOST_BARS else 10
    bars: dict[str, int] = {}
    for each in told["hours"]:
        bars[each["hour"][:letters]] = bars.get(each["hour"][:letters], 0) + each["records"]
    most = max(bars.values(), default=0)
    for name, records in bars.items():
        bar = "█" * max(1, round(records / most * CHART_WIDTH)) if records else ""
        click.echo(f"{name.replace('T', ' ')}  {records:>12,}  {bar}")
    for gap in found.gaps:
        click.echo(f"gap: {iso(gap.from_s)} to {iso(gap.to_s)}: {gap.cause}")
    for text in found.damaged:
        click.echo(f"damaged: {text}")


@command.command("verify")
@click.argument("archive")
@json_option
@aws_options
def verify(archive: str, as_json: bool, **values: Any) -> int:
    """Read everything: names against content, order, duplicates, and gaps.

    The exit code is 6 where something is wrong, 4 where the archive is known to lack records.
    """
    from restrike.archive.inspection import verify as check
    from restrike.archive.layout import iso
    from restrike.cli.output import counted, print_json

    store, names = _opened(archive, values)
    verdict = check(store, names)
    if as_json:
        print_json(verdict.as_json())
    else:
        for problem in verdict.problems:
            click.echo(f"wrong: {problem}")
        for path in verdict.covered:
            click.echo(f"merged and not yet deleted (compact again): {path}")
        for gap in verdict.gaps:
            click.echo(f"gap: {iso(gap.from_s)} to {iso(gap.to_s)}: {gap.cause}")
        what = counted(len(verdict.problems), "problem") if verdict.problems else "as it should be"
        click.echo(f"{counted(verdict.records, 'record')} in {counted(verdict.files, 'file')}: {what}")
    if verdict.problems:
        return 6
    return 4 if verdict.gaps else 0


@command.command("compact")
@click.argument("archive")
@option("--older-than", default="1h", show_default=True, metavar="AGE", help="Only hours that ended so long ago.")
@option("--target-mb", type=float, default=128.0, show_default=True, metavar="MB", help="A merged file's size at most.")
@click.option("--execute", is_flag=True, help="Do it. Without this it is only counted.")
@json_option
@aws_options
def compact(archive: str, older_than: str, target_mb: float, execute: bool, as_json: bool, **values: Any) -> int:
    """Merge the small files of each shard's hour. Captures and readers may be at work meanwhile."""
    store, names = _opened(archive, values)
    import msgspec

    from restrike.archive.compaction import Compacted, runs
    from restrike.archive.compaction import compact as merge
    from restrike.cli.output import counted, print_json
    from restrike.model.window import duration

    before_s = time.time() - duration("--older-than", older_than)
    if older_than in ("0s", "0m", "0h", "0d"):
        before_s += 3600.0  # also the hour that is not over
    target_bytes = int(target_mb * 1_000_000)
    whole = Compacted()
    for name in names:
        if execute:
            done = merge(store, name, before_s=before_s, target_bytes=target_bytes)
        else:
            done = Compacted()
            for run in runs(store, name, before_s=before_s, target_bytes=target_bytes):
                done.runs += 1
                done.files_before += len(run.files)
                done.files_after += 1
                done.bytes_before += run.size_bytes
        for field in Compacted.__struct_fields__:
            setattr(whole, field, getattr(whole, field) + getattr(done, field))
    code = 1 if whole.damaged else 0
    if as_json:
        print_json({"verb": "compact", "executed": execute, **msgspec.to_builtins(whole)})
        return code
    for text in whole.damaged:
        click.echo(f"left as it is: {text}", err=True)
    files = f"{counted(whole.files_before, 'file')} into {whole.files_after:,}"
    if not execute:
        click.echo(f"would merge {files}, {whole.bytes_before:,} bytes. To do it, add --execute.", err=True)
        return 0
    left = f"; {counted(whole.left, 'run')} changed meanwhile, left for the next time" if whole.left else ""
    click.echo(f"merged {files}, {whole.bytes_before:,} bytes into {whole.bytes_after:,}{left}", err=True)
    return code


@command.command("prune")
@click.argument("archive")
@option("--older-than", required=True, metavar="AGE", help="Hours that ended so long ago: 90d. At least 48h.")
@click.option("--execute", is_flag=True, help="Do it. Without this it is only counted.")
@json_option
@aws_options
def prune(archive: str, older_than: str, execute: bool, as_json: bool, **values: Any) -> int:
    """Throw away old hours. Never the last 48."""
    store, names = _opened(archive, values)
    from restrike.archive.layout import iso
    from restrike.archive.pruning import prune as throw_away
    from restrike.cli.output import counted, print_json
    from restrike.model.window import duration

    age_s, now_s = duration("--older-than", older_than), time.time()
    done = [throw_away(store, name, older_than_s=age_s, now_s=now_s, execute=execute) for name in names]
    files, stored = sum(each.files for each in done), sum(each.stored_bytes for each in done)
    to_s = max((each.to_s for each in done if each.to_s is not None), default=None)
    if as_json:
        told = None if to_s is None else iso(to_s)
        print_json({"verb": "prune", "executed": execute, "files": files, "bytes": stored, "to": told})
        return 0
    until = f", all before {iso(to_s)}" if to_s is not None else ""
    if execute:
        click.echo(f"deleted {counted(files, 'file')}, {stored:,} bytes{until}", err=True)
    else:
        click.echo(
            f"would delete {counted(files, 'file')}, {stored:,} bytes{until}. To do it, add --execute.", err=True
        )
    return 0
