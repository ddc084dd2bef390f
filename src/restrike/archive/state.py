"""What a capture writes down beside its files: how it began, who runs it, and when each shard was last looked at.

The files themselves say how far the archive is, and win over this. This tells what they cannot: a start at the newest
end that ended before its first file, and a shard that had nothing to say from a capture that did not run.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from restrike.archive.layout import GAPS, HOUR_S, StreamName, gap_path, hour_of
from restrike.errors import ServiceFault, SourceLacks
from restrike.model.times import iso
from restrike.model.window import Gap, Window
from restrike.stores.objects import Store

MAX_TRIES = 10
KEPT_S = 48 * 3600.0
"""What is younger is never pruned."""


class ShardState(msgspec.Struct, omit_defaults=True):
    """`read_to_s`: all that the shard got before is in the archive (epoch seconds, the service's clock). `last` is the
    sequence number of its last record there, `hour` the one that its file is filed under. `done`: it is closed, and
    all of it is there."""

    read_to_s: float
    last: str | None = None
    hour: int | None = None
    done: bool = False


class Owner(msgspec.Struct, frozen=True):
    """A process that captures."""

    host: str
    pid: int
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def this_process() -> Owner:
    return Owner(socket.gethostname(), os.getpid(), secrets.token_hex(8))


class CaptureState(msgspec.Struct, omit_defaults=True):
    """`latest` and `since_s` say where it began, `began_s` when; `saved_s` when it was last at work, and `heard_s`
    when the stream was last heard of. `owner` is who is capturing now, None after a clean end. `ended`: nothing more
    will come of this stream, and why."""

    stream_arn: str
    table: str
    label: str
    began_s: float
    saved_s: float
    heard_s: float = 0.0
    latest: bool = False
    since_s: float | None = None
    owner: Owner | None = None
    shards: dict[str, ShardState] = {}
    ended: str | None = None
    format: str = "1"

    @property
    def oldest_s(self) -> float:
        """All that the stream got before is in the archive."""
        return min(
            [
                self.saved_s,
                self.heard_s or self.saved_s,
                *(each.read_to_s for each in self.shards.values() if not each.done),
            ]
        )


def load(store: Store, stream: StreamName) -> tuple[CaptureState, str] | None:
    """The state and its ETag; None where that stream was never captured into this archive."""
    found = store.read(stream.state_path)
    if found is None:
        return None
    try:
        return msgspec.json.decode(found[0], type=CaptureState), found[1]
    except msgspec.MsgspecError as error:
        raise SourceLacks(
            f"{store.uri}/{stream.state_path} cannot be read: {error}",
            "Restore it from a copy. Without it a capture goes on behind its files, and cannot tell a gap.",
        ) from None


def missing_ends(state: CaptureState, ends: Mapping[str, int], window: Window) -> Iterator[tuple[str, str]]:
    """Shards of the window whose last records stand in no file, although a capture wrote down that it had put them:
    (shard, why). `ends` has the last number that was found of each. Of the last 48 hours alone: older ones may have
    been pruned."""
    kept_from = hour_of(time.time() - KEPT_S)
    for shard, known in sorted(state.shards.items()):
        if known.last is None or known.hour is None or known.hour <= kept_from:
            continue
        end = ends.get(shard, -1)
        if end < int(known.last) and window.overlaps(known.hour * HOUR_S, (known.hour + 1) * HOUR_S):
            behind = f"behind {end} " if end >= 0 else ""
            yield shard, f"the last file is missing: records {behind}up to {known.last}"


def encoded(state: CaptureState) -> bytes:
    return msgspec.json.format(msgspec.json.encode(state), indent=1) + b"\n"


class KnownGap(msgspec.Struct, frozen=True):
    """Records that are in the stream's past and not in the archive. Times in epoch seconds."""

    stream_arn: str
    from_s: float
    to_s: float
    shards: tuple[str, ...]
    cause: str

    def touches(self, window: Window) -> bool:
        return window.overlaps(self.from_s, self.to_s)

    def as_gap(self) -> Gap:
        why = f"{iso(self.from_s)} to {iso(self.to_s)}: {self.cause}"
        return Gap(", ".join(self.shards), self.from_s, self.to_s, why)

    def as_json(self) -> dict[str, Any]:
        return {"from": iso(self.from_s), "to": iso(self.to_s), "shards": list(self.shards), "cause": self.cause}


def write_gap(store: Store, stream: StreamName, gap: KnownGap) -> None:
    """Once: the same gap again changes nothing, and other shards of the same seconds are added."""
    path = gap_path(stream, gap.from_s, gap.to_s)
    for _ in range(MAX_TRIES):
        if store.create(path, _gap_bytes(gap)):
            return
        found = store.read(path)
        if found is None:
            continue
        known = msgspec.json.decode(found[0], type=KnownGap)
        together = msgspec.structs.replace(known, shards=tuple(sorted({*known.shards, *gap.shards})))
        if together == known or store.replace(path, _gap_bytes(together), found[1]):
            return
    raise ServiceFault(f"{store.uri}/{path} changes all the time", "Is another capture running?")


def _gap_bytes(gap: KnownGap) -> bytes:
    return msgspec.json.format(msgspec.json.encode(gap), indent=1) + b"\n"


def gaps(store: Store, stream: StreamName) -> list[KnownGap]:
    """The gaps that were written down, the earliest first."""
    found = []
    for each in store.objects(f"{stream.folder}/{GAPS}"):
        data = store.read(each.path)
        if data is None:
            continue
        try:
            found.append(msgspec.json.decode(data[0], type=KnownGap))
        except msgspec.MsgspecError as error:
            raise SourceLacks(f"{store.uri}/{each.path} cannot be read: {error}", "Restore it from a copy.") from None
    return sorted(found, key=lambda gap: gap.from_s)
