"""A SOURCE as a user writes it: `stream:TABLE`, the ARN of a stream, `table:TABLE`, `archive:PATH`, `jsonl:PATH`
or `-`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from restrike.archive import require_packages
from restrike.aws.session import Aws
from restrike.errors import UsageError
from restrike.model.record import EventName
from restrike.model.selection import Selection
from restrike.model.table import TableInfo
from restrike.sources import Source
from restrike.sources.jsonl import STANDARD_INPUT, JsonlSource
from restrike.sources.stream import StreamSource, is_stream_arn
from restrike.sources.table import Keys, TableSource

KINDS = (
    "A source is stream:TABLE, the ARN of a stream, table:TABLE, archive:PATH or archive:s3://…, jsonl:PATH, "
    "or - for standard input."
)


class StreamUri(msgspec.Struct, frozen=True, tag="stream"):
    """A stream, by its table's name or by its own ARN."""

    name: str

    def __str__(self) -> str:
        return self.name if is_stream_arn(self.name) else f"stream:{self.name}"


class TableUri(msgspec.Struct, frozen=True, tag="table"):
    table: str

    def __str__(self) -> str:
        return f"table:{self.table}"


class ArchiveUri(msgspec.Struct, frozen=True, tag="archive"):
    """An archive: a folder, or `s3://bucket/prefix`."""

    where: str

    def __str__(self) -> str:
        return f"archive:{self.where}"


class JsonlUri(msgspec.Struct, frozen=True, tag="jsonl"):
    """A file; `-` is standard input."""

    path: str

    def __str__(self) -> str:
        return self.path if self.path == STANDARD_INPUT else f"jsonl:{self.path}"


SourceUri = StreamUri | TableUri | ArchiveUri | JsonlUri


@dataclass(frozen=True)
class TableItems:
    """What a `table:` source needs beside its name: see TableSource."""

    table: TableInfo
    selection: Selection
    as_event: EventName = "INSERT"
    old_image: bool = True
    keys: Keys | None = None
    journal: Path | None = None
    salt: str = ""


def parse_source(text: str) -> SourceUri:
    """Reads a SOURCE. UsageError says what is wrong with it, and what sources there are."""
    if text == STANDARD_INPUT:
        return JsonlUri(text)
    if is_stream_arn(text):
        return StreamUri(text)
    kind, colon, rest = text.partition(":")
    if kind == "arn":
        hint = "Of ARNs only a stream's is one: arn:aws:dynamodb:REGION:ACCOUNT:table/TABLE/stream/TIME."
        if ":table/" in text and "/stream/" not in text:
            hint = f"That is a table's ARN. Write stream:{text.rpartition('/')[2]} or table:{text.rpartition('/')[2]}."
        raise UsageError(f"{text!r} is no source", hint)
    if not colon or not rest:
        raise UsageError(f"{text!r} is no source", KINDS)
    match kind:
        case "stream":
            return StreamUri(rest)
        case "table":
            return TableUri(rest)
        case "archive":
            return ArchiveUri(rest)
        case "jsonl":
            return JsonlUri(rest)
        case _:
            raise UsageError(f"{text!r} is no source: there is no kind {kind!r}", KINDS)


def open_source(
    uri: SourceUri | str,
    aws: Callable[[], Aws],
    *,
    follow: bool = False,
    start_latest: bool = False,
    started_s: float | None = None,
    items: TableItems | None = None,
    stream_arn: str = "",
    wants_key: Callable[[bytes], bool] | None = None,
    allow_gaps: bool = False,
) -> Source:
    """The source of that URI, not yet entered. `aws` is called only where AWS is asked.

    `follow`, `start_latest` and `started_s` are a stream's (StreamSource), `items` a table's (TableSource), and
    `stream_arn` is for records of a file that do not name theirs. `wants_key` and `allow_gaps` are an archive's
    (ArchiveSource).
    """
    if isinstance(uri, str):
        uri = parse_source(uri)
    if (follow or start_latest) and not isinstance(uri, StreamUri):
        raise UsageError(f"{uri} has an end: only a stream can be followed", "Leave out --follow.")
    match uri:
        case StreamUri(name):
            return StreamSource(aws(), name, follow=follow, start_latest=start_latest, started_s=started_s)
        case ArchiveUri(where):
            require_packages()
            from restrike.sources.archive import ArchiveSource

            return ArchiveSource(aws, where, wants_key=wants_key, skips_damaged=allow_gaps)
        case JsonlUri(path):
            return JsonlSource(path, stream_arn=stream_arn)
        case TableUri(table):
            if items is None:
                raise UsageError(f"{uri} needs a selection", f"Give --key, --keys or --all for table {table}.")
            return TableSource(
                aws(),
                items.table,
                items.selection,
                as_event=items.as_event,
                old_image=items.old_image,
                keys=items.keys,
                journal=items.journal,
                salt=items.salt,
            )
