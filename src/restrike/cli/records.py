"""`restrike records`: look at the records of a source; nothing is delivered and nothing is kept."""

from __future__ import annotations

from typing import Any

import click

from restrike.cli.options import aws_options, json_option, ledger_option, option
from restrike.cli.replay import filter_options, request_of, selection_options


@click.command()
@click.argument("source")
@filter_options
@selection_options
@option("--follow", is_flag=True, help="stream: go on with what comes.")
@option("--allow-gaps", is_flag=True, help="Records that the source has lost are no error.")
@ledger_option
@json_option
@aws_options
def command(source: str, as_json: bool, **values: Any) -> int:
    """Print the records of SOURCE: a line for each, or with --json the whole record as Lambda would receive it.

    SOURCE is stream:TABLE, a stream's ARN, table:TABLE, archive:PATH, jsonl:PATH or - for standard
    input.
    """
    from restrike.cli.output import lost
    from restrike.replaying.plan import read_records

    request = request_of(source, "-", values)
    for record in read_records(request, lambda gap: click.echo(f"lost: {lost(gap)}", err=True)):
        click.echo(record.raw if as_json else _line(record))
    return 0


def _line(record: Any) -> str:
    """When, what, which item; no values but those of its key."""
    from datetime import UTC, datetime

    created = datetime.fromtimestamp(record.created_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"{created}  {record.event_name:6}  {record.keys.decode()}  {record.sequence_number}"
