"""The source `table:`: records made of the items as they are, and places that hold whatever comes and goes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restrike.aws import dynamodb
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.errors import AccessDenied, SourceLacks, UsageError
from restrike.model.record import Record, read_record
from restrike.model.selection import DateQuery, FilterExpression, KeyList, KeyQuery, Scan, Selection
from restrike.model.synthetic import is_made_up
from restrike.model.table import canonical_key
from restrike.model.window import Window
from restrike.selecting.keyfile import KeyFile
from restrike.sources import SourceInfo
from restrike.sources.table import reading as module
from restrike.sources.table.reading import TableSource
from tests.integration.tables import Index, Table, create
from tests.servers.faults import AccessDenied as Denied
from tests.servers.faults import ServerError, Throttle, faulty

EVERYTHING = Selection(Scan())
BOTH = {"NewImage", "OldImage"}


def source_of(table: Table, selection: Selection = EVERYTHING, endpoint_url: str = "", **options: Any) -> TableSource:
    aws = Aws(AwsSettings(endpoint_url=endpoint_url or table.endpoint_url))
    return TableSource(aws, dynamodb.describe_table(aws, table.name)[0], selection, **options)


async def gather(
    source: TableSource,
    after: Mapping[str, int] | None = None,
    *,
    enough: int | None = None,
    each: Callable[[list[Record]], object] = lambda page: None,
) -> list[Record]:
    found: list[Record] = []
    async with source, contextlib.aclosing(source.read(after or {}, Window())) as pages:
        async for page in pages:
            assert page
            assert len({record.shard for record in page}) == 1
            found += page
            each(page)
            if enough is not None and len(found) >= enough:
                break
    by_shard: dict[str, list[int]] = {}
    for record in found:
        by_shard.setdefault(record.shard, []).append(record.place)
    assert all(places == sorted(set(places)) for places in by_shard.values())
    return found


def read(table: Table, selection: Selection = EVERYTHING, **options: Any) -> list[Record]:
    return asyncio.run(gather(source_of(table, selection, **options)))


def keys(records: list[Record]) -> list[int]:
    return [int(json.loads(record.keys)["pk"]["N"]) for record in records]


def image(record: Record, name: str = "NewImage") -> bytes:
    """The image's bytes, as they stand in the record."""
    found = msgspec.json.decode(record.raw, type=dict[str, msgspec.Raw])
    return bytes(msgspec.json.decode(found["dynamodb"], type=dict[str, msgspec.Raw])[name])


@pytest.fixture(scope="module")
def hundred(dynamodb_local: str) -> Table:
    return create(dynamodb_local, ("pk", "N"), items=[{"pk": n, "x": f"x{n}"} for n in range(100)])


def test_a_record_looks_like_one_of_a_stream(hundred: Table) -> None:
    (record,) = read(hundred, Selection(KeyQuery({"N": "7"})), salt="a run")
    made = json.loads(record.raw)
    real = hundred.records()[0]
    assert set(made) == set(real) | {"eventSourceARN"}
    assert set(made["dynamodb"]) == set(real["dynamodb"])
    assert made["eventName"] == record.event_name == "INSERT"
    assert (made["eventSource"], made["eventVersion"]) == ("aws:dynamodb", "1.1")
    assert made["awsRegion"] == real["awsRegion"]
    assert made["eventSourceARN"] == record.stream_arn == hundred.stream_arn
    change = made["dynamodb"]
    assert change["Keys"] == {"pk": {"N": "7"}}
    assert change["NewImage"] == {"pk": {"N": "7"}, "x": {"S": "x7"}}
    assert isinstance(change["ApproximateCreationDateTime"], int)
    assert is_made_up(change["SequenceNumber"])
    assert 21 <= len(change["SequenceNumber"]) <= 40
    assert not any(is_made_up(each["dynamodb"]["SequenceNumber"]) for each in hundred.records())
    again = read_record(record.raw, shard=record.shard, place=record.place, stream_arn="", fidelity="synthetic")
    assert again == record


@pytest.mark.parametrize(
    ("as_event", "old_image", "images"),
    [
        ("INSERT", True, {"NewImage"}),
        ("MODIFY", True, BOTH),
        ("MODIFY", False, {"NewImage"}),
        ("REMOVE", True, {"OldImage"}),
    ],
)
@pytest.mark.parametrize(
    ("view_type", "shown"),
    [
        ("NEW_AND_OLD_IMAGES", BOTH),
        ("NEW_IMAGE", {"NewImage"}),
        ("OLD_IMAGE", {"OldImage"}),
        ("KEYS_ONLY", set()),
        (None, BOTH),
    ],
)
def test_the_images_of_each_event_and_view_type(
    dynamodb_local: str, as_event: Any, old_image: bool, images: set[str], view_type: str | None, shown: set[str]
) -> None:
    table = create(dynamodb_local, ("pk", "N"), view_type=view_type, items=[{"pk": 1, "x": "é"}])
    (record,) = read(table, as_event=as_event, old_image=old_image)
    change = json.loads(record.raw)["dynamodb"]
    assert record.event_name == as_event
    assert set(change) & BOTH == images & shown
    assert all(change[name] == {"pk": {"N": "1"}, "x": {"S": "é"}} for name in images & shown)
    assert change["StreamViewType"] == (view_type or "NEW_AND_OLD_IMAGES")
    assert record.stream_arn.startswith("arn:aws:dynamodb:")
    assert f"table/{table.name}/stream/" in record.stream_arn


