"""A global table of two Regions, with eventual consistency."""

from __future__ import annotations

import time
from typing import Any

import botocore.exceptions

from tests.aws.claim import Seen, claim, code_of
from tests.aws.statements import text
from tests.aws.stream import CannotTell, Record
from tests.aws.table import Table

CONVERGING_S = 60.0
PAUSE_S = 0.2
TRIES = 5


@claim("the other Region alone", "reported", writes=0, otherwise="replicas are counted one too many")
def replicas(here: Table, there: Table) -> Seen:
    """Replicas in DescribeTable leaves the table's own Region out."""
    regions = {each["RegionName"] for each in (here.describe() or {}).get("Replicas", [])}
    seen = {frozenset({there.region}): "the other Region alone", frozenset({here.region, there.region}): "both Regions"}
    return Seen(seen.get(frozenset(regions), "neither"), ", ".join(sorted(regions)))


@claim("EVENTUAL", "model", writes=0, otherwise="what is not STRONG is taken for eventual")
def consistency(here: Table, there: Table) -> str:
    """MultiRegionConsistency of such a table."""
    return str((here.describe() or {}).get("MultiRegionConsistency", "absent"))


@claim("2019.11.21", "documented", writes=0)
def version(here: Table, there: Table) -> str:
    """GlobalTableVersion."""
    return str((here.describe() or {}).get("GlobalTableVersion", "absent"))


@claim("1 record in each Region, both images, no attribute added", "documented", writes=16)
def a_change_fires_in_both(here: Table, there: Table) -> str:
    """A write in one Region is a record in each Region's own stream, and adds nothing to the item."""
    pk = here.item(n=text("before"))
    _until_there(there, pk, "n", "before")
    _set(here, pk, "n", "after")
    _until_there(there, pk, "n", "after")
    of_both = [[record for record in table.records_of(pk) if _became(record, "after")] for table in (here, there)]
    counts = {len(records) for records in of_both}
    each = f"{counts.pop()} record in each Region" if len(counts) == 1 else f"{list(map(len, of_both))} records"
    both = all("OldImage" in record.change for records in of_both for record in records)
    found = set().union(*(record.change["NewImage"] for records in of_both for record in records))
    # The Regions may make one write of several: then the probe's own next one is in it.
    added = found - {"pk", "n", "fence"}
    images = "both images" if both else "one image"
    return f"{each}, {images}, {f'{sorted(added)} added' if added else 'no attribute added'}"


@claim(
    "both were taken; one write is left, the same in both Regions",
    "documented",
    writes=30,
    otherwise="nothing: a touch asks for --accept-replication-conflicts whatever comes",
)
def last_writer_wins(here: Table, there: Table) -> Seen:
    """Conditioned writes to one item in both Regions at once: both conditions hold, and one write is lost."""
    for _ in range(TRIES):  # until one is not replicated before the other comes
        pk = here.item(n=text("before"))
        _until_there(there, pk, "n", "before")
        answers = [_set(table, pk, "n", table.region, "before") for table in (here, there)]
        if answers == ["applied", "applied"]:
            break
    taken = "both were taken" if answers == ["applied", "applied"] else ", ".join(answers)
    deadline = time.monotonic() + CONVERGING_S
    # Until each Region has what the other one wrote or has lost it: nothing under way changes what is equal.
    while (values := [_value(table, pk, "n") for table in (here, there)])[0] != values[1]:
        if time.monotonic() > deadline:
            return Seen(f"{taken}; the Regions differ after {CONVERGING_S:.0f} s", str(values))
        time.sleep(PAUSE_S)
    left = "one write is left" if values[0] in (here.region, there.region) else f"{values[0]} is left"
    return Seen(f"{taken}; {left}, the same in both Regions", f"that of {values[0]}")


def _became(record: Record, value: str) -> bool:
    old, new = (record.change.get(image, {}).get("n") for image in ("OldImage", "NewImage"))
    return bool(new == text(value) and old != new)


def _set(table: Table, pk: str, name: str, value: str, before: str | None = None) -> str:
    """Writes one attribute; on the condition that it is as it was before, where that is given."""
    condition: dict[str, Any] = {}
    values = {":v": text(value)}
    if before is not None:
        condition = {"ConditionExpression": "#n = :b"}
        values[":b"] = text(before)
    try:
        table.dynamodb.update_item(
            TableName=table.name,
            Key={"pk": text(pk)},
            UpdateExpression="SET #n = :v",
            ExpressionAttributeNames={"#n": name},
            ExpressionAttributeValues=values,
            **condition,
        )
    except botocore.exceptions.ClientError as error:
        if code_of(error) != "ConditionalCheckFailedException":
            raise
        return "ConditionalCheckFailed"
    return "applied"


def _value(table: Table, pk: str, name: str) -> str | None:
    value: str | None = (table.get(pk) or {}).get(name, {}).get("S")
    return value


def _until_there(table: Table, pk: str, name: str, value: str) -> None:
    deadline = time.monotonic() + CONVERGING_S
    while _value(table, pk, name) != value:
        if time.monotonic() > deadline:
            raise CannotTell(f"a write did not come to {table.region} within {CONVERGING_S:.0f} s")
        time.sleep(PAUSE_S)
