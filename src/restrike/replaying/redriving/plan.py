"""Plan a redrive: read the messages, follow their pointers, and say who gets what. Nothing is delivered or deleted."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from restrike import sources, targets
from restrike.aws.session import Aws
from restrike.aws.streams import RETENTION_S
from restrike.errors import UsageError
from restrike.model.plan import MessagePlan, PlanWarning, RedrivePlanData, ReplayPlanData
from restrike.model.report import RedriveReport
from restrike.model.times import iso, iso_or_none
from restrike.model.window import Window
from restrike.replaying.counts import OnReplayProgress
from restrike.replaying.earlier import report_again
from restrike.replaying.filters import FilterRequest
from restrike.replaying.on_failure import on_failure_path
from restrike.replaying.opening import opening_of
from restrike.replaying.plan import look, names, pinned
from restrike.replaying.redriving.choosing import Choice, comparable, originals
from restrike.replaying.redriving.engine import redrive as carry_on
from restrike.replaying.redriving.queue import RECEIVED
from restrike.replaying.redriving.request import ORIGINAL, RedriveRequest, check, command_line, source_of
from restrike.replaying.redriving.resolved import Part, Redrive, identity_of
from restrike.replaying.redriving.run import VERB, redrive_of, told
from restrike.replaying.resolved import Resolved
from restrike.replaying.run import FAILED
from restrike.replaying.settings import Settings, changed
from restrike.running.flags import PLAN_TIMEOUT_S
from restrike.running.ledger import Ledger, ledger_path
from restrike.running.life import Entering, Life, carry_out, check_same
from restrike.running.run import Entry, Run, check_name, default_name
from restrike.running.spool import Spool, SpooledPlan, keep, tidy
from restrike.running.stop import Stop, run_to_end
from restrike.sources.failures.index import WHOLE, Index, copy
from restrike.sources.failures.resolving import resolve
from restrike.sources.failures.state import MESSAGES, RECORDS, State

TOLD_MESSAGES = 1_000
_TOLD_BY_MESSAGE = ("not-taken", "lost", "expires")
"""Warnings of a source, which a redrive's plan tells message by message."""


class RedrivePlan(SpooledPlan[RedrivePlanData]):
    """What a redrive would do (`data`), and the way to do it. Delivers and deletes nothing until `execute`.

    What the messages say, and what their pointers led to so far, is held in a folder of the plan's own.
    """

    def __init__(self, data: RedrivePlanData, ledger: Path, resolved: Redrive, spool: Spool | None) -> None:
        super().__init__(data, str(ledger))
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
    ) -> RedriveReport:
        """Runs it, or goes on with the run of that name; returns the report. As a replay's plan does it."""
        if self.resolved.request.replay.if_superseded is None:
            self.discard()
            raise superseded_unsaid()
        if not self.resolved.parts:
            self.discard()
            raise UsageError(
                "no message has a consumer: " + "; ".join(why for why, _ in self.data.stays), "See the plan."
            )
        entering = Entering(
            _entry(self.data, self.resolved),
            done=lambda known: self._done(known) if known.state == "COMPLETED" else None,
            taken_up=lambda known: _entry(self.data, _taken_up(redrive_of(known), self.resolved)),
            prepare=self._prepare,
        )

        async def work(life: Life) -> RedriveReport:
            return await carry_on(redrive_of(life.run), life, on_progress or (lambda _: None))

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
            tidy(self._ledger, self.data.run, (MESSAGES, RECORDS, RECEIVED))
        return report

    def _done(self, known: Run) -> RedriveReport:
        again = report_again(known, self.data.parts[0])
        messages = msgspec.structs.asdict(told(known))
        return RedriveReport.of(again, self.data.failures, self.data.target, **messages)

    def _prepare(self, known: Run | None, folder: Path) -> None:
        """A new run begins with what the plan has read. One that goes on has more, unless it was lost."""
        if self._spool is None or (known is not None and (folder / MESSAGES).exists()):
            return
        for name in (MESSAGES, RECORDS):
            if (self._spool / name).exists():
                keep(self._spool / name, folder)


def superseded_unsaid() -> UsageError:
    return UsageError(
        "the mapping went on after it had given up: items may have moved on since",
        "Say what is to become of such records: --if-superseded send, or --if-superseded skip.",
    )


def _entry(data: RedrivePlanData, resolved: Redrive) -> Entry:
    return Entry(
        data.run,
        VERB.name,
        str(resolved.base.source),
        identity_of(resolved),
        msgspec.json.encode(resolved),
        plan=data.as_json()["plan"],
        total=data.expected,
    )


def _taken_up(known: Redrive, again: Redrive) -> Redrive:
    """The run as it was planned first, with what a rerun of the same identity may change."""
    parts = tuple(
        msgspec.structs.replace(
            part,
            replay=msgspec.structs.replace(
                part.replay, settings=new.replay.settings, allow_gaps=new.replay.allow_gaps, aws=new.replay.aws
            ),
        )
        for part, new in zip(known.parts, again.parts, strict=True)
    )
    return msgspec.structs.replace(known, request=again.request, base=again.base, parts=parts)


