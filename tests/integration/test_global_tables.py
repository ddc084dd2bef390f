"""Global tables: what a write may undo in another Region is said, and done only where that is accepted, each time."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest

import restrike
from restrike.errors import UsageError
from restrike.model.plan import TouchPlanData
from restrike.running.stop import Stop
from tests.acceptance import command
from tests.integration import tables
from tests.integration.tables import Table, run_name
from tests.servers.faults import AccessDenied, Proxy, faulty
from tests.servers.lambda_api import stub_lambda
from tests.servers.retold import LOCAL_REGION, global_table

ACCEPT = "--accept-replication-conflicts"
EVENTUAL = global_table("eu-west-1", LOCAL_REGION, "eu-west-2", GlobalTableVersion="2019.11.21")
STRONG = global_table("us-east-2", "us-west-2", MultiRegionConsistency="STRONG", GlobalTableVersion="2019.11.21")


@pytest.fixture(scope="module")
def orders(dynamodb_local: str) -> Table:
    return tables.create(
        dynamodb_local, ("pk", "S"), ("sk", "N"), items=[{"pk": f"p{n % 4}", "sk": n} for n in range(40)]
    )


@pytest.fixture
def proxy(orders: Table) -> Iterator[Proxy]:
    with faulty(orders.endpoint_url, [EVENTUAL]) as proxy:
        yield proxy


def planned(orders: Table, proxy: Proxy, **request: Any) -> Any:
    return restrike.touch(
        orders.name, endpoint_url=proxy.endpoint_url, **({"run": run_name(), "partition_key": "p0"} | request)
    )


def words(orders: Table, proxy: Proxy, *more: str, verb: str = "touch", key: str = "p1") -> tuple[str, ...]:
    return (verb, orders.name, "--partition-key", key, "--endpoint-url", proxy.endpoint_url, *more)


def codes(data: TouchPlanData) -> set[str]:
    return {warning.code for warning in data.warnings}


def carried_out(plan: dict[str, Any]) -> command.Result:
    """What the plan's own command comes to."""
    return command.restrike(*shlex.split(plan["command"])[1:], "--json")


# ── what the plan tells ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("told", [{}, {"MultiRegionConsistency": "EVENTUAL"}], ids=["by default", "told"])
def test_eventual_consistency_is_a_warning_of_its_own(orders: Table, proxy: Proxy, told: dict[str, Any]) -> None:
    proxy.script([global_table("eu-west-1", LOCAL_REGION, "eu-west-2", **told)])
    data = planned(orders, proxy).data
    assert (data.replicas, data.consistency) == (("eu-west-1", "eu-west-2"), "EVENTUAL")
    (text,) = (warning.message for warning in data.warnings if warning.code == "replication-conflicts")
    for words in (
        "eu-west-1, eu-west-2",
        "that has not been replicated yet can be undone",
        "the last writer wins for the whole item",
        "sees this Region alone",
        "Touch in the Region that writes, when it is quiet",
        ACCEPT,
    ):
        assert words in text
    assert f" {ACCEPT} " in data.command
    assert data.estimate.usd == pytest.approx(10 * 3 * 0.625e-6, abs=2e-6)  # this Region and two more, not four


def test_the_legacy_version_is_eventual_and_named(orders: Table, proxy: Proxy) -> None:
    proxy.script([global_table(GlobalTableVersion="2017.11.29")])
    plan = planned(orders, proxy)
    (text,) = (warning.message for warning in plan.warnings if warning.code == "replication-conflicts")
    assert "version 2017.11.29" in text
    with pytest.raises(UsageError, match="can be undone"):
        plan.execute()


def test_items_tell_what_the_description_does_not(dynamodb_local: str) -> None:
    """Replicas of the legacy version are not in DescribeTable; its replication writes an attribute on every item."""
    items: list[tables.Item] = [{"pk": f"{n}", "aws:rep:updateregion": "eu-west-1"} for n in range(3)]
    table = tables.create(dynamodb_local, ("pk", "S"), items=items)
    plan = restrike.touch(table.name, all=True, endpoint_url=dynamodb_local, run=run_name())
    assert (plan.data.consistency, plan.data.replicas) == ("EVENTUAL", ())
    assert {"replication-conflicts", "global-table"} <= codes(plan.data)
    assert ACCEPT in plan.data.command
    with pytest.raises(UsageError, match=r"version 2017\.11\.29.*can be undone"):
        plan.execute()
    accepted = restrike.touch(
        table.name, all=True, endpoint_url=dynamodb_local, run=plan.data.run, accept_replication_conflicts=True
    )
    assert accepted.execute().fired == 3


