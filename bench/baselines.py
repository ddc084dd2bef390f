"""What people run today instead of restrike: the plain boto3 loops, each measured in a process of its own.

    python -m bench.baselines update-item   --endpoint http://127.0.0.1:8000 --items 10000
    python -m bench.baselines batch-execute --endpoint http://127.0.0.1:8000 --items 10000

Credentials and Region come from the environment, as for any boto3 script. One JSON object on stdout:

- `cpu_s`: user and system time of this process (getrusage, RUSAGE_SELF) for the loop alone. Imports, making the
  client, one DescribeTable (which loads models, resolves credentials and opens the connection) are over by then.
- `wall_s`: the same stretch by the clock.
- `peak_rss_mb`: the highest resident size of the process since it started, in MiB, imports included.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import boto3

MARKER = "restrike"
RUN = "bench"
_BATCH = 25

# The stubs of boto3's DynamoDB client are not installed, so the client is Any.
Client = Any
Key = dict[str, Any]


def keys(client: Client, table: str, items: int) -> Iterator[Key]:
    """The primary keys of the first `items` items of a Scan."""
    pages = client.get_paginator("scan").paginate(TableName=table, ProjectionExpression="pk, sk")
    return islice(({"pk": i["pk"], "sk": i["sk"]} for page in pages for i in page["Items"]), items)


def update_item(client: Client, table: str, items: int) -> tuple[int, int]:
    """One UpdateItem per item, conditioned so that a deleted item stays deleted; returns (done, failed)."""
    done = failed = 0
    for key in keys(client, table, items):
        try:
            client.update_item(
                TableName=table,
                Key=key,
                UpdateExpression="SET #m = :r",
                ConditionExpression="attribute_exists(pk)",
                ExpressionAttributeNames={"#m": MARKER},
                ExpressionAttributeValues={":r": {"S": RUN}},
            )
            done += 1
        except client.exceptions.ConditionalCheckFailedException:
            failed += 1
    return done, failed


def batch_execute(client: Client, table: str, items: int) -> tuple[int, int]:
    """One BatchExecuteStatement per 25 items, one after the other; returns (done, failed)."""
    done = failed = 0
    statement = f'UPDATE "{table}" SET "{MARKER}"=? WHERE "pk"=? AND "sk"=?'
    found = keys(client, table, items)
    while batch := list(islice(found, _BATCH)):
        answer = client.batch_execute_statement(
            Statements=[{"Statement": statement, "Parameters": [{"S": RUN}, k["pk"], k["sk"]]} for k in batch]
        )
        errors = sum("Error" in response for response in answer["Responses"])
        done, failed = done + len(batch) - errors, failed + errors
    return done, failed


_LOOPS = {"update-item": update_item, "batch-execute": batch_execute}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.baselines", description="the plain boto3 loops, measured")
    parser.add_argument("loop", choices=_LOOPS)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--items", type=int, required=True)
    parser.add_argument("--table", default="bench", help="its key must be pk and sk")
    options = parser.parse_args()
    client: Client = boto3.client("dynamodb", endpoint_url=options.endpoint)
    client.describe_table(TableName=options.table)

    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    done, failed = _LOOPS[options.loop](client, options.table, options.items)
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)

    client.close()
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # Linux counts ru_maxrss in KiB, macOS in bytes.
    peak_rss_mb = after.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(
        json.dumps(
            {
                "loop": options.loop,
                "items": done,
                "failed": failed,
                "cpu_s": round(cpu_s, 4),
                "wall_s": round(wall_s, 4),
                "peak_rss_mb": round(peak_rss_mb, 1),
                "cpu_measured": "RUSAGE_SELF user+system, after imports, client and one DescribeTable",
            }
        )
    )


if __name__ == "__main__":
    main()
