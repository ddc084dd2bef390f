"""Whose marks a touch overwrites, whether a run is begun again, and that its counts are those of the whole run."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

import restrike
from restrike.aws import wire
from restrike.cli.main import main
from restrike.errors import AccessDenied, AwsError, UsageError
from restrike.model.report import Counts, TouchReport
from restrike.model.speed import Speed
from restrike.running.ledger import Ledger
from restrike.running.stop import Stop
from restrike.touching import sending
from restrike.touching.plan import TouchPlan
from restrike.touching.progress import TouchProgress
from restrike.touching.run import summary
from tests.integration.safety import INDEX, Item, Table, hurry, key_text, ledger_path, once_each, resumed, table
from tests.servers.faults import AccessDenied as Denied
from tests.servers.faults import ErrorAfterApply, Proxy, RefuseReturning, ServerError, WithoutItem, faulty

ITEMS = 120
WRITE = ("BatchExecuteStatement", "UpdateItem")
OF_ITEMS = ("Scan", "Query", "BatchGetItem", *WRITE)
APIS = ["partiql", "update-item"]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch, timeout_s=wire.TIMEOUT_S)


@pytest.fixture(scope="module")
def one_proxy(dynamodb_local: str) -> Iterator[Proxy]:
    with faulty(dynamodb_local) as made:
        yield made


@pytest.fixture(scope="module")
def one_table(dynamodb_local: str) -> Iterator[Table]:
    with table(dynamodb_local, f"marks-{uuid4().hex[:8]}") as made:
        yield made


class Scene:
    """An empty table behind a proxy that is well, and a ledger."""

    def __init__(self, proxy: Proxy, target: Table, folder: Path) -> None:
        self.proxy = proxy
        self.table = target
        self.folder = folder

    def plan(self, run: str, **request: Any) -> TouchPlan:
        request = {"all": True, "segments": 2, "rate": 20_000.0, "verify_timeout_s": 10.0} | request
        if request.get("verify") is False:
            request["verify_timeout_s"] = None
        return restrike.touch(
            self.table.name,
            run=run,
            endpoint_url=self.proxy.endpoint_url,
            ledger=ledger_path(self.folder),
            **request,
        )

    def put(self, items: list[Item], **attributes: str) -> None:
        for item in items:
            values = {name: {"S": value} for name, value in attributes.items()}
            self.table.client.put_item(TableName=self.table.name, Item=item | values)

    def key_file(self, items: list[Item]) -> dict[str, Any]:
        path = self.folder / "keys.jsonl"
        path.write_text("".join(json.dumps({"pk": item["pk"], "sk": item["sk"]}) + "\n" for item in items))
        return {"all": False, "segments": None, "keys": str(path)}

    def asked_of_items(self) -> int:
        return sum(self.proxy.count(operation) for operation in OF_ITEMS)

    def shown(self, run: str) -> dict[str, Any]:
        """The counts as `runs show` tells them."""
        with Ledger(Path(ledger_path(self.folder)), read_only=True) as ledger:
            return summary(ledger.get(run))

    def leftovers(self, run: str) -> dict[str, tuple[str, str]]:
        with Ledger(Path(ledger_path(self.folder)), read_only=True) as ledger:
            return {
                key_text(msgspec.json.decode(each.key)): (each.code, each.message) for each in ledger.leftovers(run)
            }

    def going_on(self, run: str, **changes: Any) -> TouchPlan:
        plan = restrike.resume(run, ledger=ledger_path(self.folder), **changes)
        assert isinstance(plan, TouchPlan)
        return plan


@pytest.fixture
def scene(one_table: Table, one_proxy: Proxy, tmp_path: Path) -> Scene:
    one_proxy.script([])
    one_table.clear()
    return Scene(one_proxy, one_table, tmp_path)


# ── the application's data ───────────────────────────────────────────────────────────────────────────────────


def test_the_plan_refuses_an_attribute_that_holds_data(scene: Scene) -> None:
    scene.put(scene.table.fill(10), status="PAID")
    for more in ({}, {"over": "another"}, {"over": "one,two"}):
        with pytest.raises(UsageError, match=r"'status' of 10 of 10 sampled items holds data \(type S\)") as caught:
            scene.plan("fixup", marker="status", **more)
        assert "PAID" not in caught.value.message + caught.value.hint
        assert "--over" in caught.value.hint
    with pytest.raises(UsageError, match=r"'status' of 10 of 10 sampled items .* not a number"):
        scene.plan("fixup", counter="status")
    assert scene.plan("fixup", marker="status", over="PAID, PAID").data.sample_others == {"PAID": 10}


def test_restrikes_own_attribute_holds_texts_only(scene: Scene) -> None:
    (item,) = scene.table.fill(1)
    scene.table.client.put_item(TableName=scene.table.name, Item=item | {"restrike": {"N": "7"}})
    with pytest.raises(UsageError, match=r"holds data \(type N\), not the name of a run"):
        scene.plan("r")


@pytest.mark.parametrize(
    ("request_", "match"),
    [
        ({"over": "a"}, "--over has no use here"),
        ({"over": "a", "counter": "n"}, "--over has no use here"),
        ({"over": "", "marker": "m"}, "--over is empty"),
        ({"over": "a,,b", "marker": "m"}, "is no name for a run"),
        ({"over": ",".join(f"r{n}" for n in range(21)), "marker": "m"}, "20 at most"),
    ],
    ids=str,
)
def test_names_that_cannot_be_overwritten(scene: Scene, request_: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        scene.plan("r", **request_)


@pytest.mark.parametrize("how", [*APIS, "without-returning", "without-items"])
@pytest.mark.parametrize("through", ["all", "keys"])
def test_a_write_overwrites_only_names_that_it_may(scene: Scene, how: str, through: str) -> None:
    """The data comes after the plan, so that only the statement's own condition can see it."""
    items = scene.table.fill(70)
    new, data, own, old, gone = items[:30], items[30:40], items[40:50], items[50:60], items[60:]
    selection = scene.key_file(items) if through == "keys" else {}
    api = how if how in APIS else "partiql"
    plan = scene.plan("r", marker="status", over="jan-21,jan-22", api=api, **selection)
    scene.put(data, status="PAID")
    scene.put(own, status="r")
    scene.put(old, status="jan-22")
    for item in gone:
        scene.table.client.delete_item(TableName=scene.table.name, Key={"pk": item["pk"], "sk": item["sk"]})
    if how == "without-returning":
        scene.proxy.script([RefuseReturning()])
    if how == "without-items":
        scene.proxy.script([WithoutItem()])
    report = plan.execute()
    met = 10 if through == "keys" else 0
    assert (report.fired, report.already, report.gone, report.refused, report.failed) == (40, 10, met, 10, 0)
    assert (report.selected, report.seen, report.leftover, report.exit_code) == (60 + met, 40, 10, 1)
    if how != "without-returning" or through == "all":
        assert report.overwrote == 10
    now = scene.table.scan()
    assert {now[key_text(item)]["status"]["S"] for item in data} == {"PAID"}
    assert scene.table.marked("r", "status").keys() >= once_each([*new, *old]).keys()
    left = scene.leftovers("r")
    assert left.keys() == once_each(data).keys()
    assert {code for code, _ in left.values()} == {"NotOurs"}
    assert not any("PAID" in message for _, message in left.values())
    assert not now.keys() & once_each(gone).keys()


