"""What was seen, and what follows from it."""

from __future__ import annotations

from restrike.diagnosing.request import DoctorRequest
from restrike.model.diagnosis import Diagnosis


async def diagnose(request: DoctorRequest) -> Diagnosis:
    """Looks, and says what was lost, which ways are open, and what to change some other day. Raises UsageError for
    what makes no sense, and AwsError where the table cannot be described."""
    raise NotImplementedError
