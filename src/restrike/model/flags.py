"""Flags as data."""

from __future__ import annotations

from collections.abc import Mapping


def flag_words(values: object, defaults: object, flags: Mapping[str, str]) -> list[str]:
    """The flags (field → flag) of all fields whose value is not the default, as words of a command line."""
    words: list[str] = []
    for field, flag in flags.items():
        value = getattr(values, field)
        if value == getattr(defaults, field):
            continue
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            words += [flag, f"{value:.15g}" if isinstance(value, float) else str(value)]
    return words
