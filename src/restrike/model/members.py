"""JSON whose objects keep every member, also those whose key comes again: event patterns mean something by that."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from restrike.errors import UsageError


class Members(Mapping[str, Any]):
    """An object of JSON: `pairs` are its members as they stand; to whoever asks by key, the last of them answers."""

    __slots__ = ("_last", "pairs")

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs
        self._last = dict(pairs)

    def __getitem__(self, name: str) -> Any:
        return self._last[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._last)

    def __len__(self) -> int:
        return len(self._last)


def pairs(node: Mapping[str, Any]) -> Sequence[tuple[str, Any]]:
    """The members of an object, however it was read."""
    return node.pairs if isinstance(node, Members) else tuple(node.items())


def decode(text: str | bytes, what: str) -> Any:
    """The value, its objects as Members; UsageError where it is no JSON."""
    try:
        msgspec.json.decode(text)  # stricter than Python's: NaN, half of a surrogate pair
        return json.loads(text, object_pairs_hook=Members)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{what}: bad JSON: {error}", "Check quotes and escapes of the JSON.") from None


def encode(value: Any) -> bytes:
    """JSON without white space, with every member."""
    if isinstance(value, Members):
        members = (msgspec.json.encode(name) + b":" + encode(each) for name, each in value.pairs)
        return b"{" + b",".join(members) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(encode, value)) + b"]"
    return msgspec.json.encode(value, enc_hook=repr)
