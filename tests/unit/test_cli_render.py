"""How runs look: the words for people, and what is the same for all verbs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from restrike.cli.carrying import carry_out
from restrike.cli.render import Look, look_of
from restrike.cli.render.rows import Rows, show_columns
from restrike.cli.render.streams import put_json
from restrike.cli.render.touch import progress_text
from restrike.errors import AwsError, UsageError
from restrike.model.numbers import counted, duration, money
from restrike.model.plan import PlanWarning
from restrike.model.report import Counts
from restrike.verbs import PACKAGES


@pytest.mark.parametrize("verb", PACKAGES)
def test_every_verb_that_makes_runs_has_a_look(verb: str) -> None:
    assert isinstance(look_of(verb), Look)


def test_a_verb_that_is_not_known_has_none() -> None:
    with pytest.raises(UsageError, match="'rewind'"):
        look_of("rewind")


def test_numbers_read_well() -> None:
    assert (counted(1, "file"), counted(2_000, "file"), counted(0, "file")) == ("1 file", "2,000 files", "0 files")
    assert [duration(s) for s in (0.44, 12, 200, 7_500, 120)] == ["0.4 s", "12 s", "3 min 20 s", "2 h 5 min", "2 min"]
    assert (money(0), money(0.001), money(1234.5)) == ("$0.00", "less than $0.01", "$1,234.50")


def test_columns_are_made_to_be_cut(capsys: pytest.CaptureFixture[str]) -> None:
    show_columns(["run", "items"], [["a", "1"], ["long", "1,000"]], frozenset({"items"}))
    assert capsys.readouterr().out == "run   items\na         1\nlong  1,000\n"


def test_json_is_as_it_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    put_json({"run": "é"})
    assert capsys.readouterr().out == '{"run": "é"}\n'


def progress(**changes: Any) -> Any:
    counts = Counts(selected=50, fired=40, already=10)
    told = {"phase": "touching", "counts": counts, "seen": 30, "items_per_s": 10.0, "throttles": 0, "held": ""}
    return SimpleNamespace(**{**told, **changes})


def test_progress_of_a_touch() -> None:
    assert progress_text(progress(), 100) == "touching 50 of 100 (50%), 40 fired, 30 seen, 10 items/s, 5.0 s left"
    assert progress_text(progress(seen=None, throttles=2), None) == "touching 50, 40 fired, 10 items/s, 2 throttles"
    assert "left" not in progress_text(progress(phase="verifying"), 100)
    slower = progress(held="slower: f is 6 min behind, and --max-lag is 5 min")
    assert progress_text(slower, None).endswith("10 items/s, slower: f is 6 min behind, and --max-lag is 5 min")


# ── carried out under the eyes of its user ───────────────────────────────────────────────────────────────


class Report(msgspec.Struct):
    state: str
    run: str = "toy"
    selected: int = 10

    @property
    def exit_code(self) -> int:
        return {"INTERRUPTED": 130, "LIMITED": 1}.get(self.state, 0)

    def as_json(self) -> dict[str, Any]:
        return {"run": self.run, "state": self.state}


class ToyData(msgspec.Struct):
    name: str
    expected: int | None


class Toy:
    """A plan that comes to that state, and what it was shown as."""

    ledger = "/a ledger.db"
    resume_words = ("--mind",)

    def __init__(self, state: str, *, fails: bool = False, follows: bool = False, expected: int | None = None) -> None:
        self.data = ToyData("the toy", expected)
        self.follows = follows
        self.shown: list[str] = []
        self.report = Report(state)
        self._fails = fails

    def look(self, *, json_beside: bool = True) -> Look:
        return Look(
            plan=_rows,
            headline=lambda data: f"run {data.name}",
            progress=lambda _: Progress(self.shown),
            report=lambda report: self.shown.append(report.state),
            json_beside=lambda _: json_beside,
        )

    def as_json(self) -> dict[str, Any]:
        return {"plan": {"name": self.data.name, "sample_keys": ["k"], "command": "play k"}}

    def discard(self) -> None:
        self.shown.append("discarded")

    def execute(self, on_progress: Any, **_: Any) -> Report:
        on_progress("half")
        if self._fails:
            error = AwsError("refused")
            error.report = self.report
            raise error
        return self.report


def _rows(data: ToyData) -> Rows:
    row = Rows()
    row("plan of", data.name)
    row.example("for example", "k")
    row.warnings((PlanWarning("toy", "it is only a toy"),))
    row.to_do("Nothing was played.", "play --execute")
    return row


class Progress:
    def __init__(self, shown: list[str]) -> None:
        self._shown = shown

    def __call__(self, progress: str) -> None:
        self._shown.append(progress)

    def close(self) -> None:
        self._shown.append("closed")


def test_without_execute_the_plan_is_shown_and_nothing_done(capsys: pytest.CaptureFixture[str]) -> None:
    toy = Toy("COMPLETED")
    assert carry_out(toy, toy.look(), execute=False, as_json=False) == 0
    assert toy.shown == ["discarded"]
    told = capsys.readouterr()
    assert told.err == ""
    assert told.out == (
        "plan of      the toy\nfor example  k\nwarning      it is only a toy\n"
        "Nothing was played. To do it:\n  play --execute\n"
    )
    assert carry_out(toy, toy.look(), execute=False, as_json=True) == 0
    told = capsys.readouterr()
    whole = '{"plan": {"name": "the toy", "sample_keys": ["k"], "command": "play k"}}\n'
    assert (told.out, told.err) == (whole, "")


@pytest.mark.parametrize("state", ["INTERRUPTED", "LIMITED", "PAUSED", "COMPLETED"])
def test_a_report_is_shown_and_how_to_go_on(state: str, capsys: pytest.CaptureFixture[str]) -> None:
    toy = Toy(state)
    assert carry_out(toy, toy.look(), execute=True, as_json=True) == toy.report.exit_code
    told = capsys.readouterr()
    assert toy.shown[0] == "half"
    assert toy.shown[-1] == state
    assert told.out == f'{{"run": "toy", "state": "{state}", "plan": {{"name": "the toy"}}}}\n'
    assert told.err.startswith("plan of  the toy\nwarning: it is only a toy\nrun the toy\n")
    go_on = "restrike runs resume toy --ledger '/a ledger.db'"
    said = {"COMPLETED": "", "LIMITED": f"ended at its --limit. What would be done next: {go_on}\n"}
    assert told.err.endswith(said.get(state, f"go on with: {go_on} --mind --execute\n"))


def test_what_remains_after_a_limit_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    toy = Toy("LIMITED", expected=200)
    carry_out(toy, toy.look(), execute=True, as_json=False)
    assert "ended at its --limit; about 190 remain. What would be done next: restrike" in capsys.readouterr().err


def test_a_follower_that_was_stopped_is_no_failure() -> None:
    """It has no end but that one: a service manager that ends it must not see a failure."""
    toy = Toy("INTERRUPTED", follows=True)
    assert carry_out(toy, toy.look(), execute=True, as_json=False) == 0


def test_the_report_of_a_run_that_failed_is_shown_too(capsys: pytest.CaptureFixture[str]) -> None:
    toy = Toy("FAILED", fails=True)
    with pytest.raises(AwsError):
        carry_out(toy, toy.look(), execute=True, as_json=False)
    assert "FAILED" in toy.shown
    assert toy.shown.index("closed") < toy.shown.index("FAILED"), "a live line is ended before others are written"
    assert capsys.readouterr().out == ""


def test_where_records_go_to_stdout_the_report_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    toy = Toy("COMPLETED")
    carry_out(toy, toy.look(json_beside=False), execute=True, as_json=True)
    assert capsys.readouterr().out == ""
