"""`restrike audit` on a real table: what is wrong on the other side is said, all of it, and nothing else."""

from __future__ import annotations

import csv
import io
import json
import random
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import restrike
from restrike.auditing import execute
from restrike.cli.main import run as command
from restrike.errors import RestrikeError, UsageError
from restrike.running.ledger import Ledger
from tests.integration import tables
from tests.integration.tables import Index, Table, create, typed
from tests.servers.faults import AccessDenied, Body, Fault, Rewritten, Throttle, faulty

ITEMS = 240
LOST, OLD, GONE = 10, 11, 12
"""Of as many items, one that the copy lacks, one that it has from before; and items that only the copy has."""
BEFORE_S = 3600.0


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of an open shard is a guess that takes three seconds: here no time."""
    monkeypatch.setattr("restrike.aws.pages.QUIET_S", 0.1)
    monkeypatch.setattr("restrike.aws.walk.IDLE_POLL_S", 0.02)
    monkeypatch.setattr("restrike.aws.walk.MAX_IDLE_POLL_S", 0.05)


def item(number: int, total: int | None = None) -> dict[str, Any]:
    return {"pk": f"p{number % 7}", "sk": number, "total": number * 3 if total is None else total, "day": "2021-01-22"}


def copied(number: int) -> dict[str, Any]:
    """An item as the copy has it: with nothing lost but what is older."""
    return item(number, -1 if number % OLD == 1 else None)


class Shop:
    """A table, and a copy of it that lost some changes an hour before it was read."""

    def __init__(self, table: Table, items: int = ITEMS) -> None:
        self.table = table
        self.items = items
        table.load(item(number) for number in range(items))
        gone = range(100_000, 100_000 + GONE)
        table.load(item(number) for number in gone)
        for number in gone:
            self.delete(number)
        self.copy = {number: copied(number) for number in range(items) if number % LOST} | {n: item(n) for n in gone}
        self.old = {record["dynamodb"]["SequenceNumber"] for record in table.records()}
        self.written: set[int] = set()
        # The service tells its time in whole seconds: an audit of the second in which the stream began is not sure.
        begun = datetime.fromisoformat(table.stream_arn.rpartition("/")[2]).replace(tzinfo=UTC)
        tables.until(lambda: datetime.now(UTC) - begun > timedelta(seconds=1), "the next second")

    def delete(self, number: int) -> None:
        self.table.dynamodb.delete_item(
            TableName=self.table.name, Key={"pk": typed(f"p{number % 7}"), "sk": typed(number)}
        )

    @property
    def missing(self) -> set[int]:
        return {number for number in range(self.items) if number % LOST == 0}

    @property
    def stale(self) -> set[int]:
        return {number for number in range(self.items) if number % OLD == 1 and number % LOST}

    @property
    def extra(self) -> set[int]:
        return {*range(100_000, 100_000 + GONE)}

    # As `Rewriter`: an hour lies between what the copy lost and now, of which the engine knows nothing.

    def asked(self, operation: str, body: Body) -> Body:
        return body

    def answered(self, operation: str, body: Body, answer: Body) -> Body:
        for record in answer.get("Records", ()):
            if record["dynamodb"]["SequenceNumber"] in self.old:
                record["dynamodb"]["ApproximateCreationDateTime"] -= BEFORE_S
        return answer

    @property
    def aged(self) -> Rewritten:
        return Rewritten("GetRecords", by=self)


def numbers(report: restrike.AuditReport, kind: str) -> set[int]:
    if kind not in report.files:
        return set()
    lines = Path(report.files[kind]).read_text().splitlines()
    found = [int(json.loads(line)["sk"]["N"]) for line in lines]
    assert len(found) == len(set(found))
    return set(found)


@pytest.fixture(scope="module")
def shop(dynamodb_local: str) -> Shop:
    return Shop(create(dynamodb_local, ("pk", "S"), ("sk", "N"), indexes=[Index("by_day", ("day", "S"), ("sk", "N"))]))


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, ["sk", "pk", "total", "day"], lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(row | {"total": f"{row['total']}.00"} for row in rows)
    return "\ufeff" + out.getvalue()


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_dynamodb_json(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps({"Item": {name: typed(value) for name, value in row.items()}}) + "\n" for row in rows)


Audit = Callable[..., restrike.AuditReport]


@pytest.fixture
def audit(shop: Shop, tmp_path: Path) -> Audit:
    """An audit to its end, of a copy at this moment."""

    def audited(against: str | None = None, *faults: Fault, **flags: Any) -> restrike.AuditReport:
        if against is None:
            (tmp_path / "copy.jsonl").write_text(as_json(list(shop.copy.values())))
            against = str(tmp_path / "copy.jsonl")
        if not against.startswith("table:"):
            flags.setdefault("as_of", "0s")
        with faulty(shop.table.endpoint_url, [*faults, shop.aged]) as proxy:
            plan = restrike.audit(
                shop.table.name,
                against,
                on=flags.pop("on", "total,day"),
                ledger=tmp_path / "ledger.db",
                endpoint_url=proxy.endpoint_url,
                **flags,
            )
            return plan.execute()

    return audited


# ── what is said ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", [as_csv, as_json, as_dynamodb_json])
def test_each_difference_is_told_by_its_kind(
    form: Callable[[Sequence[dict[str, Any]]], str], shop: Shop, audit: Audit, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.write_text(form(list(shop.copy.values())), newline="")
    report = audit(str(copy))
    assert (report.state, report.exit_code, report.may_have_moved, report.moved) == ("COMPLETED", 6, "", 0)
    assert numbers(report, "missing") == shop.missing
    assert numbers(report, "stale") == shop.stale
    assert numbers(report, "extra") == shop.extra
    assert (report.missing, report.stale, report.extra) == (len(shop.missing), len(shop.stale), GONE)
    assert report.equal == ITEMS - report.missing - report.stale
    assert (report.ours, report.theirs) == (ITEMS, len(shop.copy))
    assert {path.name for path in Path(report.files["stale"]).parent.iterdir()} == {
        "lock", "missing.jsonl", "stale.jsonl", "extra.jsonl",
    }  # fmt: skip


def test_what_is_equal_is_equal(shop: Shop, audit: Audit, tmp_path: Path) -> None:
    copy = tmp_path / "copy.csv"
    copy.write_text(as_csv([item(number) for number in range(ITEMS)]), newline="")
    report = audit(str(copy))
    assert (report.exit_code, report.equal, report.differences, report.files) == (0, ITEMS, 0, {})
    assert report.repairs == ()
    other = audit(f"table:{shop.table.name}")
    assert (other.exit_code, other.equal, other.differences) == (0, ITEMS, 0)


def test_keys_alone(shop: Shop, audit: Audit) -> None:
    report = audit(on=None)
    assert (report.missing, report.stale, report.extra) == (len(shop.missing), 0, GONE)


def test_another_table_under_other_names(shop: Shop, dynamodb_local: str, audit: Audit) -> None:
    other = create(dynamodb_local, ("customer", "S"), ("number", "N"), view_type=None)
    other.load(
        {"customer": row["pk"], "number": row["sk"], "amount": row["total"], "day": row["day"]}
        for row in shop.copy.values()
    )
    report = audit(f"table:{other.name}", map="customer=pk,number=sk,amount=total")
    assert numbers(report, "missing") == shop.missing
    assert numbers(report, "stale") == shop.stale
    assert numbers(report, "extra") == shop.extra
    assert report.as_of is not None


def test_a_selection_is_compared_and_no_more(shop: Shop, audit: Audit) -> None:
    """Of what was not selected, only what the table has not at all is wrong."""
    report = audit(partition_key="p3")
    assert numbers(report, "missing") == {number for number in shop.missing if number % 7 == 3}
    assert numbers(report, "stale") == {number for number in shop.stale if number % 7 == 3}
    assert report.extra == GONE
    assert report.outside == len([number for number in shop.copy if number < 100_000 and number % 7 != 3])
    some = audit(partition_key="p3", sort_key="between 0 99")
    assert numbers(some, "missing") == {number for number in shop.missing if number % 7 == 3 and number < 100}


def test_an_index_that_has_not_the_values_tells_the_keys(shop: Shop, audit: Audit) -> None:
    report = audit(index="by_day", date="2021-01-22")
    assert numbers(report, "missing") == shop.missing
    assert numbers(report, "stale") == shop.stale


def test_keys_that_are_given(shop: Shop, audit: Audit, tmp_path: Path) -> None:
    keys = tmp_path / "keys.jsonl"
    keys.write_text("".join(json.dumps({"pk": f"p{n % 7}", "sk": n}) + "\n" for n in (0, 1, 2, 10, 12, 5_000)))
    report = audit(keys=str(keys))
    assert (numbers(report, "missing"), numbers(report, "stale")) == ({0, 10}, {1, 12})
    assert (report.equal, report.ours) == (1, 5)


@pytest.mark.parametrize(("kind", "values"), [("S", ["é\n", "b"]), ("N", ["1", "-2.5"]), ("B", [b"\x00", b"\xff"])])
def test_keys_of_each_type(kind: Any, values: list[Any], dynamodb_local: str, audit: Audit, tmp_path: Path) -> None:
    table = create(dynamodb_local, ("k", kind), view_type=None)
    for value in values:
        table.dynamodb.put_item(TableName=table.name, Item={"k": {kind: value}, "v": {"S": "x"}})
    texts = [tables.base64_text(value) if kind == "B" else value for value in values]
    copy = tmp_path / "copy.csv"
    with copy.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["k", "v"], [texts[0], "x"]])
    flags: dict[str, Any] = {"on": "v", "ledger": tmp_path / "ledger.db", "endpoint_url": dynamodb_local}
    report = restrike.audit(table.name, str(copy), as_of="0s", **flags).execute()
    assert (report.equal, report.missing, report.differences) == (1, 1, 1)
    assert json.loads(Path(report.files["missing"]).read_text()) == {"k": {kind: texts[1]}}
    assert report.may_have_moved == f"table {table.name} has no stream"


def test_rows_that_cannot_be_read_are_told_with_their_lines_and_are_not_missing(
    shop: Shop, audit: Audit, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.csv"
    rows = as_csv([item(number) for number in range(ITEMS)]).splitlines(keepends=True)
    rows[5] = '"4"x,"p4","12.00","d"\r\n'  # no row: its key is not known
    rows[9] = "\r\n"
    rows += ['"7","p0","0","2021-01-22"\r\n', '"x","p0","0","2021-01-22"\r\n', rows[6], rows[7]]
    copy.write_text("".join(rows), newline="")
    report = audit(str(copy))
    assert (report.unreadable, report.duplicates, report.missing, report.exit_code) == (2, 3, 2, 6)
    assert numbers(report, "missing") == {4, 8}
    assert numbers(report, "stale") == {7}, "of a key that comes twice the last row holds"
    assert numbers(report, "duplicates") == {5, 6, 7}
    lines = [json.loads(line) for line in Path(report.files["unreadable"]).read_text().splitlines()]
    assert [line["line"] for line in lines] == [6, ITEMS + 3]
    jsonl = tmp_path / "copy.jsonl"
    jsonl.write_text(as_json([item(number) for number in range(ITEMS)]).replace('"total": 12,', '"total": [],'))
    report = audit(str(jsonl))
    assert (report.unreadable, report.missing, report.exit_code) == (1, 0, 1)


def test_an_item_whose_attribute_is_no_scalar_is_not_compared(dynamodb_local: str, tmp_path: Path) -> None:
    table = create(dynamodb_local, ("k", "S"), view_type=None)
    table.dynamodb.put_item(TableName=table.name, Item={"k": {"S": "a"}, "v": {"L": []}})
    (tmp_path / "c").write_text('{"k":"a","v":"x"}\n')
    where: dict[str, Any] = {"ledger": tmp_path / "ledger.db", "endpoint_url": dynamodb_local}
    report = restrike.audit(table.name, str(tmp_path / "c"), on="v", as_of="0s", **where).execute()
    assert (report.uncompared, report.differences, report.exit_code) == (1, 0, 1)


# ── what has moved ───────────────────────────────────────────────────────────────────────────────────────


class Busy:
    """Whoever writes while an audit runs: at each page and at each re-read a few changes, by one seed the same."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._rng = random.Random(14)
        self._next = 200_000
        self._now: dict[int, dict[str, Any] | None] = {number: item(number) for number in range(ITEMS)}

    def asked(self, operation: str, body: Body) -> Body:
        self._write()
        return body | {"Limit": 25} if operation == "Scan" and body.get("Select") != "COUNT" else body

    def answered(self, operation: str, body: Body, answer: Body) -> Body:
        self._write()
        return answer

    def _write(self) -> None:
        shop, rng = self._shop, self._rng
        for _ in range(6):
            number = rng.choice([rng.randrange(ITEMS), rng.randrange(100_000, 100_000 + GONE), self._next])
            self._next += number == self._next
            written = rng.choice([None, copied(number), item(number, rng.randrange(100))])
            if written == self._now.get(number):
                continue  # what changes nothing fires nothing
            self._now[number] = written
            shop.written.add(number)
            if written is None:
                shop.delete(number)
            else:
                shop.table.load([written])


