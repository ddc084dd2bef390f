"""The source `export:` on exports in each documented form: what its records are, and what is refused."""

from __future__ import annotations

import base64
import gzip
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import restrike
from restrike.errors import RestrikeError, SourceLacks, UsageError
from restrike.model.record import Record
from restrike.model.report import ReplayReport
from restrike.model.times import iso
from restrike.sources.export import finding
from restrike.sources.export import lines as export_lines
from tests.acceptance.command import restrike as command
from tests.acceptance.command import started
from tests.exported import ARN, BEGINS_S, BUCKET, Spelling, Tree, change, export, lines_of, md5
from tests.integration.tables import client
from tests.servers import exports_stub
from tests.servers.exports_stub import ExportService, Refused
from tests.servers.ministack import MiniStack

KEY = {"pk": {"S": "a"}, "sk": {"N": "1"}}


@pytest.fixture(scope="module")
def server() -> Iterator[ExportService]:
    with exports_stub.running() as known:
        yield known


@pytest.fixture
def service(server: ExportService) -> ExportService:
    """As new: the table is there, and no export is known."""
    server.table = exports_stub.table()
    server.exports.clear()
    server.refuse.clear()
    server.asked.clear()
    return server


Read = Callable[..., list[Record]]
Plan = Callable[..., restrike.ReplayPlan]


@pytest.fixture
def read(service: ExportService, tmp_path: Path) -> Read:
    """All records of what lies under the test's folder, as `restrike records` gives them."""

    def records(place: str = "", **flags: Any) -> list[Record]:
        flags.setdefault("endpoint_url", service.endpoint_url)
        return list(restrike.records(f"export:{place or tmp_path / 'exports'}", **flags))

    return records


@pytest.fixture
def plan(service: ExportService, tmp_path: Path) -> Plan:
    """A replay of it into a file."""

    def planned(place: str = "", **flags: Any) -> restrike.ReplayPlan:
        return restrike.replay(
            f"export:{place or tmp_path / 'exports'}",
            f"jsonl:{tmp_path / 'out.jsonl'}",
            ledger=tmp_path / "ledger.db",
            endpoint_url=service.endpoint_url,
            **flags,
        )

    return planned


def told(record: Record) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(record.raw)
    return whole


def item(number: int, **attributes: Any) -> dict[str, Any]:
    return {"pk": {"S": f"item-{number:04}"}, "sk": {"N": "1"}, **attributes}


def of_window(number: int, changes: list[dict[str, Any]] | None = None, **settings: Any) -> Tree:
    """The n-th quarter of an hour; unless told otherwise with one insert."""
    begins_s = BEGINS_S + number * 900
    line = change(item(number), new={"n": {"N": str(number)}}, micros=int((begins_s + 60) * 1e6))
    return export(
        [[line] if changes is None else changes],
        id=f"{1_700_000_000_000 + number:014}-a1b2c{number:03}",
        from_s=begins_s,
        to_s=begins_s + 900,
        **settings,
    )


def id_of(number: int) -> str:
    return f"{1_700_000_000_000 + number:014}-a1b2c{number:03}"


# ── what a record is ─────────────────────────────────────────────────────────────────────────────────────

GUIDE = b"""\
{"Metadata":{"WriteTimestampMicros":"1680109764000000"},"Keys":{"PK":{"S":"CUST#100"}},"NewImage":{"PK":{"S":"CUST#100"},"FirstName":{"S":"John"},"LastName":{"S":"Don"}}}
{"Metadata":{"WriteTimestampMicros":"1680109764000000"},"Keys":{"PK":{"S":"CUST#200"}},"OldImage":{"PK":{"S":"CUST#200"},"FirstName":{"S":"Mary"},"LastName":{"S":"Grace"}},"NewImage":{"PK":{"S":"CUST#200"},"FirstName":{"S":"Mary"},"LastName":{"S":"Smith"}}}
{"Metadata":{"WriteTimestampMicros":"1680109764000000"},"Keys":{"PK":{"S":"CUST#300"}},"OldImage":{"PK":{"S":"CUST#300"},"FirstName":{"S":"Jose"},"LastName":{"S":"Hernandez"}}}
"""
"""The lines of the developer guide: an insert, an update, a delete."""


def test_the_guides_lines_are_the_records_of_a_stream(read: Read, tmp_path: Path) -> None:
    export([gzip.compress(GUIDE)]).write(tmp_path / "exports")
    records = read()
    assert [record.event_name for record in records] == ["INSERT", "MODIFY", "REMOVE"]
    assert {record.fidelity for record in records} == {"net"}
    assert {record.created_s for record in records} == {1680109764.0}
    first, second, third = map(told, records)
    assert first == {
        "eventID": first["eventID"],
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1680109764,
            "Keys": {"PK": {"S": "CUST#100"}},
            "NewImage": {"PK": {"S": "CUST#100"}, "FirstName": {"S": "John"}, "LastName": {"S": "Don"}},
            "SequenceNumber": first["dynamodb"]["SequenceNumber"],
            "SizeBytes": first["dynamodb"]["SizeBytes"],
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": exports_stub.STREAM,
    }
    assert second["dynamodb"]["OldImage"]["LastName"] == {"S": "Grace"}
    assert second["dynamodb"]["NewImage"]["LastName"] == {"S": "Smith"}
    assert "NewImage" not in third["dynamodb"]
    assert third["dynamodb"]["OldImage"]["LastName"] == {"S": "Hernandez"}


