"""What a caller of replay asks for, as it was typed."""

from __future__ import annotations

import shlex
from typing import Any, Literal

import msgspec

from restrike import sources, targets
from restrike.aws import settings
from restrike.aws.settings import AwsSettings
from restrike.errors import UsageError
from restrike.model.flags import Flag, refuse_below, words
from restrike.model.prices import given_prices
from restrike.replaying import filters
from restrike.replaying.filters import FilterRequest
from restrike.running.flags import LEDGER, PLAN_TIMEOUT, PRICE, run_flag


class ReplayRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that `restrike replay` takes. None where it was not given: then the function's event source mapping
    decides, or the default that the flag names.

    `source_options` and `target_options` hold the flags that the source and the target have of their own, by the fields
    that they fill.
    """

    source: str
    to: str
    filters: FilterRequest = FilterRequest()
    source_options: dict[str, Any] = {}
    target_options: dict[str, Any] = {}
    batch_size: int | None = None
    max_payload: int | None = None
    retries: int | None = None
    bisect: bool | None = None
    report_batch_item_failures: bool | None = None
    max_age_s: float | None = None
    parallel: int | None = None
    rate: float | None = None
    price: str | None = None
    max_failures: int | None = None
    max_failures_in_a_row: int | None = None
    on_failure: str | None = None
    if_superseded: Literal["send", "skip"] | None = None
    ignore_attributes: str | None = None
    event_id: Literal["keep", "fresh"] | None = None
    allow_gaps: bool = False
    plan_timeout_s: float | None = None
    run: str | None = None
    ledger: str | None = None
    aws: AwsSettings = AwsSettings()


MAX_FAILURES_IN_A_ROW = 10
ALLOW_GAPS = Flag("--allow-gaps", "Records that the source has lost are no error.", "records", "switch")
FLAGS = (
    Flag("--batch-size", "Records a batch.", "deliver", "integer", metavar="N", default="the mapping's, else 100"),
    Flag("--max-payload", "Bytes an event.", "deliver", "integer", metavar="BYTES", default="the target's limit"),
    Flag("--retries", "Tries after the first.", "deliver", "integer", metavar="N", default="the mapping's, else 5"),
    Flag("--bisect", "Split a batch that fails.", "deliver", "toggle", default="the mapping's, else not"),
    Flag(
        "--report-batch-item-failures",
        "Read batchItemFailures.",
        "deliver",
        "toggle",
        default="the mapping's, else not",
    ),
    Flag(
        "--max-age",
        "Give a batch up so long after its first attempt.",
        "deliver",
        "number",
        metavar="S",
        field="max_age_s",
    ),
    Flag("--parallel", "Lanes.", "pace", "integer", metavar="N", default="the mapping's, else 1"),
    Flag("--rate", "Records a second at most.", "pace", "number", metavar="N"),
    PRICE,
    Flag("--max-failures", "Stop when more records than these were given up.", "deliver", "integer", metavar="N"),
    Flag(
        "--max-failures-in-a-row",
        "Stop when so many whole batches in a row were given up; 0: never.",
        "deliver",
        "integer",
        metavar="N",
        default=str(MAX_FAILURES_IN_A_ROW),
    ),
    Flag("--on-failure", "What is given up.", "deliver", metavar="jsonl:PATH", default="a file in the run's folder"),
    Flag(
        "--if-superseded",
        "Records whose item has moved on.",
        "deliver",
        "choice",
        choices=("send", "skip"),
        default="send",
    ),
    Flag("--ignore-attributes", "Not compared for --if-superseded; with commas.", "deliver", metavar="NAMES"),
    Flag(
        "--event-id",
        "fresh: for consumers that drop what they know.",
        "deliver",
        "choice",
        choices=("keep", "fresh"),
        default="keep",
    ),
    ALLOW_GAPS,
    run_flag("replay-SOURCE-UTCTIME-xxxx"),
    PLAN_TIMEOUT,
    LEDGER,
)
"""The flags of a replay that no source and no target has to itself, by the fields of ReplayRequest."""


def check(request: ReplayRequest) -> None:
    """UsageError for numbers that make no sense and for combinations that contradict each other."""
    for flag, value, least in (
        ("--batch-size", request.batch_size, 1),
        ("--max-payload", request.max_payload, 1_000),
        ("--retries", request.retries, 0),
        ("--parallel", request.parallel, 1),
        ("--rate", request.rate, 0.01),
        ("--plan-timeout", request.plan_timeout_s, 0.1),
        ("--max-failures", request.max_failures, 0),
        ("--max-failures-in-a-row", request.max_failures_in_a_row, 0),
        ("--max-age", request.max_age_s, 0),
        ("--limit", request.filters.limit, 1),
    ):
        refuse_below(flag, value, least)
    given_prices(request.price)
    if request.batch_size is not None and request.batch_size > 10_000:
        raise UsageError("--batch-size is at most 10,000, as in an event source mapping")
    if request.parallel is not None and request.parallel > 1_000:
        raise UsageError("--parallel is at most 1,000")
    for flag, text in (
        ("--run", request.run),
        ("--key", request.filters.key),
        ("--pattern", request.filters.pattern),
        ("--where", request.filters.where),
        ("--on-failure", request.on_failure),
        ("--ignore-attributes", request.ignore_attributes),
    ):
        if text == "":
            raise UsageError(f"{flag} is empty", "Is the variable that it comes from set?")
    if request.ignore_attributes is not None and request.if_superseded != "skip":
        raise UsageError(
            "--ignore-attributes is for --if-superseded skip, which alone compares", "Give both of them, or none."
        )


def command_line(request: ReplayRequest, run: str) -> str:
    """The command line that executes the request under that name."""
    own = [flag for flag in FLAGS if flag.name != "--run"]  # stands at the end
    parts = ["restrike", "replay", request.source, "--to", request.to]
    parts += words(sources.flags(), request.source_options)
    parts += words(filters.FLAGS, request.filters)
    parts += words(own, request)
    parts += words(targets.flags(), request.target_options)
    parts += words(settings.FLAGS, request.aws)
    return shlex.join([*parts, "--run", run, "--execute"])
