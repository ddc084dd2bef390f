"""Plan a touch: look at the table, the selection and who reads the stream; write nothing. Then carry it out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from restrike.aws import dynamodb
from restrike.aws.session import Aws
from restrike.aws.wire import Wire
from restrike.errors import AwsError, NotFound, SourceLacks, UsageError
from restrike.model.plan import PlanWarning, TouchPlanData
from restrike.model.report import TouchReport
from restrike.model.selection import KeyList, Selection
from restrike.model.table import TableInfo, made_anew
from restrike.model.times import iso
from restrike.running.flags import PLAN_TIMEOUT_S
from restrike.running.ledger import Ledger, ledger_path
from restrike.running.life import Entering, Life, carry_out, check_same
from restrike.running.locks import holders
from restrike.running.run import Entry, Run, check_name, default_name
from restrike.running.spool import Spool, SpooledPlan, keep
from restrike.running.stop import Stop, run_to_end
from restrike.selecting.resolve import resolve
from restrike.touching.conflicts import as_it_must_be_given, check_accepted, check_of_use, danger, resume_words
from restrike.touching.engine import Touch
from restrike.touching.look import Look
from restrike.touching.options import Options
from restrike.touching.pace import PaceOptions
from restrike.touching.progress import OnProgress
from restrike.touching.request import CONCURRENCY, OFF, VERIFY_TIMEOUT_S, TouchRequest, check, command_line
from restrike.touching.run import KEYS, UNMARK, VERB, Asked, identity, line, summary, verb_writing
from restrike.touching.standing import (
    asked_of,
    check_keys,
    check_standing,
    keys_of,
    known_elsewhere,
    list_lost,
    place_of,
)
from restrike.wiring.audience import Destinations, destinations_of


class TouchPlan(SpooledPlan[TouchPlanData]):
    """What a touch would do (`data`), and the way to do it. Writes nothing, and leaves nothing behind, until `execute`.

    `request` is what was asked for.
    """

    def __init__(
        self,
        request: TouchRequest,
        data: TouchPlanData,
        aws: Aws,
        table: TableInfo,
        asked: Asked,
        spool: Spool | None,
    ) -> None:
        super().__init__(data, str(ledger_path(request.ledger)), resume_words=resume_words(table))
        self.request = request
        self._aws = aws
        self._table = table
        self._asked = asked
        self._verb = verb_writing(request.mode)
        self._list_lost = False
        self._spool = spool  # with the keys that were given

    def execute(
        self,
        on_progress: OnProgress | None = None,
        *,
        stop: Stop | None = None,
        time_limit_s: float | None = None,
        on_stop: Callable[[], None] = lambda: None,
        on_warning: Callable[[str], None] = lambda _: None,
    ) -> TouchReport:
        """Runs it, or goes on with a run of that name; returns the report. Of a run that is complete it is the report
        that there is, and no item is read or written.

        `stop` ends it from any thread; without one SIGINT and SIGTERM do, and call `on_stop`. `time_limit_s` ends it
        so many seconds from now. Raises UsageError where the name belongs to another run, or another run is
        active on the table, AwsError where AWS refuses; what is done by then is saved and can be resumed.
        """
        table, now = self._described()
        if self.data.done is None:
            check_accepted(self.request, self._table, table)
            if self.data.late:
                raise UsageError(
                    self.data.late, "Wait for it, or give a higher --max-lag, or --max-lag off. Nothing was written."
                )
        self.resume_words = self.resume_words or resume_words(table)
        # Stream records are stamped by the service's clock, not by ours.
        started_s = now.timestamp()
        ahead_s = time.time() - started_s
        entering: Entering[TouchReport] = Entering(
            self._entry(started_s),
            done=self._report_again,
            taken_up=lambda known: self._taken_up(known, started_s),
            begins_again=self._begins_again,
            prepare=self._prepare,
            check=lambda ledger: self._check(ledger, table),
            resume_words=self.resume_words,
        )

        async def work(life: Life) -> TouchReport:
            asked = msgspec.json.decode(life.run.request, type=Asked)
            try:
                report = await Touch(
                    self._aws, self._table, asked, life, on_progress or _silent, lambda: time.time() - ahead_s
                ).execute()
            except NotFound as error:
                if error.report is not None:  # between its end and its new beginning a table is not there
                    await asyncio.to_thread(self._check_same_table, error.report)
                raise
            if report.state in ("COMPLETED", "LIMITED"):
                await asyncio.to_thread(self._check_same_table, report)
            if report.already and not life.resumed and life.run.epoch == 1 and self._asked.options.mode == "marker":
                report.notes += (known_elsewhere(report.already),)
            return report

        try:
            return carry_out(
                self._verb,
                ledger_path(self.request.ledger),
                entering,
                work,
                stop=stop,
                time_limit_s=time_limit_s,
                on_stop=on_stop,
                on_warning=on_warning,
            )
        finally:
            self.discard()

    def _described(self) -> tuple[TableInfo, datetime]:
        """The table as it is now, and the service's time. UsageError where another table has the name by now."""
        table, now = dynamodb.describe_table(self._aws, self._table.name)
        if table.id != self._table.id:
            raise made_anew(self.data.run, f"table {table.name}", self._table.id, table.id)
        return table, now

    def _check_same_table(self, report: TouchReport) -> None:
        """Raises where the table was deleted while it was touched, and another has its name: whatever was not found in
        it then was reported as gone. A note where it got replicas meanwhile."""
        try:
            table, _ = self._described()
            if table.replicates_eventually and not self.request.accept_replication_conflicts:
                report.notes += (f"the table has become {danger(table)}: nobody had accepted that",)
        except UsageError as error:
            report.state = "FAILED"
            lacks = SourceLacks(error.message, error.hint)
            lacks.report, lacks.can_go_on = report, False
            raise lacks from None
        except AwsError:
            pass  # that it is gone altogether, or cannot be asked any more, changes nothing of what was done

    def _entry(self, started_s: float | None) -> Entry:
        return Entry(
            self.data.run,
            self._verb.name,
            self._table.arn,
            identity(self._asked, self._table),
            msgspec.json.encode(self._asked),
            plan=self.as_json()["plan"],
            total=self.data.total,
            started_s=started_s,
        )

    def _taken_up(self, known: Run, started_s: float) -> Entry:
        """As it is asked for now, but for how the selection is read: its places are those of its own segments."""
        asked = self._asked
        if not self._begins_again(known):
            asked = msgspec.structs.replace(asked, selection=asked_of(known).selection)
        return msgspec.structs.replace(self._entry(started_s), request=msgspec.json.encode(asked))

    def _report_again(self, known: Run) -> TouchReport | None:
        """The run's own report, where it has done all that is asked for."""
        if self.request.again or not _is_done(known, self.request.limit):
            return None
        assert known.report is not None
        report = msgspec.json.decode(known.report, type=TouchReport)
        report.notes = (f"{_done_before(known)}; --again starts over", *report.notes)
        return report

    def _begins_again(self, known: Run) -> bool:
        return self.request.again and (_is_done(known, self.request.limit) or self._list_lost)

    def _prepare(self, known: Run | None, folder: Path) -> None:
        """Before the run is known to exist, it has the keys that it stands on; one that goes on has those it had."""
        keys, what = folder / KEYS, self._asked.selection.what
        anew = known is None or self._begins_again(known)
        if not isinstance(what, KeyList):
            if anew:
                keys.unlink(missing_ok=True)  # those of an ordered run through an index are read anew
            return
        if self._spool is not None and (known is None or anew or what.in_order == keys_of(known).in_order):
            keep(self._spool / KEYS, folder)
        elif known is not None:
            check_keys(known, keys, what if self._spool is not None else None)

    def _check(self, ledger: Ledger, table: TableInfo) -> None:
        """UsageError where the run must not begin or go on now."""
        check_accepted(self.request, self._table, table)
        known = ledger.find(self.data.run)
        self._list_lost = known is not None and list_lost(ledger, known, self.request)
        others = [f"run {name}" for name in _active(ledger, self._table, besides=self.data.run)]
        others += ledger.hold(place_of(self._table), f"run {self.data.run} of {ledger.path}")
        if others and not self.request.force:
            raise UsageError(
                f"{others[0]} is active on table {self._table.name}",
                "Wait for it, or add --force to run beside it (the writes add up).",
            )


