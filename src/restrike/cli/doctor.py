"""`restrike doctor`: parse, look, and show what was found."""

from __future__ import annotations

from typing import Any

import click

from restrike.aws import settings
from restrike.cli.candidates import tables
from restrike.cli.flags import JSON
from restrike.cli.options import aws_settings, verb
from restrike.diagnosing.request import FLAGS, DoctorRequest
from restrike.model.flags import given


@verb(
    *FLAGS,
    JSON,
    *settings.FLAGS,
    examples=("restrike doctor orders", "restrike doctor orders --last 6h --consumer bookkeeper"),
)
@click.argument("table", shell_complete=tables)
def command(table: str, as_json: bool, **values: Any) -> int:
    """Say who reads TABLE's changes, what they may have lost, and the ways that are open to fire it again, best first.

    Writes nothing. What may not be asked, or answers late, is left out and named. Each way comes with its command,
    which prints a plan and changes nothing as it stands.
    """
    from restrike.cli.render.doctor import show_diagnosis
    from restrike.cli.render.progress import ProgressLine
    from restrike.cli.render.streams import put_json
    from restrike.diagnosing.diagnose import diagnose
    from restrike.running.stop import run_to_end

    request = DoctorRequest(table=table, aws=aws_settings(values), **given(FLAGS, values))
    progress: ProgressLine[str] = ProgressLine(str)
    progress(f"looking at {table}")
    try:
        found = run_to_end(diagnose(request))
    finally:
        progress.close()
    if as_json:
        put_json(found.as_json())
    else:
        show_diagnosis(found)
    return 0
