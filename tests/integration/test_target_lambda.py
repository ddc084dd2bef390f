"""`lambda:` against a real function on MiniStack, and against a Lambda of our own that misbehaves."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
import uuid
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

import restrike
from restrike.aws.lambda_ import MAX_EVENT_BYTES, event_source_mappings, function_name
from restrike.aws.session import Aws
from restrike.aws.wire import _kept_alive
from restrike.errors import AccessDenied, BadCredentials, NotFound, RestrikeError, UsageError
from restrike.model.plan import ReplayPlanData
from restrike.model.record import Fidelity, event
from restrike.replaying.mapping import mapping_of, mapping_settings
from restrike.targets import Answer
from restrike.targets.lambda_.target import MARGIN_S, LambdaTarget
from tests.change_records import STREAM_ARN, make_record
from tests.servers.lambda_api import KEY_ARN, StubLambda, mapping, stub_lambda
from tests.servers.lambda_stub import Act, Hang, LambdaStub, Reset, Say, lambda_stub, refuse
from tests.servers.ministack import MiniStack

T = TypeVar("T")
BOUND_S = 600.0
ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, BOUND_S))


@pytest.fixture
def at_ministack(ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> MiniStack:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", ministack.endpoint_url)
    return ministack


def unique(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


# ------------------------------------------------------------------------------------------------ a real function


def test_a_function_gets_the_event_and_its_answer_comes_back(at_ministack: MiniStack) -> None:
    name = unique("echo")
    at_ministack.create_function(
        name,
        """
        import json
        def main(event, context):
            failed = [{"itemIdentifier": r["dynamodb"]["SequenceNumber"]} for r in event["Records"][1:]]
            # Lambda's JSON keeps the order of members: so the text tells whether the event is the same.
            text = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
            return {"batchItemFailures": failed, "text": text}
        """,
    )
    image = {
        "unicode": {"S": 'ü\u2028"\\ 再着火'},
        "digits": {"N": "12345678901234567890123456789012345678"},
        "binary": {"B": "AAEC/w=="},
        "set": {"BS": ["AA==", "/w=="]},
        "nothing": {"NULL": True},
        "empty": {"S": ""},
        "deep": {"M": {"list": {"L": [{"BOOL": False}, {"M": {}}]}}},
    }
    records = [make_record(n, image=image) for n in (7, 8, 9)]

    async def work() -> Answer:
        async with LambdaTarget(Aws(), function_name(name), run="r") as target:
            assert target.function is not None
            assert target.function.timeout_s == 10
            return await target.attempt(records)

    answer = run(work())
    assert answer.ok, answer.error
    told = json.loads(answer.response)
    assert told["text"].encode() == event(records)
    assert told["batchItemFailures"] == [{"itemIdentifier": "8"}, {"itemIdentifier": "9"}]


def test_a_function_that_fails_is_an_answer_and_the_next_batch_goes_on(at_ministack: MiniStack) -> None:
    name = unique("poison")
    at_ministack.create_function(
        name,
        """
        import sys, time
        def main(event, context):
            what = event["Records"][0]["dynamodb"]["SequenceNumber"]
            if what == "1":
                raise ValueError("poison")
            if what == "2":
                sys.exit(3)
            if what == "3":
                time.sleep(60)
        """,
        timeout_s=1,
    )

    async def work() -> list[Answer]:
        async with LambdaTarget(Aws(), function_name(name), run="r") as target:
            return [await target.attempt([make_record(n)]) for n in (1, 2, 3, 4)]

    raised, left, hung, good = run(work())
    assert [answer.ok for answer in (raised, left, hung, good)] == [False, False, False, True]
    assert "poison" in raised.error
    assert left.error
    assert "timed out" in hung.error
    assert good.response == b"null"


def test_an_alias_and_an_arn_are_the_function_that_they_name(at_ministack: MiniStack) -> None:
    name = unique("alias")
    code = "def main(event, context):\n    return {'is': 1}\n"
    arn = at_ministack.create_function(name, code)
    version = at_ministack.lambda_.publish_version(FunctionName=name)["Version"]
    at_ministack.lambda_.create_alias(FunctionName=name, Name="live", FunctionVersion=version)

    async def work(text: str) -> str:
        async with LambdaTarget(Aws(), function_name(text), run="r") as target:
            answer = await target.attempt([make_record(1)])
            assert (answer.ok, answer.response) == (True, b'{"is": 1}')
            assert target.function is not None
            return target.function.version

    for text, ran in ((name, "$LATEST"), (f"{name}:live", version), (arn, "$LATEST"), (f"{arn}:live", version)):
        assert run(work(text)) == ran, text
    with pytest.raises(NotFound):
        run(work(f"{name}:nowhere"))
    with pytest.raises(NotFound):
        run(work(unique("absent")))


def test_the_settings_of_a_mapping_are_read_off_the_service(at_ministack: MiniStack) -> None:
    name = unique("mapped")
    at_ministack.create_function(name, "def main(event, context):\n    pass\n")
    version = at_ministack.lambda_.publish_version(FunctionName=name)["Version"]
    at_ministack.lambda_.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    stream = STREAM_ARN.replace("table/t/", f"table/{name}/")
    created = at_ministack.lambda_.create_event_source_mapping(
        FunctionName=f"{name}:live",
        EventSourceArn=stream,
        StartingPosition="LATEST",
        Enabled=False,
        BatchSize=25,
        ParallelizationFactor=4,
        BisectBatchOnFunctionError=True,
        MaximumRetryAttempts=2,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        FilterCriteria={"Filters": [{"Pattern": '{"eventName":["INSERT"]}'}]},
    )
    mappings = event_source_mappings(Aws(), stream)
    chosen = mapping_of(function_name(f"{name}:live"), mappings)
    assert chosen is not None
    settings = mapping_settings(chosen)
    assert (settings.uuid, settings.live, settings.batch_size, settings.parallel) == (created["UUID"], False, 25, 4)
    assert (settings.bisect, settings.retries, settings.report_batch_item_failures) == (True, 2, True)
    assert settings.filter_criteria == {"Filters": [{"Pattern": '{"eventName":["INSERT"]}'}]}
    with pytest.raises(UsageError) as caught:
        mapping_of(function_name(name), mappings)
    assert f"{name}:live" in caught.value.hint


def test_a_plan_warns_of_the_functions_concurrency_and_of_its_live_mapping(
    at_ministack: MiniStack, tmp_path: Path
) -> None:
    name = unique("narrow")
    at_ministack.create_function(name, "def main(event, context):\n    pass\n", timeout_s=7)
    at_ministack.lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=5)
    stream = STREAM_ARN.replace("table/t/", f"table/{name}/")
    created = at_ministack.lambda_.create_event_source_mapping(
        FunctionName=name, EventSourceArn=stream, StartingPosition="LATEST", BatchSize=10
    )
    source = tmp_path / "records.jsonl"
    source.write_bytes(b"\n".join(make_record(n).raw.replace(STREAM_ARN.encode(), stream.encode()) for n in range(40)))

    def warned(parallel: int) -> dict[str, str]:
        plan = restrike.replay(f"jsonl:{source}", f"lambda:{name}", parallel=parallel, ledger=str(tmp_path / "l.db"))
        # Four batches of ten, each as long as the function may take.
        assert (plan.data.invocations, plan.data.longest_s) == (4, 4 * 7 / parallel)
        return {warning.code: warning.message for warning in plan.warnings}

    assert "allows 5" in warned(4)["concurrency"]
    few = warned(2)
    assert "concurrency" not in few
    assert created["UUID"] in few["mapping-is-live"]


# ------------------------------------------------------------------------------------- as AWS tells of a function


INSERTS = {"eventName": ["INSERT"]}


def planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stub: StubLambda, to: str = "orders", **options: Any
) -> ReplayPlanData:
    source = tmp_path / "records.jsonl"
    source.write_bytes(b"\n".join(make_record(n).raw for n in range(4)))
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
    return restrike.replay(f"jsonl:{source}", f"lambda:{to}", ledger=str(tmp_path / "l.db"), **options).data


def test_a_mappings_filter_under_a_key_of_the_customers_filters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stub_lambda(mapping("orders", {"eventName": ["REMOVE"]}, KMSKeyArn=KEY_ARN)) as stub:
        data = planned(tmp_path, monkeypatch, stub)
    assert (data.filters, data.records.count, stub.gotten) == ("the mapping's FilterCriteria", 0, ["orders"])


@pytest.mark.parametrize(
    ("hidden", "denied", "why"),
    [
        ({}, ("GetEventSourceMapping",), "access denied (lambda:GetEventSourceMapping"),
        ({"FilterCriteriaError": {"ErrorCode": "KMSAccessDeniedException", "Message": "no key"}}, (), "no key"),
    ],
)
def test_a_filter_that_nobody_can_read_is_not_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hidden: dict[str, Any], denied: tuple[str, ...], why: str
) -> None:
    found = mapping("orders", BatchSize=2, KMSKeyArn=KEY_ARN, **hidden)
    with stub_lambda(found, denied=denied) as stub:
        with pytest.raises(UsageError) as caught:
            planned(tmp_path, monkeypatch, stub)
        assert why in caught.value.message
        assert "--pattern" in caught.value.hint
        asked = len(stub.gotten)
        data = planned(tmp_path, monkeypatch, stub, pattern=json.dumps(INSERTS))
        assert len(stub.gotten) == asked, "whoever gives the filter needs no other"
    assert (data.invocations, data.records.count) == (2, 4)


def test_a_run_that_goes_on_has_its_filter_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on with what was planned, also where the filter may no longer be read."""
    found = mapping("orders", INSERTS, KMSKeyArn=KEY_ARN)
    with stub_lambda(found) as stub:
        source = tmp_path / "records.jsonl"
        source.write_bytes(b"\n".join(make_record(n).raw for n in range(4)))
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        ledger = str(tmp_path / "l.db")
        plan = restrike.replay(f"jsonl:{source}", "lambda:orders", ledger=ledger, run="r", limit=1)
        assert plan.execute().state == "LIMITED"
        stub.denied = frozenset({"GetEventSourceMapping"})
        again = restrike.resume("r", ledger=ledger)
    assert isinstance(again.data, ReplayPlanData)
    assert again.data.filters == "the mapping's FilterCriteria"


