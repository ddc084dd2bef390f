"""`make bench`: what a touched item costs, beside the plain boto3 loops, against a stub of the service; and what
a replayed record costs, beside doing it by hand; and what an archive, an export and a redrive cost.

Each figure is the median of several runs, each in a process of its own; the commands take turns, so that a
machine that changes its speed changes it for all. Prints the table and writes `bench/results.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.replay import PAGE_RECORDS
from bench.stub import Stub, running

RUNS = 3
WINDOW_RUNS = 9  # of some 30 ms each
ROOT = Path(__file__).parent.parent
TIMEOUT_S = 600


def measure(stub: Stub | None, *command: str) -> dict[str, Any]:
    """One run of `python -m COMMAND` against the stub; what it measured of itself."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RESTRIKE_"))}
    environment |= {
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    where = ["--endpoint", stub.endpoint_url] if stub is not None else []
    if stub is not None and stub.ca_file:
        environment["AWS_CA_BUNDLE"] = stub.ca_file
    answer = subprocess.run(
        [sys.executable, "-m", *command, *where],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    if answer.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{answer.stderr}")
    measured: dict[str, Any] = json.loads(answer.stdout)
    return measured


def median_us(runs: list[dict[str, Any]]) -> float:
    """CPU microseconds an item."""
    return float(statistics.median(run["cpu_s"] / run["items"] * 1e6 for run in runs))


def touch_rows(scale: float) -> list[tuple[str, str, str, str]]:
    """Rows of (what, figure, to reach, reached) for touch."""
    some, many = int(100_000 * scale), int(1_000_000 * scale)
    names = ("restrike", "tls", "verify", "update-item", "batch")
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(RUNS):
        with running(items=some) as stub:
            runs["restrike"].append(measure(stub, "bench.touch", "--items", str(some)))
            runs["update-item"].append(
                measure(stub, "bench.baselines", "update-item", "--items", str(int(5_000 * scale)))
            )
            runs["batch"].append(measure(stub, "bench.baselines", "batch-execute", "--items", str(int(50_000 * scale))))
        with running(items=some, tls=True) as stub:
            runs["tls"].append(measure(stub, "bench.touch", "--items", str(some)))
        with running(items=some, stream=True) as stub:
            runs["verify"].append(measure(stub, "bench.touch", "--items", str(some), "--verify"))
    with running(items=many) as stub:
        large = measure(stub, "bench.touch", "--items", str(many))

    us = {name: median_us(runs[name]) for name in names}
    small_mb = statistics.median(run["peak_rss_mb"] for run in runs["restrike"])
    growth = large["peak_rss_mb"] / small_mb
    against_update, against_batch = us["update-item"] / us["restrike"], us["batch"] / us["restrike"]
    return [
        ("restrike touch, HTTP", f"{us['restrike']:.1f} µs CPU an item", "≤ 10", met(us["restrike"] <= 10)),
        ("restrike touch, TLS", f"{us['tls']:.1f} µs CPU an item", "≤ 12", met(us["tls"] <= 12)),
        ("restrike touch, with the proof from the stream", f"{us['verify']:.1f} µs CPU an item", "", ""),
        ("boto3 update_item, one by one", f"{us['update-item']:.0f} µs CPU an item", "", ""),
        ("boto3 batch_execute_statement, 25 at a time", f"{us['batch']:.1f} µs CPU an item", "", ""),
        ("boto3 update_item : restrike", f"{against_update:.0f} ×", "≥ 80", met(against_update >= 80)),
        ("boto3 batch : restrike", f"{against_batch:.1f} ×", "≥ 4", met(against_batch >= 4)),
        (f"peak memory, {some:,} items", f"{small_mb:.0f} MB", "≤ 100", met(small_mb <= 100)),
        (f"peak memory, {many:,} items", f"{large['peak_rss_mb']:.0f} MB", "≤ 100", met(large["peak_rss_mb"] <= 100)),
        ("the second : the first", f"{growth:.2f}", "0.9 to 1.1", met(0.9 <= growth <= 1.1)),
    ]


def replay_rows(scale: float) -> list[tuple[str, str, str, str]]:
    """Rows for replay: the same records through restrike and by hand, in turn."""
    some, many = int(100_000 * scale), int(1_000_000 * scale)
    runs: dict[str, list[dict[str, Any]]] = {"restrike": [], "plain": []}
    for _ in range(RUNS):
        for name, measured in runs.items():
            measured.append(measure(None, "bench.replay", name, "--records", str(some)))
    large = measure(None, "bench.replay", "restrike", "--records", str(many))
    busy = measure(None, "bench.replay", "lanes", "--records", str(int(200_000 * scale)))["lanes_busy"]
    us = {name: median_us(measured) for name, measured in runs.items()}
    ratio = us["plain"] / us["restrike"]
    small_mb = statistics.median(run["peak_rss_mb"] for run in runs["restrike"])
    growth = large["peak_rss_mb"] / small_mb
    return [
        (
            "restrike, pages to events",
            f"{us['restrike']:.1f} µs CPU a record",
            "≤ 7",
            met(us["restrike"] <= 7),
        ),
        ("json.loads and json.dumps", f"{us['plain']:.1f} µs CPU a record", "", ""),
        ("the second : the first", f"{ratio:.1f} ×", "≥ 3", met(ratio >= 3)),
        (f"peak memory, {some:,} records", f"{small_mb:.0f} MB", "", ""),
        (f"peak memory, {many:,} records", f"{large['peak_rss_mb']:.0f} MB", "", ""),
        ("the second : the first", f"{growth:.2f}", "0.9 to 1.1", met(0.9 <= growth <= 1.1)),
        ("64 lanes kept busy at 50 ms a batch", f"{busy:.1%}", "≥ 95 %", met(busy >= 0.95)),
    ]


def archive_rows(scale: float) -> list[tuple[str, str, str, str]]:
    """Rows for capture and for reading what it wrote."""
    some, many = int(100_000 * scale), int(1_000_000 * scale)
    runs: dict[int, list[dict[str, Any]]] = {1: [], 16: []}
    keys: dict[int, list[dict[str, Any]]] = {60: [], 1: []}
    for _ in range(RUNS):
        for shards, measured in runs.items():
            records = some // (1_000 * shards) * 1_000 * shards  # whole pages in every shard
            measured.append(
                measure(None, "bench.archive", "capture", "--records", str(records), "--shards", str(shards))
            )
        for files, measured in keys.items():
            measured.append(measure(None, "bench.archive", "key", "--files", str(files)))
    large = measure(None, "bench.archive", "capture", "--records", str(many))
    windows: dict[int, list[dict[str, Any]]] = {days: [] for days in (max(3, int(30 * scale)), 3)}
    long = max(windows)
    with tempfile.TemporaryDirectory() as folder:
        built = {
            days: measure(None, "bench.archive", "build", "--folder", f"{folder}/{days}", "--days", str(days))
            for days in windows
        }
        for _ in range(WINDOW_RUNS):
            for days, measured in windows.items():
                measured.append(measure(None, "bench.archive", "window", "--folder", f"{folder}/{days}"))

    us = {shards: median_us(measured) for shards, measured in runs.items()}
    mb = {shards: statistics.median(run["peak_rss_mb"] for run in measured) for shards, measured in runs.items()}
    growth = large["peak_rss_mb"] / mb[1]
    first_s = statistics.median(run["first_s"] for run in windows[long])
    hours = max(run["hours"] for run in windows[long])
    window_s = {days: statistics.median(run["wall_s"] for run in measured) for days, measured in windows.items()}
    against_short = window_s[long] / window_s[3]
    part = {files: measured[0]["fetched_bytes"] / measured[0]["hour_bytes"] for files, measured in keys.items()}
    compaction_us = statistics.median(run["compaction_s"] / run["items"] * 1e6 for run in keys[1])
    return [
        ("capture, 1 shard", f"{us[1]:.1f} µs CPU a record", "≤ 12", met(us[1] <= 12)),
        ("capture, 16 shards", f"{us[16]:.1f} µs CPU a record", "≤ 12", met(us[16] <= 12)),
        (f"peak memory, {some:,} records", f"{mb[1]:.0f} MB", "≤ 192", met(mb[1] <= 192)),
        (f"peak memory, {many:,} records", f"{large['peak_rss_mb']:.0f} MB", "≤ 192", met(large["peak_rss_mb"] <= 192)),
        ("the second : the first", f"{growth:.2f}", "", ""),
        ("peak memory, 16 shards", f"{mb[16]:.0f} MB", "", ""),
        (
            f"an hour out of {built[long]['items']:,} records in {long} days: hours of which files are opened",
            f"{hours}",
            "≤ 2",
            met(hours <= 2),
        ),
        ("time to its first records", f"{first_s:.3f} s", "≤ 1", met(first_s <= 1)),
        (f"the same hour, out of {long} days : out of 3", f"{against_short:.2f}", "≤ 1.2", met(against_short <= 1.2)),
        ("one key in an hour, 60 files: bytes fetched", f"{part[60]:.1%}", "≤ 10 %", met(part[60] <= 0.1)),
        ("one key in an hour, merged: bytes fetched", f"{part[1]:.1%}", "≤ 10 %", met(part[1] <= 0.1)),
        ("reading an hour, 60 files", f"{median_us(keys[60]):.1f} µs CPU a record", "", ""),
        ("reading an hour, merged", f"{median_us(keys[1]):.1f} µs CPU a record", "", ""),
        ("compaction, 60 files to one", f"{compaction_us:.1f} µs CPU a record", "", ""),
    ]


def export_rows(scale: float) -> list[tuple[str, str, str, str]]:
    """Rows for an incremental export: the same files through restrike and by hand, in turn."""
    some, many = int(100_000 * scale), int(1_000_000 * scale)
    runs: dict[str, list[dict[str, Any]]] = {"restrike": [], "plain": []}
    with tempfile.TemporaryDirectory() as folder:
        for records in (some, many):
            measure(None, "bench.export", "build", "--folder", f"{folder}/{records}", "--records", str(records))
        for _ in range(RUNS):
            for name, measured in runs.items():
                measured.append(measure(None, "bench.export", name, "--folder", f"{folder}/{some}"))
        large = measure(None, "bench.export", "restrike", "--folder", f"{folder}/{many}")
    us = {name: median_us(measured) for name, measured in runs.items()}
    ratio = us["plain"] / us["restrike"]
    small_mb = statistics.median(run["peak_rss_mb"] for run in runs["restrike"])
    growth = large["peak_rss_mb"] / small_mb
    return [
        ("restrike, gzip lines to events", f"{us['restrike']:.1f} µs CPU a record", "", ""),
        ("gzip, json.loads and json.dumps", f"{us['plain']:.1f} µs CPU a record", "", ""),
        ("the second : the first", f"{ratio:.1f} ×", "≥ 2.2", met(ratio >= 2.2)),
        # Of that up to 48 MB are the lanes' queue, as full as it happens to be.
        (f"peak memory, {some:,} records", f"{small_mb:.0f} MB", "≤ 128", met(small_mb <= 128)),
        (f"peak memory, {many:,} records", f"{large['peak_rss_mb']:.0f} MB", "≤ 128", met(large["peak_rss_mb"] <= 128)),
        ("the second : the first", f"{growth:.2f}", "", ""),
    ]


def redrive_rows(scale: float) -> list[tuple[str, str, str, str]]:
    """Rows for messages that point into one shard: it is read once, whoever points there."""
    records = int(100_000 * scale)
    runs = [measure(None, "bench.redrive", "--records", str(records)) for _ in range(RUNS)]
    iterators, calls, pages = runs[0]["get_shard_iterator"], runs[0]["get_records"], records // PAGE_RECORDS
    mb = statistics.median(run["peak_rss_mb"] for run in runs)
    return [
        ("1,000 pointers into one shard: GetShardIterator", f"{iterators}", "1", met(iterators == 1)),
        (f"GetRecords, of {pages:,} pages", f"{calls:,}", f"{pages:,}", met(calls == pages)),
        ("pointers to events", f"{median_us(runs):.1f} µs CPU a record", "", ""),
        (f"peak memory, {records:,} records", f"{mb:.0f} MB", "", ""),
    ]


def audit_rows(scale: float) -> list[tuple[str, str, str, str]]:
    """Rows for an audit: a table against a CSV through restrike, and the same keys by sort and comm, in turn."""
    some, many = int(200_000 * scale), int(2_000_000 * scale)
    runs: dict[str, list[dict[str, Any]]] = {"restrike": [], "plain": []}
    with tempfile.TemporaryDirectory() as folder:
        for items in (some, many):
            measure(None, "bench.audit", "build", "--folder", f"{folder}/{items}", "--items", str(items))
        with running(items=some) as stub:
            for _ in range(RUNS):
                runs["restrike"].append(measure(stub, "bench.audit", "restrike", "--folder", f"{folder}/{some}"))
                runs["plain"].append(measure(None, "bench.audit", "plain", "--folder", f"{folder}/{some}"))
        with running(items=many) as stub:
            large = measure(stub, "bench.audit", "restrike", "--folder", f"{folder}/{many}")
    us = {name: median_us(measured) for name, measured in runs.items()}
    small_mb = statistics.median(run["peak_rss_mb"] for run in runs["restrike"])
    return [
        ("restrike, a scan against a CSV", f"{us['restrike']:.1f} µs CPU a key", "", ""),
        ("sort and comm, two files", f"{us['plain']:.1f} µs CPU a key", "", ""),
        (f"peak memory, {some:,} keys", f"{small_mb:.0f} MB", "≤ 300", met(small_mb <= 300)),
        (f"peak memory, {many:,} keys", f"{large['peak_rss_mb']:.0f} MB", "≤ 300", met(large["peak_rss_mb"] <= 300)),
    ]


def met(reached: bool) -> str:
    return "yes" if reached else "**no**"


SECTIONS: dict[str, Callable[[float], list[tuple[str, str, str, str]]]] = {
    "touch": touch_rows,
    "replay": replay_rows,
    "capture and archive": archive_rows,
    "export": export_rows,
    "redrive": redrive_rows,
    "audit": audit_rows,
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="a part of the items, for a quick look")
    parser.add_argument("--only", choices=list(SECTIONS), help="one section, and no file is written")
    given = parser.parse_args()
    sections = [(name, rows(given.scale)) for name, rows in SECTIONS.items() if given.only in (None, name)]
    lines = [
        "# Benchmarks",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {cpu_name()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}. `make bench` writes this file.",
        "",
        "The figure is CPU, user and system, in the median of "
        f"{RUNS} runs. Touch: the service is a stub in its own process with",
        "canned pages of 400-byte items; scan and ledger are in it. Replay: records of 2 KB with both images, one",
        "in ten filtered out, batches of 100; ledger in it. Capture: pages of 1,000 records of 2 KB onto a local",
        "disk, half of each image text that does not compress, --flush-mb 64. Export: files of 10,000 such lines,",
        "one in ten filtered out, batches of 100; checks and ledger in it. Redrive: records as in replay, kept on disk",
        "between stream and events; messages, pointers and ledger in it. Audit: all keys of the stub's table against",
        "a CSV of them in another order; both are written to the disk and compared.",
    ]
    for name, rows in sections:
        lines += ["", f"## {name}", "", "| | measured | to reach | reached |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
    text = "\n".join(lines) + "\n"
    print(text)
    if given.scale == 1.0 and given.only is None:
        (Path(__file__).parent / "results.md").write_text(text, encoding="utf-8")


def cpu_name() -> str:
    """The processor's name, where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"


if __name__ == "__main__":
    main()
