"""`restrike capture`: parse, plan, and with --execute keep the stream."""

from __future__ import annotations

from typing import Any

import click

from restrike.cli.options import aws_options, aws_settings, json_option, option
from restrike.errors import RestrikeError, UsageError


@click.command()
@click.argument("table")
@option("--to", metavar="ARCHIVE", help="A folder, or s3://bucket/prefix.")
@option(
    "--since",
    default="trim-horizon",
    show_default=True,
    metavar="WHEN",
    help="Where a new archive begins: trim-horizon, latest, ISO 8601 with zone, or 2h.",
)
@click.option("--once", is_flag=True, help="Up to the stream's end as it is now: for a scheduler.")
@click.option("--follow", is_flag=True, help="Until it is stopped: for a service.")
@option("--flush-seconds", type=float, default=60.0, show_default=True, metavar="S", help="A file at least so often.")
@option("--flush-mb", type=float, default=64.0, show_default=True, metavar="MB", help="Held in memory at most.")
@option(
    "--poll-seconds", type=float, default=5.0, show_default=True, metavar="S", help="An idle shard is asked so often."
)
@click.option("--execute", is_flag=True, help="Do it. Without this the plan is printed.")
@json_option
@aws_options
def command(table: str, to: str | None, once: bool, follow: bool, execute: bool, as_json: bool, **values: Any) -> int:
    """Keep TABLE's stream beyond 24 hours: every record with its images, in Parquet files.

    Goes on where the archive is; no record is lost and none is kept twice, also after kill -9. Prints the plan and
    writes nothing, unless --execute is given.
    """
    from restrike.archive import require_packages
    from restrike.cli import output

    require_packages()
    from restrike.capturing.plan import CaptureRequest
    from restrike.capturing.plan import plan as make_plan

    if once and follow:
        raise UsageError("--once has an end, and --follow has none", "Give one of them.")
    if not to:
        raise UsageError("no archive is named", "Give --to FOLDER or --to s3://bucket/prefix.")
    request = CaptureRequest(table=table, to=to, follow=follow, aws=aws_settings(values), **values)
    plan = make_plan(request)
    if not execute:
        if as_json:
            output.print_json(plan.as_json())
        else:
            output.show_capture_plan(plan.data)
        return 0
    if not once and not follow:
        raise UsageError("it is not said how long to capture", "Give --once or --follow.")
    for warning in plan.warnings:
        click.echo(f"warning: {warning.message}", err=True)
    click.echo(f"capturing {plan.data.stream_arn} into {to}, {plan.data.begins}", err=True)
    try:
        report = plan.execute(output.CaptureStatus(as_json=as_json))
    except RestrikeError as error:
        output.show_capture_report(error.report, as_json)
        raise
    output.show_capture_report(report, as_json)
    return report.exit_code