@pytest.mark.parametrize(
    ("function", "to", "message", "hint"),
    [
        (
            {"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}},
            "orders",
            "isolates its tenants",
            "name the function that is mapped",
        ),
        (
            {"DurableConfig": {"ExecutionTimeout": 60}},
            "orders",
            "is a durable function",
            "'lambda:orders:$LATEST'",
        ),
    ],
)
def test_a_function_whose_invocations_would_all_fail_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: dict[str, Any], to: str, message: str, hint: str
) -> None:
    with stub_lambda(function=function) as stub, pytest.raises(UsageError) as caught:
        planned(tmp_path, monkeypatch, stub, to)
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("function", "to", "told", "longest_s"),
    [
        ({"Timeout": 5_400, "CapacityProviderConfig": {}}, "orders", "may take 5,400 s when its mapping", 900),
        ({"Timeout": 900, "CapacityProviderConfig": {}}, "orders", None, 900),
        ({"DurableConfig": {"ExecutionTimeout": 86_400}}, "orders:live", "may take 86,400 s, and is waited for", 900),
        ({"DurableConfig": {"ExecutionTimeout": 60}}, "orders:live", None, 60),
    ],
)
def test_what_a_synchronous_invocation_does_otherwise_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: dict[str, Any], to: str, told: str | None, longest_s: int
) -> None:
    with stub_lambda(function=function) as stub:
        data = planned(tmp_path, monkeypatch, stub, to, parallel=1)
    shorter = [warning.message for warning in data.warnings if warning.code == "shorter-timeout"]
    assert (told is None and not shorter) or (told is not None and told in shorter[0])
    assert (data.invocations, data.longest_s) == (1, longest_s)


