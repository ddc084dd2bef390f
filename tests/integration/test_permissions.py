"""What each verb really asks AWS for, held against the policy that `restrike iam` prints for it, and the policies
against the docs' Permissions tables: nothing is missing, and nothing is too much.

A verb is run to its end. That of a stream takes it three seconds, of which the tests leave it a tenth of one.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import restrike
from restrike.archive import permissions as archives
from restrike.archive.pruning import prune
from restrike.archive.state import KEPT_S
from restrike.auditing import permissions as auditing
from restrike.auditing.request import AuditRequest
from restrike.aws.session import Aws
from restrike.capturing import permissions as capturing
from restrike.cli.main import run as command
from restrike.exporting import permissions as exporting
from restrike.model.permissions import Need, Scope
from restrike.model.policy import document
from restrike.replaying import permissions as replaying
from restrike.replaying.redriving import permissions as redriving
from restrike.replaying.redriving import queue
from restrike.replaying.redriving.request import RedriveRequest
from restrike.running.ledger import Ledger
from restrike.stores import open_store
from restrike.touching import permissions as touching
from restrike.verbs import needs_of
from tests.exported import change, export
from tests.failure_messages import message
from tests.integration.tables import Index, Table, client, create, run_name
from tests.integration.test_archive_care import NAME, Archive
from tests.integration.test_redrive_queue import Mailbox
from tests.policies import (
    LOCAL,
    Calls,
    Policy,
    actions_of,
    allows,
    before_s3,
    calls,
    on_objects,
    on_tables,
    told,
)
from tests.servers import exports_stub
from tests.servers.faults import AccessDenied, Proxy, faulty
from tests.servers.invoked import invoked
from tests.servers.lambda_api import KEY_ARN, mapping, stub_lambda
from tests.servers.ministack import ACCOUNT, MiniStack
from tests.servers.oddities import answering
from tests.servers.wired import wired
from tests.servers.witness import Witness

DOCS = Path(__file__).parents[2] / "docs"
NOT_NEEDED = {"dynamodb:PartiQLSelect"}
"""Named as what is not."""
OF_DYNAMODB = {"s3:PutObject", "s3:PutObjectAcl", "s3:AbortMultipartUpload"}
"""What DynamoDB asks S3 for in the caller's name."""
OF_KEYS = ("kms:",)
"""What services ask KMS for in the caller's name."""


def held(found: Calls, policy: Policy, proxy: Proxy | None = None, bucket: Witness | None = None) -> None:
    """Whatever was asked for is allowed, on what it was asked for."""
    for action in found.actions:
        assert allows(policy, action, context=None) or action == "s3:ListBucket", f"{action} in {told(policy)}"
    for action, arn in on_tables(proxy) if proxy is not None else ():
        assert allows(policy, action, arn), f"{action} on {arn} in {told(policy)}"
    for action, arn, prefix in on_objects(bucket) if bucket is not None else ():
        context = {} if prefix is None else {"s3:prefix": prefix}
        assert allows(policy, action, arn, context), f"{action} on {arn} {prefix} in {told(policy)}"


def check(page: str, found: Calls, needs: Iterable[Need], bucket: Witness | None = None) -> None:
    """What all those verbs may ask for was asked for by one of them, and stands in the page's section, which names no
    other."""
    declared = actions_of(document(needs))
    asked = found.actions | ({action for action, *_ in on_objects(bucket)} if bucket is not None else set())
    assert declared - asked - OF_DYNAMODB == set(), "nothing asks for it"
    section = (DOCS / f"{page}.md").read_text(encoding="utf-8").partition("## Permissions\n")[2].partition("\n## ")[0]
    named = {each for each in re.findall(r"`([a-z0-9-]+:[A-Z][a-z]\w+)`", section) if not each.startswith(OF_KEYS)}
    assert named - NOT_NEEDED == declared, f"docs/{page}.md"


@pytest.fixture(scope="module")
def made(dynamodb_local: str) -> Table:
    return create(
        dynamodb_local,
        ("pk", "S"),
        ("sk", "N"),
        indexes=[Index("by_day", ("day", "S"))],
        wcu=400,  # provisioned, so that its autoscaling is asked for
        items=[{"pk": f"p{n % 2}", "sk": n, "day": "2021-01-22"} for n in range(6)],
    )


