"""Filters of records: `--key`, and what is told of what did not pass."""

from __future__ import annotations

from typing import Any

import pytest

from restrike.errors import UsageError
from restrike.model.record import Record, read_record
from restrike.model.window import Window
from restrike.replaying.filters import FilterRequest, RecordFilter, key_filter
from tests.change_records import make_record

COMPOSITE = b'{"pk":{"S":"a/b"},"sk":{"S":"c/d"}}'


@pytest.mark.parametrize(
    ("keys", "wanted", "found"),
    [
        (COMPOSITE, "a/b/c/d", True),
        (COMPOSITE, "a/b", True),
        (COMPOSITE, "c/d", True),
        (COMPOSITE, "a", False),
        (COMPOSITE, "a/b/c", False),
        (b'{"pk":{"S":"a"},"sk":{"N":"7"}}', "a/7", True),
        (b'{"sk":{"N":"7"},"pk":{"S":"a"}}', "a/7", True),
        (b'{"pk":{"S":"a/7"}}', "a/7", True),
        (b'{"pk":{"S":"a"}}', "a/7", False),
    ],
)
def test_a_key_may_hold_slashes(keys: bytes, wanted: str, found: bool) -> None:
    passes = key_filter(FilterRequest(key=wanted))
    assert passes is not None
    assert passes(keys) is found


def told(request: FilterRequest, window: Window | None = None) -> str:
    """Of ten records of ten items, a second apart."""
    record_filter = RecordFilter(request, window or Window())
    for place in range(10):
        record_filter.passes(make_record(place))
    return record_filter.told()


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"event": "REMOVE"}, "0 of 10 records passed: 10 are not REMOVE"),
        ({"key": "custmer"}, "0 of 10 records passed: 10 have not the key custmer"),
        ({"key": "k3"}, "1 of 10 records passed: 9 have not the key k3"),
        (
            {"where": "NewImage.total > `1`"},
            "0 of 10 records passed: 10 do not match --where; "
            "`NewImage` is not at the top of a record: `dynamodb.NewImage`",
        ),
        (
            {"where": "dynamodb.SizeBytes > '1'"},
            "0 of 10 records passed: 10 do not match --where; --where compared a number with a text 10 times",
        ),
        (
            {"pattern": '{"dynamodb": {"NewImage": {"filing": {"S": [{"exists": true}]}, "pk": {"S": ["k1"]}}}}'},
            "0 of 10 records passed: 10 do not match --pattern; no record has dynamodb.NewImage.filing.S",
        ),
        ({"pattern": '{"eventName": ["REMOVE"]}'}, "0 of 10 records passed: 10 do not match --pattern"),
        (
            {"pattern": '{"dynamodb": {"NewImage": {"gone": [{"exists": false}]}}, "eventName": ["REMOVE"]}'},
            "0 of 10 records passed: 10 do not match --pattern",
        ),
    ],
)
def test_what_did_not_pass_is_told_with_why(request_: dict[str, Any], said: str) -> None:
    assert told(FilterRequest(**request_)) == said


def test_reasons_are_counted_one_by_one() -> None:
    window = Window(1_700_000_002, None)
    assert told(FilterRequest(key="k5"), window) == (
        "1 of 10 records passed: 2 are outside of the window, 7 have not the key k5"
    )


def test_a_pattern_that_asks_for_nothing_is_refused() -> None:
    for pattern in ("[]", "{}", '{"Filters": []}'):
        with pytest.raises(UsageError, match="asks for nothing"):
            RecordFilter(FilterRequest(pattern=pattern), Window())


def test_keys_that_are_none_have_no_item() -> None:
    odd = b'{"eventName":"INSERT","dynamodb":{"Keys":%s,"SequenceNumber":"1"}}'
    record_filter = RecordFilter(FilterRequest(key="a"), Window())
    for keys in (b"5", b'{"a":{}}', b'{"a":5}', b"[]"):
        record: Record = read_record(odd % keys, shard="s", place=1, stream_arn="", fidelity="exact")
        assert not record_filter.passes(record)


def test_a_record_that_takes_too_many_steps_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restrike.replaying.where.MAX_STEPS", 3)
    chooses = RecordFilter(FilterRequest(where="dynamodb.NewImage.a.b.c"), Window())
    with pytest.raises(UsageError) as caught:
        chooses.passes(make_record(7))
    assert caught.value.message.endswith(f"steps on one record (7 of {make_record(7).shard})")
