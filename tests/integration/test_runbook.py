"""docs/runbook.md is run, section by section, in the situation that each is about: its commands print what it says, and
when they are through everything that was lost has come to the consumer."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import string
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import restrike
from restrike.aws import dynamodb
from restrike.aws.session import Aws
from restrike.cli.main import run
from restrike.local import demo
from restrike.model.times import iso
from tests.exported import Tree, change, export
from tests.failure_messages import message
from tests.integration import tables
from tests.integration.tables import Table
from tests.servers import exports_stub
from tests.servers.invoked import Invoked, invoked
from tests.servers.ministack import MiniStack
from tests.test_docs import expected_lines, fits, told

PAGE = Path(__file__).parents[2] / "docs" / "runbook.md"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:bookkeeper"
LOST = [order for order in demo.orders() if order["created_ymd"]["S"] == demo.LOST_DAY]
OTHERS = [order for order in demo.orders() if order["created_ymd"]["S"] == demo.DAYS[0]][:50]
DAY_S = 86_400
WINDOW_S = DAY_S // 4
KEY = ("customer_id", "order_id")


def section(title: str) -> list[tuple[str, str]]:
    """(command, what the page says of it) of the section that begins so."""
    text = PAGE.read_text(encoding="utf-8")
    (found,) = re.findall(rf"^## {title}.*?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    told_of = []
    for block in re.findall(r"```console\n(.*?)```", found, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            told_of.append((command, output))
    return told_of


class Reader:
    """Who has the page open: types its commands, one after the other, and looks at what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        self.own: dict[str, str] = {}
        """What this reader puts in for the page's own times."""

    def type(self, command: str, output: str) -> str:
        """What the command prints, which is what the page says."""
        words = shlex.split(string.Template(command).substitute(os.environ))
        if words[0] == "export":
            for name, value in (word.split("=", 1) for word in words[1:]):
                self._monkeypatch.setenv(name, self.own.get(name, value))
            return ""
        assert words[0] == "restrike", command
        code = run(words[1:])
        said = self._capsys.readouterr()
        printed = said.out + said.err
        assert code == 0, f"{command}: {printed}"
        lines = [told(line) for line in printed.splitlines()]
        for line in expected_lines(output):
            assert any(fits(line, each) for each in lines), f"{command}: {line!r} is not in {printed}"
        return printed


@pytest.fixture
def reader(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Reader:
    monkeypatch.chdir(tmp_path)
    # How long silence and absence are waited for, where nobody else is about.
    monkeypatch.setattr("restrike.aws.stretch.SILENT_S", 0.05)
    monkeypatch.setattr("restrike.aws.pages.QUIET_S", 0.0)
    monkeypatch.setattr("restrike.aws.walk.IDLE_POLL_S", 0.01)
    monkeypatch.setattr("restrike.exporting.execute.POLL_S", 0.01)
    monkeypatch.setattr("restrike.replaying.redriving.queue.WAIT_S", 0)
    return Reader(capsys, monkeypatch)


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Invoked]:
    with invoked() as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        yield stub


@pytest.fixture(scope="module")
def shop(dynamodb_local: str) -> Table:
    """The table `orders`, with the orders of the day that is lost and some of another."""

    async def load() -> None:
        async with dynamodb.connect(Aws(demo.settings(dynamodb_local)), connections=8) as wire:
            table = demo.Shop(wire)
            await table.open()
            await table.load(OTHERS)
            await table.load(LOST)  # behind them, as one span of the stream

    with demo.nobodys_environment():
        asyncio.run(load())
    return Table(dynamodb_local, demo.TABLE, KEY)


