"""The probe's table on a DynamoDB Local that answers as AWS is expected to, by hooks of botocore: for what no engine
here does, so that the claims about it are run at all."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import botocore.exceptions

from tests.aws.table import TAG, Table


def _answered(parsed: dict[str, Any], status: int = 200, **_: object) -> tuple[Any, dict[str, Any]]:
    """For a hook: this is the answer, and nothing is sent."""
    return SimpleNamespace(status_code=status), parsed


class AsOnAws(Table):
    """A DynamoDB Local that answers as AWS is expected to, wherever it is known to do otherwise."""

    began = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)

    def _client(self, service: str) -> Any:
        client = super()._client(service)
        on = client.meta.events.register
        if service == "dynamodb":
            name = self.name
            backups = {"PointInTimeRecoveryStatus": "DISABLED"}
            answers: dict[str, dict[str, Any]] = {
                "DescribeContinuousBackups": {
                    "ContinuousBackupsDescription": {
                        "ContinuousBackupsStatus": "ENABLED",
                        "PointInTimeRecoveryDescription": backups,
                    }
                },
                "DescribeKinesisStreamingDestination": {"TableName": name, "KinesisDataStreamDestinations": []},
                "ListTagsOfResource": {"Tags": [{"Key": TAG, "Value": name}]},
            }
            for operation, answer in answers.items():
                on(f"before-call.dynamodb.{operation}", partial(_answered, answer))
            on("after-call.dynamodb.DescribeTable", self._described)
            on("before-call.dynamodb.BatchExecuteStatement", self._batch)
            on("after-call.dynamodb.BatchExecuteStatement", self._charged)
        else:
            on("after-call.dynamodb-streams.GetRecords", self._stamped)
            on("before-parameter-build.dynamodb-streams.GetShardIterator", self._at_timestamp)
        return client

    def _described(self, parsed: dict[str, Any], **_: object) -> None:
        if "Table" in parsed:
            arn = parsed["Table"]["TableArn"].replace("ddblocal", self.region)
            parsed["Table"] |= {"TableArn": arn, "TableId": "1", "WarmThroughput": {"WriteUnitsPerSecond": 4000}}

    def _batch(self, params: dict[str, Any], context: dict[str, Any], **_: object) -> tuple[Any, dict[str, Any]] | None:
        request = json.loads(params["body"])
        context["charged"] = "ReturnConsumedCapacity" in request
        texts = [json.dumps(each) for each in request["Statements"]]
        if len(set(texts)) < len(texts):
            return _answered({"Error": {"Code": "ValidationException", "Message": "twice"}}, 400)
        if "if_not_exists" in texts[0]:
            return _answered({"Responses": [{"Error": {"Code": "ValidationError", "Message": "unknown"}}]})
        return None

    def _charged(self, parsed: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        if context["charged"]:
            parsed["ConsumedCapacity"] = [{"TableName": self.name, "CapacityUnits": 2.0}]  # as each claim writes

    def _stamped(self, parsed: dict[str, Any], **_: object) -> None:
        """Each record a second later than the one before."""
        for record in parsed["Records"]:
            record["awsRegion"] = self.region
            at = self.began + timedelta(seconds=int(record["dynamodb"]["SequenceNumber"]))
            record["dynamodb"]["ApproximateCreationDateTime"] = at

    def _at_timestamp(self, params: dict[str, Any], **_: object) -> None:
        at = params.pop("Timestamp", None)
        if at is None:
            return
        if at > datetime.now(UTC):
            refusal = {"Error": {"Code": "ValidationException", "Message": "in the future"}}
            raise botocore.exceptions.ClientError(refusal, "GetShardIterator")  # type: ignore[arg-type]  # no more of it
        number = int((at - self.began).total_seconds())
        params["ShardIteratorType"] = "AT_SEQUENCE_NUMBER" if number > 0 else "TRIM_HORIZON"
        if number > 0:
            params["SequenceNumber"] = f"{number:021d}"


class GlobalTable(Table):
    """Two Regions of AWS, where there is one DynamoDB Local: a replica is the same table, and conditions do not see
    what the other Region writes at the same time."""

    regions: set[str]
    done: list[str]

    def _client(self, service: str) -> Any:
        client = super()._client(service)
        if service == "dynamodb":
            events = client.meta.events
            events.register("before-call.dynamodb.UpdateTable", self._update_table)
            events.register("before-call.dynamodb.TagResource", partial(_answered, {}))
            events.register("before-call.dynamodb.DeleteTable", self._delete_table)
            events.register("after-call.dynamodb.DescribeTable", self._described)
            events.register("before-parameter-build.dynamodb.UpdateItem", self._unseen)
        return client

    def _update_table(self, params: dict[str, Any], **_: object) -> tuple[Any, dict[str, Any]]:
        ((change, replica),) = json.loads(params["body"])["ReplicaUpdates"][0].items()
        self.done.append(change)
        (self.regions.add if change == "Create" else self.regions.discard)(replica["RegionName"])
        return _answered({})

    def _delete_table(self, **_: object) -> None:
        self.done.append("DeleteTable")

    def _described(self, parsed: dict[str, Any], **_: object) -> None:
        if "Table" in parsed and self.regions:
            replicas = [{"RegionName": region, "ReplicaStatus": "ACTIVE"} for region in self.regions]
            parsed["Table"] |= {"Replicas": replicas, "MultiRegionConsistency": "EVENTUAL"}
            parsed["Table"]["GlobalTableVersion"] = "2019.11.21"

    def _unseen(self, params: dict[str, Any], **_: object) -> None:
        if params.pop("ConditionExpression", None) and self.region in self.regions:
            del params["ExpressionAttributeValues"][":b"]
        elif ":b" in params["ExpressionAttributeValues"]:
            params["ConditionExpression"] = "#n = :b"
