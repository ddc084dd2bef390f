"""Who reads the table's stream, and what each would see of a touch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from restrike.aws import lambda_
from restrike.aws.session import Aws
from restrike.errors import AccessDenied, AwsError, UsageError
from restrike.model.pattern import compile_criteria
from restrike.model.plan import Consumer, PlanWarning
from restrike.model.table import AttributeValue, TableInfo

ELSEWHERE = (
    "Consumers elsewhere (other Regions, other accounts, Kinesis Client Library applications, other readers "
    "of the stream) cannot be seen from here; a touch fires them too."
)
MOST_PARTS = 5
"""Of patterns, that are named as what refused records."""
READING = ("Enabled", "Disabling")
"""States of a mapping that reads its stream now."""
_DELIVERING = ("Enabled", "Enabling", "Updating", "Creating")

_UNKNOWN = frozenset(
    {
        ("eventID",),
        ("dynamodb", "ApproximateCreationDateTime"),
        ("dynamodb", "SequenceNumber"),
        ("dynamodb", "SizeBytes"),
    }
)
"""Members that each record has, with values that nobody knows before the write: a filter may ask for them."""

Item = dict[str, AttributeValue]


class Consumers(msgspec.Struct, frozen=True):
    """Those that are known, what cannot be known, and what to know before one goes on."""

    known: tuple[Consumer, ...]
    note: str
    warnings: tuple[PlanWarning, ...] = ()
    unseen: bool = False
    """Lambda was asked, and did not tell."""
    mappings: tuple[Mapping[str, Any], ...] = ()
    """As Lambda describes them, with their filters: one for each that is known, in that order."""

    @property
    def reading(self) -> int:
        """How many of them read the stream now."""
        return sum(consumer.state in READING for consumer in self.known)


def consumers_of(aws: Aws, table: TableInfo, touched: Sequence[Mapping[str, Any]], endpoint: str) -> Consumers:
    """The event source mappings of the table's stream, each tried on the records that touching some items writes."""
    if not aws.may_ask("lambda"):
        why = f"Lambda was not asked: DynamoDB is at {endpoint}, and Lambda has no such endpoint."
        return Consumers((), f"{why} {ELSEWHERE}")
    assert table.stream_arn is not None
    try:
        mappings = lambda_.event_source_mappings(aws, table.stream_arn)
    except AccessDenied:
        why = "Could not look for Lambda functions: access denied (lambda:ListEventSourceMappings)."
        return Consumers((), f"{why} {ELSEWHERE}", unseen=True)
    except AwsError as error:
        return Consumers((), f"Could not look for Lambda functions: {error.message}. {ELSEWHERE}", unseen=True)
    return consumers_in(aws, mappings, touched)


def consumers_in(aws: Aws, listed: Iterable[Mapping[str, Any]], touched: Sequence[Mapping[str, Any]]) -> Consumers:
    """Those whose event source mappings were listed."""
    mappings = tuple(lambda_.with_filter(aws, each) for each in listed)
    found: list[Consumer] = []
    warnings: list[PlanWarning] = []
    for mapping in mappings:
        name = str(mapping.get("FunctionArn", "")).split(":function:")[-1]
        state = str(mapping.get("State", "unknown"))
        fires, why = _what_it_sees(mapping, touched)
        if fires is False:
            text = f"{name} takes no MODIFY records of these items: touch cannot fire it again; replay can."
            warnings.append(PlanWarning("consumer-not-fired", text))
        elif state == "Disabling":
            fires, why = None, "its event source mapping is being disabled: it may hand over one more batch"
        elif state not in _DELIVERING:
            fires, why = False, f"its event source mapping is {state}: it sees the records when it is enabled in 24 h"
        found.append(Consumer(f"{name} (mapping {mapping.get('UUID', '?')})", "lambda", state, fires, why))
    return Consumers(tuple(found), ELSEWHERE, tuple(warnings), mappings=mappings)


def _what_it_sees(mapping: Mapping[str, Any], touched: Sequence[Mapping[str, Any]]) -> tuple[bool | None, str]:
    unreadable = lambda_.unreadable_filter(mapping)
    if unreadable is not None:
        return None, f"has a filter that cannot be read: {unreadable}"
    return what_filters_pass((mapping.get("FilterCriteria") or {}).get("Filters") or [], touched)


def what_filters_pass(filters: list[dict[str, Any]], touched: Sequence[Mapping[str, Any]]) -> tuple[bool | None, str]:
    """Whether filters let such records through (None: that cannot be told), and why."""
    if not filters:
        return True, "no filter: sees every touched item as MODIFY"
    try:
        criteria = compile_criteria({"Filters": filters})
    except UsageError as error:
        return None, f"has a filter that cannot be read: {error.message}"
    if not touched:
        return None, "has a filter, and there is no item to try it on"
    verdicts = Counter(criteria.matches_whatever(record, _UNKNOWN) for record in touched)
    passed, tried = verdicts[True], len(touched)
    if passed == 0 and verdicts[None]:
        paths = {field.path for branch in criteria.branches for field in branch}
        asked = ", ".join(sorted(".".join(path) for path in paths & _UNKNOWN))
        return None, f"its filter asks for {asked}, which only the record itself will tell"
    if passed == 0:
        return False, f"its filter drops the MODIFY records of all {tried} sampled items"
    return True, f"its filter passes the MODIFY records of {passed} of {tried} sampled items"


class Tried(msgspec.Struct, frozen=True):
    """Filters tried on records: how many pass of how many, and which parts of the patterns refused the others, the most
    frequent first."""

    matches: int = 0
    sampled: int = 0
    refused: tuple[str, ...] = ()


def tried(filters: Sequence[Mapping[str, Any]], touched: Sequence[Mapping[str, Any]]) -> Tried:
    """Looks closer than `what_filters_pass`, which a plan is content with. What cannot be read lets nothing be told."""
    if not filters:
        return Tried(len(touched), len(touched))
    try:
        criteria = compile_criteria({"Filters": list(filters)})
        refused: Counter[str] = Counter()
        matches = 0
        for record in touched:
            verdict = criteria.matches_whatever(record, _UNKNOWN)
            matches += verdict is True
            if verdict is False:
                refused.update(".".join(path) for path in criteria.refusing(record, _UNKNOWN))
    except UsageError:
        return Tried()
    return Tried(matches, len(touched), tuple(part for part, _ in refused.most_common(MOST_PARTS)))


def touched_records(
    items: Sequence[Item], table: TableInfo, region: str, attribute: str, value: AttributeValue | None
) -> Iterator[dict[str, Any]]:
    """The records that touching those items would write, as far as the stream's view type shows them. Without a value
    the attribute goes. What only the service knows (_UNKNOWN) is there, and made up."""
    view_type = table.view_type or ""
    for old in items:
        change: dict[str, Any] = {"Keys": {name: old[name] for name in table.key.names}}
        if view_type in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES"):
            rest = {name: held for name, held in old.items() if name != attribute}
            change["NewImage"] = rest if value is None else rest | {attribute: value}
        if view_type in ("OLD_IMAGE", "NEW_AND_OLD_IMAGES"):
            change["OldImage"] = old
        change |= {
            "StreamViewType": view_type,
            "ApproximateCreationDateTime": 1_700_000_000,
            "SequenceNumber": "100000000000000000001",
            "SizeBytes": 100,
        }
        yield {
            "eventID": "0" * 32,
            "eventName": "MODIFY",
            "eventSource": "aws:dynamodb",
            "eventVersion": "1.1",
            "eventSourceARN": table.stream_arn,
            "awsRegion": region,
            "dynamodb": change,
        }
