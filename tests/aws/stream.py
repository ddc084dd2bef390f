"""What a stream says, read page by page through botocore, with the pages counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

WAIT_S = 60.0
PAUSE_S = 0.25
"""After a round in which no shard had anything."""


class CannotTell(Exception):
    """A claim could not be tried, and why."""


class Record(NamedTuple):
    """A record and where it stands; `change` is its member `dynamodb`."""

    shard: str
    body: dict[str, Any]

    @property
    def change(self) -> dict[str, Any]:
        change: dict[str, Any] = self.body["dynamodb"]
        return change

    @property
    def pk(self) -> str:
        return str(self.change["Keys"]["pk"]["S"])


class Reader:
    """Reads all shards on from where it began, also those that come later; keeps what it read."""

    def __init__(self, streams: Any, arn: str, begin: Literal["TRIM_HORIZON", "LATEST"] = "TRIM_HORIZON") -> None:
        self._streams = streams
        self._arn = arn
        self._places: dict[str, str | None] = {}
        self.records: list[Record] = []
        self.calls = 0
        self.empty_pages: Counter[str] = Counter()
        """Before a shard's first record."""
        self._look_for_shards(begin)

    def _look_for_shards(self, begin: str) -> None:
        for shard in shards(self._streams, self._arn):
            if shard["ShardId"] not in self._places:
                self._places[shard["ShardId"]] = iterator(self._streams, self._arn, shard["ShardId"], begin)

    def read(self) -> int:
        """One page of each shard; how many records there were."""
        began = len(self.records)
        for shard, place in self._places.items():
            if place is None:
                continue
            try:
                page = self._streams.get_records(ShardIterator=place)
            except self._streams.exceptions.ExpiredIteratorException:
                page = self._streams.get_records(ShardIterator=self._renewed(shard))
            self.calls += 1
            self._places[shard] = page.get("NextShardIterator")
            if page["Records"]:
                self.records += [Record(shard, body) for body in page["Records"]]
            elif all(record.shard != shard for record in self.records):
                self.empty_pages[shard] += 1
        return len(self.records) - began

    def _renewed(self, shard: str) -> str:
        """Where it had come to, after more than the 15 minutes that an iterator is good for."""
        numbers = [record.change["SequenceNumber"] for record in self.records if record.shard == shard]
        if not numbers:
            return iterator(self._streams, self._arn, shard, "TRIM_HORIZON")
        return iterator(self._streams, self._arn, shard, "AFTER_SEQUENCE_NUMBER", SequenceNumber=numbers[-1])

    def until(self, wanted: Callable[[Record], bool], what: str) -> Record:
        """The first record of that kind, read on for until it comes."""
        deadline = time.monotonic() + WAIT_S
        looked = 0
        while True:
            found = next((record for record in self.records[looked:] if wanted(record)), None)
            if found is not None:
                return found
            looked = len(self.records)
            if not self.read():
                if time.monotonic() > deadline:
                    raise CannotTell(f"{what} did not come within {WAIT_S:.0f} s")
                time.sleep(PAUSE_S)
                self._look_for_shards("TRIM_HORIZON")


def shards(streams: Any, arn: str, **parameters: Any) -> Iterator[dict[str, Any]]:
    """All shards that DescribeStream tells."""
    while True:
        answer = streams.describe_stream(StreamArn=arn, **parameters)["StreamDescription"]
        yield from answer["Shards"]
        if not answer.get("LastEvaluatedShardId"):
            return
        parameters["ExclusiveStartShardId"] = answer["LastEvaluatedShardId"]


def iterator(streams: Any, arn: str, shard: str, kind: str, **parameters: Any) -> str:
    """A shard iterator of that kind."""
    answer = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType=kind, **parameters)
    return str(answer["ShardIterator"])


def first_page(streams: Any, begin: str) -> list[dict[str, Any]]:
    """The first records from that iterator on, however many empty pages are before them."""
    deadline = time.monotonic() + WAIT_S
    place: str | None = begin
    while place is not None and time.monotonic() < deadline:
        page = streams.get_records(ShardIterator=place)
        if page["Records"]:
            records: list[dict[str, Any]] = page["Records"]
            return records
        place = page.get("NextShardIterator")
        time.sleep(PAUSE_S)
    raise CannotTell(f"nothing came within {WAIT_S:.0f} s")
