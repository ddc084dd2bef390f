"""What was seen, and what follows from it."""

from __future__ import annotations

from datetime import UTC, datetime

from restrike.diagnosing.look import look
from restrike.diagnosing.request import DoctorRequest, asked_of
from restrike.errors import UsageError
from restrike.model.advice import advice
from restrike.model.diagnosis import Diagnosis
from restrike.model.losses import losses
from restrike.model.meant import consumers_named
from restrike.model.ways import ways


async def diagnose(request: DoctorRequest) -> Diagnosis:
    """Looks, and says what was lost, which ways are open, and what to change some other day. Raises UsageError for
    what makes no sense, and AwsError where the table cannot be described."""
    seen = await look(request)
    asked = asked_of(request, datetime.fromtimestamp(seen.now_s, UTC))
    if asked.consumer is not None and not consumers_named(seen, asked):
        known = ", ".join(sorted({each.name for each in seen.consumers}))
        raise UsageError(
            f"no consumer {asked.consumer!r} is seen at table {seen.table.name}",
            f"Seen are: {known}." if known else "None is. Without --consumer, doctor says what it could not ask, too.",
        )
    found = losses(seen, asked)
    open_, closed = ways(seen, asked, found)
    return Diagnosis(asked, seen, found, open_, closed, advice(seen))
