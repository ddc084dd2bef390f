"""The probe of tests/aws on stand-ins: its claims on DynamoDB Local, and that it leaves nothing behind.

No test reaches AWS: each gives an endpoint, or an endpoint for STS alone where the plan asks whose account it is.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.aws import statements
from tests.aws.claim import Claim, Deviation, Seen, claim
from tests.aws.claims import OF_A_TABLE, OF_TWO_REGIONS
from tests.aws.command import main
from tests.aws.table import PREFIX, TAG, Table
from tests.aws.telling import cost_of
from tests.integration import tables
from tests.servers.as_on_aws import AsOnAws, GlobalTable
from tests.servers.faults import AccessDenied, ExpiredIterator, Proxy, ResetAfterApply, faulty
from tests.servers.ministack import MiniStack

ROOT = Path(__file__).parent.parent.parent


@claim("yes", "documented")
def fine(here: Table) -> str:
    """As it should be."""
    return "yes"


@claim("yes", "documented", otherwise="nothing works")
def different(here: Table) -> Seen:
    """Not as it should be."""
    return Seen("no", "rather not")


@claim("yes", "documented")
def broken(here: Table) -> str:
    """Breaks."""
    raise ValueError("a claim is broken")


@claim("yes", "documented", local=Deviation("no", "it is older"))
def mended(here: Table) -> str:
    """What DynamoDB Local used to answer otherwise."""
    return "yes"


def probes(url: str) -> list[str]:
    names = tables.client("dynamodb", url).list_tables()["TableNames"]
    return [name for name in names if name.startswith(PREFIX)]


@pytest.fixture
def proxy(dynamodb_local: str) -> Iterator[Proxy]:
    with faulty(dynamodb_local) as started:
        yield started


# ── the claims ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_claim_on_dynamodb_local(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    """All as expected, or as DynamoDB Local is known to deviate; and none writes more than its plan says."""
    written: dict[str, int] = {}

    def counted(each: Claim) -> Claim:
        def ask(*given: Table) -> Seen | str:
            before = len(proxy.requests)
            try:
                return each.ask(*given)
            finally:
                requests = proxy.requests[before:]
                written[each.name] = sum(units(operation, body, given[0]) for operation, body in requests)

        return replace(each, ask=ask)

    words = ["--endpoint-url", proxy.endpoint_url, "--execute", "--json"]
    code = main(words, [counted(each) for each in OF_A_TABLE])
    told = json.loads(capsys.readouterr().out)
    assert [row for row in told["claims"] if row["verdict"] != "as expected"] == []
    assert (code, told["deleted"], told["stopped"]) == (0, True, False)
    assert len(told["claims"]) == len(OF_A_TABLE) == len({each.name for each in OF_A_TABLE}) >= 50
    assert probes(proxy.endpoint_url) == []
    assert {name for name, writes in written.items() if writes > limit(name)} == set()
    assert sum(written.values()) > 1_200  # the largest item was put, and was not to be marked


def units(operation: str, body: dict[str, Any], table: Table) -> int:
    """The write units of a request, the failed ones too: one an item, but for the largest."""
    text = json.dumps(body)
    each = 400 if "largest" in vars(table) and table.largest in text else 1
    if operation == "BatchExecuteStatement":
        return len(body["Statements"]) - 1 + each
    if operation == "TransactWriteItems":
        return 2 * len(body["TransactItems"])
    return each if operation in ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem") else 0


def limit(name: str) -> int:
    return next(each.writes for each in OF_A_TABLE if each.name == name)


def test_a_claim_of_its_own_name_says_something() -> None:
    for each in (*OF_A_TABLE, *OF_TWO_REGIONS):
        assert each.says.endswith("."), each.name
        assert each.local is None or each.local.answer != each.expected, each.name


def test_it_sends_what_a_touch_sends(dynamodb_local: str) -> None:
    """Statement for statement, in every kind of write."""
    with faulty(dynamodb_local) as proxy:
        table = tables.create(proxy.endpoint_url, ("pk", "S"), items=[{"pk": "one", "n": 3}])
        run = tables.run_name()
        for changes in ({}, {"marker": "mark"}, {"counter": "n"}, {"counter": "m"}, {"api": "update-item"}):
            tables.touch(table, run=f"{run}-{len(proxy.requests)}", all=True, verify=False, **changes)
        sent = [body for operation, body in proxy.requests if operation in ("BatchExecuteStatement", "UpdateItem")]
    (marker,), (guarded,), (up,), (new,) = (body["Statements"] for body in sent[:4])
    runs = [marker["Parameters"][0]["S"], guarded["Parameters"][0]["S"]]
    assert marker == statements.set_marker(table.name, "one", runs[0])
    assert guarded == statements.set_guarded(table.name, "one", "mark", runs[1])
    assert up == statements.count_up(table.name, "one", "n", "3", "4")
    assert new == statements.count_up(table.name, "one", "m", None, "1")
    (update,) = sent[4:]
    value = update["ExpressionAttributeValues"][":a"]["S"]
    assert update == statements.update_marker(table.name, "one", value)


def test_what_dynamodb_local_does_otherwise_is_seen_on_aws(
    dynamodb_local: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The claims with a deviation, where there is none."""
    deviating = [each for each in OF_A_TABLE if each.local is not None]
    code = main(["--endpoint-url", dynamodb_local, "--execute", "--json"], deviating, table=AsOnAws)
    rows = json.loads(capsys.readouterr().out)["claims"]
    assert [row for row in rows if row["verdict"] != "as expected"] == []
    assert [row["expected"] for row in rows] == [each.expected for each in deviating]
    assert len(rows) >= 15
    assert code == 0


