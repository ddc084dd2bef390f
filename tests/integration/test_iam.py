"""`restrike iam` as its user meets it: the policy alone on stdout, the keys behind what is encrypted, and what is not
known, in words."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import restrike
from restrike.cli.main import run
from tests.exported import change, export
from tests.integration.tables import Table, create
from tests.integration.test_redrive_queue import Mailbox
from tests.policies import actions_of, calls
from tests.servers.faults import Altered, faulty
from tests.servers.lambda_api import KEY_ARN, mapping, stub_lambda
from tests.servers.ministack import ACCOUNT, MiniStack
from tests.servers.oddities import answering
from tests.servers.tunnel import tunnel
from tests.servers.witness import Answer, witness

DOCS = Path(__file__).parents[2] / "docs"
TABLE_KEY = "arn:aws:kms:us-east-1:111122223333:key/of-the-table"
HERE = ["--region", "eu-central-1", "--account", "123456789012"]


class Printed:
    """What a command printed: its policy, by Sid, and what it said."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: str) -> None:
        assert run(["iam", *words]) == 0
        out, self.said = capsys.readouterr()
        self.policy = json.loads(out)
        self.by_sid: dict[str, dict[str, Any]] = {each["Sid"]: each for each in self.policy["Statement"]}


@pytest.fixture(scope="module")
def orders(dynamodb_local: str) -> Table:
    return create(dynamodb_local, ("pk", "S"))