def test_an_item_whose_refusal_cannot_be_read_failed(scene: Scene) -> None:
    """The other answers of its batch are not lost with it."""
    items = scene.table.fill(20)
    plan = scene.plan("r", marker="status", segments=1)
    scene.put(items[:5], status="PAID")
    scene.proxy.script([WithoutItem(), Denied("BatchGetItem")])
    report = plan.execute()
    assert (report.fired, report.already, report.refused, report.failed, report.exit_code) == (15, 0, 0, 5, 1)
    assert {code for code, _ in scene.leftovers("r").values()} == {"Unknown"}
    assert any("5 of those that failed" in note and "dynamodb:BatchGetItem" in note for note in report.notes)
    scene.proxy.script([])
    report = scene.plan("r", marker="status", again=True, over="PAID").execute()
    assert (report.fired, report.already, report.failed, report.notes) == (5, 15, 0, ())


# ── a run that is done, and runs over the same items ─────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", ["marker", "counter"])
@pytest.mark.parametrize("selection", ["all", "index", "keys"])
def test_a_complete_run_is_not_begun_again(scene: Scene, mode: str, selection: str) -> None:
    items = scene.table.fill(ITEMS)
    request: dict[str, Any] = {"counter": "n"} if mode == "counter" else {}
    if selection == "index":
        request |= {"all": False, "segments": None, "index": INDEX, "date": "2021-01-01..2021-01-31"}
    elif selection == "keys":
        request |= scene.key_file(items)
    first = scene.plan("a", **request).execute()
    assert (first.state, first.fired) == ("COMPLETED", ITEMS)
    assert scene.plan("b", **request).execute().fired == ITEMS
    asked, modified = scene.asked_of_items(), scene.table.modifications()

    plan = scene.plan("a", **request)
    assert plan.data.done is not None
    assert "run a was completed" in plan.data.done
    assert f"{ITEMS} fired" in plan.data.done
    assert "--again" in plan.data.command
    report = plan.execute()
    assert (report.state, report.selected, report.fired, report.already) == ("COMPLETED", ITEMS, ITEMS, 0)
    assert report.exit_code == 0
    assert report.notes[0].startswith("nothing new: run a was completed at 2")
    assert scene.asked_of_items() == asked, "an item was read or written"
    assert scene.table.modifications() == modified