def test_it_is_exact_while_others_insert_update_and_delete(dynamodb_local: str, tmp_path: Path) -> None:
    """What was not written since is said as it is, whatever goes on beside it; what was, is never called wrong."""
    shop = Shop(create(dynamodb_local, ("pk", "S"), ("sk", "N")))
    copy = tmp_path / "copy.jsonl"
    copy.write_text(as_json(list(shop.copy.values())))
    busy = Busy(shop)
    with faulty(dynamodb_local, [Rewritten("Scan", by=busy), Rewritten("BatchGetItem", by=busy), shop.aged]) as proxy:
        report = restrike.audit(
            shop.table.name,
            str(copy),
            on="total",
            as_of="0s",
            ledger=tmp_path / "ledger.db",
            endpoint_url=proxy.endpoint_url,
        ).execute()
    assert len(shop.written) > 60
    for kind, numbers_of in (("missing", shop.missing), ("stale", shop.stale), ("extra", shop.extra)):
        assert numbers(report, kind) == numbers_of - shop.written
        assert numbers_of & shop.written
    assert len(numbers(report, "moved")) > 0
    assert numbers(report, "moved") <= shop.written
    assert report.settled > 0
    assert report.may_have_moved == ""


class Lagging:
    """An index that has not yet what was written last."""

    def __init__(self) -> None:
        self.kept: dict[str, list[Body]] = {}
        self.old: Body | None = None

    def asked(self, operation: str, body: Body) -> Body:
        return body

    def answered(self, operation: str, body: Body, answer: Body) -> Body:
        if "IndexName" not in body or body.get("Select") == "COUNT":
            return answer
        if self.old is None:
            self.old = answer
        return self.old