# -------------------------------------------------------------------------------------------- one that misbehaves


async def attempts(
    monkeypatch: pytest.MonkeyPatch,
    *script: Act,
    count: int = 1,
    name: str = "f",
    fidelity: Fidelity = "exact",
    **options: Any,
) -> tuple[LambdaStub, list[Answer]]:
    target_options = {key: options.pop(key) for key in ("timeout_s", "lanes") if key in options}
    async with lambda_stub(*script, **options) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.endpoint_url)
        async with LambdaTarget(Aws(), function_name(name), run="RUN", **target_options) as target:
            answers = [await target.attempt([make_record(1, fidelity=fidelity)]) for _ in range(count)]
        return stub, answers


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("f", "/2015-03-31/functions/f/invocations"),
        ("f:live", "/2015-03-31/functions/f/invocations?Qualifier=live"),
        ("f:$LATEST", "/2015-03-31/functions/f/invocations?Qualifier=%24LATEST"),
        (
            f"{ARN}:live",
            "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af/invocations?Qualifier=live",
        ),
    ],
)
def test_the_request_is_lambdas_and_its_body_the_records_bytes(
    name: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub, [answer] = run(attempts(monkeypatch, Say(body=b'{"a":1}'), name=name, fidelity="net"))
    assert answer == Answer(ok=True, response=b'{"a":1}')
    [invocation] = stub.invocations
    assert (invocation.path, invocation.body) == (path, event([make_record(1, fidelity="net")]))
    headers = invocation.headers
    assert (headers["X-Amz-Invocation-Type"], headers["X-Amz-Log-Type"]) == ("RequestResponse", "None")
    told = json.loads(base64.b64decode(headers["X-Amz-Client-Context"]))
    assert told == {"custom": {"restrike": {"run": "RUN", "fidelity": "net"}}}
    assert "SignedHeaders=content-type;host;x-amz-client-context;" in headers["Authorization"]


def test_a_function_error_tells_type_and_message_without_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"errorMessage":"no such order","errorType":"KeyError","stackTrace":["secret"]}'
    failed = {"X-Amz-Function-Error": "Unhandled"}
    script = Say(body=body, headers=failed), Say(body=b"oops", headers=failed), Say()
    _, answers = run(attempts(monkeypatch, *script, count=3))
    assert answers == [
        Answer(ok=False, error="KeyError: no such order"),
        Answer(ok=False, error="Unhandled"),
        Answer(ok=True, response=b"null"),
    ]


