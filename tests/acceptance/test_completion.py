"""What a shell is offered: by click's protocol, and in a real bash with the script that `completion` prints."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.command import RESTRIKE, restrike
from tests.integration import tables
from tests.integration.tables import Index, Table


@pytest.fixture(scope="module")
def orders(dynamodb_local: str) -> Table:
    return tables.create(
        dynamodb_local, ("pk", "S"), ("sk", "N"), indexes=[Index("by_day", ("day", "S"))], items=[{"pk": "p", "sk": 1}]
    )


PATIENT = {"RESTRIKE_COMPLETION_TIMEOUT_S": "500"}
"""What is merely slow is waited for."""


def offered(line: str, **environment: str) -> list[str]:
    """What is offered for the last word of the line, which a blank at its end makes empty."""
    words = line.split(" ")
    asked = {"_RESTRIKE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    answer = restrike(**asked, **(PATIENT | environment))
    assert (answer.code, answer.stderr) == (0, ""), answer
    return [each.partition(",")[2] for each in answer.stdout.splitlines() if each]


def in_bash(line: str, **environment: str) -> list[str]:
    """What bash would put there, after it has evaluated the script."""
    script = (
        'eval "$(restrike completion bash)"\n'
        "COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDBREAKS=$' \\t\\n\"\\'><=;|&(:'\n"
        "compopt() { :; }\n"  # only a completion that readline asked for may call it
        "_restrike_completion restrike\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    path = f"{Path(RESTRIKE).parent}{os.pathsep}{os.environ['PATH']}"
    answer = subprocess.run(
        ["bash", "-u", "-c", script, "bash", line],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path, **PATIENT, **environment},
        timeout=600,
    )
    assert (answer.returncode, answer.stderr) == (0, ""), answer
    return answer.stdout.split()


def test_verbs_flags_and_choices() -> None:
    assert offered("restrike re") == ["replay", "redrive", "records"]
    assert offered("restrike d") == ["doctor", "demo"]
    assert offered("restrike doctor t --c") == ["--consumer"]
    assert offered("restrike runs re") == ["resume"]
    assert offered("restrike touch --exp") == [
        "--expression-attribute-names",
        "--expression-attribute-values",
        "--expect-account",
    ]
    assert offered("restrike touch t --no-v") == ["--no-verify"]
    assert offered("restrike touch t --api ") == ["partiql", "update-item"]
    assert offered("restrike touch t --max-lag ") == ["off", "1m", "5m", "15m", "1h"]
    assert offered("restrike runs resume r --max-lag 1") == ["1m", "15m", "1h"]
    assert offered("restrike completion ") == ["bash", "zsh", "fish"]
    assert offered("restrike replay ") == ["stream:", "table:", "archive:", "export:", "jsonl:", "failures:"]
    assert offered("restrike replay stream:t --to l") == ["lambda:"]


def test_names_of_tables_and_indexes(orders: Table) -> None:
    where = {"AWS_ENDPOINT_URL_DYNAMODB": orders.endpoint_url}

    assert orders.name in offered("restrike touch ", **where)
    assert offered(f"restrike touch {orders.name[:-1]}", **where) == [orders.name]
    assert offered(f"restrike touch --endpoint-url {orders.endpoint_url} {orders.name}") == [orders.name]
    assert offered(f"restrike replay stream:{orders.name}", **where) == [f"stream:{orders.name}"]
    assert offered(f"restrike touch {orders.name} --index ", **where) == ["by_day"]
    assert offered(f"restrike replay table:{orders.name} --index by", **where) == ["by_day"]
    assert in_bash(f"restrike replay stream:{orders.name[:-1]}", **where) == [orders.name]


def test_names_of_runs_and_the_ledger_is_not_touched(orders: Table, tmp_path: Path) -> None:
    ledger = tmp_path / "kept" / "ledger.db"
    assert offered("restrike runs show ", RESTRIKE_LEDGER=str(ledger)) == []
    assert not ledger.parent.exists()
    for run in ("first", "second"):
        done = restrike(
            "touch", orders.name, "--endpoint-url", orders.endpoint_url, "--partition-key", "p", "--run", run,
            "--ledger", str(ledger), "--execute",
        )  # fmt: skip
        assert done.code == 0, done
    before = ledger.read_bytes()
    for verb in ("show", "resume", "cancel"):
        assert offered(f"restrike runs {verb} ", RESTRIKE_LEDGER=str(ledger)) == ["second", "first"]
    assert offered(f"restrike runs show --ledger {ledger} f") == ["first"]
    assert offered(f"restrike touch t --ledger {ledger} --run s") == ["second"]
    assert ledger.read_bytes() == before


def test_nothing_is_offered_and_nothing_said_where_aws_is_not_there() -> None:
    assert offered("restrike touch ", AWS_ENDPOINT_URL_DYNAMODB="http://127.0.0.1:9") == []
    assert offered("restrike touch ", AWS_PROFILE="nobody") == []
    assert offered("restrike touch t --index ", AWS_ENDPOINT_URL_DYNAMODB="no url") == []
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        brief = {"RESTRIKE_COMPLETION_TIMEOUT_S": "0.5"}
        assert offered("restrike touch ", AWS_ENDPOINT_URL_DYNAMODB=url, **brief) == []


def test_a_ledger_that_is_none_offers_nothing(tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("not a database, and long enough to be taken for one" * 10)
    assert offered("restrike runs show ", RESTRIKE_LEDGER=str(other)) == []


def test_bash_completes(tmp_path: Path) -> None:
    assert in_bash("restrike re") == ["replay", "redrive", "records"]
    assert in_bash("restrike replay ar") == ["archive:"]
    assert in_bash('restrike touch t --sort-key "begins_with x" --api part') == ["partiql"]
    assert in_bash("restrike touch ", AWS_PROFILE="nobody") == []


@pytest.mark.parametrize(("shell", "sign"), [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete --no")])
def test_each_shell_has_its_script(shell: str, sign: str) -> None:
    script = restrike("completion", shell)
    assert (script.code, script.stderr) == (0, "")
    assert sign in script.stdout
    assert "_RESTRIKE_COMPLETE" in script.stdout
