"""`restrike records`: look at the records of a source; nothing is delivered and nothing is kept."""

from __future__ import annotations

from typing import Any

import click

from restrike.aws import settings
from restrike.cli.candidates import sources
from restrike.cli.flags import JSON
from restrike.cli.options import verb
from restrike.cli.replay import IN_BRIEF, READING, request_of
from restrike.replaying.request import ALLOW_GAPS
from restrike.running.flags import LEDGER


@verb(
    *READING,
    ALLOW_GAPS,
    LEDGER,
    JSON,
    *settings.FLAGS,
    examples=("restrike records stream:orders --last 30m --event REMOVE",),
    in_brief=IN_BRIEF,
)
@click.argument("source", shell_complete=sources)
def command(source: str, as_json: bool, **values: Any) -> int:
    """Print the records of SOURCE: a line for each, or with --json the whole record as Lambda would receive it.

    SOURCE is stream:TABLE, a stream's ARN, table:TABLE, archive:PATH, export:PATH, failures:PATH, jsonl:PATH or - for
    standard input.
    """
    from restrike.cli.render.replay import lost
    from restrike.cli.render.streams import put, say
    from restrike.replaying.records import read_records

    request = request_of(source, "-", values)
    found = read_records(
        request,
        on_lost=lambda gap: say(f"lost: {lost(gap)}"),
        on_nothing=lambda told: say(f"nothing found: {told}"),
    )
    try:
        for record in found:
            put(record.raw if as_json else _line(record))
    except KeyboardInterrupt:  # SIGTERM too
        if not values["follow"]:
            raise
        # It has no end but being stopped.
    return 0


def _line(record: Any) -> str:
    """When, what, which item; no values but those of its key."""
    from restrike.model.text import printable
    from restrike.model.times import iso

    keys = record.keys.decode(errors="backslashreplace")
    return printable(f"{iso(record.created_s)}  {record.event_name:6}  {keys}  {record.sequence_number}", keep="")
