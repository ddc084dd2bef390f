"""Commands that a diagnosis hands over: what is pasted runs as it stands, and where the table was looked at."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable

from restrike.model.diagnosis import Seen
from restrike.model.times import iso
from restrike.model.window import Window

BUCKET = "BUCKET"
"""Stands for a bucket that nobody but its reader knows. No bucket can have capitals, so it is nobody else's either."""


def command(seen: Seen, *words: str) -> str:
    """The restrike command of those words, with Region, profile and endpoint as they were given; quoted for a shell."""
    return shlex.join(["restrike", *words, *seen.flags])


def aws_command(seen: Seen, *words: str) -> str:
    """The same of the AWS CLI. `--endpoint-url` is DynamoDB's: other services get the rest alone."""
    flags = list(seen.flags)
    if words[0] != "dynamodb" and "--endpoint-url" in flags:
        at = flags.index("--endpoint-url")
        del flags[at : at + 2]
    return shlex.join(["aws", *words, *flags])


def window_words(window: Window) -> list[str]:
    """`--since` and `--until`, in whole seconds around the window."""
    words: list[str] = []
    if window.since_s is not None:
        words += ["--since", iso(math.floor(window.since_s))]
    if window.until_s is not None:
        words += ["--until", iso(_end_s(window))]
    return words


def _end_s(window: Window) -> int:
    assert window.until_s is not None
    end_s = math.ceil(window.until_s)
    return end_s if window.since_s is None else max(end_s, math.floor(window.since_s) + 1)


def sentences(*parts: str | Iterable[str]) -> tuple[str, ...]:
    """Those that say something, each once."""
    flat = (text for part in parts for text in ((part,) if isinstance(part, str) else part))
    return tuple(dict.fromkeys(text for text in flat if text))
