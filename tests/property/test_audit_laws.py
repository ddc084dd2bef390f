"""Whatever two sides hold: what is written as a file and read back, in parts, differs where the values do."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restrike.auditing.comparing import compare
from restrike.auditing.partitions import Batches
from restrike.auditing.rows import Names, RowFile
from restrike.model.scalars import encoded, of_item
from restrike.model.table import KeyAttribute, KeySchema, canonical_key

NAMES = Names(KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sk", "N")), ("total", "note"))
PARTS = 4

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
keys = st.tuples(texts.filter(bool), st.integers(-5, 5))
values = st.tuples(
    st.decimals(-100, 100, allow_nan=False, allow_infinity=False, places=2), st.one_of(st.none(), texts.filter(bool))
)
sides = st.dictionaries(keys, values, max_size=12)
Side = dict[tuple[str, int], tuple[Decimal, str | None]]


def key_of(pk: str, sk: int) -> bytes:
    return canonical_key(NAMES.key, {"pk": {"S": pk}, "sk": {"N": str(sk)}})


def as_items(side: Side, folder: Path) -> Batches:
    """As a table's pages have them: numbers in plain digits."""
    batches = Batches(folder, "ours", PARTS)
    for (pk, sk), (total, note) in side.items():
        line = encoded([of_item({"N": format(total, "f")}), of_item(None if note is None else {"S": note})])
        batches.add([(key_of(pk, sk), line)])
    batches.write()
    return batches


def as_file(side: Side, folder: Path, form: str) -> Batches:
    path, batches = folder / f"copy.{form}", Batches(folder, "theirs", PARTS)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = [{"pk": pk, "sk": sk, "total": str(total), "note": note} for (pk, sk), (total, note) in side.items()]
        if form == "csv":
            writer = csv.DictWriter(file, ["note", "sk", "pk", "total"])
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row, ensure_ascii=len(rows) % 2 == 0) + "\n" for row in rows)
    with RowFile(path, NAMES) as read:
        for chunk in read.chunks():
            assert not chunk.unreadable
            batches.add(chunk.rows)
            batches.write()
    return batches


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sides")


@given(ours=sides, theirs=sides, shared=sides, form=st.sampled_from(["csv", "jsonl"]))
def test_what_differs_is_found_and_nothing_else(
    ours: Side, theirs: Side, shared: Side, form: str, folder: Path
) -> None:
    ours, theirs = ours | shared, theirs | shared
    here, there = as_items(ours, folder), as_file(theirs, folder, form)
    found = [compare(here.read(part), there.read(part)) for part in range(PARTS)]
    different = {each.key for part in found for each in part.different}
    assert different == {key_of(*key) for key in {*ours, *theirs} if ours.get(key) != theirs.get(key)}
    assert sum(part.tally.equal for part in found) == sum(ours.get(key) == theirs[key] for key in theirs)
    assert (sum(part.tally.ours for part in found), sum(part.tally.theirs for part in found)) == (
        len(ours),
        len(theirs),
    )
    assert {each.key for part in found for each in part.different if each.selected} <= {key_of(*key) for key in ours}
