"""`jsonl:PATH` or `-`: records into a file or on standard output, one a line, or one whole event a line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from restrike.model.flags import Flag
from restrike.model.uri import Uri
from restrike.targets import STANDARD_OUTPUT, Opening, Options, TargetInfo, TargetKind

if TYPE_CHECKING:
    from restrike.targets.jsonl.target import JsonlTarget


class JsonlKind(TargetKind):
    """See `TargetKind`. The rest of its URI is an absolute path, or `-`."""

    scheme = "jsonl"
    form = "jsonl:PATH"
    alone = STANDARD_OUTPUT
    flags = (Flag("--events", "jsonl: one whole Lambda event a line.", "deliver", "switch"),)
    knows_event_ids = False

    def parse(self, rest: str, folder: Path) -> Uri:
        if rest == STANDARD_OUTPUT:
            return Uri(self.scheme, rest, rest)
        return Uri(self.scheme, str(folder.absolute() / rest), f"{self.scheme}:{rest}")

    async def look(self, uri: Uri, options: Options, opening: Opening) -> TargetInfo:
        """Whether the file is there, empty and writable, and how it ends."""
        import asyncio

        return await asyncio.to_thread(self.open(uri, options, opening).look)

    def open(self, uri: Uri, options: Options, opening: Opening) -> JsonlTarget:
        from restrike.targets.jsonl.target import JsonlTarget

        return JsonlTarget(
            uri.rest,
            events=bool(options.get("events", False)),
            resume=opening.resuming,
            uri=uri.text,
            stood_on=opening.stood_on,
        )

    def file(self, uri: Uri) -> Path | None:
        return None if uri.rest == STANDARD_OUTPUT else Path(uri.rest)

    def takes_stdout(self, uri: Uri) -> bool:
        return uri.rest == STANDARD_OUTPUT


KIND = JsonlKind()
