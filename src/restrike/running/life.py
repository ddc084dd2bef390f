"""One life for every run of every verb: entered or taken up, carried out, paused, cancelled, failed, ended.

1. The run is taken for this process by its lock, then entered, or taken up where it is the same run: the same in every
   part of its identity.
2. The verb's work runs, and with it a watch: over what is asked of the run through the ledger (pause, cancel), over
   signals, over the deadline. All of them set one `Stop`; the work finishes what is in flight, and ends.
3. However it ends, the ledger says so last: state, reason, report. Only a death says nothing; then the lock is free
   and the state is RUNNING, which whoever looks reads as INTERRUPTED.

Where the ledger only reports (`reports_only`: a capture, whose archive is the checkpoint), a ledger that fails or
cannot be had is told once, and the work goes on without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from restrike.errors import RestrikeError, UsageError
from restrike.model.report import State
from restrike.model.table import TABLE_ID, made_anew
from restrike.running.database import LedgerFailed
from restrike.running.ledger import Ledger, resume_command
from restrike.running.run import Entry, Run, Sample, differences, shown
from restrike.running.spool import sweep, sweep_halves
from restrike.running.stop import Stop, run_to_end

WATCH_EVERY_S = 0.2
SAMPLE_EVERY_S = 1.0
SAVE_SAMPLES_EVERY_S = 5.0


class Report(Protocol):
    """What every verb's report has."""

    state: State

    def as_json(self) -> dict[str, Any]: ...


R = TypeVar("R", bound=Report)


class Life:
    """What the work of a run gets: its row, its ledger, and the wish to stop.

    `resumed`: an earlier part of the run may have acted. `ledger` is None only where it just reports, and failed.
    """

    def __init__(self, ledger: Ledger | None, run: Run, stop: Stop, *, resumed: bool, reports_only: bool) -> None:
        self.ledger = ledger
        self.run = run
        self.stop = stop
        self.resumed = resumed
        self.reports_only = reports_only
        self._samples: list[Sample] = []
        self._sampled_at = 0.0
        self.on_warning: Callable[[str], None] = lambda _: None
        self.resume_words: tuple[str, ...] = ()

    @property
    def book(self) -> Ledger:
        """The ledger of a run that stands on it."""
        assert self.ledger is not None
        return self.ledger

    @property
    def folder(self) -> Path:
        return self.book.folder(self.run.name)

    def sample(self, done: int, told: dict[str, Any]) -> None:
        """How far it is now; called as often as there is something to say, kept once a second."""
        now = time.time()
        if now - self._sampled_at >= SAMPLE_EVERY_S:
            self._sampled_at = now
            self._samples.append(Sample(now, done, told))

    def save_counts(self, counts: bytes, elapsed_s: float) -> None:
        """Of a run that saves nothing else."""
        with self.kept() as ledger:
            if ledger is not None:
                ledger.set_counts(self.run.name, counts, elapsed_s)

    def save_samples(self) -> None:
        if not self._samples:
            return
        with self.kept() as ledger:
            if ledger is not None:
                ledger.add_samples(self.run.name, self._samples)
            self._samples.clear()

    @contextlib.contextmanager
    def kept(self) -> Iterator[Ledger | None]:
        """The ledger, or None; where it only reports, its failure ends its use and not the run."""
        try:
            yield self.ledger
        except RestrikeError as error:
            if not self.reports_only:
                raise
            self.ledger = None
            self.on_warning(f"{error.message}: this run is not shown any more, and goes on")


Work = Callable[[Life], Coroutine[Any, Any, R]]


