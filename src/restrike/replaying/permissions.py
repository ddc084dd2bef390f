"""What replay and records need of IAM, beside what source and target need."""

from __future__ import annotations

from pathlib import Path

from restrike import sources, targets
from restrike.aws import permissions as aws
from restrike.aws.settings import AwsSettings
from restrike.model.permissions import UNKNOWN, Need, Scope
from restrike.model.uri import Uri
from restrike.replaying.request import ReplayRequest
from restrike.replaying.run import resolved_of
from restrike.running.run import Run

FILTER = "a replay is refused where the mapping's filter is under a key of your own, unless --pattern gives it"


def needs(request: ReplayRequest, scope: Scope) -> tuple[Need, ...]:
    here = Path.cwd()
    source, target = sources.parse_source(request.source, here), targets.parse(request.to, here)
    options = targets.options_of(target, request.target_options)
    table = table_of(source)
    return (
        *of_source(request, scope),
        *targets.kind_of(target).permissions(target, options, scope),
        *of_mapping(target, scope, table),
        *(superseding(scope, table) if request.if_superseded == "skip" else ()),
    )


def of_source(request: ReplayRequest, scope: Scope) -> tuple[Need, ...]:
    """What reading the records takes."""
    source = sources.parse_source(request.source, Path.cwd())
    options = sources.options_of(source, request.source_options)
    return sources.kind_of(source.scheme).permissions(source, options, scope)


def of_mapping(target: Uri, scope: Scope, table: str) -> tuple[Need, ...]:
    """As `mapping`; nothing of a target that no mapping invokes."""
    return () if targets.kind_of(target).function(target) is None else mapping(scope, table)


def mapping(scope: Scope, table: str) -> tuple[Need, ...]:
    """How the consumer's own mapping delivers, which a replay takes over."""
    return (aws.listing_mappings(), aws.reading_filters(scope, table, without=FILTER))


def superseding(scope: Scope, table: str) -> tuple[Need, ...]:
    """Looking whether an item has moved on."""
    return (aws.describing(scope, table), aws.items(scope, table))


def table_of(source: Uri) -> str:
    """The table whose records those are, by the source's name; UNKNOWN where that does not tell."""
    return source.rest if sources.kind_of(source.scheme).has_table else UNKNOWN


def asked_of(run: Run) -> tuple[ReplayRequest, AwsSettings]:
    """What a run goes on with, and where AWS is for it."""
    resolved = resolved_of(run)
    return resolved.request, resolved.aws
