"""Pace and price by what the table itself tells: members of DescribeTable that no engine here has are put into its
answer on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import restrike
from restrike.model.plan import PlanWarning, TouchPlanData
from tests.acceptance import command
from tests.change_records import make_record
from tests.integration import tables
from tests.integration.tables import Index, Table
from tests.servers.faults import Altered, Proxy, faulty
from tests.servers.oddities import answering

AUTOSCALING = "AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING"


@pytest.fixture(scope="module")
def orders(dynamodb_local: str) -> Table:
    """On demand, with an index that holds every attribute."""
    return tables.create(
        dynamodb_local,
        ("pk", "S"),
        ("sk", "N"),
        indexes=[Index("by_day", ("day", "S"), projection="ALL")],
        items=[{"pk": "p", "sk": n, "day": "2021-01-22"} for n in range(60)],
    )


@pytest.fixture(scope="module")
def provisioned(dynamodb_local: str) -> Table:
    return tables.create(
        dynamodb_local,
        ("pk", "S"),
        indexes=[Index("by_day", ("day", "S"), projection="ALL")],
        wcu=40,
        items=[{"pk": str(n), "day": "2021-01-22"} for n in range(20)],
    )


@pytest.fixture(scope="module")
def proxy(dynamodb_local: str) -> Iterator[Proxy]:
    with faulty(dynamodb_local) as running:
        yield running


def telling(proxy: Proxy, index: dict[str, Any] | None = None, **members: Any) -> str:
    """The endpoint where DescribeTable tells those members, and those of its first global index."""

    def change(answer: dict[str, Any]) -> None:
        answer["Table"] |= members
        answer["Table"]["GlobalSecondaryIndexes"][0] |= index or {}

    proxy.script([Altered("DescribeTable", change=change)])
    return proxy.endpoint_url


def plan_of(table: Table, endpoint_url: str, **request: Any) -> TouchPlanData:
    return restrike.touch(table.name, all=True, endpoint_url=endpoint_url, **request).data


def warned(plan: TouchPlanData, code: str) -> list[str]:
    return [warning.message for warning in plan.warnings if warning.code == code]


# ── pace ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_maximum_on_demand_bounds_the_pace(orders: Table, proxy: Proxy) -> None:
    url = telling(proxy, OnDemandThroughput={"MaxWriteRequestUnits": 800, "MaxReadRequestUnits": -1})
    plan = plan_of(orders, url)
    assert plan.rate == "200 WCU/s (25 % of the maximum of 800)"
    assert plan.estimate.seconds == pytest.approx(60 * 2 / 200)
    assert warned(plan, "exceeds-capacity") == []
    (faster,) = warned(plan_of(orders, url, max_wcu=2_000.0), "exceeds-capacity")
    assert "2,000 WCU/s are more than the 800 that it takes at most" in faster
    at_most = plan_of(orders, url, rate="max")
    assert at_most.rate.endswith("(half of the maximum of the table), at most 800 (maximum of the table)")
    assert warned(at_most, "exceeds-capacity") == []


def test_an_index_bounds_it_too(orders: Table, provisioned: Table, proxy: Proxy) -> None:
    bound = {"OnDemandThroughput": {"MaxWriteRequestUnits": 20, "MaxReadRequestUnits": -1}}
    plan = plan_of(orders, telling(proxy, index=bound))
    assert plan.rate == "10 WCU/s, at most 5 of them in index by_day (25 % of its maximum of 20)"
    url = telling(proxy, index={"ProvisionedThroughput": {"WriteCapacityUnits": 8, "ReadCapacityUnits": 40}})
    assert plan_of(provisioned, url).rate == "4 WCU/s, at most 2 of them in index by_day (25 % of its 8)"
    (slower,) = warned(plan_of(provisioned, url, rate=10.0), "exceeds-capacity")
    assert "up to 10 of them in index by_day, are more than the 8 that are provisioned" in slower


def test_what_is_executed_keeps_to_it(orders: Table, proxy: Proxy) -> None:
    url = telling(proxy, OnDemandThroughput={"MaxWriteRequestUnits": 400})
    shown = command.restrike("touch", orders.name, "--endpoint-url", url, "--all", "--run", "r").stdout
    assert "1.2 s at 100 WCU/s (25 % of the maximum of 400)" in shown
    told: list[float] = []
    plan = restrike.touch(orders.name, all=True, limit=25, endpoint_url=url, verify=False)
    report = plan.execute(lambda progress: told.append(progress.wcu_per_s))
    assert (report.state, report.fired) == ("LIMITED", 25)
    assert set(told) == {100.0}


def test_warm_throughput_is_the_base_of_max(orders: Table, proxy: Proxy) -> None:
    warm = {"WriteUnitsPerSecond": 3_000, "ReadUnitsPerSecond": 12_000, "Status": "ACTIVE"}
    url = telling(proxy, index={"WarmThroughput": warm}, WarmThroughput={**warm, "WriteUnitsPerSecond": 9_000})
    assert plan_of(orders, url).rate == "500 WCU/s (on demand; warm throughput 3,000 of index by_day)"
    plan = plan_of(orders, url, rate="max")
    assert "from 3,000 WCU/s on (half of the warm throughput of index by_day)" in plan.rate
    assert plan.estimate.seconds == pytest.approx(60 * 2 / 6_000, abs=0.05)


def test_reading_that_is_more_than_the_table_takes(dynamodb_local: str, proxy: Proxy) -> None:
    big = tables.create(
        dynamodb_local,
        ("pk", "S"),
        indexes=[Index("by_day", ("day", "S"))],
        items=[{"pk": str(n), "text": "x" * 20_000} for n in range(20)],
    )
    url = telling(proxy, OnDemandThroughput={"MaxReadRequestUnits": 3, "MaxWriteRequestUnits": -1})
    (warning,) = warned(plan_of(big, url), "exceeds-read-capacity")
    assert "more than the 3 that it takes at most" in warning
    assert warned(plan_of(big, url, rate=1.0), "exceeds-read-capacity") == []
    assert warned(plan_of(big, dynamodb_local), "exceeds-read-capacity") == []
    little = restrike.touch(big.name, partition_key="1", endpoint_url=url).data
    assert warned(little, "exceeds-read-capacity") == []


# ── prices ───────────────────────────────────────────────────────────────────────────────────────────────


def test_infrequent_access_and_replicas_cost_what_they_cost(orders: Table, proxy: Proxy) -> None:
    url = telling(proxy, TableClassSummary={"TableClass": "STANDARD_INFREQUENT_ACCESS"})
    assert plan_of(orders, url).estimate.usd == pytest.approx(120 * 0.78e-6, abs=2e-6)
    replicas = [{"RegionName": region} for region in ("us-east-1", "us-east-2")]
    both = plan_of(orders, telling(proxy, Replicas=replicas))
    assert both.estimate.usd == pytest.approx(2 * 120 * 0.625e-6, abs=2e-6)
    assert both.prices == "prices of us-east-1, 2026-11 and us-east-2, 2026-11"


def test_another_region_has_other_prices(orders: Table) -> None:
    plan = plan_of(orders, orders.endpoint_url, region="eu-west-1")
    assert plan.prices == "prices of eu-west-1, 2026-10"
    strange = plan_of(orders, orders.endpoint_url, region="sa-east-1", price="read=0.5")
    assert strange.prices.startswith("read 0.5 USD a million, as given; prices of us-east-1, 2026-11; ")
    assert "those of sa-east-1 are others and not known here" in strange.prices


def test_a_vector_index_is_charged_apart(orders: Table, proxy: Proxy) -> None:
    def vectors(projection: str) -> list[dict[str, Any]]:
        return [{"IndexName": "meaning", "Projection": {"ProjectionType": projection}}]

    (warning,) = warned(plan_of(orders, telling(proxy, VectorIndexes=vectors("ALL"))), "vector-index-writes")
    assert warning.startswith("each touch is written to meaning too")
    assert warned(plan_of(orders, telling(proxy, VectorIndexes=vectors("KEYS_ONLY"))), "vector-index-writes") == []


def test_prices_that_are_given(orders: Table) -> None:
    words = ("touch", orders.name, "--endpoint-url", orders.endpoint_url, "--all", "--run", "r")
    given = command.restrike(*words, "--price", "write=1000000,read=0", "--json").json["plan"]
    assert given["estimate"]["usd"] == 120
    assert "--price write=1000000,read=0" in given["command"]
    shown = command.restrike(*words, RESTRIKE_PRICE="write=1000000")
    assert (shown.code, shown.stderr) == (0, "")
    line = next(line for line in shown.stdout.splitlines() if line.startswith("money"))
    assert line.split(None, 1)[1] == ("$120.00 (write 1000000 USD a million, as given; prices of us-east-1, 2026-11)")


def test_every_verb_that_shows_money_takes_prices(
    orders: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unmark = restrike.unmark(orders.name, "r", all=True, endpoint_url=orders.endpoint_url, price="write=2").data
    assert unmark.prices.startswith("write 2 USD a million, as given")
    kept = str(tmp_path / "kept")
    capture = restrike.capture(orders.name, kept, follow=True, poll_seconds=1.0, endpoint_url=orders.endpoint_url)
    assert capture.data.usd_month_per_shard == pytest.approx(30 * 86_400 * 0.2e-6)
    assert capture.data.prices == "prices of us-east-1, 2026-11"
    words = ("capture", orders.name, "--to", kept, "--endpoint-url", orders.endpoint_url, "--follow")
    shown = command.restrike(*words, "--poll-seconds", "1", "--price", "stream-read=1000")
    assert (
        "at most $2,592.00 a month and idle shard for the reads (stream-read 1000 USD a million, as given)"
        in " ".join(shown.stdout.split())
    )
    assert "--price stream-read=1000" in shown.stdout
    records = tmp_path / "records.jsonl"
    records.write_bytes(b"\n".join(record.raw for record in map(make_record, range(250))))
    function = {"FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f", "Timeout": 3}
    with answering(json.dumps(function).encode(), content_type="application/json") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
        replay = restrike.replay(f"jsonl:{records}", "lambda:f").data
        assert (replay.invocations, replay.usd, replay.prices) == (3, 1e-6, "prices of us-east-1, 2026-11")
        shown = command.restrike("replay", f"jsonl:{records}", "--to", "lambda:f", "--price", "invocation=1e6")
    assert "about 3, $3.00 for the requests (invocation 1000000 USD a million, as given)" in shown.stdout
    to_file = restrike.replay(f"jsonl:{records}", f"jsonl:{tmp_path / 'new.jsonl'}").data
    assert (to_file.usd, to_file.prices) == (None, "")


# ── autoscaling ──────────────────────────────────────────────────────────────────────────────────────────


def target(table: Table, most: int, index: str = "", unit: str = "Write", **more: Any) -> dict[str, Any]:
    return {
        "ServiceNamespace": "dynamodb",
        "ResourceId": f"table/{table.name}" + (f"/index/{index}" if index else ""),
        "ScalableDimension": f"dynamodb:{'index' if index else 'table'}:{unit}CapacityUnits",
        "MinCapacity": 5,
        "MaxCapacity": most,
        "RoleARN": "arn:aws:iam::123456789012:role/r",
        "CreationTime": 1_700_000_000.0,
        **more,
    }


@pytest.fixture
def scaled(provisioned: Table, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[TouchPlanData, str]]:
    """A plan of the provisioned table where autoscaling answers so, as data and as people see it."""

    def plan(answer: dict[str, Any], status: int = 200) -> tuple[TouchPlanData, str]:
        body = json.dumps(answer).encode()
        with answering(body, status=status, content_type="application/x-amz-json-1.1") as url:
            monkeypatch.setenv(AUTOSCALING, url)
            data = plan_of(provisioned, provisioned.endpoint_url)
            words = ("touch", provisioned.name, "--endpoint-url", provisioned.endpoint_url, "--all")
            shown = command.restrike(*words, **{AUTOSCALING: url})
        assert shown.code == 0, shown
        return data, shown.stdout

    return plan


def test_autoscaling_makes_provisioned_capacity_cost_more(
    provisioned: Table, scaled: Callable[..., tuple[TouchPlanData, str]]
) -> None:
    targets = [
        target(provisioned, 1_000),
        target(provisioned, 500, "by_day"),
        target(provisioned, 80, unit="Read"),
        target(provisioned, 90, "by_day", unit="Read"),  # nothing is read of it
    ]
    plan, shown = scaled({"ScalableTargets": targets})
    assert plan.estimate.usd is None
    (warning,) = warned(plan, "autoscaling")
    parts = warning.partition("by the hour: ")[2].split("; ")
    assert parts == [
        "the table has 40 WCU and may get 1,000",
        "index by_day has 40 WCU and may get 500",
        "the table has 40 RCU and may get 80.",
    ]
    assert "not known: autoscaling may raise what is provisioned" in shown
    assert "may get 1,000" in " ".join(shown.split())


@pytest.mark.parametrize(
    "more",
    [{"most": 40}, {"most": 900, "SuspendedState": {"DynamicScalingOutSuspended": True}}],
    ids=["no further", "suspended"],
)
def test_autoscaling_that_raises_nothing(
    provisioned: Table, scaled: Callable[..., tuple[TouchPlanData, str]], more: dict[str, Any]
) -> None:
    plan, shown = scaled({"ScalableTargets": [target(provisioned, **more)]})
    assert plan.estimate.usd == 0
    assert [warning.code for warning in plan.warnings if "autoscaling" in warning.code] == []
    assert "$0.00 (provisioned capacity costs no more)" in shown


def test_autoscaling_that_may_not_be_asked_leaves_the_plan(scaled: Callable[..., tuple[TouchPlanData, str]]) -> None:
    plan, shown = scaled({"__type": "AccessDeniedException", "message": "no"}, status=400)
    assert (plan.estimate.wru, plan.estimate.usd) == (40, None)
    (warning,) = warned(plan, "autoscaling-unknown")
    assert "access denied (application-autoscaling:DescribeScalableTargets)" in warning
    assert "paid by the hour" in " ".join(shown.split())


def test_an_autoscaling_that_is_silent_is_waited_for_as_long_as_the_plan_waits(
    provisioned: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(b"", silent=True) as url:
        monkeypatch.setenv(AUTOSCALING, url)
        plan = plan_of(provisioned, provisioned.endpoint_url, plan_timeout_s=1.0)
    assert warned(plan, "autoscaling-unknown")[0].startswith("could not look for autoscaling: no answer within 1 s")
    assert plan.estimate.usd is None


def test_an_autoscaling_that_is_none_leaves_the_plan(scaled: Callable[..., tuple[TouchPlanData, str]]) -> None:
    plan, _ = scaled({"ScalableTargets": [{"ResourceId": "?"}]})
    assert warned(plan, "autoscaling-unknown")
    plan, _ = scaled({"TableNames": []})
    assert warned(plan, "autoscaling-unknown")


def test_a_table_of_this_machine_leads_to_no_question_to_autoscaling(
    orders: Table, provisioned: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever would reach it by itself (here: a proxy) is not used; and on demand there is nothing to ask."""
    with answering(b"{}", status=403) as url:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, url)
        assert not _of_autoscaling(plan_of(provisioned, provisioned.endpoint_url).warnings)
        monkeypatch.setenv(AUTOSCALING, url)
        assert not _of_autoscaling(plan_of(orders, orders.endpoint_url).warnings)
        assert _of_autoscaling(plan_of(provisioned, provisioned.endpoint_url).warnings)


def _of_autoscaling(warnings: tuple[PlanWarning, ...]) -> list[str]:
    return [warning.message for warning in warnings if warning.code.startswith("autoscaling")]
