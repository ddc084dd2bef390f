"""While an application goes on writing: nothing deleted comes back, no write is lost, and the report is right."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import botocore.exceptions
import pytest

import restrike
from restrike.cli.main import main
from restrike.local.dynamodb_local import start_owned
from restrike.model.report import TouchReport
from restrike.running.ledger import Ledger
from restrike.touching.plan import TouchPlan
from tests.integration.safety import (
    INDEX,
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
from tests.servers.faults import HangAfterApply, ServerError, Slow, faulty

ITEMS = 400
RATE = 800.0
KIB = 1024
LIMIT = 400 * KIB  # of an item, names included


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture(scope="module")
def engine_url() -> Iterator[str]:
    """An engine that no other test slows down."""
    with start_owned() as server:
        yield server.endpoint_url


@pytest.fixture(scope="module")
def shared_table(engine_url: str) -> Iterator[Table]:
    with table(engine_url, "writers") as target:
        yield target


@pytest.fixture
def target(shared_table: Table) -> Table:
    shared_table.clear()
    return shared_table


def plan_of(url: str, target: Table, folder: Path, run: str, **request: Any) -> TouchPlan:
    request = {"all": True, "segments": 4, "rate": RATE, "verify_timeout_s": 10.0} | request
    return restrike.touch(target.name, run=run, endpoint_url=url, ledger=ledger_path(folder), **request)


def new_run() -> str:
    return f"run-{uuid4().hex[:12]}"


class Application:
    """Another writer, in a thread of its own with a client of its own; what it raised comes out at the end."""

    def __init__(self, url: str, name: str, write: Callable[[Any, str], bool]) -> None:
        self._client = connect("dynamodb", url)
        self._name = name
        self._write = write
        self._ending = threading.Event()
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._go)
        self.rounds = 0

    def _go(self) -> None:
        try:
            while not self._ending.is_set() and self._write(self._client, self._name):
                self.rounds += 1
        except BaseException as error:  # for the thread that waits
            self._failed.append(error)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ending.set()
        self._thread.join()
        self._client.close()
        if self._failed:
            raise self._failed[0]


@contextmanager
def application(url: str, target: Table, *writes: Callable[[Any, str], bool]) -> Iterator[list[Application]]:
    """Runs the writers, each in its thread, for the length of the block. All have written before it begins."""
    writers = [Application(url, target.name, write) for write in writes]
    for writer in writers:
        writer.start()
    try:
        await_true(lambda: all(writer.rounds for writer in writers), "every writer writes")
        yield writers
    finally:
        for writer in writers:
            writer.end()


def key_of(item: Item) -> Item:
    return {"pk": item["pk"], "sk": item["sk"]}


# ── no resurrection ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("api", ["partiql", "update-item"])
@pytest.mark.parametrize("mode", ["marker", "counter"])
def test_deleted_items_stay_deleted(engine_url: str, target: Table, tmp_path: Path, mode: str, api: str) -> None:
    items = target.fill(ITEMS)
    doomed = items[::3]
    left = iter(doomed)
    deleted = 0

    def delete(client: Any, name: str) -> bool:
        nonlocal deleted
        item = next(left, None)
        if item is None:
            return False
        client.delete_item(TableName=name, Key=key_of(item))
        deleted += 1
        return True

    run = new_run()
    keys = tmp_path / "keys.jsonl"
    keys.write_text("".join(json.dumps(key_of(item)) + "\n" for item in items))
    selection: dict[str, Any] = {"all": False, "segments": None, "keys": str(keys)}
    selection |= {"counter": "n"} if mode == "counter" else {}
    plan = plan_of(engine_url, target, tmp_path, run, api=api, **selection)
    progressed: list[int] = []
    with application(engine_url, target, delete):
        report = plan.execute(lambda progress: progressed.append(deleted))
        await_true(lambda: deleted == len(doomed), "all is deleted")
    assert target.scan().keys() == once_each(items).keys() - once_each(doomed).keys()
    assert (report.selected, report.changed, report.failed) == (ITEMS, 0, 0)
    assert report.fired + report.gone == ITEMS
    assert 0 < report.gone <= len(doomed)
    assert (report.seen, report.leftover) == (report.fired, 0)
    fired = target.counted() if mode == "counter" else target.marked(run)
    assert fired.total() == report.fired == len(fired), "an item fired twice"
    inserts = Counter(key_text(each["Keys"]) for each in target.read_stream() if each["eventName"] == "INSERT")
    assert inserts == once_each(items), "an item was created again"


# ── no lost update ───────────────────────────────────────────────────────────────────────────────────────────


class Visits:
    """Increments of `visits` on some items: by atomic ADD, and by reading and conditionally putting whole items."""

    def __init__(self, items: list[Item]) -> None:
        self._items = items
        self.done: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.refused = 0

    def _count(self, item: Item) -> None:
        with self._lock:
            self.done[key_text(item)] += 1

    def add(self, start: int) -> Callable[[Any, str], bool]:
        position = start

        def write(client: Any, name: str) -> bool:
            nonlocal position
            item = self._items[position % len(self._items)]
            position += 1
            client.update_item(
                TableName=name,
                Key=key_of(item),
                UpdateExpression="ADD visits :one",
                ExpressionAttributeValues={":one": {"N": "1"}},
            )
            self._count(item)
            return True

        return write

    def put(self, start: int) -> Callable[[Any, str], bool]:
        """Puts conditioned on all that the item was, so that a put never takes back a touch either."""
        position = start

        def write(client: Any, name: str) -> bool:
            nonlocal position
            item = self._items[position % len(self._items)]
            position += 1
            old = client.get_item(TableName=name, Key=key_of(item), ConsistentRead=True)["Item"]
            new = old | {"visits": {"N": str(int(old.get("visits", {"N": "0"})["N"]) + 1)}}
            names, values, terms = {}, {}, []
            for place, attribute in enumerate(("visits", "restrike", "n")):
                names[f"#{place}"] = attribute
                if attribute in old:
                    values[f":{place}"] = old[attribute]
                    terms.append(f"#{place} = :{place}")
                else:
                    terms.append(f"attribute_not_exists(#{place})")
            condition = {"ConditionExpression": " AND ".join(terms), "ExpressionAttributeNames": names}
            if values:
                condition["ExpressionAttributeValues"] = values
            try:
                client.put_item(TableName=name, Item=new, **condition)
            except botocore.exceptions.ClientError as error:
                if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                    raise
                self.refused += 1
            else:
                self._count(item)
            return True

        return write


@pytest.mark.parametrize("api", ["partiql", "update-item"])
@pytest.mark.parametrize("mode", ["marker", "counter"])
def test_no_write_of_the_application_is_lost(
    engine_url: str, target: Table, tmp_path: Path, mode: str, api: str
) -> None:
    items = target.fill(ITEMS)
    visits = Visits(items[:60])
    run = new_run()
    selection = {"counter": "n"} if mode == "counter" else {}
    plan = plan_of(engine_url, target, tmp_path, run, api=api, **selection)
    writers = [visits.add(0), visits.add(17), visits.put(30), visits.put(30)]
    with application(engine_url, target, *writers) as running:
        before = [writer.rounds for writer in running]
        report = plan.execute()
        assert all(writer.rounds > rounds for writer, rounds in zip(running, before, strict=True))
    now = target.scan()
    assert {key: int(now[key]["visits"]["N"]) for key in visits.done} == visits.done
    assert (report.selected, report.fired, report.seen, report.leftover) == (ITEMS, ITEMS, ITEMS, 0)
    if mode == "marker":
        assert target.marked(run) == once_each(items)
        assert {item["restrike"]["S"] for item in now.values()} == {run}
    else:
        assert target.counted() == once_each(items)
        wanted = {key_text(item): int(item.get("n", {"N": "0"})["N"]) + 1 for item in items}
        assert {key: int(item["n"]["N"]) for key, item in now.items()} == wanted


@pytest.mark.parametrize("api", ["partiql", "update-item"])
def test_a_counter_that_the_application_moves_is_changed_and_nothing_is_lost(
    engine_url: str, target: Table, tmp_path: Path, api: str
) -> None:
    items = target.fill(ITEMS)
    start = {key_text(item): int(item.get("n", {"N": "0"})["N"]) for item in items}
    moved: Counter[str] = Counter()
    position = 0

    def move(client: Any, name: str) -> bool:
        nonlocal position
        item = items[position * 7 % ITEMS]
        position += 1
        client.update_item(
            TableName=name,
            Key=key_of(item),
            UpdateExpression="ADD n :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
        )
        moved[key_text(item)] += 1
        return True

    # Between the number's reading and its writing there has to be time for the application to come between.
    with faulty(engine_url, [Slow("BatchGetItem", seconds=0.1)]) as proxy:
        plan = plan_of(proxy.endpoint_url, target, tmp_path, new_run(), counter="n", api=api, segments=1, rate=400.0)
        with application(engine_url, target, move):
            report = plan.execute()
    assert report.fired + report.changed == report.selected == ITEMS
    assert report.changed > 0
    assert (report.failed, report.gone, report.exit_code) == (0, 0, 0)
    now = {key: int(item["n"]["N"]) for key, item in target.scan().items()}
    by_us = {key: now[key] - start[key] - moved[key] for key in now}
    assert set(by_us.values()) <= {0, 1}, "a number was moved twice, or an increment of the application is lost"
    assert sum(by_us.values()) == report.fired
    assert (report.seen, report.leftover) == (report.fired, 0)


# ── items that cannot take it ────────────────────────────────────────────────────────────────────────────────


def put_full(target: Table, free: int) -> Item:
    """An item that is so many bytes smaller than the largest; its key sorts anywhere among the others."""
    item: Item = {"pk": {"S": f"full-{uuid4().hex[:6]}"}, "sk": {"N": "1"}, "data": {"S": ""}}
    # Names, the texts of values, and 1 to 3 bytes for a short number.
    used = sum(len(name) for name in item) + len(item["pk"]["S"]) + 2
    item["data"]["S"] = "x" * (LIMIT - used - free)
    target.client.put_item(TableName=target.name, Item=item)
    return item


@pytest.mark.parametrize("api", ["partiql", "update-item"])
def test_an_item_that_the_marker_would_push_over_the_limit_fails_alone(
    engine_url: str, target: Table, tmp_path: Path, capsys: pytest.CaptureFixture[str], api: str
) -> None:
    run = new_run()
    items = target.fill(60)
    need = len("restrike") + len(run)
    full = put_full(target, free=need // 2)
    roomy = put_full(target, free=need + 8)
    arguments = ["touch", target.name, "--all", "--api", api, "--run", run, "--execute", "--json", "--rate", "20000"]
    arguments += ["--endpoint-url", engine_url, "--ledger", ledger_path(tmp_path)]
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 1
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert (report["selected"], report["fired"], report["failed"]) == (62, 61, 1)
    assert (report["seen"], report["leftover"]) == (61, 1)
    assert f"restrike runs show {run} --leftover" in said.err
    assert target.marked(run) == once_each([*items, roomy])

    with pytest.raises(SystemExit) as left:
        main(["runs", "show", run, "--leftover", "--ledger", ledger_path(tmp_path)])
    assert left.value.code == 0
    (line,) = capsys.readouterr().out.splitlines()
    leftover = json.loads(line)
    assert leftover["key"] == key_of(full)
    assert leftover["code"] == "ValidationError"
    assert "size" in leftover["message"].lower()

    # When there is room again, the left-over is all that a further run takes.
    target.client.put_item(TableName=target.name, Item=key_of(full) | {"data": {"S": "short"}})
    again = plan_of(
        engine_url, target, tmp_path, new_run(), all=False, segments=None, keys=f"run:{run}", api=api
    ).execute()
    assert (again.selected, again.fired, again.failed) == (1, 1, 0)


def test_keys_that_are_given_twice_fire_once(engine_url: str, target: Table, tmp_path: Path) -> None:
    items = target.fill(80)
    run = new_run()
    keys = tmp_path / "keys.jsonl"
    spelled_anew = [{"pk": item["pk"]["S"], "sk": float(item["sk"]["N"])} for item in items]
    lines = [*map(key_of, items), *spelled_anew, *map(key_of, reversed(items))]
    keys.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report = plan_of(engine_url, target, tmp_path, run, all=False, segments=None, keys=str(keys)).execute()
    assert (report.selected, report.fired, report.already) == (80, 80, 0)
    assert target.modifications() == once_each(items)


@pytest.mark.parametrize("mode", ["marker", "counter"])
def test_an_item_that_moves_in_the_index_while_it_is_read_fires_once(
    engine_url: str, target: Table, tmp_path: Path, mode: str
) -> None:
    """The application moves items to later days, so that the selection meets them again."""
    items = target.fill(ITEMS)
    position = 0

    def move(client: Any, name: str) -> bool:
        nonlocal position
        item = items[position % ITEMS]
        day = 1 + (position // ITEMS * 5 + int(item["day"]["S"][-2:])) % 28
        position += 1
        client.update_item(
            TableName=name,
            Key=key_of(item),
            UpdateExpression="SET #day = :day",
            ExpressionAttributeNames={"#day": "day"},
            ExpressionAttributeValues={":day": {"S": f"2021-01-{day:02}"}},
        )
        return True

    run = new_run()
    selection: dict[str, Any] = {"counter": "n"} if mode == "counter" else {}
    selection |= {"all": False, "segments": None, "index": INDEX, "date": "2021-01-01..2021-01-31"}
    with faulty(engine_url, [Slow("Query", seconds=0.03)]) as proxy:
        plan = plan_of(proxy.endpoint_url, target, tmp_path, run, **selection)
        with application(engine_url, target, move):
            report = plan.execute()
    fired = target.counted() if mode == "counter" else target.marked(run)
    assert set(fired.values()) == {1}
    assert (report.fired, report.seen, report.leftover) == (fired.total(), fired.total(), 0)
    assert report.selected == report.fired + report.already
    assert (report.gone, report.changed, report.failed) == (0, 0, 0)


# ── two at a time ────────────────────────────────────────────────────────────────────────────────────────────


def test_two_processes_with_one_name_are_one_run(engine_url: str, target: Table, tmp_path: Path) -> None:
    items = target.fill(ITEMS)
    run = new_run()
    with faulty(engine_url, [HangAfterApply("BatchExecuteStatement", skip=2)]) as proxy:
        touch = ["touch", target.name, "--all", "--run", run, "--execute", "--json", "--rate", str(RATE)]
        touch += ["--endpoint-url", proxy.endpoint_url, "--ledger", ledger_path(tmp_path)]
        with command(*touch) as first:
            await_true(lambda: proxy.fired(HangAfterApply) > 0 or first.ended, "the first process writes")
            for second in (touch, ["runs", "resume", run, "--ledger", ledger_path(tmp_path), "--execute", "--json"]):
                with command(*second) as refused:
                    assert refused.wait() == 2
                    assert f"run {run} is being executed by process {first.process.pid}" in refused.stderr
                    assert refused.stdout == ""
            assert not first.ended
            first.kill()
        proxy.script([])
        with command("runs", "resume", run, "--ledger", ledger_path(tmp_path), "--execute", "--json") as last:
            assert last.wait() == 0, last.stderr
            report = last.report()
    assert (report["selected"], report["fired"], report["seen"]) == (ITEMS, ITEMS, ITEMS)
    assert target.marked(run) == target.modifications() == once_each(items)


def test_two_runs_at_once_on_one_table_need_force_and_do_not_disturb_each_other(
    engine_url: str, target: Table, tmp_path: Path
) -> None:
    items = target.fill(ITEMS)
    one, two = new_run(), new_run()
    held = threading.Event()
    held.set()
    hold = ServerError("BatchExecuteStatement", skip=4, when=lambda body: held.is_set() and one in json.dumps(body))
    with faulty(engine_url, [hold]) as proxy:
        touch = ["touch", target.name, "--all", "--execute", "--json", "--rate", str(RATE)]
        touch += ["--endpoint-url", proxy.endpoint_url, "--ledger", ledger_path(tmp_path)]
        with command(*touch, "--run", one) as first:
            await_true(lambda: proxy.fired(ServerError) > 0 or first.ended, "the first process writes")
            with command(*touch, "--run", two, "--marker", "fired_by") as refused:
                assert refused.wait() == 2
                assert f"run {one} is active" in refused.stderr
                assert "--force" in refused.stderr
            with command(*touch, "--run", two, "--marker", "fired_by", "--force") as second:
                assert second.wait() == 0, second.stderr
                beside = second.report()
            assert not first.ended
            held.clear()
            assert first.wait() == 0, first.stderr
            report = first.report()
    for each in (report, beside):
        assert (each["selected"], each["fired"], each["seen"], each["leftover"]) == (ITEMS, ITEMS, ITEMS, 0)
    assert target.marked(one) == target.marked(two, "fired_by") == once_each(items)


def test_an_interrupted_process_finishes_what_is_in_flight_and_goes_on_later(
    engine_url: str, target: Table, tmp_path: Path
) -> None:
    items = target.fill(ITEMS)
    run = new_run()
    touch = ["touch", target.name, "--all", "--run", run, "--execute", "--json", "--rate", "10"]
    touch += ["--endpoint-url", engine_url, "--ledger", ledger_path(tmp_path)]
    with command(*touch) as first:
        await_true(lambda: target.marked(run).total() > 0 or first.ended, "some items fire")
        first.interrupt()
        assert first.wait() == 130
        report = first.report()
        assert report["state"] == "INTERRUPTED"
        assert f"restrike runs resume {run}" in first.stderr
    assert 0 < target.marked(run).total() < ITEMS
    with Ledger(Path(ledger_path(tmp_path))) as ledger:
        assert ledger.get(run).state == "INTERRUPTED"
    resume = ["runs", "resume", run, "--rate", "max", "--ledger", ledger_path(tmp_path), "--execute", "--json"]
    with command(*resume) as last:
        assert last.wait() == 0, last.stderr
        assert {name: last.report()[name] for name in ("selected", "fired", "seen")} == dict.fromkeys(
            ("selected", "fired", "seen"), ITEMS
        )
    assert target.marked(run) == target.modifications() == once_each(items)


def test_the_report_is_the_sum_of_its_parts(engine_url: str, target: Table, tmp_path: Path) -> None:
    target.fill(40)
    run = new_run()
    reports: list[TouchReport] = [
        plan_of(engine_url, target, tmp_path, run, again=again).execute() for again in (False, True)
    ]
    for report in reports:
        parts = report.fired + report.already + report.gone + report.changed + report.failed
        assert report.selected == parts == 40
    assert [report.fired for report in reports] == [40, 0]
