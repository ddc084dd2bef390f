"""Replay and capture of DynamoDB Local's shards, made into what AWS has: empty pages before records, and splits.

And what becomes of a record's eventID on its way.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import restrike
from restrike.aws import pages
from tests.integration.tables import Table, create
from tests.servers.faults import Fault, Rewritten, faulty
from tests.servers.shards_as_aws import OPERATIONS, Sparse, SplitAtDrain

ITEMS = 30


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many pages as ever, in less time."""
    monkeypatch.setattr(pages, "QUIET_S", 0.0)
    monkeypatch.setattr(pages, "MOST_QUIET_S", 0.0)
    monkeypatch.setattr("restrike.aws.walk.IDLE_POLL_S", 0.001)
    monkeypatch.setattr("restrike.aws.walk.MAX_IDLE_POLL_S", 0.02)


@pytest.fixture(scope="module")
def table(dynamodb_local: str) -> Table:
    return create(dynamodb_local, ("pk", "N"), items=[{"pk": n} for n in range(ITEMS)])


def nothing() -> None: ...


def replayed(
    table: Table, folder: Path, source: str = "", *, planned: Callable[[], object] = nothing, **options: Any
) -> list[dict[str, Any]]:
    plan = restrike.replay(
        source or f"stream:{table.name}",
        f"jsonl:{folder / 'out'}",
        endpoint_url=table.endpoint_url,
        region="us-east-1",
        ledger=folder / "ledger.db",
        **options,
    )
    planned()
    plan.execute()
    return [json.loads(line) for line in (folder / "out").read_bytes().splitlines()]


def captured(table: Table, folder: Path, *, planned: Callable[[], object] = nothing) -> list[dict[str, Any]]:
    plan = restrike.capture(
        table.name,
        str(folder / "kept"),
        endpoint_url=table.endpoint_url,
        region="us-east-1",
        ledger=folder / "ledger.db",
    )
    planned()
    plan.execute()
    return [json.loads(record.raw) for record in restrike.records(f"archive:{folder / 'kept'}")]


def through(proxy: Any, table: Table) -> Table:
    return Table(proxy.endpoint_url, table.name, table.names)


@pytest.mark.parametrize("work", [replayed, captured])
@pytest.mark.parametrize("finds_times", [False, True])
def test_a_sparse_shard_is_read_to_its_end(table: Table, tmp_path: Path, finds_times: bool, work: Any) -> None:
    empty = 200 if finds_times else pages.MOST_QUIET_PAGES - 1
    faults: list[Fault] = [Rewritten(OPERATIONS, by=Sparse(empty, finds_times=finds_times))]
    with faulty(table.endpoint_url, faults) as proxy:
        found = work(through(proxy, table), tmp_path)
        assert proxy.count("GetRecords") > empty
    assert sorted(int(record["dynamodb"]["Keys"]["pk"]["N"]) for record in found) == list(range(ITEMS))


def test_a_plan_of_a_sparse_shard_says_at_least(table: Table, tmp_path: Path) -> None:
    """It said that there were exactly none, and that nothing would be delivered."""
    with faulty(table.endpoint_url, [Rewritten(OPERATIONS, by=Sparse(20))]) as proxy:
        data = restrike.replay(
            f"stream:{table.name}",
            f"jsonl:{tmp_path / 'out'}",
            endpoint_url=proxy.endpoint_url,
            region="us-east-1",
            ledger=tmp_path / "ledger.db",
        ).data
        assert (data.records.count, data.counted) == (0, "at least")
        assert "nothing-found" not in [warning.code for warning in data.warnings]


@pytest.mark.parametrize("work", [replayed, captured])
def test_a_shard_that_splits_at_the_moment_it_is_drained(table: Table, tmp_path: Path, work: Any) -> None:
    behind = table.records()[9]["dynamodb"]["SequenceNumber"]
    split = SplitAtDrain(behind, looks=4)
    with faulty(table.endpoint_url, [Rewritten(OPERATIONS, by=split)]) as proxy:
        found = work(through(proxy, table), tmp_path, planned=split.begin)  # the plan's look may have drained it
    assert split.drained
    assert sorted(int(record["dynamodb"]["Keys"]["pk"]["N"]) for record in found) == list(range(ITEMS))


def test_a_touch_makes_event_ids_that_a_replay_and_an_archive_keep(dynamodb_local: str, tmp_path: Path) -> None:
    """A consumer that drops what it has seen takes a touch's records, and drops those of a replay."""
    table = create(dynamodb_local, ("pk", "N"), items=[{"pk": n} for n in range(5)])
    before = {record["eventID"] for record in table.records()}
    restrike.touch(
        table.name, all=True, run="r", endpoint_url=dynamodb_local, region="us-east-1", ledger=tmp_path / "ledger.db"
    ).execute()
    ids = [record["eventID"] for record in table.records()]
    assert len(before) == 5
    assert len(set(ids)) == 10
    assert [record["eventID"] for record in replayed(table, tmp_path)] == ids
    assert [record["eventID"] for record in captured(table, tmp_path)] == ids
    again = tmp_path / "again"
    again.mkdir()
    kept = f"archive:{tmp_path / 'kept'}"
    assert [record["eventID"] for record in replayed(table, again, kept)] == ids
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    assert not {record["eventID"] for record in replayed(table, fresh, kept, event_id="fresh")} & set(ids)
