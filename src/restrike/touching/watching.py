"""How far consumers are behind: asked of CloudWatch before a touch, and while it writes, so that its pace is theirs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from restrike.aws import cloudwatch, lambda_
from restrike.aws.session import Aws
from restrike.errors import AccessDenied, AwsError, DeliveryFailed, RestrikeError, UsageError
from restrike.model import lag
from restrike.model.lag import Governor, LagOptions, Told, Watched
from restrike.model.metrics import USD_PER_METRIC, Metric, Series, of_function
from restrike.model.numbers import duration, money
from restrike.model.plan import PlanWarning
from restrike.model.window import duration as seconds_of
from restrike.touching.pace import Pace
from restrike.touching.request import MAX_LAG, MAX_LAG_WAIT, OFF, TouchRequest
from restrike.wiring.beside import in_time
from restrike.wiring.consumers import Consumers

BY_DEFAULT_FROM_S = 600.0
"""The planned length of a run from which it is paced so without being asked to."""
ASK_EVERY_S = 30.0
ASK_FIRST_S = 15.0
"""Until it is known how consumers take what the run writes."""
ANSWER_S = 20.0
LATELY_S = 900.0
"""An age that was told so long ago says nothing of now."""
_METRICS = ("IteratorAge", "Invocations", "Errors", "Throttles")


class LagPlan(msgspec.Struct, frozen=True):
    """Whether a run is paced by its consumers: `options`, None where it is not. `told` says so in words, but for a
    short run of which nobody asked it. `late` says why it must not begin. `usd` is what asking costs, None where the
    run's length is not known."""

    told: str
    options: LagOptions | None = None
    usd: float | None = None
    late: str = ""
    warnings: tuple[PlanWarning, ...] = ()


def watched(consumers: Consumers) -> tuple[Watched, ...]:
    """The functions that a touch fires for sure, each once: those whose lag can be looked at."""
    found: dict[str, Watched] = {}
    for consumer, mapping in zip(consumers.known, consumers.mappings, strict=False):
        if consumer.fires is not True:
            continue
        function = lambda_.mapped_function(mapping)
        qualified = function.qualifier is not None and not function.qualifier.startswith("$LATEST")
        each = Watched(
            function.name,
            f"{function.name}:{function.qualifier}" if qualified else "",
            float(mapping.get("MaximumBatchingWindowInSeconds") or 0),
            not (mapping.get("FilterCriteria") or {}).get("Filters"),
        )
        found.setdefault(each.name, each)
    return tuple(found.values())


def metrics_of(consumer: Watched) -> tuple[Metric, ...]:
    """Lambda's metrics of it, in the order of `_METRICS`."""
    return tuple(of_function(consumer.function, consumer.resource, _METRICS).values())


def told_of(aws: Aws, consumers: Sequence[Watched], now_s: float) -> list[Told]:
    """What CloudWatch tells of them now and of the half hour before."""
    metrics = [metric for each in consumers for metric in metrics_of(each)]
    since_s = now_s - (lag.KNOWN_PERIODS + 5) * lag.PERIOD_S
    series = cloudwatch.metric_data(aws, metrics, since_s=since_s, until_s=now_s, period_s=lag.PERIOD_S)
    found = {each.metric: each for each in series}
    return [_told(found, metrics_of(each)) for each in consumers]


def _told(found: Mapping[Metric, Series], metrics: Sequence[Metric]) -> Told:
    ages, *counts = (dict(found[metric].points) if metric in found else {} for metric in metrics)
    return Told({start_s: age_ms / 1000 for start_s, age_ms in ages.items()}, *counts)


# ── before ───────────────────────────────────────────────────────────────────────────────────────────────────


