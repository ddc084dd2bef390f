"""Values of an item held against those of a file or another table: the item's type decides."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from restrike.errors import UsageError
from restrike.model.scalars import LONG, Spelled, encoded, of_cell, of_item, of_json, same


def compared(ours: Any, theirs: Any, of: Callable[[Any], Spelled]) -> bool | None:
    return same(encoded([of_item(ours), ("S", "x")]), encoded([of(theirs), ("=", "x")]))


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ({"N": "12"}, "12", True),
        ({"N": "12"}, "12.00", True),
        ({"N": "12"}, "1.2E1", True),
        ({"N": "12"}, " 12", True),
        ({"N": "12"}, "13", False),
        ({"N": "12"}, "twelve", False),
        ({"N": "-0.5"}, "-.5", True),
        ({"N": "0"}, "-0.0", True),
        ({"N": "12345678901234567890123456789012345678"}, "12345678901234567890123456789012345678.0", True),
        ({"N": "12345678901234567890123456789012345678"}, "12345678901234567890123456789012345679", False),
        ({"S": "12"}, "12", True),
        ({"S": "12"}, "12.0", False),
        ({"S": "a b"}, "a b", True),
        ({"S": "a"}, "a ", False),
        ({"S": "é"}, "é", True),
        ({"S": ""}, "", True),
        ({"S": "a"}, "", False),
        ({"B": "AAEC"}, "AAEC", True),
        ({"B": "AAE="}, "AAF=", True),  # bits that no byte has
        ({"B": "AAEC"}, "AAED", False),
        ({"BOOL": True}, "true", True),
        ({"BOOL": True}, "T", True),
        ({"BOOL": True}, "1", True),
        ({"BOOL": False}, "0", True),
        ({"BOOL": False}, "f", True),
        ({"BOOL": False}, "true", False),
        ({"BOOL": True}, "yes", False),
        ({"NULL": True}, "", True),
        (None, "", True),
        (None, "0", False),
        ({"NULL": True}, "NULL", False),
        ({"N": "0"}, "", False),
        ({"BOOL": False}, "", False),
        ({"S": "x" * (LONG + 1)}, "x" * (LONG + 1), True),
        ({"S": "x" * (LONG + 1)}, "x" * LONG + "y", False),
        ({"M": {}}, "x", None),
        ({"SS": ["x"]}, "x", None),
    ],
)
def test_a_cell_of_a_csv(ours: Any, theirs: str, expected: bool | None) -> None:
    assert compared(ours, theirs, of_cell) is expected


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ({"N": "12.5"}, Decimal("12.50"), True),
        ({"N": "12"}, 12, True),
        ({"N": "100000"}, Decimal("1E+5"), True),
        ({"N": "1"}, True, False),
        ({"N": "12"}, "12.0", True),
        ({"N": "12"}, {"N": "12.0"}, True),
        ({"N": "12"}, {"S": "12"}, False),
        ({"S": "12"}, {"N": "12"}, False),
        ({"S": "12"}, 12, True),
        ({"S": "true"}, True, False),
        ({"BOOL": True}, True, True),
        ({"BOOL": True}, 1, True),
        ({"BOOL": True}, {"BOOL": True}, True),
        ({"BOOL": True}, {"BOOL": False}, False),
        ({"B": "AAEC"}, {"B": "AAEC"}, True),
        ({"B": "AAEC"}, {"S": "AAEC"}, False),
        ({"NULL": True}, None, True),
        (None, None, True),
        (None, {"NULL": True}, True),
        (None, "", False),
        ({"S": ""}, "", True),
        ({"S": ""}, None, False),
        ({"S": "a"}, None, False),
    ],
)
def test_a_value_of_json(ours: Any, theirs: Any, expected: bool | None) -> None:
    assert compared(ours, theirs, of_json) is expected


@pytest.mark.parametrize(
    "value", [[1], {"a": "b"}, {"M": {}}, {"N": "secret"}, {"B": "!"}, {"S": 1}, {}, {"BOOL": "x"}]
)
def test_what_is_no_scalar_is_refused_and_not_repeated(value: Any) -> None:
    with pytest.raises(UsageError) as refused:
        of_json(value)
    assert refused.value.message == "no scalar"


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [({"N": "1"}, {"N": "1"}, True), ({"N": "1"}, {"S": "1"}, False), ({"M": {}}, {"M": {}}, None), (None, None, True)],
)
def test_another_item(ours: Any, theirs: Any, expected: bool | None) -> None:
    assert same(encoded([of_item(ours)]), encoded([of_item(theirs)])) is expected


def test_all_values_must_be_the_same() -> None:
    ours = encoded([of_item({"N": "1"}), of_item({"S": "a"})])
    assert same(ours, encoded([of_cell("1.0"), of_cell("a")])) is True
    assert same(ours, encoded([of_cell("1.0"), of_cell("b")])) is False
    assert same(encoded([]), encoded([])) is True
