"""`restrike runs`, and what is the same for the runs of every verb: pause, cancel, captures, verbs of others."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from restrike.model.report import State
from restrike.running.ledger import Ledger
from restrike.running.run import Entry
from tests.acceptance import command
from tests.acceptance.command import Result, restrike, started
from tests.integration import tables
from tests.integration.tables import Index, Table, numbers, run_name, touch, until

LEDGER = Path("ledger.db")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESTRIKE_LEDGER", str(tmp_path / LEDGER))
    return tmp_path


@pytest.fixture
def table(dynamodb_local: str, monkeypatch: pytest.MonkeyPatch) -> Table:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_local)
    return tables.create(dynamodb_local, ("pk", "S"), ("sk", "N"), items=[{"pk": "p", "sk": n} for n in range(40)])


def capture(table: Table, *words: str) -> Result:
    return restrike("capture", table.name, "--to", "kept", "--execute", "--json", *words)


def entered(name: str, verb: str, state: State = "RUNNING") -> None:
    with Ledger(LEDGER) as ledger:
        ledger.enter(Entry(name, verb, "something", {}, b"{}"))
        if state != "RUNNING":
            ledger.end(name, state, "", None)


# ── a capture is a run ───────────────────────────────────────────────────────────────────────────────────


def test_all_starts_of_a_capture_are_one_run(table: Table) -> None:
    first = capture(table, "--once").json
    table.load([{"pk": "q", "sk": n} for n in range(5)])
    second = capture(table, "--once").json
    assert (first["records"], second["records"], first["run"]) == (40, 5, second["run"])
    (listed,) = restrike("runs", "list", "--json").json["runs"]
    assert (listed["run"], listed["verb"], listed["state"]) == (first["run"], "capture", "COMPLETED")
    assert (listed["records"], listed["starts"]) == (45, 2)
    assert "45 records in 2 files, 2 starts" in restrike("runs", "list").stdout
    shown = restrike("runs", "show", first["run"], "--json").json
    assert shown["report"]["records"] == 5
    assert shown["plan"]["archive"] == "kept"
    resumed = restrike("runs", "resume", first["run"], "--execute", "--json")
    assert (resumed.code, resumed.json["records"], resumed.json["run"]) == (0, 0, first["run"]), resumed


def test_a_capture_that_follows_is_listed_with_its_lag_and_can_be_paused(table: Table) -> None:
    words = ("capture", table.name, "--to", "kept", "--follow", "--execute", "--json", "--flush-seconds", "0.2")
    with started(*words, "--poll-seconds", "0.2") as running:
        until(lambda: any(run.get("records") == 40 for run in command.runs().values()), "what is there to be captured")
        (run,) = command.runs().values()
        assert run["state"] == "RUNNING"
        assert run["lag_s"] is not None
        assert restrike("runs", "pause", run["run"]).code == 0
        ended = running.end()
    assert (ended.code, ended.json["state"]) == (0, "PAUSED"), ended
    assert command.runs()[run["run"]]["state"] == "PAUSED"


@pytest.mark.parametrize("how", ["a stranger's", "no folder"])
def test_a_capture_goes_on_without_a_ledger(table: Table, how: str, folder: Path) -> None:
    """The archive is the checkpoint: the ledger only tells."""
    ledger = folder / "other.db"
    if how == "no folder":
        ledger.write_text("a file")
        ledger = ledger / "ledger.db"
    else:
        with sqlite3.connect(ledger) as db:
            db.execute("CREATE TABLE theirs (a)")
        db.close()
    before = ledger.read_bytes() if ledger.exists() else None
    done = capture(table, "--once", "--ledger", str(ledger))
    assert (done.code, done.json["records"]) == (0, 40), done
    assert "this run is not shown, and goes on" in done.stderr
    assert (ledger.read_bytes() if ledger.exists() else None) == before


# ── pause, cancel, and verbs of others ───────────────────────────────────────────────────────────────────


def test_a_paused_run_goes_on(table: Table) -> None:
    run = run_name()
    slow = (
        "touch",
        table.name,
        "--partition-key",
        "p",
        "--ordered",
        "--rate",
        "4",
        "--execute",
        "--json",
        "--run",
        run,
    )
    with started(*slow) as running:
        until(lambda: table.fired(run), "the first items")
        paused = restrike("runs", "pause", run)
        result = running.end()
    assert (paused.code, result.json["state"]) == (0, "PAUSED"), (paused, result)
    assert 0 < result.json["fired"] < 40
    assert f"restrike runs resume {run}" in result.stderr
    assert command.runs()[run]["state"] == "PAUSED"
    resumed = restrike("runs", "resume", run, "--rate", "10000", "--execute", "--json")
    assert (resumed.code, resumed.json["state"], resumed.json["fired"]) == (0, "COMPLETED", 40), resumed
    assert set(table.fired(run).values()) == {1}


@pytest.mark.parametrize(
    ("state", "word", "code", "says", "then"),
    [
        ("RUNNING", "pause", 0, "run r is paused. Go on with it: restrike runs resume r", "PAUSED"),  # its process died
        ("PAUSED", "pause", 0, "run r is paused already. Go on with it: restrike runs resume r", "PAUSED"),
        ("INTERRUPTED", "pause", 0, "run r is paused. Go on with it:", "PAUSED"),
        ("COMPLETED", "pause", 2, "run r is completed already", "COMPLETED"),
        ("CANCELLED", "pause", 2, "run r is not at work: it is cancelled", "CANCELLED"),
        ("FAILED", "pause", 2, "run r is not at work: it is failed", "FAILED"),
        ("LIMITED", "pause", 2, "run r is not at work: it is limited", "LIMITED"),
        ("PAUSED", "cancel", 0, "run r is cancelled. Go on with it: restrike runs resume r", "CANCELLED"),
        ("CANCELLED", "cancel", 0, "run r is cancelled already", "CANCELLED"),
        ("FAILED", "cancel", 0, "run r is cancelled", "CANCELLED"),
        ("COMPLETED", "cancel", 2, "run r is completed already", "COMPLETED"),
    ],
)
def test_a_run_that_is_not_at_work_is_paused_or_cancelled(
    state: State, word: str, code: int, says: str, then: State
) -> None:
    entered("r", "touch", state)
    result = restrike("runs", word, "r")
    assert (result.code, result.stdout) == (code, "")
    assert says in result.stderr
    assert command.runs()["r"]["state"] == then
    again = restrike("runs", word, "r")
    assert (again.code, command.runs()["r"]["state"]) == (code, then), "a second time it is the same"


def test_a_run_that_is_being_cancelled_is_not_paused() -> None:
    entered("r", "touch")
    with Ledger(LEDGER) as ledger:
        ledger.acquire("r")
        ledger.ask("r", "CANCELLING", "cancelled by the user")
        refused = restrike("runs", "pause", "r")
        again = restrike("runs", "cancel", "r")
    assert (refused.code, again.code) == (2, 0)
    assert "run r is being cancelled" in refused.stderr
    assert command.runs()["r"]["state"] == "INTERRUPTED", "this process did not end it"


def test_a_verb_that_is_not_known_is_listed_and_not_resumed(table: Table) -> None:
    """It became a touch."""
    entered("r", "transmogrify", "FAILED")
    (listed,) = restrike("runs", "list", "--json").json["runs"]
    assert (listed["run"], listed["verb"], listed["state"]) == ("r", "transmogrify", "FAILED")
    assert "transmogrify" in restrike("runs", "list").stdout
    assert restrike("runs", "show", "r").code == 0
    refused = restrike("runs", "resume", "r")
    assert (refused.code, refused.stdout) == (2, "")
    assert "run r is a transmogrify, and this restrike does not know that verb" in refused.stderr


@pytest.mark.parametrize("word", ["cancel", "pause"])
def test_a_run_that_has_just_completed_stays_complete(word: str) -> None:
    """Its process holds the lock yet, and its state is written: it became INTERRUPTED for ever."""
    entered("r", "touch", "COMPLETED")
    with Ledger(LEDGER) as ledger:
        ledger.acquire("r")
        refused = restrike("runs", word, "r")
    assert refused.code == 2
    assert "run r has just ended: completed" in refused.stderr
    assert command.runs()["r"]["state"] == "COMPLETED"


def test_an_ordered_run_begun_again_reads_its_index_anew(dynamodb_local: str) -> None:
    """It used the list of keys of the first time: what was new was not fired."""
    indexed = tables.create(
        dynamodb_local,
        ("pk", "S"),
        ("sk", "N"),
        indexes=[Index("by_day", ("day", "S"))],
        items=[{"pk": "p", "sk": n, "day": "2021-01-22"} for n in range(5)],
    )
    first = touch(indexed, index="by_day", date="2021-01-22", ordered=True)
    assert first.fired == 5
    indexed.load([{"pk": "p", "sk": n, "day": "2021-01-22"} for n in range(5, 8)])
    second = touch(indexed, index="by_day", date="2021-01-22", ordered=True, run=first.run, again=True)
    assert (second.selected, second.fired, second.already) == (8, 3, 5)
    assert numbers(list(indexed.fired(first.run))) == list(range(8))
