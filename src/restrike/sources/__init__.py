"""Where a replay gets its records: the contract of a source, and the one list of them.

A new source is one module (or folder) with a `KIND`, its line in MODULES, and its line in the docs. Nothing else knows
what sources there are.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import msgspec

from restrike.errors import UsageError
from restrike.model.flags import Flag, given, refuse_strangers
from restrike.model.permissions import Need, Scope
from restrike.model.uri import Uri
from restrike.model.window import Gap, Window

if TYPE_CHECKING:
    from restrike.aws.session import Aws
    from restrike.model.record import Fidelity, Record

MODULES = {
    "stream": "restrike.sources.stream",
    "table": "restrike.sources.table",
    "archive": "restrike.sources.archive",
    "export": "restrike.sources.export",
    "jsonl": "restrike.sources.jsonl",
    "failures": "restrike.sources.failures",
}
"""Scheme → the module that holds its KIND, in the order of help. Importing one must not import what talks to AWS."""
WITHOUT_SCHEME = {"-": "jsonl", "arn": "stream"}
"""What stands for a source without its scheme before it: standard input, and a stream's own ARN."""


class SourceInfo(msgspec.Struct, frozen=True):
    """What a look at the source tells, for the plan. None where it does not tell.

    `count` is the number of records in the window, `at_least` says that there may be more, `at_most` that some of those
    that were counted may lie outside of it. `guessed`: where the source ends is a guess, so that who reads it to count
    may not have all. `first_s` and `last_s` are the earliest and latest creation time found. `expires_s` is when the
    source forgets its oldest record. `view_type` is the stream's, which says what images records have.
    """

    count: int | None = None
    at_least: bool = False
    at_most: bool = False
    guessed: bool = False
    how: str = ""
    first_s: float | None = None
    last_s: float | None = None
    table_name: str | None = None
    stream_arn: str | None = None
    view_type: str | None = None
    expires_s: float | None = None
    readers: str | None = None
    warnings: tuple[tuple[str, str], ...] = ()


class Source(Protocol):
    """The contract of every source; `tests/integration/test_source_contract.py` runs over all of them.

    - Used as an asynchronous context manager; `look` and `read` only inside.
    - `read` yields non-empty lists of records of one shard, in that shard's order, `place` strictly rising;
      a child shard's records come after all of its parent's. Each record once.
    - `after` gives, for a shard, the place behind which to begin; what is at or before it is not yielded.
    - Records outside the window may be yielded: who reads filters. A source skips what it can skip cheaply.
    - Memory is bounded: read-ahead is a few pages.
    - `drained` names shards of which nothing more will come, once their last page was taken. Who has dealt with all
      that they gave keeps DRAINED as their place, and takes them out: else a run that goes on when the source has
      forgotten them would take that for a loss.
    - When `read` ends, `ended` says why in a few words, and `gaps` names what is lost.
    - `started_s`, once entered: when it began to be read, by the clock that stamps its records (epoch seconds), where a
      later part of the run has to know it; else None.
    - `stands_on` tells, in named parts, from what the records so far came; another object whenever it changed. A later
      part of the run opens the source with it (`Opening.stood_on`), and is refused where that is gone or another.
    """

    uri: str
    fidelity: Fidelity
    ended: str
    gaps: list[Gap]
    drained: set[str]
    started_s: float | None
    stands_on: Mapping[str, str]

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    async def look(self, window: Window) -> SourceInfo: ...
    def read(self, after: Mapping[str, int], window: Window) -> AsyncIterator[list[Record]]: ...


@dataclass(frozen=True)
class Opening:
    """What a source is opened with, beside its name and options.

    `aws` is called only where AWS is asked. `folder` holds what was spooled for the run (`Resolved`), and what the
    source keeps there itself; where it is opened to be looked at, `looking`, it writes nothing. `once`: it is read a
    single time, from its beginning, so that nothing is spooled. `run` is the run's name, `ledger` where runs are known.
    `started_s`: when an earlier part of the run began to read (epoch seconds by the service's clock), None for its
    first part. `stood_on` is what that part's source stood on, None for the first; `again` the hint that says how to
    give again what the run was given.
    """

    aws: Callable[[], Aws]
    folder: Path
    run: str = ""
    ledger: Path = Path()
    window: Window = field(default_factory=Window)
    started_s: float | None = None
    wants_key: Callable[[bytes], bool] | None = None
    allow_gaps: bool = False
    looking: bool = False
    once: bool = False
    stood_on: Mapping[str, str] | None = None
    again: str = ""


