"""A handler that notes which records it got; what it noted outlives every kill."""

from __future__ import annotations

from pathlib import Path

import pytest

TARGET = "handler:kill_handler:handle"
HANDLER = """
import os

FILE = os.open(os.environ["DELIVERED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def handle(event, context):
    os.write(FILE, "".join(each["dynamodb"]["SequenceNumber"] + "\\n" for each in event["Records"]).encode())
"""


def noting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of sequence numbers, one a line, that TARGET writes where it runs in that folder."""
    (folder / "kill_handler.py").write_text(HANDLER)
    delivered = folder / "delivered"
    monkeypatch.setenv("DELIVERED", str(delivered))
    return delivered


def whole_lines(path: Path) -> list[str]:
    """Of what may be written at this moment; none where there is no file yet."""
    text = path.read_text() if path.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()