def test_a_table_against_itself_through_an_index_that_lags_is_equal(dynamodb_local: str, tmp_path: Path) -> None:
    index = Index("all", ("day", "S"), ("sk", "N"), projection="ALL")
    table = create(dynamodb_local, ("pk", "S"), ("sk", "N"), indexes=[index], items=map(item, range(60)))
    lagging = Lagging()

    with faulty(dynamodb_local, [Rewritten("Scan", by=lagging)]) as proxy:
        flags: dict[str, Any] = {"index": "all", "on": "total", "endpoint_url": proxy.endpoint_url}

        def audited(run: str) -> restrike.AuditReport:
            plan = restrike.audit(table.name, f"table:{table.name}", run=run, ledger=tmp_path / "l.db", **flags)
            return plan.execute()

        assert audited("before").settled == 0
        table.load([item(number, 1) for number in range(20)])
        table.dynamodb.delete_item(TableName=table.name, Key={"pk": typed("p2"), "sk": typed(30)})
        table.load([item(100)])
        report = audited("behind")
    assert (report.exit_code, report.differences, report.moved) == (0, 0, 0)
    assert (report.settled, report.outside) == (21, 1)


def test_where_nothing_tells_what_was_written_since_that_is_said(audit: Audit, shop: Shop) -> None:
    report = audit(None, AccessDenied("GetShardIterator"))
    assert "the stream may not be read" in report.may_have_moved
    assert "allow dynamodb:DescribeStream, dynamodb:GetShardIterator" in report.may_have_moved
    assert (report.missing, report.exit_code) == (len(shop.missing), 6), "and the rest stands"


