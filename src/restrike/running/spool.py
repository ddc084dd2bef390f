"""What a plan has spooled, into the folder of the run that it becomes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def keep(spooled: Path, folder: Path) -> None:
    """Moves the file into the folder, whole and on the disk, for nobody else to read: people's data may stand in it."""
    half = folder / f".{spooled.name}"
    shutil.move(spooled, half)
    half.chmod(0o600)
    with half.open("rb") as file:
        os.fsync(file.fileno())
    half.replace(folder / spooled.name)
