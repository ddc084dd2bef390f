"""Flags as data: declared once, beside the request that they fill; the command line, the printed command and the
checks of sources and targets all read the same declaration.

A request holds what was given, and None (or False) for what was not: defaults are filled in where a request is
resolved, so that "not given" can be told from "given as it would be anyway".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from restrike.errors import UsageError

Group = Literal["choose", "compare", "records", "exported", "write", "deliver", "keep", "pace", "prove", "run", "aws"]
Kind = Literal["text", "integer", "number", "switch", "toggle", "choice", "rate"]


class Flag(msgspec.Struct, frozen=True):
    """One flag. `field` is the request's; without it, that is the name with underscores.

    `kind`: a `switch` is there or not, a `toggle` has a `--no-…` beside it, a `rate` is a number or `max`. `default`
    is what help says, where the request leaves it open. `variable` is the environment variable of a setting: what is
    selected, where it goes and how far never has one. `completes` names what a shell may offer.
    """

    name: str
    help: str
    group: Group
    kind: Kind = "text"
    metavar: str = ""
    choices: tuple[str, ...] = ()
    default: str = ""
    field: str = ""
    variable: str = ""
    completes: Literal["", "index", "run", "table", "file", "target", "lag"] = ""

    @property
    def to(self) -> str:
        """The field that it fills."""
        return self.field or self.name.removeprefix("--").replace("-", "_")


def given(flags: Iterable[Flag], values: Any) -> dict[str, Any]:
    """The fields of those flags that were given, out of a request or a mapping."""
    found: dict[str, Any] = {}
    for flag in flags:
        value = values.get(flag.to) if isinstance(values, Mapping) else getattr(values, flag.to)
        if value is not None and (value is not False or flag.kind == "toggle"):
            found[flag.to] = value
    return found


def words(flags: Iterable[Flag], values: Any) -> list[str]:
    """The flags that were given, as words of a command line."""
    flags = tuple(flags)
    known = given(flags, values)
    out: list[str] = []
    for flag in flags:
        if flag.to not in known:
            continue
        value = known[flag.to]
        if isinstance(value, bool):
            out.append(flag.name if value else flag.name.replace("--", "--no-", 1))
        elif isinstance(value, float):
            out += [flag.name, f"{value:.15g}"]
        else:
            out += [flag.name, str(value)]
    return out


def refuse_strangers(flags: Iterable[Flag], values: Any, *, what: str, hint: str) -> None:
    """UsageError where one of those flags was given: `what` has no use for it."""
    strangers = words(flags, values)
    if strangers:
        names = ", ".join(word for word in strangers if word.startswith("--"))
        raise UsageError(f"{what} has no use for {names}", hint)


def refuse_below(flag: str, value: float | str | None, least: float) -> None:
    """UsageError where a number was given that is below `least`, or none that is finite."""
    if value is None or (isinstance(value, int | float) and least <= value < math.inf):
        return
    told = f"{value:g}" if isinstance(value, float) else value
    raise UsageError(f"{flag} {told} is no number from {least:g} on", f"Give {least:g} or more.")
