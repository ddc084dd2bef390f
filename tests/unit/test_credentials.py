"""Credentials that are written anew while a run goes on, credentials that need more, and who says that he asks."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.credentials
import pytest

from restrike.aws.destination import Destination
from restrike.aws.dynamodb import connect
from restrike.aws.refusals import error_for
from restrike.aws.session import Aws, ask, user_agent
from restrike.aws.settings import AwsSettings
from restrike.aws.wire import Channel
from restrike.errors import BadCredentials, UsageError
from restrike.stores import open_store
from restrike.stores.s3 import Bucket
from tests.servers.witness import Answer, Asked, witness

SECRETS = "[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\naws_session_token = token\n"
EXPIRED_S3 = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"


@pytest.fixture
def login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Writes a key into the credentials file, as tools do that log people in."""
    file = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    return lambda key: (file.write_text(SECRETS.format(key=key)), None)[1]


def key_of(asked: Asked) -> str:
    found = re.search(r"Credential=(\w+)/", asked.headers.get("authorization", ""))
    return found[1] if found else ""


def service(asked: Asked) -> Answer:
    """DynamoDB and S3, which take the new key only."""
    of_dynamodb = "x-amz-target" in asked.headers
    if key_of(asked) != "NEW":
        body = {"__type": "com.amazon.coral.service#ExpiredTokenException", "message": "The token has expired."}
        return Answer(400, json.dumps(body).encode() if of_dynamodb else EXPIRED_S3)
    return Answer(body=b'{"TableNames": []}') if of_dynamodb else Answer(body=b"kept", headers={"ETag": '"e"'})


async def query(aws: Aws) -> bytes:
    async with connect(aws, connections=1) as wire:
        return await wire.call("Query", b"{}", attempts=1)


ASKS: dict[str, Callable[[Aws], Any]] = {
    "hot": lambda aws: asyncio.run(query(aws)),
    "cold": lambda aws: ask(aws.client("dynamodb"), "ListTables"),
    "s3": lambda aws: open_store("s3://b/p", lambda: aws).read("object"),
    "s3 put": lambda aws: open_store("s3://b/p", lambda: aws).create("object", b"x"),
}


