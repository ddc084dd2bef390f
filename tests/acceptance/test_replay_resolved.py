"""What was asked is resolved once: a run that goes on is the one that was planned, and a plan leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import restrike as api
from restrike.errors import SourceLacks, UsageError
from restrike.model.record import Record
from restrike.running.stop import Stop
from tests.acceptance.command import RESTRIKE, restrike, started
from tests.change_records import make_record
from tests.integration.tables import create, until

BOUND_S = 600.0


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, and beside it a folder for temporary files."""
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.chdir(here)
    (here / "in").write_bytes(lines(range(30)))
    return tmp_path


def lines(places: range) -> bytes:
    return b"".join(make_record(place).raw + b"\n" for place in places)


def got(path: str | Path = "out") -> list[int]:
    """The places of the records in a file."""
    found = Path(path).read_text().splitlines() if Path(path).exists() else []
    return [int(json.loads(line)["dynamodb"]["SequenceNumber"]) for line in found]


def replay(source: str = "jsonl:in", to: str = "jsonl:out", **request: Any) -> Any:
    return api.replay(source, to, run="r", **request).execute()


def resume() -> Any:
    result = restrike("runs", "resume", "r", "--execute", "--json")
    assert result.code in (0, 1), result  # 1: records were given up
    return result.json


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ── a run that goes on ───────────────────────────────────────────────────────────────────────────────────


def test_a_pattern_file_that_was_edited_changes_nothing_of_the_run() -> None:
    Path("pattern").write_text('{"dynamodb": {"SequenceNumber": [{"prefix": "1"}]}}')
    assert replay(pattern="pattern", limit=3).state == "LIMITED"
    Path("pattern").write_text('{"dynamodb": {"SequenceNumber": [{"prefix": "2"}]}}')
    assert resume()["state"] == "COMPLETED"
    assert got() == [1, *range(10, 20)]
    with pytest.raises(UsageError, match=r"r exists and is another: filter: it was --pattern .*1.* now"):
        replay(pattern="pattern")
    Path("pattern").unlink()
    assert replay(pattern='{"dynamodb": {"SequenceNumber": [{"prefix": "1"}]}}').state == "COMPLETED", "the same text"


def test_standard_input_is_the_runs_and_another_is_refused() -> None:
    words = ("replay", "-", "--to", "jsonl:out", "--run", "r", "--execute", "--json")
    assert restrike(*words, "--limit", "10", stdin=lines(range(30))).json["state"] == "LIMITED"
    refused = restrike(*words, stdin=lines(range(5)))
    assert refused.code == 2
    assert "run r exists and is another: standard input: it was" in refused.stderr
    again = restrike(*words, "--limit", "20", stdin=lines(range(30)))
    assert (again.json["state"], again.json["delivered"]) == ("LIMITED", 20)
    assert resume()["state"] == "COMPLETED"
    assert got() == list(range(30))


def test_a_run_goes_on_from_any_folder(folder: Path) -> None:
    Path("app.py").write_text(
        "import json, pathlib\n\n"
        "def main(event, context):\n"
        "    if event['Records'][0]['dynamodb']['SequenceNumber'] == '20' and not pathlib.Path('mended').exists():\n"
        "        raise ValueError('bad')\n"
        "    with open('got', 'a') as file:\n"
        "        file.writelines(json.dumps(each) + '\\n' for each in event['Records'])\n"
    )
    report = replay(to="handler:app:main", batch_size=10, retries=0, on_failure="jsonl:failed", limit=30)
    assert (report.delivered, report.failed, report.on_failure) == (20, 10, str(Path("failed").absolute()))
    Path("in").write_bytes(lines(range(50)))
    Path("mended").touch()
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    here = Path.cwd()
    os.chdir(elsewhere)
    assert resume()["delivered"] == 40
    assert list(elsewhere.iterdir()) == []
    assert got(here / "got") == [*range(20), *range(30, 50)]
    assert len((here / "failed").read_text().splitlines()) == 1


