"""The temporary folder of a plan."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path
from typing import Any

from restrike.running.spool import Spool


def test_one_that_is_forgotten_goes_without_a_word() -> None:
    """Also in a circle of objects, as the traceback of a refused plan makes one: then no `__del__` comes first."""
    circle: list[Any] = [Spool()]
    circle.append(circle)
    folder = Path(circle[0].name)
    (folder / "keys").write_text("a")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del circle
        gc.collect()
    assert (folder.exists(), told) == (False, [])
