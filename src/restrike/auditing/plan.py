"""Plan an audit: look at the table, the other side, and what tells what has changed since. Then carry it out."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from restrike.auditing.book import FILE
from restrike.auditing.execute import OnAuditProgress, audit
from restrike.auditing.pace import default_rru
from restrike.auditing.partitions import ENDING, parts_for
from restrike.auditing.request import OF_A_TABLE, AuditRequest, check, command_line, compared, renamed
from restrike.auditing.rows import Names, RowFile
from restrike.auditing.run import VERB, line
from restrike.auditing.settled import GIVEN, KEYS, Against, Settled, given_path, settled_of, told
from restrike.aws import dynamodb
from restrike.aws.session import Aws
from restrike.errors import UsageError
from restrike.model import cost
from restrike.model.audit import AuditPlanData, AuditReport
from restrike.model.numbers import figure
from restrike.model.plan import Estimate, Items, Planned, PlanWarning
from restrike.model.prices import Prices, given_prices
from restrike.model.selection import KeyList
from restrike.model.table import TableInfo
from restrike.model.times import iso, iso_or_none
from restrike.model.window import moment
from restrike.running.flags import PLAN_TIMEOUT_S
from restrike.running.ledger import Ledger, ledger_path
from restrike.running.life import Entering, Life, carry_out, check_same
from restrike.running.run import Entry, Run, check_name, default_name
from restrike.running.spool import Spool, keep, written
from restrike.running.stop import Stop, run_to_end
from restrike.selecting.count import count
from restrike.selecting.keyfile import check_whole
from restrike.selecting.request import SelectionRequest
from restrike.selecting.resolve import resolve

SAMPLE_ROWS = 1_000
BYTES_A_ROW = 60
"""At least, by which the rows of a file are guessed."""
_COPIED_AT_ONCE = 1 << 20


class AuditPlan(Planned[AuditPlanData]):
    """What an audit would do (`data`), and the way to do it. Reads neither side until `execute`."""

    def __init__(self, data: AuditPlanData, ledger: Path, settled: Settled, spool: Spool | None) -> None:
        super().__init__(data, str(ledger))
        self.settled = settled
        self._ledger = ledger
        self._spool = spool  # what was given and can be read once

    def execute(
        self,
        on_progress: OnAuditProgress | None = None,
        *,
        stop: Stop | None = None,
        time_limit_s: float | None = None,
        on_stop: Callable[[], None] = lambda: None,
        on_warning: Callable[[str], None] = lambda _: None,
    ) -> AuditReport:
        """Compares both sides, or goes on with a run of that name; returns the report. Of a run that is complete it is
        the report that there is.

        `stop` ends it from any thread; without one SIGINT and SIGTERM do, and call `on_stop`. `time_limit_s` ends it so
        many seconds from now. Nothing is written to any table.
        """

        async def work(life: Life) -> AuditReport:
            return await audit(settled_of(life.run.request), life, on_progress or (lambda _: None))

        try:
            report = carry_out(
                VERB,
                self._ledger,
                Entering(_entry(self.data, self.settled), done=_done, taken_up=self._taken_up, prepare=self._prepare),
                work,
                stop=stop,
                time_limit_s=time_limit_s,
                on_stop=on_stop,
                on_warning=on_warning,
            )
        finally:
            self.discard()
        if report.state == "COMPLETED":
            self._tidy()
        return report

    def _tidy(self) -> None:
        """Takes out of the folder of a run that is complete what it compared by: values of items stand in it."""
        with Ledger(self._ledger, read_only=True) as ledger:
            folder = ledger.folder(self.data.run)
        for path in [*folder.glob(f"*{ENDING}"), *(folder / name for name in (GIVEN, KEYS, FILE))]:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _taken_up(self, known: Run) -> Entry:
        """As it is asked for now, but for what its files on the disk stand on."""
        before = settled_of(known.request)
        settled = msgspec.structs.replace(self.settled, parts=before.parts, selection=before.selection)
        return _entry(self.data, settled)

    def _prepare(self, known: Run | None, folder: Path) -> None:
        """Before the run is known to exist, it has what it was given: whole, and on the disk."""
        what = self.settled.selection.what
        if self._spool is not None:
            for spooled in Path(self._spool.name).iterdir():
                if known is None or not (folder / spooled.name).exists():
                    keep(spooled, folder)
        if isinstance(what, KeyList):
            check_whole(folder / KEYS, what, self.data.run, "Begin anew under another --run.")
        if self.settled.against.kind == "input" and not (folder / GIVEN).exists():
            raise UsageError(f"what run {self.data.run} was given by standard input is gone", "Begin anew.")

    def discard(self) -> None:
        """Removes what was spooled for a plan that is not executed."""
        if self._spool is not None:
            self._spool.cleanup()
            self._spool = None


def _done(known: Run) -> AuditReport | None:
    if known.state != "COMPLETED" or known.report is None:
        return None
    return msgspec.json.decode(known.report, type=AuditReport)


def _entry(data: AuditPlanData, settled: Settled) -> Entry:
    return Entry(
        data.run,
        VERB.name,
        settled.table_arn,
        settled.identity(),
        msgspec.json.encode(settled),
        plan=data.as_json()["plan"],
        total=data.items.count,
    )


def plan(request: AuditRequest) -> AuditPlan:
    """Looks at both sides; raises UsageError for what cannot be compared."""
    check(request)
    name = request.run or default_name("audit", request.table)
    check_name(name)
    aws = Aws(request.aws)
    table, now = dynamodb.describe_table(aws, request.table)
    on = compared(request, table)
    names = Names(table.key, on, renamed(request, table, on))
    as_of_s = _as_of(request, now)
    spool = Spool() if request.kind == "input" or request.selection.keys else None
    try:
        against, other = _against(request, aws, names, spool)
        parts = parts_for(max(table.item_count, other))
        rru = request.max_rru or default_rru(table)[0]
        asked = msgspec.structs.replace(request, selection=_selected(request.selection))
        selection = run_to_end(_resolved(asked, aws, table, spool))
        settled = Settled(
            request=asked,
            table_arn=table.arn,
            table_id=table.id,
            selection=selection,
            against=against,
            names=names,
            as_of_s=as_of_s,
            parts=parts,
            max_rru=rru,
            aws=msgspec.structs.replace(
                request.aws, region=aws.region, endpoint_url=aws.configured_endpoint("dynamodb")
            ),
        )
        return AuditPlan(_look(name, settled, aws, table, spool), ledger_path(request.ledger), settled, spool)
    except BaseException:
        if spool is not None:
            spool.cleanup()
        raise


def _selected(selection: SelectionRequest) -> SelectionRequest:
    """Without one it is the whole table, or the whole of the index that is named."""
    chosen = (selection.partition_key, selection.date, selection.keys, selection.sort_key)
    return selection if any(chosen) else msgspec.structs.replace(selection, all=True)


def _as_of(request: AuditRequest, now: datetime) -> float | None:
    if request.as_of is None:
        return None
    found = moment("--as-of", request.as_of, now)
    if found > now.timestamp() + 1:  # the service tells whole seconds
        raise UsageError(f"--as-of {iso(found)} is in the future", "Say when the other side was read.")
    return found


def _against(request: AuditRequest, aws: Aws, names: Names, spool: Spool | None) -> tuple[Against, int]:
    """The other side, and about how many rows it has. UsageError where it cannot be compared."""
    if request.kind == "table":
        table, _ = dynamodb.describe_table(aws, request.against.removeprefix(OF_A_TABLE))
        theirs = [(each.name, each.type) for each in table.key.attributes]
        wanted = [(names.their(each.name), each.type) for each in names.key.attributes]
        if theirs != wanted:
            raise UsageError(
                f"table {table.name} has the key {_key_told(theirs)}, and not {_key_told(wanted)}",
                "Items are found by their keys: both tables must have the same; other names: --map theirs=ours.",
            )
        return Against("table", table.arn, request.against, table.id), table.item_count
    if request.kind == "input":
        assert spool is not None
        digest = _spooled(spool / GIVEN)
        size = (spool / GIVEN).stat().st_size
        return Against("input", "", "standard input", digest), size // BYTES_A_ROW
    path = Path(request.against).absolute()
    size = path.stat().st_size if path.is_file() else 0
    return Against("file", str(path), request.against), size // BYTES_A_ROW


def _key_told(attributes: list[tuple[str, Any]]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in attributes)


def _spooled(path: Path) -> str:
    """Standard input in that file, and its SHA-256."""
    if sys.stdin is None:
        raise UsageError("standard input is closed", "Give the rows there, or name a file: --against FILE.")
    digest = hashlib.sha256()
    stream: BinaryIO = getattr(sys.stdin, "buffer", None) or open(0, "rb", closefd=False)  # noqa: SIM115
    with written(path), os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        while data := stream.read(_COPIED_AT_ONCE):
            digest.update(data)
            file.write(data)
    return digest.hexdigest()


async def _resolved(request: AuditRequest, aws: Aws, table: TableInfo, spool: Spool | None) -> Any:
    async with dynamodb.connect(aws, connections=2, patience_s=request.plan_timeout_s or PLAN_TIMEOUT_S) as wire:
        keys = (spool / KEYS) if spool is not None else Path(os.devnull)
        return await resolve(request.selection, table, wire, ledger=ledger_path(request.ledger), keys=keys)


def _look(name: str, settled: Settled, aws: Aws, table: TableInfo, spool: Spool | None) -> AuditPlanData:
    request, ledger = settled.request, ledger_path(settled.request.ledger)
    nothing_new = ""
    with Ledger(ledger, read_only=True) as book:
        known, folder = book.find(name), book.folder(name)
    if known is not None and known.verb == VERB.name and known.state == "COMPLETED":
        nothing_new = f"completed at {iso(known.updated_at)}: {line(known)}"
    rows = unreadable = 0
    warnings: list[PlanWarning] = []
    if settled.against.kind != "table" and not nothing_new:
        rows, unreadable = _sample(settled, Path(spool.name) if spool is not None else folder, warnings)
    items, estimate = run_to_end(_estimate(settled, aws, table)) if not nothing_new else (Items(None, ""), _NOTHING)
    prices = Prices(aws.region, table.table_class, given_prices(request.price))
    rate = f"{figure(settled.max_rru)} read units/s"
    data = AuditPlanData(
        run=name,
        table_arn=table.arn,
        account=table.account,
        region=aws.region,
        endpoint=aws.endpoint("dynamodb"),
        items=items,
        as_of=iso_or_none(settled.as_of_s),
        since=_since(request, table),
        estimate=estimate,
        rate=rate if request.max_rru else f"{rate} ({default_rru(table)[1]})",
        prices=prices.told(["read"]) if table.on_demand else "provisioned capacity costs no more",
        sample_rows=rows,
        sample_unreadable=unreadable,
        warnings=tuple(warnings),
        command=command_line(request, iso_or_none(settled.as_of_s), name),
        nothing_new=nothing_new,
        **told(settled),
    )
    check_same(VERB, known, _entry(data, settled))
    return data


_NOTHING = Estimate(None, None, None, None)


def _since(request: AuditRequest, table: TableInfo) -> str:
    """What will tell which differences were written since."""
    found = [f"the archive {request.archive}"] if request.archive is not None else []
    found += ["the table's stream, of the last 24 hours"] if table.stream_arn is not None else []
    return " and ".join(found) or "nothing: the table has no stream, and there is no --archive"


async def _estimate(settled: Settled, aws: Aws, table: TableInfo) -> tuple[Items, Estimate]:
    patience_s = settled.request.plan_timeout_s or PLAN_TIMEOUT_S
    async with dynamodb.connect(aws, connections=2, patience_s=patience_s) as wire:
        found = await count(wire, table, settled.selection)
    rru = found.rru
    if rru is not None and isinstance(settled.selection.what, KeyList):
        rru = float(found.items.count or 0) * max(1, -(-cost.item_kb(table) // 4))
    prices = Prices(aws.region, table.table_class, given_prices(settled.request.price))
    usd = None if rru is None else round(cost.usd_of_reads(table, rru, prices), 6)
    seconds = None if rru is None else rru / settled.max_rru
    return found.items, Estimate(None, rru, usd, seconds)


def _sample(settled: Settled, folder: Path, warnings: list[PlanWarning]) -> tuple[int, int]:
    """The first rows of the file: how many there are, and how many cannot be read. UsageError where none can."""
    against = settled.against
    with RowFile(given_path(folder, against), settled.names, named=against.text) as file:
        chunk = next(itertools.islice(file.chunks(), 1), None)
    if chunk is None:
        warnings.append(PlanWarning("empty", f"{against.text} has no rows: every item will be missing there"))
        return 0, 0
    rows, bad = len(chunk.rows) + len(chunk.unreadable), chunk.unreadable
    if not chunk.rows:
        raise UsageError(
            f"{against.text}, line {bad[0].line}: {bad[0].why}; and no other of its first {rows:,} rows can be read",
            "Other names: --map theirs=ours. A key has the types of the table's key schema.",
        )
    if bad:
        text = (
            f"{against.text}, line {bad[0].line}: {bad[0].why}; {len(bad):,} of the first {rows:,} rows cannot be read"
        )
        warnings.append(PlanWarning("unreadable", text))
    return rows, len(bad)


def resume(run: Run, ledger: Path, changes: dict[str, Any]) -> AuditPlan:
    """The plan that goes on with a run: the same sides, from where they were read to."""
    if run.state == "COMPLETED":
        raise UsageError(f"run {run.name} is complete", f"See what it found: restrike runs show {run.name}")
    try:
        settled = settled_of(run.request)
    except msgspec.MsgspecError:
        raise UsageError(
            f"run {run.name} was made by another version of restrike, and cannot go on", "Begin anew."
        ) from None
    if "profile" in changes:
        settled = msgspec.structs.replace(settled, aws=msgspec.structs.replace(settled.aws, profile=changes["profile"]))
    settled = msgspec.structs.replace(settled, request=msgspec.structs.replace(settled.request, ledger=str(ledger)))
    aws = Aws(settled.aws)
    table, _ = dynamodb.describe_table(aws, settled.table)
    settled = msgspec.structs.replace(settled, table_id=table.id)
    return AuditPlan(_look(run.name, settled, aws, table, None), ledger, settled, None)
