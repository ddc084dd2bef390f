"""Which exports a run reads, and in what order; where they overlap, where they leave a hole, where they are cut."""

from __future__ import annotations

import itertools
import shlex
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from restrike.errors import UsageError
from restrike.model.numbers import duration
from restrike.model.times import iso
from restrike.model.window import Gap, Window
from restrike.sources.export.manifest import Exported

SHORTEST_S = 15 * 60.0
"""Of an incremental export."""


def read_by(exports: Iterable[Exported], window: Window) -> list[Exported]:
    """Those that a window needs, in their order. A full export is read whole."""
    return [each for each in exports if each.kind == "full" or _overlaps(each, window)]


def _overlaps(export: Exported, window: Window) -> bool:
    return (window.since_s is None or export.to_s > window.since_s) and (
        window.until_s is None or export.from_s < window.until_s
    )


def check_together(exports: Sequence[Exported], source: str) -> None:
    """UsageError where they are not to be read as one: of several tables, full beside others, in another format, or
    overlapping."""
    folders: dict[str, str] = {}
    for each in exports:
        if each.id in folders:
            raise UsageError(
                f"{source}: export {each.id} lies there twice: {folders[each.id]} and {each.folder}",
                "Name the folder of one of the copies.",
            )
        folders[each.id] = each.folder
    tables = sorted({each.table_arn for each in exports})
    if len(tables) > 1:
        raise UsageError(
            f"{source} holds exports of {len(tables)} tables: {', '.join(tables[:5])}",
            _leave_out([each for each in exports if each.table_arn != tables[0]], "or name the folder of one export"),
        )
    made = sorted({each.table_id for each in exports if each.table_id})
    if len(made) > 1:
        newest = exports[-1].table_id
        raise UsageError(
            f"{source} holds exports of {len(made)} tables of one name: it was deleted and made anew between them",
            _leave_out([each for each in exports if each.table_id != newest], "or replay one table after the other"),
        )
    for each in exports:
        if each.format != "DYNAMODB_JSON":
            raise UsageError(
                f"export {each.id} is in the format {each.format}, which is not read",
                "Export that window once more with --export-format DYNAMODB_JSON (restrike export asks for that).",
            )
    full = [each for each in exports if each.kind == "full"]
    if full and len(exports) > 1:
        net = [each for each in exports if each.kind != "full"]
        raise UsageError(
            f"{source} holds {len(full)} full and {len(net)} incremental exports: a full one is read alone",
            _leave_out(full if net else full[:-1], "or name the folder of one export"),
        )
    views = sorted({each.view for each in exports})
    if len(views) > 1:
        raise UsageError(
            f"{source} holds exports of the views {' and '.join(views)}",
            _leave_out(
                [each for each in exports if each.view != "NEW_AND_OLD_IMAGES"], "or replay one after the other"
            ),
        )
    _refuse_overlaps(exports, source)


def _refuse_overlaps(exports: Sequence[Exported], source: str) -> None:
    pairs = []
    latest = exports[0]
    for each in exports[1:]:
        if each.from_s < latest.to_s:
            pairs.append((latest, each))
        if each.to_s > latest.to_s:
            latest = each
    if pairs:
        one, other = pairs[0]
        more = f", and {len(pairs) - 1} more" if len(pairs) > 1 else ""
        kept = {each.id for each in _best(exports)}
        raise UsageError(
            f"{source}: the windows of export {one.id} ({span(one)}) and {other.id} ({span(other)}) overlap{more}: "
            "two nets of one time cannot be told apart",
            _leave_out([each for each in exports if each.id not in kept]),
        )


def _best(exports: Sequence[Exported]) -> list[Exported]:
    """Of windows that overlap those that cover the longest time without, and of such the most: finer nets."""
    by_end = sorted(exports, key=lambda each: (each.to_s, each.from_s))
    ends = [each.to_s for each in by_end]
    best: list[tuple[float, int]] = [(0.0, 0)]  # of the first so many
    takes: list[int | None] = []
    for number, each in enumerate(by_end):
        before = bisect_right(ends, each.from_s, 0, number)
        with_it = (best[before][0] + each.to_s - each.from_s, best[before][1] + 1)
        takes.append(before if with_it > best[number] else None)
        best.append(max(with_it, best[number]))
    chosen: list[Exported] = []
    number = len(by_end)
    while number:
        before_it = takes[number - 1]
        if before_it is None:
            number -= 1
        else:
            chosen.append(by_end[number - 1])
            number = before_it
    return chosen[::-1]


def check_until(exports: Iterable[Exported], window: Window) -> None:
    """UsageError where the window ends within an export's: what that has is the net of all of its time."""
    until_s = window.until_s
    cut = next((each for each in exports if until_s is not None and each.from_s < until_s < each.to_s), None)
    if cut is None or until_s is None or cut.kind == "full":
        return
    to = f"s3://{cut.bucket}/{cut.prefix}".rstrip("/")
    words = ["restrike", "export", cut.table_arn.rpartition("/")[2], "--since", iso(cut.from_s, "auto"), "--until",
             iso(until_s, "auto"), "--to", to]  # fmt: skip
    short = f" (it must have {duration(SHORTEST_S)}: begin earlier)" if until_s - cut.from_s < SHORTEST_S else ""
    raise UsageError(
        f"--until {iso(until_s, 'auto')} lies within the window of export {cut.id} ({span(cut)}), which has the net of "
        "all of it",
        f"Export that span: {shlex.join(words)}{short}; then --leave-out {cut.id}. Or give --until {iso(cut.to_s)}.",
    )


def holes(exports: Sequence[Exported], window: Window) -> list[Gap]:
    """What of the window no export covers: between two of them, and before and behind all where the window says that
    it goes that far."""
    if exports[0].kind == "full":
        return []
    wanted = read_by(exports, window)
    if not wanted:
        return [Gap("windows", window.since_s, window.until_s, "no export has anything of that time")]
    found = []
    begins, ends = wanted[0].from_s, wanted[-1].to_s
    if window.since_s is not None and window.since_s < begins:
        found.append(_hole(window.since_s, begins))
    found += [_hole(one.to_s, other.from_s) for one, other in itertools.pairwise(wanted) if one.to_s < other.from_s]
    if window.until_s is not None and window.until_s > ends:
        found.append(_hole(ends, window.until_s))
    return found


def _hole(from_s: float, to_s: float) -> Gap:
    return Gap(
        "windows", from_s, to_s, f"no export has the {duration(to_s - from_s)} from {iso(from_s)} to {iso(to_s)}"
    )


def span(export: Exported) -> str:
    return f"{iso(export.from_s)} to {iso(export.to_s)}"


def _leave_out(exports: Iterable[Exported], otherwise: str = "") -> str:
    hint = f"Leave out: --leave-out {','.join(each.id for each in exports)}"
    return f"{hint}; {otherwise}." if otherwise else f"{hint}."
