"""The verbs that make runs: the one list by which a run of the ledger finds the code that goes on with it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from restrike.aws.settings import AwsSettings
from restrike.errors import UsageError
from restrike.model.permissions import Need, Scope
from restrike.running.flags import RESUME
from restrike.running.life import Verb
from restrike.running.run import Run

PACKAGES = {
    "touch": "restrike.touching",
    "unmark": "restrike.touching.unmarking",
    "replay": "restrike.replaying",
    "redrive": "restrike.replaying.redriving",
    "capture": "restrike.capturing",
    "export": "restrike.exporting",
    "audit": "restrike.auditing",
}
"""Verb → its package: `run` there holds its VERB, `plan` the `resume` that makes the plan to go on with a run, and
`permissions` the `needs` of what is asked, and `asked_of` a run."""


def verb_of(name: str) -> Verb | None:
    """The verb of that name; None where this restrike does not know it (a newer one may have made the run)."""
    if name not in PACKAGES:
        return None
    verb: Verb = importlib.import_module(f"{PACKAGES[name]}.run").VERB
    return verb


def needs_of(run: Run) -> tuple[Callable[[Scope], tuple[Need, ...]], AwsSettings]:
    """What going on with the run needs of IAM, by the account and Region that it is for; and where AWS is for it.
    UsageError where nobody here knows."""
    if run.verb not in PACKAGES:
        raise _unknown(run)
    declared = importlib.import_module(f"{PACKAGES[run.verb]}.permissions")
    try:
        asked, settings = declared.asked_of(run)
    except msgspec.MsgspecError:
        raise UsageError(
            f"run {run.name} was made by another version of restrike, and cannot go on",
            "Begin anew under another --run.",
        ) from None
    return lambda scope: declared.needs(asked, scope), settings


def _unknown(run: Run) -> UsageError:
    return UsageError(
        f"run {run.name} is a {run.verb}, and this restrike does not know that verb",
        "Was it made by a newer restrike? Go on with that one.",
    )


def plan_to_resume(run: Run, ledger: Path, changes: dict[str, Any]) -> Any:
    """The plan that goes on with the run; UsageError where nobody here knows how."""
    verb = verb_of(run.verb)
    if verb is None:
        raise _unknown(run)
    strangers = [flag.name for flag in RESUME if flag.to in changes and flag.to not in verb.takes]
    if strangers:
        raise UsageError(
            f"a {run.verb} has no use for {', '.join(strangers)}",
            f"It takes {', '.join(flag.name for flag in RESUME if flag.to in verb.takes)}.",
        )
    return importlib.import_module(f"{PACKAGES[run.verb]}.plan").resume(run, ledger, changes)
