"""`restrike local`: a DynamoDB Local on this machine, bound to 127.0.0.1."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from restrike.cli.options import VerbGroup
from restrike.cli.render.streams import put, say
from restrike.errors import UsageError
from restrike.model.flags import Flag

if TYPE_CHECKING:
    from restrike.local.dynamodb_local import LocalServer

PORT = Flag("--port", "The port to listen on.", "run", "integer", default="a free one", variable="RESTRIKE_LOCAL_PORT")
DATA = Flag("--data", "A folder to keep the tables in.", "run", metavar="FOLDER", default="in memory",
            variable="RESTRIKE_LOCAL_DATA", completes="file")  # fmt: skip
DEMO_TABLE = Flag("--with-demo-table", "Make the demo's table `orders` there, unless it has one.", "run", "switch")
JSON = Flag("--json", "Print one JSON object instead of the endpoint.", "run", "switch", field="as_json")


def _print(server: LocalServer, as_json: bool) -> None:
    """The endpoint on stdout, and on stderr what a shell needs to use it."""
    if as_json:
        fields = {"running": True, "endpoint_url": server.endpoint_url, "port": server.port, "pid": server.pid}
        put(msgspec.json.encode({**fields, "data": server.data}))
    else:
        put(server.endpoint_url)
    url = shlex.quote(server.endpoint_url)
    say(f"export AWS_ENDPOINT_URL_DYNAMODB={url} AWS_ENDPOINT_URL_DYNAMODB_STREAMS={url}")
    # boto3 reads only AWS_DEFAULT_REGION, the other SDKs only AWS_REGION.
    say("export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1")


@click.group(cls=VerbGroup)
def command() -> None:
    """Start and stop Amazon's DynamoDB Local on this machine.

    It is found in $RESTRIKE_DYNAMODB_LOCAL or the cache folder, or fetched once. It listens on 127.0.0.1 only.
    """


@command.verb("start", PORT, DATA, DEMO_TABLE, JSON)
def start(port: int | None, data: str | None, with_demo_table: bool, as_json: bool) -> None:
    """Start it, and print its endpoint. Where it runs already, print that."""
    from restrike.local import dynamodb_local

    if port is not None and not 1 <= port <= 65535:
        raise UsageError(f"--port {port} is no port", "Give 1 to 65535, or leave it out for a free one.")
    if data is not None and Path(data).is_file():
        raise UsageError(f"--data {data} is a file", "Give a folder.")
    server = dynamodb_local.start(port, Path(data) if data else None, say)
    if with_demo_table:
        _make_demo_table(server)
    _print(server, as_json)


def _make_demo_table(server: LocalServer) -> None:
    import asyncio

    from restrike.local import demo

    with demo.nobodys_environment():
        made = asyncio.run(demo.open_shop(server.endpoint_url))
    say(f"Table {demo.TABLE}: " + (f"{len(demo.orders()):,} orders." if made else "there is one already; it is left."))


@command.verb("stop")
def stop() -> None:
    """End the one that `start` started, and no other process."""
    from restrike.local import dynamodb_local

    server = dynamodb_local.stop()
    say(f"DynamoDB Local (pid {server.pid}) is stopped." if server else "DynamoDB Local is not running.")


@command.verb("status", JSON)
def status(as_json: bool) -> int:
    """Print the endpoint of the one that `start` started; exit 1 where there is none."""
    from restrike.local import dynamodb_local

    server = dynamodb_local.running()
    if server is None:
        if as_json:
            put(msgspec.json.encode({"running": False}))
        say("DynamoDB Local is not running.")
        say("  Start it: restrike local start")
        return 1
    does = "answers" if dynamodb_local.answers(server.port) else "does not answer"
    say(f"DynamoDB Local (pid {server.pid}, {dynamodb_local.tables_of(server)}) {does}.")
    _print(server, as_json)
    return 0