def test_a_rerun_may_change_pace_limit_retries_and_lanes_and_takes_them() -> None:
    assert replay(limit=10, batch_size=5).delivered == 10
    report = replay(limit=20, batch_size=2, parallel=3, rate=1_000.0, retries=1)
    assert (report.state, report.delivered, report.batches > 2 + 4) == ("LIMITED", 20, True)
    assert replay(parallel=7, max_failures=1, bisect=True).state == "COMPLETED"
    assert sorted(got()) == list(range(30))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"source": "jsonl:other"}, "source"),
        ({"to": "jsonl:elsewhere"}, "target"),
        ({"since": "2023-01-01T00:00:00Z"}, "window"),
        ({"last": "1h"}, "window"),
        ({"key": "k1"}, "filter"),
        ({"event": "INSERT"}, "filter"),
        ({"where": "dynamodb"}, "filter"),
        ({"events": True}, "target's flags"),
        ({"event_id": "fresh"}, "--event-id"),
        ({"on_failure": "jsonl:failed"}, "--on-failure"),
    ],
)
def test_a_rerun_that_is_another_run_is_told_what_differs(change: dict[str, Any], part: str) -> None:
    Path("other").write_bytes(lines(range(5)))
    replay(limit=10)
    with pytest.raises(UsageError) as caught:
        replay(**change)
    assert f"run r exists and is another: {part}: it was" in caught.value.message
    assert got() == list(range(10))


def test_a_relative_window_is_that_of_the_first_part() -> None:
    now = int(time.time())
    text = lines(range(20)).decode()
    for place in range(20):
        text = text.replace(str(1_700_000_000 + place), str(now - 3_600 + 2 + place))
    Path("in").write_text(text)
    assert replay(last="1h", limit=5).delivered == 5
    until(lambda: time.time() > now + 4, "the first of them to be older than an hour")
    plan = api.replay("jsonl:in", "jsonl:out", last="1h", run="r")
    assert plan.data.records.count == 20, "what the plan shows is what happens"
    assert plan.execute().delivered == 20


def test_a_run_whose_keys_were_cleared_away_delivers_nothing(dynamodb_local: str, folder: Path) -> None:
    table = create(dynamodb_local, ("pk", "S"), items=[{"pk": f"k{number}"} for number in range(20)])
    Path("keys").write_text("".join(f'{{"pk": "k{number}"}}\n' for number in range(20)))
    words = ("replay", f"table:{table.name}", "--keys", "keys", "--to", "jsonl:out", "--endpoint-url", dynamodb_local)
    first = restrike(*words, "--limit", "5", "--run", "r", "--execute", "--json")
    assert first.json["delivered"] == 5, first
    Path("keys").write_text('{"pk": "k1"}\n')
    other = restrike(*words, "--run", "r", "--execute")
    assert (other.code, "keys: it was" in other.stderr) == (2, True), other
    (kept,) = folder.rglob("keys.db")
    kept.unlink()
    again = restrike("runs", "resume", "r", "--execute")
    assert (again.code, f"the keys of run r are gone: there is no {kept}" in again.stderr) == (2, True), again


# ── a plan ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("to", ["jsonl:new", "handler:app:main", "-"])
def test_a_plan_leaves_nothing_behind(folder: Path, to: str) -> None:
    Path("app.py").write_text("import pathlib\npathlib.Path('imported').touch()\ndef main(event, context): ...\n")
    before = everything(folder)
    result = restrike("replay", "-", "--to", to, stdin=lines(range(3)))
    assert result.code == 0, result
    assert everything(folder) == before


@pytest.mark.parametrize(
    "words",
    [
        ["--to", "jsonl:in"],
        ["--to", "handler:nothing:main"],
        ["--to", "handler:app:nothing"],
        ["--to", "jsonl:out", "--on-failure", "jsonl:out"],
        ["--to", "jsonl:out", "--on-failure", "sqs:queue"],
        ["--to", "jsonl:out", "--on-failure", "jsonl:no/folder"],
        ["--to", "jsonl:out", "--on-failure", ""],
        ["--to", "jsonl:out", "--timeout", "5"],
        ["--to", "jsonl:out", "--run", ""],
    ],
)
def test_a_plan_that_is_refused_leaves_nothing_behind(folder: Path, words: list[str]) -> None:
    Path("app.py").write_text("import pathlib\npathlib.Path('imported').touch()\ndef main(event, context): ...\n")
    before = everything(folder)
    result = restrike("replay", "-", *words, stdin=lines(range(3)))
    assert result.code == 2, result
    assert result.stderr.count("\n") >= 1
    assert everything(folder) == before


