"""What the command tells beside its plans and reports; and errors of the machine, which are nobody's bug."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from restrike.cli import main as command
from restrike.cli.main import everywhere, run
from tests.acceptance.command import RESTRIKE, restrike
from tests.change_records import make_record

SECRET = "customer-080"  # a key's value


@pytest.mark.parametrize(
    ("line", "rest", "debug", "wanted"),
    [
        ("runs list", "runs list", False, {}),
        ("-v runs list", "runs list", False, {"verbose": True}),
        ("runs list --verbose --debug", "runs list", True, {"verbose": True}),
        ("runs --log x list", "runs list", False, {"log": "x"}),
        ("runs list --log=x", "runs list", False, {"log": "x"}),
        ("runs list --log", "runs list", False, {"log": ""}),
        ("runs show -- -v", "runs show -- -v", False, {}),
    ],
)
def test_what_is_welcome_anywhere(line: str, rest: str, debug: bool, wanted: dict[str, Any]) -> None:
    assert everywhere(line.split()) == (rest.split(), debug, wanted)


@pytest.mark.parametrize("path", ["", "/nonexistent/folder/log", "/"])
def test_a_log_that_cannot_be_written_is_refused(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs", "list", "--log", path]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "log" in told.err


@pytest.fixture
def records(tmp_path: Path) -> str:
    lines = [make_record(place).raw for place in range(30)]
    (tmp_path / "in").write_bytes(b"".join(line + b"\n" for line in lines))
    return f"jsonl:{tmp_path / 'in'}"


def test_the_log_has_times_and_results_and_no_values(records: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    words = ["replay", records, "--key", SECRET, "--to", f"jsonl:{tmp_path / 'out'}", "--run", "r"]
    for more in (["--execute"], ["--execute", "--batch-size", "0"]):
        restrike(*words, *more, "--log", str(log))
    text = log.read_text()
    told = [json.loads(line) for line in text.splitlines()]
    assert [each["event"] for each in told] == ["start", "report", "end", "start", "end"]
    assert told[1]["run"] == "r"
    assert told[1]["delivered"] == 0
    assert told[-1]["error"] == "UsageError"
    assert all(each["at"].endswith("Z") for each in told)
    assert SECRET not in text
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_log_on_a_full_disk_ends_nothing_but_itself() -> None:
    done = restrike("runs", "list", "--log", "/dev/full")
    assert done.code == 0
    warning = "warning: the log /dev/full ends here, and what is logged goes on: No space left on device"
    assert done.stderr.splitlines().count(warning) == 1


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        ('{"at": "x"}\n{"at": "2026-11-25T1', '{"at": "x"}\n'),
        ('{"at": "x"}\n{"a', '{"at": "x"}\n'),
        ("my notes", "my notes\n"),
        ('{"at": "x"}\n', '{"at": "x"}\n'),
        ("", ""),
    ],
)
def test_a_log_goes_on_behind_its_last_whole_line(
    before: str, kept: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    log.write_text(before)
    assert run(["runs", "list", "--log", str(log)]) == 0
    capsys.readouterr()
    assert log.read_text().startswith(kept)
    behind = log.read_text()[len(kept) :].splitlines()
    assert [json.loads(line)["event"] for line in behind] == ["start", "end"]


def test_a_log_that_cannot_be_read_can_be_written(tmp_path: Path) -> None:
    fifo = tmp_path / "log"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert restrike("runs", "list", "--log", str(fifo)).code == 0
        assert len(os.read(reading, 10_000).splitlines()) == 2
    finally:
        os.close(reading)


def test_verbose_tells_on_stderr_alone() -> None:
    plain, verbose = restrike("runs", "list"), restrike("runs", "list", "-v")
    assert verbose.stdout == plain.stdout
    assert "start runs list" not in plain.stderr
    assert "start runs list" in verbose.stderr


# ── nobody's bug ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (RecursionError("maximum recursion depth exceeded"), 2, "nested too deeply"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 2, "no UTF-8"),
        (MemoryError(), 1, "not enough memory"),
        (OSError(errno.EMFILE, "Too many open files"), 1, "no more files can be opened"),
        (OSError(errno.EIO, "Input/output error", "/proc/self/mem"), 1, "/proc/self/mem: Input/output error"),
    ],
)
def test_what_the_machine_or_the_input_is_to_blame_for_is_said(
    error: Exception, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("restrike.running.ledger.Ledger.runs", fails)
    assert run(["runs", "list"]) == code
    message, hint = capsys.readouterr().err.splitlines()
    assert said in message
    assert hint.startswith("  ")
    assert "bug" not in message + hint


@pytest.mark.parametrize("line", ["touch t --keys -", "records -", "replay - --to jsonl:x"])
def test_a_closed_stdin_is_said(line: str, dynamodb_local: str, tmp_path: Path) -> None:
    from tests.integration import tables

    table = tables.create(dynamodb_local, ("pk", "S"), items=[])
    env = {**os.environ, "AWS_ENDPOINT_URL_DYNAMODB": dynamodb_local}
    words = line.replace("touch t", f"touch {table.name}")
    done = subprocess.run(
        ["sh", "-c", f"{RESTRIKE} {words} <&-"], capture_output=True, env=env, text=True, cwd=tmp_path, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "standard input" in done.stderr


@pytest.mark.parametrize("verb", ["ls", "stat", "verify", "compact", "prune --older-than 90d"])
def test_an_archive_without_its_extra_says_what_to_install(verb: str, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = sys.modules['obstore'] = None\n"
        "from restrike.cli.main import main; main(sys.argv[1:])"
    )
    words = [sys.executable, "-c", code, "archive", *verb.split(), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "archive]" in done.stderr
    assert "bug" not in done.stderr


def test_the_exit_codes_of_help_are_those_of_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    told = restrike("--help").stdout
    for code in command.EXIT_CODES:
        assert f"| {code} |" in page
        assert f"  {code} " in told
