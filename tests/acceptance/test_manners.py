"""Resuming with a plan, followers that are stopped, pipes that end, services that are none: as a user meets them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.command import restrike, runs, shell, started
from tests.change_records import make_record
from tests.integration import tables
from tests.integration.tables import until
from tests.servers.faults import ServerError, faulty
from tests.servers.oddities import answering


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with 30 records in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").write_bytes(b"".join(make_record(place).raw + b"\n" for place in range(30)))
    return tmp_path


def delivered() -> int:
    return len(Path("out").read_text().splitlines()) if Path("out").exists() else 0


# ── going on ─────────────────────────────────────────────────────────────────────────────────────────────


def test_resume_prints_its_plan_and_goes_on_only_with_execute() -> None:
    """It acted at once: after a canary, the line that it printed fired all the rest."""
    canary = restrike("replay", "jsonl:in", "--to", "jsonl:out", "--limit", "10", "--run", "r", "--execute")
    assert canary.code == 0, canary
    assert "ended at its --limit" in canary.stderr
    said = canary.stderr.splitlines()[-1]
    assert said.endswith("restrike runs resume r")
    assert delivered() == 10
    plan = shell(said.partition(": ")[2])
    assert plan.code == 0, plan
    assert "run r is limited: 10 selected, 10 delivered" in plan.stderr
    assert "Nothing was delivered. To do it:\n  restrike runs resume r --execute\n" in plan.stdout
    assert delivered() == 10
    assert runs()["r"]["state"] == "LIMITED"
    told = restrike("runs", "resume", "r", "--limit", "20", "--rate", "1000", "--json")
    assert list(told.json) == ["plan"]
    command = told.json["plan"]["command"]
    assert command == "restrike runs resume r --limit 20 --rate 1000 --execute"
    assert shell(command).code == 0
    assert delivered() == 20
    assert restrike("runs", "resume", "r", "--execute").code == 0
    assert delivered() == 30


def test_the_command_to_go_on_with_names_the_ledger() -> None:
    words = ["replay", "jsonl:in", "--to", "jsonl:out", "--run", "r", "--ledger", "some where.db"]
    canary = restrike(*words, "--limit", "10", "--execute")
    command = canary.stderr.splitlines()[-1].partition("next: ")[2]
    assert "--ledger" in command
    assert shell(command).code == 0, command


# ── where what goes ──────────────────────────────────────────────────────────────────────────────────────


def test_a_plan_is_data_until_it_is_carried_out() -> None:
    words = ["replay", "jsonl:in", "--to", "jsonl:out", "--run", "r"]
    plan = restrike(*words)
    assert plan.stderr == ""
    assert "Nothing was delivered" in plan.stdout
    done = restrike(*words, "--execute", "--json")
    assert "target" in done.stderr
    assert "Nothing was delivered" not in done.stderr
    assert done.json["delivered"] == 30
    assert done.json["plan"]["target"] == "jsonl:out"


def test_records_on_stdout_stand_there_alone() -> None:
    done = restrike("replay", "jsonl:in", "--to", "-", "--execute", "--json")
    assert done.code == 0, done
    assert [json.loads(line)["eventName"] for line in done.stdout.splitlines()]
    assert len(done.stdout.splitlines()) == 30
    assert "30 delivered" in done.stderr


@pytest.mark.parametrize(
    "line", ["records jsonl:in", "replay jsonl:in --to - --execute", "replay jsonl:in --to jsonl:x"]
)
def test_a_reader_that_has_enough_is_no_failure(line: str, folder: Path) -> None:
    (folder / "in").write_bytes(b"".join(make_record(place).raw + b"\n" for place in range(3_000)))
    done = shell(f"{{ restrike {line}; echo $? >code; }} | head -1")
    assert len(done.stdout.splitlines()) == 1
    assert Path("code").read_text() == "0\n", done.stderr
    assert "bug" not in done.stderr


def test_a_ledger_that_cannot_be_opened_is_a_matter_of_usage(folder: Path) -> None:
    (folder / "page.html").write_text("<html>")
    for ledger in (".", "page.html", "/proc/nothing/ledger.db"):
        done = restrike("replay", "jsonl:in", "--to", "jsonl:out", "--execute", "--ledger", ledger)
        assert (done.code, done.stdout) == (2, ""), done
    assert (folder / "page.html").read_text() == "<html>"


# ── followers ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("verb", ["replay", "records"])
def test_a_follower_that_is_stopped_is_no_failure(verb: str, number: signal.Signals, dynamodb_local: str) -> None:
    table = tables.create(dynamodb_local, ("pk", "S"), items=[{"pk": "old"}])
    source = ["--follow", "--since", "2021-01-01T00:00:00Z", "--endpoint-url", dynamodb_local]
    more = ["--to", "jsonl:out", "--run", "r", "--execute"] if verb == "replay" else []
    with started(verb, f"stream:{table.name}", *source, *more) as running:
        if verb == "replay":
            until(lambda: delivered() > 0, "the first record")
        else:
            assert running.process.stdout is not None
            assert "old" in running.process.stdout.readline()
        running.process.send_signal(number)
        ended = running.end()
    assert ended.code == 0, ended
    assert "Traceback" not in ended.stderr
    if verb == "replay":
        assert "restrike runs resume r --execute" in ended.stderr
        assert runs()["r"]["state"] == "INTERRUPTED", "started again under its name, it goes on"


# ── what is no service ───────────────────────────────────────────────────────────────────────────────────

VERBS: dict[str, list[str]] = {
    "doctor": ["doctor", "orders"],
    "touch": ["touch", "orders", "--all"],
    "replay": ["replay", "stream:orders", "--to", "jsonl:out"],
    "table": ["replay", "table:orders", "--all", "--to", "jsonl:out"],
    "records": ["records", "stream:orders"],
    "capture": ["capture", "orders", "--to", "kept", "--once"],
}


@pytest.mark.parametrize("body", [b"<html>Log in, please</html>", b"{}", b""], ids=["html", "object", "empty"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_login_page_is_said_to_be_none_of_aws(verb: str, body: bytes) -> None:
    with answering(body) as url:
        done = restrike(*VERBS[verb], "--endpoint-url", url)
    assert (done.code, done.stdout) == (3, ""), done
    message, hint = done.stderr.splitlines()
    assert "what answers at" in message
    assert "proxy" in hint


def test_a_service_that_is_silent_is_told_while_it_is_awaited() -> None:
    """It was silent for 151 s, and so were we."""
    with answering(b"", silent=True) as url, started("touch", "orders", "--all", "--endpoint-url", url) as running:
        assert running.process.stderr is not None
        assert running.process.stderr.readline().startswith("waiting: DynamoDB has not answered DescribeTable at")
        ended = running.interrupt()
    assert ended.code == 130, ended


def test_refusals_are_told_while_they_last(dynamodb_local: str) -> None:
    """`touching 0 of 30, 0 fired` it said for two minutes, and nothing of the 500s."""
    table = tables.create(dynamodb_local, ("pk", "S"), items=[{"pk": f"k{n}"} for n in range(30)])
    with (
        faulty(dynamodb_local, [ServerError("BatchExecuteStatement")]) as proxy,
        started(
            "touch", table.name, "--all", "--run", "r", "--execute", "--endpoint-url", proxy.endpoint_url
        ) as running,
    ):
        assert running.process.stderr is not None
        while not (said := running.process.stderr.readline()).startswith("waiting: "):
            assert said, "it ended"
        ended = running.interrupt()
    assert re.fullmatch(r"waiting: DynamoDB answers 500 \(InternalServerError\) since \d+ s, attempt \d+\n", said)
    assert ended.code == 130, ended
    assert "restrike runs resume r --execute" in ended.stderr


# ── a second Ctrl-C ──────────────────────────────────────────────────────────────────────────────────────

SLOW_HANDLER = """
import os, pathlib, time


