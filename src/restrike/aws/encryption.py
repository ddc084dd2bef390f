"""The KMS keys that tables, queues, buckets and filters are encrypted under, as Describe answers tell them.

What may not be asked is said, with the permission that it takes; the rest stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from restrike.aws import dynamodb, lambda_, sqs
from restrike.aws.session import Aws, ask
from restrike.errors import AccessDenied, AwsError, BadCredentials, RestrikeError, Unreachable
from restrike.model.permissions import AWS_ALIASES, UNKNOWN, Need, Scope, using_key
from restrike.model.table import TableInfo

READ, WRITE = ("kms:Decrypt",), ("kms:Decrypt", "kms:GenerateDataKey")
_UNENCRYPTED = "ServerSideEncryptionConfigurationNotFoundError"


class _Place(msgspec.Struct, frozen=True):
    """What may be encrypted: the Sid of its key's statement, the service that uses the key, and what tells the key."""

    sid: str
    service: str
    actions: str
    named: str


_PLACES = {
    "table": _Place("TableKey", "dynamodb", "dynamodb:DescribeTable", "table"),
    "queue": _Place("QueueKey", "sqs", "sqs:GetQueueUrl and sqs:GetQueueAttributes", "queue"),
    "bucket": _Place("BucketKey", "s3", "s3:GetEncryptionConfiguration", "bucket"),
    "filters": _Place(
        "FilterKey",
        "lambda",
        "dynamodb:DescribeTable and lambda:ListEventSourceMappings",
        "a filter of the mappings of table",
    ),
}


def with_keys(aws: Aws, scope: Scope, needs: Iterable[Need], *, why_not: str = "") -> tuple[list[Need], list[str]]:
    """The needs, and those of the keys behind them; and what is to be known of keys, a sentence each. `why_not`: why
    nothing is asked."""
    needs = list(needs)
    kept: dict[tuple[str, str], list[Need]] = {}
    for need in needs:
        if need.kept is not None:
            name = scope.unnamed if need.kept.name == UNKNOWN else need.kept.name.partition("/stream/")[0]
            kept.setdefault((need.kept.what, name), []).append(need)
    look = _Look(aws, scope, why_not)
    found: list[Need] = []
    for (what, name), each in kept.items():
        place = _PLACES[what]
        actions = WRITE if any(need.kept is not None and need.kept.writes for need in each) else READ
        optional = "" if any(not need.without for need in each) else each[0].without
        for key in look.keys(what, name, actions):
            of_key = using_key(scope, Need(place.sid, actions, without=optional), key, place.service)
            if of_key is not None:
                found.append(of_key)
    return [*needs, *found], look.notes


class _Look:
    """Where nobody answers, nothing more is asked."""

    def __init__(self, aws: Aws, scope: Scope, why_not: str) -> None:
        self.notes: list[str] = []
        self._aws = aws
        self._scope = scope
        self._why_not = why_not
        self._tables: dict[str, TableInfo] = {}
        self._ways: dict[str, Callable[[str], list[str]]] = {
            "table": self._of_table,
            "queue": self._of_queue,
            "bucket": self._of_bucket,
            "filters": self._of_filters,
        }

    def keys(self, what: str, name: str, actions: tuple[str, ...]) -> list[str]:
        """None where there is none, and where it is not known, which is noted with the actions that a key takes."""
        place, why = _PLACES[what], self._why_not
        if name == UNKNOWN:
            why = "no table is named"
        elif not why and not self._aws.may_ask(place.service):
            why = "DynamoDB is on this machine, and this would be in an AWS account"
        if not why:
            try:
                return self._ways[what](name)
            except RestrikeError as error:
                denied = isinstance(error, AccessDenied) or (isinstance(error, AwsError) and error.status == 403)
                why = f"allow {place.actions} to know it" if denied else error.message
                if isinstance(error, (BadCredentials, Unreachable)):
                    self._why_not = why
        through = self._scope.service(place.service)
        self.notes.append(
            f"whether {place.named} {name} is under a KMS key of yours is not known ({why}). If so, allow "
            f"{' and '.join(actions)} on it, where kms:ViaService is {through}"
        )
        return []

    def _table(self, name: str) -> TableInfo:
        if name not in self._tables:
            self._tables[name], _ = dynamodb.describe_table(self._aws, name)
        return self._tables[name]

    def _of_table(self, name: str) -> list[str]:
        key = self._table(name).key_arn
        if key is None:
            return []
        self.notes.append(
            f"table {name} is under the KMS key {key}. Where that is AWS's own ({AWS_ALIASES}dynamodb), its statement "
            "may be left out"
        )
        return [key]

    def _of_filters(self, name: str) -> list[str]:
        stream = self._table(name).stream_arn
        mappings = [] if stream is None else lambda_.event_source_mappings(self._aws, stream)
        return list(dict.fromkeys(str(each["KMSKeyArn"]) for each in mappings if each.get("KMSKeyArn")))

    def _of_queue(self, name: str) -> list[str]:
        key = sqs.queue_of(self._aws, name).attributes.get("KmsMasterKeyId")
        return [key] if key else []

    def _of_bucket(self, name: str) -> list[str]:
        try:
            told = ask(self._aws.client("s3"), "GetBucketEncryption", Bucket=name)
        except AwsError as error:
            if error.code == _UNENCRYPTED:
                return []
            raise
        rules = told.get("ServerSideEncryptionConfiguration", {}).get("Rules", ())
        defaults = [rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules]
        return [str(each["KMSMasterKeyID"]) for each in defaults if each.get("KMSMasterKeyID")]