@dataclass(frozen=True)
class Verb:
    """What a verb hands in, so that its runs live like all others and whoever lists or resumes them need not know it.

    `tables` are the statements that make tables of its own; `own_tables` are emptied when a run begins again, and so
    are all places but those of the kinds `kept_places`. `takes` are the settings that a run may go on with otherwise.
    `summary` tells its counts as `--json` prints them, `line` in words for people. `left` tells what a run left over,
    where that does not stand in the ledger. `reports_only`: its runs stand on something else than the ledger.
    """

    name: str
    summary: Callable[[Run], dict[str, Any]]
    line: Callable[[Run], str]
    takes: frozenset[str] = frozenset({"profile"})
    tables: str = ""
    own_tables: tuple[str, ...] = ()
    kept_places: tuple[str, ...] = ()
    left: Callable[[Run], list[dict[str, Any]]] = lambda _: []
    reports_only: bool = False


@dataclass(frozen=True)
class Entering(Generic[R]):
    """How a run comes in. `done` has the report of a known run that has nothing left to do: it is not entered, and
    stays as it is. `taken_up` says what a known run is to go on as, `begins_again` whether it starts over; `prepare`
    puts into the run's folder what it stands on, before the run is known to exist. `resume_words`: what whoever goes on
    with it must say each time."""

    entry: Entry
    done: Callable[[Run], R | None] = lambda _: None
    taken_up: Callable[[Run], Entry] | None = None
    begins_again: Callable[[Run], bool] = lambda _: False
    prepare: Callable[[Run | None, Path], None] = lambda _, __: None
    check: Callable[[Ledger], None] = lambda _: None
    resume_words: tuple[str, ...] = ()


