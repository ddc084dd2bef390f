"""Carry an export out: windows that exist are found, others started, and all awaited.

1. Each window's token is settled by what it is and how often it was tried, and stands in the ledger before the call: a
   call whose answer is lost is made again with the same token, and within 8 hours is the same export.
2. Whenever a run begins or goes on, ListExports and DescribeExport find what exists already; so nothing is started
   twice behind those 8 hours either.
3. At most UNDER_WAY windows are under way at once; where the service wants fewer, the rest waits until one has ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from restrike.aws import exports
from restrike.aws.exports import Export
from restrike.aws.session import Aws
from restrike.errors import AccessDenied, AwsError, RestrikeError, ServiceFault, Throttled, Unreachable
from restrike.exporting.existing import existing
from restrike.exporting.request import VIEW
from restrike.exporting.run import Counts
from restrike.exporting.settled import Settled, report_of
from restrike.exporting.windows import ExportWindow, keep, known
from restrike.model.numbers import counted
from restrike.model.numbers import duration as length
from restrike.model.report import ExportReport, State
from restrike.model.times import iso
from restrike.running.life import Life

POLL_S = 15.0
UNDER_WAY = 50
"""Of 300 that an account may have at once."""

_BUCKET_HINT = (
    "DynamoDB writes with your permissions: allow s3:PutObject, s3:PutObjectAcl and s3:AbortMultipartUpload on "
    "{to}/*, in the bucket's policy too; a bucket of another account takes --bucket-owner."
)
_HINTS = {
    "PointInTimeRecoveryUnavailableException": "Switch point-in-time recovery on; it reaches back to that moment.",
    "InvalidExportTimeException": "The span is outside of what recovery has, or of 15 minutes to 24 hours: plan again.",
    "ExportConflictException": "Another export writes to the same place, or the same was asked for otherwise within 8 "
    "hours: give another prefix, or wait.",
    "LimitExceededException": "Exports of this account are under way, 300 or 100 TB at most: wait for those to end.",
}


class ExportProgress(msgspec.Struct, frozen=True):
    """How far an export is; `waits_for` says what the service wants first."""

    counts: Counts
    elapsed_s: float
    waits_for: str = ""


OnExportProgress = Callable[[ExportProgress], None]


async def export(settled: Settled, life: Life, on_progress: OnExportProgress) -> ExportReport:
    """To the end, or until the life's stop is set. An error that ends it carries the report of what was done."""
    running = _Exporting(settled, life, on_progress)
    try:
        state = await running.run()
    except RestrikeError as error:
        error.report = running.report("FAILED")
        raise
    return running.report(state)


