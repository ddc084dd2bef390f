"""Shards as AWS has them and DynamoDB Local has not: for the proxy that misbehaves, whose `Rewritten` takes these."""

from __future__ import annotations

from typing import Any

Body = dict[str, Any]

DAY_S = 86_400
OPERATIONS = ("DescribeStream", "GetShardIterator", "GetRecords")


class Sparse:
    """A stream that was switched on a day ago, and whose shards give `pages` empty pages before their records: to
    every iterator but one for a time, which stands at the record. `finds_times`: such iterators are to be had; they are
    for the oldest record."""

    def __init__(self, pages: int, *, finds_times: bool = False) -> None:
        self.pages = pages
        self.finds_times = finds_times

    def asked(self, operation: str, body: Body) -> Body | None:
        if operation == "GetShardIterator" and self.finds_times and body["ShardIteratorType"] == "AT_TIMESTAMP":
            return {"StreamArn": body["StreamArn"], "ShardId": body["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        if operation == "GetRecords":
            token, _, passed = body["ShardIterator"].partition("#")
            return None if passed and int(passed) < self.pages else {**body, "ShardIterator": token}
        return body

    def answered(self, operation: str, body: Body, answer: Body) -> Body:
        if operation == "DescribeStream":
            answer["StreamDescription"]["CreationRequestDateTime"] -= DAY_S
        elif operation == "GetShardIterator" and body["ShardIteratorType"] != "AT_TIMESTAMP":
            answer["ShardIterator"] += "#0"
        elif operation == "GetRecords" and not answer:
            token, _, passed = body["ShardIterator"].partition("#")
            return {"Records": [], "NextShardIterator": f"{token}#{int(passed) + 1}"}
        return answer


class SplitAtDrain:
    """The stream's one shard is closed behind that sequence number as soon as it was read up to there. Its child, with
    all that comes after, is listed only `looks` calls of DescribeStream later."""

    def __init__(self, behind: str, looks: int) -> None:
        self.behind = int(behind)
        self.looks = looks
        self.begin()

    def begin(self) -> None:
        """The shard is open and whole again."""
        self.drained = False
        self.children_asked = 0

    def asked(self, operation: str, body: Body) -> Body | None:
        if operation == "DescribeStream":
            return {name: value for name, value in body.items() if name not in ("ShardFilter", "ExclusiveStartShardId")}
        if operation == "GetRecords":
            return {**body, "ShardIterator": body["ShardIterator"].partition(":")[2]}
        if not body["ShardId"].endswith("-child"):
            return body
        asked = {**body, "ShardId": body["ShardId"].removesuffix("-child")}
        if body["ShardIteratorType"] in ("TRIM_HORIZON", "AT_TIMESTAMP"):
            asked.pop("Timestamp", None)
            asked |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": f"{self.behind:021d}"}
        return asked

    def answered(self, operation: str, body: Body, answer: Body) -> Body:
        if operation == "DescribeStream":
            self._list(answer["StreamDescription"], body.get("ShardFilter"))
        elif operation == "GetShardIterator":
            answer["ShardIterator"] = (
                f"{'child' if body['ShardId'].endswith('-child') else 'parent'}:" + answer["ShardIterator"]
            )
        else:
            whose = body["ShardIterator"].partition(":")[0]
            if whose == "parent":
                numbers = [int(record["dynamodb"]["SequenceNumber"]) for record in answer["Records"]]
                kept = [number for number in numbers if number <= self.behind]
                if kept != numbers or self.behind in kept:
                    self.drained = True
                    del answer["NextShardIterator"]
                answer["Records"] = answer["Records"][: len(kept)]
            if "NextShardIterator" in answer:
                answer["NextShardIterator"] = f"{whose}:{answer['NextShardIterator']}"
        return answer

    def _list(self, description: Body, only: Body | None) -> None:
        (shard,) = description["Shards"]
        if not self.drained:
            return
        self.children_asked += 1
        child = {
            "ShardId": f"{shard['ShardId']}-child",
            "ParentShardId": shard["ShardId"],
            "SequenceNumberRange": {"StartingSequenceNumber": f"{self.behind + 1:021d}"},
        }
        shard["SequenceNumberRange"]["EndingSequenceNumber"] = f"{self.behind:021d}"
        listed = [shard] if only is None else []
        if self.children_asked > self.looks and (only is None or only["ShardId"] == shard["ShardId"]):
            listed.append(child)
        description["Shards"] = listed
