"""What an archive costs: a captured record, a window of one hour out of many, the look for one key, a compaction.

    python -m bench.archive capture --records 100000 --shards 16
    python -m bench.archive build --folder FOLDER --days 30
    python -m bench.archive window --folder FOLDER
    python -m bench.archive key --files 60

`capture` reads pages of 1,000 records out of memory and writes files to a local disk; what making the pages costs is
left out. `build` makes an archive of small records, an hour a file, and `window` reads one hour of it, as `replay`
does. `key` looks for the only record of a key in an hour of 20,000. Its records and those of `capture` have some 2 KB
with both images; half of each image is text that does not compress.

One JSON object on stdout, CPU as in `bench.touch`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import obstore.store  # noqa: F401 - the imports are not to be counted
import pyarrow as pa
import pyarrow.compute as pc

from bench.touch import cpu_s
from restrike.archive.columns import Answered, Change
from restrike.archive.compaction import compact
from restrike.archive.layout import HOUR_S, StreamName, file_path
from restrike.archive.reader import ArchiveReader
from restrike.archive.schema import SCHEMA, About, key_hash
from restrike.archive.state import CaptureState, encoded
from restrike.archive.writing import Writer, encode
from restrike.aws.session import Aws
from restrike.aws.streams import StreamInfo
from restrike.aws.wire import Wire
from restrike.capturing.request import CaptureOptions
from restrike.capturing.stream import StreamCapture
from restrike.capturing.tally import CaptureTally
from restrike.model.window import Window
from restrike.replaying.filters import FilterRequest, key_filter
from restrike.running.stop import Stop
from restrike.sources.archive.reading import ArchiveSource
from restrike.stores.folder import LocalFolder
from restrike.stores.objects import Store

NAME = StreamName("bench", "2026-01-01T00:00:00.000")
ARN = f"arn:aws:dynamodb:eu-west-1:123456789012:table/{NAME.table}/stream/{NAME.label}"
VIEW = "NEW_AND_OLD_IMAGES"
SHARD = "shardId-00000001790000000000-00000000"
HOUR = 497_000  # hours since 1970, some time in 2026
PAGE_RECORDS = 1_000  # the most that GetRecords answers; the service would also end a page at 1 MB
DIFFERENT_PAGES = 10
IMAGE_TEXT = 450  # characters of an image that do not compress, and as many that do
FIRST = 8 * 10**20  # sequence numbers of 21 digits

HOURLY = 7_000  # small records an hour
GROUP_RECORDS = 3_500
KEY_RECORDS = 20_000


def image(made: random.Random, key: str) -> dict[str, Any]:
    """Half of it is hex of random bytes, half what such items say again and again."""
    return {
        "pk": {"S": key},
        "token": {"S": made.randbytes(IMAGE_TEXT // 4).hex()},
        "digest": {"S": made.randbytes(IMAGE_TEXT // 4).hex()},
        "state": {"S": made.choice(["placed", "paid", "packed", "sent", "returned"])},
        "address": {"M": {"city": {"S": "Springfield"}, "street": {"S": f"{made.randrange(900)} Evergreen Terrace"}}},
        "lines": {
            "L": [
                {"M": {"article": {"S": f"article-{number:05}"}, "count": {"N": str(made.randrange(9))}}}
                for number in range(3)
            ]
        },
        "note": {"S": "Please leave it with the neighbours if nobody opens."},
    }


def json_bytes(what: Any) -> bytes:
    """Without white space, as the service answers."""
    return json.dumps(what, separators=(",", ":")).encode()


def printed(**measured: Any) -> None:
    """One JSON object, floats with four digits, and this process's peak memory."""
    measured["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({name: round(it, 4) if isinstance(it, float) else it for name, it in measured.items()}))


# --- capture ------------------------------------------------------------------------------------------------------


class StubWire(Wire):
    """Answers what a capture asks of a stream whose shards are closed: pages, each with sequence numbers and creation
    times that ascend within one hour. They lie in a folder, so that they are not in the memory that is measured.

    `making_s` is the CPU time that making a page out took: the stub's, and nobody else's.
    """

    def __init__(self, records: int, shards: int, hour: int, folder: Path) -> None:
        # Not a Channel's: nothing is sent.
        self.making_s = 0.0
        self._shard_pages = records // PAGE_RECORDS // shards
        self._shards = [f"{SHARD[:-8]}{number:08x}" for number in range(shards)]
        self._hour_s = hour * HOUR_S
        self._templates = []
        made = random.Random(1)
        for number in range(min(DIFFERENT_PAGES, self._shard_pages)):
            self._templates.append(folder / f"{number}.json")
            self._templates[-1].write_bytes(page(made))

    async def call(self, operation: str, body: bytes, *, attempts: int | None = None) -> bytes:
        asked = json.loads(body)
        if operation == "DescribeStream":
            range_ = {"StartingSequenceNumber": str(FIRST), "EndingSequenceNumber": str(2 * FIRST)}
            listed = [{"ShardId": each, "SequenceNumberRange": range_} for each in self._shards]
            return json_bytes({"StreamDescription": {"StreamStatus": "ENABLED", "Shards": listed}})
        if operation == "GetShardIterator":
            return json_bytes({"ShardIterator": f"{self._shards.index(asked['ShardId'])}.0"})
        assert operation == "GetRecords"
        shard, number = map(int, asked["ShardIterator"].split("."))
        began_s = time.thread_time()
        created_s = self._hour_s + number * (HOUR_S - 1) // self._shard_pages
        following = b'"%d.%d"' % (shard, number + 1) if number + 1 < self._shard_pages else b"null"
        template = self._templates[number % len(self._templates)].read_bytes()
        answer = template.replace(b"@@@@@@@@@@@@", b"8%05d%06d" % (shard, number))
        answer = answer.replace(b"##########", b"%d" % created_s).replace(b'"next"', following)
        self.making_s += time.thread_time() - began_s
        return answer


def page(made: random.Random) -> bytes:
    """An answer of GetRecords; places and creation times are put in as it is handed out."""
    keys = [f"order-{made.randbytes(8).hex()}" for _ in range(PAGE_RECORDS)]
    members = [
        {
            "eventID": made.randbytes(16).hex(),
            "eventName": "MODIFY",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "eu-west-1",
            "dynamodb": {
                "ApproximateCreationDateTime": "##########",
                "Keys": {"pk": {"S": key}},
                "NewImage": image(made, key),
                "OldImage": image(made, key),
                "SequenceNumber": f"@@@@@@@@@@@@{number:09}",
                "SizeBytes": 2048,
                "StreamViewType": VIEW,
            },
        }
        for number, key in enumerate(keys)
    ]
    return json_bytes({"Records": members, "NextShardIterator": "next"}).replace(b'"##########"', b"##########")


def capture(records: int, shards: int) -> None:
    """Captures all of it and prints what that cost."""
    now_s = time.time()
    tally = CaptureTally()
    info = StreamInfo(arn=ARN, table_name=NAME.table, view_type=VIEW, status="ENABLED", created_s=None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wire = StubWire(records, shards, int(now_s // HOUR_S) - 1, folder)  # before the clock starts

        async def run() -> str:
            store = LocalFolder(folder / "archive", create=True)
            return await StreamCapture(
                wire, store, NAME, info, now_s, {"HASH": "pk"}, CaptureOptions(), tally, Stop()
            ).run()

        cpu_before_s, began_s = cpu_s(), time.perf_counter()
        asyncio.run(run())
        cpu_after_s, wall_s = cpu_s(), time.perf_counter() - began_s
    if tally.records != records:
        raise SystemExit(f"{tally.records} of {records} records are in the archive")
    printed(
        items=records,
        cpu_s=cpu_after_s - cpu_before_s - wire.making_s,
        wall_s=wall_s,
        files=tally.files,
        written_bytes=tally.written_bytes,
    )


# --- a window out of many hours -----------------------------------------------------------------------------------


def about() -> About:
    return About(stream_arn=ARN, table=NAME.table, shard=SHARD, view_type=VIEW, keys={"HASH": "pk"})


def build(folder: str, days: int) -> None:
    """An archive of the days before HOUR. Its hours differ in their sequence numbers and creation times alone."""
    made = random.Random(2)
    store = LocalFolder(Path(folder), create=True)
    keys = [json_bytes({"pk": {"S": f"item-{made.randrange(10**6):06}"}}) for _ in range(HOURLY)]
    images = [json_bytes({"pk": {"S": "item"}, "value": {"S": made.randbytes(12).hex()}}) for _ in range(HOURLY)]
    same: dict[str, Any] = {
        "shard_id": [SHARD] * HOURLY,
        "event_id": [made.randbytes(16).hex() for _ in range(HOURLY)],
        "event_name": ["MODIFY"] * HOURLY,
        "keys": keys,
        "new_image": images,
        "old_image": images[1:] + images[:1],
        "size_bytes": [100] * HOURLY,
        "user_identity": [None] * HOURLY,
        "key_hash": [key_hash(each) for each in keys],
        "event_version": ["1.1"] * HOURLY,
        "aws_region": ["eu-west-1"] * HOURLY,
    }
    columns = {name: pa.array(values, SCHEMA.field(name).type) for name, values in same.items()}
    spread_ms = pa.array([number * HOUR_S * 1000 // HOURLY for number in range(HOURLY)], pa.int64())
    digits = pa.array([f"{number:012}" for number in range(HOURLY)])
    for hour in range(HOUR - days * 24, HOUR):
        columns["created_at"] = pc.add(spread_ms, hour * HOUR_S * 1000).cast(SCHEMA.field("created_at").type)
        columns["sequence_number"] = pc.binary_join_element_wise(f"8{hour:08}", digits, "")
        batch = pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)
        writer = Writer(about(), GROUP_RECORDS)
        for start in range(0, HOURLY, GROUP_RECORDS):
            writer.add_batch(batch.slice(start, GROUP_RECORDS))
        first, last = columns["sequence_number"][0].as_py(), columns["sequence_number"][-1].as_py()
        path = Path(folder) / file_path(NAME, hour, SHARD, int(first))
        path.parent.mkdir(parents=True)
        path.write_bytes(writer.finish(first, last))
    ended_s = float(HOUR * HOUR_S)
    state = CaptureState(ARN, NAME.table, NAME.label, began_s=ended_s - days * 24 * HOUR_S, saved_s=ended_s)
    store.create(NAME.state_path, encoded(state))
    printed(items=days * 24 * HOURLY)


class CountedHours:
    """Says of which hours files are opened: it stands between `Store` and its `read_range`."""

    def __init__(self) -> None:
        self.paths: set[str] = set()
        read_range = Store.read_range

        def counted(store: Store, found: Any, start: int, end: int) -> bytes:
            self.paths.add(found.path)
            return read_range(store, found, start, end)

        Store.read_range = counted  # type: ignore[assignment, method-assign]  # to watch it

    @property
    def hours(self) -> int:
        return len({path.rpartition("/")[0] for path in self.paths})


def window(folder: str) -> None:
    """Reads an hour of the last day but one, and prints when its first records came, and when all."""
    hour = HOUR - 36
    since_s, until_s = float(hour * HOUR_S), float((hour + 1) * HOUR_S)
    counted = CountedHours()
    first_s = 0.0
    found = 0

    def no_aws() -> Aws:
        raise SystemExit("a folder needs no AWS")

    async def run() -> None:
        nonlocal first_s, found
        async with ArchiveSource(no_aws, folder) as source:
            async for records in source.read({}, Window(since_s=since_s, until_s=until_s)):
                first_s = first_s or time.perf_counter() - began_s
                found += sum(since_s <= record.created_s < until_s for record in records)

    cpu_before_s, began_s = cpu_s(), time.perf_counter()
    asyncio.run(run())
    cpu_after_s, wall_s = cpu_s(), time.perf_counter() - began_s
    if found != HOURLY:
        raise SystemExit(f"{found} of {HOURLY} records are in the window")
    printed(
        items=found,
        cpu_s=cpu_after_s - cpu_before_s,
        wall_s=wall_s,
        first_s=first_s,
        files=len(counted.paths),
        hours=counted.hours,
    )


# --- one key ------------------------------------------------------------------------------------------------------


def hour_rows(count: int) -> Iterator[Answered]:
    """The records of an hour, each of another key."""
    made = random.Random(3)
    for number in range(count):
        key = f"order-{made.randbytes(8).hex()}"
        change = Change(
            keys=msgspec.Raw(json_bytes({"pk": {"S": key}})),
            sequence_number=str(FIRST + number),
            created=float(HOUR * HOUR_S + number * HOUR_S // count),
            new_image=msgspec.Raw(json_bytes(image(made, key))),
            old_image=msgspec.Raw(json_bytes(image(made, key))),
            size_bytes=2048,
        )
        yield Answered(change, made.randbytes(16).hex(), "MODIFY", "1.1", "eu-west-1")


def write_hour(store: Store, files: int) -> None:
    """The hour's files as a capture writes them that puts one so many times an hour."""
    rows = deque(hour_rows(KEY_RECORDS))
    for number in range(files):
        left = len(rows) - KEY_RECORDS * (files - 1 - number) // files
        part = deque(rows.popleft() for _ in range(left))
        path = file_path(NAME, HOUR, SHARD, part[0].place)
        if not store.create(path, encode(part, about())):
            raise SystemExit(f"{path} is there already")


def key(files: int) -> None:
    """Writes the hour in 60 files, merges them where `files` is 1, looks for a key, reads all; prints all of it."""
    with tempfile.TemporaryDirectory() as folder:
        store = LocalFolder(Path(folder), create=True)
        write_hour(store, max(files, 60))
        compaction_s = None
        if files == 1:
            before_s = cpu_s()
            compact(store, NAME, before_s=(HOUR + 1) * HOUR_S)
            compaction_s = cpu_s() - before_s
        listed = ArchiveReader(store, NAME).files_of_hour(HOUR)
        if len(listed) != files:
            raise SystemExit(f"the hour has {len(listed)} files")

        before_s = cpu_s()
        whole = [record for records in ArchiveReader(store, NAME).read(Window(), {}) for record in records]
        reading_s = cpu_s() - before_s
        chosen = whole[KEY_RECORDS * 2 // 3].keys
        wanted = msgspec.json.decode(chosen)["pk"]["S"]
        reader = ArchiveReader(store, NAME)
        before_s = cpu_s()
        found = [
            record for records in reader.read(Window(), {}, key_filter(FilterRequest(key=wanted))) for record in records
        ]
        looking_s = cpu_s() - before_s
        if len(whole) != KEY_RECORDS or [record.keys for record in found] != [chosen]:
            raise SystemExit(f"{len(found)} of 1 record of the key, {len(whole)} of {KEY_RECORDS}")
        printed(
            items=KEY_RECORDS,
            cpu_s=reading_s,
            compaction_s=compaction_s,
            looking_s=looking_s,
            fetched_bytes=reader.fetched_bytes,
            hour_bytes=sum(each.size_bytes for each in listed),
        )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["capture", "build", "window", "key"])
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--folder", default="")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--files", type=int, default=60)
    given = parser.parse_args()
    if given.what == "capture":
        capture(given.records, given.shards)
    elif given.what == "build":
        build(given.folder, given.days)
    elif given.what == "window":
        window(given.folder)
    else:
        key(given.files)


if __name__ == "__main__":
    main()
