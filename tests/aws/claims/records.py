"""Records of the stream, and how they are read."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import botocore.exceptions

from restrike.aws.session import answered_at
from tests.aws import stream
from tests.aws.claim import Deviation, Seen, claim
from tests.aws.statements import text, update_marker
from tests.aws.stream import CannotTell, Reader, Record
from tests.aws.table import Table

MOST_EMPTY_PAGES = 5
NO_AT_TIMESTAMP = Deviation("refused: InternalFailure", "it does not know AT_TIMESTAMP")
A_TICK_S = 30.0


@claim("INSERT: new; MODIFY: old and new; REMOVE: old", "documented", writes=8)
def images(here: Table) -> str:
    """Each record has the images that there are; one that there is not is left out, not empty."""
    told = []
    for record in here.life:
        kinds = [name for name, image in (("old", "OldImage"), ("new", "NewImage")) if image in record.change]
        told.append(f"{record.body['eventName']}: {' and '.join(kinds)}")
    return "; ".join(told)


@claim("present, each its own, the same when read again", "documented")
def event_id(here: Table) -> str:
    """eventID: a touch makes new ones, reading again does not."""
    ids = [record.body.get("eventID") for record in here.life]
    again = Reader(here.streams, here.stream_arn)
    last = here.life[-1]
    again.until(lambda record: record.change["SequenceNumber"] == last.change["SequenceNumber"], "a record again")
    numbers = {record.change["SequenceNumber"] for record in here.life}
    read = [record.body.get("eventID") for record in again.records if record.change["SequenceNumber"] in numbers]
    return ", ".join(
        [
            "present" if all(ids) else "absent",
            "each its own" if len(set(ids)) == len(ids) else "the same twice",
            "the same when read again" if read == ids else "another when read again",
        ]
    )


@claim("absent", "documented")
def user_identity(here: Table) -> str:
    """userIdentity on ordinary writes, a delete among them."""
    return "present" if any("userIdentity" in record.body for record in here.life) else "absent"


@claim(
    "1.1, aws:dynamodb, the table's Region",
    "documented",
    local=Deviation("1.1, aws:dynamodb, ddblocal", "it has one Region"),
)
def event_version_and_source(here: Table) -> str:
    """eventVersion, eventSource and awsRegion."""
    body = here.life[0].body
    region = "the table's Region" if body["awsRegion"] == here.region else body["awsRegion"]
    return f"{body['eventVersion']}, {body['eventSource']}, {region}"


@claim("present, NEW_AND_OLD_IMAGES", "documented")
def size_bytes(here: Table) -> Seen:
    """SizeBytes and StreamViewType of each record."""
    sizes = [record.change.get("SizeBytes") for record in here.life]
    views = {record.change.get("StreamViewType") for record in here.life}
    return Seen(f"{'present' if all(sizes) else 'absent'}, {' '.join(map(str, views))}", f"{sizes} bytes")


@claim("21 to 40 digits, rising", "documented")
def sequence_number(here: Table) -> Seen:
    """SequenceNumber: its length, and that it rises with the changes of an item, compared as a number."""
    _ = here.life
    numbers = [record.change["SequenceNumber"] for record in here.reader.records]
    lengths = {len(number) for number in numbers}
    digits = "21 to 40 digits" if lengths <= set(range(21, 41)) and all(map(str.isdigit, numbers)) else "others"
    own = [int(record.change["SequenceNumber"]) for record in here.life]
    rising = "rising" if own == sorted(set(own)) else "not rising"
    return Seen(f"{digits}, {rising}", f"{min(lengths)} to {max(lengths)} digits")


@claim(
    "whole seconds",
    "documented",
    local=Deviation("whole minutes", "it stamps records with the minute"),
)
def approximate_creation_date_time(here: Table) -> Seen:
    """ApproximateCreationDateTime is rounded down to whole seconds."""
    _ = here.life
    times = [_time(record) for record in here.reader.records]
    if any(each.microsecond for each in times):
        unit = "finer than seconds"
    else:
        unit = "whole seconds" if any(each.second for each in times) else "whole minutes"
    return Seen(unit, f"{len(times)} records")


@claim("in each answer", "documented", otherwise="the start of a run is told by this machine's clock")
def date_header(here: Table) -> Seen:
    """The service's own time, the header Date: of tables, of streams, and of a refusal."""
    answers = [here.dynamodb.describe_table(TableName=here.name)]
    answers.append(here.streams.describe_stream(StreamArn=here.stream_arn))
    try:
        here.dynamodb.update_item(**update_marker(here.name, here.fresh(), "run-1"))
    except botocore.exceptions.ClientError as error:
        answers.append(dict(error.response))
    ahead_s = (here.now() - datetime.now(UTC)).total_seconds()
    told = all(answered_at(answer) for answer in answers)
    return Seen("in each answer" if told else "not in each", f"{ahead_s:+.1f} s from this machine's clock")


