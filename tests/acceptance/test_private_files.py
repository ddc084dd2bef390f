"""What a run keeps is for nobody else: whole images and keys of people's items stand in it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.command import restrike
from tests.acceptance.test_bad_invocations import record
from tests.integration import tables
from tests.integration.tables import Index, Item

REFUSES = "def main(event, context):\n    raise ValueError('no')\n"


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_the_ledger_and_all_beside_it_are_for_nobody_else(
    dynamodb_local: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_local)
    items: list[Item] = [{"pk": f"k{n}", "sk": n, "day": "2021-01-22"} for n in range(20)]
    index = Index("by_day", ("day", "S"), ("sk", "N"))
    table = tables.create(dynamodb_local, ("pk", "S"), ("sk", "N"), indexes=[index], items=items)
    Path("keys.jsonl").write_text("".join(json.dumps({"pk": f"k{n}", "sk": n}) + "\n" for n in range(5)))
    Path("refuses.py").write_text(REFUSES)
    skip = ("replay", f"stream:{table.name}", "--if-superseded", "skip")
    part = ("replay", "--limit", "1", "--execute")  # a run that is complete needs no more what it was given
    touch = ("touch", table.name, "--no-verify", "--execute")
    for words, code in (
        ((*touch, "--keys", "keys.jsonl", "--run", "keys"), 0),
        ((*touch, "--index", "by_day", "--all", "--ordered", "--run", "ordered"), 0),
        ((*touch, "--partition-key", "k1", "--counter", "n", "--run", "counter"), 0),
        ((*part, f"table:{table.name}", "--all", "--to", "jsonl:out", "--run", "table"), 0),
        (("replay", f"table:{table.name}", "--keys", "keys.jsonl", "--to", "jsonl:out2", "--execute"), 0),
        ((*part, "-", "--to", "handler:refuses:main", "--retries", "0", "--run", "stdin"), 1),
        ((*skip, "--to", "jsonl:out3", "--log", "log", "--execute"), 0),
        (("capture", table.name, "--to", "kept", "--once", "--execute"), 0),
    ):
        result = restrike(*words, stdin=f"{record(1)}\n{record(2)}\n")
        assert result.code == code, result
    ours = tmp_path / "state" / "restrike"
    kept = [ours, *ours.rglob("*"), *(Path(name).absolute() for name in ("out", "out2", "out3", "log"))]
    assert {"verdicts.db", "keys.db", "source.jsonl", "failed.jsonl", "journal.db", "ledger.db", "lock"} <= {
        each.name for each in kept
    }
    open_to_others = {
        str(each.relative_to(tmp_path)): oct(each.stat().st_mode)
        for each in kept
        if each.stat().st_mode & 0o777 != (0o700 if each.is_dir() else 0o600)
    }
    assert open_to_others == {}