def test_started_over_a_run_says_whose_names_go(scene: Scene) -> None:
    items = scene.table.fill(30)
    assert scene.plan("a").execute().overwrote == 0
    over_a = scene.plan("b", limit=20)
    assert over_a.data.sample_others == {"a": 30}
    assert over_a.execute().overwrote == 20
    again = scene.plan("a", again=True)
    (warning,) = (warning.message for warning in again.warnings if warning.code == "other-runs")
    assert "20 of 30 sampled items" in warning
    assert "b (20)" in warning
    report = again.execute()
    assert (report.selected, report.fired, report.overwrote, report.already) == (30, 20, 20, 10)
    assert sum(scene.table.marked("a").values()) == 50
    assert set(scene.table.marked("a")) == set(once_each(items))
    assert scene.shown("a")["overwrote"] == 20


def test_a_name_out_of_an_item_writes_no_commands_to_a_terminal(scene: Scene) -> None:
    scene.put(scene.table.fill(1), restrike="\x1b]0;owned\x07")
    (warning,) = (warning.message for warning in scene.plan("r").warnings if warning.code == "other-runs")
    assert warning.isprintable()


def test_what_is_new_fires_when_a_run_is_started_over(scene: Scene) -> None:
    scene.table.fill(10)
    assert scene.plan("a").execute().fired == 10
    new = scene.table.fill(5)
    assert scene.plan("a").execute().fired == 10, "that is what was done"
    report = scene.plan("a", again=True).execute()
    assert (report.selected, report.fired, report.already, report.seen) == (15, 5, 10, 5)
    assert scene.table.marked("a").keys() >= once_each(new).keys()
    assert set(scene.table.marked("a").values()) == {1}