def test_no_old_image_is_for_modify(hundred: Table) -> None:
    with pytest.raises(UsageError):
        source_of(hundred, as_event="REMOVE", old_image=False)


def test_it_is_said_where_the_target_is_told_that_items_are_gone(hundred: Table) -> None:
    def warned(source: TableSource) -> list[str]:
        return [message for _, message in asyncio.run(looked(source)).warnings]

    assert warned(source_of(hundred)) == []
    assert warned(source_of(hundred, as_event="REMOVE")) == [
        "the target is told that these items are gone, and the table has them."
    ]
    selection, file = key_list(hundred, [{"pk": {"N": "1"}}])
    with file:
        (of_keys,) = warned(source_of(hundred, selection, keys=file, as_event="REMOVE"))
        assert "also of a key that the table has: --if-superseded skip leaves that out" in of_keys


def test_images_are_byte_for_byte_the_items(dynamodb_local: str) -> None:
    from tests.integration.test_source_stream import cut, every_type

    table = create(dynamodb_local, ("pk", "S"))
    for item in every_type():
        table.dynamodb.put_item(TableName=table.name, Item=item)

    async def answered() -> list[bytes]:
        async with dynamodb.connect(Aws(AwsSettings(endpoint_url=dynamodb_local)), connections=1) as wire:
            body = await wire.call("Scan", json.dumps({"TableName": table.name}).encode())
        return cut(body.replace(b'"Items"', b'"Records"'))

    items = asyncio.run(answered())
    found = read(table, as_event="MODIFY")
    assert [image(record) for record in found] == items
    assert [image(record, "OldImage") for record in found] == items
    # And so they are where each is fetched by its key.
    selection, file = key_list(table, [json.loads(record.keys) for record in found], name="bytes")
    with file:
        assert Counter(image(record) for record in read(table, selection, keys=file)) == Counter(items)


def key_list(table: Table, keys: list[dict[str, Any]], *, name: str = "keys") -> tuple[Selection, KeyFile]:
    import tempfile

    schema = dynamodb.describe_table(Aws(AwsSettings(endpoint_url=table.endpoint_url)), table.name)[0].key
    file = KeyFile(Path(tempfile.mkdtemp()) / name, new=True)
    file.write(iter([(canonical_key(schema, key), b"") for key in keys]))
    return Selection(KeyList("digest", len(keys), name)), file


@pytest.fixture(scope="module")
def orders(dynamodb_local: str) -> Table:
    """Orders of ten customers over five days; of the indexes one projects everything, the others do not."""
    return create(
        dynamodb_local,
        ("customer", "S"),
        ("number", "N"),
        indexes=[
            Index("by-day", ("day", "S"), ("number", "N"), "ALL"),
            Index("by-day-keys", ("day", "S")),
            Index("by-state", ("state", "S"), None, "INCLUDE", ("day",)),
            Index("by-total", None, ("total", "N")),
        ],
        items=[
            {
                "customer": f"c{n % 10}",
                "number": n,
                "day": f"2026-01-0{n % 5 + 1}",
                "state": "open" if n % 3 else "done",
                "total": n * 2,
                "text": "é" * n,
            }
            for n in range(100)
        ],
    )


SELECTIONS: dict[str, tuple[Selection, Callable[[int], bool]]] = {
    "scan": (Selection(Scan()), lambda n: True),
    "segments": (Selection(Scan(segments=5)), lambda n: True),
    "scan of a sparse projection": (Selection(Scan("by-day-keys")), lambda n: True),
    "key": (Selection(KeyQuery({"S": "c3"})), lambda n: n % 10 == 3),
    "key of an index with everything": (Selection(KeyQuery({"S": "2026-01-02"}, "by-day")), lambda n: n % 5 == 1),
    "key of an index with some": (Selection(KeyQuery({"S": "open"}, "by-state")), lambda n: n % 3 > 0),
    "key of a local index": (Selection(KeyQuery({"S": "c4"}, "by-total")), lambda n: n % 10 == 4),
    "dates": (
        Selection(DateQuery("by-day", date(2026, 1, 2), date(2026, 1, 4), "%Y-%m-%d")),
        lambda n: 1 <= n % 5 <= 3,
    ),
    "dates of an index with keys only": (
        Selection(DateQuery("by-day-keys", date(2026, 1, 2), date(2026, 1, 4), "%Y-%m-%d")),
        lambda n: 1 <= n % 5 <= 3,
    ),
    "filter": (
        Selection(Scan(), FilterExpression("#s = :s", {"#s": "state"}, {":s": {"S": "done"}})),
        lambda n: n % 3 == 0,
    ),
}


