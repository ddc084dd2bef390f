"""The source `failures:`: pointers on a shard tree of the tests' own and on DynamoDB Local; what strangers write."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import restrike
from restrike.aws import streams
from restrike.aws import stretch as module
from restrike.aws.refusals import error_for
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.aws.streams import SequenceRange, StreamInfo
from restrike.aws.streams import Shard as Listed
from restrike.errors import SourceLacks, UsageError
from restrike.model.record import Record
from restrike.model.window import Gap, Window
from restrike.replaying.filters import FilterRequest
from restrike.replaying.records import read_records
from restrike.replaying.request import ReplayRequest
from restrike.sources import Opening, SourceInfo, kind_of, parse_source
from restrike.sources.failures.reading import FailureSource
from restrike.sources.failures.resolving import in_order
from tests.failure_messages import ASYNCHRONOUS, KINESIS, LAMBDA, in_sns, in_sqs, message
from tests.integration.tables import Table, create
from tests.servers.faults import AccessDenied, ExpiredIterator, Throttle, faulty
from tests.servers.ministack import MiniStack
from tests.servers.shard_tree import START_S, Shard, Tree

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2026-11-25T00:00:00.000"
Reader = Callable[..., "Reading"]


class Reading:
    """What a source gave."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.gaps: list[Gap] = []
        self.info = SourceInfo()
        self.ended = ""

    @property
    def places(self) -> list[int]:
        return [record.place for record in self.records]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.0)


