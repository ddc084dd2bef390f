"""How a touch writes."""

from __future__ import annotations

import msgspec

from restrike.model.lag import LagOptions
from restrike.model.table import MARKER
from restrike.touching.pace import PaceOptions
from restrike.touching.request import Api


class Options(msgspec.Struct, frozen=True):
    """How a touch writes. Kept in the ledger with the selection, so that a resumed run does the same."""

    attribute: str = MARKER
    mode: str = "marker"  # one of KINDS
    names: tuple[str, ...] = ()  # runs whose marks may be overwritten
    api: Api = "partiql"
    ordered: bool = False
    concurrency: int = 16
    pace: PaceOptions = PaceOptions()
    lag: LagOptions | None = None
    limit: int | None = None
    verify: bool = True
    verify_timeout_s: float = 60.0
