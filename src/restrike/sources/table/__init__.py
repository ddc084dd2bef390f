"""The source `table:TABLE`: synthetic records of the selected items, as they are now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from restrike.errors import UsageError
from restrike.model.flags import Flag
from restrike.model.permissions import Need, Scope
from restrike.model.record import EventName, Fidelity
from restrike.model.selection import KeyList, Selection, identity_parts
from restrike.model.table import TABLE_ID, made_anew
from restrike.model.uri import Uri
from restrike.selecting import request as selecting
from restrike.selecting.request import SelectionRequest
from restrike.sources import Opening, Resolved

if TYPE_CHECKING:
    from restrike.aws.session import Aws
    from restrike.sources.table.reading import TableSource

KEYS, JOURNAL = "keys.db", "journal.db"
"""In the run's folder: the keys that were given, and those that were read."""
AS = Flag(
    "--as",
    "table, export: what the records say.",
    "records",
    "choice",
    choices=("INSERT", "MODIFY", "REMOVE"),
    default="INSERT",
    field="as_event",
)
OLD_IMAGE = Flag("--old-image", "table, export: OldImage in a MODIFY.", "records", "toggle", default="it has")
"""Of every source that makes records of items."""
_SELECTING = {flag.to for flag in selecting.FLAGS}


class _State(msgspec.Struct, frozen=True):
    selection: Selection
    as_event: EventName = "INSERT"
    old_image: bool = True
    table_id: str = ""


class TableKind:
    """The items of a table, chosen by the flags that touch has too."""

    scheme = "table"
    form = "table:TABLE"
    flags = (
        *selecting.FLAGS,
        AS,
        OLD_IMAGE,
    )
    has_table = True
    has_time = False
    ordered = False
    fidelity: Fidelity = "synthetic"
    spools: tuple[str, ...] = (KEYS, JOURNAL)

    def parse(self, text: str, folder: Path) -> Uri:
        return Uri("table", text.removeprefix("table:"), text)

    def now_s(self, uri: Uri, aws: Callable[[], Aws]) -> float | None:
        return None

    def endless(self, options: Mapping[str, Any]) -> bool:
        return False

    async def resolve(self, uri: Uri, options: Mapping[str, Any], opening: Opening) -> Resolved:
        import asyncio

        from restrike.aws import dynamodb
        from restrike.selecting.resolve import resolve

        as_event: EventName = options.get("as_event") or "INSERT"
        old_image = options.get("old_image") is not False
        if options.get("old_image") is not None and as_event != "MODIFY":
            flag = "--old-image" if old_image else "--no-old-image"
            raise UsageError(f"{flag} goes with --as MODIFY, not with {as_event}")
        aws = opening.aws()
        table, _ = await asyncio.to_thread(dynamodb.describe_table, aws, uri.rest)
        request = SelectionRequest(**{name: value for name, value in options.items() if name in _SELECTING})
        async with dynamodb.connect(aws, connections=2) as wire:
            selection = await resolve(request, table, wire, ledger=opening.ledger, keys=opening.folder / KEYS)
        parts = {"table": table.arn, TABLE_ID: table.id, **identity_parts(selection), "as": as_event}
        return Resolved(
            msgspec.json.encode(_State(selection, as_event, old_image, table.id)),
            parts | ({} if old_image else {"old image": "left out"}),
        )

    def open(self, uri: Uri, resolved: Resolved, opening: Opening) -> TableSource:
        from restrike.aws import dynamodb
        from restrike.selecting.keyfile import KeyFile, check_whole
        from restrike.sources.table.reading import TableSource

        state = msgspec.json.decode(resolved.state, type=_State)
        aws = opening.aws()
        table, _ = dynamodb.describe_table(aws, uri.rest)
        if state.table_id not in ("", table.id):
            raise made_anew(opening.run, str(uri), state.table_id, table.id)
        keys = None
        if isinstance(state.selection.what, KeyList):
            if opening.stood_on is not None:
                check_whole(opening.folder / KEYS, state.selection.what, opening.run, opening.again)
            keys = KeyFile(opening.folder / KEYS)
        return TableSource(
            aws,
            table,
            state.selection,
            as_event=state.as_event,
            old_image=state.old_image,
            keys=keys,
            journal=None if opening.looking else opening.folder / JOURNAL,
            salt=opening.run,
            stood_on=opening.stood_on,
        )

    def permissions(self, uri: Uri, options: Mapping[str, Any], scope: Scope) -> tuple[Need, ...]:
        """Items come by their keys, too: of a run that goes on, and where an index does not hold them whole."""
        from restrike.aws import permissions
        from restrike.selecting.permissions import reading

        chosen = SelectionRequest(**{name: value for name, value in options.items() if name in _SELECTING})
        return (
            permissions.describing(scope, uri.rest),
            permissions.items(scope, uri.rest),
            *reading(scope, uri.rest, chosen),
        )


KIND = TableKind()
