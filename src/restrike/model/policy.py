"""An IAM policy out of needs: the fewest statements that allow just those, in an order that does not change.

What a verb works without has statements of its own, whose Sid begins with Optional: so a person can delete them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from restrike.model.permissions import ACCOUNT, REGION, Condition, Need

VERSION = "2012-10-17"
OPTIONAL = "Optional"
ANY = "*"

_Where = tuple[frozenset[str], tuple[Condition, ...]]
"""Resources and conditions of a statement."""


class Statement(msgspec.Struct, frozen=True):
    """One that allows `actions` on `resources`; `without`: what a verb lacks that is not allowed them."""

    sid: str
    actions: frozenset[str]
    resources: frozenset[str]
    conditions: tuple[Condition, ...] = ()
    without: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": sorted(self.actions),
            "Resource": sorted(self.resources),
        }
        if self.conditions:
            told["Condition"] = {operator: {key: list(values)} for operator, key, values in self.conditions}
        return told


def statements(needs: Iterable[Need]) -> list[Statement]:
    """First what is needed, then what is optional, each by its Sid.

    Needs that differ in nothing but their actions are one statement, named after the first; what is optional, or on
    every resource, only with others of its own name. What is needed already is not optional once more.
    """
    needs = list(needs)
    needed = {(action, _where(need)) for need in needs if not need.without for action in need.actions}
    groups: dict[tuple[str, bool, _Where], list[Need]] = {}
    for need in needs:
        apart = need.without or not need.resources
        groups.setdefault((need.sid if apart else "", bool(need.without), _where(need)), []).append(need)
    found = []
    for (_, optional, where), each in groups.items():
        actions = frozenset(action for need in each for action in need.actions)
        if optional:
            actions = frozenset(action for action in actions if (action, where) not in needed)
        without = tuple(dict.fromkeys(need.without for need in each if need.without))
        if actions:
            sid = f"{OPTIONAL}{each[0].sid}" if optional else each[0].sid
            found.append(Statement(sid, actions, *where, without))
    found.sort(key=lambda each: (bool(each.without), each.sid, sorted(each.resources), sorted(each.actions)))
    return _named_apart(found)


def _where(need: Need) -> _Where:
    return frozenset(need.resources or (ANY,)), need.conditions


def _named_apart(found: list[Statement]) -> list[Statement]:
    """No two of one name, which IAM refuses."""
    seen: dict[str, int] = {}
    apart = []
    for each in found:
        number = seen[each.sid] = seen.get(each.sid, 0) + 1
        apart.append(each if number == 1 else msgspec.structs.replace(each, sid=f"{each.sid}{number}"))
    return apart


def document(needs: Iterable[Need]) -> dict[str, Any]:
    """The policy, as IAM takes it."""
    return {"Version": VERSION, "Statement": [each.as_json() for each in statements(needs)]}


def notes(needs: Iterable[Need]) -> list[str]:
    """What is to be known of it, a sentence each."""
    needs = list(needs)
    made = statements(needs)
    if not made:
        return ["it asks AWS for nothing, and needs no policy"]
    told = list(dict.fromkeys(need.note for need in needs if need.note))
    resources = [resource for each in made for resource in each.resources]
    unknown = [word for word in (ACCOUNT, REGION) if any(word in arn.split(":")[3:5] for arn in resources)]
    if unknown:
        flags = " and ".join(f"--{word.lower()}" for word in unknown)
        told.append(f"put in what stands for {' and '.join(unknown)}, which {_is(unknown)} not known: or give {flags}")
    if any(":table/*" in arn for arn in resources):
        told.append("any table, since only the records or messages say which: narrower with --table NAME")
    anywhere = sorted({action for each in made if each.resources == {ANY} for action in each.actions})
    if anywhere:
        told.append(f"on every resource, since IAM knows no narrower one for {_it(anywhere)}: {', '.join(anywhere)}")
    told += [f"{each.sid} may be left out: then {'; '.join(each.without)}" for each in made if each.without]
    return told


def _is(words: list[str]) -> str:
    return "is" if len(words) == 1 else "are"


def _it(words: list[str]) -> str:
    return "it" if len(words) == 1 else "them"
