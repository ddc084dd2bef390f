"""What a verb needs of IAM, as data: which actions, on what, and what goes without them. Nothing is asked here.

Sources, targets and verbs declare their needs beside the code that makes the calls; `restrike.model.policy` makes a
policy of them.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

REGION, ACCOUNT = "REGION", "ACCOUNT"
"""What stands in an ARN for what is not known."""
UNKNOWN = "*"
"""The name of a table or function that nobody told: any of this Region and account."""
_ARN = re.compile(r"arn:(?P<partition>[\w-]+):[\w-]+:(?P<region>[\w-]*):(?P<account>\d*):.+")

AWS_ALIASES = "alias/aws/"
"""What the aliases of AWS's own keys begin with: they let whoever may use the data."""

Condition = tuple[str, str, tuple[str, ...]]
"""Operator, key, and the values that it may have."""


class Scope(msgspec.Struct, frozen=True):
    """The Region and account that ARNs are put together for. `domain` is what hosts of the partition end with.
    `unnamed`: the table of records whose source does not name it."""

    partition: str = "aws"
    region: str = REGION
    account: str = ACCOUNT
    domain: str = "amazonaws.com"
    unnamed: str = UNKNOWN

    def arn(self, service: str, rest: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{rest}"

    def table(self, name: str) -> str:
        """Of a name or an ARN of a table, or of one of its streams."""
        name = self.unnamed if name == UNKNOWN else name
        return name.partition("/stream/")[0] if name.startswith("arn:") else self.arn("dynamodb", f"table/{name}")

    def index(self, table: str, index: str) -> str:
        return f"{self.table(table)}/index/{index}"

    def streams(self, table: str) -> str:
        """All streams of the table, since a new one has another label; of a stream's ARN just that one."""
        return table if "/stream/" in table else f"{self.table(table)}/stream/*"

    def of(self, arn: str) -> Scope:
        """The same for what that ARN names; this one where it is none, or tells no Region."""
        found = _ARN.fullmatch(arn)
        if found is None or not found["region"]:
            return self
        account = found["account"] or self.account
        return msgspec.structs.replace(self, partition=found["partition"], region=found["region"], account=account)

    def service(self, name: str) -> str:
        """A service as `kms:ViaService` names it."""
        return f"{name}.{self.region}.{self.domain}"


def literal(text: str) -> str:
    """As IAM writes what it would else take for a pattern or a variable."""
    return re.sub(r"[*?]|\$(?=\{)", lambda found: f"${{{found[0]}}}", text)


class Kept(msgspec.Struct, frozen=True):
    """Where data lies that may be encrypted under a key of the user's: a table (its streams are under the same key), a
    queue, a bucket, or the filters of the mappings of a table's stream."""

    what: Literal["table", "queue", "bucket", "filters"]
    name: str
    writes: bool = False


class Need(msgspec.Struct, frozen=True):
    """Actions that are needed on some resources, for one purpose, which `sid` names: letters and digits.

    `resources` are ARNs; none: the service knows no resource for these actions. `without` says what a verb lacks that
    does its work without them; empty: it does not. `kept`: what is read or written by them. `note`: what is to be known
    about it.
    """

    sid: str
    actions: tuple[str, ...]
    resources: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    without: str = ""
    kept: Kept | None = None
    note: str = ""


def using_key(scope: Scope, need: Need, key: str, service: str) -> Need | None:
    """The need as one of that KMS key (its id, ARN or alias), through that service alone; None of a key of AWS's own.

    A policy cannot name a key by its alias: of an alias it is every key that has it.
    """
    alias = key.partition(":alias/")[2] if key.startswith("arn:") else key.removeprefix("alias/")
    if key.startswith("arn:"):
        scope = scope.of(key)
    through: Condition = ("StringEquals", "kms:ViaService", (scope.service(service),))
    if key.startswith("alias/") or ":alias/" in key:
        name = f"alias/{alias}"
        if name.startswith(AWS_ALIASES):
            return None
        named: Condition = ("ForAnyValue:StringEquals", "kms:ResourceAliases", (name,))
        return msgspec.structs.replace(need, resources=(scope.arn("kms", "key/*"),), conditions=(through, named))
    arn = key if key.startswith("arn:") else scope.arn("kms", f"key/{key}")
    return msgspec.structs.replace(need, resources=(arn,), conditions=(through,))