def test_a_throttle_says_how_long_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "TooManyRequestsException"
    script = (
        refuse(429, code, "Rate Exceeded.", Retry_After="7"),
        refuse(429, code),
        refuse(429, code, Retry_After="soon"),
        refuse(429, code, Retry_After="99999"),
        Say(),
    )
    _, answers = run(attempts(monkeypatch, *script, count=5))
    assert [(a.ok, a.throttled, a.wait_s) for a in answers[:4]] == [(False, True, s) for s in (7.0, 0.0, 0.0, 300.0)]
    assert "Rate Exceeded." in answers[0].error
    assert answers[4].ok


def test_a_batch_that_is_too_large_has_failed_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    message = "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
    _, [answer] = run(attempts(monkeypatch, refuse(413, "RequestTooLargeException", message)))
    assert (answer.ok, answer.throttled) == (False, False)
    assert message in answer.error
    assert f"{len(event([make_record(1)])):,} bytes" in answer.error


def test_the_largest_batch_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    record = make_record(1)
    record = make_record(1, size_bytes=MAX_EVENT_BYTES - len(event([record])))
    assert len(event([record])) == LambdaTarget.max_payload_bytes == 6 * 1024 * 1024 - 1

    async def work() -> None:
        async with lambda_stub() as stub:
            monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.endpoint_url)
            async with LambdaTarget(Aws(), function_name("f"), run="r") as target:
                assert (await target.attempt([record])).ok
            assert len(stub.invocations[0].body) == MAX_EVENT_BYTES

    run(work())