def test_strong_consistency_is_no_conflict(orders: Table, proxy: Proxy) -> None:
    proxy.script([STRONG])
    plan = planned(orders, proxy, sort_key="= 0")
    assert (plan.data.replicas, plan.data.consistency) == (("us-east-2", "us-west-2"), "STRONG")
    assert "replication-conflicts" not in codes(plan.data)
    (text,) = (warning.message for warning in plan.warnings if warning.code == "global-table")
    assert "off by default" in text
    assert ACCEPT not in plan.data.command
    assert plan.execute().fired == 1


def test_a_table_of_one_region_says_nothing_of_regions(orders: Table, proxy: Proxy) -> None:
    proxy.script([global_table(LOCAL_REGION)])
    data = planned(orders, proxy).data
    assert (data.replicas, data.consistency) == ((), None)
    assert not codes(data) & {"replication-conflicts", "global-table"}


def test_the_plan_for_people(orders: Table, proxy: Proxy) -> None:
    shown = command.restrike(*words(orders, proxy))
    assert shown.code == 0
    rows = dict(line.split(maxsplit=1) for line in shown.stdout.splitlines() if len(line.split()) > 1)
    assert rows["replicas"] == "eu-west-1, eu-west-2; eventual consistency"
    assert ACCEPT in shown.stdout.splitlines()[-1]


def test_replication_is_a_reader(orders: Table, proxy: Proxy) -> None:
    data = planned(orders, proxy).data
    assert data.readers == "2 of the 2 that a shard allows (one is the replication, one is this proof)"
    proxy.script([STRONG])
    assert planned(orders, proxy).data.readers == "1 of the 2 that a shard allows (one is this proof)"


