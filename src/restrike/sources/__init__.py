"""Where a replay gets its records. A source is one module with one class of the contract below.

A source reads; it neither filters (but for what the window lets it skip) nor knows who gets the records.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Protocol, Self

import msgspec

from restrike.model.record import Fidelity, Record
from restrike.model.window import Gap, Window


class SourceInfo(msgspec.Struct, frozen=True):
    """What a look at the source tells, for the plan. None where it does not tell.

    `count` is the number of records in the window, `at_least` says that there may be more. `first_s` and
    `last_s` are the earliest and latest creation time found. `expires_s` is when the source forgets its oldest
    record. `view_type` is the stream's, which says what images records have.
    """

    count: int | None = None
    at_least: bool = False
    how: str = ""
    first_s: float | None = None
    last_s: float | None = None
    table_name: str | None = None
    stream_arn: str | None = None
    view_type: str | None = None
    expires_s: float | None = None
    readers: str | None = None
    warnings: tuple[tuple[str, str], ...] = ()


class Source(Protocol):
    """The contract of every source; `tests/integration/test_source_contract.py` runs over all of them.

    - Used as an asynchronous context manager; `look` and `read` only inside.
    - `read` yields non-empty lists of records of one shard, in that shard's order, `place` strictly rising;
      a child shard's records come after all of its parent's. Each record once.
    - `after` gives, for a shard, the place behind which to begin; what is at or before it is not yielded.
    - Records outside the window may be yielded: who reads filters. A source skips what it can skip cheaply.
    - Memory is bounded: read-ahead is a few pages.
    - `drained` names shards of which nothing more will come, once their last page was taken. Who has dealt with all
      that they gave keeps DRAINED as their place, and takes them out: else a run that goes on when the source has
      forgotten them would take that for a loss.
    - When `read` ends, `ended` says why in a few words, and `gaps` names what is lost.
    """

    uri: str
    fidelity: Fidelity
    ended: str
    gaps: list[Gap]
    drained: set[str]

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    async def look(self, window: Window) -> SourceInfo: ...
    def read(self, after: Mapping[str, int], window: Window) -> AsyncIterator[list[Record]]: ...
