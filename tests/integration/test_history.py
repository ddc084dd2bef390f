"""Random histories of runs on one table, judged by plain boto3: what is reported is so, or it is told.

Runs start, are killed, go on, are repeated under other names and from other ledgers; meanwhile the application writes,
the table is made anew, ledgers and their folders get lost, clocks go wrong and disks are full. After each command the
judge reads what the stream has got and holds it against what the command said.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import resource
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from restrike.running.ledger import Ledger
from restrike.touching.run import VERB
from tests.acceptance import forked
from tests.integration.safety import AWAIT_S, Item, Table, await_true, key_text
from tests.servers.faults import HangAfterApply, Proxy, ServerError, faulty

ITEMS = 60
SEEDS, SOAK_SEEDS = 3, 30
HOUR_S = 3600.0
UNTOLD = re.compile(r"Traceback|This is a bug")
HAD_NO_ANSWER = re.compile(r"([\d,]+) of those that fired had no answer")
MORE_FIRED = re.compile(r"([\d,]+) more fired")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(SOAK_SEEDS if metafunc.config.getoption("--soak") else SEEDS))


# ── what happens to a process, done in it before it begins ───────────────────────────────────────────────────


def move_clock(by_s: float) -> None:
    true = time.time
    time.time = lambda: true() + by_s


def fill_disk(size: int) -> None:
    """No file may become larger than that; Python lets the write fail then, and not the process."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


# ── the model ────────────────────────────────────────────────────────────────────────────────────────────────


class Run:
    """What is known of one run in one ledger. `fired` are its records since it began there, or began again."""

    def __init__(
        self, name: str, ledger: Path, mode: str, keys: Path | None, *, verify: bool, table_number: int
    ) -> None:
        self.name, self.ledger, self.mode, self.keys, self.verify = name, ledger, mode, keys, verify
        self.table_number = table_number  # of the table that it began on
        self.fired: Counter[str] = Counter()
        self.complete = False
        self.entered = False  # whether the ledger may know it

    def words(self, table: str, url: str) -> list[str]:
        words = ["touch", table, *(["--keys", str(self.keys)] if self.keys else ["--all", "--segments", "4"])]
        words += ["--run", self.name, "--execute", "--json", "--concurrency", "1", "--endpoint-url", url]
        words += ["--ledger", str(self.ledger), *(["--counter", "n"] if self.mode == "counter" else [])]
        return words + (["--verify", "--verify-timeout", "5"] if self.verify else ["--no-verify"])

    def __str__(self) -> str:
        what = "all" if self.keys is None else self.keys.name
        return f"{self.name} in {self.ledger.name} ({self.mode}, {what}, {'proof' if self.verify else 'no proof'})"


