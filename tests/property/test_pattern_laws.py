from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from restrike.model.pattern import compile_criteria

names = st.sampled_from(["a", "b", "c"])
scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "xy", "X"])
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=12
)
records = st.dictionaries(names, trees, max_size=3)
matchers = (
    scalars
    | st.booleans().map(lambda b: {"exists": b})
    | st.sampled_from(["x", "X"]).flatmap(
        lambda s: st.sampled_from(["prefix", "suffix", "equals-ignore-case", "anything-but"]).map(lambda op: {op: s})
    )
    | st.integers(-2, 2).map(lambda n: {"numeric": [">", n]})
)
patterns = st.dictionaries(
    names,
    st.recursive(
        st.lists(matchers, min_size=1, max_size=3),
        lambda inner: st.dictionaries(names, inner, min_size=1, max_size=2),
        max_leaves=4,
    ),
    min_size=1,
    max_size=3,
)


@given(pattern=patterns, record=records)
def test_every_shape_of_a_pattern_gives_the_same_answer(pattern: dict[str, Any], record: dict[str, Any]) -> None:
    text = json.dumps(pattern)
    answers = {
        compile_criteria(shape).matches(record)
        for shape in (pattern, text, text.encode(), [pattern], {"Filters": [{"Pattern": text}]})
    }
    assert len(answers) == 1


@given(pattern=patterns, record=records)
def test_only_roots_are_looked_at(pattern: dict[str, Any], record: dict[str, Any]) -> None:
    criteria = compile_criteria(pattern)
    assert criteria.matches({k: v for k, v in record.items() if k in criteria.roots}) is criteria.matches(record)


@given(one=patterns, other=patterns, record=records)
def test_patterns_and_or_are_disjunctions(one: dict[str, Any], other: dict[str, Any], record: dict[str, Any]) -> None:
    either = compile_criteria(one).matches(record) or compile_criteria(other).matches(record)
    assert compile_criteria([one, other]).matches(record) is either
    assert compile_criteria({"$or": [one, other]}).matches(record) is either


@given(path=st.lists(names, min_size=1, max_size=3), record=records)
def test_a_leaf_exists_or_does_not(path: list[str], record: dict[str, Any]) -> None:
    def asks(exists: bool) -> bool:
        pattern: Any = [{"exists": exists}]
        for name in reversed(path):
            pattern = {name: pattern}
        return compile_criteria(pattern).matches(record)

    assert asks(True) is not asks(False)


@given(value=scalars, text=st.sampled_from(["x", "xy", "X"]), op=st.sampled_from(["prefix", "suffix"]))
def test_anything_but_is_the_complement_on_a_single_leaf(value: object, text: str, op: str) -> None:
    record = {"a": value}
    assert compile_criteria({"a": [{"anything-but": text}]}).matches(record) is not (value == text)
    positive = compile_criteria({"a": [{op: text}]}).matches(record)
    assert compile_criteria({"a": [{"anything-but": {op: text}}]}).matches(record) is not positive
