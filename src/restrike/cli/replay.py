"""`restrike replay`: parse, plan, and with --execute deliver."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from restrike import sources, targets
from restrike.aws import settings
from restrike.cli import candidates
from restrike.cli.flags import EXECUTE, JSON, TARGET
from restrike.cli.options import aws_settings, verb
from restrike.errors import UsageError
from restrike.model.flags import Group, given
from restrike.replaying import filters
from restrike.replaying.filters import FilterRequest
from restrike.replaying.request import FLAGS, ReplayRequest

READING = (*filters.FLAGS, *sources.flags())
"""The flags of every verb that reads records."""
IN_BRIEF: dict[Group, str] = {
    "choose": " of a table: source (as in restrike touch --help)",
    "exported": ": source (docs/export.md)",
}


@verb(
    *READING,
    msgspec.structs.replace(TARGET, help=", ".join(kind.form for kind in targets.kinds()) + ", -"),
    *targets.flags(),
    *FLAGS,
    EXECUTE,
    JSON,
    *settings.FLAGS,
    examples=("restrike replay stream:orders --last 2h --to lambda:bookkeeper",),
    in_brief=IN_BRIEF,
)
@click.argument("source", shell_complete=candidates.sources)
def command(source: str, to: str | None, execute: bool, as_json: bool, **values: Any) -> int:
    """Hand the records of SOURCE to one consumer. The table is not written. SOURCE is stream:TABLE or a stream's ARN,
    table:TABLE, archive:, export: or failures:PATH-or-s3://…, jsonl:PATH, -. Without --execute it prints the plan, and
    delivers nothing.
    """
    from restrike.cli.carrying import carry_out
    from restrike.cli.render.replay import LOOK
    from restrike.replaying.plan import plan as make_plan

    if to is None:
        raise UsageError("no target is named", f"Give --to. {targets.forms()}")
    return carry_out(make_plan(request_of(source, to, values)), LOOK, execute=execute, as_json=as_json)


def request_of(source: str, to: str, values: dict[str, Any]) -> ReplayRequest:
    """The command's values as a ReplayRequest; a verb without targets gives none of their flags."""
    own = [flag for flag in FLAGS if flag.to in values]
    of_targets = [flag for flag in targets.flags() if flag.to in values]
    return ReplayRequest(
        source=source,
        to=to,
        filters=FilterRequest(**given(filters.FLAGS, values)),
        source_options=given(sources.flags(), values),
        target_options=given(of_targets, values),
        aws=aws_settings(values),
        **given(own, values),
    )
