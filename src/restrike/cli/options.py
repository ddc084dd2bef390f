"""Flags that verbs share, and the rule that every flag but the dangerous ones can come from the environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from restrike.aws.settings import AwsSettings

F = TypeVar("F", bound=Callable[..., Any])


def option(*names: str, environment: bool = True, **settings: Any) -> Callable[[F], F]:
    """A flag that `RESTRIKE_<NAME>` can set too; `environment=False` for what must be typed each time."""
    long = next(name for name in names if name.startswith("--")).partition("/")[0]
    if environment:
        settings["envvar"] = "RESTRIKE_" + long.removeprefix("--").replace("-", "_").upper()
        settings["show_envvar"] = True
    return click.option(*names, **settings)


def aws_options(command: F) -> F:
    """--region, --profile and --endpoint-url; AWS's own variables and shared config are read by the AWS layer."""
    for decorate in (
        click.option("--endpoint-url", metavar="URL", help="Where DynamoDB and its streams are."),
        click.option("--profile", metavar="NAME", help="Profile of the shared AWS config."),
        click.option("--region", metavar="REGION", help="AWS Region."),
    ):
        command = decorate(command)
    return command


def aws_settings(values: dict[str, Any]) -> AwsSettings:
    """Takes the AWS flags out of a command's values."""
    return AwsSettings(
        region=values.pop("region"), profile=values.pop("profile"), endpoint_url=values.pop("endpoint_url")
    )


def ledger_option(command: F) -> F:
    return option("--ledger", metavar="PATH", help="Ledger file instead of the one in the state folder.")(command)


def json_option(command: F) -> F:
    return option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")(command)
