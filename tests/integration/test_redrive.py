"""Redrive on DynamoDB Local, with a Lambda and a bucket of the tests': what is sent, what is done, what stays."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import restrike
from restrike.aws.settings import AwsSettings
from restrike.errors import UsageError
from restrike.model.record import Record
from restrike.model.report import RedriveReport, RescueReport
from restrike.replaying.records import read_records
from restrike.replaying.redriving import rescue
from restrike.replaying.redriving.plan import RedrivePlan
from restrike.replaying.redriving.plan import plan as make_plan
from restrike.replaying.redriving.request import RedriveRequest
from restrike.replaying.redriving.run import VERB
from restrike.replaying.request import ReplayRequest
from restrike.running.ledger import Ledger
from restrike.running.stop import Stop
from tests.failure_messages import ASYNCHRONOUS, message
from tests.integration.tables import Table, create, switch_stream
from tests.servers.faults import AccessDenied, faulty
from tests.servers.invoked import Event, Invoked, invoked
from tests.servers.ministack import MiniStack

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:projector"
OTHER = "arn:aws:lambda:us-east-1:000000000000:function:other"
ITEMS = 30


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restrike.aws.stretch.SILENT_S", 0.05)


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Invoked]:
    with invoked() as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        yield stub


@pytest.fixture(scope="module")
def table(dynamodb_local: str) -> Table:
    return create(dynamodb_local, ("pk", "N"), items=[{"pk": n} for n in range(ITEMS)])


def on_stream(table: Table, count: int) -> list[Record]:
    """The first so many: the end of an open shard takes seconds to be told."""
    aws = AwsSettings(endpoint_url=table.endpoint_url)
    return list(itertools.islice(read_records(ReplayRequest(f"stream:{table.name}", "-", aws=aws)), count))


@pytest.fixture(scope="module")
def written(table: Table) -> list[Record]:
    with pytest.MonkeyPatch.context() as environment:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            environment.setenv(name, "local")
        environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        return on_stream(table, ITEMS)


class Ground:
    """A table's records as messages in a folder, and redrives of it."""

    def __init__(self, table: Table, folder: Path, found: list[Record]) -> None:
        self.table = table
        self.folder = folder
        self.given_up = folder / "given-up"
        self.given_up.mkdir()
        self.url = table.endpoint_url
        self.records = [json.loads(record.raw) for record in found]
        self.places = [record.place for record in found]
        self.shard = found[0].shard

    @property
    def stream(self) -> str:
        return str(self.records[0]["eventSourceARN"])

    def body(self, first: int, last: int, **how: Any) -> dict[str, Any]:
        how = {"function": FUNCTION} | how
        return message(self.records[first:last], shard=self.shard, stream_arn=self.stream, **how)

    def write(self, name: str, body: Any) -> None:
        (self.given_up / f"{name}.json").write_text(json.dumps(body))

    def plan(self, to: str = f"lambda:{FUNCTION}", *, where: str = "", **how: Any) -> RedrivePlan:
        own = {name: how.pop(name) for name in ("rescue", "delete_objects") if name in how}
        archive = how.pop("archive", None)
        replay: dict[str, Any] = {"if_superseded": "send", "run": "run", "retries": 0} | how
        request = ReplayRequest(
            where or str(self.given_up),
            to,
            ledger=str(self.folder / "ledger.db"),
            source_options={"archive": archive} if archive else {},
            aws=AwsSettings(endpoint_url=self.url),
            **replay,
        )
        return make_plan(RedriveRequest(request, **own))


@pytest.fixture
def ground(table: Table, written: list[Record], tmp_path: Path) -> Ground:
    return Ground(table, tmp_path, written)


def stays(report: RedriveReport | Any) -> dict[str, int]:
    return dict(report.stays)


