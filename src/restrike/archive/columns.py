"""Records as GetRecords answers them, and as the columns of a row group. No object is made of one in between."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from hashlib import blake2b
from itertools import accumulate
from typing import Any

import msgspec
import pyarrow as pa

from restrike.archive.schema import SCHEMA, key_digest
from restrike.errors import ServiceFault
from restrike.model.record import created_seconds

REPEATING = ["shard_id", "event_name", "event_version", "aws_region", "user_identity"]
RECORD_BYTES = 550  # what a record takes in memory beside its keys and images, roughly

_ABSENT = msgspec.Raw(b"")
_MILLISECONDS = 1e11  # what is larger is no number of seconds


class Change(msgspec.Struct, gc=False):
    """The part of a record that is DynamoDB's. `created` as it was answered; an image that is absent is empty."""

    keys: msgspec.Raw = msgspec.field(name="Keys")
    sequence_number: str = msgspec.field(name="SequenceNumber")
    created: float | str = msgspec.field(name="ApproximateCreationDateTime", default=0.0)
    new_image: msgspec.Raw = msgspec.field(name="NewImage", default=_ABSENT)
    old_image: msgspec.Raw = msgspec.field(name="OldImage", default=_ABSENT)
    size_bytes: int | None = msgspec.field(name="SizeBytes", default=None)


class Answered(msgspec.Struct, gc=False, rename="camel"):
    """A record as GetRecords answers it. Its keys and images are parts of that answer, and keep all of it in memory."""

    change: Change = msgspec.field(name="dynamodb")
    event_id: str = msgspec.field(name="eventID", default="")
    event_name: str = ""
    event_version: str = ""
    aws_region: str = ""
    identity: Any = msgspec.field(name="userIdentity", default=None)

    @property
    def place(self) -> int:
        return int(self.change.sequence_number)

    @property
    def sequence_number(self) -> str:
        return self.change.sequence_number

    @property
    def created_s(self) -> float:
        """Epoch seconds."""
        return created_seconds(self.change.created)


def answered_page(_: str, answered: list[Answered]) -> tuple[list[Answered], float]:
    """A page of a shard, of at least one record, and its newest creation time (epoch seconds).

    ValueError where a record has no sequence number or no time.
    """
    numbers = [each.change.sequence_number for each in answered]
    digits = "".join(numbers)
    if not (digits.isascii() and digits.isdigit()) or "" in numbers:
        raise ValueError("a sequence number is no number")
    created = [each.change.created for each in answered]
    if set(map(type, created)) != {float}:
        return answered[:], max(map(created_seconds, created))
    return answered[:], created_seconds(max(created))


class Columns:
    """The columns of what waits for a row group. `held_bytes` is what they take in memory, roughly."""

    def __init__(self) -> None:
        self.held_bytes = 0
        self._numbers: list[str] = []
        self._event_ids: list[str] = []
        self._event_names: list[str] = []
        self._created: list[float | str] = []
        self._keys: list[msgspec.Raw] = []
        self._new_images: list[msgspec.Raw] = []
        self._old_images: list[msgspec.Raw] = []
        self._sizes: list[int | None] = []
        self._identities: list[Any] = []
        self._versions: list[str] = []
        self._regions: list[str] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, records: list[Answered]) -> int:
        """Takes records; returns the bytes that they take."""
        changes = [each.change for each in records]
        keys = [each.keys for each in changes]
        new_images = [each.new_image for each in changes]
        old_images = [each.old_image for each in changes]
        self._numbers += [each.sequence_number for each in changes]
        self._created += [each.created for each in changes]
        self._sizes += [each.size_bytes for each in changes]
        self._keys += keys
        self._new_images += new_images
        self._old_images += old_images
        self._event_ids += [each.event_id for each in records]
        self._event_names += [each.event_name for each in records]
        self._identities += [each.identity for each in records]
        self._versions += [each.event_version for each in records]
        self._regions += [each.aws_region for each in records]
        held = sum(map(len, keys)) + sum(map(len, new_images)) + sum(map(len, old_images))
        held += RECORD_BYTES * len(records)
        self.held_bytes += held
        return held

    def batch(self, shard: str) -> Any:
        """All of it, of at least one record, as Arrow's columns in the order of SCHEMA."""
        keys = _json(self._keys)
        columns = [
            pa.array(self._numbers, pa.string()),
            pa.repeat(shard, len(self)),
            pa.array(self._event_ids, pa.string()),
            _mostly_one(self._event_names),
            _milliseconds(self._created),
            keys,
            _json(self._new_images),
            _json(self._old_images),
            pa.array(self._sizes, pa.int64()),
            _mostly_one([None if each is None else _identity(each) for each in self._identities]),
            _key_hashes(self._keys, keys),
            _mostly_one(self._versions),
            _mostly_one(self._regions),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _json(values: Sequence[msgspec.Raw]) -> Any:
    """A column of JSON as it came; NULL where it is empty."""
    sizes = list(map(len, values))
    offsets = array("i", accumulate(sizes, initial=0))
    absent = sizes.count(0)
    present = pa.array(map(bool, sizes), pa.bool_()).buffers()[1] if absent else None
    buffers = [present, pa.py_buffer(offsets), pa.py_buffer(b"".join(values))]
    column = pa.Array.from_buffers(pa.string(), len(values), buffers, absent)
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        raise ServiceFault("GetRecords answered what is no UTF-8", "Is there a proxy between?") from None
    return column


def _mostly_one(values: Sequence[str | bytes | None]) -> Any:
    """A column of text that is often the same in all rows."""
    first = values[0]
    if values.count(first) == len(values):
        return pa.repeat(pa.scalar(first, pa.string()), len(values))
    return pa.array(values, pa.string())


def _milliseconds(created: Sequence[float | str]) -> Any:
    """A column of times; the service's are whole seconds, so that there are few of them."""
    known = {each: round(created_seconds(each) * 1000) for each in set(created)}
    return pa.array([known[each] for each in created], pa.timestamp("ms", tz="UTC"))


def _identity(told: dict[str, Any]) -> bytes:
    """`userIdentity` in Lambda's spelling."""
    kind, principal = told.get("type") or told.get("Type"), told.get("principalId") or told.get("PrincipalId")
    return msgspec.json.encode({"type": kind, "principalId": principal})


def _key_hashes(keys: Sequence[msgspec.Raw], column: Any) -> Any:
    """A column of `key_hash`."""
    text = column.buffers()[2].to_pybytes()
    # As in `key_digest`, of all at once: a key has six quotation marks or more, and just six where it is one attribute.
    if text.count(b'"') == 6 * len(keys) and not any(each in text for each in (b"\\", b" ", b"\n")):
        digests = [blake2b(each, digest_size=8).digest() for each in keys]
    else:
        digests = [key_digest(bytes(each)) for each in keys]
    if sys.byteorder != "little":
        return pa.array([int.from_bytes(each, "little", signed=True) for each in digests], pa.int64())
    return pa.Array.from_buffers(pa.int64(), len(keys), [None, pa.py_buffer(b"".join(digests))])
