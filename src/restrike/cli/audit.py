"""`restrike audit`: parse, plan, and with --execute compare."""

from __future__ import annotations

from typing import Any

import click

from restrike.auditing.request import FLAGS, AuditRequest
from restrike.aws import settings
from restrike.cli.candidates import tables
from restrike.cli.flags import EXECUTE, JSON
from restrike.cli.options import aws_settings, verb
from restrike.model.flags import Flag, given
from restrike.selecting import request as selecting
from restrike.selecting.request import SelectionRequest

AGAINST = Flag(
    "--against", "The other side; - for standard input.", "compare", metavar="FILE|table:NAME|-", completes="file"
)


@verb(
    AGAINST,
    *selecting.FLAGS,
    *FLAGS,
    EXECUTE,
    JSON,
    *settings.FLAGS,
    examples=("restrike audit orders --against copy.csv --on total,status --as-of 10m",),
    in_brief={"choose": " (as of touch; without: the whole table)"},
)
@click.argument("table", shell_complete=tables)
def command(table: str, against: str | None, execute: bool, as_json: bool, **values: Any) -> int:
    """Compare TABLE with what was made of it: JSON lines, a CSV, or another table.

    Each difference is read once more, and what was written meanwhile is left out. The rest goes into files that touch
    and replay take: missing, stale, extra. Reads only. Prints the plan, and compares with --execute.
    """
    from restrike.auditing.plan import plan as make_plan
    from restrike.cli.carrying import carry_out
    from restrike.cli.render.audit import LOOK

    selection = SelectionRequest(**given(selecting.FLAGS, values))
    request = AuditRequest(
        table=table, against=against or "", selection=selection, aws=aws_settings(values), **given(FLAGS, values)
    )
    return carry_out(make_plan(request), LOOK, execute=execute, as_json=as_json)