@pytest.mark.parametrize("what", SELECTIONS)
def test_every_way_of_selecting_gives_whole_items(orders: Table, what: str, tmp_path: Path) -> None:
    selection, selected = SELECTIONS[what]
    expected = [n for n in range(100) if selected(n)]
    found = read(orders, selection, journal=tmp_path / "journal")
    assert sorted(json.loads(image(record))["number"]["N"] for record in found) == sorted(map(str, expected))
    for record in found:
        item = json.loads(image(record))
        assert item["text"] == {"S": "é" * int(item["number"]["N"])}
        assert json.loads(record.keys) == {"customer": item["customer"], "number": item["number"]}
    assert len({record.sequence_number for record in found}) == len(found)
    assert len({json.loads(record.raw)["eventID"] for record in found}) == len(found)
    info = asyncio.run(looked(source_of(orders, selection)))
    assert (info.count, info.at_least) == (len(expected), False)
    # What is noted down is the whole selection: from there every item can be read again, and none twice.
    again = read(orders, selection, journal=tmp_path / "journal")
    assert identities(again) == identities(found)


def identities(records: list[Record]) -> set[tuple[str, int, bytes, str]]:
    return {(record.shard, record.place, record.keys, record.sequence_number) for record in records}


async def looked(source: TableSource) -> SourceInfo:
    async with source:
        return await source.look(Window())


def test_a_key_list_and_items_that_are_gone(hundred: Table) -> None:
    wanted = [{"pk": {"N": str(n)}} for n in (*range(0, 100, 3), 1000, 1001, *range(2000, 2300))]
    selection, file = key_list(hundred, wanted)
    with file:
        source = source_of(hundred, selection, keys=file)
        found = asyncio.run(gather(source))
        assert keys(found) == list(range(0, 100, 3))
        assert [record.place for record in found] == list(range(1, 35))
        assert source.gone == 302
        assert source.ended == "end of the selection, 302 items were gone"
        assert keys(asyncio.run(gather(source_of(hundred, selection, keys=file), {"keys": 30}))) == [90, 93, 96, 99]
    with pytest.raises(UsageError):
        source_of(hundred, selection)


def test_a_remove_is_made_of_a_key_alone(hundred: Table) -> None:
    """It is what is said of an item that is gone; one that is there is its OldImage."""
    selection, file = key_list(hundred, [{"pk": {"N": str(n)}} for n in (1, 2000, 2, 2001)])
    with file:
        source = source_of(hundred, selection, keys=file, as_event="REMOVE")
        found = asyncio.run(gather(source))
        assert keys(found) == [1, 2000, 2, 2001]
        assert [record.place for record in found] == [1, 2, 3, 4]
        changes = [json.loads(record.raw)["dynamodb"] for record in found]
        assert [set(change) & BOTH for change in changes] == [{"OldImage"}, set(), {"OldImage"}, set()]
        assert (source.gone, source.ended) == (0, "end of the selection")
        assert found[1].event_name == "REMOVE"
        assert keys(asyncio.run(gather(source_of(hundred, selection, keys=file, as_event="REMOVE"), {"keys": 3}))) == [
            2001
        ]


def test_keys_that_are_left_unprocessed_are_asked_for_again(dynamodb_local: str) -> None:
    # 100 items of 300 KB are more than the 16 MB of an answer.
    table = create(dynamodb_local, ("pk", "N"))
    for number in range(100):
        table.load([{"pk": number, "x": "x" * 300_000}])
    selection, file = key_list(table, [{"pk": {"N": str(n)}} for n in range(100)])
    with file, faulty(dynamodb_local) as proxy:
        found = asyncio.run(gather(source_of(table, selection, proxy.endpoint_url, keys=file)))
        assert keys(found) == list(range(100))
        assert proxy.count("BatchGetItem") > 1


def test_throttles_and_faults_leave_no_hole(orders: Table, tmp_path: Path) -> None:
    faults = [Throttle(("Query", "Scan", "BatchGetItem"), every=2), ServerError(("Query", "BatchGetItem"), every=3)]
    with faulty(orders.endpoint_url, faults) as proxy:
        for name in ("segments", "dates of an index with keys only"):
            selection, selected = SELECTIONS[name]
            found = asyncio.run(gather(source_of(orders, selection, proxy.endpoint_url, journal=tmp_path / name)))
            assert len(found) == sum(map(selected, range(100)))
        assert proxy.fired(Throttle)
        assert proxy.fired(ServerError)


