"""Lambda's calls: who is wired to a stream, what a function is like, and invoking it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from restrike.aws.session import Aws, ask, pages
from restrike.aws.wire import Channel, Reply
from restrike.errors import AccessDenied, AwsError, UsageError

MAX_EVENT_BYTES = 6 * 1024 * 1024 - 1
"""The largest event of a synchronous invocation.

Lambda refuses more with "Request must be smaller than 6291456 bytes for the InvokeFunction operation". (The
6,291,556 bytes that are often quoted are its limit for what a function answers.)
"""
MAX_ANSWER_BYTES = 6_291_556
MAX_CLIENT_CONTEXT_BYTES = 3_583
LONGEST_SYNCHRONOUS_S = 900
"""The longest that a function may take when it is invoked synchronously. On Lambda Managed Instances a mapping may let
it work for 5,400 s."""

_FUNCTION = re.compile(
    r"(?:arn:(?P<partition>aws[a-z-]*):lambda:(?P<region>[a-z0-9-]+):(?P<owner>\d{12}):function:|(?P<account>\d{12}):function:)?"
    r"(?P<name>[A-Za-z0-9_.-]{1,140})"
    r"(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[A-Za-z0-9_-]{1,128}))?"
)


class FunctionName(msgspec.Struct, frozen=True):
    """A function as a user or Lambda names it. `qualifier` is a version, an alias or `$LATEST`; None: unqualified."""

    name: str
    qualifier: str | None = None
    region: str | None = None
    account: str | None = None
    partition: str = "aws"

    def __str__(self) -> str:
        return f"{self.unqualified}:{self.qualifier}" if self.qualifier else self.unqualified

    @property
    def unqualified(self) -> str:
        """The name, partial ARN or ARN that Lambda's API takes beside a Qualifier."""
        if self.region:
            return f"arn:{self.partition}:lambda:{self.region}:{self.account}:function:{self.name}"
        return f"{self.account}:function:{self.name}" if self.account else self.name

    def qualified(self, qualifier: str) -> FunctionName:
        """The same function, by that qualifier."""
        return msgspec.structs.replace(self, qualifier=qualifier)


def function_name(text: str) -> FunctionName:
    """Reads NAME, ACCOUNT:function:NAME or an ARN, each with or without `:ALIAS` or `:VERSION`; else UsageError."""
    found = _FUNCTION.fullmatch(text)
    if found is None:
        raise UsageError(
            f"{text!r} names no Lambda function",
            "Name it as NAME, NAME:ALIAS, NAME:VERSION or by its ARN.",
        )
    return FunctionName(
        name=found["name"],
        qualifier=found["qualifier"],
        region=found["region"],
        account=found["owner"] or found["account"],
        partition=found["partition"] or "aws",
    )


def mapped_function(mapping: Mapping[str, Any]) -> FunctionName:
    """The function that a mapping invokes. An ARN of a form that is not known here is taken as it is."""
    arn = str(mapping.get("FunctionArn", ""))
    try:
        return function_name(arn)
    except UsageError:
        return FunctionName(arn)


def event_source_mappings(aws: Aws, stream_arn: str) -> list[dict[str, Any]]:
    """The event source mappings that read that stream, in this account and Region, as Lambda describes them."""
    return _mappings(aws, EventSourceArn=stream_arn)


def has_other_sources(aws: Aws, function: FunctionName, mapping: str) -> bool:
    """Whether another mapping than the one of that UUID invokes the function."""
    others = [each for each in _mappings(aws, FunctionName=str(function)) if each.get("UUID") != mapping]
    return any(each.get("State") not in ("Disabled", "Deleting") for each in others)


def _mappings(aws: Aws, **request: Any) -> list[dict[str, Any]]:
    listed = pages(aws.client("lambda"), "ListEventSourceMappings", told="NextMarker", asked="Marker", **request)
    return [each for page in listed for each in page.get("EventSourceMappings", [])]


