"""The commands of a diagnosis, pasted as they stand: each prints its plan on a real engine and changes nothing."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

import restrike
from restrike.aws.dynamodb import describe_table
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.model.advice import advice
from restrike.model.diagnosis import Asked, IndexSeen, Kept, PointInTime, Seen, StreamSeen, Undelivered, Way
from restrike.model.losses import losses
from restrike.model.table import TableInfo
from restrike.model.ways import ways
from restrike.model.window import Window
from tests.acceptance import command
from tests.exported import change, export
from tests.failure_messages import message
from tests.integration.tables import REGION, Index, Table, client, create, until
from tests.pasted import aws_parameters
from tests.seen import consumer
from tests.servers import exports_stub
from tests.servers.lambda_api import mapping, stub_lambda

HOUR_S = 3_600.0


@pytest.fixture(scope="module")
def orders(dynamodb_local: str) -> Table:
    """Ten orders of today, with an index by day and one by time."""
    now = datetime.now(UTC)
    return create(
        dynamodb_local,
        ("pk", "S"),
        ("sk", "N"),
        indexes=[
            Index("by_day", ("day", "S")),
            Index("by_time", ("kind", "S"), ("made", "S"), projection="ALL"),
        ],
        items=[
            {"pk": f"c{n % 2}", "sk": n, "day": f"{now:%Y-%m-%d}", "kind": "order", "made": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
            for n in range(10)
        ],
    )


@pytest.fixture(scope="module")
def kept(orders: Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an archive of their stream, an export of an hour ago, and a message of all of them."""
    folder = tmp_path_factory.mktemp("kept")
    restrike.capture(
        orders.name,
        str(folder / "archive"),
        endpoint_url=orders.endpoint_url,
        region=REGION,
        ledger=folder / "ledger.db",
    ).execute()
    begins_s = time.time() - HOUR_S
    lines = [change({"pk": {"S": "c0"}, "sk": {"N": "0"}}, new={}, micros=int((begins_s + 10) * 1e6))]
    export([lines], from_s=begins_s, to_s=begins_s + 900).write(folder / "exports")
    streams = client("dynamodbstreams", orders.endpoint_url)
    shards = streams.describe_stream(StreamArn=orders.stream_arn)["StreamDescription"]["Shards"]
    given = message(orders.records(), shard=shards[0]["ShardId"], stream_arn=orders.stream_arn)
    (folder / "given-up.json").write_text(json.dumps(given))
    return folder


