"""The README and the docs say what is so: every command is run, or held against the Makefile and `--help`."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from restrike.aws import dynamodb
from restrike.aws.session import Aws
from restrike.cli.main import VERBS, cli
from restrike.local import demo

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TIMEOUT_S = 600
RESTRIKE = [sys.executable, "-c", "from restrike.cli.main import main; main()"]
VARYING = re.compile(
    r"127\.0\.0\.1:\d+|\(pid \d+\)|\d+(\.\d+)? read units|\"(elapsed_s|items_per_s)\": [\d.]+|\d{4}-\d\d-\d\dT[\d:]+Z"
)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def commands(page: Path) -> list[tuple[str, str]]:
    """(command, output) of every `$ command` in the page's console blocks."""
    found = []
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output))
    return found


def expected_lines(output: str) -> list[str]:
    return [told(line) for line in output.splitlines() if line.strip() not in ("", "…")]


def told(line: str) -> str:
    """Without what differs each time; a column is as wide as its longest age, and that differs, too."""
    return " ".join(VARYING.sub("~", line).split())


def fits(line: str, printed: str) -> bool:
    """Whether a printed line is what the page says; … stands for what the page leaves out."""
    return re.fullmatch(".*".join(re.escape(part) for part in line.split("…")), printed) is not None


@pytest.fixture
def shop(dynamodb_local: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The README's table `orders`, as the demo has it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_local)
    client = Aws().client("dynamodb")
    if "orders" in client.list_tables()["TableNames"]:
        client.delete_table(TableName="orders")

    async def load() -> None:
        async with dynamodb.connect(Aws(), connections=8) as wire:
            table = demo.Shop(wire)
            await table.open()
            await table.load(demo.orders())

    asyncio.run(load())
    return dynamodb_local


@pytest.fixture
def free_port() -> Iterator[str]:
    """A port for the README's 8000; whatever it started there is ended."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    yield port
    subprocess.run([*RESTRIKE, "local", "stop"], check=True, capture_output=True, timeout=TIMEOUT_S)


def test_the_readmes_commands_print_what_it_says(
    dynamodb_local: str, free_port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the README's order, in one shell and one ledger, from a table that it makes itself on; lines with … between
    them may have others between."""
    monkeypatch.chdir(tmp_path)
    ran = 0
    for command, output in commands(ROOT / "README.md"):
        words = shlex.split(command.replace("make demo", "restrike demo").replace("8000", free_port))
        if words[0] == "export":
            for name, value in (word.split("=", 1) for word in words[1:]):
                monkeypatch.setenv(name, value)
        if words[0] != "restrike":
            continue
        answer = subprocess.run(
            [*RESTRIKE, *words[1:]], capture_output=True, text=True, timeout=TIMEOUT_S, env=os.environ
        )
        printed = [told(line) for line in (answer.stdout + answer.stderr).splitlines()]
        for line in expected_lines(output):
            found = any(fits(line, each) for each in printed)
            assert found, f"{command}: {line!r} is not in {answer.stdout}{answer.stderr}"
        ran += 1
    assert ran >= 13


def test_the_readmes_python_runs(shop: str) -> None:
    for block in blocks(ROOT / "README.md", "python"):
        answer = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, timeout=TIMEOUT_S)
        assert answer.stdout == "200 ['marker-stays']\n200 200\n", answer.stderr


def test_the_captures_python_runs_to_its_time_limit(shop: str, tmp_path: Path) -> None:
    (block,) = blocks(ROOT / "docs" / "capture.md", "python")
    assert "14 * 60" in block
    program = block.replace("14 * 60", "3") + "print(report.state, report.records, stop.is_set())"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT_S, cwd=tmp_path
    )
    assert answer.stdout == "COMPLETED 2000 False\n", answer.stderr


def test_duckdb_answers_the_queries_of_the_docs(shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    capture = ["capture", "orders", "--to", "kept", "--once", "--execute"]
    subprocess.run([*RESTRIKE, *capture], check=True, capture_output=True, timeout=TIMEOUT_S)
    by_hour, history = blocks(ROOT / "docs" / "archive.md", "sql")
    with duckdb.connect() as database:
        rows = database.sql(by_hour).fetchall()
        assert sum(records for *_, records in rows) == 2000
        assert {event for _, _, event, _ in rows} == {"INSERT"}
        order = next(each for each in demo.orders() if each["order_id"]["S"] == "2021-01-22-140")
        # Without the time, for which DuckDB's Python part wants one more package.
        query = f"SELECT event_name, was, is_now FROM ({history.strip().removesuffix(';')})"
        ((event, was, is_now),) = database.sql(query).fetchall()
        assert (event, was, is_now) == ("INSERT", None, order["total"]["N"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_the_docs_exists(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for command, _ in commands(page):
        words = [word for word in shlex.split(command) if "=" not in word or word.startswith("-")]
        if words[0] == "make":
            assert set(words[1:]) <= targets, command
        elif words[0] == "restrike":
            exists(words[1:], command)


def exists(words: list[str], command: str) -> None:
    """The verb, its subcommand and each flag stand in `--help`."""
    path = [words[0]]
    if words[0] in ("runs", "local", "archive", "iam"):
        path.append(words[1])
    text = help_of(*path).replace("--[no-]", "--")
    for word in words:
        if word.startswith("--"):
            name = re.escape(word.replace("--no-", "--"))
            assert re.search(rf"{name}\b", text), f"{command}: {word} is not in --help"


def help_of(*path: str) -> str:
    answer = CliRunner().invoke(cli, [*path, "--help"])
    assert answer.exit_code == 0, answer.output
    return answer.output


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_stands_in_the_docs(verb: str) -> None:
    assert help_of(verb)
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    assert any(f"restrike {verb}" in text or f"make {verb}" in text for text in texts)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