def with_filter(aws: Aws, mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mapping as the list has it, with the filter that the list may leave out.

    Where a filter is encrypted under a key of the customer's (KMSKeyArn), the list shows null, and no error:
    GetEventSourceMapping shows it to who may use the key. What that cannot show is told as FilterCriteriaError.
    (Lambda Developer Guide, *Encryption of filter criteria*.)
    """
    if mapping.get("FilterCriteria") or not mapping.get("KMSKeyArn"):
        return mapping
    try:
        answer = ask(aws.client("lambda"), "GetEventSourceMapping", UUID=str(mapping.get("UUID")))
    except AccessDenied:
        text = "access denied (lambda:GetEventSourceMapping, and kms:Decrypt on its key)"
        return {**mapping, "FilterCriteriaError": {"Message": text}}
    except (AwsError, UsageError) as error:
        return {**mapping, "FilterCriteriaError": {"Message": error.message}}
    shown = {member: answer.get(member) for member in ("FilterCriteria", "FilterCriteriaError")}
    return {**mapping, **shown}


def unreadable_filter(mapping: Mapping[str, Any]) -> str | None:
    """Why the mapping's filter cannot be read; None where it can, or there is none."""
    problem = mapping.get("FilterCriteriaError")
    return str(problem.get("Message") or problem.get("ErrorCode") or "Lambda does not say why") if problem else None


class FunctionInfo(msgspec.Struct, frozen=True):
    """What GetFunctionConfiguration says, as far as a replay needs it.

    `execution_timeout_s`: of a durable function, how long one execution may take with all of its waiting. `per_tenant`:
    each invocation names a tenant. `changed_s`: when its code or settings were last changed (epoch seconds).
    """

    arn: str
    timeout_s: int
    version: str = "$LATEST"
    execution_timeout_s: int | None = None
    per_tenant: bool = False
    changed_s: float | None = None

    @property
    def longest_s(self) -> int:
        """How long a synchronous invocation takes at most: of a durable function it waits for the whole execution."""
        return min(
            self.timeout_s if self.execution_timeout_s is None else self.execution_timeout_s, LONGEST_SYNCHRONOUS_S
        )


async def function_info(aws: Aws, function: FunctionName) -> FunctionInfo:
    """Asks for the function. Raises the AwsError of the refusal: NotFound where there is none of that name."""
    return await asyncio.to_thread(describe_function, aws, function)


def describe_function(aws: Aws, function: FunctionName) -> FunctionInfo:
    """The same for a thread of one's own."""
    request = {"FunctionName": function.unqualified}
    if function.qualifier:
        request["Qualifier"] = function.qualifier
    answer = ask(aws.client("lambda"), "GetFunctionConfiguration", **request)
    durable = answer.get("DurableConfig")
    return FunctionInfo(
        arn=answer.get("FunctionArn", ""),
        timeout_s=answer.get("Timeout", 3),
        version=answer.get("Version", "$LATEST"),
        execution_timeout_s=durable.get("ExecutionTimeout", LONGEST_SYNCHRONOUS_S) if durable else None,
        per_tenant=bool(answer.get("TenancyConfig")),
        changed_s=_moment(answer.get("LastModified")),
    )


def _moment(text: Any) -> float | None:
    """Epoch seconds of `2021-01-22T10:00:00.000+0000`."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


def concurrency(aws: Aws, function: FunctionName) -> tuple[int | None, str]:
    """How many invocations of the function may run at once (None: unknown), and what sets that bound."""
    client = aws.client("lambda")
    reserved = ask(client, "GetFunctionConcurrency", FunctionName=function.unqualified)
    if reserved.get("ReservedConcurrentExecutions") is not None:
        return int(reserved["ReservedConcurrentExecutions"]), "the function's reserved concurrency"
    limits = ask(client, "GetAccountSettings").get("AccountLimit", {})
    free = limits.get("UnreservedConcurrentExecutions")
    return (int(free) if free is not None else None), "the account's unreserved concurrency"


class Invoker(Channel):
    """A channel to Lambda that invokes one function, synchronously.

    `timeout_s` must be above the function's own, or the client would give up on work that goes on.
    """

    def __init__(self, aws: Aws, function: FunctionName, *, connections: int, timeout_s: float) -> None:
        super().__init__(aws, "lambda", connections=connections, timeout_s=timeout_s, content_type="application/json")
        base = self._url.raw_path.rstrip("/")
        self._path = f"{base}/2015-03-31/functions/{quote(function.unqualified, safe='')}/invocations"
        self._query = f"Qualifier={quote(function.qualifier, safe='')}" if function.qualifier else ""

    async def invoke(self, event: bytes, client_context: str) -> Reply:
        """One invocation with that event; `client_context` is base64 JSON. The answer, whatever its status.

        A function that failed is status 200 with the header X-Amz-Function-Error. Raises what `Channel.post` does.
        """
        headers: Mapping[str, str] = {
            "X-Amz-Client-Context": client_context,
            "X-Amz-Invocation-Type": "RequestResponse",
            "X-Amz-Log-Type": "None",
        }
        return await self.post("Invoke", event, headers, path=self._path, query=self._query)