def _silent(_: object) -> None:
    """No progress wanted."""


def plan(request: TouchRequest, *, known: Asked | None = None) -> TouchPlan:
    """Looks at everything that the touch depends on; raises UsageError for what must not be tried.

    `known`: what a run stands on that goes on; its selection is not resolved again.
    """
    # An unmark is found again by what it takes off.
    name = request.run or (f"unmark-{request.remove}"[:64] if request.remove else default_name("touch", request.table))
    check_name(name)
    check(request)
    aws = Aws(request.aws)
    table, _ = dynamodb.describe_table(aws, request.table)
    if request.expect_account is not None and request.expect_account != table.account:
        raise UsageError(
            f"table {table.name} is in account {table.account}, not in {request.expect_account}",
            "Check --profile and --region; nothing was written.",
        )
    destinations = destinations_of(aws, table)
    _check_table(request, table, destinations)
    spool = Spool() if request.selection.keys and known is None else None
    try:
        return run_to_end(_look(request, name, aws, table, destinations, spool, known))
    except BaseException:
        if spool is not None:
            spool.cleanup()
        raise


def _check_table(request: TouchRequest, table: TableInfo, destinations: Destinations) -> None:
    if table.stream_arn is None and not destinations.receiving:
        seen = f", as far as can be seen. {destinations.unknown}" if destinations.unknown else ""
        if destinations.enabling:
            raise UsageError(
                f"table {table.name} has no stream, and its Kinesis destination is still ENABLING: what is written now "
                "may reach nobody",
                "Wait until it is ACTIVE: aws dynamodb describe-kinesis-streaming-destination --table-name "
                f"{table.name}",
            )
        raise UsageError(
            f"table {table.name} has no stream: nothing would fire{seen}",
            "Switch it on: aws dynamodb update-table --table-name "
            f"{table.name} --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES",
        )
    if request.attribute in table.key_attributes_everywhere():
        raise UsageError(
            f"{request.attribute!r} is a key attribute of table {table.name} or of an index",
            "Choose another with --marker or --counter.",
        )


