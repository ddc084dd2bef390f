"""The fault proxy does what its script says: tests that rely on it would otherwise pass for the wrong reason."""

from __future__ import annotations

import http.client
import json
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.servers.faults import (
    AccessDenied,
    Altered,
    ErrorAfterApply,
    ExpiredIterator,
    Fault,
    GarbageBody,
    HangAfterApply,
    Proxy,
    Refuse,
    RefuseReturning,
    ResetAfterApply,
    ResetBefore,
    ServerError,
    Slow,
    Throttle,
    ThrottleStatements,
    Trimmed,
    TruncateBody,
    WithoutItem,
    faulty,
)

Body = dict[str, Any]
INDEX_ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/T/index/I"


@dataclass
class Engine:
    """Answers what it was asked, and remembers what it applied."""

    url: str
    applied: list[tuple[str, Body]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@dataclass
class Answer:
    status: int
    raw: bytes
    headers: dict[str, str]

    @property
    def body(self) -> Body:
        return cast(Body, json.loads(self.raw))

    @property
    def code(self) -> str:
        return str(self.body["__type"]).rpartition("#")[2]


def answered(statement: str) -> Body:
    item = {"is": {"S": statement}}
    return {"Error": {"Code": "ConditionalCheckFailed", "Item": item}} if statement == "refused" else {"Item": item}


@pytest.fixture
def engine() -> Iterator[Engine]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes: 40 ms of delayed ACK apart

        def do_POST(self) -> None:
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            started.applied.append((operation, body))
            started.headers.append({k.lower(): v for k, v in self.headers.items()})
            answer = {"Responses": [answered(s["Statement"]) for s in body.get("Statements", ())]}
            raw = json.dumps(answer if "Statements" in body else {"echo": body, "operation": operation}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(raw)))
            self.send_header("x-amz-crc32", "1")  # wrong on purpose: the proxy must not pass it on
            self.send_header("Keep-Alive", "timeout=5")
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    started = Engine(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield started
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def send(proxy: Proxy, operation: str, body: Body | None = None, *, timeout_s: float = 5) -> Answer:
    host = proxy.endpoint_url.removeprefix("http://")
    with closing(http.client.HTTPConnection(host, timeout=timeout_s)) as connection:
        headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}", "Connection": "close, X-Mine", "X-Mine": "1"}
        connection.request("POST", "/", json.dumps(body or {}), headers)
        response = connection.getresponse()
        return Answer(response.status, response.read(), {k.lower(): v for k, v in response.getheaders()})


def batch(*statements: str) -> Body:
    return {"Statements": [{"Statement": s} for s in statements]}


def test_forwards_unharmed_without_faults(engine: Engine) -> None:
    with faulty(engine.url) as proxy:
        answer = send(proxy, "Scan", {"TableName": "T"})
        assert answer.body == {"echo": {"TableName": "T"}, "operation": "Scan"}
        assert answer.headers["x-amz-crc32"] == str(zlib.crc32(answer.raw))
        assert "keep-alive" not in answer.headers
        assert engine.headers[0]["host"] == engine.url.removeprefix("http://")
        assert "x-mine" not in engine.headers[0]
    assert proxy.requests == [("Scan", {"TableName": "T"})]
    assert (proxy.count("Scan"), proxy.count("Query"), proxy.count(), proxy.forwarded(), proxy.fired()) == (
        1,
        0,
        1,
        1,
        0,
    )


@pytest.mark.parametrize(
    ("fault", "acts"),
    [
        (ServerError("Scan"), [1, 1, 1, 1, 1, 1]),
        (ServerError("Scan", times=2), [1, 1, 0, 0, 0, 0]),
        (ServerError("Scan", every=3), [0, 0, 1, 0, 0, 1]),
        (ServerError("Scan", skip=2, times=1), [0, 0, 1, 0, 0, 0]),
        (ServerError("Scan", skip=1, every=2, times=2), [0, 0, 1, 0, 1, 0]),
        (ServerError("Scan", when=lambda body: body["n"] in (1, 4)), [0, 1, 0, 0, 1, 0]),
        (ServerError(("Query", "Scan"), times=1), [1, 0, 0, 0, 0, 0]),
        (ServerError(), [1, 1, 1, 1, 1, 1]),
        (ServerError("Query"), [0, 0, 0, 0, 0, 0]),
    ],
)
def test_acts_when_due(engine: Engine, fault: Fault, acts: list[int]) -> None:
    with faulty(engine.url, [fault]) as proxy:
        assert [send(proxy, "Scan", {"n": n}).status for n in range(6)] == [500 if a else 200 for a in acts]
    assert proxy.fired("Scan") == proxy.fired(ServerError) == sum(acts)
    assert proxy.forwarded("Scan") == len(engine.applied) == 6 - sum(acts)