def test_a_plan_of_a_run_that_goes_on_cuts_nothing() -> None:
    replay(limit=10)
    with Path("out").open("ab") as file:
        file.write(b'{"half')
    before = Path("out").read_bytes()
    plan = api.replay("jsonl:in", "jsonl:out", run="r")
    assert "half-a-line" in [warning.code for warning in plan.warnings]
    assert Path("out").read_bytes() == before
    assert plan.execute().state == "COMPLETED"
    assert got() == list(range(30))


def test_what_was_spooled_is_not_for_others(folder: Path) -> None:
    restrike("replay", "-", "--to", "jsonl:out", "--run", "r", "--limit", "2", "--execute", stdin=lines(range(3)))
    (kept,) = folder.rglob("source.jsonl")
    assert kept.stat().st_mode & 0o077 == 0


# ── ending early ─────────────────────────────────────────────────────────────────────────────────────────


def test_an_interrupt_under_a_rate_sends_nothing_more() -> None:
    words = ("replay", "jsonl:in", "--to", "jsonl:out", "--rate", "0.1", "--batch-size", "10", "--run", "r")
    with started(*words, "--execute", "--json") as run:
        until(lambda: len(got()) == 10, "the first batch")
        interrupted = run.interrupt()
    assert (interrupted.code, interrupted.json["delivered"], len(got())) == (130, 10, 10)


def test_a_deadline_and_a_stop_of_the_callers_end_a_run() -> None:
    plan = api.replay("jsonl:in", "jsonl:out", rate=0.1, batch_size=10, run="r")
    assert plan.execute(time_limit_s=0.0).state == "INTERRUPTED"
    stop, reports = Stop(), []
    plan = api.replay("jsonl:in", "jsonl:out", rate=0.1, batch_size=10, run="r")
    working = threading.Thread(target=lambda: reports.append(plan.execute(stop=stop)))
    working.start()
    until(lambda: len(got()) >= 10, "a batch")
    stop.set("pause")
    working.join(BOUND_S)
    assert [report.state for report in reports] == ["PAUSED"]
    assert replay(parallel=2).state == "COMPLETED"
    assert sorted(got()) == list(range(30))


# ── records ──────────────────────────────────────────────────────────────────────────────────────────────


def test_records_end_behind_the_last_that_was_asked_for() -> None:
    """Of a source that has no more for now, and would wait."""
    process = subprocess.Popen(
        [RESTRIKE, "records", "-", "--limit", "3", "--json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(lines(range(3)))
        process.stdin.flush()
        assert process.stdout.read().count(b"\n") == 3  # up to its end; pytest's time-out bounds it
        assert process.wait(BOUND_S) == 0
    finally:
        process.kill()
        process.stdin.close()
        process.stdout.close()
        process.wait()


@pytest.mark.parametrize(("limit", "found"), [(1, 1), (30, 30), (31, 30), (None, 30)])
def test_records_of_a_file(limit: int | None, found: int) -> None:
    assert len(list(api.records("jsonl:in", limit=limit))) == found


def test_records_that_are_not_all_taken_end_their_reading() -> None:
    before = threading.active_count()
    reading = api.records("jsonl:in")
    assert isinstance(next(reading), Record)
    reading.close()  # type: ignore[attr-defined]  # it is a generator
    until(lambda: threading.active_count() <= before, "the reading thread to end")


def test_records_tell_what_is_wrong_where_it_is_wrong() -> None:
    Path("in").write_bytes(lines(range(3)) + b"nonsense\n")
    reading = api.records("jsonl:in")
    assert [next(reading).place for _ in range(3)] == [1, 2, 3]
    with pytest.raises(SourceLacks, match="line 4"):
        next(reading)