@pytest.mark.parametrize("first", ASKS)
def test_a_key_that_was_written_anew_is_found_by_all(
    first: str, login: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was found by the wire alone; botocore's clients and S3's went on with the old one."""
    with witness(service) as server:
        for name in ("DYNAMODB", "S3"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{name}", server.url)
        login("OLD")
        aws = Aws()
        ask_cold = aws.client("dynamodb"), aws.client("s3")  # made with the old key
        assert aws.credentials().get_frozen_credentials().access_key == "OLD"
        login("NEW")
        ASKS[first](aws)
        assert [key_of(asked) for asked in server.asked] == ["OLD", "NEW"]
        for others in ASKS.values():
            others(aws)
        assert ask_cold == (aws.client("dynamodb"), aws.client("s3"))
    assert {key_of(asked) for asked in server.asked[1:]} == {"NEW"}


@pytest.mark.parametrize("asks", ASKS)
def test_a_key_that_stays_expired_is_said_to_be(
    asks: str, login: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with witness(service) as server:
        for name in ("DYNAMODB", "S3"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{name}", server.url)
        login("OLD")
        with pytest.raises(BadCredentials, match="xpired") as caught:
            ASKS[asks](Aws())
    assert len(server.asked) == 2, "tried once more, and not again"
    assert caught.value.hint


def test_many_who_are_refused_at_once_look_once(login: Callable[[str], None]) -> None:
    login("OLD")
    credentials = Aws().credentials()
    refused = credentials.get_frozen_credentials()
    login("NEW")
    credentials.renew(refused)
    login("NEWER")
    credentials.renew(refused)
    assert credentials.get_frozen_credentials().access_key == "NEW"


@pytest.mark.parametrize("ask_for", [*ASKS, "credentials"])
def test_a_profile_of_aws_login_says_what_to_install(
    ask_for: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its keys are signed for by a library that botocore brings only where it is asked to."""
    monkeypatch.setattr(botocore.credentials, "EC", None)  # as where that library is not installed
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text("[profile p]\nlogin_session = arn:aws:iam::123456789012:user/me\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    aws = Aws(AwsSettings(profile="p", endpoint_url="http://127.0.0.1:1"))
    with pytest.raises(BadCredentials) as caught:
        ASKS[ask_for](aws) if ask_for in ASKS else aws.credentials()
    assert "restrike[login]" in caught.value.hint


@pytest.mark.parametrize(
    "process",
    [
        "/no/such/program",
        "echo no JSON",
        """echo '{"Version": 1}'""",
        "false",
    ],
)
def test_a_program_for_credentials_that_fails_is_no_bug(
    process: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (tmp_path / "config").write_text(f"[profile p]\ncredential_process = {process}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    aws = Aws(AwsSettings(profile="p", endpoint_url="http://127.0.0.1:1"))
    for asks in (ASKS["hot"], ASKS["cold"], Aws.credentials):
        with pytest.raises(BadCredentials, match="no AWS credentials"):
            asks(aws)


@pytest.mark.parametrize("code", ["UnrecognizedClientException", "InvalidClientTokenId"])
def test_keys_that_nobody_knows_may_be_new(code: str) -> None:
    error = error_for("DescribeTable", code, "The security token included in the request is invalid.")
    assert isinstance(error, BadCredentials)
    assert "moment" in error.hint
    assert "Log in again" in error.hint


def test_a_key_that_s3_does_not_know_is_no_matter_of_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = Answer(403, b"<Error><Code>InvalidAccessKeyId</Code><Message>no</Message></Error>")
    with witness(lambda _: refusal) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        with pytest.raises(BadCredentials, match="InvalidAccessKeyId"):
            open_store("s3://b", Aws).read("object")


# ── who asks ─────────────────────────────────────────────────────────────────────────────────────────────


async def invoke(aws: Aws) -> None:
    async with Channel(aws, "lambda", connections=1) as channel:
        await channel.post("Invoke", b"{}", {}, path="/2015-03-31/functions/f/invocations")


def test_every_request_says_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    with witness(service) as server:
        for name in ("DYNAMODB", "S3", "LAMBDA"):
            monkeypatch.setenv(f"AWS_ENDPOINT_URL_{name}", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NEW")
        aws = Aws()
        for asks in ASKS.values():
            asks(aws)
        store = open_store("s3://b/p", lambda: aws)
        assert store.now_s() is not None
        asyncio.run(invoke(aws))
    said = {(asked.method, asked.headers.get("user-agent", "").split()[-1]) for asked in server.asked}
    assert said == {(method, user_agent()) for method in ("POST", "GET", "PUT", "HEAD")}
    assert re.fullmatch(r"restrike/\d+\.\d+\.\d+\S*", user_agent())


# ── where obstore goes ───────────────────────────────────────────────────────────────────────────────────


def test_the_environment_does_not_tell_obstore_what_botocore_was_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """obstore reads variables of its own, and took AWS_ENDPOINT_URL_S3 before the endpoint that it was given."""
    for name in ("AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("AWS_SKIP_SIGNATURE", "AWS_S3_EXPRESS", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NEW")
    with witness(service) as server:
        bucket = Bucket("s3://b/p", "b", "p", Aws(), Destination(f"{server.url}/b", "eu-west-1", "s3"))
        assert bucket.read("object") == (b"kept", '"e"')
        [asked] = server.asked
    assert (asked.target, key_of(asked)) == ("/b/p/object", "NEW")
    assert "/eu-west-1/s3/" in asked.headers["authorization"]


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("s3://arn:aws:s3:eu-west-1:123456789012:accesspoint:mine/p", "access point"),
        ("s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/mine/p", "access point"),
        ("s3://fast--use1-az5--x-s3/p", "directory bucket"),
        ("s3://no such bucket/p", "'no such bucket' is no name of a bucket"),
        ("s3://UPPER_case!/x", "'UPPER_case!' is no name of a bucket"),
        ("s3://test-accessp-o0b1d075431d83bebde8xz5w8ijx1qzlbp3i3kuse10--op-s3/p", "is signed for s3-outposts"),
    ],
)
def test_what_is_no_plain_bucket_is_refused(uri: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # nobody is asked
    with pytest.raises(UsageError, match=why) as caught:
        open_store(uri, Aws)
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("pem", [None, "none", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
@pytest.mark.parametrize("asks", ["hot", "s3"])
def test_certificates_that_cannot_be_read_are_named(
    asks: str, pem: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:1")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "bundle.pem"))
    if pem is not None:
        (tmp_path / "bundle.pem").write_text(pem)
    with pytest.raises(UsageError, match=r"bundle\.pem") as caught:
        ASKS[asks](Aws())
    assert "AWS_CA_BUNDLE" in caught.value.hint


ASSUMED = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>NEW</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""
DENIED = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not so</Message></Error></ErrorResponse>"


@pytest.mark.parametrize("denied", [False, True])
@pytest.mark.parametrize("asks", ["hot", "cold"])
def test_a_role_is_assumed_in_our_name_and_a_refusal_is_no_bug(
    asks: str, denied: bool, login: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(asked: Asked) -> Answer:
        if "x-amz-target" in asked.headers:
            return service(asked)
        return Answer(403 if denied else 200, (DENIED if denied else ASSUMED).encode())

    login("OLD")
    (tmp_path / "config").write_text(
        "[profile p]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = default\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with witness(both) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        aws = Aws(AwsSettings(profile="p"))
        if denied:
            with pytest.raises(BadCredentials, match="AssumeRole"):
                ASKS[asks](aws)
        else:
            ASKS[asks](aws)
    assert len(server.asked) == 1 if denied else 2
    assert all(user_agent() in asked.headers["user-agent"].split() for asked in server.asked)


def test_fips_where_there_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(UsageError, match="does not support FIPS"):
        open_store("s3://b", lambda: Aws(AwsSettings(region="cn-north-1")))


@pytest.mark.parametrize("body", [b"", b"<Error><Code>AuthorizationHeaderMalformed</Code></Error>"])
def test_a_bucket_whose_region_is_not_told_is_said_to_be_elsewhere(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with witness(lambda _: Answer(400 if body else 301, body)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        with pytest.raises(UsageError, match="another Region") as caught:
            open_store("s3://b", Aws).read("object")
    assert "s3:ListBucket" in caught.value.hint
