"""Whom a touch reaches beside Lambda's functions: Kinesis destinations, EventBridge Pipes, OpenSearch Ingestion.

What may not be asked, or does not answer, is a sentence in the plan with the permission that it takes; the plan stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from restrike.aws import dynamodb, pipelines
from restrike.aws.session import Aws
from restrike.errors import AwsError, UsageError
from restrike.model import cost
from restrike.model.diagnosis import Unseen
from restrike.model.numbers import counted
from restrike.model.plan import Consumer, PlanWarning
from restrike.model.table import TableInfo
from restrike.wiring.beside import NOT_ASKED, in_time, missed, sentence
from restrike.wiring.consumers import what_filters_pass

UNKNOWN_OPERATION = "UnknownOperationException"
"""What DynamoDB Local says: where nobody knows of destinations there are none."""
MAX_EXAMINED = 50
"""Pipes and pipelines that are looked into, one call each."""
_RECEIVING = ("ACTIVE", "UPDATING")
_RUNNING = ("RUNNING", "STARTING", "UPDATING", "CREATING", "ACTIVE")
AT_REST = ("STOPPED", "CREATE_FAILED", "START_FAILED", "DELETING", "DELETED")
"""In any other state, as STOPPING or UPDATE_FAILED, a pipe or pipeline may still run, and read."""


class Audience(msgspec.Struct, frozen=True):
    """Those that are known, what could not be seen (a sentence each), how many of them may read the table's stream, and
    what to know before one goes on.

    `unseen` is what could not be seen once more, in its parts. `pipes`: as DescribePipe told, by their names.
    """

    known: tuple[Consumer, ...] = ()
    notes: tuple[str, ...] = ()
    readers: int = 0
    warnings: tuple[PlanWarning, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    pipes: dict[str, dict[str, Any]] = {}


class Destinations(msgspec.Struct, frozen=True):
    """The Kinesis data streams that get a table's changes; `unknown` says why they could not be looked for."""

    known: tuple[Consumer, ...] = ()
    unknown: str = ""
    unseen: tuple[Unseen, ...] = ()

    @property
    def receiving(self) -> int:
        """How many of them get what is written now."""
        return sum(each.state in _RECEIVING for each in self.known)

    @property
    def enabling(self) -> bool:
        """Whether there is one that will get them some time."""
        return any(each.state == "ENABLING" for each in self.known)

    def units(self, table: TableInfo, count: int | None, limit: int | None) -> float | None:
        """The change data capture units of touching so many; None where nobody receives, or the count is unknown."""
        if not self.receiving or count is None:
            return None
        return cost.change_data_units(table, count if limit is None else min(count, limit), self.receiving)


def destinations_of(aws: Aws, table: TableInfo) -> Destinations:
    """Asks DynamoDB itself, wherever it is: whoever stands in for it answers for its own tables."""
    try:
        found = dynamodb.kinesis_destinations(aws, table.name)
    except AwsError as error:
        if error.code == UNKNOWN_OPERATION:
            return Destinations()
        unseen = missed("Kinesis destinations", "dynamodb:DescribeKinesisStreamingDestination", error)
        return Destinations(unknown=sentence(unseen), unseen=(unseen,))
    return Destinations(
        tuple(Consumer(f"{arn.rpartition('/')[2]} ({arn})", "kinesis", state, *_gets(state)) for arn, state in found)
    )


def _gets(state: str) -> tuple[bool | None, str]:
    if state == "ENABLING":
        return None, "is being enabled: gets what is written from when it is ACTIVE on"
    if state in _RECEIVING:
        return True, "a Kinesis data stream gets every change, whoever reads it; it may get one twice or out of order"
    return False, f"this Kinesis destination is {state}"


async def audience_of(
    aws: Aws, table: TableInfo, touched: Sequence[Mapping[str, Any]], endpoint: str, timeout_s: float
) -> Audience:
    """Those that read the table's own stream, each service asked at the same time as the others and no longer than
    `timeout_s`."""
    if table.stream_arn is None:
        return Audience()
    looks: dict[str, tuple[str, Callable[[], Audience]]] = {
        "EventBridge Pipes": ("pipes", lambda: _pipes(aws, str(table.stream_arn), touched)),
        "OpenSearch Ingestion": ("osis", lambda: _ingestion(aws, table)),
    }
    unasked = [name for name, (service, _) in looks.items() if not aws.may_ask(service)]
    notes: list[str] = []
    unseen = [Unseen(name, NOT_ASKED + endpoint) for name in unasked]
    if unasked:
        were = "was" if len(unasked) == 1 else "were"
        notes.append(f"{' and '.join(unasked)} {were} not asked: DynamoDB is at {endpoint}.")
    asking = []
    for name, (service, look) in looks.items():
        if name in unasked:
            continue
        if not pipelines.is_known_here(aws, service):
            notes.append(f"{name} was not asked: it is not known to be in {aws.region}.")
            unseen.append(Unseen(name, f"not asked: it is not known to be in {aws.region}"))
            continue
        aws.client(service)  # made in this thread: botocore makes none in several at once
        asking.append(_in_time(name, look, timeout_s))
    found = [Audience(notes=tuple(notes), unseen=tuple(unseen)), *await asyncio.gather(*asking)]
    return Audience(
        tuple(consumer for each in found for consumer in each.known),
        tuple(note for each in found for note in each.notes),
        sum(each.readers for each in found),
        tuple(warning for each in found for warning in each.warnings),
        tuple(each for one in found for each in one.unseen),
        {name: pipe for each in found for name, pipe in each.pipes.items()},
    )


