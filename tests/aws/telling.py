"""What people see of a probe: the plan with its cost, the table of claims, the summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import rich.box
import rich.markup
import rich.table
from rich.console import Console

from restrike.model.prices import ELSEWHERE, Prices
from tests.aws.claim import Claim, Result, Verdict
from tests.aws.claims import NOT_TRIED
from tests.aws.table import LARGEST_ITEM_BYTES

READS_A_CLAIM = 3
LARGE_READS = 2 * LARGEST_ITEM_BYTES // 4096
STREAM_READS_A_CLAIM = 40
PERMISSIONS = (
    "CreateTable, DescribeTable, DeleteTable, ListTables, TagResource, ListTagsOfResource, DescribeTimeToLive, "
    "DescribeContinuousBackups, DescribeKinesisStreamingDestination, GetItem, PutItem, UpdateItem, DeleteItem, "
    "BatchWriteItem, PartiQLInsert, PartiQLUpdate, DescribeStream, GetShardIterator, GetRecords"
)
GLOBAL_PERMISSIONS = ", UpdateTable, CreateTableReplica, DeleteTableReplica, Scan, Query; iam: CreateServiceLinkedRole"

PRICES = Prices(ELSEWHERE)


@dataclass(frozen=True)
class Cost:
    """What a probe takes, in units and money: reads as they are in practice, writes at most."""

    writes: int
    reads: int
    stream_reads: int
    replicated_writes: int

    @property
    def usd(self) -> float:
        return (
            PRICES.usd("write", self.writes)
            + PRICES.usd("replicated-write", self.replicated_writes)
            + PRICES.usd("read", self.reads)
            + PRICES.usd("stream-read", self.stream_reads)
        )

    def __str__(self) -> str:
        parts = [
            f"{self.writes:,} write units ${PRICES.usd('write', self.writes):.5f}",
            f"{self.reads:,} read units ${PRICES.usd('read', self.reads):.5f}",
            f"{self.stream_reads:,} stream reads ${PRICES.usd('stream-read', self.stream_reads):.5f}",
        ]
        if self.replicated_writes:
            money = PRICES.usd("replicated-write", self.replicated_writes)
            parts.append(f"{self.replicated_writes:,} replicated write units ${money:.5f}")
        return f"about ${self.usd:.4f}: {', '.join(parts)}; half a megabyte kept for some minutes"


def cost_of(claims: Sequence[Claim], regional: Sequence[Claim]) -> Cost:
    """Reckoned by what each claim says that it writes."""
    every = len(claims) + len(regional)
    written = sum(each.writes for each in claims)
    # The replica is filled with what is there, and each write then is one in both Regions.
    of_regions = sum(each.writes for each in regional)
    return Cost(
        writes=written + of_regions,
        reads=every * READS_A_CLAIM + LARGE_READS,
        stream_reads=every * STREAM_READS_A_CLAIM,
        replicated_writes=LARGEST_ITEM_BYTES // 1024 + 2 * of_regions if regional else 0,
    )


def plan(console: Console, facts: dict[str, str], claims: Sequence[Claim], regional: Sequence[Claim]) -> None:
    """Where it would run, what it would make, ask and cost."""
    for name, value in facts.items():
        console.print(f"{name:<8} {value}", highlight=False, markup=False, soft_wrap=True)
    cost = f"{cost_of(claims, regional)} ({ELSEWHERE}, {PRICES.as_of('write')}; other Regions up to twice)"
    permissions = PERMISSIONS + (GLOBAL_PERMISSIONS if regional else "")
    for name, value in (("cost", cost), ("needs", f"dynamodb: {permissions}")):
        console.print(f"{name:<8} {value}", highlight=False, markup=False, soft_wrap=True)
    table = rich.table.Table("claim", "what is asked", "source", box=rich.box.SIMPLE, pad_edge=False)
    for claim in (*claims, *regional):
        table.add_row(*map(rich.markup.escape, (claim.name, claim.says, claim.mark)))
    console.print(table)
    _not_tried(console)


def report(console: Console, results: Sequence[Result]) -> None:
    """The table of claims; behind it what is known of a DynamoDB Local, what differs and what follows from that, what
    could not be tried, and the sum."""
    table = rich.table.Table(box=rich.box.SIMPLE, pad_edge=False)
    for heading in ("claim", "expected", "seen", "verdict"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "claim")
    for result in results:
        refused = result.seen.startswith("refused") and result.verdict == "as expected"
        seen = f"{result.seen} ({result.detail})" if result.detail and not refused else result.seen or "-"
        expected = f"{result.expected} [{_source(result)}]"
        table.add_row(*map(rich.markup.escape, (result.claim.name, expected, seen, result.verdict)))
    console.print(table)
    for result in results:
        if result.deviation is not None:
            aws = f"on AWS, {result.claim.mark}: {result.claim.expected}"
            _line(console, f"DynamoDB Local  {result.claim.name}: {result.deviation.why} ({aws})")
    for result in results:
        if result.verdict == "could not be tried":
            _line(console, f"could not be tried  {result.claim.name}: {result.why}")
        elif result.verdict == "differs":
            then = f" Then: {result.claim.otherwise}." if result.claim.otherwise else ""
            gone = " The deviation is gone." if result.deviation and result.seen == result.claim.expected else ""
            _line(console, f"differs  {result.claim.name}: {result.claim.says}{gone}{then}")
    _not_tried(console)
    _line(console, summary(results))


def summary(results: Sequence[Result]) -> str:
    counts = Counter(result.verdict for result in results)
    return f"{len(results)} claims: " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in get_args(Verdict))


def as_data(result: Result) -> dict[str, Any]:
    """A result for `--json`."""
    return {
        "claim": result.claim.name,
        "says": result.claim.says,
        "source": _source(result),
        "expected": result.expected,
        "seen": result.seen,
        "detail": result.detail,
        "verdict": result.verdict,
        "why": result.why,
    }


def _source(result: Result) -> str:
    return result.claim.mark if result.deviation is None else "DynamoDB Local"


def _not_tried(console: Console) -> None:
    _line(console, "not tried at all:")
    for what, why in NOT_TRIED:
        _line(console, f"  {what}: {why}")


def _line(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
