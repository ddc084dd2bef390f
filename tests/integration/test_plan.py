"""What a plan tells, what it refuses, and that it changes nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import restrike
from restrike.errors import Invalid, ServiceFault, UsageError
from restrike.model.plan import TouchPlanData
from tests.acceptance import command
from tests.integration import tables
from tests.integration.tables import Index, Table, numbers, run_name, touch, until
from tests.servers.faults import ServerError, faulty
from tests.servers.lambda_api import KEY_ARN, LOCAL_ACCOUNT, mapping, stub_lambda


@pytest.fixture(scope="module")
def orders(dynamodb_local: str) -> Table:
    return tables.create(
        dynamodb_local,
        ("pk", "S"),
        ("sk", "N"),
        indexes=[Index("by_day", ("day", "S"))],
        items=[{"pk": f"p{n % 2}", "sk": n, "day": f"2021-01-2{n % 3}", "status": "open"} for n in range(30)],
    )


def plan_of(table: Table, **request: Any) -> TouchPlanData:
    return restrike.touch(table.name, endpoint_url=table.endpoint_url, **request).data


def words(table: Table, *more: str, run: str) -> tuple[str, ...]:
    return ("touch", table.name, "--endpoint-url", table.endpoint_url, "--run", run, *more)


# ── the shape ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_plan_as_json(orders: Table) -> None:
    result = command.restrike(*words(orders, "--partition-key", "p0", "--json", run="planned"))
    assert result.code == 0, result
    assert list(result.json) == ["plan"]
    plan = result.json["plan"]
    first = ["verb", "table", "selection", "items", "estimate", "consumers", "warnings", "command"]
    assert list(plan)[: len(first)] == first
    assert plan["verb"] == "touch"
    assert plan["table"] == orders.name
    assert plan["selection"] == "partition key p0"
    assert plan["items"] == {"count": 15, "how": "counted by COUNT queries just now"}
    assert list(plan["estimate"]) == ["wru", "rru", "usd", "seconds"]
    assert plan["estimate"]["wru"] == 15
    assert plan["estimate"]["seconds"] == pytest.approx(15 / 500, abs=0.05)
    assert plan["consumers"] == []
    assert plan["warnings"]
    assert all(list(warning) == ["code", "message"] for warning in plan["warnings"])
    assert plan["command"] == (
        f"restrike touch {orders.name} --partition-key p0 --endpoint-url {orders.endpoint_url} --run planned --execute"
    )


def test_the_plan_names_where_it_is(orders: Table) -> None:
    plan = plan_of(orders, all=True)
    assert plan.account == LOCAL_ACCOUNT
    assert plan.region == tables.REGION
    assert plan.table_arn.endswith(f":{LOCAL_ACCOUNT}:table/{orders.name}")
    assert plan.endpoint == orders.endpoint_url
    assert plan.view_type == "NEW_AND_OLD_IMAGES"
    assert len(plan.sample_keys) == 5
    assert all(set(json.loads(key)) == {"pk", "sk"} for key in plan.sample_keys)
    assert "cannot be seen from here" in plan.consumers_note


def test_the_plan_for_people_names_the_same(orders: Table) -> None:
    result = command.restrike(*words(orders, "--partition-key", "p0", run="planned"))
    assert (result.code, result.stderr) == (0, "")
    for text in (
        LOCAL_ACCOUNT,
        tables.REGION,
        f"table/{orders.name}",
        orders.endpoint_url,
        "$0.01",
        "Nothing was written",
    ):
        assert text in result.stdout
    assert result.stdout.endswith("--run planned --execute\n")


@pytest.mark.parametrize(
    ("request_", "count", "how"),
    [
        ({"all": True}, 30, "COUNT queries"),
        ({"index": "by_day", "all": True}, 30, "COUNT queries"),
        ({"index": "by_day", "date": "2021-01-20..2021-01-21"}, 20, "COUNT queries"),
        ({"all": True, "filter_expression": "attribute_not_exists(pk)"}, 0, "COUNT queries"),
        ({"partition_key": "p1", "sort_key": "< 4"}, 2, "COUNT queries"),
        ({"partition_key": "nobody"}, 0, "COUNT queries"),
    ],
    ids=str,
)
def test_how_it_was_counted(orders: Table, request_: dict[str, Any], count: int, how: str) -> None:
    plan = plan_of(orders, **request_)
    assert plan.items.count == count
    assert how in plan.items.how
    assert ("empty" in {warning.code for warning in plan.warnings}) == (count == 0)


def test_a_limit_bounds_the_estimate(orders: Table) -> None:
    assert plan_of(orders, partition_key="p0", limit=3).estimate.wru == 3


def test_how_many_of_the_sample_bear_the_name(orders: Table) -> None:
    report = touch(orders, partition_key="p0", limit=4)
    plan = plan_of(orders, partition_key="p0", run=report.run)
    assert (plan.sample_size, plan.sample_already) == (15, 4)


def test_default_names_differ() -> None:
    names = {restrike_name() for _ in range(20)}
    assert len(names) == 20
    assert all(re.fullmatch(r"touch-or-ders-\d{8}T\d{6}-[a-z0-9]{4}", name) for name in names)


def restrike_name() -> str:
    from restrike.running.run import default_name

    return default_name("touch", "arn:aws:dynamodb:us-east-1:1:table/or!ders")


# ── it changes nothing, and its command does ─────────────────────────────────────────────────────────────


def test_a_plan_writes_nothing(orders: Table, tmp_path: Path) -> None:
    before = len(orders.records())
    keys = tmp_path / "keys.csv"
    keys.write_text("pk,sk\np0,2\n")
    assert command.restrike(*words(orders, "--all", run="r")).code == 0
    assert command.restrike(*words(orders, "--keys", str(keys), run="r")).code == 0
    assert len(orders.records()) == before
    assert command.runs() == {}
    assert not (tmp_path / "state").exists()


VALUES = ("--expression-attribute-values", '{":n": {"N": "7"}}')


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--partition-key", "p1", "--sort-key", "between 3 and 9", "--limit", "3"], [3, 5, 7]),
        (["--index", "by_day", "--date", "2021-01-22", "--ordered"], [*range(2, 30, 3)]),
        (
            ["--all", "--filter-expression", "#s=:n", "--expression-attribute-names", '{"#s":"sk"}', *VALUES],
            [7],
        ),
        (["--keys", "keys file.csv", "--no-verify", "--rate", "1234567", "--max-wcu", "12.5"], [2, 4]),
        (
            ["--all", "--segments", "2", "--api", "update-item", "--marker", "it's", "--verify-timeout", "0.5"],
            [*range(30)],
        ),
    ],
    ids=lambda value: " ".join(map(str, value))[:50],
)
def test_the_command_of_the_plan_executes_it(
    orders: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], expected: list[int]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("keys file.csv").write_text("pk,sk\np0,2\np0,4\n")
    run = run_name()
    planned = command.restrike(*words(orders, *more, "--json", run=run))
    assert planned.code == 0, planned
    done = command.shell(planned.json["plan"]["command"])
    assert done.code == 0, done
    fired = orders.fired(run, "it's" if "it's" in more else "restrike")
    assert numbers(list(fired)) == expected
    request = command.restrike("runs", "show", run, "--json").json["request"]["request"]
    for field, flag, value in (("rate", "--rate", 1234567), ("max_wcu", "--max-wcu", 12.5)):
        assert request.get(field) == (value if flag in more else None)


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────


def refused(table: Table, match: str, **request: Any) -> UsageError:
    """The refusal, after which the stream is what it was."""
    before = len(table.records())
    with pytest.raises(UsageError, match=match) as caught:
        touch(table, **request)
    assert caught.value.hint
    assert caught.value.exit_code == 2
    assert len(table.records()) == before
    return caught.value


def test_another_account(orders: Table) -> None:
    refused(
        orders, f"is in account {LOCAL_ACCOUNT}, not in 123456789012", partition_key="p0", expect_account="123456789012"
    )
    assert plan_of(orders, partition_key="p0", expect_account=LOCAL_ACCOUNT).account == LOCAL_ACCOUNT


def test_a_table_without_a_stream(dynamodb_local: str) -> None:
    table = tables.create(dynamodb_local, ("pk", "S"), view_type=None)
    with pytest.raises(UsageError, match="has no stream: nothing would fire") as caught:
        touch(table, all=True)
    assert "aws dynamodb update-table" in caught.value.hint


@pytest.mark.parametrize("attribute", ["pk", "sk", "day"])
@pytest.mark.parametrize("flag", ["marker", "counter"])
def test_a_key_attribute_as_the_marker(orders: Table, attribute: str, flag: str) -> None:
    refused(orders, f"'{attribute}' is a key attribute", partition_key="p0", **{flag: attribute})


@pytest.mark.parametrize("name", ["a b", "a/b", "../x", ".", "..", "é", "x" * 65, "a\n"])
def test_a_name_that_is_none(orders: Table, name: str) -> None:
    refused(orders, "is no name for a run", partition_key="p0", run=name)


def test_the_longest_name(orders: Table) -> None:
    name = ".A-z_9" + "x" * 58
    assert touch(orders, partition_key="p0", sort_key="= 0", run=name).fired == 1


@pytest.mark.parametrize(
    "other",
    [
        {"partition_key": "p1"},
        {"partition_key": "p0", "sort_key": "> 2"},
        {"partition_key": "p0", "marker": "other"},
        {"partition_key": "p0", "counter": "revision"},
        {"all": True},
        {"partition_key": "p0", "filter_expression": "attribute_exists(n)"},
    ],
    ids=str,
)
def test_a_run_of_the_same_name_on_another_selection(orders: Table, other: dict[str, Any]) -> None:
    run = touch(orders, partition_key="p0", limit=1).run
    refused(orders, f"run {run} exists and is another: ", run=run, **other)


def test_another_run_is_active(dynamodb_local: str) -> None:
    table = tables.create(dynamodb_local, ("pk", "S"), ("sk", "N"), items=[{"pk": "p", "sk": n} for n in range(60)])
    slow = words(table, "--partition-key", "p", "--ordered", "--rate", "1", "--execute", run="slow")
    with command.started(*slow) as running:
        until(lambda: command.runs().get("slow", {}).get("state") == "RUNNING", "the slow run")
        with pytest.raises(UsageError, match="run slow is active") as caught:
            touch(table, partition_key="p", sort_key="= 59", run="second")
        assert "--force" in caught.value.hint
        with pytest.raises(UsageError, match="run slow is being executed"):
            touch(table, partition_key="p", ordered=True, run="slow")
        assert touch(table, partition_key="p", sort_key="= 59", run="second", force=True).fired == 1
        assert running.interrupt().code == 130
    assert command.runs()["slow"]["state"] == "INTERRUPTED"
    assert touch(table, partition_key="p", sort_key="= 59", run="third").fired == 1  # an interrupted run is not active


# ── what the environment may say ─────────────────────────────────────────────────────────────────────────


def test_execute_force_and_all_do_not_come_from_the_environment(orders: Table) -> None:
    before = len(orders.records())
    dangerous = {f"RESTRIKE_{name}": "1" for name in ("EXECUTE", "FORCE", "ALL", "ALL_ITEMS")}
    result = command.restrike(*words(orders, "--partition-key", "p0", "--json", run="r"), **dangerous)
    assert list(result.json) == ["plan"]
    assert "--force" not in result.json["plan"]["command"]
    result = command.restrike(*words(orders, "--execute", run="r"), **dangerous)
    assert result.code == 2
    assert "nothing is selected" in result.stderr
    assert len(orders.records()) == before


def test_settings_do_and_what_is_selected_does_not(orders: Table) -> None:
    strangers = {
        "RESTRIKE_TABLE": orders.name,
        "RESTRIKE_KEY": "p0",
        "RESTRIKE_LIMIT": "3",
        "RESTRIKE_RUN": "somebody-elses",
        "RESTRIKE_JSON": "1",
    }
    environment = {**strangers, "RESTRIKE_MARKER": "env_marker", "AWS_ENDPOINT_URL_DYNAMODB": orders.endpoint_url}
    refused = command.restrike("touch", "--execute", **environment)
    assert (refused.code, refused.stdout) == (2, "")
    assert "no table is named" in refused.stderr
    said = [line for line in refused.stderr.splitlines() if line.startswith("warning: ")]
    assert said == [f"warning: {', '.join(sorted(strangers))} in the environment: restrike has no such setting"]
    planned = command.restrike(*words(orders, "--partition-key", "p0", "--json", run="named"), **environment).json[
        "plan"
    ]
    assert planned["attribute"] == "env_marker"
    assert "--limit" not in planned["command"]
    assert "somebody-elses" not in planned["command"]


# ── consumers ────────────────────────────────────────────────────────────────────────────────────────────


OPEN = {"dynamodb": {"NewImage": {"status": {"S": ["open"]}}}}
SHIPPED = {"dynamodb": {"NewImage": {"status": {"S": ["shipped"]}}}}
EVEN = {"dynamodb": {"Keys": {"sk": {"N": ["0", "2"]}}}}
INSERTS = {"eventName": ["INSERT"]}


def test_what_each_consumer_will_see(orders: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    mappings = [
        mapping("all"),
        mapping("inserts", INSERTS),
        mapping("open", OPEN),
        mapping("shipped", SHIPPED),
        mapping("even", EVEN),
        mapping("either", INSERTS, OPEN),
        mapping("marked", {"dynamodb": {"NewImage": {"restrike": {"S": [{"exists": True}]}}}}),
        mapping("off", state="Disabled"),
        mapping("ending", state="Disabling"),
    ]
    with stub_lambda(*mappings) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        plan = plan_of(orders, partition_key="p0")
    assert set(stub.asked) == {orders.stream_arn}
    seen = {consumer.name.split()[0]: (consumer.fires, consumer.why) for consumer in plan.consumers}
    assert {name: fires for name, (fires, _) in seen.items()} == {
        "all": True,
        "inserts": False,
        "open": True,
        "shipped": False,
        "even": True,
        "either": True,
        "marked": True,
        "off": False,
        "ending": None,
    }
    assert "2 of 5 sampled items" in seen["even"][1]
    assert "Disabled" in seen["off"][1]
    unfired = [warning.message for warning in plan.warnings if warning.code == "consumer-not-fired"]
    assert [message.split()[0] for message in unfired] == ["inserts", "shipped"]
    assert (plan.verify, plan.readers) == (False, "8, and a shard allows 2")
    assert "8 readers are known already" in plan.verify_why


def test_a_filter_under_a_key_of_the_customers_is_asked_for(orders: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list shows null for it, as for none."""
    kept = {"KMSKeyArn": KEY_ARN}
    mappings = [
        mapping("shipped", SHIPPED, **kept),
        mapping("open", OPEN, **kept),
        mapping("unfiltered", **kept),
        mapping("undecryptable", **kept, FilterCriteriaError={"ErrorCode": "KMSAccessDenied", "Message": "no key"}),
        mapping("plain", OPEN),
    ]
    with stub_lambda(*mappings) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        seen = {each.name.split()[0]: each for each in plan_of(orders, partition_key="p0").consumers}
    assert {name: each.fires for name, each in seen.items()} == {
        "shipped": False,
        "open": True,
        "unfiltered": True,
        "undecryptable": None,
        "plain": True,
    }
    assert seen["undecryptable"].why == "has a filter that cannot be read: no key"
    assert stub.gotten == ["shipped", "open", "unfiltered", "undecryptable"]


