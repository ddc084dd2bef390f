"""A data file from inside: records as columns, and back, byte for byte in keys and images."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from restrike.errors import SourceLacks
from restrike.model.record import Record, created_seconds
from restrike.stores.objects import ObjectFile

FORMAT = "1"
ROW_GROUP_BYTES = 2_000_000  # of keys and images: what a reader holds, and what a look for one key reads
ROW_GROUP_RECORDS = 10_000
BLOOM_FALSE = 0.01
FOOTER_BYTES = 8192  # fetched at once: the footer of a row group or two

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
_REPEATING = ["shard_id", "event_name", "event_version", "aws_region", "user_identity"]


_ABSENT = msgspec.Raw(b"")


class _Change(msgspec.Struct, gc=False):
    keys: msgspec.Raw = msgspec.field(name="Keys")
    sequence_number: str = msgspec.field(name="SequenceNumber")
    created: float | str = msgspec.field(name="ApproximateCreationDateTime", default=0.0)
    new_image: msgspec.Raw = msgspec.field(name="NewImage", default=_ABSENT)
    old_image: msgspec.Raw = msgspec.field(name="OldImage", default=_ABSENT)
    size_bytes: int | None = msgspec.field(name="SizeBytes", default=None)


class Answered(msgspec.Struct, gc=False, rename="camel"):
    """A record as GetRecords answers it; its images are still parts of that answer."""

    change: _Change = msgspec.field(name="dynamodb")
    event_id: str = msgspec.field(name="eventID", default="")
    event_name: str = ""
    event_version: str = ""
    aws_region: str = ""
    identity: Any = msgspec.field(name="userIdentity", default=None)


class Row(msgspec.Struct, gc=False):
    """A record on its way into a file. `created_s` in epoch seconds, `size_bytes` the service's own figure."""

    place: int
    sequence_number: str
    event_id: str
    event_name: str
    created_s: float
    keys: bytes
    new_image: bytes | None
    old_image: bytes | None
    size_bytes: int | None
    identity: bytes | None
    event_version: str
    aws_region: str

    @property
    def held_bytes(self) -> int:
        """What it takes in memory, roughly."""
        return len(self.keys) + len(self.new_image or b"") + len(self.old_image or b"") + 550


def row(_: str, answered: Answered) -> Row:
    """Of a shard's record as GetRecords answers it."""
    change = answered.change
    number, created = change.sequence_number, change.created
    return Row(
        int(number),
        number,
        answered.event_id,
        answered.event_name,
        created if created.__class__ is float and created < _MILLISECONDS else created_seconds(created),
        bytes(change.keys),
        bytes(change.new_image) or None,
        bytes(change.old_image) or None,
        change.size_bytes,
        None if answered.identity is None else _identity(answered.identity),
        answered.event_version,
        answered.aws_region,
    )


_MILLISECONDS = 1e11  # what is larger is no number of seconds


def _identity(told: dict[str, Any]) -> bytes:
    """`userIdentity` in Lambda's spelling."""
    kind, principal = told.get("type") or told.get("Type"), told.get("principalId") or told.get("PrincipalId")
    return msgspec.json.encode({"type": kind, "principalId": principal})


def key_hash(keys: bytes) -> int:
    """64 bits of the item's key: the first 8 bytes, little-endian and signed, of BLAKE2b-64 over its JSON with sorted
    names and no white space."""
    return int.from_bytes(_digest(keys), "little", signed=True)


def _digest(keys: bytes) -> bytes:
    # One attribute of plain text is its own canonical form.
    if b"\\" in keys or b" " in keys or b"\n" in keys or keys.count(b'"') != 6:
        keys = msgspec.json.encode(msgspec.json.decode(keys), order="deterministic")
    return blake2b(keys, digest_size=8).digest()