@claim("no shard", "documented", otherwise="a walk asks for all shards instead")
def child_shards(here: Table) -> Seen:
    """DescribeStream with ShardFilter CHILD_SHARDS is known: a shard that is open has no children."""
    shards = list(stream.shards(here.streams, here.stream_arn))
    shard = here.life[0].shard
    only = {"Type": "CHILD_SHARDS", "ShardId": shard}
    children = [each["ShardId"] for each in stream.shards(here.streams, here.stream_arn, ShardFilter=only)]
    return Seen("no shard" if not children else f"{len(children)} shards", f"{len(shards)} shards in all")


@claim(f"at most {MOST_EMPTY_PAGES} empty pages", "unconfirmed", otherwise="an open shard's end is guessed too early")
def from_the_horizon(here: Table) -> Seen:
    """How many empty pages come before a shard's first record, from TRIM_HORIZON on."""
    first = here.life[0]
    reader = Reader(here.streams, here.stream_arn)
    reader.until(lambda record: record.shard == first.shard, "a shard's first record")
    empty = reader.empty_pages[first.shard]
    shards = sum(1 for _ in stream.shards(here.streams, here.stream_arn))
    pages = f"{'at most ' if empty <= MOST_EMPTY_PAGES else ''}{max(empty, MOST_EMPTY_PAGES)} empty pages"
    return Seen(pages, f"{empty} empty pages; {reader.calls} calls, {shards} shards")


@claim("the record alone", "documented")
def from_the_latest(here: Table) -> Seen:
    """An iterator at LATEST gives what is written behind it, and nothing else; and how long that takes."""
    pk = here.item()
    _ = here.records_of(pk)  # so that there is something before it
    reader = Reader(here.streams, here.stream_arn, "LATEST")
    reader.read()
    began = time.monotonic()
    here.dynamodb.put_item(TableName=here.name, Item={"pk": text(pk), "late": text("yes")})
    late = reader.until(lambda record: "late" in record.change.get("NewImage", {}), "a record behind LATEST")
    what = "the record alone" if len(reader.records) == 1 else f"{len(reader.records)} records"
    took_s = time.monotonic() - began
    return Seen(what, f"after {took_s:.1f} s and {reader.empty_pages[late.shard]} empty pages")


@claim("the first record of that second", "model", writes=34, local=NO_AT_TIMESTAMP)
def at_timestamp(here: Table) -> Seen:
    """AT_TIMESTAMP begins at the first record of that time or later."""
    first = here.life[0]
    # Asked first, since where it is refused nothing more is to be done.
    stream.iterator(here.streams, here.stream_arn, first.shard, "AT_TIMESTAMP", Timestamp=_time(first))
    pk = first.pk
    deadline = time.monotonic() + A_TICK_S
    while _time(later := here.records_of(pk)[-1]) == _time(first):
        if time.monotonic() > deadline:
            raise CannotTell(f"all records of {A_TICK_S:.0f} s have one time")
        time.sleep(1)
    at = _time(later)
    begin = stream.iterator(here.streams, here.stream_arn, later.shard, "AT_TIMESTAMP", Timestamp=at)
    got = stream.first_page(here.streams, begin)[0]["dynamodb"]
    expected = next(each for each in here.reader.records if each.shard == later.shard and _time(each) >= at)
    if got["SequenceNumber"] == expected.change["SequenceNumber"]:
        return Seen("the first record of that second")
    return Seen("another record", f"{got['ApproximateCreationDateTime']} for {at}")


@claim("refused: ValidationException", "model", local=NO_AT_TIMESTAMP)
def at_timestamp_of_the_future(here: Table) -> str:
    """AT_TIMESTAMP of an hour ahead is refused."""
    at = here.now() + timedelta(hours=1)
    stream.iterator(here.streams, here.stream_arn, here.life[0].shard, "AT_TIMESTAMP", Timestamp=at)
    return "taken"


@claim("the shard's first record", "model", local=NO_AT_TIMESTAMP)
def at_timestamp_before_the_horizon(here: Table) -> str:
    """AT_TIMESTAMP of three days ago begins where TRIM_HORIZON does."""
    shard, at = here.life[0].shard, here.now() - timedelta(days=3)
    begin = stream.iterator(here.streams, here.stream_arn, shard, "AT_TIMESTAMP", Timestamp=at)
    got = stream.first_page(here.streams, begin)[0]["dynamodb"]["SequenceNumber"]
    first = next(each for each in here.reader.records if each.shard == shard)
    return "the shard's first record" if got == first.change["SequenceNumber"] else "another record"


def _time(record: Record) -> datetime:
    at: datetime = record.change["ApproximateCreationDateTime"]
    return at
