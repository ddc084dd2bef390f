"""Who gets the records.

A kind of target is one module (or folder) and its line in MODULES. The module has a `KIND`, whose contract is
`TargetKind`: how the target is written, which flags are its own, how it is looked at, and how it is opened. What it
opens is a `Target`, which makes one attempt with one batch and says what came of it; when to try again, what to split
and what to give up is `restrike.replaying.delivery`'s.

A KIND is imported for help and completion: what is heavy (botocore, aiohttp, a process) is imported where it is used.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import msgspec

from restrike.errors import UsageError
from restrike.model.flags import Flag, given, refuse_strangers
from restrike.model.permissions import Need, Scope
from restrike.model.prices import Name
from restrike.model.uri import Uri

if TYPE_CHECKING:
    from restrike.aws.lambda_ import FunctionName
    from restrike.aws.session import Aws
    from restrike.model.record import Record

MODULES = {
    "lambda": "restrike.targets.lambda_",
    "handler": "restrike.targets.handler",
    "jsonl": "restrike.targets.jsonl",
}
"""Scheme → the module of that kind, in the order in which people are told of them."""
STANDARD_OUTPUT = "-"
END = "target's end"
"""Part of what a run stands on: how many bytes its target had when the run ended in order; empty while it delivers,
since a death leaves what was not saved."""

Options = Mapping[str, Any]
"""The flags of the target's own that were given, by the field that each fills."""


class Answer(msgspec.Struct, frozen=True):
    """What one attempt came to.

    `ok`: the target took the batch; `response` is what it answered (JSON), which may name items that failed.
    Otherwise `error` says what happened, `throttled` that the target asks for fewer attempts (such an attempt is
    not counted as the batch's failure), and `wait_s` how long at least to wait before the next.
    """

    ok: bool
    response: bytes = b""
    error: str = ""
    throttled: bool = False
    wait_s: float = 0.0


class Target(Protocol):
    """The contract of every target; `tests/integration/test_target_contract.py` runs over all of them.

    - Made without any effect; used as an asynchronous context manager, `attempt` only inside. `attempt` never raises
      for what a consumer does wrong (an exception, a time-out, a crash): that is an Answer. It raises RestrikeError
      for what would fail with every batch (no such function, access denied, a full disk), and that ends the run.
    - `max_payload_bytes` bounds the event of a batch, None where the target has no bound.
    - `run` and `fidelity` reach the consumer where the target has a way to tell them.
    - `size_bytes` is how much a target that keeps a file has taken so far, None for others: a run that goes on and
      finds less than it had delivered says so.
    - `stands_on` tells, in named parts, what it has taken so far; another object whenever it changed, which is at most
      once for each `sync`. A later part of the run opens it with that, and is refused where it is another.
    - Attempts of different lanes may run at the same time, up to the number of lanes.
    """

    uri: str
    max_payload_bytes: int | None
    stands_on: Mapping[str, str]

    @property
    def size_bytes(self) -> int | None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    async def attempt(self, records: list[Record]) -> Answer: ...
    async def sync(self) -> None:
        """Makes durable what was taken: called each second of commits, and at the end."""


class TargetInfo(msgspec.Struct, frozen=True):
    """What a look at a target tells, for the plan.

    `longest_attempt_s`: how long one attempt takes at most; None where nothing bounds it, or it is not known.
    `at_once`: how many attempts may be under way at once, everybody's together, and `at_once_by` who says so.
    `warnings` are (code, message).
    """

    longest_attempt_s: float | None = None
    at_once: int | None = None
    at_once_by: str = ""
    warnings: tuple[tuple[str, str], ...] = ()


class Opening(msgspec.Struct, frozen=True):
    """For which run a target is looked at or opened. `resuming`: what it holds already may be the run's own.
    `stood_on`: what it had taken then, as it told; with END."""

    aws: Aws
    run: str
    lanes: int = 1
    resuming: bool = False
    stood_on: Mapping[str, str] = {}


class TargetKind(Protocol):
    """What a module of MODULES has as its KIND.

    `form` is how the target is written, for help. `flags` are its own; those of the group `pace` may change when a run
    goes on, the others make another run. `alone` is a text that means this kind without its scheme.
    `charged_as` is the price that an attempt costs, None where it costs nothing. `knows_event_ids`: a consumer behind
    it may drop records whose eventID it has seen before.
    """

    scheme: str
    form: str
    flags: tuple[Flag, ...] = ()
    alone: str = ""
    charged_as: Name | None = None
    knows_event_ids: bool = True

    def parse(self, rest: str, folder: Path) -> Uri:
        """What stands behind the scheme, with paths reckoned from that folder. UsageError where it is none."""
        ...

    async def look(self, uri: Uri, options: Options, opening: Opening) -> TargetInfo:
        """Says what can be known without any effect: nothing is made, cut, started or imported. UsageError where the
        target cannot be used."""
        ...

    def open(self, uri: Uri, options: Options, opening: Opening) -> Target:
        """The target, not yet entered."""
        ...

    def permissions(self, uri: Uri, options: Options, scope: Scope) -> tuple[Need, ...]:
        """What look and attempts need of IAM."""
        return ()

    def function(self, uri: Uri) -> FunctionName | None:
        """The Lambda function whose event source mapping says how to deliver; None where it has none."""
        return None

    def file(self, uri: Uri) -> Path | None:
        """The file of records that it writes; None where it writes none."""
        return None

    def takes_stdout(self, uri: Uri) -> bool:
        """Whether records go to standard output, so that nothing else may."""
        return False

    def meant(self, text: str) -> str:
        """A hint for a text without a known scheme that looks like this kind; empty where it does not."""
        return ""


def kind_of(uri: Uri) -> TargetKind:
    """The kind of that target."""
    return _kind(uri.scheme)


def kinds() -> list[TargetKind]:
    """All kinds, in their order."""
    return [_kind(scheme) for scheme in MODULES]


def flags() -> tuple[Flag, ...]:
    """The flags that some target has, each name once."""
    return tuple({flag.name: flag for kind in kinds() for flag in kind.flags}.values())


def parse(text: str, folder: Path) -> Uri:
    """Reads a TARGET as it was typed in that folder. UsageError says what is wrong with it, and what targets there
    are."""
    for kind in kinds():
        if kind.alone and text == kind.alone:
            return kind.parse(text, folder)
    scheme, colon, rest = text.partition(":")
    if not colon or not rest:
        raise UsageError(f"{text!r} is no target", forms())
    if scheme in MODULES:
        return _kind(scheme).parse(rest, folder)
    meant = next((hint for kind in kinds() if (hint := kind.meant(text))), "")
    raise UsageError(
        f"{text!r} is no target" if meant else f"{text!r} is no target: there is no kind {scheme!r}", meant or forms()
    )


def options_of(uri: Uri, values: Options) -> dict[str, Any]:
    """The options that the target has, of all that were given for some target. UsageError where it has no use for
    one."""
    own = kind_of(uri).flags
    strangers = [flag for flag in flags() if flag.to not in {each.to for each in own}]
    refuse_strangers(strangers, values, what=str(uri), hint=f"Leave it out. {forms()}")
    return given(own, values)


def _kind(scheme: str) -> TargetKind:
    found: TargetKind = importlib.import_module(MODULES[scheme]).KIND
    return found


def forms() -> str:
    return f"A target is {', '.join(kind.form for kind in kinds())}, or {STANDARD_OUTPUT} for standard output."