async def _look(
    request: TouchRequest,
    name: str,
    aws: Aws,
    table: TableInfo,
    destinations: Destinations,
    spool: Spool | None,
    known: Asked | None,
) -> TouchPlan:
    ledger = ledger_path(request.ledger)
    async with dynamodb.connect(aws, connections=4, patience_s=request.plan_timeout_s or PLAN_TIMEOUT_S) as wire:
        with Ledger(ledger, read_only=True) as book:
            folder = book.folder(name)
            before = book.find(name)
        selection = known.selection if known is not None else _as_before(request, before)
        if selection is None:
            selection = await _resolved(request, table, wire, ledger, spool)
        asked = Asked(as_it_must_be_given(request, table), selection, _options(request), 0.0)
        verb = verb_writing(request.mode)
        check_same(verb, before, Entry(name, verb.name, table.arn, identity(asked, table), b""))
        if before is not None and not request.again and _is_done(before, request.limit):
            return TouchPlan(request, _nothing_new(before, asked.request), aws, table, asked, spool)
        warnings = check_standing(ledger, before, asked, given=spool is not None)
        look = Look(request, name, aws, table, destinations, wire, selection)
        data = await look.plan((spool or folder) / KEYS)
    table = look.table
    check_of_use(request, table)
    options = msgspec.structs.replace(asked.options, verify=look.verify, lag=look.lag.options)
    asked = Asked(as_it_must_be_given(request, table), selection, options, look.wcu_per_item)
    with Ledger(ledger, read_only=True) as book:
        others = [f"run {other}" for other in _active(book, table, besides=name)]
    others += holders(place_of(table))
    if others:
        text = f"{others[0]} is active on this table: --execute waits for its end, or needs --force."
        warnings.append(PlanWarning("another-run", text))
    if before is None and data.sample_already and request.mode == "marker":
        text = f"of {data.sample_size:,} sampled items, {known_elsewhere(data.sample_already)}. They do not fire."
        warnings.append(PlanWarning("known-elsewhere", text))
    data = msgspec.structs.replace(data, warnings=(*data.warnings, *warnings))
    return TouchPlan(request, data, aws, table, asked, spool)


