"""`restrike doctor` as its user runs it, on a DynamoDB Local, beside a Lambda of the tests'."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import restrike
from tests.acceptance.command import restrike as command
from tests.acceptance.command import shell
from tests.integration import tables
from tests.integration.tables import Index, Table
from tests.servers.invoked import Invoked, invoked

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:bookkeeper"
ITEMS = 30
DAYS = ("2026-11-23", "2026-11-24", "2026-11-25")


@pytest.fixture(scope="module")
def orders(dynamodb_local: str) -> Table:
    return tables.create(
        dynamodb_local,
        ("pk", "S"),
        ("sk", "N"),
        indexes=[Index("by_day", ("day", "S"))],
        items=[{"pk": f"p{n % 7}", "sk": n, "day": DAYS[n % 3]} for n in range(ITEMS)],
    )


@pytest.fixture(scope="module")
def consumer(orders: Table) -> Iterator[Invoked]:
    with invoked() as stub:
        stub.map(orders.stream_arn, FUNCTION, State="Enabled", BatchSize=100)
        yield stub


@pytest.fixture(autouse=True)
def here(orders: Table, consumer: Invoked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", orders.endpoint_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", consumer.url)


@pytest.fixture
def told(orders: Table, found: dict[str, Any]) -> dict[str, Any]:
    """What doctor says of the last hour, asked once."""
    if not found:
        answer = command("doctor", orders.name, "--last", "1h", "--json")
        assert (answer.code, answer.stderr) == (0, ""), answer
        found |= answer.json["doctor"]
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    return {}


def test_it_says_who_reads_the_table_and_what_is_open_and_writes_nothing(
    orders: Table, consumer: Invoked, tmp_path: Path, told: dict[str, Any]
) -> None:
    assert told["table"] == orders.name
    assert [each["function"] for each in told["seen"]["consumers"]] == ["bookkeeper"]
    assert told["seen"]["streams"][0]["arn"] == orders.stream_arn
    assert {loss["certainty"] for loss in told["losses"]} == {"not visible"}
    assert {"replay", "touch"} <= {way["verb"] for way in told["ways"]}
    assert any(index["name"] == "by_day" and index["role"] == "partition" for index in told["seen"]["indexes"])
    assert list(tmp_path.rglob("*")) == []
    assert len(orders.records()) == ITEMS
    assert consumer.got == []


def test_people_see_the_same_and_can_paste_each_command(orders: Table, told: dict[str, Any]) -> None:
    since = told["asked"]["window"]["since"]
    answer = command("doctor", orders.name, "--since", since, COLUMNS="80")
    assert (answer.code, answer.stderr) == (0, ""), answer
    lines = [line.strip() for line in answer.stdout.splitlines()]
    assert lines[0].startswith(orders.name)
    assert any("bookkeeper" in line and "Enabled" in line for line in lines)
    for way in told["ways"]:
        assert way["command"] in lines
    assert "\x1b" not in answer.stdout


def test_each_command_prints_a_plan_as_it_stands(told: dict[str, Any]) -> None:
    ready = [way["command"] for way in told["ways"] if not way["fill"]]
    assert len(ready) >= 2
    for line in ready:
        words = shlex.split(line)
        assert words[0] == "restrike"
        assert "--execute" not in words
        answer = command(*words[1:])
        assert answer.code == 0, (line, answer)
        assert "To do it:" in answer.stdout, line


@pytest.mark.parametrize(
    ("to", "code", "says"),
    [
        (">&-", 1, "cannot write the output: Bad file descriptor"),
        ("2>&-", 0, ""),
        ("| head -1", 0, ""),
    ],
)
def test_it_ends_in_order_wherever_its_words_go(orders: Table, to: str, code: int, says: str) -> None:
    pipe = f"{{ restrike doctor {orders.name}; echo $? > code; }} {to}"
    answer = shell(pipe if "|" in to else f"restrike doctor {orders.name} {to}; echo $? > code")
    assert Path("code").read_text() == f"{code}\n", answer
    assert says in answer.stderr
    assert "This is a bug" not in answer.stderr


def test_a_table_that_cannot_be_described_is_3() -> None:
    answer = command("doctor", "nobodys")
    assert (answer.code, answer.stdout) == (3, ""), answer
    assert "there is no table nobodys in us-east-1" in answer.stderr


def test_from_python_in_a_notebook_too(orders: Table) -> None:
    async def cell() -> restrike.Diagnosis:
        return restrike.doctor(orders.name, last="1h", consumer="bookkeeper")

    told = asyncio.run(cell())
    assert told.seen.table.name == orders.name
    assert {way.consumer for way in told.ways if way.verb == "replay"} == {"bookkeeper"}