def test_where_other_readers_cannot_be_seen_replication_is_enough(
    orders: Table, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stub_lambda(denied=("ListEventSourceMappings",)) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        data = planned(orders, proxy).data
        assert (data.verify, "could not be looked for" in data.verify_why) == (False, True)
        proxy.script([])
        assert planned(orders, proxy).data.verify


# ── executing ────────────────────────────────────────────────────────────────────────────────────────────


def test_it_is_not_executed_unless_that_is_accepted(orders: Table, proxy: Proxy) -> None:
    run, before = run_name(), len(orders.records())
    refused = command.restrike(*words(orders, proxy, "--execute", "--json", "--run", run))
    assert (refused.code, refused.stdout) == (2, "")
    said = refused.stderr.splitlines()
    assert f"restrike: table {orders.name} is a global table with eventual consistency" in refused.stderr
    assert "can be undone" in refused.stderr
    assert said[-1] == f"  Touch in the Region that writes, when it is quiet, and add {ACCEPT}."
    assert (len(orders.records()), command.runs()) == (before, {})
    dangerous = {"RESTRIKE_ACCEPT_REPLICATION_CONFLICTS": "1"}
    assert command.restrike(*words(orders, proxy, "--execute", "--run", run), **dangerous).code == 2
    assert len(orders.records()) == before
    done = command.restrike(*words(orders, proxy, "--execute", "--json", "--run", run, ACCEPT))
    assert (done.code, done.json["fired"]) == (0, 10), done


def test_the_command_of_the_plan_executes_it_and_unmark_asks_too(orders: Table, proxy: Proxy) -> None:
    run = run_name()
    plan = command.restrike(*words(orders, proxy, "--run", run, "--json")).json["plan"]
    assert carried_out(plan).json["fired"] == 10
    # What is complete is not begun again: there is nothing to accept.
    again = command.restrike(*words(orders, proxy, "--run", run, "--json", "--execute"))
    assert (again.code, again.json["fired"]) == (0, 10)
    taking_off = words(orders, proxy, "--run", run, "--json", verb="unmark")
    assert command.restrike(*taking_off, "--execute").code == 2
    plan = command.restrike(*taking_off).json["plan"]
    assert "replication-conflicts" in {warning["code"] for warning in plan["warnings"]}
    assert carried_out(plan).json["fired"] == 10


def test_the_python_api_asks_too(orders: Table, proxy: Proxy) -> None:
    before = len(orders.records())
    with pytest.raises(UsageError, match="can be undone") as caught:
        planned(orders, proxy).execute()
    assert caught.value.exit_code == 2
    assert len(orders.records()) == before
    assert planned(orders, proxy, accept_replication_conflicts=True).execute().fired == 10


def test_a_run_that_goes_on_asks_again(orders: Table, proxy: Proxy) -> None:
    run = run_name()
    limited = command.restrike(*words(orders, proxy, "--limit", "2", "--execute", "--run", run, ACCEPT, key="p2"))
    assert limited.code == 0, limited
    assert command.restrike("runs", "resume", run, "--execute").code == 2
    plan = command.restrike("runs", "resume", run, "--json").json["plan"]
    assert plan["command"] == f"restrike runs resume {run} {ACCEPT} --execute"
    given = command.restrike("runs", "resume", run, "--limit", "5", ACCEPT, "--json").json["plan"]
    assert given["command"] == f"restrike runs resume {run} --limit 5 {ACCEPT} --execute"
    done = carried_out(plan)
    assert (done.code, done.json["fired"]) == (0, 10), done
    stopped = planned(orders, proxy, partition_key="p3", accept_replication_conflicts=True, limit=1).execute()
    goes_on = restrike.resume(stopped.run)
    with pytest.raises(UsageError, match="can be undone"):
        goes_on.execute()
    assert restrike.resume(stopped.run, accept_replication_conflicts=True).execute().as_json()["fired"] == 10


def test_the_command_that_goes_on_has_the_flag(orders: Table, proxy: Proxy) -> None:
    """Where a run was stopped, and where it failed."""
    stop = Stop()
    stop.set()
    plan = planned(orders, proxy, all=True, partition_key=None, accept_replication_conflicts=True)
    assert plan.execute(stop=stop).state == "INTERRUPTED"
    run = run_name()
    proxy.script([EVENTUAL, AccessDenied("BatchExecuteStatement")])
    failed = command.restrike(*words(orders, proxy, "--execute", "--run", run, ACCEPT))
    assert failed.code == 3
    (hint,) = (line for line in failed.stderr.splitlines() if "Go on with:" in line)
    assert hint.endswith(shlex.join(["restrike", "runs", "resume", run, ACCEPT, "--execute"]))


def test_a_replica_that_came_between_plan_and_execution(orders: Table, proxy: Proxy) -> None:
    proxy.script([])
    plan = planned(orders, proxy, sort_key="= 4")
    before = len(orders.records())
    proxy.script([EVENTUAL])
    with pytest.raises(UsageError, match="is a global table with eventual consistency"):
        plan.execute()
    assert len(orders.records()) == before


def test_a_replica_that_came_while_it_was_touched_is_noted(orders: Table, proxy: Proxy) -> None:
    proxy.script([])
    plan = planned(orders, proxy, sort_key="= 8")
    # The second DescribeTable from here on is that of the end.
    proxy.script([global_table("eu-west-1", skip=1)])
    report = plan.execute()
    assert report.fired == 1
    assert any("has become a global table" in note for note in report.notes)


@pytest.mark.parametrize(
    ("table", "why"),
    [([], "is no global table"), ([STRONG], "is a global table with strong consistency")],
    ids=["one Region", "strong"],
)
def test_there_must_be_something_to_accept(orders: Table, proxy: Proxy, table: list[Any], why: str) -> None:
    proxy.script(table)
    with pytest.raises(UsageError, match=why) as caught:
        planned(orders, proxy, accept_replication_conflicts=True)
    assert ACCEPT in caught.value.message
    assert caught.value.hint == "Leave it out."


def test_another_verbs_run_has_no_use_for_it(orders: Table, tmp_path: Any) -> None:
    run = run_name()
    replay = restrike.replay(
        f"table:{orders.name}", f"jsonl:{tmp_path / 'out.jsonl'}", partition_key="p0", limit=1, run=run,
        endpoint_url=orders.endpoint_url,
    )  # fmt: skip
    replay.execute()
    with pytest.raises(UsageError, match=f"a replay has no use for {ACCEPT}"):
        restrike.resume(run, accept_replication_conflicts=True)
