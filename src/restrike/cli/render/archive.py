"""How an archive looks: its files, bars for its hours, what is missing, what is wrong, what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restrike.archive.layout import HOUR_S
from restrike.cli.render.streams import put, put_json, say
from restrike.model.numbers import counted
from restrike.model.times import iso

if TYPE_CHECKING:
    from restrike.archive.compaction import Compacted
    from restrike.archive.inspection import Stat, Verdict
    from restrike.archive.layout import DataFile, StreamName

CHART_WIDTH = 50
MOST_BARS = 48  # beyond, a bar is a day


def show_file(file: DataFile, *, as_json: bool) -> None:
    """One data file on stdout."""
    hour = iso(file.hour * HOUR_S)
    if not as_json:
        put(f"{hour}  {file.size_bytes:>12,}  {file.path}")
        return
    told = {"hour": hour, "shard": file.shard, "first": str(file.first), "bytes": file.size_bytes, "path": file.path}
    put_json(told)


def show_stat(names: list[StreamName], found: Stat) -> None:
    """Bars for the hours, or for the days where there are many hours, on stdout."""
    told = found.as_json()
    held = f"{counted(told['records'], 'record')}, {counted(told['files'], 'file')}, {told['bytes']:,} bytes"
    put(f"{names[0].table}: {held}")
    if told["first"] is not None:
        shards, streams = counted(told["shards"], "shard"), counted(len(names), "stream")
        put(f"from {told['first']} to {told['last']}, {shards}, {streams}")
    letters = 13 if len(found.hours) <= MOST_BARS else 10
    bars: dict[str, int] = {}
    for each in told["hours"]:
        bars[each["hour"][:letters]] = bars.get(each["hour"][:letters], 0) + each["records"]
    most = max(bars.values(), default=0)
    for name, records in bars.items():
        bar = "█" * max(1, round(records / most * CHART_WIDTH)) if records else ""
        put(f"{name.replace('T', ' ')}  {records:>12,}  {bar}")
    for gap in found.gaps:
        put(f"gap: {iso(gap.from_s)} to {iso(gap.to_s)}: {gap.cause}")
    for text in found.damaged:
        put(f"damaged: {text}")


def show_verdict(verdict: Verdict) -> None:
    """What is wrong, what is missing, and the sum, on stdout."""
    for problem in verdict.problems:
        put(f"wrong: {problem}")
    for path in verdict.covered:
        put(f"merged and not yet deleted (compact again): {path}")
    for gap in verdict.gaps:
        put(f"gap: {iso(gap.from_s)} to {iso(gap.to_s)}: {gap.cause}")
    if verdict.unchecked:
        files = counted(verdict.unchecked, "file")
        put(f"without a checksum of the footer, so that not all damage there is found: {files} of before it had one")
    what = counted(len(verdict.problems), "problem") if verdict.problems else "as it should be"
    put(f"{counted(verdict.records, 'record')} in {counted(verdict.files, 'file')}: {what}")


def show_compacted(whole: Compacted, *, executed: bool) -> None:
    """What was or would be merged, for people on stderr."""
    for text in whole.damaged:
        say(f"left as it is: {text}")
    files = f"{counted(whole.files_before, 'file')} into {whole.files_after:,}"
    if not executed:
        say(f"would merge {files}, {whole.bytes_before:,} bytes. To do it, add --execute.")
        return
    left = f"; {counted(whole.left, 'merge')} changed meanwhile, left for the next time" if whole.left else ""
    say(f"merged {files}, {whole.bytes_before:,} bytes into {whole.bytes_after:,}{left}")


def show_pruned(files: int, size_bytes: int, to_s: float | None, young_hours: int, *, executed: bool) -> None:
    """What was or would be thrown away, for people on stderr."""
    if young_hours:
        say(f"kept {counted(young_hours, 'old hour')}: a file of it was written within 48 hours, by the store's clock")
    what = f"{counted(files, 'file')}, {size_bytes:,} bytes" + (f", all before {iso(to_s)}" if to_s is not None else "")
    say(f"deleted {what}" if executed else f"would delete {what}. To do it, add --execute.")
