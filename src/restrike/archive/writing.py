"""A data file that is made: row group by row group, in memory, whole before it is put."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from restrike.archive.columns import REPEATING, Answered, Columns
from restrike.archive.footer import sealed
from restrike.archive.schema import ROW_GROUP_BYTES, ROW_GROUP_RECORDS, SCHEMA, About

BLOOM_FALSE = 0.01


class Writer:
    """A file being made, row group by row group, in memory. `group_records`: about how many a row group will have."""

    def __init__(self, about: About, group_records: int = ROW_GROUP_RECORDS) -> None:
        self._about = about
        self._sink = _Parts()
        options: dict[str, Any] = {
            "compression": "zstd",
            "use_dictionary": REPEATING,
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

    def add_batch(self, batch: Any) -> None:
        """One row group of rows that are columns already."""
        self._writer.write_batch(batch, row_group_size=ROW_GROUP_RECORDS)

    def finish(self, first: str, last: str, follows: str | None = None) -> bytes:
        """The whole file. `follows` is kept as it is in `about` where it is not given."""
        about = msgspec.structs.replace(
            self._about, first=first, last=last, follows=follows or self._about.follows, footer_checksum=True
        )
        self._writer.add_key_value_metadata({"restrike": msgspec.json.encode(about).decode()})
        self._writer.close()
        pa.default_memory_pool().release_unused()  # what this thread would keep for its next file
        return self._sink.whole()


class _Parts(io.RawIOBase):
    """Takes what is written as it comes. A buffer that grows would be moved about between the megabytes of pages that
    come and go, and leave holes in the heap."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def whole(self) -> bytes:
        """All of it, its footer with a checksum; it is not kept."""
        return sealed(self._parts)


class GrowingFile:
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
        self.about = about
        self._numbers = ["", ""]
        self._waiting = Columns()
        self._writer: Writer | None = None

    def add(self, records: list[Answered]) -> int:
        """Takes records, at least one; returns the bytes that they take."""
        first, last = records[0], records[-1]
        if not self.records:
            self.first, self.first_s, self._numbers[0] = first.place, first.created_s, first.sequence_number
        self.last, self.last_s, self._numbers[1] = last.place, last.created_s, last.sequence_number
        held = self._waiting.add(records)
        self.records += len(records)
        self.held_bytes += held
        return held

    @property
    def waiting_bytes(self) -> int:
        return self._waiting.held_bytes

    @property
    def full(self) -> bool:
        """Whether a row group waits to be packed."""
        return self.waiting_bytes >= ROW_GROUP_BYTES or len(self._waiting) >= ROW_GROUP_RECORDS

    def pack(self) -> None:
        """What waits, as a row group."""
        if not len(self._waiting):
            return
        if self._writer is None:
            self._writer = Writer(self.about, len(self._waiting))
        batch = self._waiting.batch(self.about.shard)
        self._waiting = Columns()  # and with the old one go the answers that its keys and images are parts of
        self._writer.add_batch(batch)

    def finish(self, follows: str | None = None) -> bytes:
        """The whole file, behind that number of the shard."""
        self.pack()
        assert self._writer is not None, "a file has records"
        return self._writer.finish(self._numbers[0], self._numbers[1], follows)


def encode(records: Iterable[Answered], about: About) -> bytes:
    """A file of those records, of which there is at least one."""
    growing = GrowingFile(about)
    for each in records:
        growing.add([each])
        if growing.full:
            growing.pack()
    return growing.finish()
