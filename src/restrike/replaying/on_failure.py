"""Where a run may keep what it gives up: never in its source, its target, or what somebody else has written."""

from __future__ import annotations

import os
from pathlib import Path

from restrike import targets
from restrike.errors import UsageError
from restrike.model.uri import Uri
from restrike.replaying.failures import not_ours
from restrike.replaying.request import ReplayRequest


def on_failure_path(request: ReplayRequest, name: str, source: Uri, target: Uri, folder: Path) -> str | None:
    """The absolute path of what --on-failure names. UsageError where it is none that this run may write."""
    if request.on_failure is None:
        return None
    try:
        uri = targets.parse(request.on_failure, folder)
        path = targets.kind_of(uri).file(uri)
    except UsageError:
        path = None
    if path is None:
        raise UsageError(f"--on-failure {request.on_failure!r} is no file", "Write --on-failure jsonl:PATH.")
    for what, uri in (("source", source), ("target", target)):
        if _is_of(path, uri):
            raise UsageError(f"--on-failure {request.on_failure} is the {what}, or lies in it", "Name another file.")
    try:
        why = _unwritable(path, name)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
    if why is not None:
        raise UsageError(f"--on-failure {request.on_failure} cannot be written: {why}", "Name another file.")
    return str(path)


def _is_of(path: Path, uri: Uri) -> bool:
    """Whether that is the file of the source or target, by whatever name, or in its folder."""
    other = Path(uri.rest)
    if not other.is_absolute():
        return False  # no file: paths are absolute in what was resolved
    here, there = path.resolve(), other.resolve()
    if here == there or (there in here.parents and there.is_dir()):
        return True
    return path.exists() and other.exists() and path.samefile(other)


def _unwritable(path: Path, name: str) -> str | None:
    """Why what that run gives up cannot be kept there; None where it can."""
    if path.is_dir():
        return "it is a folder"
    if not path.parent.is_dir():
        return "its folder is not there"
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return "it may not be written"
    return not_ours(path, name) if path.exists() else None
