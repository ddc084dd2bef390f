"""What a record of an incremental export costs: lines of gzip files → records → batches of 100 → a file of events.

    python -m bench.export build --folder FOLDER --records 100000
    python -m bench.export restrike --folder FOLDER
    python -m bench.export plain --folder FOLDER

`plain` does the same by hand: gzip and json.loads of each line, json.dumps of the events; it checks nothing, keeps no
places and writes no ledger. Lines are of about 2 KB with both images, half of which does not compress. One JSON object
on stdout, CPU as in `bench.touch`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gzip
import hashlib
import json
import os
import random
import resource
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import obstore.store  # noqa: F401 - the imports are not to be counted

from bench.touch import cpu_s
from restrike.aws.session import Aws
from restrike.sources.export.finding import find, open_place
from restrike.sources.export.reading import ExportSource
from restrike.sources.export.resolving import State

TABLE = "arn:aws:dynamodb:eu-west-1:123456789012:table/bench"
STREAM = f"{TABLE}/stream/2026-01-01T00:00:00.000"
BEGINS_S = 1_795_392_000
FILE_RECORDS = 10_000
DIFFERENT_FILES = 5
EXPORT = "AWSDynamoDB/01795478400000-0badcafe"
EVENTS = "MODIFY"
PATTERN_PART = 10  # every tenth is an insert, which the filter drops


def build(folder: Path, records: int) -> None:
    """One window; DIFFERENT_FILES different files lie there as often as it takes."""
    from bench.archive import image, json_bytes  # it needs more than is to be measured

    data = folder / "AWSDynamoDB" / "data"
    (folder / EXPORT).mkdir(parents=True)
    data.mkdir()
    made = random.Random(5)
    listed = []
    for number in range(records // FILE_RECORDS):
        path = data / f"{number:05}.json.gz"
        if number >= DIFFERENT_FILES:
            os.link(data / f"{number % DIFFERENT_FILES:05}.json.gz", path)
        else:
            lines = []
            for each in range(FILE_RECORDS):
                key = f"item-{number:02}{each:06}"
                old = {} if each % PATTERN_PART == 0 else {"OldImage": image(made, key)}
                written = {"N": str(BEGINS_S * 1_000_000 + each)}
                line = {"Metadata": {"WriteTimestampMicros": written}, "Keys": {"pk": {"S": key}}} | old
                lines.append(json_bytes(line | {"NewImage": image(made, key)}) + b"\n")
            path.write_bytes(gzip.compress(b"".join(lines)))
        md5 = base64.b64encode(hashlib.md5(path.read_bytes(), usedforsecurity=False).digest()).decode()
        key = f"AWSDynamoDB/data/{path.name}"
        listed.append({"itemCount": FILE_RECORDS, "md5Checksum": md5, "etag": "x", "dataFileS3Key": key})
    summary = {
        "version": "2023-08-01",
        "exportArn": f"{TABLE}/export/{EXPORT.rpartition('/')[2]}",
        "tableArn": TABLE,
        "exportFromTime": "2026-11-23T00:00:00.000Z",
        "exportToTime": "2026-11-24T00:00:00.000Z",
        "s3Bucket": "bench",
        "s3Prefix": None,
        "itemCount": len(listed) * FILE_RECORDS,
        "outputFormat": "DYNAMODB_JSON",
        "outputView": "NEW_AND_OLD_IMAGES",
        "exportType": "INCREMENTAL_EXPORT",
    }
    texts = {"summary": json.dumps(summary).encode(), "files": b"\n".join(json.dumps(each).encode() for each in listed)}
    for name, text in texts.items():
        (folder / EXPORT / f"manifest-{name}.json").write_bytes(text)
        checksum = base64.b64encode(hashlib.md5(text, usedforsecurity=False).digest())
        (folder / EXPORT / f"manifest-{name}.md5").write_bytes(checksum)


async def replayed(folder: Path, scratch: Path) -> int:
    """A replay of it, with its ledger; returns how many records were delivered."""
    from bench.replay import run
    from restrike.replaying.settings import Settings
    from restrike.targets.jsonl.target import JsonlTarget

    store, place = open_place(str(folder), no_aws)
    state = State(find(store, place).exports, STREAM, "NEW_AND_OLD_IMAGES")
    source = ExportSource(no_aws, str(folder), state, named=f"export:{folder}")
    return await run(source, JsonlTarget(str(scratch / "out.jsonl"), events=True), Settings(), scratch)


def no_aws() -> Aws:
    raise AssertionError("a folder needs no AWS")


def plain(folder: Path, scratch: Path) -> int:
    """The same by hand."""
    waiting: list[Mapping[str, Any]] = []
    written = 0
    with (scratch / "out.jsonl").open("w", encoding="utf-8") as out:
        for line in (folder / EXPORT / "manifest-files.json").read_text().splitlines():
            with gzip.open(folder / json.loads(line)["dataFileS3Key"], "rb") as file:
                for text in file:
                    change = json.loads(text)
                    if "OldImage" not in change:
                        continue
                    micros = int(change["Metadata"]["WriteTimestampMicros"]["N"])
                    waiting.append(
                        {
                            "eventID": f"{written + len(waiting):032x}",
                            "eventName": EVENTS,
                            "eventVersion": "1.1",
                            "eventSource": "aws:dynamodb",
                            "awsRegion": "eu-west-1",
                            "dynamodb": {
                                "ApproximateCreationDateTime": micros // 1_000_000,
                                "Keys": change["Keys"],
                                "NewImage": change["NewImage"],
                                "OldImage": change["OldImage"],
                                "SequenceNumber": f"{micros:040}",
                                "SizeBytes": len(text),
                                "StreamViewType": "NEW_AND_OLD_IMAGES",
                            },
                            "eventSourceARN": STREAM,
                        }
                    )
                    if len(waiting) == 100:
                        out.write(json.dumps({"Records": waiting}) + "\n")
                        written, waiting = written + 100, []
        if waiting:
            out.write(json.dumps({"Records": waiting}) + "\n")
    return written + len(waiting)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["build", "restrike", "plain"])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--records", type=int, default=100_000)
    given = parser.parse_args()
    if given.what == "build":
        build(given.folder, given.records)
        print("{}")
        return
    with tempfile.TemporaryDirectory() as name:
        cpu_before_s, began_s = cpu_s(), time.perf_counter()
        if given.what == "plain":
            delivered = plain(given.folder, Path(name))
        else:
            delivered = asyncio.run(replayed(given.folder, Path(name)))
        cpu_after_s, wall_s = cpu_s(), time.perf_counter() - began_s
    print(
        json.dumps(
            {
                "items": delivered * PATTERN_PART // (PATTERN_PART - 1),
                "cpu_s": round(cpu_after_s - cpu_before_s, 4),
                "wall_s": round(wall_s, 4),
                "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
