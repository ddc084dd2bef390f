"""Carry an audit out.

1. The other side is read, then the table, each into batches on the disk, by the hash of the key.
2. Part by part the two are held against each other; what differs is a suspicion.
3. Each suspicion is read once more, consistently; of another table both sides are, that one first. What is the same by
   then is settled.
4. Where differences are left, the archive and the stream tell which items were written since the other side was read.
5. The keys of each kind go into a file.

How far each step is stands in the run's folder (`book`): who goes on does no step twice but the fourth.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import msgspec

from restrike.auditing.book import DIFFERENCES, Book, lost
from restrike.auditing.comparing import BROKEN, Compared, Suspicion, compare, kind_of
from restrike.auditing.pace import ReadPace
from restrike.auditing.partitions import Batches
from restrike.auditing.rows import Chunk, RowFile, Unreadable
from restrike.auditing.run import Counts, Phase, counts_of
from restrike.auditing.settled import KEYS, Settled, given_path
from restrike.auditing.sides import Row, TableSide
from restrike.auditing.since import Since
from restrike.aws import dynamodb
from restrike.aws.session import Aws
from restrike.aws.wire import Wire
from restrike.errors import RestrikeError
from restrike.model.audit import AuditReport
from restrike.model.report import State
from restrike.model.selection import Scan, Selection
from restrike.model.table import TableInfo
from restrike.model.times import iso_or_none
from restrike.running.life import Life
from restrike.running.spool import written
from restrike.selecting.pages import READERS
from restrike.selecting.read import Place

OURS, THEIRS = "ours", "theirs"
BATCHES = 4  # BatchGetItem under way
FIRST_SAVE_S, LAST_SAVE_S = 1.0, 30.0
"""From one save of a side to the next; twice as long each time, since each is a file that is opened for every part."""
SAVE_COUNTS_S = 1.0
DIFFERENCES_AT_ONCE = 50_000
"""That are held until they are saved."""
FILES = (*DIFFERENCES, "moved", "uncompared")


class AuditProgress(msgspec.Struct, frozen=True):
    """How far an audit is."""

    counts: Counts
    elapsed_s: float


OnAuditProgress = Callable[[AuditProgress], None]


async def audit(settled: Settled, life: Life, on_progress: OnAuditProgress) -> AuditReport:
    """To the end, or until the life's stop is set. An error that ends it carries the report of what was done."""
    stands = life.book.stands(life.run.name)
    book = Book(life.folder, stands.get("audit"))
    life.book.set_stands(life.run.name, {"audit": book.id})
    with contextlib.closing(book):
        running = _Auditing(settled, life, book, on_progress)
        try:
            state = await running.run()
        except RestrikeError as error:
            error.report = running.report("FAILED")
            raise
        except ExceptionGroup as errors:  # of readers side by side
            first = _first(errors)
            if isinstance(first, RestrikeError):
                first.report = running.report("FAILED")
            raise first from None
        return running.report(state)


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


