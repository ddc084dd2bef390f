"""Plan a replay: look at source and target, settle how to deliver, count; deliver nothing."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import queue
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from restrike.aws import dynamodb, lambda_, streams
from restrike.aws.session import Aws
from restrike.errors import AwsError, RestrikeError, SourceLacks, UsageError
from restrike.model import cost
from restrike.model.pattern import Criteria, compile_criteria
from restrike.model.plan import Items, Planned, PlanWarning, ReplayPlan, lacking_images
from restrike.model.record import Record
from restrike.model.report import Counts, ReplayReport
from restrike.model.selection import KeyList, Selection
from restrike.model.window import Gap, Window
from restrike.replaying.delivery import Policy
from restrike.replaying.engine import OnReplayProgress, Replay, ReplayCounts, Settings
from restrike.replaying.filters import Filter, key_filter, window_of
from restrike.replaying.mapping import MappingSettings, mapping_settings
from restrike.replaying.request import ReplayRequest, check, command
from restrike.replaying.superseded import Verdicts
from restrike.runs.ledger import Ledger, Run, check_run_name
from restrike.runs.names import default_name
from restrike.runs.stop import run_to_end
from restrike.selecting.keyfile import KeyFile
from restrike.sources import Source, SourceInfo
from restrike.sources.jsonl import STANDARD_INPUT
from restrike.sources.stream import StreamSource
from restrike.sources.uri import (
    KINDS,
    JsonlUri,
    SourceUri,
    StreamUri,
    TableItems,
    TableUri,
    open_source,
    parse_source,
)
from restrike.targets import Target
from restrike.targets.handler import HandlerTarget
from restrike.targets.jsonl import JsonlTarget
from restrike.targets.lambda_ import LambdaTarget
from restrike.targets.uri import HandlerUri, LambdaUri, TargetUri, parse_target
from restrike.touching.plan import Saved as SavedTouch
from restrike.touching.plan import sample_values
from restrike.touching.request import resolve

SURVEYED_RECORDS = 1_000  # of the source, looked at for the plan's counts
EXPIRES_SOON_S = 600.0
LONGEST_HANDLER_S = 900.0  # the default, which says nothing of the handler


class Saved(msgspec.Struct, frozen=True):
    """What the ledger keeps of a replay: enough to go on from another process."""

    request: ReplayRequest
    settings: Settings
    window: Window
    criteria: str | None
    table_selection: Selection | None = None


class Plan(Planned[ReplayPlan]):
    """What a replay would do (`data`), and the way to do it. Delivers nothing until `execute`."""

    def __init__(self, request: ReplayRequest, aws: Aws, data: ReplayPlan, saved: Saved, spool: Path | None) -> None:
        self.request = request
        super().__init__(data)
        self._aws = aws
        self._saved = saved
        self._spool = spool

    def discard(self) -> None:
        """Removes what was spooled for a plan that is not executed."""
        if self._spool is not None:
            self._spool.unlink(missing_ok=True)

    def execute(self, on_progress: OnReplayProgress | None = None) -> ReplayReport:
        """Runs it, or goes on with the run of that name; returns the report."""
        name = self.data.run
        with Ledger(_path(self.request.ledger)) as ledger:
            ledger.acquire(name)
            run = self._enter(ledger, name)
            return _execute(self._aws, ledger, run, on_progress)

    def _enter(self, ledger: Ledger, name: str) -> Run:
        mark = _identity(self.request)
        spooled = ledger.folder(name) / _spool_name(parse_source(self.request.source))
        with ledger.transaction():
            known = ledger.find(name)
            if known is not None:
                self.discard()
                _check_same(known, name, mark)
                return known
            if self._spool is not None:
                # Before the row: a run that exists has what it reads.
                shutil.move(self._spool, spooled)
            return ledger.enter(
                name,
                verb="replay",
                table_arn=self.data.source,
                identity=mark,
                request=msgspec.json.encode(self._saved),
            )


def _identity(request: ReplayRequest) -> str:
    """What makes it the same run: source, target, window, filters, lanes. Not pace, limit or retries."""
    filters = msgspec.structs.replace(request.filters, limit=None)
    parts = [request.source, request.to, filters, request.selection, request.as_event, request.old_image]
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:32]


def _check_same(known: Run | None, name: str, mark: str) -> None:
    if known is not None and (known.identity != mark or known.verb != "replay"):
        raise UsageError(
            f"run {name} exists with another source, target, window or filter",
            f"Choose another --run, or look: restrike runs show {name}",
        )


def resume(ledger: Ledger, name: str, *, on_progress: OnReplayProgress | None = None) -> ReplayReport:
    """Goes on with a replay behind what it has delivered."""
    run = ledger.get(name)
    if run.state == "COMPLETED":
        raise UsageError(f"run {name} is complete", f"See what it did: restrike runs show {name}")
    ledger.acquire(name)
    saved = msgspec.json.decode(run.request, type=Saved)
    return _execute(Aws(saved.request.aws), ledger, run, on_progress, without_limit=run.state == "LIMITED")


class LedgerBook:
    """The ledger as a replay writes it."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        self._ledger = ledger
        self._name = name

    def floors(self) -> dict[str, int]:
        places = self._ledger.lane_places(self._name)
        return {shard: place for (lane, shard), place in places.items() if lane == Ledger.FLOOR}

    def lane_places(self) -> dict[tuple[int, str], int]:
        places = self._ledger.lane_places(self._name)
        return {at: place for at, place in places.items() if at[0] != Ledger.FLOOR}

    def commit(
        self,
        *,
        counts: ReplayCounts,
        floors: Mapping[str, int],
        lane_places: Mapping[tuple[int, str], int],
        elapsed_s: float,
    ) -> None:
        shown = Counts(selected=counts.selected, fired=counts.delivered, failed=counts.failed)
        places = dict(lane_places) | {(Ledger.FLOOR, shard): place for shard, place in floors.items()}
        self._ledger.save_replay(
            self._name,
            counts=shown,
            replay_counts=msgspec.json.encode(counts),
            lane_places=places,
            elapsed_s=elapsed_s,
        )

    def cancelling(self) -> bool:
        return self._ledger.state(self._name) == "CANCELLING"


