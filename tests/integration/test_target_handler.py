"""`handler:` with handlers that answer, fail, crash, hang and leave; and with a parent that dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from restrike.errors import UsageError
from restrike.local.dynamodb_local import await_end, process_identity
from restrike.model.record import Record, event
from restrike.targets import Answer
from restrike.targets.handler import target as handler
from restrike.targets.handler.target import HandlerTarget
from restrike.targets.handler.worker import LENGTH, READY, Order
from tests.change_records import STREAM_ARN, make_record

T = TypeVar("T")
BOUND_S = 600.0
NAME = "consumer_under_test"


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, BOUND_S))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, which handlers are imported from."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return tmp_path


def write_handler(body: str, *, name: str = NAME, before: str = "") -> None:
    text = f"{textwrap.dedent(before)}\ndef main(event, context):\n{textwrap.indent(textwrap.dedent(body), '    ')}"
    Path(f"{name}.py").write_text(text)


def attempts(*batches: list[Record], **options: Any) -> list[Answer]:
    """The answers to those batches, one after the other."""

    async def work() -> list[Answer]:
        async with HandlerTarget(NAME, "main", run="RUN", **options) as target:
            return [await target.attempt(batch) for batch in batches]

    return run(work())


def one(place: int = 1) -> list[Record]:
    return [make_record(place)]


def read_pid(path: Path) -> tuple[int, str]:
    """The process whose number a handler wrote down, once it has, and what tells it from a later one."""
    deadline = time.monotonic() + BOUND_S
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"{path.name} was not written"
        time.sleep(0.01)
    pid = int(path.read_text())
    return pid, process_identity(pid) or ""


WRITE_PID = "import os, time, pathlib\npathlib.Path('pid').write_text(f'{os.getpid()}\\n')\n"


# ------------------------------------------------------------------------------------------------------- it answers


def test_a_handler_gets_the_event_as_lambda_hands_it_over() -> None:
    write_handler("return event")
    records = [make_record(n, image={"text": {"S": 'ü\u2028" 再着火'}, "n": {"N": "1"}}) for n in (1, 2)]
    [answer] = attempts(records)
    assert answer.ok, answer.error
    assert json.loads(answer.response) == json.loads(event(records))
    assert json.loads(answer.response)["Records"][0]["eventSourceARN"] == STREAM_ARN


def test_a_response_may_name_items_that_failed_or_be_nothing() -> None:
    write_handler("""
        if len(event["Records"]) == 2:
            return {"batchItemFailures": [{"itemIdentifier": event["Records"][1]["dynamodb"]["SequenceNumber"]}]}
    """)
    partial, nothing = attempts([make_record(1), make_record(22)], one())
    assert json.loads(partial.response) == {"batchItemFailures": [{"itemIdentifier": "22"}]}
    assert nothing == Answer(ok=True, response=b"null")


def test_the_context_has_what_handlers_use() -> None:
    write_handler("""
        return {
            "ids": [context.aws_request_id],
            "remaining": context.get_remaining_time_in_millis(),
            "custom": context.client_context.custom,
            "env": context.client_context.env,
            "identity": context.identity.cognito_identity_id,
            "names": [context.function_name, context.function_version, context.invoked_function_arn,
                      context.memory_limit_in_mb, context.log_group_name, context.log_stream_name],
        }
    """)
    first, second = (json.loads(answer.response) for answer in attempts(one(), one(), timeout_s=30))
    assert first["custom"] == {"restrike": {"run": "RUN", "fidelity": "exact"}}
    assert (first["env"], first["identity"]) == (None, None)
    assert 20_000 < first["remaining"] <= 30_000
    assert first["ids"] != second["ids"], "a new one for each attempt"
    name, version, arn, memory, group, stream = first["names"]
    assert (name, version, memory, group) == ("main", "$LATEST", "128", "/aws/lambda/main")
    assert arn.endswith(":function:main")
    assert "[$LATEST]" in stream


def test_of_mixed_records_the_weakest_fidelity_is_told() -> None:
    write_handler("return context.client_context.custom['restrike']['fidelity']")
    mixed = [make_record(1), make_record(2, fidelity="synthetic"), make_record(3, fidelity="net")]
    told = [answer.response for answer in attempts(one(), mixed, mixed[::2])]
    assert told == [b'"exact"', b'"synthetic"', b'"net"']


def test_prints_go_to_standard_error_and_do_not_disturb(capfd: pytest.CaptureFixture[str]) -> None:
    write_handler("""
        import os, subprocess, sys
        print("printed")
        os.write(1, b"written\\n")
        subprocess.run([sys.executable, "-c", "print('by a child')"], check=True)
        return 1
    """)
    [answer] = attempts(one())
    assert answer == Answer(ok=True, response=b"1")
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == ["printed", "written", "by a child"]


def test_local_modules_can_be_imported_and_decimals_answered() -> None:
    Path("beside.py").write_text("VALUE = 7\n")
    write_handler("return [beside.VALUE, Decimal('1.5')]", before="import beside\nfrom decimal import Decimal")
    assert attempts(one()) == [Answer(ok=True, response=b"[7, 1.5]")]


def test_the_largest_event_comes_through() -> None:
    write_handler("return len(event['Records'][0]['dynamodb']['NewImage']['filling']['S'])")
    assert attempts([make_record(1, size_bytes=6_000_000)]) == [Answer(ok=True, response=b"6000000")]


# --------------------------------------------------------------------------------------------------------- it fails


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise ValueError('poison')", "ValueError: poison"),
        ("raise KeyError", "KeyError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import os; os._exit(5)", "the handler's process ended with exit code 5"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the handler's process was ended by SIGSEGV"),
        ("return object()", "TypeError: Object of type object is not JSON serializable"),
        ("return 'x' * 7_000_000", "the response has 7,000,002 bytes, and Lambda takes 6,291,556"),
        ("raise ValueError('y' * 5000)", f"ValueError: {'y' * 988}"),
        ("raise ValueError('\\udc80')", "ValueError: ?"),
    ],
)
def test_what_the_handler_does_wrong_is_that_batchs_failure(body: str, error: str) -> None:
    write_handler(f"if event['Records'][0]['dynamodb']['SequenceNumber'] == '1':\n    {body}\nreturn 'good'")
    failed, good = attempts(one(1), one(2))
    assert failed == Answer(ok=False, error=error)
    assert good == Answer(ok=True, response=b'"good"')


def test_an_exception_keeps_the_process_and_a_crash_replaces_it() -> None:
    write_handler("""
        import os
        place = event["Records"][0]["dynamodb"]["SequenceNumber"]
        if place == "2":
            raise ValueError
        if place == "4":
            os._exit(1)
        return os.getpid()
    """)
    first, _, third, _, fifth = attempts(*[one(n) for n in (1, 2, 3, 4, 5)])
    assert first.response == third.response != fifth.response


def test_a_hung_handler_is_killed_with_what_it_started(folder: Path) -> None:
    write_handler("""
        import subprocess, sys, time
        if event["Records"][0]["dynamodb"]["SequenceNumber"] == "1":
            child = "import os, time, pathlib; pathlib.Path('pid').write_text(f'{os.getpid()}\\\\n'); time.sleep(300)"
            subprocess.run([sys.executable, "-c", child])
        return 'good'
    """)

    async def work() -> tuple[Answer, Answer]:
        async with HandlerTarget(NAME, "main", run="r", timeout_s=3) as target:
            hung = asyncio.create_task(target.attempt(one(1)))
            pid, identity = await asyncio.to_thread(read_pid, folder / "pid")
            answer = await hung
            assert await asyncio.to_thread(await_end, pid, identity, BOUND_S)
            return answer, await target.attempt(one(2))

    hung, good = run(work())
    assert hung == Answer(ok=False, error="the handler did not answer within 3 s; it was killed")
    assert good.ok


def test_a_process_that_the_handler_leaves_behind_does_not_hide_its_crash() -> None:
    write_handler("""
        import os, time
        if os.fork() == 0:
            time.sleep(300)  # it holds a copy of the connection
        os._exit(7)
    """)
    began = time.monotonic()
    assert attempts(one(), timeout_s=30) == [Answer(ok=False, error="the handler's process ended with exit code 7")]
    assert time.monotonic() - began < 250, "it waited for what was left behind"


def test_a_worker_that_died_idle_is_nobodys_failure(folder: Path) -> None:
    write_handler("return 'good'", before=WRITE_PID)

    async def work() -> Answer:
        async with HandlerTarget(NAME, "main", run="r") as target:
            pid, identity = await asyncio.to_thread(read_pid, folder / "pid")
            [worker] = target._idle
            os.kill(pid, signal.SIGKILL)
            await asyncio.wait_for(worker.process.wait(), BOUND_S)
            assert await asyncio.to_thread(await_end, pid, identity, BOUND_S)
            return await target.attempt(one())

    assert run(work()).ok


@pytest.mark.parametrize(
    ("module", "function", "text", "said"),
    [
        ("absent_module", "main", None, "No module named 'absent_module'"),
        (NAME, "absent", "x = 1", "has no attribute 'absent'"),
        (NAME, "x", "x = 1", "TypeError: x in consumer_under_test cannot be called"),
        (NAME, "main", "import absent_dependency", "No module named 'absent_dependency'"),
        (NAME, "main", "def main(:", "SyntaxError"),
        (NAME, "main", "import sys; sys.exit('no database')", "SystemExit: no database"),
        (NAME, "main", "import os; os._exit(9)", "ended with exit code 9"),
    ],
)
def test_a_handler_that_cannot_be_had_ends_the_run(module: str, function: str, text: str | None, said: str) -> None:
    if text is not None:
        Path(f"{NAME}.py").write_text(text)

    async def work() -> None:
        async with HandlerTarget(module, function, run="r"):
            pass

    with pytest.raises(UsageError) as caught:
        run(work())
    assert said in caught.value.message
    assert module in caught.value.hint


def test_a_handler_that_does_not_come_up_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "START_TIMEOUT_S", 1.0)
    Path(f"{NAME}.py").write_text("import time; time.sleep(300)")
    with pytest.raises(UsageError, match="did not come up within 1 s"):
        attempts(one())


# ------------------------------------------------------------------------------------------------------- processes


def test_lanes_share_one_worker_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "cores", lambda: 2)
    write_handler("""
        import os, time
        note = os.open("notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(note, f"+{os.getpid()}\\n".encode())
        deadline = time.monotonic() + 250
        while open("notes").read().count("+") < 2:  # both workers were at work at once
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.write(note, f"-{os.getpid()}\\n".encode())
        os.close(note)
    """)

    async def work() -> list[Answer]:
        async with HandlerTarget(NAME, "main", run="r", workers=64) as target:
            assert target.workers == 2
            return await asyncio.gather(*[target.attempt(one(n)) for n in range(9)])

    assert [answer.ok for answer in run(work())] == [True] * 9
    notes = Path("notes").read_text().split()
    assert len({note[1:] for note in notes}) == 2
    under_way = most = 0
    for note in notes:
        under_way += 1 if note[0] == "+" else -1
        most = max(most, under_way)
    assert most == 2


def test_workers_end_with_the_target(folder: Path) -> None:
    write_handler("return 1", before=WRITE_PID)

    async def work() -> tuple[int, str]:
        async with HandlerTarget(NAME, "main", run="r") as target:
            assert (await target.attempt(one())).ok
            return await asyncio.to_thread(read_pid, folder / "pid")

    pid, identity = run(work())
    assert identity
    assert process_identity(pid) != identity


def test_a_cancelled_attempt_leaves_no_worker(folder: Path) -> None:
    write_handler("time.sleep(300)", before=WRITE_PID)

    async def work() -> tuple[int, str]:
        async with HandlerTarget(NAME, "main", run="r") as target:
            attempt = asyncio.create_task(target.attempt(one()))
            found = await asyncio.to_thread(read_pid, folder / "pid")
            attempt.cancel()
            with pytest.raises(asyncio.CancelledError):
                await attempt
            return found

    pid, identity = run(work())
    assert process_identity(pid) != identity


PARENT = """
import asyncio, pathlib, sys
from restrike.targets.handler.target import HandlerTarget
from tests.change_records import make_record

async def work():
    async with HandlerTarget("consumer_under_test", "main", run="r", timeout_s=300) as target:
        if sys.argv[1] == "busy":
            await target.attempt([make_record(1)])
        pathlib.Path("idle").touch()
        await asyncio.sleep(300)

asyncio.run(work())
"""


@pytest.mark.parametrize(
    ("what", "awaited", "body"),
    [
        ("idle", "idle", "pass"),
        ("busy", "at-work", "pathlib.Path('at-work').touch(); time.sleep(300)"),
        # Holds the interpreter, so that no thread of the worker's can see the parent go.
        ("busy", "at-work", "pathlib.Path('at-work').touch(); import re; re.match('(a+)+$', 'a' * 60 + 'b')"),
    ],
)
def test_a_parent_that_is_killed_leaves_no_worker(folder: Path, what: str, awaited: str, body: str) -> None:
    if "re.match" in body and sys.platform != "linux":
        body = "pathlib.Path('at-work').touch(); time.sleep(300)"
    write_handler(body, before=WRITE_PID)
    assert ends_with_its_parent(folder, what, awaited)


def ends_with_its_parent(folder: Path, what: str, awaited: str) -> bool:
    """Whether the process in the file `pid` ends when its parent is killed, once it is there and the file `awaited`."""
    here = Path(__file__).parents[2]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, what], env={**os.environ, "PYTHONPATH": str(here)})
    try:
        pid, identity = read_pid(folder / "pid")
        until((folder / awaited).exists, f"{awaited} was not touched")
        assert identity
        parent.send_signal(signal.SIGKILL)
        parent.wait(BOUND_S)
        return await_end(pid, identity, BOUND_S)
    finally:
        parent.kill()
        parent.wait(BOUND_S)


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_a_closed_connection_alone_ends_a_worker_at_work(folder: Path) -> None:
    """Where the kernel has no word for it (macOS), the connection tells a worker that its parent ended."""
    write_handler("pathlib.Path('at-work').touch(); time.sleep(300)", before=WRITE_PID)
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "restrike.targets.handler.worker", NAME, "main"]
    with ours, theirs:
        worker = subprocess.Popen(
            [*command, str(theirs.fileno()), str(os.getpid())], pass_fds=(theirs.fileno(),), start_new_session=True
        )
        try:
            theirs.close()
            ours.settimeout(BOUND_S)
            assert ours.recv(5) == LENGTH.pack(1) + READY
            order = msgspec.json.encode(Order(request_id="i", timeout_s=300, client_context=b"{}"))
            for frame in (order, event(one())):
                ours.sendall(LENGTH.pack(len(frame)) + frame)
            until((folder / "at-work").exists, "the handler was not called")
            ours.close()
            assert worker.wait(BOUND_S) == -signal.SIGKILL
        finally:
            worker.kill()
            worker.wait(BOUND_S)


CHILD = WRITE_PID + "time.sleep(300)\n"
IN_A_SESSION = "subprocess.Popen([sys.executable, 'child.py'], start_new_session=True)"
STARTS = {
    "child": "subprocess.run([sys.executable, 'child.py'])",
    "session": f"{IN_A_SESSION}; time.sleep(300)",
    "daemon": f"""
        if os.fork() == 0:
            {IN_A_SESSION}
            os._exit(0)
        os.wait()
        time.sleep(300)
    """,
}
IMPORTS = "import os, pathlib, subprocess, sys, time"
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread of the worker's ends its group")


@on_linux
@pytest.mark.parametrize("kind", STARTS)
def test_what_a_handler_started_ends_with_a_parent_that_is_killed(folder: Path, kind: str) -> None:
    write_handler(STARTS[kind], before=IMPORTS)
    Path("child.py").write_text(CHILD)
    assert ends_with_its_parent(folder, "busy", "pid")


@on_linux
@pytest.mark.parametrize("then", ["time.sleep(300)", "sys.exit(3)", "os._exit(3)", "return 'good'"])
def test_what_left_the_workers_group_ends_with_it(folder: Path, then: str) -> None:
    write_handler(
        f"""
        {IN_A_SESSION}
        while not (pathlib.Path('pid').exists() and pathlib.Path('pid').read_text()):
            time.sleep(0.01)
        {then}
        """,
        before=IMPORTS,
    )
    Path("child.py").write_text(CHILD)

    async def work() -> tuple[int, str]:
        async with HandlerTarget(NAME, "main", run="r", timeout_s=300) as target:
            attempt = asyncio.create_task(target.attempt(one()))
            found = await asyncio.to_thread(read_pid, folder / "pid")
            if "sleep" in then:
                attempt.cancel()
            await asyncio.gather(attempt, return_exceptions=True)
            return found

    pid, identity = run(work())
    assert identity != process_identity(pid)


@pytest.mark.parametrize("name", ["queue", "typing", "json", "asyncio", "restrike", "msgspec"])
def test_files_of_the_project_that_bear_pythons_names_break_nothing(name: str) -> None:
    Path(f"{name}.py").write_text("raise SystemExit('imported')\n")
    write_handler("return 'good'")
    assert attempts(one()) == [Answer(ok=True, response=b'"good"')]


def test_a_handler_in_a_file_that_bears_pythons_name_is_the_projects() -> None:
    Path("queue.py").write_text("def main(event, context):\n    return 'mine'\n")

    async def work() -> Answer:
        async with HandlerTarget("queue", "main", run="r") as target:
            return await target.attempt(one())

    assert run(work()) == Answer(ok=True, response=b'"mine"')


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("print('x' * 20_000_000); return 'good'", Answer(ok=True, response=b'"good"')),
        ("import os; os.closerange(1, 2); return 'good'", Answer(ok=True, response=b'"good"')),
        ("import sys; sys.stdout.close(); sys.stderr.close(); return 'good'", Answer(ok=True, response=b'"good"')),
        ("import os; os.closerange(0, 256); return 'good'", None),
        ("import os; os.fork(); return 'good'", None),
        ("import os; os.wait()", Answer(ok=False, error="ChildProcessError: [Errno 10] No child processes")),
    ],
)
def test_what_a_handler_does_to_its_process_ends_in_an_answer(body: str, answer: Answer | None) -> None:
    write_handler(body)
    first, second = attempts(one(1), one(2), timeout_s=3 if answer is None else 20)
    for found in (first, second):
        assert found == answer if answer is not None else found.ok or found.error
