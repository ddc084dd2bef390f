"""One contract, every source: what `restrike.sources.Source` says, sentence by sentence, on real engines.

A source of a new kind joins by a function in SOURCES.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

import restrike
from restrike.aws import pages as stream_module
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.errors import UsageError
from restrike.model.record import Record, event, images, read_record
from restrike.model.report import ReplayReport
from restrike.model.uri import Uri
from restrike.model.window import Window
from restrike.replaying.filters import FilterRequest
from restrike.replaying.plan import plan as make_plan
from restrike.replaying.request import ReplayRequest
from restrike.sources import MODULES, Opening, Source, flags, forms, kind_of, options_of, parse_source
from tests import exported
from tests.failure_messages import message
from tests.integration.tables import Index, Table, create

ITEMS = 60
Opener = Callable[[], Source]
"""A new source on the same 60 records; the second is the first, resumed."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "QUIET_S", 0.0)
    monkeypatch.setattr(stream_module, "MOST_QUIET_S", 0.0)
    monkeypatch.setattr(stream_module, "MOST_QUIET_PAGES", stream_module.QUIET_PAGES)
    monkeypatch.setattr("restrike.aws.walk.IDLE_POLL_S", 0.01)


@pytest.fixture(scope="module")
def table(dynamodb_local: str) -> Table:
    # 40 KB each: more than one page everywhere.
    return create(
        dynamodb_local,
        ("pk", "N"),
        indexes=[Index("by-day", ("day", "S"))],
        items=[{"pk": n, "day": f"2026-01-0{n % 3 + 1}", "x": f"é{n}" * 10_000} for n in range(ITEMS)],
    )


def aws_of(table: Table) -> Aws:
    return Aws(AwsSettings(endpoint_url=table.endpoint_url))


def opener_of(text: str, aws: Callable[[], Aws], folder: Path, **options: Any) -> Opener:
    """As a run does it: resolved once, and then opened as often as it goes on."""
    uri = parse_source(text, folder)
    kind = kind_of(uri.scheme)
    opening = Opening(aws, folder, run="run")
    resolved = asyncio.run(kind.resolve(uri, options, opening))
    return lambda: kind.open(uri, resolved, opening)


def stream_by_name(table: Table, folder: Path) -> Opener:
    return opener_of(f"stream:{table.name}", lambda: aws_of(table), folder)


def stream_by_arn(table: Table, folder: Path) -> Opener:
    return opener_of(table.stream_arn, lambda: aws_of(table), folder)


def table_by(**options: Any) -> Callable[[Table, Path], Opener]:
    def opener(table: Table, folder: Path) -> Opener:
        if "keys" in options:
            (folder / "keys.jsonl").write_text("".join(f'{{"pk": {n}}}\n' for n in range(ITEMS)))
            options["keys"] = str(folder / "keys.jsonl")
        return opener_of(f"table:{table.name}", lambda: aws_of(table), folder, as_event="MODIFY", **options)

    return opener


def jsonl_as(write: Callable[[list[Record]], bytes], suffix: str = "") -> Callable[[Table, Path], Opener]:
    def opener(table: Table, folder: Path) -> Opener:
        import gzip

        import zstandard

        records = asyncio.run(everything(stream_by_name(table, folder)))
        pack: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}
        path = folder / f"records.jsonl{suffix}"
        path.write_bytes(pack[suffix](write(records)))
        return opener_of(f"jsonl:{path}", _no_aws, folder)

    return opener


def export_of(files: int, *, full: bool = False, **options: Any) -> Callable[[Table, Path], Opener]:
    """Of two windows, or of one time."""

    def opener(table: Table, folder: Path) -> Opener:
        images = [
            json.loads(record.raw)["dynamodb"] for record in asyncio.run(everything(stream_by_name(table, folder)))
        ]
        lines: list[dict[str, Any]]
        if full:
            lines = [{"Item": each["NewImage"]} for each in images]
        else:
            lines = [exported.change(each["Keys"], new=each["NewImage"], spelling="number") for each in images]
        windows = 1 if full else 2
        for number in range(windows):
            some = lines[number::windows]
            begins_s = exported.BEGINS_S + number * 900
            exported.export(
                [some[at::files] for at in range(files)] + [[]],
                id=f"0170000000000{number}-a1b2c3d{number}",
                from_s=begins_s,
                to_s=begins_s + 900,
                full=full,
                prefix="some/where",
                table_arn=table.stream_arn.partition("/stream/")[0],
            ).write(folder / "exports")
        return opener_of("export:exports", lambda: aws_of(table), folder, **options)

    return opener


