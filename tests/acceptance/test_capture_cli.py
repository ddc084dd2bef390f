"""`restrike capture`, `restrike archive` and the source `archive:` as their user meets them."""

from __future__ import annotations

import json
import re
import shutil
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from restrike import capture as run_capture
from restrike.archive.layout import StreamName, stream_name
from restrike.local.demo import nobodys_environment
from tests.acceptance.command import Result, restrike, started
from tests.integration import tables
from tests.integration.tables import Table, until

CAPTURED = ["run", "verb", "table", "archive", "streams", "state", "records", "files", "bytes", "gaps", "first", "last"]
CAPTURED += ["elapsed_s", "ended"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def table(dynamodb_local: str, monkeypatch: pytest.MonkeyPatch) -> Table:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_local)
    return tables.create(dynamodb_local, ("pk", "S"), items=[{"pk": f"k{n}", "n": n} for n in range(40)])


def capture(table: Table, *words: str, to: str = "kept") -> Result:
    return restrike("capture", table.name, "--to", to, "--once", "--execute", "--json", *words)


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.code == 0, result
    return [json.loads(line) for line in result.stdout.splitlines()]


def names(records: list[dict[str, Any]]) -> list[str]:
    return [record["dynamodb"]["Keys"]["pk"]["S"] for record in records]


def stream_of(table: Table) -> StreamName:
    name = stream_name(table.stream_arn)
    assert name is not None
    return name


def state_of(table: Table) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(Path("kept", stream_of(table).state_path).read_text())
    return state


# ── capture ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_plan_writes_nothing_and_its_command_does(table: Table, folder: Path) -> None:
    plan = restrike("capture", table.name, "--to", "kept")
    assert (plan.code, plan.stderr) == (0, "")
    assert "Nothing was written" in plan.stdout
    assert list(folder.iterdir()) == []
    command = plan.stdout.splitlines()[-1].split()
    assert command[-2:] == ["--once", "--execute"]
    assert restrike(*command[1:]).code == 0
    assert len(lines(restrike("records", "archive:kept", "--json"))) == 40


def test_once_goes_on_where_the_archive_is(table: Table) -> None:
    first = capture(table)
    assert list(first.json) == [*CAPTURED, "plan"]
    assert (first.json["records"], first.json["state"], first.json["gaps"]) == (40, "COMPLETED", 0)
    assert re.fullmatch(
        r"end of the stream: nothing new at 1 shard after [56] empty pages over \d s", first.json["ended"]
    )
    table.load([{"pk": f"k{n}", "n": -1} for n in range(15)])
    assert capture(table).json["records"] == 15
    assert (capture(table).json["records"], capture(table).json["files"]) == (0, 0)
    kept = lines(restrike("records", "archive:kept", "--json"))
    streamed = lines(restrike("records", f"stream:{table.name}", "--json"))
    assert kept == streamed
    assert state_of(table).get("owner") is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "kept", "--execute"], "--once or --follow"),
        (["--to", "kept", "--once", "--follow", "--execute"], "Give one of them"),
        (["--once", "--execute"], "no archive is named"),
        (["--to", "", "--once"], "--to is empty"),
        (["--to", "ftp://x", "--once", "--execute"], "'ftp://x' is no place"),
        (["--to", "a-file", "--once"], "a-file is no folder"),
        (["--to", "kept", "--since", "yesterday"], "'yesterday' is no time"),
        (["--to", "kept", "--since", "2999-01-01T00:00:00Z"], "still to come"),
        (["--to", "kept", "--flush-mb", "nan"], "'--flush-mb': 'nan' is not a number"),
        (["--to", "kept", "--poll-seconds", "inf"], "'--poll-seconds': 'inf' is not a number"),
    ],
)
def test_what_cannot_be_is_refused(table: Table, words: list[str], message: str) -> None:
    Path("a-file").write_text("not a folder")
    result = restrike("capture", table.name, *words)
    assert (result.code, result.stdout) == (2, ""), result
    assert message in result.stderr
    assert not Path("kept").exists()


def test_a_table_that_is_not_there_is_named(table: Table) -> None:
    result = restrike("capture", "nobodys", "--to", "kept", "--once")
    assert result.code == 3
    assert "there is no table nobodys in us-east-1 at http" in result.stderr


def test_a_last_file_that_was_taken_away_is_captured_again(table: Table) -> None:
    capture(table)
    table.load([{"pk": f"k{n}", "n": -1} for n in range(15)])
    assert capture(table).json["records"] == 15
    before = lines(restrike("records", "archive:kept", "--json"))
    last = max(Path("kept").rglob("*.parquet"))
    last.write_bytes(last.read_bytes()[:-9])
    refused = capture(table)
    assert refused.code == 4
    assert last.name in refused.stderr
    assert "Move that file away" in refused.stderr
    last.unlink()
    assert capture(table).json["records"] == 15
    assert lines(restrike("records", "archive:kept", "--json")) == before
    assert restrike("archive", "verify", "kept").code == 0


