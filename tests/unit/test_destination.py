"""Requests go where botocore would send them: in every partition, with FIPS, dual-stack and endpoints of one's own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import botocore.config
import botocore.exceptions
import botocore.loaders
import botocore.session
import obstore
import obstore.store
import pytest
from botocore import xform_name

from restrike.aws.destination import destination
from restrike.aws.session import Aws, ask
from restrike.aws.settings import AwsSettings
from restrike.errors import BadCredentials, RestrikeError, Unreachable, UsageError
from restrike.stores.s3 import config_of
from tests.servers.witness import Answer, Witness, witness

REGIONS = ("us-east-1", "us-gov-west-1", "cn-north-1", "eusc-de-east-1", "us-iso-east-1")
ASKED: dict[str, tuple[str, dict[str, str]]] = {
    "dynamodb": ("ListTables", {}),
    "dynamodbstreams": ("ListStreams", {}),
    "lambda": ("ListEventSourceMappings", {}),
    "sts": ("GetCallerIdentity", {}),
    "s3": ("ListBuckets", {}),
}
BUCKETS = ("a-bucket", "a.bucket")
LOADER = botocore.loaders.create_loader()


class Sent(Exception):
    pass


class Reference:
    """A botocore of its own: where it really sends what."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._clients: dict[str, Any] = {}
        self._session = botocore.session.Session()
        self._session.register_component("data_loader", LOADER)

    def sent_to(self, service: str, operation: str, **parameters: Any) -> str | None:
        """The URL, of a request that is signed; None where it refuses to make one."""
        if service not in self._clients:
            self._clients[service] = self._session.create_client(
                service,
                self._region,
                config=botocore.config.Config(
                    account_id_endpoint_mode="disabled", s3={"us_east_1_regional_endpoint": "regional"}
                ),
            )
            self._clients[service].meta.events.register("before-send", self._stop)
        try:
            getattr(self._clients[service], xform_name(operation))(**parameters)
        except Sent as caught:
            return str(caught)
        except botocore.exceptions.BotoCoreError:
            return None
        raise AssertionError("it was sent")

    def _stop(self, request: Any, **_: Any) -> None:
        assert "AWS4-HMAC-SHA256" in str(request.headers["Authorization"])
        raise Sent(request.url)


@pytest.fixture(scope="module")
def proxy() -> Iterator[Witness]:
    with witness() as running:
        yield running


def _credentials() -> Any:
    return {"access_key_id": "a", "secret_access_key": "s", "expires_at": None}


def asked_by_obstore(proxy: Witness, config: dict[str, Any], bucket: str) -> str:
    """The URL that obstore asks for an object of that bucket. Not encrypted, so that the proxy sees it."""
    plain: Any = {
        name: value.replace("https://", "http://", 1) if isinstance(value, str) else value
        for name, value in config.items()
    }
    store = obstore.store.S3Store(
        bucket,
        config=plain,
        credential_provider=_credentials,
        client_options={"allow_http": True, "proxy_url": proxy.url},
        retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=10)},
    )
    obstore.get(store, "folder/object")
    return proxy.asked[-1].target.replace("http://", "https://", 1)


@pytest.mark.parametrize("dual_stack", [False, True])
@pytest.mark.parametrize("fips", [False, True])
@pytest.mark.parametrize("region", REGIONS)
def test_each_service_is_asked_where_botocore_asks_it(
    region: str, fips: bool, dual_stack: bool, monkeypatch: pytest.MonkeyPatch, proxy: Witness
) -> None:
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", str(fips).lower())
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", str(dual_stack).lower())
    aws, botocores = Aws(AwsSettings(region=region)), Reference(region)
    for service, (operation, parameters) in ASKED.items():
        expected = botocores.sent_to(service, operation, **parameters)
        if expected is None:
            with pytest.raises(UsageError, match="no request can be sent"):
                aws.endpoint(service)
        else:
            assert aws.endpoint(service) == expected.rstrip("/").removesuffix("/2015-03-31/event-source-mappings")
    for bucket in BUCKETS:
        expected = botocores.sent_to("s3", "GetObject", Bucket=bucket, Key="folder/object")
        if expected is None:
            with pytest.raises(UsageError, match="no request can be sent"):
                destination(aws.client("s3"), "HeadBucket", Bucket=bucket)
        else:
            place = destination(aws.client("s3"), "HeadBucket", Bucket=bucket)
            assert asked_by_obstore(proxy, config_of(place, bucket), bucket) == expected


