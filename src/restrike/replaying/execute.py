"""Carry a replay out: source and target opened as they were resolved, and the engine between them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from restrike import targets
from restrike.aws.session import Aws
from restrike.model.report import ReplayReport
from restrike.replaying.book import LedgerBook
from restrike.replaying.counts import OnReplayProgress, ReplayProgress
from restrike.replaying.engine import Replay
from restrike.replaying.opening import filter_of, opening_of, pages_of, source_of, target_opening, verdicts_of
from restrike.replaying.resolved import Resolved
from restrike.replaying.run import FAILED
from restrike.replaying.superseded import Verdicts
from restrike.running.life import Life
from restrike.running.run import given_again


async def replay(resolved: Resolved, life: Life, on_progress: OnReplayProgress) -> ReplayReport:
    """Delivers from where the run is to the source's end, its limit or the stop; returns the report."""
    aws, run, folder = Aws(resolved.aws), life.run, life.folder
    book = LedgerBook(life.book, run)

    def tell(progress: ReplayProgress) -> None:
        counts = progress.counts
        life.sample(counts.selected, {"delivered": counts.delivered, "failed": counts.failed})
        on_progress(progress)

    async with contextlib.AsyncExitStack() as stack:
        # No start: the first part of a run that follows begins at the newest end.
        stood_on = life.book.stands(run.name) if life.resumed else None
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
            filter_of(resolved),
            resolved.window,
            resolved.settings,
            book,
            stop=life.stop,
            name=run.name,
            counts=book.counts,
            on_failure=Path(resolved.on_failure) if resolved.on_failure is not None else folder / FAILED,
            elapsed_before_s=run.elapsed_s,
            fresh_event_ids=resolved.fresh_event_ids,
            verdicts=await _surveyed(resolved, aws, life, stack) if resolved.skip_superseded else None,
            on_progress=tell,
        )
        report = await engine.execute()
        if target.size_bytes is not None:
            life.book.set_stands(run.name, {targets.END: str(target.size_bytes)})
    report.gaps_allowed = bool(report.gaps) and resolved.allow_gaps
    return report


async def _surveyed(resolved: Resolved, aws: Aws, life: Life, stack: contextlib.AsyncExitStack) -> Verdicts:
    """Every item of the run judged, once."""
    opening = opening_of(resolved, aws, life.folder, run=life.run.name, started_s=life.run.began_at)
    async with source_of(resolved, opening) as reading:
        info = await reading.look(resolved.window)
        verdicts = await verdicts_of(resolved, aws, life.book, info, life.folder / "verdicts.db", stack)
        # All of the window, beyond a --limit too: the same run may go on without it.
        await verdicts.survey(pages_of(reading, resolved), filter_of(resolved).passes)
    return verdicts
