"""Exports as DynamoDB writes them to S3, made from the documented shapes: a tree of paths and bytes."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

ARN = "arn:aws:dynamodb:us-east-1:123456789012:table/orders"
BUCKET = "exports"
BEGINS_S = 1_700_000_000 // 900 * 900
Spelling = Literal["text", "number", "bare"]


def at(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def change(
    key: dict[str, Any],
    *,
    new: dict[str, Any] | None = None,
    old: dict[str, Any] | None = None,
    micros: int = BEGINS_S * 1_000_000,
    spelling: Spelling = "text",
) -> dict[str, Any]:
    """A line of an incremental export. Keys stand in both images too."""
    written: Any = {"text": str(micros), "number": {"N": str(micros)}, "bare": micros}[spelling]
    line: dict[str, Any] = {"Metadata": {"WriteTimestampMicros": written}, "Keys": key}
    if old is not None:
        line["OldImage"] = key | old
    if new is not None:
        line["NewImage"] = key | new
    return line


def lines_of(values: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" for value in values)


class Tree(dict[str, bytes]):
    """Path → bytes, from the bucket's root."""

    def write(self, folder: Path) -> Path:
        for path, data in self.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        return folder

    def put(self, client: Any, bucket: str) -> None:
        for path, data in self.items():
            client.put_object(Bucket=bucket, Key=path, Body=data)


def export(
    files: Sequence[Iterable[Any] | bytes],
    *,
    id: str = "01700000000000-a1b2c3d4",  # noqa: A002 - it is the export's
    from_s: float = BEGINS_S,
    to_s: float = BEGINS_S + 900,
    full: bool = False,
    view: str = "NEW_AND_OLD_IMAGES",
    prefix: str = "",
    table_arn: str = ARN,
    table_id: str = "",
    bucket: str = BUCKET,
    ending: str = ".md5",
    keys_with_prefix: bool = True,
    **summary: Any,
) -> Tree:
    """An export of these files: lines each, or the bytes of the file as it lies there. `summary` changes members of
    manifest-summary.json."""
    tree = Tree()
    base = f"{prefix}/AWSDynamoDB" if prefix else "AWSDynamoDB"
    data = f"AWSDynamoDB/{id}/data" if full else "AWSDynamoDB/data"
    listed = []
    for number, lines in enumerate(files):
        packed = lines if isinstance(lines, bytes) else gzip.compress(lines_of(lines), mtime=0)
        key = f"{data}/{id[-8:]}{number:04}.json.gz"
        tree[f"{prefix}/{key}" if prefix else key] = packed
        listed.append(
            {
                "itemCount": _lines(packed),
                "md5Checksum": md5(packed),
                "etag": f"{hashlib.md5(packed, usedforsecurity=False).hexdigest()}-1",
                "dataFileS3Key": f"{prefix}/{key}" if prefix and keys_with_prefix else key,
            }
        )
    told = {
        "version": "2020-06-30" if full else "2023-08-01",
        "exportArn": f"{table_arn}/export/{id}",
        "startTime": at(to_s),
        "endTime": at(to_s + 60),
        "tableArn": table_arn,
        "tableId": table_id,
        "s3Bucket": bucket,
        "s3Prefix": prefix or None,
        "s3SseAlgorithm": "AES256",
        "s3SseKmsKeyId": None,
        "manifestFilesS3Key": f"{base}/{id}/manifest-files.json",
        "billedSizeBytes": 0,
        "itemCount": sum(int(str(each["itemCount"])) for each in listed),
        "outputFormat": "DYNAMODB_JSON",
    }
    if full:
        told["exportTime"] = at(from_s)
    else:
        told |= {"exportFromTime": at(from_s), "exportToTime": at(to_s), "outputView": view}
        told["exportType"] = "INCREMENTAL_EXPORT"
    for name, text in (
        ("manifest-summary", json.dumps(told | summary).encode()),
        ("manifest-files", lines_of(listed)),
    ):
        tree[f"{base}/{id}/{name}.json"] = text
        tree[f"{base}/{id}/{name}{ending}"] = md5(text).encode()
    tree[f"{base}/{id}/_started"] = b""
    return tree


def _lines(packed: bytes) -> int:
    try:
        return len(gzip.decompress(packed).splitlines())
    except (OSError, EOFError):
        return 1