def test_what_stands_twice_is_sent_once_over_all_runs(ground: Ground, consumer: Invoked) -> None:
    ground.write("b", ground.body(3, 6))
    ground.write("a", ground.body(8, 10))
    ground.write("b-again", ground.body(3, 6))
    report = ground.plan().execute()
    assert (report.state, report.messages, report.done, report.delivered, report.exit_code) == ("COMPLETED", 3, 3, 5, 0)
    assert consumer.places() == ground.places[3:6] + ground.places[8:10]
    ground.write("c", ground.body(5, 8))
    again = ground.plan(run="second").execute()
    assert (again.done, again.delivered, again.filtered) == (4, 2, 5)
    assert consumer.places() == ground.places[3:6] + ground.places[8:10] + ground.places[6:8]
    with Ledger(ground.folder / "ledger.db", read_only=True) as ledger:
        shown = VERB.summary(ledger.get("second"))
    assert (shown["delivered"], shown["messages"], shown["done"], shown["deleted"]) == (2, 4, 4, 0)
    same = ground.plan(run="second").execute()
    assert (same.done_at is not None, same.done, same.exit_code) == (True, 4, 0)
    # Another consumer has got none of it.
    assert ground.plan(f"lambda:{OTHER}", run="third").execute().delivered == 7


def test_a_plan_delivers_nothing_and_tells_message_by_message(ground: Ground, consumer: Invoked) -> None:
    ground.write("a", ground.body(3, 6))
    ground.write("b", ground.body(3, 5, payload=True))
    ground.write("c", ASYNCHRONOUS)
    ground.write("d", ground.body(3, 4, startSequenceNumber="1" * 30, endSequenceNumber="1" * 30))
    plan = ground.plan(run="told")
    a, b, c, d = plan.data.messages
    assert (a.function, a.condition, a.records, a.served_by, a.why) == (
        FUNCTION,
        "RetryAttemptsExhausted",
        3,
        "the stream",
        "",
    )
    assert (b.served_by, b.expires) == ("its payload", None)
    assert a.expires is not None
    assert "asynchronous" in c.why
    assert "is lost: the stream has not its last record" in d.why
    assert (plan.data.message_count, plan.data.taken) == (4, 2)
    assert consumer.got == []
    assert not (ground.folder / "ledger.db").exists()
    plan.discard()


def test_what_the_item_has_become_is_for_the_user_to_say(ground: Ground, consumer: Invoked) -> None:
    ground.write("a", ground.body(3, 6))
    plan = ground.plan(if_superseded=None)
    assert "--if-superseded send" in plan.data.command
    with pytest.raises(UsageError, match="had given up") as caught:
        plan.execute()
    assert "--if-superseded skip" in caught.value.hint
    assert consumer.got == []


def test_items_are_compared_just_before_their_batch(dynamodb_local: str, tmp_path: Path, consumer: Invoked) -> None:
    table = create(dynamodb_local, ("pk", "N"), items=[{"pk": n} for n in range(6)])
    ground = Ground(table, tmp_path, on_stream(table, 6))
    ground.write("a", ground.body(0, 6))
    keys = [each["dynamodb"]["Keys"] for each in ground.records]

    def meanwhile(event: Event) -> bool:
        if event["Records"][0]["dynamodb"]["Keys"] == keys[0]:
            table.dynamodb.delete_item(TableName=table.name, Key=keys[2])
            table.dynamodb.put_item(TableName=table.name, Item={**keys[4], "new": {"S": "x"}})
        return False

    consumer.fails = meanwhile
    report = ground.plan(if_superseded="skip", batch_size=1).execute()
    assert (report.delivered, report.skipped_deleted, report.skipped_superseded, report.done) == (4, 1, 1, 1)
    assert consumer.places() == [place for n, place in enumerate(ground.places) if n not in (2, 4)]
    # What was skipped was not delivered: who sends later sends it.
    assert ground.plan(if_superseded="send", run="later").execute().delivered == 2


def test_without_new_images_there_is_nothing_to_compare(dynamodb_local: str, tmp_path: Path, consumer: Invoked) -> None:
    table = create(dynamodb_local, ("pk", "N"), items=[])
    switch_stream(table, None)
    switch_stream(table, "KEYS_ONLY")
    table.load([{"pk": 1}, {"pk": 2}])
    ground = Ground(table, tmp_path, on_stream(table, 2))
    ground.write("a", ground.body(0, 2))
    with pytest.raises(UsageError, match="no NewImage") as caught:
        ground.plan(if_superseded="skip")
    assert "--if-superseded send" in caught.value.hint
    assert ground.plan(if_superseded="send").execute().delivered == 2


