"""A redrive as a run of the ledger."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec

from restrike.replaying import run as replaying
from restrike.replaying.redriving.memory import FAILED_TABLE, TABLES
from restrike.replaying.redriving.resolved import Redrive
from restrike.running.life import Verb
from restrike.running.run import Run


def redrive_of(run: Run) -> Redrive:
    """What was planned."""
    return replaying.planned_as(run, Redrive)


def left(run: Run) -> list[dict[str, Any]]:
    """Where what the run gave up stands, too; and what delivers it once more: the messages are still there."""
    replay = redrive_of(run).request.replay
    words = ["restrike", "redrive", replay.source, "--to", replay.to]
    return [each | {"again": shlex.join(words)} for each in replaying.left(run)]


class Told(msgspec.Struct):
    """Of a report in the ledger, what became of the messages."""

    messages: int = 0
    done: int = 0
    deleted: int = 0


def told(run: Run) -> Told:
    return msgspec.json.decode(run.report or b"{}", type=Told)


def summary(run: Run) -> dict[str, Any]:
    """And of messages, as soon as there is a report."""
    return replaying.summary(run) | (msgspec.to_builtins(told(run)) if run.report else {})


TAKES = replaying.TAKES - {"limit"}
VERB = Verb("redrive", summary, replaying.line, TAKES, TABLES, (FAILED_TABLE,), left=left)
