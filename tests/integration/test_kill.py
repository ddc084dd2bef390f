"""Killed again and again and taken up each time, a run fires every item exactly once."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from restrike.local.dynamodb_local import start_owned
from restrike.model.report import Counts
from restrike.touching.book import Saved
from tests.integration.safety import (
    INDEX,
    Command,
    await_true,
    command,
    key_text,
    once_each,
    restrike,
    table,
)
from tests.servers.faults import Body, Fault, HangAfterApply, Proxy, ServerError, faulty

RATE = 1_500
STEP = 25  # items, a batch
ITEMS_A_KILL = 3 * STEP
MOMENTS = ("unanswered", "records", "saved", "records", "birth", "records", "taken", "records", "unanswered", "saved")
"""Where a run is killed while it writes, over and over. The last kills come while it reads the stream for proof."""


class Row(msgspec.Struct):
    state: str
    updated_at: float
    elapsed_s: float
    counts: Counts


class Scenario:
    """One run under fire: how far it may come, how far it is, and where it is killed.

    The proxy refuses writes beyond what a start may do (with a 500, before it is applied), so that kills are spread
    over the run however fast this machine is.
    """

    def __init__(self, rng: random.Random, proxy: Proxy, ledger: Path, name: str, items: int) -> None:
        self._rng = rng
        self._proxy = proxy
        self._ledger = ledger
        self._name = name
        self._items = items
        self._written: set[str] = set()  # keys of which a write was let through
        self._most = 0
        self._hung = self._refused = 0
        self.kills = 0

    def _beyond(self, body: Body) -> bool:
        """Whether a batch writes items for the first time although the start has had its share."""
        keys = {json.dumps(each["Parameters"][1:3]) for each in body["Statements"]}
        if len(self._written) >= self._most and keys - self._written:
            return True
        self._written |= keys
        return False

    def row(self) -> Row | None:
        """The run in the ledger, read beside the process that writes it; None where it is not there yet."""
        if not self._ledger.exists():
            return None
        with contextlib.closing(sqlite3.connect(f"file:{self._ledger}?mode=ro", uri=True, timeout=30)) as db:
            try:
                found = db.execute(
                    "SELECT state, updated_at, elapsed_s, counts FROM runs WHERE name = ?", (self._name,)
                ).fetchone()
            except sqlite3.OperationalError:  # no table in it yet
                return None
        if found is None:
            return None
        state, updated_at, elapsed_s, counts = found
        return Row(state, updated_at, elapsed_s, msgspec.json.decode(counts, type=Saved).counts)

    def prepare(self, moment: str) -> None:
        """Sets the proxy for the next start."""
        self._most = len(self._written) + 2 * STEP
        faults: list[Fault] = [ServerError("BatchExecuteStatement", when=self._beyond)]
        if moment == "unanswered":
            faults.append(HangAfterApply("BatchExecuteStatement", skip=self._rng.randrange(2)))
        elif moment == "verifying":
            # Where no page of records is answered, proof cannot come to its end before the kill.
            faults = [HangAfterApply("GetRecords")]
        self._hung, self._refused = self._proxy.fired(HangAfterApply), self._proxy.fired(ServerError)
        self._proxy.script(faults)

    def kill_at(self, moment: str, started: Command, before: Row | None) -> None:
        """Waits for the moment, then kills; the run must not have come to its end by itself."""
        target = self._most - STEP
        reached: Callable[[], bool] = {
            "birth": lambda: True,
            "taken": lambda: self._touched_since(before),
            "saved": lambda: self._saved_since(before),
            "unanswered": self._unanswered,
            "records": lambda: len(self._written) >= target,
            "verifying": lambda: self._all_settled_since(before),
        }[moment]
        if moment == "birth":
            time.sleep(self._rng.uniform(0.0, 0.3))  # anywhere between its start and the first writes
        await_true(lambda: reached() or started.ended, f"{moment} of {started.arguments}")
        if moment == "records":
            time.sleep(self._rng.uniform(0.0, 0.05))
        assert not started.ended, f"{moment}: it ended by itself: {started.stderr}"
        started.kill()
        assert started.wait() == -signal.SIGKILL
        self.kills += 1

    def _unanswered(self) -> bool:
        """A write hangs; or what the killed process had left on its way took this start's share of writes."""
        hung, refused = self._proxy.fired(HangAfterApply), self._proxy.fired(ServerError)
        return hung > self._hung or refused > self._refused + STEP

    def _touched_since(self, before: Row | None) -> bool:
        row = self.row()
        return row is not None and (before is None or row.updated_at > before.updated_at)

    def _saved_since(self, before: Row | None) -> bool:
        row = self.row()
        return row is not None and row.elapsed_s > (before.elapsed_s if before is not None else 0.0)

    def _all_settled_since(self, before: Row | None) -> bool:
        row = self.row()
        return row is not None and self._touched_since(before) and row.counts.selected == self._items


