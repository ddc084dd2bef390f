"""Whom a touch reaches beside Lambda's functions: Kinesis destinations, EventBridge Pipes, OpenSearch Ingestion.

What may not be asked, or does not answer, is a sentence in the plan with the permission that it takes; the plan stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from restrike.aws import dynamodb, pipelines
from restrike.aws.session import Aws
from restrike.errors import AccessDenied, AwsError
from restrike.model import cost
from restrike.model.numbers import counted
from restrike.model.plan import Consumer
from restrike.model.table import TableInfo
from restrike.touching.consumers import what_filters_pass

UNKNOWN_OPERATION = "UnknownOperationException"
"""What DynamoDB Local says: where nobody knows of destinations there are none."""
MAX_EXAMINED = 50
"""Pipes and pipelines that are looked into, one call each."""
_RECEIVING = ("ACTIVE", "ENABLING", "UPDATING")
_RUNNING = ("RUNNING", "STARTING", "UPDATING", "CREATING", "ACTIVE")


class Audience(msgspec.Struct, frozen=True):
    """Those that are known, what could not be seen (a sentence each), and how many of them read the table's stream."""

    known: tuple[Consumer, ...] = ()
    notes: tuple[str, ...] = ()
    readers: int = 0


class Destinations(msgspec.Struct, frozen=True):
    """The Kinesis data streams that get a table's changes; `unknown` says why they could not be looked for."""

    known: tuple[Consumer, ...] = ()
    unknown: str = ""

    @property
    def receiving(self) -> int:
        """How many of them get what is written now."""
        return sum(each.state in _RECEIVING for each in self.known)

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
        return Destinations(
            unknown=_why_not("Kinesis destinations", "dynamodb:DescribeKinesisStreamingDestination", error)
        )
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
    if unasked:
        notes.append(f"{' and '.join(unasked)} were not asked: DynamoDB is at {endpoint}.")
    asking = []
    for name, (service, look) in looks.items():
        if name in unasked:
            continue
        if not pipelines.is_known_here(aws, service):
            notes.append(f"{name} was not asked: it is not known to be in {aws.region}.")
            continue
        aws.client(service)  # made in this thread: botocore makes none in several at once
        asking.append(_in_time(name, look, timeout_s))
    found = [Audience(notes=tuple(notes)), *await asyncio.gather(*asking)]
    return Audience(
        tuple(consumer for each in found for consumer in each.known),
        tuple(note for each in found for note in each.notes),
        sum(each.readers for each in found),
    )


def _pipes(aws: Aws, stream_arn: str, touched: Sequence[Mapping[str, Any]]) -> Audience:
    try:
        listed = pipelines.pipes(aws, stream_arn)
    except AwsError as error:
        return Audience(notes=(f"{_why_not('EventBridge Pipes', 'pipes:ListPipes', error)}.",))
    known: list[Consumer] = []
    unseen = ""
    for number, pipe in enumerate(listed):
        name, state = str(pipe.get("Name", "?")), str(pipe.get("CurrentState", "unknown"))
        fires: bool | None = None
        why = "its filter was not looked at"
        if not unseen and number < MAX_EXAMINED:
            try:
                fires, why = what_filters_pass(pipelines.pipe_filters(aws, name), touched)
            except AwsError as error:
                unseen = f"{_why_not('filters of EventBridge Pipes', 'pipes:DescribePipe', error)}."
        if state not in _RUNNING:
            fires, why = False, f"this pipe is {state}: it sees the records when it runs again within 24 h"
        known.append(Consumer(name, "pipe", state, fires, why))
    readers = sum(each.state in _RUNNING for each in known)
    return Audience(tuple(known), (unseen,) if unseen else (), readers)


def _ingestion(aws: Aws, table: TableInfo) -> Audience:
    try:
        listed = pipelines.ingestion_pipelines(aws)
    except AwsError as error:
        return Audience(notes=(f"{_why_not('OpenSearch Ingestion', 'osis:ListPipelines', error)}.",))
    known: list[Consumer] = []
    notes: tuple[str, ...] = ()
    readers = 0
    for number, pipeline in enumerate(listed):
        name, state = str(pipeline.get("PipelineName", "?")), str(pipeline.get("Status", "unknown"))
        unread = f"{counted(len(listed) - number, 'pipeline')} of OpenSearch Ingestion may read it, too"
        if number == MAX_EXAMINED:
            notes = (f"{unread}: {MAX_EXAMINED} were looked into.",)
            break
        try:
            configuration = pipelines.ingestion_configuration(aws, name)
        except AwsError as error:
            notes = (f"{unread}. {_why_not('what they read', 'osis:GetPipeline', error)}.",)
            break
        if not pipelines.names_table(configuration, table.arn):
            continue
        fires, why = True, "its configuration names the table, and has a stream part"
        if not pipelines.reads_streams(configuration):
            fires, why = False, "its configuration names the table, and no stream: it loads an export"
        elif state not in _RUNNING:
            fires, why = False, f"this pipeline is {state}: it sees the records when it runs again within 24 h"
        else:
            readers += 1
        known.append(Consumer(name, "ingestion", state, fires, why))
    return Audience(tuple(known), notes, readers)


def _why_not(what: str, permission: str, error: AwsError) -> str:
    why = f"access denied ({permission})" if isinstance(error, AccessDenied) else error.message
    return f"Could not look for {what}: {why}"


async def _in_time(name: str, look: Callable[[], Audience], timeout_s: float) -> Audience:
    """What `look` finds in a thread of its own; one that is late ends with the process, and nobody waits for it."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Audience] = loop.create_future()

    def tell(audience: Audience | None, failure: Exception | None) -> None:
        if failure is not None and not found.done():
            found.set_exception(failure)
        elif audience is not None and not found.done():
            found.set_result(audience)

    def looking() -> None:
        audience, failure = None, None
        try:
            audience = look()
        except Exception as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the plan is made, and its loop closed
            loop.call_soon_threadsafe(tell, audience, failure)

    threading.Thread(target=looking, daemon=True).start()
    try:
        return await asyncio.wait_for(found, timeout_s)
    except TimeoutError:
        return Audience(notes=(f"{name} did not answer within {timeout_s:g} s.",))