def plan(request: RedriveRequest, *, received: tuple[Path, str] | None = None) -> RedrivePlan:
    """Reads the messages, follows their pointers and looks at the consumers; UsageError for what must not be tried.

    `received`: the file of messages that were taken out of a queue, and its URL.
    """
    check(request)
    asked = request.replay
    name = default_name("redrive", asked.source.replace(":", "/")) if asked.run is None else asked.run
    check_name(name)
    here = Path.cwd()
    if received is None and request.keep:
        raise UsageError("--keep is for messages of a queue, and files are never deleted", "Leave it out.")
    source = source_of(request, received, here)
    if request.delete_objects and not source.rest.startswith("s3://"):
        raise UsageError("--delete-objects is for objects in S3, and these messages lie in files", "Leave it out.")
    options = sources.options_of(source, asked.source_options)
    original = asked.to == ORIGINAL
    target = targets.parse(f"lambda:{ORIGINAL}" if original else asked.to, here)
    aws = Aws(asked.aws)
    base = Resolved(
        request=asked,
        source=source,
        target=target,
        target_options=targets.options_of(target, asked.target_options),
        window=Window(),
        filters=FilterRequest(),
        settings=Settings(),
        aws=pinned(aws),
        on_failure=on_failure_path(asked, name, source, target, here),
        skip_superseded=asked.if_superseded == "skip",
        ignored_attributes=names(asked.ignore_attributes),
        fresh_event_ids=asked.event_id == "fresh",
        allow_gaps=asked.allow_gaps,
    )
    redrive = Redrive(request, base, (), queue="" if received is None else received[1])
    spool = Spool()
    try:
        return run_to_end(_plan(name, redrive, options, aws, ledger_path(asked.ledger), spool))
    except BaseException:
        spool.cleanup()
        raise


async def _plan(
    name: str, redrive: Redrive, options: dict[str, Any], aws: Aws, path: Path, spool: Spool
) -> RedrivePlan:
    base, folder = redrive.base, Path(spool.name)
    opening = opening_of(base, aws, folder, run=name, ledger=path, looking=True)
    kind = sources.kind_of(base.source.scheme)
    base = msgspec.structs.replace(base, input=await kind.resolve(base.source, options, opening))
    redrive = msgspec.structs.replace(redrive, base=base)
    with Ledger(path, read_only=True) as ledger:
        known = ledger.find(name)
        earlier = ledger.folder(name) / RECORDS
        if known is not None and known.verb == VERB.name and earlier.exists():
            copy(earlier, folder / RECORDS)
        resolved, data = await _look(name, redrive, aws, ledger, folder, known)
        check_same(VERB, known, _entry(data, resolved))
    return RedrivePlan(data, path, resolved, spool)


async def _look(
    name: str, redrive: Redrive, aws: Aws, ledger: Ledger, folder: Path, known: Run | None
) -> tuple[Redrive, RedrivePlanData]:
    """Follows the pointers in that folder, chooses, and plans a replay for each consumer."""
    request, base = redrive.request, redrive.base
    warnings: list[PlanWarning] = []
    with Index(folder / MESSAGES, folder / RECORDS) as index:
        await _follow(index, base, aws, warnings)
        origins = index.origins()
        if request.replay.to == ORIGINAL:
            choices = await asyncio.to_thread(originals, aws, origins)
        else:
            choices = [Choice(origin, base.target) for origin in origins]
        if base.skip_superseded:
            choices = await asyncio.to_thread(comparable, aws, choices)
        resolved, replays = await _parts(name, redrive, choices, aws, ledger, folder, known)
        rows, stays, count = _rows(index, choices)
    warnings += [each for replay in replays for each in replay.warnings if each.code not in _TOLD_BY_MESSAGE]
    done = known is not None and known.verb == VERB.name and known.state == "COMPLETED"
    return resolved, RedrivePlanData(
        run=name,
        failures=str(base.source),
        target=request.replay.to,
        message_count=count,
        taken=count - sum(stays.values()),
        messages=rows,
        stays=tuple(stays.most_common()),
        parts=tuple(replays),
        if_superseded=request.replay.if_superseded or "",
        deletes=request.delete_objects,
        on_failure=base.on_failure or str(ledger.folder(name) / FAILED),
        warnings=tuple(dict.fromkeys(warnings)),
        command=command_line(executable(request), name),
        nothing_new=f"completed: {VERB.line(known)}" if known is not None and done else "",
    )


def executable(request: RedriveRequest) -> RedriveRequest:
    """With the choice that --execute needs: nothing is lost by the one that sends."""
    if request.replay.if_superseded is not None:
        return request
    return msgspec.structs.replace(request, replay=msgspec.structs.replace(request.replay, if_superseded="send"))


