"""The source `stream:TABLE`, or the ARN of a stream: exact records, as far back as the stream remembers, 24 hours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from restrike.errors import UsageError
from restrike.model.flags import Flag
from restrike.model.permissions import Need, Scope
from restrike.model.table import TABLE_ID, made_anew
from restrike.model.uri import Uri
from restrike.sources import Opening, Resolved
from restrike.sources.stream.arn import stream_region

if TYPE_CHECKING:
    from restrike.aws.session import Aws
    from restrike.model.record import Fidelity
    from restrike.sources.stream.reading import StreamSource


STREAM = "stream.arn"
"""In the run's folder: the stream that it began in."""


class _State(msgspec.Struct, frozen=True):
    """`table_id`: of the table that the stream was named by; empty where it was named by its ARN."""

    follow: bool = False
    table_id: str = ""


class StreamKind:
    """A stream, by its table's name or by its own ARN."""

    scheme = "stream"
    form = "stream:TABLE or the ARN of a stream"
    flags = (Flag("--follow", "stream: go on with what comes.", "records", "switch"),)
    has_table = True
    has_time = True
    ordered = True
    fidelity: Fidelity = "exact"
    spools: tuple[str, ...] = ()

    def parse(self, text: str, folder: Path) -> Uri:
        if stream_region(text) is not None:
            return Uri("stream", text, text)
        if text.startswith("arn:"):
            hint = "Of ARNs only a stream's is one: arn:aws:dynamodb:REGION:ACCOUNT:table/TABLE/stream/TIME."
            if ":table/" in text and "/stream/" not in text:
                name = text.rpartition("/")[2]
                hint = f"That is a table's ARN. Write stream:{name} or table:{name}."
            raise UsageError(f"{text!r} is no source", hint)
        name = text.removeprefix("stream:")
        return Uri("stream", name, name if stream_region(name) is not None else text)

    def now_s(self, uri: Uri, aws: Callable[[], Aws]) -> float | None:
        from restrike.sources.stream.reading import service_now_s

        return service_now_s(aws(), uri.rest)

    def endless(self, options: Mapping[str, Any]) -> bool:
        return bool(options.get("follow"))

    async def resolve(self, uri: Uri, options: Mapping[str, Any], opening: Opening) -> Resolved:
        import asyncio

        from restrike.aws import dynamodb

        follow = self.endless(options)
        parts = {"follow": "yes"} if follow else {}
        table_id = ""
        if stream_region(uri.rest) is None and not opening.once:
            table, _ = await asyncio.to_thread(dynamodb.describe_table, opening.aws(), uri.rest)
            table_id = parts[TABLE_ID] = table.id
        return Resolved(msgspec.json.encode(_State(follow, table_id)), parts)

    def open(self, uri: Uri, resolved: Resolved, opening: Opening) -> StreamSource:
        from restrike.aws import dynamodb
        from restrike.sources.stream.reading import StreamSource

        state = msgspec.json.decode(resolved.state, type=_State)
        if state.table_id:
            table, _ = dynamodb.describe_table(opening.aws(), uri.rest)
            if table.id != state.table_id:
                raise made_anew(opening.run, str(uri), state.table_id, table.id)
        follow = state.follow
        latest = follow and opening.window.since_s is None
        return StreamSource(
            opening.aws(),
            uri.rest,
            follow=follow,
            start_latest=latest,
            started_s=opening.started_s if latest and not opening.looking else None,
            begun_s=opening.started_s,
            kept=None if opening.looking else opening.folder / STREAM,
            looking=opening.looking,
        )

    def permissions(self, uri: Uri, options: Mapping[str, Any], scope: Scope) -> tuple[Need, ...]:
        """By its table it is followed over a switch off and on; by its ARN it is that one alone."""
        from restrike.aws import permissions

        reading = permissions.reading_stream(scope, uri.rest)
        if stream_region(uri.rest) is not None:
            return (reading,)
        return (permissions.describing(scope, uri.rest), permissions.listing_streams(), reading)


KIND = StreamKind()
