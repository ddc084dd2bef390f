"""What a process that was killed has left behind goes with the next start, and nothing else does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from restrike.running.ledger import Ledger, default_path
from restrike.running.spool import PREFIX
from tests.acceptance.command import RESTRIKE, TIMEOUT_S, restrike
from tests.acceptance.test_bad_invocations import record
from tests.integration import tables
from tests.integration.safety import await_true

REPLAY = ("replay", "-", "--to", "jsonl:out.jsonl", "--run", "killed", "--execute")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where plans spool."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@contextmanager
def spooling(words: tuple[str, ...], text: str, spooled: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    """A command that has spooled that text, and waits for more of its standard input."""
    process = subprocess.Popen([RESTRIKE, *words], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdin is not None
        process.stdin.write(text.encode())
        process.stdin.flush()
        await_true(lambda: spooled() or process.poll() is not None, "nothing was spooled")
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        process.kill()
        process.communicate(timeout=TIMEOUT_S)


def spools(folder: Path) -> set[Path]:
    return {each for each in folder.iterdir() if each.name.startswith(PREFIX) and any(each.iterdir())}


def test_what_a_killed_plan_has_spooled_goes_with_the_next_start(temporary: Path) -> None:
    big = "".join(record(number) + "\n" for number in range(2_000))
    Path("other.jsonl").write_text(record(1) + "\n")
    with spooling(REPLAY, big, lambda: bool(spools(temporary))) as killed:
        [left] = spools(temporary)
        killed.send_signal(signal.SIGKILL)
        killed.wait(TIMEOUT_S)
    assert spools(temporary) == {left}
    alive = ("replay", "-", "--to", "jsonl:out2.jsonl")
    with spooling(alive, big, lambda: bool(spools(temporary) - {left})) as living:
        assert left not in spools(temporary), "a plan is a start, too"
        [held] = spools(temporary)
        done = restrike("replay", "jsonl:other.jsonl", "--to", "jsonl:out3.jsonl", "--execute")
        assert done.code == 0, done
        assert spools(temporary) == {held}, "another's, who lives"
        living.communicate(timeout=TIMEOUT_S)
        assert living.returncode == 0
    assert list(temporary.iterdir()) == []


def test_keys_that_a_killed_touch_has_spooled_go_with_the_next_run(temporary: Path, dynamodb_local: str) -> None:
    table = tables.create(dynamodb_local, ("pk", "S"), items=[{"pk": "a"}])
    text = "".join(json.dumps({"pk": f"k{number}"}) + "\n" for number in range(5_000))
    where = ("--endpoint-url", dynamodb_local)
    touch = ("touch", table.name, "--no-verify", "--execute", *where)
    with spooling((*touch, "--keys", "-"), text, lambda: bool(spools(temporary))) as killed:
        killed.send_signal(signal.SIGKILL)
        killed.wait(TIMEOUT_S)
    assert spools(temporary)
    done = restrike(*touch, "--partition-key", "a")
    assert done.code == 0, done
    assert list(temporary.iterdir()) == []


DIES = """
import os, pathlib, signal, sys
from restrike.cli.main import main
from restrike.running import spool

def move(source, target):
    pathlib.Path(target).write_bytes(pathlib.Path(source).read_bytes()[:10])
    os.kill(os.getpid(), signal.SIGKILL)

spool.shutil.move = move
main(sys.argv[1:])
"""


def test_what_was_moved_in_part_into_a_runs_folder_goes_with_the_next_run(temporary: Path) -> None:
    Path("other.jsonl").write_text(record(1) + "\n")
    died = subprocess.run([sys.executable, "-c", DIES, *REPLAY], input=record(1).encode(), timeout=TIMEOUT_S)
    assert died.returncode == -signal.SIGKILL
    with Ledger() as ledger:
        [half] = [each for each in ledger.files("killed") if each.stat().st_size == 10]
        ledger.acquire("alive")
        other = ledger.folder("alive") / half.name
        other.write_bytes(b"half")
        done = restrike("replay", "jsonl:other.jsonl", "--to", "jsonl:out3.jsonl", "--execute")
        assert done.code == 0, done
        assert ledger.files("killed") == []
        assert other.exists(), "its run is being executed"
    assert default_path().stat().st_mode & 0o777 == 0o600
    # And the run that was killed can begin.
    assert restrike(*REPLAY, stdin=record(1) + "\n").code == 0
    assert len(Path("out.jsonl").read_text().splitlines()) == 1
    assert list(temporary.iterdir()) == []
