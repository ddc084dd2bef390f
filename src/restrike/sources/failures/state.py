"""What a run keeps of messages: its files, and what its source is opened with."""

from __future__ import annotations

import msgspec

MESSAGES, RECORDS = "messages.db", "pointed-at.db"
"""In the run's folder: what the messages say, and the records that their pointers led to."""


class State(msgspec.Struct, frozen=True):
    """`archive` is where captured records are (a folder's absolute path, or s3://…), empty where there is none.
    `wanted`: of which streams and functions the messages are; empty for all."""

    archive: str = ""
    wanted: tuple[tuple[str, str | None], ...] = ()
