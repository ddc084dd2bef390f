"""Whether a record has what a compiled pattern asks for, in about as many steps as it has leaves.

Two fields may not match in different elements of one array: so those that lie in an array are judged together, and all
others alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from restrike.errors import UsageError

MAX_STEPS = 1_000_000
"""Of one record: only lists inside of lists whose names hold dots come near it."""

Test = Callable[[object], bool]
Path = tuple[str, ...]
Membership = tuple[tuple[int, int], ...]
"""The array elements that a leaf lies in, as (identity of the array, index)."""


class Field(NamedTuple):
    """What one path of a pattern asks for: a leaf that passes `test`, or (`absent`) no leaf at all."""

    path: Path
    test: Test
    absent: bool


Branch = tuple[Field, ...]


def matches(branches: tuple[Branch, ...], record: Mapping[str, object]) -> bool:
    """Whether one of the branches holds. UsageError where that cannot be told within MAX_STEPS."""
    known: dict[Path, list[tuple[object, Membership]]] = {}
    try:
        return any(_matches(branch, record, known) for branch in branches)
    except RecursionError:
        raise UsageError("a record is nested too deep for a pattern", "DynamoDB itself nests 32 deep.") from None


class _Found(NamedTuple):
    """The leaves of one field, and whether each passes: all that lie in an array.

    `under` has them by each element that they lie in, `everywhere` the arrays that all of them lie in.
    """

    absent: bool
    leaves: list[tuple[bool, Membership]]
    under: dict[tuple[int, int], list[tuple[bool, Membership]]]
    everywhere: frozenset[int]


def _matches(branch: Branch, record: Mapping[str, object], known: dict[Path, list[tuple[object, Membership]]]) -> bool:
    """Whether each field has a leaf that passes, no two of them in different elements of one array.

    Fields that lie in no array bind nobody, and are judged alone. `known` are leaves that other branches looked up.
    """
    bound: list[_Found] = []
    for path, test, absent in branch:
        leaves = known.get(path)
        if leaves is None:
            leaves = known[path] = list(_leaves(record, path, 0, ()))
        if not leaves:
            if absent:
                continue
            return False
        tested = [(test(leaf), membership) for leaf, membership in leaves]
        if not absent and not any(passes for passes, _ in tested):
            return False
        if any(membership for _, membership in tested):
            bound.append(_found(absent, tested))
        elif not any(passes for passes, _ in tested):
            return False
    if len(bound) < 2:
        return all(any(passes for passes, _ in found.leaves) for found in bound)
    matters: list[frozenset[int]] = [frozenset()]  # arrays that a field or a later one lies in, from the last on
    for found in reversed(bound):
        matters.append(matters[-1] | {array for array, _ in found.under})
    return _agree(bound, matters[::-1], 0, (), set())


def _found(absent: bool, leaves: list[tuple[bool, Membership]]) -> _Found:
    under: dict[tuple[int, int], list[tuple[bool, Membership]]] = {}
    everywhere = {array for array, _ in leaves[0][1]}
    for leaf in leaves:
        for element in leaf[1]:
            under.setdefault(element, []).append(leaf)
        everywhere.intersection_update([array for array, _ in leaf[1]])
    return _Found(absent, leaves, under, frozenset(everywhere))


def _agree(
    bound: list[_Found],
    matters: list[frozenset[int]],
    index: int,
    chosen: Membership,
    failed: set[tuple[int, Membership]],
) -> bool:
    """Whether the fields from `index` on match, given the elements that earlier fields matched in.

    Of those only the ones that still matter are told apart, and what failed once is not tried again: so it takes about
    as many steps as there are leaves.
    """
    if index == len(bound):
        return True
    chosen = tuple(sorted({element for element in chosen if element[0] in matters[index]}))
    if (index, chosen) in failed:
        return False
    field, places = bound[index], dict(chosen)
    seen = False
    for passes, membership in _under(field, chosen):
        if any(places.get(array, at) != at for array, at in membership):
            continue
        seen = True
        if passes and _agree(bound, matters, index + 1, chosen + membership, failed):
            return True
    if field.absent and not seen and _agree(bound, matters, index + 1, chosen, failed):
        return True
    failed.add((index, chosen))
    if len(failed) > MAX_STEPS:
        raise UsageError(
            f"a pattern takes more than {MAX_STEPS:,} steps on one record",
            "It asks for several fields inside of several lists: ask for fewer, or use --where.",
        )
    return False


def _under(field: _Found, chosen: Membership) -> list[tuple[bool, Membership]]:
    """Those leaves of the field that may agree with what was chosen, as few as can be told at once."""
    leaves = field.leaves
    for element in chosen:
        found = field.under.get(element)
        if found is None:
            if element[0] in field.everywhere:
                return []
        elif len(found) < len(leaves):
            leaves = found
    return leaves


def has_leaf(record: Mapping[str, object], path: Path) -> bool:
    """Whether there is anything at that path: what `exists` asks."""
    return next(_leaves(record, path, 0, ()), None) is not None


def _leaves(value: object, path: Path, depth: int, membership: Membership) -> Iterator[tuple[object, Membership]]:
    """Each leaf at the path, arrays looked through."""
    while True:
        if isinstance(value, dict | Mapping):  # dict first: the check of an abstract class is slow
            if depth == len(path) or path[depth] not in value:
                return
            value = value[path[depth]]
            depth += 1
        elif isinstance(value, list):
            for index, element in enumerate(value):
                if isinstance(element, list | dict):
                    yield from _leaves(element, path, depth, (*membership, (id(value), index)))
                elif depth == len(path):
                    yield element, membership
            return
        else:
            if depth == len(path):
                yield value, membership
            return
