"""What docs/rerun-by-design.md says and no other test shows, on a real DynamoDB."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import restrike
from tests.integration.tables import REGION, Index, Table, create

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "rerun-by-design.md"


def touched(table: Table, tmp_path: Path, **selection: Any) -> int:
    """How many a touch of that selection fired."""
    return (
        restrike.touch(
            table.name, endpoint_url=table.endpoint_url, region=REGION, ledger=tmp_path / "ledger.db", **selection
        )
        .execute()
        .fired
    )


def test_a_write_that_changes_nothing_makes_no_record_and_a_raised_revision_does(dynamodb_local: str) -> None:
    item = {"pk": {"S": "a"}, "status": {"S": "paid"}, "revision": {"N": "1"}}
    table = create(dynamodb_local, ("pk", "S"))
    for written in (item, item, item | {"revision": {"N": "2"}}):
        table.dynamodb.put_item(TableName=table.name, Item=written)
    assert [record["eventName"] for record in table.records()] == ["INSERT", "MODIFY"]


def test_putting_the_whole_item_back_undoes_what_others_wrote_and_brings_back_what_they_deleted(
    dynamodb_local: str, tmp_path: Path
) -> None:
    table = create(dynamodb_local, ("pk", "S"), items=[{"pk": key, "status": "new"} for key in ("a", "b")])
    read = [table.dynamodb.get_item(TableName=table.name, Key={"pk": {"S": key}})["Item"] for key in ("a", "b")]

    def others_write() -> None:
        table.load([{"pk": "a", "status": "paid"}])
        table.dynamodb.delete_item(TableName=table.name, Key={"pk": {"S": "b"}})

    def there() -> dict[str, str]:
        return {item["pk"]["S"]: item["status"]["S"] for item in table.dynamodb.scan(TableName=table.name)["Items"]}

    others_write()
    for item in read:
        table.dynamodb.put_item(TableName=table.name, Item=item | {"revision": {"N": "1"}})
    assert there() == {"a": "new", "b": "new"}
    others_write()
    keys = tmp_path / "keys.jsonl"
    keys.write_text('{"pk": "a"}\n{"pk": "b"}\n')
    assert touched(table, tmp_path, keys=str(keys)) == 1
    assert there() == {"a": "paid"}


def test_a_page_may_be_empty_and_not_be_the_last(dynamodb_local: str) -> None:
    items = [{"pk": "a", "sk": n, "late": "yes" if n == 4 else "no"} for n in range(5)]
    table = create(dynamodb_local, ("pk", "S"), ("sk", "N"), items=items)
    page = table.dynamodb.query(
        TableName=table.name,
        KeyConditionExpression="pk = :a",
        FilterExpression="late = :y",
        ExpressionAttributeValues={":a": {"S": "a"}, ":y": {"S": "yes"}},
        Limit=2,
    )
    assert page["Items"] == []
    assert "LastEvaluatedKey" in page


@pytest.mark.parametrize(("projection", "written"), [("KEYS_ONLY", set()), ("ALL", {"by_day"})])
def test_what_a_touch_writes_to_an_index(dynamodb_local: str, projection: str, written: set[str]) -> None:
    table = create(
        dynamodb_local,
        ("pk", "S"),
        indexes=[Index("by_day", ("day", "S"), projection=projection)],
        items=[{"pk": "a", "day": "2021-01-22"}],
    )
    answer = table.dynamodb.update_item(
        TableName=table.name,
        Key={"pk": {"S": "a"}},
        UpdateExpression="SET restrike = :r",
        ConditionExpression="attribute_exists(pk)",
        ExpressionAttributeValues={":r": {"S": "r"}},
        ReturnConsumedCapacity="INDEXES",
    )
    assert set(answer["ConsumedCapacity"].get("GlobalSecondaryIndexes", {})) == written


def test_a_day_in_shards_is_touched_shard_by_shard(dynamodb_local: str, tmp_path: Path) -> None:
    table = create(
        dynamodb_local,
        ("pk", "N"),
        indexes=[Index("by_day", ("day", "S"))],
        items=[{"pk": n, "day": f"2021-01-22#{n % 3}"} for n in range(9)],
    )
    fired = [
        touched(table, tmp_path, index="by_day", date="2021-01-22", date_format=f"%Y-%m-%d#{shard}")
        for shard in range(3)
    ]
    assert fired == [3, 3, 3]


def test_a_view_type_cannot_be_changed(dynamodb_local: str) -> None:
    table = create(dynamodb_local, ("pk", "S"), view_type="KEYS_ONLY")
    wanted = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    with pytest.raises(table.dynamodb.exceptions.ClientError, match="already has an enabled stream"):
        table.dynamodb.update_table(TableName=table.name, StreamSpecification=wanted)


def test_of_an_item_that_is_touched_nothing_but_the_marker_differs(dynamodb_local: str, tmp_path: Path) -> None:
    """Also of one that is marked as deleted, instead of being gone: so deletions can be fired again, too."""
    table = create(dynamodb_local, ("pk", "S"), items=[{"pk": "a", "status": "paid"}, {"pk": "b", "deleted": "yes"}])
    assert touched(table, tmp_path, all=True, run="r") == 2
    for record in table.records()[2:]:
        change = record["dynamodb"]
        assert record["eventName"] == "MODIFY"
        assert change["NewImage"] == change["OldImage"] | {"restrike": {"S": "r"}}


def test_each_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text(encoding="utf-8"))
    assert len(named) > 10
    for path, name in named:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), name
