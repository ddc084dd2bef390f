"""`--max-lag`: what a plan says of the consumers' lag, and a touch that is held back by it.

DynamoDB Local has the table, a stub the mappings, and MiniStack's CloudWatch tells what the test puts there. In the
runs a minute is a second.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import botocore.exceptions
import pytest

import restrike
from restrike.errors import DeliveryFailed, UsageError
from restrike.model import lag
from restrike.model.report import TouchReport
from restrike.touching.progress import TouchProgress
from restrike.touching.watching import ASK_EVERY_S
from tests.integration import tables
from tests.integration.tables import Table, run_name
from tests.servers.lambda_api import mapping, stub_lambda
from tests.servers.ministack import MiniStack
from tests.servers.oddities import answering

ITEMS: list[tables.Item] = [{"pk": "p", "sk": n, "status": "open"} for n in range(300)]
LONG: dict[str, Any] = {"rate": 0.25}
"""Twenty minutes, for all items."""


@pytest.fixture(scope="module")
def orders(dynamodb_local: str) -> Table:
    return tables.create(dynamodb_local, ("pk", "S"), ("sk", "N"), items=ITEMS)


class Consumer:
    """A function with a mapping of the stream, of which CloudWatch knows what the test says."""

    def __init__(self, ministack: MiniStack) -> None:
        self.name = f"f-{run_name()}"
        self._cloudwatch = ministack.client("cloudwatch")

    def tell(self, *, at_s: float | None = None, **values: float) -> None:
        """Values of now, or of that moment, by the names of their metrics."""
        moment = datetime.fromtimestamp(time.time() if at_s is None else at_s, UTC)
        dimensions = [{"Name": "FunctionName", "Value": self.name}]
        self._cloudwatch.put_metric_data(
            Namespace="AWS/Lambda",
            MetricData=[
                {"MetricName": metric, "Dimensions": dimensions, "Timestamp": moment, "Value": value}
                for metric, value in values.items()
            ],
        )


@pytest.fixture
def consumer(ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Consumer]:
    made = Consumer(ministack)
    with stub_lambda(mapping(made.name)) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", ministack.endpoint_url)
        yield made


def planned(table: Table, **request: Any) -> Any:
    asked: dict[str, Any] = {"run": run_name(), "all": True, "verify": False} | request
    return restrike.touch(table.name, endpoint_url=table.endpoint_url, **asked)


def codes(plan: Any) -> set[str]:
    return {warning.code for warning in plan.warnings}


# ── the plan ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_long_run_is_paced_by_its_consumers_and_a_short_one_where_that_is_asked_for(
    orders: Table, consumer: Consumer
) -> None:
    consumer.tell(IteratorAge=42_000)
    long = planned(orders, **LONG).data
    assert (long.max_lag_s, long.late) == (300, "")
    assert long.lag_usd == pytest.approx(1_200 / ASK_EVERY_S * 4 * 0.00001)
    assert long.lag == f"5 min at most, of {consumer.name} (42 s now); asking CloudWatch costs less than $0.01"
    short = planned(orders).data
    assert (short.max_lag_s, short.lag_usd, short.lag) == (None, None, "")
    assert planned(orders, max_lag="90s").data.max_lag_s == 90
    assert planned(orders, max_lag_wait="2h").data.max_lag_s == 300, "whoever says how long to wait, wants it"
    off = planned(orders, **LONG, max_lag="off").data
    assert (off.max_lag_s, off.lag) == (None, "not looked at: --max-lag off")
    unmark = restrike.unmark(orders.name, "r", all=True, endpoint_url=orders.endpoint_url, max_lag="1h")
    assert unmark.data.max_lag_s == 3_600


def test_one_that_is_late_already_is_told_and_needs_a_higher_limit_or_none(orders: Table, consumer: Consumer) -> None:
    consumer.tell(IteratorAge=720_000, at_s=time.time() - 180)
    late = planned(orders, **LONG)
    assert codes(late) >= {"consumer-late"}
    told = f"{consumer.name} is 12 min behind already, and --max-lag is 5 min"
    assert late.data.late == told
    with pytest.raises(UsageError, match=told) as refused:
        late.execute()
    assert "--max-lag off" in refused.value.hint
    assert not orders.fired(late.data.run)
    assert planned(orders, **LONG, max_lag="15m").data.late == ""
    assert planned(orders, **LONG, max_lag="off").data.late == ""


def test_what_was_told_long_ago_is_not_now(orders: Table, consumer: Consumer) -> None:
    consumer.tell(IteratorAge=720_000, at_s=time.time() - 1_200)
    plan = planned(orders, **LONG)
    assert plan.data.late == ""
    assert f"of {consumer.name}; " in plan.data.lag


def test_whose_lag_is_looked_at(orders: Table, ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", ministack.endpoint_url)
    arn = "arn:aws:lambda:us-east-1:000000000000:function:mailer"
    with stub_lambda(
        mapping("plain", MaximumBatchingWindowInSeconds=30),
        mapping("plain", UUID="another of it"),
        mapping("alias", FunctionArn=f"{arn}:live"),
        mapping("latest", FunctionArn=f"{arn}:$LATEST"),
        mapping("filtered", {"eventName": ["MODIFY"]}),
        mapping("not fired", {"eventName": ["INSERT"]}),
        mapping("unknown", {"eventID": [{"prefix": "0"}]}),
        mapping("off", state="Disabled"),
    ) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        plan = planned(orders, max_lag="5m")
    options = plan._asked.options.lag
    assert options is not None
    assert options.consumers == (
        lag.Watched("plain", window_s=30),
        lag.Watched("mailer", "mailer:live"),
        lag.Watched("mailer"),
        lag.Watched("filtered", takes_all=False),
    )


def test_nobody_to_look_at(orders: Table, ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", ministack.endpoint_url)
    with stub_lambda(mapping("off", state="Disabled")) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        plan = planned(orders, **LONG)
        assert plan.data.lag == "not looked at: there is no Lambda function of which it is sure that it fires"
        assert "lag-unknown" not in codes(plan)
        with pytest.raises(UsageError, match="--max-lag has nothing to go by: there is no Lambda function"):
            planned(orders, max_lag="5m")


@contextlib.contextmanager
def cloudwatch_that(how: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if how == "is not there":
        monkeypatch.delenv("AWS_ENDPOINT_URL_CLOUDWATCH")
        yield
        return
    body = b'{"__type":"AccessDeniedException","message":"no"}'
    json = "application/x-amz-json-1.0"
    with answering(body, status=403, content_type=json, silent=how == "is silent") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", url)
        yield


@pytest.mark.parametrize(
    ("how", "why", "warns"),
    [
        ("is not there", "CloudWatch was not asked: DynamoDB is at http", False),
        ("denies", r"CloudWatch could not be asked: access denied \(cloudwatch:GetMetricData\)", True),
        ("is silent", "CloudWatch could not be asked: no answer within 0.5 s", True),
    ],
)
@pytest.mark.usefixtures("consumer")
def test_where_cloudwatch_does_not_tell_a_run_goes_without_unless_it_was_to_be_paced(
    orders: Table, how: str, why: str, warns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cloudwatch_that(how, monkeypatch):
        plan = planned(orders, **LONG, plan_timeout_s=0.5 if how == "is silent" else 30)
        assert plan.data.max_lag_s is None
        assert plan.data.lag.startswith("not looked at: CloudWatch")
        assert ("lag-unknown" in codes(plan)) is warns
        with pytest.raises(UsageError, match=f"--max-lag has nothing to go by: {why}"):
            planned(orders, **LONG, max_lag="5m", plan_timeout_s=0.5 if how == "is silent" else 30)


# ── the run ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def minutes_are_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IDLE_S", "TELLING_S", "_MARK_EVERY_S"):
        monkeypatch.setattr(lag, name, getattr(lag, name) / 60)
    monkeypatch.setattr(lag, "PERIOD_S", 1)
    monkeypatch.setattr(lag, "SILENCE_S", 2.0)
    monkeypatch.setattr("restrike.touching.watching.ASK_EVERY_S", 0.1)
    monkeypatch.setattr("restrike.touching.watching.ASK_FIRST_S", 0.1)
    monkeypatch.setattr("restrike.touching.request.LEAST_LAG_S", 0.0)


@contextlib.contextmanager
def telling(consumer: Consumer, values: Callable[[float], dict[str, float]]) -> Iterator[None]:
    """Tells CloudWatch ten times a second what holds after so many seconds."""
    over, began_s = threading.Event(), time.time()

    def tell() -> None:
        while not over.wait(0.1):
            consumer.tell(**values(time.time() - began_s))

    thread = threading.Thread(target=tell)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Seen:
    """The progress of a run: what held it, and how fast it was then. Pauses the run when `enough` says so."""

    def __init__(self, enough: Callable[[TouchProgress], bool] = lambda _: False) -> None:
        self.held: list[str] = []
        self.stop = restrike.Stop()
        self._enough = enough

    def __call__(self, progress: TouchProgress) -> None:
        if progress.held and progress.held not in self.held:
            self.held.append(progress.held)
        if self._enough(progress):
            self.stop.set("pause")


def gone_on_with(run: str) -> TouchReport:
    report = restrike.resume(run, max_lag="off", rate=10_000).execute()
    assert isinstance(report, TouchReport)
    return report


@pytest.mark.usefixtures("minutes_are_seconds")
def test_a_run_is_slowed_by_a_consumer_that_falls_behind_and_goes_on_without_the_limit(
    orders: Table, consumer: Consumer
) -> None:
    seen = Seen(lambda progress: progress.held.startswith("slower: ") and "behind" in progress.held)
    plan = planned(orders, rate=60, max_lag="2s")
    with telling(consumer, lambda since_s: {"IteratorAge": 1_000 * (1 + since_s), "Invocations": 1}):
        report = plan.execute(seen, stop=seen.stop)
    assert report.state == "PAUSED"
    assert 0 < report.fired < len(ITEMS)
    assert f"slower: {consumer.name} is " in seen.held[-1]
    assert seen.held[-1].endswith("behind, and --max-lag is 2.0 s")
    resumed = gone_on_with(report.run)
    assert (resumed.state, resumed.fired) == ("COMPLETED", len(ITEMS))
    assert set(orders.fired(report.run).values()) == {1}


@pytest.mark.usefixtures("minutes_are_seconds")
def test_a_consumer_that_is_never_invoked_pauses_a_run_and_ends_it_to_be_resumed(
    orders: Table, consumer: Consumer
) -> None:
    """Nothing of it is in CloudWatch: that is no lag of zero."""
    seen = Seen()
    plan = planned(orders, rate=10, max_lag="2s", max_lag_wait="1s")
    with pytest.raises(DeliveryFailed) as stopped:
        plan.execute(seen)
    assert stopped.value.exit_code == 5
    assert stopped.value.message.startswith("waited 1.")
    assert f"for a consumer: {consumer.name} was not invoked for 2.0 s" in stopped.value.message
    assert f"restrike runs resume {plan.data.run}" in stopped.value.hint
    assert stopped.value.report.state == "FAILED"
    assert 0 < stopped.value.report.fired < len(ITEMS)
    assert seen.held[0].startswith(f"waiting: {consumer.name} was not invoked")
    resumed = gone_on_with(plan.data.run)
    assert (resumed.state, resumed.fired) == ("COMPLETED", len(ITEMS))
    assert set(orders.fired(plan.data.run).values()) == {1}


@pytest.mark.usefixtures("minutes_are_seconds")
def test_a_consumer_that_keeps_up_slows_nothing(orders: Table, consumer: Consumer) -> None:
    seen = Seen()
    plan = planned(orders, rate=100, max_lag="2s")
    with telling(consumer, lambda _: {"IteratorAge": 100, "Invocations": 1, "Errors": 0, "Throttles": 0}):
        report = plan.execute(seen)
    assert (report.state, report.fired, seen.held) == ("COMPLETED", len(ITEMS), [])


@pytest.mark.usefixtures("minutes_are_seconds", "consumer")
def test_a_cloudwatch_that_fails_meanwhile_is_told(orders: Table) -> None:
    def fail(**_: Any) -> None:
        raise botocore.exceptions.EndpointConnectionError(endpoint_url="nowhere")

    seen = Seen(lambda progress: "CloudWatch: " in progress.held)
    plan = planned(orders, rate=60, max_lag="2s")
    plan._aws.client("cloudwatch").meta.events.register("before-call.cloudwatch.GetMetricData", fail)
    report = plan.execute(seen, stop=seen.stop)
    assert report.state == "PAUSED"
    assert seen.held[-1].startswith("CloudWatch: GetMetricData: no answer from")
