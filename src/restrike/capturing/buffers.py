"""What was read and is not yet put: of each shard the files that grow, one for each hour."""

from __future__ import annotations

import math
import time
from collections import deque

from restrike.archive.layout import HOUR_S, hour_of
from restrike.archive.schema import About
from restrike.archive.writing import GrowingFile
from restrike.aws.pages import ShardPage
from restrike.capturing.request import CaptureOptions


class Buffer:
    """What was read of a shard and is not yet put: `files`, each with the hour that it is filed under."""

    __slots__ = ("behind", "done", "files", "read_to_s", "since")

    def __init__(self) -> None:
        self.files: deque[tuple[int, GrowingFile]] = deque()
        self.since = 0.0  # monotonic time of the oldest record here
        self.read_to_s = 0.0
        self.done = False
        self.behind = -1  # the place up to which another capture has put the shard meanwhile

    def add(self, page: ShardPage, about: About) -> int:
        """Empties the page into the last file, or into new ones where the hour changes; returns the bytes that it
        takes."""
        records = page.records
        if records and records[0].place <= self.behind:
            records = [each for each in records if each.place > self.behind]
        held = 0
        while records:
            if not self.files:
                self.since = time.monotonic()
            hour = hour_of(records[0].created_s)
            if not self.files or hour > self.files[-1][0]:
                self.files.append((hour, GrowingFile(about)))
            hour, growing = self.files[-1]
            later_s = (hour + 1) * HOUR_S
            fitting = len(records)
            if page.newest_s >= later_s:
                fitting = next((at for at, each in enumerate(records) if each.created_s >= later_s), fitting)
            held += growing.add(records[:fitting])
            records = records[fitting:]
        page.records.clear()  # they are columns by now, and keep the answer in memory that they are parts of
        self.read_to_s = max(self.read_to_s, page.read_to_s)
        self.done = self.done or page.last
        if self.done:
            self.since = -math.inf  # now: no file of a child before the last of its parent
        return held

    def pack(self, share_bytes: int) -> None:
        """Packs what waits in the last file where it is a row group, or more than the shard's share of the memory."""
        if self.files and (self.files[-1][1].full or self.files[-1][1].waiting_bytes >= share_bytes):
            # Some ten milliseconds, and not in a thread: that would keep a heap of its own, and wait for this one.
            self.files[-1][1].pack()

    @property
    def held_bytes(self) -> int:
        return sum(growing.held_bytes for _, growing in self.files)


def until_due_s(buffers: dict[str, Buffer], flush_s: float) -> float:
    """For how long no file will be old enough to be put."""
    waiting = [buffer.since for buffer in buffers.values() if buffer.files]
    due = min(waiting, default=time.monotonic()) + flush_s
    return max(0.05, due - time.monotonic())


def due(buffers: dict[str, Buffer], held_bytes: int, options: CaptureOptions) -> list[str]:
    """The shards whose files are old enough; and where all together are too large, the largest, down to half."""
    now = time.monotonic()
    found = [shard for shard, buffer in buffers.items() if buffer.files and now - buffer.since >= options.flush_s]
    if held_bytes >= options.flush_bytes:
        for shard in sorted(buffers, key=lambda each: -buffers[each].held_bytes):
            if held_bytes <= options.flush_bytes // 2:
                break
            if shard not in found:
                found.append(shard)
            held_bytes -= buffers[shard].held_bytes
    return found