def _pipes(aws: Aws, stream_arn: str, touched: Sequence[Mapping[str, Any]]) -> Audience:
    try:
        listed = pipelines.pipes(aws, stream_arn)
    except (AwsError, UsageError) as error:
        return _nobody("EventBridge Pipes", "pipes:ListPipes", error)
    known: list[Consumer] = []
    warnings: list[PlanWarning] = []
    unseen: tuple[Unseen, ...] = ()
    described: dict[str, dict[str, Any]] = {}
    for number, pipe in enumerate(listed):
        name, state = str(pipe.get("Name", "?")), str(pipe.get("CurrentState", "unknown"))
        fires: bool | None = None
        why = "its filter was not looked at"
        if not unseen and number < MAX_EXAMINED:
            try:
                described[name] = pipelines.describe_pipe(aws, name)
                fires, why = what_filters_pass(pipelines.filters_of(described[name]), touched)
            except (AwsError, UsageError) as error:
                unseen = (missed("filters of EventBridge Pipes", "pipes:DescribePipe", error),)
        if fires is False:
            text = f"the pipe {name} takes no MODIFY records of these items: touch cannot fire it again."
            warnings.append(PlanWarning("consumer-not-fired", text))
        else:
            fires, why = _running("pipe", state) or (fires, why)
        known.append(Consumer(name, "pipe", state, fires, why))
    readers = sum(each.state not in AT_REST for each in known)
    notes = tuple(f"{sentence(each)}." for each in unseen)
    return Audience(tuple(known), notes, readers, tuple(warnings), unseen, described)


def _running(what: str, state: str) -> tuple[bool | None, str] | None:
    """What one that does not run will see; None of one that runs."""
    if state in _RUNNING:
        return None
    if state in AT_REST:
        return False, f"this {what} is {state}: it sees the records when it runs again within 24 h"
    return None, f"this {what} is {state}, and may still run"


def _ingestion(aws: Aws, table: TableInfo) -> Audience:
    try:
        listed = pipelines.ingestion_pipelines(aws)
    except (AwsError, UsageError) as error:
        return _nobody("OpenSearch Ingestion", "osis:ListPipelines", error)
    known: list[Consumer] = []
    notes: tuple[str, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    readers = 0
    for number, pipeline in enumerate(listed):
        name, state = str(pipeline.get("PipelineName", "?")), str(pipeline.get("Status", "unknown"))
        rest = f"{counted(len(listed) - number, 'pipeline')} of OpenSearch Ingestion"
        if number == MAX_EXAMINED:
            notes = (f"{rest} may read it, too: {MAX_EXAMINED} were looked into.",)
            unseen = (Unseen(f"what {rest} read", f"{MAX_EXAMINED} were looked into"),)
            break
        try:
            configuration = pipelines.ingestion_configuration(aws, name)
        except (AwsError, UsageError) as error:
            notes = (f"{rest} may read it, too. {sentence(missed('what they read', 'osis:GetPipeline', error))}.",)
            unseen = (missed(f"what {rest} read", "osis:GetPipeline", error),)
            break
        if not pipelines.names_table(configuration, table.arn):
            continue
        fires: bool | None = True
        why = "its configuration names the table, and has a stream part"
        if not pipelines.reads_streams(configuration):
            fires, why = False, "its configuration names the table, and no stream: it loads an export"
        else:
            fires, why = _running("pipeline", state) or (fires, why)
            readers += state not in AT_REST
        known.append(Consumer(name, "ingestion", state, fires, why))
    return Audience(tuple(known), notes, readers, unseen=unseen)


def _nobody(what: str, permission: str, error: AwsError | UsageError) -> Audience:
    unseen = missed(what, permission, error)
    return Audience(notes=(f"{sentence(unseen)}.",), unseen=(unseen,))


async def _in_time(name: str, look: Callable[[], Audience], timeout_s: float) -> Audience:
    try:
        return await in_time(look, timeout_s)
    except TimeoutError:
        why = f"did not answer within {timeout_s:.3g} s"
        return Audience(notes=(f"{name} {why}.",), unseen=(Unseen(name, f"it {why}"),))
