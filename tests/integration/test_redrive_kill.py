"""A redrive that is killed loses nothing, calls nothing done that was not, and repeats only what was in flight."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.failure_messages import message
from tests.integration.deliveries import TARGET, noting, whole_lines
from tests.integration.safety import command, restrike, table
from tests.integration.tables import client

LANES, BATCH, ITEMS, TURNS, RATE = 3, 10, 120, 6, 240
IN_FLIGHT = LANES * BATCH
GIVEN_UP = 24  # records of a message


@pytest.mark.soak
def test_kills_lose_nothing_and_repeat_only_what_was_in_flight(
    dynamodb_local: str, tmp_path: Path, kills: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    delivered = noting(tmp_path, monkeypatch)

    def arrived() -> list[str]:
        return whole_lines(delivered)

    with table(dynamodb_local, "redrive-kill") as made:
        keys = [{"pk": {"S": f"p{n % 7}"}, "sk": {"N": str(n)}} for n in range(ITEMS)]
        for turn in range(max(TURNS, kills * 40 // ITEMS)):
            for first in range(0, ITEMS, 25):
                puts = [{"PutRequest": {"Item": {**key, "v": {"N": str(turn)}}}} for key in keys[first : first + 25]]
                assert not made.client.batch_write_item(RequestItems={made.name: puts})["UnprocessedItems"]
        records = made.read_stream()
        (shard,) = client("dynamodbstreams", dynamodb_local).describe_stream(StreamArn=made.stream_arn)[
            "StreamDescription"
        ]["Shards"]
        changes: list[dict[str, Any]] = [{"dynamodb": each} for each in records]
        lines = []
        for first in range(0, len(changes), GIVEN_UP):
            batch = changes[first : first + GIVEN_UP]
            body = json.dumps(message(batch, shard=shard["ShardId"], stream_arn=made.stream_arn))
            lines += [body] * (2 if first % 5 == 0 else 1)  # a queue may give one twice
        random.Random(1).shuffle(lines)
        Path("given-up.jsonl").write_text("\n".join(lines))
        words = ["redrive", "given-up.jsonl", "--to", TARGET, "--if-superseded", "send"]
        words += ["--endpoint-url", dynamodb_local, "--batch-size", str(BATCH), "--parallel", str(LANES), "--execute"]
        first_run = [*words, "--rate", str(RATE * 5 // kills), "--run", "killed", "--json"]
        resume = ["runs", "resume", "killed", "--execute", "--json"]
        rng = random.Random(7)
        exists = False
        killed: list[int] = []
        for number in range(kills):
            exists = exists or restrike("runs", "show", "killed")[0] == 0
            with command(*(resume if exists and number % 3 else first_run)) as started:
                wanted = len(arrived()) + rng.randint(0, min(30, len(records) // (3 * kills)))
                while len(arrived()) < wanted and not started.ended:
                    time.sleep(0.01)
                time.sleep(rng.uniform(0.0, 0.3))  # the moment is what is random
                assert not started.ended, started.stderr
                started.kill()
                assert started.wait() == -9
            killed.append(len(arrived()))
        with command(*resume) as last:
            assert last.wait() == 0, last.stderr
            report = last.report()
        order = [each["SequenceNumber"] for each in records]
        found = arrived()
        assert set(found) == set(order)
        assert len(found) - len(order) <= IN_FLIGHT * len(killed)
        counts = Counter(found)
        assert sum(1 for each in counts.values() if each > 1) <= IN_FLIGHT * len(killed)
        assert (report["state"], report["messages"], report["done"], report["stays"]) == (
            "COMPLETED",
            len(lines),
            len(lines),
            [],
        )
        # All of it is remembered: another run sends nothing.
        code, out, _ = restrike(*words, "--run", "another", "--json")
        assert (code, json.loads(out)["delivered"], json.loads(out)["done"]) == (0, 0, len(lines))
        assert len(arrived()) == len(found)
