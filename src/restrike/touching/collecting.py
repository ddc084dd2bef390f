"""A selection through an index put into the table's order: all keys are read first, and sorted on disk."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec

from restrike.aws.walk import ended
from restrike.errors import UsageError
from restrike.model.spelling import Spelling
from restrike.model.table import KeySchema
from restrike.running.ledger import Ledger
from restrike.running.stop import Stop
from restrike.selecting.keyfile import KeyFile, sort_bytes
from restrike.selecting.read import Selector, Unit

_LIST = "list"
"""What the run stands on: the digest of its list."""


def is_whole(ledger: Ledger, run: str, path: Path) -> bool:
    """Whether the list of the run is there, as it was made."""
    if not path.exists():
        return False
    try:
        with KeyFile(path) as file:
            return file.digest_in_order() == ledger.stands(run).get(_LIST)
    except (UsageError, sqlite3.Error):
        return False


async def collect(
    selector: Selector, schema: KeySchema, path: Path, stop: Stop, keep: Callable[[dict[str, str]], None]
) -> bool:
    """Writes the keys of all that is selected to a key file; whether it came to the end. Otherwise there is none.
    What the run stands on from then on is given to `keep`."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    spelling = Spelling(schema)
    reading = asyncio.create_task(selector.run())
    try:
        with KeyFile(partial, new=True) as file:
            while (unit := await _next(selector, reading)) is not None:
                keys = spelling.of(unit.items)
                file.write((key, sort_bytes(schema, msgspec.json.decode(key))) for key in keys)
            if stop.is_set():
                return False
            file.sort()
            stands = {_LIST: file.digest_in_order()}
    finally:
        await ended(reading)
    keep(stands)  # first: a list that nobody vouches for is made again
    partial.rename(path)
    return True


async def _next(selector: Selector, reading: asyncio.Task[None]) -> Unit | None:
    getting = asyncio.create_task(selector.queue.get())
    await asyncio.wait({getting, reading}, return_when=asyncio.FIRST_COMPLETED)
    if reading.done():
        reading.result()
    return await getting
