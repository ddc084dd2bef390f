"""A run's life, with a toy verb: entered, taken up, paused, cancelled, timed out, failed, ended; and what is told."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from restrike.errors import AwsError, UsageError
from restrike.model.report import State
from restrike.running.ledger import Ledger
from restrike.running.life import Entering, Life, Verb, carry_out
from restrike.running.run import Entry, Run
from restrike.running.stop import Stop

TABLES = "CREATE TABLE IF NOT EXISTS toys (run TEXT, toy TEXT)"


class Report(msgspec.Struct):
    state: State
    steps: int = 0

    def as_json(self) -> dict[str, Any]:
        return {"state": self.state, "steps": self.steps}


def verb(name: str = "toy", *, reports_only: bool = False) -> Verb:
    return Verb(
        name, lambda run: {}, lambda run: "", tables=TABLES, own_tables=("toys",),
        reports_only=reports_only,
    )  # fmt: skip


def entering(name: str = "r", *, again: bool = False, **identity: str) -> Entering[Report]:
    entry = Entry(name, "toy", "thing", identity or {"what": "all"}, b"{}", plan={"toy": True}, total=3)
    return Entering(entry, begins_again=lambda _: again)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


async def done(life: Life) -> Report:
    return Report("COMPLETED", 3)


async def until_stopped(life: Life) -> Report:
    await asyncio.wait_for(life.stop.wait(), 600)
    return Report(life.stop.state)


def run_of(path: Path, name: str = "r") -> Run:
    with Ledger(path, read_only=True) as ledger:
        return ledger.get(name)


def test_it_is_entered_carried_out_and_told(path: Path) -> None:
    async def work(life: Life) -> Report:
        assert not life.resumed
        assert life.book.state("r") == "RUNNING"
        assert life.book.is_active("r")
        life.sample(1, {"n": 1})
        return Report("COMPLETED", 3)

    assert carry_out(verb(), path, entering(), work).steps == 3
    run = run_of(path)
    assert (run.state, run.reason, run.total) == ("COMPLETED", "", 3)
    assert msgspec.json.decode(run.report or b"") == {"state": "COMPLETED", "steps": 3}
    assert msgspec.json.decode(run.plan or b"") == {"toy": True}
    with Ledger(path, read_only=True) as ledger:
        assert [each.told for each in ledger.samples("r")] == [{"n": 1}]


def test_the_same_run_is_taken_up(path: Path) -> None:
    carry_out(verb(), path, entering(), until_stopped, time_limit_s=0.0)

    async def work(life: Life) -> Report:
        assert life.resumed
        return Report("COMPLETED")

    carry_out(verb(), path, entering(), work)


def test_another_run_of_that_name_is_refused_and_says_what_differs(path: Path) -> None:
    carry_out(verb(), path, entering(what="all"), done)
    with pytest.raises(UsageError, match="what: it was all, and is some now"):
        carry_out(verb(), path, entering(what="some"), done)
    with pytest.raises(UsageError, match="verb: it was toy, and is other now"):
        carry_out(verb("other"), path, entering(what="all"), done)


def test_beginning_again_empties_what_is_its_own(path: Path) -> None:
    async def work(life: Life) -> Report:
        life.book.db.execute("INSERT INTO toys VALUES ('r', 'ball')")
        return Report("COMPLETED")

    carry_out(verb(), path, entering(), work)

    async def again(life: Life) -> Report:
        assert not life.resumed
        assert life.book.db.rows("SELECT * FROM toys") == []
        assert life.run.epoch == 2
        return Report("COMPLETED")

    carry_out(verb(), path, entering(again=True), again)


@pytest.mark.parametrize(("asked", "state"), [("CANCELLING", "CANCELLED"), ("PAUSING", "PAUSED")])
def test_what_is_asked_through_the_ledger_ends_it(path: Path, asked: State, state: State) -> None:
    async def work(life: Life) -> Report:
        with Ledger(path) as other:
            assert other.ask("r", asked, "by the user")
        return await until_stopped(life)

    assert carry_out(verb(), path, entering(), work).state == state
    assert run_of(path).state == state


def test_a_stop_from_another_thread_ends_it(path: Path) -> None:
    stop, begun = Stop(), threading.Event()

    async def work(life: Life) -> Report:
        begun.set()
        return await until_stopped(life)

    def host() -> None:
        begun.wait(60)
        stop.set()

    thread = threading.Thread(target=host)
    thread.start()
    assert carry_out(verb(), path, entering(), work, stop=stop).state == "INTERRUPTED"
    thread.join()
    assert run_of(path).reason == "stopped by its caller"


def test_a_deadline_ends_it(path: Path) -> None:
    report = carry_out(verb(), path, entering(), until_stopped, time_limit_s=0.01)
    assert report.state == "INTERRUPTED"
    assert run_of(path).reason == "its time was up"


def test_it_runs_in_a_notebook(path: Path) -> None:
    """Where this thread has an event loop already."""

    async def cell() -> Report:
        return carry_out(verb(), path, entering(), done)

    assert asyncio.run(cell()).state == "COMPLETED"


def test_a_failure_is_kept_and_says_how_to_go_on(path: Path) -> None:
    async def work(life: Life) -> Report:
        error = AwsError("refused", "Ask somebody")
        error.report = Report("FAILED", 2)
        raise error

    with pytest.raises(AwsError) as raised:
        carry_out(verb(), path, entering(), work)
    go_on = f"restrike runs resume r --ledger {path} --execute"
    assert raised.value.hint == f"Ask somebody. What is done is saved. Go on with: {go_on}"
    run = run_of(path)
    assert (run.state, run.reason) == ("FAILED", "refused")
    assert msgspec.json.decode(run.report or b"") == {"state": "FAILED", "steps": 2}


def test_a_run_that_is_being_executed_is_refused(path: Path) -> None:
    async def work(life: Life) -> Report:
        with pytest.raises(UsageError, match="is being executed by process"):
            await asyncio.to_thread(carry_out, verb(), path, entering(), done)
        return Report("COMPLETED")

    assert carry_out(verb(), path, entering(), work).state == "COMPLETED"


def unwritable(path: Path) -> None:
    path.write_text("a stranger's file")


def absent(path: Path) -> None:
    path.symlink_to("/nonexistent/folder/ledger.db")


@pytest.mark.parametrize("spoil", [unwritable, absent])
def test_a_run_that_stands_on_something_else_goes_on_without_a_ledger(
    path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(path)
    warned: list[str] = []

    async def work(life: Life) -> Report:
        assert life.ledger is None
        life.save_counts(b"{}", 1.0)
        life.sample(1, {})
        return Report("COMPLETED", 1)

    carry_out(verb(reports_only=True), path, entering(), work, on_warning=warned.append)
    assert len(warned) == 1
    with pytest.raises(UsageError):
        carry_out(verb(), path, entering(), work)


def test_a_ledger_that_fails_meanwhile_is_told_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restrike.running.database.BUSY_S", 0.01)
    warned: list[str] = []

    async def work(life: Life) -> Report:
        with sqlite3.connect(path, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            life.save_counts(b"{}", 1.0)
            life.save_counts(b"{}", 2.0)
            other.execute("ROLLBACK")
        other.close()
        return Report("COMPLETED", 1)

    assert carry_out(verb(reports_only=True), path, entering(), work, on_warning=warned.append).steps == 1
    assert len(warned) == 1


def test_a_run_with_nothing_left_to_do_gives_its_report_and_stays_as_it_is(path: Path) -> None:
    carry_out(verb(), path, entering(), done)
    before = run_of(path)
    again = dataclasses.replace(entering(), done=lambda known: Report("COMPLETED", 7) if known == before else None)
    assert carry_out(verb(), path, again, until_stopped, time_limit_s=0.0).steps == 7
    assert run_of(path) == before
    with pytest.raises(UsageError, match="is another"):  # only where it is the same run
        carry_out(verb(), path, dataclasses.replace(entering(what="less"), done=again.done), done)
