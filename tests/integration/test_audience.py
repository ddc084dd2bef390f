"""Whom a touch reaches beside Lambda's functions: Kinesis destinations, EventBridge Pipes, OpenSearch Ingestion."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

import restrike
from restrike.aws import pipelines
from restrike.aws.session import Aws
from restrike.errors import UsageError
from restrike.model.plan import Consumer, TouchPlanData
from tests.acceptance import command
from tests.integration import tables
from tests.integration.tables import Table, run_name, switch_stream
from tests.servers.faults import AccessDenied, Proxy, ServerError, faulty
from tests.servers.ministack import MiniStack
from tests.servers.retold import global_table, kinesis
from tests.servers.wired import Body, Wired, wired

ITEMS: list[tables.Item] = [{"pk": "p", "sk": n, "status": "open"} for n in range(20)]


@pytest.fixture(scope="module")
def orders(dynamodb_local: str) -> Table:
    return tables.create(dynamodb_local, ("pk", "S"), ("sk", "N"), items=ITEMS)


@pytest.fixture(scope="module")
def streamless(dynamodb_local: str) -> Table:
    return tables.create(dynamodb_local, ("pk", "S"), ("sk", "N"), view_type=None, items=ITEMS)


@pytest.fixture
def proxy(orders: Table) -> Iterator[Proxy]:
    with faulty(orders.endpoint_url) as proxy:
        yield proxy


def planned(table: Table, at: Proxy | None = None, **request: Any) -> Any:
    url = table.endpoint_url if at is None else at.endpoint_url
    asked: dict[str, Any] = {"run": run_name(), "all": True} | request
    return restrike.touch(table.name, endpoint_url=url, **asked)


def of_kind(data: TouchPlanData, kind: str) -> dict[str, Consumer]:
    return {consumer.name.split()[0]: consumer for consumer in data.consumers if consumer.kind == kind}


# ── Kinesis ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_table_without_a_stream_is_touched_where_kinesis_gets_its_changes(streamless: Table, proxy: Proxy) -> None:
    proxy.script([kinesis(changes="ACTIVE", old="DISABLED")])
    plan = planned(streamless, proxy)
    data = plan.data
    assert (data.view_type, data.readers, data.verify) == ("", "", False)
    assert data.verify_why == "the table has no stream, and what Kinesis got is not looked for"
    assert data.consumers_note.startswith("The table has no stream: what changes goes to Kinesis alone")
    seen = of_kind(data, "kinesis")
    assert {name: (each.state, each.fires) for name, each in seen.items()} == {
        "changes": ("ACTIVE", True),
        "old": ("DISABLED", False),
    }
    assert "arn:aws:kinesis:us-east-1:000000000000:stream/changes" in seen["changes"].name
    assert "twice or out of order" in seen["changes"].why
    assert "stream" not in " ".join(warning.message for warning in data.warnings)
    report = plan.execute()
    assert (report.state, report.fired, report.seen, report.leftover) == ("COMPLETED", 20, None, 0)
    again = planned(streamless, proxy, run=report.run, again=True).execute()
    assert (again.fired, again.already) == (0, 20)
    assert planned(streamless, proxy, counter="revision").execute().fired == 20
    unmark = restrike.unmark(streamless.name, report.run, endpoint_url=proxy.endpoint_url)
    assert "stream" not in " ".join(warning.message for warning in unmark.warnings)
    assert unmark.execute().fired == 20


def test_the_command_shows_it(streamless: Table, proxy: Proxy) -> None:
    proxy.script([kinesis(changes="ACTIVE")])
    words = ("touch", streamless.name, "--all", "--limit", "3", "--endpoint-url", proxy.endpoint_url, "--run", "k")
    shown = command.restrike(*words)
    assert shown.code == 0, shown
    assert re.search(r"^stream +none: Kinesis gets what changes$", shown.stdout, re.MULTILINE)
    assert "with 3 change data capture units for Kinesis: less than $0.01" in shown.stdout
    assert "readers" not in shown.stdout
    assert re.search(r"^consumer +changes \(arn:aws:kinesis:", shown.stdout, re.MULTILINE)
    done = command.restrike(*words, "--execute", "--json")
    assert (done.code, done.json["fired"], done.json["seen"]) == (0, 3, None), done
    assert command.restrike("runs", "resume", "k", "--execute", "--json").json["fired"] == 20


def test_a_destination_that_is_being_changed_will_do(streamless: Table, proxy: Proxy) -> None:
    proxy.script([kinesis(changes="UPDATING")])
    assert of_kind(planned(streamless, proxy).data, "kinesis")["changes"].fires is True


def test_a_destination_that_is_being_enabled_may_get_nothing(streamless: Table, proxy: Proxy, orders: Table) -> None:
    proxy.script([kinesis(changes="ENABLING")])
    with pytest.raises(UsageError, match="still ENABLING: what is written now may reach nobody") as told:
        planned(streamless, proxy)
    assert "Wait until it is ACTIVE" in told.value.hint
    beside_a_stream = planned(orders, proxy).data
    assert of_kind(beside_a_stream, "kinesis")["changes"].fires is None
    assert beside_a_stream.change_data_units is None, "nothing of it is sure"


@pytest.mark.parametrize(
    ("request_", "flag"), [({"verify": True}, "--verify"), ({"verify_timeout_s": 5.0}, "--verify-timeout")], ids=str
)
def test_there_is_no_proof_without_a_stream(
    streamless: Table, proxy: Proxy, request_: dict[str, Any], flag: str
) -> None:
    proxy.script([kinesis(changes="ACTIVE")])
    with pytest.raises(UsageError, match=f"^{flag} has nothing to look at: table {streamless.name} has no str") as told:
        planned(streamless, proxy, **request_)
    assert "--no-verify" in told.value.hint


def test_a_run_whose_stream_was_switched_off_goes_on_to_kinesis(dynamodb_local: str, proxy: Proxy) -> None:
    table = tables.create(dynamodb_local, ("pk", "S"), ("sk", "N"), items=ITEMS)
    run = run_name()
    proxy.script([kinesis(changes="ACTIVE")])
    part = planned(table, proxy, run=run, limit=5).execute()
    assert (part.fired, part.seen) == (5, 5)
    switch_stream(table, None)
    rest = restrike.resume(run).execute().as_json()
    assert (rest["fired"], rest["leftover"]) == (20, 0)


@pytest.mark.parametrize("status", ["DISABLED", "DISABLING", "ENABLE_FAILED"])
def test_a_destination_that_gets_nothing_is_none(streamless: Table, proxy: Proxy, status: str) -> None:
    proxy.script([kinesis(changes=status)])
    with pytest.raises(UsageError, match=r"has no stream: nothing would fire$"):
        planned(streamless, proxy)


def test_destinations_that_may_not_be_seen(streamless: Table, orders: Table, proxy: Proxy) -> None:
    """The rest of a plan stands; a table without a stream is refused, and both name the permission."""
    proxy.script([AccessDenied("DescribeKinesisStreamingDestination")])
    denied = "Could not look for Kinesis destinations: access denied (dynamodb:DescribeKinesisStreamingDestination)"
    data = planned(orders, proxy).data
    assert data.items.count == 20
    assert denied in data.consumers_note
    with pytest.raises(UsageError) as caught:
        planned(streamless, proxy)
    assert "nothing would fire, as far as can be seen" in caught.value.message
    assert denied in caught.value.message


def test_a_failure_leaves_the_plan_standing(orders: Table, proxy: Proxy) -> None:
    proxy.script([ServerError("DescribeKinesisStreamingDestination")])
    assert "Could not look for Kinesis destinations: Describe" in planned(orders, proxy).data.consumers_note


def test_destinations_cost_beside_the_stream(orders: Table, proxy: Proxy) -> None:
    plain = planned(orders, proxy).data
    assert (plain.change_data_units, of_kind(plain, "kinesis")) == (None, {})
    proxy.script([kinesis(one="ACTIVE", two="ACTIVE")])
    data = planned(orders, proxy).data
    assert (data.change_data_units, data.verify) == (40, True)
    assert data.readers == plain.readers, "Kinesis does not read the stream"
    assert data.estimate.usd is not None
    assert plain.estimate.usd is not None
    assert data.estimate.usd - plain.estimate.usd == pytest.approx(40 * 0.10e-6, abs=1e-6)


# ── EventBridge Pipes ────────────────────────────────────────────────────────────────────────────────────


def pipe(source: str, name: str, *patterns: Body, state: str = "RUNNING") -> Body:
    filters = [{"Pattern": json.dumps(pattern)} for pattern in patterns]
    arn = f"arn:aws:pipes:us-east-1:000000000000:pipe/{name}"
    found: Body = {"Name": name, "Arn": arn, "CurrentState": state, "Source": source}
    return found | ({"SourceParameters": {"FilterCriteria": {"Filters": filters}}} if filters else {})


def at(monkeypatch: pytest.MonkeyPatch, stub: Wired, *services: str) -> None:
    for service in services or ("PIPES", "OSIS"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", stub.url)


def test_pipes_are_named_with_what_their_filters_let_through(orders: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = orders.stream_arn
    with wired(
        pipes=[
            pipe(arn, "all"),
            pipe(arn, "open", {"dynamodb": {"NewImage": {"status": {"S": ["open"]}}}}),
            pipe(arn, "inserts", {"eventName": ["INSERT"]}),
            pipe(arn, "stopped", state="STOPPED"),
            pipe(arn, "stopping", state="STOPPING"),
            pipe(f"{arn}0", "of-another-stream"),
        ]
    ) as stub:
        at(monkeypatch, stub)
        data = planned(orders).data
    seen = of_kind(data, "pipe")
    assert {name: (each.state, each.fires) for name, each in seen.items()} == {
        "all": ("RUNNING", True),
        "open": ("RUNNING", True),
        "inserts": ("RUNNING", False),
        "stopped": ("STOPPED", False),
        "stopping": ("STOPPING", None),
    }
    (unfired,) = [each.message for each in data.warnings if each.code == "consumer-not-fired"]
    assert unfired.startswith("the pipe inserts takes no MODIFY records of these items")
    assert "its filter passes the MODIFY records of 5 of 5" in seen["open"].why
    assert (data.readers, data.verify) == ("4, and a shard allows 2", False)
    assert "4 readers are known already" in data.verify_why
    assert "Pipes" not in data.consumers_note


def test_a_pipe_beside_the_replication_is_one_reader_too_many(
    orders: Table, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.script([global_table("eu-west-1")])
    with wired(pipes=[pipe(orders.stream_arn, "one")]) as stub:
        at(monkeypatch, stub)
        data = planned(orders, proxy).data
    assert (data.readers, data.verify) == ("2 of the 2 that a shard allows (one is the replication)", False)
    assert data.verify_why.startswith("2 readers are known already (one is the replication)")


@pytest.mark.parametrize("operation", ["ListPipes", "DescribePipe"])
def test_pipes_that_may_not_be_seen(orders: Table, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    with wired(pipes=[pipe(orders.stream_arn, name) for name in ("a", "b")], denied=[operation]) as stub:
        at(monkeypatch, stub)
        data = planned(orders).data
    assert f"access denied (pipes:{operation})" in data.consumers_note
    assert stub.asked.count(operation) == 1, "what is denied once is denied twice"
    known = {} if operation == "ListPipes" else {"a": None, "b": None}
    assert {name: each.fires for name, each in of_kind(data, "pipe").items()} == known


def test_ministacks_pipes(ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """An implementation that is not ours answers in the form that AWS's model has."""
    table, name = f"arn:aws:dynamodb:us-east-1:000000000000:table/{run_name()}", f"pipe-{run_name()}"
    ministack.client("pipes").create_pipe(
        Name=name,
        Source=f"{table}/stream/2026-11-25T00:00:00.000",
        Target="arn:aws:sqs:us-east-1:000000000000:q",
        RoleArn="arn:aws:iam::000000000000:role/r",
        DesiredState="STOPPED",
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL_PIPES", ministack.endpoint_url)
    aws = Aws()
    (found,) = pipelines.pipes(aws, f"{table}/stream/2026-11-25T00:00:00.000")
    assert (found["Name"], found["CurrentState"]) == (name, "STOPPED")
    assert pipelines.pipes(aws, f"{table}/stream/2026-11-25T00:00:00.00") == []
    assert pipelines.filters_of(pipelines.describe_pipe(aws, name)) == []


# ── OpenSearch Ingestion ─────────────────────────────────────────────────────────────────────────────────

STREAM = "\n          stream:\n            start_position: LATEST"
EXPORT = "\n          # stream: not now\n          export:\n            s3_bucket: b"


def pipeline(name: str, table_arn: str, part: str = STREAM, state: str = "ACTIVE") -> Body:
    body = f'version: "2"\n{name}:\n  source:\n    dynamodb:\n      tables:\n        - table_arn: "{table_arn}"{part}\n'
    return {"PipelineName": name, "Status": state, "PipelineConfigurationBody": body}


def test_pipelines_are_named_where_their_configuration_names_the_table(
    orders: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = planned(orders).data.table_arn
    with wired(
        pipelines=[
            pipeline("search", arn),
            pipeline("export", arn, EXPORT),
            pipeline("stopped", arn, state="STOPPED"),
            pipeline("longer-name", f"{arn}-archive"),
            pipeline("other", "arn:aws:dynamodb:us-east-1:000000000000:table/other"),
        ]
    ) as stub:
        at(monkeypatch, stub)
        data = planned(orders).data
    assert {name: each.fires for name, each in of_kind(data, "ingestion").items()} == {
        "search": True,
        "export": False,
        "stopped": False,
    }
    assert "Ingestion" not in data.consumers_note
    assert data.readers == "2 of the 2 that a shard allows (one is this proof)"


def test_pipelines_that_may_not_be_looked_into_are_counted(orders: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    several = [pipeline(name, "arn:x") for name in ("first", "second", "third")]
    with wired(pipelines=several, denied=["GetPipeline"]) as stub:
        at(monkeypatch, stub)
        data = planned(orders).data
    assert "3 pipelines of OpenSearch Ingestion may read it, too" in data.consumers_note
    assert "access denied (osis:GetPipeline)" in data.consumers_note
    assert stub.asked.count("GetPipeline") == 1
    with wired(denied=["ListPipelines"]) as stub:
        at(monkeypatch, stub)
        assert "access denied (osis:ListPipelines)" in planned(orders).data.consumers_note


# ── what is asked, and how long ──────────────────────────────────────────────────────────────────────────


def test_a_table_of_this_machine_leads_to_no_question_elsewhere(orders: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    with wired(pipes=[pipe(orders.stream_arn, "a")]) as stub:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, stub.url)
        assert "EventBridge Pipes and OpenSearch Ingestion were not asked" in planned(orders).data.consumers_note
        at(monkeypatch, stub, "OSIS")
        note = planned(orders).data.consumers_note
    assert "EventBridge Pipes was not asked" in note
    assert stub.asked == ["ListPipelines"]


def test_who_does_not_answer_is_waited_for_no_longer_than_the_plan(
    orders: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    with wired() as stub:
        stub.silent = ["ListPipelines"]
        at(monkeypatch, stub, "OSIS")
        data = planned(orders, plan_timeout_s=0.5).data
    assert "OpenSearch Ingestion did not answer within 0.5 s." in data.consumers_note
    assert data.items.count == 20


def test_each_is_asked_by_itself(orders: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is refused takes nothing from the other."""
    with wired(pipes=[pipe(orders.stream_arn, "a")], denied=["ListPipelines"]) as stub:
        at(monkeypatch, stub)
        data = planned(orders).data
    assert set(of_kind(data, "pipe")) == {"a"}
    assert "osis:ListPipelines" in data.consumers_note
