"""`restrike touch`: parse, plan, and with --execute run."""

from __future__ import annotations

import os
from typing import Any

import click

from restrike.aws import settings
from restrike.cli.candidates import tables
from restrike.cli.flags import EXECUTE, JSON
from restrike.cli.options import aws_settings, verb
from restrike.errors import UsageError
from restrike.model.flags import given
from restrike.selecting import request as selecting
from restrike.selecting.request import SelectionRequest
from restrike.touching.request import FLAGS, TouchRequest


@verb(
    *selecting.FLAGS,
    *FLAGS,
    EXECUTE,
    JSON,
    *settings.FLAGS,
    examples=("restrike touch orders --index by_created_ymd --date 2021-01-22",),
)
@click.argument("table", required=False, shell_complete=tables)
def command(table: str | None, execute: bool, as_json: bool, **values: Any) -> int:
    """Rewrite one attribute of selected items, so that the table's stream fires again.

    Prints the plan and changes nothing, unless --execute is given. No deleted item comes back and no update is lost;
    on a global table with eventual consistency a write can undo one of another Region, and has to be accepted.
    """
    from restrike.cli.carrying import carry_out
    from restrike.cli.render.touch import LOOK
    from restrike.touching.plan import plan as make_plan

    table = table or os.environ.get("DynamoTable")  # noqa: SIM112 - the article's spelling
    if not table:
        raise UsageError("no table is named", "restrike touch TABLE SELECTION; see restrike touch --help")
    aws = aws_settings(values)
    selection = SelectionRequest(**given(selecting.FLAGS, values))
    if selecting.is_empty(selection) and "HashKeyName" in os.environ:
        selection = _of_article(table, aws)
    plan = make_plan(TouchRequest(table=table, selection=selection, aws=aws, **given(FLAGS, values)))
    return carry_out(plan, LOOK, execute=execute, as_json=as_json)


def _of_article(table: str, aws: settings.AwsSettings) -> SelectionRequest:
    """`HashKeyName` and `HashKeyValue` of the environment, where nothing else is selected."""
    from restrike.aws.dynamodb import describe_table
    from restrike.aws.session import Aws

    return selecting.from_article(describe_table(Aws(aws), table)[0], os.environ)
