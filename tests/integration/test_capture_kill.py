"""A capture that is killed, again and again, while the table is written: nothing is lost, nothing is there twice.

What the archive has to hold is what GetRecords of the real engine answers, byte for byte in keys and images.
"""

from __future__ import annotations

import json
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

import restrike
from restrike.archive.layout import CAPTURES, DataFile, data_file
from restrike.archive.places import last_files
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.capturing import takeover as capture
from restrike.model.record import Record
from restrike.stores import open_store
from restrike.stores.objects import Store
from tests.integration import safety
from tests.integration.safety import Command, await_true, command
from tests.integration.safety import restrike as run
from tests.integration.tables import Table, create
from tests.servers.ministack import MiniStack

POLL = ["--poll-seconds", "0.2"]
FLUSH = ["--flush-seconds", "0.2", "--flush-mb", "1"]
HURRIED = """
from restrike.capturing import takeover as capture
capture.HEARTBEAT_S, capture.STALE_S = 0.3, 1.5
"""
"""Put before the command: a capture in S3 that is dead is soon taken for dead."""
SLOW_DELETES = """
import time
from restrike.stores.folder import LocalFolder
from restrike.stores.objects import Store
def slowly(delete):
    return lambda store, path: (time.sleep(0.02), delete(store, path))
Store.delete = slowly(Store.delete)
"""
"""Put before the command: most of a compaction's time goes by between its deletions."""
NOTED = """
from restrike.capturing import execute
execute.NOTE_EVERY_S = 0.1
"""
"""Put before the command: the ledger soon tells how far a capture is."""


class _Change(msgspec.Struct, frozen=True, rename="pascal"):
    keys: msgspec.Raw
    new_image: msgspec.Raw = msgspec.Raw(b"")
    old_image: msgspec.Raw = msgspec.Raw(b"")
    size_bytes: int | None = None


class _Told(msgspec.Struct, frozen=True):
    change: _Change = msgspec.field(name="dynamodb")
    event_id: str = msgspec.field(name="eventID")
    event_name: str = msgspec.field(name="eventName")


_told = msgspec.json.Decoder(_Told)