def test_what_the_stream_has_forgotten_is_said(audit: Audit) -> None:
    report = audit(as_of="2d")
    assert "the stream was switched on at" in report.may_have_moved


def test_an_archive_tells_as_far_as_it_goes(shop: Shop, audit: Audit, tmp_path: Path) -> None:
    archive = str(tmp_path / "kept")
    with faulty(shop.table.endpoint_url, [shop.aged]) as proxy:
        restrike.capture(
            shop.table.name, archive, ledger=tmp_path / "other.db", endpoint_url=proxy.endpoint_url
        ).execute()
    report = audit(archive=archive)
    assert (report.may_have_moved, report.differences) == ("", len(shop.missing | shop.stale | shop.extra))
    report = audit(None, AccessDenied("GetShardIterator"), archive=archive)
    assert report.may_have_moved.startswith("the archive ends at ")
    assert "the stream may not be read" in report.may_have_moved
    moved = audit(None, AccessDenied("GetShardIterator"), archive=archive, as_of="2h")
    assert moved.moved == moved.as_json()["moved"] == len(shop.missing | shop.stale | shop.extra)
    report = audit(archive=str(tmp_path / "nothing"))
    assert report.may_have_moved == "", "the stream alone will do"


def test_throttles_and_missing_answers_are_borne(audit: Audit, shop: Shop) -> None:
    report = audit(None, Throttle("BatchGetItem", times=2), Throttle("Scan", times=2))
    assert report.missing == len(shop.missing)