class _Exporting:
    """An export under way."""

    def __init__(self, settled: Settled, life: Life, on_progress: OnExportProgress) -> None:
        self._settled = settled
        self._life = life
        self._on_progress = on_progress
        self._aws = Aws(settled.aws)
        self._began = time.monotonic()
        self._moved = time.monotonic()
        self._waits_for = ""
        self._windows = known(life.book, life.run.name, settled.spans)

    async def run(self) -> State:
        again = [each for each in self._windows if each.status == "FAILED"]
        for each in again:
            each.try_again()
        self._keep(self._windows)
        await self._find()
        await self._look()
        while True:
            await self._start()
            self._tell()
            failed = next((each for each in self._windows if each.status == "FAILED"), None)
            if not any(each.is_under_way for each in self._windows):
                if failed is not None:
                    raise self._failure(failed)
                if all(each.status == "COMPLETED" for each in self._windows):
                    return "COMPLETED"
            if await self._life.stop.sleep(POLL_S):
                return self._life.stop.state
            await self._look()
            self._check_time()

    async def _find(self) -> None:
        """What exists already of the windows that no export is known of."""
        lacking = {(each.from_s, each.to_s): each for each in self._windows if each.arn is None}
        if not lacking:
            return
        try:
            found = await asyncio.to_thread(existing, self._aws, self._settled.parameters, lacking)
        except AccessDenied as error:
            text = (
                f"which windows are exported already is not known ({error.message}): the tokens alone prevent doubles"
            )
            self._life.on_warning(text)
            return
        for span, export in found.same.items():
            lacking[span].take(export)
            lacking[span].found = True
        self._keep([lacking[span] for span in found.same])

    async def _start(self) -> None:
        """Starts windows, the oldest first, as long as there is room for more."""
        self._waits_for = ""
        under_way = sum(each.is_under_way for each in self._windows)
        for window in self._windows:
            if window.arn is not None or window.status == "FAILED":
                continue
            if under_way >= UNDER_WAY or self._life.stop.is_set():
                return
            if any(each.status == "FAILED" for each in self._windows):
                return  # what is under way ends; nothing more is paid for
            try:
                export = await asyncio.to_thread(exports.start_export, self._aws, self._call(window))
            except Throttled as error:
                at_its_limit = error.code == "LimitExceededException"
                if at_its_limit and not under_way:
                    raise self._refused(error) from None
                self._waits_for = "other exports of the account to end" if at_its_limit else "DynamoDB, which throttles"
                return
            except AwsError as error:
                raise self._refused(error) from None
            window.take(export)
            self._moved = time.monotonic()
            self._keep([window])
            under_way += 1
            self._tell()

    def _call(self, window: ExportWindow) -> dict[str, Any]:
        return self._settled.parameters | {
            "ClientToken": window.token(self._settled.token_identity()),
            "IncrementalExportSpecification": {
                "ExportFromTime": datetime.fromtimestamp(window.from_s, UTC),
                "ExportToTime": datetime.fromtimestamp(window.to_s, UTC),
                "ExportViewType": VIEW,
            },
        }

    async def _look(self) -> None:
        """How those are that are under way."""
        for window in [each for each in self._windows if each.is_under_way]:
            if self._life.stop.is_set():
                return
            assert window.arn is not None
            try:
                export: Export = await asyncio.to_thread(exports.describe_export, self._aws, window.arn)
            except (Throttled, ServiceFault, Unreachable) as error:
                self._waits_for = f"an answer of DynamoDB ({error.message})"
                return  # it goes on all the same, and is asked again
            if export.status != window.status:
                window.take(export)
                self._moved = time.monotonic()
                self._keep([window])

    def _check_time(self) -> None:
        silent_s = time.monotonic() - self._moved
        if silent_s < self._settled.timeout_s or all(each.status == "COMPLETED" for each in self._windows):
            return
        under_way = [each.arn for each in self._windows if each.is_under_way]
        raise AwsError(
            f"no window has ended for {length(silent_s)}: {counted(len(under_way), 'export')} are under way",
            "They go on in the service, which promises no time. Wait longer with --timeout.",
        )

    def _refused(self, error: AwsError) -> AwsError:
        """The refusal of a call, with what helps."""
        hint = _HINTS.get(error.code, error.hint)
        if isinstance(error, AccessDenied) or "S3" in error.code or "bucket" in error.message.lower():
            hint = f"Allow dynamodb:ExportTableToPointInTime. {_BUCKET_HINT.format(to=self._settled.place)}"
        error.hint = hint
        return error

    def _failure(self, window: ExportWindow) -> AwsError:
        failed = sum(each.status == "FAILED" for each in self._windows)
        bucket = any(word in window.failure for word in ("S3", "AccessDenied", "bucket", "KMS"))
        hint = _BUCKET_HINT.format(to=self._settled.place) if bucket else "A window that failed is started anew."
        return AwsError(
            f"the export of {iso(window.from_s)} to {iso(window.to_s)} has failed: {window.failure or 'no reason'}"
            + (f"; and {failed - 1} more" if failed > 1 else ""),
            hint,
        )

    def _keep(self, windows: list[ExportWindow]) -> None:
        """What is known of them, and the counts, durable together."""
        book, name = self._life.book, self._life.run.name
        with book.transaction():
            keep(book, name, windows)
            book.set_counts(name, msgspec.json.encode(self._counts()), self._elapsed_s())

    def _tell(self) -> None:
        counts = self._counts()
        self._life.sample(counts.completed, {"under_way": counts.under_way, "failed": counts.failed})
        self._on_progress(ExportProgress(counts, self._elapsed_s(), self._waits_for))

    def _counts(self) -> Counts:
        windows = self._windows
        return Counts(
            windows=len(windows),
            completed=sum(each.status == "COMPLETED" for each in windows),
            under_way=sum(each.is_under_way for each in windows),
            failed=sum(each.status == "FAILED" for each in windows),
            started=sum(each.arn is not None and not each.found for each in windows),
            found=sum(each.found for each in windows),
            items=sum(each.items or 0 for each in windows if each.status == "COMPLETED"),
            billed_bytes=sum(each.billed_bytes or 0 for each in windows if each.status == "COMPLETED"),
        )

    def _elapsed_s(self) -> float:
        return self._life.run.elapsed_s + time.monotonic() - self._began

    def report(self, state: State) -> ExportReport:
        return report_of(self._life.run.name, self._settled, state, self._counts(), self._elapsed_s())
