"""What a replayed record costs: pages as GetRecords answers them → records → filtered by event name → batches of 100
→ a file of Lambda events; and how busy many lanes keep a function that takes 50 ms.

    python -m bench.replay restrike --records 100000
    python -m bench.replay plain --records 100000
    python -m bench.replay lanes

`plain` does the same with json.loads of the page and json.dumps of the events. Records are of about 2 KB with both
images; every tenth is an INSERT, which the filter drops. One JSON object on stdout, CPU as in `bench.touch`; what
making the pages costs is left out of both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from bench.touch import cpu_s
from restrike.aws.streams import records_decoder
from restrike.model.record import Fidelity, Record, read_record
from restrike.model.window import Gap, Window
from restrike.replaying.book import LedgerBook
from restrike.replaying.counts import ReplayCounts
from restrike.replaying.engine import Replay
from restrike.replaying.filters import FilterRequest, RecordFilter
from restrike.replaying.settings import Settings
from restrike.running.ledger import Ledger
from restrike.running.run import Entry
from restrike.running.stop import Stop
from restrike.sources import Source, SourceInfo
from restrike.targets import Answer, Target
from restrike.targets.jsonl.target import JsonlTarget

ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/bench/stream/2026-01-01T00:00:00.000"
PAGE_RECORDS = 500  # of 2 KB: a page holds at most 1 MB
EVENTS = "MODIFY,REMOVE"


def pages(records: int) -> list[bytes]:
    """Ten different pages of GetRecords, which take turns; sequence numbers are put in as they are handed out."""
    image = {f"attribute_{number}": {"S": "x" * 60} for number in range(11)}
    made = []
    for page in range(min(10, -(-records // PAGE_RECORDS))):
        members = [
            {
                "eventID": f"{page:08x}{number:024x}",
                "eventName": "INSERT" if number % 10 == 0 else "MODIFY",
                "eventVersion": "1.1",
                "eventSource": "aws:dynamodb",
                "awsRegion": "eu-west-1",
                "dynamodb": {
                    "ApproximateCreationDateTime": 1_795_434_720.0,
                    "Keys": {"pk": {"S": f"item-{{place}}{number:06}"}},
                    "NewImage": image,
                    "OldImage": image,
                    "SequenceNumber": f"{{place}}{number:06}",
                    "SizeBytes": 2048,
                    "StreamViewType": "NEW_AND_OLD_IMAGES",
                },
            }
            for number in range(PAGE_RECORDS)
        ]
        body = json.dumps({"Records": members, "NextShardIterator": "next"}, separators=(",", ":"))
        made.append(body.replace("{place}", "@@@@@@@@@@@@").encode())
    return made


class Answers:
    """The pages in turn, each with sequence numbers that ascend, until there are that many records.

    `making_s` is the CPU time that putting the numbers in took: the stub's, and nobody else's.
    """

    making_s = 0.0

    def __init__(self, records: int) -> None:
        self._records = records
        self._templates = pages(records)

    def __iter__(self) -> Iterator[bytes]:
        for number in range(self._records // PAGE_RECORDS):
            began_s = time.thread_time()
            body = self._templates[number % len(self._templates)].replace(b"@@@@@@@@@@@@", b"8%011d" % number)
            Answers.making_s += time.thread_time() - began_s
            yield body


class PageSource:
    """The pages of one shard out of memory, decoded as the stream source decodes them."""

    uri = "stream:bench"
    fidelity: Fidelity = "exact"

    def __init__(self, answers: Answers) -> None:
        self.started_s: float | None = None
        self.stands_on: Mapping[str, str] = {}
        self.ended = ""
        self.gaps: list[Gap] = []
        self.drained: set[str] = set()
        self._answers = answers

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def look(self, window: Window) -> SourceInfo:
        return SourceInfo()

    async def read(self, after: Mapping[str, int], window: Window) -> AsyncIterator[list[Record]]:
        decoder = records_decoder(msgspec.Raw)
        for body in self._answers:
            yield [
                read_record(raw, shard="shard", place=None, stream_arn=ARN, fidelity="exact")
                for raw in decoder.decode(body).records
            ]


class SlowTarget:
    """A function that takes 50 ms; counts how long how many lanes had it working."""

    uri = "lambda:bench"
    max_payload_bytes: int | None = None
    stands_on: Mapping[str, str] = {}

    def __init__(self) -> None:
        self.busy_s = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def attempt(self, records: list[Record]) -> Answer:
        began = time.perf_counter()
        await asyncio.sleep(0.05)
        self.busy_s += time.perf_counter() - began
        return Answer(ok=True)

    @property
    def size_bytes(self) -> int | None:
        """No file is kept."""
        return None

    async def sync(self) -> None: ...


async def run(source: Source, target: Target, settings: Settings, folder: Path) -> int:
    """One replay with its ledger; returns how many records were delivered."""
    request = FilterRequest(event=EVENTS)
    with Ledger(folder / "ledger.db") as ledger:
        entered = ledger.enter(Entry("bench", "replay", ARN, {}, b"{}"))
        async with source, target:
            replay = Replay(
                source,
                target,
                RecordFilter(request, Window()),
                Window(),
                settings,
                LedgerBook(ledger, entered),
                stop=Stop(),
                name="bench",
                counts=ReplayCounts(),
                on_failure=folder / "failed.jsonl",
            )
            return (await replay.execute()).delivered


def plain(answers: Answers, path: Path) -> int:
    """The same by hand: parse the page, drop what is not wanted, write events of 100."""
    wanted = set(EVENTS.split(","))
    waiting: list[Any] = []
    written = 0
    with path.open("w", encoding="utf-8") as file:
        for body in answers:
            for record in json.loads(body)["Records"]:
                if record["eventName"] in wanted:
                    record["eventSourceARN"] = ARN
                    waiting.append(record)
            while len(waiting) >= 100:
                file.write(json.dumps({"Records": waiting[:100]}) + "\n")
                written, waiting = written + 100, waiting[100:]
        if waiting:
            file.write(json.dumps({"Records": waiting}) + "\n")
    return written + len(waiting)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["restrike", "plain", "lanes"])
    parser.add_argument("--records", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = Answers(given.records)  # before the clock starts
        cpu_before_s, began_s = cpu_s(), time.perf_counter()
        busy = None
        if given.what == "plain":
            delivered = plain(made, folder / "out.jsonl")
        elif given.what == "restrike":
            target = JsonlTarget(str(folder / "out.jsonl"), events=True)
            delivered = asyncio.run(run(PageSource(made), target, Settings(), folder))
        else:
            slow = SlowTarget()
            settings = Settings(lanes=64, batch_size=10)
            delivered = asyncio.run(run(PageSource(made), slow, settings, folder))
            busy = slow.busy_s / (64 * (time.perf_counter() - began_s))
        cpu_after_s, wall_s = cpu_s(), time.perf_counter() - began_s
    if delivered != given.records * 9 // 10:
        raise SystemExit(f"{delivered} of {given.records * 9 // 10} records arrived")
    print(
        json.dumps(
            {
                "items": given.records,
                "cpu_s": round(cpu_after_s - cpu_before_s - Answers.making_s, 4),
                "wall_s": round(wall_s, 4),
                "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
                "lanes_busy": busy,
            }
        )
    )


if __name__ == "__main__":
    main()