def test_what_fails_again_stays_and_is_sent_by_the_next_run(ground: Ground, consumer: Invoked) -> None:
    ground.write("a", ground.body(3, 6))
    ground.write("b", ground.body(8, 10))
    poison = ground.places[4]
    consumer.fails = lambda event: poison in [int(each["dynamodb"]["SequenceNumber"]) for each in event["Records"]]
    report = ground.plan(bisect=True).execute()
    assert (report.delivered, report.failed, report.done, report.exit_code) == (4, 1, 1, 1)
    assert stays(report) == {"records of it failed again: poison": 1}
    (left,) = VERB.left(restrike.runs(ledger=ground.folder / "ledger.db")[0])
    assert left["again"] == f"restrike redrive {ground.given_up} --to lambda:{FUNCTION}"
    consumer.fails = lambda event: False
    again = ground.plan(run="second").execute()
    assert (again.delivered, again.done, again.exit_code) == (1, 2, 0)
    assert sorted(consumer.places()) == ground.places[3:6] + ground.places[8:10]


# ── original ─────────────────────────────────────────────────────────────────────────────────────────────


def test_original_is_the_function_of_the_mapping_by_its_qualifier(ground: Ground, consumer: Invoked) -> None:
    """With that mapping's filter and batch size; each function gets what it gave up."""
    ground.write("a", ground.body(3, 6))
    ground.write("b", ground.body(4, 9, function=f"{OTHER}:blue"))
    wanted = ground.records[4]["dynamodb"]["Keys"]["pk"]["N"]
    pattern = json.dumps({"dynamodb": {"Keys": {"pk": {"N": [wanted]}}}})
    consumer.map(ground.stream, f"{FUNCTION}:live", FilterCriteria={"Filters": [{"Pattern": pattern}]})
    consumer.map(ground.stream, f"{OTHER}:blue", BatchSize=2)
    plan = ground.plan("original", retries=None)
    assert [part.target for part in plan.data.parts] == [f"lambda:{OTHER}:blue", f"lambda:{FUNCTION}:live"]
    report = plan.execute()
    assert (report.delivered, report.filtered, report.done, report.exit_code) == (6, 2, 2, 0)
    assert consumer.places(f"{FUNCTION}:live") == ground.places[4:5]
    assert consumer.places(f"{OTHER}:blue") == ground.places[4:9]
    assert [len(event["Records"]) for name, event in consumer.got if name.endswith("blue")] == [2, 2, 1]
    assert report.target == "original"


STRANGE = {
    "another function": ("arn:aws:lambda:us-east-1:000000000000:function:drop-all", "no mapping of its stream invokes"),
    "another account": ("arn:aws:lambda:us-east-1:999999999999:function:projector", "no mapping of its stream invokes"),
    "another Region": ("arn:aws:lambda:eu-west-1:000000000000:function:projector", "no mapping of its stream invokes"),
    "a version": (f"{FUNCTION}:7", "names the version 7"),
    "another alias": (f"{FUNCTION}:canary", "it names canary, and the mapping invokes live"),
    "no name of one": (f"{FUNCTION}:a$b.c", "names no Lambda function"),
    "a pipe": (None, "names no function"),
}


@pytest.mark.parametrize("which", STRANGE)
def test_a_message_does_not_choose_what_is_invoked(ground: Ground, consumer: Invoked, which: str) -> None:
    function, why = STRANGE[which]
    consumer.map(ground.stream, f"{FUNCTION}:live")
    ground.write("strange", ground.body(8, 10, function=function))
    with pytest.raises(UsageError, match=why):
        ground.plan("original", run="alone").execute()
    ground.write("good", ground.body(3, 6))
    report = ground.plan("original").execute()
    assert (report.delivered, report.done, report.exit_code) == (3, 1, 4)
    ((told, number),) = report.stays
    assert why in told
    assert "--to" in told
    assert number == 1
    assert {name for name, _ in consumer.got} == {f"{FUNCTION}:live"}


