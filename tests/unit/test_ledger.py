"""The ledger's file: refused where it is not ours, and then untouched; durable together or not at all."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from restrike.errors import RestrikeError, UsageError
from restrike.running.database import APPLICATION_ID, FORM, LedgerFailed
from restrike.running.ledger import SAMPLES, Ledger
from restrike.running.run import Entry, Leftover, Sample, differences


def entry(name: str = "r", **changes: str) -> Entry:
    return Entry(name, "touch", "arn:t", {"selection": "all", **changes}, b'{"asked":1}')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


def test_what_was_entered_is_there_after_it_was_closed(path: Path) -> None:
    with Ledger(path) as ledger, ledger.transaction():
        ledger.enter(entry())
        ledger.set_counts("r", b'{"done":3}', 1.5)
        ledger.set_places("r", "read", {"segment-0": b"x"})
        ledger.add_leftovers("r", [Leftover(b"k", "Gone", "it is gone")])
    with Ledger(path, read_only=True) as ledger:
        run = ledger.get("r")
        assert (run.state, run.counts, run.elapsed_s, run.identity) == (
            "STARTING",
            b'{"done":3}',
            1.5,
            {"selection": "all"},
        )
        assert ledger.places("r", "read") == {"segment-0": b"x"}
        assert [each.code for each in ledger.leftovers("r")] == ["Gone"]


def test_only_its_owner_reads_it(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.acquire("r")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(ledger.folder("r").stat().st_mode) == 0o700


def test_who_only_looks_makes_no_file(path: Path) -> None:
    with Ledger(path, read_only=True) as ledger:
        assert ledger.runs() == []
    assert not path.parent.exists()


def test_who_only_looks_cannot_write(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.enter(entry())
    with Ledger(path, read_only=True) as ledger, pytest.raises(LedgerFailed):
        ledger.set_state("r", "RUNNING")


def strangers(tmp_path: Path) -> dict[str, Path]:
    """Files that are no ledger of this restrike's, each of another kind."""
    found: dict[str, Path] = {}
    for kind, (application, form) in {
        "another program's": (0x1234, 1),
        "one without a version": (0, 0),
        "a newer one": (APPLICATION_ID, FORM + 1),
    }.items():
        found[kind] = tmp_path / f"{len(found)}.db"
        with sqlite3.connect(found[kind]) as db:
            db.execute("CREATE TABLE runs (name TEXT)")
            db.execute(f"PRAGMA application_id={application}")
            db.execute(f"PRAGMA user_version={form}")
        db.close()
    found["no database"] = tmp_path / "text.db"
    found["no database"].write_text("a text that somebody wants to keep\n" * 10)
    return found


@pytest.mark.parametrize("kind", ["another program's", "one without a version", "a newer one", "no database"])
@pytest.mark.parametrize("read_only", [False, True])
def test_a_strangers_file_is_refused_and_stays_untouched(tmp_path: Path, kind: str, read_only: bool) -> None:
    path = strangers(tmp_path)[kind]
    before, listed = path.read_bytes(), sorted(tmp_path.iterdir())
    with pytest.raises(UsageError) as refused:
        Ledger(path, read_only=read_only)
    assert str(path) in refused.value.message
    assert "--ledger" in refused.value.hint
    assert path.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == listed


