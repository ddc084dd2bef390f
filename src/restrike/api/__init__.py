"""The functions of the public API, each with the command line's flags as keyword arguments.

Spelled out, so that an editor shows them and a type checker holds callers to them; a test holds them to the flags.
"""

from __future__ import annotations

from restrike.api.items import touch, unmark
from restrike.api.keeping import capture, export
from restrike.api.ledger import resume, runs
from restrike.api.looking import audit, doctor
from restrike.api.replaying import records, redrive, replay

__all__ = ["audit", "capture", "doctor", "export", "records", "redrive", "replay", "resume", "runs", "touch", "unmark"]
