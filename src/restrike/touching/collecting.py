"""A selection through an index put into the table's order: all keys are read first, and sorted on disk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from restrike.aws.walk import ended
from restrike.model.table import KeySchema
from restrike.running.stop import Stop
from restrike.selecting.keyfile import KeyFile, sort_bytes
from restrike.selecting.read import Selector, Unit
from restrike.touching.spelling import Spelling


async def collect(selector: Selector, schema: KeySchema, path: Path, stop: Stop) -> bool:
    """Writes the keys of all that is selected to a key file; whether it came to the end. Otherwise there is none."""
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
    finally:
        await ended(reading)
    partial.rename(path)
    return True


async def _next(selector: Selector, reading: asyncio.Task[None]) -> Unit | None:
    getting = asyncio.create_task(selector.queue.get())
    await asyncio.wait({getting, reading}, return_when=asyncio.FIRST_COMPLETED)
    if reading.done():
        reading.result()
    return await getting