def handle(event, context):
    pathlib.Path("worker").write_text(str(os.getpid()))
    time.sleep(600)
"""


def test_a_run_whose_stderr_is_closed_is_carried_out() -> None:
    """It ended at once, with 1 and without a word."""
    done = shell("restrike replay jsonl:in --to jsonl:out --run r --execute --json 2>&-")
    assert (done.code, done.json["delivered"]) == (0, 30), done
    assert delivered() == 30


def test_a_second_ctrl_c_ends_the_process_and_its_workers_at_once(folder: Path) -> None:
    (folder / "slow.py").write_text(SLOW_HANDLER)
    words = ["replay", "jsonl:in", "--to", "handler:slow:handle", "--timeout", "600", "--run", "r", "--execute"]
    with started(*words) as running:
        until(lambda: Path("worker").exists() and Path("worker").read_text(), "the handler")
        running.process.send_signal(signal.SIGINT)
        assert running.process.stderr is not None
        while "stopping" not in (said := running.process.stderr.readline()):
            assert said, "it ended"
        with pytest.raises(subprocess.TimeoutExpired):  # the batch is finished first; and the second is over
            running.process.wait(1.5)
        ended = running.interrupt()
    assert ended.code == 130, ended
    worker = int(Path("worker").read_text())
    until(lambda: not Path(f"/proc/{worker}").exists() or _is_gone(worker), "the end of the worker")
    assert runs()["r"]["state"] == "INTERRUPTED"


def _is_gone(process: int) -> bool:
    """Dead, and not yet reaped by whoever inherited it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
