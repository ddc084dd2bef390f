"""The state of a capture, which names who is at work."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from restrike.archive.layout import StreamName
from restrike.archive.state import load
from restrike.aws.streams import StreamInfo
from restrike.capturing import takeover
from restrike.capturing.request import CaptureOptions
from restrike.capturing.takeover import Tenure
from restrike.capturing.tally import CaptureTally
from restrike.running.stop import Stop
from restrike.stores.folder import LocalFolder

STREAM = StreamName("orders", "2026-01-01T00:00:00.000")
INFO = StreamInfo(
    f"arn:aws:dynamodb:us-east-1:123456789012:table/{STREAM.table}/stream/{STREAM.label}",
    STREAM.table,
    "NEW_AND_OLD_IMAGES",
    "ENABLED",
    None,
)


def test_who_ended_is_at_work_no_longer_though_it_was_just_saying_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that writes goes on where its task is cancelled."""
    store = LocalFolder(tmp_path, create=True)
    replace = store.replace
    writing, go_on, one_by_one = threading.Event(), threading.Event(), threading.Lock()

    def slowly(path: str, data: bytes, etag: str) -> str | None:
        with one_by_one:
            writing.set()
            assert go_on.wait(60)
            return replace(path, data, etag)

    monkeypatch.setattr(takeover, "HEARTBEAT_S", 0.0)
    monkeypatch.setattr(store, "replace", slowly)

    async def capture() -> None:
        tenure = Tenure(store, STREAM, INFO, time.time(), lambda: None, CaptureOptions(), CaptureTally(), Stop())
        await tenure.take_over()
        beating = asyncio.create_task(tenure.beat())
        await asyncio.to_thread(writing.wait, 60)
        beating.cancel()
        asyncio.get_running_loop().call_later(0.05, go_on.set)
        await asyncio.gather(beating, return_exceptions=True)
        await tenure.end()

    asyncio.run(capture())
    found = load(store, STREAM)
    assert found is not None
    assert found[0].owner is None
