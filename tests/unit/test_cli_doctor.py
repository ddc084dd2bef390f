"""The picture that doctor draws: six wirings, as they were looked at by a person, at two widths, with and without
colour.

They lie in tests/data/doctor. After a change that is meant, `pytest tests/unit/test_cli_doctor.py --redraw` writes them
anew: look at each (`cat` shows the colours) before it is committed.
"""

from __future__ import annotations

import functools
import io
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import msgspec
import pytest
from rich.console import Console

from restrike.cli.render import console
from restrike.cli.render.doctor import Picture, show_diagnosis
from restrike.cli.render.ink import Plain
from restrike.cli.render.spark import cells, spark
from restrike.model.diagnosis import Asked, Loss
from restrike.model.metrics import Metric, Series
from tests.diagnoses import FAILING, GLOBAL, HEALTHY, NOW_S, WIRINGS, diagnosis, function, seen

GOLDEN = Path(__file__).parent.parent / "data" / "doctor"
COLOUR = re.compile(r"\x1b\[[\d;]*m")
WIDTHS = (80, 120)


def drawn(name: str, width: int, *, colour: bool = False, kind: type[Console] = console.Asked) -> str:
    out = io.StringIO()
    system: Literal["standard"] | None = "standard" if colour else None
    settings = {"file": out, "width": width, "force_terminal": colour, "color_system": system, "no_color": not colour}
    Picture(WIRINGS[name], kind(highlight=False, emoji=False, markup=False, **settings)).show()  # type: ignore[arg-type]
    return out.getvalue()


