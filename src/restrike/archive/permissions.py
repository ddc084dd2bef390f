"""What looking after an archive needs of IAM."""

from __future__ import annotations

from restrike.model.permissions import Need, Scope
from restrike.stores import permissions as stores

LOOKS = ("stat", "ls", "verify")
VERBS = (*LOOKS, "compact", "prune")


def needs(verb: str, archive: str, scope: Scope) -> tuple[Need, ...]:
    """What that verb does with the archive, with --execute."""
    where = archive.removeprefix("archive:")
    return (
        *stores.reading(scope, where),
        *(stores.writing(scope, where) if verb == "compact" else ()),
        *(stores.deleting(scope, where) if verb not in LOOKS else ()),
    )
