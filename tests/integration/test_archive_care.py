"""An archive that is looked after while others read it: nothing is lost, nothing is read twice, what is wrong is told.

Each test runs on a local folder and on S3. The archives are synthetic: `Archive.put` writes a data file of small row
groups.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restrike.archive import compaction, reader
from restrike.archive.columns import Answered, Change, Columns
from restrike.archive.compaction import Compacted, compact
from restrike.archive.inspection import Verdict, stat, verify
from restrike.archive.layout import HOUR_S, DataFile, StreamName, data_file, file_path, hour_folder, hour_of
from restrike.archive.opened import Opened
from restrike.archive.places import last_files, opened
from restrike.archive.pruning import prune
from restrike.archive.reader import ArchiveReader, open_archive, streams_in
from restrike.archive.schema import COLUMNS, SCHEMA, About
from restrike.archive.state import KEPT_S, CaptureState, KnownGap, ShardState, encoded, write_gap
from restrike.archive.writing import Writer, encode
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.aws.streams import records_decoder
from restrike.errors import SourceLacks, UsageError
from restrike.model.record import Record, read_record
from restrike.model.window import Gap, Window
from restrike.sources.archive.reading import ArchiveSource
from restrike.stores import open_store
from restrike.stores.folder import LocalFolder
from restrike.stores.objects import Changed, Object, ObjectFile, Store
from tests.servers.ministack import MiniStack

NAME = StreamName("t", "2026-11-23T00:00:00.000")
ARN = f"arn:aws:dynamodb:us-east-1:000000000000:table/{NAME.table}/stream/{NAME.label}"
NOON = 494_412  # an hour of 2026, in hours since 1970
A, B = "shardId-a", "shardId-b"
GROUP = 3  # records of a row group
BEFORE_S = (NOON + 100) * HOUR_S
EVERYTHING = Window()

_counter = itertools.count()


def made(place: int, created_s: float, *, size: int = 10, key: str | None = None) -> Answered:
    """A record of one item, whose images are filled up to about that many bytes."""
    pk = key or f"k{place % 7}"
    keys = b'{"pk":{"S":"%b"}}' % pk.encode()
    image = b'{"pk":{"S":"%b"},"n":{"N":"%d"},"filling":{"S":"%b"}}' % (pk.encode(), place, b"x" * size)
    change = Change(msgspec.Raw(keys), f"{place:021d}", created_s, msgspec.Raw(image), size_bytes=10)
    return Answered(change, f"id{place}", "MODIFY", "1.1", "us-east-1")


def made_range(first: int, end: int, hour: int = NOON, *, size: int = 10) -> list[Answered]:
    """Records of one hour, numbered from `first` to before `end`."""
    return [made(place, hour * HOUR_S + place % HOUR_S, size=size) for place in range(first, end)]


def packed(
    rows: Sequence[Answered],
    shard: str = A,
    *,
    group: int = GROUP,
    parent: str | None = None,
    follows: str | None = None,
) -> bytes:
    """A data file of row groups of that many records."""
    about = About(ARN, NAME.table, shard, "NEW_AND_OLD_IMAGES", {"HASH": "pk"}, parent_shard=parent)
    writer = Writer(about, group)
    for at in range(0, len(rows), group):
        columns = Columns()
        columns.add(list(rows[at : at + group]))
        writer.add_batch(columns.batch(shard))
    return writer.finish(rows[0].sequence_number, rows[-1].sequence_number, follows)


class Archive:
    """An archive of one stream."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.written: dict[str, list[int]] = {}

    def put(
        self,
        rows: Sequence[Answered],
        shard: str = A,
        *,
        group: int = GROUP,
        path: str | None = None,
        follows: str | None = None,
    ) -> str:
        """Puts a file, as a capture does; its path."""
        where = path or file_path(NAME, hour_of(rows[0].created_s), shard, rows[0].place)
        assert self.store.create(where, packed(rows, shard, group=group, follows=follows))
        self.written.setdefault(shard, []).extend(each.place for each in rows)
        return where

    def put_files(self, count: int, *, shard: str = A, first: int = 1, records: int = 7, hour: int = NOON) -> list[str]:
        """Puts that many files, one behind the other."""
        return [
            self.put(made_range(at, at + records, hour), shard) for at in range(first, first + count * records, records)
        ]

    def files(self) -> list[DataFile]:
        found = [data_file(each.path, each.size_bytes, each.etag) for each in self.store.objects(NAME.folder)]
        return [each for each in found if each is not None]

    def paths(self) -> list[str]:
        return [each.path for each in self.files()]

    def compact(self, **options: Any) -> Compacted:
        return compact(self.store, NAME, **{"before_s": BEFORE_S, **options})

    def verify(self) -> Verdict:
        return verify(self.store, [NAME])

    def read(self, window: Window = EVERYTHING, after: dict[str, int] | None = None) -> list[Record]:
        return [each for group in ArchiveReader(self.store, NAME).read(window, after or {}) for each in group]

    def assert_holds(self, records: Iterable[Record]) -> None:
        """Just the records that were written, each once, those of a shard in order."""
        found: dict[str, list[int]] = {}
        for each in records:
            found.setdefault(each.shard, []).append(each.place)
        assert found == self.written

    def assert_as_it_should_be(self) -> None:
        """Read and verified, with nothing left to clean up."""
        self.assert_holds(self.read())
        verdict = self.verify()
        assert (verdict.problems, verdict.covered) == ([], [])
        assert verdict.records == sum(map(len, self.written.values()))


Fresh = Callable[[], Archive]


@pytest.fixture(scope="module")
def bucket(ministack: MiniStack) -> str:
    ministack.client("s3").create_bucket(Bucket="archive-care")
    return "archive-care"