def test_probability_follows_the_seed(engine: Engine) -> None:
    def statuses(seed: int) -> list[int]:
        with faulty(engine.url, [ServerError("Scan", probability=0.5)], seed=seed) as proxy:
            return [send(proxy, "Scan").status for _ in range(24)]

    first = statuses(1)
    assert set(first) == {200, 500}
    assert statuses(1) == first
    assert statuses(2) != first


def test_first_due_fault_acts_and_a_script_can_be_replaced(engine: Engine) -> None:
    with faulty(engine.url, [ServerError("Scan", times=1, status=503), AccessDenied("Scan")]) as proxy:
        assert [send(proxy, "Scan").status for _ in range(2)] == [503, 400]
        proxy.script([])
        assert send(proxy, "Scan").status == 200
    assert (proxy.fired(ServerError), proxy.fired(AccessDenied), proxy.fired(Fault)) == (1, 1, 2)


@pytest.mark.parametrize(
    ("fault", "operation", "code"),
    [
        (Throttle(), "Scan", "ProvisionedThroughputExceededException"),
        (Throttle(code="ThrottlingException"), "Scan", "ThrottlingException"),
        (Throttle(code="RequestLimitExceeded"), "Scan", "RequestLimitExceeded"),
        (ExpiredIterator(), "GetRecords", "ExpiredIteratorException"),
        (Trimmed(), "GetRecords", "TrimmedDataAccessException"),
        (Trimmed(), "GetShardIterator", "TrimmedDataAccessException"),
        (AccessDenied("DescribeTable"), "DescribeTable", "AccessDeniedException"),
        (Refuse(code="TransactionConflictException"), "UpdateItem", "TransactionConflictException"),
    ],
)
def test_refusals_reach_nobody(engine: Engine, fault: Fault, operation: str, code: str) -> None:
    with faulty(engine.url, [fault]) as proxy:
        answer = send(proxy, operation)
    assert (answer.status, answer.code, engine.applied) == (400, code, [])


@pytest.mark.parametrize(
    ("code", "member"),
    [
        ("ProvisionedThroughputExceededException", "ThrottlingReasons"),
        ("RequestLimitExceeded", "ThrottlingReasons"),
        ("ThrottlingException", "throttlingReasons"),
    ],
)
def test_botocore_reads_throttling_reasons(engine: Engine, code: Any, member: str) -> None:
    reason = "IndexWriteKeyRangeThroughputExceeded"
    with faulty(engine.url, [Throttle(code=code, reasons=[(reason, INDEX_ARN)])]) as proxy:
        client = boto3.client(
            "dynamodb",
            endpoint_url=proxy.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(retries={"total_max_attempts": 1}),
        )
        with closing(client), pytest.raises(ClientError) as caught:
            client.describe_table(TableName="T")
    response = cast(Body, caught.value.response)
    assert response["Error"]["Code"] == code
    assert response[member] == [{"reason": reason, "resource": INDEX_ARN}]


def test_throttled_statements_are_not_applied_and_order_is_kept(engine: Engine) -> None:
    with faulty(engine.url, [ThrottleStatements(indexes=[0, 2], code="TransactionConflict", times=1)]) as proxy:
        first = send(proxy, "BatchExecuteStatement", batch("a", "b", "c", "d"))
        second = send(proxy, "BatchExecuteStatement", batch("a", "c"))
    codes = [r["Error"]["Code"] if "Error" in r else r["Item"]["is"]["S"] for r in first.body["Responses"]]
    assert codes == ["TransactionConflict", "b", "TransactionConflict", "d"]
    assert [r["Item"]["is"]["S"] for r in second.body["Responses"]] == ["a", "c"]
    assert engine.applied == [("BatchExecuteStatement", batch("b", "d")), ("BatchExecuteStatement", batch("a", "c"))]
    assert first.headers["x-amz-crc32"] == str(zlib.crc32(first.raw))


