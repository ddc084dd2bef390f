"""On a bad day of the service nothing is lost, nothing is fired twice, and the report stays right.

The run talks to a proxy that misbehaves; what happened is read from the engine itself, past the proxy.
"""

from __future__ import annotations

import asyncio
import http.server
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

import restrike
from restrike.aws import wire
from restrike.aws.dynamodb import describe_table
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.aws.wire import Wire
from restrike.cli.main import main
from restrike.errors import AccessDenied, AwsError, BadCredentials, RestrikeError
from restrike.local.dynamodb_local import start_owned
from restrike.model.capacity import capacity_of
from restrike.model.report import State, TouchReport
from restrike.running.ledger import Ledger
from restrike.running.stop import Reason, Stop
from restrike.touching import sending
from restrike.touching.pace import Pace, PaceOptions
from restrike.touching.plan import TouchPlan
from restrike.touching.progress import TouchProgress
from tests.integration.safety import INDEX, Item, Table, hurry, key_text, ledger_path, once_each, resumed, table
from tests.servers.faults import (
    AccessDenied as Denied,
)
from tests.servers.faults import (
    ErrorAfterApply,
    ExpiredIterator,
    Fault,
    GarbageBody,
    HangAfterApply,
    Proxy,
    RefuseReturning,
    ResetAfterApply,
    ResetBefore,
    ServerError,
    Slow,
    Throttle,
    ThrottleStatements,
    Trimmed,
    TruncateBody,
    faulty,
)

ITEMS = 160
WRITE = ("BatchExecuteStatement", "UpdateItem")
MODES = ["marker", "counter"]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


class Scene:
    """A table of items, a proxy that is still well, and a run that is planned through it."""

    def __init__(self, proxy: Proxy, target: Table, items: list[Item], folder: Path, mode: str) -> None:
        self.proxy = proxy
        self.table = target
        self.items = items
        self.folder = folder
        self.mode = mode
        self.run = f"run-{uuid4().hex[:12]}"

    def plan(self, **request: Any) -> TouchPlan:
        request = {"all": True, "segments": 4, "rate": 20_000.0, "verify_timeout_s": 10.0} | request
        if self.mode == "counter":
            request["counter"] = "n"
        return restrike.touch(
            self.table.name,
            run=self.run,
            endpoint_url=self.proxy.endpoint_url,
            ledger=ledger_path(self.folder),
            **request,
        )

    def resume(self) -> TouchReport:
        return resumed(self.run, self.folder)

    def check(self, report: TouchReport) -> None:
        """Every item fired, each once, and the report says so."""
        assert self.fired() == once_each(self.items)
        assert self.table.modifications() == once_each(self.items)
        assert report.state == "COMPLETED"
        assert outcomes(report) == (len(self.items), len(self.items), 0, 0, 0, 0)
        assert (report.seen, report.leftover) == (len(self.items), 0)
        assert report.exit_code == 0
        now = self.table.scan()
        if self.mode == "counter":
            wanted = {key_text(item): str(int(item.get("n", {"N": "0"})["N"]) + 1) for item in self.items}
            assert {key: item["n"]["N"] for key, item in now.items()} == wanted

    def fired(self) -> Counter[str]:
        return self.table.counted() if self.mode == "counter" else self.table.marked(self.run)


def outcomes(report: TouchReport) -> tuple[int, int, int, int, int, int]:
    """selected, fired, already, gone, changed, failed"""
    return report.selected, report.fired, report.already, report.gone, report.changed, report.failed


Stage = Callable[..., Scene]


@pytest.fixture(scope="module")
def shared_table() -> Iterator[tuple[str, Table]]:
    """One table, on an engine that has no other, and the engine's URL."""
    with start_owned() as server, table(server.endpoint_url, "faults") as target:
        yield server.endpoint_url, target


@pytest.fixture
def stage(shared_table: tuple[str, Table], tmp_path: Path) -> Iterator[Stage]:
    """Makes the scene of a test: `stage(mode)`."""
    url, target = shared_table
    with faulty(url) as proxy:

        def make(mode: str, count: int = ITEMS) -> Scene:
            target.clear()
            return Scene(proxy, target, target.fill(count), tmp_path, mode)

        yield make


# ── writes ───────────────────────────────────────────────────────────────────────────────────────────────────