def test_several_mappings_are_not_guessed_at(ground: Ground, consumer: Invoked) -> None:
    ground.write("a", ground.body(3, 6))
    consumer.map(ground.stream, f"{FUNCTION}:live")
    consumer.map(ground.stream, f"{FUNCTION}:canary")
    with pytest.raises(UsageError, match="2 mappings of its stream invoke"):
        ground.plan("original").execute()
    consumer.denied = True
    plan = ground.plan("original")
    assert "lambda:ListEventSourceMappings" in plan.data.messages[0].why
    plan.discard()


def test_a_made_up_stream_is_asked_for_no_functions_of_another(ground: Ground, consumer: Invoked) -> None:
    """Its mappings are its own: that a function reads the true stream says nothing of a made-up one."""
    consumer.map(ground.stream, FUNCTION)
    made_up = ground.stream.replace("/stream/", "/stream/1")
    ground.write("a", ground.body(3, 6, streamArn=made_up))
    with pytest.raises(UsageError, match="no mapping of its stream"):
        ground.plan("original").execute()
    assert (consumer.asked, consumer.got) == ([made_up], [])


# ── interrupted ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_that_was_stopped_goes_on_and_asks_the_stream_nothing(ground: Ground, consumer: Invoked) -> None:
    ground.write("a", ground.body(0, 20))
    ground.write("b", ground.body(20, 30))
    stop = Stop()

    def stops(event: Event) -> bool:
        if len(consumer.got) == 4:
            stop.set("caller")
        return False

    consumer.fails = stops
    with faulty(ground.url) as proxy:
        ground.url = proxy.endpoint_url
        report = ground.plan(batch_size=3).execute(stop=stop)
        asked = proxy.count("GetRecords")
        assert asked > 0
        assert (report.state, report.done) == ("INTERRUPTED", 0)
        assert dict(report.stays) == {"the run did not come to it": 2}
        rest = restrike.resume("run", ledger=ground.folder / "ledger.db").execute()
        assert isinstance(rest, RedriveReport)
        assert (rest.state, rest.done, rest.exit_code) == ("COMPLETED", 2, 0)
        assert proxy.count("GetRecords") == asked
    assert consumer.places() == ground.places


# ── S3 ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def bucket(ministack: MiniStack, table: Table, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Any, str]:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", ministack.endpoint_url)
    client, name = ministack.client("s3"), f"redrive-{abs(hash(str(tmp_path))):x}"
    client.create_bucket(Bucket=name)
    return client, name


def keys_of(bucket: tuple[Any, str]) -> list[str]:
    client, name = bucket
    return [each["Key"] for each in client.list_objects_v2(Bucket=name).get("Contents", [])]


@pytest.mark.parametrize("deletes", [False, True])
def test_only_objects_that_are_done_are_deleted_and_only_where_asked(
    ground: Ground, consumer: Invoked, bucket: tuple[Any, str], deletes: bool
) -> None:
    client, name = bucket
    prefix = "aws/lambda/m/shardId-1/2026/11/25/"
    bodies: dict[str, Sequence[Any]] = {
        "done": [ground.body(3, 6, payload=True)],
        "fails": [ground.body(8, 10, payload=True)],
        "strange": [ASYNCHRONOUS],
        "half": [ground.body(12, 14, payload=True), ASYNCHRONOUS],
    }
    for key, messages in bodies.items():
        client.put_object(Bucket=name, Key=prefix + key, Body="\n".join(map(json.dumps, messages)).encode())
    poison = ground.places[8]
    consumer.fails = lambda event: poison in [int(each["dynamodb"]["SequenceNumber"]) for each in event["Records"]]
    report = ground.plan(where=f"s3://{name}/aws/lambda/m/", bisect=True, delete_objects=deletes).execute()
    assert (report.messages, report.done, report.deleted) == (5, 2, int(deletes))
    assert set(keys_of(bucket)) == {prefix + key for key in bodies} - ({prefix + "done"} if deletes else set())


