"""A run refuses to go on where what it stands on is gone or another, and says what helps; else it goes on, and says so.

Judged by the table's own stream, read by plain botocore.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import restrike as api
from restrike.errors import DeliveryFailed, RestrikeError, SourceLacks, UsageError
from restrike.running.ledger import Ledger, ledger_path
from restrike.running.run import Entry
from restrike.running.standing import losses
from restrike.stores import open_store
from tests.acceptance.command import restrike as command
from tests.acceptance.command import started
from tests.change_records import make_record
from tests.integration.tables import Index, Item, Table, create, until
from tests.integration.test_archive_care import Archive, made_range

ITEMS = 60
KEYS = [f"k{number:02}" for number in range(ITEMS)]
DAY = "2021-01-22"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def table(dynamodb_local: str) -> Table:
    index = Index("by_day", ("day", "S"), ("n", "N"))
    items: list[Item] = [{"pk": key, "day": DAY, "n": number} for number, key in enumerate(KEYS)]
    return create(dynamodb_local, ("pk", "S"), indexes=[index], items=items)


def make_anew(table: Table) -> None:
    """Deletes the table, and makes one of its name with the same items."""
    described = table.dynamodb.describe_table(TableName=table.name)["Table"]
    items = table.dynamodb.scan(TableName=table.name)["Items"]
    table.dynamodb.delete_table(TableName=table.name)
    members = ("TableName", "KeySchema", "AttributeDefinitions", "StreamSpecification")
    kept = {member: described[member] for member in members}
    kept["AttributeDefinitions"] = [each for each in kept["AttributeDefinitions"] if each["AttributeName"] == "pk"]
    table.dynamodb.create_table(**kept, BillingMode="PAY_PER_REQUEST")
    for item in items:
        table.dynamodb.put_item(TableName=table.name, Item=item)


def folder_of(run: str) -> Path:
    return Path(os.environ["XDG_STATE_HOME"]) / "restrike" / "ledger-runs" / run


def touch(table: Table, run: str = "r", **given: Any) -> Any:
    return api.touch(table.name, run=run, endpoint_url=table.endpoint_url, verify=False, **given)


def resume(run: str = "r") -> Any:
    return api.resume(run)


def refused(work: Callable[[], Any], kind: type[RestrikeError], message: str, hint: str) -> None:
    """The work is refused, for that reason and with that way out."""
    with pytest.raises(kind) as caught:
        work()
    assert message in caught.value.message
    assert hint in caught.value.hint


def once_each(table: Table, run: str = "r") -> bool:
    return table.fired(run) == Counter(KEYS)


# ── the keys that a run was given ────────────────────────────────────────────────────────────────────────


def write_keys(path: str, keys: list[str]) -> str:
    Path(path).write_text("".join(f'{{"pk": "{key}"}}\n' for key in keys))
    return path


def clear_away(file: Path) -> None:
    file.unlink()


def take_half_of_the_keys(file: Path) -> None:
    with sqlite3.connect(file) as db:
        db.execute("DELETE FROM spool WHERE position > 30")
    db.close()


def write_over(file: Path) -> None:
    file.write_bytes(b"no keys")


@pytest.mark.parametrize("loss", [clear_away, take_half_of_the_keys, write_over])
def test_keys_that_are_gone_or_others_are_asked_for(table: Table, loss: Callable[[Path], None]) -> None:
    assert touch(table, keys=write_keys("keys", KEYS), limit=20).execute().state == "LIMITED"
    file = folder_of("r") / "keys.db"
    loss(file)
    message = "the keys of run r are gone" if loss is clear_away else "does not hold the keys that run r was given"
    refused(resume, UsageError, message, "Give it again, in the command that began the run: restrike ")
    refused(lambda: touch(table, keys=write_keys("turned", KEYS[::-1])), UsageError, message, "in another order")
    refused(
        lambda: touch(table, keys=write_keys("fewer", KEYS[:5])), UsageError, "keys: it was 60 with", "another --run"
    )
    assert len(table.fired("r")) == 20
    report = touch(table, keys="keys").execute()
    assert (report.state, report.selected, report.fired) == ("COMPLETED", ITEMS, ITEMS)
    assert once_each(table)


def test_killed_without_its_folder_it_takes_its_keys_again(table: Table) -> None:
    words = ["touch", table.name, "--keys", write_keys("keys", KEYS), "--run", "r", "--no-verify"]
    words += ["--endpoint-url", table.endpoint_url, "--execute"]
    with started(*words, "--rate", "2") as run:
        until(lambda: table.fired("r"), "the first batch, and the next is seconds away")
        run.process.kill()
        assert run.process.wait() == -9
    shutil.rmtree(folder_of("r"))
    resumed = command("runs", "resume", "r", "--execute")
    assert (resumed.code, "the keys of run r are gone" in resumed.stderr) == (2, True), resumed
    again = command(*words, "--json")
    assert again.json["selected"] == again.json["fired"] == ITEMS, again
    assert f"the folder of run r is gone: {folder_of('r')}" in again.stderr
    assert once_each(table)


def test_a_run_that_needs_nothing_of_its_folder_goes_on_and_says_so(table: Table) -> None:
    assert touch(table, all=True, limit=20).execute().fired == 20
    shutil.rmtree(folder_of("r"))
    plan = touch(table, all=True)
    (told,) = [warning.message for warning in plan.warnings if warning.code == "lost"]
    assert told.startswith(f"the folder of run r is gone: {folder_of('r')}")
    assert plan.execute().fired == ITEMS
    assert once_each(table)


def test_what_was_given_up_and_is_gone_is_told(here: Path) -> None:
    with Ledger() as ledger:
        run = ledger.enter(Entry("r", "replay", "jsonl:in", {}, b"{}"))
        ledger.acquire("r")
        left = [{"file": str(here / "failed.jsonl"), "records": 7}]
        (told,) = losses(ledger, run, left)
        assert told.startswith("what run r gave up before (7 records) is gone")
        (here / "failed.jsonl").touch()
        assert losses(ledger, run, left) == []


# ── the list of an ordered run ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("loss", [clear_away, take_half_of_the_keys])
def test_a_list_that_is_gone_is_made_anew_with_again(table: Table, loss: Callable[[Path], None]) -> None:
    given: dict[str, Any] = {"index": "by_day", "date": DAY, "ordered": True}
    assert touch(table, **given, limit=20).execute().fired == 20
    loss(folder_of("r") / "keys.db")
    table.load([{"pk": "new", "day": DAY, "n": -1}])  # the first of the index: each place means another item now
    for work in (resume, lambda: touch(table, **given)):
        refused(work, UsageError, "run r goes by a list that it made of index by_day", "--again")
    assert touch(table, **given, again=True).execute().fired == ITEMS + 1 - 20
    assert table.fired("r") == Counter([*KEYS, "new"])


# ── the table ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("limit", [20, None], ids=["begun", "complete"])
def test_a_table_that_was_made_anew_is_another(table: Table, limit: int | None) -> None:
    touch(table, all=True, limit=limit).execute()
    make_anew(table)
    another = f"run r began with another table {table.name}"
    refused(lambda: touch(table, all=True), UsageError, another, "Begin anew under another --run")
    refused(lambda: touch(table, all=True, again=True), UsageError, another, "Begin anew under another --run")
    refused(lambda: touch(table, "s", keys="run:r"), UsageError, "was on another table of that name", "runs list")
    if limit is not None:
        refused(resume, UsageError, another, "Begin anew under another --run")
    assert not table.fired("s")
    assert touch(table, "s", all=True).execute().fired == ITEMS


def test_a_table_made_anew_between_plan_and_execution_is_refused(table: Table) -> None:
    plan = touch(table, all=True)
    make_anew(table)
    refused(plan.execute, UsageError, "began with another table", "Begin anew")
    assert not table.fired("r")


def test_a_table_made_anew_under_a_touch_ends_it(table: Table) -> None:
    made: list[int] = []

    def progress(_: object) -> None:
        if not made:
            made.append(1)
            make_anew(table)

    with pytest.raises(SourceLacks, match="began with another table") as caught:
        touch(table, all=True, rate=100.0).execute(progress)
    assert caught.value.report.state == "FAILED"
    assert "runs resume" not in caught.value.hint
    with Ledger(read_only=True) as ledger:
        assert ledger.get("r").state == "FAILED"


@pytest.mark.parametrize("kind", ["stream", "table"])
def test_a_replay_knows_its_table(table: Table, kind: str) -> None:
    def replay(**given: Any) -> Any:
        selection: dict[str, Any] = {"all": True} if kind == "table" else {}
        return api.replay(
            f"{kind}:{table.name}", "jsonl:out", run="r", endpoint_url=table.endpoint_url, **selection, **given
        )

    assert replay(limit=20).execute().delivered == 20
    make_anew(table)
    another = f"run r began with another {kind}:{table.name}"
    refused(replay, UsageError, another, "Begin anew under another --run")
    refused(resume, UsageError, another, "Begin anew under another --run")
    assert len(got()) == 20


def test_a_table_made_anew_under_a_reader_is_told(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restrike.aws.dynamodb.KEYS_A_CALL", 5)
    keys = write_keys("keys", KEYS)
    records = iter(api.records(f"table:{table.name}", keys=keys, endpoint_url=table.endpoint_url))
    next(records)
    make_anew(table)
    # Between its end and its new beginning a table is not there.
    with pytest.raises(SourceLacks, match=r"was deleted (and made anew )?while it was read"):
        list(records)


def test_a_capture_of_a_table_made_anew_goes_on_and_says_so(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restrike.aws.pages.QUIET_S", 0.0)

    def capture() -> Any:
        return api.capture(table.name, "kept", endpoint_url=table.endpoint_url)

    assert capture().execute().records == ITEMS
    assert capture().warnings == ()
    make_anew(table)
    assert "table-made-anew" in [warning.code for warning in capture().warnings]


# ── others at work ───────────────────────────────────────────────────────────────────────────────────────


def test_a_name_that_this_ledger_does_not_know_is_told(table: Table) -> None:
    assert touch(table, all=True, limit=20).execute().notes == ()
    plan = touch(table, all=True, ledger="other.db")
    (told,) = [warning.message for warning in plan.warnings if warning.code == "known-elsewhere"]
    assert "20 bear the run's name already" in told
    report = plan.execute()
    assert (report.fired, report.already) == (40, 20)
    assert "20 bear the run's name already" in report.notes[-1]
    assert once_each(table)


def test_two_ledgers_at_once_over_one_table_are_told(table: Table) -> None:
    told: list[str] = []

    def beside(_: object) -> None:
        if not told:
            plan = touch(table, "s", all=True, ledger="other.db", limit=1)
            told.extend(warning.message for warning in plan.warnings if warning.code == "another-run")
            refused(plan.execute, UsageError, f"run r of {ledger_path(None)} is active on table", "--force")
            assert touch(table, "s", all=True, ledger="other.db", limit=1, force=True).execute().fired == 1

    touch(table, all=True, rate=100.0).execute(beside)
    assert f"run r of {ledger_path(None)} is active on this table" in told[0]
    assert "another-run" not in [warning.code for warning in touch(table, "s", all=True, ledger="other.db").warnings]


# ── the source of a replay ───────────────────────────────────────────────────────────────────────────────


def write(path: str, places: range | list[int]) -> None:
    Path(path).write_bytes(b"".join(make_record(place).raw + b"\n" for place in places))


def got(path: str = "out") -> list[int]:
    return [int(json.loads(line)["dynamodb"]["SequenceNumber"]) for line in Path(path).read_bytes().splitlines()]


def replay(source: str = "jsonl:in", to: str = "jsonl:out", **given: Any) -> Any:
    return api.replay(source, to, run="r", **given)


def turn(path: str) -> None:
    write(path, [1, 0, *range(2, 30)])


def cut(path: str) -> None:
    write(path, range(20))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (turn, "its first 12,440 bytes, which were read, are others now"),
        (cut, "bytes, and 12,440 were read of it"),
        (os.unlink, "No such file"),
    ],
)
def test_a_file_that_was_changed_is_not_read_on(change: Callable[[str], None], message: str) -> None:
    write("in", range(30))
    assert Path("in").stat().st_size == 12_440
    replay(limit=10).execute()
    change("in")
    for work in (resume, replay):
        refused(work, UsageError, message, "Put back the file that was read")
    write("in", range(40))  # as it was, and grown
    assert resume().execute().delivered == 40
    assert got() == list(range(40))


def test_a_packed_file_is_known_by_its_bytes() -> None:
    def pack(places: list[int]) -> None:
        Path("in.gz").write_bytes(gzip.compress(b"".join(make_record(place).raw + b"\n" for place in places), mtime=0))

    pack([*range(30)])
    replay("jsonl:in.gz", limit=10).execute()
    pack([1, 0, *range(2, 30)])
    refused(resume, UsageError, "is not what this run has read", "Put back")
    pack([*range(30)])
    assert resume().execute().delivered == 30


def test_a_complete_run_does_not_answer_for_another_file() -> None:
    write("in", range(30))
    replay().execute()
    assert replay().execute().done_at
    turn("in")
    refused(replay, UsageError, "is not what this run has read", "another --run")


def test_standard_input_is_asked_for_again_and_goes_when_nothing_needs_it(here: Path) -> None:
    text = b"".join(make_record(place).raw + b"\n" for place in range(30))
    words = ("replay", "-", "--to", "jsonl:out", "--run", "r", "--execute", "--json")
    assert command(*words, "--limit", "10", stdin=text).json["delivered"] == 10
    file = folder_of("r") / "source.jsonl"
    for loss in (lambda: file.write_bytes(text[:-1] + b" "), file.unlink):
        loss()
        refused(resume, UsageError, str(file), "in the command that began the run: restrike replay -")
    assert command(*words, stdin=text).json["delivered"] == 30
    assert got() == list(range(30))
    assert [path.name for path in folder_of("r").iterdir()] == ["lock"]
    assert command(*words, stdin=text).json["done_at"]


def test_a_table_is_read_on_by_its_journal_and_keys(table: Table) -> None:
    for given, file in (({"all": True}, "journal.db"), ({"keys": write_keys("keys", KEYS)}, "keys.db")):
        plan = api.replay(
            f"table:{table.name}", f"jsonl:{file}", run=file, endpoint_url=table.endpoint_url, **given, limit=9
        )
        assert plan.execute().delivered == 9
        (folder_of(file) / file).unlink()
    refused(lambda: resume("journal.db").execute(), SourceLacks, "is gone or another", "another --run")
    refused(lambda: resume("keys.db"), UsageError, "the keys of run keys.db are gone", "--keys keys")
    again = api.replay(
        f"table:{table.name}", "jsonl:keys.db", run="keys.db", endpoint_url=table.endpoint_url, keys="keys"
    )
    assert again.execute().delivered == ITEMS
    found = [json.loads(line)["dynamodb"]["Keys"]["pk"]["S"] for line in Path("keys.db").read_text().splitlines()]
    assert Counter(found) == Counter(KEYS)


# ── an archive ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def archive() -> Archive:
    """Five files of seven records."""
    made = Archive(open_store("kept", lambda: None, create=True))  # type: ignore[arg-type,return-value]  # no AWS
    for first in range(1, 36, 7):
        made.put(made_range(first, first + 7), follows=str(first - 1) if first > 1 else None)
    return made


def test_an_older_copy_of_an_archive_is_refused(archive: Archive, here: Path) -> None:
    shutil.copytree("kept", "copy")
    for path in archive.paths()[2:]:
        (here / "copy" / path).unlink()
    replay("archive:kept", limit=20).execute()
    Path("kept").rename("moved")
    Path("copy").rename("kept")
    for work in (resume, lambda: replay("archive:kept")):
        refused(
            work, UsageError, "archive:kept is not the archive that this run has read: it has no more", "older copy"
        )
    shutil.rmtree("kept")
    Path("moved").rename("kept")
    archive.compact()
    assert resume().execute().delivered == 35
    assert got() == list(range(1, 36))


# ── the target of a replay ───────────────────────────────────────────────────────────────────────────────


def remove(path: str) -> None:
    Path(path).unlink()


def replace(path: str) -> None:
    write(path, range(100, 130))


def append(path: str) -> None:
    with Path(path).open("ab") as file:
        file.write(make_record(99).raw + b"\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove, "out is gone, and the run had written"),
        (cut, "out has 8,280 bytes, and the run had written 10,360 bytes: some of it is lost"),
        (replace, "out is another file, or was written over"),
        (append, "bytes behind what the run had written: somebody else wrote to it"),
    ],
)
def test_a_target_that_is_another_is_not_written_on(change: Callable[[str], None], message: str) -> None:
    write("in", range(30))
    replay(limit=25).execute()
    kept = Path("out").read_bytes()
    change("out")
    changed = Path("out").read_bytes() if Path("out").exists() else None
    for work in (resume, replay):
        refused(work, DeliveryFailed, message, "another --run")
    assert (Path("out").read_bytes() if Path("out").exists() else None) == changed
    Path("out").write_bytes(kept)
    assert resume().execute().delivered == 30
    assert got() == list(range(30))


def test_a_target_that_was_filled_after_the_plan_is_not_the_runs() -> None:
    write("in", range(30))
    plan = replay()
    write("out", range(5))
    for work in (plan.execute, resume):
        refused(work, UsageError, "is there already and not empty", "Name another file")
    assert got() == list(range(5))


def test_what_a_complete_run_delivered_may_be_taken_away() -> None:
    write("in", range(30))
    replay().execute()
    Path("out").unlink()
    assert replay().execute().done_at
    assert not Path("out").exists()