def told(records: Iterator[Record]) -> dict[str, list[tuple[Any, ...]]]:
    """Of each shard what its records say, in order: keys and images are the bytes as they came."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for each in records:
        whole = _told.decode(each.raw)
        change = whole.change
        found.setdefault(each.shard, []).append(
            (
                each.sequence_number,
                whole.event_id,
                whole.event_name,
                each.created_s,
                bytes(change.keys),
                bytes(change.new_image),
                bytes(change.old_image),
                change.size_bytes,
            )
        )
    return found


class Place:
    """Where a capture writes, and the words that start it; `holding`: one that puts as seldom as it does by itself."""

    def __init__(self, uri: str, table: Table, store: Callable[[], Store]) -> None:
        self.uri = uri
        self.table = table
        self._store = store
        self.holding = ["capture", table.name, "--to", uri, "--endpoint-url", table.endpoint_url, *POLL, "--execute"]
        self.words = [*self.holding, *FLUSH]

    @property
    def store(self) -> Store:
        return self._store()

    def last_name(self) -> str:
        """The newest name: it rises with every file, also while others are merged."""
        found = [data_file(each.path, each.size_bytes, each.etag) for each in self.store.objects("")]
        return max((f"{file.first:040d} {file.path}" for file in found if file is not None), default="")

    def states(self) -> list[dict[str, Any]]:
        found = []
        for each in self.store.objects(CAPTURES):
            data = self.store.read(each.path) if each.path.endswith(".json") else None
            if data is not None:
                found.append(json.loads(data[0]))
        return found

    def owned(self) -> bool:
        return any(state.get("owner") is not None for state in self.states())

    def archived(self) -> dict[str, list[tuple[Any, ...]]]:
        return told(restrike.records(f"archive:{self.uri}"))

    def streamed(self) -> dict[str, list[tuple[Any, ...]]]:
        return told(restrike.records(f"stream:{self.table.name}", endpoint_url=self.table.endpoint_url))

    def assert_whole(self, wrote: int) -> None:
        """The archive is what it says, and holds what the stream says, each record once and in order."""
        code, out, err = run("archive", "verify", self.uri, "--json")
        assert (code, err) == (0, ""), (out, err)
        verdict = json.loads(out)
        archived = self.archived()
        streamed = self.streamed()
        records = sum(map(len, streamed.values()))
        assert records == wrote
        assert {shard: len(each) for shard, each in archived.items()} == {
            shard: len(each) for shard, each in streamed.items()
        }
        assert archived == streamed
        assert (verdict["ok"], verdict["gaps"], verdict["records"]) == (True, [], records)


@pytest.fixture
def table(dynamodb_local: str) -> Table:
    return create(dynamodb_local, ("pk", "S"), ("sk", "N"))


@pytest.fixture
def local(tmp_path: Path, table: Table) -> Place:
    folder = tmp_path / "archive"
    return Place(str(folder), table, lambda: open_store(str(folder), Aws, create=True))


@pytest.fixture
def s3(table: Table, ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", ministack.endpoint_url)
    bucket = f"capture-{table.name}"
    ministack.client("s3").create_bucket(Bucket=bucket)
    uri = f"s3://{bucket}/kept/here"
    store = open_store(uri, lambda: Aws(AwsSettings(region="us-east-1")))
    return Place(uri, table, lambda: store)


class Writer:
    """Writes to the table from a thread: inserts, changes and deletions, small items and large ones."""

    def __init__(self, table: Table, seed: int) -> None:
        self.wrote = 0
        self._table = table
        self._rng = random.Random(seed)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while not self._stop.wait(0.004):
                self.write()
        except BaseException as error:
            self._error = error

    def write(self) -> None:
        rng = self._rng
        key = {"pk": {"S": rng.choice("äb日💥")}, "sk": {"N": str(rng.randrange(12))}}
        if rng.random() < 0.1:
            answer = self._table.dynamodb.delete_item(TableName=self._table.name, Key=key, ReturnValues="ALL_OLD")
            self.wrote += "Attributes" in answer
            return
        item: dict[str, Any] = {
            **key,
            "n": {"N": str(rng.randrange(10**36))},
            "text": {"S": rng.choice(['"quoted" \\ / \n', "", "ünïcödé 💥", "x" * rng.randrange(400)])},
            "bytes": {"B": rng.randbytes(rng.randrange(1, 60))},
            "list": {"L": [{"NULL": True}, {"M": {"deep": {"BOOL": False}}}, {"NS": ["1", "-2.5"]}]},
        }
        if rng.random() < 0.01:
            item["large"] = {"S": "y" * rng.randrange(100_000, 380_000)}
        self._table.dynamodb.put_item(TableName=self._table.name, Item=item)
        self.wrote += 1  # no item is like the one before it: each has a record

    @contextmanager
    def writing(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()
        assert self._error is None, self._error


def kill_again_and_again(place: Place, rng: random.Random, kills: int) -> None:
    """Starts a capture that follows, and kills it: at its birth, or at some moment after it has put a file."""
    moments = rng.sample(["birth"] * (kills // 4) + ["files"] * (kills - kills // 4), kills)
    for moment in moments:
        before = place.last_name()
        with command(*place.words, "--follow") as started:
            if moment == "birth":
                time.sleep(rng.uniform(0.0, 0.4))  # the moment is what is random
            else:
                await_true(
                    lambda before=before, started=started: place.last_name() > before or started.ended,  # type: ignore[misc]  # bound now
                    f"another file: {started.stderr}",
                )
                time.sleep(rng.uniform(0.0, 0.5))
            assert not started.ended, f"it ended by itself: {started.stderr}"
            started.kill()
            assert started.wait() == -9


def capture_the_rest(place: Place) -> None:
    code, out, err = run(*place.words, "--once", "--json")
    assert code == 0, (out, err)
    assert [state.get("owner") for state in place.states()] == [None]


@pytest.mark.soak
def test_kills_lose_nothing_and_repeat_nothing(local: Place, kills: int) -> None:
    writer = Writer(local.table, 1)
    with writer.writing():
        kill_again_and_again(local, random.Random(11), kills)
    capture_the_rest(local)
    local.assert_whole(writer.wrote)


class Compactions:
    """Compactions one after the other, from a thread; killed at random until so many were."""

    def __init__(self, place: Place, rng: random.Random, kills: int) -> None:
        self.killed = self.finished = self.merged = 0
        self._words = ["archive", "compact", place.uri, "--older-than", "0h", "--execute", "--json"]
        self._place = place
        self._rng = rng
        self._kills = kills
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    @property
    def enough(self) -> bool:
        return self._error is not None or (self.killed >= self._kills and self.finished > 0)

    def _run(self) -> None:
        try:
            await_true(lambda: bool(self._place.last_name()) or self._stop.is_set(), "a first file")
            while not self._stop.is_set():
                self._one()
        except BaseException as error:
            self._error = error

    def _one(self) -> None:
        with command(*self._words) as started:
            if self.killed < self._kills:
                time.sleep(self._rng.uniform(0.0, 0.3))  # the moment is what is random
                if not started.ended:
                    started.kill()
            code = started.wait()
            if code == -9:
                self.killed += 1
                return
            assert code == 0, started.stderr
            self.finished += 1
            self.merged += started.report()["files_before"]

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
            await_true(lambda: self.enough, "enough killed compactions")
        finally:
            self._stop.set()
            self._thread.join()
        assert self._error is None, self._error


@pytest.mark.soak
@pytest.mark.parametrize("where", ["local", "s3"])
def test_killed_captures_and_killed_compactions_side_by_side(
    where: str, kills: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    place: Place = request.getfixturevalue(where)
    monkeypatch.setattr(safety, "BEFORE", HURRIED + SLOW_DELETES)
    writer = Writer(place.table, 2)
    compactions = Compactions(place, random.Random(22), kills)
    with writer.writing(), compactions.running():
        kill_again_and_again(place, random.Random(21), kills)
    capture_the_rest(place)
    place.assert_whole(writer.wrote)

    code, out, err = run("archive", "compact", place.uri, "--older-than", "0h", "--execute", "--json")
    assert code == 0, (out, err)
    # What the others merged may have been told by none: they were killed before they could.
    assert compactions.merged + json.loads(out)["files_before"] > 0
    place.assert_whole(writer.wrote)
    code, out, _ = run("archive", "verify", place.uri, "--json")
    assert json.loads(out)["covered"] == []


@pytest.mark.soak
def test_kills_in_s3(s3: Place, kills: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safety, "BEFORE", HURRIED)
    writer = Writer(s3.table, 3)
    with writer.writing():
        kill_again_and_again(s3, random.Random(31), kills)
    capture_the_rest(s3)
    s3.assert_whole(writer.wrote)


def has_read() -> bool:
    """Whether the ledger's capture has read anything."""
    code, out, err = run("runs", "list", "--json")
    assert code == 0, err
    return any(each["lag_s"] is not None for each in json.loads(out)["runs"])


