"""`jsonl:` files are whole lines whatever happens, and are continued, never written over."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restrike.errors import RestrikeError, UsageError
from restrike.model.record import event, read_record
from restrike.targets import Answer
from restrike.targets.jsonl import target as jsonl
from restrike.targets.jsonl.target import JsonlTarget
from tests.change_records import STREAM_ARN, make_record

T = TypeVar("T")
BOUND_S = 600.0
HERE = Path(__file__).parents[2]


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, BOUND_S))


async def write(path: Path | str, *batches: list[int], **options: Any) -> list[Answer]:
    async with JsonlTarget(str(path), **options) as target:
        return [await target.attempt([make_record(n) for n in batch]) for batch in batches]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def lines(*places: int) -> bytes:
    return b"".join(make_record(n).raw + b"\n" for n in places)


def test_a_record_a_line_untouched(path: Path) -> None:
    assert run(write(path, [1, 2], [3])) == [Answer(ok=True)] * 2
    assert path.read_bytes() == lines(1, 2, 3)


def test_an_event_a_line(path: Path) -> None:
    run(write(path, [1, 2], [3], events=True))
    assert path.read_bytes() == b"".join(event([make_record(n) for n in batch]) + b"\n" for batch in ([1, 2], [3]))


def test_a_record_that_was_laid_out_for_people_becomes_one_line(path: Path) -> None:
    laid_out = json.dumps(json.loads(make_record(1).raw), indent=2).replace("\n", "\r\n").encode()
    image = b'"NewImage": {"n": {"N": "1.50"}, "s": {"S": "a\\n\\u00fc / \\/"}}'
    raw = b'{"eventSourceARN": "arn",\n "dynamodb": {"Keys": {"k": {"S": "a b"}}, ' + image + b"}}"

    async def work() -> None:
        async with JsonlTarget(str(path)) as target:
            await target.attempt(
                [
                    read_record(text, shard="s", place=1, stream_arn=STREAM_ARN, fidelity="exact")
                    for text in (laid_out, raw)
                ]
            )

    run(work())
    first, second = path.read_bytes().splitlines()
    assert json.loads(first) == json.loads(laid_out)
    assert image.replace(b": ", b":").replace(b", ", b",") in second, "spelled as it was, but for white space"


def test_a_file_that_is_there_is_not_written_over(path: Path) -> None:
    path.write_bytes(b"mine\n")
    with pytest.raises(UsageError, match="not written over"):
        run(write(path, [1]))
    assert path.read_bytes() == b"mine\n"


def test_an_empty_file_may_be_there(path: Path) -> None:
    path.touch()
    run(write(path, [1]))
    assert path.read_bytes() == lines(1)


@settings(deadline=None)  # it waits for the disk
@given(whole=st.integers(0, 3), torn=st.integers(0, 400), events=st.booleans())
def test_a_resumed_run_goes_on_behind_the_last_whole_line(
    whole: int, torn: int, events: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("resumed") / "out.jsonl"
    kept, lost = lines(*range(whole)), lines(9)[:-1]
    path.write_bytes(kept + lost[:torn])
    run(write(path, [5], resume=True, events=events))
    assert path.read_bytes() == kept + (event([make_record(5)]) + b"\n" if events else lines(5))


def test_a_torn_line_of_many_megabytes_is_found(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "_CHUNK_BYTES", 7)
    for before in (b"", b"a\n", b"abcdef\n", b"abcdefg\n"):
        path.write_bytes(before + b"x" * 100)
        run(write(path, [1], resume=True))
        assert path.read_bytes() == before + lines(1)


def test_resuming_a_file_that_is_gone_begins_it(path: Path) -> None:
    run(write(path, [1], resume=True))
    assert path.read_bytes() == lines(1)


def test_two_runs_do_not_write_one_file(path: Path) -> None:
    async def work() -> None:
        async with JsonlTarget(str(path)):
            with pytest.raises(UsageError, match="another run"):
                await write(path, [1], resume=True)

    run(work())
    run(write(path, [1]))


@pytest.fixture
def small_files() -> Iterator[int]:
    """No file of this process grows beyond these bytes, as on a disk that is full: a write is taken in part."""
    limit, before = 5_000, resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield limit
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handled)


def test_a_full_disk_ends_the_run_and_leaves_whole_lines(path: Path, small_files: int) -> None:
    async def work() -> None:
        async with JsonlTarget(str(path)) as target:
            await target.attempt([make_record(n) for n in range(3)])
            with pytest.raises(RestrikeError) as caught:
                await target.attempt([make_record(n) for n in range(100)])
            assert "room" in caught.value.hint

    run(work())
    assert len(lines(*range(100))) > small_files
    assert path.read_bytes() == lines(0, 1, 2)


def test_a_stream_that_takes_no_more_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def write_nothing(file: int, text: bytes) -> int:
        raise OSError(28, "No space left on device")

    async def work() -> None:
        async with JsonlTarget("/dev/null") as target:
            with monkeypatch.context() as patch:
                patch.setattr(os, "write", write_nothing)
                # asyncio wakes itself by a socket, not by this.
                await target.attempt([make_record(1)])

    with pytest.raises(RestrikeError, match="No space left"):
        run(work())


def test_sync_reports_what_the_disk_says(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []

    def fsync(file: int) -> None:
        synced.append(file)
        if len(synced) == 3:
            raise OSError(5, "Input/output error")

    async def work() -> None:
        async with JsonlTarget(str(path)) as target:
            monkeypatch.setattr(os, "fsync", fsync)
            await target.attempt([make_record(1)])
            assert synced == [], "not with every batch"
            await target.sync()
            await target.sync()
            with pytest.raises(RestrikeError, match="Input/output error"):
                await target.sync()

    run(work())
    assert len(synced) == 4, "and once more at the end"


@pytest.mark.parametrize("name", ["out.jsonl.gz", "out.zst"])
def test_a_name_that_promises_compression_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="not be compressed"):
        JsonlTarget(name)


@pytest.mark.parametrize("name", ["absent/out.jsonl", "."])
def test_a_place_that_cannot_be_written_is_said(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="cannot be written"):
        run(write(name, [1]))


def test_a_pipe_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="cannot be written"):
        run(write(tmp_path / "pipe", [1]))


WRITER = """
import asyncio, sys
from restrike.targets.jsonl.target import JsonlTarget
from tests.change_records import make_record

