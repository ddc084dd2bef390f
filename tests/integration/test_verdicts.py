"""What a write's answer means where a batch does not return the item that it refused, and what each error leads to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

import restrike
from restrike.aws import wire
from restrike.errors import AccessDenied, AwsError, NotFound
from restrike.model.report import TouchReport
from restrike.running.ledger import Ledger
from restrike.touching import sending
from restrike.touching.plan import TouchPlan
from tests.integration.safety import Item, Table, hurry, key_text, ledger_path, resumed, table
from tests.integration.tables import run_name
from tests.servers.faults import AccessDenied as Denied
from tests.servers.faults import (
    Altered,
    Body,
    ErrorAfterApply,
    Fault,
    Proxy,
    Refuse,
    RefuseReturning,
    Slow,
    ThrottleStatements,
    WithoutItem,
    faulty,
)
from tests.unit.test_refusals import LEADS_TO, STATEMENTS, UPDATES, bare

WRITES = ("BatchExecuteStatement", "UpdateItem")
OUTCOMES = ("fired", "already", "gone", "changed", "refused", "unknown", "failed")


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch, timeout_s=wire.TIMEOUT_S)


@pytest.fixture(scope="module")
def one_table(dynamodb_local: str) -> Iterator[Table]:
    with table(dynamodb_local, f"verdicts-{uuid4().hex[:8]}") as made:
        yield made


@pytest.fixture(scope="module")
def one_proxy(dynamodb_local: str) -> Iterator[Proxy]:
    with faulty(dynamodb_local) as made:
        yield made


class Scene:
    """An empty table behind a proxy that is well, and a ledger."""

    def __init__(self, proxy: Proxy, target: Table, folder: Path) -> None:
        self.proxy = proxy
        self.table = target
        self.run = run_name()
        self.folder = folder
        self.ledger = ledger_path(folder)

    def plan(self, verb: Callable[..., TouchPlan] = restrike.touch, **request: Any) -> TouchPlan:
        asked: dict[str, Any] = {"all": True, "segments": 1, "rate": 20_000.0, "verify_timeout_s": 10.0} | request
        if asked.get("verify") is False:
            del asked["verify_timeout_s"]
        return verb(self.table.name, run=self.run, endpoint_url=self.proxy.endpoint_url, ledger=self.ledger, **asked)

    def key(self, item: Item) -> Item:
        return {"pk": item["pk"], "sk": item["sk"]}

    def put(self, items: Sequence[Item], **attributes: str | None) -> None:
        """Whole items, as an application puts them."""
        for item in items:
            values = {name: {"S": value} for name, value in attributes.items() if value is not None}
            self.table.client.put_item(TableName=self.table.name, Item=item | values)

    def delete(self, items: Sequence[Item]) -> None:
        for item in items:
            self.table.client.delete_item(TableName=self.table.name, Key=self.key(item))

    def visit(self, items: Sequence[Item]) -> None:
        """The application counts too."""
        for item in items:
            self.table.client.update_item(
                TableName=self.table.name,
                Key=self.key(item),
                UpdateExpression="ADD n :one, visits :one",
                ExpressionAttributeValues={":one": {"N": "1"}},
            )

    def left(self, run: str | None = None) -> dict[str, tuple[str, str]]:
        with Ledger(Path(self.ledger), read_only=True) as ledger:
            found = ledger.leftovers(run or self.run)
            return {key_text(msgspec.json.decode(each.key)): (each.code, each.message) for each in found}


@pytest.fixture
def scene(one_table: Table, one_proxy: Proxy, tmp_path: Path) -> Scene:
    one_proxy.script([])
    one_table.clear()
    return Scene(one_proxy, one_table, tmp_path)


def told(report: TouchReport) -> dict[str, int]:
    return {name: number for name in OUTCOMES if (number := getattr(report, name))}


class Meanwhile:
    """Does something once, when a write comes that no fault before this one has dealt with."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self.done = False
        self.fault = Slow(WRITES, seconds=0.0, when=self._before_it)

    def _before_it(self, _: Body) -> bool:
        if not self.done:
            self.done = True
            self._act()
        return False

    def is_over(self, _: Body) -> bool:
        return self.done


# ── refusals without the item ────────────────────────────────────────────────────────────────────────────────