def test_services_that_are_asked_little_have_a_place_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
    aws, botocores = Aws(), Reference("us-east-1")
    for service, operation, parameters in (
        ("application-autoscaling", "DescribeScalableTargets", {"ServiceNamespace": "dynamodb"}),
        ("kinesis", "ListStreams", {}),
        ("pipes", "ListPipes", {}),
        ("osis", "ListPipelines", {}),
        ("cloudwatch", "ListMetrics", {}),
        ("sqs", "ListQueues", {}),
    ):
        expected = botocores.sent_to(service, operation, **parameters)
        assert expected is not None
        assert expected.startswith(aws.endpoint(service)), service
        assert aws.endpoint(service).count("/") == 2


HOSTS = [
    ("us-east-1", "dual-stack", "dynamodbstreams", "streams-dynamodb.us-east-1.api.aws"),
    ("us-east-1", "fips dual-stack", "dynamodbstreams", "streams-dynamodb-fips.us-east-1.api.aws"),
    ("us-gov-west-1", "fips", "dynamodb", "dynamodb.us-gov-west-1.amazonaws.com"),
    ("us-gov-west-1", "fips", "dynamodbstreams", "streams.dynamodb.us-gov-west-1.amazonaws.com"),
    ("cn-north-1", "dual-stack", "dynamodbstreams", "streams-dynamodb.cn-north-1.api.amazonwebservices.com.cn"),
    ("us-east-1", "fips", "lambda", "lambda-fips.us-east-1.amazonaws.com"),
    ("eusc-de-east-1", "", "s3", "s3.eusc-de-east-1.amazonaws.eu"),
    ("us-west-2", "fips", "s3", "s3-fips.us-west-2.amazonaws.com"),
]


