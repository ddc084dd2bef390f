"""Answers get lost while an application writes to the same items: what is reported is so, or is said to be unknown."""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import restrike
from restrike.cli.main import main
from restrike.local.dynamodb_local import start_owned
from restrike.model.report import TouchReport
from restrike.touching.plan import TouchPlan
from tests.integration import tables
from tests.integration.safety import (
    Item,
    Table,
    await_true,
    command,
    connect,
    hurry,
    key_text,
    ledger_path,
    once_each,
    table,
)
from tests.integration.tables import run_name
from tests.servers.faults import (
    Body,
    ErrorAfterApply,
    HangAfterApply,
    Proxy,
    ResetAfterApply,
    ResetBefore,
    ServerError,
    Slow,
    faulty,
)

WRITES = ("BatchExecuteStatement", "UpdateItem")
LOST = ErrorAfterApply(WRITES, times=1)
NOT_DONE = ServerError(WRITES, times=1)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture(scope="module")
def shared_table() -> Iterator[tuple[str, Table]]:
    with start_owned() as server, table(server.endpoint_url, "lost") as target:
        yield server.endpoint_url, target


@pytest.fixture
def target(shared_table: tuple[str, Table]) -> Table:
    shared_table[1].clear()
    return shared_table[1]


@pytest.fixture
def proxy(shared_table: tuple[str, Table]) -> Iterator[Proxy]:
    with faulty(shared_table[0]) as proxy:
        yield proxy


def plan_of(proxy: Proxy, target: Table, folder: Path, run: str, **request: Any) -> TouchPlan:
    asked: dict[str, Any] = {"all": True, "counter": "n", "verify_timeout_s": 2.0} | request
    return restrike.touch(target.name, run=run, endpoint_url=proxy.endpoint_url, ledger=ledger_path(folder), **asked)


def between(act: Callable[[], None]) -> Slow:
    """Does that once, when the first attempt is over and the second is about to be forwarded."""
    attempts = 0

    def second(_: Body) -> bool:
        nonlocal attempts
        attempts += 1  # the faults before this one have dealt with the first attempt
        if attempts == 1:
            act()
        return False

    return Slow(WRITES, seconds=0.0, when=second)