def test_a_filter_that_may_not_be_asked_for_is_unknown(orders: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    mappings = [mapping("kept", SHIPPED, KMSKeyArn=KEY_ARN), mapping("plain", OPEN)]
    with stub_lambda(*mappings, denied=("GetEventSourceMapping",)) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        kept, plain = plan_of(orders, partition_key="p0").consumers
    assert (kept.fires, plain.fires) == (None, True)
    assert "access denied (lambda:GetEventSourceMapping" in kept.why


@pytest.mark.parametrize(
    ("pattern", "fires", "told"),
    [
        ({"dynamodb": {"SizeBytes": [{"numeric": [">", 1_000]}]}}, None, "asks for dynamodb.SizeBytes"),
        (
            {"dynamodb": {"SequenceNumber": [{"prefix": "9"}], **OPEN["dynamodb"]}},
            None,
            "asks for dynamodb.SequenceNumber",
        ),
        ({"eventID": [{"exists": True}]}, True, "passes"),
        ({"dynamodb": {"ApproximateCreationDateTime": [5], **SHIPPED["dynamodb"]}}, False, "drops"),
        ({"eventSourceARN": [{"prefix": "arn:aws:dynamodb:"}]}, True, "passes"),
        ({"eventSourceARN": [{"prefix": "arn:aws:kinesis:"}]}, False, "drops"),
        # As in Lambda's own example of AND: both images are asked for.
        (f'{json.dumps(SHIPPED)[:-1]}, "dynamodb": {{"OldImage": {{"status": {{"S": ["open"]}}}}}}}}', False, "drops"),
    ],
)
def test_what_only_the_record_will_tell_is_not_judged(
    orders: Table, monkeypatch: pytest.MonkeyPatch, pattern: dict[str, Any] | str, fires: bool | None, told: str
) -> None:
    with stub_lambda(mapping("one", pattern)) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        (consumer,) = plan_of(orders, partition_key="p0").consumers
    assert consumer.fires is fires
    assert told in consumer.why


def test_one_reader_leaves_room_for_the_proof(orders: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    with stub_lambda(mapping("one"), mapping("off", state="Disabled")) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        plan = plan_of(orders, partition_key="p0")
    assert plan.verify
    assert plan.readers.startswith("2 of the 2")


def test_consumers_that_may_not_be_listed_are_a_line(orders: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    with stub_lambda(denied=("ListEventSourceMappings",)) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        plan = plan_of(orders, partition_key="p0")
        shown = command.restrike(*words(orders, "--partition-key", "p0", run="r"))
    assert stub.asked
    assert plan.consumers == ()
    assert plan.consumers_note.startswith("Could not look for Lambda functions: access denied")
    assert shown.code == 0
    assert "access denied (lambda:ListEventSourceMappings)" in shown.stdout


def test_a_lambda_that_does_not_answer_is_a_line(orders: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert plan_of(orders, partition_key="p0").consumers_note.startswith("Could not look for Lambda functions")


def test_a_dynamodb_of_this_machine_leads_to_no_lambda_elsewhere(
    orders: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever would reach Lambda by itself (here: a proxy) is not used."""
    with stub_lambda(mapping("one")) as stub:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, stub.url)
        plan = plan_of(orders, partition_key="p0")
    assert plan.consumers == ()
    assert plan.consumers_note.startswith("Lambda was not asked")
    assert stub.asked == []


# ── view types, capacity ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("view_type", ["KEYS_ONLY", "OLD_IMAGE"])
@pytest.mark.parametrize("counter", [None, "revision"])
def test_a_view_that_cannot_prove_bounds(dynamodb_local: str, view_type: str, counter: str | None) -> None:
    table = tables.create(dynamodb_local, ("pk", "S"), view_type=view_type, items=[{"pk": str(n)} for n in range(30)])
    codes = {warning.code for warning in plan_of(table, all=True, counter=counter).warnings}
    assert "view-type" in codes
    report = touch(table, all=True, counter=counter)
    assert (report.fired, report.seen, report.seen_at_most, report.leftover) == (30, None, 30, 0)
    assert view_type in report.notes[0]
    assert report.as_json()["seen_at_most"] == 30
    assert sum(record["eventName"] == "MODIFY" for record in table.records()) == 30


@pytest.mark.parametrize("view_type", ["NEW_IMAGE", "NEW_AND_OLD_IMAGES"])
@pytest.mark.parametrize("counter", [None, "revision"])
def test_a_view_that_proves(dynamodb_local: str, view_type: str, counter: str | None) -> None:
    table = tables.create(dynamodb_local, ("pk", "S"), view_type=view_type, items=[{"pk": str(n)} for n in range(30)])
    report = touch(table, all=True, counter=counter)
    assert (report.fired, report.seen, report.seen_at_most, report.leftover) == (30, 30, None, 0)


def test_indexes_that_project_the_marker_cost_a_write_each(dynamodb_local: str) -> None:
    table = tables.create(
        dynamodb_local,
        ("pk", "S"),
        ("sk", "N"),
        indexes=[
            Index("keys_only", ("day", "S")),
            Index("all", ("day", "S"), ("pk", "S"), projection="ALL"),
            Index("named", ("day", "S"), ("sk", "N"), projection="INCLUDE", included=("restrike",)),
            Index("not_named", ("pk", "S"), ("day", "S"), projection="INCLUDE", included=("other",)),
            Index("local", None, ("other", "N"), projection="ALL"),
        ],
        items=[{"pk": "p", "sk": n, "day": "2021-01-22"} for n in range(10)],
    )
    plan = plan_of(table, partition_key="p")
    assert plan.estimate.wru == 40  # the table, all, named, local
    (warning,) = (warning.message for warning in plan.warnings if warning.code == "index-writes")
    assert "4 times" in warning
    assert all(name in warning for name in ("all", "named", "local"))
    assert plan_of(table, partition_key="p", marker="another").estimate.wru == 30
    # One day of a date index is one partition key of that index.
    assert plan_of(table, index="all", partition_key="2021-01-22").seconds_one_partition == pytest.approx(10 * 4 / 1000)
    assert plan_of(table, index="keys_only", partition_key="2021-01-22").seconds_one_partition is None


def test_big_items_cost_more(dynamodb_local: str) -> None:
    table = tables.create(dynamodb_local, ("pk", "S"), items=[{"pk": str(n), "text": "x" * 3_000} for n in range(4)])
    plan = plan_of(table, all=True)
    assert plan.estimate.wru == 4 * 3
    assert plan.estimate.usd == pytest.approx(12 * 0.625e-6, abs=1e-6)


def test_a_provisioned_table_gives_a_quarter(dynamodb_local: str) -> None:
    table = tables.create(dynamodb_local, ("pk", "S"), wcu=40, items=[{"pk": str(n)} for n in range(20)])
    plan = plan_of(table, all=True)
    assert plan.rate == "10 WCU/s (25 % of 40)"
    assert plan.estimate.seconds == pytest.approx(2.0)
    assert plan.estimate.usd == 0
    assert "exceeds-capacity" not in {warning.code for warning in plan.warnings}
    faster = plan_of(table, all=True, max_wcu=50)
    assert faster.rate == "50 WCU/s"
    assert "exceeds-capacity" in {warning.code for warning in faster.warnings}
    assert plan_of(table, all=True, rate=5.0).estimate.seconds == pytest.approx(4.0)


def test_items_that_expire_are_warned_of(dynamodb_local: str) -> None:
    table = tables.create(dynamodb_local, ("pk", "S"), items=[{"pk": "x"}])
    table.dynamodb.update_time_to_live(
        TableName=table.name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires_at"}
    )
    (warning,) = (warning for warning in plan_of(table, all=True).warnings if warning.code == "ttl")
    assert "'expires_at'" in warning.message


def test_a_filter_on_what_the_index_lacks_is_refused_by_the_service(orders: Table) -> None:
    names = '{"#s": "status"}'
    request = {"index": "by_day", "partition_key": "2021-01-20", "filter_expression": "attribute_exists(#s)"}
    request["expression_attribute_names"] = names
    with pytest.raises(Invalid, match=r"by_day does not project .*status") as caught:
        plan_of(orders, **request)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(("counter", "code"), [(None, "marker-stays"), ("revision", "counter-may-be-a-lock")])
def test_what_stays_is_warned_of(orders: Table, counter: str | None, code: str) -> None:
    assert code in {warning.code for warning in plan_of(orders, partition_key="p0", counter=counter).warnings}


def test_a_plan_waits_no_longer_than_it_is_told(orders: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a service that refuses for ever, with attempts for longer than any test lasts."""
    monkeypatch.setattr("restrike.aws.wire.READ_ATTEMPTS", 1_000_000_000)
    with faulty(orders.endpoint_url) as proxy:
        proxy.script([ServerError({"Query", "Scan"})])
        with pytest.raises(ServiceFault):
            restrike.touch(orders.name, partition_key="p0", endpoint_url=proxy.endpoint_url, plan_timeout_s=0.5)
