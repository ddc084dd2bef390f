"""Rescue: the records of all pointers into a file, before they expire. Nothing is delivered and nothing deleted.

The file has a message a line, each as Lambda writes it to S3: with its records as payload. So it can be redriven
itself, and is what `--archive jsonl:PATH` takes.
"""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from restrike import sources, targets
from restrike.aws import settings
from restrike.aws.session import Aws
from restrike.aws.streams import RETENTION_S
from restrike.errors import RestrikeError, UsageError
from restrike.model.failure import Failure, Payload, message_of
from restrike.model.flags import words as given_words
from restrike.model.plan import Planned, PlanWarning, RescuePlanData
from restrike.model.report import RescueReport
from restrike.model.times import iso
from restrike.replaying.redriving.expiring import Expiries
from restrike.replaying.redriving.queue import Holding, lines_of
from restrike.replaying.redriving.request import RedriveRequest, check, command_line, source_of
from restrike.running.ledger import ledger_path
from restrike.running.spool import Spool
from restrike.running.stop import Stop, run_to_end
from restrike.sources import Opening
from restrike.sources.failures.index import PARTLY, WHOLE, Index, Message, private
from restrike.sources.failures.resolving import resolve
from restrike.sources.failures.state import MESSAGES, RECORDS, State


class RescuePlan(Planned[RescuePlanData]):
    """What a rescue would do. The messages are read; no pointer is followed until `execute`.

    `queue` is the URL of the queue that the messages were taken out of into `folder`, if any: they are held meanwhile.
    """

    def __init__(
        self,
        data: RescuePlanData,
        ledger: Path,
        request: RedriveRequest,
        path: Path,
        archive: str,
        spool: Spool,
        queue: str,
        folder: Path,
    ) -> None:
        super().__init__(data, str(ledger))
        self._request = request
        self._path = path
        self._archive = archive
        self._spool = spool
        self._queue = queue
        self._folder = folder

    def discard(self) -> None:
        """Removes what was spooled."""
        self._spool.cleanup()

    def execute(
        self,
        on_progress: Callable[[Any], None] | None = None,
        *,
        stop: Stop | None = None,
        on_stop: Callable[[], None] = lambda: None,
        on_warning: Callable[[str], None] = lambda _: None,
    ) -> RescueReport:
        """Follows the pointers, soonest to expire first, then writes what they led to; the file is new and whole."""
        aws = Aws(self._request.replay.aws)

        async def follow(index: Index) -> None:
            async with Holding(aws, self._queue, self._folder):
                await resolve(index, lambda: aws, self._archive)

        try:
            with Index(self._spool / MESSAGES, self._spool / RECORDS) as index:
                run_to_end(follow(index))
                lines = lines_of(self._folder) if self._queue else ()
                return _write(index, self._path, Expiries(index, lines), self._request)
        finally:
            self.discard()


def plan(request: RedriveRequest, *, received: tuple[Path, str] | None = None) -> RescuePlan:
    """Reads the messages. UsageError where the file is there already, or cannot be made. `received`: the file of
    messages that were taken out of a queue, and its URL."""
    check(request)
    asked = request.replay
    here = Path.cwd()
    path = new_file(str(request.rescue), here)
    source = source_of(request, received, here)
    if received is None and Path(source.rest).is_dir() and Path(source.rest).resolve() in path.resolve().parents:
        raise UsageError(f"--rescue {path} lies among the messages", "Name a file somewhere else.")
    options = sources.options_of(source, asked.source_options)
    aws = Aws(asked.aws)
    spool = Spool()
    opening = Opening(lambda: aws, Path(spool.name), looking=True)
    try:
        resolved = run_to_end(sources.kind_of(source.scheme).resolve(source, options, opening))
        with Index(spool / MESSAGES, spool / RECORDS) as index:
            stays = Counter(message.why for message in index.messages() if message.why)
            count = sum(1 for _ in index.messages())
            living_s = time.time() - RETENTION_S
            oldest_s, expired = index.oldest(living_s), index.expired(living_s)
    except BaseException:
        spool.cleanup()
        raise
    data = RescuePlanData(
        failures=str(source),
        to=str(path),
        message_count=count,
        taken=count - sum(stays.values()),
        stays=tuple(stays.most_common()),
        expires=None if oldest_s is None else iso(oldest_s + RETENTION_S),
        expired=expired,
        warnings=(PlanWarning("keep-the-messages", "the messages stay: what is written is a copy of the records."),),
        command=command_line(request, ""),
    )
    archive = msgspec.json.decode(resolved.state, type=State).archive
    where, queue = received or (path, "")
    return RescuePlan(data, ledger_path(asked.ledger), request, path, archive, spool, queue, where.parent)