def test_a_wholly_throttled_batch_is_not_forwarded(engine: Engine) -> None:
    with faulty(engine.url, [ThrottleStatements(fraction=1)]) as proxy:
        answer = send(proxy, "BatchExecuteStatement", batch("a", "b"))
    assert [r["Error"]["Code"] for r in answer.body["Responses"]] == ["ThrottlingError"] * 2
    assert engine.applied == []


def test_statements_are_told_nothing_of_what_was_throttled(engine: Engine) -> None:
    """BatchExecuteStatement has no ProvisionedThroughputExceededException: all its statements have one each."""
    fault = Throttle(reasons=[("IndexWriteKeyRangeThroughputExceeded", INDEX_ARN)])
    with faulty(engine.url, [fault]) as proxy:
        answer = send(proxy, "BatchExecuteStatement", batch("a", "b"))
    assert answer.status == 200
    assert [response["Error"]["Code"] for response in answer.body["Responses"]] == ["ProvisionedThroughputExceeded"] * 2
    assert b"easons" not in answer.raw
    assert engine.applied == []


def test_a_statement_may_be_carried_out_and_told_otherwise(engine: Engine) -> None:
    codes = {"a": "InternalServerError", "b": "ThrottlingError"}
    fault = ThrottleStatements(
        indexes=[0, 1], code=lambda each: codes[each["Statement"]], applied={"InternalServerError"}
    )
    with faulty(engine.url, [fault]) as proxy:
        responses = send(proxy, "BatchExecuteStatement", batch("a", "b", "c")).body["Responses"]
    assert [each["Error"]["Code"] if "Error" in each else each["Item"]["is"]["S"] for each in responses] == [
        "InternalServerError", "ThrottlingError", "c",
    ]  # fmt: skip
    assert engine.applied == [("BatchExecuteStatement", batch("a", "c"))]


def test_the_item_of_a_refusal_is_left_out_beside_other_faults(engine: Engine) -> None:
    with faulty(engine.url, [WithoutItem(), ThrottleStatements(indexes=[0], times=1)]) as proxy:
        responses = send(proxy, "BatchExecuteStatement", batch("a", "refused", "b")).body["Responses"]
        assert [each.get("Error", {}).get("Code") for each in responses] == [
            "ThrottlingError", "ConditionalCheckFailed", None,
        ]  # fmt: skip
        assert "Item" not in responses[1]["Error"]
        assert responses[2] == {"Item": {"is": {"S": "b"}}}
        send(proxy, "BatchExecuteStatement", batch("a"))
    assert proxy.fired(WithoutItem) == 1, "nothing was left out of the second"


def test_statements_are_chosen_by_content_or_by_share(engine: Engine) -> None:
    poison = ThrottleStatements(matching=lambda s: s["Statement"] == "b", times=1)
    with faulty(engine.url, [poison]) as proxy:
        send(proxy, "BatchExecuteStatement", batch("a"))  # chooses none, so it is not the one time
        assert proxy.fired() == 0
        answer = send(proxy, "BatchExecuteStatement", batch("a", "b"))
        assert ["Error" in r for r in answer.body["Responses"]] == [False, True]
    with faulty(engine.url, [ThrottleStatements(fraction=0.3)]) as proxy:
        answers = [send(proxy, "BatchExecuteStatement", batch(*"abcdefghijklmnopqrstuvwxy")) for _ in range(20)]
    refused = sum("Error" in r for answer in answers for r in answer.body["Responses"])
    assert 100 < refused < 200  # of 500


@pytest.mark.parametrize(("fault", "applied"), [(ServerError("Scan"), 0), (ErrorAfterApply("Scan", status=503), 1)])
def test_server_errors(engine: Engine, fault: Fault, applied: int) -> None:
    with faulty(engine.url, [fault]) as proxy:
        answer = send(proxy, "Scan")
    assert (answer.status, answer.code) == (503 if applied else 500, "InternalServerError")
    assert len(engine.applied) == applied


@pytest.mark.parametrize(("fault", "applied"), [(ResetBefore("Scan"), 0), (ResetAfterApply("Scan"), 1)])
def test_resets(engine: Engine, fault: Fault, applied: int) -> None:
    with faulty(engine.url, [fault]) as proxy, pytest.raises(ConnectionResetError):
        send(proxy, "Scan")
    assert len(engine.applied) == applied


