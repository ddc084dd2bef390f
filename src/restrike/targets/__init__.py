"""Who gets the records. A target is one module with one class of the contract below.

A target makes one attempt with one batch and says what came of it; when to try again, what to split and what
to give up is `restrike.replaying.delivery`'s.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

import msgspec

from restrike.model.record import Record


class Answer(msgspec.Struct, frozen=True):
    """What one attempt came to.

    `ok`: the target took the batch; `response` is what it answered (JSON), which may name items that failed.
    Otherwise `error` says what happened, `throttled` that the target asks for fewer attempts (such an attempt is
    not counted as the batch's failure), and `wait_s` how long at least to wait before the next.
    """

    ok: bool
    response: bytes = b""
    error: str = ""
    throttled: bool = False
    wait_s: float = 0.0


class Target(Protocol):
    """The contract of every target.

    - Used as an asynchronous context manager; `attempt` only inside. `attempt` never raises for what a consumer
      does wrong (an exception, a time-out, a crash): that is an Answer. It raises RestrikeError for what would fail
      with every batch (no such function, access denied, a full disk), and that ends the run.
    - `max_payload_bytes` bounds the event of a batch, None where the target has no bound.
    - `run` and `fidelity` reach the consumer where the target has a way to tell them.
    - `size_bytes` is how much a target that keeps a file has taken so far, None for others: a run that goes on and
      finds less than it had delivered says so.
    - Attempts of different lanes may run at the same time, up to the number of lanes.
    """

    uri: str
    max_payload_bytes: int | None

    @property
    def size_bytes(self) -> int | None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    async def attempt(self, records: list[Record]) -> Answer: ...
    async def sync(self) -> None:
        """Makes durable what was taken: called each second of commits, and at the end."""
