"""One attribute of many items, as it is now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from restrike.aws.dynamodb import batch_get
from restrike.aws.wire import Wire
from restrike.model.table import TableInfo, canonical_key


async def read_attribute(
    wire: Wire, table: TableInfo, keys: Sequence[bytes], attribute: str
) -> dict[bytes, dict[str, Any] | None]:
    """The attribute of each item as it is now (consistently): None where the item lacks it; absent items left out."""
    found: dict[bytes, dict[str, Any] | None] = {}
    names = tuple(dict.fromkeys((*table.key.names, attribute)))
    for raw in await batch_get(wire, table.name, keys, attributes=names):
        item: dict[str, dict[str, Any]] = msgspec.json.decode(raw)
        found[canonical_key(table.key, item)] = item.get(attribute)
    return found