def test_a_newer_ledger_asks_for_an_update(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        Ledger(strangers(tmp_path)["a newer one"])
    assert "a newer restrike" in refused.value.message
    assert "Update restrike" in refused.value.hint


def test_an_empty_file_becomes_a_ledger(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with Ledger(path) as ledger:
        assert ledger.runs() == []


def test_a_place_that_cannot_be_had_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError) as refused:
        Ledger(tmp_path / "file" / "ledger.db")
    assert "cannot open the ledger" in refused.value.message


def test_a_locked_ledger_is_no_bug(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restrike.running.database.BUSY_S", 0.01)
    with Ledger(path) as ledger:
        ledger.enter(entry())
        with sqlite3.connect(path, isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            for write in (
                lambda: ledger.set_state("r", "RUNNING"),
                lambda: ledger.ask("r", "CANCELLING", ""),
                lambda: ledger.add_samples("r", [Sample(1.0, 1, {})]),
            ):
                with pytest.raises(RestrikeError, match="cannot write the ledger"):
                    write()
            other.execute("ROLLBACK")
        other.close()
        ledger.set_state("r", "RUNNING")


def test_a_transaction_that_fails_leaves_nothing(path: Path) -> None:
    class Stopped(Exception):
        pass

    with Ledger(path) as ledger:
        ledger.enter(entry())

        def stopped() -> None:
            with ledger.transaction():
                ledger.set_counts("r", b'{"done":9}', 1.0)
                raise Stopped

        with pytest.raises(Stopped):
            stopped()
        assert ledger.get("r").counts == b"{}"
        with ledger.transaction():
            ledger.set_counts("r", b'{"done":1}', 1.0)
        assert ledger.get("r").counts == b'{"done":1}'


def test_a_run_that_has_just_ended_cannot_be_asked_to_end(path: Path) -> None:
    """It was made INTERRUPTED for ever."""
    with Ledger(path) as ledger:
        ledger.enter(entry())
        ledger.acquire("r")
        assert ledger.ask("r", "CANCELLING", "by the user")
        ledger.end("r", "COMPLETED", "", {"state": "COMPLETED"})
        assert not ledger.ask("r", "CANCELLING", "by the user")
        assert ledger.state_now(ledger.get("r")) == "COMPLETED"


def test_a_run_whose_process_is_gone_is_interrupted(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.enter(entry())
        ledger.set_state("r", "RUNNING")
        ledger.acquire("r")
        assert ledger.state_now(ledger.get("r")) == "RUNNING"
        ledger.release("r")
        assert ledger.state_now(ledger.get("r")) == "INTERRUPTED"


def test_a_run_that_ends_while_it_is_looked_at_is_not_interrupted(path: Path) -> None:
    with Ledger(path) as ledger, Ledger(path, read_only=True) as book:
        ledger.enter(entry())
        ledger.set_state("r", "RUNNING")
        ledger.acquire("r")
        seen = book.get("r")
        ledger.end("r", "COMPLETED", "", None)
        ledger.release("r")
        assert (seen.state, book.state_now(seen)) == ("RUNNING", "COMPLETED")


def test_a_run_is_executed_once(path: Path) -> None:
    with Ledger(path) as one, Ledger(path) as two:
        one.acquire("r")
        with pytest.raises(UsageError, match=f"executed by process {os.getpid()}"):
            two.acquire("r")
        one.release("r")
        two.acquire("r")


def test_beginning_again_forgets_what_was_done(path: Path) -> None:
    own = "CREATE TABLE IF NOT EXISTS mine (run TEXT, x INTEGER)"
    with Ledger(path, tables=own) as ledger:
        ledger.enter(entry())
        ledger.db.execute("INSERT INTO mine VALUES ('r', 1)")
        ledger.set_places("r", "read", {"a": b"1"})
        ledger.add_leftovers("r", [Leftover(b"k", "c", "m")])
        ledger.begin_again(entry(), ["mine"])
        assert (ledger.places("r", "read"), ledger.count_leftovers("r"), ledger.db.rows("SELECT * FROM mine")) == (
            {},
            0,
            [],
        )
        assert ledger.get("r").epoch == 2


def test_samples_are_thinned_and_keep_the_ends(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.enter(entry())
        for first in range(0, 5000, 100):
            ledger.add_samples("r", [Sample(float(at), at, {"n": at}) for at in range(first, first + 100)])
        kept = ledger.samples("r")
        assert len(kept) <= SAMPLES
        assert len(kept) > SAMPLES // 3
        assert (kept[0].done, kept[-1].done) == (0, 4999)
        assert [each.at for each in kept] == sorted(each.at for each in kept)


def test_differences_name_the_parts() -> None:
    assert differences({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == [
        "b: it was 2, and is 3 now",
        "c: it was not given, and is 4 now",
    ]