def _execute(
    aws: Aws, ledger: Ledger, run: Run, on_progress: OnReplayProgress | None, *, without_limit: bool = False
) -> ReplayReport:
    saved = msgspec.json.decode(run.request, type=Saved)
    settings = msgspec.structs.replace(saved.settings, limit=None) if without_limit else saved.settings

    async def go() -> ReplayReport:
        async with contextlib.AsyncExitStack() as stack:
            # None: the first part of a run that follows begins at the newest end.
            source = await stack.enter_async_context(_source(aws, saved, ledger.folder(run.name), run.stream_start_s))
            if run.stream_start_s is None and isinstance(source, StreamSource):
                # By the service's clock, which stamps the records: from there a later part reads what has no place.
                ledger.set_stream_start(run.name, source.started_s)
            target = await stack.enter_async_context(_target(aws, saved, settings, run.name, resuming=True))
            counts = ledger.replay_counts(run.name)
            replay = Replay(
                source,
                target,
                _filter(saved),
                saved.window,
                settings,
                LedgerBook(ledger, run.name),
                name=run.name,
                counts=msgspec.json.decode(counts, type=ReplayCounts) if counts else ReplayCounts(),
                elapsed_before_s=run.elapsed_s,
                on_failure=_on_failure(saved.request, ledger.folder(run.name)),
                verdicts=await _verdicts(aws, saved, ledger, run, stack),
                on_progress=on_progress or _silent,
            )
            return await replay.execute()

    ledger.set_state(run.name, "RUNNING")
    ledger.relax()
    try:
        report = run_to_end(go())
    except RestrikeError as error:
        ledger.set_state(run.name, "FAILED", error.message)
        error.hint = f"{error.hint} What is done is saved. Go on with: restrike runs resume {run.name}".strip()
        raise
    ledger.set_state(run.name, report.state, report.ended)
    if isinstance(parse_source(saved.request.source), StreamUri):
        report.readers = streams.ONE_MORE_READER
    if report.gaps and saved.request.allow_gaps:
        report.gaps_allowed = True
    return report


def _silent(_: object) -> None:
    """No progress wanted."""


def _on_failure(request: ReplayRequest, folder: Path) -> Path:
    given = request.on_failure
    return Path(given.removeprefix("jsonl:")) if given is not None else folder / "failed.jsonl"


def _filter(saved: Saved) -> Filter:
    criteria: Criteria | None = compile_criteria(saved.criteria) if saved.criteria is not None else None
    return Filter(saved.request.filters, saved.window, criteria)