def pointing(shard: Shard, first: int, last: int, **how: Any) -> dict[str, Any]:
    batch = [
        {"dynamodb": {"SequenceNumber": f"{n:021d}", "ApproximateCreationDateTime": START_S - 100}}
        for n in shard.numbers
        if first <= n <= last
    ]
    return message(batch, shard=shard.name, stream_arn=ARN, **how)


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Messages in a file, and the source of them on a tree: the same as often as it is opened."""

    def read(
        tree: Tree | None, messages: list[Any], *, archive: str = "", enough: int | None = None, **how: Any
    ) -> Reading:
        monkeypatch.setattr(streams, "connect", lambda aws, connections: tree)
        info = StreamInfo(ARN, "t", "NEW_AND_OLD_IMAGES", "ENABLED", None)
        monkeypatch.setattr(streams, "describe_stream", lambda aws, arn: (info, None))
        path = tmp_path / "given-up.jsonl"
        path.write_text("\n".join(json.dumps(each) for each in messages))
        uri = parse_source(f"failures:{path}", tmp_path)
        aws = Aws(AwsSettings(endpoint_url="http://127.0.0.1:1"))
        opening = Opening(lambda: aws, tmp_path, **how)
        options = {"archive": archive} if archive else {}
        resolved = asyncio.run(kind_of("failures").resolve(uri, options, opening))

        async def go() -> Reading:
            reading = Reading()
            async with kind_of("failures").open(uri, resolved, opening) as source:
                reading.info = await source.look(Window())
                pages = source.read({}, Window())
                async for page in pages:
                    reading.records += page
                    if enough is not None and len(reading.records) >= enough:
                        break
                await pages.aclose()  # type: ignore[attr-defined]  # sources are generators
                reading.gaps, reading.ended = list(source.gaps), source.ended
            return reading

        return asyncio.run(go())

    return read


def asked(tree: Tree, operation: str, shard: str) -> int:
    found = [body for name, body in tree.calls if name == operation]
    return sum(shard in (body.get("ShardId"), str(body.get("ShardIterator")).rpartition("/")[0]) for body in found)


def test_a_thousand_pointers_into_one_shard_are_one_pass_over_it(on: Reader) -> None:
    numbers = list(range(100, 3100))
    shard, others = Shard("b", numbers, "a"), [Shard("a", [1, 2]), Shard("c", [4000], "b", closed=False)]
    tree = Tree(others[0], shard, others[1], page=100)
    tree.empty_pages = 7  # more in a row than the end of an open shard has
    found = on(tree, [pointing(shard, n, n + 1) for n in range(100, 3100, 3)])
    assert found.places == [n for n in numbers if n % 3 != 0]
    assert (found.gaps, found.ended) == ([], "end of the messages: 1,000 batches")
    assert asked(tree, "GetRecords", "b") == 30 + 7
    assert asked(tree, "GetShardIterator", "b") == 1
    assert asked(tree, "GetShardIterator", "a") == asked(tree, "GetShardIterator", "c") == 0


def test_it_begins_and_ends_where_it_is_pointed_at(on: Reader) -> None:
    shard = Shard("a", list(range(1, 1001)), closed=False)
    tree = Tree(shard, page=10)
    assert on(tree, [pointing(shard, 501, 505)]).places == list(range(501, 506))
    assert asked(tree, "GetRecords", "a") == 1


def test_parents_come_first_and_numbers_are_compared_as_numbers(on: Reader) -> None:
    parent, child = Shard("z", [8, 9, 10, 11]), Shard("a", [99, 100, 101], "z")
    late = pointing(child, 99, 101)
    early = pointing(parent, 10, 11)
    found = on(Tree(child, parent, listed=1), [late, early, pointing(parent, 8, 9)])
    assert found.places == [8, 9, 10, 11, 99, 100, 101]


@given(st.data())
def test_every_shard_comes_behind_its_ancestors(data: st.DataObject) -> None:
    names = [f"s{n}" for n in range(data.draw(st.integers(1, 12)))]
    parents = {name: data.draw(st.sampled_from([None, *names[:n]])) for n, name in enumerate(names)}
    listed = {
        name: Listed(name, parents[name], SequenceRange())
        for name in data.draw(st.permutations(names))
        if data.draw(st.booleans())
    }
    shards = data.draw(st.permutations(names))
    found = in_order(listed, [name for name in shards if name in listed])
    assert sorted(found) == sorted(listed)
    for name in listed:
        parent = parents[name]
        while parent in listed:
            assert found.index(parent) < found.index(name)
            parent = parents[parent]


def test_a_message_that_stands_twice_is_one(on: Reader) -> None:
    shard = Shard("a", list(range(1, 10)))
    twice = [pointing(shard, 2, 5), pointing(shard, 2, 5), pointing(shard, 4, 7)]
    assert on(Tree(shard), twice).places == [2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("allow_gaps", [False, True])
def test_of_what_has_lost_its_beginning_nothing_is_given_unless_gaps_are_allowed(on: Reader, allow_gaps: bool) -> None:
    shard = Shard("a", list(range(1, 30)))
    messages = [pointing(shard, 1, 4), pointing(shard, 8, 12), pointing(shard, 15, 18)]
    shard.trimmed = 10
    found = on(Tree(shard), messages, allow_gaps=allow_gaps)
    assert found.places == ([10, 11, 12] if allow_gaps else []) + [15, 16, 17, 18]
    whole, partly = found.gaps
    assert "a batch of table t that arrived at" in whole.why
    assert "the beginning of a batch of table t" in partly.why
    assert "--archive" in whole.why
    assert "restrike touch" in whole.why
    assert {gap.shard for gap in found.gaps} == {"a"}


def test_a_shard_that_is_gone_is_a_gap_and_the_rest_is_read(on: Reader) -> None:
    gone, there = Shard("a", [1, 2]), Shard("b", [5, 6])
    found = on(Tree(there), [pointing(gone, 1, 2), pointing(there, 5, 6)])
    assert found.places == [5, 6]
    assert "has forgotten the shard" in found.gaps[0].why


def test_made_up_numbers_point_at_nothing(on: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENT_S", 0.05)
    shard = Shard("a", list(range(1, 10)), closed=False)
    strange = pointing(shard, 2, 3, startSequenceNumber="5", endSequenceNumber="9" * 40)
    found = on(Tree(shard), [strange, pointing(shard, 6, 7)])
    assert found.places == [6, 7]
    assert "has not its last record" in found.gaps[0].why


def test_a_made_up_stream_is_a_gap_and_no_error(on: Reader) -> None:
    tree = Tree()
    tree.errors["DescribeStream"] = [error_for("DescribeStream", "ResourceNotFoundException", "no such stream")]
    found = on(tree, [pointing(Shard("a", [1, 2]), 1, 2)])
    assert found.places == []
    assert "no such stream" in found.gaps[0].why


def test_a_later_part_asks_the_stream_nothing(on: Reader) -> None:
    """All is on disk before the first record is given: by then it may have expired."""
    shard = Shard("a", list(range(1, 1001)))
    tree = Tree(shard, page=100)
    messages = [pointing(shard, n, n) for n in range(1, 1001)]
    assert on(tree, messages, enough=1).places == list(range(1, 501))
    assert on(Tree(), messages).places == list(range(1, 1001))


def test_a_look_says_what_is_left_and_why(on: Reader) -> None:
    shard = Shard("a", list(range(1, 10)))
    messages = [pointing(shard, 1, 3), in_sqs(in_sns(pointing(shard, 4, 5))), ASYNCHRONOUS, KINESIS, KINESIS]
    found = on(Tree(shard), messages)
    assert found.places == [1, 2, 3, 4, 5]
    info = found.info
    assert (info.count, info.at_most, info.table_name, info.stream_arn) == (5, True, "t", ARN)
    assert info.expires_s == START_S - 100 + 24 * 3600
    two, one = (told for _, told in info.warnings)
    assert two == "2 messages stay where they are: it is of another kind of source: Kinesis"
    assert one == "1 message stays where it is: it is the record of an asynchronous invocation: it points at no stream"


# ── on DynamoDB Local and MiniStack ──────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def table(dynamodb_local: str) -> Table:
    return create(dynamodb_local, ("pk", "N"), items=[{"pk": n} for n in range(40)])


def raws(table: Table) -> list[dict[str, Any]]:
    found = list(
        read_records(ReplayRequest(f"stream:{table.name}", "-", aws=AwsSettings(endpoint_url=table.endpoint_url)))
    )
    return [json.loads(record.raw) | {"shard": record.shard} for record in found]


def batches(table: Table, *spans: tuple[int, int], **how: Any) -> list[dict[str, Any]]:
    """Messages of those of the table's records."""
    records = raws(table)
    shard = records[0].pop("shard")
    for record in records[1:]:
        record.pop("shard")
    arn = records[0]["eventSourceARN"]
    return [message(records[first:last], shard=shard, stream_arn=arn, **how) for first, last in spans]


