"""Killed again and again and taken up each time, an audit says what it would have said at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration import safety
from tests.integration.safety import await_true, command
from tests.integration.tables import create
from tests.integration.test_audit import GONE, Shop, as_csv
from tests.servers.faults import Body, Fault, HangAfterApply, Rewritten, faulty

ITEMS_A_KILL = 80
"""So many that each kill finds something to interrupt."""
MOMENTS = {"rows": 2, "Scan": 4, "BatchGetItem": 2, "GetRecords": 2}
"""In the order of an audit's steps: of ten kills, how many come while it does that."""
SMALL_STEPS = """
from restrike.auditing import execute, rows
from restrike.aws import dynamodb
execute.FIRST_SAVE_S, execute.BATCHES, rows.CHUNK_ROWS, dynamodb.KEYS_A_CALL = 0.0, 1, 50, 20
"""
"""Each of them saved."""


class SmallPages:
    """A scan of many pages."""

    def asked(self, operation: str, body: Body) -> Body:
        return body | {"Limit": 20} if body.get("Select") != "COUNT" else body

    def answered(self, operation: str, body: Body, answer: Body) -> Body:
        return answer


def when(kills: int) -> list[str]:
    """What each kill waits for."""
    return [name for name, of_ten in MOMENTS.items() for _ in range(kills * of_ten // 10)]


@pytest.mark.soak
def test_it_says_the_same_however_often_it_was_killed(
    dynamodb_local: str, kills: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(safety, "BEFORE", SMALL_STEPS)
    shop = Shop(create(dynamodb_local, ("pk", "S"), ("sk", "N")), ITEMS_A_KILL * kills)
    copy, folder = tmp_path / "copy.csv", tmp_path / "ledger-runs" / "killed"
    copy.write_text(as_csv(list(shop.copy.values())), newline="")
    killed = 0
    with faulty(dynamodb_local) as proxy:
        always: list[Fault] = [Rewritten("Scan", by=SmallPages()), shop.aged]
        where = ["--run", "killed", "--ledger", str(tmp_path / "ledger.db"), "--endpoint-url", proxy.endpoint_url]
        what = ["--against", str(copy), "--as-of", "0s", "--on", "total,day"]
        words = ["audit", shop.table.name, *what, *where, "--execute"]
        for moment in when(kills):
            batches = len(list(folder.glob("theirs-*.batch"))) + 1
            hung = proxy.fired(HangAfterApply)
            skip = {"Scan": 1, "BatchGetItem": 1}.get(moment, 0)
            proxy.script([*always] if moment == "rows" else [HangAfterApply(moment, skip=skip), *always])
            with command(*words) as started:
                if moment == "rows":
                    await_true(
                        lambda n=batches, c=started: len(list(folder.glob("theirs-*.batch"))) >= n or c.ended,  # type: ignore[misc]
                        "it reads on",
                        every_s=0.001,
                    )
                else:
                    await_true(lambda h=hung, c=started: proxy.fired(HangAfterApply) > h or c.ended, moment)  # type: ignore[misc]
                assert not started.ended, started.stderr
                started.kill()
                killed += 1
            words = ["runs", "resume", "killed", "--ledger", str(tmp_path / "ledger.db"), "--execute"]
        proxy.script(always)
        with command(*words, "--json") as started:
            assert started.wait() == 6, started.stderr
            report = started.report()
    assert killed == kills
    told = [page["Count"] for page in shop.table.dynamodb.get_paginator("scan").paginate(TableName=shop.table.name)]
    assert sum(told) == shop.items, "the table has them all"
    assert (report["ours"], report["theirs"]) == (shop.items, len(shop.copy))
    assert (report["missing"], report["stale"], report["extra"]) == (len(shop.missing), len(shop.stale), GONE)
    for kind, expected in (("missing", shop.missing), ("stale", shop.stale), ("extra", shop.extra)):
        lines = Path(report["files"][kind]).read_text().splitlines()
        assert sorted(int(json.loads(line)["sk"]["N"]) for line in lines) == sorted(expected)