def archive_of(flush_bytes: int) -> Callable[[Table, Path], Opener]:
    def opener(table: Table, folder: Path) -> Opener:
        restrike.capture(
            table.name,
            str(folder / "kept"),
            flush_mb=flush_bytes / 1_000_000,
            region="us-east-1",
            endpoint_url=table.endpoint_url,
            ledger=folder / "ledger.db",
        ).execute()
        return opener_of("archive:kept", _no_aws, folder)

    return opener


def _no_aws() -> Aws:
    raise AssertionError("a file needs no AWS")


def one_a_line(records: list[Record]) -> bytes:
    return b"".join(record.raw + b"\n" for record in records)


def failures_of(batches: int, **how: Any) -> Callable[[Table, Path], Opener]:
    """So many messages, each in a file of its own, whatever their names' order."""

    def opener(table: Table, folder: Path) -> Opener:
        records = asyncio.run(everything(stream_by_name(table, folder)))
        (folder / "given-up").mkdir()
        size = -(-len(records) // batches)
        for n, start in enumerate(range(0, len(records), size)):
            batch = records[start : start + size]
            raws = [json.loads(record.raw) for record in batch]
            body = message(raws, shard=batch[0].shard, stream_arn=table.stream_arn, **how)
            (folder / "given-up" / f"{9 - n}.json").write_text(json.dumps(body))
        return opener_of("failures:given-up", lambda: aws_of(table), folder)

    return opener


SOURCES: dict[str, Callable[[Table, Path], Opener]] = {
    "stream": stream_by_name,
    "stream by ARN": stream_by_arn,
    "table": table_by(all=True),
    "table in segments": table_by(all=True, segments=4),
    "table by an index of keys": table_by(index="by-day", date="2026-01-01..2026-01-03"),
    "table by keys": table_by(keys="keys.jsonl"),
    "jsonl of records": jsonl_as(one_a_line),
    "jsonl of events": jsonl_as(lambda records: b"\n".join([event(records[:25]), event(records[25:])])),
    "jsonl of an array, gz": jsonl_as(lambda records: b"[" + b",".join(r.raw for r in records) + b"]", ".gz"),
    "jsonl of records, zst": jsonl_as(one_a_line, ".zst"),
    "export of two windows": export_of(3),
    "export, full": export_of(2, full=True, as_event="MODIFY"),
    "archive of one file": archive_of(64_000_000),
    "archive of many files": archive_of(1_000_000),
    "failures that point": failures_of(5),
    "failures with payloads": failures_of(5, payload=True),
}


@pytest.fixture(scope="module", params=list(SOURCES))
def opener(request: pytest.FixtureRequest, table: Table, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Made anew for each test, since a journal belongs to one run."""
    return lambda: SOURCES[request.param](table, tmp_path_factory.mktemp("source"))


@contextlib.asynccontextmanager
async def reading(source: Source, after: Mapping[str, int]) -> AsyncIterator[AsyncIterator[list[Record]]]:
    pages = source.read(after, Window())
    try:
        yield pages
    finally:
        await pages.aclose()  # type: ignore[attr-defined]  # sources are generators


async def everything(open_it: Opener, after: Mapping[str, int] | None = None) -> list[Record]:
    async with open_it() as source:
        pages = [page async for page in source.read(after or {}, Window())]
        assert source.ended, "it says why there is no more"
        assert source.gaps == []
    by_shard: dict[str, int] = {}
    for page in pages:
        assert page, "no page is empty"
        (shard,) = {record.shard for record in page}
        for record in page:
            assert record.place > by_shard.get(shard, (after or {}).get(shard, -1)), "places rise strictly"
            by_shard[shard] = record.place
    return [record for page in pages for record in page]


def numbers(records: list[Record]) -> list[int]:
    return [int(json.loads(record.keys)["pk"]["N"]) for record in records]


def test_each_record_once_and_whole(opener: Callable[[], Opener]) -> None:
    open_it = opener()
    records = asyncio.run(everything(open_it))
    assert sorted(numbers(records)) == list(range(ITEMS))
    for record in records:
        again = read_record(record.raw, shard=record.shard, place=record.place, stream_arn="", fidelity=record.fidelity)
        assert again == record, "what is beside the bytes is what the bytes say"
        change = images(record)
        assert change.new_image is not None
        (number,) = numbers([record])
        assert change.new_image["x"] == {"S": f"é{number}" * 10_000}
        assert b"\n" not in record.raw, "a record is one line"
        assert record.stream_arn.startswith("arn:aws:dynamodb:")
        assert record.fidelity == open_it().fidelity


def test_a_second_reading_is_the_same(opener: Callable[[], Opener]) -> None:
    open_it = opener()

    async def go() -> None:
        async with open_it() as source:
            first = [record async for page in source.read({}, Window()) for record in page]
            second = [record async for page in source.read({}, Window()) for record in page]
        key = lambda record: (record.shard, record.place, record.keys, record.sequence_number)  # noqa: E731
        assert sorted(map(key, first)) == sorted(map(key, second))

    asyncio.run(go())


@pytest.mark.parametrize("stop", [1, 7, 31, ITEMS])
def test_stopped_and_gone_on_with(opener: Callable[[], Opener], stop: int) -> None:
    """From the places of what was dealt with, by another source object: what was not, each once."""
    open_it = opener()
    dealt: list[Record] = []

    async def part() -> None:
        async with open_it() as source, reading(source, {}) as pages:
            async for page in pages:
                for record in page:
                    if len(dealt) < stop:
                        dealt.append(record)
                if len(dealt) >= stop:
                    return

    asyncio.run(part())
    places = {record.shard: record.place for record in dealt}
    rest = asyncio.run(everything(open_it, places))
    assert sorted(numbers(dealt) + numbers(rest)) == list(range(ITEMS))


def test_a_place_holds_for_a_shard_of_its_own_only(opener: Callable[[], Opener]) -> None:
    """A shard without a place is read from its beginning. Whether an unknown shard is a gap is the source's to say."""

    open_it = opener()

    async def go() -> None:
        async with open_it() as source:
            records = [record async for page in source.read({"another": 10**30}, Window()) for record in page]
        assert sorted(numbers(records)) == list(range(ITEMS))

    asyncio.run(go())


def test_leaving_early_leaves_nothing_running(opener: Callable[[], Opener]) -> None:
    open_it = opener()

    async def go() -> None:
        async with open_it() as source:
            before = asyncio.all_tasks()
            async with reading(source, {}) as pages:
                async for _ in pages:
                    break
            assert asyncio.all_tasks() == before
            assert source.ended, "also then it says how it ended"

    asyncio.run(go())


def test_cancelled_while_it_waits(opener: Callable[[], Opener]) -> None:
    open_it = opener()

    async def go() -> None:
        before = asyncio.all_tasks()
        async with open_it() as source:
            getting = asyncio.ensure_future(_drain(source))
            await asyncio.sleep(0)
            getting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await getting
        assert asyncio.all_tasks() == before

    asyncio.run(go())


async def _drain(source: Source) -> None:
    async with reading(source, {}) as pages:
        async for _ in pages:
            pass


def test_a_look_tells_what_is_there(opener: Callable[[], Opener], table: Table) -> None:
    open_it = opener()

    async def go() -> None:
        async with open_it() as source:
            info = await source.look(Window())
            assert info.count == ITEMS or (info.at_least and info.count is not None and info.count <= ITEMS)
            assert info.how
            assert info.table_name == table.name
            assert info.stream_arn == table.stream_arn
            assert info.view_type == "NEW_AND_OLD_IMAGES"
            # A look takes nothing away.
            assert len([record async for page in source.read({}, Window()) for record in page]) == ITEMS

    asyncio.run(go())


# ── URIs ─────────────────────────────────────────────────────────────────────────────────────────────────


ARN = "arn:aws-cn:dynamodb:cn-north-1:123456789012:table/t.a-b_c/stream/2026-01-01T00:00:00.000"
HERE = Path("/here")


@pytest.mark.parametrize(
    ("text", "scheme", "rest"),
    [
        ("stream:orders", "stream", "orders"),
        (ARN, "stream", ARN),
        ("table:orders", "table", "orders"),
        ("archive:/a/b", "archive", "/a/b"),
        ("archive:kept", "archive", "/here/kept"),
        ("archive:s3://b/p", "archive", "s3://b/p"),
        ("export:/a/b", "export", "/a/b"),
        ("export:kept", "export", "/here/kept"),
        ("export:s3://b/p", "export", "s3://b/p"),
        ("jsonl:a:b/c.jsonl.gz", "jsonl", "/here/a:b/c.jsonl.gz"),
        ("-", "jsonl", "-"),
        ("failures:given-up", "failures", "/here/given-up"),
        ("failures:s3://b/aws/lambda/", "failures", "s3://b/aws/lambda/"),
    ],
)
def test_a_source_is_resolved_and_shown_as_it_was_typed(text: str, scheme: str, rest: str) -> None:
    assert parse_source(text, HERE) == Uri(scheme, rest, text)


@pytest.mark.parametrize(
    "text",
    ["", "orders", "failures:", "stream:", "export:", "STREAM:x", ":x", "s3://b/p", "arn", "arn:"],
)
def test_what_is_no_source_is_told_what_is(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_source(text, HERE)
    assert repr(text) in caught.value.message
    for kind in ("stream:TABLE", "table:TABLE", "archive:PATH", "export:PATH", "jsonl:PATH", "-"):
        assert kind in caught.value.hint


def test_a_tables_arn_is_told_apart() -> None:
    with pytest.raises(UsageError) as caught:
        parse_source("arn:aws:dynamodb:us-east-1:123456789012:table/orders", HERE)
    assert "stream:orders" in caught.value.hint


@pytest.mark.parametrize(
    ("source", "options", "named"),
    [
        ("table:t", {"all": True, "follow": True}, "--follow"),
        ("archive:kept", {"follow": True}, "--follow"),
        ("archive:kept", {"leave_out": "x"}, "--leave-out"),
        ("export:kept", {"keys": "x"}, "--keys"),
        ("jsonl:f", {"partition_key": "x"}, "--partition-key"),
        ("stream:t", {"partition_key": "x", "index": "i"}, "--partition-key, --index"),
        ("stream:t", {"as_event": "REMOVE"}, "--as"),
        ("-", {"old_image": False}, "--no-old-image"),
    ],
)
def test_the_flag_of_another_source_is_refused(source: str, options: dict[str, Any], named: str) -> None:
    """It was ignored, and everything was delivered."""
    with pytest.raises(UsageError) as caught:
        options_of(parse_source(source, HERE), options)
    assert f"has no use for {named}" in caught.value.message


# ── one more kind ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """One module, and its line in the list."""
    monkeypatch.setitem(MODULES, "toy", "tests.toys.source")


def test_a_toy_source_takes_one_module(toy: None, tmp_path: Path) -> None:
    """It has a flag in help, a form in the list, and is planned, looked at, replayed and gone on with as the others."""
    assert "toy:COLOUR" in forms()
    assert "--bricks" in {flag.name for flag in flags()}
    request = ReplayRequest(
        source="toy:red",
        to=f"jsonl:{tmp_path / 'out.jsonl'}",
        source_options={"bricks": 7},
        filters=FilterRequest(limit=3),
        run="toy",
        ledger=str(tmp_path / "ledger.db"),
    )
    plan = make_plan(request)
    assert (plan.data.records.count, plan.data.fidelity) == (3, "synthetic")
    assert "--bricks 7" in plan.data.command
    assert plan.execute().delivered == 3
    rest = restrike.resume("toy", ledger=tmp_path / "ledger.db").execute()
    assert isinstance(rest, ReplayReport)
    assert (rest.state, rest.delivered) == ("COMPLETED", 7)
    bricks = [
        json.loads(line)["dynamodb"]["Keys"]["brick"]["N"] for line in (tmp_path / "out.jsonl").read_text().splitlines()
    ]
    assert bricks == [str(number) for number in range(1, 8)]
    with pytest.raises(UsageError, match="bricks: it was 7, and is 8 now"):
        make_plan(msgspec.structs.replace(request, source_options={"bricks": 8}))
    with pytest.raises(UsageError, match="--bricks"):
        make_plan(msgspec.structs.replace(request, source="jsonl:f", run="other"))