class Kind:
    """A kind of write, as it is asked for; what others do to items meanwhile; and what is the truth then."""

    def __init__(
        self, *, readable: dict[str, str], denied: dict[str, str], lost: dict[str, str], **request: Any
    ) -> None:
        self.request = request
        self.readable = readable
        self.denied = readable | denied
        """Where no item may be read: what cannot be told then has failed."""
        self.lost = lost
        """Where all were written and the answer was lost, before others came."""
        self.returning = True
        self.attribute: str | None = "restrike"
        self.bears: str | None = None
        """What the items hold from the start."""
        self.other: str | None = "another"
        """What others set; None: they take it away."""
        self.own: str | None = None

    def without_returning(self, **denied: str) -> Kind:
        """The same truth, by another form of the statement."""
        made = Kind(readable=self.readable, denied=denied, lost=self.lost, **self.request)
        made.attribute, made.other, made.returning = self.attribute, self.other, False
        return made


MARKER = Kind(
    readable={"still": "fired", "deleted": "gone", "other": "fired", "own": "already"},
    denied={},
    lost={"still": "fired", "deleted": "fired"},
)
NAMED = Kind(
    readable={"still": "fired", "deleted": "gone", "other": "refused", "own": "already"},
    denied={"deleted": "failed", "other": "failed"},
    lost={"still": "fired", "deleted": "fired"},
    marker="status",
    over="jan-21",
)
NAMED.attribute, NAMED.other, NAMED.bears = "status", "PAID", "jan-21"
COUNTER = Kind(
    readable={"still": "fired", "deleted": "gone", "other": "changed"},
    denied={"deleted": "failed", "other": "failed"},
    lost={"still": "fired", "deleted": "fired", "other": "fired"},
    counter="n",
)
COUNTER.attribute = None
UNMARK = Kind(
    readable={"still": "fired", "deleted": "gone", "other": "already", "own": "already"},
    denied={"deleted": "failed", "other": "failed", "own": "failed"},
    lost={"still": "fired", "deleted": "fired"},
)
UNMARK.bears = "a"
KINDS = {
    "marker": MARKER,
    "marker-without-returning": MARKER.without_returning(deleted="failed", own="failed"),
    "named": NAMED,
    "named-without-returning": NAMED.without_returning(deleted="failed", other="failed", own="failed"),
    "counter": COUNTER,
    "unmark": UNMARK,
}


class Met:
    """A planned run of one kind over four items of each group."""

    def __init__(self, scene: Scene, kind: Kind, groups: Sequence[str], **request: Any) -> None:
        self.scene, self.kind = scene, kind
        items = scene.table.fill(4 * len(groups))
        self.groups = {group: items[number :: len(groups)] for number, group in enumerate(groups)}
        if kind.bears is not None and kind.attribute is not None:
            scene.put(items, **{kind.attribute: kind.bears})
        if kind is UNMARK:
            scene.run = "unmark-a"
            self.plan = restrike.unmark(
                scene.table.name,
                "a",
                all=True,
                segments=1,
                rate=20_000.0,
                endpoint_url=scene.proxy.endpoint_url,
                ledger=scene.ledger,
                **request,
            )
        else:
            self.plan = scene.plan(**kind.request, **request)
        self.before = scene.table.modifications()

    def others(self) -> None:
        """What the application and another run do meanwhile."""
        scene, kind = self.scene, self.kind
        scene.delete(self.groups.get("deleted", ()))
        other, own = self.groups.get("other", ()), self.groups.get("own", ())
        if kind.attribute is None:
            scene.visit(other)
        else:
            scene.put(other, **{kind.attribute: kind.other})
            scene.put(own, **{kind.attribute: None if kind is UNMARK else scene.run})
        self.by_others = scene.table.modifications()

    def check(self, report: TouchReport, truth: dict[str, str], *, fired: Sequence[str]) -> None:
        """The report says the truth, and those of the groups `fired` have fired once each and no others."""
        assert told(report) == Counter(truth[group] for group, items in self.groups.items() for _ in items)
        assert report.state == "COMPLETED"
        left = self.scene.left()
        unread = [key_text(item) for group, items in self.groups.items() if truth[group] == "failed" for item in items]
        assert [key for key, (code, _) in left.items() if code == "Unknown"] == sorted(unread)
        assert not any("PAID" in message for _, message in left.values())
        assert report.exit_code == (1 if left else 0)
        assert any("dynamodb:BatchGetItem" in note for note in report.notes) == bool(unread)
        ours = self.scene.table.modifications() - self.by_others
        assert ours == Counter(key_text(item) for group in fired for item in self.groups[group])


