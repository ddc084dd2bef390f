"""A claim: one sentence about the service, what it is expected to answer, and what it did answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any, Literal, NamedTuple

import botocore.exceptions

from tests.aws.stream import CannotTell
from tests.aws.table import Table

Mark = Literal["documented", "model", "reported", "unconfirmed", "local only"]
"""Where the expectation comes from: AWS's documentation, botocore's model of the service, somebody else's capture, no
source that would settle it; or it was seen on DynamoDB Local alone."""
Verdict = Literal["as expected", "differs", "could not be tried"]

DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
BUSY = frozenset(
    {
        "InternalServerError",
        "ItemCollectionSizeLimitExceeded",
        "LimitExceededException",
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingError",
        "ThrottlingException",
    }
)
"""Answers that say nothing about a claim."""


class Seen(NamedTuple):
    """What the service answered, in the words of the expectation; and figures beside it that decide nothing."""

    answer: str
    detail: str = ""


@dataclass(frozen=True)
class Deviation:
    """What DynamoDB Local is known to answer instead, and why that is so."""

    answer: str
    why: str


@dataclass(frozen=True)
class Claim:
    """`ask` gets the probe's table, and its replica where the claim is of two Regions."""

    name: str
    says: str
    expected: str
    mark: Mark
    ask: Callable[..., Seen | str]
    writes: int
    """The most write units that it takes."""
    local: Deviation | None
    otherwise: str
    """What follows for Restrike where the service answers something else."""


@dataclass(frozen=True)
class Result:
    """How a claim came out; `why` says it where it could not be tried. `deviation` is what was expected instead, of a
    DynamoDB Local."""

    claim: Claim
    verdict: Verdict
    seen: str = ""
    detail: str = ""
    why: str = ""
    deviation: Deviation | None = None

    @property
    def expected(self) -> str:
        return self.claim.expected if self.deviation is None else self.deviation.answer


def claim(
    expected: str, mark: Mark, *, writes: int = 4, local: Deviation | None = None, otherwise: str = ""
) -> Callable[[Callable[..., Seen | str]], Claim]:
    """Makes a function a claim: its name is the claim's, its docstring the sentence."""

    def of(ask: Callable[..., Seen | str]) -> Claim:
        subject = ask.__module__.rpartition(".")[2]
        says = " ".join((ask.__doc__ or "").split())
        return Claim(f"{subject}.{ask.__name__}", says, expected, mark, ask, writes, local, otherwise)

    return of


def claims_of(modules: Iterable[ModuleType]) -> tuple[Claim, ...]:
    """The claims of those modules, in the order in which they are written."""
    return tuple(each for module in modules for each in vars(module).values() if isinstance(each, Claim))


def tried(claim: Claim, tables: Sequence[Table]) -> Result:
    """Asks, and judges the answer. Whatever goes wrong is this claim's alone."""
    # A deviation that is gone is news, too: a newer DynamoDB Local.
    result = partial(Result, claim, deviation=claim.local if tables[0].is_dynamodb_local else None)
    not_tried = partial(result, "could not be tried")
    try:
        answer = claim.ask(*tables)
        seen = Seen(answer) if isinstance(answer, str) else answer
    except CannotTell as problem:
        return not_tried(why=str(problem))
    except botocore.exceptions.ClientError as error:
        if code_of(error) in DENIED | BUSY:
            return not_tried(why=str(error))
        seen = Seen(f"refused: {code_of(error)}", str(error))
    except Exception as error:
        return not_tried(why=f"{type(error).__name__}: {error}")
    asked = result("differs", *seen)
    return replace(asked, verdict="as expected") if seen.answer == asked.expected else asked


def code_of(error: botocore.exceptions.ClientError) -> str:
    """The service's own code for what it refused."""
    return str(error.response.get("Error", {}).get("Code", ""))


def told(answer: dict[str, Any]) -> str:
    """One member's answer of a batch: `applied` or its code, and what came with it."""
    error = answer.get("Error", {})
    code = error.get("Code", "applied")
    if code in DENIED or code in BUSY:
        raise CannotTell(f"{code}: {error.get('Message', '')}")
    parts = [code]
    if "TableName" in answer:
        parts.append("TableName")
    if "Item" in answer:
        parts.append(f"Item {shown(answer['Item'])}")
    if "Item" in error:
        parts.append(f"Error.Item {shown(error['Item'])}")
    return ", ".join(parts)


def shown(item: dict[str, Any]) -> str:
    """An item in one line; its key, which each claim has another of, by name alone."""
    return "{" + ", ".join(name if name == "pk" else f"{name}={_plain(item[name])}" for name in sorted(item)) + "}"


def _plain(value: dict[str, Any]) -> str:
    ((_, content),) = value.items()
    return str(content)
