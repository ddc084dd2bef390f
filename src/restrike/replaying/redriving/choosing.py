"""Who gets the records of a message: one target for all, or the function whose mapping gave them up.

A message is a stranger's text, and must not choose what is invoked with somebody's credentials. So `original` invokes
only functions that ListEventSourceMappings shows for the message's stream, by that mapping's qualifier. Where that is
not one function and no other, the message stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from restrike import targets
from restrike.aws import dynamodb, lambda_
from restrike.aws.lambda_ import FunctionName, function_name
from restrike.aws.session import Aws
from restrike.errors import AccessDenied, AwsError, Invalid, NotFound, UsageError
from restrike.model.failure import Pointer
from restrike.model.uri import Uri
from restrike.sources.failures.index import Origin

NAME_IT = "name the consumer with --to"


class Choice(msgspec.Struct, frozen=True):
    """Of messages of one origin: the target, or why they stay."""

    origin: Origin
    target: Uri | None = None
    why: str = ""


def originals(aws: Aws, origins: Sequence[Origin]) -> list[Choice]:
    """For each origin the function whose mapping it was. Each stream's mappings are asked for once."""
    known: dict[str, list[dict[str, Any]] | str] = {}
    return [_original(aws, origin, known) for origin in origins]


def _original(aws: Aws, origin: Origin, known: dict[str, list[dict[str, Any]] | str]) -> Choice:
    stream, function = origin
    if function is None:
        return Choice(origin, why=f"it names no function: {NAME_IT}")
    if stream not in known:
        known[stream] = _mappings(aws, stream)
    mappings = known[stream]
    if isinstance(mappings, str):
        return Choice(origin, why=mappings)
    try:
        found = mapped(function_name(function), mappings)
    except UsageError as error:
        found = error.message
    if isinstance(found, str):
        return Choice(origin, why=f"{found}: {NAME_IT}")
    if found.region not in (None, aws.region):
        return Choice(origin, why=f"its function is in {found.region}, and the Region is {aws.region}: --region")
    return Choice(origin, targets.parse(f"lambda:{found}", Path()))


def _mappings(aws: Aws, stream: str) -> list[dict[str, Any]] | str:
    """The stream's mappings, or why they cannot be told."""
    if not aws.may_ask("lambda"):
        return f"the stream is on this machine, and no endpoint of Lambda is named: {NAME_IT}"
    try:
        return lambda_.event_source_mappings(aws, stream)
    except AwsError as error:
        return f"the stream's mappings cannot be listed (lambda:ListEventSourceMappings): {error.message}"


def mapped(named: FunctionName, mappings: Sequence[Mapping[str, Any]]) -> FunctionName | str:
    """The function as its one mapping invokes it, or why it is not clear which that is."""
    if (named.qualifier or "").isdecimal():
        return f"it names the version {named.qualifier} of a function"
    ours: list[FunctionName] = []
    for mapping in mappings:
        try:
            invoked = function_name(str(mapping.get("FunctionArn", "")))
        except UsageError:
            continue
        same = (invoked.name, invoked.account, invoked.region) == (named.name, named.account, named.region)
        if same and mapping.get("State") != "Deleting":
            ours.append(invoked)
    if not ours:
        return f"no mapping of its stream invokes {named.unqualified}"
    if len(ours) > 1:
        return f"{len(ours)} mappings of its stream invoke {named.unqualified}"
    (invoked,) = ours
    if named.qualifier not in (None, invoked.qualifier or "$LATEST"):
        return f"it names {named.qualifier}, and the mapping invokes {invoked.qualifier or '$LATEST'}"
    return invoked


def comparable(aws: Aws, choices: Sequence[Choice]) -> list[Choice]:
    """The choices, without those of streams whose items cannot be compared with their records."""
    streams = {choice.origin[0] for choice in choices if choice.target is not None}
    why = {stream: _not_comparable(aws, stream) for stream in sorted(streams)}
    return [
        Choice(choice.origin, why=why[choice.origin[0]]) if why.get(choice.origin[0]) else choice for choice in choices
    ]


def _not_comparable(aws: Aws, stream: str) -> str:
    """Why not; empty where they can. A table of the same name in this account and Region is another one: its items
    would decide about strangers' records."""
    cannot = "its items cannot be compared, which --if-superseded skip does"
    try:
        table, _ = dynamodb.describe_table(aws, Pointer(stream, "", 0, 0).table)
    except (NotFound, AccessDenied, Invalid) as error:
        return f"{cannot}: {error.message}"
    of_table = stream.partition("/stream/")[0]
    return "" if table.arn == of_table else f"{cannot}: it is of {of_table}, and here is {table.arn}"
