"""Credentials, Region and endpoints, from where every AWS tool takes them."""

from __future__ import annotations

import copy
import functools
import importlib.metadata
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

import botocore.config
import botocore.exceptions
import botocore.loaders
import botocore.parsers
import botocore.session
from botocore import xform_name
from botocore.configprovider import ConfiguredEndpointProvider
from botocore.hooks import HierarchicalEmitter

from restrike.aws.credentials import Credentials
from restrike.aws.destination import Destination, destination, destination_of
from restrike.aws.endpoints import checked_endpoint
from restrike.aws.refusals import EXPIRED_TOKEN_CODES, error_for, not_of, unreachable
from restrike.aws.settings import AwsSettings
from restrike.aws.trouble import note_try, told_if_silent
from restrike.errors import AwsError, RestrikeError, ServiceFault, UsageError

MAX_PAGES = 500
"""Of a list. Exports come 25 a page: three times what 35 days of quarters of an hour are."""
_COLD = botocore.config.Config(
    # A stream call must not go to a per-account host: its records are asked for by stream ARN.
    account_id_endpoint_mode="disabled",
    # It would ask DynamoDB where DynamoDB is, and be told the Region's host; the wire asks nobody.
    endpoint_discovery_enabled=False,
    # With its pauses some 30 s of silence; it is told after the first few: `restrike.aws.trouble`.
    connect_timeout=4,
    read_timeout=6,
    retries={"mode": "standard", "total_max_attempts": 4},
)
_SERVICE_IDS = {
    "dynamodb": "dynamodb",
    "dynamodbstreams": "dynamodb_streams",
    "lambda": "lambda",
    "s3": "s3",
    "sts": "sts",
    "application-autoscaling": "application_auto_scaling",
}


@functools.cache
def user_agent() -> str:
    """What every request says of who sends it."""
    return f"restrike/{importlib.metadata.version('restrike')}"


@functools.cache
def _descriptions(data_path: str | None) -> Any:
    """botocore's descriptions of the services, read once in a process: that takes longer than to ask most questions."""
    return botocore.loaders.create_loader(data_path)


@functools.cache
def _handlers() -> HierarchicalEmitter:
    """What botocore does at each event of each service, registered once in a process: there are hundreds."""
    registered = HierarchicalEmitter()
    botocore.session.Session(event_hooks=registered)
    return registered


