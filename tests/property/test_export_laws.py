"""Laws of exports: a net change is what a window did to an item; windows cover a span; what overlaps is told apart."""

from __future__ import annotations

import asyncio
import base64
import gzip
import itertools
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from restrike.aws.session import Aws
from restrike.exporting.cutting import LONGEST_S, SHORTEST_S, cut
from restrike.model.record import Record, images
from restrike.model.window import Window
from restrike.sources.export.finding import find, open_place
from restrike.sources.export.manifest import Exported
from restrike.sources.export.reading import ExportSource
from restrike.sources.export.resolving import State
from restrike.sources.export.windows import _best, holes
from tests.exported import ARN, BEGINS_S, Spelling, Tree, change, export, lines_of

STREAM = f"{ARN}/stream/2026-01-01T00:00:00.000"
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
NUMBERS = st.integers(-(10**37), 10**37).map(str)
BINARY = st.binary(max_size=20).map(lambda data: base64.b64encode(data).decode())
VALUES: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.one_of(
        TEXTS.map(lambda text: {"S": text}),
        NUMBERS.map(lambda number: {"N": number}),
        BINARY.map(lambda data: {"B": data}),
        st.booleans().map(lambda truth: {"BOOL": truth}),
        st.just({"NULL": True}),
        st.lists(TEXTS, min_size=1, max_size=3, unique=True).map(lambda texts: {"SS": texts}),
        st.lists(NUMBERS, min_size=1, max_size=3, unique=True).map(lambda numbers: {"NS": numbers}),
        st.lists(BINARY, min_size=1, max_size=3, unique=True).map(lambda several: {"BS": several}),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda several: {"L": several}),
        st.dictionaries(TEXTS, inner, max_size=3).map(lambda members: {"M": members}),
    ),
    max_leaves=6,
)
IMAGES = st.dictionaries(TEXTS.filter(lambda name: name not in ("pk", "")), VALUES, max_size=4)
STEPS = st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), IMAGES)), max_size=25)
"""(Item, its image from then on, or None: deleted)."""


def read(tree: Tree, *, view_type: str = "NEW_AND_OLD_IMAGES") -> list[Record]:
    async def go(folder: str) -> list[Record]:
        store, place = open_place(folder, Aws)
        state = State(find(store, place).exports, STREAM, view_type)
        async with ExportSource(Aws, folder, state, named=f"export:{folder}") as source:
            return [record async for page in source.read({}, Window()) for record in page]

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(go(str(tree.write(Path(folder)))))


@settings(max_examples=30)
@given(
    before=st.dictionaries(st.integers(0, 5), IMAGES),
    steps=STEPS,
    files=st.integers(1, 3),
    spelling=st.sampled_from(["text", "number", "bare"]),
)
def test_a_record_is_what_a_window_did_to_an_item(
    before: dict[int, dict[str, Any]],
    steps: list[tuple[int, dict[str, Any] | None]],
    files: int,
    spelling: Spelling,
) -> None:
    after: dict[int, Any] = dict(before)
    written: dict[int, int] = {}
    for number, (item, image) in enumerate(steps):
        if image is None and item not in after:
            continue
        after[item] = image
        if image is None:
            del after[item]
        written[item] = BEGINS_S * 1_000_000 + number
    lines = [
        change({"pk": {"S": f"i{item}"}}, old=before.get(item), new=after.get(item), micros=micros, spelling=spelling)
        for item, micros in written.items()
        if item in before or item in after
    ]
    records = read(export([lines[at::files] for at in range(files)]))
    assert len(records) == len(lines)
    for record in records:
        item = int(json.loads(record.keys)["pk"]["S"][1:])
        known = {(False, True): "INSERT", (True, True): "MODIFY", (True, False): "REMOVE"}
        assert record.event_name == known[item in before, item in after]
        told = images(record)
        for image, state in ((told.old_image, before), (told.new_image, after)):
            assert image == ({"pk": {"S": f"i{item}"}} | state[item] if item in state else None)
    numbers = [record.sequence_number for record in records]
    assert len(set(numbers)) == len(numbers)
    in_time = sorted(records, key=lambda record: int(record.sequence_number))
    assert [written[int(json.loads(each.keys)["pk"]["S"][1:])] for each in in_time] == sorted(
        written[int(json.loads(each.keys)["pk"]["S"][1:])] for each in records
    )


