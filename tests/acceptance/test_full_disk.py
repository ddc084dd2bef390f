"""A disk that takes no more is said, with the file and what to do; and then the command goes on with nothing lost."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from restrike.cli.main import run
from restrike.replaying import plan as replay_plan
from restrike.touching import engine as touch_engine
from tests.acceptance import command
from tests.acceptance.command import Result
from tests.change_records import make_record
from tests.integration import tables
from tests.integration.tables import Index, Item, Table

ITEMS = 1_200
RECORDS = 1_500
HANDLER = "def bad(event, context):\n    raise ValueError('no')\n"

Restrike = Callable[..., Result]


@pytest.fixture(scope="module")
def table(dynamodb_local: str) -> Table:
    """Its keys are so long that what is kept of them is larger than a ledger."""
    items: list[Item] = [{**key, "day": "2021-01-22"} for key in keys()]
    index = Index("by_day", ("day", "S"), ("sk", "N"))
    return tables.create(dynamodb_local, ("pk", "S"), ("sk", "N"), indexes=[index], items=items)


def keys() -> list[Item]:
    return [{"pk": f"k{n}" + "x" * 200, "sk": n} for n in range(ITEMS)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("records.jsonl").write_bytes(lines())
    Path("app.py").write_text(HANDLER)
    return tmp_path


def lines() -> bytes:
    return b"".join(make_record(place, size_bytes=600).raw + b"\n" for place in range(RECORDS))


@pytest.fixture
def restrike(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, dynamodb_local: str) -> Restrike:
    """The command in this process, since its start takes longer than what it does here."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_local)

    def carried_out(*words: str, full_at: int | None = None) -> Result:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        if full_at is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (full_at, before[1]))
        try:
            code = run(list(words))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        return Result(code, *capsys.readouterr())

    return carried_out


def check_said(result: Result, code: int, file: str, hint: str) -> None:
    assert result.code == code, result
    told = result.stderr.splitlines()
    at = next(number for number, line in enumerate(told) if line.startswith("restrike: "))
    assert "cannot" in told[at]
    assert file in told[at], result
    assert hint in told[at + 1], result
    assert "bug" not in result.stderr
    assert "Traceback" not in result.stderr


def check_fired(result: Result) -> None:
    assert result.code == 0, result
    assert (result.json["selected"], result.json["fired"]) == (ITEMS, ITEMS)


def places(path: str) -> list[str]:
    """Which records are in a file, by their sequence numbers or keys; it must be whole lines."""
    text = Path(path).read_text()
    assert text.endswith("\n")
    found = [json.loads(line) for line in text.splitlines()]
    records = [record["dynamodb"] for each in found for record in each.get("Records", [each])]
    return [record.get("SequenceNumber") or json.dumps(record["Keys"]) for record in records]


def check_each_once(path: str, number: int) -> None:
    found = places(path)
    assert (len(found), len(set(found))) == (number, number)


def test_a_targets_file(restrike: Restrike) -> None:
    replay = ("replay", "jsonl:records.jsonl", "--to", "jsonl:out", "--run", "r", "--execute")
    check_said(restrike(*replay, full_at=500_000), 1, "out cannot be written", "resume r --execute")
    assert 0 < len(places("out")) < RECORDS
    check_said(restrike("runs", "resume", "r", "--execute", full_at=500_000), 1, "out cannot be written", "resume r")
    assert restrike("runs", "resume", "r", "--execute").code == 0
    check_each_once("out", RECORDS)


@pytest.mark.parametrize("path", ["failed.jsonl", ""])
def test_a_file_of_failures(restrike: Restrike, folder: Path, path: str) -> None:
    replay = ["replay", "jsonl:records.jsonl", "--to", "handler:app:bad", "--retries", "0", "--run", "r"]
    replay += ["--max-failures-in-a-row", "0", "--execute", *(("--on-failure", f"jsonl:{path}") if path else ())]
    check_said(restrike(*replay, full_at=500_000), 5, "failed.jsonl", "resume r --execute")
    assert restrike(*replay).code == 1
    check_each_once(path or next(map(str, folder.rglob("failed.jsonl"))), RECORDS)