@pytest.mark.parametrize("read", ["readable", "denied"])
@pytest.mark.parametrize("name", KINDS)
def test_a_refusal_without_its_item_is_read_before_it_is_called_anything(scene: Scene, name: str, read: str) -> None:
    """Without the proof: on the stream another's write of the run's own name looks like the run's."""
    kind = KINDS[name]
    met = Met(scene, kind, list(kind.readable), verify=False)
    meanwhile = Meanwhile(met.others)
    script: list[Fault] = [WithoutItem(), meanwhile.fault]
    if not kind.returning:
        script.insert(0, RefuseReturning())
    if read == "denied":
        script.append(Denied("BatchGetItem", when=meanwhile.is_over))
    scene.proxy.script(script)
    left_out, asked = scene.proxy.fired(WithoutItem), scene.proxy.count("BatchGetItem")
    report = met.plan.execute()
    if name != "marker":  # whose only condition is the key
        assert scene.proxy.fired(WithoutItem) > left_out
    assert scene.proxy.count("BatchGetItem") - asked == {"marker": 0, "counter": 2}.get(name, 1)
    truth = kind.readable if read == "readable" else kind.denied
    met.check(report, truth, fired=[group for group, outcome in kind.readable.items() if outcome == "fired"])


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.returning])
def test_a_single_update_is_told_the_item_and_reads_none(scene: Scene, name: str) -> None:
    kind = KINDS[name]
    met = Met(scene, kind, list(kind.readable), verify=False, api="update-item")
    meanwhile = Meanwhile(met.others)
    scene.proxy.script([meanwhile.fault, Denied("BatchGetItem", when=meanwhile.is_over)])
    asked = scene.proxy.count("BatchGetItem")
    report = met.plan.execute()
    assert scene.proxy.count("BatchGetItem") - asked == (1 if kind is COUNTER else 0)
    met.check(report, kind.readable, fired=[group for group, outcome in kind.readable.items() if outcome == "fired"])


@pytest.mark.parametrize("read", ["readable", "denied"])
@pytest.mark.parametrize("name", KINDS)
def test_after_a_lost_answer_a_refusal_without_its_item_is_not_called_gone(scene: Scene, name: str, read: str) -> None:
    kind = KINDS[name]
    met = Met(scene, kind, list(kind.lost))
    meanwhile = Meanwhile(met.others)
    script: list[Fault] = [ErrorAfterApply(WRITES, times=1), WithoutItem(), meanwhile.fault]
    if not kind.returning:
        script.insert(0, RefuseReturning())
    if read == "denied":
        script.append(Denied("BatchGetItem", when=meanwhile.is_over))
    scene.proxy.script(script)
    report = met.plan.execute()
    truth = dict(kind.lost)
    if read == "denied" and kind is not COUNTER:  # of a counter its record tells, and no read
        truth |= {group: "failed" for group in truth if kind.denied[group] == "failed"}
        if not kind.returning or kind is UNMARK:
            truth["still"] = "failed"  # refused as what it has done already
    met.by_others = Counter()
    every = Counter(key_text(item) for items in met.groups.values() for item in items)
    visited = Counter(key_text(item) for item in met.groups.get("other", ()))
    assert scene.table.modifications() - met.before == every + visited, "an item fired twice, or not at all"
    assert told(report) == Counter(truth[group] for group, items in met.groups.items() for _ in items)
    unread = [message for code, message in scene.left().values() if code == "Unknown"]
    assert len(unread) == report.failed
    assert all("without an answer may have been carried out" in message for message in unread)
    assert any("dynamodb:BatchGetItem" in note for note in report.notes) == bool(unread)


