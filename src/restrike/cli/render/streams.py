"""The two ways out: data on stdout, words for people on stderr."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from typing import Any, TextIO

import click

from restrike.model.text import printable


def on_stdout() -> TextIO:
    """stdout; OSError where it was closed by who started us."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return sys.stdout


def put(data: str | bytes) -> None:
    """A line of data on stdout; OSError where it cannot be written."""
    on_stdout()
    click.echo(data)


def put_json(value: Any) -> None:
    """One JSON object on stdout; escaped where the terminal's encoding lacks letters."""
    put(json.dumps(value, ensure_ascii=not writes_unicode(sys.stdout)))


def say(text: str) -> None:
    """A line for people on stderr; nothing in it moves the cursor. Never fails: no run ends because nobody listens any
    more."""
    with contextlib.suppress(OSError, ValueError):
        click.echo(printable(text), err=True)


def writes_unicode(stream: Any) -> bool:
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "").startswith("utf")


def is_live(stream: Any) -> bool:
    """Whether a line there can be written anew: a terminal, and not a dumb one."""
    return stream is not None and bool(stream.isatty()) and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
