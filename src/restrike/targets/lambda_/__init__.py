"""`lambda:NAME[:ALIAS]`: the function itself, invoked synchronously, one batch an invocation."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from restrike.errors import AccessDenied, AwsError
from restrike.model import cost
from restrike.model.uri import Uri
from restrike.targets import Opening, Options, TargetInfo, TargetKind

if TYPE_CHECKING:
    from restrike.aws.lambda_ import FunctionName
    from restrike.targets.lambda_.target import LambdaTarget


class LambdaKind(TargetKind):
    """See `TargetKind`. The rest of its URI is the function, by name, partial ARN or ARN."""

    scheme = "lambda"
    form = "lambda:NAME[:ALIAS]"
    usd_per_attempt = cost.USD_PER_INVOCATION

    def parse(self, rest: str, folder: Path) -> Uri:
        from restrike.aws.lambda_ import function_name

        return Uri(self.scheme, str(function_name(rest)), f"{self.scheme}:{rest}")

    async def look(self, uri: Uri, options: Options, opening: Opening) -> TargetInfo:
        """Asks Lambda for the function's time-out, and for how many of it may run at once."""
        import asyncio

        from restrike.aws.lambda_ import concurrency, function_info

        name = self.open(uri, options, opening).name  # refuses what is in another Region or account
        longest_s: float | None = None
        with contextlib.suppress(AccessDenied):  # who may invoke need not be allowed to look
            longest_s = float((await function_info(opening.aws, name)).timeout_s)
        at_once: int | None = None
        by = ""
        with contextlib.suppress(AwsError):  # only a warning is lost
            at_once, by = await asyncio.to_thread(concurrency, opening.aws, name)
        return TargetInfo(longest_attempt_s=longest_s, at_once=at_once, at_once_by=by)

    def open(self, uri: Uri, options: Options, opening: Opening) -> LambdaTarget:
        from restrike.targets.lambda_.target import LambdaTarget

        return LambdaTarget(opening.aws, self.function(uri), run=opening.run, lanes=opening.lanes)

    def permissions(self, uri: Uri) -> tuple[str, ...]:
        return (
            "lambda:InvokeFunction",
            "lambda:GetFunctionConfiguration",
            "lambda:GetFunctionConcurrency",
            "lambda:GetAccountSettings",
            "lambda:ListEventSourceMappings",
        )

    def function(self, uri: Uri) -> FunctionName:
        from restrike.aws.lambda_ import function_name

        return function_name(uri.rest)

    def meant(self, text: str) -> str:
        return f"A function's ARN goes behind lambda: as lambda:{text}." if text.startswith("arn:") else ""


KIND = LambdaKind()
