"""Moments as they are told to people and in JSON: ISO 8601 in UTC, with a Z."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(epoch_s: float, timespec: str = "seconds") -> str:
    """`2021-01-22T10:00:00Z`. `timespec` as in `datetime.isoformat`: `auto` shows a fraction where there is one."""
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def iso_or_none(epoch_s: float | None) -> str | None:
    """The same with its fraction, or None where the moment is not known."""
    return None if epoch_s is None else iso(epoch_s, "auto")
