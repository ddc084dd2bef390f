"""What the command does where its terminal, its pipe or its disk is not as one would wish; as a subprocess."""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.command import RESTRIKE
from tests.unit.ways_out import terminal, unread

HEAVY = ("botocore", "aiohttp", "pyarrow", "obstore", "rich", "sqlite3", "asyncio")
BARE = "import click, msgspec"
AT_MOST = 2.0
"""Times the CPU time of an interpreter that imports what no command can do without, in the same moment."""
TRIES = 30
TIMEOUT_S = 600
ASKS = {
    "help": (["--help"], {}),
    "touch": (["touch", "--help"], {}),
    "replay": (["replay", "--help"], {}),
    "records": (["records", "--help"], {}),
    "capture": (["capture", "--help"], {}),
    "archive": (["archive", "stat", "--help"], {}),
    "runs": (["runs", "resume", "--help"], {}),
    "local": (["local", "start", "--help"], {}),
    "demo": (["demo", "--help"], {}),
    "version": (["--version"], {}),
    "completion": (["completion", "bash"], {}),
    "verbs": ([], {"COMP_WORDS": "restrike ", "COMP_CWORD": "1"}),
    "flags": ([], {"COMP_WORDS": "restrike replay --", "COMP_CWORD": "2"}),
    "choices": ([], {"COMP_WORDS": "restrike touch --api ", "COMP_CWORD": "3"}),
}


def environment(**changes: str) -> dict[str, str]:
    return {**os.environ, "COLUMNS": "100", **changes}


def asking(name: str) -> tuple[list[str], dict[str, str]]:
    words, changes = ASKS[name]
    return words, environment(**changes, **({"_RESTRIKE_COMPLETE": "bash_complete"} if changes else {}))


@pytest.mark.parametrize("name", ASKS)
def test_help_and_completion_import_nothing_heavy(name: str) -> None:
    words, env = asking(name)
    tell = f"print(*sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)"
    code = f"import atexit, sys; atexit.register(lambda: {tell}); from restrike.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=env, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert done.returncode == 0
    assert done.stdout.strip()
    assert done.stderr == "\n"


@pytest.mark.parametrize("name", ["help", "replay", "flags"])
def test_help_and_completion_are_quick(name: str, tmp_path: Path) -> None:
    """As it is installed: compiled once. The least of several tries, in turn with an interpreter that imports the
    least: a busy machine makes the CPU time of both longer, and nothing makes it shorter."""
    words, env = asking(name)
    env = {name: value for name, value in env.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(tmp_path)
    ours = bare = math.inf
    for _ in range(TRIES):
        bare = min(bare, _cpu_s([sys.executable, "-c", BARE], env))
        ours = min(ours, _cpu_s([RESTRIKE, *words], env))
        if ours <= AT_MOST * bare:
            break
    assert ours <= AT_MOST * bare


def _cpu_s(words: list[str], env: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, env=env, check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT_S)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# ── ways out that fail ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("line", ["runs list", "touch --help", "--version"])
def test_a_full_disk_is_said(line: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [RESTRIKE, *line.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
            timeout=TIMEOUT_S,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "restrike: cannot write the output: No space left on device",
        "  Make room, or send it elsewhere.",
    ]


def test_a_stdout_that_was_closed_is_said() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{RESTRIKE} runs list >&-"],
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("restrike: cannot write the output: Bad file descriptor\n")


@pytest.mark.parametrize("line", ["runs list", "touch --help"])
def test_a_reader_that_goes_away_is_no_failure(line: str) -> None:
    with unread() as pipe:
        done = subprocess.run(
            [RESTRIKE, *line.split()],
            stdout=pipe,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
            timeout=TIMEOUT_S,
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_unicode_is_no_failure() -> None:
    env = environment(PYTHONIOENCODING="latin-1")
    done = subprocess.run([RESTRIKE, "replay", "--help"], capture_output=True, env=env, timeout=TIMEOUT_S)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"s3://\u2026" in done.stdout
    done = subprocess.run([RESTRIKE, "runs", "show", "é€"], capture_output=True, env=env, timeout=TIMEOUT_S)
    assert done.returncode == 2
    assert b"no run '\xe9\\u20ac'" in done.stderr


def test_a_stderr_that_nobody_reads_does_not_change_what_is_done() -> None:
    with unread() as pipe:
        done = subprocess.run(
            [RESTRIKE, "runs", "list"],
            stdout=subprocess.PIPE,
            stderr=pipe,
            env=environment(RESTRIKE_NONSENSE="1"),
            timeout=TIMEOUT_S,
        )
    assert done.returncode == 0
    assert done.stdout.startswith(b"run ")


@pytest.mark.parametrize(("term", "live"), [("xterm", True), ("dumb", False), ("", False)])
def test_progress_is_live_on_a_terminal_that_can(term: str, live: bool) -> None:
    code = (
        "from restrike.cli.render import progress\n"
        "progress.PLAIN_EVERY_S = 0.0\n"
        "line = progress.ProgressLine(lambda done: f'done [{done}] of 9')\n"
        "line(3)\n"
        "line(4)\n"
        "line.close()\n"
    )
    env = environment(TERM=term)
    with terminal() as screen:
        subprocess.run([sys.executable, "-c", code], stderr=screen.file, env=env, check=True, timeout=TIMEOUT_S)
    said = screen.said
    assert b"done [4] of 9" in said
    assert (b"\x1b[" in said) is live
    if not live:
        assert said.replace(b"\r", b"") == b"done [3] of 9\ndone [4] of 9\n"
