"""Which key attributes hold dates, by some of their values."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from restrike.model.dates import DAY_S, MONTH_S, Form, Role, form_of, length_s, seconds_of
from restrike.model.table import KeyType

NOW_S = datetime(2026, 11, 26, tzinfo=UTC).timestamp()
DAY = datetime(2021, 1, 22, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("kind", "values", "role", "form", "first_s"),
    [
        ("S", ["2021-01-22", "2021-01-23"], "partition", "day", DAY),
        ("S", ["20210122"], "partition", "day", DAY),
        ("S", ["2021/01/22"], "partition", "day", DAY),
        ("N", ["20210122"], "partition", "day", DAY),
        ("S", ["2021-01"], "partition", "month", DAY - 21 * DAY_S),
        ("N", ["202101"], "partition", "month", DAY - 21 * DAY_S),
        ("S", ["2021-01-22T10"], "partition", "hour", DAY),
        ("N", ["2021012210"], "partition", "hour", DAY),
        ("S", ["2021-01-22T10:00:00Z"], "sort", "iso", DAY),
        ("S", ["2021-01-22 10:00"], "partition", "iso", DAY),
        ("S", ["2021-01-22#7"], "sort", "day", DAY),
        ("N", ["1611309600"], "sort", "epoch s", 1_611_309_600),
        ("N", ["1611309600.5"], "sort", "epoch s", 1_611_309_600.5),
        ("N", ["1611309600500"], "sort", "epoch ms", 1_611_309_600.5),
        ("N", ["1611309600"], "partition", "epoch s", 1_611_309_600),
    ],
)
def test_dates(kind: KeyType, values: list[str], role: Role, form: Form, first_s: float) -> None:
    assert form_of(kind, values, role, NOW_S) == form
    assert seconds_of(form, values[0]) == pytest.approx(first_s)


@pytest.mark.parametrize(
    ("kind", "values", "role"),
    [
        ("S", [], "partition"),
        ("S", ["open"], "partition"),
        ("S", ["2021-01-22", "open"], "partition"),
        ("S", ["2021-01-22", "2021-01"], "partition"),
        ("S", ["2021-01-22#7"], "partition"),  # no value that a day alone would find
        ("S", ["123405"], "partition"),  # May of the year 1234
        ("S", ["1611309600"], "sort"),  # a number as text: no range of days finds it
        ("N", ["20210122"], "sort"),  # a range of days is a range of epochs there
        ("N", ["42"], "sort"),
        ("N", ["3000000000"], "sort"),  # too far ahead for a time
        ("B", ["2021-01-22"], "partition"),
    ],
)
def test_no_dates(kind: KeyType, values: list[str], role: Role) -> None:
    assert form_of(kind, values, role, NOW_S) == ""


def test_what_one_value_stands_for() -> None:
    assert (length_s("day"), length_s("month"), length_s("epoch s")) == (DAY_S, MONTH_S, DAY_S)
    assert seconds_of("day", "open") is None
    assert seconds_of("epoch s", "open") is None
