"""Who else is wired to a table's stream: EventBridge Pipes and OpenSearch Ingestion, as far as their APIs tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import botocore.exceptions

from restrike.aws.session import Aws, ask, pages


def pipes(aws: Aws, stream_arn: str) -> list[dict[str, Any]]:
    """The pipes that read that stream, in this account and Region, as ListPipes describes them: without filters."""
    listed = _listed(aws, "pipes", "ListPipes", "Pipes", SourcePrefix=stream_arn)
    return [pipe for pipe in listed if pipe.get("Source") == stream_arn]


def describe_pipe(aws: Aws, name: str) -> dict[str, Any]:
    """What the list does not tell of a pipe: its filters, how it reads, and where it sends what it gives up."""
    return ask(aws.client("pipes"), "DescribePipe", Name=name)


def filters_of(pipe: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The filters of a pipe that was described, in the form of a mapping's."""
    criteria = (pipe.get("SourceParameters") or {}).get("FilterCriteria") or {}
    return list(criteria.get("Filters") or [])


def ingestion_pipelines(aws: Aws) -> list[dict[str, Any]]:
    """All pipelines of OpenSearch Ingestion in this account and Region; the list does not say what they read."""
    return _listed(aws, "osis", "ListPipelines", "Pipelines")


def ingestion_configuration(aws: Aws, name: str) -> str:
    """The configuration of a pipeline: YAML, in which a source names its tables by `table_arn`."""
    answer = ask(aws.client("osis"), "GetPipeline", PipelineName=name)
    return str((answer.get("Pipeline") or {}).get("PipelineConfigurationBody") or "")


def names_table(configuration: str, table_arn: str) -> bool:
    """Whether a configuration names the table: a longer name that begins so is another table's."""
    return re.search(re.escape(table_arn) + r"(?![A-Za-z0-9_.-])", configuration) is not None


def reads_streams(configuration: str) -> bool:
    """Whether some table of a configuration has a stream part; without one a pipeline loads an export once."""
    return re.search(r"""^[^#\n]*\bstream["']?\s*:""", configuration, re.MULTILINE) is not None


def is_known_here(aws: Aws, service: str) -> bool:
    """Whether botocore's data has that service in this Region: where it is not, a name would be asked for in vain."""
    if aws.configured_endpoint(service) is not None:
        return True
    session, region = aws.session, aws.region
    try:
        partition = session.get_partition_for_region(region)
    except botocore.exceptions.UnknownRegionError:  # newer than botocore's data
        return False
    return region in session.get_available_regions(service, partition_name=partition)


def _listed(aws: Aws, service: str, operation: str, member: str, **request: Any) -> list[dict[str, Any]]:
    return [each for page in pages(aws.client(service), operation, **request) for each in page.get(member) or []]
