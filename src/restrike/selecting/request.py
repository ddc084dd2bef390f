"""Which items, as it was asked for: the flags that choose items, the same for touch and for the source `table:`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from restrike.errors import UsageError
from restrike.model.flags import Flag, given
from restrike.model.table import TableInfo

DAYS = ".."


class SelectionRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The flags that choose items, as they were typed; None where one was not given.

    `date` is a day or month, or two of them with `..` between, both included.
    """

    partition_key: str | None = None
    sort_key: str | None = None
    index: str | None = None
    date: str | None = None
    date_format: str | None = None
    tz: str | None = None
    all: bool = False
    segments: int | None = None
    keys: str | None = None
    filter_expression: str | None = None
    expression_attribute_names: str | None = None
    expression_attribute_values: str | None = None


FLAGS = (
    Flag(
        "--partition-key",
        "Items of one partition key; binary as base64.",
        "choose",
        metavar="VALUE",
    ),
    Flag(
        "--sort-key",
        'Of those: "= v", "< v", "between a b", "begins_with p" …',
        "choose",
        metavar="COND",
    ),
    Flag("--index", "Select through this index.", "choose", metavar="NAME", completes="index"),
    Flag(
        "--date",
        "Days or months, both ends included, where a key is a date.",
        "choose",
        metavar="DAY|DAY..DAY",
    ),
    Flag("--date-format", "Form of its dates, as in strftime.", "choose", metavar="FMT", default="recognised"),
    Flag("--tz", "Time zone of days, for epoch numbers.", "choose", metavar="ZONE", default="UTC"),
    Flag("--all", "Every item of the table, or of --index.", "choose", "switch"),
    Flag("--segments", "Parallel scan segments for --all.", "choose", "integer", metavar="N"),
    Flag(
        "--keys",
        "JSON lines or CSV; - for stdin, run:NAME for left-overs.",
        "choose",
        metavar="FILE",
        completes="file",
    ),
    Flag("--filter-expression", "As in the AWS CLI.", "choose", metavar="EXPR"),
    Flag("--expression-attribute-names", "As in the AWS CLI.", "choose", metavar="JSON"),
    Flag("--expression-attribute-values", "As in the AWS CLI.", "choose", metavar="JSON"),
)
"""The only list of them: the command line, the printed command and Python's keyword arguments follow it."""


def ways(request: SelectionRequest) -> list[str]:
    """The flags that choose items by themselves, of those that were given."""
    given_ways = {
        "--keys": request.keys is not None,
        "--all": request.all,
        "--partition-key": request.partition_key is not None,
        "--date": request.date is not None and request.partition_key is None,
    }
    return [flag for flag, is_given in given_ways.items() if is_given]


def several(chosen: list[str]) -> str:
    """That more than one of them was given."""
    return f"{' and '.join(chosen)} are different selections"


def is_empty(request: SelectionRequest) -> bool:
    """Whether nothing at all was asked for."""
    return not given(FLAGS, request)


def ways_of(table: TableInfo) -> str:
    """The selections that this table offers, for whoever gave none."""
    lines = ["Select in one of these ways:"]
    partition = table.key.partition
    sort = f' [--sort-key "= VALUE"]  ({table.key.sort.name}: {table.key.sort.type})' if table.key.sort else ""
    lines.append(f"  --partition-key VALUE{sort}  items of one {partition.name} ({partition.type})")
    for index in table.indexes:
        key = index.key.partition
        lines.append(f"  --index {index.name} --partition-key VALUE  items of one {key.name} ({key.type})")
        if key.type in ("S", "N"):
            lines.append(f"  --index {index.name} --date DAY or DAY..DAY  if {key.name} is a date")
        if index.key.sort is not None:
            lines.append(
                f"  --index {index.name} --partition-key VALUE --date DAY  if {index.key.sort.name} is a date or time"
            )
        lines.append(f"  --index {index.name} --all  every item of that index")
    lines.append("  --keys FILE  keys in JSON lines or CSV; - for standard input, run:NAME for what a run left over")
    lines.append(f"  --all  all of the table (about {table.item_count:,} items)")
    return "\n".join(lines)


def from_article(table: TableInfo, environment: Mapping[str, str]) -> SelectionRequest:
    """`HashKeyName` and `HashKeyValue` of the environment as a selection: of the table, or of the index so keyed."""
    name, value = environment.get("HashKeyName"), environment.get("HashKeyValue")
    if not name or not value:
        return SelectionRequest()
    if table.key.partition.name == name:
        return SelectionRequest(partition_key=value)
    indexes = [index.name for index in table.indexes if index.key.partition.name == name]
    if len(indexes) == 1:
        return SelectionRequest(partition_key=value, index=indexes[0])
    if indexes:
        raise UsageError(
            f"HashKeyName={name} is the partition key of several indexes: {', '.join(indexes)}",
            "Give --index and --partition-key.",
        )
    raise UsageError(f"HashKeyName={name} is no partition key of table {table.name}", ways_of(table))