# ── one bad claim ────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_bad_claim_ends_nothing(dynamodb_local: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--endpoint-url", dynamodb_local, "--execute"], [broken, different, mended, fine])
    out, err = capsys.readouterr()
    assert code == 1
    assert "could not be tried  test_probe.broken: ValueError: a claim is broken" in out
    assert "differs  test_probe.different: Not as it should be. Then: nothing works." in out
    assert "differs  test_probe.mended: What DynamoDB Local used to answer otherwise. The deviation is gone." in out
    assert "4 claims: 1 as expected, 2 differs, 1 could not be tried" in out
    assert "as expected          test_probe.fine" in err
    assert probes(dynamodb_local) == []


def test_what_is_denied_is_not_tried(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    proxy.script([AccessDenied("UpdateItem")])
    silent = [each for each in OF_A_TABLE if each.name in ("updates.plain", "batches.missing_item")]
    code = main(["--endpoint-url", proxy.endpoint_url, "--execute", "--json"], silent)
    rows = json.loads(capsys.readouterr().out)["claims"]
    assert [(row["claim"], row["verdict"]) for row in rows] == [
        ("batches.missing_item", "as expected"),
        ("updates.plain", "could not be tried"),
    ]
    assert "AccessDenied" in rows[1]["why"]
    assert code == 1


# ── what it makes, and leaves ────────────────────────────────────────────────────────────────────────────────────


def test_without_execute_nothing_is_made(proxy: Proxy) -> None:
    """As a command of its own, as people run it."""
    words = [sys.executable, "-m", "tests.aws", "--endpoint-url", proxy.endpoint_url, "--global"]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert told.returncode == 0, told.stderr
    assert proxy.count() == 0
    for claimed in (*OF_A_TABLE, *OF_TWO_REGIONS):
        assert claimed.name in told.stdout
    assert f"at       {proxy.endpoint_url}" in told.stdout
    assert "table restrike-probe-XXXXXXXX" in told.stdout
    assert "replica in us-west-2" in told.stdout
    cost = re.search(r"about \$(0\.\d+): .*write units.*read units.*stream reads.*replicated write units", told.stdout)
    assert cost is not None
    assert float(cost[1]) < 0.01
    assert "needs a function" in told.stdout
    assert "--execute does it" in told.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_probe_that_is_stopped_deletes_its_table(
    dynamodb_local: str, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    there: list[str] = []

    @claim("yes", "documented")
    def stopping(here: Table) -> str:
        """Is stopped."""
        there.extend(probes(dynamodb_local))
        signal.raise_signal(number)
        return "yes"

    before = signal.getsignal(number)
    code = main(["--endpoint-url", dynamodb_local, "--execute"], [fine, stopping, broken])
    out, err = capsys.readouterr()
    assert code == 130
    assert len(there) == 1
    assert probes(dynamodb_local) == []
    assert "1 claims: 1 as expected" in out
    assert f"stopped before the end\n{there[0]} is deleted." in err
    assert signal.getsignal(number) is before


def test_a_refused_delete_says_the_commands(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    proxy.script([AccessDenied("DeleteTable", times=1)])
    code = main(["--endpoint-url", proxy.endpoint_url, "--execute"], [fine])
    _, err = capsys.readouterr()
    (name,) = probes(proxy.endpoint_url)
    where = f"--region us-east-1 --endpoint-url {proxy.endpoint_url}"
    assert code == 3
    assert f"aws dynamodb delete-table --table-name {name} {where}\n" in err
    assert f"python -m tests.aws --clean --execute {where}\n" in err
    assert f"{name} is deleted" not in err
    tables.client("dynamodb", proxy.endpoint_url).delete_table(TableName=name)


def test_a_table_that_was_not_made_is_not_deleted(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    proxy.script([AccessDenied("CreateTable")])
    code = main(["--endpoint-url", proxy.endpoint_url, "--execute"], [fine])
    _, err = capsys.readouterr()
    assert code == 3
    assert "AccessDenied" in err
    assert "is deleted" not in err
    assert proxy.count("DeleteTable") == 0


def test_a_table_whose_making_was_not_answered_is_deleted(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    proxy.script([ResetAfterApply("CreateTable")])
    assert main(["--endpoint-url", proxy.endpoint_url, "--execute"], [fine]) == 3
    assert proxy.count("DeleteTable") == 1
    assert probes(proxy.endpoint_url) == []


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_service_that_is_not_reached_has_made_nothing(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Two commands were told that delete what was never asked for; with --json nothing was said on stdout."""
    assert main(["--endpoint-url", "http://127.0.0.1:1", "--execute", *words], [fine]) == 3
    out, err = capsys.readouterr()
    assert "Could not connect" in err
    assert "delete" not in err.partition("error:")[2]
    assert "--clean" not in err
    if words:
        told = json.loads(out)
        assert (told["error"], told["deleted"], told["claims"]) == ("EndpointConnectionError", False, [])
        assert "Could not connect" in told["message"]
    else:
        assert out == ""


def test_an_answer_that_was_lost_before_a_refused_try_may_have_made_it(
    dynamodb_local: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next try is told that the table is there, and it was left."""

    class TriedAgain(Table):
        def _client(self, service: str) -> Any:
            client = super()._client(service)
            lost = iter([True])
            client.meta.events.register("needs-retry", lambda **_: 0 if next(lost, False) else None)
            return client

    with faulty(dynamodb_local, [ResetAfterApply("CreateTable", times=1)]) as proxy:
        assert main(["--endpoint-url", proxy.endpoint_url, "--execute"], [fine], table=TriedAgain) == 3
        assert proxy.count("CreateTable") == 2
    assert "ResourceInUseException" in capsys.readouterr().err
    assert probes(dynamodb_local) == []


def test_an_account_that_cannot_be_told_is_an_object_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert main(["--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"] == "Unreachable"


def test_clean_that_finds_nothing_says_so(capsys: pytest.CaptureFixture[str], dynamodb_local: str) -> None:
    for words in ([], ["--execute"]):
        assert main(["--clean", "--endpoint-url", dynamodb_local, *words]) == 0
        err = capsys.readouterr().err
        assert err.endswith("Nothing to delete.\n")
        assert "--execute deletes" not in err


def test_an_iterator_that_expired_is_made_anew(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the first record, and behind some."""
    proxy.script([ExpiredIterator(times=1), ExpiredIterator(times=1, skip=3)])
    silent = [each for each in OF_A_TABLE if each.name.startswith("silence.")]
    assert main(["--endpoint-url", proxy.endpoint_url, "--execute", "--json"], silent) == 0
    assert proxy.fired(ExpiredIterator) == 2
    assert json.loads(capsys.readouterr().out)["summary"].startswith(f"{len(silent)} claims: {len(silent)} as expected")


# ── what a killed one left ───────────────────────────────────────────────────────────────────────────────────────


def test_clean_deletes_what_bears_both_prefix_and_tag(ministack: MiniStack, capsys: pytest.CaptureFixture[str]) -> None:
    dynamodb = ministack.client("dynamodb")
    ours, other, untagged = f"{PREFIX}0a0a0a0a", f"{PREFIX}0b0b0b0b", f"{PREFIX}0c0c0c0c"
    tags = {ours: ours, other: ours, untagged: "", "orders-0d0d0d0d": "orders-0d0d0d0d"}
    for name, value in tags.items():
        dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            Tags=[{"Key": TAG, "Value": value}] if value else [{"Key": "owner", "Value": "somebody"}],
        )
    words = ["--clean", "--json", "--endpoint-url", ministack.endpoint_url]

    assert main(words) == 0
    out, err = capsys.readouterr()
    shown = json.loads(out)
    assert (shown["ours"], shown["deleted"], shown["left"]) == ([ours], [], [ours, other, untagged])
    assert "--execute deletes them" in err
    assert set(tags) <= set(dynamodb.list_tables()["TableNames"])

    assert main([*words, "--execute"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["deleted"], done["left"]) == ([ours], [other, untagged])
    left = set(dynamodb.list_tables()["TableNames"])
    assert set(tags) - left == {ours}
    for name in left & set(tags):
        dynamodb.delete_table(TableName=name)


def test_clean_leaves_a_table_whose_tags_cannot_be_read(
    dynamodb_local: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{PREFIX}0e0e0e0e"
    dynamodb = tables.client("dynamodb", dynamodb_local)
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    assert main(["--clean", "--execute", "--endpoint-url", dynamodb_local]) == 1
    assert f"{name}  made" in (told := capsys.readouterr().err)
    assert "left alone: its tags cannot be read" in told
    assert probes(dynamodb_local) == [name]
    dynamodb.delete_table(TableName=name)


# ── where it runs ────────────────────────────────────────────────────────────────────────────────────────────────


def test_on_aws_the_plan_says_whose_account_it_is(
    ministack: MiniStack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", ministack.endpoint_url)
    assert main(["--region", "eu-west-1"]) == 0
    out, _ = capsys.readouterr()
    assert "account  000000000000 (arn:aws:iam::000000000000:" in out
    assert "Region   eu-west-1" in out


def test_where_no_account_answers_nothing_is_done(
    dynamodb_local: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", dynamodb_local)
    assert main([]) == 3
    assert "GetCallerIdentity" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--global-region", "us-west-2"],
        ["--clean", "--global"],
        ["--local", "--profile", "somebody"],
        ["--local", "--endpoint-url", "http://127.0.0.1:1"],
        ["everything"],
    ],
    ids=" ".join,
)
def test_flags_that_do_not_go_together(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2


def test_a_replica_is_made_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--endpoint-url", "http://127.0.0.1:1", "--region", "eu-west-1"]
    assert main([*where, "--global", "--global-region", "eu-west-1"]) == 2
    assert "--global-region" in capsys.readouterr().err


def test_the_page_knows_the_flags_and_the_cost(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    known = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help"}
    page = (ROOT / "docs" / "probe.md").read_text(encoding="utf-8")
    assert set(re.findall(r"--[a-z][a-z-]+", page)) == known
    assert str(cost_of(OF_A_TABLE, ())).partition(";")[0] in page
    assert "python -m tests.aws $(ARGS)" in (ROOT / "Makefile").read_text(encoding="utf-8")


# ── two Regions ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def global_table() -> type[GlobalTable]:
    return type("GlobalTable", (GlobalTable,), {"regions": set(), "done": []})


def test_the_claims_of_two_regions(
    dynamodb_local: str, global_table: type[GlobalTable], capsys: pytest.CaptureFixture[str]
) -> None:
    """The replica goes before the table, as AWS wants it."""
    words = ["--endpoint-url", dynamodb_local, "--execute", "--json", "--global"]
    code = main(words, [fine], table=global_table)
    told = json.loads(capsys.readouterr().out)
    assert [row for row in told["claims"] if row["verdict"] != "as expected"] == []
    assert len(told["claims"]) == 1 + len(OF_TWO_REGIONS)
    assert (code, told["deleted"]) == (0, True)
    assert global_table.done == ["Create", "Delete", "DeleteTable"]
    assert probes(dynamodb_local) == []


def test_a_replica_that_is_refused_leaves_the_other_claims(
    dynamodb_local: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--endpoint-url", dynamodb_local, "--execute", "--json", "--global"], [fine])
    rows = json.loads(capsys.readouterr().out)["claims"]
    assert code == 1
    assert [row["verdict"] for row in rows] == ["as expected", *["could not be tried"] * len(OF_TWO_REGIONS)]
    assert all("no replica" in row["why"] for row in rows[1:])
    assert probes(dynamodb_local) == []
