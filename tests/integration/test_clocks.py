"""A machine whose clock is wrong: it is said to be, and nothing is thrown away or left out by it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from restrike.archive import clock
from restrike.archive.layout import HOUR_S, file_path, hour_of
from restrike.archive.pruning import Pruned, prune
from restrike.archive.reader import ArchiveReader
from restrike.archive.state import KEPT_S, CaptureState, encoded, this_process
from restrike.aws import streams
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.capturing.plan import plan as plan_capture
from restrike.capturing.request import CaptureRequest
from restrike.errors import UsageError
from restrike.model.window import Window
from restrike.replaying.filters import FilterRequest
from restrike.replaying.plan import plan as plan_replay
from restrike.replaying.records import read_records
from restrike.replaying.request import ReplayRequest
from restrike.stores import open_store
from restrike.stores.folder import LocalFolder
from restrike.stores.objects import Store
from tests.integration.tables import Table, create
from tests.integration.test_archive_care import ARN, NAME, A, made_range, packed
from tests.servers.ministack import MiniStack

DAY_S = 24 * HOUR_S
ClockAhead = Callable[[float], contextlib.AbstractContextManager[None]]


@pytest.fixture
def clock_ahead(monkeypatch: pytest.MonkeyPatch) -> ClockAhead:
    """This machine's clock, so many seconds ahead of all others, inside the block."""

    @contextlib.contextmanager
    def ahead(by_s: float) -> Iterator[None]:
        right = time.time
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: right() + by_s)
            yield

    return ahead


@pytest.fixture(scope="module")
def table(dynamodb_local: str) -> Table:
    return create(dynamodb_local, ("pk", "N"), items=[{"pk": n} for n in range(5)])


@pytest.fixture(scope="module")
def bucket(ministack: MiniStack) -> str:
    ministack.client("s3").create_bucket(Bucket="clocks")
    return ministack.endpoint_url


def archive(store: Store, *, hours_ago: float) -> str:
    """A file in it, of records of that time, written now."""
    hour = hour_of(time.time() - hours_ago * HOUR_S)
    path = file_path(NAME, hour, A, 1)
    assert store.create(path, packed(made_range(1, 4, hour)))
    return path


def state(store: Store, saved_s: float) -> None:
    """What a capture that is at work, or has died, has written down at that time of the service's."""
    made = CaptureState(ARN, NAME.table, NAME.label, saved_s, saved_s, owner=this_process())
    assert store.create(NAME.state_path, encoded(made))


def pruned(store: Store, days: int) -> Pruned:
    """Executed, by the clocks that there are."""
    now_s = clock.now_s(store, [NAME])
    stamped_s = clock.stamped_s(store, [NAME], now_s)
    return prune(store, NAME, older_than_s=days * DAY_S, now_s=now_s, stamped_s=stamped_s, execute=True)


# ── what is thrown away ──────────────────────────────────────────────────────────────────────────────────────


def test_a_clock_that_is_ahead_does_not_throw_away_what_has_just_come(tmp_path: Path, clock_ahead: ClockAhead) -> None:
    """By a clock 100 days ahead, all that there is is older than 90 days."""
    store = LocalFolder(tmp_path, create=True)
    path = archive(store, hours_ago=1)
    with clock_ahead(100 * DAY_S):
        done = pruned(store, 90)
    assert (done.files, done.young_hours) == (0, 1)
    assert [each.path for each in store.objects(NAME.folder)] == [path]


def test_files_that_were_written_within_48_hours_are_kept_whatever_their_records_say(tmp_path: Path) -> None:
    store = LocalFolder(tmp_path, create=True)
    old, young = archive(store, hours_ago=24 * 10), archive(store, hours_ago=24 * 8)
    long_ago_s = time.time() - KEPT_S - 60
    os.utime(tmp_path / old, (long_ago_s, long_ago_s))
    done = pruned(store, 3)
    assert (done.files, done.young_hours) == (1, 1)
    assert [each.path for each in store.objects(NAME.folder)] == [young]


def test_an_archive_that_nobody_captures_into_any_more_keeps_its_last_48_hours(tmp_path: Path) -> None:
    """A disk has no clock of its own: the last thing that was written there tells one time that is true."""
    store = LocalFolder(tmp_path, create=True)
    paths = [archive(store, hours_ago=hours) for hours in (24 * 103, 24 * 100)]
    for path, days in zip(paths, (103, 100), strict=True):
        written_s = time.time() - days * DAY_S
        os.utime(tmp_path / path, (written_s, written_s))
    pruned(store, 90)
    assert [each.path for each in store.objects(NAME.folder)] == paths[1:]