def read(where: str, endpoint_url: str, **options: Any) -> list[int]:
    filters = FilterRequest(**options.pop("filters", {}))
    request = ReplayRequest(
        f"failures:{where}", "-", filters=filters, source_options=options, aws=AwsSettings(endpoint_url=endpoint_url)
    )
    return [int(json.loads(record.keys)["pk"]["N"]) for record in read_records(request)]


def test_pointers_through_a_bad_day(table: Table, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(batches(table, (3, 9))[0]))
    (tmp_path / "b.json").write_text(
        json.dumps({"Messages": [in_sqs(each) for each in batches(table, (20, 22), (30, 31))]})
    )
    faults = [
        ExpiredIterator("GetRecords", times=2),
        Throttle("GetRecords", times=2),
        Throttle("GetShardIterator", times=1),
    ]
    with faulty(table.endpoint_url, faults) as proxy:
        found = read(str(tmp_path), proxy.endpoint_url)
        expected = [int(each["dynamodb"]["Keys"]["pk"]["N"]) for each in raws(table)]
        assert found == expected[3:9] + expected[20:22] + expected[30:31]
        assert proxy.fired() == 5
        first = found[0]
        assert read(str(tmp_path), proxy.endpoint_url, filters={"key": str(first)}) == [first]


def test_what_has_expired_comes_from_the_archive(dynamodb_local: str, tmp_path: Path) -> None:
    table = create(dynamodb_local, ("pk", "N"), items=[{"pk": n} for n in range(40)])
    restrike.capture(
        table.name, str(tmp_path / "kept"), region="us-east-1", endpoint_url=dynamodb_local, ledger=tmp_path / "l.db"
    ).execute()
    messages, expected = batches(table, (3, 9), (12, 14)), raws(table)
    # Numbers that the archive does not have, in a shard that it has.
    strange = message(
        [{"dynamodb": {"SequenceNumber": "7" * 30, "ApproximateCreationDateTime": 1_700_000_000}}],
        shard=messages[0]["DDBStreamBatchInfo"]["shardId"],
        stream_arn=expected[0]["eventSourceARN"],
    )
    path = tmp_path / "given-up.jsonl"
    path.write_text("\n".join(map(json.dumps, messages)))
    numbers = [int(each["dynamodb"]["Keys"]["pk"]["N"]) for each in expected]
    with faulty(dynamodb_local, [AccessDenied("DescribeStream")]) as proxy:
        with pytest.raises(SourceLacks, match=r"cannot be read: .*not authorized"):
            read(str(path), proxy.endpoint_url)
        assert read(str(path), proxy.endpoint_url, archive=str(tmp_path / "kept")) == numbers[3:9] + numbers[12:14]
        path.write_text("\n".join(map(json.dumps, [*messages, strange])))
        with pytest.raises(SourceLacks, match="the archive has not its last record"):
            read(str(path), proxy.endpoint_url, archive=f"archive:{tmp_path / 'kept'}")


