"""What a run is: its name, its state, and what the ledger keeps of it, whatever its verb."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from restrike.errors import UsageError
from restrike.model.report import State

ACTIVE: tuple[State, ...] = ("STARTING", "RUNNING", "CANCELLING", "PAUSING")
"""States in which a process executes the run, or has died while it did."""
ENDED: tuple[State, ...] = ("COMPLETED", "CANCELLED")

_NAME = re.compile(r"[.A-Za-z0-9_-]{1,64}")


def check_name(name: str) -> None:
    # A run has a folder of its name: dots alone would name another.
    if not _NAME.fullmatch(name) or not name.strip("."):
        raise UsageError(f"{name!r} is no name for a run", "Use 1 to 64 letters, digits, dots, dashes and underscores.")


def default_name(verb: str, what: str) -> str:
    """`VERB-WHAT-UTCTIME-xxxx`: the last four are random, so that two people at one second differ."""
    stem = re.sub(r"[^.A-Za-z0-9_-]", "-", what.rpartition("/")[2])[:35]
    tail = "".join(random.choices(string.ascii_lowercase + string.digits, k=4))  # noqa: S311 - no secret
    return f"{verb}-{stem}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{tail}"


class Run(msgspec.Struct):
    """One run as the ledger has it. Times in epoch seconds.

    `subject` is what it is about: a table's ARN, a source. `identity` says in named parts what makes it this run and
    no other. `request` is what the verb needs to go on, as it was resolved (JSON), `counts` what it has done so far
    (JSON, the verb's). `epoch` counts how often it began anew. `total` is how much was expected, as far as that was
    known. `started_s` is when it began by the service's clock, `began_at` by ours. `plan` and `report` are JSON as
    `--json` prints them.
    """

    name: str
    verb: str
    subject: str
    identity: dict[str, str]
    request: bytes
    state: State
    reason: str
    epoch: int
    counts: bytes
    total: int | None
    plan: bytes | None
    report: bytes | None
    elapsed_s: float
    started_s: float | None
    created_at: float
    began_at: float
    updated_at: float


class Entry(msgspec.Struct, frozen=True):
    """What a verb hands in to enter a run; fields as in `Run`."""

    name: str
    verb: str
    subject: str
    identity: dict[str, str]
    request: bytes
    plan: dict[str, Any] | None = None
    total: int | None = None
    started_s: float | None = None


class Leftover(msgspec.Struct, frozen=True):
    """An item that a run did not deal with: its canonical key, why in a stable word, and why in a sentence."""

    key: bytes
    code: str
    message: str


class Sample(msgspec.Struct, frozen=True):
    """How far a run was at some time (epoch seconds): how much was done, and the rest as the verb tells it."""

    at: float
    done: int
    told: dict[str, Any]


def counts_as(kind: type[msgspec.Struct]) -> Callable[[Run], dict[str, Any]]:
    """A `Verb.summary` that tells a run's counts just as they are kept, in the fields of that struct."""

    def summary(run: Run) -> dict[str, Any]:
        told: dict[str, Any] = msgspec.to_builtins(msgspec.json.decode(run.counts, type=kind))
        return told

    return summary


def differences(known: dict[str, str], asked: dict[str, str]) -> list[str]:
    """`PART: it was X, and is Y now` for every part in which the two identities differ."""
    return [
        f"{part}: it was {_cut(known.get(part))}, and is {_cut(asked.get(part))} now"
        for part in dict.fromkeys((*known, *asked))
        if known.get(part) != asked.get(part)
    ]


def shown(subject: str) -> str:
    """What a run is about, for people: of an ARN the table's name."""
    return f"table {subject.rpartition('/')[2]}" if subject.startswith("arn:") else subject


def given_again(run: Run) -> str:
    """A hint: the command by which a run gets once more what it was given."""
    planned = _Planned() if run.plan is None else msgspec.json.decode(run.plan, type=_Planned)
    if not planned.command:
        return "Begin anew under another --run."
    return f"Give it again, in the command that began the run: {planned.command}"


class _Planned(msgspec.Struct):
    command: str = ""


def _cut(text: str | None) -> str:
    if text is None or not text:
        return "not given"
    return text if len(text) <= 80 else text[:79] + "…"