@pytest.fixture(params=["local", "s3"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fresh:
    """Makes empty archives, on a local disk or in S3."""
    if request.param == "local":
        return lambda: Archive(open_store(str(tmp_path / f"archive-{next(_counter)}"), aws, create=True))
    stack: MiniStack = request.getfixturevalue("ministack")
    bucket: str = request.getfixturevalue("bucket")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", stack.endpoint_url)
    return lambda: Archive(open_store(f"s3://{bucket}/archive-{next(_counter)}", aws))


@pytest.fixture
def archive(fresh: Fresh) -> Archive:
    return fresh()


@pytest.fixture
def local(tmp_path: Path) -> Archive:
    return Archive(open_store(str(tmp_path / "local"), aws, create=True))


@pytest.fixture(autouse=True)
def small_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merged files have several row groups too, so that a reader can be in the middle of one."""
    monkeypatch.setattr(compaction, "ROW_GROUP_RECORDS", 4)


def aws() -> Aws:
    return Aws(AwsSettings(region="us-east-1"))


class Killed(BaseException):
    """What the killed process would have done after this does not happen."""


class Around:
    """A store with something around it; whatever is not told here is the store's."""

    def __init__(self, store: Store) -> None:
        self.inner = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    @property
    def as_store(self) -> Store:
        return cast(Store, self)


class Dying(Around):
    """Is killed when it would delete the file with that number."""

    def __init__(self, store: Store, deletes: int) -> None:
        super().__init__(store)
        self.left = deletes

    def delete(self, path: str) -> None:
        if not self.left:
            raise Killed
        self.left -= 1
        self.inner.delete(path)


class Recording(Around):
    """Writes nothing, and knows what would have been written."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.steps: list[tuple[str, bytes | None]] = []

    def replace(self, path: str, data: bytes, etag: str) -> str | None:
        self.steps.append((path, data))
        return "written"

    def delete(self, path: str) -> None:
        self.steps.append((path, None))


class Interrupted(Around):
    """Does something else before each of a reader's requests. Knows what it was asked for."""

    def __init__(self, store: Store, before: Callable[[int], None] = lambda _: None) -> None:
        super().__init__(store)
        self.before = before
        self.requests = 0
        self.listed: list[str] = []
        self.ranges: list[str] = []

    def _next(self) -> None:
        self.before(self.requests)
        self.requests += 1

    def read_range(self, found: Object, start: int, end: int) -> bytes:
        self._next()
        self.ranges.append(found.path)
        return self.inner.read_range(found, start, end)

    def objects(self, folder: str) -> list[Object]:
        self._next()
        self.listed.append(folder)
        return self.inner.objects(folder)

    def folders(self, folder: str) -> list[str]:
        self._next()
        self.listed.append(folder)
        return self.inner.folders(folder)


def steps_of(archive: Archive, **options: Any) -> list[tuple[str, bytes | None]]:
    """What a compaction would write and delete, in order."""
    recording = Recording(archive.store)
    compact(recording.as_store, NAME, **{"before_s": BEFORE_S, **options})
    return recording.steps


def do(archive: Archive, step: tuple[str, bytes | None]) -> None:
    path, data = step
    if data is None:
        archive.store.delete(path)
        return
    (now,) = [each for each in archive.store.objects(path.rpartition("/")[0]) if each.path == path]
    assert archive.store.replace(path, data, now.etag) is not None


# ── what compaction makes of an archive ──────────────────────────────────────────────────────────────────────


def test_merged_files_hold_the_same_records_byte_for_byte(archive: Archive) -> None:
    archive.put_files(5)
    archive.put_files(3, shard=B, first=1_000)
    archive.put_files(2, first=36, hour=NOON + 1)
    before = archive.read()
    size_bytes = sum(each.size_bytes for each in archive.files())

    done = archive.compact()

    assert (done.merges, done.files_before, done.files_after, done.left) == (3, 10, 3, 0)
    assert done.bytes_before == size_bytes
    assert done.bytes_after == sum(each.size_bytes for each in archive.files())
    assert archive.paths() == [
        file_path(NAME, NOON, A, 1),
        file_path(NAME, NOON, B, 1_000),
        file_path(NAME, NOON + 1, A, 36),
    ]
    assert archive.read() == before
    archive.assert_as_it_should_be()
    steps = steps_of(archive)
    assert archive.compact() == Compacted()
    assert steps == []


def test_a_merged_file_knows_its_row_groups_and_its_last_record(archive: Archive) -> None:
    archive.put_files(3)
    archive.compact()
    (file,) = archive.files()
    found, _ = opened(archive.store, file)
    assert (found.about.first, found.about.last) == (f"{1:021d}", f"{21:021d}")
    assert found.records == 21
    assert found.groups > 3
    assert last_files(archive.store, NAME, {A: 0}, NOON * HOUR_S) == {A: file}


def test_the_target_size_is_heeded(archive: Archive) -> None:
    archive.put_files(12)
    largest = max(each.size_bytes for each in archive.files())
    target_bytes = int(largest * 3.5)

    done = archive.compact(target_bytes=target_bytes)

    assert (done.files_before, done.files_after) == (12, 4)
    assert all(each.size_bytes <= target_bytes for each in archive.files())
    archive.assert_as_it_should_be()


def test_files_that_are_large_enough_are_left(archive: Archive) -> None:
    large = [archive.put(made_range(first, first + 200)) for first in (1, 201)]
    small = [archive.put(made_range(first, first + 2)) for first in (401, 403)]
    sizes = {each.path: each.size_bytes for each in archive.files()}
    assert sizes[small[0]] + sizes[small[1]] < sizes[large[0]]
    etags = {each.path: each.etag for each in archive.files()}

    archive.compact(target_bytes=sizes[large[0]])

    now = {each.path: each.etag for each in archive.files()}
    assert set(now) == {*large, small[0]}
    assert {path: now[path] for path in large} == {path: etags[path] for path in large}
    archive.assert_as_it_should_be()


def test_hours_that_are_too_young_are_left(archive: Archive) -> None:
    for hour in range(3):
        archive.put_files(2, first=1 + 14 * hour, hour=NOON + hour)
    done = archive.compact(before_s=(NOON + 2) * HOUR_S)
    assert (done.merges, done.files_before) == (2, 4)
    assert [each.hour - NOON for each in archive.files()] == [0, 1, 2, 2]
    assert archive.compact(before_s=(NOON + 3) * HOUR_S - 1).merges == 0
    assert archive.compact(before_s=(NOON + 3) * HOUR_S).merges == 1
    archive.assert_as_it_should_be()


@pytest.mark.parametrize("beside", [-1, 1])
def test_what_lies_in_the_hour_beside_is_not_merged_over(archive: Archive, beside: int) -> None:
    """A straggler between two files of an hour is filed under another: what is before and behind it stays apart."""
    archive.put(made_range(1, 4))
    archive.put(made_range(4, 7))
    straggler = archive.put(made_range(7, 9, NOON + beside))
    archive.put(made_range(9, 12))
    archive.put(made_range(12, 15))
    archive.put(made_range(1_000, 1_003), B)
    archive.put(made_range(1_003, 1_006), B)
    before = archive.read()

    archive.compact()

    assert Counter(each.shard for each in archive.files()) == {A: 3, B: 1}
    assert straggler in archive.paths()
    assert file_path(NAME, NOON, A, 9) in archive.paths()
    assert archive.read() == before
    archive.assert_as_it_should_be()


def test_a_child_is_read_behind_its_parent_also_when_both_are_merged(archive: Archive) -> None:
    archive.put_files(3, records=4)
    for first in (13, 17):
        rows = made_range(first, first + 4)
        where = file_path(NAME, NOON, B, first)
        assert archive.store.create(where, packed(rows, B, parent=A))
        archive.written.setdefault(B, []).extend(each.place for each in rows)
    archive.compact()
    assert len(archive.files()) == 2
    assert [each.place for each in archive.read()] == list(range(1, 21))
    archive.assert_as_it_should_be()


# ── a compaction that is killed ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("deletes", range(4))
@pytest.mark.parametrize("grown", [False, True], ids=["as-it-is", "grown"])
def test_what_a_killed_compaction_leaves_is_fine(archive: Archive, deletes: int, grown: bool) -> None:
    paths = archive.put_files(5)
    with pytest.raises(Killed):
        compact(Dying(archive.store, deletes).as_store, NAME, before_s=BEFORE_S)
    assert archive.paths() == [paths[0], *paths[1 + deletes :]]
    if grown:
        archive.put_files(2, first=36)

    archive.assert_holds(archive.read())
    verdict = archive.verify()
    assert verdict.problems == []
    assert [each.removeprefix(f"{archive.store.uri}/") for each in verdict.covered] == paths[1 + deletes :]
    for place in range(36):
        assert [each.place for each in archive.read(after={A: place})] == archive.written[A][place:]
    last = last_files(archive.store, NAME, {A: 0}, NOON * HOUR_S)[A]
    assert opened(archive.store, last)[0].last == archive.written[A][-1]

    archive.compact()
    assert archive.paths() == paths[:1]
    archive.assert_as_it_should_be()


@pytest.mark.parametrize("deletes", range(3))
@pytest.mark.parametrize("grown", [0, 1, 3])
def test_a_killed_compaction_of_files_near_the_target_is_cleaned_up_too(
    archive: Archive, deletes: int, grown: int
) -> None:
    """What is covered is no reason to begin another merged file, however large the one is that covers it."""
    for first in range(1, 161, 40):
        archive.put(made_range(first, first + 40), group=40)
    target_bytes = sum(each.size_bytes for each in archive.files())
    with pytest.raises(Killed):
        compact(Dying(archive.store, deletes).as_store, NAME, before_s=BEFORE_S, target_bytes=target_bytes)
    if grown:
        for first in range(161, 161 + 40 * grown, 40):
            archive.put(made_range(first, first + 40), group=40)
    archive.assert_holds(archive.read())
    # So that the merged file has no room for what it covers.
    merged = max(archive.files(), key=lambda each: each.size_bytes)
    archive.compact(target_bytes=merged.size_bytes + 1)
    archive.assert_as_it_should_be()


def test_compactions_that_are_killed_again_and_again_come_to_an_end(archive: Archive) -> None:
    archive.put_files(9)
    archive.put_files(4, shard=B, first=1_000)
    for deletes in (0, 1, 0, 2, 1):
        with contextlib.suppress(Killed):
            compact(Dying(archive.store, deletes).as_store, NAME, before_s=BEFORE_S)
        archive.assert_holds(archive.read())
        assert archive.verify().problems == []
    archive.compact()
    assert len(archive.files()) == 2
    archive.assert_as_it_should_be()


# ── readers while it runs ────────────────────────────────────────────────────────────────────────────────────


def test_a_reader_sees_every_record_once_when_all_is_merged_after_any_of_its_groups(fresh: Fresh) -> None:
    turn = 0
    ended = False
    while not ended:
        archive = fresh()
        archive.put_files(3)
        archive.put_files(2, shard=B, first=11, hour=NOON)
        before = {each.place: each for each in archive.read()}
        reading = ArchiveReader(archive.store, NAME).read(EVERYTHING, {})
        seen = [each for group in itertools.islice(reading, turn) for each in group]
        ended = len(seen) == len(archive.written[A]) + len(archive.written[B])
        assert archive.compact().merges == 2
        seen += [each for group in reading for each in group]
        archive.assert_holds(seen)
        assert all(each.raw in (before[each.place].raw, each.raw) for each in seen)
        turn += 1
    assert turn > 12


@pytest.mark.soak
@pytest.mark.parametrize("pace", [1, 100], ids=["step-by-step", "at-once"])
@pytest.mark.parametrize("look_ahead", [1, 200])
def test_a_reader_sees_every_record_once_whichever_of_its_requests_a_merge_falls_between(
    fresh: Fresh, pace: int, look_ahead: int, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    """From each of the reader's requests on, a compaction does its next steps before each request. (In S3, unless this
    is to take long, from each third: a reader that asks the same asks it there in the same order.)"""
    monkeypatch.setattr(reader, "LOOK_AHEAD", look_ahead)

    def scene() -> Archive:
        archive = fresh()
        archive.put_files(3, records=4)
        archive.put_files(2, shard=B, first=100, records=4)
        archive.put_files(2, first=13, records=4, hour=NOON + 1)
        return archive

    whole = scene().store
    undisturbed = Interrupted(whole)
    list(ArchiveReader(undisturbed.as_store, NAME).read(EVERYTHING, {}))
    assert undisturbed.requests > 15
    at_each = isinstance(whole, LocalFolder) or pytestconfig.getoption("--soak")
    for start in range(0, undisturbed.requests + 1, 1 if at_each else 3):
        archive = scene()
        steps = steps_of(archive)
        assert len(steps) == 7

        def work(request: int, archive: Archive = archive, steps: list[Any] = steps, start: int = start) -> None:
            if request >= start:
                for step in steps[:pace]:
                    do(archive, step)
                del steps[:pace]

        store = Interrupted(archive.store, work)
        archive.assert_holds(
            each for group in ArchiveReader(store.as_store, NAME).read(EVERYTHING, {}) for each in group
        )


@st.composite
def _scenes(draw: st.DrawFn) -> tuple[list[list[int]], list[int], int]:
    """The sizes of each shard's files; the reader's requests before which the next step of a compaction is done; and
    how large merged files become."""
    shards = draw(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=2))
    moments = draw(st.lists(st.integers(0, 40), max_size=12))
    return shards, sorted(moments), draw(st.sampled_from([1 << 30, 12_000, 25_000]))


@given(scene=_scenes(), place=st.integers(0, 20))
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
def test_whatever_the_files_a_reader_sees_every_record_once(
    fresh: Fresh, scene: tuple[list[list[int]], list[int], int], place: int
) -> None:
    shards, moments, target_bytes = scene
    archive = fresh()
    for number, sizes in enumerate(shards):
        at = 1 + number
        for hour, size in enumerate(sizes):
            # Every third file begins another hour.
            archive.put(made_range(at, at + size, NOON + hour // 3), f"shardId-{number}")
            at += size
    steps = steps_of(archive, target_bytes=target_bytes)

    def work(request: int) -> None:
        while moments and moments[0] <= request and steps:
            moments.pop(0)
            do(archive, steps.pop(0))

    store = Interrupted(archive.store, work)
    after = {"shardId-0": place}
    seen = [each for group in ArchiveReader(store.as_store, NAME).read(EVERYTHING, after) for each in group]
    archive.written = {
        shard: kept for shard, all_ in archive.written.items() if (kept := [n for n in all_ if n > after.get(shard, 0)])
    }
    archive.assert_holds(seen)


def test_a_reader_with_a_key_sees_its_records_once_while_files_are_merged(fresh: Fresh) -> None:
    wanted = {n for n in range(1, 43) if n % 7 == 3}

    def wants_key(keys: bytes) -> bool:
        return keys == b'{"pk":{"S":"k3"}}'

    for turn in range(len(wanted) + 1):
        archive = fresh()
        archive.put_files(6)
        reading = ArchiveReader(archive.store, NAME).read(EVERYTHING, {}, wants_key)
        seen = [each.place for group in itertools.islice(reading, turn) for each in group]
        archive.compact()
        seen += [each.place for group in reading for each in group]
        assert seen == sorted(wanted)


def test_readers_see_every_record_once_while_a_real_compaction_runs(fresh: Fresh) -> None:
    """Not step by step: a compaction in a thread of its own, and readers that list and open what it renames."""
    archive = fresh()
    shards = 6 if isinstance(archive.store, LocalFolder) else 3
    for number in range(shards):
        archive.put_files(8, shard=f"shardId-{number}", first=1 + 1_000 * number, records=2)
    with ThreadPoolExecutor(1) as pool:
        compacting = pool.submit(archive.compact)
        readings = 0
        while not compacting.done():
            archive.assert_holds(archive.read())
            verdict = archive.verify()
            assert (verdict.problems, verdict.records) == ([], 16 * shards)
            readings += 1
        assert compacting.result().merges == shards
    assert readings > 0
    archive.assert_as_it_should_be()


@pytest.mark.parametrize("where", ["footer", "row group"])
def test_a_change_arrives_through_pyarrow_as_a_change(archive: Archive, where: str) -> None:
    path = archive.put(made_range(1, 3_000, size=100), group=1_000)
    (file,) = archive.files()
    source = ObjectFile(archive.store, Object(file.path, file.size_bytes, file.etag))
    found = Opened(source, path) if where == "row group" else None
    assert archive.store.replace(path, packed(made_range(1, 5)), file.etag) is not None
    with pytest.raises(Changed):
        opened(archive.store, file) if found is None else found.batch(1)
    archive.store.delete(path)
    with pytest.raises(Changed):
        opened(archive.store, file) if found is None else found.keys(2)


def test_a_file_that_is_gone_for_good_is_told(archive: Archive) -> None:
    for skips_damaged in (False, True):
        path = archive.put(made_range(1, 5))
        reading = ArchiveReader(archive.store, NAME, skips_damaged=skips_damaged)
        groups = reading.read(EVERYTHING, {})
        assert len(next(groups)) == GROUP
        archive.store.delete(path)
        if skips_damaged:
            assert list(groups) == []
            assert ["it is gone" in gap.why and path in gap.why for gap in reading.gaps] == [True]
        else:
            with pytest.raises(SourceLacks, match=f"{path}: it is gone"):
                list(groups)


# ── a capture and another compaction beside it ───────────────────────────────────────────────────────────────


class Busy(Around):
    """While a compaction is at work, something else is done before each of its writes."""

    def __init__(self, store: Store, before: Callable[[], object]) -> None:
        super().__init__(store)
        self.before = before

    def replace(self, path: str, data: bytes, etag: str) -> str | None:
        self.before()
        return self.inner.replace(path, data, etag)

    def delete(self, path: str) -> None:
        self.before()
        self.inner.delete(path)


def test_files_that_a_capture_creates_meanwhile_are_left_for_the_next_time(archive: Archive) -> None:
    archive.put_files(4)
    following = itertools.count(29, 7)

    def another() -> None:
        archive.put_files(1, first=next(following))
        last = last_files(archive.store, NAME, {A: 0}, NOON * HOUR_S)[A]
        assert opened(archive.store, last)[0].last == archive.written[A][-1]
        archive.assert_holds(archive.read())

    done = compact(Busy(archive.store, another).as_store, NAME, before_s=BEFORE_S)
    assert (done.files_before, done.files_after, done.left) == (4, 1, 0)
    assert len(archive.files()) == 5
    archive.assert_as_it_should_be()
    assert archive.compact().files_before == 5
    archive.assert_as_it_should_be()


def test_a_second_compaction_is_refused_on_a_disk(local: Archive) -> None:
    local.put_files(4)

    def second() -> None:
        with pytest.raises(UsageError, match="another compaction"):
            local.compact()

    assert compact(Busy(local.store, second).as_store, NAME, before_s=BEFORE_S).merges == 1
    local.assert_as_it_should_be()


@pytest.mark.parametrize("moment", range(4))
def test_of_two_compactions_at_once_in_s3_one_leaves_the_run(
    fresh: Fresh, moment: int, request: pytest.FixtureRequest
) -> None:
    """The second begins before one of the first one's writes, and does all it can; nothing is locked."""
    archive = fresh()
    if isinstance(archive.store, LocalFolder):
        archive.store.lock = Store.lock.__get__(archive.store)  # type: ignore[method-assign]
    archive.put_files(4)
    archive.put_files(3, shard=B, first=1_000)
    writes = itertools.count()
    second: list[Compacted] = []

    def work() -> None:
        if next(writes) == moment:
            second.append(archive.compact())
            archive.assert_holds(archive.read())

    first = compact(Busy(archive.store, work).as_store, NAME, before_s=BEFORE_S)
    assert first.merges + first.left == 2
    # The hour was listed before the second began: what that has merged is not as it was.
    assert first.left == (2 if moment == 0 else 1)
    assert len(second) == 1
    archive.assert_holds(archive.read())
    archive.compact()
    assert len(archive.files()) == 2
    archive.assert_as_it_should_be()


# ── verify ───────────────────────────────────────────────────────────────────────────────────────────────────


def only_problem(archive: Archive, path: str) -> str:
    """The one thing that is wrong; it names the file."""
    (problem,) = archive.verify().problems
    assert path in problem
    return problem


def test_an_archive_without_fault_is_called_so(archive: Archive) -> None:
    archive.put_files(3)
    archive.put_files(2, shard=B, first=100, hour=NOON + 1)
    verdict = archive.verify()
    assert verdict == Verdict(files=5, records=35)
    assert verdict.as_json()["ok"] is True


@pytest.mark.parametrize("kept", [0, 3, 100, -4, -1])
def test_a_file_that_was_cut_off_is_found(archive: Archive, kept: int) -> None:
    data = packed(made_range(1, 40))
    path = file_path(NAME, NOON, A, 1)
    assert archive.store.create(path, data[:kept])
    archive.put_files(1, first=40)
    assert "it is no whole Parquet file" in only_problem(archive, path)
    assert archive.verify().files == 1


def test_bytes_that_were_turned_are_found(archive: Archive) -> None:
    data = bytearray(packed(made_range(1, 400, size=50), group=400))
    for at in range(2_000, 2_400):
        data[at] ^= 0xFF
    path = file_path(NAME, NOON, A, 1)
    assert archive.store.create(path, bytes(data))
    assert archive.verify().problems
    assert all(path in problem for problem in archive.verify().problems)


def foreign() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1, 2]}), sink)
    return sink.getvalue()


