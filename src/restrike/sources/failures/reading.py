"""`failures:PATH` or `failures:s3://…`: the records of batches that were given up, by their messages."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from restrike.aws import streams
from restrike.aws.session import Aws
from restrike.aws.streams import RETENTION_S
from restrike.errors import AwsError, UsageError
from restrike.model.failure import Pointer
from restrike.model.record import Fidelity, Record
from restrike.model.times import iso
from restrike.model.window import Gap, Window
from restrike.running.spool import Spool
from restrike.sources import SourceInfo
from restrike.sources.failures.index import PARTLY, UNREAD, WHOLE, Index, Origin, Outcome, copy
from restrike.sources.failures.resolving import Ranges, resolve
from restrike.sources.failures.state import MESSAGES, RECORDS

TOLD_REASONS = 5


class FailureSource:
    """The records that messages bring along, and those that they point at: stream after stream, each shard after its
    parent, by sequence number. A record that several messages tell of comes once.

    All pointers are followed before the first record is given, and what they led to stays in the run's folder: nothing
    expires while a consumer is slow. A place is the sequence number.

    `gaps` names the pointers whose records are lost, or the beginning of them. Of one whose beginning is lost nothing
    is given, unless gaps are allowed.
    """

    fidelity: Fidelity = "exact"

    def __init__(
        self,
        ask: Callable[[], Aws],
        uri: str,
        folder: Path,
        *,
        archive: str = "",
        wanted: tuple[Origin, ...] = (),
        looking: bool = False,
        allow_gaps: bool = False,
    ) -> None:
        self.uri = uri
        self.ended = ""
        self.gaps: list[Gap] = []
        self.drained: set[str] = set()
        self.started_s: float | None = None
        self.stands_on: Mapping[str, str] = {}
        self._ask = ask
        self._folder = folder
        self._archive = archive
        self._wanted = wanted
        self._looking = looking
        self._allow_gaps = allow_gaps
        self._held = contextlib.ExitStack()

    async def __aenter__(self) -> Self:
        messages, records = self._folder / MESSAGES, self._folder / RECORDS
        if not messages.exists():
            raise UsageError(
                f"the messages of {self.uri} are not there any more: {messages}", "Begin anew under another --run."
            )
        if self._looking:
            own = Path(self._held.enter_context(Spool())) / RECORDS
            if records.exists():
                copy(records, own)
            records = own
        self.index = self._held.enter_context(Index(messages, records, self._wanted))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    async def look(self, window: Window) -> SourceInfo:
        """What the messages say of themselves, and of one stream whether it can be read; no record is."""
        index = self.index
        count, first_s, last_s = index.count()
        arns = index.streams()
        tables = {_table(arn) for arn in arns}
        warnings = [
            ("not-taken", f"{number:,} message{'s stay where they are' if number > 1 else ' stays where it is'}: {why}")
            for why, number in index.untaken()[:TOLD_REASONS]
        ]
        view_type = index.view_type()
        pointing, oldest_s = index.pointing(), index.oldest(time.time() - RETENTION_S)
        if view_type is None and len(arns) == 1:
            try:
                view_type = (await asyncio.to_thread(streams.describe_stream, self._ask(), arns[0]))[0].view_type
            except AwsError as error:
                warnings.append(("no-stream", f"{arns[0]} cannot be read: {error.message}"))
        return SourceInfo(
            count=count,
            at_most=True,  # what is told may count what a filter has dropped, or be lost by now
            how="as the messages say",
            first_s=first_s,
            last_s=last_s,
            table_name=tables.pop() if len(tables) == 1 else None,
            stream_arn=arns[0] if len(arns) == 1 else None,
            view_type=view_type,
            expires_s=None if oldest_s is None or self._archive else oldest_s + RETENTION_S,
            readers=streams.ONE_MORE_READER if pointing else None,
            warnings=tuple(warnings),
        )

    async def read(self, after: Mapping[str, int], window: Window) -> AsyncGenerator[list[Record], None]:
        self.gaps = []
        self.ended = "stopped before its end"
        await resolve(self.index, self._ask, self._archive)
        messages = 0
        for stream in self.index.streams():
            for shard in self.index.ordered(stream):
                whole: list[Pointer] = []
                for pointer in self.index.pointers(stream, shard):
                    outcome = self.index.outcome(pointer)
                    assert outcome is not None, "every pointer was followed"
                    messages += 1
                    if outcome.state != WHOLE:
                        self.gaps.append(lost(outcome))
                    if outcome.state == WHOLE or (outcome.state == PARTLY and self._allow_gaps):
                        whole.append(pointer)
                for page in self.index.records(stream, shard, Ranges(whole).merged, after.get(shard, -1)):
                    yield page
        self.ended = f"end of the messages: {messages:,} batches"


def lost(outcome: Outcome) -> Gap:
    """A pointer whose records cannot all be had, and the way that is left."""
    pointer = outcome.pointer
    what = "the beginning of a batch" if outcome.state == PARTLY else "a batch"
    when = "" if pointer.first_s is None else f" that arrived at {iso(pointer.first_s)}"
    which = f"{what} of table {pointer.table}{when}, {pointer.first} to {pointer.last},"
    if outcome.state == UNREAD:
        why = f"{which} cannot be read: {outcome.source}"
    else:
        why = (
            f"{which} is lost: {outcome.source}. "
            "What is left: --archive, an export of that time, or restrike touch of its items"
        )
    return Gap(pointer.shard, pointer.first_s, pointer.last_s, why)


def _table(stream_arn: str) -> str:
    return Pointer(stream_arn, "", 0, 0).table