class _Auditing:
    """An audit under way."""

    def __init__(self, settled: Settled, life: Life, book: Book, on_progress: OnAuditProgress) -> None:
        self._settled = settled
        self._life = life
        self._book = book
        self._on_progress = on_progress
        self._aws = Aws(settled.aws)
        self._began = self._counted_at = time.monotonic()
        self._sides = {name: book.side(name) for name in (THEIRS, OURS)}
        self._batches = {
            name: Batches(life.folder, name, settled.parts, state.batches) for name, state in self._sides.items()
        }
        self._paces = {name: ReadPace(settled.max_rru, life.stop.sleep) for name in self._sides}
        self._rru_before = counts_of(life.run).consumed_rru
        self._phase: Phase = "reading theirs"
        self._may_have_moved = ""
        self._files: dict[str, str] = {}
        self._tally = book.tally()
        self._found = Counter({kind: book.count(kind) for kind in DIFFERENCES})

    async def run(self) -> State:
        settled = self._settled
        async with dynamodb.connect(self._aws, connections=READERS + BATCHES) as wire:
            table = await self._described(settled.table_arn, settled.table_id)
            ours = TableSide(wire, table, settled.selection, settled.names, self._paces[OURS])
            theirs = await self._their_table(wire)
            steps: tuple[Callable[[], Coroutine[None, None, None]], ...] = (
                lambda: self._read_theirs(theirs),
                lambda: self._read_ours(ours),
                self._compare,
                lambda: self._judge(ours, theirs),
                lambda: self._look_since(table),
            )
            for step in steps:
                await step()
                if self._life.stop.is_set():
                    self._tell(save=True)
                    return self._life.stop.state
            await self._described(settled.table_arn, settled.table_id)
            if theirs is not None:
                await self._described(settled.against.where, settled.against.digest)
        self._phase = "done"
        self._files = self._write_files()
        self._tell(save=True)
        return "COMPLETED"

    async def _described(self, arn: str, table_id: str) -> TableInfo:
        """The table as it is now; SourceLacks where another has its name."""
        table, self._now = await asyncio.to_thread(dynamodb.describe_table, self._aws, arn.rpartition("/")[2])
        if table.id != table_id:
            raise lost(f"table {table.name} was deleted and made anew while it was compared")
        return table

    async def _their_table(self, wire: Wire) -> TableSide | None:
        settled, against = self._settled, self._settled.against
        if against.kind != "table":
            return None
        table = await self._described(against.where, against.digest)
        segments = settled.selection.what.segments if isinstance(settled.selection.what, Scan) else 1
        whole = Selection(Scan(None, segments))
        return TableSide(wire, table, whole, settled.names, self._paces[THEIRS], theirs=True)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────

    async def _read_theirs(self, table: TableSide | None) -> None:
        state = self._sides[THEIRS]
        if not state.began_s:
            state.began_s = self._now.timestamp()
            self._book.save_side(THEIRS, state)
        if state.done:
            return
        if table is not None:
            await self._read_table(THEIRS, table)
        else:
            await self._read_file()

    async def _read_ours(self, table: TableSide) -> None:
        self._phase = "reading ours"
        if not self._sides[OURS].done:
            await self._read_table(OURS, table)

    async def _read_table(self, name: str, table: TableSide) -> None:
        state, batches, saving = self._sides[name], self._batches[name], _Saving()

        async def take(strand: str, rows: list[Row], place: Place) -> bool:
            batches.add(rows)
            state.rows += len(rows)
            state.places[strand] = place
            if batches.is_full or saving.is_due():
                self._save_side(name)
            self._tell()
            return not self._life.stop.is_set()

        await table.read(state.places, take, self._life.folder / KEYS)
        state.done = not self._life.stop.is_set()
        self._save_side(name)

    async def _read_file(self) -> None:
        state, batches, saving = self._sides[THEIRS], self._batches[THEIRS], _Saving()
        against, last, unreadable = self._settled.against, None, list[Unreadable]()
        with RowFile(given_path(self._life.folder, against), self._settled.names, named=against.text) as file:

            def save(chunk: Chunk | None, *, done: bool) -> None:
                if chunk is not None:
                    state.file = file.place(chunk)
                state.done = done
                self._save_side(THEIRS, unreadable)
                unreadable.clear()

            for chunk in file.chunks(state.file):
                batches.add(chunk.rows)
                batches.add((each.key, BROKEN) for each in chunk.unreadable if each.key is not None)
                unreadable += chunk.unreadable
                state.rows += len(chunk.rows) + len(chunk.unreadable)
                state.unreadable += len(chunk.unreadable)
                last = chunk
                if batches.is_full or saving.is_due():
                    save(chunk, done=False)
                self._tell()
                await asyncio.sleep(0)  # whoever wants it to stop is heard
                if self._life.stop.is_set():
                    save(chunk, done=False)
                    return
            save(last, done=True)

    def _save_side(self, name: str, unreadable: list[Unreadable] | None = None) -> None:
        """What was read is on the disk before it is noted."""
        batches, state = self._batches[name], self._sides[name]
        batches.write()
        state.batches = batches.count
        self._book.save_side(name, state, unreadable or ())

    # ── comparing ────────────────────────────────────────────────────────────────────────────────────────

    async def _compare(self) -> None:
        self._phase = "comparing"
        done, held, saving = self._book.compared_parts(), dict[int, Compared](), _Saving()

        def save() -> None:
            self._book.save_parts(held)
            held.clear()

        for part in range(self._settled.parts):
            if part in done:
                continue
            found = compare(self._rows(OURS, part), self._rows(THEIRS, part))
            held[part] = found
            self._tally.add(found.tally)
            if saving.is_due() or sum(len(each.different) for each in held.values()) > DIFFERENCES_AT_ONCE:
                save()
            self._tell()
            await asyncio.sleep(0)
            if self._life.stop.is_set():
                break
        save()

    def _rows(self, name: str, part: int) -> list[bytes]:
        try:
            return self._batches[name].read(part)
        except (OSError, IndexError) as error:
            name, folder = self._life.run.name, self._life.folder
            raise lost(f"what run {name} has read is not in {folder} any more: {error}") from None

    async def _judge(self, ours: TableSide, theirs: TableSide | None) -> None:
        self._phase = "reading once more"
        while suspicions := self._book.suspicions(BATCHES * dynamodb.KEYS_A_CALL):
            each = [
                suspicions[at : at + dynamodb.KEYS_A_CALL] for at in range(0, len(suspicions), dynamodb.KEYS_A_CALL)
            ]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._verdicts(some, ours, theirs)) for some in each]
            verdicts = [verdict for task in tasks for verdict in task.result()]
            self._book.judge(verdicts)
            self._found.update(kind for kind, _ in verdicts)
            self._tell()
            if self._life.stop.is_set():
                return

    async def _verdicts(
        self, some: list[Suspicion], ours: TableSide, theirs: TableSide | None
    ) -> list[tuple[str, bytes]]:
        keys = [each.key for each in some]
        # Theirs first: whatever is written between the two counts as written since.
        there = None if theirs is None else await theirs.now(keys)
        here = await ours.now(keys)
        return [
            (self._verdict(each, here.get(each.key), each.theirs if there is None else there.get(each.key)), each.key)
            for each in some
        ]

    def _verdict(self, suspicion: Suspicion, ours: bytes | None, theirs: bytes | None) -> str:
        if not suspicion.selected and ours is not None and not self._settled.is_whole:
            return "outside"
        return kind_of(ours, theirs)

    # ── what has moved ───────────────────────────────────────────────────────────────────────────────────

    async def _look_since(self, table: TableInfo) -> None:
        if not self._book.differences():
            return
        self._phase = "looking what has moved"
        self._tell(save=True)
        since = Since(self._aws, table, self._book, self._as_of_s, self._life.stop)
        archive = self._settled.request.archive
        self._may_have_moved = await since.look(archive, self._tell)

    @property
    def _as_of_s(self) -> float:
        given = self._settled.as_of_s
        return self._sides[THEIRS].began_s if given is None else given

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────

    def _write_files(self) -> dict[str, str]:
        """The keys of each kind, one a line, and what was wrong with rows; only of what there is."""
        files = {kind: self._book.keys(kind) for kind in FILES} | {
            "unreadable": (msgspec.json.encode(each) for each in self._book.unreadable()),
            "duplicates": self._book.duplicates(),
        }
        return {kind: str(path) for kind, lines in files.items() if (path := self._write_file(kind, lines)) is not None}

    def _write_file(self, kind: str, lines: Iterator[bytes]) -> Path | None:
        path = self._life.folder / f"{kind}.jsonl"
        first = next(lines, None)
        if first is None:
            path.unlink(missing_ok=True)
            return None
        half = path.with_suffix(".half")
        with written(path), os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(first + b"\n")
            file.writelines(line + b"\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
            half.replace(path)
        return path

    def _tell(self, *, save: bool = False) -> None:
        counts, now = self._counts(), time.monotonic()
        self._life.sample(counts.ours + counts.theirs, {"phase": counts.phase, "equal": counts.equal})
        if save or now - self._counted_at >= SAVE_COUNTS_S:
            self._counted_at = now
            self._life.save_counts(msgspec.json.encode(counts), self._elapsed_s())
        self._on_progress(AuditProgress(counts, self._elapsed_s()))

    def _counts(self) -> Counts:
        return Counts(
            phase=self._phase,
            ours=self._sides[OURS].rows,
            theirs=self._sides[THEIRS].rows,
            equal=self._tally.equal,
            moved=self._book.count("moved") if self._phase == "done" else 0,
            consumed_rru=self._consumed_rru,
            **{kind: self._found[kind] if self._phase != "done" else self._book.count(kind) for kind in DIFFERENCES},
        )

    @property
    def _consumed_rru(self) -> float:
        return round(self._rru_before + sum(pace.taken_rru for pace in self._paces.values()), 1)

    def _elapsed_s(self) -> float:
        return self._life.run.elapsed_s + time.monotonic() - self._began

    def report(self, state: State) -> AuditReport:
        settled, book = self._settled, self._book
        theirs = self._sides[THEIRS]
        notes = ["the other side has no rows"] if theirs.done and not theirs.rows else []
        return AuditReport(
            run=self._life.run.name,
            table=settled.table,
            selection=settled.selection.describe(),
            against=settled.against.text,
            on=settled.names.on,
            as_of=iso_or_none(self._as_of_s or None),
            state=state,
            ours=self._sides[OURS].rows,
            theirs=theirs.rows,
            equal=self._tally.equal,
            unreadable=theirs.unreadable,
            duplicates=self._tally.duplicates,
            may_have_moved=self._may_have_moved,
            consumed_rru=self._consumed_rru,
            elapsed_s=self._elapsed_s(),
            files=self._files,
            repairs=settled.repairs(self._files),
            notes=tuple(notes),
            missing=book.count("missing"),
            stale=book.count("stale"),
            extra=book.count("extra"),
            moved=book.count("moved"),
            settled=book.count("settled"),
            outside=book.count("outside"),
            uncompared=book.count("uncompared"),
        )


class _Saving:
    """When a side is saved next: soon at first, and less often the longer it takes."""

    def __init__(self) -> None:
        self._every_s = FIRST_SAVE_S
        self._at = time.monotonic() + self._every_s

    def is_due(self) -> bool:
        if time.monotonic() < self._at:
            return False
        self._every_s = min(LAST_SAVE_S, self._every_s * 2)
        self._at = time.monotonic() + self._every_s
        return True
