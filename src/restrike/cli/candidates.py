"""What a shell may offer for a value: names of runs, tables and indexes. Nothing, where they cannot be had."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

ASK_S = 2.0
"""Whoever presses a key waits no longer for an answer, unless RESTRIKE_COMPLETION_TIMEOUT_S says so."""
MAX_RUNS = 100


def values_for(kind: str, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
    """The values of that kind that begin so; `kind` is a flag's `completes`."""
    if kind == "file":
        return _items([incomplete], type="file")
    if kind == "target":
        from restrike import targets

        return _items(f"{each}:" for each in targets.MODULES if f"{each}:".startswith(incomplete))
    if kind == "lag":
        return _items(each for each in ("off", "1m", "5m", "15m", "1h") if each.startswith(incomplete))
    names = {"run": run_names, "table": table_names, "index": index_names}[kind]
    return _items(name for name in _in_time(lambda: names(ctx)) if name.startswith(incomplete))


def sources(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """For the argument SOURCE: the schemes, and tables behind those that have one."""
    from restrike.sources import MODULES, kind_of

    scheme, colon, _ = incomplete.partition(":")
    if colon and scheme in MODULES and kind_of(scheme).has_table:
        names = _in_time(lambda: table_names(ctx))
        return _items(f"{scheme}:{name}" for name in names if f"{scheme}:{name}".startswith(incomplete))
    return _items(f"{each}:" for each in MODULES if f"{each}:".startswith(incomplete))


def tables(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """For the argument TABLE."""
    return values_for("table", ctx, incomplete)


def runs(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """For the argument NAME of a run."""
    return values_for("run", ctx, incomplete)


def run_names(ctx: click.Context) -> list[str]:
    """The newest runs of the ledger, which is neither made nor changed."""
    from restrike.running.ledger import Ledger, ledger_path

    with Ledger(ledger_path(ctx.params.get("ledger")), read_only=True) as ledger:
        return [run.name for run in ledger.runs()[:MAX_RUNS]]


def table_names(ctx: click.Context) -> list[str]:
    """All tables of the account and Region."""
    from restrike.aws.session import ask

    client = _client(ctx)
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        answer = ask(client, "ListTables", **after)
        found += answer["TableNames"]
        if "LastEvaluatedTableName" not in answer:
            return found
        after = {"ExclusiveStartTableName": answer["LastEvaluatedTableName"]}


def index_names(ctx: click.Context) -> list[str]:
    """The indexes of the table that stands on the line."""
    from restrike.aws.session import ask

    # click leaves the line's arguments where they stand while a flag's value is not there yet.
    argument = str(ctx.params.get("table") or ctx.params.get("source") or next(iter(ctx.args), ""))
    table = argument.rpartition(":")[2]
    if not table:
        return []
    told = ask(_client(ctx), "DescribeTable", TableName=table)["Table"]
    kinds = ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
    return [index["IndexName"] for kind in kinds for index in told.get(kind, ())]


def _client(ctx: click.Context) -> Any:
    from restrike.aws.session import Aws
    from restrike.aws.settings import AwsSettings

    settings = AwsSettings(**{name: ctx.params.get(name) for name in AwsSettings.__struct_fields__})
    return Aws(settings).client("dynamodb")


def _items(values: Iterable[str], **settings: Any) -> list[CompletionItem[str]]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(value, **settings) for value in values]


def _in_time(ask: Callable[[], Iterable[str]]) -> list[str]:
    """What `ask` returns; nothing where it fails or is late. A thread that is late ends with the process."""
    found: list[str] = []

    def asking() -> None:
        with contextlib.suppress(Exception):
            found.extend(ask())

    thread = threading.Thread(target=asking, daemon=True)
    thread.start()
    thread.join(_patience_s())
    return list(found)


def _patience_s() -> float:
    """How long an answer is waited for; what is no number of seconds is as if it were not there: nobody would see an
    error here."""
    try:
        told = float(os.environ.get("RESTRIKE_COMPLETION_TIMEOUT_S", ASK_S))
    except ValueError:
        return ASK_S
    return told if 0 < told < threading.TIMEOUT_MAX else ASK_S
