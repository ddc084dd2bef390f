"""The very texts that a touch sends, so that what is probed is what is sent. A test holds them against a touch."""

from __future__ import annotations

from typing import Any

MARKER = "restrike"
Statement = dict[str, Any]


def text(value: str) -> dict[str, str]:
    return {"S": value}


def number(value: str) -> dict[str, str]:
    return {"N": value}


def set_marker(table: str, pk: str, run: str) -> Statement:
    """A touch."""
    statement = f'UPDATE "{table}" SET "{MARKER}"=? WHERE "pk"=? RETURNING MODIFIED OLD *'
    return {"Statement": statement, "Parameters": [text(run), text(pk)]}


def set_guarded(table: str, pk: str, attribute: str, run: str) -> Statement:
    """A touch under another `--marker`."""
    name = f'"{attribute}"'
    condition = f"({name} IS MISSING OR {name}=?)"
    statement = f'UPDATE "{table}" SET {name}=? WHERE "pk"=? AND {condition} RETURNING MODIFIED OLD *'
    parameters = [text(run), text(pk), text(run)]
    return {"Statement": statement, "Parameters": parameters, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


def count_up(table: str, pk: str, attribute: str, before: str | None, after: str) -> Statement:
    """A touch with `--counter`; `before` is None where the item has no number yet."""
    condition = f'"{attribute}" IS MISSING' if before is None else f'"{attribute}"=?'
    parameters = [number(after), text(pk), *([] if before is None else [number(before)])]
    statement = f'UPDATE "{table}" SET "{attribute}"=? WHERE "pk"=? AND {condition}'
    return {"Statement": statement, "Parameters": parameters, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


def update_marker(table: str, pk: str, run: str) -> dict[str, Any]:
    """A touch with `--api update-item`, as the parameters of UpdateItem."""
    return {
        "TableName": table,
        "Key": {"pk": text(pk)},
        "UpdateExpression": "SET #a = :a",
        "ConditionExpression": "attribute_exists(#p)",
        "ExpressionAttributeNames": {"#a": MARKER, "#p": "pk"},
        "ExpressionAttributeValues": {":a": text(run)},
        "ReturnConsumedCapacity": "TOTAL",
        "ReturnValues": "UPDATED_OLD",
    }