@pytest.mark.parametrize(("region", "flags", "service", "host"), HOSTS)
def test_the_hosts_that_were_wrong(
    region: str, flags: str, service: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said once by name, whatever botocore says: the older table of hosts had others."""
    if "fips" in flags:
        monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    if "dual-stack" in flags:
        monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
    assert Aws(AwsSettings(region=region)).endpoint(service) == f"https://{host}"


def test_a_profile_that_wants_hosts_of_its_account_is_overruled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text("[profile p]\naccount_id_endpoint_mode = required\nendpoint_discovery_enabled = true\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_ACCOUNT_ID", "123456789012")
    aws = Aws(AwsSettings(profile="p"))
    assert aws.endpoint("dynamodb") == "https://dynamodb.us-east-1.amazonaws.com"
    assert aws.endpoint("dynamodbstreams") == "https://streams.dynamodb.us-east-1.amazonaws.com"


@pytest.mark.parametrize("given", ["http://127.0.0.1:1", "http://127.0.0.1:1/", "http://127.0.0.1:1/behind/a/path"])
def test_an_endpoint_that_was_given_is_where_requests_go(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DYNAMODB", "LAMBDA", "S3", "STS"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{name}", given)
    aws = Aws()
    assert {aws.endpoint(service) for service in ASKED} == {given.rstrip("/")}
    place = destination(aws.client("s3"), "HeadBucket", Bucket="a-bucket")
    config = config_of(place, "a-bucket")
    assert (config["endpoint"], config["virtual_hosted_style_request"]) == (given.rstrip("/"), False)


@pytest.mark.parametrize(
    "setting",
    [
        "addressing_style = path",
        "addressing_style = virtual",
        "use_accelerate_endpoint = true",
        "use_dualstack_endpoint = true",
    ],
)
def test_what_a_profile_says_of_s3_holds(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: Witness
) -> None:
    (tmp_path / "config").write_text(f"[default]\ns3 =\n  {setting}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    place = destination(Aws(AwsSettings(region="eu-west-1")).client("s3"), "HeadBucket", Bucket="a-bucket")
    expected = Reference("eu-west-1").sent_to("s3", "GetObject", Bucket="a-bucket", Key="folder/object")
    assert asked_by_obstore(proxy, config_of(place, "a-bucket"), "a-bucket") == expected
    assert expected != "https://a-bucket.s3.eu-west-1.amazonaws.com/folder/object" or setting.endswith("virtual")


@pytest.mark.parametrize("flag", ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"])
def test_a_flag_beside_an_endpoint_that_was_given_means_what_botocore_makes_of_it(
    flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint, or a refusal, which differs from service to service: never another host."""
    monkeypatch.setenv(flag, "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    botocores = Reference("us-east-1")
    for service, (operation, parameters) in ASKED.items():
        expected = botocores.sent_to(service, operation, **parameters)
        if expected is None:
            with pytest.raises(UsageError, match="custom endpoint"):
                Aws().endpoint(service)
        else:
            assert Aws().endpoint(service) == "http://127.0.0.1:1"


def test_where_requests_go_is_told_without_credentials_and_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)

    def no_network(*_: Any, **__: Any) -> None:
        raise AssertionError("it went onto the network")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    aws = Aws()
    assert [aws.endpoint(service) for service in ("dynamodb", "s3")] == [
        "https://dynamodb.us-east-1.amazonaws.com",
        "https://s3.us-east-1.amazonaws.com",
    ]
    with pytest.raises(BadCredentials, match="no AWS credentials were found"):
        ask(aws.client("dynamodb"), "ListTables")


def test_what_others_ask_meanwhile_with_the_same_client_is_sent() -> None:
    """Only the thread that asks where a request goes is stopped."""
    with witness(lambda _: Answer(body=b'{"TableNames": ["orders"]}')) as server:
        aws = Aws(AwsSettings(endpoint_url=server.url))
        client, answers = aws.client("dynamodb"), list[Any]()
        others = [threading.Thread(target=lambda: answers.append(ask(client, "ListTables"))) for _ in range(4)]
        for other in others:
            other.start()
        for _ in range(20):
            assert destination(client, "ListTables").url == server.url
        for other in others:
            other.join()
    assert [answer["TableNames"] for answer in answers] == [["orders"]] * 4
    assert len(server.asked) == 4


def test_an_error_names_the_host_that_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(RestrikeError) as caught:
        ask(Aws().client("dynamodbstreams"), "ListStreams")
    assert isinstance(caught.value, Unreachable)
    assert "https://streams-dynamodb.us-east-1.api.aws" in caught.value.message


@pytest.mark.parametrize(
    ("where", "value", "host"),
    [
        ("", "", "s3.us-east-1.amazonaws.com"),
        ("environment", "regional", "s3.us-east-1.amazonaws.com"),
        ("environment", "legacy", "s3.amazonaws.com"),
        ("profile", "legacy", "s3.amazonaws.com"),
        ("profile, nested", "legacy", "s3.amazonaws.com"),
    ],
)
def test_s3_in_us_east_1_is_asked_at_its_own_host_unless_it_is_said_otherwise(
    where: str, value: str, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore asks the host of all Regions there, and only there."""
    name = "us_east_1_regional_endpoint"
    text = f"s3 =\n  {name} = {value}\n" if where == "profile, nested" else f"s3_{name} = {value}\n"
    (tmp_path / "config").write_text(f"[default]\n{text if where.startswith('profile') else ''}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    if where == "environment":
        monkeypatch.setenv("AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", value)
    client = Aws(AwsSettings(region="us-east-1")).client("s3")
    place = destination(client, "HeadBucket", Bucket="a-bucket")
    assert (place.url, place.region) == (f"https://a-bucket.{host}", "us-east-1")
