"""A redrive under way: one replay for each consumer, one after the other; then what became of the messages.

1. All pointers are followed before anything is delivered, and what they led to stands in the run's folder.
2. Each part has places of its own in the ledger; what is delivered is remembered in the transaction that moves them.
3. A part that is complete is not read again when the run goes on.
4. A message is done when its records are, and only then is its object deleted, where that was asked for.
"""

from __future__ import annotations

import asyncio

from restrike.aws.session import Aws
from restrike.errors import RestrikeError
from restrike.model.report import RedriveReport, ReplayReport
from restrike.replaying.counts import OnReplayProgress
from restrike.replaying.execute import replay
from restrike.replaying.redriving.expiring import Expiries
from restrike.replaying.redriving.memory import Remembering
from restrike.replaying.redriving.queue import VISIBILITY_S, Holding, give_back, lines_of
from restrike.replaying.redriving.resolved import Redrive
from restrike.replaying.redriving.settling import Settled, Settling, delete, done_messages, done_objects, settle
from restrike.running.life import Life
from restrike.sources.failures.index import Index
from restrike.sources.failures.state import MESSAGES, RECORDS

NEXT_TIME = "it is received again, and sent no second time"
PARTS = "parts"
"""The kind of places that says which parts are complete."""


async def redrive(resolved: Redrive, life: Life, on_progress: OnReplayProgress) -> RedriveReport:
    """Delivers from where the run is to the end of its last part, or to the stop."""
    async with Holding(Aws(resolved.base.aws), resolved.queue, life.folder) as holding:
        return await _redrive(resolved, life, on_progress, holding)


async def _redrive(resolved: Redrive, life: Life, on_progress: OnReplayProgress, holding: Holding) -> RedriveReport:
    name = life.run.name
    report: ReplayReport | None = None
    try:
        for number, part in enumerate(resolved.parts):
            if str(number) in life.book.places(name, PARTS):
                continue
            ways = Remembering(life.book, name, number, part.consumer)
            report = await replay(part.replay, life, on_progress, ways)
            if report.state != "COMPLETED":
                break
            life.book.set_places(name, PARTS, {str(number): b"complete"})
    except RestrikeError as error:
        if error.report is not None:
            error.report = _told(resolved, error.report, await _settled(resolved, life, holding))
        raise
    if report is None:  # a part before has dealt with everything, and only the messages are left to be settled
        report = await replay(
            resolved.parts[-1].replay,
            life,
            on_progress,
            Remembering(life.book, name, len(resolved.parts) - 1, resolved.parts[-1].consumer),
        )
    settled = await _settled(resolved, life, holding, complete=report.state == "COMPLETED")
    return _told(resolved, report, settled)


async def _settled(resolved: Redrive, life: Life, holding: Holding, *, complete: bool = False) -> Settled:
    ended = len(life.book.places(life.run.name, PARTS))
    with Index(life.folder / MESSAGES, life.folder / RECORDS) as index:
        settling = Settling(resolved, index, life.book, life.run.name, ended)
        lines = lines_of(life.folder) if resolved.queue else ()
        settled = settle(settling, Expiries(index, lines))
        done = done_objects(settling) if complete and resolved.request.delete_objects else {}
        numbers = done_messages(settling) if resolved.queue else frozenset()
    aws = Aws(resolved.base.aws)
    if resolved.queue:
        keep = resolved.request.keep
        await holding.end()
        settled.deleted, undeleted, held = await asyncio.to_thread(
            give_back, aws, resolved.queue, life.folder, numbers, keep=keep
        )
        if left := 0 if keep else len(numbers) - settled.deleted:
            settled.stays += ((f"done, but the queue did not delete it: {undeleted}; {NEXT_TIME}", left),)
        if held:
            life.on_warning(f"messages are hidden for up to {VISIBILITY_S // 60} minutes more: {held}")
    elif done:
        settled.deleted = await asyncio.to_thread(delete, resolved.base.source.rest, done, lambda: aws)
    return settled


def _told(resolved: Redrive, report: ReplayReport, settled: Settled) -> RedriveReport:
    return RedriveReport.of(
        report,
        str(resolved.base.source),
        resolved.request.replay.to,
        messages=settled.messages,
        done=settled.done,
        deleted=settled.deleted,
        stays=settled.stays,
        staying=settled.staying,
    )
