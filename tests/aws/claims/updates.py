"""UpdateItem, which `--api update-item` sends."""

from __future__ import annotations

from typing import Any

import botocore.exceptions

from tests.aws.claim import claim, code_of, shown
from tests.aws.statements import MARKER, number, text, update_marker
from tests.aws.table import Table


@claim("an item was created", "documented")
def plain(here: Table) -> str:
    """UpdateItem without a condition creates the item that it does not find."""
    pk = here.fresh()
    here.dynamodb.update_item(
        TableName=here.name,
        Key={"pk": text(pk)},
        UpdateExpression="SET restrike = :a",
        ExpressionAttributeValues={":a": text("run-1")},
    )
    return _there(here, pk)


@claim("ConditionalCheckFailedException; no item", "documented", otherwise="a touch could bring deleted items back")
def of_a_missing_item(here: Table) -> str:
    """With attribute_exists on its key it does not."""
    pk = here.fresh()
    return f"{_answer(here, update_marker(here.name, pk, 'run-1'))}; {_there(here, pk)}"


@claim("applied, 1 unit", "documented")
def updated_old_of_an_absent_attribute(here: Table) -> str:
    """ReturnValues UPDATED_OLD of an attribute that was absent: no Attributes, and the units are told."""
    return _answer(here, update_marker(here.name, here.item(), "run-1"))


@claim("applied, 1 unit, Attributes {restrike=run-1}", "documented")
def updated_old_of_another_value(here: Table) -> str:
    """ReturnValues UPDATED_OLD of an attribute with another value: that value alone."""
    return _answer(here, update_marker(here.name, here.item(n=number("3"), restrike=text("run-1")), "run-2"))


@claim("ConditionalCheckFailedException, Item {n=3, pk}", "documented")
def all_old_of_a_false_condition(here: Table) -> str:
    """ReturnValuesOnConditionCheckFailure ALL_OLD: the refusal carries the item."""
    request = update_marker(here.name, here.item(n=number("3")), "run-1")
    request["ConditionExpression"] += " AND attribute_exists(#a)"
    return _answer(here, request | {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"})


@claim("ConditionalCheckFailedException", "documented")
def all_old_of_a_missing_item(here: Table) -> str:
    """ReturnValuesOnConditionCheckFailure ALL_OLD where there is no item: the refusal carries none."""
    request = update_marker(here.name, here.fresh(), "run-1")
    return _answer(here, request | {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"})


@claim("ValidationException; marker not written", "reported", writes=810)
def marker_on_the_largest_item(here: Table) -> str:
    """A marker that makes an item larger than 400 KB is refused; the item stays as it was."""
    pk = here.largest
    answer = _answer(here, update_marker(here.name, pk, "run-1"))
    item = here.get(pk, attributes=MARKER) or {}
    return f"{answer}; marker {'written' if MARKER in item else 'not written'}"


@claim("table 1, index 1", "documented", otherwise="a plan reckons another price")
def index_that_projects_the_marker(here: Table) -> str:
    """A marker on an item of an index that projects all attributes costs a unit of that index, too."""
    return _units(here, here.item(all=text("x")), "all")


@claim("table 1, index 0", "documented", otherwise="a plan reckons another price")
def index_that_does_not(here: Table) -> str:
    """On an item of an index that projects keys alone it does not."""
    return _units(here, here.item(keys=text("x")), "keys")


@claim("3, 100000, {a, b}", "local only", otherwise="a replay would call unchanged images changed")
def values_are_normalised(here: Table) -> str:
    """What is written is kept in a spelling of its own: 3.0 as 3, 1E5 as 100000."""
    item = here.get(here.item(a=number("3.0"), b=number("1E5"), c={"SS": ["b", "a"]})) or {}
    return f"{item['a']['N']}, {item['b']['N']}, {{{', '.join(sorted(item['c']['SS']))}}}"


def _answer(here: Table, request: dict[str, Any]) -> str:
    """The code, and what came with it; units where it was applied."""
    try:
        answer = here.dynamodb.update_item(**request)
    except botocore.exceptions.ClientError as error:
        if code_of(error) not in ("ConditionalCheckFailedException", "ValidationException"):
            raise
        item = dict(error.response).get("Item")
        return f"{code_of(error)}, Item {shown(item)}" if isinstance(item, dict) else code_of(error)
    units = f"applied, {answer['ConsumedCapacity']['CapacityUnits']:g} unit"
    return f"{units}, Attributes {shown(answer['Attributes'])}" if "Attributes" in answer else units


def _units(here: Table, pk: str, index: str) -> str:
    request = update_marker(here.name, pk, "run-1") | {"ReturnConsumedCapacity": "INDEXES"}
    consumed = here.dynamodb.update_item(**request)["ConsumedCapacity"]
    of_index = consumed.get("GlobalSecondaryIndexes", {}).get(index, {}).get("CapacityUnits", 0)
    return f"table {consumed['Table']['CapacityUnits']:g}, index {of_index:g}"


def _there(here: Table, pk: str) -> str:
    return "no item" if here.get(pk) is None else "an item was created"