def await_capturing(started: Command, place: Place) -> None:
    await_true(lambda: (place.owned() and bool(place.last_name())) or started.ended, "a capture at work")
    assert not started.ended, started.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_capture_that_is_stopped_puts_all_it_has(
    local: Place, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "BEFORE", NOTED)
    writer = Writer(local.table, 4)
    for _ in range(10):
        writer.write()
    words = [*local.holding, "--follow", "--flush-seconds", "3600", "--flush-mb", "64", "--json"]
    with command(*words) as started:
        # It holds what it has read: nothing is old enough to be put.
        await_true(lambda: has_read() or started.ended, "its first page")
        assert local.last_name() == ""
        assert not started.ended, started.stderr
        started.process.send(number)
        assert started.wait() == 0, started.stderr
        report = started.report()
    assert (report["state"], report["ended"], report["records"]) == ("COMPLETED", "stopped", writer.wrote)
    (state,) = local.states()
    assert state.get("owner") is None
    assert local.archived() == local.streamed()


def test_two_captures_at_once_on_a_disk(local: Place) -> None:
    writer = Writer(local.table, 5)
    writer.write()
    with command(*local.words, "--follow") as first:
        await_capturing(first, local)
        for mode in ("--follow", "--once"):
            code, _, err = run(*local.words, mode)
            assert code == 2, err
            assert "Let it, or end it first" in err
        writer.write()
        first.process.send(signal.SIGTERM)
        assert first.wait() == 0, first.stderr
    capture_the_rest(local)
    local.assert_whole(writer.wrote)


def test_a_bucket_that_does_not_exist(s3: Place) -> None:
    words = ["no-bucket-of-ours" if word == s3.uri else word for word in s3.words]
    words[words.index("no-bucket-of-ours")] = "s3://no-bucket-of-ours/kept"
    code, _, err = run(*words, "--once")
    assert code == 3, err
    assert "there is no bucket no-bucket-of-ours" in err
    assert "Traceback" not in err


def test_a_capture_that_was_suspended_gives_way(s3: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """In S3 nothing is locked: who slept and was taken for dead is refused when it puts its next file or its state."""
    monkeypatch.setattr(safety, "BEFORE", HURRIED)
    writer = Writer(s3.table, 6)
    with writer.writing(), command(*s3.words, "--follow") as first:
        await_capturing(first, s3)
        first.process.send(signal.SIGSTOP)
        name = s3.last_name()
        with command(*s3.words, "--follow") as second:
            await_true(lambda: s3.last_name() > name or second.ended, "a file of the second")
            assert not second.ended, second.stderr
            first.process.send(signal.SIGCONT)
            assert first.wait() == 2, first.stderr
            assert "another capture writes" in first.stderr
            name = s3.last_name()
            await_true(lambda: s3.last_name() > name or second.ended, "another file of the second")
            second.process.send(signal.SIGTERM)
            assert second.wait() == 0, second.stderr
    capture_the_rest(s3)
    s3.assert_whole(writer.wrote)


def test_a_capture_that_begins_while_its_last_file_is_merged_looks_again(
    local: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(local.table, 7)
    writer.write()
    capture_the_rest(local)
    looks = 0

    def and_then_it_is_merged(store: Store, *arguments: Any) -> dict[str, DataFile]:
        nonlocal looks
        looks += 1
        found = last_files(store, *arguments)
        for file in found.values():
            data = store.read(file.path)
            if looks == 1 and data is not None:
                assert store.replace(file.path, data[0], file.etag) not in (None, file.etag)
        return found

    monkeypatch.setattr(capture, "last_files", and_then_it_is_merged)
    writer.write()
    planned = restrike.capture(local.table.name, local.uri, endpoint_url=local.table.endpoint_url)
    assert planned.execute().records == 1
    assert looks == 2
    local.assert_whole(writer.wrote)
