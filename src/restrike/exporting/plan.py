"""Plan an export: look at the table, how far back it can be exported, and what is exported already. Starts nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from restrike.aws import dynamodb, exports
from restrike.aws.exports import Recovery
from restrike.aws.session import Aws, ask
from restrike.errors import AccessDenied, AwsError, NotFound, RestrikeError, UsageError
from restrike.exporting.cutting import Span, cut, window_s
from restrike.exporting.execute import OnExportProgress, export
from restrike.exporting.existing import Existing, existing
from restrike.exporting.request import (
    WINDOW,
    ExportRequest,
    Place,
    check,
    command_line,
    digest_of,
    filter_of,
    parameters,
    place_of,
)
from restrike.exporting.run import VERB, counts_of, line
from restrike.exporting.settled import Settled, replay_command, report_of
from restrike.model import cost
from restrike.model.plan import ExportPlanData, Planned, PlanWarning
from restrike.model.report import ExportReport
from restrike.model.table import TableInfo
from restrike.model.times import iso
from restrike.model.window import is_duration, moment
from restrike.running.ledger import Ledger, ledger_path
from restrike.running.life import Entering, Life, carry_out, check_same
from restrike.running.run import Entry, Run, check_name
from restrike.running.stop import Stop

BEHIND_S = 300
"""So far behind now is the latest that can be exported."""
_UNKNOWN = ("UnknownOperationException", "UnknownOperation", "NotImplemented")


class ExportPlan(Planned[ExportPlanData]):
    """What an export would start (`data`), and the way to do it. Starts nothing until `execute`."""

    def __init__(self, data: ExportPlanData, ledger: Path, settled: Settled) -> None:
        super().__init__(data, str(ledger))
        self.settled = settled
        self._ledger = ledger

    def execute(
        self,
        on_progress: OnExportProgress | None = None,
        *,
        stop: Stop | None = None,
        time_limit_s: float | None = None,
        on_stop: Callable[[], None] = lambda: None,
        on_warning: Callable[[str], None] = lambda _: None,
    ) -> ExportReport:
        """Starts the windows that do not exist and waits until all are complete; returns the report.

        `stop` ends the waiting from any thread; without one SIGINT and SIGTERM do, and call `on_stop`. `time_limit_s`
        ends it so many seconds from now. What is under way goes on in the service, and the run finds it again. Raises
        AwsError where a window was refused or has failed.
        """

        async def work(life: Life) -> ExportReport:
            settled = msgspec.json.decode(life.run.request, type=Settled)
            return await export(settled, life, on_progress or (lambda _: None))

        return carry_out(
            VERB,
            self._ledger,
            Entering(_entry(self.data, self.settled), done=self._done),
            work,
            stop=stop,
            time_limit_s=time_limit_s,
            on_stop=on_stop,
            on_warning=on_warning,
        )

    def _done(self, known: Run) -> ExportReport | None:
        if known.state != "COMPLETED":
            return None
        return report_of(known.name, self.settled, "COMPLETED", counts_of(known), known.elapsed_s)

    def discard(self) -> None:
        """Nothing is held for a plan that is not executed."""


def _entry(data: ExportPlanData, settled: Settled) -> Entry:
    return Entry(
        data.run,
        VERB.name,
        settled.table_arn,
        settled.identity(),
        msgspec.json.encode(settled),
        plan=data.as_json()["plan"],
        total=data.windows,
    )


def plan(request: ExportRequest) -> ExportPlan:
    """Looks at the table and its exports; raises UsageError for what the service would refuse."""
    check(request)
    place = place_of(request.to)
    each_s = window_s(request.window or WINDOW)
    for flag, text in (("--since", request.since), ("--until", request.until)):
        if text is not None:
            moment(flag, text, datetime.now(UTC))  # refuses what is none before anything is asked
    if request.run is not None:
        check_name(request.run)
    aws = Aws(request.aws)
    table, told = dynamodb.describe_table(aws, request.table)
    warnings: list[PlanWarning] = []
    reach = _recovery(aws, table, warnings)
    since_s, until_s = _span(request, told, reach)
    spans = cut(since_s, until_s, each_s)
    settled = Settled(
        request=request,
        table_arn=table.arn,
        table_id=table.id,
        place=place,
        spans=tuple(spans),
        parameters=parameters(request, table, place, filter_of(table, request.key)),
        aws=msgspec.structs.replace(request.aws, region=aws.region, endpoint_url=aws.configured_endpoint("dynamodb")),
    )
    name = request.run or f"export-{table.name[:40]}-{digest_of(*settled.identity().values())[:8]}"
    _check_bucket(aws, place, warnings)
    data = _look(name, settled, aws, table, ledger_path(request.ledger), warnings)
    return ExportPlan(data, ledger_path(request.ledger), settled)


def _look(
    name: str, settled: Settled, aws: Aws, table: TableInfo, ledger: Path, warnings: list[PlanWarning]
) -> ExportPlanData:
    spans = settled.spans
    nothing_new = ""
    with Ledger(ledger, read_only=True) as book:
        known = book.find(name)
        if known is not None and known.verb == VERB.name and known.state == "COMPLETED":
            nothing_new = f"completed at {iso(known.updated_at)}: {line(known)}"
    there = Existing() if nothing_new else _existing(aws, settled, warnings)
    if there.beside:
        text = (
            f"{settled.place} holds exports whose windows overlap these, and the replay of both will be refused: "
            f"{', '.join(there.beside[:5])}{', …' if len(there.beside) > 5 else ''}. Give another prefix."
        )
        warnings.append(PlanWarning("overlaps", text))
    to_start = 0 if nothing_new else len(spans) - len(there.same)
    usd, how = _price(aws, table, settled)
    data = ExportPlanData(
        run=name,
        table=table.name,
        region=aws.region,
        endpoint=aws.endpoint("dynamodb"),
        to=str(settled.place),
        since=iso(spans[0][0]),
        until=iso(spans[-1][1]),
        window_s=spans[0][1] - spans[0][0],
        windows=len(spans),
        existing=len(there.same),
        to_start=to_start,
        key=settled.request.key,
        usd_at_least=round(to_start * cost.EXPORT_LEAST_GB * cost.USD_PER_EXPORTED_GB, 6),
        usd=usd,
        usd_how=how,
        prices_as_of=cost.EXPORT_PRICE_AS_OF,
        replay=replay_command(settled),
        nothing_new=nothing_new,
        warnings=tuple(warnings),
        command=command_line(settled.request, iso(spans[0][0]), iso(spans[-1][1]), name),
    )
    check_same(VERB, known, _entry(data, settled))
    return data


def _recovery(aws: Aws, table: TableInfo, warnings: list[PlanWarning]) -> Recovery | None:
    """How far back it can be exported; None where that is not known. UsageError where it cannot be at all."""
    try:
        found = exports.recovery(aws, table.name)
    except AwsError as error:
        if error.code in _UNKNOWN:
            raise UsageError(
                f"what answers at {aws.endpoint('dynamodb')} knows no exports: they are AWS's own",
                "Leave out --endpoint-url, or unset AWS_ENDPOINT_URL_DYNAMODB, to export from AWS.",
            ) from None
        why = "allow dynamodb:DescribeContinuousBackups" if isinstance(error, AccessDenied) else error.message
        text = f"how far back the table can be exported is not known: {why}"
        warnings.append(PlanWarning("recovery-unknown", text))
        return None
    if not found.enabled:
        raise UsageError(
            f"table {table.name} has no point-in-time recovery, and exports are made of it",
            f"Switch it on: aws dynamodb update-continuous-backups --table-name {table.name} "
            "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true. It reaches back to that moment "
            "and no further: for what was before there is restrike touch by date.",
        )
    return found


def _span(request: ExportRequest, now: datetime, reach: Recovery | None) -> Span:
    """From when to when, in whole seconds; what is told as a duration back from now in whole minutes, so that a
    command which is given again soon means the same."""
    latest_s = now.timestamp() - BEHIND_S
    if reach is not None and reach.latest_s is not None:
        latest_s = reach.latest_s
    since_s = _whole(moment("--since", request.since or "", now), rounded=is_duration(request.since))
    until_s = _whole(
        latest_s if request.until is None else moment("--until", request.until, now),
        rounded=request.until is None or is_duration(request.until),
    )
    if until_s <= since_s:
        raise UsageError(f"--until {iso(until_s)} is not after --since {iso(since_s)}")
    if reach is not None and reach.earliest_s is not None and since_s < reach.earliest_s:
        raise UsageError(
            f"--since {iso(since_s)} is before the earliest that can be exported, {iso(reach.earliest_s)}",
            f"Give --since {iso(-(-int(reach.earliest_s) // 60) * 60)}: recovery reaches no further back.",
        )
    if until_s > latest_s:
        raise UsageError(
            f"--until {iso(until_s)} is behind the latest that can be exported, {iso(latest_s)}",
            "The service is 5 minutes behind: leave out --until, or wait.",
        )
    return since_s, until_s


def _whole(seconds: float, *, rounded: bool) -> int:
    return int(seconds // 60 * 60) if rounded else int(seconds)


def _check_bucket(aws: Aws, place: Place, warnings: list[PlanWarning]) -> None:
    """UsageError where there is no such bucket. That it cannot be asked means nothing: DynamoDB writes, not we."""
    if not aws.may_ask("s3"):
        return
    try:
        ask(aws.client("s3"), "HeadBucket", Bucket=place.bucket)
    except AwsError as error:
        if error.status == 404 or isinstance(error, NotFound):
            raise UsageError(f"there is no bucket {place.bucket}", "Make it, or name another: --to.") from None
        why = "allow s3:ListBucket" if error.status == 403 else error.message
        text = f"whether the bucket {place.bucket} is there is not known: {why}"
        warnings.append(PlanWarning("bucket-unknown", text))


def _existing(aws: Aws, settled: Settled, warnings: list[PlanWarning]) -> Existing:
    try:
        return existing(aws, settled.parameters, settled.spans)
    except AwsError as error:
        actions = "dynamodb:ListExports and dynamodb:DescribeExport"
        why = f"allow {actions}" if isinstance(error, AccessDenied) else error.message
        text = f"which windows are exported already is not known, and within 8 hours none is started twice: {why}"
        warnings.append(PlanWarning("existing-unknown", text))
        return Existing()


def _price(aws: Aws, table: TableInfo, settled: Settled) -> tuple[float | None, str]:
    """What it may cost, by what was written in that time; None where that is not known."""
    if not aws.may_ask("cloudwatch"):
        return None, "CloudWatch is not asked of a table on this machine"
    since_s, until_s = settled.spans[0][0], settled.spans[-1][1]
    try:
        units = exports.consumed_write_units(aws, table.name, since_s, until_s)
    except RestrikeError as error:
        why = "allow cloudwatch:GetMetricStatistics" if isinstance(error, AccessDenied) else error.message
        return None, f"what was written in that time is not known: {why}"
    gigabytes = units * 1024 / 1e9
    usd = max(gigabytes, len(settled.spans) * cost.EXPORT_LEAST_GB) * cost.USD_PER_EXPORTED_GB
    return round(usd, 6), f"by {units:,.0f} write units consumed in that time, 1 KB each"


def resume(run: Run, ledger: Path, changes: dict[str, Any]) -> ExportPlan:
    """The plan that goes on with a run: the same windows, of which failed ones are started anew."""
    if run.state == "COMPLETED":
        raise UsageError(f"run {run.name} is complete", f"See what it did: restrike runs show {run.name}")
    try:
        settled = msgspec.json.decode(run.request, type=Settled)
    except msgspec.MsgspecError:
        raise UsageError(
            f"run {run.name} was made by another version of restrike, and cannot go on", "Begin anew."
        ) from None
    if "profile" in changes:
        aws_settings = msgspec.structs.replace(settled.aws, profile=changes["profile"])
        settled = msgspec.structs.replace(settled, aws=aws_settings)
    request = msgspec.structs.replace(settled.request, ledger=str(ledger))
    aws = Aws(settled.aws)
    table, _ = dynamodb.describe_table(aws, settled.table_arn.rpartition("/")[2])
    settled = msgspec.structs.replace(settled, request=request, table_id=table.id)
    return ExportPlan(_look(run.name, settled, aws, table, ledger, []), ledger, settled)
