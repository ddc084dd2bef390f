"""What was given up goes into a file of the run's own, line by line."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
from pathlib import Path
from typing import Any

import pytest

from restrike.errors import DeliveryFailed
from restrike.replaying.delivery import GivenUp
from restrike.replaying.failures import Failures, not_ours
from tests.change_records import make_record


def keep(path: Path, *places: int, run: str = "r", error: str = "Boom") -> None:
    failures = Failures(path, run=run, target="t")

    async def go() -> None:
        for place in places:
            await failures.keep(GivenUp([make_record(place, size_bytes=1_000)], "RetryAttemptsExhausted", error, 1))

    asyncio.run(go())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_appends_to_its_own_file(tmp_path: Path) -> None:
    path = tmp_path / "failed"
    keep(path, 1, 2)
    keep(path, 3)
    assert [line["Records"][0]["dynamodb"]["SequenceNumber"] for line in lines(path)] == ["1", "2", "3"]
    assert {line["restrike"]["run"] for line in lines(path)} == {"r"}
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a stranger's\n", "no run has written it"),
        ('{"Records":[]}\n', "no run has written it"),
        ("[" * 100_000, "no run has written it"),
        ('{"Records":[],"restrike":{"run":"other"}}\n', "run other has written it"),
    ],
)
def test_nobody_elses_file_is_written_to(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "failed"
    path.write_text(text)
    assert why in (not_ours(path, "r") or "")
    with pytest.raises(DeliveryFailed, match=why):
        keep(path, 1)
    assert path.read_text() == text


def test_an_empty_file_may_be_used(tmp_path: Path) -> None:
    path = tmp_path / "failed"
    path.touch()
    keep(path, 1)
    assert len(lines(path)) == 1


@pytest.mark.parametrize("whole", [0, 2])
def test_half_a_line_that_a_death_left_is_cut_off(whole: int, tmp_path: Path) -> None:
    path = tmp_path / "failed"
    keep(path, *range(whole + 1))
    text = path.read_bytes()
    path.write_bytes(text[:-100])
    keep(path, 7)
    assert [line["Records"][0]["dynamodb"]["SequenceNumber"] for line in lines(path)] == [
        *map(str, range(whole)),
        "7",
    ]


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "failed"
    keep(path, 1, 2)
    size = path.stat().st_size
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, before[1]))
    try:
        with pytest.raises(DeliveryFailed, match="cannot write what was given up"):
            keep(path, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.stat().st_size == size
    keep(path, 4)
    assert len(lines(path)) == 3