STATEMENT_CODES = [
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
    "RequestLimitExceeded",
    "InternalServerError",
    "TransactionConflict",
]
WRITE_FAULTS: dict[str, Callable[[], list[Fault]]] = {
    "throttled": lambda: [Throttle(WRITE, every=2)],
    "throttled-exception": lambda: [Throttle(WRITE, every=3, code="ThrottlingException")],
    "request-limit": lambda: [Throttle(WRITE, every=3, code="RequestLimitExceeded")],
    "fault-before": lambda: [ServerError(WRITE, every=2)],
    "unavailable": lambda: [ServerError(WRITE, every=2, status=503)],
    "fault-after": lambda: [ErrorAfterApply(WRITE, every=2)],
    "reset-before": lambda: [ResetBefore(WRITE, every=2)],
    "reset-after": lambda: [ResetAfterApply(WRITE, every=2)],
    "time-out-after": lambda: [HangAfterApply(WRITE, times=5)],
    "slow": lambda: [Slow(WRITE, seconds=0.1)],
    "truncated": lambda: [TruncateBody(WRITE, every=2)],
    "garbage-before": lambda: [GarbageBody(WRITE, every=2)],
    "garbage-after": lambda: [GarbageBody(WRITE, every=2, apply=True)],
    "all-at-once": lambda: [
        ErrorAfterApply(WRITE, every=7),
        ResetAfterApply(WRITE, every=6),
        Throttle(WRITE, every=5),
        TruncateBody(WRITE, every=5),
        ThrottleStatements(fraction=0.2),
        Slow(("GetRecords", "Scan"), seconds=0.05, every=3),
        ExpiredIterator(every=7),
    ],
} | {code: lambda code=code: [ThrottleStatements(fraction=0.4, code=code)] for code in STATEMENT_CODES}  # type: ignore[misc]  # bound now


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", WRITE_FAULTS)
def test_failing_writes(stage: Stage, mode: str, name: str) -> None:
    scene = stage(mode)
    plan = scene.plan()
    scene.proxy.script(WRITE_FAULTS[name]())
    report = plan.execute()
    assert scene.proxy.fired("BatchExecuteStatement") > 2
    scene.check(report)


@pytest.mark.parametrize("mode", MODES)
def test_when_every_answer_is_lost_the_stream_tells_what_fired(stage: Stage, mode: str) -> None:
    """No write is known to have fired, so that none is awaited: the stream is read to its end all the same."""
    scene = stage(mode, count=25)
    plan = scene.plan(segments=1)
    scene.proxy.script([ErrorAfterApply(WRITE, times=1), Slow("GetRecords", seconds=0.3)])
    scene.check(plan.execute())


@pytest.mark.parametrize("mode", MODES)
def test_failing_single_updates(stage: Stage, mode: str) -> None:
    scene = stage(mode, count=60)
    plan = scene.plan(api="update-item")
    scene.proxy.script(
        [
            ErrorAfterApply(WRITE, every=7),
            ResetAfterApply(WRITE, every=5),
            HangAfterApply(WRITE, times=2),
            Throttle(WRITE, every=3),
            GarbageBody(WRITE, every=5, apply=True),
            TruncateBody(WRITE, every=4),
        ]
    )
    report = plan.execute()
    assert scene.proxy.fired("UpdateItem") > 30
    assert scene.proxy.count("BatchExecuteStatement") == 0
    scene.check(report)


@pytest.mark.parametrize("mode", MODES)
def test_failing_writes_in_order(stage: Stage, mode: str) -> None:
    scene = stage(mode)
    plan = scene.plan(ordered=True)
    scene.proxy.script([ErrorAfterApply(WRITE, every=5), Throttle(WRITE, every=4), ThrottleStatements(fraction=0.3)])
    report = plan.execute()
    scene.check(report)
    last: dict[str, int] = {}
    for record in scene.table.read_stream():
        if record["eventName"] == "MODIFY":
            partition, number = record["Keys"]["pk"]["S"], int(record["Keys"]["sk"]["N"])
            assert last.get(partition, -1) < number, f"{partition} fired out of order"
            last[partition] = number


def test_a_long_storm_of_throttles_leaves_a_pace_that_finds_back(dynamodb_local: str) -> None:
    now = 0.0
    with table(dynamodb_local, f"pace-{uuid4().hex[:8]}") as target:
        info, _ = describe_table(Aws(AwsSettings(endpoint_url=dynamodb_local)), target.name)
    pace = Pace(PaceOptions(), capacity_of(info, "restrike"), 1.0, lambda: now)
    start = pace.wcu_per_s
    for _ in range(100):
        now += 0.3
        pace.throttled()
    assert pace.wcu_per_s == 25.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    stormy_until = now
    while pace.wcu_per_s < start:
        asyncio.run(pace.take(25, sleep))
        assert now - stormy_until < 60.0, "after a minute of peace it is still slow"