def _key_hashes(keys: list[bytes]) -> Any:
    """A column of `key_hash`."""
    if sys.byteorder != "little":
        return pa.array(list(map(key_hash, keys)), pa.int64())
    digests = pa.py_buffer(b"".join(map(_digest, keys)))
    return pa.Array.from_buffers(pa.int64(), len(keys), [None, digests])


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


class Writer:
    """A file being made, row group by row group, in memory. `group_records`: about how many a row group will have."""

    def __init__(self, about: About, group_records: int = ROW_GROUP_RECORDS) -> None:
        self._about = about
        self._sink = io.BytesIO()
        options: dict[str, Any] = {
            "compression": "zstd",
            "use_dictionary": _REPEATING,
            "write_page_checksum": True,
            "write_statistics": ["created_at", "sequence_number", "key_hash"],
            "bloom_filter_options": {
                name: {"ndv": max(1, group_records), "fpp": BLOOM_FALSE} for name in ("key_hash", "keys")
            },
        }
        try:
            self._writer = pq.ParquetWriter(self._sink, SCHEMA, **options)
        except TypeError:  # a pyarrow that cannot write Bloom filters
            del options["bloom_filter_options"]
            self._writer = pq.ParquetWriter(self._sink, SCHEMA, **options)

    def add(self, rows: list[Row]) -> None:
        """One row group."""
        keys = [each.keys for each in rows]
        columns: list[Any] = [
            pa.array([each.sequence_number for each in rows], pa.string()),
            pa.repeat(self._about.shard, len(rows)),
            pa.array([each.event_id for each in rows], pa.string()),
            _mostly_one([each.event_name for each in rows]),
            pa.array([round(each.created_s * 1000) for each in rows], pa.timestamp("ms", tz="UTC")),
            pa.array(keys, pa.string()),
            pa.array([each.new_image for each in rows], pa.string()),
            pa.array([each.old_image for each in rows], pa.string()),
            pa.array([each.size_bytes for each in rows], pa.int64()),
            _mostly_one([each.identity for each in rows]),
            _key_hashes(keys),
            _mostly_one([each.event_version for each in rows]),
            _mostly_one([each.aws_region for each in rows]),
        ]
        self.add_batch(pa.RecordBatch.from_arrays(columns, schema=SCHEMA))

    def add_batch(self, batch: Any) -> None:
        """One row group of rows that are columns already."""
        self._writer.write_batch(batch, row_group_size=ROW_GROUP_RECORDS)

    @property
    def size_bytes(self) -> int:
        """So far."""
        return self._sink.tell()

    def finish(self, first: str, last: str, follows: str | None = None) -> bytes:
        """The whole file. `follows` is kept as it is in `about` where it is not given."""
        about = msgspec.structs.replace(self._about, first=first, last=last, follows=follows or self._about.follows)
        self._writer.add_key_value_metadata({"restrike": msgspec.json.encode(about).decode()})
        self._writer.close()
        pa.default_memory_pool().release_unused()  # what this thread would keep for its next file
        return self._sink.getvalue()


def _mostly_one(values: list[Any]) -> Any:
    """A column of text that is often the same in all rows."""
    first = values[0]
    if values.count(first) == len(values):
        return pa.repeat(pa.scalar(first, pa.string()), len(values))
    return pa.array(values, pa.string())


