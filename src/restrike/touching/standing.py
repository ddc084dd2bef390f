"""What a touch stands on beside its identity: keys, the list of an ordered run, and being alone on its table."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from restrike.errors import UsageError
from restrike.model.plan import PlanWarning
from restrike.model.selection import KeyList
from restrike.model.table import TableInfo
from restrike.running.ledger import Ledger, default_path
from restrike.running.run import Run, given_again
from restrike.running.standing import losses
from restrike.selecting.keyfile import check_whole
from restrike.touching.book import READ
from restrike.touching.collecting import is_whole
from restrike.touching.request import TouchRequest, command_line
from restrike.touching.run import KEYS, Asked


def check_standing(path: Path, known: Run | None, asked: Asked, *, given: bool) -> list[PlanWarning]:
    """UsageError where a run that is to go on has lost what it stands on, unless it was `given` again; else what else
    it has lost."""
    if known is None:
        return []
    with Ledger(path, read_only=True) as ledger:
        what = asked.selection.what
        if isinstance(what, KeyList) and not asked.request.again:
            check_keys(known, ledger.folder(known.name) / KEYS, what if given else None)
        list_lost(ledger, known, asked.request)
        return [PlanWarning("lost", text) for text in losses(ledger, known)]


def check_keys(known: Run, path: Path, given: KeyList | None) -> None:
    """UsageError where the keys of the run are not in its folder, and are not those that are given now."""
    stood = keys_of(known)
    if given is None:
        check_whole(path, stood, known.name, given_again(known))
    elif given.in_order != stood.in_order:
        hint = "Those that are given stand in another order: give them as they were, or begin anew under another --run."
        check_whole(path, stood, known.name, hint)


def list_lost(ledger: Ledger, known: Run, request: TouchRequest) -> bool:
    """Whether the run goes by a list of its own making, has begun with it, and has it no more: then `--again` makes it
    anew, and UsageError says so where that is not given."""
    asked = asked_of(known)
    if not asked.options.ordered or asked.selection.index is None or not ledger.places(known.name, READ):
        return False
    path = ledger.folder(known.name) / KEYS
    if known.state == "COMPLETED" or is_whole(ledger, known.name, path):
        return False
    if not request.again:
        counts = request.mode == "counter"
        dealt_with = "A counter counts all of them again" if counts else "What it has dealt with does not fire again"
        raise UsageError(
            f"run {known.name} goes by a list that it made of index {asked.selection.index}, and {path} is not there, "
            "or is another",
            f"Start over, with a new list: {command_line(msgspec.structs.replace(request, again=True), known.name)}. "
            f"{dealt_with}.",
        )
    return True


def asked_of(known: Run) -> Asked:
    return msgspec.json.decode(known.request, type=Asked)


def keys_of(known: Run) -> KeyList:
    what = asked_of(known).selection.what
    assert isinstance(what, KeyList), "the identity says so"
    return what


def known_elsewhere(items: int) -> str:
    """Of a run that this ledger has not known before."""
    return (
        f"{items:,} bear the run's name already, and this ledger knows no earlier part of the run: another ledger "
        "began it, or that one is lost"
    )


def place_of(table: TableInfo) -> Path:
    """Where those who touch this table, with whatever ledger, say so to each other."""
    told = hashlib.sha256(f"{table.arn} {table.id}".encode()).hexdigest()[:16]
    return default_path().parent / "touched" / f"{table.name}-{told}"
