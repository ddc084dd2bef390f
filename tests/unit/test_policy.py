"""Policies as IAM takes them: statements, their names and order, keys, and what is told beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.loaders
import pytest

from restrike import sources, targets
from restrike.archive import permissions as archives
from restrike.capturing import permissions as capturing
from restrike.capturing.request import CaptureRequest
from restrike.exporting import permissions as exporting
from restrike.exporting.request import ExportRequest
from restrike.model.permissions import ACCOUNT, REGION, Kept, Need, Scope, using_key
from restrike.model.policy import document, notes
from restrike.replaying import permissions as replaying
from restrike.replaying.redriving import permissions as redriving
from restrike.replaying.redriving.request import RedriveRequest
from restrike.replaying.request import ReplayRequest
from restrike.selecting.request import SelectionRequest
from restrike.touching import permissions as touching
from restrike.touching.request import TouchRequest

FRANKFURT = Scope(region="eu-central-1", account="123456789012")
DATA = json.loads((Path(__file__).parents[1] / "data" / "iam_actions.json").read_text(encoding="utf-8"))
"""Action → the kind of resource that IAM knows for it, "" where there is none; and the forms of their ARNs."""

LOADER = botocore.loaders.create_loader()

Verb = Callable[[Scope], tuple[Need, ...]]


def verbs() -> Iterator[tuple[str, Verb]]:
    for api in ("partiql", "update-item"):
        for verify in (None, True, False):
            asked = TouchRequest(table="orders", api=api, verify=verify)
            yield f"touch {api} {verify}", lambda scope, asked=asked: touching.needs(asked, scope)  # type: ignore[misc]  # bound now
    by_day = TouchRequest(table="orders", selection=SelectionRequest(index="by_day", date="2021-01-22"))
    yield "touch by day", lambda scope: touching.needs(by_day, scope)
    for source in (
        "stream:orders",
        "arn:aws:dynamodb:eu-central-1:123456789012:table/orders/stream/2026-01-01T00:00:00.000",
        "table:orders",
        "archive:s3://bucket/kept",
        "export:s3://bucket/exports/AWSDynamoDB/01700000000000-a1b2c3d4",
        "failures:s3://bucket/aws/lambda/m",
        "jsonl:records",
    ):
        for target in ("lambda:mailer", "lambda:mailer:live", "jsonl:sent"):
            replay = ReplayRequest(source, target, if_superseded="skip")
            yield f"replay {source} {target}", lambda scope, asked=replay: replaying.needs(asked, scope)  # type: ignore[misc]  # bound now
    for failures in ("sqs://given-up", "s3://bucket/aws/lambda/m", "given-up"):
        redrive = RedriveRequest(ReplayRequest(failures, "original", if_superseded="skip"))
        yield f"redrive {failures}", lambda scope, asked=redrive: redriving.needs(asked, scope)  # type: ignore[misc]  # bound now
    yield "capture", lambda scope: capturing.needs(CaptureRequest("orders", "s3://bucket/kept"), scope)
    yield "export", lambda scope: exporting.needs(ExportRequest("orders", "s3://bucket/x", kms_key="k"), scope)
    for verb in archives.VERBS:
        yield f"archive {verb}", lambda scope, verb=verb: archives.needs(verb, "s3://bucket/kept", scope)  # type: ignore[misc]  # bound now


VERBS = dict(verbs())


@pytest.mark.parametrize("verb", VERBS)
def test_a_policy_is_as_iam_takes_it(verb: str) -> None:
    policy = document(VERBS[verb](FRANKFURT))
    assert policy["Version"] == "2012-10-17"
    sids = [each["Sid"] for each in policy["Statement"]]
    assert all(re.fullmatch("[A-Za-z0-9]+", sid) for sid in sids)
    assert len(set(sids)) == len(sids)
    assert sids == sorted(sids, key=lambda sid: (sid.startswith("Optional"), sid))
    assert len(re.sub(r"\s", "", json.dumps(policy))) <= 6_144, "of a managed policy"
    granted = [(action, *each["Resource"]) for each in policy["Statement"] for action in each["Action"]]
    assert len(set(granted)) == len(granted), "twice"
    for each in policy["Statement"]:
        assert each["Effect"] == "Allow"
        for member in ("Action", "Resource"):
            assert each[member] == sorted(set(each[member]))
            assert each[member]


@pytest.mark.parametrize("verb", VERBS)
def test_actions_are_on_the_kind_of_resource_that_iam_knows_for_them(verb: str) -> None:
    for each in document(VERBS[verb](FRANKFURT))["Statement"]:
        for action in each["Action"]:
            kinds = DATA["actions"][action]
            forms = [DATA["arns"][kind] for kind in kinds] or [r"\*"]
            for arn in each["Resource"]:
                assert any(re.fullmatch(form, arn) for form in forms), f"{action} on {arn}"


@pytest.mark.parametrize("action", DATA["actions"])
def test_an_action_is_an_operation_of_its_service_or_is_known_to_be_none(action: str) -> None:
    service, _, name = action.partition(":")
    if name in DATA["not operations"]:
        return
    models = ("dynamodb", "dynamodbstreams") if service == "dynamodb" else (service,)
    assert any(name in LOADER.load_service_model(model, "service-2")["operations"] for model in models)


def test_every_kind_of_source_and_target_says_what_it_needs() -> None:
    assert all(callable(kind.permissions) for kind in sources.kinds())
    assert all(callable(kind.permissions) for kind in targets.kinds())


def sample(*needs: Need) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document(needs)["Statement"]
    return found


def test_needs_on_the_same_are_one_statement() -> None:
    table = ("arn:aws:dynamodb:eu-central-1:123456789012:table/orders",)
    found = sample(
        Need("Table", ("dynamodb:DescribeTable",), table),
        Need("Select", ("dynamodb:Query",), table),
        Need("Ttl", ("dynamodb:DescribeTimeToLive", "dynamodb:Query"), table, without="less is known"),
    )
    assert [(each["Sid"], each["Action"]) for each in found] == [
        ("Table", ["dynamodb:DescribeTable", "dynamodb:Query"]),
        ("OptionalTtl", ["dynamodb:DescribeTimeToLive"]),
    ]


def test_what_is_needed_already_is_not_optional() -> None:
    found = sample(Need("Mappings", ("lambda:List",)), Need("Consumers", ("lambda:List",), without="less"))
    assert [each["Sid"] for each in found] == ["Mappings"]


def test_statements_of_one_name_are_told_apart() -> None:
    found = sample(
        Need("Objects", ("s3:GetObject",), ("arn:aws:s3:::a/*",)),
        Need("Objects", ("s3:GetObject",), ("arn:aws:s3:::b/*",)),
    )
    assert [each["Sid"] for each in found] == ["Objects", "Objects2"]


def test_a_verb_that_asks_for_nothing_needs_no_policy() -> None:
    needs = replaying.needs(ReplayRequest("jsonl:records", "jsonl:sent"), FRANKFURT)
    assert sample(*needs) == []
    assert notes(needs) == ["it asks AWS for nothing, and needs no policy"]


# ── ARNs ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_not_known_stands_there_as_a_word_and_is_told() -> None:
    needs = VERBS["capture"](Scope())
    (table,) = [each for each in sample(*needs) if each["Sid"] == "Table"]
    assert table["Resource"] == [f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/orders"]
    (told,) = [note for note in notes(needs) if ACCOUNT in note]
    assert told == "put in what stands for ACCOUNT and REGION, which are not known: or give --account and --region"
    (told,) = [note for note in notes(VERBS["capture"](Scope(region="eu-west-1"))) if ACCOUNT in note]
    assert told == "put in what stands for ACCOUNT, which is not known: or give --account"
    assert not [note for note in notes(VERBS["capture"](FRANKFURT)) if ACCOUNT in note]


@pytest.mark.parametrize(
    ("name", "arn"),
    [
        ("orders", "arn:aws:dynamodb:eu-central-1:123456789012:table/orders"),
        (
            "arn:aws:dynamodb:us-east-1:210987654321:table/orders",
            "arn:aws:dynamodb:us-east-1:210987654321:table/orders",
        ),
    ],
)
def test_a_table_is_named_by_its_name_or_its_arn(name: str, arn: str) -> None:
    assert FRANKFURT.table(name) == arn
    assert FRANKFURT.index(name, "i") == f"{arn}/index/i"
    assert FRANKFURT.streams(name) == f"{arn}/stream/*"
    assert FRANKFURT.streams(f"{arn}/stream/2026") == f"{arn}/stream/2026"


@pytest.mark.parametrize(
    ("function", "arn"),
    [
        ("mailer", "arn:aws:lambda:eu-central-1:123456789012:function:mailer"),
        ("mailer:live", "arn:aws:lambda:eu-central-1:123456789012:function:mailer:live"),
        ("210987654321:function:mailer", "arn:aws:lambda:eu-central-1:210987654321:function:mailer"),
        (
            "arn:aws-cn:lambda:cn-north-1:210987654321:function:mailer:7",
            "arn:aws-cn:lambda:cn-north-1:210987654321:function:mailer:7",
        ),
    ],
)
def test_a_function_is_invoked_by_just_the_qualifier_that_it_is_named_with(function: str, arn: str) -> None:
    needs = replaying.needs(ReplayRequest("stream:orders", f"lambda:{function}"), FRANKFURT)
    (invoke,) = [each for each in sample(*needs) if each["Sid"] == "Invoke"]
    assert invoke["Resource"] == [arn]
    (concurrency,) = [each for each in sample(*needs) if each["Sid"] == "OptionalConcurrency"]
    assert concurrency["Resource"] == [":".join(arn.split(":")[:7])]


@pytest.mark.parametrize(
    ("place", "lists", "objects"),
    [
        ("archive:s3://b/kept/x", ["kept/x/*"], ["arn:aws:s3:::b/kept/x/*"]),
        ("archive:s3://b/kept/", ["kept/*"], ["arn:aws:s3:::b/kept/*"]),
        ("archive:s3://b", None, ["arn:aws:s3:::b/*"]),
        ("failures:s3://b/aws/m", ["aws/", "aws/m", "aws/m/*"], ["arn:aws:s3:::b/aws/m", "arn:aws:s3:::b/aws/m/*"]),
        ("failures:s3://b/aws/m/", ["aws/m/*"], ["arn:aws:s3:::b/aws/m/*"]),
        ("failures:s3://b/one", None, ["arn:aws:s3:::b/one", "arn:aws:s3:::b/one/*"]),
        ("export:s3://b/x/AWSDynamoDB/0170-a", ["x/AWSDynamoDB/*"], ["arn:aws:s3:::b/x/AWSDynamoDB/*"]),
        ("export:s3://b/AWSDynamoDB/0170-a", ["AWSDynamoDB/*"], ["arn:aws:s3:::b/AWSDynamoDB/*"]),
        ("export:s3://b/x", ["x/*"], ["arn:aws:s3:::b/x/*"]),
        # What IAM would take for patterns and variables.
        ("archive:s3://b/a*b?c", ["a${*}b${?}c/*"], ["arn:aws:s3:::b/a${*}b${?}c/*"]),
        ("archive:s3://b/${x}$", ["${$}{x}$/*"], ["arn:aws:s3:::b/${$}{x}$/*"]),
    ],
)
def test_of_a_bucket_only_what_is_under_the_prefix(place: str, lists: list[str] | None, objects: list[str]) -> None:
    found = sample(*replaying.of_source(ReplayRequest(place, "-"), FRANKFURT))
    by_sid = {each["Sid"]: each for each in found}
    assert by_sid["ListBucket"]["Resource"] == ["arn:aws:s3:::b"]
    condition = None if lists is None else {"StringLike": {"s3:prefix": lists}}
    assert by_sid["ListBucket"].get("Condition") == condition
    assert by_sid["Objects"]["Resource"] == objects


@pytest.mark.parametrize(
    ("how", "actions", "resources"),
    [
        ({"all": True}, ["Scan"], ["table/orders"]),
        ({"all": True, "index": "by_day"}, ["Scan"], ["table/orders/index/by_day"]),
        ({"partition_key": "p"}, ["Query"], ["table/orders"]),
        ({"partition_key": "p", "date": "2021-01-22", "index": "by_day"}, ["Query"], ["table/orders/index/by_day"]),
        ({"index": "by_day", "date": "2021-01-22"}, ["Query", "Scan"], ["table/orders/index/by_day"]),
        ({"index": "by_day", "date": "2021-01-22", "date_format": "%Y"}, ["Query"], ["table/orders/index/by_day"]),
        ({"index": "by_day"}, ["Query", "Scan"], ["table/orders/index/by_day"]),
        ({"keys": "-"}, [], []),
        ({}, ["Query", "Scan"], ["table/orders", "table/orders/index/*"]),
    ],
)
def test_a_selection_is_read_in_its_own_way_alone(
    how: dict[str, Any], actions: list[str], resources: list[str]
) -> None:
    request = TouchRequest(table="orders", selection=SelectionRequest(**how), verify=False)
    found = [each for each in sample(*touching.needs(request, FRANKFURT)) if not each["Sid"].startswith("Optional")]
    reading = {"dynamodb:Query", "dynamodb:Scan"}
    told = [each for each in found if reading & set(each["Action"])]
    assert sorted({action for each in told for action in each["Action"]} & reading) == [
        f"dynamodb:{a}" for a in actions
    ]
    assert [arn.partition("123456789012:")[2] for each in told for arn in each["Resource"]] == resources


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────

ARN = "arn:aws:kms:eu-central-1:123456789012:key/1234"


@pytest.mark.parametrize(
    ("key", "resource", "aliases"),
    [
        (ARN, ARN, None),
        ("1234", ARN, None),
        ("alias/mine", "arn:aws:kms:eu-central-1:123456789012:key/*", ["alias/mine"]),
        (
            "arn:aws:kms:eu-central-1:123456789012:alias/mine",
            "arn:aws:kms:eu-central-1:123456789012:key/*",
            ["alias/mine"],
        ),
    ],
)
def test_a_key_is_used_through_its_service_alone(key: str, resource: str, aliases: list[str] | None) -> None:
    need = using_key(FRANKFURT, Need("Key", ("kms:Decrypt",)), key, "sqs")
    assert need is not None
    (told,) = sample(need)
    assert told["Resource"] == [resource]
    assert told["Condition"]["StringEquals"] == {"kms:ViaService": ["sqs.eu-central-1.amazonaws.com"]}
    named = told["Condition"].get("ForAnyValue:StringEquals")
    assert named == (None if aliases is None else {"kms:ResourceAliases": aliases})


@pytest.mark.parametrize("key", ["alias/aws/sqs", "arn:aws:kms:eu-central-1:123456789012:alias/aws/sqs"])
def test_a_key_of_awss_own_needs_nothing(key: str) -> None:
    assert using_key(FRANKFURT, Need("Key", ("kms:Decrypt",)), key, "sqs") is None


def test_in_another_partition_hosts_end_otherwise() -> None:
    scope = Scope("aws-cn", "cn-north-1", "123456789012", "amazonaws.com.cn")
    need = using_key(scope, Need("Key", ("kms:Decrypt",), kept=Kept("table", "orders")), "k", "dynamodb")
    assert need is not None
    assert need.conditions == (("StringEquals", "kms:ViaService", ("dynamodb.cn-north-1.amazonaws.com.cn",)),)
