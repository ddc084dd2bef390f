"""Lambda's event filtering: which stream records an event source mapping's FilterCriteria lets through.

The syntax is EventBridge's. Where the documentation leaves a case open, the answer here is that of
`aws/event-ruler`, the matcher that Amazon publishes. It sees a record as its *leaves*: each path that
ends in a string, number, boolean or null. Everything else follows from that:

- An object is never a leaf, so `{"exists": true}` on `dynamodb.NewImage` matches nothing, and
  `{"exists": false}` on it matches everything. null is a leaf: it exists.
- Arrays vanish from a path and each element is a leaf of its own, so one element that matches is enough,
  for `anything-but` too. Two fields may not match in different elements of one array.
- A path without a leaf satisfies `{"exists": false}` and nothing else; not `anything-but`, not `null`.
- A pattern is read from its first character to its last. A key that stands twice in an object is read twice, so that
  both count (Lambda's own example of AND repeats `dynamodb`); where a field's whole path comes again, the last counts.

Sources: Lambda Developer Guide, *Control which events Lambda sends to your function*; the README,
JsonRuleCompiler, Event and ACFinder of event-ruler.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeGuard

import msgspec

from restrike.errors import UsageError
from restrike.model.matching import Branch, Field, Path, Test, in_order, matches
from restrike.model.members import decode, encode, pairs

DEFAULT_PATTERNS = 5
"""How many patterns a mapping may have unless AWS raised the quota."""
MAX_PATTERNS = 10
MAX_PATTERN_CHARS = 4096
MAX_BRANCHES = 1000
"""What `$or` may multiply a pattern into: a bound of our own, so that 4,096 characters cannot fill the memory."""
MAX_DEPTH = 100
"""A bound of our own too: each of the 32 levels that DynamoDB allows is an attribute name and a type here."""

_OBJECTS = frozenset({"Keys", "NewImage", "OldImage"})
_OPERATORS = ("equals-ignore-case", "prefix", "suffix", "anything-but", "exists", "numeric")
_EVENTBRIDGE_ONLY = ("wildcard", "cidr")
_OR_EXAMPLE = 'For example "$or": [{"eventName": ["INSERT"]}, {"userIdentity": {"type": ["Service"]}}].'
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Criteria(msgspec.Struct, frozen=True):
    """Compiled FilterCriteria: a record passes if any pattern matches it; no patterns, everything passes.

    `roots` are the parts of a record that are looked at (`eventName`, `dynamodb.Keys`, `dynamodb.NewImage`,
    …): any other part may be left out of the record, or unparsed in it. `notes` tell a person what will not do
    what they seem to expect.
    """

    branches: tuple[Branch, ...]
    roots: frozenset[str]
    notes: tuple[str, ...] = ()

    def matches(self, record: Mapping[str, object]) -> bool:
        """Whether Lambda would hand this record to the function. `record` is parsed JSON, as Lambda gets it."""
        if not self.branches:
            return True
        return matches(self.branches, record)

    def matches_whatever(self, record: Mapping[str, object], unknown: frozenset[Path]) -> bool | None:
        """The same where the record's leaves at the `unknown` paths are there, but with values that nobody knows yet.

        None where it depends on them. Asked only to exist, they do.
        """
        if not self.branches or all(_known(branch, unknown) for branch in self.branches):
            return self.matches(record)
        surely = tuple(branch for branch in self.branches if _known(branch, unknown))
        if matches(surely, record):
            return True
        hoped = tuple(tuple(field for field in branch if _known((field,), unknown)) for branch in self.branches)
        return None if matches(hoped, record) else False

    def refusing(self, record: Mapping[str, object], unknown: frozenset[Path]) -> tuple[Path, ...]:
        """Of a record that does not match: the paths of each pattern that refuse it by themselves, all of a pattern's
        where only together they do. What is `unknown` refuses nothing."""
        found: dict[Path, None] = {}
        for branch in self.branches:
            known = [field for field in branch if _known((field,), unknown)]
            alone = [field.path for field in known if not matches(((field,),), record)]
            found |= dict.fromkeys(alone or [field.path for field in known])
        return tuple(found)

    @property
    def paths(self) -> frozenset[Path]:
        """Where a value is asked for: a record without any of them matches nothing."""
        return frozenset(field.path for branch in self.branches for field in branch if not field.absent)


def _known(branch: Branch, unknown: frozenset[Path]) -> bool:
    return all(field.test is _is_there or field.path not in unknown for field in branch)


def compile_criteria(criteria: Mapping[str, object] | Sequence[object] | str | bytes) -> Criteria:
    """Compile `{"Filters": [{"Pattern": …}]}`, one pattern, or a list of patterns; each as JSON or parsed.

    Raises UsageError that names pattern and path for whatever Lambda refuses: bad JSON, a value outside an
    array, an empty array or object, an unknown operator or operand, a pattern of more than 4,096 characters
    (counted without white space if it comes parsed), more than ten patterns.
    """
    patterns = _patterns(criteria)
    if len(patterns) > MAX_PATTERNS:
        raise UsageError(
            f"{len(patterns)} filter patterns: Lambda takes at most {MAX_PATTERNS}",
            "Values that one field may have go into one array; alternatives of several fields into $or.",
        )
    notes: list[str] = []
    if len(patterns) > DEFAULT_PATTERNS:
        notes.append(f"{len(patterns)} patterns: an account has {DEFAULT_PATTERNS} unless AWS raised its quota")
    compiled = [_compile(_At(f"pattern {n}", (), (), notes), each) for n, each in enumerate(patterns, 1)]
    branches = tuple(branch for pattern in compiled for branch in pattern)
    roots = frozenset(".".join(f.path[: 2 if f.path[0] == "dynamodb" else 1]) for b in branches for f in b)
    return Criteria(branches, roots, tuple(dict.fromkeys(notes)))


def _patterns(criteria: object) -> list[object]:
    """The single patterns of whatever shape the criteria came in."""
    if isinstance(criteria, str | bytes):
        criteria = decode(criteria, "filter criteria")
    if isinstance(criteria, Mapping):
        if not criteria:  # `--filter-criteria "{}"` is how the AWS CLI takes the filters off a mapping
            return []
        if "Filters" not in criteria:
            return [criteria]
        filters = criteria["Filters"]
        if not isinstance(filters, list | tuple):
            raise UsageError('"Filters" is not an array', 'Write {"Filters": [{"Pattern": "…"}]}.')
        for n, each in enumerate(filters, 1):
            if not isinstance(each, Mapping) or set(each) != {"Pattern"}:
                raise UsageError(f"Filters: entry {n} is not a Pattern", 'Write {"Pattern": "…"}.')
        return [each["Pattern"] for each in filters]
    if isinstance(criteria, list | tuple):
        return list(criteria)
    raise UsageError("filter criteria are a JSON object or a list of them", 'For example {"eventName": ["INSERT"]}.')


class _At(NamedTuple):
    """A place in a pattern: `path` as the record has it, `shown` as the pattern has it ($or, operators)."""

    label: str
    path: Path
    shown: Path
    notes: list[str]

    def field(self, name: str) -> _At:
        return self._replace(path=(*self.path, name), shown=(*self.shown, name))

    def syntax(self, name: str) -> _At:
        return self._replace(shown=(*self.shown, name))

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.label, ".".join(self.shown))))

    def error(self, why: str, hint: str) -> UsageError:
        return UsageError(f"{self}: {why}", hint)

    def note(self, text: str) -> None:
        self.notes.append(f"{self}: {text}")

    def note_number(self) -> None:
        if self.path[-1] in ("N", "NS"):
            self.note('a number is never equal to it: DynamoDB writes numbers as strings; compare with one, like "5"')


def _compile(at: _At, pattern: object) -> list[Branch]:
    """One pattern as plain conjunctions: each `$or` forks what was read so far."""
    if isinstance(pattern, bytes):
        pattern = pattern.decode(errors="replace")
    if isinstance(pattern, str | Mapping):
        try:
            text = pattern if isinstance(pattern, str) else encode(pattern).decode()
        except RecursionError:
            raise _too_deep(at) from None
        if len(text) > MAX_PATTERN_CHARS:
            raise at.error(
                f"{len(text):,} characters, and Lambda takes at most {MAX_PATTERN_CHARS:,}",
                "Split it: patterns are alternatives of each other.",
            )
    if isinstance(pattern, str):
        pattern = decode(pattern, str(at))
    if not isinstance(pattern, Mapping):
        raise at.error("the pattern is not an object", 'For example {"eventName": ["INSERT"]}.')
    branches: list[dict[Path, Field]] = [{}]
    _object(at, pattern, branches)
    return [in_order(branch.values()) for branch in branches]


def _object(at: _At, node: Mapping[str, object], branches: list[dict[Path, Field]], *, in_or: bool = False) -> None:
    if not node:
        raise at.error("an empty object", "Leave it out, or say which of its fields to look at.")
    if len(at.path) > MAX_DEPTH:
        raise _too_deep(at)
    for name, value in pairs(node):
        here = at.field(name)
        if name == "$or":
            _or(at, value, branches)
        elif in_or and (name in _OPERATORS or name in _EVENTBRIDGE_ONLY):
            raise here.error("an operator where a field name belongs", _OR_EXAMPLE)
        elif isinstance(value, Mapping):
            _object(here, value, branches, in_or=in_or)
        elif isinstance(value, list | tuple):
            field = _leaf(here, value)
            if any(field.path in branch for branch in branches):
                here.note("the field is named twice; what comes later counts")
            for branch in branches:
                branch[field.path] = field
        else:
            raise here.error("the value is not in an array", f"Write [{_show(value)}].")


def _too_deep(at: _At) -> UsageError:
    return UsageError(f"{at.label}: nested more than {MAX_DEPTH} deep", "DynamoDB itself nests 32 deep.")


def _or(at: _At, value: object, branches: list[dict[Path, Field]]) -> None:
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise at.syntax("$or").error("$or takes an array of two or more objects", _OR_EXAMPLE)
    forked: list[dict[Path, Field]] = []
    for n, alternative in enumerate(value):
        here = at.syntax(f"$or[{n}]")
        if not isinstance(alternative, Mapping):
            raise here.error("an alternative of $or is an object", _OR_EXAMPLE)
        fork = [dict(branch) for branch in branches]
        _object(here, alternative, fork, in_or=True)
        forked += fork
        if len(forked) > MAX_BRANCHES:
            raise at.syntax("$or").error(f"more than {MAX_BRANCHES:,} combinations", "Use fewer alternatives.")
    branches[:] = forked


def _leaf(at: _At, values: Sequence[object]) -> Field:
    if not values:
        raise at.error("an empty array matches nothing", "Put the values to match into it.")
    strings: set[str] = set()
    numbers: set[object] = set()
    constants: list[object] = []
    tests: list[Test] = []
    absent = False
    for value in values:
        if isinstance(value, str):
            strings.add(value)
        elif value is None or isinstance(value, bool):
            constants.append(value)
        elif isinstance(value, int | float):
            numbers.add(value)
            at.note_number()
        elif not isinstance(value, Mapping):
            raise at.error("an array inside an array", "Put the values themselves into the array.")
        elif len(pairs(value)) == 1 and value.get("exists") is False:
            absent = True
        else:
            tests.append(_operator(at, value))
    if at.path[0] == "dynamodb" and len(at.path) in (2, 3) and at.path[1] in _OBJECTS:
        at.note(
            "never a single value, so only exists: false matches, and that always; "
            "name attribute and type, like dynamodb.NewImage.status.S"
        )
    return Field(at.path, _any_of(frozenset(strings), frozenset(numbers), constants, tests), absent)


def _operator(at: _At, node: Mapping[str, object]) -> Test:
    if len(pairs(node)) != 1:
        raise at.error("an object here holds one operator", f"One of {', '.join(_OPERATORS)}.")
    ((name, operand),) = pairs(node)
    here = at.syntax(name)
    if name == "equals-ignore-case":
        return _ignore_case(_string(here, operand))
    if name in ("prefix", "suffix"):
        if not isinstance(operand, Mapping):
            return _affix(name, _string(here, operand))
        if [name for name, _ in pairs(operand)] != ["equals-ignore-case"]:
            raise here.error(f"{name} takes a string or equals-ignore-case", f'Write {{"{name}": "x"}}.')
        inner = here.syntax("equals-ignore-case")
        inner.note(f"{name} ignoring case is EventBridge's; Lambda's table of operators lacks it")
        return _affix(name, _string(inner, operand["equals-ignore-case"]), ignore_case=True)
    if name == "anything-but":
        excluded = _anything_but(here, operand)
        return lambda value: not excluded(value)
    if name == "exists":
        if operand is not True:  # a lone `false` is no test of a value: _leaf has taken it out
            raise here.error("exists takes true or false", 'Write {"exists": true}.')
        return _is_there
    if name == "numeric":
        return _numeric(here, operand)
    raise _unknown(here, name)


def _unknown(at: _At, name: str) -> UsageError:
    if name in _EVENTBRIDGE_ONLY:
        return at.error(
            f"{name} is an operator of EventBridge rules only",
            "Lambda's event filtering does not list it: use prefix or suffix.",
        )
    return at.error(f"unknown operator {name!r}", f"Operators are {', '.join(_OPERATORS)}; $or goes between fields.")


def _string(at: _At, operand: object) -> str:
    if not isinstance(operand, str):
        raise at.error(f"takes a string, not {_show(operand)}", f'Write {{"{at.shown[-1]}": "x"}}.')
    return operand


def _anything_but(at: _At, operand: object) -> Test:
    """The test for what `anything-but` excludes."""
    if isinstance(operand, Mapping):
        if len(pairs(operand)) != 1:
            raise at.error("an object here holds one operator", 'For example {"prefix": "x"}.')
        ((name, inner),) = pairs(operand)
        here = at.syntax(name)
        if name not in ("prefix", "suffix", "equals-ignore-case"):
            raise _unknown(here, name)
        here.note(f"anything-but with {name} is EventBridge's; Lambda's table of operators lacks it")
        texts = [_string(here, each) for each in (inner if isinstance(inner, list | tuple) else [inner])]
        if not texts or (name != "equals-ignore-case" and "" in texts):
            raise here.error("excludes everything or nothing", f'Write {{"{name}": "x"}}.')
        make = _ignore_case if name == "equals-ignore-case" else partial(_affix, name)
        return _any_of(frozenset(), frozenset(), (), [make(text) for text in texts])
    values = operand if isinstance(operand, list | tuple) else [operand]
    strings = frozenset(each for each in values if isinstance(each, str))
    numbers = frozenset(each for each in values if _is_number(each))
    if bool(strings) == bool(numbers) or not all(isinstance(each, str) or _is_number(each) for each in values):
        raise at.error(
            f"takes strings or numbers, and not both: {_show(operand)}", 'Write {"anything-but": ["a", "b"]}.'
        )
    if numbers:
        at.note_number()
    return _any_of(strings, numbers, (), ())


def _numeric(at: _At, operand: object) -> Test:
    at.note_number()
    bad = at.error(
        f"takes a comparison or an interval, lower end first, not {_show(operand)}",
        'For example ["=", 5] or [">", 0, "<=", 5].',
    )
    terms = list(operand) if isinstance(operand, list | tuple) else []
    if len(terms) not in (2, 4):
        raise bad
    comparisons: list[tuple[Callable[[float, float], bool], float]] = []
    for sign, bound in zip(terms[::2], terms[1::2], strict=True):
        if not isinstance(sign, str) or sign not in _COMPARE or not _is_number(bound):
            raise bad
        comparisons.append((_COMPARE[sign], bound))
    if len(terms) == 4 and not (terms[0] in (">", ">=") and terms[2] in ("<", "<=") and terms[1] < terms[3]):
        raise bad
    return lambda value: _is_number(value) and all(compare(value, bound) for compare, bound in comparisons)


def _show(value: object) -> str:
    text = encode(value).decode()
    return text if len(text) <= 40 else text[:39] + "…"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _any_of(
    strings: frozenset[str], numbers: frozenset[object], constants: Sequence[object], tests: Sequence[Test]
) -> Test:
    """Equal to one of the values, or past one of the tests.

    Numbers are equal by value (300, 300.0, 3e2), as in event-ruler; the guides of Lambda and EventBridge say
    by their text. In a stream record the only numbers are SizeBytes and ApproximateCreationDateTime.
    """
    if _is_there in tests:
        return _is_there

    def test(value: object) -> bool:
        if isinstance(value, str):
            if value in strings:
                return True
        elif value is None or isinstance(value, bool):
            # by identity: True == 1 in Python, but not in JSON
            if any(value is constant for constant in constants):
                return True
        elif _is_number(value) and value in numbers:
            return True
        return any(each(value) for each in tests)

    return test


def _is_there(_: object) -> bool:
    return True


def _ignore_case(text: str) -> Test:
    lowered = text.lower()
    return lambda value: isinstance(value, str) and value.lower() == lowered


def _affix(name: str, text: str, *, ignore_case: bool = False) -> Test:
    at = str.startswith if name == "prefix" else str.endswith
    if ignore_case:
        lowered = text.lower()
        return lambda value: isinstance(value, str) and at(value.lower(), lowered)
    return lambda value: isinstance(value, str) and at(value, text)
