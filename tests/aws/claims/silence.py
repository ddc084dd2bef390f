"""Writes that change nothing write no record, whatever call makes them: a touch that is done twice fires once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.aws.claim import claim
from tests.aws.statements import number, set_marker, text, update_marker
from tests.aws.table import Table

FIRES_TWICE = "a touch that is done twice fires twice"
ITEM: dict[str, Any] = {"n": number("3"), "restrike": text("run-1"), "s": {"SS": ["a", "b"]}}


@claim("1 record, MODIFY", "documented")
def a_change(here: Table) -> str:
    """One that does change something writes one."""
    return _records(here, lambda pk: _batch(here, pk, "run-2"))


@claim("no record", "documented", otherwise=FIRES_TWICE)
def put_item(here: Table) -> str:
    """PutItem of the same item."""
    return _records(here, lambda pk: here.dynamodb.put_item(TableName=here.name, Item={"pk": text(pk)} | ITEM))


@claim("no record", "local only")
def put_item_in_another_spelling(here: Table) -> str:
    """PutItem of the same item, its number spelled 3.0 and its set in another order."""
    other = ITEM | {"n": number("3.0"), "s": {"SS": ["b", "a"]}}
    return _records(here, lambda pk: here.dynamodb.put_item(TableName=here.name, Item={"pk": text(pk)} | other))


@claim("no record", "local only")
def batch_write_item(here: Table) -> str:
    """BatchWriteItem of the same item."""
    return _records(
        here,
        lambda pk: here.dynamodb.batch_write_item(
            RequestItems={here.name: [{"PutRequest": {"Item": {"pk": text(pk)} | ITEM}}]}
        ),
    )


@claim("no record", "documented", otherwise=FIRES_TWICE)
def update_item(here: Table) -> str:
    """UpdateItem to the same value, as a touch does it."""
    return _records(here, lambda pk: here.dynamodb.update_item(**update_marker(here.name, pk, "run-1")))


@claim("no record", "local only")
def update_item_in_another_spelling(here: Table) -> str:
    """UpdateItem to 3.0 over 3."""
    return _records(here, lambda pk: _update(here, pk, "SET n = :n", {":n": number("3.0")}))


@claim("no record", "local only")
def remove_of_an_absent_attribute(here: Table) -> str:
    """UpdateItem with a REMOVE of what is not there."""
    return _records(here, lambda pk: _update(here, pk, "REMOVE nothing"))


@claim("no record", "local only")
def update_item_without_an_expression(here: Table) -> str:
    """UpdateItem of a key alone, of an item that exists."""
    return _records(here, lambda pk: here.dynamodb.update_item(TableName=here.name, Key={"pk": text(pk)}))


@claim("no record", "local only", otherwise=FIRES_TWICE)
def batch_execute_statement(here: Table) -> str:
    """A PartiQL UPDATE to the same value in a batch, as a touch does it."""
    return _records(here, lambda pk: _batch(here, pk, "run-1"))


@claim("no record", "unconfirmed", writes=6)
def transact_write_items(here: Table) -> str:
    """TransactWriteItems with an update to the same value."""
    update = {
        "TableName": here.name,
        "UpdateExpression": "SET restrike = :a",
        "ExpressionAttributeValues": {":a": text("run-1")},
    }
    return _records(
        here,
        lambda pk: here.dynamodb.transact_write_items(TransactItems=[{"Update": update | {"Key": {"pk": text(pk)}}}]),
    )


@claim("1 unit", "documented")
def it_costs_what_a_change_costs(here: Table) -> str:
    """The write units of such a write."""
    answer = here.dynamodb.update_item(**update_marker(here.name, here.item(restrike=text("run-1")), "run-1"))
    return f"{answer['ConsumedCapacity']['CapacityUnits']:g} unit"


def _records(here: Table, write: Callable[[str], object]) -> str:
    """What the stream has of a write to an item that is there already."""
    pk = here.item(**ITEM)
    write(pk)
    _, *records = here.records_of(pk)
    if not records:
        return "no record"
    names = ", ".join(record.body["eventName"] for record in records)
    return f"{len(records)} record{'s' if len(records) > 1 else ''}, {names}"


def _batch(here: Table, pk: str, run: str) -> None:
    (answer,) = here.batch(set_marker(here.name, pk, run))
    assert "Error" not in answer, answer


def _update(here: Table, pk: str, expression: str, values: dict[str, Any] | None = None) -> None:
    with_values = {"ExpressionAttributeValues": values} if values else {}
    here.dynamodb.update_item(TableName=here.name, Key={"pk": text(pk)}, UpdateExpression=expression, **with_values)
