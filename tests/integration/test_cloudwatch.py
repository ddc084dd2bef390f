"""GetMetricData on MiniStack; what that has not (pages, parts, refusals) by a hook of botocore or a stub."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from restrike.aws.cloudwatch import A_CALL, MAX_PAGES, SERVICE, metric_data
from restrike.aws.session import Aws
from restrike.errors import AccessDenied, ServiceFault
from restrike.model.metrics import Metric, Series
from tests.integration.tables import run_name
from tests.servers.ministack import MiniStack
from tests.servers.oddities import answering

NOON_S = datetime.now(UTC).replace(minute=0, second=0, microsecond=0).timestamp() - 3 * 3_600


def of_function(name: str, metric: str, stat: Any = "Sum") -> Metric:
    return Metric("AWS/Lambda", metric, (("FunctionName", name),), stat)


@pytest.fixture
def aws(ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> Aws:
    monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", ministack.endpoint_url)
    return Aws()


def put(ministack: MiniStack, name: str, metric: str, values: Sequence[tuple[float, float]]) -> None:
    """Each value with its seconds behind `NOON_S`."""
    ministack.client("cloudwatch").put_metric_data(
        Namespace="AWS/Lambda",
        MetricData=[
            {
                "MetricName": metric,
                "Dimensions": [{"Name": "FunctionName", "Value": name}],
                "Timestamp": datetime.fromtimestamp(NOON_S + at_s, UTC),
                "Value": value,
            }
            for at_s, value in values
        ],
    )


def test_values_by_period_oldest_first_and_none_where_nothing_was_told(aws: Aws, ministack: MiniStack) -> None:
    name, other = f"f{run_name()}", f"g{run_name()}"
    put(ministack, name, "Errors", [(610, 4.0), (20, 1.0), (50, 2.0)])
    put(ministack, name, "IteratorAge", [(30, 900.0), (40, 1_500.0)])
    asked = [
        of_function(name, "Errors"),
        of_function(name, "IteratorAge", "Maximum"),
        of_function(other, "Errors"),
    ]
    found = metric_data(aws, asked, since_s=NOON_S + 59, until_s=NOON_S + 601, period_s=60)
    errors, age, nothing = found
    assert errors == Series(asked[0], 60, ((NOON_S, 3.0), (NOON_S + 600, 4.0))), "both ends are whole periods"
    assert (errors.total, errors.most) == (7.0, 4.0)
    assert age.points == ((NOON_S, 1_500.0),)
    assert nothing == Series(asked[2], 60), "unknown is no zero"


def test_more_metrics_than_a_call_takes(aws: Aws, ministack: MiniStack) -> None:
    name = f"f{run_name()}"
    put(ministack, name, "Errors", [(0, 1.0)])
    asked = [*(of_function(f"{name}-{number}", "Errors") for number in range(A_CALL)), of_function(name, "Errors")]
    found = metric_data(aws, asked, since_s=NOON_S, until_s=NOON_S + 60, period_s=60)
    assert [each.metric for each in found] == asked
    assert [each.total for each in found[-2:]] == [0.0, 1.0]


class Told:
    """Answers of GetMetricData, one after another and the last for ever; `asked` are the requests."""

    def __init__(self, answers: Sequence[dict[str, Any]]) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answers = list(answers)

    def at(self, aws: Aws) -> Aws:
        events = aws.client(SERVICE).meta.events
        events.register("provide-client-params.cloudwatch.GetMetricData", lambda params, **_: self.asked.append(params))
        events.register("before-call.cloudwatch.GetMetricData", self._answer)
        return aws

    def _answer(self, **_: Any) -> tuple[Any, dict[str, Any]]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return type("Http", (), {"status_code": 200}), answer


def page(*results: tuple[str, str, dict[int, float]], token: str | None = None) -> dict[str, Any]:
    told = [
        {
            "Id": name,
            "StatusCode": status,
            "Timestamps": [datetime.fromtimestamp(at_s, UTC) for at_s in points],
            "Values": list(points.values()),
        }
        for name, status, points in results
    ]
    return {"MetricDataResults": told} | ({"NextToken": token} if token else {})


METRICS = [of_function("orders", name) for name in ("Errors", "Throttles", "Invocations", "IteratorAge")]


def asked_of(aws: Aws, told: Told) -> list[Series]:
    return metric_data(told.at(aws), METRICS, since_s=0, until_s=300, period_s=60)


def test_pages_are_put_together_and_what_was_not_answered_in_full_is_not_there() -> None:
    told = Told(
        [
            page(
                ("m0", "PartialData", {120: 3.0}), ("m1", "Complete", {0: 1.0}), ("m2", "InternalError", {}), token="1"
            ),
            page(token="2"),
            page(("m0", "Complete", {0: 2.0}), ("m2", "InternalError", {60: 5.0}), ("m3", "PartialData", {0: 1.0})),
        ]
    )
    found = asked_of(Aws(), told)
    assert found == [Series(METRICS[0], 60, ((0.0, 2.0), (120.0, 3.0))), Series(METRICS[1], 60, ((0.0, 1.0),))]
    assert [request.get("NextToken") for request in told.asked] == [None, "1", "2"]
    assert {request["ScanBy"] for request in told.asked} == {"TimestampAscending"}


def test_what_failed_on_one_page_and_came_on_the_next_is_there() -> None:
    told = Told([page(("m0", "InternalError", {}), token="1"), page(("m0", "Complete", {0: 2.0}))])
    assert asked_of(Aws(), told) == [Series(METRICS[0], 60, ((0.0, 2.0),))]


def test_pages_without_end_are_an_error() -> None:
    told = Told([page(("m0", "PartialData", {0: 2.0}), token="more")])
    with pytest.raises(ServiceFault, match="no end after 100 pages"):
        asked_of(Aws(), told)
    assert len(told.asked) == MAX_PAGES


def test_an_answer_of_somebody_else_is_told() -> None:
    wrong = page(("m0", "Complete", {0: 2.0}))
    wrong["MetricDataResults"][0]["Values"] = []
    with pytest.raises(ServiceFault, match="is not CloudWatch"):
        asked_of(Aws(), Told([wrong]))


def test_a_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"__type":"AccessDeniedException","message":"not authorized to perform: cloudwatch:GetMetricData"}'
    with answering(body, status=403, content_type="application/x-amz-json-1.0") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", url)
        with pytest.raises(AccessDenied, match="GetMetricData: AccessDenied"):
            metric_data(Aws(), METRICS, since_s=0, until_s=60, period_s=60)
