"""Whether a key attribute holds dates, by some of its values, and how they are spelled there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal, DecimalException
from typing import Literal

from restrike.model.selection import recognised_format
from restrike.model.table import KeyType

Form = Literal["", "day", "month", "hour", "iso", "epoch s", "epoch ms"]
Role = Literal["", "partition", "sort"]

DAY_S = 86_400.0
MONTH_S = 30.44 * DAY_S
_EARLIEST, _LATEST = datetime(1990, 1, 1, tzinfo=UTC).timestamp(), datetime(2100, 1, 1, tzinfo=UTC).timestamp()
_EPOCH_FROM, _AHEAD_S = datetime(2001, 9, 9, tzinfo=UTC).timestamp(), 5 * 366 * DAY_S
"""Numbers of seconds that are times: of ten digits, and no further ahead of now than so."""
_HOUR = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)[T _-]?(\d\d)")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
_LENGTHS = (10, 8, 7, 6)  # of the forms that are recognised, the longest first


def form_of(kind: KeyType, values: Sequence[str], role: Role, now_s: float) -> Form:
    """The one form that all of those values have; "" where there is none, or no value.

    Of a sort key text counts that begins with a date: a range selects it. Of numbers in a sort key only epochs count.
    """
    forms = {_form(kind, value, role, now_s) for value in values}
    return forms.pop() if len(forms) == 1 else ""


def seconds_of(form: Form, value: str) -> float | None:
    """When that value begins (epoch seconds, days in UTC); None where it is not of that form."""
    if form in ("epoch s", "epoch ms"):
        number = _number(value)
        return None if number is None else number / (1000.0 if form == "epoch ms" else 1.0)
    return _beginning(value)


def length_s(form: Form) -> float:
    """How much time one value stands for: a day, where it says a moment."""
    return MONTH_S if form == "month" else DAY_S


def _form(kind: KeyType, value: str, role: Role, now_s: float) -> Form:
    if kind == "B":
        return ""
    number = _number(value) if kind == "N" else None
    if number is not None:
        for form, unit in (("epoch ms", 1000.0), ("epoch s", 1.0)):
            if _EPOCH_FROM <= number / unit <= now_s + _AHEAD_S:
                return "epoch ms" if form == "epoch ms" else "epoch s"
        if role == "sort":
            return ""
    if _beginning(value) is None:
        return ""
    told = recognised_format(value)
    if told is not None:
        return "day" if "%d" in told else "month"
    if _HOUR.fullmatch(value):
        return "hour"
    if _TIME.match(value):
        return "iso"
    return "day" if role == "sort" else ""


def _beginning(value: str) -> float | None:
    for length in _LENGTHS:
        told = recognised_format(value[:length]) if len(value) >= length else None
        if told is not None:
            begins_s = datetime.strptime(value[:length], told).replace(tzinfo=UTC).timestamp()
            return begins_s if _EARLIEST <= begins_s < _LATEST else None
    return None


def _number(value: str) -> float | None:
    try:
        return float(Decimal(value))
    except DecimalException:
        return None
