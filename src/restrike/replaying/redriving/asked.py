"""What was asked for: a redrive of messages that can be read, one of a queue, or a rescue."""

from __future__ import annotations

from restrike.replaying.redriving import from_queue, plan, rescue
from restrike.replaying.redriving.from_queue import QueuePlan
from restrike.replaying.redriving.plan import RedrivePlan
from restrike.replaying.redriving.request import RedriveRequest
from restrike.replaying.redriving.rescue import RescuePlan
from restrike.wiring.undelivered import queue_named


def plan_of(request: RedriveRequest) -> RedrivePlan | QueuePlan | RescuePlan:
    """The plan of it; UsageError for what must not be tried."""
    name = queue_named(request.replay.source)
    if name is not None:
        return from_queue.plan(request, name)
    return plan.plan(request) if request.rescue is None else rescue.plan(request)
