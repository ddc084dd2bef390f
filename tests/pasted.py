"""Commands that somebody pastes: the real command line takes them, as far as it looks before it asks anybody."""

from __future__ import annotations

import functools
import json
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import botocore.session
import botocore.validate
import click
from botocore import xform_name
from botocore.model import StructureShape

from restrike import sources, targets
from restrike.cli import redrive, replay
from restrike.cli.main import cli
from restrike.exporting.request import FLAGS as EXPORT_FLAGS
from restrike.exporting.request import ExportRequest, place_of
from restrike.exporting.request import check as check_export
from restrike.model.flags import given
from restrike.replaying.filters import window_of
from restrike.replaying.redriving.request import check as check_redrive
from restrike.replaying.request import check as check_replay
from restrike.touching.request import FLAGS as TOUCH_FLAGS
from restrike.touching.request import TouchRequest
from restrike.touching.request import check as check_touch
from tests.seen import NOW_S


def parsed(command: str) -> dict[str, Any]:
    """The values that click makes of a restrike command; it fails where click, or what the verb checks by itself,
    refuses it. A place to fill in is filled in."""
    words = shlex.split(command.replace("s3://BUCKET/", "s3://my-bucket/"))
    assert words.pop(0) == "restrike"
    assert "--execute" not in words
    verb = words[0]
    found: click.Command = cli
    context = click.Context(cli, info_name="restrike")
    while isinstance(found, click.Group):
        inner = found.get_command(context, words.pop(0))
        assert inner is not None, command
        context, found = click.Context(inner, parent=context), inner
    values = found.make_context(verb, words, parent=context).params
    _check(verb, dict(values))
    return values


def _check(verb: str, values: dict[str, Any]) -> None:
    now, folder = datetime.fromtimestamp(NOW_S, UTC), Path("/")
    if verb == "replay":
        request = replay.request_of(values.pop("source"), values.pop("to"), values)
        check_replay(request)
        window_of(request.filters, now)
        uri = sources.parse_source(request.source, folder)
        sources.options_of(uri, request.source_options)
        targets.parse(request.to, folder)
    elif verb == "redrive":
        check_redrive(redrive.request_of(values.pop("failures"), values.pop("to"), values))
    elif verb == "export":
        place_of(values["to"])
        check_export(ExportRequest(table=values["table"], to=values["to"], **given(EXPORT_FLAGS, values)))
    elif verb == "touch":
        check_touch(TouchRequest(table=values["table"], **given(TOUCH_FLAGS, values)))


@functools.cache
def _input(service: str, operation: str) -> StructureShape:
    """What an operation takes, by the service's model; it is named as the AWS CLI names it."""
    model = botocore.session.get_session().get_service_model(service)
    shapes = (
        model.operation_model(name).input_shape for name in model.operation_names if xform_name(name, "-") == operation
    )
    shape = next(shapes)
    assert shape is not None
    return shape


def aws_parameters(command: str) -> tuple[str, str, dict[str, Any]]:
    """Service, operation and parameters of an `aws` command, as the service's model takes them; it fails where they do
    not."""
    words = shlex.split(command)
    assert words[0] == "aws"
    service, operation = words[1], words[2]
    shape = _input(service, operation)
    members = {f"--{xform_name(name, '-')}": (name, member) for name, member in shape.members.items()}
    parameters: dict[str, Any] = {}
    rest = words[3:]
    while rest:
        flag = rest.pop(0)
        if flag in ("--region", "--profile", "--endpoint-url"):
            rest.pop(0)
            continue
        name, member = members[flag]
        if member.type_name == "boolean":
            parameters[name] = True
        elif member.type_name == "integer":
            parameters[name] = int(rest.pop(0))
        elif member.type_name in ("list", "structure"):
            text = rest.pop(0)
            parameters[name] = (
                json.loads(text) if text[0] in "[{" else [dict(part.split("=") for part in text.split(","))]
            )
        else:
            parameters[name] = rest.pop(0)
    report = botocore.validate.ParamValidator().validate(parameters, shape)
    assert not report.has_errors(), report.generate_report()
    return service, operation.replace("-", "_"), parameters