# ── repairing ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_commands_of_the_report_repair_what_it_found(
    dynamodb_local: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the commands hand over, put into the copy, makes it equal."""
    shop = Shop(create(dynamodb_local, ("pk", "S"), ("sk", "N")))
    monkeypatch.setenv("RESTRIKE_LEDGER", str(tmp_path / "ledger.db"))
    copy, sent = tmp_path / "copy.jsonl", tmp_path / "sent.jsonl"

    def audited() -> restrike.AuditReport:
        copy.write_text(as_json(list(shop.copy.values())))
        with faulty(dynamodb_local, [shop.aged]) as proxy:
            return restrike.audit(
                shop.table.name,
                str(copy),
                on="total",
                as_of="0s",
                ledger=tmp_path / "ledger.db",
                endpoint_url=proxy.endpoint_url,
            ).execute()

    report = audited()
    words = [shlex.split(line)[1:] for line in report.repairs]
    assert [(each[0], Path(each[3]).stem) for each in words] == [
        ("touch", "missing"), ("replay", "missing"), ("touch", "stale"), ("replay", "stale"), ("replay", "extra"),
    ]  # fmt: skip
    shop.table.load([item(100_000)])  # made again: its REMOVE is none any more
    shop.written.add(100_000)
    for each in words:
        at = each.index("--endpoint-url") + 1
        each[at] = dynamodb_local
        if each[0] == "touch":
            assert command(each) == 0
        else:
            target = f"jsonl:{sent}"
            sent.unlink(missing_ok=True)
            assert command([*each[:-1], target, "--execute"]) == 0
            for line in sent.read_text().splitlines():
                apply(shop, json.loads(line))
    assert set(shop.copy) == {*range(ITEMS), 100_000}
    after = audited()
    assert (after.exit_code, after.equal) == (0, ITEMS + 1)


def apply(shop: Shop, record: dict[str, Any]) -> None:
    change = record["dynamodb"]
    number = int(change["Keys"]["sk"]["N"])
    if record["eventName"] == "REMOVE":
        assert {"NewImage", "OldImage"} & set(change) == set(), "of a key alone"
        del shop.copy[number]
    else:
        shop.copy[number] = item(number, int(change["NewImage"]["total"]["N"]))


# ── on the command line ──────────────────────────────────────────────────────────────────────────────────


def test_a_plan_compares_nothing_and_an_audit_is_told(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy, ledger = tmp_path / "copy.csv", tmp_path / "ledger.db"
    rows = [item(number) for number in range(ITEMS)]
    copy.write_text(as_csv(rows) + "x\r\n", newline="")
    words = ["audit", shop.table.name, "--against", str(copy), "--as-of", "0s", "--on", "total", "--run", "r"]
    words += ["--ledger", str(ledger), "--endpoint-url", shop.table.endpoint_url]
    assert command(words) == 0
    plan = capsys.readouterr().out
    assert "Nothing was compared. To do it:" in plan
    assert f"{ITEMS} (counted by COUNT queries just now)" in plan
    assert "line 242: 1 column, the header has 4; 1 of the first 241 rows cannot be read" in plan
    assert not ledger.exists()
    assert command([*words, "--execute"]) == 1
    said = capsys.readouterr().err
    assert f"0 missing, 0 stale, 0 extra; 240 items and 241 rows, {ITEMS} the same" in said
    assert f"1 of {copy} cannot be read" in said
    copy.write_text(as_csv(rows), newline="")
    words[words.index("r")] = "s"
    assert command([*words, "--execute", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "completed s: equal; 240 items" in err
    assert json.loads(out)["equal"] == ITEMS
    assert command(["runs", "list", "--ledger", str(ledger)]) == 0
    assert "equal: 240 items" in capsys.readouterr().out


# ── a run ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_that_is_complete_is_not_compared_again(shop: Shop, audit: Audit, tmp_path: Path) -> None:
    first = audit(run="one", as_of="2026-01-01T00:00:00Z")
    again = audit(run="one", as_of="2026-01-01T00:00:00Z")
    assert again == first
    with pytest.raises(UsageError, match="--on: it was total,day, and is total now"):
        audit(run="one", as_of="2026-01-01T00:00:00Z", on="total")
    with pytest.raises(UsageError, match="is complete"):
        restrike.resume("one", ledger=tmp_path / "ledger.db")
    with Ledger(tmp_path / "ledger.db", read_only=True) as ledger:
        assert ledger.find("one") is not None


def test_what_stopped_goes_on(shop: Shop, audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after each step there is, it reads nothing twice that was saved, and says the same."""
    monkeypatch.setattr(execute, "FIRST_SAVE_S", 0.0)
    monkeypatch.setattr("restrike.auditing.rows.CHUNK_ROWS", 50)
    monkeypatch.setattr("restrike.auditing.partitions.LEAST_PARTS", 4)
    (tmp_path / "copy.jsonl").write_text(as_json(list(shop.copy.values())))
    with faulty(shop.table.endpoint_url, [shop.aged]) as proxy:
        plan: Any = restrike.audit(
            shop.table.name,
            str(tmp_path / "copy.jsonl"),
            on="total",
            as_of="0s",
            run="r",
            ledger=tmp_path / "ledger.db",
            endpoint_url=proxy.endpoint_url,
        )
        states, phases = [], []
        for at in range(1, 30):
            stop, told = restrike.Stop(), 0

            def on_progress(progress: restrike.AuditProgress, at: int = at, stop: restrike.Stop = stop) -> None:
                nonlocal told
                told += 1
                phases.append(progress.counts.phase)
                if told == 1 and progress.counts.phase != "looking what has moved":  # which is done as a whole
                    stop.set()

            report = plan.execute(on_progress, stop=stop)
            states.append(report.state)
            if report.state == "COMPLETED":
                break
            plan = restrike.resume("r", ledger=tmp_path / "ledger.db")
            assert at < 29
        scans = proxy.count("Scan")
    assert states.count("INTERRUPTED") > 5
    assert set(phases) >= {"reading theirs", "reading ours", "comparing", "reading once more"}
    assert (numbers(report, "missing"), numbers(report, "stale")) == (shop.missing, shop.stale)
    assert numbers(report, "extra") == shop.extra
    assert report.consumed_rru == pytest.approx(audit(str(tmp_path / "copy.jsonl"), on="total").consumed_rru)
    assert scans < 2 * len(states) + 5, "the plans' counts and one page"


