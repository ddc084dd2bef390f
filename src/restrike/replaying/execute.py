"""Carry a replay out: source and target opened as they were resolved, and the engine between them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from restrike import targets
from restrike.aws.session import Aws
from restrike.model.record import Record
from restrike.model.report import ReplayReport
from restrike.replaying.book import LedgerBook
from restrike.replaying.counts import OnReplayProgress, ReplayProgress
from restrike.replaying.engine import Replay
from restrike.replaying.failures import Failures
from restrike.replaying.filters import RecordFilter
from restrike.replaying.opening import filter_of, opening_of, pages_of, source_of, target_opening, verdicts_of
from restrike.replaying.resolved import Resolved
from restrike.replaying.run import FAILED
from restrike.replaying.superseded import Verdicts
from restrike.running.ledger import Ledger
from restrike.running.life import Life
from restrike.running.run import Run, given_again


class Ways:
    """What a replay keeps, and how. A redrive has ways of its own: it remembers what it delivered."""

    verdicts_kind: type[Verdicts] = Verdicts
    verdicts_file = "verdicts.db"
    remembers = False

    def run(self, life: Life) -> Run:
        """As it is when the replay begins."""
        return life.run

    def begun(self, life: Life) -> bool:
        """Whether the run may have delivered before this."""
        return life.resumed

    def book(self, ledger: Ledger, run: Run) -> LedgerBook:
        return LedgerBook(ledger, run)

    def filter(self, resolved: Resolved) -> RecordFilter:
        return filter_of(resolved)

    def failures(self, path: Path, run: str, target: str) -> Failures:
        return Failures(path, run=run, target=target)

    def delivered(self, records: list[Record]) -> None:
        """Where it `remembers`: see `restrike.replaying.working.OnDelivered`."""


async def replay(
    resolved: Resolved, life: Life, on_progress: OnReplayProgress, ways: Ways | None = None
) -> ReplayReport:
    """Delivers from where the run is to the source's end, its limit or the stop; returns the report."""
    ways = ways or Ways()
    aws, run, folder = Aws(resolved.aws), ways.run(life), life.folder
    book = ways.book(life.book, run)
    on_failure = Path(resolved.on_failure) if resolved.on_failure is not None else folder / FAILED

    def tell(progress: ReplayProgress) -> None:
        counts = progress.counts
        life.sample(counts.selected, {"delivered": counts.delivered, "failed": counts.failed})
        on_progress(progress)

    async with contextlib.AsyncExitStack() as stack:
        # No start: the first part of a run that follows begins at the newest end.
        stood_on = life.book.stands(run.name) if ways.begun(life) else None
        opening = opening_of(
            resolved, aws, folder, run=run.name, started_s=run.started_s, stood_on=stood_on, again=given_again(run)
        )
        source = await stack.enter_async_context(source_of(resolved, opening))
        if run.started_s is None and source.started_s is not None:
            life.book.set_started(run.name, source.started_s)
        target = await stack.enter_async_context(
            targets.kind_of(resolved.target).open(
                resolved.target,
                resolved.target_options,
                target_opening(resolved, aws, run.name, stood_on),
            )
        )
        life.book.set_stands(run.name, {targets.END: ""})
        engine = Replay(
            source,
            target,
            ways.filter(resolved),
            resolved.window,
            resolved.settings,
            book,
            stop=life.stop,
            name=run.name,
            counts=book.counts,
            on_failure=on_failure,
            failures=ways.failures(on_failure, run.name, target.uri),
            on_delivered=ways.delivered if ways.remembers else None,
            elapsed_before_s=run.elapsed_s,
            fresh_event_ids=resolved.fresh_event_ids,
            verdicts=await _surveyed(resolved, aws, life, stack, ways) if resolved.skip_superseded else None,
            on_progress=tell,
        )
        report = await engine.execute()
        if target.size_bytes is not None:
            life.book.set_stands(run.name, {targets.END: str(target.size_bytes)})
    report.gaps_allowed = bool(report.gaps) and resolved.allow_gaps
    return report


async def _surveyed(resolved: Resolved, aws: Aws, life: Life, stack: contextlib.AsyncExitStack, ways: Ways) -> Verdicts:
    """Every item of the run judged, once."""
    opening = opening_of(resolved, aws, life.folder, run=life.run.name, started_s=life.run.began_at)
    async with source_of(resolved, opening) as reading:
        info = await reading.look(resolved.window)
        path = life.folder / ways.verdicts_file
        verdicts = await verdicts_of(resolved, aws, life.book, info, path, stack, ways.verdicts_kind)
        # All of the window, beyond a --limit too: the same run may go on without it.
        await verdicts.survey(pages_of(reading, resolved), filter_of(resolved).passes)
    return verdicts
