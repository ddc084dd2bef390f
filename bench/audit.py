"""What a key of an audit costs: a scan against a CSV, both read, compared part by part; and sort and comm on the same.

    python -m bench.audit build --folder FOLDER --items 200000
    python -m bench.audit restrike --folder FOLDER --endpoint http://127.0.0.1:8000
    python -m bench.audit plain --folder FOLDER

The table is the stub's, and the CSV has all of its keys, in another order. `plain` sorts two such files and compares
them with comm, in the C locale: it has no network, no types, and takes a difference for what it is. One JSON object on
stdout, CPU as in `bench.touch`; of `plain` that of its commands.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import restrike
from bench.stub import ITEMS_PER_PAGE
from bench.touch import cpu_s
from restrike.auditing import execute  # noqa: F401 - the imports are not to be counted

COPY, OTHER = "copy.csv", "other.csv"


def build(folder: Path, items: int) -> None:
    """The copy, and for `plain` the same keys as a dump of the table would have them."""
    pages = -(-items // ITEMS_PER_PAGE)
    for name, order in ((COPY, range(pages - 1, -1, -1)), (OTHER, range(pages))):
        with (folder / name).open("w", encoding="utf-8") as file:
            file.write("pk,sk\n")
            for page in order:
                last = min(ITEMS_PER_PAGE, items - page * ITEMS_PER_PAGE)
                file.writelines(f"bench#{page:08}#{at:05},sk#{at:05}\n" for at in range(last))


def compare(folder: Path, endpoint: str) -> tuple[int, float]:
    """How many keys, and the CPU seconds that they took."""
    with tempfile.TemporaryDirectory(dir=folder) as kept:
        plan = restrike.audit(
            "bench",
            str(folder / COPY),
            segments=1,
            as_of="0s",
            max_rru=1e12,  # never what holds the client back
            run="bench",
            ledger=str(Path(kept) / "ledger.db"),
            endpoint_url=endpoint,
        )
        before_s = cpu_s()
        report = plan.execute()
        used_s = cpu_s() - before_s
        if report.exit_code or report.equal != report.theirs:
            raise SystemExit(f"not what was to be measured: {report}")
        return report.equal, used_s


def plain(folder: Path) -> int:
    for name in (COPY, OTHER):
        _run("sort", "-S", "256M", "-T", str(folder), "-o", str(folder / f"{name}.sorted"), str(folder / name))
    different = _run("comm", "-3", *(str(folder / f"{name}.sorted") for name in (COPY, OTHER)))
    if different:
        raise SystemExit(f"not what was to be measured: {different[:100]!r}")
    with (folder / COPY).open("rb") as file:
        return sum(1 for _ in file) - 1


def _run(*words: str) -> bytes:
    return subprocess.run(words, check=True, capture_output=True, env=os.environ | {"LC_ALL": "C"}).stdout


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["build", "restrike", "plain"])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--endpoint", default="")
    given = parser.parse_args()
    began_s = time.perf_counter()
    if given.what == "build":
        given.folder.mkdir(parents=True, exist_ok=True)
        build(given.folder, given.items)
        items, used_s = given.items, 0.0
    elif given.what == "restrike":
        items, used_s = compare(given.folder, given.endpoint)
    else:
        items = plain(given.folder)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        used_s = used.ru_utime + used.ru_stime
    print(
        json.dumps(
            {
                "items": items,
                "cpu_s": round(used_s, 4),
                "wall_s": round(time.perf_counter() - began_s, 4),
                "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