def carry_out(
    verb: Verb,
    path: Path,
    entering: Entering[R],
    work: Work[R],
    *,
    stop: Stop | None = None,
    time_limit_s: float | None = None,
    on_stop: Callable[[], None] = lambda: None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> R:
    """Runs the work as a run of the ledger at `path`; returns its report.

    `stop` ends it from any thread, and is only read; without one, SIGINT and SIGTERM end it, and `on_stop` is called
    then. `time_limit_s` ends it so many seconds from now. Raises UsageError where the name belongs to another run or
    the run is being executed, and what the work raises: what is done by then is saved.
    """
    ends_at = None if time_limit_s is None else time.monotonic() + time_limit_s
    own = Stop()
    with contextlib.ExitStack() as stack:
        if stop is not None:
            stack.enter_context(stop.followed_by(own))
        ledger: Ledger | None = None
        try:
            ledger = stack.enter_context(Ledger(path, tables=verb.tables))
            ledger.acquire(entering.entry.name)
            sweep()
            sweep_halves(ledger, ours=entering.entry.name)
            known = ledger.find(entering.entry.name)
            check_same(verb, known, entering.entry)
            if known is not None and (report := entering.done(known)) is not None:
                return report
            run, resumed = _enter(verb, ledger, entering, known)
            ledger.set_state(run.name, "RUNNING")
        except RestrikeError as error:
            if not verb.reports_only:
                raise
            on_warning(f"{error.message}: this run is not shown, and goes on")
            ledger, run, resumed = None, _unknown(entering.entry), False
        life = Life(ledger, run, own, resumed=resumed, reports_only=verb.reports_only)
        life.on_warning = on_warning
        life.resume_words = entering.resume_words
        return run_to_end(_live(life, work, signals=stop is None, ends_at=ends_at, on_stop=on_stop))


def check_same(verb: Verb, known: Run | None, entry: Entry) -> None:
    """UsageError, naming what differs, where the name belongs to another run."""
    if known is None:
        return
    other = [] if known.verb == verb.name else [f"verb: it was {known.verb}, and is {verb.name} now"]
    other += differences(known.identity, entry.identity) if not other else []
    was, now = known.identity.get(TABLE_ID), entry.identity.get(TABLE_ID)
    if known.verb == verb.name and was != now and len(other) == 1:
        if was is None or now is None:
            return  # who entered it did not ask
        raise made_anew(entry.name, shown(entry.subject), was, now)
    if other:
        raise UsageError(
            f"run {entry.name} exists and is another: {'; '.join(other)}",
            f"Choose another --run, or look: restrike runs show {entry.name}",
        )


def _enter(verb: Verb, ledger: Ledger, entering: Entering[R], known: Run | None) -> tuple[Run, bool]:
    """The run's row, made or taken up, and whether an earlier part of it may have acted."""
    entry = entering.entry
    entering.check(ledger)
    entering.prepare(known, ledger.folder(entry.name))
    with ledger.transaction():
        if known is None:
            return ledger.enter(entry), False
        if entering.taken_up is not None:
            entry = entering.taken_up(known)
        ledger.take_up(entry)
        if entering.begins_again(known):
            ledger.begin_again(entry, verb.own_tables, kept_places=verb.kept_places)
            return ledger.get(entry.name), False
        return ledger.get(entry.name), True


def _unknown(entry: Entry) -> Run:
    now = time.time()
    return Run(
        name=entry.name, verb=entry.verb, subject=entry.subject, identity=entry.identity, request=entry.request,
        state="RUNNING", reason="", epoch=1, counts=b"{}", total=entry.total, plan=None, report=None, elapsed_s=0.0,
        started_s=entry.started_s, created_at=now, began_at=now, updated_at=now,
    )  # fmt: skip


async def _live(life: Life, work: Work[R], *, signals: bool, ends_at: float | None, on_stop: Callable[[], None]) -> R:
    name = life.run.name
    with contextlib.ExitStack() as stack:
        if signals:
            stack.enter_context(life.stop.on_signals(on_stop))
        if ends_at is not None:
            left_s = max(0.0, ends_at - time.monotonic())
            stack.callback(asyncio.get_running_loop().call_later(left_s, life.stop.set, "deadline").cancel)
        watching = asyncio.create_task(_watch(life))
        try:
            report = await work(life)
        except BaseException as error:
            _failed(life, error)
            raise
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    with life.kept() as ledger:
        if ledger is not None:
            life.save_samples()
            ledger.end(name, report.state, _reason(life.stop, report), report.as_json())
    return report


async def _watch(life: Life) -> None:
    """Heeds what is asked of the run, and saves the samples of its progress."""
    saved = time.monotonic()
    while True:
        await asyncio.sleep(WATCH_EVERY_S)
        ledger = life.ledger
        if ledger is None:
            return
        with contextlib.suppress(RestrikeError):  # who cannot be asked now is asked again; what is saved fails loudly
            state = ledger.state(life.run.name)
            if state == "CANCELLING":
                life.stop.set("cancel")
            elif state == "PAUSING":
                life.stop.set("pause")
            if time.monotonic() - saved >= SAVE_SAMPLES_EVERY_S:
                saved = time.monotonic()
                life.save_samples()


def _failed(life: Life, error: BaseException) -> None:
    """The ledger says why, as far as it can still be written; a user is told how to go on."""
    name = life.run.name
    known = error if isinstance(error, RestrikeError) else None
    reason = f"{type(error).__name__}: {error}" if known is None else known.message
    report = None if known is None or known.report is None else known.report.as_json()
    with contextlib.suppress(RestrikeError):
        life.save_samples()
        if life.ledger is not None:
            life.ledger.end(name, "FAILED", reason, report)
    if known is not None and known.can_go_on and not life.reports_only:
        resume = "" if life.ledger is None else resume_command(name, life.ledger.path, *life.resume_words, "--execute")
        unsaved = isinstance(known, LedgerFailed)
        saved = "What was done since is done again" if unsaved else "What is done is saved"
        saved += f". Go on with: {resume}"
        known.hint = f"{_sentence(known.hint)} {saved}".strip()


def _sentence(text: str) -> str:
    return text if not text or text[-1] in ".!?" else f"{text}."


def _reason(stop: Stop, report: Report) -> str:
    if not stop.is_set() or report.state in ("COMPLETED", "LIMITED"):
        return ""
    return {
        "signal": "stopped by a signal",
        "cancel": "cancelled by the user",
        "pause": "paused by the user",
        "deadline": "its time was up",
        "caller": "stopped by its caller",
    }[stop.reason or "caller"]
