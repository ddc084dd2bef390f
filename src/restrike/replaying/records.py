"""The records of a source, to look at: nothing is delivered and nothing is kept."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from restrike import sources
from restrike.aws.session import Aws
from restrike.errors import SourceLacks
from restrike.model.record import Record
from restrike.model.window import Gap
from restrike.replaying.filters import RecordFilter, has_window, window_of, with_pattern_text
from restrike.replaying.opening import opening_of, pages_of, source_of
from restrike.replaying.plan import check_source
from restrike.replaying.request import ReplayRequest, check
from restrike.replaying.resolved import Resolved
from restrike.replaying.settings import Settings
from restrike.running.ledger import ledger_path
from restrike.running.spool import Spool


def read_records(
    request: ReplayRequest,
    on_lost: Callable[[Gap], None] = lambda _: None,
    on_nothing: Callable[[str], None] = lambda _: None,
) -> Iterator[Record]:
    """The records that pass the request's window and filters, one by one; ends right behind the last of its limit.

    Raises SourceLacks at the end where the source has lost records of the window; with `allow_gaps` it calls `on_lost`.
    Where none passed, `on_nothing` is told at the end what was looked through.
    """
    check(request)
    here = Path.cwd()
    source = sources.parse_source(request.source, here)
    options = sources.options_of(source, request.source_options)
    check_source(request, source, options)
    filters = with_pattern_text(request.filters)
    resolved = Resolved(
        request=request,
        source=source,
        target=source,
        target_options={},
        window=window_of(request.filters, datetime.now(UTC)),
        filters=filters,
        settings=Settings(),
        aws=request.aws,
        allow_gaps=request.allow_gaps,
    )
    RecordFilter(filters, resolved.window)  # refuses what is none before anything is read
    reading = _Reading(resolved, options, on_lost, on_nothing)
    threading.Thread(target=reading.run, daemon=True).start()
    try:
        while (page := reading.pages.get()) is not None:
            if isinstance(page, BaseException):
                raise page
            yield from page
    finally:
        reading.ended.set()


class _Reading:
    """Reads on a thread with an event loop of its own: whoever takes the records need not have one."""

    def __init__(
        self,
        resolved: Resolved,
        options: Mapping[str, Any],
        on_lost: Callable[[Gap], None],
        on_nothing: Callable[[str], None],
    ) -> None:
        self._resolved = resolved
        self._options = options
        self._on_lost = on_lost
        self._on_nothing = on_nothing
        self.pages: queue.Queue[list[Record] | BaseException | None] = queue.Queue(2)
        self.ended = threading.Event()

    def run(self) -> None:
        """Puts pages, then None or what went wrong."""
        with Spool() as folder:
            try:
                asyncio.run(self._read(Path(folder)))
            except BaseException as error:
                self._hand_over(error)
            else:
                self._hand_over(None)

    def _hand_over(self, what: list[Record] | BaseException | None) -> bool:
        """False where nobody takes any more."""
        while not self.ended.is_set():
            with contextlib.suppress(queue.Full):
                self.pages.put(what, timeout=0.2)
                return True
        return False

    async def _read(self, folder: Path) -> None:
        resolved, request = self._resolved, self._resolved.request
        aws = Aws(resolved.aws)
        if has_window(resolved.filters):
            now = await asyncio.to_thread(sources.now, resolved.source, lambda: aws)
            resolved = msgspec.structs.replace(resolved, window=window_of(resolved.filters, now))
        opening = opening_of(
            resolved, aws, folder, run=folder.name, ledger=ledger_path(request.ledger), looking=True, once=True
        )
        kind = sources.kind_of(resolved.source.scheme)
        settled = await kind.resolve(resolved.source, self._options, opening)
        reading = source_of(msgspec.structs.replace(resolved, input=settled), opening)
        record_filter = RecordFilter(resolved.filters, resolved.window)
        left = request.filters.limit
        async with reading as source:
            pages = pages_of(source, resolved)
            async with contextlib.aclosing(pages):
                async for page in pages:
                    wanted = [record for record in page if record_filter.passes(record)][:left]
                    if wanted and not await asyncio.to_thread(self._hand_over, wanted):
                        return
                    if left is not None and (left := left - len(wanted)) == 0:
                        return  # and not when the next page comes
            if not record_filter.passed:
                self._on_nothing(record_filter.told())
            if source.gaps and not request.allow_gaps:
                lost = "; ".join(f"{gap.shard}: {gap.why}" for gap in source.gaps)
                raise SourceLacks(f"records are missing: {lost}", "What it still has was printed.")
            for gap in source.gaps:
                self._on_lost(gap)
