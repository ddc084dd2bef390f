"""Where AWS is asked: what is known of it stays in this process."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from restrike.aws.session import Aws, ask
from restrike.aws.settings import AwsSettings
from restrike.errors import BadCredentials, UsageError


@pytest.mark.parametrize("send", [pickle.dumps, copy.copy, copy.deepcopy])
def test_credentials_are_not_pickled(send: Callable[[Any], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """It was pickled with the secret key in clear."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "verysecretvalue")
    aws = Aws(AwsSettings(region="eu-west-1"))
    assert aws.credentials().get_frozen_credentials().secret_key == "verysecretvalue"
    with pytest.raises(TypeError, match="send its settings"):
        send(aws)
    assert pickle.loads(pickle.dumps(aws.settings)) == aws.settings


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:99999", "Port out of range"),
        ("http://127.0.0.1:-1", "Port"),
        ("http://127.0.0.1:0", "port 0"),
        ("http://127.0.0.1:port", "Port"),
        ("http://me:secret@127.0.0.1:8000", "a user or password"),
        ("http://me:secret@127.0.0.1:99999", "Port out of range"),
        ("127.0.0.1:8000", "is no endpoint"),
        ("ftp://127.0.0.1", "is no endpoint"),
        ("http://", "is no endpoint"),
        ("http://[::1", "is no endpoint"),
        ("http://127.0.0.1:8000/?a=b", "a query"),
        ("http://127.0.0.1 :8000", "is no endpoint"),
        ("", "is no endpoint"),
    ],
)
@pytest.mark.parametrize("given_by", ["--endpoint-url", "environment"])
def test_an_endpoint_that_is_none_is_refused(
    url: str, why: str, given_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given_by == "environment":
        if not url:
            return  # an empty variable is none
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
    aws = Aws(AwsSettings(endpoint_url=url if given_by == "--endpoint-url" else None))
    with pytest.raises(UsageError) as caught:
        aws.client("dynamodb")
    assert why in caught.value.message
    assert given_by in caught.value.message
    assert "secret" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
@pytest.mark.parametrize("text", [b"no section = here\n", b"[default\n", b"\xff\xfe\x00"])
def test_a_broken_config_is_said(name: str, text: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(text)
    monkeypatch.setenv(name, str(broken))
    with pytest.raises(UsageError, match="the shared AWS config cannot be read") as caught:
        Aws().client("dynamodb")
    assert str(broken) in caught.value.message


def test_half_credentials_are_no_matter_of_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(BadCredentials, match=r"[Pp]artial"):
        ask(Aws().client("dynamodb"), "ListTables")


def test_what_one_adds_to_its_events_is_not_done_for_another() -> None:
    called: list[int] = []
    every = [Aws(AwsSettings(region="eu-west-1")).session.get_component("event_emitter") for _ in range(3)]
    for number, events in enumerate(every[:2]):
        events.register("of-a-test", lambda number=number, **_: called.append(number))
    for events in every:
        events.emit("of-a-test")
    assert called == [0, 1]
