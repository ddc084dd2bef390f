"""One contract, every target: what `restrike.targets` says of a kind and of what it opens, sentence by sentence.

A target of a new kind joins by its name in KINDS. The toy shows that a module and its line are all that it takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from restrike import targets
from restrike.aws.session import Aws
from restrike.errors import UsageError
from restrike.model.flags import Flag
from restrike.model.permissions import Scope
from restrike.model.uri import Uri
from restrike.replaying.plan import plan as make_plan
from restrike.replaying.request import ReplayRequest, command_line
from restrike.targets import Opening, kind_of
from tests.change_records import make_record
from tests.servers.lambda_stub import lambda_stub
from tests.toys import target as toy_target

T = TypeVar("T")
HANDLER = "import pathlib\npathlib.Path('imported').touch()\n\ndef main(event, context):\n    return None\n"
KINDS = {"jsonl": "jsonl:out", "handler": "handler:consumer:main", "toy": "toy:box", "lambda": "lambda:f"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(targets.MODULES, "toy", "tests.toys.target")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "consumer.py").write_text(HANDLER)
    return tmp_path


@pytest.fixture(params=KINDS)
def uri(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Uri]:
    if request.param != "lambda":
        yield targets.parse(KINDS[request.param], folder)
        return
    with _lambda() as endpoint_url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", endpoint_url)
        yield targets.parse(KINDS["lambda"], folder)


@contextlib.contextmanager
def _lambda() -> Iterator[str]:
    """The endpoint of a Lambda, in a thread with a loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = contextlib.AsyncExitStack()

    def done(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    try:
        yield done(stack.enter_async_context(lambda_stub())).endpoint_url
    finally:
        done(stack.aclose())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


def opening(**given: Any) -> Opening:
    return Opening(aws=Aws(), run="RUN", lanes=2, **given)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_kind_is_tried() -> None:
    assert set(KINDS) == set(targets.MODULES)


def test_a_uri_means_the_same_from_any_folder(uri: Uri, folder: Path) -> None:
    assert str(uri) == KINDS[uri.scheme]
    assert targets.parse(uri.text, folder) == uri
    assert kind_of(uri).scheme == uri.scheme
    assert uri.text.startswith(kind_of(uri).form.partition(":")[0])
    if str(folder) in uri.rest:
        assert targets.parse(uri.text, Path("/elsewhere")) != uri


def test_looking_has_no_effect(uri: Uri, folder: Path) -> None:
    before = everything(folder)
    info = asyncio.run(kind_of(uri).look(uri, {}, opening()))
    assert info.longest_attempt_s is None or info.longest_attempt_s > 0
    kind_of(uri).open(uri, {}, opening())  # made, not entered
    assert everything(folder) == before
    assert "box" not in toy_target.KEPT


def test_batches_are_taken_also_side_by_side_and_made_durable(uri: Uri) -> None:
    async def work() -> None:
        async with kind_of(uri).open(uri, {}, opening()) as target:
            assert target.uri == uri.text
            assert target.max_payload_bytes is None or target.max_payload_bytes > 1_000_000
            answers = await asyncio.gather(target.attempt([make_record(1)]), target.attempt([make_record(2)]))
            assert [answer.ok for answer in answers] == [True, True]
            await target.sync()
            assert target.size_bytes is None or target.size_bytes > 0

    asyncio.run(asyncio.wait_for(work(), 600))
    toy_target.KEPT.clear()


def test_needs_are_of_the_function(uri: Uri) -> None:
    needs = kind_of(uri).permissions(uri, {}, Scope())
    assert all(action.startswith("lambda:") for need in needs for action in need.actions)
    assert bool(needs) is (kind_of(uri).function(uri) is not None)


def test_flags_are_of_one_name_each() -> None:
    found = targets.flags()
    assert {"--colour", "--events", "--timeout"} <= {flag.name for flag in found}
    assert len({flag.name for flag in found}) == len({flag.to for flag in found}) == len(found)


def test_flags_of_another_target_are_refused(uri: Uri) -> None:
    own = {flag.name for flag in kind_of(uri).flags}
    values = {"--colour": "red", "--events": True, "--timeout": 5.0}
    for flag in targets.flags():
        given = {flag.to: values[flag.name]}
        if flag.name in own:
            assert targets.options_of(uri, given) == given
        else:
            with pytest.raises(UsageError, match=f"has no use for {flag.name}"):
                targets.options_of(uri, given)


def test_kinds_and_their_flags_are_light() -> None:
    program = (
        "import sys\nfrom restrike import targets\nfrom restrike.replaying import request\n"
        "targets.flags(), [kind.form for kind in targets.kinds()]\n"
        "print(sorted({'botocore', 'aiohttp', 'pyarrow', 'obstore', 'rich', 'asyncio', 'sqlite3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ── the toy ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def source(folder: Path) -> str:
    (folder / "in").write_bytes(b"".join(make_record(n).raw + b"\n" for n in range(30)))
    return "jsonl:in"


def request_for(source: str, colour: str) -> ReplayRequest:
    return ReplayRequest(source, "toy:box", target_options={"colour": colour}, run="r", batch_size=10)


def test_a_module_and_its_line_are_all_that_a_kind_takes(source: str) -> None:
    plan = make_plan(request_for(source, "red"))
    assert (plan.data.target, plan.data.longest_s) == ("toy:box", 6.0)
    assert "toy" in [warning.code for warning in plan.warnings]
    assert "--colour red" in plan.data.command
    assert toy_target.KEPT == {}
    report = plan.execute()
    assert (report.state, report.delivered, report.target) == ("COMPLETED", 30, "toy:box")
    kept = toy_target.KEPT.pop("box")
    assert [(colour, record.place) for colour, record in kept] == [("red", n) for n in range(1, 31)]
    with pytest.raises(UsageError, match=r"target's flags: it was --colour red, and is --colour blue now"):
        make_plan(request_for(source, "blue"))


def test_its_form_is_told_and_its_errors_are_its_own() -> None:
    with pytest.raises(UsageError) as caught:
        targets.parse("nonsense", Path())
    assert "toy:NAME" in caught.value.hint
    with pytest.raises(UsageError, match="'1' is no name"):
        targets.parse("toy:1", Path())


def test_the_printed_command_has_the_targets_flags() -> None:
    request = ReplayRequest(source="jsonl:in", to="toy:box", target_options={"colour": "a b"})
    assert "--colour 'a b'" in command_line(request, "r")
    assert all(isinstance(flag, Flag) for flag in targets.flags())


# ── looking at files ─────────────────────────────────────────────────────────────────────────────────────


def look_at_file(**given: bool) -> tuple[tuple[str, str], ...]:
    uri = targets.parse("jsonl:out", Path.cwd())
    return asyncio.run(kind_of(uri).look(uri, {}, opening(**given))).warnings


def test_half_a_line_is_told_and_not_cut() -> None:
    Path("out").write_bytes(b'{"a":1}\n{"b"')
    ((code, message),) = look_at_file(resuming=True)
    assert (code, "4 bytes" in message) == ("half-a-line", True)
    assert Path("out").read_bytes() == b'{"a":1}\n{"b"'
    with pytest.raises(UsageError, match="not empty"):
        look_at_file()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Path("out").mkdir(), "Is a directory"),
        (lambda: Path("out").symlink_to("gone/out"), None),
        (lambda: None, None),
        (lambda: Path("out").touch(), None),
    ],
)
def test_what_may_be_written(make: Callable[[], object], why: str | None) -> None:
    make()
    if why is None:
        assert look_at_file() == ()
    else:
        with pytest.raises(UsageError, match=why):
            look_at_file()


