"""Whether a record has what a compiled pattern asks for, in about as many steps as it has leaves.

Two fields may not match in different elements of one array: so those that lie in an array are judged together, and all
others alone. What one branch found out about a record is not found out again for another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from restrike.errors import UsageError

MAX_STEPS = 1_000_000
"""Of one record, in leaves that are looked at: only fields that lie in several lists at once come near it."""

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


def in_order(fields: Iterable[Field]) -> Branch:
    """The fields as they are to be judged.

    Of those that only ask for leaves the order changes no answer: then the fields of one list stand together, so that
    what was chosen in it matters no longer than they last. Else it is event-ruler's, by the names with dots between
    them: with arrays it decides which element `exists: false` is asked of.
    """
    found = list(fields)
    if any(field.absent for field in found):
        return tuple(sorted(found, key=lambda field: ".".join(field.path)))
    return tuple(sorted(found, key=lambda field: field.path))


def matches(branches: tuple[Branch, ...], record: Mapping[str, object]) -> bool:
    """Whether one of the branches holds. UsageError where that cannot be told within MAX_STEPS."""
    judging = _Judging(record)
    try:
        return any(judging.holds(branch) for branch in branches)
    except RecursionError:
        raise UsageError("a record is nested too deep for a pattern", "DynamoDB itself nests 32 deep.") from None


class _Found(NamedTuple):
    """The leaves of one field, and whether each passes: all that lie in an array.

    `under` has them by each element that they lie in, `arrays` are those of the elements, and `everywhere` the arrays
    that all of them lie in.
    """

    absent: bool
    leaves: list[tuple[bool, Membership]]
    under: dict[tuple[int, int], list[tuple[bool, Membership]]]
    arrays: frozenset[int]
    everywhere: frozenset[int]


class _Judging:
    """One record under all branches of a pattern."""

    __slots__ = ("_agreed", "_judged", "_leaves", "_record", "_steps")

    def __init__(self, record: Mapping[str, object]) -> None:
        self._record = record
        self._leaves: dict[Path, list[tuple[object, Membership]]] = {}
        self._judged: dict[Field, bool | _Found] = {}
        self._agreed: dict[tuple[int, ...], bool] = {}
        self._steps = 0

    def holds(self, branch: Branch) -> bool:
        """Whether each field has a leaf that passes, no two of them in different elements of one array.

        Fields that lie in no array bind nobody, and are judged alone.
        """
        bound: list[_Found] = []
        for field in branch:
            found = self._judged.get(field)
            if found is None:
                found = self._judged[field] = self._judge(field)
            if found is False:
                return False
            if found is not True:
                bound.append(found)
        if len(bound) < 2:
            return all(any(passes for passes, _ in found.leaves) for found in bound)
        together = tuple(map(id, bound))
        agreed = self._agreed.get(together)
        if agreed is None:
            matters: list[frozenset[int]] = [frozenset()]  # arrays that a field or a later one lies in, from the last
            for found in reversed(bound):
                matters.append(matters[-1] | found.arrays)
            agreed = self._agreed[together] = self._agree(bound, matters[::-1], 0, (), set())
        return agreed

    def _judge(self, field: Field) -> bool | _Found:
        """Whether the field holds; its leaves, where that depends on those of others."""
        path, test, absent = field
        leaves = self._leaves.get(path)
        if leaves is None:
            leaves = self._leaves[path] = list(_leaves(self._record, path, 0, ()))
        if not leaves:
            return absent
        tested = [(test(leaf), membership) for leaf, membership in leaves]
        passes = any(passes for passes, _ in tested)
        if not absent and not passes:
            return False
        return _found(absent, tested) if any(membership for _, membership in tested) else passes

    def _agree(
        self,
        bound: list[_Found],
        matters: list[frozenset[int]],
        index: int,
        chosen: Membership,
        failed: set[tuple[int, Membership]],
    ) -> bool:
        """Whether the fields from `index` on match, given the elements that earlier fields matched in.

        Of those only the ones that still matter are told apart, and what failed once is not tried again: so it takes
        about as many steps as there are leaves.
        """
        if index == len(bound):
            return True
        chosen = tuple(sorted({element for element in chosen if element[0] in matters[index]}))
        if (index, chosen) in failed:
            return False
        field, places = bound[index], dict(chosen)
        seen = False
        for passes, membership in self._under(field, chosen):
            if any(places.get(array, at) != at for array, at in membership):
                continue
            seen = True
            if passes and self._agree(bound, matters, index + 1, chosen + membership, failed):
                return True
        if field.absent and not seen and self._agree(bound, matters, index + 1, chosen, failed):
            return True
        failed.add((index, chosen))
        return False

    def _under(self, field: _Found, chosen: Membership) -> list[tuple[bool, Membership]]:
        """Those leaves of the field that may agree with what was chosen, as few as can be told at once."""
        leaves = field.leaves
        for element in chosen:
            found = field.under.get(element)
            if found is None:
                if element[0] in field.everywhere:
                    leaves = []
                    break
            elif len(found) < len(leaves):
                leaves = found
        self._steps += 1 + len(leaves)
        if self._steps > MAX_STEPS:
            raise UsageError(
                f"a pattern takes more than {MAX_STEPS:,} steps on one record",
                "It asks for several fields inside of several lists: ask for fewer, or use --where.",
            )
        return leaves


def _found(absent: bool, leaves: list[tuple[bool, Membership]]) -> _Found:
    under: dict[tuple[int, int], list[tuple[bool, Membership]]] = {}
    everywhere = {array for array, _ in leaves[0][1]}
    arrays: set[int] = set()
    for leaf in leaves:
        for element in leaf[1]:
            under.setdefault(element, []).append(leaf)
        own = [array for array, _ in leaf[1]]
        arrays.update(own)
        everywhere.intersection_update(own)
    return _Found(absent, leaves, under, frozenset(arrays), frozenset(everywhere))


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