def test_a_hanging_answer_ends_with_the_proxy(engine: Engine) -> None:
    with faulty(engine.url, [HangAfterApply("Scan", 120)]) as proxy:
        with pytest.raises(TimeoutError):
            send(proxy, "Scan", timeout_s=0.3)
        assert len(engine.applied) == 1
        began = time.monotonic()
    assert time.monotonic() - began < 100, "it hung to its end"


def test_a_hanging_answer_is_cut_at_its_own_end(engine: Engine) -> None:
    with faulty(engine.url, [HangAfterApply("Scan", 0.2)]) as proxy, pytest.raises(ConnectionResetError):
        send(proxy, "Scan")


def test_slow_is_late_and_lets_other_faults_act(engine: Engine) -> None:
    with faulty(engine.url, [Slow("Scan", 0.3), ServerError("Scan", times=1)]) as proxy:
        began = time.monotonic()
        assert send(proxy, "Scan").status == 500
        assert time.monotonic() - began >= 0.3
        assert send(proxy, "Scan").status == 200
        assert time.monotonic() - began >= 0.6
    assert (proxy.fired(Slow), proxy.fired(ServerError)) == (2, 1)


def test_a_truncated_body_was_applied(engine: Engine) -> None:
    with faulty(engine.url, [TruncateBody("Scan", times=1)]) as proxy:
        with pytest.raises(http.client.IncompleteRead) as caught:
            send(proxy, "Scan", {"TableName": "T"})
        assert caught.value.partial.startswith(b'{"echo"')
        assert len(engine.applied) == 1
        assert send(proxy, "Scan").status == 200


def test_returning_is_refused_by_request_or_by_statement(engine: Engine) -> None:
    plain, returning = 'UPDATE "T" SET "m"=?', 'UPDATE "T" SET "m"=? RETURNING MODIFIED OLD *'
    with faulty(engine.url, [RefuseReturning()]) as proxy:
        assert send(proxy, "BatchExecuteStatement", batch(plain, returning)).code == "ValidationException"
        assert send(proxy, "ExecuteStatement", {"Statement": returning}).code == "ValidationException"
        assert engine.applied == []
        assert send(proxy, "BatchExecuteStatement", batch(plain)).status == 200
    with faulty(engine.url, [RefuseReturning(per_statement=True)]) as proxy:
        responses = send(proxy, "BatchExecuteStatement", batch(plain, returning)).body["Responses"]
    assert "Error" not in responses[0]
    assert responses[1]["Error"]["Code"] == "ValidationError"
    assert "RETURNING" in responses[1]["Error"]["Message"]


@pytest.mark.parametrize("apply", [False, True])
def test_garbage(engine: Engine, apply: bool) -> None:
    with faulty(engine.url, [GarbageBody("Scan", apply=apply)]) as proxy:
        answer = send(proxy, "Scan")
    assert answer.status == 200
    assert answer.raw.startswith(b"<html>")
    assert len(engine.applied) == apply


def test_an_answer_that_is_altered(engine: Engine) -> None:
    with faulty(engine.url, [Altered("Scan", change=lambda answer: answer.update(more={"member": 1}))]) as proxy:
        answer = send(proxy, "Scan", {"TableName": "T"})
    assert answer.body == {"echo": {"TableName": "T"}, "operation": "Scan", "more": {"member": 1}}
    assert answer.headers["x-amz-crc32"] == str(zlib.crc32(answer.raw))
    assert len(engine.applied) == 1


def test_an_unreachable_engine_is_a_bad_gateway() -> None:
    with faulty("http://127.0.0.1:9") as proxy:
        assert send(proxy, "Scan").status == 502


def test_a_failing_predicate_is_raised_and_not_taken_for_a_fault(engine: Engine) -> None:
    def run() -> None:
        with faulty(engine.url, [ServerError("Scan", when=lambda body: bool(body["absent"]))]) as proxy:
            assert send(proxy, "Scan").status == 500

    with pytest.raises(RuntimeError, match="the fault proxy itself failed") as caught:
        run()
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_nonsense_script_is_refused() -> None:
    with pytest.raises(ValueError, match="every >= 1"):
        ServerError("Scan", every=0)


def test_many_connections_at_once(engine: Engine) -> None:
    with faulty(engine.url, [ServerError("Scan", every=4)]) as proxy:
        statuses: list[int] = []
        threads = [threading.Thread(target=lambda: statuses.append(send(proxy, "Scan").status)) for _ in range(32)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(10)
    assert sorted(statuses) == [200] * 24 + [500] * 8
