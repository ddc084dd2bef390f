"""Credentials, Region and endpoints, from where every AWS tool takes them."""

from __future__ import annotations

import os
from typing import Any, NoReturn

import botocore.config
import botocore.exceptions
import botocore.session
from botocore import xform_name
from botocore.configprovider import ConfiguredEndpointProvider

from restrike.aws.refusals import error_for, unreachable
from restrike.aws.settings import AwsSettings
from restrike.errors import AwsError, BadCredentials, UsageError

_COLD = botocore.config.Config(
    # A stream call must not go to a per-account host: its records are asked for by stream ARN.
    account_id_endpoint_mode="disabled",
    connect_timeout=5,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 5},
    user_agent_extra="restrike",
)
_SERVICE_IDS = {
    "dynamodb": "dynamodb",
    "dynamodbstreams": "dynamodb_streams",
    "lambda": "lambda",
    "s3": "s3",
    "sts": "sts",
}


class Aws:
    """One place to ask AWS from. Clients are made when they are first used, and kept."""

    def __init__(self, settings: AwsSettings | None = None) -> None:
        self.settings = settings or AwsSettings()
        self.session = self._new_session()
        self._clients: dict[str, Any] = {}

    def __reduce__(self) -> NoReturn:
        # Its credentials would go with it, in clear.
        raise TypeError("an Aws holds credentials and is not pickled: send its settings, and make one there")

    @property
    def region(self) -> str:
        """The Region; UsageError where none is set. A file that is replayed to a file needs none."""
        region = self.settings.region or os.environ.get("AWS_REGION") or self.session.get_config_variable("region")
        if not region:
            raise UsageError("no Region is set", "Give --region, or set AWS_REGION.")
        return str(region)

    def _new_session(self) -> botocore.session.Session:
        session = botocore.session.Session(profile=self.settings.profile)
        try:
            session.get_scoped_config()
        except botocore.exceptions.ProfileNotFound as error:
            raise UsageError(str(error), "Look at `aws configure list-profiles`.") from None
        return session

    def configured_endpoint(self, service: str) -> str | None:
        """The endpoint that the user gave for that service, if any."""
        if service in ("dynamodb", "dynamodbstreams") and self.settings.endpoint_url:
            return self.settings.endpoint_url
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
        return str(url) if url else None

    def may_ask(self, service: str) -> bool:
        """False where DynamoDB is a stand-in and that service has no endpoint of its own.

        A table on this machine must not lead to a question to somebody's AWS account.
        """
        return self.configured_endpoint("dynamodb") is None or self.configured_endpoint(service) is not None

    def client(self, service: str) -> Any:
        """A botocore client for what is asked seldom. Its answers are untyped dictionaries."""
        if service not in self._clients:
            try:
                self._clients[service] = self.session.create_client(
                    service,
                    region_name=self.region,
                    endpoint_url=self.configured_endpoint(service),
                    config=_COLD,
                )
            except (botocore.exceptions.BotoCoreError, ValueError) as error:
                raise UsageError(f"no {service} client: {error}", "Check --region and --endpoint-url.") from None
        return self._clients[service]

    def endpoint(self, service: str) -> str:
        """The URL that requests for that service go to, by botocore's rules."""
        return str(self.client(service).meta.endpoint_url)

    def credentials(self, *, renew: bool = False) -> Any:
        """botocore's credentials, which refresh themselves; `renew` looks for them again from the start."""
        if renew:
            self.session = self._new_session()
        try:
            credentials = self.session.get_credentials()
        except botocore.exceptions.BotoCoreError as error:
            raise BadCredentials(f"no AWS credentials: {error}", CREDENTIALS_HINT) from None
        if credentials is None:
            raise BadCredentials("no AWS credentials were found", CREDENTIALS_HINT)
        return credentials

    def ca_bundle(self) -> str | None:
        bundle = self.session.get_config_variable("ca_bundle")
        return str(bundle) if bundle else None


CREDENTIALS_HINT = (
    "Set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (any value for DynamoDB Local), or log in."
)


def ask(client: Any, operation: str, **parameters: Any) -> dict[str, Any]:
    """One seldom-made call through botocore, its errors as ours. `operation` in the API's own spelling."""
    try:
        answer: dict[str, Any] = getattr(client, xform_name(operation))(**parameters)
    except botocore.exceptions.ClientError as error:
        problem = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        raise error_for(operation, str(problem.get("Code", "")), str(problem.get("Message", "")), status) from None
    except (botocore.exceptions.NoCredentialsError, botocore.exceptions.PartialCredentialsError) as error:
        raise BadCredentials(str(error), CREDENTIALS_HINT) from None
    except botocore.exceptions.ParamValidationError as error:
        raise UsageError(f"{operation}: {error}") from None
    except (botocore.exceptions.TokenRetrievalError, botocore.exceptions.CredentialRetrievalError) as error:
        raise BadCredentials(str(error), CREDENTIALS_HINT) from None
    except (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError) as error:
        raise unreachable(operation, str(client.meta.endpoint_url), error) from None
    except botocore.exceptions.BotoCoreError as error:
        raise AwsError(f"{operation}: {error}", operation=operation) from None
    return answer
