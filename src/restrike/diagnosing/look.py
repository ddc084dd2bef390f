"""Looking: everything that can be seen of a table without writing, all of it asked side by side."""

from __future__ import annotations

from restrike.diagnosing.request import DoctorRequest
from restrike.model.diagnosis import Seen


async def look(request: DoctorRequest) -> Seen:
    """What there is to see within `timeout_s`. Only where the table itself cannot be described it raises."""
    raise NotImplementedError
