"""`lambda:NAME[:ALIAS]`: the function itself, invoked synchronously, one batch an invocation."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from restrike.errors import AccessDenied, AwsError, UsageError
from restrike.model.permissions import Need, Scope
from restrike.model.uri import Uri
from restrike.targets import Opening, Options, TargetInfo, TargetKind

if TYPE_CHECKING:
    from restrike.aws.lambda_ import FunctionInfo, FunctionName
    from restrike.targets.lambda_.target import LambdaTarget


class LambdaKind(TargetKind):
    """See `TargetKind`. The rest of its URI is the function, by name, partial ARN or ARN."""

    scheme = "lambda"
    form = "lambda:NAME[:ALIAS]"
    charged_as = "invocation"

    def parse(self, rest: str, folder: Path) -> Uri:
        from restrike.aws.lambda_ import function_name

        return Uri(self.scheme, str(function_name(rest)), f"{self.scheme}:{rest}")

    async def look(self, uri: Uri, options: Options, opening: Opening) -> TargetInfo:
        """Asks Lambda what the function is like, and how many of it may run at once. UsageError for one that no
        synchronous invocation of ours can invoke."""
        import asyncio

        from restrike.aws.lambda_ import concurrency, function_info

        name = self.open(uri, options, opening).name  # refuses what is in another Region or account
        longest_s: float | None = None
        warnings: tuple[tuple[str, str], ...] = ()
        with contextlib.suppress(AccessDenied):  # who may invoke need not be allowed to look
            function = await function_info(opening.aws, name)
            _check(name, function)
            longest_s, warnings = float(function.longest_s), _differences(function)
        at_once: int | None = None
        by = ""
        with contextlib.suppress(AwsError):  # only a warning is lost
            at_once, by = await asyncio.to_thread(concurrency, opening.aws, name)
        return TargetInfo(longest_attempt_s=longest_s, at_once=at_once, at_once_by=by, warnings=warnings)

    def open(self, uri: Uri, options: Options, opening: Opening) -> LambdaTarget:
        from restrike.targets.lambda_.target import LambdaTarget

        return LambdaTarget(opening.aws, self.function(uri), run=opening.run, lanes=opening.lanes)

    def permissions(self, uri: Uri, options: Options, scope: Scope) -> tuple[Need, ...]:
        from restrike.aws.permissions import invoking

        return invoking(scope, self.function(uri))

    def function(self, uri: Uri) -> FunctionName:
        from restrike.aws.lambda_ import function_name

        return function_name(uri.rest)

    def meant(self, text: str) -> str:
        return f"A function's ARN goes behind lambda: as lambda:{text}." if text.startswith("arn:") else ""


def _check(name: FunctionName, function: FunctionInfo) -> None:
    """UsageError where each invocation would fail. (Lambda Developer Guide, *Invoking durable Lambda functions* and
    *Tenant isolation*.)"""
    if function.per_tenant:
        raise UsageError(
            f"{name} isolates its tenants: each invocation has to name one (X-Amz-Tenant-Id), and no record does",
            "No event source mapping invokes it either: name the function that is mapped.",
        )
    if function.execution_timeout_s is not None and name.qualifier is None:
        latest = shlex.quote(f"lambda:{name.qualified('$LATEST')}")
        raise UsageError(
            f"{name} is a durable function: it is invoked by a version or an alias, not by its bare name",
            f"Name the one that is mapped, for example {latest}.",
        )


def _differences(function: FunctionInfo) -> tuple[tuple[str, str], ...]:
    """How a synchronous invocation is not what the mapping does."""
    longest_s = function.longest_s
    if function.execution_timeout_s is not None:
        if function.execution_timeout_s <= longest_s:
            return ()
        text = (
            f"an execution of this durable function may take {function.execution_timeout_s:,} s, and is waited for "
            f"{longest_s} s, as a mapping does: Lambda may refuse it, or it has failed here and goes on all the same."
        )
    elif function.timeout_s > longest_s:
        text = (
            f"the function may take {function.timeout_s:,} s when its mapping invokes it, and {longest_s} s when it is "
            "invoked synchronously, as here: a batch that takes longer fails. Smaller ones: --batch-size."
        )
    else:
        return ()
    return (("shorter-timeout", text),)


KIND = LambdaKind()
