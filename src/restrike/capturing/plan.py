"""Plan a capture: look at the table, its stream and the archive. Nothing is written, no folder is made."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from restrike.archive.layout import StreamName
from restrike.archive.state import CaptureState, Owner
from restrike.aws import dynamodb, streams
from restrike.aws.session import Aws
from restrike.aws.streams import RETENTION_S
from restrike.capturing.execute import STATUS_EVERY_S, OnStatus, capture
from restrike.capturing.request import (
    TRIM_HORIZON,
    CaptureOptions,
    CaptureRequest,
    check_place,
    command_line,
    options_of,
    place_of,
)
from restrike.capturing.run import VERB, identity, name_of
from restrike.capturing.table_streams import streams_to_capture
from restrike.errors import RestrikeError, SourceLacks, UsageError
from restrike.model.clocks import check_clock
from restrike.model.plan import CapturePlanData, Planned, PlanWarning, lacking_images
from restrike.model.prices import Prices, given_prices
from restrike.model.report import CaptureReport
from restrike.model.table import TABLE_ID, TableInfo
from restrike.model.times import iso
from restrike.running.ledger import Ledger, ledger_path
from restrike.running.life import Entering, Life, carry_out
from restrike.running.run import Entry, Run
from restrike.running.stop import Stop
from restrike.stores import open_store
from restrike.stores.folder import LocalFolder, NoFolder
from restrike.stores.objects import Store


class CapturePlan(Planned[CapturePlanData]):
    """What a capture would do (`data`), and the way to do it. Writes nothing until `execute`."""

    def __init__(self, request: CaptureRequest, aws: Aws, data: CapturePlanData, table: TableInfo) -> None:
        super().__init__(data, str(ledger_path(request.ledger)), follows=request.follow)
        self.request = request
        self._aws = aws
        self._table = table
        self._entry = Entry(
            data.run,
            VERB.name,
            table.arn,
            identity(table.arn, request.to),
            # The place as it is from every folder: a resume begins in another.
            msgspec.json.encode(msgspec.structs.replace(request, to=place_of(request.to))),
            plan=data.as_json()["plan"],
        )

    def execute(
        self,
        on_status: OnStatus | None = None,
        *,
        stop: Stop | None = None,
        time_limit_s: float | None = None,
        on_stop: Callable[[], None] = lambda: None,
        on_warning: Callable[[str], None] = lambda _: None,
        status_every_s: float = STATUS_EVERY_S,
    ) -> CaptureReport:
        """Captures: to the stream's end as it is now, or with `follow` until it is stopped.

        `stop` ends it from any thread; without one SIGINT and SIGTERM do, and call `on_stop`. `time_limit_s` ends it
        so many seconds from now: what was read is put, and the next capture goes on there. A ledger that cannot
        be had or fails is told to `on_warning`, and the capture goes on.
        """

        async def work(life: Life) -> CaptureReport:
            with life.kept() as ledger:
                if ledger is not None:
                    ledger.set_stands(life.run.name, {TABLE_ID: self._table.id})
            return await capture(self.request, self._aws, life, on_status, status_every_s)

        return carry_out(
            VERB,
            ledger_path(self.request.ledger),
            Entering(self._entry),
            work,
            stop=stop,
            time_limit_s=time_limit_s,
            on_stop=on_stop,
            on_warning=on_warning,
        )

    def discard(self) -> None:
        """Nothing is held for a plan that is not executed."""


def plan(request: CaptureRequest) -> CapturePlan:
    """Looks at table and archive; raises UsageError for what must not be tried."""
    options_of(request, datetime.now(UTC))  # refuses what is none before anything is asked
    check_place(request.to)
    aws = Aws(request.aws)
    table, told = dynamodb.describe_table(aws, request.table)
    check_clock(time.time(), told.timestamp(), "DynamoDB's")
    options = options_of(request, told)
    store = _look_at(request.to, aws)
    chosen = streams_to_capture(table.name, table.stream_arn, store)
    if not chosen:
        raise SourceLacks(f"table {table.name} has no stream", "Switch one on with the view type NEW_AND_OLD_IMAGES.")
    last = chosen[-1]
    info, now = streams.describe_stream(aws, last.arn)
    warnings = []
    if info.view_type != "NEW_AND_OLD_IMAGES":
        warnings.append(PlanWarning("view-type", lacking_images(info.view_type)))
    state = last.state
    if state is None and options.since_s is not None and now.timestamp() - options.since_s > RETENTION_S:
        warnings.append(PlanWarning("since", "a stream remembers 24 hours: older records are not to be had from it."))
    if state is not None and now.timestamp() - state.oldest_s > RETENTION_S:
        warnings.append(
            PlanWarning("gap", f"no capture has run since {iso(state.oldest_s)}: what the stream forgot is a gap.")
        )
    if state is not None and request.since not in (None, TRIM_HORIZON):
        warnings.append(PlanWarning("since", "--since is for a new archive: it goes on behind what this one holds."))
    if state is not None and state.owner is not None:
        assert store is not None
        _refuse_beside(store, last.name, state.owner)
        warnings.append(
            PlanWarning("running", f"{state.owner} was capturing at {iso(state.saved_s)} and has not said it ended.")
        )
    warnings += [
        PlanWarning("old-stream", f"the stream {each.name.label} was switched off: it is read to its end first.")
        for each in chosen[:-1]
    ]
    warnings += _made_anew(request, table)
    reads = 3600 / request.poll_s * 24 * 30
    prices = Prices(aws.region, given=given_prices(request.price))
    data = CapturePlanData(
        run=name_of(table.arn, request.to),
        table=table.name,
        region=aws.region,
        stream_arn=last.arn,
        endpoint=aws.endpoint("dynamodbstreams"),
        view_type=info.view_type or "",
        archive=request.to,
        begins=_begins(options, state, bool(store and store.folders(last.name.folder))),
        ends="goes on until it is stopped" if request.follow else "the stream's end as it is when it starts",
        readers=streams.ONE_MORE_READER,
        usd_month_per_shard=round(prices.usd("stream-read", reads), 4) if request.follow else None,
        prices=prices.told(["stream-read"]) if request.follow else "",
        warnings=tuple(warnings),
        command=command_line(request),
    )
    return CapturePlan(request, aws, data, table)


def _made_anew(request: CaptureRequest, table: TableInfo) -> list[PlanWarning]:
    """A table that was made anew is captured all the same: its records would be lost otherwise, and each names its
    stream."""
    stood = None
    with contextlib.suppress(RestrikeError), Ledger(ledger_path(request.ledger), read_only=True) as ledger:
        stood = ledger.stands(name_of(table.arn, request.to)).get(TABLE_ID)
    if stood in (None, table.id):
        return []
    text = f"table {table.name} was deleted and made anew since: the archive keeps both tables under one name."
    return [PlanWarning("table-made-anew", text)]


def _refuse_beside(store: Store, name: StreamName, owner: Owner) -> None:
    """On a local disk it is known whether who was capturing still is."""
    if isinstance(store, LocalFolder) and store.read(name.lock_path) is not None:
        with store.lock(name.lock_path) as alone:
            if not alone:
                raise UsageError(f"{owner} captures {name} into {store.uri}", "Let it, or end it first.")


def _look_at(uri: str, aws: Aws) -> Store | None:
    """The archive, where its folder is there already: a plan makes none."""
    try:
        return open_store(uri, lambda: aws)
    except NoFolder:
        return None


def _begins(options: CaptureOptions, state: CaptureState | None, has_files: bool) -> str:
    if state is None and has_files:
        return "behind what the archive's files hold; what _capture said of them is missing"
    if state is not None:
        return f"behind what the archive holds; looked after until {iso(state.oldest_s)}"
    if options.latest:
        return "with what comes from now on"
    if options.since_s is not None:
        return f"with records from {iso(options.since_s)} on"
    return "with the oldest record that the stream remembers, 24 hours at most"


def resume(run: Run, ledger: Path, changes: dict[str, Any]) -> CapturePlan:
    """The plan of the capture's next start."""
    request = msgspec.json.decode(run.request, type=CaptureRequest)
    aws = msgspec.structs.replace(request.aws, profile=changes.get("profile", request.aws.profile))
    return plan(msgspec.structs.replace(request, ledger=str(ledger), aws=aws))