class Said:
    """What a command said. `report` is None where there is none on stdout."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        self.report: dict[str, Any] | None = None
        with contextlib.suppress(ValueError):
            self.report = json.loads(out)

    @property
    def nothing_new(self) -> bool:
        return "nothing new" in self.err or "nothing new" in self.out


class History:
    """One seed: the steps, the world in which they happen, and the judge."""

    def __init__(self, seed: int, proxy: Proxy, url: str, folder: Path) -> None:
        self.steps: list[str] = []
        self._rng = random.Random(seed)
        self._proxy, self._url, self._folder = proxy, url, folder
        self._name = f"history-{uuid.uuid4().hex[:12]}"
        self._runs: dict[tuple[str, Path], Run] = {}
        self._tables = 0
        self._names = 0
        self._wiped: set[tuple[str, str]] = set()  # (run, key): the name went after the run had put it there
        self._told_again = False
        self._read = 0  # records that are judged
        self._make_table()

    # ── the world ────────────────────────────────────────────────────────────────────────────────────────

    def _make_table(self) -> None:
        self._tables += 1
        self.table = Table(self._url, self._name)
        self._items = self.table.fill(ITEMS)
        self._read = len(self.table.read_stream())
        self._ever: Counter[tuple[str, str]] = Counter()  # how often a name fired an item of this table
        self._wiped.clear()

    def close(self) -> None:
        self.table.close()

    def _some_items(self, count: int) -> list[Item]:
        return self._rng.sample(self._items, min(count, len(self._items)))

    def _step(self, text: str) -> None:
        self.steps.append(text)

    def _result(self, text: str) -> None:
        self.steps[-1] += f"\n     → {text}"

    def __str__(self) -> str:
        return "\n".join(f"{number:2}. {text}" for number, text in enumerate(self.steps, 1))

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────

    def play(self, length: int) -> None:
        """Begins with a run that is killed, so that there is something to go wrong."""
        self.start_and_kill()
        kinds = [
            self.start, self.start_and_kill, self.go_on, self.go_on, self.repeat, self.repeat, self.other_ledger,
            self.start_again, self.application_visits, self.application_puts, self.application_deletes,
            self.lose_folder, self.lose_ledger, self.make_table_anew, self.clock_moved, self.disk_full,
        ]  # fmt: skip
        for _ in range(length - 2):
            self._rng.choice(kinds)()
        self.go_on()

    def _new_run(self) -> Run:
        self._names += 1
        keys = None
        if self._rng.random() < 0.4:
            keys = self._folder / f"keys-{self._names}.jsonl"
            chosen = self._some_items(ITEMS * 2 // 3)
            keys.write_text("".join(json.dumps({"pk": each["pk"], "sk": each["sk"]}) + "\n" for each in chosen))
        run = Run(
            f"run-{self._names}",
            self._folder / "one.db",
            self._rng.choice(["marker", "marker", "counter"]),
            keys,
            verify=self._rng.random() < 0.8,
            table_number=self._tables,
        )
        self._runs[(run.name, run.ledger)] = run
        return run

    def _known(self, *, complete: bool | None = None) -> Run | None:
        found = [run for run in self._runs.values() if run.entered and (complete is None or run.complete is complete)]
        return self._rng.choice(found) if found else None

    def start(self) -> None:
        run = self._new_run()
        self._step(f"start {run}")
        self._execute(run)

    def start_and_kill(self) -> None:
        self._kill(self._new_run())

    def go_on(self) -> None:
        run = self._known(complete=False)
        if run is None:
            self.start()
        elif self._rng.random() < 0.3:
            self._kill(run)
        else:
            resume = self._rng.random() < 0.5
            self._step(f"{'resume' if resume else 'the same command for'} {run}")
            self._execute(run, resume=resume)

    def repeat(self) -> None:
        run = self._known(complete=True)
        if run is not None:
            self._step(f"once more {run}")
            self._execute(run)

    def start_again(self) -> None:
        run = self._known(complete=True)
        if run is not None and run.table_number == self._tables:
            self._step(f"--again {run}")
            self._execute(run, again=True)

    def other_ledger(self) -> None:
        known = self._known()
        if known is None or known.mode == "counter":
            return  # a counter needs its ledger, as the docs say
        ledger = self._folder / "two.db"
        run = self._runs.get((known.name, ledger))
        if run is None:
            run = Run(known.name, ledger, known.mode, known.keys, verify=known.verify, table_number=self._tables)
            self._runs[(run.name, ledger)] = run
        self._step(f"from another machine {run}")
        self._execute(run)

    def application_visits(self) -> None:
        items = self._some_items(10)
        self._step(f"the application counts on {len(items)} items")
        for item in items:
            with contextlib.suppress(self.table.client.exceptions.ConditionalCheckFailedException):
                self.table.client.update_item(
                    TableName=self._name,
                    Key={"pk": item["pk"], "sk": item["sk"]},
                    ConditionExpression="attribute_exists(pk)",
                    UpdateExpression="ADD n :one, visits :one",
                    ExpressionAttributeValues={":one": {"N": "1"}},
                )

    def application_puts(self) -> None:
        """Whole items, without any marker."""
        items = self._some_items(10)
        self._step(f"the application puts {len(items)} whole items")
        now = self.table.scan()
        for item in items:
            if key_text(item) in now:
                whole = {name: value for name, value in now[key_text(item)].items() if name != "restrike"}
                self.table.client.put_item(TableName=self._name, Item=whole)

    def application_deletes(self) -> None:
        items = self._some_items(3)
        self._step(f"the application deletes {len(items)} items")
        for item in items:
            self._items.remove(item)
            self.table.client.delete_item(TableName=self._name, Key={"pk": item["pk"], "sk": item["sk"]})

    def lose_folder(self) -> None:
        self._step("the folder beside the ledger is lost")
        shutil.rmtree(self._folder / "one-runs", ignore_errors=True)

    def lose_ledger(self) -> None:
        self._step("the ledger is lost")
        for path in self._folder.glob("one.db*"):
            path.unlink()
        shutil.rmtree(self._folder / "one-runs", ignore_errors=True)
        for run in list(self._runs.values()):
            if run.ledger.name == "one.db":
                del self._runs[(run.name, run.ledger)]

    def make_table_anew(self) -> None:
        self._step("the table is made anew")
        self._judge_application()
        self.table.close()
        self._make_table()

    def clock_moved(self) -> None:
        run = self._known() or self._new_run()
        by_s = self._rng.choice([-3 * HOUR_S, -48 * HOUR_S, 100 * 24 * HOUR_S])
        self._step(f"with a clock that is {by_s / HOUR_S:+g} h wrong: {run}")
        self._execute(run, before=[(move_clock, by_s)])

    def disk_full(self) -> None:
        run = self._known(complete=False) or self._new_run()
        size = self._rng.choice([16, 40, 80, 120]) * 1024
        self._step(f"where a file takes {size // 1024} KiB at most: {run}")
        self._execute(run, before=[(fill_disk, size)])

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────────

    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    def _execute(self, run: Run, *, resume: bool = False, again: bool = False, before: forked.Before = ()) -> None:
        self._judge_application()
        words = run.words(self._name, self._proxy.endpoint_url) + (["--again"] if again else [])
        if resume:
            words = ["runs", "resume", run.name, "--execute", "--json", "--ledger", str(run.ledger)]
        with forked.start(words, b"", self._environment(), before) as started:
            code, out, err = started.end(AWAIT_S)
        said = Said(code, out.decode(), err.decode())
        self._result(f"{said.code}: {_short(said)}")
        was_complete = run.complete
        if again and was_complete:
            run.fired.clear()
        fired = self._judge_records(run, may_repeat=again or not was_complete)
        self._judge_said(run, said, fired, again=again, was_complete=was_complete)

    def _kill(self, run: Run) -> None:
        """kill -9 after some batches, with or without a save since."""
        batches, wait_s = self._rng.randrange(3), self._rng.choice([0.0, 1.2])
        self._judge_application()
        self._step(f"kill -9 in batch {batches + 1}{', after a save,' if wait_s else ''} of {run}")
        hung = self._proxy.fired(HangAfterApply)
        hang = HangAfterApply("BatchExecuteStatement", skip=batches, times=1)
        # What it would send after that is not let through: nothing is under way when it is killed.
        self._proxy.script([hang, ServerError("BatchExecuteStatement", skip=batches)])
        with forked.start(run.words(self._name, self._proxy.endpoint_url), b"", self._environment()) as started:
            await_true(lambda: self._proxy.fired(HangAfterApply) > hung or started.ended, "a batch hangs")
            time.sleep(wait_s if not started.ended else 0.0)
            if started.ended:
                code, out, err = started.end(AWAIT_S)
                self._result("it ended before that")
            else:
                started.kill()
                code, out, err = -9, b"", b""
        self._proxy.script([])
        await_true(lambda: not self._proxy.forwarding, "what was sent is carried out")
        said = Said(code, out.decode(), err.decode())
        fired = self._judge_records(run, may_repeat=not run.complete)
        if code == -9:
            self._judge_killed(run)
        else:
            self._result(f"{said.code}: {_short(said)}")
            self._judge_said(run, said, fired, again=False, was_complete=run.complete)

    # ── the judge ────────────────────────────────────────────────────────────────────────────────────────

    def _judge_application(self) -> None:
        """Reads what the application wrote; nothing of that is a run's."""
        for record in self._new_records():
            assert not _is_counted(record), "a run counted while none was executed"
            name = _newly_marked(record)
            assert name is None, f"{name} fired while no run was executed"
            self._wipe(record)

    def _new_records(self) -> Iterator[dict[str, Any]]:
        records = self.table.read_stream()
        new, self._read = records[self._read :], len(records)
        yield from new

    def _wipe(self, record: dict[str, Any]) -> None:
        old, new = record.get("OldImage", {}).get("restrike"), record.get("NewImage", {}).get("restrike")
        if old is not None and old != new:
            self._wiped.add((old["S"], key_text(record["Keys"])))

    def _judge_records(self, run: Run, *, may_repeat: bool) -> int:
        """What the stream has got from a command of that run: only its own writes, and none twice."""
        fired = 0
        for record in self._new_records():
            key = key_text(record["Keys"])
            if run.mode == "counter":
                assert _is_counted(record), f"a command of a counter made another record: {record}"
                assert not self._ever[(run.name, key)] or not run.verify or not run.entered, f"{key} fired twice"
            else:
                assert _newly_marked(record) == run.name, f"a command of {run.name} made another record: {record}"
                if self._ever[(run.name, key)]:
                    assert (run.name, key) in self._wiped, f"{key} fired twice by {run.name}, and bore its name"
                    assert may_repeat, f"{key} fired twice by {run.name}, which was complete"
                self._wipe(record)
                self._wiped.discard((run.name, key))
            self._ever[(run.name, key)] += 1
            run.fired[key] += 1
            fired += 1
        return fired

    def _judge_killed(self, run: Run) -> None:
        """What `runs show` says of it."""
        if not run.ledger.exists():
            return
        with Ledger(run.ledger, read_only=True) as ledger:
            known = ledger.find(run.name)
            if known is None:
                return
            run.entered = True
            assert (ledger.state_now(known) == "COMPLETED") <= run.complete, "it is not complete"
            told = VERB.summary(known)
        assert told["fired"] <= run.fired.total(), "more is said to have fired than did"

    def _judge_said(self, run: Run, said: Said, fired: int, *, again: bool, was_complete: bool) -> None:
        assert not UNTOLD.search(said.err + said.out), said.err
        if said.report is None or said.report["state"] != "COMPLETED":
            assert said.code not in (0, -9), said.err
            assert said.err.strip(), "it failed, and said nothing"
            self._judge_killed(run)
            return
        report = said.report
        run.entered = True
        assert run.table_number == self._tables, "it went on with another table of that name, and said nothing"
        if was_complete and not again:
            assert said.nothing_new, said.err
            assert fired == 0, "it said that there was nothing new, and fired"
        run.complete = True
        self._judge_report(run, report, said)

    def _judge_report(self, run: Run, report: dict[str, Any], said: Said) -> None:
        told = msgspec.convert(report, type=Told)
        # What was in flight is repeated where the name went meanwhile: then an item has more records than one.
        truth, items = run.fired.total(), len(run.fired)
        parts = told.fired + told.already + told.gone + told.changed + told.refused + told.unknown + told.failed
        assert told.selected == parts
        more = told.noted(MORE_FIRED)
        # Another counter's record is no other than this run's: so many were told by theirs alone.
        unsure = told.noted(HAD_NO_ANSWER) if run.mode == "counter" else 0
        if run.verify:
            assert told.unknown == 0
            assert told.fired - unsure <= truth, f"{told.fired} are said to have fired (but {unsure}), and {truth} did"
            assert items <= told.fired + more, f"{told.fired} are said to have fired (and {more}), and {items} did"
            assert told.seen == told.fired
        elif run.mode == "counter":
            assert told.fired <= truth <= told.fired + told.unknown
        else:
            assert items <= told.fired + told.already + told.gone
        assert said.code == (1 if told.failed or told.refused or told.unknown else 6 if told.leftover else 0)
        assert (told.leftover > 0) == (said.code != 0)
        there = self._there(run)
        assert told.selected >= len(there), f"{len(there)} are selected, {told.selected} were"
        missing = {key for key in there if not self._ever[(run.name, key)]}
        told_of = told.changed + told.unknown + told.failed + unsure
        assert len(missing) <= told_of, f"never fired: {sorted(missing)}"

    def _there(self, run: Run) -> set[str]:
        """The keys that the run selects, as far as the items are there."""
        now = {key_text(item) for item in self._items}
        if run.keys is None:
            return now
        return now & {key_text(json.loads(line)) for line in run.keys.read_text().splitlines()}


