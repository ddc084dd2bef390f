"""`restrike local`: a DynamoDB Local on this machine, bound to 127.0.0.1."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import msgspec

from restrike.local import dynamodb_local
from restrike.local.dynamodb_local import LocalServer

as_json = click.option("--json", "json_", is_flag=True, help="Print one JSON object instead of the endpoint.")


def _say(line: str) -> None:
    click.echo(line, err=True)


def _print(server: LocalServer, json_: bool) -> None:
    """The endpoint on stdout, and on stderr what a shell needs to use it."""
    if json_:
        fields = {"running": True, "endpoint_url": server.endpoint_url, "port": server.port, "pid": server.pid}
        click.echo(msgspec.json.encode({**fields, "data": server.data}))
    else:
        click.echo(server.endpoint_url)
    url = shlex.quote(server.endpoint_url)
    _say(f"export AWS_ENDPOINT_URL_DYNAMODB={url} AWS_ENDPOINT_URL_DYNAMODB_STREAMS={url}")
    # boto3 reads only AWS_DEFAULT_REGION, the other SDKs only AWS_REGION.
    _say("export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1")


@click.group()
def command() -> None:
    """Start and stop Amazon's DynamoDB Local on this machine.

    It is found in $RESTRIKE_DYNAMODB_LOCAL or the cache folder, or fetched once. It listens on 127.0.0.1 only.
    """


@command.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    envvar="RESTRIKE_LOCAL_PORT",
    show_envvar=True,
    help="The port to listen on.  [default: a free one]",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="RESTRIKE_LOCAL_DATA",
    show_envvar=True,
    help="A folder to keep the tables in.  [default: in memory]",
)
@as_json
def start(port: int | None, data: Path | None, json_: bool) -> None:
    """Start it, and print its endpoint. Where it runs already, print that."""
    _print(dynamodb_local.start(port, data, _say), json_)


@command.command()
def stop() -> None:
    """End the one that `start` started, and no other process."""
    server = dynamodb_local.stop()
    _say(f"DynamoDB Local (pid {server.pid}) is stopped." if server else "DynamoDB Local is not running.")


@command.command()
@as_json
def status(json_: bool) -> int:
    """Print the endpoint of the one that `start` started; exit 1 where there is none."""
    server = dynamodb_local.running()
    if server is None:
        if json_:
            click.echo(msgspec.json.encode({"running": False}))
        _say("DynamoDB Local is not running.")
        _say("  Start it: restrike local start")
        return 1
    does = "answers" if dynamodb_local.answers(server.port) else "does not answer"
    _say(f"DynamoDB Local (pid {server.pid}, {dynamodb_local.tables_of(server)}) {does}.")
    _print(server, json_)
    return 0
