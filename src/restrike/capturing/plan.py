"""Plan a capture: look at the table, its stream and the archive; write nothing. Then carry it out."""

from __future__ import annotations

import asyncio
import math
import shlex
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from restrike.archive.layout import CAPTURES, StreamName, iso, stream_name
from restrike.archive.state import CaptureState, KnownGap, Owner, encoded, load, write_gap
from restrike.aws import dynamodb, streams
from restrike.aws.session import Aws
from restrike.aws.settings import AWS_FLAGS, AwsSettings
from restrike.aws.streams import RETENTION_S
from restrike.aws.walk import SIDE_BY_SIDE
from restrike.capturing.stream import CaptureOptions, CaptureTally, StreamCapture
from restrike.errors import NotFound, RestrikeError, SourceLacks, UsageError
from restrike.model.flags import flag_words
from restrike.model.plan import CapturePlan, Planned, PlanWarning, lacking_images
from restrike.model.report import CaptureReport, State
from restrike.model.window import moment
from restrike.runs.stop import Stop, run_to_end
from restrike.stores.objects import LocalFolder, Store, open_store

TRIM_HORIZON, LATEST = "trim-horizon", "latest"
STATUS_EVERY_S = 60.0
USD_PER_READ = 0.02 / 100_000

OnStatus = Callable[[CaptureTally], None]


class CaptureRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that `restrike capture` takes. `flush_mb` is of all shards together."""

    table: str
    to: str
    since: str = TRIM_HORIZON
    follow: bool = False
    flush_seconds: float = 60.0
    flush_mb: float = 64.0
    poll_seconds: float = 5.0
    aws: AwsSettings = AwsSettings()


class _Stream(msgspec.Struct, frozen=True):
    """A stream to capture: its ARN, its name in the archive, and what the archive knows of it."""

    arn: str
    name: StreamName
    state: CaptureState | None


class Plan(Planned[CapturePlan]):
    """What a capture would do (`data`), and the way to do it. Writes nothing until `execute`."""

    def __init__(self, request: CaptureRequest, aws: Aws, data: CapturePlan) -> None:
        self.request = request
        super().__init__(data)
        self._aws = aws

    def execute(self, on_status: OnStatus | None = None, *, status_every_s: float = STATUS_EVERY_S) -> CaptureReport:
        """Captures: to the stream's end as it is now, or with `follow` until it is stopped."""
        return run_to_end(_Capturing(self.request, self._aws, on_status, status_every_s).run())


def plan(request: CaptureRequest) -> Plan:
    """Looks at table and archive; raises UsageError for what must not be tried."""
    options = _options(request)
    aws = Aws(request.aws)
    table, _ = dynamodb.describe_table(aws, request.table)
    store = _look_at(request.to, aws)
    chosen = _streams(table.name, table.stream_arn, store)
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
    if state is not None and request.since != TRIM_HORIZON:
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
    reads = 3600 / request.poll_seconds * 24 * 30
    data = CapturePlan(
        table=table.name,
        region=aws.region,
        stream_arn=last.arn,
        endpoint=aws.endpoint("dynamodbstreams"),
        view_type=info.view_type or "",
        archive=request.to,
        begins=_begins(options, state, bool(store and store.folders(last.name.folder))),
        ends="goes on until it is stopped" if request.follow else "the stream's end as it is when it starts",
        readers=streams.ONE_MORE_READER,
        usd_month_per_shard=round(reads * USD_PER_READ, 4) if request.follow else None,
        warnings=tuple(warnings),
        command=command(request),
    )
    return Plan(request, aws, data)


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
    except UsageError:
        if "://" in uri or Path(uri).exists():
            raise
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


def _options(request: CaptureRequest) -> CaptureOptions:
    for flag, value, least in (
        ("--flush-seconds", request.flush_seconds, 0.1),
        ("--flush-mb", request.flush_mb, 1),
        ("--poll-seconds", request.poll_seconds, 0.1),
    ):
        if not least <= value < math.inf:
            raise UsageError(f"{flag} {value:g} is no number from {least:g} on", f"Give {least:g} or more.")
    latest = request.since == LATEST
    now = datetime.now(UTC)
    at = None if request.since in (TRIM_HORIZON, LATEST) else moment("--since", request.since, now)
    if at is not None and at > now.timestamp():
        raise UsageError(f"--since {request.since} is still to come", "Give --since latest, or a time that is past.")
    return CaptureOptions(
        follow=request.follow,
        latest=latest,
        since_s=at,
        flush_s=request.flush_seconds,
        flush_bytes=int(request.flush_mb * 1_000_000),
        poll_s=request.poll_seconds,
    )


FLAGS = {
    "since": "--since",
    "flush_seconds": "--flush-seconds",
    "flush_mb": "--flush-mb",
    "poll_seconds": "--poll-seconds",
}


def command(request: CaptureRequest) -> str:
    """The command line that carries the request out."""
    words = ["restrike", "capture", request.table, "--to", request.to]
    words += flag_words(request, CaptureRequest(table="", to=""), FLAGS)
    words.append("--follow" if request.follow else "--once")
    words += flag_words(request.aws, AwsSettings(), AWS_FLAGS)
    return shlex.join([*words, "--execute"])