@pytest.mark.parametrize(
    ("api", "code"),
    [("partiql", "ThrottlingException"), ("update-item", "ProvisionedThroughputExceededException")],
)
def test_a_throttled_index_ends_growth(stage: Stage, api: str, code: Any) -> None:
    """As far as it is told: to a whole call, and to no statement of a batch."""
    scene = stage("marker")
    plan = scene.plan(rate="max", api=api)
    reasons = [("IndexWriteKeyRangeThroughputExceeded", f"{scene.table.arn}/index/{INDEX}")]
    scene.proxy.script([Throttle(WRITE, times=1, code=code, reasons=reasons)])
    paces: list[float] = []
    throttles: list[int] = []

    def note(progress: TouchProgress) -> None:
        paces.append(progress.wcu_per_s)
        throttles.append(progress.throttles)

    report = plan.execute(note)
    scene.check(report)
    assert throttles[-1] == 1
    assert paces[-1] == min(paces), "it grew again after an index was throttled"


# ── reads ────────────────────────────────────────────────────────────────────────────────────────────────────


def storm(operation: str) -> list[Fault]:
    """One of each failure, for that operation, one after the other."""
    return [
        Throttle(operation, times=1),
        ServerError(operation, times=1),
        ResetBefore(operation, times=1),
        HangAfterApply(operation, times=1),
        TruncateBody(operation, times=1),
        GarbageBody(operation, times=1),
        Slow(operation, seconds=0.05, times=3),
    ]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("operation", ["Scan", "GetRecords", "DescribeStream", "GetShardIterator"])
def test_failing_reads(stage: Stage, mode: str, operation: str) -> None:
    scene = stage(mode)
    plan = scene.plan()
    scene.proxy.script(storm(operation))
    report = plan.execute()
    assert scene.proxy.fired(operation) >= 6
    scene.check(report)


@pytest.mark.parametrize("mode", MODES)
def test_failing_queries(stage: Stage, mode: str) -> None:
    scene = stage(mode)
    plan = scene.plan(all=False, segments=None, index=INDEX, date="2021-01-01..2021-01-31")
    scene.proxy.script(storm("Query"))
    report = plan.execute()
    assert scene.proxy.fired("Query") >= 6
    scene.check(report)


def test_failing_reads_of_numbers(stage: Stage) -> None:
    scene = stage("counter")
    plan = scene.plan()
    scene.proxy.script(storm("BatchGetItem"))
    report = plan.execute()
    assert scene.proxy.fired("BatchGetItem") >= 6
    scene.check(report)


@pytest.mark.parametrize("mode", MODES)
def test_long_throttling_of_reads_ends_no_run(stage: Stage, mode: str) -> None:
    """A small table refuses reads for seconds on end; that is no reason to give up."""
    scene = stage(mode)
    plan = scene.plan()
    scene.proxy.script(
        [Throttle("Scan", times=20), Throttle("GetRecords", times=20), Throttle("BatchGetItem", times=20)]
    )
    report = plan.execute()
    assert scene.proxy.fired("Scan") == 20
    scene.check(report)


@pytest.mark.parametrize("mode", MODES)
def test_iterators_that_expire(stage: Stage, mode: str) -> None:
    scene = stage(mode)
    plan = scene.plan(rate=400.0)
    scene.proxy.script([ExpiredIterator(every=2)])
    report = plan.execute()
    assert scene.proxy.fired(ExpiredIterator) >= 2
    scene.check(report)


@pytest.mark.parametrize("mode", MODES)
def test_a_place_that_the_stream_has_forgotten(stage: Stage, mode: str) -> None:
    scene = stage(mode)
    plan = scene.plan(rate=400.0)
    scene.proxy.script([Trimmed("GetRecords", times=1, skip=2)])
    report = plan.execute()
    assert scene.proxy.fired(Trimmed) == 1
    scene.check(report)
    assert any("24 hours" in note for note in report.notes)


