"""Attribute values as two sides are compared by them: an item's, which has types, and a file's, which may have none.

The item's type decides. Numbers are compared as decimals, B as bytes, text as it is; BOOL takes true, t or 1. What is
absent, NULL or null is the same, and so is an empty cell of a CSV, which an empty text equals as well.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import re
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from restrike.errors import UsageError
from restrike.model.table import AttributeValue, normal_number

LONG = 256
"""Characters. Of a longer value only its digest is kept; a number is never as long."""
ABSENT, BARE, LITERAL, CELL, OTHER = "0", "=", "#", "e", "?"
"""What is no type of DynamoDB's: nothing; a text, a number and an empty cell without a type; and what is no scalar."""
_BOOL = "T"
_TRUE, _FALSE = frozenset({"true", "t", "1"}), frozenset({"false", "f", "0"})
_PLAIN = re.compile(r"0|-?[1-9][0-9]{0,36}|-?(?:0|[1-9][0-9]{0,18})\.[0-9]{0,17}[1-9]")

Spelled = tuple[str, str]
"""One letter for what it is, and the value as text."""


def is_plain(text: str) -> bool:
    """Whether that is a number as DynamoDB writes it; a few that are say no."""
    return _PLAIN.fullmatch(text) is not None


def of_item(value: AttributeValue | None) -> Spelled:
    """A value of an item, as a service answers it."""
    if value is None:
        return ABSENT, ""
    ((kind, content),) = value.items()
    if kind == "S":
        return "S", _short(content)
    if kind == "N":
        return "N", content if is_plain(content) else normal_number(content)
    if kind == "B":
        return "B", _short(content)
    if kind == "BOOL":
        return _BOOL, "true" if content else "false"
    return (ABSENT, "") if kind == "NULL" else (OTHER, "")


def of_json(value: object) -> Spelled:
    """A value out of JSON: plain, or typed as DynamoDB JSON has it. UsageError where it is no scalar."""
    if value is None:
        return ABSENT, ""
    if isinstance(value, str):
        return BARE, _short(value)
    if isinstance(value, bool):
        return _BOOL, "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        return LITERAL, _short(str(value))
    if isinstance(value, dict) and len(value) == 1:
        ((kind, content),) = value.items()
        if kind == "S" and isinstance(content, str):
            return kind, _short(content)
        if kind == "N" and isinstance(content, str) and (number := _number(content)) is not None:
            return kind, number
        if kind == "B" and isinstance(content, str) and (found := _bytes(content)) is not None:
            return kind, _short(found)
        if kind in ("BOOL", "NULL") and isinstance(content, bool):
            return of_item(value)
    raise UsageError("no scalar")


def of_cell(text: str) -> Spelled:
    """A cell of a CSV, which knows no types."""
    return (BARE, _short(text)) if text else (CELL, "")


def encoded(values: Iterable[Spelled]) -> bytes:
    """Several values in one line of bytes; equal ones are equal."""
    kinds, texts = [], []
    for kind, text in values:
        kinds.append(kind)
        texts.append(text)
    return "".join(kinds).encode() + b"\t" + msgspec.json.encode(texts)


def same(ours: bytes, theirs: bytes) -> bool | None:
    """Whether the values of an item and of the other side, both `encoded`, are the same; None where the item's are no
    scalars, so that nobody knows."""
    types, _, our_texts = ours.partition(b"\t")
    kinds, _, their_texts = theirs.partition(b"\t")
    if our_texts == their_texts:
        known = _by_text(types, kinds)
        if known is not None:
            return known
    elif types == kinds and OTHER.encode() not in types:
        return False
    return _one_by_one(types, our_texts, kinds, their_texts)


@functools.lru_cache(1024)
def _by_text(types: bytes, kinds: bytes) -> bool | None:
    """What follows from equal texts alone; None where more has to be looked at."""
    text_decides = all(
        (ours in "SNB" and theirs in (ours, BARE, LITERAL)) or (ours == theirs != OTHER)
        for ours, theirs in zip(types.decode(), kinds.decode(), strict=True)
    )
    return True if text_decides else None


def _one_by_one(types: bytes, our_texts: bytes, kinds: bytes, their_texts: bytes) -> bool | None:
    if OTHER.encode() in types:
        return None
    ours = zip(types.decode(), msgspec.json.decode(our_texts, type=list[str]), strict=True)
    theirs = zip(kinds.decode(), msgspec.json.decode(their_texts, type=list[str]), strict=True)
    return all(_is_same(*one, *other) for one, other in zip(ours, theirs, strict=True))


def _is_same(ours: str, our_text: str, theirs: str, their_text: str) -> bool:
    if theirs == CELL:
        return our_text == "" and ours in (ABSENT, "S", "B")
    if theirs not in (BARE, LITERAL):
        return (ours, our_text) == (theirs, their_text)
    if ours == "N":
        return _number(their_text) == our_text
    if ours == _BOOL:
        return their_text.lower() in (_TRUE if our_text == "true" else _FALSE)
    if ours == "B" and theirs == BARE:
        return their_text == our_text or _bytes(their_text) == our_text
    return ours == "S" and our_text == their_text


def _number(text: str) -> str | None:
    try:
        return normal_number(text)
    except UsageError:
        return None


def _bytes(text: str) -> str | None:
    """Base64 in its one spelling; None where it is none."""
    try:
        return base64.b64encode(base64.b64decode(text, validate=True)).decode()
    except (binascii.Error, ValueError):
        return None


def _short(text: str) -> str:
    return text if len(text) <= LONG else f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