def visit(client: Any, name: str, item: Item) -> None:
    """The application counts, and says when: its record is not as Restrike's would be."""
    client.update_item(
        TableName=name,
        Key={"pk": item["pk"], "sk": item["sk"]},
        UpdateExpression="ADD n :one, visits :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )


def visit_all(target: Table, items: list[Item]) -> None:
    for item in items:
        visit(target.client, target.name, item)


def delete_all(target: Table, items: list[Item]) -> None:
    for item in items:
        target.client.delete_item(TableName=target.name, Key={"pk": item["pk"], "sk": item["sk"]})


def ours(target: Table) -> Counter[str]:
    """The records that raise the number by 1 and change nothing else."""
    return Counter(
        key_text(record["Keys"])
        for record in target.read_stream()
        if record["eventName"] == "MODIFY"
        and int(record["NewImage"].get("n", {"N": "-1"})["N"]) == int(record["OldImage"].get("n", {"N": "0"})["N"]) + 1
        and record["OldImage"] | {"n": record["NewImage"]["n"]} == record["NewImage"]
    )


def told(report: TouchReport) -> dict[str, int]:
    """What became of the items, without the zeros."""
    names = ("fired", "already", "gone", "changed", "refused", "unknown", "failed")
    return {name: number for name in names if (number := getattr(report, name))}


# ── the record decides ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("api", ["partiql", "update-item"])
@pytest.mark.parametrize(
    ("fault", "meanwhile", "wanted"),
    [
        (LOST, visit_all, "fired"),  # and the number is no longer the one that was written
        (NOT_DONE, visit_all, "changed"),  # and the number is the one that was to be written
        (LOST, delete_all, "fired"),
        (NOT_DONE, delete_all, "gone"),
    ],
    ids=["written-and-counted-up", "not-written-and-counted-up", "written-and-deleted", "not-written-and-deleted"],
)
def test_the_record_tells_whose_write_it_was(
    target: Table, proxy: Proxy, tmp_path: Path, api: str, fault: Any, meanwhile: Any, wanted: str
) -> None:
    items = target.fill(20 if api == "partiql" else 1)
    plan = plan_of(proxy, target, tmp_path, run_name(), api=api)
    proxy.script([fault, between(lambda: meanwhile(target, items))])
    report = plan.execute()
    assert told(report) == {wanted: len(items)}
    assert ours(target) == (once_each(items) if wanted == "fired" else Counter())
    assert (report.seen, report.leftover, report.exit_code) == (len(ours(target)), 0, 0)


@pytest.mark.parametrize("fault", [LOST, NOT_DONE], ids=["written", "not-written"])
def test_a_marked_item_that_is_deleted_after_a_lost_answer_had_fired(
    target: Table, proxy: Proxy, tmp_path: Path, fault: Any
) -> None:
    items = target.fill(20)
    run = run_name()
    plan = plan_of(proxy, target, tmp_path, run, counter=None)
    proxy.script([fault, between(lambda: delete_all(target, items))])
    report = plan.execute()
    fired = target.marked(run)
    assert fired == (once_each(items) if fault is LOST else Counter())
    assert told(report) == {"fired" if fault is LOST else "gone": len(items)}
    assert (report.seen, report.leftover) == (len(fired), 0)


# ── nothing tells ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fault", [LOST, NOT_DONE], ids=["written", "not-written"])
def test_without_the_proof_it_is_unknown_and_not_written_again(
    target: Table, proxy: Proxy, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: Any
) -> None:
    items = target.fill(20)
    run = run_name()
    common = ["--run", run, "--endpoint-url", proxy.endpoint_url, "--ledger", ledger_path(tmp_path), "--json"]
    touch = ["touch", target.name, "--all", "--counter", "n", "--execute", "--no-verify", *common]
    proxy.script([fault, between(lambda: visit_all(target, items))])
    report = _json(capsys, touch, code=1)
    assert (report["selected"], report["unknown"], report["leftover"]) == (20, 20, 20)
    assert (report["fired"], report["changed"], report["seen"]) == (0, 0, None)
    assert any("may have fired or not" in note for note in report["notes"])

    ledger = ["--ledger", ledger_path(tmp_path)]
    assert _json(capsys, ["runs", "show", run, "--json", *ledger])["report"]["unknown"] == 20
    left = _lines(capsys, ["runs", "show", run, "--leftover", *ledger])
    assert {each["code"] for each in left} == {"Unknown"}
    assert Counter(key_text(each["key"]) for each in left) == once_each(items)

    records = target.modifications()
    assert _json(capsys, touch, code=1)["unknown"] == 20
    assert target.modifications() == records, "an unknown write was repeated"
    report = _json(capsys, [*touch, "--again"])
    assert (report["selected"], report["fired"], report["leftover"]) == (20, 20, 0)
    assert target.modifications() - records == once_each(items)


@pytest.mark.parametrize("view_type", ["NEW_IMAGE", "OLD_IMAGE", "KEYS_ONLY"])
def test_one_image_does_not_tell(shared_table: tuple[str, Table], proxy: Proxy, tmp_path: Path, view_type: str) -> None:
    made = tables.create(
        shared_table[0], ("pk", "S"), view_type=view_type, items=[{"pk": str(each), "n": 3} for each in range(5)]
    )
    plan = restrike.touch(
        made.name,
        all=True,
        counter="n",
        verify=True,
        verify_timeout_s=0.2,
        endpoint_url=proxy.endpoint_url,
        ledger=ledger_path(tmp_path),
    )
    proxy.script([LOST])
    report = plan.execute()
    assert told(report) == {"unknown": 5}
    assert (report.leftover, report.exit_code) == (5, 1)


def test_what_is_known_later_is_no_left_over_any_more(target: Table, proxy: Proxy, tmp_path: Path) -> None:
    """The run is stopped before the record comes, and goes on."""
    items = target.fill(20)
    run = run_name()
    plan = plan_of(proxy, target, tmp_path, run)
    proxy.script([LOST, ResetBefore("GetRecords"), between(lambda: visit_all(target, items))])
    stop = restrike.Stop()
    report = plan.execute(
        lambda progress: stop.set("caller") if progress.phase == "verifying" and progress.counts.unknown else None,
        stop=stop,
    )
    assert report.state == "INTERRUPTED"
    assert (told(report), report.leftover) == ({"unknown": 20}, 20)
    proxy.script([])
    report = plan_of(proxy, target, tmp_path, run).execute()
    assert (report.state, told(report), report.seen, report.leftover) == ("COMPLETED", {"fired": 20}, 20, 0)
    assert ours(target) == once_each(items)


# ── a second writer counts all the time ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("verify", [True, False], ids=["with-proof", "without"])
def test_beside_a_writer_that_counts_no_report_lies(
    shared_table: tuple[str, Table], target: Table, proxy: Proxy, tmp_path: Path, verify: bool
) -> None:
    """One kill -9 and many lost answers, while another writer counts on the same items. Plain boto3 judges."""
    items = target.fill(200)
    run = run_name()
    client = connect("dynamodb", shared_table[0])
    ending = threading.Event()
    visits = 0

    def go() -> None:
        nonlocal visits
        rng = random.Random(7)
        while not ending.is_set():
            visit(client, target.name, rng.choice(items))
            visits += 1

    touch = ["touch", target.name, "--all", "--counter", "n", "--run", run, "--execute", "--json"]
    touch += ["--rate", "400", "--segments", "4", "--ledger", ledger_path(tmp_path)]
    touch += ["--endpoint-url", proxy.endpoint_url]
    touch += ["--verify", "--verify-timeout", "5"] if verify else ["--no-verify"]
    writer = threading.Thread(target=go)
    writer.start()
    try:
        storm = [ResetAfterApply(WRITES, probability=0.3), ServerError(WRITES, probability=0.3)]
        proxy.script([HangAfterApply(WRITES, skip=4, times=2), *storm])
        with command(*touch) as first:
            await_true(lambda: proxy.fired(HangAfterApply) > 0 or first.ended, "an answer does not come")
            before = visits
            await_true(lambda: visits > before + 50, "the writer goes on")
            assert not first.ended, first.stderr
            first.kill()
        proxy.script(storm)
        with command(*touch) as second:
            code = second.wait()
            report = second.report()
    finally:
        ending.set()
        writer.join()
        client.close()
    fired = ours(target)
    assert set(fired.values()) == {1}, "an item fired twice"
    assert report["state"] == "COMPLETED"
    assert report["fired"] + report["changed"] + report["unknown"] == report["selected"] == len(items)
    if verify:
        assert (report["unknown"], report["leftover"], code) == (0, 0, 0)
        assert report["fired"] == report["seen"] == fired.total()
    else:
        assert report["unknown"] == report["leftover"] > 0
        assert code == 1
        assert report["fired"] <= fired.total() <= report["fired"] + report["unknown"]
    now = target.scan()
    start = {key_text(item): int(item.get("n", {"N": "0"})["N"]) for item in items}
    by_us = {
        key: int(item["n"]["N"]) - start[key] - int(item.get("visits", {"N": "0"})["N"])
        for key, item in now.items()
        if "n" in item
    }
    assert Counter({key: each for key, each in by_us.items() if each}) == fired, "an increment is lost"


@pytest.mark.parametrize("mode", ["marker", "counter"])
def test_a_canary_that_is_killed_takes_the_same_items_again(
    target: Table, proxy: Proxy, tmp_path: Path, mode: str
) -> None:
    """And not others beside them, whichever page comes first."""
    target.fill(200)
    touch = ["touch", target.name, "--all", "--segments", "4", "--limit", "30", "--run", run_name(), "--execute"]
    touch += ["--json", "--verify-timeout", "5", "--ledger", ledger_path(tmp_path)]
    touch += ["--endpoint-url", proxy.endpoint_url, *(["--counter", "n"] if mode == "counter" else [])]
    hang = HangAfterApply(WRITES, skip=1)
    proxy.script([hang, Slow("Scan", seconds=1.0, when=lambda body: body.get("Segment") in (1, 2, 3))])
    with command(*touch) as first:
        await_true(lambda: proxy.fired(HangAfterApply) > 0 or first.ended, "an answer does not come")
        first.kill()
    proxy.script([Slow("Scan", seconds=1.0, when=lambda body: body.get("Segment") == 0)])
    with command(*touch) as second:
        assert second.wait() == 0, second.stderr
        report = second.report()
    fired = target.modifications()
    assert set(fired.values()) == {1}
    assert (report["state"], report["selected"], report["fired"], report["seen"]) == ("LIMITED", 30, 30, 30)
    assert fired.total() == 30


def _json(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int = 0) -> dict[str, Any]:
    (said,) = _lines(capsys, arguments, code)
    return said


def _lines(capsys: pytest.CaptureFixture[str], arguments: list[str], code: int = 0) -> list[dict[str, Any]]:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    said = capsys.readouterr()
    assert left.value.code == code, said.err
    return [json.loads(line) for line in said.out.splitlines()]