@pytest.mark.parametrize("by_s", [100 * DAY_S, 360.0, -360.0])
def test_the_time_of_a_bucket_is_its_own(
    bucket: str, monkeypatch: pytest.MonkeyPatch, clock_ahead: ClockAhead, by_s: float
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", bucket)
    store = open_store(f"s3://clocks/{by_s:g}", Aws)
    archive(store, hours_ago=1)
    assert abs(clock.now_s(store, [NAME]) - time.time()) < 60
    with (
        clock_ahead(by_s),
        pytest.raises(UsageError, match=r"clock is .* (ahead of|behind) that of s3://clocks/") as told,
    ):
        clock.now_s(store, [NAME])
    assert "Set this machine's clock" in told.value.hint
    with clock_ahead(math.copysign(200.0, by_s)):
        assert abs(clock.now_s(store, [NAME]) - time.time()) < 260


def test_a_capture_that_is_at_work_tells_the_service_s_time(tmp_path: Path, clock_ahead: ClockAhead) -> None:
    """On a disk, where there is no other clock."""
    store = LocalFolder(tmp_path, create=True)
    archive(store, hours_ago=1)
    state(store, time.time())
    with store.lock(NAME.lock_path) as alone:
        assert alone
        clock.now_s(store, [NAME])
        with clock_ahead(DAY_S), pytest.raises(UsageError, match=r"24\.0 hours ahead of DynamoDB's"):
            clock.now_s(store, [NAME])
        with clock_ahead(-DAY_S), pytest.raises(UsageError, match=r"24\.0 hours behind DynamoDB's"):
            clock.now_s(store, [NAME])
    with clock_ahead(DAY_S):
        clock.now_s(store, [NAME])  # it has died, a day ago by all that is known


# ── what is read ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reader_whose_clock_is_behind_finds_what_there_is(tmp_path: Path, clock_ahead: ClockAhead) -> None:
    """Three hours behind, the hours of now were still to come: 0 records, no gap, all well."""
    store = LocalFolder(tmp_path, create=True)
    archive(store, hours_ago=0)
    window = Window((hour_of(time.time()) - 5) * HOUR_S, None)
    with clock_ahead(-3 * HOUR_S):
        found = [each for group in ArchiveReader(store, NAME).read(window, {}) for each in group]
    assert len(found) == 3


@pytest.mark.parametrize("by_s", [3 * HOUR_S, -3 * HOUR_S])
def test_a_window_back_from_now_is_refused_by_a_clock_that_is_wrong(
    table: Table, dynamodb_local: str, clock_ahead: ClockAhead, tmp_path: Path, by_s: float
) -> None:
    aws = AwsSettings(endpoint_url=dynamodb_local)
    filters = FilterRequest(since="2h")
    request = ReplayRequest(
        source=f"stream:{table.name}",
        to=f"jsonl:{tmp_path / 'to'}",
        filters=filters,
        aws=aws,
        ledger=str(tmp_path / "l"),
    )
    assert len(list(read_records(request))) == 5
    with clock_ahead(by_s):
        with pytest.raises(UsageError, match=r"3\.0 hours .* DynamoDB's"):
            plan_replay(request)
        with pytest.raises(UsageError, match=r"3\.0 hours .* DynamoDB's"):
            list(read_records(request))


def test_a_window_goes_by_the_service_s_time(
    table: Table, dynamodb_local: str, clock_ahead: ClockAhead, tmp_path: Path
) -> None:
    """Four minutes are borne, and make no difference."""
    request = ReplayRequest(
        source=f"stream:{table.name}",
        to=f"jsonl:{tmp_path / 'to'}",
        filters=FilterRequest(since="2h"),
        aws=AwsSettings(endpoint_url=dynamodb_local),
        ledger=str(tmp_path / "l"),
    )
    with clock_ahead(240.0):
        planned = plan_replay(request)
    since_s = planned.resolved.window.since_s
    planned.discard()
    assert since_s is not None
    assert abs(since_s - (time.time() - 2 * HOUR_S)) < 60


# ── captures ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("by_s", [DAY_S, -DAY_S])
def test_a_capture_is_refused_by_a_clock_that_is_wrong(
    table: Table, dynamodb_local: str, clock_ahead: ClockAhead, tmp_path: Path, by_s: float
) -> None:
    request = CaptureRequest(
        table.name, str(tmp_path / "kept"), ledger=str(tmp_path / "l"), aws=AwsSettings(endpoint_url=dynamodb_local)
    )
    planned = plan_capture(request)
    with clock_ahead(by_s), pytest.raises(UsageError, match=r"24\.0 hours .* DynamoDB's"):
        plan_capture(request)
    with clock_ahead(by_s), pytest.raises(UsageError, match=r"24\.0 hours .* DynamoDB's"):
        planned.execute()
    assert not list(tmp_path.glob("kept/table=*"))


def test_what_is_read_goes_by_the_service_s_time_when_the_clock_is_set_meanwhile(
    table: Table, dynamodb_local: str, clock_ahead: ClockAhead
) -> None:
    async def told() -> Any:
        aws = Aws(AwsSettings(endpoint_url=dynamodb_local))
        async with streams.connect(aws) as wire:
            assert wire.service_now_s() is None
            await streams.list_shards(wire, table.stream_arn)
            with clock_ahead(3 * HOUR_S):
                return wire.service_now_s()

    assert abs(asyncio.run(told()) - time.time()) < 60
