"""`restrike touch`: parse, plan, and with --execute run."""

from __future__ import annotations

import os
from typing import Any

import click

from restrike.cli.options import aws_options, aws_settings, json_option, ledger_option, option
from restrike.errors import UsageError


class RateType(click.ParamType[Any]):
    """A number of items a second, or `max`."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "max":
            return value
        try:
            return float(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is neither a number of items a second nor max", param, ctx)


@click.command()
@click.argument("table", required=False)
@option("--key", metavar="VALUE", help="Items of one partition key (of the table, or of --index); B as base64.")
@option("--sort-key", metavar="COND", help='"= v", "< v", "<= v", "> v", ">= v", "between a b" or "begins_with p".')
@option("--index", metavar="NAME", help="Select through this index.")
@option("--from", "date_from", metavar="DATE", help="First day, where a key of the index is a date.")
@option("--to", "date_to", metavar="DATE", help="Last day, included.")
@option("--date-format", metavar="FMT", help="How the index writes dates, as in strftime; recognised otherwise.")
@option("--tz", default="UTC", show_default=True, metavar="ZONE", help="Time zone of days, for epoch numbers.")
@option("--all", "all_items", is_flag=True, environment=False, help="Every item of the table, or of --index.")
@option("--segments", type=int, metavar="N", help="Parallel scan segments for --all.")
@option("--keys", metavar="FILE", help="Keys as JSON lines or CSV; - for stdin, run:NAME for a run's left-overs.")
@option("--filter-expression", metavar="EXPR", help="As in the AWS CLI.")
@option("--expression-attribute-names", metavar="JSON", help="As in the AWS CLI.")
@option("--expression-attribute-values", metavar="JSON", help="As in the AWS CLI.")
@option("--limit", type=int, metavar="N", help="A canary: only the first N; the same run goes on without it.")
@option("--run", metavar="NAME", help="Name of the run.  [default: touch-TABLE-UTCTIME-xxxx]")
@option("--marker", default="restrike", show_default=True, metavar="NAME", help="Attribute that is set to the name.")
@option("--counter", metavar="NAME", help="Instead: a number that is raised by 1.")
@option("--api", type=click.Choice(["partiql", "update-item"]), default="partiql", show_default=True, help="How.")
@option("--ordered", is_flag=True, help="Per partition key one item in flight, in sort-key order.")
@option("--concurrency", type=int, default=16, show_default=True, metavar="N", help="Requests under way at once.")
@option("--rate", type=RateType(), metavar="N|max", help="Items a second; max: as many as nothing is throttled.")
@option("--max-wcu", type=float, metavar="N", help="Write units a second.  [default: 25 % of capacity; 500 on demand]")
@option("--verify/--no-verify", default=None, help="Look for each record on the stream.  [default: where it is safe]")
@option(
    "--verify-timeout",
    "verify_timeout_s",
    type=float,
    default=60.0,
    show_default=True,
    metavar="S",
    help="Seconds without a further record until the rest counts as not seen.",
)
@option("--expect-account", metavar="ID", help="Refuse any other AWS account.")
@option("--force", is_flag=True, environment=False, help="Run beside another run on the table.")
@option("--execute", is_flag=True, environment=False, help="Do it. Without this the plan is printed.")
@ledger_option
@json_option
@aws_options
def command(table: str | None, execute: bool, as_json: bool, all_items: bool, **values: Any) -> int:
    """Rewrite one attribute of selected items, so that the table's stream fires again.

    Prints the plan and changes nothing, unless --execute is given. TABLE can come from RESTRIKE_TABLE.
    """
    from restrike.cli import output
    from restrike.touching.plan import plan as make_plan
    from restrike.touching.request import TouchRequest

    table = table or os.environ.get("RESTRIKE_TABLE") or os.environ.get("DynamoTable")  # noqa: SIM112 - the article's spelling
    if not table:
        raise UsageError("no table is named", "restrike touch TABLE SELECTION; see restrike touch --help")
    settings = aws_settings(values)
    request = TouchRequest(table=table, all=all_items, aws=settings, **values)
    request = _with_article(request)
    plan = make_plan(request)
    total = plan.data.items.count
    if request.limit is not None and total is not None:
        total = min(total, request.limit)
    return output.carry_out(
        plan,
        output.show_plan,
        f"{plan.data.selection} of {plan.data.table_arn}",
        execute=execute,
        as_json=as_json,
        total=total,
    )


def _with_article(request: Any) -> Any:
    """`HashKeyName` and `HashKeyValue` of the environment, where nothing else is selected."""
    if any((request.key, request.all, request.keys, request.date_from)) or "HashKeyName" not in os.environ:
        return request
    import msgspec

    from restrike.aws.dynamodb import describe_table
    from restrike.aws.session import Aws
    from restrike.touching.request import from_article

    table, _ = describe_table(Aws(request.aws), request.table)
    return msgspec.structs.replace(request, **from_article(table, os.environ))