def test_foreign_parquet_is_found(archive: Archive) -> None:
    path = file_path(NAME, NOON, A, 1)
    assert archive.store.create(path, foreign())
    assert "it is Parquet, but not of an archive" in only_problem(archive, path)


def test_other_columns_are_found(archive: Archive) -> None:
    path = file_path(NAME, NOON, A, 1)
    assert archive.store.create(path, packed(made_range(1, 3)))
    (file,) = archive.files()
    about = msgspec.structs.replace(opened(archive.store, file)[0].about, footer_checksum=False)
    table = pa.table({"sequence_number": ["1"]}).replace_schema_metadata({"restrike": msgspec.json.encode(about)})
    sink = io.BytesIO()
    pq.write_table(table, sink)
    assert archive.store.replace(path, sink.getvalue(), file.etag) is not None
    assert "its columns are not those of an archive" in only_problem(archive, path)


@pytest.mark.parametrize("name", ["part-0.parquet", f"{A}.17.parquet", f"{A}.{1:040d}.copy.parquet", ".parquet"])
def test_a_name_that_is_none_is_found(archive: Archive, name: str) -> None:
    path = f"{hour_folder(NAME, NOON)}/{name}"
    archive.put(made_range(1, 3), path=path)
    archive.put_files(1, first=3)
    assert "its name is not that of a data file" in only_problem(archive, path)


