"""`restrike redrive`: parse, plan, and with --execute deliver what was given up."""

from __future__ import annotations

from typing import Any

import click

from restrike import targets
from restrike.aws import settings
from restrike.cli.flags import EXECUTE, JSON, TARGET
from restrike.cli.options import aws_settings, verb
from restrike.model.flags import given
from restrike.replaying.redriving.request import ARCHIVE, DELIVERY, OWN, RedriveRequest
from restrike.replaying.request import ReplayRequest


@verb(
    ARCHIVE,
    *OWN,
    TARGET,
    *targets.flags(),
    *DELIVERY,
    EXECUTE,
    JSON,
    *settings.FLAGS,
    examples=("restrike redrive given-up/ --to original", "restrike redrive given-up/ --rescue jsonl:rescued.jsonl"),
)
@click.argument("failures")
def command(failures: str, to: str | None, execute: bool, as_json: bool, **values: Any) -> int:
    """Hand what a mapping or a pipe gave up to its consumer once more, by the messages that it left.

    FAILURES is a file or a folder of such messages, s3://bucket/aws/lambda/MAPPING/…, or sqs://QUEUE. With
    --to original each goes to the function whose mapping gave it up. Prints the plan and delivers nothing, unless
    --execute is given.
    """
    from restrike.cli.carrying import carry_out
    from restrike.cli.render.redrive import LOOKS
    from restrike.replaying.redriving.asked import plan_of

    plan = plan_of(request_of(failures, to, values))
    return carry_out(plan, LOOKS[type(plan.data).__name__], execute=execute, as_json=as_json)


def request_of(failures: str, to: str | None, values: dict[str, Any]) -> RedriveRequest:
    """The command's values as a RedriveRequest."""
    replay = ReplayRequest(
        source=failures,
        to=to or "",
        source_options=given((ARCHIVE,), values),
        target_options=given(targets.flags(), values),
        aws=aws_settings(values),
        **given(DELIVERY, values),
    )
    return RedriveRequest(replay, **given(OWN, values))
