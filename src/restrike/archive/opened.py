"""A data file that is read: its footer, its row groups, and its records byte for byte as they came."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from restrike.archive.footer import damaged, read_footer
from restrike.archive.schema import COLUMNS, FORMAT, About
from restrike.errors import RestrikeError
from restrike.model.record import Record
from restrike.stores.objects import Changed, ObjectFile, first_line


class Opened:
    """A data file, its footer read. What is wrong with it is Damaged, and names it.

    `checked`: the footer has a checksum, and it is right.
    """

    def __init__(self, source: Any, path: str) -> None:
        self.path = path
        self._source = source
        footer, self.checked = read_footer(source, path)
        with self._naming("it is no whole Parquet file"):
            # Not pre-buffered: Arrow's threads would read for it, and call into an interpreter that may be ending.
            self._file = pq.ParquetFile(
                source,
                metadata=pq.read_metadata(pa.BufferReader(footer)),
                pre_buffer=False,
                page_checksum_verification=True,
            )
            names = self._file.schema_arrow.names
        self.about = self._read_about()
        if names != COLUMNS:
            raise damaged(path, "its columns are not those of an archive")
        self.groups = self._file.num_row_groups
        self.records = self._file.metadata.num_rows

    @contextlib.contextmanager
    def _naming(self, what: str) -> Iterator[None]:
        """Whatever goes wrong with the bytes of the file is Damaged, and names it: a library that reads what nobody has
        checked raises what it likes."""
        try:
            yield
        except (Changed, RestrikeError):
            raise
        except Exception as error:
            raise damaged(self.path, f"{what}: {first_line(error)}") from None

    def _read_about(self) -> About:
        with self._naming("its metadata cannot be read"):
            text = (self._file.metadata.metadata or {}).get(b"restrike")
            if text is None:
                raise damaged(self.path, "it is Parquet, but not of an archive")
            about = msgspec.json.decode(text, type=About)
            _ = int(about.first), int(about.last), int(about.follows or 0)
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
        with self._naming(f"the statistics of row group {group} cannot be read"):
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
        with self._naming(f"row group {group} cannot be read"):
            if isinstance(self._source, ObjectFile):
                chunks = self._file.metadata.row_group(group)
                self._source.hold(*_extent([chunks.column(COLUMNS.index(name)) for name in columns]))
            read = self._file.read_row_group(group, columns=columns, use_threads=False).combine_chunks()
            if not self.checked:
                read.validate(full=True)  # what the footer calls text may be none
            return read

    def group(self, group: int) -> list[Record]:
        """The records of a row group, as Lambda receives them."""
        batch = self.batch(group)
        with self._naming(f"the records of row group {group} cannot be read"):
            return records(batch, self.about)


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