@pytest.mark.parametrize(("shard", "first"), [(A, 2), (B, 1), (A, 0)])
def test_a_name_that_is_another_files_is_found(archive: Archive, shard: str, first: int) -> None:
    path = archive.put(made_range(1, 3), path=file_path(NAME, NOON, shard, first))
    assert f"{A} from" in only_problem(archive, path)


def test_a_file_of_another_stream_is_found(archive: Archive) -> None:
    other = StreamName("other", NAME.label)
    archive.put_files(1)
    path = file_path(other, NOON, A, 1)
    archive.put(made_range(1, 3), path=path)
    (problem,) = verify(archive.store, [other]).problems
    assert path in problem
    assert "records of t " in problem


def test_what_is_no_data_file_at_all_is_nobodys_business(archive: Archive) -> None:
    archive.put_files(1)
    for name in ("_SUCCESS", "notes.txt", ".parquet.crc"):
        archive.store.create(f"{hour_folder(NAME, NOON)}/{name}", b"x")
    assert archive.verify().problems == []
    archive.assert_holds(archive.read())


def test_records_that_are_out_of_order_are_found(archive: Archive) -> None:
    rows = made_range(1, 6)
    path = archive.put([rows[0], rows[2], rows[1], rows[3], rows[4]])
    assert "record 2: it is not behind the one before it" in only_problem(archive, path)


