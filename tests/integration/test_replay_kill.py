"""A replay that is killed leaves no gap and repeats only what was in flight; interrupted, it repeats nothing."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.integration.deliveries import TARGET, noting, whole_lines
from tests.integration.safety import Command, Table, await_true, command, key_text, restrike, table

LANES = 4
BATCH = 20
IN_FLIGHT = LANES * BATCH
ITEMS = 150
RATE = 260
MIN_ROUNDS = 8  # about 5 s without a kill
RECORDS_A_KILL = 90


@pytest.fixture(scope="module")
def changed(dynamodb_local: str, kills: int) -> Iterator[Table]:
    """A table of which every item was written several times: more often where more kills want something to do."""
    with table(dynamodb_local, "replay-kill") as made:
        keys = [{"pk": {"S": f"p{number % 7}"}, "sk": {"N": str(number)}} for number in range(ITEMS)]
        for turn in range(max(MIN_ROUNDS, kills * RECORDS_A_KILL // ITEMS)):
            for first in range(0, ITEMS, 25):
                puts = [{"PutRequest": {"Item": {**key, "v": {"N": str(turn)}}}} for key in keys[first : first + 25]]
                assert not made.client.batch_write_item(RequestItems={made.name: puts})["UnprocessedItems"]
        yield made


class Scenario:
    """One replay: the words that start it, and the sequence numbers that arrived, in the order of their arrival."""

    def __init__(self, folder: Path, source: Table, url: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        records = source.read_stream()
        self.keys = {each["SequenceNumber"]: key_text(each["Keys"]) for each in records}
        self.order = [each["SequenceNumber"] for each in records]
        self.records = len(self.order)
        assert self.records >= ITEMS * MIN_ROUNDS
        self.delivered_to = folder / "delivered"
        if kind == "file":
            file = folder / "records.jsonl"
            file.write_text("".join(_record(each, source.stream_arn) + "\n" for each in records))
            ends = [f"jsonl:{file}", "--to", f"jsonl:{self.delivered_to}"]
        else:
            noting(folder, monkeypatch)
            ends = [f"stream:{source.name}", "--to", TARGET]
        monkeypatch.chdir(folder)
        name = f"kill-{kind}"
        self.replay = ["replay", *ends, "--endpoint-url", url, "--run", name, "--execute", "--json"]
        self.replay += ["--batch-size", str(BATCH), "--rate", str(RATE), "--parallel"]
        self.resume = ["runs", "resume", name, "--execute", "--json"]
        self._kind = kind

    def arrived(self) -> list[str]:
        lines = whole_lines(self.delivered_to)
        return [json.loads(line)["dynamodb"]["SequenceNumber"] for line in lines] if self._kind == "file" else lines

    def exists(self) -> bool:
        return restrike("runs", "show", self.resume[2])[0] == 0

    def await_growth(self, started: Command, records: int) -> None:
        wanted = len(self.arrived()) + records
        await_true(lambda: len(self.arrived()) >= wanted or started.ended, f"{records} more records")

    def assert_whole_and_in_order(self, arrived: Sequence[str]) -> None:
        """Every record came, and the first comings of each item's records are in the order of the source."""
        assert set(arrived) == set(self.order)
        assert _by_item(dict.fromkeys(arrived), self.keys) == _by_item(self.order, self.keys)


def _record(change: dict[str, object], stream_arn: str) -> str:
    event_name, rest = change["eventName"], {name: value for name, value in change.items() if name != "eventName"}
    head = {"eventID": rest["SequenceNumber"], "eventName": event_name, "eventSourceARN": stream_arn}
    return json.dumps({**head, "dynamodb": rest}, default=lambda moment: moment.timestamp())


def _by_item(numbers: Sequence[str] | dict[str, None], keys: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for number in numbers:
        found.setdefault(keys[number], []).append(number)
    return found


@pytest.fixture(params=["file", "stream"])
def scenario(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    changed: Table,
    dynamodb_local: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Scenario:
    return Scenario(tmp_path, changed, dynamodb_local, request.param, monkeypatch)


@pytest.mark.soak
def test_kills_leave_no_gap_and_repeat_only_what_was_in_flight(scenario: Scenario, kills: int) -> None:
    rng = random.Random(3)
    killed: list[int] = []  # how many had arrived by then
    births = kills // 4
    moments = rng.sample(["birth"] * births + ["records"] * (kills - births), kills)
    exists = False
    for number, moment in enumerate(moments):
        exists = exists or scenario.exists()
        lanes = LANES if not exists else rng.randint(1, LANES)  # a rerun may have others
        with command(*(scenario.resume if exists and number % 3 else [*scenario.replay, str(lanes)])) as started:
            if moment == "birth":
                time.sleep(rng.uniform(0.0, 0.4))  # the moment is what is random
            else:
                scenario.await_growth(started, rng.randint(1, 60))
                time.sleep(rng.uniform(0.0, 0.05))
            assert not started.ended, f"it ended by itself after {len(scenario.arrived())}: {started.stderr}"
            started.kill()
            assert started.wait() == -9
        killed.append(len(scenario.arrived()))
    with command(*scenario.resume) as last:
        assert last.wait() == 0, last.stderr
        report = last.report()
    arrived = scenario.arrived()
    scenario.assert_whole_and_in_order(arrived)

    counted = Counter[int]()  # repeated records by the kill before them
    before: dict[str, int] = {}
    for at, sequence_number in enumerate(arrived):
        if sequence_number in before:
            kill = max(kill for kill in killed if kill <= at)
            counted[kill] += 1
            # A lane may do one more batch while another lane's last one waits for its commit.
            assert any(k - 2 * IN_FLIGHT <= before[sequence_number] < k <= at for k in killed), (
                "not in flight at a kill"
            )
        before[sequence_number] = at
    for kill, repeated in counted.items():
        assert repeated <= IN_FLIGHT * killed.count(kill), f"{repeated} repeated after the kill at {kill}"
    assert report["state"] == "COMPLETED"
    # What the ledger knows of is each record once: a batch whose commit was lost is counted when it comes again.
    assert (report["selected"], report["delivered"], report["failed"]) == (scenario.records, scenario.records, 0)


def test_interrupts_repeat_nothing(scenario: Scenario) -> None:
    for number in range(3):
        with command(*(scenario.resume if number else [*scenario.replay, str(LANES)])) as started:
            scenario.await_growth(started, 100)
            started.interrupt()
            assert started.wait() == 130, started.stderr
            assert f"restrike runs resume {scenario.resume[2]}" in started.stderr
            report = started.report()
        assert report["state"] == "INTERRUPTED"
        assert report["selected"] == report["delivered"] == len(scenario.arrived()) < scenario.records
    with command(*scenario.resume) as last:
        assert last.wait() == 0, last.stderr
        report = last.report()
    arrived = scenario.arrived()
    assert len(arrived) == scenario.records
    scenario.assert_whole_and_in_order(arrived)
    assert (report["state"], report["selected"], report["delivered"]) == (
        "COMPLETED",
        scenario.records,
        scenario.records,
    )