class RunFile:
    """A run of records that becomes a file. It is packed a row group at a time, so that memory holds the packed bytes
    and what waits for the next row group.

    `first` and `last` are places, `first_s` and `last_s` the creation times of the same records; `held_bytes` is what
    all of its records took before they were packed, `waiting_bytes` what those take that are not yet packed.
    """

    def __init__(self, about: About) -> None:
        self.records = 0
        self.held_bytes = 0
        self.first = self.last = -1
        self.first_s = self.last_s = 0.0
        self._about = about
        self._numbers = ["", ""]
        self._waiting: list[Row] = []
        self.waiting_bytes = 0
        self._writer: Writer | None = None

    def add(self, rows: list[Row]) -> int:
        """Takes rows, at least one; returns the bytes that they take."""
        first, last = rows[0], rows[-1]
        if not self.records:
            self.first, self.first_s, self._numbers[0] = first.place, first.created_s, first.sequence_number
        self.last, self.last_s, self._numbers[1] = last.place, last.created_s, last.sequence_number
        held = sum([each.held_bytes for each in rows])
        self.records += len(rows)
        self.held_bytes += held
        self._waiting += rows
        self.waiting_bytes += held
        return held

    @property
    def full(self) -> bool:
        """Whether a row group waits to be packed."""
        return self.waiting_bytes >= ROW_GROUP_BYTES or len(self._waiting) >= ROW_GROUP_RECORDS

    def pack(self) -> None:
        """What waits, as a row group."""
        if not self._waiting:
            return
        if self._writer is None:
            self._writer = Writer(self._about, len(self._waiting))
        self._writer.add(self._waiting)
        self._waiting, self.waiting_bytes = [], 0

    def finish(self, follows: str | None = None) -> bytes:
        """The whole file, behind that number of the shard."""
        self.pack()
        assert self._writer is not None, "a run has records"
        return self._writer.finish(self._numbers[0], self._numbers[1], follows)


def encode(rows: Iterable[Row], about: About) -> bytes:
    """A file of those rows, of which there is at least one."""
    run = RunFile(about)
    for each in rows:
        run.add([each])
        if run.full:
            run.pack()
    return run.finish()


class Damaged(SourceLacks):
    """A file of an archive that cannot be what its name says."""


class Opened:
    """A data file, its footer read. What is wrong with it is Damaged, and names it."""

    def __init__(self, source: Any, path: str) -> None:
        self.path = path
        self._source = source
        try:
            # Not pre-buffered: Arrow's threads would read for it, and call into an interpreter that may be ending.
            self._file = pq.ParquetFile(
                source, metadata=_footer(source), pre_buffer=False, page_checksum_verification=True
            )
        except (pa.ArrowException, OSError) as error:
            raise damaged(path, f"it is no whole Parquet file: {_first_line(error)}") from None
        self.about = self._read_about()
        names = self._file.schema_arrow.names
        if names != COLUMNS:
            raise damaged(path, "its columns are not those of an archive")
        self.groups = self._file.num_row_groups
        self.records = self._file.metadata.num_rows

    def _read_about(self) -> About:
        text = (self._file.metadata.metadata or {}).get(b"restrike")
        if text is None:
            raise damaged(self.path, "it is Parquet, but not of an archive")
        try:
            about = msgspec.json.decode(text, type=About)
        except msgspec.MsgspecError as error:
            raise damaged(self.path, f"its metadata cannot be read: {error}") from None
        if about.format != FORMAT:
            raise damaged(self.path, f"it has format {about.format}, and this restrike knows {FORMAT}")
        return about

    @property
    def last(self) -> int:
        return int(self.about.last)

    def group_records(self, group: int) -> int:
        return int(self._file.metadata.row_group(group).num_rows)

    def created(self, group: int) -> tuple[float, float] | None:
        """The earliest and latest creation time of a row group, in epoch seconds; None where it does not say."""
        statistics = self._file.metadata.row_group(group).column(COLUMNS.index("created_at")).statistics
        if statistics is None or not statistics.has_min_max:
            return None
        return statistics.min.timestamp(), statistics.max.timestamp()

    def group_bytes(self, group: int) -> int:
        return int(self._file.metadata.row_group(group).total_byte_size)

    def keys(self, group: int) -> list[bytes]:
        """The keys of a row group's records, and nothing else of it."""
        return _bytes(self._batch(group, ["keys"]).column(0))

    def column(self, group: int, name: str) -> list[Any]:
        """One column of a row group, and nothing else of it."""
        values: list[Any] = self._batch(group, [name]).column(0).to_pylist()
        return values

    def batch(self, group: int) -> Any:
        """A row group as columns."""
        return self._batch(group, COLUMNS)

    def _batch(self, group: int, columns: list[str]) -> Any:
        if isinstance(self._source, ObjectFile):
            chunks = self._file.metadata.row_group(group)
            self._source.hold(*_extent([chunks.column(COLUMNS.index(name)) for name in columns]))
        try:
            return self._file.read_row_group(group, columns=columns, use_threads=False).combine_chunks()
        except (pa.ArrowException, OSError) as error:
            raise damaged(self.path, f"row group {group} cannot be read: {_first_line(error)}") from None

    def group(self, group: int) -> list[Record]:
        """The records of a row group, as Lambda receives them."""
        return records(self.batch(group), self.about)


