"""The matcher against the cases of Amazon's own, event-ruler: see tests/data/event_ruler/README.md."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from restrike.errors import UsageError
from restrike.model.pattern import Criteria, compile_criteria

DATA = Path(__file__).parent.parent / "data" / "event_ruler"
NOT_LAMBDAS = re.compile(r'"(wildcard|cidr|exactly)"\s*:')
"""Operators that Lambda's table has not."""
DIFFERENT = {'{"x": [{"numeric": ["=", 1E-325]}]}'}
"""Of the patterns, those that the README names as taken otherwise."""


def cases(name: str) -> dict[str, list[dict[str, Any]]]:
    """The lines of a file, by the test that they are from."""
    found = defaultdict(list)
    for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        found[case["source"]].append(case)
    return found


MATCHES = cases("matches")
VALIDITY = cases("validity")


def compiled(pattern: str) -> Criteria | None:
    """None where it is refused."""
    try:
        return compile_criteria([pattern])
    except UsageError:
        return None


@pytest.mark.parametrize("source", MATCHES)
def test_what_matches_there_matches_here(source: str) -> None:
    for case in MATCHES[source]:
        criteria = compiled(case["pattern"])
        if NOT_LAMBDAS.search(case["pattern"]):
            assert criteria is None, case["pattern"]
            continue
        assert criteria is not None, case["pattern"]
        for event in case["matches"]:
            assert criteria.matches(event), (case["pattern"], event)
        for event in case["drops"]:
            assert not criteria.matches(event), (case["pattern"], event)


@pytest.mark.parametrize("source", VALIDITY)
def test_what_is_valid_there_is_valid_here(source: str) -> None:
    for case in VALIDITY[source]:
        criteria = compiled(case["pattern"])
        if NOT_LAMBDAS.search(case["pattern"]):
            assert criteria is None, case["pattern"]
            continue
        assert (criteria is not None) is (case["valid"] or case["pattern"] in DIFFERENT), case["pattern"]
        if criteria is not None and "alternatives" in case:
            assert len(criteria.branches) == case["alternatives"], case["pattern"]


def test_how_many_cases_are_lambdas() -> None:
    """None is set aside by mistake."""
    pairs = [
        (bool(NOT_LAMBDAS.search(case["pattern"])), event)
        for found in MATCHES.values()
        for case in found
        for event in case["matches"] + case["drops"]
    ]
    assert (len(pairs), sum(aside for aside, _ in pairs)) == (595, 106)
    patterns = [bool(NOT_LAMBDAS.search(case["pattern"])) for found in VALIDITY.values() for case in found]
    assert (len(patterns), sum(patterns)) == (166, 21)


def test_a_name_with_a_dot_is_one_name() -> None:
    criteria = compile_criteria({"a.b": ["x"]})
    assert criteria.matches({"a.b": "x"})
    assert not criteria.matches({"a": {"b": "x"}})
