"""What a killed probe left behind: tables that bear both its prefix and its tag."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import botocore.exceptions

from restrike.aws.session import Aws
from tests.aws.table import PREFIX, TAG, Table


@dataclass(frozen=True)
class Leftover:
    """A table whose name begins as a probe's does. `ours` is whether its tag says the same; None where its tags cannot
    be read, and then `why`."""

    table: Table
    made_at: datetime
    ours: bool | None
    why: str = ""


def leftovers(aws: Aws) -> list[Leftover]:
    """All that are there in that Region."""
    pages = Table(aws, PREFIX).dynamodb.get_paginator("list_tables").paginate()
    names = [name for page in pages for name in page["TableNames"] if name.startswith(PREFIX)]
    return [found for name in names if (found := _looked_at(Table(aws, name))) is not None]


def _looked_at(table: Table) -> Leftover | None:
    description = table.describe()
    if description is None:
        return None
    ours, why = None, ""
    try:
        answer = table.dynamodb.list_tags_of_resource(ResourceArn=description["TableArn"])
        ours = {"Key": TAG, "Value": table.name} in answer["Tags"]
    except botocore.exceptions.ClientError as error:
        why = str(error)
    return Leftover(table, description["CreationDateTime"], ours, why)
