"""`restrike export`: parse, plan, and with --execute have DynamoDB export."""

from __future__ import annotations

from typing import Any

import click

from restrike.aws import settings
from restrike.cli.candidates import tables
from restrike.cli.flags import EXECUTE, JSON
from restrike.cli.options import aws_settings, verb
from restrike.errors import UsageError
from restrike.exporting.request import FLAGS, ExportRequest
from restrike.model.flags import Flag, given

PLACE = Flag("--to", "Where DynamoDB writes to.", "keep", metavar="s3://bucket/prefix")


@verb(
    PLACE,
    *FLAGS,
    EXECUTE,
    JSON,
    *settings.FLAGS,
    examples=("restrike export orders --since 3d --to s3://bucket/prefix",),
)
@click.argument("table", shell_complete=tables)
def command(table: str, to: str | None, execute: bool, as_json: bool, **values: Any) -> int:
    """Have DynamoDB export what changed in TABLE, window by window, for restrike replay export:s3://….

    Takes none of the table's capacity; needs point-in-time recovery. Windows that are exported already are not
    exported again. Prints the plan and starts nothing, unless --execute is given.
    """
    from restrike.cli.carrying import carry_out
    from restrike.cli.render.export import LOOK
    from restrike.exporting.plan import plan as make_plan

    if not to:
        raise UsageError("no place is named", "Give --to s3://bucket/prefix.")
    plan = make_plan(ExportRequest(table=table, to=to, aws=aws_settings(values), **given(FLAGS, values)))
    return carry_out(plan, LOOK, execute=execute, as_json=as_json)