async def _follow(index: Index, base: Resolved, aws: Aws, warnings: list[PlanWarning]) -> None:
    """As many of the pointers as can be followed while a plan may take; what they lead to is kept for the run."""
    archive = msgspec.json.decode(base.input.state, type=State).archive
    longest_s = base.request.plan_timeout_s or PLAN_TIMEOUT_S
    try:
        async with asyncio.timeout(longest_s):
            await resolve(index, lambda: aws, archive)
    except TimeoutError:
        oldest_s = index.oldest(time.time() - RETENTION_S)
        when = "" if oldest_s is None else f"; the first of them expires at {iso(oldest_s + RETENTION_S)}"
        text = f"not all pointers could be followed within {longest_s:g} s: the run goes on with it{when}"
        warnings.append(PlanWarning("not-followed", text))


async def _parts(
    name: str, redrive: Redrive, choices: list[Choice], aws: Aws, ledger: Ledger, folder: Path, known: Run | None
) -> tuple[Redrive, list[ReplayPlanData]]:
    """A part for each stream and consumer, in the order of the streams: its mapping says how to deliver."""
    base = redrive.base
    archive = msgspec.json.decode(base.input.state, type=State).archive
    groups: dict[tuple[str, str], list[Choice]] = {}
    stays = []
    for choice in choices:
        if choice.target is None:
            stays.append((choice.origin, choice.why))
        else:
            # Items are compared with those of one table; else one consumer takes all streams in one go.
            apart = redrive.request.replay.to == ORIGINAL or base.skip_superseded
            groups.setdefault((choice.origin[0] if apart else "", choice.target.rest), []).append(choice)
    parts, replays = [], []
    for group in groups.values():
        origins = tuple(choice.origin for choice in group)
        target = group[0].target
        assert target is not None
        state = msgspec.json.encode(State(archive, origins))
        replay = msgspec.structs.replace(base, target=target, input=msgspec.structs.replace(base.input, state=state))
        replay, data = await look(name, replay, aws, ledger, folder, settled=False, known=known)
        parts.append(Part(origins, replay))
        replays.append(data)
    return msgspec.structs.replace(redrive, parts=tuple(parts), stays=tuple(stays)), replays


def _rows(index: Index, choices: list[Choice]) -> tuple[tuple[MessagePlan, ...], Counter[str], int]:
    """The first of the messages, why some stay, and how many there are."""
    by_origin = {choice.origin: choice for choice in choices}
    rows: list[MessagePlan] = []
    stays = Counter[str]()
    count = 0
    for row in _each(index, by_origin):
        count += 1
        if row.why:
            stays[row.why] += 1
        if count <= TOLD_MESSAGES:
            rows.append(row)
    return tuple(rows), stays, count


def _each(index: Index, choices: dict[tuple[str, str | None], Choice]) -> Iterator[MessagePlan]:
    for message in index.messages():
        pointer = message.pointer
        if pointer is None:
            yield MessagePlan(message.name, None, "", None, None, 0, "", "", message.why)
            continue
        choice, outcome = choices[pointer.stream_arn, message.function], index.outcome(pointer)
        why = choice.why
        if not why and outcome is not None:
            why = outcome.lost
        expires_s = None if index.brought(pointer) or pointer.first_s is None else pointer.first_s + RETENTION_S
        yield MessagePlan(
            name=message.name,
            function=message.function,
            condition=message.condition,
            failed=iso_or_none(message.failed_s),
            expires=iso_or_none(expires_s),
            records=pointer.records,
            served_by=outcome.source if outcome is not None and outcome.state == WHOLE else "",
            to="" if choice.target is None else str(choice.target),
            why=why,
        )


def resume(run: Run, ledger: Path, changes: dict[str, Any]) -> RedrivePlan:
    """The plan that goes on with a run."""
    if run.state == "COMPLETED":
        raise UsageError(f"run {run.name} is complete", f"See what it did: restrike runs show {run.name}")
    known = redrive_of(run)
    own = {field: value for field, value in changes.items() if field in known.request.replay.__struct_fields__}
    asked = msgspec.structs.replace(known.request.replay, ledger=str(ledger), **own)
    request = msgspec.structs.replace(known.request, replay=asked)
    check(request)

    def anew(replay: Resolved) -> Resolved:
        aws = replay.aws
        if "profile" in changes:
            aws = msgspec.structs.replace(aws, profile=changes["profile"])
        return msgspec.structs.replace(replay, request=asked, settings=changed(replay.settings, changes), aws=aws)

    parts = tuple(msgspec.structs.replace(part, replay=anew(part.replay)) for part in known.parts)
    resolved = msgspec.structs.replace(known, request=request, base=anew(known.base), parts=parts)

    async def look_again() -> RedrivePlanData:
        aws = Aws(resolved.base.aws)
        with Ledger(ledger, read_only=True) as found:
            replays = [
                (await look(run.name, part.replay, aws, found, found.folder(run.name), settled=True, known=run))[1]
                for part in resolved.parts
            ]
        data = msgspec.convert({"verb": VERB.name} | msgspec.json.decode(run.plan or b"{}") | _UNTOLD, RedrivePlanData)
        return msgspec.structs.replace(data, parts=tuple(replays), command=command_line(request, run.name))

    return RedrivePlan(run_to_end(look_again()), ledger, resolved, None)


_UNTOLD: dict[str, Any] = {"parts": [], "stays": []}
"""Members that the plan tells in another form than it holds them."""
