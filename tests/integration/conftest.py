"""What integration tests share: MiniStack, one for each test process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import ministack as server
from tests.servers.ministack import MiniStack


@pytest.fixture(scope="session")
def ministack() -> Iterator[MiniStack]:
    """A MiniStack; tests keep apart by the names of what they create. Where it does not start the test fails."""
    with server.start() as stack:
        yield stack