@pytest.fixture
def encrypted(orders: Table, ministack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    """The table under a key, and a mapping's filter under another; queues, buckets and account are MiniStack's."""

    def under_a_key(answer: dict[str, Any]) -> None:
        answer["Table"]["SSEDescription"] = {"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": TABLE_KEY}

    with (
        faulty(orders.endpoint_url, [Altered("DescribeTable", change=under_a_key)]) as proxy,
        stub_lambda(mapping("orders", {"eventName": ["INSERT"]}, KMSKeyArn=KEY_ARN)) as functions,
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", proxy.endpoint_url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", functions.url)
        for service in ("STS", "SQS", "S3"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", ministack.endpoint_url)
        yield orders


# ── what is printed ──────────────────────────────────────────────────────────────────────────────────────


def test_the_docs_show_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    page = (DOCS / "iam.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    (words,) = re.findall(r"^\$ restrike iam (capture .* --offline)$", page, re.MULTILINE)
    assert run(["iam", *words.split()]) == 0
    assert capsys.readouterr().out == shown


def test_without_credentials_or_a_region_it_prints_all_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name)
    found = Printed(capsys, "touch", "orders", "--all")
    assert found.by_sid["Table"]["Resource"] == ["arn:aws:dynamodb:REGION:ACCOUNT:table/orders"]
    assert "put in what stands for ACCOUNT and REGION" in found.said
    assert "whether table orders is under a KMS key of yours is not known (no Region is set)" in found.said
    found = Printed(capsys, "touch", "orders", "--all", "--region", "cn-north-1")
    assert found.by_sid["Table"]["Resource"] == ["arn:aws-cn:dynamodb:cn-north-1:ACCOUNT:table/orders"]
    assert "kms:ViaService is dynamodb.cn-north-1.amazonaws.com.cn" in found.said
    assert "credentials" in found.said


def test_a_table_that_is_named_by_its_arn_says_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    arn = "arn:aws:dynamodb:us-west-2:210987654321:table/orders"
    found = Printed(capsys, "touch", arn, "--index", "by_day", "--date", "2021-01-22", "--offline")
    assert found.by_sid["Select"]["Resource"] == [f"{arn}/index/by_day"]
    assert found.by_sid["OptionalPipeFilters"]["Resource"] == ["arn:aws:pipes:us-west-2:210987654321:pipe/*"]
    assert "ACCOUNT" not in found.said


def test_what_is_on_every_resource_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    found = Printed(capsys, "touch", "orders", "--all", *HERE, "--offline")
    anywhere = {action for each in found.by_sid.values() if each["Resource"] == ["*"] for action in each["Action"]}
    (told,) = [line for line in found.said.splitlines() if "on every resource" in line]
    assert set(told.partition("them: ")[2].split(", ")) == anywhere >= {"lambda:ListEventSourceMappings"}


@pytest.mark.parametrize(
    ("failures", "objects"),
    [
        ("s3://given-up/aws/lambda/one", {"arn:aws:s3:::given-up/aws/lambda/one/*"}),
        ("sqs://given-up", set()),
        ("messages.json", set()),
    ],
)
def test_doctor_may_look_into_the_bucket_that_is_named(
    capsys: pytest.CaptureFixture[str], failures: str, objects: set[str]
) -> None:
    found = Printed(capsys, "doctor", "orders", "--failures", failures, *HERE, "--offline")
    read = [each["Resource"] for each in found.policy["Statement"] if "s3:GetObject" in each["Action"]]
    assert {resource for some in read for resource in some} == objects


def test_what_the_messages_alone_know_is_told_and_made_narrower(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["redrive", "sqs://given-up", "--to", "original", *HERE, "--offline"]
    wide = Printed(capsys, *words)
    assert wide.by_sid["Stream"]["Resource"] == ["arn:aws:dynamodb:eu-central-1:123456789012:table/*/stream/*"]
    assert wide.by_sid["Invoke"]["Resource"] == ["arn:aws:lambda:eu-central-1:123456789012:function:*"]
    assert "narrower with --table NAME" in wide.said
    assert "narrower with --consumer NAME" in wide.said
    found = Printed(capsys, *words, "--table", "orders", "--consumer", "mailer:live")
    assert found.by_sid["Stream"]["Resource"] == ["arn:aws:dynamodb:eu-central-1:123456789012:table/orders/stream/*"]
    assert found.by_sid["Invoke"]["Resource"] == ["arn:aws:lambda:eu-central-1:123456789012:function:mailer:live"]
    assert "narrower with" not in found.said


@pytest.mark.parametrize(
    ("words", "more", "less"),
    [
        (["touch", "orders", "--all"], ["--api", "update-item"], "dynamodb:PartiQLUpdate"),
        (["touch", "orders", "--all"], ["--no-verify"], "dynamodb:GetRecords"),
        (["unmark", "orders", "--all"], ["--no-verify"], "dynamodb:GetRecords"),
        (["redrive", "sqs://q", "--to", "original"], ["--keep"], "sqs:DeleteMessage"),
    ],
)
def test_a_flag_takes_away_what_is_not_needed_with_it(
    words: list[str], more: list[str], less: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert less in actions_of(Printed(capsys, *words, "--offline").policy)
    assert less not in actions_of(Printed(capsys, *words, *more, "--offline").policy)


def test_a_run_needs_what_its_command_needs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    exported = export([[change({"pk": {"S": "p0"}}, new={})]]).write(tmp_path / "exports")
    ledger = str(tmp_path / "ledger.db")
    words = (f"export:{exported}", f"jsonl:{tmp_path / 'sent.jsonl'}")
    restrike.replay(*words, run="r", ledger=ledger, view_type="NEW_IMAGE").execute()
    source, target = words
    asked = Printed(capsys, "replay", source, "--to", target, *HERE, "--offline")
    for named in (["r"], ["resume", "r"]):
        assert Printed(capsys, "runs", *named, "--ledger", ledger, *HERE, "--offline").policy == asked.policy


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_keys_of_tables_and_filters_come_from_describe_answers(
    encrypted: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Printed(capsys, "touch", encrypted.name, "--all")
    assert found.by_sid["Table"]["Resource"] == [f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/{encrypted.name}"]
    key = found.by_sid["TableKey"]
    assert (key["Action"], key["Resource"]) == (["kms:Decrypt"], [TABLE_KEY])
    assert key["Condition"] == {"StringEquals": {"kms:ViaService": ["dynamodb.us-east-1.amazonaws.com"]}}
    assert "alias/aws/dynamodb" in found.said
    of_filters = found.by_sid["OptionalFilterKey"]
    assert of_filters["Resource"] == [KEY_ARN]
    assert of_filters["Condition"] == {"StringEquals": {"kms:ViaService": ["lambda.us-east-1.amazonaws.com"]}}
    assert "of yours is not known" not in found.said
    offline = Printed(capsys, "touch", encrypted.name, "--all", "--offline")
    assert "TableKey" not in offline.by_sid
    assert f"whether table {encrypted.name} is under a KMS key of yours is not known (--offline)" in offline.said


def test_keys_of_queues_and_buckets(encrypted: Table, ministack: MiniStack, capsys: pytest.CaptureFixture[str]) -> None:
    mailbox, bucket = Mailbox(ministack, KmsMasterKeyId="alias/mine"), f"kept-{uuid.uuid4().hex[:8]}"
    s3 = ministack.client("s3")
    s3.create_bucket(Bucket=bucket)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "1234"}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    with calls() as asked:
        found = Printed(
            capsys,
            *["redrive", f"sqs://{mailbox.name}", "--to", "original", "--archive", f"s3://{bucket}/kept"],
            *["--table", encrypted.name],
        )
    queue = found.by_sid["QueueKey"]
    assert (queue["Action"], queue["Resource"]) == (["kms:Decrypt"], [f"arn:aws:kms:us-east-1:{ACCOUNT}:key/*"])
    assert queue["Condition"]["ForAnyValue:StringEquals"] == {"kms:ResourceAliases": ["alias/mine"]}
    assert found.by_sid["BucketKey"]["Resource"] == [f"arn:aws:kms:us-east-1:{ACCOUNT}:key/1234"]
    assert found.by_sid["BucketKey"]["Action"] == ["kms:Decrypt"]
    capture = Printed(capsys, "capture", encrypted.name, "--to", f"s3://{bucket}/kept")
    assert capture.by_sid["BucketKey"]["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    plain = f"plain-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=plain)
    assert "BucketKey" not in Printed(capsys, "capture", encrypted.name, "--to", f"s3://{plain}/kept").by_sid
    section = (DOCS / "iam.md").read_text(encoding="utf-8").partition("## Permissions\n")[2]
    assert set(re.findall(r"`([a-z0-9-]+:[A-Z]\w+)`", section)) == asked.actions


# ── what may not be asked ────────────────────────────────────────────────────────────────────────────────


def test_what_is_denied_is_told_with_its_permission_and_the_rest_stands(
    encrypted: Table, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Printed(capsys, "redrive", "sqs://given-up", "--to", "original", "--archive", "s3://b/kept", "--offline")
    denied = json.dumps({"__type": "AccessDeniedException", "message": "not you"}).encode()
    with (
        answering(denied, status=400, content_type="application/x-amz-json-1.0") as refusing,
        witness(lambda _: Answer(403)) as bucket,
    ):
        for service in ("DYNAMODB", "SQS", "STS"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", refusing)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", bucket.url)
        words = ["redrive", "sqs://given-up", "--to", "original", "--archive", "s3://b/kept"]
        found = Printed(capsys, *words, "--table", encrypted.name)
    assert found.by_sid.keys() == whole.by_sid.keys()
    for action in ("dynamodb:DescribeTable", "sqs:GetQueueAttributes", "s3:GetEncryptionConfiguration"):
        assert re.search(rf"allow [^)]*{action} to know it", found.said)
    assert "put in what stands for ACCOUNT" in found.said


def test_where_nobody_answers_nothing_more_is_asked(
    orders: Table, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = b"<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>who?</Message></Error></ErrorResponse>"
    with witness(lambda _: Answer(403, refused, {"Content-Type": "text/xml"})) as nobody:
        monkeypatch.setenv("AWS_ENDPOINT_URL", nobody.url)
        found = Printed(capsys, "touch", "orders", "--all")
        assert len(nobody.asked) == 1, "whose credentials they are"
    assert "InvalidClientTokenId" in found.said
    assert found.by_sid["Table"]["Resource"] == ["arn:aws:dynamodb:us-east-1:ACCOUNT:table/orders"]


def test_a_table_on_this_machine_leads_to_no_question_to_an_account(
    orders: Table, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with witness() as account, tunnel(account.url, tmp_path) as through:
        monkeypatch.setenv("HTTPS_PROXY", through.proxy_url)
        monkeypatch.setenv("AWS_CA_BUNDLE", through.ca_file)
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", orders.endpoint_url)
        found = Printed(
            capsys, "redrive", "sqs://q", "--to", "original", "--archive", "s3://b/k", "--table", orders.name
        )
        assert (account.asked, through.hosts) == ([], [])
    assert found.by_sid["Queue"]["Resource"] == ["arn:aws:sqs:us-east-1:ACCOUNT:q"]
    assert "DynamoDB is on this machine" in found.said
