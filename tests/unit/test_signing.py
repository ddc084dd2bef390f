"""Our signer against botocore's: the same headers for the same request."""

from __future__ import annotations

import base64
import datetime
from unittest import mock
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from restrike.aws.signing import Signer

MOMENT = datetime.datetime(2026, 11, 23, 23, 59, 59, tzinfo=datetime.UTC)


def botocore_headers(url: str, credentials: Credentials, target: str, body: bytes) -> dict[str, str]:
    request = AWSRequest(
        "POST", url, headers={"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": target}, data=body
    )
    with mock.patch("botocore.auth.get_current_datetime", return_value=MOMENT.replace(tzinfo=None)):
        SigV4Auth(credentials.get_frozen_credentials(), "dynamodb", "eu-west-1").add_auth(request)
    return dict(request.headers.items())


@pytest.mark.parametrize("token", [None, "a/token+with=signs"])
@pytest.mark.parametrize(
    ("url", "host"),
    [("https://dynamodb.eu-west-1.amazonaws.com", "dynamodb.eu-west-1.amazonaws.com"),
     ("http://127.0.0.1:8000/", "127.0.0.1:8000")],
)  # fmt: skip
@given(body=st.binary(max_size=200), secret=st.text(st.characters(codec="ascii"), min_size=1))
def test_signs_as_botocore_does(url: str, host: str, token: str | None, body: bytes, secret: str) -> None:
    credentials = Credentials("AKIDEXAMPLE", secret, token)
    target = "DynamoDB_20120810.BatchExecuteStatement"
    theirs = botocore_headers(url, credentials, target, body)
    signer = Signer(service="dynamodb", region="eu-west-1", host=host)
    ours = signer.headers(credentials.get_frozen_credentials(), target, body, MOMENT.timestamp())
    assert ours.pop("Host") == host  # botocore leaves it to its HTTP client
    assert ours == theirs


def test_the_key_follows_the_day_and_the_secret() -> None:
    signer = Signer(service="dynamodb", region="eu-west-1", host="h")
    keys = {
        signer.headers(Credentials("A", secret, None).get_frozen_credentials(), "t", b"", now_s)["Authorization"]
        for secret in ("one", "two")
        for now_s in (MOMENT.timestamp(), MOMENT.timestamp() + 1, MOMENT.timestamp())
    }
    assert len(keys) == 4


NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
FUNCTIONS = st.one_of(NAMES, st.builds("arn:aws:lambda:eu-west-1:123456789012:function:{}".format, NAMES))
QUALIFIERS = st.one_of(st.none(), st.just("$LATEST"), NAMES)


@given(
    function=FUNCTIONS,
    qualifier=QUALIFIERS,
    body=st.binary(max_size=200),
    context=st.binary(max_size=60).map(lambda told: base64.b64encode(told).decode()),
    token=st.sampled_from([None, "a/token+with=signs"]),
)
def test_signs_a_path_a_query_and_headers_as_botocore_does(
    function: str, qualifier: str | None, body: bytes, context: str, token: str | None
) -> None:
    credentials = Credentials("AKIDEXAMPLE", "secret", token).get_frozen_credentials()
    path = f"/2015-03-31/functions/{quote(function, safe='')}/invocations"
    query = f"Qualifier={quote(qualifier, safe='')}" if qualifier else ""
    url = f"https://lambda.eu-west-1.amazonaws.com{path}" + (f"?{query}" if query else "")
    named = {"X-Amz-Client-Context": context, "X-Amz-Invocation-Type": "RequestResponse", "X-Amz-Log-Type": "None"}
    request = AWSRequest("POST", url, headers={"Content-Type": "application/json", **named}, data=body)
    with mock.patch("botocore.auth.get_current_datetime", return_value=MOMENT.replace(tzinfo=None)):
        SigV4Auth(credentials, "lambda", "eu-west-1").add_auth(request)
    host = "lambda.eu-west-1.amazonaws.com"
    signer = Signer(service="lambda", region="eu-west-1", host=host, content_type="application/json")
    ours = signer.sign(credentials, named, body, MOMENT.timestamp(), path=path, query=query)
    assert ours.pop("Host") == host
    assert ours == dict(request.headers.items())