def test_an_overtaken_run_repeats_little(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restrike.selecting.read.ITEMS_PER_UNIT", 10)
    scene.table.fill(ITEMS)
    stop = Stop()

    def note(progress: TouchProgress) -> None:
        if progress.counts.fired >= 60:
            stop.set("pause")

    slow = {"segments": 1, "concurrency": 1, "api": "update-item"}
    report = scene.plan("a", rate=100.0, **slow).execute(note, stop=stop)
    assert 60 <= report.fired < ITEMS
    assert scene.plan("b").execute().overwrote == report.fired
    assert resumed("a", scene.folder, rate=20_000.0).state == "COMPLETED"
    repeated = sum(scene.table.marked("a").values()) - ITEMS
    assert repeated <= 10, "more than the part of a page that was under way"


# ── counts of the whole run ──────────────────────────────────────────────────────────────────────────────────


def in_the_table(scene: Scene, run: str) -> int:
    return sum(item.get("restrike") == {"S": run} for item in scene.table.scan().values())


@pytest.mark.parametrize("api", APIS)
def test_a_run_that_is_denied_its_proof_reports_what_it_wrote(scene: Scene, api: str) -> None:
    scene.table.fill(ITEMS)
    plan = scene.plan("a", rate=100.0, api=api)
    scene.proxy.script([Denied("GetRecords", skip=2)])
    with pytest.raises(AccessDenied) as caught:
        plan.execute()
    report = caught.value.report
    assert isinstance(report, TouchReport)
    written = in_the_table(scene, "a")
    assert written > 0
    assert (report.state, report.selected, report.fired, report.already) == ("FAILED", written, written, 0)
    told = scene.shown("a")
    assert (told["selected"], told["fired"]) == (written, written)

    # Denied at once, it has done nothing more, and says what was done before.
    scene.proxy.script([Denied("GetRecords")])
    with pytest.raises(AccessDenied) as caught:
        resumed("a", scene.folder, rate=100.0)
    more = in_the_table(scene, "a")
    assert (caught.value.report.fired, caught.value.report.already) == (more, 0)
    assert scene.shown("a")["fired"] == more >= written
    scene.proxy.script([])
    last = scene.going_on("a", verify=False, rate=20_000.0).execute()
    assert (last.selected, last.fired, last.already) == (ITEMS, ITEMS, 0)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("selection", ["all", "index", "keys"])
def test_a_lost_answer_is_no_other_writer(scene: Scene, api: str, selection: str) -> None:
    """Without the proof, and whether or not the marker was read along with the keys."""
    items = scene.table.fill(50)
    request: dict[str, Any] = {}
    if selection == "index":
        request = {"all": False, "segments": None, "index": INDEX, "date": "2021-01-01..2021-01-31"}
    elif selection == "keys":
        request = scene.key_file(items)
    plan = scene.plan("a", api=api, verify=False, **request)
    scene.proxy.script([ErrorAfterApply(WRITE, times=3)])
    report = plan.execute()
    assert (report.selected, report.fired, report.already, report.seen) == (50, 50, 0, None)
    assert scene.table.marked("a") == once_each(items)
    assert any("had no answer" in note for note in report.notes)
    assert scene.shown("a")["unanswered"] > 0


def test_what_bore_the_name_before_does_not_count_as_fired(scene: Scene) -> None:
    """Marked from another machine: that is told where no answer is lost, and by the proof where one is."""
    items = scene.table.fill(60)
    scene.put(items[:20], restrike="a")
    plan = scene.plan("a", **scene.key_file(items))
    scene.proxy.script([ErrorAfterApply(WRITE, times=3)])
    report = plan.execute()
    assert (report.selected, report.fired, report.already, report.seen) == (60, 40, 20, 40)


class Highest:
    """Takes progress, and fails where a count goes down."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.stop: Stop | None = None
        self.stop_at = 0

    def __call__(self, progress: TouchProgress) -> None:
        for name in ("selected", "fired", "gone", "failed"):
            assert getattr(progress.counts, name) >= getattr(self.counts, name), (name, self.counts, progress.counts)
        self.counts = progress.counts
        if self.stop is not None and progress.counts.fired >= self.stop_at:
            self.stop.set("pause")


@pytest.mark.parametrize("verify", [True, False], ids=["proof", "no-proof"])
@pytest.mark.parametrize("mode", ["marker", "counter"])
def test_counts_never_go_down(scene: Scene, monkeypatch: pytest.MonkeyPatch, mode: str, verify: bool) -> None:
    """Paused, failed with a lost answer, and taken up again; in the middle of pages."""
    monkeypatch.setattr(sending, "MAX_ATTEMPTS", 2)
    items = scene.table.fill(ITEMS)
    highest = Highest()
    request: dict[str, Any] = {"counter": "n"} if mode == "counter" else {}
    plan = scene.plan("a", rate=100.0, segments=1, api="update-item", verify=verify, **request)
    for number in range(2):
        highest.stop, highest.stop_at = Stop(), highest.counts.fired + 20
        report = plan.execute(highest, stop=highest.stop)
        assert report.state == "PAUSED"
        assert report.fired == highest.counts.fired == scene.shown("a")["fired"] >= (number + 1) * 20
        plan = scene.going_on("a")
    scene.proxy.script([ErrorAfterApply(WRITE, times=1), ServerError(WRITE)])
    with pytest.raises(AwsError) as caught:
        plan.execute(highest)
    assert caught.value.report.fired >= highest.counts.fired
    scene.proxy.script([])
    last = scene.going_on("a", rate=20_000.0).execute(highest)
    # A number does not tell whose write it was: of the one whose answer was lost only the stream does.
    assert last.unknown == (1 if mode == "counter" and not verify else 0)
    assert (last.state, last.selected, last.fired, last.already) == ("COMPLETED", ITEMS, ITEMS - last.unknown, 0)
    assert last.seen == (ITEMS if verify else None)
    fired = scene.table.counted() if mode == "counter" else scene.table.marked("a")
    assert fired == once_each(items)


def test_a_smaller_limit_takes_nothing_back(scene: Scene) -> None:
    scene.table.fill(ITEMS)
    highest = Highest()
    highest.stop, highest.stop_at = Stop(), 50
    report = scene.plan("a", rate=150.0, segments=1, concurrency=1).execute(highest, stop=highest.stop)
    fired = report.fired
    limited = scene.going_on("a", limit=10).execute(highest)
    assert (limited.state, limited.fired) == ("LIMITED", fired)


# ── taking marks off ─────────────────────────────────────────────────────────────────────────────────────────


def unmarked(scene: Scene, name: str, **request: Any) -> TouchPlan:
    request = {"rate": 20_000.0} | request
    return restrike.unmark(
        scene.table.name, name, endpoint_url=scene.proxy.endpoint_url, ledger=ledger_path(scene.folder), **request
    )


def removals(scene: Scene, name: str) -> Counter[str]:
    """How often the name went off each item, as the stream tells."""
    return Counter(
        key_text(record["Keys"])
        for record in scene.table.read_stream()
        if record["eventName"] == "MODIFY"
        and record["OldImage"].get("restrike") == {"S": name}
        and "restrike" not in record["NewImage"]
    )


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("through", ["all", "keys", "index"])
def test_unmark_takes_off_that_name_alone(scene: Scene, api: str, through: str) -> None:
    items = scene.table.fill(40)
    scene.put(items[:20], restrike="a")
    scene.put(items[20:30], restrike="b")
    request: dict[str, Any] = {"all": True}
    if through == "keys":
        request = {"keys": scene.key_file(items)["keys"]}
    elif through == "index":
        request = {"index": INDEX, "date": "2021-01-01..2021-01-31"}
    plan = unmarked(scene, "a", api=api, **request)
    assert {"unmark-fires", "unmark-unprotects"} <= {warning.code for warning in plan.warnings}
    assert (plan.data.verb, plan.data.run) == ("unmark", "unmark-a")
    assert plan.data.sample_already == (20 if through != "index" else 14), "of the days that were looked at"
    scene.proxy.script([ErrorAfterApply(WRITE, times=1)])
    report = plan.execute()
    assert (report.verb, report.state, report.selected, report.seen, report.leftover) == (
        "unmark", "COMPLETED", 40, 20, 0,
    )  # fmt: skip
    assert (report.fired, report.already, report.gone, report.failed, report.exit_code) == (20, 20, 0, 0, 0)
    now = scene.table.scan()
    assert {key: item["restrike"]["S"] for key, item in now.items() if "restrike" in item} == {
        key_text(item): "b" for item in items[20:30]
    }
    assert removals(scene, "a") == once_each(items[:20])
    assert "nothing new" in unmarked(scene, "a", api=api, **request).execute().notes[0]


def test_unmark_takes_the_selection_of_the_touch_and_goes_on(scene: Scene) -> None:
    items = scene.table.fill(60)
    with pytest.raises(UsageError, match="nothing is selected"):
        unmarked(scene, "a")
    assert scene.plan("a").execute().fired == 60
    plan = unmarked(scene, "a", rate=60.0, api="update-item")
    assert plan.data.items.count == 60
    stop = Stop()

    def note(progress: TouchProgress) -> None:
        if progress.counts.fired >= 10:
            stop.set("pause")

    assert plan.execute(note, stop=stop).state == "PAUSED"
    report = scene.going_on("unmark-a", rate=20_000.0).execute()
    assert (report.state, report.selected, report.fired, report.seen) == ("COMPLETED", 60, 60, 60)
    assert removals(scene, "a") == once_each(items)
    again = scene.plan("a", again=True).execute()
    assert again.fired == 60, "the name no longer protects"


def test_unmark_on_the_command_line(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    items = scene.table.fill(5)
    scene.put(items, restrike="a")
    words = ["unmark", scene.table.name, "--all", "--endpoint-url", scene.proxy.endpoint_url]
    words += ["--ledger", ledger_path(scene.folder), "--json"]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert "no run is named" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        main([*words, "--run", "a"])
    planned = json.loads(capsys.readouterr().out)["plan"]
    assert "--run a " in planned["command"]
    assert not removals(scene, "a")
    with pytest.raises(SystemExit) as left:
        main([*shlex.split(planned["command"])[1:], "--json"])
    assert left.value.code == 0
    assert json.loads(capsys.readouterr().out)["fired"] == 5
    assert removals(scene, "a") == once_each(items)


# ── proof and progress ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("operation", ["DescribeStream", "GetShardIterator"])
def test_the_plan_promises_proof_only_where_the_stream_may_be_read(
    scene: Scene, capsys: pytest.CaptureFixture[str], operation: str
) -> None:
    items = scene.table.fill(10)
    assert scene.plan("a").data.verify
    scene.proxy.script([Denied(operation)])
    plan = scene.plan("a")
    assert not plan.data.verify
    assert operation in plan.data.verify_why
    assert "proof-denied" in {warning.code for warning in plan.warnings}
    with pytest.raises(AccessDenied) as caught:
        scene.plan("a", verify=True)
    assert "--no-verify" in caught.value.hint
    arguments = ["touch", scene.table.name, "--all", "--run", "a", "--execute", "--json"]
    arguments += ["--endpoint-url", scene.proxy.endpoint_url, "--ledger", ledger_path(scene.folder)]
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 0
    assert "nobody looks" in capsys.readouterr().err
    assert scene.table.marked("a") == once_each(items)


def test_the_speed_is_of_the_last_seconds() -> None:
    now = 0.0
    speed = Speed(lambda: now)
    assert speed.of(1_000) == 0.0
    for _ in range(20):
        now += 1.0
        told = speed.of(1_000 + int(now) * 100)
    assert told == pytest.approx(100.0)
    for _ in range(12):
        now += 1.0
        told = speed.of(3_000)
    assert told == 0.0
