"""An audit as planning settled it: what its run needs to go on, and what is told of it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import msgspec

from restrike.auditing.request import AuditRequest
from restrike.auditing.rows import Names
from restrike.aws import settings
from restrike.aws.settings import AwsSettings
from restrike.model.flags import words
from restrike.model.selection import Scan, Selection, identity_parts
from restrike.model.table import TABLE_ID
from restrike.model.times import iso_or_none

KEYS, GIVEN = "keys.db", "against"
"""In the run's folder: the keys that were selected, and what came by standard input."""
COMMANDS = {
    "missing": (("touch", ()), ("replay", ())),
    "stale": (("touch", ()), ("replay", ("--as", "MODIFY"))),
    "extra": (("replay", ("--as", "REMOVE", "--if-superseded", "skip")),),
}
"""What repairs each kind: a touch fires every consumer, a replay hands records to one. An item that was made again
meanwhile supersedes its REMOVE."""


class Against(msgspec.Struct, frozen=True):
    """The other side: a file's path, absolute, or a table's name; `digest` of what came by standard input, or the
    table's id."""

    kind: str
    where: str
    text: str
    digest: str = ""


class Settled(msgspec.Struct, frozen=True):
    """`parts` is into how many parts by hash both sides are written; `aws` is where requests go."""

    request: AuditRequest
    table_arn: str
    table_id: str
    selection: Selection
    against: Against
    names: Names
    as_of_s: float | None
    parts: int
    max_rru: float
    aws: AwsSettings

    @property
    def table(self) -> str:
        return self.table_arn.rpartition("/")[2]

    @property
    def is_whole(self) -> bool:
        """Whether every item of the table is selected."""
        what = self.selection.what
        return isinstance(what, Scan) and what.index is None and self.selection.filter is None

    def identity(self) -> dict[str, str]:
        """What makes it this run and no other, in named parts."""
        against = self.against
        where = {"file": against.where, "input": f"standard input with the digest {against.digest[:16]}"}
        parts = {
            "table": self.table_arn,
            TABLE_ID: self.table_id,
            **identity_parts(self.selection),
            "--against": where.get(against.kind, f"table {against.where} with the id {against.digest}"),
            "--on": ",".join(self.names.on),
            "--map": ",".join(f"{theirs}={ours}" for ours, theirs in self.names.theirs.items()),
            "--as-of": iso_or_none(self.as_of_s) or "",
        }
        return {name: text for name, text in parts.items() if text}

    def repairs(self, files: dict[str, str]) -> tuple[str, ...]:
        """The commands that repair what stands in those files (kind → path), in that order; each plans."""
        where = words(settings.FLAGS, self.request.aws)
        found = []
        for kind, path in files.items():
            for verb, more in COMMANDS.get(kind, ()):
                what = self.table if verb == "touch" else f"table:{self.table}"
                line = shlex.join(["restrike", verb, what, "--keys", path, *more, *where])
                found.append(line if verb == "touch" else f"{line} --to TARGET")
        return tuple(found)


def settled_of(request: bytes) -> Settled:
    return msgspec.json.decode(request, type=Settled)


def given_path(folder: Path, against: Against) -> Path:
    """Where the other side's file is."""
    return Path(against.where) if against.kind == "file" else folder / GIVEN


def told(settled: Settled) -> dict[str, Any]:
    """What of it stands in plan and report alike."""
    return {
        "table": settled.table,
        "selection": settled.selection.describe(),
        "against": settled.against.text,
        "on": settled.names.on,
    }
