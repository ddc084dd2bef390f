"""Records in files: every way in which JSON values follow one another, packed or not, and what is no record."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from restrike.errors import RestrikeError, SourceLacks, UsageError
from restrike.model.record import Record
from restrike.model.synthetic import made_up_number
from restrike.model.window import Window
from restrike.sources import SourceInfo
from restrike.sources.jsonl import reading as module
from restrike.sources.jsonl.reading import JsonlSource
from restrike.sources.jsonl.splitter import Splitter

ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders/stream/2026-01-01T00:00:00.000"

PACKERS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}


def record(number: int, **image: Any) -> dict[str, Any]:
    return {
        "eventID": f"id-{number}",
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_700_000_000 + number,
            "Keys": {"pk": {"S": f"k{number}"}},
            "NewImage": {"pk": {"S": f"k{number}"}, **image},
            "SequenceNumber": f"{number:021d}",
            "SizeBytes": 10,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": ARN,
    }


def read(path: Path | str, after: Mapping[str, int] | None = None) -> list[Record]:
    async def go() -> list[Record]:
        async with JsonlSource(str(path)) as source:
            pages = [page async for page in source.read(after or {}, Window())]
        assert all(pages)
        assert source.ended
        return [each for page in pages for each in page]

    return asyncio.run(go())


def look(path: Path, window: Window | None = None) -> SourceInfo:
    async def go() -> SourceInfo:
        async with JsonlSource(str(path)) as source:
            return await source.look(window or Window())

    return asyncio.run(go())


def numbers(records: list[Record]) -> list[int]:
    return [int(each.sequence_number) for each in records]


def lines(values: list[Any]) -> str:
    return "".join(json.dumps(each) + "\n" for each in values)


LAYOUTS: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    "a record a line": lines,
    "without a last newline": lambda records: lines(records).rstrip("\n"),
    "Windows line ends": lambda records: lines(records).replace("\n", "\r\n"),
    "blank lines between": lambda records: lines(records).replace("\n", "\n \n\n"),
    "nothing between": lambda records: "".join(map(json.dumps, records)),
    "blanks between": lambda records: "  ".join(map(json.dumps, records)),
    "pretty-printed": lambda records: "\n".join(json.dumps(each, indent=2) for each in records),
    "one event": lambda records: json.dumps({"Records": records}),
    "events": lambda records: lines([{"Records": records[:2]}, {"Records": []}, {"Records": records[2:]}]),
    "an event with more": lambda records: json.dumps({"restrike": {"run": "r"}, "Records": records}),
    "a pretty event": lambda records: json.dumps({"Records": records}, indent=4),
    "an array, as Pipes hands it": json.dumps,
    "arrays": lambda records: lines([records[:3], [], records[3:]]),
    "a byte order mark": lambda records: "\ufeff" + lines(records),
    "all sorts": lambda records: (
        json.dumps(records[:1]) + json.dumps(records[1], indent=1) + lines([{"Records": records[2:]}])
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS, ids=list(LAYOUTS))
@pytest.mark.parametrize("chunk", [1, 7, 1 << 18])
def test_every_layout(layout: str, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", chunk)
    records = [record(n, text={"S": 'braces } ] { [ and "quotes" \\ and \u2028 é 漢'}) for n in range(1, 6)]
    path = tmp_path / "records.jsonl"
    path.write_text(LAYOUTS[layout](records), encoding="utf-8", newline="")
    found = read(path)
    assert [json.loads(each.raw) for each in found] == records
    assert [each.place for each in found] == [1, 2, 3, 4, 5]
    assert {each.shard for each in found} == {str(path)}
    assert {each.fidelity for each in found} == {"exact"}
    assert not any(b"\n" in each.raw for each in found)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_packed_files(suffix: str, tmp_path: Path) -> None:
    text = lines([record(n) for n in range(1, 3001)]).encode()
    path = tmp_path / f"records.jsonl{suffix}"
    # Two members, as `cat a.gz b.gz` makes them.
    half = text.index(b"\n", len(text) // 2) + 1
    pack = PACKERS[suffix]
    path.write_bytes(pack(text[:half]) + pack(text[half:]))
    assert numbers(read(path)) == list(range(1, 3001))


def test_a_place_is_an_ordinal_since_sequence_numbers_repeat(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text(lines([{"Records": [record(7), record(7)]}, record(3), record(7)]))
    assert [(each.place, each.sequence_number) for each in read(path)] == [
        (1, f"{7:021d}"), (2, f"{7:021d}"), (3, f"{3:021d}"), (4, f"{7:021d}"),
    ]  # fmt: skip
    assert [each.place for each in read(path, {str(path): 1})] == [2, 3, 4]
    assert [each.place for each in read(path, {str(path): 4})] == []


def test_bytes_of_images_stay_as_they_are(tmp_path: Path) -> None:
    images = b'{"a":{"N":"1.10"},"b":{"S":"\\u00e9 \\/ \xc3\xa9"},"c":{"M":{"z":{"L":[]},"a":{"NULL":true}}}}'
    raw = b'{"eventName":"INSERT","dynamodb":{"Keys":{"pk":{"S":"1"}},"NewImage":%b},"eventSourceARN":"x"}' % images
    path = tmp_path / "f"
    path.write_bytes(raw)
    assert read(path)[0].raw == raw
    path.write_bytes(raw.replace(b',"NewImage"', b',\r\n  "NewImage"'))
    assert read(path)[0].raw == raw


def test_a_record_without_an_arn_gets_the_one_that_was_given(tmp_path: Path) -> None:
    given = record(1)
    del given["eventSourceARN"]
    path = tmp_path / "f"
    path.write_text(json.dumps(given))

    async def go() -> list[Record]:
        async with JsonlSource(str(path), stream_arn=ARN) as source:
            return [each async for page in source.read({}, Window()) for each in page]

    found = asyncio.run(go())
    assert found[0].stream_arn == ARN
    assert json.loads(found[0].raw) == record(1)


def test_made_up_records_are_told_from_exact_ones(tmp_path: Path) -> None:
    made_up = record(1)
    made_up["dynamodb"]["SequenceNumber"] = made_up_number(0, 1)
    path = tmp_path / "f"
    path.write_text(lines([made_up, record(2)]))
    assert [each.fidelity for each in read(path)] == ["synthetic", "exact"]


BAD: dict[str, tuple[str, str]] = {
    "no JSON": (lines([record(1)]) + "oops\n", "line 2, byte {0}"),
    "cut off": (lines([record(1)]) + json.dumps(record(2))[:-5], "line 2, byte {0}: the text ends in the middle"),
    "a number": (lines([record(1), 5]), "line 2"),
    "another object": (lines([record(1), {"a": 1}]), "record 2: an object without 'dynamodb'"),
    "another event": (lines([record(1), {"Records": [{"s3": {}}]}]), "record 2 is no DynamoDB stream record"),
    "no keys": (lines([record(1), {"dynamodb": {}}]), "record 2 is no DynamoDB stream record"),
    "Records is text": (lines([record(1), {"Records": "x"}]), "record 2"),
    "broken inside": (lines([record(1)]) + '{"dynamodb": {"Keys": tru}}', "line 2"),
    "a bad time": (
        lines([record(1), {"dynamodb": {"Keys": {}, "ApproximateCreationDateTime": "yesterday"}}]),
        "record 2 is no DynamoDB stream record",
    ),
    "brackets that do not match": (lines([record(1)]) + "{]", "line 2"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_record_is_named_and_what_stands_before_it_is_read(what: str, tmp_path: Path) -> None:
    text, where = BAD[what]
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    seen: list[Record] = []

    async def go() -> None:
        async with JsonlSource(str(path)) as source:
            async for page in source.read({}, Window()):
                seen.extend(page)

    with pytest.raises(SourceLacks) as caught:
        asyncio.run(go())
    assert str(path) in caught.value.message
    assert where.format(len(lines([record(1)]))) in caught.value.message
    assert caught.value.hint
    assert numbers(seen) == [1]


def test_a_value_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restrike.sources.jsonl.splitter.MAX_VALUE_BYTES", 1 << 20)
    path = tmp_path / "f"
    path.write_bytes(b"[" + b"[1]," * (1 << 20))
    with pytest.raises(SourceLacks, match="a value of more than 1 MB"):
        read(path)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_packed_file_that_is_damaged(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"f{suffix}"
    path.write_bytes(b"not packed at all, whatever its name says")
    with pytest.raises(SourceLacks, match="cannot be read"):
        read(path)
    pack = PACKERS[suffix]
    path.write_bytes(pack(lines([record(n) for n in range(5000)]).encode())[:-20])
    with pytest.raises(SourceLacks):
        read(path)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_packed_file_that_was_cut_off_between_two_values(suffix: str, tmp_path: Path) -> None:
    """What is there unpacks to whole records, and all the same some are missing."""
    whole = lines([record(n) for n in range(100)]).encode()
    path = tmp_path / f"f{suffix}"
    if suffix == ".zst":
        packer = zstandard.ZstdCompressor().compressobj()
        flushed = packer.compress(whole) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    else:
        deflater = zlib.compressobj(wbits=31)
        flushed = deflater.compress(whole) + deflater.flush(zlib.Z_SYNC_FLUSH)
    path.write_bytes(flushed)
    with pytest.raises(SourceLacks, match="cannot be read"):
        read(path)


def test_zstandard_files_may_be_joined(tmp_path: Path) -> None:
    path = tmp_path / "f.zst"
    path.write_bytes(b"".join(zstandard.compress(lines([record(n)]).encode()) for n in range(300)))
    assert len(read(path)) == 300


def test_a_file_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    async def go() -> None:
        async with JsonlSource(str(tmp_path / "none")):
            raise AssertionError("not reached")

    with pytest.raises(UsageError, match="cannot read"):
        asyncio.run(go())


def test_zstandard_is_asked_for_where_it_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.zst"
    path.write_bytes(b"")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(UsageError) as caught:
        read(path)
    assert "pip install zstandard" in caught.value.hint


def test_standard_input_gives_records_as_they_come_and_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb", buffering=0) as pipe:
        monkeypatch.setattr(sys, "stdin", stdin)

        async def go() -> None:
            async with JsonlSource("-") as source:
                assert source.uri == "-"
                assert (await source.look(Window())).count is None
                pages = source.read({}, Window())
                pipe.write(lines([record(1)]).encode())
                assert numbers(await anext(pages)) == [1]
                pipe.write(lines([record(2), record(3)]).encode())
                assert numbers(await anext(pages)) == [2, 3]
                pipe.close()
                assert [page async for page in pages] == []
                with pytest.raises(UsageError, match="only once"):
                    await anext(source.read({}, Window()))
            with pytest.raises(UsageError, match="only once"):
                await anext(JsonlSource("-").read({"-": 3}, Window()))

        asyncio.run(go())


def test_a_silent_pipe_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb"):
        monkeypatch.setattr(sys, "stdin", stdin)

        async def go() -> None:
            pages = JsonlSource("-").read({}, Window())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(pages), 0.05)

        asyncio.run(go())  # would wait for ever for a thread of the executor


def test_a_look_counts_what_is_in_the_window(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text(lines([record(n) for n in range(10)]))
    info = look(path, Window(1_700_000_003, 1_700_000_006))
    assert (info.count, info.at_least) == (3, False)
    assert (info.first_s, info.last_s) == (1_700_000_003, 1_700_000_005)
    assert (info.table_name, info.stream_arn, info.view_type) == ("orders", ARN, "NEW_AND_OLD_IMAGES")
    other = record(11) | {"eventSourceARN": ARN.replace("orders", "users")}
    path.write_text(lines([record(1), other]))
    info = look(path)
    assert info.stream_arn is None
    assert [code for code, _ in info.warnings] == ["several-streams"]
    path.write_text("")
    assert look(path).count == 0


def test_a_look_at_a_large_file_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_RECORDS", 2_000)
    path = tmp_path / "f"
    path.write_text(lines([record(n) for n in range(10_000)]))
    info = look(path)
    assert info.at_least
    assert info.count is not None
    assert 2_000 <= info.count < 10_000


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = tmp_path / str(count)
        with path.open("w") as file:
            for number in range(count):
                file.write(json.dumps(record(number, text={"S": "x" * 500})) + "\n")

        async def go() -> None:
            async with JsonlSource(str(path)) as source:
                async for page in source.read({}, Window()):
                    assert len(page) <= 1_000

        tracemalloc.start()
        try:
            asyncio.run(go())
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(20_000) < peak(4_000) * 1.5 + 500_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
VALUES = st.lists(st.lists(JSON) | st.dictionaries(st.text(), JSON), max_size=6)


@given(VALUES, st.data())
@settings(max_examples=30, deadline=None)
def test_any_values_are_cut_apart_whatever_the_chunks(values: list[Any], data: st.DataObject) -> None:
    text = b""
    for value in values:
        indent = data.draw(st.none() | st.integers(0, 3))
        text += json.dumps(value, indent=indent, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "surrogatepass")
        text += data.draw(st.text(" \t\r\n", max_size=3)).encode()
    splitter = Splitter("a file")
    found: list[Any] = []
    position = 0
    while position < len(text):
        size = data.draw(st.integers(1, max(1, len(text) - position)))
        splitter.feed(text[position : position + size])
        position += size
        found += [json.loads(value.decode("utf-8", "surrogatepass")) for value, _ in splitter.values(last=False)]
    found += [json.loads(value.decode("utf-8", "surrogatepass")) for value, _ in splitter.values(last=True)]
    assert found == values


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_values_or_an_error_that_says_where(text: bytes) -> None:
    splitter = Splitter("a file")
    splitter.feed(text)
    try:
        for value, _ in splitter.values(last=True):
            assert value[:1] in (b"{", b"[")
    except RestrikeError as error:
        where = error.message
    else:
        return
    assert "a file, line" in where


# ── hostile files ────────────────────────────────────────────────────────────────────────────────────────

PEAK = """
import asyncio, resource, sys
from restrike.errors import SourceLacks
from restrike.model.window import Window
from restrike.sources.jsonl.reading import JsonlSource

