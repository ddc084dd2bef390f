"""`restrike demo` as its user runs it, and what it says when a number is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from restrike.cli.story import demo
from restrike.errors import VerificationFailed
from restrike.local.demo import LOST_DAY, Books, nobodys_environment, orders, usd
from restrike.local.dynamodb_local import await_end, process_identity

pytestmark = pytest.mark.usefixtures("dynamodb_local")  # fetched before the demo is timed

TIMEOUT_S = 600
"""For what never ends; a busy machine is no reason to give up."""
RESTRIKE = str(Path(sys.executable).with_name("restrike"))

NUMBERS = {
    "loaded_records": 2000,
    "in_table": 200,
    "in_books_before": 0,
    "usd_missing_before": usd(order for order in orders() if order["created_ymd"]["S"] == "2021-01-22"),
    "other_days_in_books": 1800,
    "put_back": 200,
    "put_back_records": 0,
    "planned": 200,
    "touched": 200,
    "proved": 200,
    "touch_records": 200,
    "in_books_after": 200,
    "usd_missing_after": 0,
    "again_already": 200,
    "again_touched": 0,
    "again_records": 0,
    "captured": 2204,
    "touch_handed": 200,
    "touch_differences": 0,
    "archive_handed": 200,
    "archive_differences": usd(order for order in orders() if order["created_ymd"]["S"] == "2021-01-22"),
    "archive_records": 0,
    "redriven": 10,
    "redriven_usd_missing": 0,
    "redriven_records": 0,
    "audit_equal": 2007,
    "audit_differences": 0,
}


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [RESTRIKE, "demo", *words], env={**os.environ, **environment}, capture_output=True, text=True, timeout=TIMEOUT_S
    )


def test_it_tells_the_story_on_one_screen() -> None:
    result = run()
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "\x1b" not in result.stdout, "colour, and no terminal"
    lines = result.stdout.splitlines()
    assert len(lines) <= 58
    assert max(map(len, lines)) <= 100
    assert "All 27 numbers are what they should be." in lines[-1]


def test_the_numbers_are_right_whatever_the_users_settings_are(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\nregion = eu-west-1\nendpoint_url = http://127.0.0.1:9\n")
    result = run(
        "--json",
        AWS_PROFILE="nobody",
        AWS_CONFIG_FILE=str(config),
        AWS_REGION="eu-west-1",
        AWS_ENDPOINT_URL="http://127.0.0.1:9",
        AWS_ENDPOINT_URL_DYNAMODB="http://127.0.0.1:9",
        HTTP_PROXY="http://127.0.0.1:9",
        http_proxy="http://127.0.0.1:9",
        RESTRIKE_LEDGER=str(tmp_path / "users-ledger.db"),
        RESTRIKE_RUN="mine",
    )
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["numbers"] == NUMBERS
    assert (told["ok"], told["wrong"]) == (True, [])
    assert told["elapsed_s"] > 0
    assert "All 27 numbers" in result.stderr
    assert sorted(tmp_path.iterdir()) == [config], "something of the user's was written"


class StillBroken(Books):
    """A consumer that nobody mends."""

    def drop(self, day: str | None) -> None:
        super().drop(day or LOST_DAY)


def test_a_wrong_number_is_named_and_ends_it_with_6(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(VerificationFailed) as failed:
        demo(as_json=True, keep_books=StillBroken)
    assert failed.value.exit_code == 6
    assert "now in its books (in_books_after): expected 200, measured 0" in failed.value.message
    told = json.loads(capsys.readouterr().out)
    missing = NUMBERS["usd_missing_before"]
    wrong = {"in_books_after": 0, "usd_missing_after": missing, "audit_equal": 1807, "audit_differences": 200}
    assert told["numbers"] == NUMBERS | wrong
    assert told["ok"] is False
    assert len(told["wrong"]) == len(wrong)


def test_the_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    before = dict(os.environ)
    with nobodys_environment():
        assert "AWS_PROFILE" not in os.environ
    assert dict(os.environ) == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_its_server_ends_with_it(number: signal.Signals, tmp_path: Path) -> None:
    with subprocess.Popen(
        [RESTRIKE, "demo"],
        env=os.environ | {"TMPDIR": str(tmp_path)},  # who is killed leaves its temporary folder behind
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        # The first line of the story: the server runs.
        assert "a DynamoDB Local" in process.stdout.readline()
        server = children(process.pid)[0]  # the first: the consumer's worker comes later
        identity = process_identity(server)
        assert identity is not None
        process.send_signal(number)
        process.wait(timeout=TIMEOUT_S)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert await_end(server, identity, timeout_s=TIMEOUT_S), "the server outlived the demo"


def children(pid: int) -> list[int]:
    """The child processes, once there are any."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        answer = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, timeout=TIMEOUT_S)
        found = [int(line.split()[0]) for line in answer.stdout.splitlines() if line.split()[1] == str(pid)]
        if found:
            return found
    return []
