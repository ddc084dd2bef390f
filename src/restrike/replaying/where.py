"""`--where`: a JMESPath expression over a record with plain values.

A record is a stranger's, and so nothing in it may stop the run with anything but words: a number of any size, values
that are compared across types, nesting. An expression is the user's, and is refused where it would multiply a record:
before it is used where its own words tell, and else at the record on which it takes too many steps or makes too much
text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

import jmespath
import jmespath.exceptions
from jmespath.functions import Functions, signature
from jmespath.visitor import Options, TreeInterpreter

from restrike.errors import SourceLacks, UsageError

MAX_CHARS = 4096
MAX_COPIES = 100
"""How often an expression may hold what it looks at: `[@, @]` behind one another doubles it each time."""
MAX_STEPS = 5_000_000
"""Of one record: nodes of the expression that are looked at, and members of lists that a function gets."""
MAX_TEXT_CHARS = 10_000_000
"""What `join` and `to_string` may make at once: a long glue goes between all members, and quotes of quotes double."""
MAX_DIGITS = 130
"""DynamoDB's own numbers have 38 digits and end at 1e126: what is beyond is a float, infinite where it must be."""
_TOP = frozenset(
    {"awsRegion", "dynamodb", "eventID", "eventName", "eventSource", "eventSourceARN", "eventVersion", "userIdentity"}
)
_IN_CHANGE = frozenset(
    {"ApproximateCreationDateTime", "Keys", "NewImage", "OldImage", "SequenceNumber", "SizeBytes", "StreamViewType"}
)
_WRONG = (jmespath.exceptions.JMESPathError, TypeError, ValueError, ArithmeticError, RecursionError)


class Where:
    """A compiled expression. UsageError where it is none, and where it may multiply a record beyond measure.

    `mixed` counts comparisons of a number with a text: they hold for nothing, as JMESPath has it.
    """

    def __init__(self, expression: str) -> None:
        if len(expression) > MAX_CHARS:
            raise UsageError(f"--where has {len(expression):,} characters, and at most {MAX_CHARS:,} are taken")
        example = "For example: dynamodb.NewImage.total > `100`"
        try:
            self._tree: Any = jmespath.compile(expression).parsed
            copies = _copies(self._tree)
            for call in _calls(self._tree):
                _check_call(call)
        except RecursionError:
            raise UsageError("--where is nested too deep", example) from None
        except (jmespath.exceptions.JMESPathError, ValueError) as error:
            why = str(error).partition("\n")[0]  # the expression with a caret under it follows
            raise UsageError(f"--where is no JMESPath: {why}", example) from None
        if copies > MAX_COPIES:
            raise UsageError(
                f"--where may hold a record {copies:,} times at once, and at most {MAX_COPIES:,} are taken",
                "Lists behind lists multiply it: [@, @] | [@, @] | …",
            )
        self._interpreter = _Interpreter()

    @property
    def mixed(self) -> int:
        return self._interpreter.mixed

    def holds(self, record: dict[str, Any]) -> bool:
        """Whether it is true of the record, by JMESPath: null, false, and what is empty are not, but 0 is."""
        plain = plain_record(record)
        self._interpreter.steps = 0
        try:
            found = self._interpreter.visit(self._tree, plain)
        except _WRONG as error:
            why = str(error).partition("\n")[0]
            raise UsageError(f"--where fails on a record: {why}", "Try it with: restrike records … --json") from None
        return not (found is None or found is False or (isinstance(found, str | list | dict) and not found))

    def misplaced(self) -> list[str]:
        """Names that the expression looks for at the top of a record, where they never are; in words."""
        names = [name for name in dict.fromkeys(_roots(self._tree)) if name not in _TOP]
        places = ["dynamodb" if name in _IN_CHANGE else "dynamodb.NewImage" for name in names]
        return [
            f"`{name}` is not at the top of a record: `{place}.{name}`"
            for name, place in zip(names, places, strict=True)
        ]


class _Interpreter(TreeInterpreter):
    """JMESPath's own with bounds, but for what it says of `1 < 'a'`: null by its specification, a TypeError by its
    code."""

    mixed = 0
    steps = 0

    def __init__(self) -> None:
        self._own_functions = _Functions()
        super().__init__(Options(custom_functions=self._own_functions))
        self._methods: dict[str, Any] = {}

    def visit(self, node: Any, value: Any) -> Any:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise UsageError(f"--where takes more than {MAX_STEPS:,} steps on one record", _ASK_LESS)
        kind = node["type"]
        method = self._methods.get(kind)
        if method is None:
            method = self._methods[kind] = getattr(self, f"visit_{kind}")
        return method(node, value)

    def visit_comparator(self, node: Any, value: Any) -> Any:
        try:
            return super().visit_comparator(node, value)
        except TypeError:
            self.mixed += 1
            return None

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        given = []
        for child in node["children"]:
            each = self.visit(child, value)
            given.append(each)
            if isinstance(each, list):
                self.steps += len(each)
        return self._own_functions.call_function(node["value"], given)


