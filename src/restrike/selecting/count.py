"""How many items a selection has: counted as far as that is cheap, and said how."""

from __future__ import annotations

import msgspec

from restrike.aws.dynamodb import ConsumedCapacity, decode
from restrike.aws.wire import Wire
from restrike.model.plan import Items
from restrike.model.selection import KeyList, Scan, Selection, strands
from restrike.model.table import TableInfo
from restrike.selecting.pages import pages

COUNT_PAGES = 25
"""Of COUNT queries: 25 MB, at most some 3,200 read units, under a twentieth of a cent."""
BYTES_A_READ_UNIT = 8192  # eventually consistent: half a unit for 4 KB


class _Counted(msgspec.Struct, rename="pascal"):
    count: int = 0
    last_evaluated_key: msgspec.Raw = msgspec.Raw(b"")
    consumed_capacity: ConsumedCapacity | None = None

    @property
    def last_key(self) -> bytes | None:
        return bytes(self.last_evaluated_key) or None


_counted = msgspec.json.Decoder(_Counted)


def _read(body: bytes, operation: str) -> _Counted:
    return decode(_counted, body, operation)


class Count(msgspec.Struct, frozen=True):
    """`items` with how they were counted, `at_least` where there are more, and the read units that reading them takes
    (None where that is unknown)."""

    items: Items
    at_least: bool
    rru: float | None


async def count(wire: Wire, table: TableInfo, selection: Selection) -> Count:
    """Counts by COUNT queries, at most 25 pages of them; beyond, a whole table or index by DynamoDB's own figure."""
    what = selection.what
    if isinstance(what, KeyList):
        return Count(Items(what.count, "counted: different keys in the file"), at_least=False, rru=0.0)
    found, units, left = 0, 0.0, COUNT_PAGES
    for strand in strands(selection, table):
        request = strand.request | {"Select": "COUNT", "ReturnConsumedCapacity": "TOTAL"}
        if not left:
            return _beyond(table, selection, found)
        whole = False
        async for page in pages(wire, strand.operation, request, _read, most=left):
            left -= 1
            found += page.count
            units += page.consumed_capacity.capacity_units if page.consumed_capacity else 0.0
            whole = page.last_key is None
        if not whole:
            return _beyond(table, selection, found)
    return Count(Items(found, "counted by COUNT queries just now"), at_least=False, rru=units)


def _beyond(table: TableInfo, selection: Selection, found: int) -> Count:
    what = selection.what
    if isinstance(what, Scan) and selection.filter is None:
        known = table.index(what.index).item_count if what.index else table.item_count
        if known > found:
            where = f"index {what.index}" if what.index else "the table"
            share = known / max(1, table.item_count)
            rru = table.size_bytes * (min(1.0, share) if what.index else 1.0) / BYTES_A_READ_UNIT
            return Count(Items(known, f"{where}'s own ItemCount, up to six hours old"), at_least=False, rru=rru)
    return Count(Items(found, f"at least: counting stopped after {COUNT_PAGES} pages"), at_least=True, rru=None)
