"""`restrike replay`: parse, plan, and with --execute deliver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from restrike.cli.options import aws_options, aws_settings, json_option, ledger_option, option

F = TypeVar("F", bound=Callable[..., Any])


def filter_options(command: F) -> F:
    """The window and the filters, for every verb that reads records."""
    for decorate in reversed(
        (
            option("--since", metavar="TIME", help="From then on: ISO 8601 with zone, or back from now: 2h, 3d."),
            option("--until", metavar="TIME", help="Before then."),
            option("--last", metavar="DURATION", help="The last 30m, 2h, 3d."),
            option("--key", metavar="VALUE", help="Records of items with that key value; PARTITION/SORT for both."),
            option("--event", metavar="NAMES", help="INSERT, MODIFY, REMOVE, with commas."),
            option("--pattern", metavar="FILE|JSON", help="Lambda's FilterCriteria, or one pattern."),
            option("--where", metavar="JMESPATH", help="Over the record with plain values."),
            option("--limit", type=int, metavar="N", help="Only the first N records."),
        )
    ):
        command = decorate(command)
    return command


def selection_options(command: F) -> F:
    """What to read of `table:`; the flags of touch, as far as they select."""
    for decorate in reversed(
        (
            option("--item-key", metavar="VALUE", help="table: items of one partition key."),
            option("--sort-key", metavar="COND", help="table: as in touch."),
            option("--index", metavar="NAME", help="table: select through this index."),
            option("--from", "date_from", metavar="DATE", help="table: first day of a date index."),
            option("--to-date", "date_to", metavar="DATE", help="table: last day, included."),
            option("--date-format", metavar="FMT", help="table: as in touch."),
            option("--tz", default="UTC", show_default=True, metavar="ZONE", help="table: time zone of days."),
            option("--all", "all_items", is_flag=True, environment=False, help="table: every item."),
            option("--segments", type=int, metavar="N", help="table: parallel scan segments."),
            option("--keys", metavar="FILE", help="table: a key file, - or run:NAME."),
            option("--filter-expression", metavar="EXPR", help="table: as in the AWS CLI."),
            option("--expression-attribute-names", metavar="JSON", help="table: as in the AWS CLI."),
            option("--expression-attribute-values", metavar="JSON", help="table: as in the AWS CLI."),
            option("--as", "as_event", type=click.Choice(["INSERT", "MODIFY", "REMOVE"]), default="INSERT",
                   show_default=True, help="table: what the records say."),
            option("--old-image/--no-old-image", default=True, help="table: whether MODIFY has an OldImage."),
        )
    ):  # fmt: skip
        command = decorate(command)
    return command


@click.command()
@click.argument("source")
@option("--to", metavar="TARGET", help="lambda:NAME[:ALIAS], handler:MODULE:FUNCTION, jsonl:PATH or -.")
@filter_options
@selection_options
@option("--batch-size", type=int, metavar="N", help="Records a batch.  [default: the mapping's, else 100]")
@option("--max-payload", type=int, metavar="BYTES", help="Bytes an event.  [default: the target's limit]")
@option("--retries", type=int, metavar="N", help="Tries after the first.  [default: the mapping's, else 5]")
@option("--bisect/--no-bisect", default=None, help="Split a batch that fails.  [default: the mapping's, else not]")
@option(
    "--report-batch-item-failures/--no-report-batch-item-failures",
    default=None,
    help="Read batchItemFailures.  [default: the mapping's, else not]",
)
@option("--max-age", "max_age_s", type=float, metavar="S", help="Give a batch up so long after its first attempt.")
@option("--parallel", type=int, metavar="N", help="Lanes.  [default: the mapping's, else 1]")
@option("--rate", type=float, metavar="N", help="Records a second at most.")
@option("--max-failures", type=int, metavar="N", help="Stop when more records than these were given up.")
@option("--on-failure", metavar="jsonl:PATH", help="What is given up.  [default: a file in the run's folder]")
@option(
    "--if-superseded",
    type=click.Choice(["send", "skip"]),
    default="send",
    show_default=True,
    help="Records whose item has moved on.",
)
@option("--ignore-attributes", metavar="NAMES", help="Not compared for --if-superseded; with commas.")
@option(
    "--event-id",
    type=click.Choice(["keep", "fresh"]),
    default="keep",
    show_default=True,
    help="fresh: for consumers that drop what they have seen.",
)
@option("--events", is_flag=True, help="jsonl: one whole Lambda event a line.")
@option("--timeout", "timeout_s", type=float, default=900.0, show_default=True, metavar="S", help="handler: a batch.")
@option("--follow", is_flag=True, help="stream: go on with what comes.")
@option("--allow-gaps", is_flag=True, help="Records that the source has lost are no error.")
@option("--run", metavar="NAME", help="Name of the run.  [default: replay-SOURCE-UTCTIME-xxxx]")
@option("--force", is_flag=True, environment=False, help="Deliver where the plan advises against it.")
@option("--execute", is_flag=True, environment=False, help="Do it. Without this the plan is printed.")
@ledger_option
@json_option
@aws_options
def command(source: str, to: str | None, execute: bool, as_json: bool, **values: Any) -> int:
    """Hand the records of SOURCE to one consumer. The table is not written.

    SOURCE is stream:TABLE, a stream's ARN, table:TABLE, archive:PATH-or-s3://…, jsonl:PATH or -. Prints the plan and
    delivers nothing, unless --execute is given.
    """
    from restrike.cli import output
    from restrike.errors import UsageError
    from restrike.replaying.plan import plan as make_plan

    if to is None:
        raise UsageError("no target is named", "Give --to lambda:NAME, handler:MODULE:FUNCTION, jsonl:PATH or -.")
    plan = make_plan(request_of(source, to, values))
    return output.carry_out(
        plan,
        output.show_replay_plan,
        f"{plan.data.source} to {plan.data.target}",
        execute=execute,
        as_json=as_json,
        total=plan.data.records.count,
    )


def request_of(source: str, to: str, values: dict[str, Any]) -> Any:
    """The command's values as a ReplayRequest."""
    from restrike.replaying.filters import FilterRequest
    from restrike.replaying.request import ReplayRequest
    from restrike.touching.request import TouchRequest

    settings = aws_settings(values)
    filters = FilterRequest(
        **{name: values.pop(name) for name in ("since", "until", "last", "key", "event", "pattern", "where", "limit")}
    )
    chosen = {name: values.pop(name) for name in _SELECTION}
    selection = None
    if source.startswith("table:"):
        selection = TouchRequest(
            table=source.removeprefix("table:"),
            key=values.pop("item_key"),
            all=values.pop("all_items"),
            aws=settings,
            ledger=values["ledger"],
            **chosen,
        )
    else:
        values.pop("item_key")
        values.pop("all_items")
    return ReplayRequest(source=source, to=to, filters=filters, selection=selection, aws=settings, **values)


_SELECTION = (
    "sort_key",
    "index",
    "date_from",
    "date_to",
    "date_format",
    "tz",
    "segments",
    "keys",
    "filter_expression",
    "expression_attribute_names",
    "expression_attribute_values",
)
