"""What is told of a service that gives no good answer: when, how often, with which cause."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
from collections.abc import Iterator
from typing import Any

import pytest

from restrike.aws import trouble, wire
from restrike.aws.dynamodb import connect, describe_table
from restrike.aws.refusals import error_for
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.aws.trouble import AGAIN_S, FIRST_S, Trouble
from restrike.errors import AwsError, NoMoreFiles, ServiceFault
from tests.servers.oddities import answering


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[list[dict[str, Any]]]:
    """The fields of what was told, as it is told."""
    found: list[dict[str, Any]] = []

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append({"text": record.getMessage(), **getattr(record, "fields", {})})

    handler, logger = Heard(logging.WARNING), logging.getLogger("restrike")
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


def refused(times: int) -> tuple[Trouble, float]:
    """One that was refused so often just now, and when it began."""
    found = Trouble("dynamodb", "http://there")
    for _ in range(times):
        found.begins("Query")
        found.bad("answers 500")
        found.ends()
    return found, found._good_at


def test_a_refusal_is_told_when_it_lasts_and_then_now_and_then(told: list[dict[str, Any]]) -> None:
    found, began = refused(3)
    for after_s in (0, FIRST_S - 0.1, FIRST_S, FIRST_S + 1, FIRST_S + AGAIN_S):
        found.look(began + after_s)
    assert [each["text"] for each in told] == [
        "DynamoDB answers 500 since 4 s, attempt 4",
        "DynamoDB answers 500 since 14 s, attempt 4",
    ]
    assert told[0]["operation"] == "Query"


def test_one_good_answer_ends_it(told: list[dict[str, Any]]) -> None:
    found, began = refused(3)
    found.begins("Query")
    found.good()
    found.ends()
    found.look(began + 60)
    assert told == []


def test_silence_is_told_while_an_answer_is_awaited(told: list[dict[str, Any]]) -> None:
    found = Trouble("dynamodb", "http://there")
    found.look(found._good_at + 60)
    assert told == [], "nothing is asked"
    found.begins("Scan")
    found.look(found._good_at + FIRST_S)
    assert [each["text"] for each in told] == ["DynamoDB has not answered Scan at http://there since 4 s"]


def test_a_function_may_work_for_a_while(told: list[dict[str, Any]]) -> None:
    found = Trouble("lambda", "http://there")
    found.begins("Invoke")
    found.look(found._good_at + 50)
    assert told == []
    found.look(found._good_at + 61)
    assert len(told) == 1


def test_what_nobody_tries_any_more_is_not_told(told: list[dict[str, Any]]) -> None:
    found, began = refused(3)
    found.look(began + 60)
    assert told == []


# ── through the clients ──────────────────────────────────────────────────────────────────────────────────

STRANGE = [
    b"<html>Log in, please</html>",
    b"{}",
    b"",
    b"[]",
    b'"hello"',
    b'{"Table": {}}',
    b'{"Table": 7}',
    b"\xff\xfe",
]


@pytest.mark.parametrize("body", STRANGE)
def test_an_answer_that_is_not_of_the_service_is_said_to_be_none(body: bytes) -> None:
    """`KeyError: 'Table'` it was, from each verb behind a login page."""
    with answering(body) as url, pytest.raises(ServiceFault) as caught:
        describe_table(Aws(AwsSettings(endpoint_url=url)), "orders")
    assert f"what answers at {url} is not DynamoDB" in caught.value.message
    assert "proxy" in caught.value.hint


@pytest.mark.parametrize("words", ["Signature expired: 20261125T1 is now earlier", "Signature not yet current: 2026"])
def test_a_wrong_clock_is_said_to_be_one(words: str) -> None:
    """`Log in again` it said, which does not help."""
    assert "clock" in error_for("Query", "InvalidSignatureException", words).hint
    assert "clock" in error_for("HeadBucket", "RequestTimeTooSkewed", "The difference is too large.", 403).hint
    assert "Log in" in error_for("Query", "InvalidSignatureException", "The signature does not match").hint


def test_a_refusal_that_cannot_be_read_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(b"<html>no</html>", status=403) as url, pytest.raises(AwsError) as caught:
        describe_table(Aws(AwsSettings(endpoint_url=url)), "orders")
    assert caught.value.exit_code == 3


async def _ask(url: str, patience_s: float) -> bytes:
    async with connect(Aws(AwsSettings(endpoint_url=url)), connections=1, patience_s=patience_s) as service:
        return await service.call("Query", b"{}")


@pytest.mark.parametrize("body", [b"<html>Log in</html>", b"", b"{}", b"[]"])
def test_the_wire_does_not_take_a_login_page_for_an_answer(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an empty object it would have made a page without items, and the end of the selection."""
    monkeypatch.setattr(wire, "READ_ATTEMPTS", 3)
    with answering(body) as url, pytest.raises(ServiceFault, match="is not DynamoDB"):
        asyncio.run(_ask(url, math.inf))


def test_where_no_more_files_can_be_opened_waiting_helps_nobody(
    monkeypatch: pytest.MonkeyPatch, told: list[dict[str, Any]]
) -> None:
    """The one connection error that is this process's own."""
    tried = []

    def full(address: Any) -> Any:
        tried.append(address)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(wire, "_kept_alive", full)
    with answering(b"{}") as url, pytest.raises(NoMoreFiles, match="no more files") as caught:
        asyncio.run(_ask(url, math.inf))
    assert len(tried) == 1
    assert "ulimit -n" in caught.value.hint
    assert not told


def test_a_plan_does_not_try_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused for ever, it ends though it had thousands of attempts left."""
    monkeypatch.setattr(wire, "READ_ATTEMPTS", 1_000_000)
    monkeypatch.setattr(wire, "MAX_RETRY_DELAY_S", 0.01)
    with answering(b"{}", status=500) as url, pytest.raises(ServiceFault):
        asyncio.run(_ask(url, 0.2))


def test_a_refusal_that_lasts_is_told_with_its_cause(
    monkeypatch: pytest.MonkeyPatch, told: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(wire, "READ_ATTEMPTS", 1_000_000)
    monkeypatch.setattr(wire, "MAX_RETRY_DELAY_S", 0.01)
    monkeypatch.setattr(trouble, "FIRST_S", 0.05)
    monkeypatch.setattr(trouble, "_TICK_S", 0.01)

    async def until_told(url: str) -> None:
        asking = asyncio.create_task(_ask(url, math.inf))
        while not told:
            await asyncio.sleep(0.01)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    with answering(b"{}", status=500) as url:
        asyncio.run(until_told(url))
    assert told[0]["cause"] == "answers 500"
    assert told[0]["attempt"] > 1


def test_silence_of_a_call_that_is_made_once_is_told(
    monkeypatch: pytest.MonkeyPatch, told: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(trouble, "FIRST_S", 0.05)
    monkeypatch.setattr("restrike.aws.session._COLD", _hasty())
    with answering(b"", silent=True) as url, pytest.raises(AwsError, match="no answer from"):
        describe_table(Aws(AwsSettings(endpoint_url=url)), "orders")
    assert told[0]["text"].startswith(f"DynamoDB has not answered DescribeTable at {url} since 0 s")


def _hasty() -> Any:
    from botocore.config import Config

    return Config(connect_timeout=1, read_timeout=0.5, retries={"mode": "standard", "total_max_attempts": 2})
