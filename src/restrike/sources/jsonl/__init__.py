"""The source `jsonl:PATH` or `-`: records in a file, as GetRecords or Lambda has them, one JSON value after another."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from restrike.errors import UsageError
from restrike.model.flags import Flag
from restrike.model.permissions import Need, Scope
from restrike.model.uri import STANDARD_INPUT, Uri
from restrike.sources import Opening, Resolved
from restrike.sources.jsonl.extent import Extent

if TYPE_CHECKING:
    from restrike.aws.session import Aws
    from restrike.model.record import Fidelity
    from restrike.sources.jsonl.reading import JsonlSource

SPOOL = "source.jsonl"
"""In the run's folder: what came on standard input."""
_CHUNK_BYTES = 1 << 20


class _State(msgspec.Struct, frozen=True):
    """`given`: what came on standard input."""

    given: Extent | None = None


class JsonlKind:
    """A file of records; `-` is standard input."""

    scheme = "jsonl"
    form = "jsonl:PATH or - for standard input"
    flags: tuple[Flag, ...] = ()
    has_table = False
    has_time = True
    ordered = True
    fidelity: Fidelity = "exact"
    spools: tuple[str, ...] = (SPOOL,)

    def parse(self, text: str, folder: Path) -> Uri:
        path = text.removeprefix("jsonl:")
        if path == STANDARD_INPUT:
            return Uri("jsonl", STANDARD_INPUT, STANDARD_INPUT)
        return Uri("jsonl", str(folder / path), text)

    def now_s(self, uri: Uri, aws: Callable[[], Aws]) -> float | None:
        return None

    def endless(self, options: Mapping[str, Any]) -> bool:
        return False

    async def resolve(self, uri: Uri, options: Mapping[str, Any], opening: Opening) -> Resolved:
        """Standard input goes onto disk before anything is delivered, so that the run can go on."""
        import asyncio

        if uri.rest != STANDARD_INPUT or opening.once:
            return Resolved()
        given = await asyncio.to_thread(_spool, opening.folder / SPOOL)
        identity = {"standard input": f"{given.size_bytes:,} bytes with the digest {given.digest[:16]}"}
        return Resolved(msgspec.json.encode(_State(given)), identity)

    def open(self, uri: Uri, resolved: Resolved, opening: Opening) -> JsonlSource:
        from restrike.sources.jsonl.reading import JsonlSource

        if uri.rest != STANDARD_INPUT or opening.once:
            measures = not opening.looking and not opening.once
            return JsonlSource(uri.rest, named=uri, measures=measures, stood_on=opening.stood_on)
        given = msgspec.json.decode(resolved.state, type=_State).given
        # All of it was there before the first record: so all of it is to be there again.
        stood_on = None if opening.stood_on is None or given is None else given.as_parts()
        return JsonlSource(str(opening.folder / SPOOL), named=uri, stood_on=stood_on, again=opening.again)

    def permissions(self, uri: Uri, options: Mapping[str, Any], scope: Scope) -> tuple[Need, ...]:
        return ()


def _spool(path: Path) -> Extent:
    """Standard input into that file; returns how much it was."""
    from restrike.running.spool import written  # not for help's sake

    digest, size_bytes = hashlib.sha256(), 0
    try:
        # Whole images: nobody else's business, also where the disk is full and the rest is left behind.
        with open(path, "wb", buffering=0, opener=_private) as file:
            while chunk := sys.stdin.buffer.read(_CHUNK_BYTES):
                digest.update(chunk)
                size_bytes += len(chunk)
                rest = memoryview(chunk)
                with written(path):
                    while rest:
                        rest = rest[file.write(rest) :]
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"standard input cannot be read: {error}", "Give a file: jsonl:PATH.") from None
    return Extent(size_bytes, digest.hexdigest())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


KIND = JsonlKind()
