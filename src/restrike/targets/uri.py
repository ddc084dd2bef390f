"""A TARGET as a user writes it: `lambda:NAME[:ALIAS]`, `handler:MODULE:FUNCTION`, `jsonl:PATH` or `-`."""

from __future__ import annotations

import msgspec

from restrike.aws.lambda_ import FunctionName, function_name
from restrike.errors import UsageError

KINDS = "A target is lambda:NAME[:ALIAS], handler:MODULE:FUNCTION, jsonl:PATH, or - for standard output."


class LambdaUri(msgspec.Struct, frozen=True, tag="lambda"):
    function: FunctionName

    def __str__(self) -> str:
        return f"lambda:{self.function}"


class HandlerUri(msgspec.Struct, frozen=True, tag="handler"):
    """A Python function in a module that can be imported from the working directory."""

    module: str
    function: str

    def __str__(self) -> str:
        return f"handler:{self.module}:{self.function}"


class JsonlUri(msgspec.Struct, frozen=True, tag="jsonl"):
    """A file; `-` is standard output."""

    path: str

    def __str__(self) -> str:
        return self.path if self.path == "-" else f"jsonl:{self.path}"


TargetUri = LambdaUri | HandlerUri | JsonlUri


def parse_target(text: str) -> TargetUri:
    """Reads a TARGET. UsageError says what is wrong with it, and what targets there are."""
    if text == "-":
        return JsonlUri("-")
    kind, colon, rest = text.partition(":")
    if not colon or not rest:
        raise UsageError(f"{text!r} is no target", KINDS)
    match kind:
        case "lambda":
            return LambdaUri(function_name(rest))
        case "handler":
            return _handler(rest)
        case "jsonl":
            return JsonlUri(rest)
        case "arn":
            raise UsageError(f"{text!r} is no target", f"A function's ARN goes behind lambda: as lambda:{text}.")
        case _:
            raise UsageError(f"{text!r} is no target: there is no kind {kind!r}", KINDS)


def _handler(text: str) -> HandlerUri:
    module, colon, function = text.partition(":")
    if "/" in module or module.endswith(".py"):
        meant = module.removeprefix("./").removesuffix(".py").replace("/", ".")
        raise UsageError(
            f"{module!r} is a path, and a handler's module is given by its name",
            f"Write handler:{meant}:{function or 'FUNCTION'}, in the folder that it is imported from.",
        )
    if not colon:
        # Lambda's own way to write it.
        module, _, function = module.rpartition(".")
        hint = f"Write handler:{module}:{function}." if module else "Write handler:MODULE:FUNCTION."
        raise UsageError(f"'handler:{text}' does not name module and function", hint)
    if not function.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise UsageError(
            f"'handler:{text}' does not name module and function",
            "Write handler:MODULE:FUNCTION, as in handler:app:main.",
        )
    return HandlerUri(module, function)