# ── rescue ───────────────────────────────────────────────────────────────────────────────────────────────


def rescued(ground: Ground, path: Path, **how: Any) -> RescueReport:
    request = ReplayRequest(str(ground.given_up), "", aws=AwsSettings(endpoint_url=ground.url), **how)
    return rescue.plan(RedriveRequest(request, rescue=f"jsonl:{path}")).execute()


def test_a_rescue_keeps_what_is_left_of_a_batch(ground: Ground, consumer: Invoked) -> None:
    """Its rest would be lost, too; and it is known for a rest when it is redriven."""
    before = str(ground.places[0] - 1)  # which the stream has not, or not any more
    ground.write("a", ground.body(0, 3, startSequenceNumber=before))
    ground.write("b", ground.body(8, 10))
    path = ground.folder / "rescued.jsonl"
    report = rescued(ground, path)
    assert (report.pointers, report.records, report.exit_code) == (2, 5, 4)
    assert stays(report) == {"the beginning of its batch is lost: the stream has not its first record": 1}
    with faulty(ground.url, [AccessDenied("DescribeStream")]) as proxy:
        ground.url = proxy.endpoint_url
        for number, (source, archive) in enumerate([("", f"jsonl:{path}"), (str(path), "")]):
            consumer.got.clear()
            found = ground.plan(f"lambda:f{number}", where=source, archive=archive, run=f"not-{number}").execute()
            assert (found.done, found.delivered, found.exit_code) == (1, 2, 4)
            assert consumer.places() == ground.places[8:10]
            found = ground.plan(
                f"lambda:f{number}", where=source, archive=archive, run=f"gaps-{number}", allow_gaps=True
            ).execute()
            assert (found.done, found.delivered) == (1, 3), "it is sent, and stays"
            assert consumer.places() == ground.places[8:10] + ground.places[:3]


@pytest.mark.parametrize(
    "how", [{"run": "x"}, {"batch_size": 5}, {"if_superseded": "send"}, {"target_options": {"timeout_s": 3}}]
)
def test_a_rescue_refuses_what_it_has_no_use_for(ground: Ground, how: dict[str, Any]) -> None:
    ground.write("a", ground.body(3, 6))
    with pytest.raises(UsageError, match="a rescue has no use for --"):
        rescued(ground, ground.folder / "rescued.jsonl", **how)
    with pytest.raises(UsageError, match="lies among the messages"):
        rescued(ground, ground.given_up / "rescued.jsonl")


def test_a_rescue_is_what_a_redrive_takes_later(ground: Ground, consumer: Invoked) -> None:
    ground.write("a", ground.body(3, 6))
    ground.write("a-again", ground.body(3, 6))
    ground.write("b", ground.body(8, 10, payload=True))
    ground.write("c", ground.body(8, 10, function=None))
    ground.write("x", ASYNCHRONOUS)
    path = ground.folder / "rescued.jsonl"
    request = RedriveRequest(
        ReplayRequest(str(ground.given_up), "", aws=AwsSettings(endpoint_url=ground.url)), rescue=f"jsonl:{path}"
    )
    plan = rescue.plan(request)
    assert not path.exists()
    report = plan.execute()
    assert (report.messages, report.pointers, report.records, report.exit_code) == (5, 3, 7, 4)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="is there already"):
        rescue.plan(request)
    with faulty(ground.url, [AccessDenied("DescribeStream")]) as proxy:
        ground.url = proxy.endpoint_url
        lost = ground.plan(run="without")
        assert lost.data.taken == 2
        lost.discard()
        (ground.given_up / "x.json").unlink()
        found = ground.plan(archive=f"jsonl:{path}").execute()
        assert (found.done, found.messages, found.exit_code) == (4, 4, 0)
        assert consumer.places() == ground.places[3:6] + ground.places[8:10]
        consumer.got.clear()
        itself = ground.plan(f"lambda:{OTHER}", where=str(path), run="itself").execute()
        assert (itself.done, itself.delivered) == (3, 5)
        assert proxy.count("GetRecords") == 0
