"""Plan a redrive from a queue: its attributes. What it holds is known when its messages were taken in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from restrike.aws import sqs
from restrike.aws.session import Aws
from restrike.aws.sqs import Queue
from restrike.errors import AccessDenied, RestrikeError, UsageError
from restrike.model.plan import Planned, PlanWarning, QueuePlanData
from restrike.model.report import RedriveReport, RescueReport
from restrike.replaying.counts import OnReplayProgress, ReplayCounts, report_of
from restrike.replaying.redriving import plan as planning
from restrike.replaying.redriving import queue as queues
from restrike.replaying.redriving import rescue
from restrike.replaying.redriving.request import RedriveRequest, check, command_line
from restrike.running.ledger import Ledger, ledger_path
from restrike.running.run import check_name, default_name
from restrike.running.spool import Spool
from restrike.running.stop import Stop
from restrike.wiring.undelivered import expires_in_s, queue_to_redrive


class _Policy(msgspec.Struct):
    max_receives: int | str = msgspec.field(name="maxReceiveCount", default=0)
    target: str = msgspec.field(name="deadLetterTargetArn", default="")


class QueuePlan(Planned[QueuePlanData]):
    """What is known of a queue (`data`), and the way to redrive what it holds. No message is received until
    `execute`."""

    def __init__(
        self, data: QueuePlanData, request: RedriveRequest, queue: Queue, unknown: AccessDenied | None
    ) -> None:
        super().__init__(data, str(ledger_path(request.replay.ledger)))
        self._request = request
        self._queue = queue
        self._unknown = unknown

    def discard(self) -> None:
        """Nothing is held."""

    def execute(
        self,
        on_progress: OnReplayProgress | None = None,
        *,
        stop: Stop | None = None,
        time_limit_s: float | None = None,
        on_stop: Callable[[], None] = lambda: None,
        on_warning: Callable[[str], None] = lambda _: None,
    ) -> RedriveReport | RescueReport:
        """Takes the messages in, unless the run of that name has some already, and redrives them, or rescues what they
        point at."""
        if self._unknown is not None:
            raise self._unknown
        if self._request.rescue is not None:
            return self._rescue(on_warning)
        if self._request.replay.if_superseded is None:
            raise planning.superseded_unsaid()
        aws, name = Aws(self._request.replay.aws), self.data.run
        path = ledger_path(self._request.replay.ledger)
        with Ledger(path, read_only=True) as ledger:
            folder, known = ledger.folder(name), ledger.find(name)
        if known is not None and known.state == "COMPLETED":
            raise UsageError(f"run {name} is complete", "What the queue holds by now is for another --run.")
        received = folder / queues.RECEIVED
        if not received.exists() and not self._taken_in(aws, received, on_warning):
            return self._nothing()
        try:
            request = msgspec.structs.replace(
                self._request, replay=msgspec.structs.replace(self._request.replay, run=name)
            )
            return planning.plan(request, received=(received, self._queue.url)).execute(
                on_progress, stop=stop, time_limit_s=time_limit_s, on_stop=on_stop, on_warning=on_warning
            )
        except BaseException:  # Ctrl-C, too: there may be no run yet that heeds it
            handles = [line.handle for line in queues.lines_of(folder)]
            with contextlib.suppress(RestrikeError):
                sqs.hold(aws, self._queue.url, handles, 0)
            with Ledger(path, read_only=True) as ledger:
                if ledger.find(name) is None:  # there is no run that would go on with them
                    received.unlink(missing_ok=True)
            raise

    def _taken_in(self, aws: Aws, path: Path, on_warning: Callable[[str], None]) -> int:
        found = queues.take_in(aws, self._queue, path)
        if found.more:
            rest = "are not rescued" if self._request.rescue is not None else "are for the next run"
            on_warning(f"the queue may have more than the {found.messages:,} messages that were taken in: they {rest}")
        return found.messages

    def _rescue(self, on_warning: Callable[[str], None]) -> RescueReport:
        """Every message is given back."""
        aws, url = Aws(self._request.replay.aws), self._queue.url
        with Spool() as name:
            folder = Path(name)
            try:
                if not self._taken_in(aws, folder / queues.RECEIVED, on_warning):
                    raise UsageError(
                        "the queue gave no message: there is nothing to rescue", "Is somebody holding them?"
                    )
                found = rescue.plan(self._request, received=(folder / queues.RECEIVED, url))
                return found.execute(on_warning=on_warning)
            finally:
                with contextlib.suppress(RestrikeError):
                    sqs.hold(aws, url, [line.handle for line in queues.lines_of(folder)], 0)

    def _nothing(self) -> RedriveReport:
        told = report_of(
            self.data.run,
            self.data.failures,
            self.data.target,
            "COMPLETED",
            ReplayCounts(),
            elapsed_s=0.0,
            ended="the queue gave no message",
            gaps=[],
            on_failure="",
        )
        return RedriveReport.of(told, self.data.failures, self.data.target)


def plan(request: RedriveRequest, text: str) -> QueuePlan:
    """Looks at the queue; UsageError where it must not be redriven."""
    check(request)
    asked = request.replay
    if request.rescue is not None:
        rescue.new_file(request.rescue, Path.cwd())
    if request.delete_objects:
        raise UsageError("--delete-objects is for objects in S3, and messages of a queue go when they are done", "")
    name = default_name("redrive", text.rpartition("/")[2].rpartition(":")[2]) if asked.run is None else asked.run
    check_name(name)
    aws = Aws(asked.aws)
    queue, unknown = queue_to_redrive(aws, text)
    policy = msgspec.json.decode(queue.attributes.get("RedrivePolicy", "{}"), type=_Policy)
    retention_s, oldest_s = queue.number("MessageRetentionPeriod"), None
    warnings = []
    try:
        oldest_s = sqs.oldest_age_s(aws, queue)
    except AccessDenied as error:
        warnings.append(PlanWarning("no-metric", f"how old its oldest message is cannot be told: {error.message}"))
    if unknown is not None:
        text_of_it = f"whether a mapping works the queue off cannot be told, so that none is taken: {unknown.message}"
        warnings.append(PlanWarning("readers-unknown", text_of_it))
    if policy.target:
        warnings.append(
            PlanWarning(
                "redrive-policy",
                f"each run receives its messages once, and after {policy.max_receives} receives the queue moves a "
                f"message to {policy.target}",
            )
        )
    data = QueuePlanData(
        run=name if request.rescue is None else "",
        failures=asked.source,
        target=asked.to or f"none: what is pointed at is written to {request.rescue}",
        queue=queue.url,
        messages=queue.number("ApproximateNumberOfMessages"),
        in_flight=queue.number("ApproximateNumberOfMessagesNotVisible"),
        retention_s=retention_s,
        oldest_s=oldest_s,
        expires_in_s=expires_in_s(oldest_s, retention_s),
        moves_after=int(policy.max_receives) or None,
        moves_to=policy.target,
        most=queues.MAX_MESSAGES,
        if_superseded=asked.if_superseded or "",
        deletes=not request.keep and request.rescue is None,
        warnings=tuple(warnings),
        command=command_line(planning.executable(request), name if request.rescue is None else ""),
    )
    return QueuePlan(data, request, queue, unknown)
