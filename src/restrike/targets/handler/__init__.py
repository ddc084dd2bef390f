"""`handler:MODULE:FUNCTION`: a Python handler on this machine, called as Lambda calls it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from restrike.errors import UsageError
from restrike.model.flags import Flag
from restrike.model.uri import Uri
from restrike.targets import Opening, Options, TargetInfo, TargetKind

if TYPE_CHECKING:
    from restrike.targets.handler.target import HandlerTarget

LONGEST_S = 900.0
"""The time-out where none is given: Lambda's own longest, which says nothing of this handler."""


class HandlerKind(TargetKind):
    """See `TargetKind`. The rest of its URI is FOLDER:MODULE:FUNCTION: a module is imported from the folder that it
    was named in, wherever the run goes on."""

    scheme = "handler"
    form = "handler:MODULE:FUNCTION"
    flags = (
        Flag(
            "--timeout",
            "handler: how long a batch may take.",
            "pace",
            "number",
            metavar="S",
            default=f"{LONGEST_S:g}",
            field="timeout_s",
        ),
    )

    def parse(self, rest: str, folder: Path) -> Uri:
        module, colon, function = rest.partition(":")
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
            raise UsageError(f"'handler:{rest}' does not name module and function", hint)
        if not function.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
            raise UsageError(
                f"'handler:{rest}' does not name module and function",
                "Write handler:MODULE:FUNCTION, as in handler:app:main.",
            )
        return Uri(self.scheme, f"{folder.absolute()}:{rest}", f"{self.scheme}:{rest}")

    async def look(self, uri: Uri, options: Options, opening: Opening) -> TargetInfo:
        """Finds module and function without running a line of them."""
        from restrike.targets.handler.finding import check_found

        folder, module, function = _parts(uri)
        check_found(module, function, folder)
        timeout_s = _timeout_s(options)
        return TargetInfo(longest_attempt_s=timeout_s if timeout_s < LONGEST_S else None)

    def open(self, uri: Uri, options: Options, opening: Opening) -> HandlerTarget:
        from restrike.targets.handler.target import HandlerTarget

        folder, module, function = _parts(uri)
        return HandlerTarget(
            module, function, run=opening.run, timeout_s=_timeout_s(options), workers=opening.lanes, folder=folder
        )


def _parts(uri: Uri) -> tuple[Path, str, str]:
    folder, module, function = uri.rest.rsplit(":", 2)
    return Path(folder), module, function


def _timeout_s(options: Options) -> float:
    timeout_s = float(options.get("timeout_s", LONGEST_S))
    if not 0.1 <= timeout_s <= 86_400:
        raise UsageError(f"--timeout {timeout_s:g} is no number from 0.1 to 86,400", "Give seconds.")
    return timeout_s


KIND = HandlerKind()
