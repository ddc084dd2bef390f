"""What people see of a run: one module a verb, with its plan, its progress and its report; and what they share.

A verb that makes runs has a `LOOK` in the module of its name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from restrike.cli.render.rows import Rows
from restrike.errors import UsageError


class Progress(Protocol):
    """Is called with what the verb hands out, as often as the verb likes."""

    def __call__(self, progress: Any) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Look:
    """How a verb's runs look. `plan`, `headline` and `report` are for people; `progress` makes of a plan what shows
    how far its run is. `json_beside` says whether stdout is free for the report as JSON.
    """

    plan: Callable[[Any], Rows]
    headline: Callable[[Any], str]
    progress: Callable[[Any], Progress]
    report: Callable[[Any], None]
    json_beside: Callable[[Any], bool] = lambda _: True


def look_of(verb: str) -> Look:
    """The look of that verb's runs; UsageError for a verb that this restrike does not know."""
    from restrike.verbs import PACKAGES

    if verb not in PACKAGES:
        raise UsageError(f"runs of {verb!r} are not known to this restrike", "Use the restrike that made the run.")
    look = importlib.import_module(f"restrike.cli.render.{verb}").LOOK
    assert isinstance(look, Look)
    return look