def _options(request: TouchRequest) -> Options:
    return Options(
        attribute=request.attribute,
        mode=request.mode,
        names=request.names,
        api=request.api or "partiql",
        ordered=request.ordered,
        concurrency=request.concurrency or CONCURRENCY,
        pace=PaceOptions(request.rate, request.max_wcu),
        limit=request.limit,
        verify=False,
        verify_timeout_s=VERIFY_TIMEOUT_S if request.verify_timeout_s is None else request.verify_timeout_s,
    )


def _is_done(known: Run, limit: int | None) -> bool:
    """Whether the run has done all that is asked for now."""
    if known.report is None:
        return False
    at_its_limit = known.state == "LIMITED" and limit is not None and limit <= summary(known)["selected"]
    return known.state == "COMPLETED" or at_its_limit


def _done_before(known: Run) -> str:
    return f"nothing new: run {known.name} was {known.state.lower()} at {iso(known.updated_at)}: {line(known)}"


def _nothing_new(known: Run, request: TouchRequest) -> TouchPlanData:
    """The plan of a run that has done it all: its own, and the way to start over."""
    assert known.plan is not None
    return msgspec.structs.replace(
        msgspec.json.decode(known.plan, type=TouchPlanData),
        done=_done_before(known),
        warnings=(),
        command=command_line(msgspec.structs.replace(request, again=True), known.name),
    )


def _as_before(request: TouchRequest, known: Run | None) -> Selection | None:
    """The selection of a run that was asked for in the same words and is done: no item is read to resolve it again.
    What a file or a ledger holds may be another now."""
    if (
        known is None
        or known.verb != verb_writing(request.mode).name
        or request.selection.keys
        or not _is_done(known, request.limit)
    ):
        return None
    asked = msgspec.json.decode(known.request, type=Asked)
    same = asked.request.table == request.table and asked.request.selection == request.selection
    return asked.selection if same and not request.again else None


def _active(ledger: Ledger, table: TableInfo, *, besides: str) -> list[str]:
    """The names of other runs that write to the table now."""
    return [name for verb in (VERB, UNMARK) for name in ledger.active_on(verb.name, table.arn, besides=besides)]


async def _resolved(
    request: TouchRequest, table: TableInfo, wire: Wire, ledger: Path, spool: Spool | None
) -> Selection:
    keys = (spool or Path()) / KEYS
    return await resolve(request.selection, table, wire, ledger=ledger, keys=keys, ordered=request.ordered)


def resume(run: Run, ledger: Path, changes: dict[str, Any]) -> TouchPlan:
    """The plan that goes on with a run, with other settings where they are given; one that ended at its limit goes on
    without it, unless another is given."""
    if run.state == "COMPLETED":
        raise UsageError(f"run {run.name} is complete", f"See what it did: restrike runs show {run.name}")
    asked = msgspec.json.decode(run.request, type=Asked)
    if run.state == "LIMITED":
        changes = {"limit": None} | changes
    # What was accepted then is not accepted now.
    request = msgspec.structs.replace(asked.request, accept_replication_conflicts=False)
    if "profile" in changes:
        aws = msgspec.structs.replace(request.aws, profile=changes["profile"])
        changes = {name: value for name, value in changes.items() if name != "profile"} | {"aws": aws}
    if changes.get("verify") is False:
        changes = changes | {"verify_timeout_s": None}
    if changes.get("max_lag") == OFF:
        changes = {"max_lag_wait": None} | changes
    request = msgspec.structs.replace(request, run=run.name, again=False, ledger=str(ledger), **changes)
    return plan(request, known=asked)