class Aws:
    """One place to ask AWS from. Clients are made when they are first used, and kept."""

    def __init__(self, settings: AwsSettings | None = None) -> None:
        self.settings = settings or AwsSettings()
        self.session = self._new_session()
        self._credentials = Credentials(self._new_session)
        self.session.register_component("credential_provider", self._credentials)
        self._clients: dict[tuple[str, str], Any] = {}

    def __reduce__(self) -> NoReturn:
        # Its credentials would go with it, in clear.
        raise TypeError("an Aws holds credentials and is not pickled: send its settings, and make one there")

    @property
    def region(self) -> str:
        """The Region; UsageError where none is set. A file that is replayed to a file needs none."""
        region = self.session.get_config_variable("region")
        if not region:
            raise UsageError("no Region is set", "Give --region, or set AWS_REGION.")
        return str(region)

    def _new_session(self) -> botocore.session.Session:
        session = botocore.session.Session(
            profile=self.settings.profile, event_hooks=copy.copy(_handlers()), include_builtin_handlers=False
        )
        try:
            session.get_scoped_config()
            _ = session.full_config  # with the credentials file
        except botocore.exceptions.ProfileNotFound as error:
            raise UsageError(str(error), "Look at `aws configure list-profiles`.") from None
        except (botocore.exceptions.BotoCoreError, OSError) as error:
            raise UsageError(
                f"the shared AWS config cannot be read: {error}",
                "Mend ~/.aws/config or ~/.aws/credentials, or name others: AWS_CONFIG_FILE, "
                "AWS_SHARED_CREDENTIALS_FILE.",
            ) from None
        session.register_component("data_loader", _descriptions(session.get_config_variable("data_path")))
        session.user_agent_extra = user_agent()
        if region := self.settings.region or os.environ.get("AWS_REGION"):
            session.set_config_variable("region", region)  # also for the services that hand out credentials
        return session

    def configured_endpoint(self, service: str) -> str | None:
        """The endpoint that the user gave for that service, if any."""
        if service in ("dynamodb", "dynamodbstreams") and self.settings.endpoint_url is not None:
            return checked_endpoint(self.settings.endpoint_url, "--endpoint-url")
        return self._endpoint_from_environment(service) or (
            # Streams of a stand-in live where its tables live.
            self.configured_endpoint("dynamodb") if service == "dynamodbstreams" else None
        )

    def _endpoint_from_environment(self, service: str) -> str | None:
        provider = ConfiguredEndpointProvider(
            full_config=self.session.full_config,
            scoped_config=self.session.get_scoped_config(),
            client_name=_SERVICE_IDS.get(service, service),
        )
        if self.session.get_config_variable("ignore_configured_endpoint_urls"):
            return None
        url = provider.provide()
        return (
            checked_endpoint(str(url), f"the endpoint of {service} in the environment or AWS config") if url else None
        )

    def may_ask(self, service: str) -> bool:
        """False where DynamoDB is a stand-in and that service has no endpoint of its own.

        A table on this machine must not lead to a question to somebody's AWS account.
        """
        return self.configured_endpoint("dynamodb") is None or self.configured_endpoint(service) is not None

    def client(self, service: str, region: str | None = None) -> Any:
        """A botocore client for what is asked seldom, in our Region or in that one. Its answers are untyped
        dictionaries."""
        region = region or self.region
        if (service, region) not in self._clients:
            try:
                client: Any = self.session.create_client(
                    service,
                    region_name=region,
                    endpoint_url=self.configured_endpoint(service),
                    config=self._cold(service),
                )
            except (botocore.exceptions.BotoCoreError, ValueError) as error:
                raise UsageError(f"no {service} client: {error}", "Check --region and --endpoint-url.") from None
            client.meta.events.register_first("needs-retry", self._renew_expired)
            client.meta.events.register_first("needs-retry", note_try)
            self._clients[service, region] = client
        return self._clients[service, region]

    def _cold(self, service: str) -> botocore.config.Config:
        """S3 is asked at its Region's own host, where the user has not said otherwise: for us-east-1 botocore takes the
        host of all Regions, which a firewall that knows the Region's, or a VPC's endpoint, does not let through."""
        told = self.session.get_config_variable("s3") or {}
        if service != "s3" or told.get("us_east_1_regional_endpoint"):
            return _COLD
        return _COLD.merge(botocore.config.Config(s3={"us_east_1_regional_endpoint": "regional"}))

    def _renew_expired(self, response: Any, request_dict: dict[str, Any], **_: Any) -> int | None:
        """botocore's event `needs-retry`: a call whose credentials had just expired is made once more."""
        code = "" if response is None else response[1].get("Error", {}).get("Code")
        if code not in EXPIRED_TOKEN_CODES or request_dict["context"].get("restrike-renewed"):
            return None
        request_dict["context"]["restrike-renewed"] = True
        self._credentials.renew()
        return 0

    def destination(self, service: str) -> Destination:
        """Where requests for that service go."""
        return destination_of(self.client(service))

    def endpoint(self, service: str) -> str:
        """The URL that requests for that service go to, by botocore's rules."""
        return self.destination(service).url

    def credentials(self) -> Credentials:
        """What every request is signed with; BadCredentials where there is nothing."""
        self._credentials.find()
        return self._credentials

    def ca_bundle(self) -> str | None:
        bundle = self.session.get_config_variable("ca_bundle")
        return str(bundle) if bundle else None