@pytest.mark.soak
@pytest.mark.parametrize("through", ["table", "index"])
@pytest.mark.parametrize("mode", ["marker", "counter"])
def test_kills_fire_each_item_exactly_once(tmp_path: Path, kills: int, mode: str, through: str) -> None:
    """On an engine that has no other table, and with few requests at once: each write to a DynamoDB Local looks through
    all that its streams hold, and one that answers later than it is waited for gets ever more to do."""
    count = kills * ITEMS_A_KILL
    rng = random.Random(f"{mode}/{through}")
    proving = max(1, kills // 10)
    writing = list(itertools.islice(itertools.cycle(MOMENTS), kills - proving))
    moments = [*rng.sample(writing, len(writing)), *["verifying"] * proving]
    name = f"kill-{mode}-{through}"
    ledger = tmp_path / "ledger.db"
    with (
        start_owned() as server,
        faulty(server.endpoint_url) as proxy,
        table(server.endpoint_url, name) as target,
    ):
        items = target.fill(count)
        flags = ["--ledger", str(ledger), "--json"]
        selection = ["--all", "--segments", "16", *(["--index", INDEX] if through == "index" else [])]
        selection += ["--counter", "n"] if mode == "counter" else []
        touch = [
            "touch",
            name,
            *selection,
            "--run",
            name,
            "--execute",
            "--rate",
            str(RATE),
            "--concurrency",
            "4",
            *flags,
        ]
        touch += ["--endpoint-url", proxy.endpoint_url, "--verify-timeout", "30"]
        resume = ["runs", "resume", name, *flags, "--execute"]
        scenario = Scenario(rng, proxy, ledger, name, count)
        accepted = False
        for number, moment in enumerate(moments):
            before = scenario.row()
            assert not accepted or before is not None, "an accepted run is no longer known"
            accepted = before is not None
            scenario.prepare(moment)
            with command(*(resume if before is not None and number % 2 else touch)) as started:
                scenario.kill_at(moment, started, before)
        assert scenario.kills == kills
        assert proxy.fired(HangAfterApply) >= proving
        proxy.script([])

        with command(*touch) as last:
            assert last.wait() == 0, last.stderr
            report = last.report()
        counted = target.counted() if mode == "counter" else target.marked(name)
        assert counted == once_each(items)
        assert target.modifications() == once_each(items)
        assert report["state"] == "COMPLETED"
        assert (report["selected"], report["fired"], report["already"]) == (count, count, 0)
        assert (report["gone"], report["changed"], report["failed"]) == (0, 0, 0)
        assert (report["seen"], report["leftover"]) == (count, 0)
        now = target.scan()
        if mode == "counter":
            wanted = {key_text(item): int(item.get("n", {"N": "0"})["N"]) + 1 for item in items}
            assert {key: int(item["n"]["N"]) for key, item in now.items()} == wanted
        else:
            assert {key: item["restrike"]["S"] for key, item in now.items()} == dict.fromkeys(once_each(items), name)

        # Once more: the ledger knows that it is done (counter); another machine has none (marker).
        if mode == "marker":
            touch[touch.index(str(ledger))] = str(tmp_path / "another" / "ledger.db")
        code, out, err = restrike(*touch)
        assert code == 0, err
        again = msgspec.json.decode(out)
        known = mode == "counter"
        assert (again["selected"], again["fired"]) == (count, count if known else 0)
        assert again["already"] == count - again["fired"]
        assert ("nothing new" in err) is known
        assert target.modifications() == once_each(items)
