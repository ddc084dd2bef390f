"""What the configuration of a pipeline tells of a table."""

from __future__ import annotations

import json

import pytest

from restrike.aws import pipelines
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.errors import ServiceFault
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


@pytest.mark.parametrize("service", ["PIPES", "OSIS"])
def test_a_list_that_never_ends_is_an_error(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pages were asked for as long as they held nothing."""
    monkeypatch.setattr(pipelines, "MAX_PAGES", 3)

    def empty(asked: Asked) -> Answer:
        token = {"NextToken": "more", "nextToken": "more"} if len(server.asked) < 20 else {}
        return Answer(body=json.dumps({"Pipes": [], "Pipelines": [], **token}).encode())

    with witness(empty) as server:
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", server.url)
        with pytest.raises(ServiceFault, match="no end after 3 pages"):
            pipelines.pipes(Aws(), "arn") if service == "PIPES" else pipelines.ingestion_pipelines(Aws())
    assert len(server.asked) == 3