def _streams(table: str, latest_arn: str | None, store: Store | None) -> list[_Stream]:
    """The streams to capture, one after the other: those that were switched off while they were captured and are not
    read to their end, then the table's own."""
    known = _known(store, table) if store is not None else {}
    arns = {state.stream_arn for state in known.values() if state.ended is None}
    if latest_arn is not None:
        arns.add(latest_arn)
    chosen = []
    for arn in arns:
        name = stream_name(arn)
        if name is not None:
            chosen.append(_Stream(arn, name, known.get(name)))
    return sorted(chosen, key=lambda each: (each.arn == latest_arn, each.name))


def _known(store: Store, table: str) -> dict[StreamName, CaptureState]:
    found = {}
    for each in store.objects(CAPTURES):
        if each.path.endswith(".json") and each.name.startswith(f"{table}."):
            name = StreamName(table, each.name[len(table) + 1 : -len(".json")])
            state = load(store, name)
            if state is not None and state[0].table == table:
                found[name] = state[0]
    return found


class _Capturing:
    """A capture under way: stream after stream of the table."""

    def __init__(self, request: CaptureRequest, aws: Aws, on_status: OnStatus | None, status_every_s: float) -> None:
        self._request = request
        self._aws = aws
        self._on_status = on_status
        self._status_every_s = status_every_s
        self._tally = CaptureTally()
        self._stop = Stop()
        self._began = time.monotonic()
        self._captured: list[str] = []

    async def run(self) -> CaptureReport:
        options = _options(self._request)
        store = await asyncio.to_thread(open_store, self._request.to, lambda: self._aws, create=True)
        with self._stop.on_signals():
            telling = asyncio.create_task(self._tell())
            try:
                return self._report(await self._streams(store, options))
            except RestrikeError as error:
                error.report = self._report("FAILED")
                raise
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)

    async def _streams(self, store: Store, options: CaptureOptions) -> str:
        """Captures the table's streams, also one that is switched on while another is captured; why it ended."""
        ended = ""
        done: set[str] = set()
        async with streams.connect(self._aws, connections=SIDE_BY_SIDE + 2) as wire:
            while not self._stop.is_set():
                table, _ = await asyncio.to_thread(dynamodb.describe_table, self._aws, self._request.table)
                chosen = await asyncio.to_thread(_streams, table.name, table.stream_arn, store)
                todo = [each for each in chosen if each.arn not in done]
                if not todo:
                    break
                stream = todo[0]
                done.add(stream.arn)
                current = stream.arn == table.stream_arn
                try:
                    info, now = await asyncio.to_thread(streams.describe_stream, self._aws, stream.arn)
                except NotFound:
                    if current:
                        raise
                    await asyncio.to_thread(_forgotten, store, stream)
                    self._tally.gaps += 1
                    continue
                # What was captured before is not to have a hole where the table's stream was switched.
                first = not any(each.arn != stream.arn for each in chosen) and not self._captured
                options_here = msgspec.structs.replace(
                    options,
                    follow=options.follow and current,
                    latest=options.latest and first,
                    since_s=options.since_s if first else None,
                )
                keys = {"HASH": table.key.partition.name} | (
                    {"RANGE": table.key.sort.name} if table.key.sort is not None else {}
                )
                self._captured.append(stream.arn)
                ended = await StreamCapture(
                    wire, store, stream.name, info, now.timestamp(), keys, options_here, self._tally, self._stop
                ).run()
        return ended

    async def _tell(self) -> None:
        while self._on_status is not None:
            await asyncio.sleep(self._status_every_s)
            self._on_status(self._tally)

    def _report(self, ended: str) -> CaptureReport:
        tally = self._tally
        stopped = ended == "stopped"
        state: State = "FAILED" if ended == "FAILED" else "COMPLETED"
        if stopped and not self._request.follow:
            state = "INTERRUPTED"
        return CaptureReport(
            table=self._request.table,
            archive=self._request.to,
            streams=self._captured,
            state=state,
            records=tally.records,
            files=tally.files,
            written_bytes=tally.written_bytes,
            gaps=tally.gaps,
            first_s=tally.first_s,
            last_s=tally.last_s,
            elapsed_s=round(time.monotonic() - self._began, 3),
            ended="" if ended == "FAILED" else ended,
        )


def _forgotten(store: Store, stream: _Stream) -> None:
    """A stream that was switched off, and is gone before it was read to its end."""
    state = stream.state
    if state is None:
        return
    to_s = max(state.oldest_s, time.time() - RETENTION_S)
    behind = tuple(sorted(each for each, shard in state.shards.items() if not shard.done))
    cause = "the stream was switched off, and forgotten before it was read to its end"
    write_gap(store, stream.name, KnownGap(stream.arn, state.oldest_s, to_s, behind, cause))
    found = load(store, stream.name)
    if found is not None:
        found[0].ended = cause
        store.replace(stream.name.state_path, encoded(found[0]), found[1])