def test_an_item_without_attributes_is_none(scene: Scene) -> None:
    """Where a batch returns an empty one for what is not there."""

    def emptied(answer: Body) -> None:
        for error in (each["Error"] for each in answer["Responses"] if "Error" in each):
            error["Item"] = {}

    items = scene.table.fill(5)
    plan = scene.plan(marker="seen", verify=False)
    meanwhile = Meanwhile(lambda: scene.delete(items[:2]))
    scene.proxy.script([meanwhile.fault, Altered("BatchExecuteStatement", change=emptied)])
    assert told(plan.execute()) == {"fired": 3, "gone": 2}


def test_what_could_not_be_read_takes_no_outcome_of_another_item(scene: Scene) -> None:
    """Its record stands on the stream, and is no record of an item that bore the name before."""
    items = scene.table.fill(12)
    bearing, rest = items[:5], items[5:]
    scene.put(bearing, restrike=scene.run)
    plan = scene.plan()
    before = scene.table.modifications()
    scene.proxy.script(
        [RefuseReturning(), ErrorAfterApply(WRITES, times=1), WithoutItem(), Denied("BatchGetItem")],
    )
    report = plan.execute()
    assert told(report) == {"already": len(bearing), "failed": len(rest)}
    assert {code for code, _ in scene.left().values()} == {"Unknown"}
    assert any(note.startswith(f"{len(rest)} more fired") for note in report.notes)
    assert scene.table.modifications() - before == Counter(map(key_text, rest))
    scene.proxy.script([])
    report = scene.plan(again=True).execute()
    assert told(report) == {"already": len(items)}
    assert scene.table.modifications() - before == Counter(map(key_text, rest))


# ── what an error leads to ───────────────────────────────────────────────────────────────────────────────────

AGAIN = [code for code in STATEMENTS if LEADS_TO[bare(code)] == "again"]
OF_THE_ITEM = [code for code in STATEMENTS if LEADS_TO[bare(code)] == "item" and code != "ConditionalCheckFailed"]
ENDING = [code for code in STATEMENTS if LEADS_TO[bare(code)] == "run"]
KIND_OF_END = {"AccessDenied": AccessDenied, "ResourceNotFound": NotFound}


def of_item(item: Item) -> Callable[[Body], bool]:
    """Whether a statement or an UpdateItem is of that item."""
    return lambda body: item["pk"] in (body["Parameters"] if "Parameters" in body else body["Key"].values())


def check_ends(scene: Scene, report: TouchReport, items: Sequence[Item], failing: dict[str, Item]) -> None:
    """All have fired once, but for those that failed: each with its code."""
    assert told(report) == {"fired": len(items) - len(failing), "failed": len(failing)}
    assert (report.state, report.exit_code) == ("COMPLETED", 1)
    assert {key: code for key, (code, _) in scene.left().items()} == {
        key_text(item): code for code, item in failing.items()
    }
    assert scene.table.modifications() == Counter(map(key_text, items)) - Counter(map(key_text, failing.values()))


@pytest.mark.parametrize("request_", [{}, {"counter": "n"}], ids=["marker", "counter"])
def test_what_the_codes_of_statements_lead_to(scene: Scene, request_: dict[str, Any]) -> None:
    """Every code of the model, each for an item of its own."""
    codes = [*AGAIN, *OF_THE_ITEM]
    items = scene.table.fill(len(codes) + 3)
    plan = scene.plan(**request_)
    met = dict(zip(codes, items, strict=False))

    def code_of(statement: Body) -> str:
        return next((code for code, item in met.items() if of_item(item)(statement)), "")

    scene.proxy.script([ThrottleStatements(matching=lambda each: bool(code_of(each)), code=code_of, times=1)])
    check_ends(scene, plan.execute(), items, {code: met[code] for code in OF_THE_ITEM})


@pytest.mark.parametrize("request_", [{}, {"counter": "n"}], ids=["marker", "counter"])
def test_what_the_errors_of_single_updates_lead_to(scene: Scene, request_: dict[str, Any]) -> None:
    codes = [code for code in UPDATES if LEADS_TO[bare(code)] != "run" and bare(code) != "ConditionalCheckFailed"]
    items = scene.table.fill(len(codes) + 3)
    plan = scene.plan(api="update-item", **request_)
    met = dict(zip(codes, items, strict=False))
    scene.proxy.script(
        [
            Refuse("UpdateItem", code=code, status=STATUS.get(code, 400), when=of_item(item), times=1)
            for code, item in met.items()
        ]
    )
    fired = scene.proxy.fired(Refuse)
    report = plan.execute()
    assert scene.proxy.fired(Refuse) - fired == len(codes)
    failing = {
        "ItemCollectionSizeLimitExceeded": met["ItemCollectionSizeLimitExceededException"],
        "ValidationError": met["ValidationException"],
    }
    check_ends(scene, report, items, failing)


