"""What a caller of replay asks for, as it was typed."""

from __future__ import annotations

import math
import shlex
from typing import Literal

import msgspec

from restrike.aws.settings import AWS_FLAGS, AwsSettings
from restrike.errors import UsageError
from restrike.model.flags import flag_words
from restrike.replaying.filters import FilterRequest
from restrike.touching.request import TouchRequest


class ReplayRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that `restrike replay` takes. None where it was not given: then the function's event source mapping
    decides, or Lambda's default.

    `selection` holds the flags that choose items, for the source `table:`.
    """

    source: str
    to: str
    filters: FilterRequest = FilterRequest()
    selection: TouchRequest | None = None
    as_event: Literal["INSERT", "MODIFY", "REMOVE"] = "INSERT"
    old_image: bool = True
    batch_size: int | None = None
    max_payload: int | None = None
    retries: int | None = None
    bisect: bool | None = None
    report_batch_item_failures: bool | None = None
    max_age_s: float | None = None
    parallel: int | None = None
    rate: float | None = None
    max_failures: int | None = None
    on_failure: str | None = None
    if_superseded: Literal["send", "skip"] = "send"
    ignore_attributes: str | None = None
    event_id: Literal["keep", "fresh"] = "keep"
    events: bool = False
    timeout_s: float = 900.0
    follow: bool = False
    allow_gaps: bool = False
    run: str | None = None
    ledger: str | None = None
    force: bool = False
    aws: AwsSettings = AwsSettings()


def check(request: ReplayRequest) -> None:
    """UsageError for numbers that make no sense and for combinations that contradict each other."""
    for flag, value, least in (
        ("--batch-size", request.batch_size, 1),
        ("--max-payload", request.max_payload, 1_000),
        ("--retries", request.retries, 0),
        ("--parallel", request.parallel, 1),
        ("--rate", request.rate, 0.01),
        ("--max-failures", request.max_failures, 0),
        ("--max-age", request.max_age_s, 0),
        ("--timeout", request.timeout_s, 0.1),
        ("--limit", request.filters.limit, 1),
    ):
        if value is not None and not least <= value < math.inf:
            raise UsageError(f"{flag} {value:g} is no number from {least:g} on", f"Give {least:g} or more.")
    if request.batch_size is not None and request.batch_size > 10_000:
        raise UsageError("--batch-size is at most 10,000, as in an event source mapping")
    if request.parallel is not None and request.parallel > 1_000:
        raise UsageError("--parallel is at most 1,000")
    if request.follow and not request.source.startswith(("stream:", "arn:")):
        raise UsageError("--follow goes with a stream: source", "Nothing else has an end to wait at: leave it out.")
    if request.follow and request.if_superseded == "skip":
        raise UsageError("--if-superseded skip reads the source ahead, and a stream that is followed has no end")
    if request.events and request.to != "-" and not request.to.startswith("jsonl:"):
        raise UsageError("--events goes with --to jsonl:PATH or -", "Leave it out: other targets get events anyway.")
    if request.source == "jsonl:-" and request.follow:
        raise UsageError("standard input cannot be followed")


FILTER_FLAGS = {
    "since": "--since",
    "until": "--until",
    "last": "--last",
    "key": "--key",
    "event": "--event",
    "pattern": "--pattern",
    "where": "--where",
    "limit": "--limit",
}
FLAGS = {
    "as_event": "--as",
    "old_image": "--old-image",
    "batch_size": "--batch-size",
    "max_payload": "--max-payload",
    "retries": "--retries",
    "bisect": "--bisect",
    "report_batch_item_failures": "--report-batch-item-failures",
    "max_age_s": "--max-age",
    "parallel": "--parallel",
    "rate": "--rate",
    "max_failures": "--max-failures",
    "on_failure": "--on-failure",
    "if_superseded": "--if-superseded",
    "ignore_attributes": "--ignore-attributes",
    "event_id": "--event-id",
    "events": "--events",
    "timeout_s": "--timeout",
    "follow": "--follow",
    "allow_gaps": "--allow-gaps",
    "ledger": "--ledger",
    "force": "--force",
}


def command(request: ReplayRequest, run: str) -> str:
    """The command line that executes the request under that name."""
    words = ["restrike", "replay", request.source, "--to", request.to]
    default = ReplayRequest(source="", to="")
    words += flag_words(request.filters, default.filters, FILTER_FLAGS)
    words += flag_words(request, default, FLAGS)
    words += flag_words(request.aws, default.aws, AWS_FLAGS)
    if request.selection is not None:
        words += flag_words(request.selection, TouchRequest(table=""), SELECTION_FLAGS)
    return shlex.join([*words, "--run", run, "--execute"])


SELECTION_FLAGS = {
    "key": "--item-key",
    "sort_key": "--sort-key",
    "index": "--index",
    "date_from": "--from",
    "date_to": "--to-date",
    "date_format": "--date-format",
    "tz": "--tz",
    "all": "--all",
    "segments": "--segments",
    "keys": "--keys",
    "filter_expression": "--filter-expression",
    "expression_attribute_names": "--expression-attribute-names",
    "expression_attribute_values": "--expression-attribute-values",
}