class Told(msgspec.Struct):
    """A report, as far as it is judged."""

    selected: int
    fired: int
    already: int
    gone: int
    changed: int
    refused: int
    unknown: int
    failed: int
    leftover: int
    seen: int | None
    notes: list[str] = []

    def noted(self, what: re.Pattern[str]) -> int:
        return sum(int(found.replace(",", "")) for found in what.findall(" ".join(self.notes)))


def _newly_marked(record: dict[str, Any]) -> str | None:
    """The run whose name the record puts on the item."""
    old, new = record.get("OldImage", {}).get("restrike"), record.get("NewImage", {}).get("restrike")
    return new["S"] if record["eventName"] == "MODIFY" and new is not None and new != old else None


def _is_counted(record: dict[str, Any]) -> bool:
    """Whether the number went up by 1 and nothing else was changed; the application never does so."""
    if record["eventName"] != "MODIFY" or "n" not in record["NewImage"]:
        return False
    old, new = record["OldImage"], record["NewImage"]
    return int(new["n"]["N"]) == int(old.get("n", {"N": "0"})["N"]) + 1 and old | {"n": new["n"]} == new


def _short(said: Said) -> str:
    if said.report is not None and "state" in said.report:
        names = ("fired", "already", "gone", "changed", "unknown", "failed", "seen")
        return f"{said.report['state']} " + ", ".join(f"{said.report.get(name)} {name}" for name in names)
    return " / ".join(said.err.strip().splitlines()[-2:])


@pytest.fixture(scope="module")
def proxy(dynamodb_local: str) -> Iterator[Proxy]:
    with faulty(dynamodb_local) as proxy:
        yield proxy


@pytest.mark.soak
def test_no_history_makes_it_lie(
    pytestconfig: pytest.Config, dynamodb_local: str, proxy: Proxy, tmp_path: Path, seed: int
) -> None:
    history = History(seed, proxy, dynamodb_local, tmp_path)
    try:
        history.play(length=12 if pytestconfig.getoption("--soak") else 8)
    except BaseException as error:
        raise AssertionError(f"{error}\n\nseed {seed}:\n{history}") from error
    finally:
        history.close()
