"""Plan a replay: look at source and target, settle how to deliver, count. Nothing is delivered, made or left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from restrike import sources, targets
from restrike.aws import lambda_
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.errors import AwsError, UsageError
from restrike.model.plan import Items, PlanWarning, ReplayPlanData
from restrike.model.prices import ELSEWHERE, Prices, given_prices
from restrike.model.record import Record
from restrike.model.report import ReplayReport
from restrike.model.times import iso_or_none
from restrike.model.uri import Uri
from restrike.replaying import warnings as warned
from restrike.replaying.counting import Expected, expected
from restrike.replaying.counts import OnReplayProgress
from restrike.replaying.earlier import dealt_with, nothing_new, report_again, stood_on, window_of_first
from restrike.replaying.execute import replay
from restrike.replaying.filters import RecordFilter, has_window, window_of, with_pattern_text
from restrike.replaying.mapping import MappingSettings, mapping_of, mapping_settings
from restrike.replaying.on_failure import on_failure_path
from restrike.replaying.opening import filter_of, opening_of, source_of, target_opening, verdicts_of
from restrike.replaying.request import ReplayRequest, check, command_line
from restrike.replaying.resolved import Resolved, identity, taken_up
from restrike.replaying.run import FAILED, VERB, resolved_of
from restrike.replaying.settings import Settings, changed, settle
from restrike.running.ledger import Ledger, ledger_path
from restrike.running.life import Entering, Life, carry_out, check_same
from restrike.running.run import Entry, Run, check_name, default_name, given_again
from restrike.running.spool import Spool, SpooledPlan, keep, tidy
from restrike.running.standing import losses
from restrike.running.stop import Stop, run_to_end
from restrike.sources import Source, SourceInfo
from restrike.targets import TargetInfo

SURVEYED_RECORDS = 1_000  # of the source, looked at for the plan's verdicts


class ReplayPlan(SpooledPlan[ReplayPlanData]):
    """What a replay would do (`data`), and the way to do it. Delivers nothing until `execute`.

    What the source could give only once is held in a folder of the plan's own, which goes with it.
    """

    def __init__(self, data: ReplayPlanData, ledger: Path, resolved: Resolved, spool: Spool | None) -> None:
        super().__init__(data, str(ledger), follows=bool(resolved.request.source_options.get("follow")))
        self.resolved = resolved
        self._ledger = ledger
        self._spool = spool

    def execute(
        self,
        on_progress: OnReplayProgress | None = None,
        *,
        stop: Stop | None = None,
        time_limit_s: float | None = None,
        on_stop: Callable[[], None] = lambda: None,
        on_warning: Callable[[str], None] = lambda _: None,
    ) -> ReplayReport:
        """Runs it, or goes on with the run of that name; returns the report. A run that is complete is not begun again:
        its report says `done_at`, and nothing is sent.

        `stop` ends it from any thread; without one SIGINT and SIGTERM do, and call `on_stop`. `time_limit_s` ends it
        so many seconds from now. Raises UsageError where the name belongs to another run, DeliveryFailed or
        AwsError where it cannot go on; what is done by then is saved and can be resumed.
        """
        entering = Entering(
            _entry(self.data, self.resolved),
            done=lambda known: report_again(known, self.data) if known.state == "COMPLETED" else None,
            taken_up=self._taken_up,
            prepare=self._prepare,
        )

        async def work(life: Life) -> ReplayReport:
            report = await replay(resolved_of(life.run), life, on_progress or (lambda _: None))
            report.readers = self.data.readers
            return report

        try:
            report = carry_out(
                VERB,
                self._ledger,
                entering,
                work,
                stop=stop,
                time_limit_s=time_limit_s,
                on_stop=on_stop,
                on_warning=on_warning,
            )
        finally:
            self.discard()
        if report.state == "COMPLETED":
            tidy(self._ledger, self.data.run, sources.kind_of(self.resolved.source.scheme).spools)
        return report

    def _taken_up(self, known: Run) -> Entry:
        return _entry(self.data, taken_up(resolved_of(known), self.resolved))

    def _prepare(self, known: Run | None, folder: Path) -> None:
        """Before the run is known to exist, it has what it reads: whole, and on the disk."""
        if self._spool is None or (known is not None and resolved_of(known).input.state != self.resolved.input.state):
            return
        # Also for a run that goes on: it may have lost what it was given, and this is the same.
        for spooled in Path(self._spool.name).iterdir():
            keep(spooled, folder)


def _entry(data: ReplayPlanData, resolved: Resolved) -> Entry:
    return Entry(
        data.run,
        VERB.name,
        str(resolved.source),
        identity(resolved),
        msgspec.json.encode(resolved),
        plan=data.as_json()["plan"],
        total=data.records.count,
    )


def plan(request: ReplayRequest) -> ReplayPlan:
    """Looks at source and target, and settles how to deliver; raises UsageError for what must not be tried."""
    check(request)
    name = default_name("replay", request.source.replace(":", "/")) if request.run is None else request.run
    check_name(name)
    here = Path.cwd()
    source, target = sources.parse_source(request.source, here), targets.parse(request.to, here)
    options = sources.options_of(source, request.source_options)
    check_source(request, source, options)
    filters = with_pattern_text(request.filters)
    window = window_of(filters, datetime.now(UTC))
    RecordFilter(filters, window)  # refuses what is none before anything is looked at
    aws = Aws(request.aws)
    resolved = Resolved(
        request=request,
        source=source,
        target=target,
        target_options=targets.options_of(target, request.target_options),
        window=window,
        filters=filters,
        settings=Settings(),
        aws=pinned(aws),
        on_failure=on_failure_path(request, name, source, target, here),
        skip_superseded=request.if_superseded == "skip",
        ignored_attributes=names(request.ignore_attributes),
        fresh_event_ids=request.event_id == "fresh",
        allow_gaps=request.allow_gaps,
    )
    spool = Spool()
    try:
        found = run_to_end(_plan(name, resolved, options, aws, ledger_path(request.ledger), spool))
        if not any(Path(spool.name).iterdir()):
            found.discard()  # only what could be read once is held on to
        return found
    except BaseException:
        spool.cleanup()
        raise


async def _plan(
    name: str, resolved: Resolved, options: Mapping[str, Any], aws: Aws, path: Path, spool: Spool
) -> ReplayPlan:
    folder = Path(spool.name)
    if has_window(resolved.filters):
        now = await asyncio.to_thread(sources.now, resolved.source, lambda: aws)
        resolved = msgspec.structs.replace(resolved, window=window_of(resolved.filters, now))
    opening = opening_of(resolved, aws, folder, run=name, ledger=path, looking=True)
    kind = sources.kind_of(resolved.source.scheme)
    resolved = msgspec.structs.replace(resolved, input=await kind.resolve(resolved.source, options, opening))
    with Ledger(path, read_only=True) as ledger:
        known = ledger.find(name)
        resolved = msgspec.structs.replace(resolved, window=window_of_first(resolved, known))
        resolved, data = await look(name, resolved, aws, ledger, folder, settled=False, known=known)
        check_same(VERB, known, _entry(data, resolved))
    return ReplayPlan(data, path, resolved, spool)


def plan_again(name: str, resolved: Resolved, path: Path, changes: Mapping[str, Any]) -> ReplayPlan:
    """The plan that goes on with a run as it was planned, but for those fields of its request that are given anew."""
    if "profile" in changes:
        resolved = msgspec.structs.replace(
            resolved, aws=msgspec.structs.replace(resolved.aws, profile=changes["profile"])
        )
    request = resolved.request
    own = {field: value for field, value in changes.items() if field in ReplayRequest.__struct_fields__}
    filters = msgspec.structs.replace(request.filters, limit=changes.get("limit", request.filters.limit))
    request = msgspec.structs.replace(request, filters=filters, ledger=str(path), **own)
    check(request)
    resolved = msgspec.structs.replace(resolved, request=request, settings=changed(resolved.settings, changes))

    async def look_again() -> tuple[Resolved, ReplayPlanData]:
        with Ledger(path, read_only=True) as ledger:
            aws = Aws(resolved.aws)
            known = ledger.get(name)
            return await look(name, resolved, aws, ledger, ledger.folder(name), settled=True, known=known)

    resolved, data = run_to_end(look_again())
    return ReplayPlan(data, path, resolved, None)


def check_source(request: ReplayRequest, source: Uri, options: Mapping[str, Any]) -> None:
    """UsageError for flags that mean nothing with that source."""
    kind = sources.kind_of(source.scheme)
    filters = request.filters
    if not kind.has_time and (filters.since or filters.until or filters.last):
        raise UsageError(f"{source} has no times: --since, --until and --last go with records", "Leave them out.")
    if kind.endless(options) and request.if_superseded == "skip":
        raise UsageError("--if-superseded skip reads the source ahead, and one that is followed has no end")


async def look(
    name: str, resolved: Resolved, aws: Aws, ledger: Ledger, folder: Path, *, settled: bool, known: Run | None
) -> tuple[Resolved, ReplayPlanData]:
    """Looks at source and target. `settled`: how to deliver is known already. `known`: an earlier part of the run, so
    that the target may hold what that delivered."""
    warnings: list[PlanWarning] = []
    request = resolved.request
    async with contextlib.AsyncExitStack() as stack:
        done_before = nothing_new(known)
        stands = stood_on(ledger, known, resolved)
        again = given_again(known) if known is not None else ""
        started_s = None if known is None else known.started_s
        opening = opening_of(
            resolved, aws, folder, run=name, looking=True, started_s=started_s, stood_on=stands, again=again
        )
        source = await stack.enter_async_context(source_of(resolved, opening))
        info = await source.look(resolved.window)
        mapping = await _mapping(resolved, aws, info, warnings, settled=settled)
        if not settled:
            settings, origins = settle(request, mapping)
            criteria = None
            if mapping is not None and mapping.filter_criteria is not None and resolved.filters.pattern is None:
                criteria = msgspec.json.encode(mapping.filter_criteria).decode()
            resolved = msgspec.structs.replace(resolved, settings=settings, origins=tuple(origins), criteria=criteria)
        settings = resolved.settings
        kind = targets.kind_of(resolved.target)
        at = target_opening(resolved, aws, name, stands)
        if known is not None and (done_before or stands is None):
            # Whoever it was for may have taken it away; or it is another run's, and refused as such.
            at = msgspec.structs.replace(at, resuming=True, stood_on={})
        target = await kind.look(resolved.target, resolved.target_options, at)
        superseded = None
        if resolved.skip_superseded:
            superseded = await _sample_verdicts(resolved, aws, ledger, info, source, stack)
        gaps = tuple(f"{gap.shard}: {gap.why}" for gap in source.gaps)
        if known is not None and done_before:
            found = Expected(known.total, "about", "as it was counted when it began")
        else:
            found = await expected(resolved, info, opening)
    left = None if found.count is None else max(0, found.count - dealt_with(known))
    if done_before:
        left = 0
    invocations = -(-left // settings.batch_size) if left is not None else None
    longest_s = _longest_s(settings, left, invocations, target) if found.counted != "at least" else None
    if found.nothing:
        warnings.append(PlanWarning("nothing-found", f"nothing will be delivered: {found.nothing}"))
    if known is not None and known.verb == VERB.name and not done_before:
        warnings += [PlanWarning("lost", text) for text in losses(ledger, known, VERB.left(known))]
    warnings += [PlanWarning("pattern", note) for note in filter_of(resolved).notes]
    warnings += warned.of_source(info, longest_s)
    if source.fidelity == "net":
        warnings += warned.of_filters_on_net(resolved.filters.pattern, resolved.filters.where, resolved.criteria)
    warnings += warned.of_target(target, settings.lanes, mapping)
    if kind.knows_event_ids and not resolved.fresh_event_ids:
        warnings.append(warned.of_event_ids())
    prices = Prices(resolved.aws.region or ELSEWHERE, given=given_prices(request.price))
    charged = kind.charged_as if invocations is not None else None
    endless = info.count is None and sources.kind_of(resolved.source.scheme).endless(request.source_options)
    return resolved, ReplayPlanData(
        run=name,
        source=source.uri,
        target=str(resolved.target),
        records=Items(found.count, f"{found.counted}: {found.how}" if found.count is not None else found.how),
        first=iso_or_none(info.first_s),
        last=iso_or_none(info.last_s),
        fidelity=source.fidelity,
        ended="goes on until it is stopped" if endless else "",
        settings=resolved.origins,
        filters=_described(request, resolved.criteria),
        superseded=superseded,
        invocations=invocations,
        longest_s=longest_s,
        usd=None if charged is None else round(prices.usd(charged, invocations or 0), 6),
        prices_as_of=prices.as_of("invocation"),
        prices="" if charged is None else prices.told([charged]),
        readers=info.readers,
        on_failure=resolved.on_failure or str(ledger.folder(name) / FAILED),
        gaps=gaps,
        warnings=tuple(warnings),
        command=command_line(request, name),
        counted=found.counted,
        without_limit=found.whole,
        nothing_new=done_before,
    )


def pinned(aws: Aws) -> AwsSettings:
    """Region and endpoint as they are now, wherever they come from: a run goes on with the same."""
    region: str | None
    try:
        region = aws.region
    except UsageError:
        region = None  # who asks AWS nothing needs none
    endpoint_url = aws.configured_endpoint("dynamodb")
    if endpoint_url != aws.configured_endpoint("dynamodbstreams"):
        endpoint_url = aws.settings.endpoint_url  # two cannot be kept in one
    return msgspec.structs.replace(aws.settings, region=region, endpoint_url=endpoint_url)


def names(text: str | None) -> tuple[str, ...]:
    return tuple(sorted({name.strip() for name in (text or "").split(",") if name.strip()}))


def _longest_s(settings: Settings, count: int | None, invocations: int | None, target: TargetInfo) -> float | None:
    """How long the run takes at most, without retries: by the rate, and if every batch took its consumer's time-out.

    None where the count is unknown, and where nothing bounds it."""
    if count is None or invocations is None:
        return None
    known = [count / settings.rate] if settings.rate is not None else []
    if target.longest_attempt_s is not None:
        known.append(invocations * target.longest_attempt_s / settings.lanes)
    return round(max(known), 1) if known else None


async def _mapping(
    resolved: Resolved, aws: Aws, info: SourceInfo, warnings: list[PlanWarning], *, settled: bool
) -> MappingSettings | None:
    """The event source mapping of the target on the source's stream, and a warning where there is none. Its filter is
    asked for only where it is what filters: not where the user gave one, nor where the run has its own already."""
    function = targets.kind_of(resolved.target).function(resolved.target)
    if function is None or not aws.may_ask("lambda"):  # the target refuses that, and nobody else is asked before
        return None
    if info.stream_arn is None:
        warnings.append(PlanWarning("no-mapping", "the records name no stream: Lambda's defaults are used."))
        return None
    try:
        mappings = await asyncio.to_thread(lambda_.event_source_mappings, aws, info.stream_arn)
    except AwsError as error:
        warnings.append(PlanWarning("no-mapping", f"could not look for the function's mapping: {error.message}"))
        return None
    mapping = mapping_of(function, mappings)
    if mapping is None:
        warnings.append(
            PlanWarning("no-mapping", "the stream does not invoke this function: Lambda's defaults are used.")
        )
        return None
    filters = not settled and resolved.filters.pattern is None
    if filters:
        mapping = await asyncio.to_thread(lambda_.with_filter, aws, mapping)
    found = mapping_settings(mapping, filters=filters)
    warnings += warned.of_mapping(found)
    return found


async def _sample_verdicts(
    resolved: Resolved, aws: Aws, ledger: Ledger, info: SourceInfo, source: Source, stack: contextlib.AsyncExitStack
) -> dict[str, int]:
    """Verdicts of the items of the first records."""
    folder = Path(stack.enter_context(Spool()))
    verdicts = await verdicts_of(resolved, aws, ledger, info, folder / "sample.db", stack)

    async def first() -> AsyncGenerator[list[Record], None]:
        read = 0
        async for page in source.read({}, resolved.window):
            yield page
            read += len(page)
            if read >= SURVEYED_RECORDS:
                return

    await verdicts.survey(first(), filter_of(resolved).passes)
    return verdicts.counts()


def _described(request: ReplayRequest, criteria: str | None) -> str:
    given = msgspec.to_builtins(request.filters)
    parts = [f"{name} {value}" for name, value in given.items()]
    if criteria is not None:
        parts.append("the mapping's FilterCriteria")
    return ", ".join(parts) or "none"


def resume(run: Run, ledger: Path, changes: dict[str, Any]) -> ReplayPlan:
    """The plan that goes on with a run; one that ended at its limit goes on without it, unless another is given."""
    if run.state == "COMPLETED":
        raise UsageError(f"run {run.name} is complete", f"See what it did: restrike runs show {run.name}")
    if run.state == "LIMITED":
        changes = {"limit": None} | changes
    return plan_again(run.name, resolved_of(run), ledger, changes)
