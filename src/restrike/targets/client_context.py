"""What a consumer is told beside the event: the run, and how true to the original its records are."""

from __future__ import annotations

import msgspec

from restrike.model.record import Fidelity, Record

_WEAKEST_FIRST: tuple[Fidelity, ...] = ("synthetic", "net", "exact")


def client_context(run: str, records: list[Record]) -> bytes:
    """Lambda's ClientContext as JSON: `{"custom":{"restrike":{"run":…,"fidelity":…}}}`.

    Of a batch that mixes fidelities, the weakest is said: a consumer must not take more on trust than it may.
    """
    found = {record.fidelity for record in records}
    fidelity = next((each for each in _WEAKEST_FIRST if each in found), "exact")
    return msgspec.json.encode({"custom": {"restrike": {"run": run, "fidelity": fidelity}}})
