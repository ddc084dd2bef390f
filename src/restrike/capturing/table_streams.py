"""The streams of a table that are to be captured: its own, and those switched off that are not read to their end."""

from __future__ import annotations

import msgspec

from restrike.archive.layout import CAPTURES, StreamName, stream_name
from restrike.archive.state import CaptureState, KnownGap, encoded, load, write_gap
from restrike.aws.streams import RETENTION_S, SWITCHED, StreamInfo
from restrike.stores.objects import Store


class TableStream(msgspec.Struct, frozen=True):
    """A stream to capture: its ARN, its name in the archive, and what the archive knows of it."""

    arn: str
    name: StreamName
    state: CaptureState | None


def streams_to_capture(table: str, latest_arn: str | None, store: Store | None) -> list[TableStream]:
    """The streams to capture, one after the other: those that were switched off while they were captured and are not
    read to their end, then the table's own."""
    known = _known(store, table) if store is not None else {}
    arns = {state.stream_arn for state in known.values() if state.ended is None}
    if latest_arn is not None:
        arns.add(latest_arn)
    chosen = []
    for arn in arns:
        name = stream_name(arn)
        if name is not None:
            chosen.append(TableStream(arn, name, known.get(name)))
    return sorted(chosen, key=lambda each: (each.arn == latest_arn, each.name))


def _known(store: Store, table: str) -> dict[StreamName, CaptureState]:
    found = {}
    for each in store.objects(CAPTURES):
        if each.path.endswith(".json") and each.name.startswith(f"{table}."):
            name = StreamName(table, each.name[len(table) + 1 : -len(".json")])
            state = load(store, name)
            if state is not None and state[0].table == table:
                found[name] = state[0]
    return found


def claim_switched(store: Store, stream: TableStream, info: StreamInfo) -> bool:
    """Writes down what is on no stream, where the archive has an earlier one of the table; whether it has."""
    before = [state for name, state in _known(store, stream.name.table).items() if name < stream.name]
    if not before or info.created_s is None:
        return False
    heard_s = max(state.heard_s or state.saved_s for state in before)
    write_gap(store, stream.name, KnownGap(stream.arn, min(heard_s, info.created_s), info.created_s, (), SWITCHED))
    return True


def forget(store: Store, stream: TableStream, now_s: float) -> None:
    """Writes down that a stream which was switched off is gone before it was read to its end. `now_s`: the service's
    time."""
    state = stream.state
    if state is None:
        return
    to_s = max(state.oldest_s, now_s - RETENTION_S)
    behind = tuple(sorted(each for each, shard in state.shards.items() if not shard.done))
    cause = "the stream was switched off, and forgotten before it was read to its end"
    write_gap(store, stream.name, KnownGap(stream.arn, state.oldest_s, to_s, behind, cause))
    found = load(store, stream.name)
    if found is not None:
        found[0].ended = cause
        store.replace(stream.name.state_path, encoded(found[0]), found[1])