def test_what_identifies_a_record_is_made_of_table_key_and_time(read: Read, tmp_path: Path) -> None:
    micros = 1680109764000000
    export([[change(item(n), new={}, micros=micros + n // 2) for n in range(6)]]).write(tmp_path / "exports")
    records = read()
    numbers = [record.sequence_number for record in records]
    assert len(set(numbers)) == 6
    assert len({told(record)["eventID"] for record in records}) == 6
    assert {len(number) for number in numbers} == {40}, "as many digits as there are at most"
    assert [number[:4] for number in numbers] == ["9998"] * 6, "no stream's begin so"
    assert [number[4:20] for number in numbers] == [str(micros + n // 2) for n in range(6)]
    again = read()
    assert [record.raw for record in again] == [record.raw for record in records]


@pytest.mark.parametrize("spelling", ["text", "number", "bare"])
def test_the_time_is_read_in_each_spelling(read: Read, tmp_path: Path, spelling: Spelling) -> None:
    micros = 1684374845117899
    export([[change(KEY, new={}, micros=micros, spelling=spelling)]]).write(tmp_path / "exports")
    (record,) = read()
    assert record.created_s == 1684374845
    assert record.sequence_number[4:20] == str(micros)


def test_values_of_every_type_go_through_byte_by_byte(read: Read, tmp_path: Path) -> None:
    binary = base64.b64encode(bytes(range(256))).decode()
    image = (
        '{"pk":{"S":"a"},"sk":{"N":"1"},"s":{"S":"\\u00e9 \\/ \\n"},"n":{"N":"1E+2"},"b":{"B":"BINARY"},'
        '"t":{"BOOL":true},"z":{"NULL":true},"l":{"L":[{"SS":["x","y"]},{"N":"0.10"}]},"m":{"M":{"in":{"BS":["BINARY"]}}},'
        '"ns":{"NS":["1","2"]}}'
    ).replace("BINARY", binary)
    head = '{"Metadata":{"WriteTimestampMicros":{"N":"1"}},"Keys":{"pk":{"S":"a"},"sk":{"N":"1"}},"NewImage":'
    line = f"{head}{image}}}"
    export([gzip.compress(line.encode())]).write(tmp_path / "exports")
    (record,) = read()
    assert image.encode() in record.raw


def test_a_view_of_new_images_needs_to_be_told_what_they_are(read: Read, plan: Plan, tmp_path: Path) -> None:
    lines = [change(item(1), new={"n": {"N": "1"}}), change(item(2))]
    export([lines], view="NEW_IMAGE").write(tmp_path / "exports")
    with pytest.raises(UsageError, match="an insert and an update look alike") as caught:
        read()
    assert "--as MODIFY" in caught.value.hint
    records = read(as_event="MODIFY")
    assert [record.event_name for record in records] == ["MODIFY", "REMOVE"]
    assert {told(record)["dynamodb"]["StreamViewType"] for record in records} == {"NEW_IMAGE"}
    assert "lacks-images" in codes(plan(as_event="MODIFY"))
    with pytest.raises(UsageError, match="have no old images"):
        read(as_event="MODIFY", view_type="NEW_AND_OLD_IMAGES")


def test_as_is_refused_where_the_export_says_it_itself(read: Read, tmp_path: Path) -> None:
    of_window(0).write(tmp_path / "exports")
    with pytest.raises(UsageError, match="this one says it itself"):
        read(as_event="MODIFY")
    with pytest.raises(UsageError, match="--old-image is for a full export"):
        read(old_image=False)


@pytest.mark.parametrize(
    ("view", "images"),
    [("KEYS_ONLY", set()), ("NEW_IMAGE", {"NewImage"}), ("OLD_IMAGE", {"OldImage"}), (None, {"NewImage", "OldImage"})],
)
def test_images_are_cut_to_the_streams_view_type(
    read: Read, service: ExportService, tmp_path: Path, view: Any, images: set[str]
) -> None:
    export([[change(KEY, new={"n": {"N": "2"}}, old={"n": {"N": "1"}})]]).write(tmp_path / "exports")
    assert service.table is not None
    if view is not None:
        service.table["StreamSpecification"]["StreamViewType"] = view
    for flags in ({}, {"view_type": view or "NEW_AND_OLD_IMAGES", "endpoint_url": "http://127.0.0.1:1"}):
        (record,) = read(**flags) if not flags or view else read()
        assert images == {"NewImage", "OldImage"} & set(told(record)["dynamodb"])
        assert record.event_name == "MODIFY", "what is shown changes nothing of what happened"


FULL: list[dict[str, Any]] = [
    {"Item": {"Authors": {"SS": ["Author1", "Author2"]}, "Id": {"N": "103"}, "Title": {"S": "Book 103 Title"}}},
    {"Item": {"Id": {"N": "205"}, "Title": {"S": "20-Bike-205"}}},
]


def test_a_full_export_is_synthetic_and_its_keys_are_the_tables(
    read: Read, service: ExportService, tmp_path: Path
) -> None:
    export([FULL], full=True).write(tmp_path / "exports")
    service.table = exports_stub.table(
        KeySchema=[{"AttributeName": "Id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "Id", "AttributeType": "N"}],
    )
    records = read()
    assert [json.loads(record.keys) for record in records] == [{"Id": {"N": "103"}}, {"Id": {"N": "205"}}]
    assert {(record.event_name, record.fidelity, record.created_s) for record in records} == {
        ("INSERT", "synthetic", float(BEGINS_S))
    }
    assert told(records[0])["dynamodb"]["NewImage"] == FULL[0]["Item"]
    assert len({record.sequence_number for record in records}) == 2
    (both,) = {
        frozenset(set(told(record)["dynamodb"]) & {"NewImage", "OldImage"}) for record in read(as_event="MODIFY")
    }
    assert both == {"NewImage", "OldImage"}
    (old,) = {frozenset(set(told(record)["dynamodb"]) & {"NewImage", "OldImage"}) for record in read(as_event="REMOVE")}
    assert old == {"OldImage"}
    with pytest.raises(UsageError, match="is full: its items have no times"):
        read(since="2h")


def test_a_full_export_of_a_table_that_is_gone_needs_its_key(
    read: Read, service: ExportService, tmp_path: Path
) -> None:
    export([FULL], full=True).write(tmp_path / "exports")
    service.table = None
    with pytest.raises(UsageError, match="cannot be asked") as caught:
        read()
    assert "--key-attributes" in caught.value.hint
    records = read(key_attributes="Id,Title")
    assert json.loads(records[0].keys) == {"Id": {"N": "103"}, "Title": {"S": "Book 103 Title"}}
    assert {record.stream_arn for record in records} == {f"{ARN}/stream/1970-01-01T00:00:00.000"}
    with pytest.raises(SourceLacks, match="has no 'Authors', which was told to be a key attribute"):
        read(key_attributes="Authors")


def test_the_guides_manifest_of_a_full_export_is_read(read: Read, service: ExportService, tmp_path: Path) -> None:
    """Word by word, but for the checksums; its key of the data file lacks the prefix."""
    service.table = None
    summary = (
        b'{"version":"2020-06-30","exportArn":"arn:aws:dynamodb:us-east-1:123456789012:table/ProductCatalog/export/'
        b'01234567890123-a1b2c3d4","startTime":"2020-11-04T07:28:34.028Z","endTime":"2020-11-04T07:33:43.897Z",'
        b'"tableArn":"arn:aws:dynamodb:us-east-1:123456789012:table/ProductCatalog","tableId":'
        b'"12345a12-abcd-123a-ab12-1234abc12345","exportTime":"2020-11-04T07:28:34.028Z","s3Bucket":'
        b'"ddb-productcatalog-export","s3Prefix":"2020-Nov","s3SseAlgorithm":"AES256","s3SseKmsKeyId":null,'
        b'"manifestFilesS3Key":"AWSDynamoDB/01693685827463-2d8752fd/manifest-files.json","billedSizeBytes":0,'
        b'"itemCount":2,"outputFormat":"DYNAMODB_JSON"}'
    )
    packed = gzip.compress(lines_of(FULL))
    files = lines_of(
        [
            {
                "itemCount": 2,
                "md5Checksum": md5(packed),
                "etag": "af83d6f217c19b8b0fff8023d8ca4716-1",
                "dataFileS3Key": "AWSDynamoDB/data/sgad6417s6vss4p7owp0471bcq.json.gz",
            }
        ]
    )
    base = "2020-Nov/AWSDynamoDB/01234567890123-a1b2c3d4"
    Tree(
        {
            f"{base}/manifest-summary.json": summary,
            f"{base}/manifest-summary.md5": md5(summary).encode(),
            f"{base}/manifest-files.json": files,
            f"{base}/manifest-files.checksum": md5(files).encode(),
            "2020-Nov/AWSDynamoDB/data/sgad6417s6vss4p7owp0471bcq.json.gz": packed,
        }
    ).write(tmp_path / "exports")
    records = read(key_attributes="Id")
    assert [record.created_s for record in records] == [1604474914.0] * 2


# ── where it lies ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("keys_with_prefix", [True, False])
@pytest.mark.parametrize("ending", [".md5", ".checksum"])
@pytest.mark.parametrize("prefix", ["", "a/b"])
def test_it_is_found_by_each_of_its_names(
    read: Read, tmp_path: Path, prefix: str, ending: str, keys_with_prefix: bool
) -> None:
    of_window(0, prefix=prefix, ending=ending, keys_with_prefix=keys_with_prefix).write(tmp_path / "exports")
    export_folder = tmp_path / "exports" / prefix / "AWSDynamoDB" / id_of(0)
    places = [tmp_path / "exports", export_folder.parent, export_folder, export_folder / "manifest-summary.json"]
    for place in places:
        assert len(read(str(place))) == 1, place


def test_a_full_export_that_was_copied_by_itself_is_whole(read: Read, service: ExportService, tmp_path: Path) -> None:
    tree = export([FULL], full=True, prefix="p")
    below = "p/AWSDynamoDB/01700000000000-a1b2c3d4/"
    Tree({path.removeprefix(below): data for path, data in tree.items()}).write(tmp_path / "copy")
    Tree({path.removeprefix("p/AWSDynamoDB/"): data for path, data in tree.items()}).write(tmp_path / "above")
    for place in ("copy", "above"):
        assert len(read(str(tmp_path / place), key_attributes="Id")) == 2


def test_in_a_bucket(read: Read, ministack: MiniStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = f"exports-{uuid.uuid4().hex[:8]}"
    s3 = ministack.client("s3")
    s3.create_bucket(Bucket=bucket)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", ministack.endpoint_url)
    for number in range(3):
        of_window(number, prefix="daily/orders").put(s3, bucket)
    for where in (f"s3://{bucket}", f"s3://{bucket}/daily/", f"s3://{bucket}/daily/orders/AWSDynamoDB"):
        assert [json.loads(record.keys)["pk"]["S"] for record in read(where)] == [f"item-{n:04}" for n in range(3)]
    assert len(read(f"s3://{bucket}/daily/orders/AWSDynamoDB/{id_of(1)}")) == 1
    with pytest.raises(SourceLacks, match="holds no export"):
        read(f"s3://{bucket}/nothing")


def test_large_files_are_read_in_ranges(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges, blocks and lines end where they like, and a file may be of several gzip members."""
    monkeypatch.setattr(export_lines, "RANGE_BYTES", 700)
    monkeypatch.setattr(export_lines, "BLOCK_BYTES", 512)
    changes = [change(item(n), new={"x": {"S": "é" * (n % 700)}}) for n in range(1_500)]
    members = b"".join(gzip.compress(lines_of(changes[at : at + 100])) for at in range(0, 1_500, 100))
    export([members]).write(tmp_path / "exports")
    assert [json.loads(record.keys)["pk"]["S"] for record in read()] == [f"item-{n:04}" for n in range(1_500)]


# ── what is not as it should be ──────────────────────────────────────────────────────────────────────────


def only(tree: Tree, ending: str) -> str:
    (path,) = [path for path in tree if path.endswith(ending)]
    return path


def damaged(tree: Tree) -> None:
    """Another file of as many items, whole in itself."""
    path = only(tree, "0000.json.gz")
    tree[path] = gzip.compress(gzip.decompress(tree[path]).replace(b"item-0001", b"item-9999"), mtime=0)


def cut(tree: Tree) -> None:
    path = only(tree, "0000.json.gz")
    tree[path] = tree[path][: len(tree[path]) // 2]


def missing(tree: Tree) -> None:
    del tree[only(tree, "0000.json.gz")]


def torn(tree: Tree) -> None:
    path = only(tree, "manifest-files.json")
    tree[path] = tree[path][:-20]


def unsummed(tree: Tree) -> None:
    del tree[only(tree, "manifest-files.md5")]


def without_files(tree: Tree) -> None:
    del tree[only(tree, "manifest-files.json")]


def miscounted(tree: Tree) -> None:
    path = only(tree, "manifest-summary.json")
    tree[path] = tree[path].replace(b'"itemCount": 2', b'"itemCount": 3')
    tree[only(tree, "manifest-summary.md5")] = md5(tree[path]).encode()


def short_of_a_line(tree: Tree) -> None:
    path, files = only(tree, "0000.json.gz"), only(tree, "manifest-files.json")
    before = tree[path]
    tree[path] = gzip.compress(gzip.decompress(before).splitlines(keepends=True)[0], mtime=0)
    tree[files] = tree[files].replace(md5(before).encode(), md5(tree[path]).encode())
    tree[only(tree, "manifest-files.md5")] = md5(tree[files]).encode()


def no_json(tree: Tree) -> None:
    rewritten(tree, b'{"Metadata":{"WriteTimestampMicros":"1"},"Keys":{}}\n{"Metadata":\n')


def no_time(tree: Tree) -> None:
    rewritten(tree, b'{"Metadata":{"WriteTimestampMicros":"-5"},"Keys":{}}\n' * 2)


def no_keys(tree: Tree) -> None:
    rewritten(tree, b'{"Metadata":{"WriteTimestampMicros":"5"}}\n' * 2)


def too_deep(tree: Tree) -> None:
    deep = b'{"L":[' * 20_000 + b'{"S":""}' + b"]}" * 20_000
    rewritten(tree, b'{"Metadata":{"WriteTimestampMicros":"5"},"Keys":{},"NewImage":{"x":%b}}\n' % deep * 2)


def too_long(tree: Tree) -> None:
    rewritten(tree, b'{"Metadata":{"WriteTimestampMicros":"5"},"Keys":{"x":{"S":"%b"}}}\n' % bytes(17 << 20))


def rewritten(tree: Tree, text: bytes) -> None:
    path, files = only(tree, "0000.json.gz"), only(tree, "manifest-files.json")
    tree[files] = tree[files].replace(md5(tree[path]).encode(), md5(gzip.compress(text, mtime=0)).encode())
    tree[path] = gzip.compress(text, mtime=0)
    tree[only(tree, "manifest-files.md5")] = md5(tree[files]).encode()


DAMAGES: list[tuple[Callable[[Tree], None], str]] = [
    (damaged, "its MD5 is .*, and its manifest says"),
    (cut, "its gzip stream: it was cut off"),
    (missing, "0000.json.gz is not there, and the manifest of export"),
    (torn, "manifest-files.json is not what manifest-files.md5 says"),
    (unsummed, "has no manifest-files.md5 and no manifest-files.checksum"),
    (without_files, "has no manifest-files.json"),
    (miscounted, "manifest-summary.json counts 3 items, and the files of manifest-files.json 2"),
    (short_of_a_line, "it has 1 items, and its manifest says 2"),
    (no_json, "line 2 is none that DynamoDB writes"),
    (no_time, "line 1: it was written at no time"),
    (too_deep, "line 1 is none that DynamoDB writes: it is nested too deep"),
    (too_long, "a line of more than 16 MB"),
    (no_keys, "line 1 is none that DynamoDB writes: .*Keys"),
]


@pytest.mark.parametrize(("damage", "says"), DAMAGES, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_not_whole_is_no_end(read: Read, tmp_path: Path, damage: Callable[[Tree], None], says: str) -> None:
    tree = export([[change(item(1), new={}), change(item(2), new={})], []])
    damage(tree)
    tree.write(tmp_path / "exports")
    with pytest.raises(SourceLacks, match=says) as caught:
        read()
    assert caught.value.hint
    if damage not in (no_json, no_time, no_keys, too_deep):  # as long as MD5 and count are right, lines are not read
        with pytest.raises(SourceLacks, match=says):
            read(verify_first=True)


def test_what_is_damaged_can_be_left_out(read: Read, tmp_path: Path) -> None:
    of_window(0).write(tmp_path / "exports")
    tree = of_window(1)
    torn(tree)
    tree.write(tmp_path / "exports")
    with pytest.raises(SourceLacks):
        read()
    assert len(read(leave_out=id_of(1))) == 1


def test_a_replay_that_meets_damage_fails_says_what_was_sent_and_goes_on_once_it_is_mended(
    plan: Plan, tmp_path: Path
) -> None:
    tree = export([[change(item(n), new={}) for n in range(1, 4)], [change(item(n), new={}) for n in range(4, 9)]])
    whole = Tree(tree)
    damaged(tree)
    tree.write(tmp_path / "exports")
    with pytest.raises(SourceLacks, match="3 of its records were read before that was known") as caught:
        plan(run="r", batch_size=2).execute()
    assert "What was read may have been sent" in caught.value.hint
    assert restrike.runs(ledger=tmp_path / "ledger.db")[0].state == "FAILED"
    whole.write(tmp_path / "exports")
    report = restrike.resume("r", ledger=tmp_path / "ledger.db").execute()
    assert isinstance(report, ReplayReport)
    assert (report.state, report.selected) == ("COMPLETED", 8)


def test_verified_first_nothing_is_sent_of_what_is_damaged(plan: Plan, tmp_path: Path) -> None:
    """Not even what lies before it."""
    of_window(0).write(tmp_path / "exports")
    tree = of_window(1, [change(item(1), new={}), change(item(2), new={})])
    damaged(tree)
    tree.write(tmp_path / "exports")
    with pytest.raises(SourceLacks, match="its MD5 is"):
        plan(run="r", verify_first=True).execute()
    assert (tmp_path / "out.jsonl").read_bytes() == b""


@pytest.mark.parametrize(
    ("summary", "says", "hint"),
    [
        ({"outputFormat": "ION"}, "is in the format ION", "DYNAMODB_JSON"),
        ({"tableArn": ARN + "-2"}, "holds exports of 2 tables", f"--leave-out {id_of(1)}"),
        ({"tableId": "another"}, "holds exports of 2 tables of one name", f"--leave-out {id_of(0)}"),
        ({"outputView": "NEW_IMAGE"}, "holds exports of the views", f"--leave-out {id_of(1)}"),
    ],
)
def test_what_is_not_read_is_named_with_what_to_do(
    read: Read, tmp_path: Path, summary: dict[str, Any], says: str, hint: str
) -> None:
    of_window(0, table_id="one").write(tmp_path / "exports")
    of_window(1, **({"table_id": "one"} | summary)).write(tmp_path / "exports")
    with pytest.raises(UsageError, match=says) as caught:
        read()
    assert hint in caught.value.hint
    assert len(read(leave_out=id_of(1))) == 1


def test_a_full_export_among_others_is_read_alone(read: Read, service: ExportService, tmp_path: Path) -> None:
    of_window(0).write(tmp_path / "exports")
    export([[{"Item": item(1)}]], full=True, id="01700000000009-ffffffff").write(tmp_path / "exports")
    with pytest.raises(UsageError, match="1 full and 1 incremental") as caught:
        read()
    assert "--leave-out 01700000000009-ffffffff" in caught.value.hint
    assert [record.fidelity for record in read(leave_out=id_of(0))] == ["synthetic"]


def test_what_is_not_finished_is_told_and_not_read(read: Read, plan: Plan, tmp_path: Path) -> None:
    of_window(0).write(tmp_path / "exports")
    Tree({f"AWSDynamoDB/{id_of(1)}/_started": b""}).write(tmp_path / "exports")
    assert len(read()) == 1
    assert any(warning.code == "unfinished-export" for warning in plan().warnings)
    with pytest.raises(SourceLacks, match="is not finished, has failed, or was copied in part"):
        read(str(tmp_path / "exports" / "AWSDynamoDB" / id_of(1)))


# ── windows ──────────────────────────────────────────────────────────────────────────────────────────────


def test_windows_are_read_one_after_the_other_and_a_hole_is_a_gap(read: Read, plan: Plan, tmp_path: Path) -> None:
    for number in (2, 0, 3):
        of_window(number, [change(KEY, new={"n": {"N": str(number)}})]).write(tmp_path / "exports")
    with pytest.raises(SourceLacks, match="no export has the 15 min from"):
        read()
    images = [told(record)["dynamodb"]["NewImage"]["n"]["N"] for record in read(allow_gaps=True)]
    assert images == ["0", "2", "3"]
    assert plan(run="s", allow_gaps=True, since=iso(BEGINS_S + 1800)).data.gaps == ()
    made = plan(run="r")
    assert len(made.data.gaps) == 1
    report = made.execute()
    assert (report.state, report.exit_code) == ("COMPLETED", 4)
    assert (report.gaps[0].from_s, report.gaps[0].to_s) == (BEGINS_S + 900, BEGINS_S + 1800)


def test_what_the_window_asks_for_and_no_export_has_is_a_gap_too(read: Read, tmp_path: Path) -> None:
    of_window(0).write(tmp_path / "exports")
    for flags in ({"since": iso(BEGINS_S - 60)}, {"until": iso(BEGINS_S + 901)}):
        with pytest.raises(SourceLacks, match="no export has the"):
            read(**flags)
    with pytest.raises(SourceLacks, match="no export has anything of that time"):
        read(since="1h")
    assert len(read(since=iso(BEGINS_S), until=iso(BEGINS_S + 900))) == 1


def test_since_compares_the_last_write(read: Read, plan: Plan, tmp_path: Path) -> None:
    changes = [change(item(n), new={}, micros=int((BEGINS_S + n * 100) * 1e6)) for n in range(9)]
    of_window(0, changes).write(tmp_path / "exports")
    since = iso(BEGINS_S + 450)
    assert [record.created_s - BEGINS_S for record in read(since=since)] == [500, 600, 700, 800]
    made = plan(since=since)
    assert (made.data.records.count, made.data.counted) == (4, "exact")
    assert any(warning.code == "since-inside-window" for warning in made.warnings)


def test_until_within_a_window_is_refused_with_the_command_for_that_time(read: Read, tmp_path: Path) -> None:
    export([[change(KEY, new={})]], to_s=BEGINS_S + 7200, prefix="p").write(tmp_path / "exports")
    with pytest.raises(UsageError, match="which has the net of all of it") as caught:
        read(until=iso(BEGINS_S + 3600))
    command = f"restrike export orders --since {iso(BEGINS_S)} --until {iso(BEGINS_S + 3600)} --to s3://{BUCKET}/p"
    assert command in caught.value.hint
    assert "--leave-out 01700000000000-a1b2c3d4" in caught.value.hint


def test_overlapping_windows_are_refused_and_those_to_leave_out_are_named(read: Read, tmp_path: Path) -> None:
    for number in range(4):
        of_window(number).write(tmp_path / "exports")
    export([[change(KEY, new={})]], id="01700000009999-dddddddd", to_s=BEGINS_S + 3600).write(tmp_path / "exports")
    with pytest.raises(UsageError, match="cannot be told apart") as caught:
        read()
    assert caught.value.hint == "Leave out: --leave-out 01700000009999-dddddddd."
    assert len(read(leave_out="01700000009999-dddddddd")) == 4
    with pytest.raises(UsageError, match="there is no export nothing"):
        read(leave_out="nothing")


def test_an_export_that_lies_there_twice_is_read_once(read: Read, tmp_path: Path) -> None:
    for copy in ("one", "other"):
        of_window(0).write(tmp_path / "exports" / copy)
    with pytest.raises(UsageError, match=r"lies there twice: one/.* and other/"):
        read()
    assert len(read(str(tmp_path / "exports" / "one"))) == 1


def test_the_look_for_exports_has_an_end(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "MOST_FOLDERS", 5)
    for number in range(10):
        (tmp_path / "exports" / str(number)).mkdir(parents=True)
    with pytest.raises(UsageError, match="holds more than 5 folders"):
        read()


# ── what AWS is asked ────────────────────────────────────────────────────────────────────────────────────


def known(service: ExportService, number: int, **described: Any) -> None:
    arn = f"{ARN}/export/{id_of(number)}"
    service.exports[arn] = {
        "ExportArn": arn,
        "ExportStatus": "COMPLETED",
        "ExportType": "INCREMENTAL_EXPORT",
        "ClientToken": "t",
    } | described


def codes(made: restrike.ReplayPlan) -> list[str]:
    return [warning.code for warning in made.warnings]


def test_a_projected_export_is_refused(read: Read, service: ExportService, tmp_path: Path) -> None:
    of_window(0).write(tmp_path / "exports")
    known(service, 0, FilterSpecification={"ProjectionExpression": "pk, sk, n"})
    with pytest.raises(UsageError, match=r"made with a ProjectionExpression \(pk, sk, n\)"):
        read()


def test_a_filtered_or_unknown_export_is_warned_of(plan: Plan, service: ExportService, tmp_path: Path) -> None:
    for number in range(3):
        of_window(number).write(tmp_path / "exports")
    known(service, 0, FilterSpecification={"KeyConditionExpression": "#k = :k"})
    known(service, 1)
    made = plan()
    texts = {warning.code: warning.message for warning in made.warnings}
    assert set(texts) == {"filtered-export", "filter-unknown"}
    assert f"{id_of(0)} holds only what its filter let through: #k = :k" in texts["filtered-export"]
    assert "of 1 of 3 exports" in texts["filter-unknown"]
    known(service, 0)
    known(service, 2)
    assert codes(plan()) == []


@pytest.mark.parametrize("operation", ["DescribeTable", "DescribeExport"])
def test_what_is_denied_leaves_the_plan_standing(
    plan: Plan, service: ExportService, tmp_path: Path, operation: str
) -> None:
    of_window(0).write(tmp_path / "exports")
    known(service, 0)
    service.refuse[operation] = [Refused("AccessDeniedException", "not you")]
    made = plan()
    assert any(f"allow dynamodb:{operation}" in warning.message for warning in made.warnings)
    assert made.data.records.count == 1


def test_a_table_that_was_made_anew_is_told(plan: Plan, service: ExportService, tmp_path: Path) -> None:
    of_window(0, table_id="00000000-6460-4d4a-9a6b-5d360abf4fb3").write(tmp_path / "exports")
    known(service, 0)
    assert codes(plan()) == ["table-made-anew"]
    of_window(0, table_arn=ARN.replace("123456789012", "210987654321")).write(tmp_path / "exports")
    assert "table-unknown" in codes(plan())


def test_filters_that_a_net_cannot_answer_are_warned_of(plan: Plan, service: ExportService, tmp_path: Path) -> None:
    of_window(0).write(tmp_path / "exports")
    known(service, 0)
    assert "net-identity" in codes(plan(pattern='{"userIdentity": {"type": ["Service"]}}'))
    compared = "dynamodb.NewImage.status != dynamodb.OldImage.status"
    assert "net-transitions" in codes(plan(where=compared))
    assert codes(plan(where="dynamodb.NewImage.n == `0`")) == []


# ── a run ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_goes_on_in_file_and_line(plan: Plan, tmp_path: Path) -> None:
    """What it has done of a file it skips, and files that are done it does not open."""
    for number in range(2):
        changes = [change(item(number * 10 + n), new={}) for n in range(6)]
        of_window(number, changes).write(tmp_path / "exports")
    first = plan(run="r", limit=8).execute()
    assert (first.state, first.delivered) == ("LIMITED", 8)
    (done,) = (tmp_path / "exports" / "AWSDynamoDB" / "data").glob("*000*0000.json.gz")
    done.unlink()
    report = restrike.resume("r", ledger=tmp_path / "ledger.db").execute()
    assert isinstance(report, ReplayReport)
    assert (report.state, report.delivered) == ("COMPLETED", 12)
    delivered = [
        json.loads(line)["dynamodb"]["Keys"]["pk"]["S"] for line in (tmp_path / "out.jsonl").read_text().splitlines()
    ]
    assert delivered == [f"item-{n:04}" for n in (*range(6), *range(10, 16))]


def test_a_run_stands_on_its_manifests(plan: Plan, tmp_path: Path) -> None:
    of_window(0, [change(item(n), new={}) for n in range(6)]).write(tmp_path / "exports")
    plan(run="r", limit=2).execute()
    of_window(1).write(tmp_path / "exports")  # one more is no other
    assert plan(run="r", limit=3).execute().state == "LIMITED"
    of_window(0, [change(item(n), new={"x": {"S": ""}}) for n in range(6)]).write(tmp_path / "exports")
    with pytest.raises(UsageError, match="is gone, or has another manifest"):
        plan(run="r")
    with pytest.raises(UsageError, match="is gone, or has another manifest"):
        restrike.resume("r", ledger=tmp_path / "ledger.db")


def test_a_manifest_that_changes_under_a_run_ends_it(plan: Plan, tmp_path: Path) -> None:
    of_window(0).write(tmp_path / "exports")
    made = plan(run="r")
    of_window(0, [change(item(7), new={})]).write(tmp_path / "exports")
    with pytest.raises(RestrikeError, match="another than when the run was planned"):
        made.execute()


def test_killed_it_leaves_no_gap_and_repeats_what_was_in_flight(
    service: ExportService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two deaths, in two windows of three files each; it takes its seconds for the processes."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", service.endpoint_url)
    monkeypatch.setenv("RESTRIKE_LEDGER", str(tmp_path / "ledger.db"))
    for number in range(2):
        lines = [[change(item(n), new={"w": {"N": str(number)}}) for n in range(at, 150, 3)] for at in range(3)]
        begins_s = BEGINS_S + number * 900
        export(lines, id=id_of(number), from_s=begins_s, to_s=begins_s + 900).write(tmp_path / "exports")
    out = tmp_path / "out.jsonl"

    def arrived() -> list[str]:
        return out.read_text().splitlines() if out.exists() else []

    words = ["replay", f"export:{tmp_path / 'exports'}", "--to", f"jsonl:{out}", "--run", "k", "--execute"]
    words += ["--parallel", "3", "--batch-size", "5", "--rate", "300"]
    for _ in range(2):
        wanted = len(arrived()) + 80
        with started(*words) as running:
            while len(arrived()) < wanted and running.process.poll() is None:
                threading.Event().wait(0.01)
            running.process.kill()
        words = ["runs", "resume", "k", "--execute"]
    assert command(*words).code == 0
    by_item: dict[str, list[int]] = {}
    whole = [json.loads(line)["dynamodb"] for line in arrived()]
    for each in whole:
        windows = by_item.setdefault(each["Keys"]["pk"]["S"], [])
        if (window := int(each["NewImage"]["w"]["N"])) not in windows:
            windows.append(window)
    assert len(by_item) == 150
    assert set(map(tuple, by_item.values())) == {(0, 1)}
    assert len(whole) - 300 <= 2 * 3 * 5, "at most three batches of five at each death"


def test_a_file_of_net_records_is_read_back_as_such(plan: Plan, tmp_path: Path) -> None:
    of_window(0).write(tmp_path / "exports")
    assert plan().execute().fidelity["net"] == 1
    assert [record.fidelity for record in restrike.records(f"jsonl:{tmp_path / 'out.jsonl'}")] == ["net"]


def test_the_order_of_an_item_holds_over_windows_and_lanes(plan: Plan, tmp_path: Path) -> None:
    for number in range(6):
        lines = [[change(item(n), new={"w": {"N": str(number)}}) for n in range(at, 40, 4)] for at in range(4)]
        begins_s = BEGINS_S + number * 900
        export(lines, id=id_of(number), from_s=begins_s, to_s=begins_s + 900).write(tmp_path / "exports")
    report = plan(parallel=7, batch_size=3).execute()
    assert report.delivered == 240
    by_item: dict[str, list[int]] = {}
    for line in (tmp_path / "out.jsonl").read_text().splitlines():
        images = json.loads(line)["dynamodb"]
        by_item.setdefault(images["Keys"]["pk"]["S"], []).append(int(images["NewImage"]["w"]["N"]))
    assert set(map(tuple, by_item.values())) == {(0, 1, 2, 3, 4, 5)}


def test_it_is_read_without_a_region_and_without_credentials(
    plan: Plan, service: ExportService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_window(0).write(tmp_path / "exports")
    for name in ("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
        made = plan()
        assert made.data.records.count == 1
        assert "table-unknown" in codes(made)
    assert service.asked == []


def test_a_stand_ins_table_leads_to_no_question_to_an_account(
    dynamodb_local: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB Local knows no exports, and S3 has no endpoint."""
    of_window(0).write(tmp_path / "exports")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_local)
    assert client("dynamodb", dynamodb_local) is not None
    assert len(list(restrike.records(f"export:{tmp_path / 'exports'}"))) == 1
    with pytest.raises(UsageError, match="AWS account"):
        list(restrike.records("export:s3://bucket/prefix"))
