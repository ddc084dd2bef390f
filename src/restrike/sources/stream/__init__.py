"""The source `stream:TABLE`, or the ARN of a stream: exact records, as far back as the stream remembers, 24 hours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from restrike.errors import UsageError
from restrike.model.flags import Flag
from restrike.model.uri import Uri
from restrike.sources import Opening, Resolved
from restrike.sources.stream.arn import stream_region

if TYPE_CHECKING:
    from restrike.model.record import Fidelity
    from restrike.sources.stream.reading import StreamSource


class _State(msgspec.Struct, frozen=True):
    follow: bool = False


class StreamKind:
    """A stream, by its table's name or by its own ARN."""

    scheme = "stream"
    form = "stream:TABLE or the ARN of a stream"
    flags = (Flag("--follow", "stream: go on with what comes.", "records", "switch"),)
    has_table = True
    has_time = True
    ordered = True
    fidelity: Fidelity = "exact"

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

    def endless(self, options: Mapping[str, Any]) -> bool:
        return bool(options.get("follow"))

    async def resolve(self, uri: Uri, options: Mapping[str, Any], opening: Opening) -> Resolved:
        follow = self.endless(options)
        return Resolved(msgspec.json.encode(_State(follow)), {"follow": "yes"} if follow else {})

    def open(self, uri: Uri, resolved: Resolved, opening: Opening) -> StreamSource:
        from restrike.sources.stream.reading import StreamSource

        follow = msgspec.json.decode(resolved.state, type=_State).follow
        latest = follow and opening.window.since_s is None
        return StreamSource(
            opening.aws(),
            uri.rest,
            follow=follow,
            start_latest=latest,
            started_s=opening.started_s if latest and not opening.looking else None,
        )

    def permissions(self, uri: Uri) -> tuple[str, ...]:
        return (
            "dynamodb:DescribeTable",
            "dynamodb:DescribeStream",
            "dynamodb:GetShardIterator",
            "dynamodb:GetRecords",
            "dynamodb:ListStreams",
        )


KIND = StreamKind()