@pytest.mark.parametrize("status", [500, 502, 503, 408, 409, 410])
def test_a_fault_is_a_failed_attempt(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stub, answers = run(attempts(monkeypatch, refuse(status, "ServiceException", "down"), Say(), count=2))
    assert [(a.ok, a.throttled, a.wait_s) for a in answers] == [(False, False, 0.0), (True, False, 0.0)]
    assert "down" in answers[0].error
    assert len(stub.invocations) == 2, "the target makes one attempt, and leaves the next to who called"


def test_after_a_time_out_the_function_is_let_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    stub, [hung, good] = run(attempts(monkeypatch, Hang(), Say(), count=2, timeout_s=0.3, function_timeout_s=100))
    assert not hung.ok
    assert 100 + MARGIN_S - 30 < hung.wait_s < 100 + MARGIN_S - 0.2
    assert good.ok
    assert len(stub.invocations) == 2


def test_the_own_time_out_is_above_the_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restrike.targets.lambda_.target.MARGIN_S", 0.5)
    _, [late, hung] = run(attempts(monkeypatch, Say(after_s=1.1), Hang(), count=2, function_timeout_s=1))
    assert late.ok, "it came after the function's own time-out, and was still waited for"
    assert (hung.ok, hung.wait_s) == (False, 0.0), "the time has passed already"


def test_a_cut_connection_leaves_the_function_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    _, [cut, good] = run(attempts(monkeypatch, Reset(), Say(), count=2))
    assert (cut.ok, good.ok) == (False, True)
    assert 0 < cut.wait_s <= 3 + MARGIN_S


def test_without_a_connection_nothing_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> Answer:
        async with lambda_stub() as stub:
            monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.endpoint_url)
            target = LambdaTarget(Aws(), function_name("f"), run="r")
            await target.__aenter__()
        try:
            return await target.attempt([make_record(1)])
        finally:
            await target.__aexit__(None, None, None)

    answer = run(work())
    assert (answer.ok, answer.wait_s) == (False, 0.0)
    assert "no answer" in answer.error


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (refuse(404, "ResourceNotFoundException", "Function not found"), NotFound),
        (refuse(403, "AccessDeniedException", "not authorized to perform: lambda:InvokeFunction"), AccessDenied),
        (refuse(403, "UnrecognizedClientException", "The security token is invalid"), BadCredentials),
        (refuse(400, "InvalidRequestContentException", "Could not parse"), RestrikeError),
        (Say(status=302, headers={"Location": "http://127.0.0.1:9/"}), RestrikeError),
    ],
)
def test_what_would_fail_with_every_batch_ends_the_run(
    refusal: Say, kind: type[RestrikeError], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(kind) as caught:
        run(attempts(monkeypatch, refusal))
    assert "Invoke" in caught.value.message


def test_an_expired_token_is_renewed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    expired = refuse(403, "ExpiredTokenException", "The security token included in the request is expired")
    stub, [answer] = run(attempts(monkeypatch, expired, Say()))
    assert answer.ok
    assert len(stub.invocations) == 2
    with pytest.raises(BadCredentials):
        run(attempts(monkeypatch, expired))


def test_who_may_not_look_waits_for_the_longest_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    may_not = refuse(403, "AccessDeniedException", "not authorized to perform: lambda:GetFunctionConfiguration")
    _, [hung] = run(attempts(monkeypatch, Hang(), configuration=may_not, timeout_s=0.2))
    assert 900 < hung.wait_s <= 900 + MARGIN_S


def test_lanes_are_invoked_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> int:
        async with lambda_stub(Say(after_s=0.2)) as stub:
            monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.endpoint_url)
            async with LambdaTarget(Aws(), function_name("f"), run="r", lanes=8) as target:
                answers = await asyncio.gather(*[target.attempt([make_record(n)]) for n in range(8)])
            assert all(answer.ok for answer in answers)
            return stub.most_under_way

    assert run(work()) == 8


def test_a_silent_connection_is_kept_alive() -> None:
    """A NAT gateway forgets a connection without traffic after 350 s, and a function may take 900 s."""
    with _kept_alive((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle = "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"
        assert made.getsockopt(socket.IPPROTO_TCP, getattr(socket, idle)) == 60


def test_a_table_on_this_machine_does_not_lead_to_a_function_in_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:8000")
    with pytest.raises(UsageError, match="on this machine"):
        LambdaTarget(Aws(), function_name("f"), run="r")


def test_a_plan_on_this_machine_asks_no_account_for_a_mapping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "records.jsonl"
    source.write_bytes(make_record(1).raw)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing leaves this machine, whatever is asked
    with caplog.at_level(logging.DEBUG, "restrike.aws"), pytest.raises(UsageError) as caught:
        restrike.replay(f"jsonl:{source}", "lambda:orders", ledger=str(tmp_path / "l.db"))
    assert "AWS_ENDPOINT_URL_LAMBDA" in caught.value.hint
    assert not [each for each in caplog.messages if "Lambda" in each]


def test_a_function_of_another_region_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        LambdaTarget(Aws(), function_name(ARN.replace("us-east-1", "eu-west-1")), run="r")
    assert "--region eu-west-1" in caught.value.hint
