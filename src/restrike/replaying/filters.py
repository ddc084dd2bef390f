"""Which records of a source go on: by time, key, event, Lambda's patterns, and JMESPath."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from restrike.errors import SourceLacks, UsageError
from restrike.model.flags import Flag
from restrike.model.numbers import counted
from restrike.model.window import Window, asked_window

if TYPE_CHECKING:
    from restrike.model.pattern import Criteria
    from restrike.model.record import Record
    from restrike.replaying.where import Where

LOOKED_AT = 1_000
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
    return asked_window(request.since, request.until, request.last, now)


def has_window(request: FilterRequest) -> bool:
    return bool(request.since or request.until or request.last)


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

    The request holds the text of a pattern, not a file (`with_pattern_text`). `narrows`: more than a window was asked
    for. `seen` and `passed` count records, and `told` says what became of the others.
    """

    def __init__(self, request: FilterRequest, window: Window, criteria: Criteria | None = None) -> None:
        self._window = window
        self._bounded = window.since_s is not None or window.until_s is not None
        self._event = request.event
        self._events = _events(request.event)
        self._key = request.key
        self._criteria = [
            (name, each)
            for name, each in (("the mapping's filter", criteria), ("--pattern", _criteria(request.pattern)))
            if each is not None
        ]
        self._where = _where(request.where)
        self._parses = bool(self._criteria) or self._where is not None
        self.narrows = self._parses or self._events is not None or self._key is not None
        self.seen = self.passed = 0
        self._refused: dict[str, int] = {}
        self._paths = {path for _, each in self._criteria for path in each.paths}
        """Of the patterns, what no record had so far; looked for in the first LOOKED_AT of those that do not match."""
        self._looked_at = 0

    @property
    def notes(self) -> list[str]:
        """What of the patterns will not do as a reader may expect."""
        return [f"{name}: {note}" for name, criteria in self._criteria for note in criteria.notes]

    def passes(self, record: Record) -> bool:
        """Whether all that was asked for holds. SourceLacks and UsageError where that cannot be told."""
        self.seen += 1
        try:
            refusing = self._refusing(record)
        except UsageError as error:
            error.message = f"{error.message} ({record.place} of {record.shard})"
            raise
        if refusing is None:
            self.passed += 1
            return True
        self._refused[refusing] = self._refused.get(refusing, 0) + 1
        return False

    def _refusing(self, record: Record) -> str | None:
        """What does not hold, in the words of `told`."""
        if self._events is not None and record.event_name not in self._events:
            return f"are not {self._event}"
        if self._bounded and not self._window.holds(record.created_s):
            return "are outside of the window"
        if self._key is not None and not _has_key(record.keys, self._key):
            return f"have not the key {self._key}"
        if not self._parses:
            return None
        parsed = _parsed(record)
        for name, criteria in self._criteria:
            if not criteria.matches(parsed):
                self._look_at(parsed)
                return f"do not match {name}"
        return None if self._where is None or self._where.holds(parsed) else "do not match --where"

    def _look_at(self, parsed: dict[str, Any]) -> None:
        if self._paths and self._looked_at < LOOKED_AT:
            from restrike.model.matching import has_leaf

            self._looked_at += 1
            self._paths = {path for path in self._paths if not has_leaf(parsed, path)}

    def told(self) -> str:
        """What was looked through, and why nothing or not all of it passed."""
        parts = [f"{self.passed:,} of {counted(self.seen, 'record')} passed"]
        parts[0] += "".join(
            f"{',' if number else ':'} {records:,} {why}" for number, (why, records) in enumerate(self._refused.items())
        )
        if not self.passed and self._where is not None:
            parts += self._where.misplaced()
            if self._where.mixed:
                parts.append(f"--where compared a number with a text {counted(self._where.mixed, 'time')}")
        if not self.passed and self._looked_at and self._paths:
            which = "no record has" if self._looked_at < LOOKED_AT else f"none of the first {LOOKED_AT:,} has"
            parts.append(f"{which} {', '.join('.'.join(path) for path in sorted(self._paths)[:5])}")
        return "; ".join(parts)


def _parsed(record: Record) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = msgspec.json.decode(record.raw)
    except RecursionError:
        raise SourceLacks(f"record {record.place} of {record.shard} is nested too deep to be looked into") from None
    return parsed


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
    try:
        values = [_text(value) for value in msgspec.json.decode(keys).values()]
    except (AttributeError, TypeError, StopIteration, RecursionError):
        return False  # no Keys that DynamoDB writes
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

    if text is None:
        return None
    criteria = compile_criteria(text)
    if not criteria.branches:
        raise UsageError(f"--pattern {text} asks for nothing: every record would pass", "Leave it out.")
    return criteria


def _where(expression: str | None) -> Where | None:
    if expression is None:
        return None
    from restrike.replaying.where import Where  # it needs jmespath

    return Where(expression)
