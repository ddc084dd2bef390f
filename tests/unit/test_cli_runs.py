"""The verbs of runs, on a ledger with a few of them."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from restrike.cli.main import run
from restrike.cli.render.runs import short
from restrike.running.ledger import Ledger
from restrike.running.run import Entry, Leftover
from tests.acceptance.command import RESTRIKE, Running, restrike, started
from tests.integration.tables import until
from tests.unit.ways_out import terminal

COUNTS = b'{"counts": {"selected": 200, "fired": 150, "already": 50}}'
LONG = "touch-orders-20261125T163311-a1b2"


def entry(name: str, verb: str = "touch") -> Entry:
    table = "arn:aws:dynamodb:us-east-1:000000000000:table/orders"
    return Entry(name, verb, table, {}, b"{}", total=200)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ledger.db"
    monkeypatch.setenv("RESTRIKE_LEDGER", str(path))
    with Ledger(path) as book:
        for name, verb, state in (
            ("old", "touch", "COMPLETED"), ("copied", "replay", "FAILED"), (LONG, "touch", "COMPLETED"),
        ):  # fmt: skip
            book.enter(entry(name, verb))
            book.end(name, state, "", None)  # type: ignore[arg-type]  # states, as texts
            with book.transaction():
                book.set_counts(name, COUNTS if verb == "touch" else b"{}", 8)
        book.add_leftovers("old", [Leftover(b'{"pk":{"S":"k"}}', "failed", "refused")])
        book.folder("old").mkdir(parents=True)
        (book.folder("old") / "failed.jsonl").write_text("{}\n")
    return path


def names(*words: str) -> list[str]:
    return [each["run"] for each in restrike("runs", "list", "--json", *words).json["runs"]]


def test_the_list_is_narrowed(ledger: Path) -> None:
    assert names() == [LONG, "copied", "old"]
    assert names("--limit", "2") == [LONG, "copied"]
    assert names("--limit", "0") == names()
    assert names("--state", "FAILED") == ["copied"]
    assert names("--verb", "touch") == [LONG, "old"]
    nowhere = restrike("runs", "list", "--ledger", "typo.db")
    assert (nowhere.code, "typo.db, which is not there" in nowhere.stderr) == (0, True)
    assert "no such runs in" in restrike("runs", "list", "--state", "CANCELLED").stderr
    refused = restrike("runs", "list", "--limit", "-1")
    assert (refused.code, refused.stdout) == (2, "")
    assert "--limit -1 is below 0" in refused.stderr


def test_what_is_not_shown_is_counted(ledger: Path) -> None:
    result = restrike("runs", "list", "--limit", "1")
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr == "2 older ones: --limit 0 shows all\n"


def test_in_a_pipe_a_run_is_a_line_whatever_its_length(ledger: Path) -> None:
    header, first, *_ = restrike("runs", "list").stdout.splitlines()
    assert header.split() == ["run", "verb", "state", "began", "age", "took", "on", "did"]
    assert first.startswith(LONG)
    assert "orders" in first
    assert "200 selected, 150 fired" in first


def on_a_terminal(*words: str, columns: int) -> list[str]:
    env = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
    with terminal() as screen:
        subprocess.run([RESTRIKE, *words], stdout=screen.file, env=env, check=True, timeout=60)
    return screen.said.decode().replace("\r", "").splitlines()


def test_eighty_columns_are_enough(ledger: Path) -> None:
    lines = on_a_terminal("runs", "list", columns=80)
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["run", "state", "began", "age", "took"]
    assert lines[1].split()[:2] == [LONG, "COMPLETED"]
    assert lines[2].startswith("  touch orders: 200 selected, 150 fired")
    assert len(on_a_terminal("runs", "list", columns=400)) == 4, "where there is room, a run is a line"


def test_lengths_of_time_are_short() -> None:
    found = [short(seconds) for seconds in (0, 0.44, 9.9, 42, 300, 7200, 400_000)]
    assert found == ["0.0 s", "0.4 s", "9.9 s", "42 s", "5 min", "2 h", "5 d"]


# ── delete ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_is_deleted_whole_and_only_with_execute(ledger: Path) -> None:
    with Ledger(ledger) as book:
        folder = book.folder("old")
    plan = restrike("runs", "delete", "old")
    assert (plan.code, plan.stderr) == (0, "")
    assert "would delete run old (touch orders, COMPLETED" in plan.stdout
    assert "1 left-over, 1 file of 3 bytes" in plan.stdout
    assert "add --execute" in plan.stdout
    assert "old" in names()
    assert (folder / "failed.jsonl").exists()
    done = restrike("runs", "delete", "old", "--execute")
    assert (done.code, done.stdout) == (0, "")
    assert "deleted run old" in done.stderr
    assert names() == [LONG, "copied"]
    assert not folder.exists()
    with Ledger(ledger) as book:
        assert book.count_leftovers("old") == 0
    again = restrike("runs", "delete", "old", "--execute")
    assert (again.code, "no run 'old'" in again.stderr) == (2, True)


def test_one_that_could_go_on_is_said_to_be_lost(ledger: Path) -> None:
    assert "it could not go on any more" in restrike("runs", "delete", "copied").stdout


@pytest.mark.parametrize("words", [[], ["--execute"]])
def test_an_active_run_is_not_deleted(ledger: Path, words: list[str]) -> None:
    with Ledger(ledger) as book:
        book.enter(entry("busy"))
        book.acquire("busy")
        refused = restrike("runs", "delete", "busy", *words)
        assert (refused.code, "run busy is being executed" in refused.stderr) == (2, True)
        assert book.find("busy") is not None


# ── watch ────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def watched(ledger: Path) -> Iterator[tuple[Ledger, Running]]:
    """A run that this process executes, and a `runs watch` that has begun."""
    log = ledger.with_name("log")
    with Ledger(ledger) as book:
        book.enter(entry("busy"))
        book.acquire("busy")
        book.set_state("busy", "RUNNING")
        with started("runs", "watch", "busy", "--log", str(log)) as watching:
            until(log.exists, "the start of watching")
            yield book, watching


def test_watching_ends_with_the_run(ledger: Path) -> None:
    with watched(ledger) as (book, watching):
        book.end("busy", "COMPLETED", "", None)
        book.release("busy")
        ended = watching.end()
    assert ended.code == 0, ended
    assert "COMPLETED" in ended.stdout


def test_watching_one_that_ended_says_how(ledger: Path) -> None:
    assert restrike("runs", "watch", "old").code == 0
    result = restrike("runs", "watch", "copied")
    assert (result.code, "FAILED" in result.stdout) == (1, True)
    assert run(["runs", "watch", "nobody"]) == 2


def test_the_watchers_ctrl_c_leaves_the_run_alone(ledger: Path) -> None:
    with watched(ledger) as (book, watching):
        ended = watching.interrupt()
        assert ended.code == 130, ended
        assert book.state("busy") == "RUNNING"
