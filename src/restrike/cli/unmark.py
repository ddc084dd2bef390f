"""`restrike unmark`: parse, plan, and with --execute run."""

from __future__ import annotations

from typing import Any

import click

from restrike.aws import settings
from restrike.cli.candidates import tables
from restrike.cli.flags import EXECUTE, JSON
from restrike.cli.options import aws_settings, verb
from restrike.model.flags import given
from restrike.selecting import request as selecting
from restrike.selecting.request import SelectionRequest
from restrike.touching.request import UNMARK_FLAGS, TouchRequest


@verb(
    *selecting.FLAGS,
    *UNMARK_FLAGS,
    EXECUTE,
    JSON,
    *settings.FLAGS,
    examples=("restrike unmark orders --run jan-22",),
)
@click.argument("table", shell_complete=tables)
def command(table: str, execute: bool, as_json: bool, **values: Any) -> int:
    """Take a run's name off the items that bear it; the stream fires once more for each.

    Of the items that the run had touched, where no others are chosen. Prints the plan and changes nothing, unless
    --execute is given. On a global table with eventual consistency a write can undo one of another Region, and has to
    be accepted.
    """
    from restrike.cli.carrying import carry_out
    from restrike.cli.render.unmark import LOOK
    from restrike.touching.unmarking.plan import plan as make_plan

    selection = SelectionRequest(**given(selecting.FLAGS, values))
    request = TouchRequest(table=table, selection=selection, aws=aws_settings(values), **given(UNMARK_FLAGS, values))
    return carry_out(make_plan(request), LOOK, execute=execute, as_json=as_json)
