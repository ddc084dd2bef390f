"""The demo's consumers: a Lambda handler that keeps a shop's books, with a bug that can be mended, and another that
books differences.

It books the total of each order, but for those of the day that the file `drop-day` names. What it was told and
what it booked stands in `books.jsonl`, one line a record; `RESTRIKE_DEMO_BOOKS` names the folder of both.

`differences` books by how much each change changed an order's total, as consumers that keep sums do.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FOLDER = "RESTRIKE_DEMO_BOOKS"
BUG = "drop-day"
LINES = "books.jsonl"
DIFFERENCES = "differences.jsonl"


def handler(event: dict[str, Any], context: object) -> None:  # noqa: ARG001 - Lambda's signature
    """Books a batch of stream records."""
    folder = Path(os.environ[FOLDER])
    bug = folder / BUG
    dropped = bug.read_text(encoding="utf-8") if bug.exists() else None
    lines = []
    for record in event["Records"]:
        order = record["dynamodb"]["NewImage"]
        booked = "total" in order and order["created_ymd"]["S"] != dropped
        lines.append(
            {
                "customer_id": order["customer_id"]["S"],
                "order_id": order["order_id"]["S"],
                "usd": int(order["total"]["N"]) if booked else None,
            }
        )
    with (folder / LINES).open("a", encoding="utf-8") as books:
        books.write("".join(json.dumps(line) + "\n" for line in lines))


def differences(event: dict[str, Any], context: object) -> None:  # noqa: ARG001 - Lambda's signature
    """Books NewImage minus OldImage."""
    folder = Path(os.environ[FOLDER])
    changes = [_usd(record, "NewImage") - _usd(record, "OldImage") for record in event["Records"]]
    with (folder / DIFFERENCES).open("a", encoding="utf-8") as books:
        books.write("".join(f"{change}\n" for change in changes))


def _usd(record: dict[str, Any], image: str) -> int:
    total = record["dynamodb"].get(image, {}).get("total", {"N": "0"})
    return int(total["N"])
