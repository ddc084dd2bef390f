"""What a record of a redrive costs: POINTERS messages that point into one shard → followed through its pages, as
GetRecords answers them → kept on disk → batches of 100 → a file of Lambda events; and how often the shard was asked.

    python -m bench.redrive --records 100000

Records as in `bench.replay`; between each two pointers one record lies that nobody points at. One JSON object on
stdout, CPU as in `bench.touch`; what making the pages costs is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench.replay import ARN, PAGE_RECORDS, Answers, run
from bench.touch import cpu_s
from restrike.aws import streams
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.aws.wire import Wire
from restrike.model.failure import Failure, Pointer, message_of
from restrike.replaying.settings import Settings
from restrike.sources import Opening, kind_of, parse_source
from restrike.targets.jsonl.target import JsonlTarget

POINTERS = 1_000
SHARD = "shardId-00000001795657294455-be7c4000"
ARRIVED_S = 1_795_434_720.0


def number_of(ordinal: int) -> int:
    """The sequence number of the shard's n-th record, as `Answers` gives them out."""
    page, within = divmod(ordinal, PAGE_RECORDS)
    return int(f"8{page:011}{within:06}")


def messages(records: int) -> bytes:
    """The pointers, one message a line."""
    each = records // POINTERS
    pointers = (
        Pointer(ARN, SHARD, number_of(first), number_of(first + each - 2), ARRIVED_S, ARRIVED_S, each - 1)
        for first in range(0, POINTERS * each, each)
    )
    return b"\n".join(
        message_of(Failure("mapping", pointer, condition="RetryAttemptsExhausted")) for pointer in pointers
    )


class StubWire(Wire):
    """One closed shard; `asked` counts the calls."""

    def __init__(self, answers: Answers, pages: int) -> None:
        # Not a Channel's: nothing is sent.
        self.asked: Counter[str] = Counter()
        self._pages = iter(answers)
        self._left = pages

    async def __aenter__(self) -> StubWire:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is held."""

    async def call(self, operation: str, body: bytes, *, attempts: int | None = None) -> bytes:
        self.asked[operation] += 1
        if operation == "DescribeStream":
            range_ = {"StartingSequenceNumber": "1", "EndingSequenceNumber": "9" * 21}
            listed = [{"ShardId": SHARD, "SequenceNumberRange": range_}]
            return json.dumps({"StreamDescription": {"StreamStatus": "ENABLED", "Shards": listed}}).encode()
        if operation == "GetShardIterator":
            return b'{"ShardIterator":"next"}'
        self._left -= 1
        answer = next(self._pages)
        return answer if self._left else answer.replace(b'"NextShardIterator":"next"', b'"NextShardIterator":null')


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "given-up.jsonl").write_bytes(messages(given.records))
        wire = StubWire(Answers(given.records), given.records // PAGE_RECORDS)  # before the clock starts
        streams.connect = lambda *_, **__: wire
        aws = Aws(AwsSettings(region="eu-west-1", endpoint_url="http://127.0.0.1:1"))
        cpu_before_s, began_s = cpu_s(), time.perf_counter()

        async def redriven() -> int:
            uri = parse_source(f"failures:{folder / 'given-up.jsonl'}", folder)
            opening = Opening(lambda: aws, folder)
            resolved = await kind_of("failures").resolve(uri, {}, opening)
            source = kind_of("failures").open(uri, resolved, opening)
            return await run(source, JsonlTarget(str(folder / "out.jsonl"), events=True), Settings(), folder)

        delivered = asyncio.run(redriven())
        cpu_after_s, wall_s = cpu_s(), time.perf_counter() - began_s
    print(
        json.dumps(
            {
                "items": given.records,
                "delivered": delivered,
                "cpu_s": round(cpu_after_s - cpu_before_s - Answers.making_s, 4),
                "wall_s": round(wall_s, 4),
                "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
                "get_shard_iterator": wire.asked["GetShardIterator"],
                "get_records": wire.asked["GetRecords"],
            }
        )
    )


if __name__ == "__main__":
    main()