def test_a_record_that_is_twice_in_a_file_is_found(archive: Archive) -> None:
    rows = made_range(1, 6)
    path = archive.put([*rows[:4], rows[3], rows[4]])
    assert "record 4: it is not behind the one before it" in only_problem(archive, path)


def test_records_that_are_in_two_files_are_found(archive: Archive) -> None:
    before = archive.put(made_range(1, 8))
    path = archive.put(made_range(5, 12))
    archive.put_files(1, first=12)
    problem = only_problem(archive, path)
    assert before in problem
    # Read, they are there once all the same.
    assert [each.place for each in archive.read()] == list(range(1, 19))


def test_a_part_that_is_not_what_covers_it_is_found(archive: Archive) -> None:
    """A file within the numbers of another is covered only if the other has each of its records."""
    rows = made_range(1, 10)
    archive.put([each for each in rows if each.place != 5])
    path = archive.put(rows[3:6])
    assert path in only_problem(archive, path)
    (named,) = archive.compact().damaged
    assert path in named
    assert "it holds other records" in named
    assert path in archive.paths()


def test_a_file_that_lies_in_two_hours_is_found(archive: Archive) -> None:
    archive.put(made_range(1, 8))
    path = archive.put(made_range(1, 8), path=file_path(NAME, NOON + 1, A, 1))
    assert path in only_problem(archive, path)


@pytest.mark.parametrize("beside", [-1, 1, 24])
def test_a_wrong_folder_is_found(archive: Archive, beside: int) -> None:
    path = archive.put(made_range(1, 4), path=file_path(NAME, NOON + beside, A, 1))
    problems = archive.verify().problems
    assert "the first is of another hour than its folder" in problems[0]
    assert all(path in problem for problem in problems)


def test_a_record_of_a_later_hour_is_found_and_a_straggler_is_fine(archive: Archive) -> None:
    rows = made_range(1, 8)
    early, late = (NOON - 1) * HOUR_S + 3_599, (NOON + 1) * HOUR_S
    archive.put([rows[0], made(rows[1].place, early), *rows[2:4]])
    assert archive.verify().problems == []
    path = archive.put([rows[4], made(rows[5].place, late), rows[6]])
    assert "it is of a later hour than its folder" in only_problem(archive, path)


def rewritten(archive: Archive, path: str, column: str, values: list[Any]) -> None:
    """The file with another column."""
    (file,) = [each for each in archive.files() if each.path == path]
    found, _ = opened(archive.store, file)
    at = COLUMNS.index(column)
    table = pa.table(found.batch(0)).set_column(at, SCHEMA.field(at), pa.array(values, SCHEMA.field(at).type))
    writer = Writer(found.about, 10)
    for batch in table.to_batches():
        writer.add_batch(batch)
    assert archive.store.replace(path, writer.finish(found.about.first, found.about.last), file.etag) is not None


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("key_hash", [1, 2, 3], "its key and its key_hash differ"),
        ("shard_id", [A, B, A], f"it is of shard {B}"),
        ("new_image", ["{}", "{", "{}"], "an image is no JSON object"),
        ("old_image", [None, "[1]", None], "an image is no JSON object"),
        ("sequence_number", ["1", "2", "4"], "ends with 4, and says"),
    ],
)
def test_columns_that_cannot_be_are_found(archive: Archive, column: str, values: list[Any], said: str) -> None:
    path = archive.put(made_range(1, 4))
    rewritten(archive, path, column, values)
    problems = archive.verify().problems
    assert said in problems[0]
    assert len(problems) == (3 if column == "key_hash" else 1)
    assert all(path in problem for problem in problems)


def test_a_child_that_begins_before_its_parent_ends_is_found(archive: Archive) -> None:
    archive.put(made_range(1, 8))
    path = file_path(NAME, NOON, B, 6)
    assert archive.store.create(path, packed(made_range(6, 12), B, parent=A))
    assert f"begins before its parent {A} ends" in only_problem(archive, path)


def known_gap(from_s: float, to_s: float, shards: tuple[str, ...] = (A,)) -> KnownGap:
    return KnownGap(ARN, from_s, to_s, shards, "no capture ran")


def test_known_gaps_are_listed(archive: Archive) -> None:
    archive.put_files(1)
    late, early = (known_gap((NOON + at) * HOUR_S, (NOON + at + 1) * HOUR_S) for at in (9, 2))
    for gap in (late, early, early):
        write_gap(archive.store, NAME, gap)
    verdict = archive.verify()
    assert (verdict.problems, verdict.gaps) == ([], [early, late])
    told = verdict.as_json()
    assert told["ok"] is True
    assert [each["from"] for each in told["gaps"]] == ["2026-05-27T14:00:00Z", "2026-05-27T21:00:00Z"]


def test_a_verification_beside_a_compaction_finds_nothing_wrong(fresh: Fresh) -> None:
    start = 0
    while True:
        archive = fresh()
        archive.put_files(4)
        steps = steps_of(archive)

        def work(request: int, archive: Archive = archive, steps: list[Any] = steps, start: int = start) -> None:
            if request >= start and steps:
                do(archive, steps.pop(0))

        store = Interrupted(archive.store, work)
        verdict = verify(store.as_store, [NAME])
        assert (verdict.problems, verdict.records) == ([], 28)
        if store.requests <= start:
            break
        start += 1
    assert start > 10


# ── what is damaged, and the source of a replay ──────────────────────────────────────────────────────────────


async def _source(source: ArchiveSource, window: Window) -> tuple[list[Record], list[Gap]]:
    async with source:
        await source.look(window)
        looked = source.gaps
        records = [each async for group in source.read({}, window) for each in group]
    assert looked == source.gaps
    return records, source.gaps


def source_reads(
    archive: Archive, window: Window = EVERYTHING, *, skips_damaged: bool = False
) -> tuple[list[Record], list[Gap]]:
    return asyncio.run(_source(ArchiveSource(aws, archive.store.uri, skips_damaged=skips_damaged), window))


@pytest.mark.parametrize("what", ["cut off", "foreign", "name", "other name", "row group"])
def test_a_bad_file_ends_a_replay_or_is_left_out_and_told(archive: Archive, what: str) -> None:
    archive.put_files(2)
    rows = made_range(15, 40)
    path = f"{hour_folder(NAME, NOON)}/copy.parquet" if what == "name" else file_path(NAME, NOON, A, 15)
    turned = bytearray(packed(rows, group=100))
    turned[20:400] = bytes(380)
    content = {"cut off": packed(rows)[:-20], "foreign": foreign(), "row group": bytes(turned)}
    other = packed(rows[1:])
    assert archive.store.create(path, content.get(what, other))
    archive.put_files(2, first=40)

    with pytest.raises(SourceLacks) as caught:
        source_reads(archive)
    assert path in caught.value.message
    assert caught.value.exit_code == 4
    if what != "row group":  # a look is at footers only
        with pytest.raises(SourceLacks, match="copy" if what == "name" else f"{15:040d}"):
            asyncio.run(_look(archive))

    records, gaps = source_reads(archive, skips_damaged=True) if what != "row group" else _only_read(archive)
    assert [path in gap.why for gap in gaps] == [True]
    archive.assert_holds(records)