@pytest.fixture
def found(orders: Table, kept: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """What a doctor sees of them: a function of which nothing is known, and what is kept."""
    monkeypatch.chdir(kept)
    now_s = time.time()
    begins_s = now_s - HOUR_S
    given_up = Undelivered("arn:of:it", "other", uri="given-up.json", messages=1, redrivable=True)
    with stub_lambda(mapping("bookkeeper")) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        yield Seen(
            described(orders),
            now_s=now_s,
            since_s=now_s - 24 * HOUR_S,
            streams=(StreamSeen(orders.stream_arn, "NEW_AND_OLD_IMAGES", on=True),),
            indexes=(
                IndexSeen("by_day", "day", attribute="day", role="partition", form="day"),
                IndexSeen("by_time", "kind", "made", attribute="made", role="sort", form="iso"),
            ),
            consumers=(consumer(on_failure=given_up, metrics={}),),
            kept=(
                Kept("archive", "archive", begins_s, now_s, "exact"),
                Kept("export", "exports", begins_s - 60, begins_s + 840, "net"),
            ),
            flags=("--endpoint-url", orders.endpoint_url, "--region", REGION),
        )


def described(table: Table) -> TableInfo:
    return describe_table(Aws(AwsSettings(REGION, None, table.endpoint_url)), table.name)[0]


def pasted(line: str, *more: str, **filled: str) -> command.Result:
    """Runs it with those words filled in."""
    for word, text in filled.items():
        line = line.replace(word, text)
    return command.restrike(*shlex.split(line)[1:], *more)


def plans_of(opened: Iterable[Way]) -> dict[str, Any]:
    """Each one's plan, by its verb and what it reads."""
    plans = {}
    for way in opened:
        result = pasted(way.command, "--json", VALUE="order")
        assert result.code == 0, (way.command, result)
        plans[" ".join(word.partition(":")[0] for word in way.command.split()[1:3])] = result.json["plan"]
    return plans


def test_each_command_prints_its_plan(orders: Table, found: Seen) -> None:
    asked = Asked(Window(found.now_s - HOUR_S, None))
    before = len(orders.records())
    plans = plans_of(ways(found, asked, losses(found, asked))[0])
    ran = {"redrive given-up.json", "replay stream", "replay archive", "replay export", "replay table"}
    assert set(plans) == {*ran, f"touch {orders.name}"}
    assert len(orders.records()) == before
    assert plans[f"touch {orders.name}"]["items"]["count"] == 10
    assert {plans[f"replay {source}"]["records"]["count"] for source in ("stream", "archive", "table")} == {10}


def test_each_command_of_an_item_prints_its_plan(orders: Table, found: Seen) -> None:
    asked = Asked(Window(found.now_s - HOUR_S, None), ("c0/2",))
    opened = [way for way in ways(found, asked, losses(found, asked))[0] if way.verb in ("replay", "touch")]
    plans = plans_of(way for way in opened if "export:" not in way.command)
    assert plans.pop(f"touch {orders.name}")["items"]["count"] == 1
    assert {name: plan["records"]["count"] for name, plan in plans.items()} == {
        "replay stream": 1,
        "replay archive": 1,
        "replay table": 1,
    }


def test_an_export_prints_its_plan(found: Seen) -> None:
    asked = Asked(Window(found.now_s - 3 * HOUR_S, found.now_s - 2 * HOUR_S))
    with exports_stub.running() as service:
        service.earliest_s = service.latest_s - 35 * 24 * HOUR_S
        there = msgspec.structs.replace(
            found,
            table=msgspec.structs.replace(found.table, name="orders"),
            point_in_time=PointInTime(True, service.earliest_s, service.latest_s),
            flags=("--endpoint-url", service.endpoint_url, "--region", REGION),
        )
        (way,) = (each for each in ways(there, asked, ())[0] if each.verb == "export")
        result = pasted(way.command, "--json", BUCKET="my-bucket")
        assert result.code == 0, result
        assert result.json["plan"]["windows"] == 1
        refused = pasted(way.command)
    assert refused.code == 2
    assert "is no place for an export" in refused.stderr


def test_the_index_that_is_advised_is_made_and_finds_the_items_of_a_day(dynamodb_local: str, tmp_path: Path) -> None:
    """KEYS_ONLY is enough: a touch through it fires whole items, and is not written to it."""
    table = create(dynamodb_local, ("pk", "N"), items=[{"pk": n} for n in range(3)])
    each = next(each for each in advice(Seen(described(table), now_s=0.0, since_s=0.0)) if each.code == "no-date-index")
    table.dynamodb.update_table(**aws_parameters(each.command)[2])

    def active() -> bool:
        indexes = table.dynamodb.describe_table(TableName=table.name)["Table"]["GlobalSecondaryIndexes"]
        return bool(indexes[0]["IndexStatus"] == "ACTIVE")

    until(active, "the index")
    table.load([{"pk": n, "created_ymd": "2021-01-22", "note": f"n{n}"} for n in (10, 11)])
    report = restrike.touch(
        table.name,
        index="by_created_ymd",
        date="2021-01-22",
        run="r",
        endpoint_url=dynamodb_local,
        region=REGION,
        ledger=tmp_path / "ledger.db",
    ).execute()
    assert report.fired == 2
    images = [record["dynamodb"]["NewImage"] for record in table.records() if record["eventName"] == "MODIFY"]
    assert sorted(image["note"]["S"] for image in images) == ["n10", "n11"]
