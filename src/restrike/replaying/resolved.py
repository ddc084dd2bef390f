"""What was asked, as planning settled it: the request of a run, as the ledger keeps it.

Nothing in it has to be parsed or read again: paths are absolute, a pattern is its text, relative times are times. So a
run that goes on is the run that was planned, from whatever folder.
"""

from __future__ import annotations

from typing import Any

import msgspec

from restrike import sources, targets
from restrike.aws.settings import AwsSettings
from restrike.model.flags import given, words
from restrike.model.permissions import Scope
from restrike.model.uri import Uri
from restrike.model.window import Window
from restrike.replaying import filters
from restrike.replaying.filters import FilterRequest
from restrike.replaying.request import ReplayRequest
from restrike.replaying.settings import Settings


class Resolved(msgspec.Struct, frozen=True):
    """Enough to go on from another process.

    `request` is as it was typed, to be shown. `filters` has a pattern as text, and its times only to be shown: `window`
    counts. `input` is what the source made of its options, `criteria` the mapping's filter. `on_failure` is an absolute
    path; None: a file in the run's folder.
    """

    request: ReplayRequest
    source: Uri
    target: Uri
    target_options: dict[str, Any]
    window: Window
    filters: FilterRequest
    settings: Settings
    aws: AwsSettings
    input: sources.Resolved = sources.Resolved()
    origins: tuple[tuple[str, str, str], ...] = ()
    criteria: str | None = None
    on_failure: str | None = None
    skip_superseded: bool = False
    ignored_attributes: tuple[str, ...] = ()
    fresh_event_ids: bool = False
    allow_gaps: bool = False


_TIMES = tuple(flag for flag in filters.FLAGS if flag.to in ("since", "until", "last"))
_FILTERS = tuple(flag for flag in filters.FLAGS if flag.to in ("key", "event", "pattern", "where"))


def uses_aws(resolved: Resolved) -> bool:
    """Whether it makes a difference where AWS is."""
    source, target = sources.kind_of(resolved.source.scheme), targets.kind_of(resolved.target)
    # What was given changes nothing of that: the options of a source are not kept with what was resolved.
    needs = (*source.permissions(resolved.source, {}, Scope()), *target.permissions(resolved.target, {}, Scope()))
    return any(not need.without for need in needs)


def identity(resolved: Resolved) -> dict[str, str]:
    """What makes it this run and no other, in named parts. Pace, limit, retries, lanes and gaps that are allowed are
    not among them: a rerun may change those.

    The window is as it was typed: `--last 2h` given again is the same run, whose window is that of its first part.
    """
    fixed = [flag for flag in targets.kind_of(resolved.target).flags if flag.group != "pace"]
    on_aws = uses_aws(resolved)
    parts = {
        "source": resolved.source.resolved,
        **resolved.input.identity,
        "window": typed_window(resolved),
        "filter": " ".join(words(_FILTERS, resolved.filters)),
        "the mapping's filter": resolved.criteria or "",
        "target": resolved.target.resolved,
        "target's flags": " ".join(words(fixed, given(fixed, resolved.target_options))),
        "--on-failure": resolved.on_failure or "",
        "--if-superseded": "skip" if resolved.skip_superseded else "",
        "--ignore-attributes": ",".join(resolved.ignored_attributes),
        "--event-id": "fresh" if resolved.fresh_event_ids else "",
        "Region": (resolved.aws.region or "") if on_aws else "",
        "endpoint": (resolved.aws.endpoint_url or "") if on_aws else "",
    }
    return {name: text for name, text in parts.items() if text}


def typed_window(resolved: Resolved) -> str:
    """The flags of the window, as they were given."""
    return " ".join(words(_TIMES, resolved.filters))


def taken_up(known: Resolved, again: Resolved) -> Resolved:
    """The run as it was planned first, with what a rerun of the same identity may change."""
    return msgspec.structs.replace(
        known,
        request=again.request,
        settings=again.settings,
        origins=again.origins,
        target_options=again.target_options,
        allow_gaps=again.allow_gaps,
        aws=msgspec.structs.replace(known.aws, profile=again.aws.profile),
    )