async def _look(archive: Archive) -> None:
    async with ArchiveSource(aws, archive.store.uri) as source:
        await source.look(EVERYTHING)


def _only_read(archive: Archive) -> tuple[list[Record], list[Gap]]:
    async def read() -> tuple[list[Record], list[Gap]]:
        async with ArchiveSource(aws, archive.store.uri, skips_damaged=True) as source:
            return [each async for group in source.read({}, EVERYTHING) for each in group], source.gaps

    return asyncio.run(read())


def test_a_source_tells_the_gaps_of_its_window(archive: Archive) -> None:
    archive.put_files(1)
    gap = known_gap((NOON + 2) * HOUR_S, (NOON + 3) * HOUR_S)
    write_gap(archive.store, NAME, gap)
    assert source_reads(archive)[1] == [gap.as_gap()]
    assert source_reads(archive, Window(None, (NOON + 2) * HOUR_S))[1] == []
    assert source_reads(archive, Window((NOON + 3) * HOUR_S + 1, None))[1] == []


def test_archives_that_are_none(archive: Archive) -> None:
    with pytest.raises(SourceLacks, match="holds no records"):
        open_archive(archive.store.uri, aws)
    archive.put_files(1)
    archive.put(made_range(1, 3), path=file_path(StreamName("u", NAME.label), NOON, A, 1))
    with pytest.raises(UsageError, match="records of 2 tables: t, u"):
        open_archive(archive.store.uri, aws)
    assert open_archive(f"{archive.store.uri}/table=t/", aws)[1] == [NAME]
    assert open_archive(f"{archive.store.uri}/table=t/stream={NAME.label}", aws)[1] == [NAME]
    assert [each.table for each in streams_in(archive.store)] == ["t", "u"]


# ── prune ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_prune_throws_away_whole_old_hours_and_only_when_it_is_told_to(archive: Archive) -> None:
    for hour in range(60):
        archive.put(made_range(1 + 3 * hour, 4 + 3 * hour, NOON + hour))
    archive.put(made_range(1_000, 1_004, NOON), B)
    now_s = (NOON + 60) * HOUR_S - 600.0
    before = archive.files()

    planned = prune(archive.store, NAME, older_than_s=KEPT_S, now_s=now_s, stamped_s=math.inf, execute=False)
    assert archive.files() == before
    done = prune(archive.store, NAME, older_than_s=KEPT_S, now_s=now_s, stamped_s=math.inf, execute=True)

    assert done == planned
    gone = [each for each in before if each.hour < NOON + 11]  # the hour of now less 48 hours is not over
    assert (done.files, done.stored_bytes) == (12, sum(each.size_bytes for each in gone))
    assert done.to_s == (NOON + 11) * HOUR_S
    assert archive.files() == [each for each in before if each not in gone]
    assert prune(archive.store, NAME, older_than_s=KEPT_S, now_s=now_s, stamped_s=math.inf, execute=True).files == 0
    archive.written = {A: list(range(34, 181))}
    archive.assert_as_it_should_be()


@pytest.mark.parametrize("age_s", [0.0, 3600.0, KEPT_S - 1])
def test_prune_refuses_the_last_48_hours(archive: Archive, age_s: float) -> None:
    archive.put_files(2)
    with pytest.raises(UsageError, match="never thrown away"):
        prune(archive.store, NAME, older_than_s=age_s, now_s=BEFORE_S, stamped_s=math.inf, execute=True)
    archive.assert_as_it_should_be()


def test_a_prune_that_is_killed_has_begun_with_the_oldest(archive: Archive) -> None:
    for hour in range(4):
        archive.put_files(2, first=1 + 14 * hour, hour=NOON + hour)
    for deletes in (3, 1):
        dying = Dying(archive.store, deletes)
        with pytest.raises(Killed):
            prune(dying.as_store, NAME, older_than_s=KEPT_S, now_s=BEFORE_S, stamped_s=math.inf, execute=True)
        archive.written[A] = archive.written[A][7 * deletes :]
        archive.assert_as_it_should_be()
    assert archive.written[A][0] == 29


def test_a_reader_of_the_rest_is_not_harmed_by_a_prune(archive: Archive) -> None:
    for hour in range(3):
        archive.put_files(2, first=1 + 14 * hour, hour=NOON + hour)
    reading = ArchiveReader(archive.store, NAME).read(Window((NOON + 1) * HOUR_S, None), {})
    seen = list(next(reading))
    now_s = (NOON + 1) * HOUR_S + KEPT_S
    done = prune(archive.store, NAME, older_than_s=KEPT_S, now_s=now_s, stamped_s=math.inf, execute=True)
    assert done.files == 2
    seen += [each for group in reading for each in group]
    archive.written[A] = archive.written[A][14:]
    archive.assert_holds(seen)


# ── stat, windows and keys ───────────────────────────────────────────────────────────────────────────────────


def test_stat_counts_by_the_hour(archive: Archive) -> None:
    archive.put_files(2)
    archive.put_files(1, shard=B, first=100)
    archive.put_files(1, first=15, hour=NOON + 5)
    gap = known_gap((NOON + 2) * HOUR_S, (NOON + 4) * HOUR_S)
    write_gap(archive.store, NAME, gap)
    sizes = {hour: sum(each.size_bytes for each in archive.files() if each.hour == hour) for hour in (NOON, NOON + 5)}

    found = stat(archive.store, [NAME], EVERYTHING)

    assert found.as_json() == {
        "records": 28,
        "files": 4,
        "bytes": sum(sizes.values()),
        "shards": 2,
        "first": "2026-05-27T12:00:01Z",
        "last": "2026-05-27T17:00:21Z",
        "hours": [
            {"hour": "2026-05-27T12:00:00Z", "records": 21, "files": 3, "bytes": sizes[NOON]},
            {"hour": "2026-05-27T17:00:00Z", "records": 7, "files": 1, "bytes": sizes[NOON + 5]},
        ],
        "gaps": [gap.as_json()],
        "damaged": [],
    }
    later = stat(archive.store, [NAME], Window((NOON + 4) * HOUR_S + 1, None))
    assert ([each.records for each in later.hours], later.shards, later.gaps) == ([7], 1, [])
    assert stat(archive.store, [NAME], Window(None, (NOON - 3) * HOUR_S)).hours == []


def test_stat_counts_the_rest_where_a_file_is_damaged(archive: Archive) -> None:
    archive.put_files(2)
    path = file_path(NAME, NOON, A, 15)
    assert archive.store.create(path, packed(made_range(15, 20))[:-9])
    stray = f"{hour_folder(NAME, NOON)}/copy.parquet"
    assert archive.store.create(stray, foreign())
    found = stat(archive.store, [NAME], EVERYTHING)
    assert [each.records for each in found.hours] == [14]
    assert [path in each or stray in each for each in found.damaged] == [True, True]


def hours_listed(store: Interrupted) -> set[int]:
    folders = {each: at for at in range(-48, 72) for each in [hour_folder(NAME, NOON + at)]}
    return {folders[each] for each in store.listed if each in folders}


def ended_capture(archive: Archive) -> None:
    """The state of a capture that is at its end: no hour is looked at twice."""
    state = CaptureState(ARN, NAME.table, NAME.label, NOON * HOUR_S, NOON * HOUR_S, ended="end of the stream")
    assert archive.store.create(NAME.state_path, encoded(state))


