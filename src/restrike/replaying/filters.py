"""Which records of a source go on: by time, key, event, Lambda's patterns, and JMESPath."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from restrike.errors import UsageError
from restrike.model.flags import Flag
from restrike.model.window import Window, duration, moment

if TYPE_CHECKING:
    from restrike.model.pattern import Criteria
    from restrike.model.record import Record

EVENTS = ("INSERT", "MODIFY", "REMOVE")


FLAGS = (
    Flag("--since", "From this time on: 2h, 3d or 2021-01-22T10:00:00Z.", "records", metavar="TIME"),
    Flag("--until", "Before this time.", "records", metavar="TIME"),
    Flag("--last", "The same as --since, as a duration: 90m, 6h.", "records", metavar="DURATION"),
    Flag("--key", "Records of this item: PARTITION or PARTITION/SORT.", "records", metavar="KEY"),
    Flag("--event", "INSERT, MODIFY, REMOVE; several with commas.", "records", metavar="NAMES"),
    Flag("--pattern", "Lambda's event filter pattern.", "records", metavar="JSON|FILE", completes="file"),
    Flag("--where", "Over the record with plain values.", "records", metavar="JMESPATH"),
    Flag("--limit", "Only the first N records, of the whole run.", "records", "integer", metavar="N"),
)
"""The flags that choose records, by the fields of FilterRequest."""


class FilterRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The window and filters as they were typed; None where they were not given."""

    since: str | None = None
    until: str | None = None
    last: str | None = None
    key: str | None = None
    event: str | None = None
    pattern: str | None = None
    where: str | None = None
    limit: int | None = None


def window_of(request: FilterRequest, now: datetime) -> Window:
    """The window, with relative times reckoned from `now`."""
    if request.last is not None:
        if request.since or request.until:
            raise UsageError("--last is a window by itself: leave out --since and --until")
        return Window(now.timestamp() - duration("--last", request.last), None)
    since = None if request.since is None else moment("--since", request.since, now)
    until = None if request.until is None else moment("--until", request.until, now)
    if since is not None and until is not None and until <= since:
        raise UsageError(f"--until {request.until} is not after --since {request.since}")
    return Window(since, until)


def with_pattern_text(request: FilterRequest) -> FilterRequest:
    """The same, with the text of a pattern that was given as a file: what is kept must not change with the file."""
    if request.pattern is None or request.pattern.lstrip().startswith(("{", "[")):
        return request
    try:
        text = Path(request.pattern).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(
            f"--pattern: cannot read {request.pattern}: {error}", "Give JSON or a file that holds it."
        ) from None
    return msgspec.structs.replace(request, pattern=text)


class RecordFilter:
    """Whether a record goes on. What needs no parsing is looked at first; images are parsed only if asked for.

    The request holds the text of a pattern, not a file (`with_pattern_text`).
    """

    def __init__(self, request: FilterRequest, window: Window, criteria: Criteria | None = None) -> None:
        self._window = window
        self._bounded = window.since_s is not None or window.until_s is not None
        self._events = _events(request.event)
        self._key = request.key
        self._criteria = [each for each in (criteria, _criteria(request.pattern)) if each is not None]
        self._where = _where(request.where)
        self._parses = bool(self._criteria) or self._where is not None

    def passes(self, record: Record) -> bool:
        """Whether all that was asked for holds."""
        if self._events is not None and record.event_name not in self._events:
            return False
        if self._bounded and not self._window.holds(record.created_s):
            return False
        if self._key is not None and not _has_key(record.keys, self._key):
            return False
        if not self._parses:
            return True
        parsed: dict[str, Any] = msgspec.json.decode(record.raw)
        if not all(criteria.matches(parsed) for criteria in self._criteria):
            return False
        return self._where is None or self._where(plain_record(parsed))


def _events(text: str | None) -> frozenset[str] | None:
    if text is None:
        return None
    names = frozenset(name.strip().upper() for name in text.split(","))
    if not names <= set(EVENTS):
        raise UsageError(f"--event {text!r} is not of INSERT, MODIFY, REMOVE", "For example --event INSERT,MODIFY.")
    return names


def key_filter(request: FilterRequest) -> Callable[[bytes], bool] | None:
    """Whether raw Keys are of the item that --key names; None without --key."""
    wanted = request.key
    return None if wanted is None else lambda keys: _has_key(keys, wanted)


def _has_key(keys: bytes, wanted: str) -> bool:
    """Whether a key attribute has that value: `VALUE`, or `PARTITION/SORT` for both."""
    values = [_text(value) for value in msgspec.json.decode(keys).values()]
    if wanted in values:
        return True
    # Both may hold slashes themselves.
    return len(values) == 2 and any(
        sorted((wanted[:at], wanted[at + 1 :])) == sorted(values) for at, letter in enumerate(wanted) if letter == "/"
    )


def _text(value: Mapping[str, Any]) -> str:
    return str(next(iter(value.values())))


def _criteria(text: str | None) -> Criteria | None:
    from restrike.model.pattern import compile_criteria  # help and completion need the flags alone

    return None if text is None else compile_criteria(text)


def _where(expression: str | None) -> Callable[[Any], bool] | None:
    if expression is None:
        return None
    import jmespath
    import jmespath.exceptions

    try:
        compiled = jmespath.compile(expression)
    except jmespath.exceptions.JMESPathError as error:
        why = str(error).partition("\n")[0]  # the expression with a caret under it follows
        raise UsageError(f"--where is no JMESPath: {why}", "For example: dynamodb.NewImage.total > `100`") from None

    def holds(record: Any) -> bool:
        try:
            return bool(compiled.search(record))
        except jmespath.exceptions.JMESPathError as error:
            raise UsageError(f"--where fails on a record: {error}") from None

    return holds


def plain_record(record: dict[str, Any]) -> dict[str, Any]:
    """The record with Keys, NewImage and OldImage as plain values: what --where looks at."""
    change = dict(record.get("dynamodb", {}))
    for member in ("Keys", "NewImage", "OldImage"):
        if isinstance(change.get(member), dict):
            change[member] = {name: plain_value(value) for name, value in change[member].items()}
    return {**record, "dynamodb": change}


def plain_value(value: dict[str, Any]) -> Any:
    """DynamoDB JSON as plain JSON: numbers as int or float, binary as base64 text, sets as lists."""
    kind, content = next(iter(value.items()))
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
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else float(number)