class _Functions(Functions):
    """JMESPath's own, but for those that can make more text than there was."""

    @signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, glue: str, texts: list[str]) -> str:
        _check_chars(len(glue) * len(texts) + sum(map(len, texts)))
        return glue.join(texts)

    @signature({"types": []})
    def _func_to_string(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        _check_chars(_chars(value))
        return json.dumps(value, separators=(",", ":"), default=str)


def _chars(value: Any) -> int:
    """About how long the value is as JSON, or how long it is at least where that is too much."""
    chars, rest = 0, [value]
    while rest and chars <= MAX_TEXT_CHARS:
        each = rest.pop()
        chars += 3  # quotes, a comma
        if isinstance(each, str):
            chars += len(each)
        elif isinstance(each, dict):
            rest += each.values()
            chars += sum(map(len, each))
        elif isinstance(each, list):
            rest += each
        elif isinstance(each, int):
            chars += each.bit_length() // 3
    return chars


def _check_chars(chars: int) -> None:
    if chars > MAX_TEXT_CHARS:
        raise UsageError(f"--where makes a text of more than {MAX_TEXT_CHARS:,} characters of one record", _ASK_LESS)


_ASK_LESS = "Ask for less at once, or look with: restrike records … --json"
_CHAINS = frozenset(
    {"subexpression", "index_expression", "pipe", "projection", "value_projection", "filter_projection"}
)
_SUMS = frozenset({"multi_select_list", "multi_select_dict", "function_expression"})


def _children(node: Any) -> list[Any]:
    """The nodes in a node; beside them stand values, of a slice for example."""
    return [child for child in node.get("children", ()) if isinstance(child, dict)]


def _copies(node: Any) -> int:
    """How often at most a value is held in what the node makes of it; what stands behind one another multiplies."""
    if node["type"] == "literal":
        return 0
    parts = [_copies(child) for child in _children(node)]
    if node["type"] in _SUMS:
        return max(1, sum(parts))
    if node["type"] in _CHAINS:
        product = 1
        for part in parts:
            product = min(product * max(1, part), 10**9)
        return product
    return max(parts, default=1)


def _calls(node: Any) -> Iterator[Any]:
    if node["type"] == "function_expression":
        yield node
    for child in _children(node):
        yield from _calls(child)


def _check_call(call: Any) -> None:
    """UsageError for a function that JMESPath has not, or that takes another number of arguments: no record is needed
    to know that, and where none passes the other filters none would tell."""
    name, given = call["value"], len(call["children"])
    known = Functions.FUNCTION_TABLE
    if name not in known:
        raise UsageError(f"--where: there is no function {name}()", f"JMESPath has {', '.join(sorted(known))}.")
    signature = known[name]["signature"]
    several = bool(signature) and signature[-1].get("variadic", False)
    if given < len(signature) or (given > len(signature) and not several):
        least = f"{len(signature)}{' or more' if several else ''}"
        raise UsageError(
            f"--where: {name}() takes {least} argument{'s' if len(signature) != 1 else ''}, and {given} are given",
            "For example: starts_with(dynamodb.Keys.order_id, '2021-01-22')",
        )


def _roots(node: Any) -> Iterator[str]:
    """The names that are looked for in the record itself."""
    if node["type"] == "field":
        yield node["value"]
    children = _children(node)
    if node["type"] in _CHAINS or node["type"] in ("flatten", "slice"):
        children = children[:1]
    for child in children:
        yield from _roots(child)


def plain_record(record: dict[str, Any]) -> dict[str, Any]:
    """The record with Keys, NewImage and OldImage as plain values. SourceLacks where they are no DynamoDB JSON."""
    try:
        change = dict(record.get("dynamodb", {}))
        for member in ("Keys", "NewImage", "OldImage"):
            if isinstance(change.get(member), dict):
                change[member] = {name: plain_value(value) for name, value in change[member].items()}
    except RecursionError:
        raise SourceLacks("a record is nested too deep for --where", "DynamoDB itself nests 32 deep.") from None
    except (AttributeError, TypeError, ValueError, InvalidOperation) as error:
        raise SourceLacks(
            f"a record's images are no DynamoDB JSON: {type(error).__name__}: {error}"[:200],
            'An attribute is its type and its value, as in {"n": {"N": "5"}}.',
        ) from None
    return {**record, "dynamodb": change}


def plain_value(value: dict[str, Any]) -> Any:
    """DynamoDB JSON as plain JSON: numbers as int or float, binary as base64 text, sets as lists."""
    [(kind, content)] = value.items()
    if kind == "N":
        return _number(content)
    if kind == "NS":
        return [_number(each) for each in content]
    if kind == "M":
        return {name: plain_value(inner) for name, inner in content.items()}
    if kind == "L":
        return [plain_value(inner) for inner in content]
    return None if kind == "NULL" else content


def _number(text: str) -> int | float:
    if len(text) > MAX_DIGITS:
        return float(text)
    number = Decimal(text)
    if number.is_finite() and number.adjusted() <= MAX_DIGITS and number == number.to_integral_value():
        return int(number)
    return float(number)