class Resolved(msgspec.Struct, frozen=True):
    """What planning made of a source's options, for good: `state` (JSON) is all that `open` needs to open the same
    again, from whatever folder. `identity` says in named parts what makes it this input and no other."""

    state: bytes = b"{}"
    identity: dict[str, str] = {}


class SourceKind(Protocol):
    """What a source module's `KIND` is: all that is known of it before it is opened.

    `form` is how it is written, for help. `flags` are its own: one that was given and is of another source is refused.
    `has_table`: the rest of its name is a table's. `has_time`: its records have times, so that a window means
    something. `ordered`: the records of an item come in their order. `fidelity` is said before it is read. `spools`
    are the files that it keeps in the run's folder, of no use once the run is complete.
    """

    scheme: str
    form: str
    flags: tuple[Flag, ...]
    has_table: bool
    has_time: bool
    ordered: bool
    fidelity: Fidelity
    spools: tuple[str, ...]

    def parse(self, text: str, folder: Path) -> Uri:
        """What was typed; relative paths are of `folder`. UsageError says the right form."""

    def now_s(self, uri: Uri, aws: Callable[[], Aws]) -> float | None:
        """The time by the clock that a window of it goes by (epoch seconds): the service's or the store's; None where
        there is none but this machine's. UsageError where the two differ too much."""

    def endless(self, options: Mapping[str, Any]) -> bool:
        """Whether it goes on until it is stopped."""

    async def resolve(self, uri: Uri, options: Mapping[str, Any], opening: Opening) -> Resolved:
        """Settles the options (fields of `flags` that were given); what can be read only once is spooled."""

    def open(self, uri: Uri, resolved: Resolved, opening: Opening) -> Source:
        """The source, not yet entered."""

    def permissions(self, uri: Uri, options: Mapping[str, Any], scope: Scope) -> tuple[Need, ...]:
        """What opening, looking at and reading it needs of IAM."""


def kind_of(scheme: str) -> SourceKind:
    kind: SourceKind = importlib.import_module(MODULES[scheme]).KIND
    return kind


def kinds() -> list[SourceKind]:
    """All of them, in the order of help."""
    return [kind_of(scheme) for scheme in MODULES]


def flags() -> tuple[Flag, ...]:
    """The flags that some source has, each name once."""
    return tuple({flag.name: flag for kind in kinds() for flag in kind.flags}.values())


def options_of(uri: Uri, values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the source has, of all that were given for some source. UsageError where it has no use for
    one."""
    own = kind_of(uri.scheme).flags
    strangers = [flag for flag in flags() if flag.to not in {each.to for each in own}]
    refuse_strangers(strangers, values, what=str(uri), hint=f"Leave it out. {forms()}")
    return given(own, values)


def now(uri: Uri, aws: Callable[[], Aws]) -> datetime:
    """The time that a window of the source is reckoned from."""
    told_s = kind_of(uri.scheme).now_s(uri, aws)
    return datetime.now(UTC) if told_s is None else datetime.fromtimestamp(told_s, UTC)


def forms() -> str:
    """How sources are written, as a sentence."""
    *most, last = [kind.form for kind in kinds()]
    return f"A source is {', '.join(most)}, or {last}."


def parse_source(text: str, folder: Path) -> Uri:
    """Reads a SOURCE. UsageError says what is wrong with it, and what sources there are."""
    scheme, colon, rest = text.partition(":")
    scheme = WITHOUT_SCHEME.get(scheme, scheme)
    if scheme not in MODULES:
        why = f": there is no kind {scheme!r}" if colon and rest else ""
        raise UsageError(f"{text!r} is no source{why}", forms())
    if colon and not rest:
        raise UsageError(f"{text!r} is no source", forms())
    if not colon and text != "-":
        raise UsageError(f"{text!r} is no source", forms())
    return kind_of(scheme).parse(text, folder)
