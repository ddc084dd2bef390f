"""What planning makes of a place with exports: which there are, whether they go together, and how records are made."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from restrike.errors import UsageError
from restrike.model.record import EventName
from restrike.model.synthetic import NO_STREAM, shows
from restrike.model.table import TableInfo
from restrike.model.times import iso
from restrike.model.uri import Uri
from restrike.model.window import Window
from restrike.sources import Opening, Resolved
from restrike.sources.export.asking import ask_table, check_filters, region_of
from restrike.sources.export.finding import find, open_place
from restrike.sources.export.manifest import Exported
from restrike.sources.export.windows import check_together, check_until, read_by


class State(msgspec.Struct, frozen=True):
    """All that reading them takes. `key_names` only of a full export, `as_event` where the export does not say it."""

    exports: tuple[Exported, ...]
    stream_arn: str
    view_type: str
    key_names: tuple[str, ...] = ()
    as_event: EventName = "INSERT"
    old_image: bool = True
    verify_first: bool = False
    warnings: tuple[tuple[str, str], ...] = ()

    @property
    def table_arn(self) -> str:
        return self.exports[0].table_arn

    @property
    def region(self) -> str:
        return region_of(self.table_arn)

    @property
    def is_full(self) -> bool:
        return self.exports[0].kind == "full"


def state_of(resolved: Resolved) -> State:
    return msgspec.json.decode(resolved.state, type=State)


def resolved(uri: Uri, options: Mapping[str, Any], opening: Opening) -> Resolved:
    """Looks at the manifests of all exports there, and asks AWS about the table and the exports. Blocks."""
    require_packages()
    store, place = open_place(uri.rest, opening.aws)
    left_out = frozenset(name.strip() for name in (options.get("leave_out") or "").split(",") if name.strip())
    found = find(store, place, left_out=left_out)
    exports = found.exports
    check_together(exports, str(uri))
    _check_window(exports, opening.window)
    wanted = read_by(exports, opening.window) or exports
    told = ask_table(exports[0], opening.aws)
    warnings = list(told.warnings) + check_filters(wanted, opening.aws, silent=told.silent)
    warnings += [
        ("unfinished-export", f"{store.uri}/{each} has no manifest: it is not finished or has failed, and is not read")
        for each in found.unfinished
    ]
    view_type, more = _view(exports[0], told.table, options.get("view_type"))
    state = State(
        exports,
        (told.table.stream_arn if told.table is not None else None) or exports[0].table_arn + NO_STREAM,
        view_type,
        key_names=_key_names(exports[0], told.table, options.get("key_attributes")),
        as_event=_as_event(exports[0], options),
        old_image=options.get("old_image") is not False,
        verify_first=bool(options.get("verify_first")),
        warnings=(*warnings, *more),
    )
    identity = {
        "exports of": exports[0].table_arn,
        "as": state.as_event if exports[0].kind == "full" or exports[0].view == "NEW_IMAGE" else "",
        "old image": "" if state.old_image else "left out",
        "--view-type": options.get("view_type") or "",
        "--leave-out": ",".join(sorted(left_out)),
    }
    return Resolved(msgspec.json.encode(state), {name: text for name, text in identity.items() if text})


def require_packages() -> None:
    """UsageError where the package that reads folders and buckets is not installed."""
    if importlib.util.find_spec("obstore") is None:
        raise UsageError("exports need obstore", "pip install 'restrike[archive]'")


def _check_window(exports: Sequence[Exported], window: Window) -> None:
    first = exports[0]
    if first.kind == "full" and (window.since_s is not None or window.until_s is not None):
        raise UsageError(
            f"export {first.id} is full: its items have no times of their own, all are as of {iso(first.from_s)}",
            "Leave out --since, --until and --last, or give incremental exports.",
        )
    check_until(exports, window)


def _view(export: Exported, table: TableInfo | None, asked: str | None) -> tuple[str, list[tuple[str, str]]]:
    """The view type of the records: what was asked for, else the stream's, as far as the export has those images."""
    has = "NEW_AND_OLD_IMAGES" if export.kind == "full" else export.view
    wanted = asked or (table.view_type if table is not None else None) or has
    new, old = (one and other for one, other in zip(shows(wanted), shows(has), strict=True))
    view = {(True, True): "NEW_AND_OLD_IMAGES", (True, False): "NEW_IMAGE", (False, True): "OLD_IMAGE"}.get(
        (new, old), "KEYS_ONLY"
    )
    if view == wanted:
        return view, []
    lacking = f"exports of the view {has} have no old images"
    if asked is not None:
        raise UsageError(f"--view-type {asked}: {lacking}", "Export that time with the view NEW_AND_OLD_IMAGES.")
    return view, [("lacks-images", f"{lacking}, and the stream's view type is {wanted}")]


def _key_names(export: Exported, table: TableInfo | None, told: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in told.split(",")) if told is not None else ()
    if export.kind != "full":
        if names:
            raise UsageError("--key-attributes is for a full export: incremental ones have the keys", "Leave it out.")
        return ()
    if not all(names) or len(set(names)) != len(names) or len(names) > 2:
        raise UsageError(f"--key-attributes {told!r} names no key", "Write PARTITION or PARTITION,SORT.")
    if names:
        return names
    if table is None:
        raise UsageError(
            f"export {export.id} is full, and what the keys of its table are cannot be asked",
            "Name them: --key-attributes PARTITION or PARTITION,SORT.",
        )
    return table.key.names


def _as_event(export: Exported, options: Mapping[str, Any]) -> EventName:
    asked: EventName | None = options.get("as_event")
    old_image = options.get("old_image")
    if export.kind == "full":
        event: EventName = asked or "INSERT"
        if old_image is not None and event != "MODIFY":
            flag = "--old-image" if old_image else "--no-old-image"
            raise UsageError(f"{flag} goes with --as MODIFY, not with {event}")
        return event
    if old_image is not None:
        raise UsageError("--old-image is for a full export: incremental ones say it themselves", "Leave it out.")
    if export.view == "NEW_IMAGE":
        if asked not in ("INSERT", "MODIFY"):
            raise UsageError(
                f"export {export.id} has new images alone, in which an insert and an update look alike",
                "Say what the records are to say: --as MODIFY, or --as INSERT. Deletes are REMOVE in either case.",
            )
        return asked
    if asked is not None:
        raise UsageError("--as is for full exports and those with new images alone: this one says it itself")
    return "INSERT"
