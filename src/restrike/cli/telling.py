"""What is told beside plans and reports: a service that gives no good answer, always; each request, with -v; and all of
it as JSON lines in a file, with --log. None of it holds a value of an attribute.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from restrike.cli.render.streams import say
from restrike.errors import AwsError, RestrikeError, UsageError
from restrike.model.times import iso

_LONGEST_LINE_BYTES = 1 << 16
_LINE_BEGINS = b'{"at": "'
_ROOT = logging.getLogger("restrike")
_log = logging.getLogger("restrike.cli")


class Wanted(msgspec.Struct, frozen=True):
    """What the command line asks to be told."""

    verbose: bool = False
    log: str | None = None


@contextlib.contextmanager
def telling(wanted: Wanted, verb: str) -> Iterator[None]:
    """Meanwhile a command is carried out, and what it says of itself is told. UsageError where the log cannot be
    opened."""
    handlers: list[logging.Handler] = [_OnStderr(verbose=wanted.verbose)]
    if wanted.log is not None:
        handlers.append(_InFile(wanted.log))
    level = _ROOT.level
    _ROOT.setLevel(min(handler.level for handler in handlers))
    for handler in handlers:
        _ROOT.addHandler(handler)
    began = time.monotonic()
    told: dict[str, Any] = {"event": "end", "verb": verb}
    _event(logging.INFO, "start", verb=verb)
    try:
        yield
    except BaseException as error:
        told |= _of_error(error)
        raise
    finally:
        told["elapsed_s"] = round(time.monotonic() - began, 3)
        _log.info(f"{verb} ended", extra={"fields": told})
        for handler in handlers:
            _ROOT.removeHandler(handler)
            handler.close()
        _ROOT.setLevel(level)


def log_report(report: dict[str, Any]) -> None:
    """What a run did, in numbers: the words of a report may hold what a function or an item said."""
    names = ("run", "verb", "state")
    fields = {name: value for name, value in report.items() if name in names or isinstance(value, int | float)}
    _log.info(f"run {report.get('run')}: {report.get('state')}", extra={"fields": {"event": "report", **fields}})


def _event(level: int, event: str, **fields: Any) -> None:
    _log.log(level, f"{event} {' '.join(map(str, fields.values()))}", extra={"fields": {"event": event, **fields}})


def _of_error(error: BaseException) -> dict[str, Any]:
    """Its kind, and where a service refused, how; not its message, which may hold a key."""
    told: dict[str, Any] = {"error": type(error).__name__}
    if isinstance(error, RestrikeError):
        told["exit_code"] = error.exit_code
    if isinstance(error, AwsError):
        told |= {"operation": error.operation, "code": error.code, "status": error.status}
    return told


class _OnStderr(logging.Handler):
    def __init__(self, *, verbose: bool) -> None:
        super().__init__(logging.DEBUG if verbose else logging.WARNING)
        self._verbose = verbose

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            text = f"waiting: {text}"
        say(f"{iso(record.created, 'milliseconds')[11:]} {text}" if self._verbose else text)


class _InFile(logging.Handler):
    """JSON lines, each written at once; a disk that takes no more ends the log, which is said, and not the run."""

    def __init__(self, path: str) -> None:
        super().__init__(logging.DEBUG)
        if not path:
            raise UsageError("--log is empty", "Name a file, or leave it out.")
        self._path = path
        self._ended = False
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if stat.S_ISREG(os.fstat(self._file).st_mode):
                _end_last_line(self._file, path)
        except OSError as error:
            raise UsageError(f"cannot write the log {path}: {error.strerror}", "Name another file.") from None

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", None)
        if fields is None or self._ended:
            return
        line = {"at": iso(record.created, "milliseconds"), "level": record.levelname.lower(), **fields}
        text = json.dumps(line).encode() + b"\n"
        try:
            written = os.write(self._file, text)
            if written == len(text):
                return
            why = "it took half a line"
        except OSError as error:
            why = str(error.strerror)
        self._ended = True  # what comes behind half a line would be no line
        say(f"warning: the log {self._path} ends here, and what is logged goes on: {why}")

    def close(self) -> None:
        super().close()
        with contextlib.suppress(OSError):
            os.close(self._file)


def _end_last_line(file: int, path: str) -> None:
    """Half a line at the end, which a full disk or a death left, is cut off where it is a log's, and else ended."""
    size = os.fstat(file).st_size
    with Path(path).open("rb") as reading:
        reading.seek(max(0, size - _LONGEST_LINE_BYTES))
        tail = reading.read(_LONGEST_LINE_BYTES)
    half = tail[tail.rfind(b"\n") + 1 :]
    if half and half.startswith(_LINE_BEGINS[: len(half)]):
        os.ftruncate(file, size - len(half))
    elif half:
        os.write(file, b"\n")