STATUS = {"ReplicatedWriteConflictException": 409, "InternalServerError": 500}


@pytest.mark.parametrize("api", ["partiql", "update-item"])
@pytest.mark.parametrize("code", ENDING)
def test_what_every_write_would_meet_ends_the_run(scene: Scene, code: str, api: str) -> None:
    scene.table.fill(30)
    plan = scene.plan(api=api, verify=False)
    fault: Fault = Refuse("UpdateItem", code=f"{code}Exception")
    scene.proxy.script([fault if api == "update-item" else ThrottleStatements(fraction=1, code=code)])
    with pytest.raises(KIND_OF_END[code]) as caught:
        plan.execute()
    assert caught.value.report.state == "FAILED"
    assert caught.value.message.startswith("UpdateItem" if api == "update-item" else "BatchExecuteStatement")
    assert not scene.table.modifications()


def test_what_a_busy_service_may_say_of_a_whole_call_is_tried_again(scene: Scene) -> None:
    items = scene.table.fill(10)
    plan = scene.plan()
    codes = ["ThrottledException", "RequestThrottled", "SlowDown", "RequestTimeout", "ReplicatedWriteConflictException"]
    unknown = [Refuse(WRITES, code="NeverHeardOf", status=status, times=1) for status in (408, 429, 503)]
    scene.proxy.script([*(Refuse(WRITES, code=code, times=1) for code in codes), *unknown])
    fired = scene.proxy.fired(Refuse)
    report = plan.execute()
    assert scene.proxy.fired(Refuse) - fired == 8
    assert (told(report), report.seen, report.exit_code) == ({"fired": 10}, 10, 0)
    assert scene.table.modifications() == Counter(map(key_text, items))


@pytest.mark.parametrize("api", ["partiql", "update-item"])
def test_an_item_that_is_never_free_fails_alone(scene: Scene, monkeypatch: pytest.MonkeyPatch, api: str) -> None:
    monkeypatch.setattr(sending, "MAX_ATTEMPTS", 3)
    items = scene.table.fill(30)
    plan = scene.plan(api=api)
    busy = of_item(items[7])
    scene.proxy.script(
        [
            Refuse("UpdateItem", code="TransactionConflictException", when=busy),
            ThrottleStatements(code="TransactionConflict", matching=busy),
        ]
    )
    check_ends(scene, plan.execute(), items, {"TransactionConflict": items[7]})


def test_a_busy_item_that_may_have_fired_is_not_said_to_have_failed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "MAX_ATTEMPTS", 3)
    items = scene.table.fill(5)
    plan = scene.plan()
    busy = ThrottleStatements(code="TransactionConflict", matching=of_item(items[2]))
    scene.proxy.script([ErrorAfterApply(WRITES, times=1), busy])
    with pytest.raises(AwsError) as caught:
        plan.execute()
    assert "Other writers" in caught.value.hint
    assert caught.value.report.failed == 0
    scene.proxy.script([])
    report = resumed(scene.run, scene.folder)
    assert told(report) == {"fired": 5}
    assert scene.table.modifications() == Counter(map(key_text, items))


@pytest.mark.parametrize("first", ["InternalServerError", "ThrottlingError"])
def test_one_statement_that_may_have_fired_is_remembered_beside_a_throttled_one(scene: Scene, first: str) -> None:
    """Whichever of them comes last in the batch."""
    scene.table.fill(10)
    plan = scene.plan(verify=False)
    codes = iter([first] * 5 + [code for code in ("InternalServerError", "ThrottlingError") if code != first] * 5)
    scene.proxy.script(
        [ThrottleStatements(fraction=1, code=lambda _: next(codes), applied={"InternalServerError"}, times=1)]
    )
    report = plan.execute()
    assert told(report) == {"fired": 10}
