"""A table whose stream is switched off and on again, while it is followed and while nobody does."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from restrike.archive.reader import ArchiveReader, open_archive
from restrike.archive.state import gaps
from restrike.aws import streams
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.aws.streams import StreamInfo
from restrike.capturing.plan import plan as plan_capture
from restrike.capturing.request import CaptureRequest
from restrike.model.record import Record
from restrike.model.window import Window
from restrike.replaying.plan import plan as plan_replay
from restrike.replaying.request import ReplayRequest
from restrike.running.stop import Stop
from restrike.sources.stream import succession
from restrike.sources.stream.reading import StreamSource
from tests.integration.tables import Table, create, switch_stream, until

WAIT_S = 60.0


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SWITCH_LOOK_S", 0.1)
    monkeypatch.setattr(streams, "SWITCHED_S", 2.0)


def aws(url: str) -> AwsSettings:
    return AwsSettings(endpoint_url=url)


def names(records: list[Record]) -> list[str]:
    return [json.loads(each.keys)["pk"]["S"] for each in records]


def put(table: Table, *keys: str) -> None:
    table.load([{"pk": key} for key in keys])


def off_and_on(table: Table) -> None:
    switch_stream(table, None)
    put(table, "between")  # on no stream
    switch_stream(table, "NEW_AND_OLD_IMAGES")


async def followed(source: StreamSource, after: dict[str, int], enough: Callable[[list[Record]], bool]) -> list[Record]:
    """What it gives until that is enough, or it ends."""
    found: list[Record] = []
    async with source, asyncio.timeout(WAIT_S), contextlib.aclosing(source.read(after, Window())) as pages:
        async for page in pages:
            found += page
            if enough(found):
                break
    return found


def test_a_follower_that_was_down_reads_the_old_stream_to_its_end_and_then_the_new(
    dynamodb_local: str, tmp_path: Path
) -> None:
    """20 records that could still be read were passed over, and the gap had a false cause."""
    table = create(dynamodb_local, ("pk", "S"))
    kept = tmp_path / "stream.arn"
    first = StreamSource(Aws(aws(dynamodb_local)), table.name, follow=True, start_latest=True, kept=kept)

    async def begin() -> tuple[float, dict[str, int]]:
        async with first:
            pages = first.read({}, Window())
            asking = asyncio.ensure_future(anext(pages))
            await asyncio.sleep(0.5)  # its iterators are at the newest end
            await asyncio.to_thread(put, table, "a", "b")
            page = await asking
            await pages.aclose()
            assert first.started_s is not None
            return first.started_s, {page[0].shard: page[0].place}

    started_s, places = asyncio.run(begin())
    put(table, *(f"old-{n}" for n in range(20)))
    off_and_on(table)
    put(table, "new")
    again = StreamSource(
        Aws(aws(dynamodb_local)),
        table.name,
        follow=True,
        start_latest=True,
        started_s=started_s,
        begun_s=started_s,
        kept=kept,
    )
    found = asyncio.run(followed(again, places, lambda found: names(found)[-1:] == ["new"]))
    assert names(found) == ["b", *(f"old-{n}" for n in range(20)), "new"]
    assert len({each.stream_arn for each in found}) == 2
    (gap,) = again.gaps
    assert "switched off, and on again" in gap.why
    assert "what was written in between is on no stream" in gap.why


def test_a_follower_goes_on_in_the_stream_that_is_switched_on_while_it_runs(dynamodb_local: str) -> None:
    table = create(dynamodb_local, ("pk", "S"), items=[{"pk": "a"}])
    source = StreamSource(Aws(aws(dynamodb_local)), table.name, follow=True)

    async def switched() -> list[Record]:
        seen = asyncio.Event()

        def enough(found: list[Record]) -> bool:
            seen.set()
            return names(found)[-1:] == ["new"]

        following = asyncio.create_task(followed(source, {}, enough))
        await seen.wait()
        await asyncio.to_thread(off_and_on, table)
        await asyncio.to_thread(put, table, "new")
        return await following

    found = asyncio.run(switched())
    assert names(found) == ["a", "new"]
    assert ["switched off, and on again" in gap.why for gap in source.gaps] == [True]


def info(second: int) -> StreamInfo:
    arn = f"arn:aws:dynamodb:eu-west-1:1:table/t/stream/2026-01-01T00:00:{second:02}.500"
    return StreamInfo(arn, "t", "KEYS_ONLY", "DISABLED", second + 0.5)


@pytest.mark.parametrize(
    ("begun", "first", "gone"),
    [
        (info(20).arn, 20, False),
        (info(15).arn, 20, True),
        (info(40).arn, 40, False),
        (25.0, 20, False),
        (20.0, 20, False),  # told in whole seconds, rounded down
        (19.0, 10, False),
        (9.0, 10, True),
    ],
)
def test_which_streams_a_run_has_to_read(
    monkeypatch: pytest.MonkeyPatch, dynamodb_local: str, begun: str | float, first: int, gone: bool
) -> None:
    table = create(dynamodb_local, ("pk", "S"))
    there = [info(second) for second in (10, 20, 40)]
    monkeypatch.setattr(succession, "_readable", lambda aws, arns: there)
    found, is_gone = succession.since(Aws(aws(dynamodb_local)), table.name, begun)
    assert (found, is_gone) == ([each for each in there if each.created_s >= first], gone)  # type: ignore[operator]


def test_a_stream_that_stays_off_is_the_end_of_who_follows(dynamodb_local: str) -> None:
    table = create(dynamodb_local, ("pk", "S"), items=[{"pk": "a"}])
    source = StreamSource(Aws(aws(dynamodb_local)), table.name, follow=True)

    async def switched() -> list[Record]:
        seen = asyncio.Event()

        def never(_: list[Record]) -> bool:
            seen.set()
            return False

        following = asyncio.create_task(followed(source, {}, never))
        await seen.wait()
        await asyncio.to_thread(switch_stream, table, None)
        return await following

    assert names(asyncio.run(switched())) == ["a"]
    assert (source.gaps, source.ended) == ([], "end of the stream: every shard is closed and read")


def test_a_replay_that_goes_on_after_its_stream_was_switched_delivers_what_can_be_read(
    dynamodb_local: str, tmp_path: Path
) -> None:
    table = create(dynamodb_local, ("pk", "S"))
    target = tmp_path / "to.jsonl"
    request = ReplayRequest(
        source=f"stream:{table.name}",
        to=f"jsonl:{target}",
        run="follower",
        allow_gaps=True,
        source_options={"follow": True},
        aws=aws(dynamodb_local),
        ledger=str(tmp_path / "ledger.db"),
    )

    def delivered() -> list[str]:
        lines = target.read_text().splitlines() if target.exists() else []
        return [json.loads(line)["dynamodb"]["Keys"]["pk"]["S"] for line in lines]

    def run_until(last: str, writes: Callable[[], object]) -> Any:
        stop = Stop()
        wrote: list[object] = []

        def look(progress: Any) -> None:
            if not wrote:
                wrote.append(writes())
            if delivered()[-1:] == [last]:
                stop.set()

        return plan_replay(request).execute(look, stop=stop, time_limit_s=WAIT_S)

    run_until("a", lambda: put(table, "a"))
    put(table, *(f"old-{n}" for n in range(20)))
    off_and_on(table)
    put(table, "new")
    report = run_until("new", lambda: None)
    assert delivered() == ["a", *(f"old-{n}" for n in range(20)), "new"]
    assert ["switched off, and on again" in gap.why for gap in report.gaps] == [True]


def test_a_capture_goes_on_in_the_stream_that_is_switched_on_a_while_later(
    dynamodb_local: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = create(dynamodb_local, ("pk", "S"), items=[{"pk": "a"}])
    kept = str(tmp_path / "kept")
    planned = plan_capture(
        CaptureRequest(
            table.name, kept, follow=True, flush_seconds=0.2, ledger=str(tmp_path / "l"), aws=aws(dynamodb_local)
        )
    )
    stop = Stop()

    def held() -> list[str]:
        if not list(Path(kept).glob("table=*/**/*.parquet")):
            return []
        store, captured = open_archive(kept, lambda: Aws(aws(dynamodb_local)))
        return names(
            [each for name in captured for page in ArchiveReader(store, name).read(Window(), {}) for each in page]
        )

    def ended() -> bool:
        """The old one is known to be read to its end, so that the capture waits for another."""
        return any('"ended"' in each.read_text() for each in Path(kept, "_capture").glob("*.json"))

    monkeypatch.setattr(streams, "SWITCHED_S", 60.0)
    with ThreadPoolExecutor(1) as pool:
        capturing = pool.submit(planned.execute, stop=stop, time_limit_s=WAIT_S)
        try:
            until(lambda: held() == ["a"], "the first record is kept")
            switch_stream(table, None)
            until(ended, "the old stream is read to its end")
            switch_stream(table, "NEW_AND_OLD_IMAGES")
            put(table, "new")
            until(lambda: held() == ["a", "new"], "the new stream's record is kept")
        finally:
            stop.set()
        report = capturing.result()
    assert (len(report.streams), report.gaps) == (2, 1)
    store, captured = open_archive(kept, lambda: Aws(aws(dynamodb_local)))
    (gap,) = gaps(store, captured[1])
    assert "switched off, and on again" in gap.cause