@pytest.fixture(autouse=True)
def any_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize("colour", [False, True], ids=["plain", "colour"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", WIRINGS)
def test_the_picture_is_as_it_was_looked_at(name: str, width: int, colour: bool, pytestconfig: pytest.Config) -> None:
    picture = drawn(name, width, colour=colour)
    golden = GOLDEN / f"{name}-{width}.{'ansi' if colour else 'txt'}"
    if pytestconfig.getoption("--redraw"):
        golden.write_text(picture, encoding="utf-8")
    assert picture == golden.read_text(encoding="utf-8")


def test_no_picture_is_left_over() -> None:
    known = {f"{name}-{width}.{kind}" for name in WIRINGS for width in WIDTHS for kind in ("ansi", "txt")}
    assert {path.name for path in GOLDEN.iterdir()} == known


@pytest.mark.parametrize("name", WIRINGS)
def test_colour_adds_nothing_but_colour(name: str) -> None:
    assert COLOUR.sub("", drawn(name, 80, colour=True)) == drawn(name, 80)
    assert COLOUR.search(drawn(name, 80, colour=True))


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("name", WIRINGS)
def test_nothing_is_wider_than_the_terminal_but_a_command_which_stands_whole(name: str, width: int) -> None:
    lines = drawn(name, width).splitlines()
    found = WIRINGS[name]
    commands = [way.command for way in found.ways] + [each.command for each in found.advice if each.command]
    shown = {line.strip(): line for line in lines}
    for command in commands:
        if command.isprintable():
            assert shlex.split(shown.pop(command)) == shlex.split(command)
    wide = [line for line in shown.values() if len(line) > width]
    assert all("\\x1b" in line and line.strip().startswith("restrike") for line in wide)
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize("name", WIRINGS)
def test_what_shows_ascii_alone_gets_ascii_alone(name: str) -> None:
    picture = drawn(name, 80, kind=Plain)
    assert picture.isascii(), re.findall(r"[^\x00-\x7f]", picture)
    assert ("+--" in picture, "├" in drawn(name, 80)) == (True, True)


@pytest.mark.parametrize("name", WIRINGS)
def test_no_name_moves_the_cursor(name: str) -> None:
    assert all(line.isprintable() for line in drawn(name, 80).splitlines())
    assert "\x1b[2J" not in drawn(name, 80, colour=True)


def test_a_command_with_letters_that_cannot_be_shown_says_where_it_is_whole() -> None:
    assert r"'customer-080\x1b[31m'" in drawn("global", 80)
    assert "(some letters of it cannot be shown: --json has them)" in drawn("global", 80)
    told = json.loads(json.dumps(GLOBAL.as_json()))["doctor"]
    assert any("customer-080\x1b[31m" in way["command"] for way in told["ways"])


hints = functools.cache(get_type_hints)


def spoiled(value: Any, text: str) -> Any:
    """The same with that text wherever any text may stand, and nothing known that may be unknown."""
    if isinstance(value, tuple):
        return tuple(text if isinstance(each, str) else spoiled(each, text) for each in value)
    if isinstance(value, dict):
        return {name: spoiled(held, text) for name, held in value.items()}
    if not isinstance(value, msgspec.Struct):
        return value
    changes: dict[str, Any] = {}
    for name, kind in hints(type(value)).items():
        held = getattr(value, name)
        if kind is str and name != "arn":
            changes[name] = text
        elif type(None) in get_args(kind) and not isinstance(held, msgspec.Struct):
            changes[name] = None
        else:
            changes[name] = spoiled(held, text)
    return msgspec.structs.replace(value, **changes)


HOSTILE = ("\x1b[2J\x07\n", "a\u202eb\u2066", "[red]x[/red] :smile:", "", "x" * 300, "注文" * 60)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["failing", "global"])
def test_whatever_a_text_is_and_however_little_is_known_it_can_be_drawn(name: str, text: str) -> None:
    found = spoiled(WIRINGS[name], text)
    out = io.StringIO()
    Picture(found, console.Asked(file=out, width=80, highlight=False)).show()
    assert all(line.isprintable() for line in out.getvalue().splitlines())
    assert json.loads(json.dumps(found.as_json()))["doctor"]["table"] == text
    if text.startswith("["):
        assert text in out.getvalue()


# ── where it goes ────────────────────────────────────────────────────────────────────────────────────────


class Terminal(io.StringIO):
    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True


def on(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "stdout", stream)
    show_diagnosis(HEALTHY)
    monkeypatch.undo()
    return stream.getvalue()


@pytest.mark.parametrize(
    ("encoding", "term", "ascii_only"),
    [("utf-8", "xterm", False), ("utf-8", "dumb", True), ("latin-1", "xterm", True), ("ascii", "dumb", True)],
)
def test_a_terminal_gets_what_it_can_show(
    encoding: str, term: str, ascii_only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    picture = on(Terminal(encoding), monkeypatch)
    assert COLOUR.sub("", picture).isascii() is ascii_only
    assert bool(COLOUR.search(picture)) is (term == "xterm")


def test_a_file_gets_no_colour_and_its_own_width(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    show_diagnosis(HEALTHY)
    assert capsys.readouterr().out == drawn("healthy", 120)
    monkeypatch.setenv("COLUMNS", "80")
    show_diagnosis(HEALTHY)
    assert capsys.readouterr().out == drawn("healthy", 80)


# ── blocks ───────────────────────────────────────────────────────────────────────────────────────────────


def of(*points: tuple[float, float]) -> Series:
    return Series(Metric("AWS/Lambda", "Errors", (), "Sum"), 300, points)


def test_what_is_unknown_is_no_zero() -> None:
    values = cells(of((0, 0.0), (300, 0.0), (1800, 7.0)), 0, 3600, 6, sum)
    assert values == [0.0, None, None, 7.0, None, None]
    assert spark(values, any_shows=True, plain=False) == "▁··█··"
    assert spark(values, any_shows=True, plain=True) == "_..@.."
    assert spark([None, None], any_shows=True, plain=False) == "··"
    assert spark([0.0, 0.0], any_shows=True, plain=False) == "▁▁"


def test_several_periods_are_one_cell() -> None:
    assert cells(of((0, 1.0), (300, 2.0), (600, 5.0)), 0, 1200, 2, sum) == [3.0, 5.0]
    assert cells(of((0, 1.0), (300, 2.0), (600, 5.0)), 0, 1200, 2, max) == [2.0, 5.0]


def test_a_period_at_the_edge_is_in_the_first_or_last_cell_and_a_strange_one_nowhere() -> None:
    assert cells(of((-100, 1.0), (1200, 2.0), (9000, 5.0), (-9000, 7.0)), 0, 1200, 2, sum) == [1.0, 2.0]
    assert cells(of((0, 1.0)), 100, 100, 2, sum) == [None, None]


def test_one_error_among_thousands_shows_and_an_age_of_a_second_does_not() -> None:
    assert spark([0.0, 1.0, 5_000.0], any_shows=True, plain=False) == "▁▂█"
    assert spark([900.0, 1_000.0], full=60_000.0, any_shows=False, plain=False) == "▁▁"
    assert spark([30_000.0, 120_000.0], full=60_000.0, any_shows=False, plain=False) == "▃█"


# ── what tools read ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", WIRINGS)
def test_json_is_one_object_with_its_times_as_everywhere(name: str) -> None:
    told = json.loads(json.dumps(WIRINGS[name].as_json()))
    assert list(told) == ["doctor"]
    assert list(told["doctor"])[:6] == ["table", "now", "losses", "ways", "closed", "advice"]
    assert told["doctor"]["now"] == "2025-11-25T11:00:00Z"
    assert len(told["doctor"]["ways"]) == len(WIRINGS[name].ways)


def test_every_moment_is_told_and_every_length_of_time_is_a_number() -> None:
    told = FAILING.as_json()["doctor"]
    assert told["losses"][0]["since"] == "2025-11-25T02:43:00Z"
    assert told["losses"][1]["until"] is None
    assert told["ways"][0]["expires"] == "2025-11-26T02:30:00Z"
    assert told["asked"]["window"] == {"since": None, "until": None}
    bookkeeper = told["seen"]["consumers"][0]
    assert (bookkeeper["changed"], bookkeeper["max_age_s"]) == ("2025-11-25T02:48:00Z", 3600)
    assert bookkeeper["metrics"]["Errors"]["points"][0] == ["2025-11-24T11:00:00Z", 0]
    assert told["seen"]["point_in_time"] == {"on": False, "earliest": None, "latest": None}
    assert told["seen"]["period_s"] == 300

    def numbers_in_seconds(value: object) -> list[str]:
        if isinstance(value, list):
            return [name for each in value for name in numbers_in_seconds(each)]
        if not isinstance(value, dict):
            return []
        here = [name for name, held in value.items() if isinstance(held, int | float) and held > NOW_S / 2]
        return here + [name for held in value.values() for name in numbers_in_seconds(held)]

    large = [name for name in numbers_in_seconds(told) if name not in ("size_bytes", "item_count", "items")]
    assert large == [], "a moment that is told as a number"


@pytest.mark.parametrize(
    ("losses", "says"),
    [
        ([("not visible", "nothing")], "Enabled, nothing shows"),
        ([("not visible", "unknown")], "Enabled, not known"),
        ([("not visible", "late")], "Enabled, late"),
        ([("not visible", "unknown"), ("suspected", "errors")], "Enabled, may have lost records"),
        ([("suspected", "errors"), ("certain", "dropped")], "Enabled, lost records"),
        ([], "Enabled"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_consumer_is_as_healthy_as_the_surest_of_its_losses(losses: list[Any], says: str) -> None:
    told = tuple(Loss("f", certainty, "what", sign=sign) for certainty, sign in losses)
    others = (Loss("g", "certain", "what", sign="dropped"),)
    out = io.StringIO()
    found = diagnosis(seen(consumers=(function("f"),)), losses=told + others)
    Picture(found, console.Asked(file=out, width=100, highlight=False)).show()
    (line,) = (line for line in out.getvalue().splitlines() if "●" in line)
    assert line.endswith(f"function, {says}")


def test_a_consumer_that_is_not_seen_is_said_to_be_none() -> None:
    out = io.StringIO()
    found = diagnosis(seen(consumers=(function("f"), function("g"))), asked=Asked(consumer="nobody"))
    Picture(found, console.Asked(file=out, width=100, highlight=False)).show()
    assert "No consumer nobody is seen. There are: f, g." in out.getvalue().splitlines()


def test_a_consumer_whose_metrics_are_empty_says_so() -> None:
    empty = {name: msgspec.structs.replace(held, points=()) for name, held in function("f").metrics.items()}
    out = io.StringIO()
    found = diagnosis(seen(consumers=(function("f", metrics=empty),)))
    Picture(found, console.Asked(file=out, width=100, highlight=False)).show()
    errors, age = (line for line in out.getvalue().splitlines() if "nothing is told" in line)
    assert "errors     " + "·" * 48 in errors
    assert "age        " + "·" * 48 in age
