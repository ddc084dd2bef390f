"""What stands in a data file: its columns, what it says of its records together, and how its row groups are cut."""

from __future__ import annotations

from hashlib import blake2b

import msgspec
import pyarrow as pa

FORMAT = "1"
ROW_GROUP_BYTES = 2_000_000  # of keys and images: what a reader holds, and what a look for one key reads
ROW_GROUP_RECORDS = 10_000

SCHEMA = pa.schema(
    [
        pa.field("sequence_number", pa.string(), nullable=False),
        pa.field("shard_id", pa.string(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("event_name", pa.string(), nullable=False),
        pa.field("created_at", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("keys", pa.string(), nullable=False),
        pa.field("new_image", pa.string()),
        pa.field("old_image", pa.string()),
        pa.field("size_bytes", pa.int64()),
        pa.field("user_identity", pa.string()),
        pa.field("key_hash", pa.int64(), nullable=False),
        pa.field("event_version", pa.string(), nullable=False),
        pa.field("aws_region", pa.string(), nullable=False),
    ]
)
"""`keys`, `new_image` and `old_image` are DynamoDB's JSON as GetRecords answered it; `key_hash` is `key_hash(keys)`."""
COLUMNS = SCHEMA.names


def key_hash(keys: bytes) -> int:
    """64 bits of the item's key: the first 8 bytes, little-endian and signed, of BLAKE2b-64 over its JSON with sorted
    names and no white space."""
    return int.from_bytes(key_digest(keys), "little", signed=True)


def key_digest(keys: bytes) -> bytes:
    """The bytes of `key_hash`."""
    # One attribute of plain text is its own canonical form.
    if b"\\" in keys or b" " in keys or b"\n" in keys or keys.count(b'"') != 6:
        keys = msgspec.json.encode(msgspec.json.decode(keys), order="deterministic")
    return blake2b(keys, digest_size=8).digest()


class About(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a file says of the records together; kept in its metadata. `first` and `last` are sequence numbers."""

    stream_arn: str
    table: str
    shard: str
    view_type: str | None
    keys: dict[str, str]
    """The key attributes: HASH and, where there is one, RANGE → name."""
    first: str = ""
    last: str = ""
    follows: str | None = None
    """The last number that the archive held of the shard when the file was put; None for the shard's first file."""
    parent_shard: str | None = None
    format: str = FORMAT
    footer_checksum: bool = False
    """Files of before have none: see `footer`."""
