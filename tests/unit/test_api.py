"""The public Python API: its arguments are the command line's flags, and its types are exported and hold."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import restrike
from restrike import api
from restrike.cli.main import cli
from restrike.running.flags import RESUME

CALLERS = Path(__file__).parent.parent / "callers"
OF_THE_COMMAND = {"execute", "as_json"}
"""What only a command line needs: `execute()` is a call, and a report is an object."""


def flags_of(verb: str) -> set[str]:
    """The options of a verb, by the names of their values."""
    command: click.Command | None = cli
    for each in verb.split():
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), each)
    assert command is not None
    return {param.name or "" for param in command.params if isinstance(param, click.Option)}


@pytest.mark.parametrize(
    ("verb", "function", "besides"),
    [
        ("doctor", api.doctor, set()),
        ("touch", api.touch, set()),
        ("unmark", api.unmark, {"remove"}),  # its run is positional
        ("replay", api.replay, set()),
        ("redrive", api.redrive, set()),
        ("records", api.records, {"events"}),
        ("capture", api.capture, {"once"}),
        ("export", api.export, set()),
        ("audit", restrike.audit, set()),
        ("runs resume", api.resume, set()),
        ("runs list", api.runs, {"limit", "state", "verb"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_flag_is_an_argument(verb: str, function: Callable[..., Any], besides: set[str]) -> None:
    arguments = inspect.signature(function).parameters.values()
    keywords = {each.name for each in arguments if each.kind is each.KEYWORD_ONLY}
    positional = {each.name for each in arguments if each.kind is not each.KEYWORD_ONLY}
    assert keywords | (positional & flags_of(verb)) == flags_of(verb) - OF_THE_COMMAND - besides - {"help"}
    assert all(each.default in (None, False) for each in arguments if each.kind is each.KEYWORD_ONLY)


def test_a_setting_of_a_run_that_goes_on_is_one_of_its_verb() -> None:
    """Under the name that it has there, so that nobody learns two."""
    for flag in RESUME:
        assert flag.to in flags_of("touch") | flags_of("replay")


@pytest.mark.parametrize("name", restrike.__all__)
def test_what_is_exported_is_there_and_documented(name: str) -> None:
    assert getattr(restrike, name).__doc__


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = restrike.Nothing  # type: ignore[attr-defined]  # that it is not there is the point


@pytest.mark.parametrize(
    "function",
    [
        api.doctor,
        api.touch,
        api.unmark,
        api.replay,
        api.redrive,
        api.records,
        api.capture,
        api.export,
        api.audit,
        api.runs,
        api.resume,
    ],
)
def test_no_argument_is_of_any_type(function: Callable[..., Any]) -> None:
    assert all(hint != "Any" for hint in inspect.get_annotations(function).values())


@pytest.fixture(scope="module")
def checked() -> dict[str, set[int]]:
    """The lines of the callers' programs that mypy finds wrong, by file; with the project's settings, which are strict,
    and with what is known from its last check."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *map(str, sorted(CALLERS.glob("*.py")))],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=CALLERS.parent.parent,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[str, set[int]] = {}
    for path, line in re.findall(r"^(\S+?):(\d+): error:", done.stdout, re.MULTILINE):
        found.setdefault(Path(path).name, set()).add(int(line))
    return found


def test_a_callers_program_is_checked_strictly(checked: dict[str, set[int]]) -> None:
    assert "notebook.py" not in checked


def test_what_is_wrong_in_a_callers_program_is_found(checked: dict[str, set[int]]) -> None:
    lines = (CALLERS / "careless.py").read_text(encoding="utf-8").splitlines()
    assert checked["careless.py"] == {number for number, line in enumerate(lines, 1) if "restrike." in line}