@pytest.mark.parametrize("ended", [True, False])
def test_a_window_opens_only_its_hours(archive: Archive, ended: bool) -> None:
    for hour in range(-30, 40):
        first = 1 + 4 * (hour + 30)
        archive.put(made_range(first, first + 4, NOON + hour))
    if ended:
        ended_capture(archive)
    window = Window((NOON + 3) * HOUR_S, (NOON + 5) * HOUR_S)
    store = Interrupted(archive.store)
    reading = ArchiveReader(store.as_store, NAME)
    seen = [each for group in reading.read(window, {}) for each in group]

    # A record is in the folder of its hour or, as a straggler, in the next one.
    assert hours_listed(store) == {3, 4, 5}
    assert len(store.listed) == (4 if ended else 7)
    assert reading.opened_files == 3
    assert sorted({each.place for each in seen if window.holds(each.created_s)}) == list(range(133, 141))
    assert len(set(store.ranges)) == 3


def test_a_window_finds_the_straggler_in_the_next_hour(archive: Archive) -> None:
    rows = made_range(1, 5, NOON + 1)
    archive.put([rows[0], made(rows[1].place, (NOON + 1) * HOUR_S - 1.0), *rows[2:]])
    seen = archive.read(Window(NOON * HOUR_S, (NOON + 1) * HOUR_S))
    assert 2 in [each.place for each in seen]


def test_a_window_reads_only_the_row_groups_that_it_overlaps(archive: Archive) -> None:
    archive.put(made_range(1, 2_001, size=2_000), group=200)
    ended_capture(archive)
    whole, part = ArchiveReader(archive.store, NAME), ArchiveReader(archive.store, NAME)
    everything = sum(len(group) for group in whole.read(EVERYTHING, {}))
    window = Window(NOON * HOUR_S + 401, NOON * HOUR_S + 601)
    seen = [each.place for group in part.read(window, {}) for each in group]
    assert everything == 2_000
    assert seen == list(range(401, 601))
    assert part.fetched_bytes < whole.fetched_bytes


def test_a_look_for_one_key_reads_the_images_of_the_row_groups_that_hold_it(archive: Archive) -> None:
    rng = random.Random(1)
    rows = [
        made(place, NOON * HOUR_S, key="wanted" if place in (450, 460, 1_777) else f"k{place}")
        for place in range(1, 2_001)
    ]
    for each in rows:  # images that cannot be compressed
        each.change.new_image = msgspec.Raw(b'{"filling":{"B":"%b"}}' % rng.randbytes(600).hex().encode())
    archive.put(rows, group=100)
    whole, part = ArchiveReader(archive.store, NAME), ArchiveReader(archive.store, NAME)
    assert sum(len(group) for group in whole.read(EVERYTHING, {})) == 2_000
    found = list(part.read(EVERYTHING, {}, lambda keys: b'"wanted"' in keys))
    assert [[each.place for each in group] for group in found] == [[450, 460], [1_777]]
    # Of 20 row groups two: the rest are keys and footers.
    assert part.fetched_bytes < whole.fetched_bytes / 4


# ── what DynamoDB says, and what others read ─────────────────────────────────────────────────────────────────

BIG = "9" * 38
IMAGES = {
    "every type": (
        r'{"pk":{"S":"a"},"n":{"N":"0"},"b":{"B":"AP8="},"ss":{"SS":["x","y"]},"ns":{"NS":["1","-2.50"]},'
        r'"bs":{"BS":["AA==","/w=="]},"l":{"L":[{"S":""},{"NULL":true},{"BOOL":false}]},"m":{"M":{"":{"N":"0"}}}}'
    ),
    "numbers": r'{"a":{"N":"-BIG"},"b":{"N":"1E-130"},"c":{"N":"0.BIG"},"d":{"N":"9.99E+125"}}'.replace("BIG", BIG),
    "empty": r'{"s":{"S":""},"b":{"B":""},"l":{"L":[]},"m":{"M":{}}}',
    "unicode": r'{"ä":{"S":"日本語 💥 \u0041 \ud83d\udca5 \u0000 \u2028"},"q":{"S":"\"\\\/\b\f\n\r\t"}}',
    "white space": '{ "s" :\t{"S" : "x"},\n "n":{ "N":"1" } }',
    "400 KB": r'{"s":{"S":"FILLING"}}'.replace("FILLING", "é" * 200_000),
    "deep": '{"d":' + '{"L":[' * 31 + '{"NULL":true}' + "]}" * 31 + "}",
    "nothing": "{}",
}
KEYS = r'{"pk":{"S":"é\u00e9\""},"sk":{"N":"1"}}'


def answer(number: int, images: str, head: str = "") -> bytes:
    """A record as GetRecords answers it."""
    return (
        f'{{"eventID":"id-{number}","eventName":"MODIFY","eventVersion":"1.1","eventSource":"aws:dynamodb",'
        f'"awsRegion":"eu-west-1",{head}"dynamodb":{{"ApproximateCreationDateTime":{NOON * HOUR_S + number / 8},'
        f'"Keys":{KEYS},{images}"SequenceNumber":"{number:021d}","StreamViewType":"NEW_AND_OLD_IMAGES"}}}}'
    ).encode()


def answers() -> list[bytes]:
    """Records of every kind, numbered from 1 on."""
    found: list[bytes] = []
    for image in IMAGES.values():
        for images in (f'"NewImage":{image},', f'"OldImage":{image},', f'"NewImage":{image},"OldImage":{image},'):
            found.append(answer(len(found) + 1, f'{images}"SizeBytes":{len(image)},'))
    found.append(answer(len(found) + 1, ""))
    found.append(answer(len(found) + 1, '"SizeBytes":0,'))
    for identity in (
        '{"type":"Service","principalId":"dynamodb.amazonaws.com"}',
        '{"Type":"Service","PrincipalId":"dynamodb.amazonaws.com"}',
        '{"PrincipalId":"dynamodb.amazonaws.com","Type":"Service"}',
    ):
        found.append(answer(len(found) + 1, '"SizeBytes":1,', f'"userIdentity":{identity},'))
    return found


class _Cut(msgspec.Struct, rename="pascal"):
    keys: msgspec.Raw
    new_image: msgspec.Raw = msgspec.Raw(b"")
    old_image: msgspec.Raw = msgspec.Raw(b"")


class _Whole(msgspec.Struct):
    dynamodb: _Cut


def cut(raw: bytes) -> tuple[bytes, bytes, bytes]:
    """Keys and images, as they stand there."""
    found = msgspec.json.decode(raw, type=_Whole).dynamodb
    return bytes(found.keys), bytes(found.new_image), bytes(found.old_image)


@pytest.mark.parametrize("merged", [False, True])
def test_what_dynamodb_says_comes_back_byte_for_byte(archive: Archive, merged: bool) -> None:
    raws = answers()
    page = b'{"Records":[%b],"NextShardIterator":"x"}' % b",".join(raws)
    rows = records_decoder(Answered).decode(page).records
    about = About(ARN, NAME.table, A, "NEW_AND_OLD_IMAGES", {"HASH": "pk", "RANGE": "sk"})
    for at in range(0, len(rows), 10):
        part = rows[at : at + 10]
        path = file_path(NAME, NOON, A, part[0].place)
        assert archive.store.create(path, encode(part, about))
    if merged:
        assert archive.compact().files_after == 1

    found = archive.read()

    assert [cut(each.raw) for each in found] == [cut(each) for each in raws]
    for each, raw in zip(found, raws, strict=True):
        direct = read_record(raw, shard=A, place=None, stream_arn=ARN, fidelity="exact")
        assert msgspec.json.decode(each.raw) == msgspec.json.decode(direct.raw)
        assert msgspec.structs.replace(each, raw=b"") == msgspec.structs.replace(direct, raw=b"")
    assert archive.verify().problems == []


