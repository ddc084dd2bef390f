"""What a run is called."""

from __future__ import annotations

import random
import re
import string
from datetime import UTC, datetime


def default_name(verb: str, what: str) -> str:
    """`VERB-WHAT-UTCTIME-xxxx`: the last four are random, so that two people at one second differ."""
    stem = re.sub(r"[^.A-Za-z0-9_-]", "-", what.rpartition("/")[2])[:35]
    tail = "".join(random.choices(string.ascii_lowercase + string.digits, k=4))  # noqa: S311 - no secret
    return f"{verb}-{stem}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{tail}"