@pytest.mark.parametrize("mode", MODES)
def test_units_of_one_strand_are_each_counted(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """One unit is in flight while the next is read and prepared: the place does not run ahead of it."""
    monkeypatch.setattr("restrike.selecting.read.KEYS_PER_UNIT", 25)
    scene = stage(mode)
    keys = tmp_path / "keys.jsonl"
    keys.write_text("".join(json.dumps({"pk": each["pk"], "sk": each["sk"]}) + "\n" for each in scene.items))
    plan = scene.plan(all=False, segments=None, keys=str(keys))
    gone = scene.items[::5]
    for item in gone:
        scene.table.client.delete_item(TableName=scene.table.name, Key={"pk": item["pk"], "sk": item["sk"]})
    scene.proxy.script([Slow("BatchGetItem", seconds=0.05), Slow(WRITE, seconds=0.02)])
    report = plan.execute()
    assert outcomes(report) == (ITEMS, ITEMS - len(gone), 0, len(gone), 0, 0)
    assert (report.seen, report.leftover) == (ITEMS - len(gone), 0)


# ── RETURNING refused ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("per_statement", [False, True], ids=["request", "statement"])
@pytest.mark.parametrize("unsure", [False, True], ids=["", "and-answers-lost"])
def test_a_service_without_returning(stage: Stage, per_statement: bool, unsure: bool) -> None:
    scene = stage("marker")
    plan = scene.plan()
    lost: list[Fault] = [ErrorAfterApply(WRITE, every=3)] if unsure else []
    scene.proxy.script([RefuseReturning(per_statement=per_statement), *lost])
    report = plan.execute()
    assert scene.proxy.fired(RefuseReturning) >= 1
    scene.check(report)


@pytest.mark.parametrize("per_statement", [None, False, True], ids=["with-returning", "request", "statement"])
def test_outcomes_with_and_without_returning(stage: Stage, tmp_path: Path, per_statement: bool | None) -> None:
    """Keys from a file: some items are gone, some bear the run's name already, some bear another's."""
    scene = stage("marker", count=120)
    keys = tmp_path / "keys.jsonl"
    keys.write_text("".join(json.dumps({"pk": i["pk"], "sk": i["sk"]}) + "\n" for i in scene.items + scene.items[:30]))
    plan = scene.plan(all=False, segments=None, keys=str(keys))
    gone, already, another = scene.items[:20], scene.items[20:50], scene.items[50:70]
    client = scene.table.client
    for item in gone:
        client.delete_item(TableName=scene.table.name, Key={"pk": item["pk"], "sk": item["sk"]})
    for item in already:
        client.put_item(TableName=scene.table.name, Item={**item, "restrike": {"S": scene.run}})
    for item in another:
        client.put_item(TableName=scene.table.name, Item={**item, "restrike": {"S": "another-run"}})
    before = scene.table.modifications()
    if per_statement is not None:
        scene.proxy.script([RefuseReturning(per_statement=per_statement)])
    report = plan.execute()
    assert outcomes(report) == (120, 70, 30, 20, 0, 0)
    assert (report.seen, report.leftover) == (70, 0)
    assert scene.table.modifications() - before == once_each(scene.items[50:])
    assert not scene.table.scan().keys() & once_each(gone).keys(), "a deleted item came back"


# ── the end of patience ──────────────────────────────────────────────────────────────────────────────────────

ENDLESS: dict[str, Callable[[], Fault]] = {
    "writes-fail": lambda: ServerError(WRITE, skip=3),
    "writes-fail-after": lambda: ErrorAfterApply(WRITE, skip=3),
    "writes-throttled": lambda: Throttle(WRITE, skip=3),
    "statements-throttled": lambda: ThrottleStatements(skip=2, fraction=0.9),
    "statements-fail": lambda: ThrottleStatements(skip=2, fraction=0.9, code="InternalServerError"),
    "writes-reset-after": lambda: ResetAfterApply(WRITE, skip=3),
    "scan": lambda: ServerError("Scan", skip=2),
    "records": lambda: ResetBefore("GetRecords", skip=1),
    "numbers": lambda: ServerError("BatchGetItem", skip=1),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ENDLESS)
def test_endless_failure_can_be_resumed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mode: str, name: str
) -> None:
    if name == "numbers" and mode == "marker":
        mode = "counter"  # a marker reads no numbers
    monkeypatch.setattr(sending, "MAX_ATTEMPTS", 4)
    monkeypatch.setattr(wire, "READ_ATTEMPTS", 4)
    scene = stage(mode)
    plan = scene.plan(rate=1_000.0, segments=8)
    scene.proxy.script([ENDLESS[name]()])
    with pytest.raises(AwsError) as caught:
        plan.execute()
    assert caught.value.exit_code == 3
    assert f"restrike runs resume {scene.run}" in caught.value.hint
    report = caught.value.report
    assert isinstance(report, TouchReport)
    assert (report.state, report.exit_code) == ("FAILED", 3)
    assert report.fired + report.already <= report.selected <= len(scene.items)
    with Ledger(Path(ledger_path(scene.folder))) as ledger:
        run = ledger.get(scene.run)
        assert (run.state, bool(run.reason)) == ("FAILED", True)

    # Still ill: the command says it, too. (Where all was applied without an answer there is nothing left to fail.)
    still_ill = "after" not in name
    with pytest.raises(SystemExit) as left:
        main(["runs", "resume", scene.run, "--ledger", ledger_path(scene.folder), "--execute", "--json"])
    said = capsys.readouterr()
    if still_ill:
        assert left.value.code == 3
        if name not in ("scan", "numbers"):  # of those the plan is refused: nothing has run
            assert json.loads(said.out)["state"] == "FAILED"
            assert f"restrike runs resume {scene.run}" in said.err

    scene.proxy.script([])
    scene.check(scene.resume() if left.value.code else msgspec.convert(json.loads(said.out), TouchReport))