def test_a_file_is_no_folder() -> None:
    Path("file").touch()
    uri = targets.parse("jsonl:file/out", Path.cwd())
    with pytest.raises(UsageError, match="cannot be written"):
        asyncio.run(kind_of(uri).look(uri, {}, opening()))


# ── looking for handlers ─────────────────────────────────────────────────────────────────────────────────


def look_for(module: str, function: str = "main") -> None:
    uri = targets.parse(f"handler:{module}:{function}", Path.cwd())
    asyncio.run(kind_of(uri).look(uri, {}, opening()))


@pytest.mark.parametrize(
    "text",
    [
        "def main(e, c): ...",
        "async def main(e, c): ...",
        "main = lambda e, c: None",
        "a, (main, *b) = range(3)",
        "main: object = print",
        "from json import loads as main",
        "import json as main",
        "if True:\n    def main(e, c): ...",
        "try:\n    import main\nexcept ImportError:\n    pass",
        "class main: ...",
        "def set():\n    global main\n    main = print\nset()",
        "from json import *",
        "globals()['main'] = print",
        "def __getattr__(name): return print",
        "import sys; setattr(sys.modules[__name__], 'main', print)",
    ],
)
def test_what_a_module_may_bind_is_found(text: str) -> None:
    Path("other.py").write_text(f"raise SystemExit('it was run')\n{text}\n")
    look_for("other")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def other(e, c):\n    main = 1", "has no attribute 'main'"),
        ("class Other:\n    def main(self): ...", "has no attribute 'main'"),
        ("def main(e, c) ...", "SyntaxError"),
        ("", "has no attribute 'main'"),
    ],
)
def test_what_a_module_surely_lacks_is_told(text: str, why: str) -> None:
    Path("other.py").write_text(text)
    with pytest.raises(UsageError, match=why):
        look_for("other")


def test_packages_are_walked_and_not_run() -> None:
    Path("outer/inner").mkdir(parents=True)
    Path("outer/__init__.py").write_text("raise SystemExit('it was run')")
    Path("outer/inner/app.py").write_text("def main(e, c): ...")
    look_for("outer.inner.app")
    for absent in ("outer.inner.nothing", "outer.nothing.app", "nothing", "outer.inner.app.main"):
        with pytest.raises(UsageError, match="No module named"):
            look_for(absent)
    Path("outer/__init__.py").write_text("__path__.append('/somewhere')")
    look_for("outer.nothing.app")


def test_modules_that_have_no_source_are_found() -> None:
    look_for("time", "whatever")
    look_for("json", "loads")
    with pytest.raises(UsageError, match="has no attribute 'no_such'"):
        look_for("json", "no_such")
