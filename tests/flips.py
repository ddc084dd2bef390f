"""Bits that are turned in an archive's files, and what becomes of each: for a process of its own.

    python -m tests.flips SEED COUNT

makes an archive in memory, turns COUNT random bits of its files, one at a time, and some of each byte that ends a file,
and reads after each. One line of JSON for each on stdout, `[path, byte, bit, outcome]`, before the next is turned: so
the one at which the process dies is known.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator

import obstore
import obstore.store

from restrike.archive.footer import Damaged
from restrike.archive.inspection import verify
from restrike.archive.layout import HOUR_S, file_path
from restrike.archive.reader import ArchiveReader
from restrike.model.window import Window
from restrike.stores.objects import Store
from tests.integration.test_archive_care import NAME, NOON, A, made_range, packed

Reading = Callable[[], list[bytes]]

END_BYTES = 25
"""The mark, the checksum, the length and PAR1."""


def outcome(store: Store, path: str, readings: list[Reading], right: list[list[bytes]]) -> str:
    """`found` where who reads is told, with the file's name; `harmless` where all is read as it was; else what is
    wrong."""
    found = False
    for read, expected in zip(readings, right, strict=True):
        try:
            same = read() == expected
        except Damaged as error:
            found = True
            if path not in error.message:
                return f"not named: {error.message}"
        else:
            if not same:
                return "other records were delivered"
    problems = verify(store, [NAME]).problems
    if found and not any(path in each for each in problems):
        return "verify does not find it"
    return "found" if problems else "harmless"


def flips(files: dict[str, bytes], seed: int, count: int) -> Iterator[tuple[str, int, int]]:
    for path, data in files.items():
        for at in range(len(data) - END_BYTES, len(data)):
            yield path, at, at % 8
    chosen = random.Random(seed)
    for _ in range(count):
        path = chosen.choice(sorted(files))
        yield path, chosen.randrange(len(files[path])), chosen.randrange(8)


def main(seed: int, count: int) -> None:
    place = obstore.store.MemoryStore()
    store = Store(place, "memory")
    files = {
        file_path(NAME, NOON, A, first): packed(made_range(first, first + 40), group=20, follows=follows)
        for first, follows in ((1, None), (41, "40"))
    }
    for path, data in files.items():
        store.create(path, data)

    def reading(window: Window) -> Reading:
        return lambda: [each.raw for group in ArchiveReader(store, NAME).read(window, {}) for each in group]

    noon_s = NOON * HOUR_S
    readings = [reading(Window()), reading(Window(noon_s + 45, noon_s + 50))]
    right = [read() for read in readings]
    for path, at, bit in flips(files, seed, count):
        turned = bytearray(files[path])
        turned[at] ^= 1 << bit
        obstore.put(place, path, bytes(turned))
        said = outcome(store, path, readings, right)
        obstore.put(place, path, files[path])
        sys.stdout.write(json.dumps([path, at, bit, said]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