def test_what_came_on_standard_input() -> None:
    replay = "restrike replay - --to jsonl:out --run r --execute < records.jsonl"
    check_said(command.shell(f"ulimit -f 1000; {replay}"), 1, "source.jsonl", "TMPDIR")
    assert command.shell(replay).code == 0
    check_each_once("out", RECORDS)


def test_verdicts(restrike: Restrike, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = ["replay", f"stream:{table.name}", "--to", "jsonl:out", "--if-superseded", "skip"]
    replay += ["--run", "r", "--execute"]
    check_said(restrike(*replay, full_at=100_000), 1, "sample.db", "TMPDIR")

    async def no_sample(*_: object) -> dict[str, int]:
        return {}

    monkeypatch.setattr(replay_plan, "_sample_verdicts", no_sample)
    check_said(restrike(*replay, full_at=150_000), 1, "verdicts.db", "resume r --execute")
    done = restrike("runs", "resume", "r", "--execute", "--json")
    assert done.code == 0, done
    assert done.json["delivered"] == done.json["selected"] >= ITEMS, "of no item there is a later record than these"
    check_each_once("out", done.json["delivered"])


def test_an_archive(restrike: Restrike, table: Table) -> None:
    capture = ("capture", table.name, "--to", "kept", "--once", "--execute")
    check_said(restrike(*capture, full_at=10_000), 1, ".parquet", "run the same command again")
    assert restrike(*capture).code == 0
    assert restrike("replay", "archive:kept", "--event", "INSERT", "--to", "jsonl:out", "--execute").code == 0
    check_each_once("out", ITEMS)


def test_the_keys_that_were_given(restrike: Restrike, table: Table) -> None:
    Path("keys.jsonl").write_text("".join(json.dumps(key) + "\n" for key in keys()))
    touch = ("touch", table.name, "--keys", "keys.jsonl", "--run", "given", "--no-verify", "--rate", "max", "--execute")
    check_said(restrike(*touch, full_at=200_000), 1, "keys.db", "TMPDIR")
    check_fired(restrike(*touch, "--json"))


def test_the_keys_of_an_ordered_run(restrike: Restrike, table: Table) -> None:
    touch = ["touch", table.name, "--index", "by_day", "--all", "--ordered", "--run", "ordered", "--no-verify"]
    check_said(
        restrike(*touch, "--rate", "max", "--execute", full_at=200_000), 1, "ordered/keys", "resume ordered --execute"
    )
    check_fired(restrike("runs", "resume", "ordered", "--execute", "--json"))


def test_what_a_reading_of_a_table_keeps(restrike: Restrike, table: Table) -> None:
    replay = ("replay", f"table:{table.name}", "--all", "--to", "jsonl:out", "--run", "r", "--execute")
    check_said(restrike(*replay, full_at=200_000), 1, "journal.db", "resume r --execute")
    assert restrike("runs", "resume", "r", "--execute").code == 0
    check_each_once("out", ITEMS)


@pytest.mark.parametrize("write", ["marker", "counter"])
def test_the_ledger_of_a_touch(
    restrike: Restrike, table: Table, monkeypatch: pytest.MonkeyPatch, dynamodb_local: str, write: str
) -> None:
    """It takes the run, and some saves of it."""
    monkeypatch.setattr(touch_engine, "SAVE_EVERY_S", 0.0)
    touch = ["touch", table.name, "--all", "--no-verify", "--rate", "600", f"--{write}", f"by_{write}", "--run", "led"]
    check_said(restrike(*touch, "--execute", full_at=80_000), 1, "ledger.db", "done again. Go on with: restrike runs")
    check_fired(restrike("runs", "resume", "led", "--rate", "max", "--execute", "--json"))
    if write == "marker":
        fired = table.fired("led", "by_marker")
        assert (len(fired), set(fired.values())) == (ITEMS, {1})
    else:
        found = tables.client("dynamodb", dynamodb_local).scan(TableName=table.name, ProjectionExpression="by_counter")
        assert [item["by_counter"]["N"] for item in found["Items"]] == ["1"] * ITEMS


def test_a_ledger_that_cannot_be_begun(restrike: Restrike) -> None:
    words = ("replay", "jsonl:records.jsonl", "--ledger", "new/ledger.db", "--to", "jsonl:out", "--execute")
    check_said(restrike(*words, full_at=1_000), 2, "ledger.db", "Make room on its disk")
    assert restrike(*words).code == 0
