"""`restrike demo`: parse, and tell the story."""

from __future__ import annotations

from restrike.cli.flags import JSON
from restrike.cli.options import verb


@verb(JSON)
def command(as_json: bool) -> None:
    """Tell the whole story on this machine; no AWS account is touched.

    Starts a DynamoDB Local of its own and ends it. Neither your AWS settings nor your runs are read or written.
    The exit code is 6 where a number is not what it should be.
    """
    from restrike.cli.story import demo

    demo(as_json=as_json)