async def _verdicts(
    aws: Aws, saved: Saved, ledger: Ledger, run: Run, stack: contextlib.AsyncExitStack
) -> Verdicts | None:
    """Where superseded records are to be skipped: every item of the run judged, once."""
    if saved.request.if_superseded != "skip":
        return None
    reading = _source(aws, saved, ledger.folder(run.name), run.created_at)
    async with reading:
        info = await reading.look(saved.window)
        verdicts = await _open_verdicts(aws, saved, ledger, info, ledger.folder(run.name) / "verdicts.db", stack)
        # All of the window, beyond a --limit too: the same run may go on without it.
        await verdicts.survey(_all_of(reading, saved), _filter(saved).passes)
    return verdicts


async def _all_of(source: Source, saved: Saved) -> AsyncIterator[list[Record]]:
    async for page in source.read({}, saved.window):
        yield page


async def _open_verdicts(
    aws: Aws, saved: Saved, ledger: Ledger, info: SourceInfo, path: Path, stack: contextlib.AsyncExitStack
) -> Verdicts:
    if info.table_name is None:
        raise UsageError(
            "these records do not name their table, so that nothing can be compared", "Leave out --if-superseded skip."
        )
    table, _ = dynamodb.describe_table(aws, info.table_name)
    ignored = {each.strip() for each in (saved.request.ignore_attributes or "").split(",") if each.strip()}
    # Touched items differ from their records by the marker alone: that does not supersede them.
    ignored |= {
        msgspec.json.decode(run.request, type=SavedTouch).options.attribute
        for run in ledger.runs()
        if run.verb == "touch" and run.table_arn == table.arn
    }
    wire = await stack.enter_async_context(dynamodb.connect(aws, connections=4))
    verdicts = Verdicts(path, wire, table.name, table.key, frozenset(ignored))
    stack.callback(verdicts.close)
    return verdicts


def _spool_name(source: SourceUri) -> str:
    """What a source's input is called in the run's folder."""
    return "keys.db" if isinstance(source, TableUri) else "source.jsonl"


def _reads_standard_input(request: ReplayRequest) -> bool:
    return parse_source(request.source) == JsonlUri(STANDARD_INPUT)


def _source(aws: Aws, saved: Saved, folder: Path, started_s: float | None, *, planning: bool = False) -> Source:
    """The source of a run whose spooled input, if any, is in that folder."""
    request = saved.request
    uri = parse_source(request.source)
    if _reads_standard_input(request):
        uri = JsonlUri(str(folder / _spool_name(uri)))
    latest = request.follow and saved.window.since_s is None
    source = open_source(
        uri,
        lambda: aws,
        follow=request.follow,
        start_latest=latest,
        started_s=started_s if latest and not planning else None,
        items=_items(aws, saved, uri, folder, planning=planning) if isinstance(uri, TableUri) else None,
        wants_key=key_filter(request.filters),
        allow_gaps=request.allow_gaps,
    )
    if _reads_standard_input(request):
        source.uri = STANDARD_INPUT  # and not the file of ours that it is kept in
    return source


def _items(aws: Aws, saved: Saved, uri: TableUri, folder: Path, *, planning: bool) -> TableItems:
    selection = saved.table_selection
    assert selection is not None
    return TableItems(
        table=dynamodb.describe_table(aws, uri.table)[0],
        selection=selection,
        as_event=saved.request.as_event,
        old_image=saved.request.old_image,
        keys=KeyFile(folder / _spool_name(uri)) if isinstance(selection.what, KeyList) else None,
        journal=None if planning else folder / "journal.db",
        salt=folder.name,  # the run's: another run's records of the same items are other events
    )


def _target(aws: Aws, saved: Saved, settings: Settings, run: str, *, resuming: bool) -> Target:
    uri = parse_target(saved.request.to)
    if isinstance(uri, LambdaUri):
        return LambdaTarget(aws, uri.function, run=run, lanes=settings.lanes)
    if isinstance(uri, HandlerUri):
        return HandlerTarget(
            uri.module, uri.function, run=run, timeout_s=saved.request.timeout_s, workers=settings.lanes
        )
    return JsonlTarget(uri.path, events=saved.request.events, resume=resuming)


# ── planning ─────────────────────────────────────────────────────────────────────────────────────────────


