"""An unmark as a run of the ledger."""

from __future__ import annotations

from restrike.touching.run import UNMARK as VERB

__all__ = ["VERB"]
