"""How an unmark looks: as a touch does."""

from __future__ import annotations

from restrike.cli.render.touch import LOOK

__all__ = ["LOOK"]
