"""What holds records or items of the past: archives, exports and runs, as the ledger or flags name them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from restrike.aws.session import Aws
from restrike.diagnosing.questions import Questions
from restrike.diagnosing.request import DoctorRequest
from restrike.errors import SourceLacks
from restrike.model.diagnosis import Kept
from restrike.model.numbers import counted
from restrike.model.table import TableInfo
from restrike.model.times import iso
from restrike.running.ledger import Ledger, ledger_path
from restrike.running.run import ENDED, Run, shown
from restrike.sources.export.finding import find, open_place

MOST_RUNS = 20
"""Of the table, the latest."""
MOST_ARCHIVES = 5
MOST_GAPS = 20
_READING = "s3:ListBucket, s3:GetObject"
CAPTURED, EXPORTED = "capture", "export"
"""Verbs whose runs are told by what they have written."""


class _Planned(msgspec.Struct):
    """Of an export's plan."""

    to: str = ""
    since: str = ""
    until: str = ""


class _Counts(msgspec.Struct):
    windows: int = 0
    completed: int = 0


async def kept(questions: Questions, request: DoctorRequest, table: TableInfo) -> tuple[Kept, ...]:
    """Archives first, then exports, then runs, each the latest first."""
    runs = await questions.ask("runs of the ledger", lambda: _runs(request, table, questions.aws), service="")
    archives = [] if request.archive is None else [_absolute(request.archive.removeprefix("archive:"))]
    runs = runs or []
    archives += [place for run, _ in runs if run.verb == CAPTURED and (place := run.identity.get("archive"))]
    looked = [_archive_of(questions, place, table) for place in list(dict.fromkeys(archives))[:MOST_ARCHIVES]]
    if request.export is not None:
        looked.append(_exports_of(questions, request.export, table))
    found = [each for some in await asyncio.gather(*looked) for each in some]
    known = {each.name for each in found}
    exported = [told for run, _ in runs if run.verb == EXPORTED and (told := _export(run)).name not in known]
    others = [_run(run, state) for run, state in runs if run.verb not in (CAPTURED, EXPORTED)][:MOST_RUNS]
    by_kind = {kind: [each for each in found if each.kind == kind] for kind in ("archive", "export")}
    return (*by_kind["archive"], *by_kind["export"], *exported, *others)


# ── the ledger ───────────────────────────────────────────────────────────────────────────────────────────


def _runs(request: DoctorRequest, table: TableInfo, aws: Aws) -> list[tuple[Run, str]]:
    """The table's runs with their states, the latest first."""
    at = {"Region": aws.region, "endpoint": aws.configured_endpoint("dynamodb") or ""}
    with Ledger(ledger_path(request.ledger), read_only=True) as ledger:
        return [(run, ledger.state_now(run)) for run in ledger.runs() if _is_of(run, table, at)]


def _is_of(run: Run, table: TableInfo, at: Mapping[str, str]) -> bool:
    """By its ARN, or, of a run that has a source by name, by the name there."""
    told = (run.subject, *run.identity.values())
    if any(each == table.arn or each.startswith(f"{table.arn}/") for each in told):
        return True
    named = shown(run.subject).rpartition(":")[2] == table.name
    return named and all(run.identity.get(part, "") == where for part, where in at.items())


def _run(run: Run, state: str) -> Kept:
    return Kept("run", run.name, run.began_at, run.updated_at, state=state, verb=run.verb)


def _export(run: Run) -> Kept:
    """As its plan and counts tell: nothing is asked of S3."""
    try:
        planned = msgspec.json.decode(run.plan or b"{}", type=_Planned)
        counts = msgspec.json.decode(run.counts, type=_Counts)
    except msgspec.MsgspecError:  # of another version
        planned, counts = _Planned(), _Counts()
    missing = counts.windows - counts.completed
    gaps = (f"{missing:,} of {counted(counts.windows, 'window')} are not complete",) if missing > 0 else ()
    if run.state not in ENDED and not counts.windows:
        gaps = (f"run {run.name} is {run.state}",)
    since_s, until_s = (_seconds(text) for text in (planned.since, planned.until))
    return Kept("export", planned.to, since_s, until_s, "net", state=run.state, verb="export", gaps=gaps)


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


# ── archives and exports ─────────────────────────────────────────────────────────────────────────────────


def _absolute(place: str) -> str:
    """So that it means the same from whatever folder, and in the ledger."""
    return place if "://" in place else str(Path(place).absolute())


async def _archive_of(questions: Questions, place: str, table: TableInfo) -> Sequence[Kept]:
    found = await questions.ask(
        f"the archive {place}", lambda: _archive(questions, place, table), service="", permission=_READING
    )
    return () if found is None else (found,)


def _archive(questions: Questions, place: str, table: TableInfo) -> Kept:
    from restrike.archive import require_packages

    require_packages()
    from restrike.archive.inspection import extent
    from restrike.archive.reader import open_archive, streams_in

    root = place.partition("/table=")[0]
    store, names = open_archive(f"{root}/table={table.name}", lambda: questions.aws)
    alone = len({name.table for name in streams_in(store)}) == 1
    told = extent(store, names)
    if told.saved_s is None:
        state = "no capture wrote down how far it is"
    else:
        state = f"captured by {told.owner}" if told.owner else "no capture is at work"
        state += f", last at {iso(told.saved_s)}"
    return Kept(
        kind="archive",
        name=root if alone else f"{root}/table={table.name}",
        since_s=told.first_s,
        until_s=told.until_s,
        fidelity="exact",
        state=state,
        verb="capture",
        gaps=tuple(gap.as_gap().why for gap in told.gaps[-MOST_GAPS:]),
    )


async def _exports_of(questions: Questions, place: str, table: TableInfo) -> Sequence[Kept]:
    found = await questions.ask(
        f"the exports {place}", lambda: _exports(questions, place, table), service="", permission=_READING
    )
    return found or ()


def _exports(questions: Questions, place: str, table: TableInfo) -> list[Kept]:
    """One for its incremental exports together, and one for its latest full one: a replay reads only one kind."""
    where = _absolute(place.removeprefix("export:"))
    store, path = open_place(where, lambda: questions.aws)
    found = find(store, path)
    mine = [each for each in found.exports if each.table_arn == table.arn]
    if not mine:
        others = ", ".join(sorted({each.table_arn.rpartition("/")[2] for each in found.exports}))
        raise SourceLacks(f"it holds exports of {others}, and none of {table.arn}")
    gaps = [f"{folder} is not finished" for folder in found.unfinished]
    windows = [each for each in mine if each.kind == "incremental"]
    until_s = windows[0].to_s if windows else 0.0
    for each in windows:
        if each.from_s > until_s:
            gaps.append(f"{iso(until_s)} to {iso(each.from_s)}: no export has it")
        until_s = max(until_s, each.to_s)
    told = []
    if windows:
        state = counted(len(windows), "incremental export")
        told.append(Kept("export", where, windows[0].from_s, until_s, "net", state=state, gaps=tuple(gaps[:MOST_GAPS])))
    full = [each for each in mine if each.kind == "full"]
    if full:
        told.append(Kept("export", where, None, full[-1].to_s, "synthetic", state="the latest full export"))
    return told
