"""A law that holds slowly holds: hypothesis' deadline for each example would fail on a busy machine."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("restrike", deadline=None)
settings.load_profile("restrike")
