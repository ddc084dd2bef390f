"""Files of an archive in which a bit is turned, wherever it is, and files of before footers had a checksum."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from restrike.archive.columns import Answered, Columns
from restrike.archive.compaction import compact
from restrike.archive.footer import TELLS, Damaged
from restrike.archive.inspection import stat, verify
from restrike.archive.layout import HOUR_S, file_path
from restrike.archive.opened import Opened
from restrike.archive.reader import ArchiveReader
from restrike.archive.schema import SCHEMA, About
from restrike.cli.render.archive import show_verdict
from restrike.model.window import Window
from restrike.stores.folder import LocalFolder
from tests.integration.test_archive_care import ARN, NAME, NOON, A, made_range, packed


@pytest.mark.soak
def test_every_turned_bit_is_found_or_changes_nothing(pytestconfig: pytest.Config) -> None:
    """In a process of its own: the Parquet library may end it, and that is to be seen."""
    count = 20_000 if pytestconfig.getoption("--soak") else 600
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-m", "tests.flips", "1", str(count)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"after {told[-1:]}: {done.stderr[-2000:]}"
    assert len(told) >= count
    assert [each for each in told if each[3] not in ("found", "harmless")] == []
    assert {each[3] for each in told} == {"found", "harmless"}


def as_before(rows: list[Answered]) -> bytes:
    """A data file as they were made before footers had a checksum."""
    columns = Columns()
    columns.add(rows)
    about = About(
        ARN,
        NAME.table,
        A,
        "NEW_AND_OLD_IMAGES",
        {"HASH": "pk"},
        first=rows[0].sequence_number,
        last=rows[-1].sequence_number,
    )
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd", write_page_checksum=True) as writer:
        writer.write_batch(columns.batch(A))
        writer.add_key_value_metadata({"restrike": msgspec.json.encode(about).decode()})
    data: bytes = sink.getvalue().to_pybytes()
    assert TELLS not in data
    return data


def test_files_of_before_are_read_and_verify_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = LocalFolder(tmp_path, create=True)
    for at in (1, 11):
        rows = made_range(at, at + 10)
        store.create(file_path(NAME, NOON, A, at), as_before(rows))

    def places() -> list[int]:
        return [each.place for group in ArchiveReader(store, NAME).read(Window(), {}) for each in group]

    assert places() == list(range(1, 21))
    before = verify(store, [NAME])
    assert (before.problems, before.unchecked, before.as_json()["unchecked"]) == ([], 2, 2)
    show_verdict(before)
    assert "2 files of before" in capsys.readouterr().out
    compact(store, NAME, before_s=(NOON + 100) * HOUR_S)
    after = verify(store, [NAME])
    assert (after.problems, after.files, after.unchecked) == ([], 1, 0)
    assert places() == list(range(1, 21))


def test_whatever_a_footer_of_before_does_to_the_library_the_file_is_named(tmp_path: Path) -> None:
    """Such a footer cannot be checked; what the library raises over it names the file all the same."""
    store = LocalFolder(tmp_path, create=True)
    path = file_path(NAME, NOON, A, 1)
    data = as_before(made_range(1, 11))
    turned = bytearray(data)
    # The name of a column: no UTF-8 any more, which the library only says where it is asked for names.
    turned[data.index(b"event_version", len(data) - int.from_bytes(data[-8:-4], "little"))] ^= 0x80
    store.create(path, bytes(turned))
    with pytest.raises(Damaged, match=path):
        list(ArchiveReader(store, NAME).read(Window(), {}))
    assert path in verify(store, [NAME]).problems[0]
    assert path in stat(store, [NAME], Window()).damaged[0]


@pytest.mark.parametrize("cut", [1, 4, 9, 13, 25])
def test_a_checksum_that_is_cut_out_is_missed(cut: int) -> None:
    data = packed(made_range(1, 11))
    with pytest.raises(Damaged, match=r"the-file: it|the-file: its footer was changed"):
        Opened(pa.BufferReader(data[: -8 - cut] + data[-8:]), "the-file")


def test_other_readers_pass_over_the_checksum() -> None:
    data = packed(made_range(1, 11))
    assert pq.read_table(pa.BufferReader(data)).num_rows == 10
