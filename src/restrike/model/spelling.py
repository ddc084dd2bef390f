"""One spelling for the keys of many items at once, out of the raw JSON of their key values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from restrike.model.table import KeyAttribute, KeySchema, canonical_key

# What `canonical_key` would write again as it is: a text without a backslash, a number in plain digits.
_TEXT = rb'"[^"\\\n]*"'
_NUMBER = rb'"(?:0|-?[1-9][0-9]*|-?(?:0|[1-9][0-9]*)\.[0-9]*[1-9])"'


class Spelling:
    """Puts raw key values together to canonical keys. Where a service spells them so already, nothing is decoded."""

    def __init__(self, schema: KeySchema) -> None:
        self._schema = schema
        self._head = b"{" + msgspec.json.encode(schema.partition.name) + b":"
        self._middle = b"," + msgspec.json.encode(schema.sort.name) + b":" if schema.sort is not None else b""
        key = re.escape(self._head) + _pattern(schema.partition)
        if schema.sort is not None:
            key += re.escape(self._middle) + _pattern(schema.sort)
        key += rb"\}"
        self._canonical = re.compile(key)
        self._all_canonical = re.compile(rb"(?:" + key + rb"\n)*+")

    def of(self, items: Iterable[Any]) -> list[bytes]:
        """The canonical keys of items, jobs or records' keys: of all that has raw `partition` and `sort`."""
        head, middle, join = self._head, self._middle, b"".join
        if middle:
            keys = [join((head, item.partition, middle, item.sort, b"}")) for item in items]
        else:
            keys = [join((head, item.partition, b"}")) for item in items]
        # One look at all of them; with a backslash or a blank in one of them, one at each.
        if self._all_canonical.fullmatch(b"\n".join((*keys, b""))):
            return keys
        return [key if self._canonical.fullmatch(key) else self._respelled(key) for key in keys]

    def _respelled(self, key: bytes) -> bytes:
        return canonical_key(self._schema, msgspec.json.decode(key))


def _pattern(attribute: KeyAttribute) -> bytes:
    value = _NUMBER if attribute.type == "N" else _TEXT
    return rb'\{"%b":%b\}' % (attribute.type.encode(), value)
