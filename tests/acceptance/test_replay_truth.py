"""What a replay says of itself: counts that hold, reasons, files that are its own, and nothing done twice."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.acceptance.command import restrike, runs, started
from tests.acceptance.test_replay_cli import assert_refused, change, done, folder, numbers, read, replay, write
from tests.integration.tables import until

__all__ = ["folder"]  # a fixture

ALL_BAD = ("--retries", "0", "--batch-size", "2")


def plan(source: str, *words: str, to: str = "jsonl:out") -> dict[str, object]:
    result = restrike("replay", source, "--to", to, *words, "--json")
    assert result.code == 0, result
    found: dict[str, object] = result.json["plan"]
    return found


# ── a run that is complete ───────────────────────────────────────────────────────────────────────────────


def test_a_run_that_is_complete_is_not_begun_again() -> None:
    source = write("in", map(change, range(20)))
    first = done(replay(source, "--batch-size", "5", to="handler:consumer:handle_all", run="r"))
    assert first["delivered"] == 20
    assert not first["nothing_new"]
    at = runs()["r"]["updated_at"]
    write("in", map(change, range(40)))
    words = ("replay", source, "--to", "handler:consumer:handle_all", "--batch-size", "5", "--run", "r")
    planned = restrike(*words)
    told = planned.stdout + planned.stderr
    assert planned.code == 0
    assert f"completed at {at}: 20 selected, 20 delivered" in told
    assert "--execute" not in told
    assert restrike(*words, "--json").json["plan"]["invocations"] == 0
    again = restrike(*words, "--execute", "--json")
    assert again.code == 0, again
    assert f"nothing new: nothing was sent. r was completed at {at}: 20 selected, 20 delivered" in again.stderr
    report = again.json
    assert (report["nothing_new"], report["done_at"], report["delivered"]) == (True, at, 20)
    assert len(read("got")) == 20
    assert runs()["r"]["updated_at"] == at
    assert runs()["r"]["state"] == "COMPLETED"


def test_a_run_that_gave_up_records_is_complete_too() -> None:
    source = write("in", map(change, range(6)))
    assert replay(source, *ALL_BAD, to="handler:consumer:all_bad", run="r").code == 1
    again = replay(source, *ALL_BAD, to="handler:consumer:all_bad", run="r")
    assert (again.code, again.json["failed"], again.json["nothing_new"]) == (0, 6, True)
    assert len(read(again.json["on_failure"])) == 3


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────


def test_ten_failed_batches_in_a_row_stop_the_run() -> None:
    source = write("in", map(change, range(100)))
    result = replay(source, *ALL_BAD, to="handler:consumer:all_bad", run="r")
    assert result.code == 5, result
    assert "10 batches in a row failed, and nothing of them was delivered: ValueError: bad" in result.stderr
    assert "restrike runs resume r" in result.stderr
    assert (result.json["state"], result.json["failed"]) == ("FAILED", 20)
    result = replay(source, *ALL_BAD, "--max-failures-in-a-row", "0", to="handler:consumer:all_bad", run="r")
    assert (result.code, result.json["state"], result.json["failed"]) == (1, "COMPLETED", 100)


def test_why_records_failed_is_said_and_where_they_stand() -> None:
    source = write("in", map(change, range(60)))
    result = replay(source, "--retries", "0", "--bisect", to="handler:consumer:handle", run="r")
    assert result.code == 1, result
    assert "failed: 6 records: ValueError: k3 is bad" in result.stderr
    assert result.json["reasons"] == [{"error": "ValueError: k3 is bad", "records": 6}]
    path = result.json["on_failure"]
    assert f"given up, and why: {path}" in result.stderr
    shown = restrike("runs", "show", "r")
    for said in ("6 × ValueError: k3 is bad", path, "handler:consumer:handle"):
        assert said in shown.stdout
    assert runs()["r"]["leftover"] == 6
    left = restrike("runs", "show", "r", "--leftover")
    assert left.code == 0, left
    assert left.json["file"] == path
    assert left.json["records"] == 6
    assert left.json["again"] == f"restrike replay jsonl:{path} --to handler:consumer:handle"
    Path("mended").touch()
    again = left.json["again"].split()
    assert restrike(*again[1:], "--execute").code == 0
    assert sorted(numbers(read("got"))) == list(range(60))


def test_an_error_cannot_write_on_the_terminal() -> None:
    Path("rude.py").write_text("def main(event, context):\n    raise ValueError('\\x1b[2J\\x9b' + 'y' * 5000)\n")
    result = replay(write("in", map(change, range(4))), "--retries", "0", to="handler:rude:main", run="r")
    assert "ValueError: \\x1b[2J\\x9byyy" in result.stderr
    assert "\x1b" not in result.stderr
    assert len(result.json["reasons"][0]["error"]) <= 215
    assert "\x1b" not in restrike("runs", "show", "r").stdout


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("in", "is the source"),
        ("./x/../in", "is the source"),
        ("linked", "is the source"),
        ("hard", "is the source"),
        ("out", "is the target"),
        ("x", "it is a folder"),
        ("stranger", "no run has written it"),
        ("other", "run other has written it"),
        ("state/restrike/ledger.db", "no run has written it"),
        ("/dev/null", "it is no file"),
        ("no/folder", "its folder is not there"),
    ],
)
def test_failures_go_into_no_file_of_others(path: str, said: str) -> None:
    source = write("in", map(change, range(6)))
    Path("x").mkdir()
    Path("linked").symlink_to("in")
    os.link("in", "hard")
    Path("stranger").write_text("important\n")
    Path("other").write_text(json.dumps({"Records": [], "restrike": {"run": "other"}}) + "\n")
    if path.startswith("state"):
        done(replay(source, to="jsonl:first"))
        path = os.environ.get("RESTRIKE_LEDGER", path)
    before = {each: each.read_bytes() for each in Path().iterdir() if each.is_file()}
    for execute in ([], ["--execute"]):
        result = restrike("replay", source, "--to", "jsonl:out", "--on-failure", f"jsonl:{path}", *execute)
        assert_refused(result, said)
    assert {each: each.read_bytes() for each in Path().iterdir() if each.is_file()} == before


def test_a_run_that_goes_on_appends_to_its_own_file() -> None:
    source = write("in", map(change, range(40)))
    words = (*ALL_BAD, "--on-failure", "jsonl:failed")
    assert replay(source, *words, "--limit", "10", to="handler:consumer:all_bad", run="r").code == 1
    assert replay(source, *words, to="handler:consumer:all_bad", run="r").code == 5
    assert len(read("failed")) == 15
    assert_refused(replay(source, *words, to="handler:consumer:all_bad", run="s"), "run r has written it")


# ── a plan's counts, and progress ────────────────────────────────────────────────────────────────────────


def test_a_plan_counts_what_will_be_delivered() -> None:
    source = write("in", map(change, range(300)))
    found = plan(source, "--event", "MODIFY", "--batch-size", "10", "--since", "2020-09-13T12:26:50Z")
    assert (found["records"]["count"], found["counted"], found["invocations"]) == (97, "exact", 10)  # type: ignore[index]
    found = plan(source, "--key", "k4", "--limit", "7")
    assert (found["records"]["count"], found["counted"], found["invocations"]) == (7, "exact", 1)  # type: ignore[index]
    result = restrike("replay", source, "--to", "jsonl:out", "--where", "dynamodb.NewImage.n > `250`")
    told = result.stdout + result.stderr
    assert "exact: 32 of 300 records passed: 268 do not match --where" in told
    report = done(replay(source, "--where", "dynamodb.NewImage.n > `250`"))
    assert report["delivered"] == 32


def test_a_plan_of_a_run_that_goes_on_counts_what_is_left() -> None:
    source = write("in", map(change, range(300)))
    done(replay(source, "--event", "MODIFY", "--limit", "40", "--batch-size", "10", run="r"))
    found = plan(source, "--event", "MODIFY", "--batch-size", "10", "--run", "r")
    assert (found["records"]["count"], found["invocations"]) == (100, 6)  # type: ignore[index]


def test_what_cannot_be_counted_in_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from restrike import replay as replay_
    from restrike.replaying import counting

    monkeypatch.setattr(counting, "PLAN_TIMEOUT_S", 0.0)
    source = write("in", map(change, range(300)))
    data = replay_(source, "jsonl:out", event="MODIFY", batch_size=10).data
    assert (data.records.count, data.counted, data.invocations) == (300, "at most", 30)
    assert data.records.how.startswith("at most: the file was read; within 0 s 0 of 0 passed")
    assert replay_(source, "jsonl:out", event="MODIFY", limit=5).data.counted == "at most"
    assert replay_(source, "jsonl:out", batch_size=10).data.counted == "exact"


def test_progress_has_a_share_and_the_time_that_is_left() -> None:
    source = write("in", map(change, range(3_000)))
    words = ("--event", "MODIFY", "--rate", "10", "--batch-size", "2", "--run", "r")
    with started("replay", source, "--to", "jsonl:out", *words, "--execute") as run:
        until(lambda: len(read("out")) >= 62, "six seconds of progress")
        ended = run.interrupt()
    [line] = [line for line in ended.stderr.splitlines() if line.startswith("replaying")]
    assert " of 1,000 (" in line
    assert " %)" in line
    assert " left" in line


# ── nothing found ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--where", "NewImage.n > `1`"], "`NewImage` is not at the top of a record: `dynamodb.NewImage`"),
        (["--key", "custmer"], "0 of 30 records passed: 30 have not the key custmer"),
        (
            ["--pattern", '{"dynamodb": {"NewImage": {"m": {"N": [{"exists": true}]}}}}'],
            "no record has dynamodb.NewImage.m.N",
        ),
        (["--where", "dynamodb.NewImage.n > '1'"], "compared a number with a text"),
        (["--until", "2020-09-13T00:00:00Z"], "0 of 30 records passed: 30 are outside of the window"),
    ],
)
def test_where_nothing_is_found_it_is_told_what_was_looked_through(words: list[str], said: str) -> None:
    source = write("in", map(change, range(30)))
    result = restrike("records", source, *words)
    assert (result.code, result.stdout) == (0, "")
    assert said in result.stderr
    if "--until" not in words:
        planned = restrike("replay", source, "--to", "jsonl:out", *words)
        assert planned.code == 0
        assert said in planned.stdout + planned.stderr


def test_where_something_is_found_nothing_is_told() -> None:
    result = restrike("records", write("in", map(change, range(30))), "--key", "k3")
    assert (result.code, len(result.stdout.splitlines()), result.stderr) == (0, 3, "")


# ── hostile records ──────────────────────────────────────────────────────────────────────────────────────


def test_a_number_of_any_size_does_not_hold_up_a_filter() -> None:
    record = change(1)
    record["dynamodb"]["NewImage"]["n"] = {"N": "1e99999999"}
    result = restrike("records", write("in", [record]), "--where", "dynamodb.NewImage.n > `5`")
    assert (result.code, len(result.stdout.splitlines())) == (0, 1)


def test_a_record_cannot_write_on_the_terminal() -> None:
    record = change(1)
    record["eventName"] = "\x1b[2JINSERT"
    record["dynamodb"]["Keys"]["pk"]["S"] = "\x9b31m\u202e"
    Path("in").write_text(json.dumps(record, ensure_ascii=False) + "\n")
    result = restrike("records", "jsonl:in")
    assert result.code == 0, result
    assert "\\x1b[2JINSERT" in result.stdout
    assert not any(letter in result.stdout for letter in "\x1b\x9b\u202e")
