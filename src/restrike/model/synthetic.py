"""Sequence numbers that were made up, for records that no stream has written."""

from __future__ import annotations

_PREFIX = "9999"
_STRAND_DIGITS, _ORDINAL_DIGITS = 6, 30
_DIGITS = len(_PREFIX) + _STRAND_DIGITS + _ORDINAL_DIGITS


def made_up_number(strand: int, ordinal: int) -> str:
    """A SequenceNumber of 40 digits, the most that there are: 9999, the strand, the ordinal. It ascends in a strand."""
    return f"{_PREFIX}{strand:0{_STRAND_DIGITS}d}{ordinal:0{_ORDINAL_DIGITS}d}"


def is_made_up(sequence_number: str) -> bool:
    """Whether `made_up_number` made it: no stream has numbers of that length that begin so."""
    return len(sequence_number) == _DIGITS and sequence_number.startswith(_PREFIX)