async def look_at_lag(
    request: TouchRequest, aws: Aws, consumers: Consumers, seconds: float | None, *, endpoint: str, timeout_s: float
) -> LagPlan:
    """Whether and how a touch that is planned for so long is paced by its consumers. Raises UsageError where that was
    asked for and cannot be."""
    if request.max_lag == OFF:
        return LagPlan("not looked at: --max-lag off")
    asked = request.max_lag is not None or request.max_lag_wait is not None
    max_lag_s = seconds_of("--max-lag", request.max_lag or MAX_LAG)
    wait_s = seconds_of("--max-lag-wait", request.max_lag_wait or MAX_LAG_WAIT)
    watching = watched(consumers)
    if not asked and seconds is not None and seconds <= BY_DEFAULT_FROM_S:
        return LagPlan("")
    if not watching:
        return _without(asked, "there is no Lambda function of which it is sure that it fires", warns=False)
    if not aws.may_ask(cloudwatch.SERVICE):
        why = f"CloudWatch was not asked: DynamoDB is at {endpoint}, and CloudWatch has no such endpoint"
        return _without(asked, why, warns=False)
    try:
        aws.client(cloudwatch.SERVICE)  # made in this thread: botocore makes none in several at once
        now_s = time.time()
        told = await in_time(lambda: told_of(aws, watching, now_s), timeout_s)
    except (AwsError, UsageError, TimeoutError) as error:
        why = error.message if isinstance(error, RestrikeError) else f"no answer within {timeout_s:g} s"
        if isinstance(error, AccessDenied):
            why = f"access denied ({cloudwatch.PERMISSION})"
        return _without(asked, f"CloudWatch could not be asked: {why}")
    options = LagOptions(max_lag_s, wait_s, watching)
    ages = [_age_now(each, now_s) for each in told]
    names = ", ".join(each.name + _now(age_s) for each, age_s in zip(watching, ages, strict=True))
    usd = None if seconds is None else seconds * _usd_per_s(watching)
    price = f"about {money(_usd_per_s(watching) * 3600)} an hour" if usd is None else money(usd)
    late = _late(watching, ages, max_lag_s)
    return LagPlan(
        f"{duration(max_lag_s)} at most, of {names}; asking CloudWatch costs {price}",
        options,
        usd,
        late,
        (PlanWarning("consumer-late", f"{late}: --execute needs a higher --max-lag, or --max-lag off."),)
        if late
        else (),
    )


def _without(asked: bool, why: str, *, warns: bool = True) -> LagPlan:
    if asked:
        raise UsageError(f"--max-lag has nothing to go by: {why}", "Go without it: --max-lag off.")
    text = f"nobody looks whether consumers fall behind: {why}."
    return LagPlan(f"not looked at: {why}", warnings=(PlanWarning("lag-unknown", text),) if warns else ())


def _age_now(told: Told, now_s: float) -> float | None:
    recent = [start_s for start_s in told.ages_s if start_s >= now_s - LATELY_S]
    return told.ages_s[max(recent)] if recent else None


def _now(age_s: float | None) -> str:
    return "" if age_s is None else f" ({duration(age_s)} now)"


def _late(watching: Sequence[Watched], ages: Sequence[float | None], max_lag_s: float) -> str:
    late = [
        f"{each.name} is {duration(age_s)} behind already"
        for each, age_s in zip(watching, ages, strict=True)
        if age_s is not None and age_s - each.window_s > max_lag_s
    ]
    return f"{', '.join(late)}, and --max-lag is {duration(max_lag_s)}" if late else ""


def _usd_per_s(watching: Sequence[Watched]) -> float:
    return len(watching) * len(_METRICS) * USD_PER_METRIC / ASK_EVERY_S


# ── meanwhile ────────────────────────────────────────────────────────────────────────────────────────────────


class Watching:
    """Holds the pace to what consumers take, while `run` is under way. `epoch_s` is the service's clock."""

    def __init__(self, aws: Aws, options: LagOptions, pace: Pace, epoch_s: Callable[[], float]) -> None:
        self._aws = aws
        self._options = options
        self._pace = pace
        self._epoch_s = epoch_s
        self._governor = Governor(options, epoch_s())
        self._unanswered = ""

    @property
    def held(self) -> str:
        """What holds the run back, in words; empty where nothing does."""
        why = (
            self._governor.why and f"{'waiting' if self._governor.items_per_s == 0 else 'slower'}: {self._governor.why}"
        )
        return "; ".join(filter(None, (why, self._unanswered)))

    def wrote(self, count: int) -> None:
        """So many records are written now."""
        self._governor.wrote(self._epoch_s(), count)

    async def run(self) -> None:
        """Until it is cancelled. Raises DeliveryFailed where a consumer was waited for as long as it may be."""
        governor, wait_s = self._governor, self._options.wait_s
        while True:
            await asyncio.sleep(ASK_FIRST_S if governor.is_blind else ASK_EVERY_S)
            told = await self._ask()
            now_s = self._epoch_s()
            governor.hear(now_s, told)
            governor.decide(now_s)
            self._pace.hold(governor.items_per_s)
            if governor.waiting_s >= wait_s:
                raise DeliveryFailed(
                    f"waited {duration(governor.waiting_s)} for a consumer: {governor.why}",
                    "See what keeps it; going on waits for it again, or takes a higher --max-lag or --max-lag-wait.",
                )

    async def _ask(self) -> list[Told]:
        consumers = self._options.consumers
        now_s = self._epoch_s()
        try:
            told = await in_time(lambda: told_of(self._aws, consumers, now_s), ANSWER_S)
        except (AwsError, UsageError, TimeoutError) as error:
            # Nothing is known then, and that is no lag of zero: who stays unknown is silent, and is waited for.
            why = error.message if isinstance(error, RestrikeError) else f"no answer within {ANSWER_S:g} s"
            self._unanswered = f"CloudWatch: {why}"
            return [Told() for _ in consumers]
        self._unanswered = ""
        return told