@pytest.mark.parametrize("per_statement", [False, True], ids=["request", "statement"])
def test_a_write_that_is_not_allowed_ends_the_run_at_once(stage: Stage, per_statement: bool) -> None:
    scene = stage("marker")
    plan = scene.plan()
    code = ThrottleStatements(fraction=1.0, code="AccessDenied", message="User: x is not authorized")
    scene.proxy.script([code if per_statement else Denied(WRITE)])
    stop = Stop()
    with pytest.raises(AccessDenied) as caught:
        plan.execute(stop=stop)
    assert not stop.is_set(), "it is the caller's"
    assert caught.value.exit_code == 3
    assert "not authorized" in caught.value.message
    assert "Allow that action" in caught.value.hint
    assert scene.proxy.count("BatchExecuteStatement") <= 16, "it went on trying"
    assert not scene.table.modifications()
    scene.proxy.script([])
    scene.check(scene.resume())


def test_what_is_under_way_when_a_preparation_fails_is_waited_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A counter that did not wait for an answer would have to call that write unknown."""
    monkeypatch.setattr("restrike.selecting.read.KEYS_PER_UNIT", 25)
    scene = stage("counter")
    keys = tmp_path / "keys.jsonl"
    keys.write_text("".join(json.dumps({"pk": each["pk"], "sk": each["sk"]}) + "\n" for each in scene.items))
    plan = scene.plan(all=False, segments=None, keys=str(keys), verify=False, verify_timeout_s=None)
    scene.proxy.script([Slow(WRITE, seconds=0.3), Denied("BatchGetItem", skip=2)])
    with pytest.raises(AccessDenied) as caught:
        plan.execute()
    assert isinstance(caught.value.report, TouchReport)
    assert scene.proxy.count("BatchExecuteStatement") == 2
    assert (caught.value.report.fired, caught.value.report.unknown) == (50, 0)
    scene.proxy.script([])
    assert outcomes(scene.resume()) == (ITEMS, ITEMS, 0, 0, 0, 0)
    assert scene.fired() == once_each(scene.items)


def test_a_stream_that_may_not_be_read_tells_the_way_without(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """Where its records alone are refused, the plan cannot know."""
    scene = stage("marker")
    scene.proxy.script([Denied("GetRecords")])
    arguments = ["touch", scene.table.name, "--all", "--run", scene.run, "--execute", "--json"]
    arguments += ["--endpoint-url", scene.proxy.endpoint_url, "--ledger", ledger_path(scene.folder)]
    with pytest.raises(SystemExit) as left:
        main([*arguments, "--rate", "100"])
    assert left.value.code == 3
    assert "--no-verify" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        main([*arguments, "--rate", "20000", "--no-verify"])
    assert left.value.code == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["selected"], report["seen"]) == (ITEMS, None)
    assert scene.fired() == once_each(scene.items)


# ── the end by another's wish ────────────────────────────────────────────────────────────────────────────────

STOPS: dict[Reason, State] = {
    "caller": "INTERRUPTED",
    "deadline": "INTERRUPTED",
    "pause": "PAUSED",
    "cancel": "CANCELLED",
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reason", STOPS)
def test_a_stop_from_another_thread_ends_the_run(stage: Stage, mode: str, reason: Reason) -> None:
    """As a host without signals does it: the run is in a thread of its own, and sleeps for its pace."""
    scene = stage(mode)
    plan = scene.plan(rate=2.0)
    stop, writing = Stop(), threading.Event()

    def note(progress: TouchProgress) -> None:
        if progress.counts.fired:
            writing.set()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(plan.execute, note, stop=stop)
        assert writing.wait(60)
        stop.set(reason)
        report = running.result(60)
    assert report.state == STOPS[reason]
    assert 0 < report.fired == report.selected < ITEMS
    assert sum(scene.fired().values()) == report.fired, "what was in flight is finished, and counted"
    with Ledger(Path(ledger_path(scene.folder))) as ledger:
        assert ledger.get(scene.run).state == STOPS[reason]
    scene.check(resumed(scene.run, scene.folder, rate=20_000.0))


@pytest.mark.parametrize("mode", MODES)
def test_a_limit_bounds_all_parts_of_a_run_together(stage: Stage, mode: str) -> None:
    """Also where the first part ended in the middle of a page, some of which is read again."""
    scene = stage(mode)
    plan = scene.plan(rate=50.0, limit=100, segments=1)
    stop = Stop()

    def note(progress: TouchProgress) -> None:
        if progress.counts.fired:
            stop.set("pause")

    report = plan.execute(note, stop=stop)
    assert (report.state, 0 < report.fired < 100) == ("PAUSED", True)
    report = scene.resume()
    assert (report.state, *outcomes(report)) == ("LIMITED", 100, 100, 0, 0, 0, 0)
    assert sum(scene.fired().values()) == 100


@pytest.mark.parametrize("mode", MODES)
def test_a_stop_that_comes_first_leaves_all_as_it_was(stage: Stage, mode: str) -> None:
    scene = stage(mode)
    stop = Stop()
    stop.set("deadline")
    report = scene.plan().execute(stop=stop)
    assert (report.state, report.selected) == ("INTERRUPTED", 0)
    assert not scene.table.modifications()
    scene.check(scene.resume())


# ── proof ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", MODES)
def test_records_that_never_come_are_left_over_by_name(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    scene = stage(mode)
    withheld = once_each(scene.items[::40])
    original = Wire.call

    async def without_some(self: Wire, operation: str, body: bytes, **options: Any) -> bytes:
        answer = await original(self, operation, body, **options)
        if operation != "GetRecords":
            return answer
        page = json.loads(answer)
        page["Records"] = [each for each in page["Records"] if key_text(each["dynamodb"]["Keys"]) not in withheld]
        return json.dumps(page).encode()

    monkeypatch.setattr(Wire, "call", without_some)
    arguments = ["touch", scene.table.name, "--all", "--run", scene.run, "--execute", "--json", "--rate", "20000"]
    arguments += ["--endpoint-url", scene.proxy.endpoint_url, "--ledger", ledger_path(scene.folder)]
    arguments += ["--verify-timeout", "0.5", *(["--counter", "n"] if mode == "counter" else [])]
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 6
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert (report["selected"], report["fired"]) == (ITEMS, ITEMS)
    assert (report["seen"], report["leftover"]) == (ITEMS - len(withheld), len(withheld))
    assert f"restrike runs show {scene.run} --leftover" in said.err

    with pytest.raises(SystemExit) as left:
        main(["runs", "show", scene.run, "--leftover", "--ledger", ledger_path(scene.folder)])
    assert left.value.code == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert Counter(key_text(line["key"]) for line in lines) == withheld
    assert {line["code"] for line in lines} == {"NotSeen"}
    assert scene.fired() == once_each(scene.items)


def test_more_is_awaited_than_fits_into_memory(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The records come late: all that is awaited goes to the ledger, and is found there."""
    monkeypatch.setattr("restrike.touching.book.MAX_KEYS_IN_MEMORY", 20)
    scene = stage("marker")
    plan = scene.plan(rate=400.0)
    scene.proxy.script([Throttle("GetRecords", times=5), Slow("GetRecords", seconds=0.2, times=3)])
    scene.check(plan.execute())