def plan(request: ReplayRequest) -> Plan:
    """Looks at source and target, and settles how to deliver; raises UsageError for what must not be tried."""
    check(request)
    name = request.run or default_name("replay", request.source.replace(":", "/"))
    check_run_name(name)
    uri = parse_source(request.source)
    target = parse_target(request.to)
    if (request.selection is not None) != isinstance(uri, TableUri):
        raise UsageError("items are selected of a table: source", KINDS)
    if isinstance(uri, TableUri) and (request.filters.since or request.filters.until or request.filters.last):
        raise UsageError("items have no time: --since, --until and --last go with records")
    window = window_of(request.filters, datetime.now(UTC))
    Filter(request.filters, window)  # refuses what is none before a run is made
    aws = Aws(request.aws)
    with Ledger(_path(request.ledger)) as ledger:
        _check_same(ledger.find(name), name, _identity(request))
        spool = Path(tempfile.mkdtemp(dir=ledger.path.parent)) / _spool_name(uri)
        try:
            return run_to_end(_look(request, name, aws, ledger, window, target, spool))
        finally:
            # What was spooled moved to a name of its own; the folder has done its work.
            shutil.rmtree(spool.parent, ignore_errors=True)


async def _look(
    request: ReplayRequest, name: str, aws: Aws, ledger: Ledger, window: Window, target: TargetUri, spool: Path
) -> Plan:
    if _reads_standard_input(request):
        _spool_standard_input(spool)
    selection = await _selection(request, aws, ledger, spool) if request.selection is not None else None
    settings_unknown = Settings()
    saved = Saved(request, settings_unknown, window, None, selection)
    warnings: list[PlanWarning] = []
    async with contextlib.AsyncExitStack() as stack:
        source = await stack.enter_async_context(_source(aws, saved, spool.parent, time.time(), planning=True))
        info = await source.look(window)
        warnings += [PlanWarning(code, message) for code, message in info.warnings]
        mapping = await _mapping(request, aws, target, info, warnings)
        settings, origins = _settings(request, mapping)
        criteria = None
        if mapping is not None and mapping.filter_criteria is not None and request.filters.pattern is None:
            criteria = msgspec.json.encode(mapping.filter_criteria).decode()
        saved = Saved(request, settings, window, criteria, selection)
        consumer = _target(aws, saved, settings, name, resuming=ledger.find(name) is not None)
        await stack.enter_async_context(consumer)
        superseded = None
        if request.if_superseded == "skip":
            superseded = await _sample_verdicts(aws, saved, ledger, info, source, spool.parent, stack)
    count = info.count
    if count is not None and request.filters.limit is not None:
        count = min(count, request.filters.limit)
    invocations = -(-count // settings.batch_size) if count is not None else None
    is_lambda = isinstance(target, LambdaUri)
    longest_s = _longest_s(request, settings, count, invocations, consumer)
    _warn_of_the_usual(request, info, warnings)
    _warn_of_expiry(info, longest_s, warnings)
    if isinstance(consumer, LambdaTarget):
        _warn_of_concurrency(aws, consumer, settings.lanes, mapping, warnings)
    data = ReplayPlan(
        run=name,
        source=source.uri,
        target=str(target),
        records=Items(info.count, ("at least: " if info.at_least else "") + info.how),
        first=_iso(info.first_s),
        last=_iso(info.last_s),
        fidelity=source.fidelity,
        ended="goes on until it is stopped" if request.follow else "",
        settings=tuple(origins),
        filters=_describe_filters(request, criteria),
        superseded=superseded,
        invocations=invocations,
        longest_s=longest_s,
        usd=round(invocations * cost.USD_PER_INVOCATION, 6) if invocations is not None and is_lambda else None,
        prices_as_of=cost.PRICES_AS_OF,
        readers=info.readers,
        on_failure=str(_on_failure(request, ledger.folder(name))),
        gaps=tuple(f"{gap.shard}: {gap.why}" for gap in source.gaps),
        warnings=tuple(warnings),
        command=command(request, name),
    )
    return Plan(request, aws, data, saved, _kept(spool, ledger))


def _kept(spool: Path, ledger: Ledger) -> Path | None:
    """What was spooled, under a name that outlives the planning."""
    if not spool.exists():
        return None
    kept = ledger.path.parent / f"{spool.parent.name}{spool.suffix}"
    shutil.move(spool, kept)
    return kept


def _spool_standard_input(spool: Path) -> None:
    """Onto disk before anything is delivered, so that the run can be resumed."""
    with spool.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)


async def _selection(request: ReplayRequest, aws: Aws, ledger: Ledger, spool: Path) -> Selection:
    assert request.selection is not None
    table, _ = dynamodb.describe_table(aws, request.selection.table)
    async with dynamodb.connect(aws, connections=2) as wire:
        samples = await sample_values(wire, table, request.selection)
    return resolve(request.selection, table, ledger, spool, lambda index, key, _: samples.get((index, key.name)))