def new_file(text: str, folder: Path) -> Path:
    """What --rescue names. UsageError where that cannot be made."""
    try:
        uri = targets.parse(text, folder)
        path = targets.kind_of(uri).file(uri)
    except UsageError:
        path = None
    if path is None:
        raise UsageError(f"--rescue {text!r} is no file", "Write --rescue jsonl:PATH.")
    if path.exists():
        raise UsageError(f"--rescue {path} is there already", "Name a new file.")
    if not path.parent.is_dir():
        raise UsageError(f"--rescue {path}: its folder is not there", "Make it first, or name another file.")
    return path


def _write(index: Index, path: Path, expiries: Expiries, request: RedriveRequest) -> RescueReport:
    """A line for each pointer and function, once, though its message stands twice; the soonest to expire first."""
    stays = Counter[str]()
    seen: set[tuple[Any, ...]] = set()
    records = written = messages = 0
    half = path.with_name(f".{path.name}.half")
    try:
        private(half)
        with half.open("wb") as file:
            for message in index.messages(by_arrival=True):
                messages += 1
                line = _line(index, message, stays)
                if line is None:
                    continue
                key = (message.function, message.pointer)
                if key in seen:
                    continue
                seen.add(key)
                records += line[1]
                written += file.write(line[0])
            file.flush()
            os.fsync(file.fileno())
        os.link(half, path)
    except OSError as error:
        raise RestrikeError(
            f"cannot write {path}: {error.strerror}", "Make room there, or name another file."
        ) from None
    finally:
        half.unlink(missing_ok=True)
    words = ["restrike", "redrive", request.replay.source, "--archive", f"jsonl:{path}", "--to", "original"]
    return RescueReport(
        to=str(path),
        messages=messages,
        pointers=len(seen),
        records=records,
        written_bytes=written,
        stays=tuple(stays.most_common()),
        command=shlex.join([*words, *given_words(settings.FLAGS, request.replay.aws)]) if records else "",
        staying=expiries.soonest((message, _why(index, message)) for message in index.messages()),
    )


def _why(index: Index, message: Message) -> str:
    """Why not all of its records can be had; empty where they can."""
    outcome = None if message.pointer is None else index.outcome(message.pointer)
    return message.why if outcome is None else outcome.lost


def _line(index: Index, message: Message, stays: Counter[str]) -> tuple[bytes, int] | None:
    """The message with its payload, and how many records that has: of a batch whose beginning is lost, the rest. None,
    and why, where none can be had."""
    pointer = message.pointer
    if why := _why(index, message):
        stays[why] += 1
    outcome = None if pointer is None else index.outcome(pointer)
    if pointer is None or outcome is None or outcome.state not in (WHOLE, PARTLY):
        return None
    ranges = [(pointer.first, pointer.last)]
    found = [each for page in index.records(pointer.stream_arn, pointer.shard, ranges, -1) for each in page]
    failure = Failure(
        kind="pipe" if message.kind == "pipe" else "mapping",
        pointer=pointer,
        function=message.function,
        condition=message.condition,
        failed_s=message.failed_s,
        payload=tuple(Payload(each.place, each.raw) for each in found),
        partly=outcome.state == PARTLY,
    )
    return message_of(failure) + b"\n", len(found)
