"""A stream's own name."""

from __future__ import annotations

import re

_ARN = re.compile(r"arn:[\w-]+:dynamodb:([\w-]+):\d*:table/([^/]+)/stream/.+")


def stream_region(arn: str) -> str | None:
    """The Region of a stream's ARN; None where it is no stream's."""
    match = _ARN.fullmatch(arn)
    return match[1] if match else None
