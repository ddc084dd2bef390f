"""Plan an unmark: a touch that removes, of the items that the run had touched where no others are chosen."""

from __future__ import annotations

import msgspec

from restrike.errors import UsageError
from restrike.running.ledger import Ledger, ledger_path
from restrike.selecting.request import is_empty
from restrike.touching import plan as touching
from restrike.touching.plan import TouchPlan, resume
from restrike.touching.request import TouchRequest
from restrike.touching.run import VERB, Asked

__all__ = ["plan", "resume"]


def plan(request: TouchRequest) -> TouchPlan:
    """Looks at everything that it depends on; raises UsageError for what must not be tried."""
    if request.remove is None:
        raise UsageError("no run is named", "restrike unmark TABLE --run NAME: whose name is to be taken off?")
    if is_empty(request.selection):
        request = _where_it_was(request, request.remove)
    return touching.plan(request)


def _where_it_was(request: TouchRequest, name: str) -> TouchRequest:
    """With the selection of the touch of that name, as far as the ledger knows it and it can be read again."""
    with Ledger(ledger_path(request.ledger), read_only=True) as ledger:
        known = ledger.find(name)
    if known is None or known.verb != VERB.name:
        return request
    touched = msgspec.json.decode(known.request, type=Asked).request
    if touched.table != request.table or touched.selection.keys is not None:
        return request
    return msgspec.structs.replace(request, selection=touched.selection)
