"""What a caller of redrive asks for, as it was typed."""

from __future__ import annotations

import shlex
from pathlib import Path

import msgspec

from restrike import targets
from restrike.aws import settings
from restrike.errors import UsageError
from restrike.model.flags import Flag, refuse_strangers, words
from restrike.model.uri import Uri
from restrike.replaying.request import FLAGS as REPLAY_FLAGS
from restrike.replaying.request import ReplayRequest
from restrike.replaying.request import check as check_replay
from restrike.running.flags import run_flag
from restrike.sources.failures import KIND

ORIGINAL = "original"


class RedriveRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that `restrike redrive` takes. `replay` says how to deliver; its `source` is FAILURES as it was typed,
    and its `to` may be ORIGINAL, or empty for a rescue."""

    replay: ReplayRequest
    rescue: str | None = None
    delete_objects: bool = False
    keep: bool = False


ARCHIVE = Flag(
    "--archive",
    "What the stream has forgotten: capture's folder or s3://…, or a rescue's jsonl:PATH.",
    "records",
    metavar="WHERE",
)
_SUPERSEDED = Flag(
    "--if-superseded",
    "Records whose item has moved on; --execute needs it.",
    "deliver",
    "choice",
    choices=("send", "skip"),
)
_CHANGED = {"--if-superseded": _SUPERSEDED, "--run": run_flag("redrive-FAILURES-UTCTIME-xxxx")}
DELIVERY = tuple(_CHANGED.get(flag.name, flag) for flag in REPLAY_FLAGS)
"""Of how to deliver, what fills the request's `replay`."""
_DELIVERS = tuple(flag for flag in DELIVERY if flag.name not in ("--ledger", "--price", "--plan-timeout"))
"""What a rescue has no use for; but for settings, which may come from the environment."""
OWN = (
    Flag("--rescue", "Write the records of all pointers there, and deliver nothing.", "records", metavar="jsonl:PATH"),
    Flag("--keep", "Delete no message from the queue, done or not.", "deliver", "switch"),
    Flag("--delete-objects", "Delete the objects in S3 whose messages are done.", "deliver", "switch"),
)


def check(request: RedriveRequest) -> None:
    """UsageError for what contradicts itself."""
    if request.rescue is not None:
        if request.replay.to:
            raise UsageError("--rescue delivers nothing, and --to names who gets the records", "Leave one of them out.")
        strangers = [flag for flag in OWN if flag.name != "--rescue"]
        refuse_strangers(strangers, request, what="a rescue", hint="It writes the records down, and that is all.")
        for flags, values in ((_DELIVERS, request.replay), (targets.flags(), request.replay.target_options)):
            refuse_strangers(flags, values, what="a rescue", hint="It writes the records down, and that is all.")
    elif not request.replay.to:
        raise UsageError("no target is named", f"Give --to original, or --to TARGET. {targets.forms()}")
    check_replay(request.replay)


def source_of(request: RedriveRequest, received: tuple[Path, str] | None, folder: Path) -> Uri:
    """FAILURES, a relative path from that folder. `received`: the file of messages that were taken out of a queue, and
    its URL."""
    if received is None:
        return KIND.parse(request.replay.source, folder)
    return msgspec.structs.replace(KIND.parse(str(received[0]), folder), text=request.replay.source)


def command_line(request: RedriveRequest, run: str) -> str:
    """The command line that executes the request, under that name."""
    replay = request.replay
    parts = ["restrike", "redrive", replay.source]
    parts += ["--to", replay.to] if replay.to else []
    parts += words((ARCHIVE,), replay.source_options)
    parts += words(OWN, request)
    if replay.to:
        parts += words([flag for flag in DELIVERY if flag.name != "--run"], replay)
        parts += words(targets.flags(), replay.target_options)
    parts += words(settings.FLAGS, replay.aws)
    return shlex.join([*parts, *(["--run", run] if run else []), "--execute"])