async def go():
    async with JsonlSource(sys.argv[1]) as source:
        async for page in source.read({}, Window()):
            pass

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    asyncio.run(go())
    print("read to its end")
except SourceLacks as error:
    print(error.message)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> (20 if sys.platform == "darwin" else 10))
"""


def peak_of(path: Path) -> tuple[str, int]:
    """What is said of the file, and how many MB reading it took."""
    out = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], capture_output=True, check=True, text=True, timeout=300
    )
    said, megabytes = out.stdout.splitlines()
    return said, int(megabytes)


def bomb(suffix: str, beginning: bytes, letter: bytes, megabytes: int) -> bytes:
    piece = letter * (1 << 20)
    if suffix == ".zst":
        packer: Any = zstandard.ZstdCompressor(level=3).compressobj()
    else:
        packer = zlib.compressobj(9, wbits=31)
    return bytes(
        packer.compress(beginning) + b"".join(packer.compress(piece) for _ in range(megabytes)) + packer.flush()
    )


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize(
    ("beginning", "letter", "said"),
    [(b'{"dynamodb":"', b"x", "a value of more than 64 MB"), (b"", b" ", "read to its end")],
    ids=["a value", "blanks"],
)
def test_a_bomb_takes_no_more_than_a_value_and_a_chunk(
    suffix: str, beginning: bytes, letter: bytes, said: str, tmp_path: Path
) -> None:
    """Half a gigabyte, of which a megabyte or less is on the disk."""
    path = tmp_path / f"bomb{suffix}"
    path.write_bytes(bomb(suffix, beginning, letter, 512))
    assert path.stat().st_size < 1 << 20
    told, megabytes = peak_of(path)
    assert said in told
    assert megabytes < (300 if beginning else 50)


def test_zstandard_frames_of_others_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "f.zst"
    packed = [zstandard.compress(lines([record(n)]).encode()) for n in range(2)]
    path.write_bytes(packed[0] + b"\x5e\x2a\x4d\x18\x03\x00\x00\x00abc" + packed[1])
    assert len(read(path)) == 2
    path.write_bytes(packed[0] + b"\x5e\x2a\x4d\x18\x03\x00\x00\x00ab")
    with pytest.raises(SourceLacks, match="cut off"):
        read(path)


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("sized", [True, False])
def test_zstandard_frames_of_every_form(checksum: bool, sized: bool, tmp_path: Path) -> None:
    path = tmp_path / "f.zst"
    for count in (0, 1, 100, 5_000):
        text = lines([record(n) for n in range(count)]).encode()
        packer = zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=sized)
        path.write_bytes(packer.compress(text))
        assert len(read(path)) == count


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b'{"dynamodb":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"dynamodb":{"Keys":{"a":{"S":"b"}},"NewImage":' + b'{"M":' * 100_000 + b"1" + b"}" * 100_002,
        b'{"Records":[{"dynamodb":{"Keys":' + b"[" * 100_000 + b"]" * 100_000 + b"}}]}",
    ],
    ids=["arrays", "objects", "an image", "keys of an event"],
)
def test_nesting_without_end_is_told(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "f"
    for ending in (b"", b"\n", b"\n" + lines([record(1)]).encode()):
        path.write_bytes(text + ending)
        with pytest.raises(SourceLacks, match="f, line 1"):
            read(path)


@pytest.mark.parametrize("created", ["1e300", "-5", '"-1"', "1e12345"])
def test_a_time_that_is_none_is_told(created: str, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text(f'{{"dynamodb":{{"Keys":{{"a":{{"S":"b"}}}},"ApproximateCreationDateTime":{created}}}}}')
    with pytest.raises(SourceLacks, match="line 1"):
        read(path)
