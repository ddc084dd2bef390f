"""Records against the shapes that Lambda receives and GetRecords answers; the samples are our own, in AWS's form."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restrike.model.record import Record, created_seconds, event, images, read_record

ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/ExampleTable/stream/2015-06-27T00:48:05.899"


def change(name: str, number: int, **images: dict[str, Any]) -> dict[str, Any]:
    return {
        "eventID": f"{number:032x}",
        "eventName": name,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_479_499_740 + number,
            "Keys": {"Id": {"N": str(100 + number)}},
            **images,
            "SequenceNumber": f"{number}00000000000000000000",
            "SizeBytes": 26,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": ARN,
    }


NEW = {"Message": {"S": "New item!"}, "Id": {"N": "101"}}
OLD = {"Message": {"S": "Old item."}, "Id": {"N": "101"}}
LAMBDA_EVENT = {
    "Records": [
        change("INSERT", 1, NewImage=NEW),
        change("MODIFY", 2, NewImage=NEW, OldImage=OLD),
        change("REMOVE", 3, OldImage=OLD),
    ]
}
"""The three changes of an event as the developer guide shows it: INSERT without OldImage, REMOVE without NewImage."""


def read(record: object, **options: Any) -> Record:
    raw = record if isinstance(record, bytes) else json.dumps(record, separators=(",", ":")).encode()
    settings = {"shard": "s", "place": None, "stream_arn": "another", "fidelity": "exact"} | options
    return read_record(raw, **settings)


def test_a_lambda_event_goes_through_byte_for_byte() -> None:
    records = [read(each) for each in LAMBDA_EVENT["Records"]]
    text = json.dumps(LAMBDA_EVENT, separators=(",", ":")).encode()
    assert event(records) == text
    assert [record.event_name for record in records] == ["INSERT", "MODIFY", "REMOVE"]
    assert [record.place for record in records] == [10**20, 2 * 10**20, 3 * 10**20]
    assert [json.loads(record.keys) for record in records] == [{"Id": {"N": str(n)}} for n in (101, 102, 103)]
    assert {record.stream_arn for record in records} == {ARN}
    assert [record.created_s for record in records] == [1_479_499_741, 1_479_499_742, 1_479_499_743]
    assert [(images(each).new_image, images(each).old_image) for each in records] == [
        (NEW, None), (NEW, OLD), (None, OLD),
    ]  # fmt: skip


def test_what_get_records_answers_becomes_what_lambda_receives() -> None:
    """The wire has no eventSourceARN; the rest is the same bytes."""
    answered = change("MODIFY", 2, NewImage=NEW, OldImage=OLD)
    del answered["eventSourceARN"]
    raw = json.dumps(answered).encode()
    record = read(raw, stream_arn=ARN)
    assert record.raw == raw[:-1] + b',"eventSourceARN":"' + ARN.encode() + b'"}'
    assert json.loads(record.raw) == answered | {"eventSourceARN": ARN}
    assert record.stream_arn == ARN


@pytest.mark.parametrize(
    "identity",
    [
        {"type": "Service", "principalId": "dynamodb.amazonaws.com"},
        {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"},
    ],
    ids=["as Lambda spells it", "as the API spells it"],
)
@pytest.mark.parametrize("with_arn", [True, False])
def test_the_user_identity_of_a_ttl_delete(identity: dict[str, str], with_arn: bool) -> None:
    deleted = change("REMOVE", 3, OldImage=OLD) | {"userIdentity": identity}
    if not with_arn:
        del deleted["eventSourceARN"]
    record = read(deleted, stream_arn=ARN)
    found = json.loads(record.raw)
    assert found["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    assert found == change("REMOVE", 3, OldImage=OLD) | {"userIdentity": found["userIdentity"]}
    # The images' bytes are not made anew.
    text = json.dumps(OLD, separators=(",", ":")).encode()
    assert b'"OldImage":' + text in record.raw


def test_an_identity_that_lambda_would_spell_so_is_left_alone() -> None:
    given = change("INSERT", 1, NewImage=NEW) | {"userIdentity": {"type": "X", "principalId": "p", "more": 1}}
    assert json.loads(read(given).raw) == given
    absent: dict[str, Any] = change("INSERT", 1, NewImage=NEW) | {"userIdentity": None}
    assert json.loads(read(absent).raw) == absent


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1479499740", 1_479_499_740.0),
        ("1479499740.0", 1_479_499_740.0),
        ("1.47949974E9", 1_479_499_740.0),
        ("1479499740.123", 1_479_499_740.123),
        ("1479499740123", 1_479_499_740.123),
        ('"2016-11-18T20:09:00Z"', 1_479_499_740.0),
        ('"2016-11-18T20:09:00+00:00"', 1_479_499_740.0),
        ('"2016-11-18T21:09:00+01:00"', 1_479_499_740.0),
    ],
)
def test_the_forms_of_the_creation_time(text: str, seconds: float) -> None:
    raw = b'{"eventName":"INSERT","dynamodb":{"ApproximateCreationDateTime":%b,"Keys":{},"SequenceNumber":"1"}}'
    record = read(raw % text.encode())
    assert record.created_s == pytest.approx(seconds, abs=1e-6)
    assert text.encode() in record.raw, "it goes on as it came"


def test_a_time_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="isoformat"):
        created_seconds("yesterday")


@pytest.mark.parametrize(
    "bad", [b"{}", b"[]", b"1", b"", b'{"dynamodb":{}}', b'{"dynamodb":{"Keys":{}', b'{"dynamodb":{"Keys":{}}} {}']
)
def test_what_is_no_record_is_an_error(bad: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        read(bad)


def test_a_place_that_is_given_takes_the_place_of_the_sequence_number() -> None:
    assert read(change("INSERT", 1), place=17).place == 17


def test_keys_are_the_bytes_as_they_stand() -> None:
    keys = b'{ "pk" : {"S":"\\u00e9 \xc3\xa9"},"sk":{"N":"1.50"} }'
    record = read(b'{"dynamodb":{"SequenceNumber":"5","Keys":%b}}' % keys)
    assert record.keys == keys
    assert b'"Keys":' + keys in record.raw


def test_an_empty_event() -> None:
    assert event([]) == b'{"Records":[]}'


TYPED = st.recursive(
    st.builds(lambda text: {"S": text}, st.text())
    | st.builds(lambda number: {"N": str(number)}, st.integers(-(10**38), 10**38))
    | st.just({"NULL": True})
    | st.builds(lambda flag: {"BOOL": flag}, st.booleans())
    | st.builds(lambda texts: {"SS": texts}, st.lists(st.text(), min_size=1)),
    lambda inner: (
        st.builds(lambda items: {"L": items}, st.lists(inner))
        | st.builds(lambda members: {"M": members}, st.dictionaries(st.text(), inner))
    ),
    max_leaves=10,
)
IMAGES = st.dictionaries(st.text(), TYPED, max_size=4)


@given(IMAGES, st.booleans(), st.booleans(), st.sampled_from([(",", ":"), (", ", ": ")]))
def test_any_image_stays_as_it_is(
    image: dict[str, Any], ascii_only: bool, arn: bool, separators: tuple[str, str]
) -> None:
    given = change("MODIFY", 2, NewImage=image, OldImage=image)
    if not arn:
        del given["eventSourceARN"]
    raw = json.dumps(given, ensure_ascii=ascii_only, separators=separators).encode("utf-8", "surrogatepass")
    record = read(raw, stream_arn=ARN)
    assert record.raw == raw if arn else record.raw.startswith(raw[:-1])
    assert json.loads(record.raw)["eventSourceARN"] == ARN
    assert images(record).new_image == images(record).old_image == image