async def _mapping(
    request: ReplayRequest, aws: Aws, target: TargetUri, info: SourceInfo, warnings: list[PlanWarning]
) -> MappingSettings | None:
    """The event source mapping of the target on the source's stream, and a warning where there is none."""
    if not isinstance(target, LambdaUri):
        return None
    if info.stream_arn is None:
        warnings.append(PlanWarning("no-mapping", "the records name no stream: Lambda's defaults are used."))
        return None
    try:
        mappings = lambda_.event_source_mappings(aws, info.stream_arn)
    except AwsError as error:
        warnings.append(PlanWarning("no-mapping", f"could not look for the function's mapping: {error.message}"))
        return None
    found = mapping_settings(target.function, mappings, own_pattern=request.filters.pattern is not None)
    if found is None:
        warnings.append(
            PlanWarning("no-mapping", "the stream does not invoke this function: Lambda's defaults are used.")
        )
    elif found.live:
        warnings.append(
            PlanWarning(
                "mapping-is-live",
                "the function's mapping delivers new records of the same items meanwhile: old ones would interleave "
                f"with them. Pause it: {found.pause_command}",
            )
        )
    return found


def _settings(request: ReplayRequest, mapping: MappingSettings | None) -> tuple[Settings, list[tuple[str, str, str]]]:
    """How to deliver: what was given, else as the mapping does, else Lambda's default; and where each comes from."""
    origins: list[tuple[str, str, str]] = []

    def pick(name: str, given: Any, default: Any) -> Any:
        if given is not None:
            value, origin = given, "as given"
        elif mapping is not None:
            value, origin = getattr(mapping, name), f"mapping {mapping.uuid}"
        else:
            value, origin = default, "default"
        origins.append((name, str(value), origin))
        return value

    settings = Settings(
        batch_size=pick("batch_size", request.batch_size, 100),
        lanes=pick("parallel", request.parallel, 1),
        policy=Policy(
            retries=pick("retries", request.retries, 5),
            bisect=pick("bisect", request.bisect, False),
            report_batch_item_failures=pick("report_batch_item_failures", request.report_batch_item_failures, False),
            max_age_s=request.max_age_s,
        ),
        max_payload_bytes=request.max_payload,
        rate=request.rate,
        max_failures=request.max_failures,
        limit=request.filters.limit,
        fresh_event_ids=request.event_id == "fresh",
    )
    return settings, origins


async def _sample_verdicts(
    aws: Aws,
    saved: Saved,
    ledger: Ledger,
    info: SourceInfo,
    source: Source,
    folder: Path,
    stack: contextlib.AsyncExitStack,
) -> dict[str, int]:
    """Verdicts of the items of the first records."""
    verdicts = await _open_verdicts(aws, saved, ledger, info, folder / "sample.db", stack)

    async def first() -> AsyncIterator[list[Record]]:
        read = 0
        async for page in source.read({}, saved.window):
            yield page
            read += len(page)
            if read >= SURVEYED_RECORDS:
                return

    await verdicts.survey(first(), _filter(saved).passes)
    return verdicts.counts()


def read_records(request: ReplayRequest, on_lost: Callable[[Gap], None] = lambda _: None) -> Iterator[Record]:
    """The records that pass the request's window and filters, one by one; delivers and keeps nothing.

    Raises SourceLacks at the end where the source has lost records of the window; with `allow_gaps` it calls `on_lost`.
    """
    check(request)
    uri = parse_source(request.source)
    if (request.selection is not None) != isinstance(uri, TableUri):
        raise UsageError("items are selected of a table: source", KINDS)
    aws = Aws(request.aws)
    window = window_of(request.filters, datetime.now(UTC))
    records: queue.Queue[list[Record] | BaseException | None] = queue.Queue(2)
    ended = threading.Event()
    reader = threading.Thread(target=_read_into, args=(request, aws, window, records, ended, on_lost), daemon=True)
    reader.start()
    left = request.filters.limit
    try:
        while (page := records.get()) is not None:
            if isinstance(page, BaseException):
                raise page
            for record in page:
                if left is not None and left <= 0:
                    return
                left = None if left is None else left - 1
                yield record
    finally:
        ended.set()


