"""The source and the target of a replay, opened as they were resolved."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import cast

from restrike import sources, targets
from restrike.aws.session import Aws
from restrike.model.pattern import Criteria, compile_criteria
from restrike.model.record import Record
from restrike.replaying.book import markers
from restrike.replaying.filters import RecordFilter, key_filter
from restrike.replaying.resolved import Resolved
from restrike.replaying.superseded import Verdicts, open_verdicts
from restrike.running.ledger import Ledger
from restrike.sources import Source, SourceInfo


def criteria_of(resolved: Resolved) -> Criteria | None:
    """The mapping's filter."""
    return compile_criteria(resolved.criteria) if resolved.criteria is not None else None


def filter_of(resolved: Resolved) -> RecordFilter:
    return RecordFilter(resolved.filters, resolved.window, criteria_of(resolved))


def opening_of(
    resolved: Resolved,
    aws: Aws,
    folder: Path,
    *,
    run: str = "",
    ledger: Path = Path(),
    started_s: float | None = None,
    looking: bool = False,
    once: bool = False,
    stood_on: Mapping[str, str] | None = None,
    again: str = "",
) -> sources.Opening:
    """With what the source is opened; what was spooled for it is in `folder`."""
    return sources.Opening(
        lambda: aws,
        folder,
        run=run,
        ledger=ledger,
        window=resolved.window,
        started_s=started_s,
        wants_key=key_filter(resolved.filters),
        allow_gaps=resolved.allow_gaps,
        looking=looking,
        once=once,
        stood_on=stood_on,
        again=again,
    )


def target_opening(resolved: Resolved, aws: Aws, run: str, stood_on: Mapping[str, str] | None) -> targets.Opening:
    """With what the target is opened. Until an earlier part of the run has opened it, nothing in it is the run's."""
    stands = stood_on or {}
    return targets.Opening(
        aws=aws, run=run, lanes=resolved.settings.lanes, resuming=targets.END in stands, stood_on=stands
    )


def source_of(resolved: Resolved, opening: sources.Opening) -> Source:
    """The source, not yet entered."""
    return sources.kind_of(resolved.source.scheme).open(resolved.source, resolved.input, opening)


def pages_of(source: Source, resolved: Resolved) -> AsyncGenerator[list[Record], None]:
    """All of the window, from the beginning."""
    return cast("AsyncGenerator[list[Record], None]", source.read({}, resolved.window))  # all sources are generators


async def verdicts_of(
    resolved: Resolved,
    aws: Aws,
    ledger: Ledger,
    info: SourceInfo,
    path: Path,
    stack: AsyncExitStack,
    kind: type[Verdicts] = Verdicts,
) -> Verdicts:
    """Where superseded records are skipped: the verdicts at that path, before the survey."""
    ignored = frozenset(resolved.ignored_attributes)
    return await open_verdicts(aws, info.table_name, lambda arn: ignored | markers(ledger, arn), path, stack, kind)