def test_access_denied_ends_the_reading(orders: Table) -> None:
    with faulty(orders.endpoint_url, [Denied("BatchGetItem")]) as proxy, pytest.raises(AccessDenied):
        asyncio.run(gather(source_of(orders, SELECTIONS["dates of an index with keys only"][0], proxy.endpoint_url)))


def test_without_a_journal_nothing_can_be_resumed(hundred: Table, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="journal"):
        asyncio.run(gather(source_of(hundred), {"segment-0": 5}))
    with pytest.raises(SourceLacks, match="journal"):
        asyncio.run(gather(source_of(hundred, journal=tmp_path / "another"), {"segment-0": 5}))


def test_event_ids_are_the_same_in_a_run_and_others_in_another(hundred: Table, tmp_path: Path) -> None:
    def ids(salt: str, journal: str) -> list[str]:
        found = read(hundred, journal=tmp_path / journal, salt=salt)
        return [json.loads(record.raw)["eventID"] for record in found]

    one = ids("run-1", "a")
    assert one == ids("run-1", "a")
    assert not set(one) & set(ids("run-2", "b"))


@given(
    st.integers(0, 2**32),
    st.integers(1, 3),
    st.lists(st.tuples(st.integers(1, 60), st.integers(0, 100)), min_size=1, max_size=4),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_resumed_anywhere_while_items_come_and_go(
    dynamodb_local: str,
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    segments: int,
    parts: list[tuple[int, int]],
) -> None:
    """Every item that exists throughout is yielded; an ordinal is one item for good; nothing is yielded twice."""
    rng = random.Random(seed)
    # Items of 40 KB: a page of 1 MB holds 25.
    table = create(dynamodb_local, ("pk", "N"), items=[{"pk": n, "x": "x" * 40_000} for n in range(80)])
    journal = tmp_path_factory.mktemp("resumed") / "journal"
    selection = Selection(Scan(segments=segments))
    stays = set(range(0, 80, 2))
    places: dict[str, int] = {}
    seen: dict[tuple[str, int], int] = {}
    for enough, percent in parts:
        part = asyncio.run(gather(source_of(table, selection, journal=journal), places, enough=enough))
        # The caller has dealt with some of it, and forgets what he saw of the rest.
        for record in part[: len(part) * percent // 100]:
            place, (key,) = (record.shard, record.place), keys([record])
            assert seen.setdefault(place, key) == key
            assert place[1] > places.get(record.shard, 0)
            places[record.shard] = record.place
        for number in rng.sample(range(1, 80, 2), 8):
            table.dynamodb.delete_item(TableName=table.name, Key={"pk": {"N": str(number)}})
        table.load([{"pk": rng.randrange(1000, 2000), "x": "new"}])
    for record in asyncio.run(gather(source_of(table, selection, journal=journal), places)):
        (key,) = keys([record])
        assert seen.setdefault((record.shard, record.place), key) == key
    counted = Counter(seen.values())
    assert stays <= set(counted)
    assert max(counted.values()) == 1


def test_readers_wait_until_their_pages_are_taken(dynamodb_local: str) -> None:
    table = create(dynamodb_local, ("pk", "N"))
    for number in range(0, 150, 25):
        table.load([{"pk": n, "x": "x" * 100_000} for n in range(number, number + 25)])

    async def go() -> int:
        source = source_of(table, Selection(Scan()), proxy.endpoint_url)
        async with source, contextlib.aclosing(source.read({}, Window())) as pages:
            await anext(pages)
            asked = -1
            while asked != (asked := proxy.count("Scan")):
                await asyncio.sleep(0.2)  # until it stands still: that is what is shown
            return asked

    with faulty(dynamodb_local) as proxy:
        asked = asyncio.run(go())
    # Of some 15 pages: one taken, two queued, one in the reader's hand.
    assert asked <= 1 + module.QUEUED_PAGES + 1


def test_a_look_at_a_large_selection_stops(hundred: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restrike.selecting.count.COUNT_PAGES", 2)
    info = asyncio.run(looked(source_of(hundred, Selection(Scan(segments=8)))))
    assert info.at_least or info.count == 100
    assert (info.table_name, info.view_type) == (hundred.name, "NEW_AND_OLD_IMAGES")
    selection = Selection(KeyList("digest", 12, "a file"))
    info = asyncio.run(looked(source_of(hundred, selection, keys=KeyFile(tmp_path / "keys", new=True))))
    assert (info.count, info.at_least) == (12, False)
