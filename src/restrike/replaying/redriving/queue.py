"""Messages of a queue: taken in first, held while the run works, then deleted or given back.

1. All that the queue gives, up to MAX_MESSAGES and MAX_BYTES, is received and stands on the disk of the run's folder,
   with its MessageId, before anything of it is looked at. What comes beyond is for the next run.
2. While the run works they are invisible to others: that is said anew every third of VISIBILITY_S, for 12 hours at
   most.
3. What is done is deleted, unless it is to be kept; the rest is visible again at once.

Who is killed holds nothing: after VISIBILITY_S the queue gives them to somebody else. The run goes on with what it has
on its disk; and since what was delivered is remembered, it does no harm that a message comes twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from restrike.aws import sqs
from restrike.aws.session import Aws
from restrike.aws.sqs import Queue
from restrike.errors import AwsError, RestrikeError
from restrike.running.spool import written

RECEIVED = "received.jsonl"
"""In the run's folder: the messages as they were received, one a line."""
MAX_MESSAGES = 10_000
MAX_BYTES = 50_000_000  # as it lies in the file, which is read whole
VISIBILITY_S = 600
EMPTY_RECEIVES = 3  # in a row: then the queue has no more to give
WAIT_S = 1


class TakenIn(NamedTuple):
    """How many messages; `more`: the queue may have others, which are for the next run."""

    messages: int
    more: bool


class Line(msgspec.Struct, frozen=True):
    """A message on disk, in SQS's own words, so that the source reads it as it would what anybody received.
    `kept_until_s`: then the queue deletes it, as long after it was sent as it keeps messages; None where that is not
    told."""

    message_id: str = msgspec.field(name="MessageId")
    handle: str = msgspec.field(name="ReceiptHandle")
    body: str = msgspec.field(name="Body")
    received_s: float = msgspec.field(name="ReceivedAt")
    kept_until_s: float | None = msgspec.field(name="KeptUntil", default=None)


def take_in(aws: Aws, queue: Queue, path: Path) -> TakenIn:
    """Receives the queue's messages into that new file. Each ten are on the disk before the next are received: who is
    killed meanwhile goes on with those."""
    handles: list[str] = []
    empty = size_bytes = 0
    kept_s = queue.number("MessageRetentionPeriod")
    try:
        while empty < EMPTY_RECEIVES and len(handles) <= MAX_MESSAGES - sqs.A_CALL and size_bytes < MAX_BYTES:
            try:
                messages = sqs.receive(aws, queue.url, visibility_s=VISIBILITY_S, wait_s=WAIT_S)
            except AwsError as error:
                if error.code not in sqs.OVER_LIMIT:
                    raise
                if not handles:
                    error.hint = f"{sqs.MOST_HELD:,} of its messages are held already. Wait until they are given back."
                    raise
                break  # with what is here already
            empty = 0 if messages else empty + 1
            if messages:
                handles += [each.handle for each in messages]
                now = time.time()
                lines = [
                    Line(
                        each.message_id,
                        each.handle,
                        each.body,
                        now,
                        None if kept_s is None or each.sent_s is None else each.sent_s + kept_s,
                    )
                    for each in messages
                ]
                size_bytes += _append(path, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    except BaseException:
        with contextlib.suppress(RestrikeError):
            sqs.hold(aws, queue.url, handles, 0)
        path.unlink(missing_ok=True)
        raise
    return TakenIn(len(handles), empty < EMPTY_RECEIVES)


def _append(path: Path, lines: bytes) -> int:
    with written(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = not path.exists()
        file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        finally:
            os.close(file)
        if new:
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)  # its name, too
            finally:
                os.close(folder)
    return len(lines)


def lines_of(folder: Path) -> list[Line]:
    """What was received, in the order of the messages' numbers; nothing where the file is gone. Of a death there may be
    half a line at its end."""
    path = folder / RECEIVED
    if not path.exists():
        return []
    with path.open("rb") as file:
        return [msgspec.json.decode(line, type=Line) for line in file if line.endswith(b"\n")]


class Holding:
    """While the block runs, nobody else gets those messages. Without a queue there are none."""

    def __init__(self, aws: Aws, url: str, folder: Path) -> None:
        self._aws = aws
        self._url = url
        self._lines = lines_of(folder) if url else []
        self._over = asyncio.Event()

    async def __aenter__(self) -> Holding:
        self._extending = asyncio.create_task(self._extend())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    async def end(self) -> None:
        """Returns when nothing more is said: what came behind the giving back would hide the messages again."""
        self._over.set()
        await asyncio.gather(self._extending, return_exceptions=True)

    async def _extend(self) -> None:
        while self._lines and not self._over.is_set():
            latest_s = time.time() + VISIBILITY_S - sqs.LONGEST_INVISIBLE_S
            handles = [line.handle for line in self._lines if line.received_s > latest_s]
            with contextlib.suppress(AwsError):  # the worst is that somebody else gets them, too
                await asyncio.to_thread(sqs.hold, self._aws, self._url, handles, VISIBILITY_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), VISIBILITY_S / 3)


def give_back(aws: Aws, url: str, folder: Path, done: frozenset[int], *, keep: bool) -> tuple[int, str, str]:
    """Deletes the messages of those numbers, unless they are kept, and gives back the others. How many were deleted,
    why others of them were not, and why some were not given back."""
    lines = lines_of(folder)
    handles = [line.handle for number, line in enumerate(lines, 1) if number in done and not keep]
    deleted, undeleted = sqs.delete(aws, url, handles)
    rest = [line.handle for number, line in enumerate(lines, 1) if number not in done or keep]
    _, held = sqs.hold(aws, url, rest, 0)
    return deleted, undeleted, held