def test_a_bucket_of_an_account_is_not_asked_for_a_local_table(table: Table) -> None:
    result = restrike("capture", table.name, "--to", "s3://bucket/prefix", "--once", "--execute")
    assert result.code == 2
    assert "AWS_ENDPOINT_URL_S3" in result.stderr


def test_follow_keeps_what_comes_and_ends_cleanly(table: Table) -> None:
    words = ("--follow", "--flush-seconds", "0.2", "--poll-seconds", "0.1", "--since", "latest")
    with started("capture", table.name, "--to", "kept", *words, "--execute", "--json") as run:
        until(lambda: Path("kept", stream_of(table).state_path).exists(), "the state")
        probes: list[str] = []

        def probed() -> bool:
            probes.append(f"probe{len(probes)}")
            table.load([{"pk": probes[-1]}])
            return any(Path("kept").rglob("*.parquet"))

        until(probed, "the first file")
        assert state_of(table)["owner"]["pid"] == run.process.pid
        second = capture(table)
        assert (second.code, second.stdout) == (2, "")
        assert f"process {run.process.pid} on" in second.stderr
        table.load([{"pk": "last"}])
        until(lambda: "last" in names(lines(restrike("records", "archive:kept", "--json"))), "the last record")
        table.load([{"pk": "in-memory"}])
        # It may be read by now, or not: the next capture has it in any case.
        run.process.send_signal(signal.SIGTERM)
        ended = run.end()
    assert ended.code == 0, ended
    assert json.loads(ended.stdout.splitlines()[-1])["ended"] == "stopped"
    assert state_of(table).get("owner") is None
    assert capture(table).code == 0
    found = names(lines(restrike("records", "archive:kept", "--json")))
    assert found[-2:] == ["last", "in-memory"]
    assert found[:-2] == probes[probes.index(found[0]) :], "from the newest end on, each once"


def test_a_stream_that_was_switched_off_and_on(table: Table) -> None:
    """What the old one had left is kept too, and the new one from its oldest record."""
    assert capture(table).json["records"] == 40
    table.load([{"pk": "at-the-end"}])
    old = table.stream_arn
    tables.switch_stream(table, None)
    tables.switch_stream(table, "NEW_AND_OLD_IMAGES")
    table.load([{"pk": "new"}])
    report = capture(table, "--since", "latest").json
    assert (report["records"], len(report["streams"]), report["streams"][0]) == (2, 2, old)
    assert report["gaps"] == 1
    told = restrike("records", "archive:kept", "--json")
    assert told.code == 4
    assert "switched off, and on again: what was written in between is on no stream" in told.stderr
    assert names(lines(restrike("records", "archive:kept", "--json", "--allow-gaps")))[40:] == ["at-the-end", "new"]
    again = capture(table).json
    assert (again["records"], len(again["streams"])) == (0, 1), "the old one is known to be at its end"


# ── the archive ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def captured(dynamodb_local: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Table, Path]:
    """A table, and an archive of it by three captures. Nobody changes them: to capture takes seconds each time."""
    folder = tmp_path_factory.mktemp("captured")
    where: Any = {"region": tables.REGION, "endpoint_url": dynamodb_local, "ledger": str(folder / "ledger.db")}
    with nobodys_environment():
        table = tables.create(dynamodb_local, ("pk", "S"), items=[{"pk": f"k{n}", "n": n} for n in range(40)])
        for number in range(3):
            table.load([{"pk": f"k{n}", "n": (number + 1) * 100} for n in range(5)])
            assert run_capture(table.name, str(folder / "kept"), **where).execute().state == "COMPLETED"
    return table, folder / "kept"