def _footer(source: Any) -> Any:
    """The footer's metadata. pyarrow alone would fetch 64 KB for it, a third of the file of a quiet minute."""
    size = source.size()
    source.seek(max(0, size - FOOTER_BYTES))
    tail = source.read()
    needed = int.from_bytes(tail[-8:-4], "little") + 8  # its length and PAR1 are the last 8 bytes
    if len(tail) < needed <= size:
        source.seek(size - needed)
        tail = source.read(needed - len(tail)) + tail
    return pq.read_metadata(pa.BufferReader(tail))


def _extent(chunks: list[Any]) -> tuple[int, int]:
    """From where to where in the file those column chunks lie; they are beside one another, or far apart."""
    starts = [chunk.dictionary_page_offset or chunk.data_page_offset for chunk in chunks]
    return min(starts), max(start + chunk.total_compressed_size for start, chunk in zip(starts, chunks, strict=True))


def _bytes(column: Any) -> list[Any]:
    values: list[Any] = column.cast(pa.binary()).to_pylist()
    return values


def records(table: Any, about: About, fidelity: Literal["exact"] = "exact") -> list[Record]:
    """Rows as records; keys and images are the very bytes that GetRecords answered."""
    column = {name: table.column(name) for name in COLUMNS}
    head = (
        b'{"eventID":"%b","eventName":"%b","eventVersion":"%b","eventSource":"aws:dynamodb","awsRegion":"%b",'
        b'"dynamodb":{'
    )
    view = b',"StreamViewType":"%b"}' % about.view_type.encode() if about.view_type else b"}"
    tail = b',"eventSourceARN":%b}' % msgspec.json.encode(about.stream_arn)
    found = []
    for number, event_id, name, created_ms, keys, new, old, size, identity, version, region in zip(
        _bytes(column["sequence_number"]),
        _bytes(column["event_id"]),
        _bytes(column["event_name"]),
        column["created_at"].cast(pa.int64()).to_pylist(),
        _bytes(column["keys"]),
        _bytes(column["new_image"]),
        _bytes(column["old_image"]),
        column["size_bytes"].to_pylist(),
        _bytes(column["user_identity"]),
        _bytes(column["event_version"]),
        _bytes(column["aws_region"]),
        strict=True,
    ):
        whole_s, ms = divmod(created_ms, 1000)
        created = b"%d" % whole_s if not ms else b"%d.%03d" % (whole_s, ms)
        raw = b"".join(
            (
                head % (event_id, name, version, region),
                b'"ApproximateCreationDateTime":%b,"Keys":%b' % (created, keys),
                b"" if new is None else b',"NewImage":' + new,
                b"" if old is None else b',"OldImage":' + old,
                b',"SequenceNumber":"%b"' % number,
                b"" if size is None else b',"SizeBytes":%d' % size,
                view,
                b"" if identity is None else b',"userIdentity":' + identity,
                tail,
            )
        )
        text = number.decode()
        found.append(
            Record(
                raw,
                about.shard,
                int(text),
                name.decode(),
                keys,
                text,
                created_ms / 1000,
                about.stream_arn,
                fidelity,
            )
        )
    return found


def damaged(path: str, why: str) -> Damaged:
    return Damaged(
        f"{path}: {why}", "Restore it from a copy, or leave it out with --allow-gaps; see: restrike archive verify"
    )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