async def lane(target, lane):
    for n in range(int(sys.argv[1])):
        await target.attempt([make_record(1000 * lane + n, size_bytes=10_000)])

async def work():
    async with JsonlTarget("-") as target:
        await asyncio.gather(lane(target, 1), lane(target, 2))

try:
    asyncio.run(asyncio.wait_for(work(), 600))
except BrokenPipeError:
    sys.exit(7)
except TimeoutError:
    sys.exit(8)
"""


def writer(count: int, stdout: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, str(count)]
    return subprocess.Popen(command, stdout=stdout, env={**os.environ, "PYTHONPATH": str(HERE)})


def test_standard_output_gets_whole_lines_of_several_lanes() -> None:
    process = writer(40, subprocess.PIPE)
    out, _ = process.communicate(timeout=BOUND_S)
    places = [int(json.loads(line)["dynamodb"]["SequenceNumber"]) for line in out.splitlines()]
    assert (process.returncode, out[-1:]) == (0, b"\n")
    assert [p for p in places if p < 2000] == list(range(1000, 1040)), "each lane in its order"
    assert [p for p in places if p >= 2000] == list(range(2000, 2040))


def test_standard_output_may_be_a_file(path: Path) -> None:
    with path.open("wb") as file:
        assert writer(3, file).wait(BOUND_S) == 0
    assert len(path.read_bytes().splitlines()) == 6


def test_a_reader_that_goes_away_is_a_broken_pipe() -> None:
    process = writer(1000, subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.wait(BOUND_S) == 7


def test_a_reader_that_stops_reading_does_not_stop_the_loop() -> None:
    async def work() -> None:
        ours, theirs = os.pipe()
        target = JsonlTarget("-")
        target._file = theirs
        try:
            attempt = asyncio.create_task(target.attempt([make_record(1, size_bytes=200_000)]))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(attempt), 0.3)
            attempt.cancel()
            with pytest.raises(asyncio.CancelledError):
                await attempt
        finally:
            await target.__aexit__(None, None, None)
            os.close(ours)

    run(work())


def test_killed_at_any_moment_it_leaves_at_most_one_torn_line(path: Path) -> None:
    script = WRITER.replace('JsonlTarget("-")', f"JsonlTarget({str(path)!r}, resume=True)")
    for _ in range(3):
        command = [sys.executable, "-c", script, "100000"]
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(HERE)})
        try:
            size = path.stat().st_size if path.exists() else 0
            while not path.exists() or path.stat().st_size < size + 500_000:
                assert process.poll() is None
        finally:
            process.kill()
            process.wait(BOUND_S)
        run(write(path, [7], resume=True))
        assert [json.loads(line)["eventName"] for line in path.read_bytes().splitlines()][-1] == "INSERT"
        assert path.read_bytes().endswith(lines(7))