@pytest.fixture
def orders(shop: Table, consumer: Invoked, monkeypatch: pytest.MonkeyPatch) -> Table:
    """The same, with the consumer's mapping on its stream, which is paused."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", shop.endpoint_url)
    consumer.map(shop.stream_arn, FUNCTION, BatchSize=100)
    return shop


def doctors_ways(consumer: Invoked) -> set[str]:
    """The first words of the commands that doctor hands over: the verb, and the last word of its source's or table's
    name."""
    found = restrike.doctor("orders", consumer="bookkeeper", last="1h")
    assert consumer.got == []
    words = [way.command.split() for way in found.ways]
    return {f"{verb} {re.split('[:/]', place)[-1]}" for _, verb, place, *_ in words}


def came(consumer: Invoked) -> Counter[str]:
    """How often each order came to the consumer."""
    records = [record for _, event in consumer.got for record in event["Records"]]
    return Counter(record["dynamodb"]["Keys"]["order_id"]["S"] for record in records)


def each_once(items: list[demo.Item]) -> Counter[str]:
    return Counter(item["order_id"]["S"] for item in items)


def test_1_what_the_mapping_gave_up(
    orders: Table, consumer: Invoked, reader: Reader, ministack: MiniStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", ministack.endpoint_url)
    queue = ministack.client("sqs").create_queue(QueueName="given-up")["QueueUrl"]
    records = [each for each in orders.records() if each["eventName"] == "INSERT"]
    lost = [each for each in records if each["dynamodb"]["NewImage"]["created_ymd"]["S"] == demo.LOST_DAY]
    streams = tables.client("dynamodbstreams", orders.endpoint_url)
    (shard,) = streams.describe_stream(StreamArn=orders.stream_arn)["StreamDescription"]["Shards"]
    where: dict[str, Any] = {"shard": shard["ShardId"], "stream_arn": orders.stream_arn, "function": FUNCTION}
    for batch in (lost[:100], lost[100:]):
        body = json.dumps(message(batch, **where))
        ministack.client("sqs").send_message(QueueUrl=queue, MessageBody=body)
    consumer.mappings[orders.stream_arn][0]["DestinationConfig"] = {
        "OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:given-up"}
    }
    assert "redrive given-up" in doctors_ways(consumer)
    for command, output in section("1"):
        reader.type(command, output)
    assert came(consumer) == each_once(LOST)


def test_2_what_the_stream_still_has_and_whether_all_is_caught_up(
    orders: Table, consumer: Invoked, reader: Reader
) -> None:
    reader.own = {"SINCE": iso(time.time() - 3600), "UNTIL": iso(time.time() + 60)}
    for command, output in [*section("First"), *section("2"), *section("Is everything")]:
        reader.type(command, output)
    assert came(consumer) == each_once([*OTHERS, *LOST])


def test_3_what_a_capture_has_kept(orders: Table, consumer: Invoked, reader: Reader) -> None:
    restrike.capture("orders", "kept").execute()
    assert "replay kept" in doctors_ways(consumer)
    reader.own = {"SINCE": iso(time.time() - 3600), "UNTIL": iso(time.time() + 60)}
    for command, output in section("3"):
        reader.type(command, output)
    assert came(consumer) == each_once([*OTHERS, *LOST])


def _exported(found: dict[str, Any]) -> Tree:
    """What DynamoDB writes of the window: a quarter of the lost orders, which are new in it."""
    window = found["IncrementalExportSpecification"]
    first = int(window["ExportFromTime"] // WINDOW_S) % 4 * 50
    lines = [
        change({name: order[name] for name in KEY}, new=order, micros=int(window["ExportFromTime"] * 1e6) + number)
        for number, order in enumerate(LOST[first : first + 50])
    ]
    name = found["ExportArn"].rpartition("/")[2]
    return export([lines], id=name, from_s=window["ExportFromTime"], to_s=window["ExportToTime"])


def test_4_what_dynamodb_exports(
    consumer: Invoked, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_s = time.time() // DAY_S * DAY_S - DAY_S
    with exports_stub.running() as service:
        service.earliest_s = service.latest_s - 35 * DAY_S
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", service.endpoint_url)
        consumer.map(exports_stub.STREAM, FUNCTION, BatchSize=100)
        reader.own = {"SINCE": iso(end_s - DAY_S), "UNTIL": iso(end_s)}

        def copy(found: dict[str, Any]) -> None:
            _exported(found).write(tmp_path / "nov-20")

        service.on_export = copy
        for command, output in section("4"):
            reader.type(command, output)
    assert came(consumer) == each_once(LOST)


def test_5_what_only_the_table_has(orders: Table, consumer: Invoked, reader: Reader) -> None:
    consumer.mappings[orders.stream_arn][0]["State"] = "Enabled"
    assert "touch orders" in doctors_ways(consumer)
    for command, output in section("5"):
        reader.type(command, output)
    assert orders.fired("jan-22") == Counter((each["customer_id"]["S"], each["order_id"]["S"]) for each in LOST)


def test_6_what_is_known_by_its_keys(orders: Table, consumer: Invoked, reader: Reader, tmp_path: Path) -> None:
    keys = [{name: order[name] for name in KEY} for order in LOST[:3]]
    (tmp_path / "lost.jsonl").write_text("".join(json.dumps(key) + "\n" for key in keys))
    for command, output in section("6"):
        reader.type(command, output)
    assert came(consumer) == each_once(LOST[:3])
    assert sum(orders.fired("lost-for-all").values()) == 3
