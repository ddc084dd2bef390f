"""How many records a replay will deliver: as its source says, or read ahead where filters narrow it."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from restrike import sources
from restrike.errors import SourceLacks
from restrike.model.plan import Counted
from restrike.replaying.opening import filter_of, pages_of, source_of
from restrike.replaying.resolved import Resolved
from restrike.running.flags import PLAN_TIMEOUT_S
from restrike.sources import Opening, SourceInfo


class Expected(msgspec.Struct, frozen=True):
    """How many records the whole run is to have, how near that is, and how it was counted.

    `whole` is how many there are without the limit, where that is known; `nothing` says why there are none, where that
    is sure.
    """

    count: int | None
    counted: Counted
    how: str
    nothing: str = ""
    whole: int | None = None


async def expected(resolved: Resolved, info: SourceInfo, opening: Opening) -> Expected:
    """Counts what window, filters and limit leave."""
    kind = sources.kind_of(resolved.source.scheme)
    if info.count is None and kind.endless(resolved.request.source_options):
        return Expected(None, "unknown", info.how)
    narrows = filter_of(resolved).narrows
    if info.count is not None and not narrows and not info.at_least and not info.at_most:
        found = Expected(info.count, "exact" if kind.has_time else "about", info.how)
    elif not kind.has_time:  # items: to read them costs as much as the run itself
        found = _bound(info, narrows=narrows)
    else:
        found = await _read(resolved, info, opening, narrows=narrows)
    whole = None if found.counted == "at least" else found.count
    found = msgspec.structs.replace(_limited(found, resolved.settings.limit), whole=whole)
    # Which of them the items have moved on from is told when the run begins.
    return msgspec.structs.replace(found, counted="at most") if _is_less(found, resolved) else found


def _is_less(found: Expected, resolved: Resolved) -> bool:
    return resolved.skip_superseded and found.counted in ("exact", "about")


def _bound(info: SourceInfo, *, narrows: bool, why: str = "") -> Expected:
    """What can be said without having read all of it."""
    how = f"{info.how}{why}"
    if info.count is None or (narrows and info.at_least):
        return Expected(None, "unknown", how)
    return Expected(info.count, "at least" if info.at_least else "at most", how)


async def _read(resolved: Resolved, info: SourceInfo, opening: Opening, *, narrows: bool) -> Expected:
    record_filter = filter_of(resolved)
    longest_s = resolved.request.plan_timeout_s or PLAN_TIMEOUT_S  # what is not read by then is not known
    try:
        async with (
            asyncio.timeout(longest_s),
            source_of(resolved, opening) as source,
            contextlib.aclosing(pages_of(source, resolved)) as pages,
        ):
            async for page in pages:
                for record in page:
                    record_filter.passes(record)
    except TimeoutError:
        why = f"; within {longest_s:g} s {record_filter.passed:,} of {record_filter.seen:,} passed"
        return _bound(info, narrows=narrows, why=why)
    except SourceLacks as error:
        return _bound(info, narrows=narrows, why=f"; not counted: {error.message}")
    told = record_filter.told()
    if info.guessed:
        return Expected(record_filter.passed, "at least", f"{told}; where nothing has come for long there may be more")
    return Expected(record_filter.passed, "exact", told, "" if record_filter.passed else told)


def _limited(found: Expected, limit: int | None) -> Expected:
    if limit is None:
        return found
    if found.count is None:
        return Expected(limit, "at most", "--limit")
    if found.count <= limit:
        return found if found.counted != "at least" else msgspec.structs.replace(found, count=limit, counted="at most")
    counted: Counted = "at most" if found.counted == "at most" else "exact"
    return Expected(limit, counted, f"--limit; of {found.how}")
