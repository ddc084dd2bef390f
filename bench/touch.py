"""`restrike touch --all` as a library call in a process of its own: scan + touch, the ledger on.

    python -m bench.touch --endpoint http://127.0.0.1:8000 --items 100000 [--verify]

One JSON object on stdout, measured as `bench.baselines` measures: the loop alone, after imports and planning.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import restrike


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--verify", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plan = restrike.touch(
            "bench",
            all=True,
            segments=1,
            run="bench",
            rate=1_000_000,  # never what holds the client back
            verify=given.verify,
            ledger=str(Path(folder) / "ledger.db"),
            endpoint_url=given.endpoint,
        )
        cpu_before_s, began_s = cpu_s(), time.perf_counter()
        report = plan.execute()
        cpu_after_s, wall_s = cpu_s(), time.perf_counter() - began_s
    if report.fired != given.items or (given.verify and report.seen != given.items):
        raise SystemExit(f"not what was to be measured: {report}")
    print(
        json.dumps(
            {
                "items": report.fired,
                "cpu_s": round(cpu_after_s - cpu_before_s, 4),
                "wall_s": round(wall_s, 4),
                "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            }
        )
    )


def cpu_s() -> float:
    """User and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