def _lose(folder: Path, what: str) -> None:
    (path,) = folder.glob(what)
    path.unlink()


@pytest.mark.parametrize(
    ("lose", "says", "for_good"),
    [
        (lambda folder, copy: _lose(folder, "audit.db"), "is gone or another", True),
        (lambda folder, copy: _lose(folder, "theirs-*.batch"), "is not in .* any more", True),
        (lambda folder, copy: copy.write_text(copy.read_text().replace("p1", "p9", 1)), "is another file than", False),
        (lambda folder, copy: copy.unlink(), "No such file", False),
    ],
)
def test_what_a_run_stands_on_must_be_there(
    lose: Callable[[Path, Path], object],
    says: str,
    for_good: bool,
    shop: Shop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("restrike.auditing.rows.CHUNK_ROWS", 50)
    copy, ledger, stop = tmp_path / "copy.jsonl", tmp_path / "ledger.db", restrike.Stop()
    copy.write_text(as_json(list(shop.copy.values())))
    where: dict[str, Any] = {"ledger": ledger, "run": "r", "endpoint_url": shop.table.endpoint_url}
    plan = restrike.audit(shop.table.name, str(copy), as_of="1m", **where)
    assert plan.execute(lambda _: stop.set(), stop=stop).state == "INTERRUPTED"
    lose(tmp_path / "ledger-runs" / "r", copy)
    with pytest.raises(RestrikeError, match=says) as refused:
        restrike.resume("r", ledger=ledger).execute()
    assert refused.value.can_go_on is not for_good


def test_a_table_that_was_made_anew_is_another(dynamodb_local: str, tmp_path: Path) -> None:
    table = create(dynamodb_local, ("k", "S"), items=[{"k": "a"}])
    where: dict[str, Any] = {"ledger": tmp_path / "l.db", "run": "r", "endpoint_url": dynamodb_local}
    stop = restrike.Stop()
    stop.set()
    assert restrike.audit(table.name, f"table:{table.name}", **where).execute(stop=stop).state == "INTERRUPTED"
    described = table.dynamodb.describe_table(TableName=table.name)["Table"]
    table.dynamodb.delete_table(TableName=table.name)
    table.dynamodb.create_table(
        TableName=table.name,
        BillingMode="PAY_PER_REQUEST",
        **{member: described[member] for member in ("KeySchema", "AttributeDefinitions")},
    )
    with pytest.raises(UsageError, match="began with another table"):
        restrike.resume("r", ledger=tmp_path / "l.db")


def test_standard_input_is_kept_for_who_goes_on(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = as_csv(list(shop.copy.values()))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    with faulty(shop.table.endpoint_url, [shop.aged]) as proxy:
        where: dict[str, Any] = {"ledger": tmp_path / "ledger.db"}
        plan = restrike.audit(
            shop.table.name, "-", on="total", as_of="0s", run="r", endpoint_url=proxy.endpoint_url, **where
        )
        stop = restrike.Stop()
        stop.set()
        assert plan.execute(stop=stop).state == "INTERRUPTED"
        resumed: Any = restrike.resume("r", **where)
        report = resumed.execute()
    assert (report.missing, report.stale, report.extra) == (len(shop.missing), len(shop.stale), GONE)
    assert not (tmp_path / "ledger-runs" / "r" / "against").exists()
