"""A stream of the tests' own: shards in any number of generations, behind the interface of Wire."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from restrike.aws.refusals import error_for
from restrike.errors import AwsError

START_S = 1_800_000_000.0
END = 10**40  # stands in `sparse` for the end of a closed shard
ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/s"


def untimed(ended: str) -> str:
    """Why a reading ended, without how long that took: a busy machine takes seconds for what is told to take none."""
    return re.sub(r"over \d+( to \d+)? s", "over 0 s", ended)


class Shard:
    """Sequence numbers in order, each created at START_S and that many seconds; below `trimmed` are forgotten.

    `sparse`: so many empty pages come before that number, for whoever reads up to it; an iterator for a time stands at
    the record. `listed_after`: it is listed only after so many calls of DescribeStream.
    """

    def __init__(
        self, name: str, numbers: list[int], parent: str | None = None, *, closed: bool = True, at_s: float = -100.0
    ) -> None:
        self.name = name
        self.numbers = numbers
        self.parent = parent
        self.closed = closed
        self.trimmed = 0
        self.sparse: dict[int, int] = {}
        self.listed_after = 0
        self.created: dict[int, float] = dict.fromkeys(numbers, START_S + at_s)

    def put(self, number: int, at_s: float) -> None:
        self.numbers.append(number)
        self.created[number] = START_S + at_s

    def empty_before(self, position: int) -> int:
        """How many empty pages come before the record at that position."""
        return self.sparse.get(self.numbers[position] if position < len(self.numbers) else END, 0)

    def listed(self) -> dict[str, Any]:
        span = {"StartingSequenceNumber": f"{self.numbers[0] if self.numbers else 1:021d}"}
        if self.closed:
            span["EndingSequenceNumber"] = f"{self.numbers[-1] if self.numbers else 1:021d}"
        return {
            "ShardId": self.name, "SequenceNumberRange": span, **({"ParentShardId": self.parent} if self.parent else {})
        }  # fmt: skip


class Tree:
    """A stream behind the interface of Wire. Knows AT_TIMESTAMP, unless told otherwise."""

    def __init__(
        self, *shards: Shard, page: int = 3, listed: int = 2, at_timestamp: bool = True, images: bool = False
    ) -> None:
        self.shards = {shard.name: shard for shard in shards}
        self.page = page
        self.listed = listed
        self.at_timestamp = at_timestamp
        self.images = images
        self.status = "ENABLED"
        self.now_s: float | None = None  # the service's time, where it tells it
        self.filters = True  # whether it knows ShardFilter
        self.empty_pages = 0
        self.errors: dict[str, list[AwsError]] = {}
        self.broken: list[bytes] = []  # what GetRecords answers first
        self.on_records: Callable[[str, list[int]], object] = lambda shard, numbers: None
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.reading_now = self.most_at_once = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def call(self, operation: str, body: bytes, *, attempts: int = 8) -> bytes:
        request = json.loads(body)
        self.calls.append((operation, request))
        self.reading_now += 1
        self.most_at_once = max(self.most_at_once, self.reading_now)
        await asyncio.sleep(0)
        self.reading_now -= 1
        if self.errors.get(operation):
            raise self.errors[operation].pop(0)
        if operation == "GetRecords" and self.broken:
            return self.broken.pop(0)
        answer = {"DescribeStream": self._list, "GetShardIterator": self._iterator, "GetRecords": self._records}
        return json.dumps(answer[operation](request)).encode()

    def service_now_s(self) -> float | None:
        return self.now_s

    def count(self, operation: str) -> int:
        return sum(each == operation for each, _ in self.calls)

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        looks = self.count("DescribeStream")
        names = [name for name, shard in self.shards.items() if looks > shard.listed_after]
        if self.filters and "ShardFilter" in request:
            assert request["ShardFilter"]["Type"] == "CHILD_SHARDS"
            names = [name for name in names if self.shards[name].parent == request["ShardFilter"]["ShardId"]]
        first = names.index(request["ExclusiveStartShardId"]) + 1 if "ExclusiveStartShardId" in request else 0
        page = names[first : first + self.listed]
        last = {"LastEvaluatedShardId": page[-1]} if first + self.listed < len(names) else {}
        shards = [self.shards[name].listed() for name in page]
        return {"StreamDescription": {"StreamStatus": self.status, "Shards": shards, **last}}

    def _iterator(self, request: dict[str, Any]) -> dict[str, Any]:
        shard = self.shards.get(request["ShardId"])
        if shard is None:
            raise error_for("GetShardIterator", "ResourceNotFoundException", "no such shard")
        match request["ShardIteratorType"]:
            case "AFTER_SEQUENCE_NUMBER":
                after = int(request["SequenceNumber"])
                assert len(request["SequenceNumber"]) >= 21
                if after + 1 < shard.trimmed:
                    raise error_for("GetShardIterator", "TrimmedDataAccessException", "trimmed")
                position = sum(number <= after for number in shard.numbers)
            case "AT_SEQUENCE_NUMBER":
                at = int(request["SequenceNumber"])
                assert len(request["SequenceNumber"]) >= 21
                if at < shard.trimmed:
                    raise error_for("GetShardIterator", "TrimmedDataAccessException", "trimmed")
                if at not in shard.numbers:
                    raise error_for("GetShardIterator", "ValidationException", "no such number")
                position = shard.numbers.index(at)
            case "LATEST":
                position = len(shard.numbers)
            case "AT_TIMESTAMP" if self.at_timestamp:
                if self.now_s is not None and request["Timestamp"] > self.now_s:
                    raise error_for("GetShardIterator", "ValidationException", "Timestamp is in the future")
                later = (
                    at
                    for at, number in enumerate(shard.numbers)
                    if shard.created[number] >= request["Timestamp"] and number >= shard.trimmed
                )
                position = next(later, len(shard.numbers))
                if passed := shard.empty_before(position):
                    return {"ShardIterator": f"{shard.name}/{position}+{passed}"}
            case "TRIM_HORIZON":
                position = sum(number < shard.trimmed for number in shard.numbers)
            case _:
                raise error_for("GetShardIterator", "InternalFailure", "as DynamoDB Local does", 500)
        return {"ShardIterator": f"{shard.name}/{position}"}

    def _records(self, request: dict[str, Any]) -> dict[str, Any]:
        name, _, at = request["ShardIterator"].rpartition("/")
        begin, _, passed_pages = at.partition("+")
        position, passed, shard = int(begin), int(passed_pages or 0), self.shards[name]
        if position < len(shard.numbers) and shard.numbers[position] < shard.trimmed:
            raise error_for("GetRecords", "TrimmedDataAccessException", "trimmed")
        if self.empty_pages:
            self.empty_pages -= 1
            return {"Records": [], "NextShardIterator": request["ShardIterator"]}
        if passed < shard.empty_before(position):
            return {"Records": [], "NextShardIterator": f"{name}/{position}+{passed + 1}"}
        numbers = shard.numbers[position : position + self.page]
        until = next((at for at in range(1, len(numbers)) if numbers[at] in shard.sparse), len(numbers))
        del numbers[until:]
        position += len(numbers)
        self.on_records(name, numbers)
        done = shard.closed and position == len(shard.numbers) and not (numbers and shard.empty_before(position))
        following = {} if done else {"NextShardIterator": f"{name}/{position}"}
        return {"Records": [self.record(shard, number) for number in numbers], **following}

    def record(self, shard: Shard, number: int) -> dict[str, Any]:
        """As GetRecords answers it. With `images` with all that a record has, else only what reading needs."""
        change: dict[str, Any] = {
            "ApproximateCreationDateTime": shard.created[number],
            "Keys": {"pk": {"N": str(number)}},
            "SequenceNumber": f"{number:021d}",
        }
        if not self.images:
            return {"eventName": "INSERT", "dynamodb": change}
        kind = ("INSERT", "MODIFY", "REMOVE")[number % 3]
        image = {"pk": {"N": str(number)}, "é": {"S": f'"{number} \\ / \u2028 漢'}, "n": {"N": f"{number}.50"}}
        if kind != "REMOVE":
            change["NewImage"] = {**image, "m": {"M": {"l": {"L": [{"NULL": True}, {"BS": ["AA==", "/w=="]}]}}}}
        if kind != "INSERT":
            change["OldImage"] = image
        return {
            "eventID": f"id-{number}",
            "eventName": kind,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
            "dynamodb": {**change, "SizeBytes": 40 + number % 100, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        }