def test_objects_of_a_bucket_bring_their_records(
    table: Table, ministack: MiniStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At Lambda's own keys, which have no extension; the stream is not asked."""
    bucket = f"given-up-{table.name.lower()}"
    client = ministack.client("s3")
    client.create_bucket(Bucket=bucket)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", ministack.endpoint_url)
    prefix = "aws/lambda/1f2e3d4c/shardId-1/2026/11/25"
    for n, body in enumerate(batches(table, (3, 9), (20, 22), payload=True)):
        client.put_object(Bucket=bucket, Key=f"{prefix}/2026-11-25T10.00.0{n}-{n}", Body=json.dumps(body).encode())
    client.put_object(Bucket=bucket, Key="aws/lambda/async/f/2026", Body=json.dumps(ASYNCHRONOUS).encode())
    expected = [int(each["dynamodb"]["Keys"]["pk"]["N"]) for each in raws(table)]
    with faulty(table.endpoint_url) as proxy:
        found = read(f"s3://{bucket}/aws/lambda/", proxy.endpoint_url)
        assert found == expected[3:9] + expected[20:22]
        assert proxy.count("GetRecords") == 0
        assert read(f"s3://{bucket}/{prefix}/2026-11-25T10.00.01-1", proxy.endpoint_url) == expected[20:22]
        with pytest.raises(UsageError, match="there are no messages"):
            read(f"s3://{bucket}/nothing/", proxy.endpoint_url)


def test_another_regions_stream_is_not_asked_for(tmp_path: Path) -> None:
    """A message does not choose where these credentials are sent."""
    path = tmp_path / "m.json"
    path.write_text(json.dumps(LAMBDA))
    request = ReplayRequest(f"failures:{path}", "-", aws=AwsSettings(region="eu-central-1"))
    with pytest.raises(SourceLacks, match="the stream is in us-east-2, and the Region is eu-central-1"):
        list(read_records(request))


def test_a_run_that_has_lost_its_messages_says_so(tmp_path: Path) -> None:
    async def go() -> None:
        async with FailureSource(Aws, "failures:x", tmp_path):
            raise AssertionError("there are none")

    with pytest.raises(UsageError, match="are not there any more"):
        asyncio.run(go())
