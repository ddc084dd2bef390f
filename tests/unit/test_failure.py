"""Messages of what was given up: every form is read, and what is none is data with a reason."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restrike.model.failure import Failure, Untaken, message_of, messages_in, read_failure
from tests.change_records import STREAM_ARN, make_record
from tests.failure_messages import ASYNCHRONOUS, KINESIS, LAMBDA, PIPE, in_sns, in_sqs, message

RECORDS = [json.loads(make_record(place).raw) for place in (7, 8, 9)]
WITH_PAYLOAD = message(RECORDS, shard="shardId-1", stream_arn=STREAM_ARN, payload=True)


def read(body: Any) -> Failure:
    found = read_failure(json.dumps(body).encode())
    assert isinstance(found, Failure), found
    return found


def refused(body: Any) -> str:
    found = read_failure(json.dumps(body).encode())
    assert isinstance(found, Untaken), found
    return found.why


def test_lambdas_message() -> None:
    found = read(LAMBDA)
    pointer = found.pointer
    assert (found.kind, found.condition, found.payload) == ("mapping", "RetryAttemptsExhausted", None)
    assert found.function == LAMBDA["requestContext"]["functionArn"]
    assert found.failed_s == 1573690429.717
    assert (pointer.first, pointer.last, pointer.records) == (800000000003126276362, 800000000003126276362, 1)
    assert (pointer.region, pointer.account, pointer.table) == ("us-east-2", "123456789012", "mytable")
    assert pointer.first_s == pointer.last_s == 1573690399.0


def test_a_pipes_dead_letter_names_no_function() -> None:
    found = read(PIPE)
    assert (found.kind, found.function, found.pointer.table) == ("pipe", None, "dev-application-domain")


@pytest.mark.parametrize(
    "wrapped",
    [in_sqs(LAMBDA), in_sns(LAMBDA), in_sqs(in_sns(LAMBDA)), {"messageId": "1", "body": json.dumps(LAMBDA)}],
    ids=["SQS", "SNS", "SNS in SQS", "SQS as Lambda gets it"],
)
def test_wrappings_are_taken_off(wrapped: Any) -> None:
    assert read(wrapped) == read(LAMBDA)


def test_a_payload_as_text_and_as_an_object() -> None:
    as_object = {**WITH_PAYLOAD, "payload": json.loads(WITH_PAYLOAD["payload"])}
    for body in (WITH_PAYLOAD, as_object):
        found = read(body)
        assert found.payload is not None
        assert [each.place for each in found.payload] == [7, 8, 9]
        assert [json.loads(each.raw) for each in found.payload] == RECORDS


def test_without_what_may_be_left_out() -> None:
    body = copy.deepcopy(LAMBDA)
    del body["responseContext"], body["timestamp"], body["requestContext"]["functionArn"]
    for name in ("approximateArrivalOfFirstRecord", "approximateArrivalOfLastRecord", "batchSize"):
        del body["DDBStreamBatchInfo"][name]
    found = read(body)
    assert (found.function, found.failed_s, found.pointer.first_s, found.pointer.records) == (None, None, None, 0)
    qualified = copy.deepcopy(LAMBDA)
    qualified["requestContext"]["functionArn"] += ":live"
    qualified["responseContext"]["functionError"] = None
    assert read(qualified).function == "arn:aws:lambda:us-east-2:123456789012:function:myfunction:live"


def changed(body: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {**body, "DDBStreamBatchInfo": {**body["DDBStreamBatchInfo"], **members}}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (ASYNCHRONOUS, "asynchronous invocation"),
        (KINESIS, "another kind of source: Kinesis"),
        ({**LAMBDA, "version": "2.0"}, "version '2.0'"),
        ({"hello": "world"}, "no DDBStreamBatchInfo"),
        ({"Records": RECORDS}, "jsonl:PATH"),
        (["a", "b"], "no JSON object"),
        ("text", "no JSON object"),
        (7, "no JSON object"),
        (changed(PIPE, endSequenceNumber="1"), "is before its startSequenceNumber"),
        # Compared as numbers: as text the end would come first.
        (changed(LAMBDA, startSequenceNumber="99", endSequenceNumber="8"), "8 is before its startSequenceNumber 99"),
        (changed(LAMBDA, streamArn="arn:aws:dynamodb:us-east-1:1:table/t/stream/s"), "streamArn"),
        (changed(LAMBDA, streamArn="arn:aws:kinesis:us-east-1:123456789012:stream/s"), "streamArn"),
        (changed(LAMBDA, streamArn=LAMBDA["DDBStreamBatchInfo"]["streamArn"] + "\n"), "streamArn"),
        (changed(LAMBDA, shardId="../x"), "shardId"),
        (changed(LAMBDA, startSequenceNumber="-1"), "sequence numbers"),
        (changed(LAMBDA, startSequenceNumber="٣"), "sequence numbers"),
        (changed(LAMBDA, startSequenceNumber="1" * 41), "sequence numbers"),
        (changed(LAMBDA, startSequenceNumber=5), "not what Lambda writes"),
        ({**LAMBDA, "DDBStreamBatchInfo": None}, "not what Lambda writes"),
        ({**LAMBDA, "requestContext": {"functionArn": "https://example.com"}}, "functionArn"),
        ({**WITH_PAYLOAD, "payload": "{"}, "not what Lambda writes"),
        ({**WITH_PAYLOAD, "payload": "[]"}, "not what Lambda writes"),
        ({**WITH_PAYLOAD, "payload": {"Records": []}}, "no records"),
        ({**WITH_PAYLOAD, "payload": {"Records": [{"body": "x"}]}}, "not what Lambda writes"),
        ({**changed(WITH_PAYLOAD, endSequenceNumber="8")}, "something else than what it points at"),
        (in_sqs(in_sqs(in_sqs(in_sqs(in_sqs(LAMBDA))))), "wrapped too many times"),
    ],
)
def test_what_is_not_taken_says_why(body: Any, why: str) -> None:
    assert why in refused(body)


def test_a_payload_of_another_stream_is_a_strangers() -> None:
    other = [{**each, "eventSourceARN": STREAM_ARN.replace("/t/", "/u/")} for each in RECORDS]
    body = {**WITH_PAYLOAD, "payload": {"Records": other}}
    assert "something else than what it points at" in refused(body)


@pytest.mark.parametrize(
    "change",
    [
        {"eventName": None},
        {"eventName": "DROP"},
        {"dynamodb": {"Keys": None}},
        {"dynamodb": {"Keys": []}},
        {"dynamodb": {"NewImage": 5}},
        {"dynamodb": {"NewImage": {"a": 5}}},
        {"dynamodb": {"ApproximateCreationDateTime": "x"}},
        {"dynamodb": {"ApproximateCreationDateTime": -1}},
        {"dynamodb": {"ApproximateCreationDateTime": 1e10}},
        {"dynamodb": {"ApproximateCreationDateTime": "9999-12-31T23:59:59Z"}},
    ],
    ids=str,
)
def test_a_payload_that_cannot_be_delivered_is_told_when_it_is_read(change: dict[str, Any]) -> None:
    """A run ended in the middle for it."""
    bad = copy.deepcopy(RECORDS[1])
    for name, value in change.items():
        bad[name] = bad[name] | value if isinstance(value, dict) else value
    for inner in (bad, bad["dynamodb"]):
        for name in [name for name, value in inner.items() if value is None]:
            del inner[name]
    assert "no record of DynamoDB's" in refused({**WITH_PAYLOAD, "payload": {"Records": [RECORDS[0], bad, RECORDS[2]]}})


def test_a_payload_over_several_lines_is_a_line_a_record() -> None:
    """As `jq .` prints it: files of records, and what a rescue writes, are of lines."""
    body = {**WITH_PAYLOAD, "payload": json.loads(WITH_PAYLOAD["payload"])}
    found = read_failure(json.dumps(body, indent=2).encode())
    assert isinstance(found, Failure)
    assert found.payload is not None
    assert [json.loads(each.raw) for each in found.payload] == RECORDS
    assert not any(b"\n" in each.raw for each in found.payload)
    assert b"\n" not in message_of(found)


@pytest.mark.parametrize("size", [-5, 10_001, 10**30])
def test_no_batch_is_of_that_size(size: int) -> None:
    body = copy.deepcopy(LAMBDA)
    body["DDBStreamBatchInfo"]["batchSize"] = size
    assert 0 <= read(body).pointer.records <= 10_000


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "1969-12-31T00:00:00Z", "9999-12-31T23:59:59Z", "soon"])
def test_a_time_that_is_none_is_not_told(time: str) -> None:
    """What is reckoned with it (24 hours more) must be a time, too."""
    body = {**copy.deepcopy(LAMBDA), "timestamp": time}
    for name in ("approximateArrivalOfFirstRecord", "approximateArrivalOfLastRecord"):
        body["DDBStreamBatchInfo"][name] = time
    found = read(body)
    assert (found.failed_s, found.pointer.first_s, found.pointer.last_s) == (None, None, None)


def test_the_messages_of_a_file() -> None:
    one, two = json.dumps(LAMBDA).encode(), json.dumps(PIPE).encode()
    pretty = json.dumps(LAMBDA, indent=2).encode()
    assert messages_in(one) == [one]
    assert messages_in(pretty) == [pretty]
    assert messages_in(one + b"\n\n" + two + b"\r\n") == [one, two]
    assert messages_in(b"[" + one + b"," + two + b"]") == [one, two]
    received = json.dumps({"Messages": [in_sqs(LAMBDA), in_sqs(PIPE)]}).encode()
    assert [read_failure(each) for each in messages_in(received)] == [read_failure(one), read_failure(two)]
    assert messages_in(b"") == []
    assert [type(read_failure(each)) for each in messages_in(one + b"\nbroken\n" + two)] == [Failure, Untaken, Failure]


@pytest.mark.parametrize("body", [LAMBDA, PIPE, WITH_PAYLOAD])
def test_what_is_written_is_read_again(body: dict[str, Any]) -> None:
    found = read(body)
    assert read_failure(message_of(found)) == found


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def paths(value: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return [at]
    return [at, *(path for name, inner in value.items() for path in paths(inner, (*at, name)))]


@given(st.data())
def test_whatever_a_stranger_writes_is_data(data: st.DataObject) -> None:
    """Any member replaced by anything: it is read or refused, never an error of ours, and names what it must."""
    body = copy.deepcopy(data.draw(st.sampled_from([LAMBDA, PIPE, WITH_PAYLOAD])))
    path = data.draw(st.sampled_from(paths(body)))
    wrap = data.draw(st.sampled_from([lambda each: each, in_sqs, in_sns]))
    value = data.draw(JSON)
    if path:
        inner = body
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value
    else:
        body = value
    found = read_failure(json.dumps(wrap(body)).encode())
    if isinstance(found, Failure):
        assert 0 <= found.pointer.first <= found.pointer.last < 10**40
        assert found.pointer.table
        assert 0 <= found.pointer.records <= 10_000
    else:
        assert found.why


@given(st.binary(max_size=60))
def test_whatever_bytes_are_data(text: bytes) -> None:
    for each in messages_in(text):
        assert isinstance(read_failure(each), Untaken)
