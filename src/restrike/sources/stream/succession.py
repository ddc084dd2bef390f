"""The streams of a table, one after the other: it gets a new one where its stream is switched off and on again.

The old one can be read for 24 hours more. So a run that has begun in it reads that to its end, and only then the new
one. A stream's label says when it was switched on; so does `created_s`, and by the same clock as the start of a run.
"""

from __future__ import annotations

import asyncio

from restrike.aws import dynamodb, streams
from restrike.aws.session import Aws
from restrike.aws.streams import StreamInfo
from restrike.errors import AwsError, NotFound, SourceLacks
from restrike.model.times import iso
from restrike.model.window import Gap

ROUNDED_S = 1.0  # a run's start is told in whole seconds, rounded down


def stream_of_table(aws: Aws, name: str) -> str:
    """The ARN of the table's stream; SourceLacks, with the hint where the records are, where it has none."""
    table, _ = dynamodb.describe_table(aws, name)
    if table.stream_arn is not None:
        return table.stream_arn
    try:
        old = streams.streams_of(aws, table.name)
    except AwsError:
        old = []  # only a hint is lost
    hint = (
        f"It was switched off. For 24 hours it can be read by its ARN: {old[0]}"
        if old
        else f"Read the items as they are now: table:{table.name}."
    )
    raise SourceLacks(f"table {table.name} has no stream", hint)


def since(aws: Aws, name: str, begun: str | float) -> tuple[list[StreamInfo], bool]:
    """The streams of the table that a run has to read which began in that one (its ARN) or, where that is not known,
    at that time (epoch seconds by the service's clock): that one and those after it; and whether that one is gone."""
    found = _readable(aws, streams.streams_of(aws, dynamodb.describe_table(aws, name)[0].name))
    if isinstance(begun, str):
        found = [each for each in found if _label(each.arn) >= _label(begun)]
        return found, bool(found) and found[0].arn != begun
    began = [at for at, each in enumerate(found) if (each.created_s or 0.0) < begun + ROUNDED_S]
    return found[began[-1] if began else 0 :], not began and bool(found)


async def after(aws: Aws, name: str, last: StreamInfo) -> list[StreamInfo]:
    """The streams of the table that came after that one, which was switched off; awaited for a minute."""

    def newer() -> list[StreamInfo]:
        try:
            table, _ = dynamodb.describe_table(aws, name)
        except NotFound:
            return []
        if table.stream_arn in (None, last.arn):
            return []
        arns = [each for each in streams.streams_of(aws, table.name) if _label(each) > _label(last.arn)]
        return _readable(aws, arns)

    for _ in range(max(1, round(streams.SWITCHED_S / streams.SWITCH_LOOK_S))):
        if found := await asyncio.to_thread(newer):
            return found
        await asyncio.sleep(streams.SWITCH_LOOK_S)
    return []


def hole(info: StreamInfo) -> Gap:
    """What is lost between a stream and that one after it."""
    told = "" if info.created_s is None else f"up to {iso(info.created_s)}: "
    return Gap("", None, info.created_s, f"{told}{streams.SWITCHED}")


def forgotten(info: StreamInfo) -> Gap:
    """What is lost where the stream that a run began in is gone, and that one is the oldest there is."""
    why = "the stream that this run had begun was switched off, and is forgotten: what it had left cannot be read"
    return Gap("", None, info.created_s, why)


def _readable(aws: Aws, arns: list[str]) -> list[StreamInfo]:
    """Those streams, the oldest first, but for those that are forgotten meanwhile."""
    found = []
    for arn in sorted(arns, key=_label):
        try:
            found.append(streams.describe_stream(aws, arn)[0])
        except NotFound:
            continue
    return found


def _label(arn: str) -> str:
    return arn.rpartition("/stream/")[2]
