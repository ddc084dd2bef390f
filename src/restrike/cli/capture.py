"""`restrike capture`: parse, plan, and with --execute keep the stream."""

from __future__ import annotations

from typing import Any

import click

from restrike.aws import settings
from restrike.capturing.request import FLAGS, CaptureRequest
from restrike.cli.candidates import tables
from restrike.cli.flags import EXECUTE, JSON
from restrike.cli.options import aws_settings, verb
from restrike.errors import UsageError
from restrike.model.flags import Flag, given

ARCHIVE = Flag("--to", "A folder, or s3://bucket/prefix.", "keep", metavar="ARCHIVE", completes="file")
ONCE = Flag("--once", "Up to the stream's end as it is now: for a scheduler.", "keep", "switch")
FOLLOW = Flag("--follow", "Until it is stopped: for a service.", "keep", "switch")


@verb(
    ARCHIVE,
    ONCE,
    FOLLOW,
    *FLAGS,
    EXECUTE,
    JSON,
    *settings.FLAGS,
    examples=("restrike capture orders --to s3://bucket/kept --once",),
)
@click.argument("table", shell_complete=tables)
def command(table: str, to: str | None, once: bool, follow: bool, execute: bool, as_json: bool, **values: Any) -> int:
    """Keep TABLE's stream beyond 24 hours: every record with its images, in Parquet files.

    Goes on where the archive is; no record is lost and none is kept twice, also after kill -9. Prints the plan and
    writes nothing, unless --execute is given.
    """
    from restrike.archive import require_packages

    require_packages()
    from restrike.capturing.plan import plan as make_plan
    from restrike.cli.carrying import carry_out
    from restrike.cli.render.capture import look

    if once and follow:
        raise UsageError("--once has an end, and --follow has none", "Give one of them.")
    if not to:
        raise UsageError("no archive is named", "Give --to FOLDER or --to s3://bucket/prefix.")
    plan = make_plan(
        CaptureRequest(table=table, to=to, follow=follow, aws=aws_settings(values), **given(FLAGS, values))
    )
    if execute and not once and not follow:
        raise UsageError("it is not said how long to capture", "Give --once or --follow.")
    return carry_out(plan, look(as_json=as_json), execute=execute, as_json=as_json)