@pytest.fixture
def kept(captured: tuple[Table, Path], folder: Path, dynamodb_local: str, monkeypatch: pytest.MonkeyPatch) -> Table:
    """The table, and in `kept` a copy of its archive."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_local)
    table, archive = captured
    shutil.copytree(archive, folder / "kept")
    return table


def test_looking_after_it(kept: Table) -> None:
    before = restrike("records", "archive:kept", "--json").stdout
    told = restrike("archive", "stat", "kept", "--json").json
    assert (told["table"], told["records"], told["gaps"], told["damaged"]) == (kept.name, 55, [], [])
    assert sum(hour["records"] for hour in told["hours"]) == 55
    drawn = restrike("archive", "stat", "kept")
    assert "█" in drawn.stdout
    listed = lines(restrike("archive", "ls", "kept", "--json"))
    assert len(listed) == told["files"] >= 3
    assert all(Path("kept", each["path"]).stat().st_size == each["bytes"] for each in listed)
    assert restrike("archive", "verify", "kept", "--json").json["ok"] is True
    young = restrike("archive", "compact", "kept", "--execute", "--json").json
    assert young["merges"] == 0, "hours that are not over for an hour are left alone"
    planned = restrike("archive", "compact", "kept", "--older-than", "0h", "--json").json
    assert planned["files_before"] > planned["files_after"]
    assert lines(restrike("archive", "ls", "kept", "--json")) == listed
    done = restrike("archive", "compact", "kept", "--older-than", "0h", "--execute", "--json").json
    assert (done["files_before"], done["files_after"]) == (planned["files_before"], planned["files_after"])
    assert restrike("archive", "verify", "kept").code == 0
    assert restrike("records", "archive:kept", "--json").stdout == before
    assert capture(kept).json["records"] == 0


def test_prune_never_takes_the_last_48_hours(kept: Table) -> None:
    refused = restrike("archive", "prune", "kept", "--older-than", "47h", "--execute")
    assert refused.code == 2
    assert "48" in refused.stderr
    assert restrike("archive", "prune", "kept", "--older-than", "48h", "--execute", "--json").json["files"] == 0
    assert restrike("archive", "prune", "kept").code == 2


def test_a_replay_from_it(kept: Table) -> None:
    key = restrike("records", "archive:kept", "--key", "k3", "--json")
    history = [record["dynamodb"]["NewImage"]["n"]["N"] for record in lines(key)]
    assert history == ["3", "100", "200", "300"]
    report = restrike(
        "replay", "archive:kept", "--event", "MODIFY", "--to", "jsonl:out", "--parallel", "3", "--execute", "--json"
    ).json
    assert (report["delivered"], report["fidelity"]) == (15, {"exact": 15, "net": 0, "synthetic": 0})
    now = datetime.now(UTC).isoformat()
    assert lines(restrike("records", "archive:kept", "--since", now, "--json")) == []
    assert len(lines(restrike("records", f"archive:kept/table={kept.name}", "--until", now, "--json"))) == 55


def test_a_gap_is_told_by_every_plan_whose_window_touches_it(kept: Table) -> None:
    gap = {
        "stream_arn": kept.stream_arn,
        "from_s": 1_700_000_000.0,
        "to_s": 1_700_003_600.0,
        "shards": ["s"],
        "cause": "nobody captured",
    }
    path = Path("kept", stream_of(kept).folder, "gaps", "20231114T221320Z-20231114T231320Z.json")
    path.parent.mkdir()
    path.write_text(json.dumps(gap))
    replay = ("replay", "archive:kept", "--to", "jsonl:out")
    plan = restrike(*replay, "--json").json["plan"]
    assert "nobody captured" in plan["gaps"][0]
    assert restrike(*replay, "--last", "1d", "--json").json["plan"]["gaps"] == []
    whole = restrike(*replay, "--execute", "--run", "a", "--json")
    assert (whole.code, whole.json["delivered"], len(whole.json["gaps"])) == (4, 55, 1)
    assert restrike("replay", "archive:kept", "--to", "jsonl:out2", "--allow-gaps", "--execute").code == 0
    assert restrike("archive", "verify", "kept").code == 4
    assert "nobody captured" in restrike("archive", "stat", "kept").stdout
    assert restrike("records", "archive:kept").code == 4
    assert restrike("records", "archive:kept", "--allow-gaps").code == 0


def test_a_file_that_cannot_be_read_is_named(kept: Table) -> None:
    broken = sorted(Path("kept").rglob("*.parquet"))[1]
    broken.write_bytes(broken.read_bytes()[:-10])
    for words in (("records", "archive:kept"), ("replay", "archive:kept", "--to", "jsonl:out")):
        result = restrike(*words)
        assert result.code == 4, result
        assert broken.name in result.stderr
    rest = restrike("records", "archive:kept", "--allow-gaps")
    assert len(rest.stdout.splitlines()) == 50
    assert broken.name in rest.stderr
    assert restrike("archive", "stat", "kept").code == 4
    verdict = restrike("archive", "verify", "kept", "--json")
    assert verdict.code == 6
    assert broken.name in verdict.json["problems"][0]


def test_what_is_no_archive() -> None:
    Path("empty").mkdir()
    for where in ("empty", "nowhere"):
        result = restrike("archive", "stat", where)
        assert result.code in (2, 4)
        assert where in result.stderr
    assert restrike("records", "archive:nowhere").code == 2