@settings(max_examples=30)
@given(cuts=st.lists(st.integers(0, 400), max_size=5), lines=st.integers(0, 40))
def test_members_of_a_gzip_file_end_where_they_like(cuts: list[int], lines: int) -> None:
    text = lines_of(change({"pk": {"S": f"{number}"}}, new={}) for number in range(lines))
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    packed = b"".join(gzip.compress(text[one:other]) for one, other in itertools.pairwise(edges))
    assert [json.loads(record.keys)["pk"]["S"] for record in read(export([packed]))] == [str(n) for n in range(lines)]


@given(
    since_s=st.integers(0, 2 * 10**9),
    length_s=st.integers(SHORTEST_S, 35 * 86400),
    each_s=st.integers(SHORTEST_S, LONGEST_S),
)
def test_windows_cover_a_span_and_the_service_takes_each(since_s: int, length_s: int, each_s: int) -> None:
    if length_s / each_s > 3_000:
        each_s *= 10
    spans = cut(since_s, since_s + length_s, min(each_s, LONGEST_S))
    assert spans[0][0] == since_s
    assert spans[-1][1] == since_s + length_s
    assert all(one[1] == other[0] for one, other in itertools.pairwise(spans))
    assert all(SHORTEST_S <= to_s - from_s <= LONGEST_S for from_s, to_s in spans)


def exported(spans: Sequence[tuple[int, int]]) -> list[Exported]:
    made = [
        Exported(f"{number}", "", "", "incremental", from_s, to_s, 0, ARN, "", "DYNAMODB_JSON", "", "", "", "")
        for number, (from_s, to_s) in enumerate(spans)
    ]
    return sorted(made, key=lambda each: (each.from_s, each.to_s))


SPANS = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 8)).map(lambda span: (span[0], span[0] + span[1])),
    min_size=1,
    max_size=8,
)


@given(SPANS)
def test_what_is_kept_of_overlapping_windows_covers_the_most(spans: list[tuple[int, int]]) -> None:
    """Against all choices that there are."""
    exports = exported(spans)

    def fits(chosen: Sequence[Exported]) -> bool:
        return all(one.to_s <= other.from_s for one, other in itertools.pairwise(chosen))

    def worth(chosen: Sequence[Exported]) -> tuple[float, int]:
        return sum(each.to_s - each.from_s for each in chosen), len(chosen)

    kept = _best(exports)
    choices = [[each for at, each in enumerate(exports) if mask >> at & 1] for mask in range(1 << len(exports))]
    assert fits(kept)
    assert worth(kept) == max(worth(choice) for choice in choices if fits(choice))


@given(SPANS, st.one_of(st.none(), st.integers(0, 30)), st.one_of(st.none(), st.integers(0, 30)))
def test_what_no_export_has_is_a_hole(spans: list[tuple[int, int]], since: int | None, until: int | None) -> None:
    if since is not None and until is not None and until <= since:
        return
    exports = _best(exported(spans))
    window = Window(since, until)
    begins = since if since is not None else min(int(each.from_s) for each in exports)
    ends = until if until is not None else max(int(each.to_s) for each in exports)
    lacking = [t for t in range(begins, ends) if not any(each.from_s <= t < each.to_s for each in exports)]
    told = [
        t
        for gap in holes(exports, window)
        for t in range(
            int(gap.from_s if gap.from_s is not None else begins), int(gap.to_s if gap.to_s is not None else ends)
        )
    ]
    assert told == lacking
