"""What the calls of this package need of IAM, each told once for all who make them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from restrike.model.permissions import Kept, Need, Scope

if TYPE_CHECKING:
    from restrike.aws.lambda_ import FunctionName

_ANY_FUNCTION = "any function, since only the messages say which: narrower with --consumer NAME"
READING_A_STREAM = ("dynamodb:DescribeStream", "dynamodb:GetShardIterator", "dynamodb:GetRecords")


def describing(scope: Scope, table: str, *, without: str = "", sid: str = "Table") -> Need:
    return Need(sid, ("dynamodb:DescribeTable",), (scope.table(table),), without=without)


def items(scope: Scope, table: str) -> Need:
    """Reading items by their keys."""
    return Need("Table", ("dynamodb:BatchGetItem",), (scope.table(table),), kept=Kept("table", table))


def reading_stream(scope: Scope, table: str, *, without: str = "", sid: str = "Stream") -> Need:
    """Of a table's streams, or of the one whose ARN that is."""
    return Need(sid, READING_A_STREAM, (scope.streams(table),), without=without, kept=Kept("table", table))


def listing_streams() -> Need:
    return Need("ListStreams", ("dynamodb:ListStreams",))


def listing_mappings(*, without: str = "") -> Need:
    return Need("Mappings", ("lambda:ListEventSourceMappings",), without=without)


def reading_filters(scope: Scope, table: str, *, without: str) -> Need:
    """The filters that the list of mappings leaves out, which are under a key of the user's."""
    mappings = scope.arn("lambda", "event-source-mapping:*")
    return Need("Filters", ("lambda:GetEventSourceMapping",), (mappings,), without=without, kept=Kept("filters", table))


def naming_consumers(scope: Scope, table: str) -> tuple[Need, ...]:
    """Whoever reads the table's stream, as far as the services tell; none of it is needed."""
    return (
        listing_mappings(without="the functions that read the stream are not named, nor what their filters drop"),
        reading_filters(scope, table, without="a mapping's filter under a key of your own is not known"),
        Need("Pipes", ("pipes:ListPipes",), without="EventBridge Pipes are not named"),
        Need(
            "PipeFilters",
            ("pipes:DescribePipe",),
            (scope.arn("pipes", "pipe/*"),),
            without="the filters of pipes are not known",
        ),
        Need("Ingestion", ("osis:ListPipelines",), without="pipelines of OpenSearch Ingestion are not named"),
        Need(
            "IngestionSources",
            ("osis:GetPipeline",),
            (scope.arn("osis", "pipeline/*"),),
            without="what pipelines of OpenSearch Ingestion read is not known",
        ),
    )


def naming_destinations(scope: Scope, table: str) -> tuple[Need, ...]:
    """The Kinesis data streams that get the table's changes."""
    return (
        Need(
            "KinesisDestinations",
            ("dynamodb:DescribeKinesisStreamingDestination",),
            (scope.table(table),),
            without="Kinesis destinations are not named, and a touch of a table without a stream is refused",
        ),
    )


def invoking(scope: Scope, function: FunctionName | None, *, any_qualifier: bool = False) -> tuple[Need, ...]:
    """Invoking the function, and what says how: by the qualifier that it has and no other, or by any. None: of any
    function."""
    unqualified = function_arn(scope, None if function is None else function.qualified(""))
    invoked: tuple[str, ...] = (function_arn(scope, function),)
    if any_qualifier and function is not None:
        invoked = (unqualified, f"{unqualified}:*")
    # Whether the settings of an alias are judged by its ARN or by the function's is told nowhere.
    either = tuple(dict.fromkeys((*invoked, unqualified)))
    return (
        Need("Invoke", ("lambda:InvokeFunction",), invoked, note=_ANY_FUNCTION if function is None else ""),
        Need(
            "FunctionSettings",
            ("lambda:GetFunctionConfiguration",),
            either,
            without="how long the function may take is not known, and each attempt is waited for as long as Lambda's "
            "longest",
        ),
        Need(
            "Concurrency",
            ("lambda:GetFunctionConcurrency",),
            (unqualified,),
            without="more lanes than the function may have at once are not warned of",
        ),
        Need(
            "AccountConcurrency",
            ("lambda:GetAccountSettings",),
            without="more lanes than the account may have at once are not warned of",
        ),
    )


def function_arn(scope: Scope, function: FunctionName | None) -> str:
    """Of a function as somebody names it; a partial name is one of this Region and account. None: all of them."""
    if function is None:
        return scope.arn("lambda", "function:*")
    whose = scope.of(str(function)) if function.region else scope
    account = function.account or whose.account
    qualifier = f":{function.qualifier}" if function.qualifier else ""
    return f"arn:{whose.partition}:lambda:{whose.region}:{account}:function:{function.name}{qualifier}"