_ALWAYS_THERE = {
    "DescribeTable": "Table",
    "DescribeTimeToLive": "TimeToLiveDescription",
    "DescribeStream": "StreamDescription",
    "ListStreams": "Streams",
    "ListTables": "TableNames",
    "ListEventSourceMappings": "EventSourceMappings",
    "GetEventSourceMapping": "UUID",
    "GetFunctionConfiguration": "FunctionArn",
    "GetAccountSettings": "AccountLimit",
    "DescribeScalableTargets": "ScalableTargets",
    "GetMetricData": "MetricDataResults",
    "DescribeContinuousBackups": "ContinuousBackupsDescription",
    "DescribeExport": "ExportDescription",
    "ExportTableToPointInTime": "ExportDescription",
    "ListExports": "ExportSummaries",
}
"""Operation → the member that each answer of the service has. What lacks it came from somebody else: a proxy, a login
page, another service."""


def answered_at(answer: dict[str, Any]) -> datetime | None:
    """The service's own time at an answer of botocore's (UTC, in whole seconds); None where it does not tell."""
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        return None if date is None else parsedate_to_datetime(date).astimezone(UTC)
    except ValueError:
        return None


def time_of(client: Any, operation: str, **parameters: Any) -> datetime | None:
    """The service's own time, told with whatever it answers to that, be it a refusal; None where there is none."""
    try:
        return answered_at(told(client, operation, **parameters))
    except RestrikeError:
        return None


def told(client: Any, operation: str, **parameters: Any) -> dict[str, Any]:
    """What the service answers to that, be it a refusal; Unreachable where it answers nothing."""
    where = destination(client, operation, **parameters).url  # a bucket may be a host
    try:
        with told_if_silent(_name_of(client), operation, where):
            answer: dict[str, Any] = getattr(client, xform_name(operation))(**parameters)
    except botocore.exceptions.ClientError as error:
        return dict(error.response)
    except (botocore.exceptions.BotoCoreError, botocore.parsers.ResponseParserError) as error:
        raise unreachable(operation, where, error) from None
    return answer


def _name_of(client: Any) -> str:
    return str(client.meta.service_model.service_id).replace(" ", "")


def ask(client: Any, operation: str, **parameters: Any) -> dict[str, Any]:
    """One seldom-made call through botocore, its errors as ours. `operation` in the API's own spelling."""
    service, where = _name_of(client), destination_of(client).url
    try:
        with told_if_silent(service, operation, where):
            answer: dict[str, Any] = getattr(client, xform_name(operation))(**parameters)
    except botocore.exceptions.ClientError as error:
        problem = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        raise error_for(operation, str(problem.get("Code", "")), str(problem.get("Message", "")), status) from None
    except botocore.exceptions.ParamValidationError as error:
        raise UsageError(f"{operation}: {error}") from None
    except (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError) as error:
        raise unreachable(operation, where, error) from None
    except botocore.exceptions.BotoCoreError as error:
        raise AwsError(f"{operation}: {error}", operation=operation) from None
    except (botocore.parsers.ResponseParserError, AttributeError, KeyError, TypeError, UnicodeDecodeError):
        # No answer of that service: botocore expects nobody else's.
        raise not_of(service, operation, where) from None
    member = _ALWAYS_THERE.get(operation)
    if member is not None and not isinstance(answer.get(member), dict | list | str):
        raise not_of(service, operation, where)
    return answer


def pages(
    client: Any,
    operation: str,
    *,
    told: str = "NextToken",
    asked: str = "NextToken",
    most: int | None = None,
    **request: Any,
) -> Iterator[dict[str, Any]]:
    """Each page of a list, some of which may be empty. ServiceFault where there are more than `most`, or MAX_PAGES: a
    list that is cut would name too few. `told` and `asked` are what the place of the next page is called in answer and
    request."""
    most = MAX_PAGES if most is None else most
    for _ in range(most):
        answer = ask(client, operation, **request)
        yield answer
        if not answer.get(told):
            return
        request[asked] = answer[told]
    raise ServiceFault(f"{operation}: it has no end after {most} pages", operation=operation)