def _read_into(
    request: ReplayRequest,
    aws: Aws,
    window: Window,
    records: queue.Queue[list[Record] | BaseException | None],
    ended: threading.Event,
    on_lost: Callable[[Gap], None],
) -> None:
    """Reads the source on a thread with an event loop of its own: whoever takes the records need not have one."""

    def hand_over(what: list[Record] | BaseException | None) -> bool:
        while not ended.is_set():
            with contextlib.suppress(queue.Full):
                records.put(what, timeout=0.2)
                return True
        return False

    async def read(folder: Path) -> None:
        with Ledger(_path(request.ledger)) as ledger:
            selection = None
            if request.selection is not None:
                selection = await _selection(request, aws, ledger, folder / "keys.db")
        saved = Saved(request, Settings(), window, None, selection)
        reading = (
            open_source(request.source, lambda: aws)
            if _reads_standard_input(request)
            else _source(aws, saved, folder, time.time(), planning=True)
        )
        passes = Filter(request.filters, window).passes
        async with reading as source:
            async for page in source.read({}, window):
                if not await asyncio.to_thread(hand_over, [record for record in page if passes(record)]):
                    return
            if source.gaps and not request.allow_gaps:
                lost = "; ".join(f"{gap.shard}: {gap.why}" for gap in source.gaps)
                raise SourceLacks(f"the source has lost records: {lost}", "What it still has was printed.")
            for gap in source.gaps:
                on_lost(gap)

    with tempfile.TemporaryDirectory() as folder:
        try:
            asyncio.run(read(Path(folder)))
        except BaseException as error:
            hand_over(error)
        else:
            hand_over(None)


def _longest_s(
    request: ReplayRequest, settings: Settings, count: int | None, invocations: int | None, consumer: Target
) -> float | None:
    """How long the run takes at most, without retries: by the rate, and if every batch took its consumer's time-out.

    None where the count is unknown, and where nothing bounds it."""
    if count is None or invocations is None:
        return None
    known = [count / settings.rate] if settings.rate is not None else []
    if isinstance(consumer, LambdaTarget) and consumer.function is not None:
        known.append(invocations * consumer.function.timeout_s / settings.lanes)
    elif isinstance(consumer, HandlerTarget) and request.timeout_s < LONGEST_HANDLER_S:
        known.append(invocations * request.timeout_s / settings.lanes)
    return round(max(known), 1) if known else None


def _warn_of_expiry(info: SourceInfo, longest_s: float | None, warnings: list[PlanWarning]) -> None:
    if info.expires_s is None:
        return
    left_s = max(0.0, info.expires_s - time.time())
    if left_s < EXPIRES_SOON_S or (longest_s is not None and left_s < longest_s):
        takes = f", and this run takes up to {longest_s / 3600:.1f} hours" if longest_s is not None else ""
        warnings.append(
            PlanWarning(
                "expires",
                f"the source forgets its oldest records within {left_s / 3600:.1f} hours{takes}. "
                "Keep them first: replay to jsonl:FILE, then from there.",
            )
        )


def _warn_of_concurrency(
    aws: Aws, consumer: LambdaTarget, lanes: int, mapping: MappingSettings | None, warnings: list[PlanWarning]
) -> None:
    """Where the lanes take more of what may run at once than half: somebody else's invocations would be throttled."""
    try:
        limit, whose = lambda_.concurrency(aws, consumer.name)
    except AwsError:
        return  # not allowed to look: only the warning is lost
    if limit is not None and lanes * 2 > limit:
        beside = " beside the mapping's own" if mapping is not None and mapping.live else ""
        warnings.append(
            PlanWarning(
                "concurrency",
                f"{lanes} invocations at once{beside}, and {whose} allows {limit}: others would be throttled. "
                "Fewer: --parallel.",
            )
        )


def _warn_of_the_usual(request: ReplayRequest, info: SourceInfo, warnings: list[PlanWarning]) -> None:
    if request.event_id == "keep" and not request.to.startswith("jsonl:") and request.to != "-":
        warnings.append(
            PlanWarning(
                "same-event-ids",
                "records keep their eventID: a consumer that drops what it has seen drops them; --event-id fresh "
                "renews it.",
            )
        )
    if info.view_type in ("KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE"):
        warnings.append(PlanWarning("view-type", lacking_images(info.view_type)))


def _describe_filters(request: ReplayRequest, criteria: str | None) -> str:
    given = msgspec.to_builtins(request.filters)
    parts = [f"{name} {value}" for name, value in given.items()]
    if criteria is not None:
        parts.append("the mapping's FilterCriteria")
    return ", ".join(parts) or "none"


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _path(text: str | None) -> Path | None:
    return Path(text) if text is not None else None