def test_a_view_type_without_images_is_kept(archive: Archive) -> None:
    raw = answer(1, "").replace(b"NEW_AND_OLD_IMAGES", b"KEYS_ONLY")
    about = About(ARN, NAME.table, A, "KEYS_ONLY", {"HASH": "pk"})
    rows = [msgspec.json.decode(raw, type=Answered)]
    assert archive.store.create(file_path(NAME, NOON, A, 1), encode(rows, about))
    (found,) = archive.read()
    assert json.loads(found.raw)["dynamodb"] == json.loads(raw)["dynamodb"]


def test_the_query_of_the_docs_orders_numbers_of_different_lengths(local: Archive) -> None:
    """As text 1000 comes before 999; both are of one second."""
    numbers = [9, 10, 99, 999, 1_000, 123_456_789_012_345_678_901, 1_000_000_000_000_000_000_000]
    records = []
    for number in numbers:
        image = b'{"order_id":{"S":"2021-01-22-140"},"total":{"N":"%d"}}' % number
        change = Change(
            msgspec.Raw(b'{"order_id":{"S":"2021-01-22-140"}}'), str(number), float(NOON * HOUR_S), msgspec.Raw(image)
        )
        records.append(Answered(change, f"id{number}", "MODIFY", "1.1", "us-east-1"))
    local.put(records)
    page = (Path(__file__).parents[2] / "docs" / "archive.md").read_text(encoding="utf-8")
    history = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)[1]
    query = history.strip().removesuffix(";").replace("kept/table=orders", f"{local.store.uri}/table={NAME.table}")
    with duckdb.connect() as connection:
        # Without the time, for which DuckDB's Python part wants one more package.
        found = connection.sql(f"SELECT is_now FROM ({query})").fetchall()
    assert [int(number) for (number,) in found] == numbers


def test_duckdb_reads_it(local: Archive) -> None:
    local.put_files(3)
    local.put_files(2, first=22, hour=NOON + 1)
    local.put_files(1, shard=B, first=1_000, hour=NOON + 1)
    local.compact()
    glob = f"{local.store.uri}/table=*/stream=*/date=*/hour=*/*.parquet"
    with duckdb.connect() as connection:
        connection.execute(
            f"CREATE VIEW records AS FROM read_parquet('{glob}', hive_partitioning=true, hive_types_autocast=0)"
        )

        def ask(question: str) -> list[tuple[Any, ...]]:
            return connection.execute(question).fetchall()

        assert ask('SELECT "table", date, hour, count(*) FROM records GROUP BY ALL ORDER BY ALL') == [
            ("t", "2026-05-27", "12", 21),
            ("t", "2026-05-27", "13", 21),
        ]
        numbers = "list(json_extract_string(new_image, '$.n.N')::INT ORDER BY sequence_number)"
        keyed = """WHERE keys = '{"pk":{"S":"k3"}}' AND hour = '12'"""
        assert ask(f"SELECT {numbers} FROM records {keyed}") == [([3, 10, 17],)]
        assert ask("SELECT count(*) FROM records WHERE new_image IS NULL OR old_image IS NOT NULL") == [(0,)]
        assert ask("SELECT min(epoch(created_at)), typeof(any_value(created_at)) FROM records") == [
            (NOON * HOUR_S + 1, "TIMESTAMP WITH TIME ZONE")
        ]


# ── what is not as it was put ────────────────────────────────────────────────────────────────────────────


def test_bytes_that_changed_on_the_disk_are_found_and_not_handed_on(local: Archive) -> None:
    """Every page has its checksum."""
    path = Path(local.store.uri) / local.put(made_range(1, 400), group=200)
    whole, records = path.read_bytes(), local.read()
    footer_bytes = int.from_bytes(whole[-8:-4], "little") + 8
    found = 0
    for at in range(4, len(whole) - footer_bytes - 16, len(whole) // 60):
        path.write_bytes(whole[:at] + bytes(each ^ 0xFF for each in whole[at : at + 16]) + whole[at + 16 :])
        if local.verify().problems:
            found += 1
            with pytest.raises(SourceLacks, match=path.name):
                local.read()
        else:  # a Bloom filter: nothing here reads it
            assert local.read() == records
    assert found > 20
    path.write_bytes(whole)
    assert local.verify().problems == []


def test_a_file_that_is_missing_between_two_is_found_and_is_a_gap(archive: Archive) -> None:
    follows: str | None = None
    paths = []
    for first in (1, 11, 21):
        rows = made_range(first, first + 10)
        paths.append(archive.put(rows, follows=follows))
        follows = rows[-1].sequence_number
    assert archive.verify().problems == []
    archive.store.delete(paths[1])
    assert "a file before it is missing, with the records behind" in only_problem(archive, paths[2])
    reader = ArchiveReader(archive.store, NAME)
    assert len([record for group in reader.read(Window(), {}) for record in group]) == 20
    assert "a file is missing before" in reader.gaps[0].why


def test_a_last_file_that_is_missing_is_found_and_is_a_gap(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what the capture wrote down. What is older than 48 hours may have been pruned, and is no gap."""
    paths = archive.put_files(2)
    shards = {A: ShardState(NOON * HOUR_S, last="14", hour=NOON)}
    state = CaptureState(ARN, NAME.table, NAME.label, NOON * HOUR_S, NOON * HOUR_S, shards=shards)
    assert archive.store.create(NAME.state_path, encoded(state))

    def gaps(window: Window = EVERYTHING, place: int = -1) -> list[str]:
        reader = ArchiveReader(archive.store, NAME)
        list(reader.read(window, {A: place}))
        return [gap.why for gap in reader.gaps]

    monkeypatch.setattr("restrike.archive.state.KEPT_S", 1e12)
    assert (archive.verify().problems, gaps()) == ([], [])
    archive.store.delete(paths[1])
    assert archive.verify().problems == [f"{A}: the last file is missing: records behind 7 up to 14"]
    assert gaps() == ["the last file is missing: records behind 7 up to 14"]
    assert gaps(Window(None, NOON * HOUR_S - 1)) == gaps(place=14) == []
    archive.store.delete(paths[0])
    assert archive.verify().problems == [f"{A}: the last file is missing: records up to 14"]
    assert gaps() == ["the last file is missing: records up to 14"]
    monkeypatch.setattr("restrike.archive.state.KEPT_S", 48 * 3600.0)
    monkeypatch.setattr("restrike.archive.state.time.time", lambda: NOON * HOUR_S + 49 * 3600.0)
    assert (archive.verify().problems, gaps()) == ([], [])


def test_damage_in_one_shard_hides_no_missing_file_of_another(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restrike.archive.state.KEPT_S", 1e12)
    _, last = archive.put_files(2)
    (broken,) = archive.put_files(1, shard=B, first=100)
    shards = {shard: ShardState(NOON * HOUR_S, last=last, hour=NOON) for shard, last in ((A, "14"), (B, "106"))}
    state = CaptureState(ARN, NAME.table, NAME.label, NOON * HOUR_S, NOON * HOUR_S, shards=shards)
    assert archive.store.create(NAME.state_path, encoded(state))
    for path in (last, broken):
        archive.store.delete(path)
    assert archive.store.create(broken, b"nonsense")
    damaged, missing = archive.verify().problems
    assert broken in damaged
    assert missing == f"{A}: the last file is missing: records behind 7 up to 14"
