"""A commit of the ledger that fails, or a death at one, at each commit of a run in turn: the run goes on from there,
fires each item once, and in the end reports what the table has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import restrike
from restrike.errors import RestrikeError
from restrike.local.dynamodb_local import start_owned
from restrike.model.report import TouchReport
from restrike.running.ledger import Ledger
from restrike.touching import engine
from restrike.touching.plan import TouchPlan
from restrike.touching.run import VERB
from tests.commits import What, injected
from tests.integration.safety import Item, Table, hurry, ledger_path, once_each, resumed, table

ITEMS = 11
SEGMENTS = 6
MOST_COMMITS = 60  # of one run; there are some ten


@pytest.fixture(scope="module")
def engine_url() -> Iterator[str]:
    with start_owned() as server:
        yield server.endpoint_url


@pytest.fixture
def filled(engine_url: str) -> Iterator[tuple[str, Table, list[Item]]]:
    """A table of its own: its whole stream is read after each run, and would hold those of all tests."""
    with table(engine_url, "commits") as target:
        yield engine_url, target, target.fill(ITEMS)


def fired_since(target: Table, before: Counter[str], run: str, mode: str) -> Counter[str]:
    now = target.counted() if mode == "counter" else target.marked(run)
    return now - before


@pytest.mark.parametrize("verify", [True, False], ids=["with-proof", "without"])
@pytest.mark.parametrize("mode", ["marker", "counter"])
@pytest.mark.parametrize("what", ["locked", "fails", "dies-before", "dies-after"])
def test_at_each_commit_in_turn(
    filled: tuple[str, Table, list[Item]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: What,
    mode: str,
    verify: bool,
) -> None:
    hurry(monkeypatch)
    monkeypatch.setattr(engine, "SAVE_EVERY_S", 0.04)
    url, target, items = filled
    for number in range(MOST_COMMITS):
        run = f"{what}-{mode}-{verify}-{number}"
        before = target.counted() if mode == "counter" else Counter[str]()

        def plan(name: str = run) -> TouchPlan:
            return restrike.touch(
                target.name,
                all=True,
                segments=SEGMENTS,
                counter="n" if mode == "counter" else None,
                run=name,
                rate=100.0,
                concurrency=1,
                verify=verify,
                endpoint_url=url,
                ledger=ledger_path(tmp_path),
            )

        planned = plan()
        with injected(what, number) as commits:
            report = executed(planned, dies=what.startswith("dies"))
        if not commits.happened:
            assert report is not None
            break
        with Ledger(Path(ledger_path(tmp_path))) as ledger:
            known = ledger.find(run)
            if known is not None and known.state != "COMPLETED":
                assert report is None
                report = resumed(run, tmp_path)
            elif known is None:
                report = plan().execute()  # it was never accepted
            kept = ledger.get(run)
            told = VERB.summary(kept)
        # Without the proof nobody can tell what a process that died had been about to write.
        unsure = what.startswith("dies") and not verify
        already = told["already"] if unsure and mode == "marker" else 0
        unknown = told["unknown"] if unsure and mode == "counter" else 0
        wanted = (ITEMS, ITEMS - already - unknown, already, unknown, ITEMS if verify else None)
        assert (told["selected"], told["fired"], told["already"], told["unknown"], told["seen"]) == wanted, number
        if report is not None:
            assert (report.selected, report.fired, report.already, report.unknown, report.seen) == wanted, number
            assert (report.state, report.leftover) == ("COMPLETED", unknown), number
        assert fired_since(target, before, run, mode) == once_each(items), number
    else:
        raise AssertionError("there is no end of commits")
    assert number > 3, "it was to meet several commits"


def executed(plan: TouchPlan, *, dies: bool) -> TouchReport | None:
    """The report; None where it failed, and then it says that it was the ledger, or died."""
    try:
        return plan.execute()
    except Exception as error:
        if dies or (isinstance(error, RestrikeError) and "ledger" in error.message):
            return None
        raise
