"""Options made of flags: what they take, what they refuse, and how help shows them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from restrike.cli.environment import KNOWN, strangers
from restrike.cli.main import VERBS, cli
from restrike.cli.options import TITLES, FlagOption, VerbCommand, VerbGroup, verb
from restrike.model.flags import Flag, given

FLAGS = (
    Flag("--text", "Some text.", "choose"),
    Flag("--count", "A count.", "choose", "integer", default="7"),
    Flag("--size", "A size.", "pace", "number", metavar="MB", field="size_mb"),
    Flag("--rate", "A rate.", "pace", "rate", variable="RESTRIKE_RATE"),
    Flag("--follow", "On and on.", "run", "switch"),
    Flag("--verify", "Look.", "prove", "toggle", default="where safe"),
    Flag("--api", "Which.", "write", "choice", choices=("one", "two")),
)


def invoke(*words: str, **environment: str) -> tuple[dict[str, Any], Result]:
    taken: dict[str, Any] = {}

    @verb(*FLAGS, name="toy", examples=("restrike toy --text x",))
    def toy(**values: Any) -> None:
        """Do as a toy does."""
        taken.update(values)

    return taken, CliRunner().invoke(toy, list(words), env=environment)


def test_what_is_not_given_is_none_or_false() -> None:
    values, result = invoke()
    assert result.exit_code == 0, result.output
    assert values == {flag.to: False if flag.kind == "switch" else None for flag in FLAGS}
    assert given(FLAGS, values) == {}


def test_each_kind_of_flag_is_converted() -> None:
    words = "--text x --count 3 --size 1.5 --rate max --follow --no-verify --api two"
    values, result = invoke(*words.split())
    assert result.exit_code == 0, result.output
    assert given(FLAGS, values) == {
        "text": "x",
        "count": 3,
        "size_mb": 1.5,
        "rate": "max",
        "follow": True,
        "verify": False,
        "api": "two",
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--size nan", "'nan' is not a number: it must be finite"),
        ("--size -inf", "'-inf' is not a number: it must be finite"),
        ("--rate inf", "'inf' is not a number or max: it must be finite"),
        ("--rate most", "'most' is not a number or max"),
        ("--count 1.5", "'1.5' is not a valid integer"),
        ("--api three", "'three' is not one of 'one', 'two'"),
        ("--text a --text b", "--text is given twice"),
        ("--verify --no-verify", "--verify is given twice"),
        ("--folow", "No such option"),
    ],
)
def test_what_makes_no_sense_is_refused(words: str, said: str) -> None:
    _, result = invoke(*words.split())
    assert result.exit_code == 2
    assert said in result.output


def test_only_a_setting_comes_from_the_environment() -> None:
    values, result = invoke(RESTRIKE_RATE="5", RESTRIKE_TEXT="x", RESTRIKE_FOLLOW="1", TOY_TEXT="x")
    assert result.exit_code == 0, result.output
    assert given(FLAGS, values) == {"rate": 5.0}
    values, _ = invoke("--rate", "7", RESTRIKE_RATE="5")
    assert values["rate"] == 7.0


def test_help_begins_with_an_example_and_has_groups() -> None:
    _, result = invoke("--help")
    lines = result.output.splitlines()
    assert lines[4] == "  $ restrike toy --text x"
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Choose items:", "Write:", "Pace:", "Prove:", "Run:"]
    squeezed = [" ".join(line.split()) for line in lines]
    assert "--count N A count. [default: 7]" in squeezed
    assert "--size MB A size." in squeezed
    assert "--rate N|max A rate." in squeezed
    assert "--[no-]verify Look. [default: where safe]" in squeezed
    assert "--api one|two Which." in squeezed
    assert lines[-1] == "Environment: RESTRIKE_RATE; and AWS's own. Everywhere: -v, --log FILE, --debug."


# ── all verbs ────────────────────────────────────────────────────────────────────────────────────────────


def commands() -> Iterator[tuple[str, VerbCommand]]:
    for name in VERBS:
        command = importlib.import_module(f"restrike.cli.{name}").command
        if isinstance(command, VerbGroup):
            yield from ((f"{name} {sub}", made) for sub, made in command.commands.items())  # type: ignore[misc]
        else:
            yield name, command


ALL = dict(commands())


@pytest.mark.parametrize("name", ALL)
def test_a_verbs_options_are_flags(name: str) -> None:
    command = ALL[name]
    assert isinstance(command, VerbCommand)
    options = [param for param in command.params if isinstance(param, click.Option)]
    assert all(isinstance(option, FlagOption) for option in options)
    fields = [param.name for param in command.params]
    assert len(fields) == len(set(fields)), "two flags fill one field"
    assert {option.flag.group for option in options if isinstance(option, FlagOption)} <= set(TITLES)


@pytest.mark.parametrize("name", ALL)
def test_help_is_short_enough_to_read(name: str) -> None:
    result = CliRunner().invoke(cli, [*name.split(), "--help"], terminal_width=100)
    lines = result.output.splitlines()
    assert len(lines) <= 60, result.output
    assert max(map(len, lines)) <= 100
    for param in ALL[name].params:
        if isinstance(param, FlagOption):
            assert param.row[0].split()[0] in result.output


def test_every_setting_of_the_environment_is_known() -> None:
    declared = {
        param.flag.variable
        for command in ALL.values()
        for param in command.params
        if isinstance(param, FlagOption) and param.flag.variable
    }
    assert declared <= KNOWN
    assert strangers(dict.fromkeys(declared, "")) == []
    assert strangers({"RESTRIKE_LIMIT": "1", "_RESTRIKE_COMPLETE": "", "AWS_REGION": "", "RESTRIKE_ALL": ""}) == [
        "RESTRIKE_ALL",
        "RESTRIKE_LIMIT",
    ]


@pytest.mark.parametrize(
    ("words", "meant"), [("tuch", "touch"), ("reply", "replay"), ("runs lst", "list"), ("archive verfy", "verify")]
)
def test_an_unknown_verb_is_told_what_may_have_been_meant(words: str, meant: str) -> None:
    result = CliRunner().invoke(cli, words.split())
    assert result.exit_code == 2
    assert "There is no verb" in result.output
    assert f"Did you mean {meant}" in result.output
