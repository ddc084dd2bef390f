"""Deliver one batch as an event source mapping would: retries, bisect, partial failures, giving up.

A batch is a row of pieces, sent in order, one at a time. A piece that fails is tried again, or split:

1. A failed attempt (an exception, a time-out, a malformed report) fails the whole piece.
2. A report of failed items makes the lowest of them the checkpoint: what is before it is delivered, it and all
   behind it have failed.
3. Without bisect, what failed is tried again until the retries are used up, and then given up as a whole.
4. With bisect, what failed is split: at the checkpoint, or in halves where that would change nothing. Splits use
   no retries; a single record is retried, and given up alone.

What is given up goes to the on-failure output, and the lane goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec

from restrike.errors import DeliveryFailed
from restrike.model.record import Record
from restrike.targets import Answer, Target

MAX_THROTTLED_ATTEMPTS = 1_000  # of one piece: with back-off up to 10 s, more than an hour of refusals
RetryDelay = Callable[[int], float]


class Policy(msgspec.Struct, frozen=True):
    """How to deliver. `retries` are tries after the first; `max_age_s` counts from a piece's first attempt."""

    retries: int = 5
    bisect: bool = False
    report_batch_item_failures: bool = False
    max_age_s: float | None = None


class GivenUp(msgspec.Struct, frozen=True):
    """Records that were not delivered, and why: the condition in Lambda's words, and the last error."""

    records: list[Record]
    condition: Literal["RetryAttemptsExhausted", "RecordAgeExceeded"]
    error: str
    attempts: int


class LaidDown(Exception):
    """No further attempt is made; the tally says how many records, from the batch's first on, are done."""


class Tally(msgspec.Struct):
    """What a delivery came to, in records and attempts; `delivered` and `failed` are of the batch's first records.

    `reasons` are the last errors of what was given up, and how many records each of them cost.
    """

    delivered: int = 0
    failed: int = 0
    invocations: int = 0
    throttles: int = 0
    reasons: dict[str, int] = {}


class Delivery:
    """Delivers batches to a target. The clock, the pause and the output of what is given up are handed in."""

    def __init__(
        self,
        target: Target,
        policy: Policy,
        *,
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[None]],
        retry_delay_s: RetryDelay,
        give_up: Callable[[GivenUp], Awaitable[None]],
        before_attempt: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        self._target = target
        self._policy = policy
        self._clock = clock
        self._pause = pause
        self._retry_delay_s = retry_delay_s
        self._give_up = give_up
        self._before_attempt = before_attempt

    async def deliver(self, records: list[Record], tally: Tally) -> None:
        """Returns when each record is delivered or given up, counted in `tally`.

        Raises LaidDown where the pause does, and what the target raises: that ends the run.
        """
        pieces: deque[list[Record]] = deque([records])
        while pieces:
            await self._deliver_piece(pieces, tally)

    async def _deliver_piece(self, pieces: deque[list[Record]], tally: Tally) -> None:
        """Takes the first piece; what it is split into comes back to the front."""
        piece = pieces.popleft()
        policy = self._policy
        first_attempt: float | None = None
        failures = throttled = 0
        while True:
            if self._before_attempt is not None:
                await self._before_attempt(len(piece))
            if first_attempt is None:
                first_attempt = self._clock()
            answer = await self._target.attempt(piece)
            tally.invocations += 1
            if answer.throttled:
                tally.throttles += 1
                throttled += 1
                if throttled >= MAX_THROTTLED_ATTEMPTS:
                    raise DeliveryFailed(
                        f"{self._target.uri} refused {throttled} attempts in a row as too many",
                        "Its concurrency may be used up. What is done is saved; resume when it is free.",
                    )
                await self._pause(max(answer.wait_s, self._retry_delay_s(throttled)))
                continue
            failed_from, error = self._failed_from(piece, answer)
            tally.delivered += failed_from
            if failed_from == len(piece):
                return
            whole, piece = piece, piece[failed_from:]
            if policy.bisect and len(piece) > 1:
                if len(piece) < len(whole):
                    pieces.appendleft(piece)
                else:
                    half = len(piece) // 2
                    pieces.extendleft([piece[half:], piece[:half]])
                await self._pause(max(answer.wait_s, self._retry_delay_s(0)))
                return
            failures += 1
            condition: Literal["RetryAttemptsExhausted", "RecordAgeExceeded"] = "RetryAttemptsExhausted"
            given_up = failures > policy.retries
            if policy.max_age_s is not None and self._clock() - first_attempt > policy.max_age_s:
                condition, given_up = "RecordAgeExceeded", True
            if given_up:
                await self._give_up(GivenUp(piece, condition, error, failures))
                tally.failed += len(piece)
                tally.reasons[error] = tally.reasons.get(error, 0) + len(piece)
                # The function may still be at work on what it did not answer in time: the next batch waits for that.
                if answer.wait_s:
                    await self._pause(answer.wait_s)
                return
            await self._pause(max(answer.wait_s, self._retry_delay_s(failures)))

    def _failed_from(self, piece: list[Record], answer: Answer) -> tuple[int, str]:
        """The index of the first record that failed (the length where none did), and what to say of it."""
        if not answer.ok:
            return 0, answer.error
        if not self._policy.report_batch_item_failures:
            return len(piece), ""
        return checkpoint(piece, answer.response)


class _Malformed(Exception):
    """A report that AWS takes as the failure of the whole batch."""


def checkpoint(piece: list[Record], response: bytes) -> tuple[int, str]:
    """Where a ReportBatchItemFailures response says that the failures begin, and what to say of it.

    No failure: a null or empty response, or a null or empty list. The whole batch: an identifier that is empty,
    null or wrongly keyed. Else the lowest of the identified records. (Lambda's developer guide, on reporting batch item
    failures.) Of an identifier that is of no record here, and of a list that is none, it says nothing: the whole batch
    is our choice, since whatever failed is tried again then. A response of another kind is no report.
    """
    none = len(piece), ""
    if not response.strip():
        return none
    try:
        report: Any = msgspec.json.decode(response)
    except msgspec.MsgspecError:
        return 0, "the function's answer is not JSON"
    if not isinstance(report, dict) or not report.get("batchItemFailures"):
        return none
    places: dict[str, int] = {}
    for number, record in enumerate(piece):
        places.setdefault(record.sequence_number, number)
    try:
        lowest = min(_identified(places, failure) for failure in _entries(report["batchItemFailures"]))
    except _Malformed as error:
        return 0, f"malformed batchItemFailures: {error}"
    return lowest, "named in batchItemFailures"


def _entries(failures: Any) -> list[Any]:
    if not isinstance(failures, list):
        raise _Malformed("not a list")
    return failures


def _identified(places: dict[str, int], failure: Any) -> int:
    identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
    if not isinstance(identifier, str) or not identifier:
        raise _Malformed("an itemIdentifier is missing, empty or no text")
    if identifier not in places:
        raise _Malformed("an itemIdentifier is of no record in the batch")
    return places[identifier]