@pytest.mark.parametrize("lost", [[], [ErrorAfterApply(WRITE, every=2)], [ErrorAfterApply(WRITE, every=1, times=30)]])
def test_a_stream_that_shows_nothing_leaves_all_over(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, lost: list[Fault]
) -> None:
    """Also what fired without an answer: that it bears the name is no proof."""
    scene = stage("marker", count=50)
    plan = scene.plan(verify_timeout_s=0.5)
    monkeypatch.setattr("restrike.aws.walk.MAX_RECORDS", 1)
    scene.proxy.script([Throttle("GetRecords", times=3), HangAfterApply("GetRecords"), *lost])
    report = plan.execute()
    assert (report.fired, report.seen, report.leftover, report.exit_code) == (50, 0, 50, 6)
    assert scene.fired() == once_each(scene.items)


def test_what_an_earlier_part_fired_and_nobody_saw_is_left_over(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MAX_ATTEMPTS", 2)
    scene = stage("marker", count=50)
    plan = scene.plan(verify_timeout_s=0.5)
    ill = HangAfterApply("GetRecords")
    scene.proxy.script([ErrorAfterApply(WRITE), ill])
    with pytest.raises(AwsError):
        plan.execute()
    assert scene.fired().total() > 0
    scene.proxy.script([ill])
    report = scene.resume()
    assert (report.fired, report.seen, report.leftover, report.exit_code) == (50, 0, 50, 6)
    assert scene.fired() == once_each(scene.items)


# ── credentials ──────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def guarded(refused: Callable[[str], bool]) -> Iterator[tuple[str, list[str]]]:
    """A service that answers ExpiredTokenException to access keys that are `refused`; its URL and the keys it saw."""
    seen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            key = self.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
            seen.append(key)
            body, status = b'{"Count":0}', 200
            if refused(key):
                body, status = b'{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"expired"}', 400
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", seen
        finally:
            server.shutdown()
            thread.join()


_CREDENTIALS = """
import datetime, json, pathlib, sys
calls = pathlib.Path(__file__).with_name("calls")
with calls.open("a") as file:
    file.write("x")
end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=int(sys.argv[1]))
print(json.dumps({
    "Version": 1, "AccessKeyId": f"KEY{calls.stat().st_size}", "SecretAccessKey": "s", "SessionToken": "t",
    "Expiration": end.isoformat(),
}))
"""


def credential_process(folder: Path, monkeypatch: pytest.MonkeyPatch, lifetime_s: int) -> None:
    """A profile whose credentials come from a process: KEY1, KEY2, … at each call, valid so long."""
    script = folder / "credentials.py"
    script.write_text(_CREDENTIALS)
    config = folder / "aws-config"
    config.write_text(f"[default]\nregion = us-east-1\ncredential_process = {sys.executable} {script} {lifetime_s}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")


def calls(url: str, times: int) -> list[bytes]:
    async def go() -> list[bytes]:
        async with Wire(Aws(AwsSettings(endpoint_url=url)), "dynamodb", "DynamoDB_20120810") as connection:
            return [await connection.call_once("BatchExecuteStatement", b'{"Statements":[]}') for _ in range(times)]

    return asyncio.run(go())


def test_a_token_that_the_service_calls_expired_is_renewed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential_process(tmp_path, monkeypatch, lifetime_s=7200)
    with guarded(lambda key: key == "KEY1") as (url, seen):
        assert calls(url, 3) == [b'{"Count":0}'] * 3
    assert seen == ["KEY1", "KEY2", "KEY2", "KEY2"]


def test_a_token_that_stays_expired_is_an_error_that_says_log_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credential_process(tmp_path, monkeypatch, lifetime_s=7200)
    with guarded(lambda key: True) as (url, seen), pytest.raises(BadCredentials) as caught:
        calls(url, 1)
    assert len(seen) == 2
    assert caught.value.exit_code == 3
    assert "Log in again" in caught.value.hint


def test_credentials_near_their_end_are_fetched_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credential_process(tmp_path, monkeypatch, lifetime_s=300)  # botocore renews what ends within ten minutes
    with guarded(lambda key: False) as (url, seen):
        calls(url, 3)
    assert len(set(seen)) == 3, seen


def test_an_error_of_the_run_is_one_of_ours(stage: Stage) -> None:
    """Whatever the proxy does, a caller of the API has one tree to catch."""
    scene = stage("marker", count=30)
    plan = scene.plan()
    scene.proxy.script([Denied("Scan")])
    with pytest.raises(RestrikeError) as caught:
        plan.execute()
    assert isinstance(caught.value.report, TouchReport)
