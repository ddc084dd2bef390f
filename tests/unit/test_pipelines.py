"""What the configuration of a pipeline tells of a table."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from restrike.aws import autoscaling, exports, lambda_, pipelines, session
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.errors import ServiceFault
from restrike.model.table import KeyAttribute, KeySchema, TableInfo
from tests.servers.witness import Answer, Asked, witness

ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"


@pytest.mark.parametrize(
    ("configuration", "names"),
    [
        (f'- table_arn: "{ARN}"', True),
        (f"- table_arn: {ARN}\n  stream:", True),
        (f'{{"table_arn":"{ARN}"}}', True),
        (f"- table_arn: {ARN}-2021", False),
        (f"- table_arn: {ARN}.old", False),
        (f"- table_arn: {ARN.replace('us-east-1', 'us-east-2')}", False),
        ("", False),
    ],
)
def test_a_configuration_names_its_tables(configuration: str, names: bool) -> None:
    assert pipelines.names_table(configuration, ARN) is names


@pytest.mark.parametrize(
    ("configuration", "reads"),
    [
        ("  stream:\n    start_position: LATEST", True),
        ('{"tables":[{"stream":{}}]}', True),
        ("  export:\n", False),
        ("  # stream:\n  export:", False),
        ("  view_on_upstream: x", False),
    ],
)
def test_a_configuration_reads_streams_or_not(configuration: str, reads: bool) -> None:
    assert pipelines.reads_streams(configuration) is reads


@pytest.mark.parametrize(
    ("service", "region", "known"),
    [
        ("pipes", "us-east-1", True),
        ("pipes", "cn-north-1", True),
        ("osis", "us-east-1", True),
        ("osis", "cn-north-1", False),
        ("osis", "af-south-1", False),
        ("pipes", "new-north-1", False),
    ],
)
def test_a_service_that_is_not_known_in_the_region(service: str, region: str, known: bool) -> None:
    assert pipelines.is_known_here(Aws(AwsSettings(region=region)), service) is known


def test_a_service_with_an_endpoint_of_its_own_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_OSIS", "http://127.0.0.1:9")
    assert pipelines.is_known_here(Aws(AwsSettings(region="cn-north-1")), "osis")


TABLE = TableInfo("t", "arn:aws:dynamodb:us-east-1:000000000000:table/t", KeySchema(KeyAttribute("pk", "S")))
LISTS: dict[str, Callable[[Aws], object]] = {
    "PIPES": lambda aws: pipelines.pipes(aws, "arn"),
    "OSIS": pipelines.ingestion_pipelines,
    "LAMBDA": lambda aws: lambda_.event_source_mappings(aws, "arn"),
    "APPLICATION_AUTO_SCALING": lambda aws: autoscaling.scaling_of(aws, TABLE),
    "DYNAMODB": lambda aws: list(exports.list_exports(aws, TABLE.arn)),
}


@pytest.mark.parametrize("service", LISTS)
def test_a_list_that_never_ends_is_an_error(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pages were asked for as long as they held nothing, or it was cut without a word."""
    monkeypatch.setattr(session, "MAX_PAGES", 3)

    def empty(asked: Asked) -> Answer:
        token = {"NextToken": "more", "nextToken": "more", "NextMarker": "more"} if len(server.asked) < 20 else {}
        members = ("Pipes", "Pipelines", "EventSourceMappings", "ScalableTargets", "ExportSummaries")
        return Answer(body=json.dumps(dict.fromkeys(members, ()) | token).encode())

    with witness(empty) as server:
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", server.url)
        with pytest.raises(ServiceFault, match="no end after 3 pages"):
            LISTS[service](Aws())
    assert len(server.asked) == 3