@pytest.fixture
def proxy(made: Table) -> Iterator[Proxy]:
    with faulty(made.endpoint_url, []) as running:
        yield running


@pytest.fixture
def orders(made: Table, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    """The table behind the proxy, and a Lambda with a mapping whose filter has to be asked for by itself, and one
    without."""
    with stub_lambda(mapping("orders", {"eventName": ["INSERT"]}, KMSKeyArn=KEY_ARN), mapping("mailer")) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", proxy.endpoint_url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        yield made


@pytest.fixture
def bucket(ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Witness]:
    """A bucket of MiniStack's, and a witness of what is asked of it; its name is in the path of `kept`."""
    with before_s3(ministack.endpoint_url) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", running.url)
        yield running


@pytest.fixture
def kept(ministack: MiniStack) -> str:
    name = f"kept-{uuid.uuid4().hex[:8]}"
    ministack.client("s3").create_bucket(Bucket=name)
    return name


def test_a_touch(orders: Table, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = {"Name": "one", "CurrentState": "RUNNING", "Source": orders.stream_arn}
    pipeline = {"PipelineName": "one", "Status": "ACTIVE", "PipelineConfigurationBody": ""}
    keys = tmp_path / "keys.jsonl"
    keys.write_text('{"pk": {"S": "p0"}, "sk": {"N": "0"}}\n')
    ledger, name = str(tmp_path / "ledger.db"), run_name()
    quick: dict[str, Any] = {"ledger": ledger, "verify": False}
    by_day: dict[str, Any] = {"index": "by_day", "date": "2021-01-22"}
    everything, needs = Calls(), list[Need]()
    with (
        wired(pipes=[pipe], pipelines=[pipeline]) as stub,
        answering(b'{"ScalableTargets":[]}', content_type="application/x-amz-json-1.1") as autoscaling,
        answering(b'{"MetricDataResults":[]}', content_type="application/x-amz-json-1.0") as cloudwatch,
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", cloudwatch)
        monkeypatch.setenv("AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING", autoscaling)
        monkeypatch.setenv("AWS_ENDPOINT_URL_PIPES", stub.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_OSIS", stub.url)
        for make, words in (
            (restrike.touch, {"all": True, "run": name, "verify": True, "max_lag": "5m", "ledger": ledger}),
            (restrike.touch, by_day | quick | {"api": "update-item"}),
            (restrike.touch, by_day | quick | {"date_format": "%Y-%m-%d"}),
            (restrike.touch, quick | {"keys": str(keys)}),
            (restrike.touch, quick | {"partition_key": "p1"}),
            (restrike.unmark, quick | {"run": name}),
        ):
            with faulty(orders.endpoint_url, []) as own, calls() as found:
                monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", own.endpoint_url)
                plan = make(orders.name, **words)
                plan.execute()
            declared = touching.needs(plan.request, LOCAL)
            held(found, document(declared), own)
            everything.actions |= found.actions
            needs += declared
    check("touch", everything, needs)


def test_a_touch_works_without_what_is_optional(made: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = restrike.TouchRequest(table=made.name, selection=restrike.SelectionRequest(all=True))
    optional = [need for need in touching.needs(request, LOCAL) if need.without]
    denied = {action.partition(":")[2] for need in optional for action in need.actions}
    assert {"DescribeTimeToLive", "GetRecords", "ListEventSourceMappings"} <= denied
    with (
        faulty(made.endpoint_url, [AccessDenied(each) for each in sorted(denied)]) as proxy,
        answering(b"{}", status=403) as refused,
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", proxy.endpoint_url)
        for service in ("LAMBDA", "PIPES", "OSIS", "APPLICATION_AUTO_SCALING"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", refused)
        report = restrike.touch(made.name, all=True, ledger=str(tmp_path / "ledger.db")).execute()
    assert (report.state, report.fired) == ("COMPLETED", 6)
    assert proxy.fired("DescribeTimeToLive")


def test_a_replay(orders: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restrike.aws.pages.QUIET_S", 0.1)
    ledger = str(tmp_path / "ledger.db")
    everything, needs = Calls(), list[Need]()

    def one(found: Calls, plan: Any, own: Proxy) -> None:
        declared = replaying.needs(plan.resolved.request, LOCAL)
        held(found, document(declared), own)
        everything.actions |= found.actions
        needs.extend(declared)

    stream = f"stream:{orders.name}"
    for source, words in (
        (stream, {"run": "r"}),
        (f"table:{orders.name}", {"if_superseded": "skip", "all": True}),
        (f"table:{orders.name}", {"if_superseded": "skip", "partition_key": "p0"}),
        (f"table:{orders.name}", {"index": "by_day", "date": "2021-01-22"}),
    ):
        with faulty(orders.endpoint_url, []) as own, calls() as found:
            monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", own.endpoint_url)
            plan = restrike.replay(source, "lambda:orders", ledger=ledger, limit=1, **words)
            plan.execute()
            if source == stream:
                restrike.resume("r", ledger=ledger)
        one(found, plan, own)
    with Ledger(Path(ledger), read_only=True) as book:
        again, _ = needs_of(book.get("r"))
    assert again(LOCAL) == replaying.needs(restrike.ReplayRequest(stream, "lambda:orders"), LOCAL)
    exported = export([[change({"pk": {"S": "p0"}}, new={})]]).write(tmp_path / "exports")
    with calls() as found, exports_stub.running() as exports:
        source, target = f"export:{exported}", f"jsonl:{tmp_path / 'sent.jsonl'}"
        plan = restrike.replay(source, target, endpoint_url=exports.endpoint_url)
    declared = replaying.needs(plan.resolved.request, Scope())
    held(found, document(declared))
    everything.actions |= found.actions
    in_s3 = replaying.needs(restrike.ReplayRequest("archive:s3://kept", "-"), Scope())
    everything.actions |= actions_of(document(in_s3))  # held against the calls by the capture
    check("replay", everything, [*needs, *declared, *in_s3])


def test_an_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restrike.exporting.execute.POLL_S", 0.01)
    with calls() as found, exports_stub.running() as exports, answering(b"{}", status=403) as denied:
        exports.earliest_s = exports.latest_s - 86_400
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", denied)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", denied)
        plan = restrike.export(
            "orders",
            "s3://exports/orders",
            since="1h",
            ledger=str(tmp_path / "ledger.db"),
            endpoint_url=exports.endpoint_url,
        )
        plan.execute()
    needs = exporting.needs(plan.settled.request, Scope(region="us-east-1", account="123456789012"))
    policy = document(needs)
    held(found, policy)
    (asked,) = exports.calls("ExportTableToPointInTime")
    assert allows(policy, "dynamodb:ExportTableToPointInTime", asked["TableArn"])
    assert allows(policy, "dynamodb:DescribeExport", exports.calls("DescribeExport")[0]["ExportArn"])
    check("export", found, needs)


def test_an_audit(orders: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restrike.aws.pages.QUIET_S", 0.1)
    copy = tmp_path / "copy.jsonl"
    copy.write_text('{"pk": "p0", "sk": 99}\n')
    everything, needs = Calls(), list[Need]()
    for against, selection in ((str(copy), {}), (str(copy), {"partition_key": "p0"}), (f"table:{orders.name}", {})):
        with faulty(orders.endpoint_url, []) as own, calls() as found:
            monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", own.endpoint_url)
            flags: dict[str, Any] = {"as_of": "0s", "ledger": str(tmp_path / "ledger.db"), **selection}
            plan = restrike.audit(orders.name, against, **flags)
            plan.execute()
        declared = auditing.needs(plan.settled.request, LOCAL)
        held(found, document(declared), own)
        everything.actions |= found.actions
        needs += declared
    in_s3 = auditing.needs(AuditRequest(orders.name, str(copy), as_of="0s", archive="s3://kept"), LOCAL)
    everything.actions |= {action for action in actions_of(document(in_s3)) if action.startswith("s3:")}  # of a capture
    check("audit", everything, [*needs, *in_s3])


def test_a_capture_and_a_reading_of_its_archive(
    orders: Table, proxy: Proxy, bucket: Witness, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restrike.aws.pages.QUIET_S", 0.1)
    archive = f"s3://{kept}/streams/orders"
    with calls() as found:
        plan = restrike.capture(orders.name, archive, ledger=str(tmp_path / "ledger.db"))
        records = plan.execute().records
    needs = capturing.needs(plan.request, LOCAL)
    held(found, document(needs), proxy, bucket)
    check("capture", found, needs, bucket)

    bucket.asked.clear()
    assert len(list(restrike.records(f"archive:{archive}"))) == records
    request = restrike.ReplayRequest(f"archive:{archive}", "-")
    held(Calls(), document(replaying.of_source(request, Scope())), bucket=bucket)


def test_looking_after_an_archive(bucket: Witness, kept: str) -> None:
    archive = Archive(open_store(f"s3://{kept}/kept", Aws))
    needs: list[Need] = []
    everything = Witness("")
    for verb, look in (
        ("stat", lambda: command(["archive", "stat", archive.store.uri])),
        ("ls", lambda: command(["archive", "ls", archive.store.uri])),
        ("verify", archive.verify),
        ("compact", archive.compact),
        ("prune", lambda: prune(archive.store, NAME, older_than_s=KEPT_S, now_s=9e9, stamped_s=9e9, execute=True)),
    ):
        archive.put_files(2, first=1 + len(needs) * 14)
        bucket.asked.clear()
        look()
        declared = archives.needs(verb, archive.store.uri, Scope())
        held(Calls(), document(declared), bucket=bucket)
        everything.asked += bucket.asked
        needs += declared
    assert not archive.files()
    check("archive", Calls(), needs, everything)


FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:projector:live"
HERE = Scope(region="us-east-1", account=ACCOUNT)
"""Of MiniStack and of functions; streams and tables are DynamoDB Local's."""


def test_a_redrive(
    made: Table,
    bucket: Witness,
    kept: str,
    ministack: MiniStack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("restrike.aws.stretch.SILENT_S", 0.05)
    monkeypatch.setattr(queue, "WAIT_S", 0)
    for service in ("SQS", "CLOUDWATCH"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", ministack.endpoint_url)
    stream = made.stream_arn
    shards = client("dynamodbstreams", made.endpoint_url).describe_stream(StreamArn=stream)["StreamDescription"][
        "Shards"
    ]
    pointer = message(made.records()[:3], shard=shards[0]["ShardId"], stream_arn=stream, function=FUNCTION)
    mailbox = Mailbox(ministack)
    mailbox.send(pointer)
    ministack.client("s3").put_object(Bucket=kept, Key="aws/lambda/m/one", Body=json.dumps(pointer))
    everything, needs = Calls(), list[Need]()
    with invoked() as consumer:
        consumer.map(stream, FUNCTION)
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", consumer.url)
        redrives: list[tuple[str, dict[str, Any]]] = [
            (f"sqs://{mailbox.name}", {"rescue": f"jsonl:{tmp_path / 'rescued.jsonl'}"}),
            (f"sqs://{mailbox.url}", {"to": "original", "keep": True, "if_superseded": "send"}),
            (f"sqs://{mailbox.arn}", {"to": "original", "if_superseded": "send"}),
            (f"s3://{kept}/aws/lambda/m/one", {"to": "original", "if_superseded": "skip"}),
            (f"s3://{kept}/aws/lambda/m/", {"to": "original", "if_superseded": "skip", "delete_objects": True}),
        ]
        for failures, words in redrives:
            bucket.asked.clear()
            ledger = str(tmp_path / f"ledger-{len(needs)}.db")
            with faulty(made.endpoint_url, []) as own, calls() as found:
                monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", own.endpoint_url)
                restrike.redrive(failures, ledger=ledger, **words).execute()
            own_words = {name: words[name] for name in ("rescue", "keep", "delete_objects") if name in words}
            replay = restrike.ReplayRequest(failures, words.get("to", ""), if_superseded=words.get("if_superseded"))
            request = RedriveRequest(replay, **own_words)
            scope = msgspec.structs.replace(LOCAL, unnamed=made.name)
            declared = redriving.needs(request, scope, None if "rescue" in words else "projector")
            held(found, document(declared), own, bucket)
            everything.actions |= found.actions | {action for action, *_ in on_objects(bucket)}
            needs += declared
        assert {name for name, _ in consumer.got} == {FUNCTION}
    for which in (mailbox.name, mailbox.url, mailbox.arn):
        asked = restrike.ReplayRequest(f"sqs://{which}", "original")
        policy = document(redriving.needs(RedriveRequest(asked), HERE, "projector"))
        assert allows(policy, "sqs:ReceiveMessage", mailbox.arn)
        assert allows(policy, "lambda:InvokeFunction", FUNCTION)
    everything.actions.add("lambda:GetEventSourceMapping")  # as of a replay
    check("redrive", everything, needs)
